"""The same URL from the official SDKs, for comparison. No line of ours takes part in making theirs."""

from __future__ import annotations

from datetime import datetime, timezone
from urllib.parse import parse_qs, quote, unquote, urlsplit

from alibabacloud_oss_v2.credentials import Credentials as V2Credentials
from alibabacloud_oss_v2.signer.v4 import SignerV4
from alibabacloud_oss_v2.types import HttpRequest, SigningContext

from upload_url import sdk_signer, signer

#: Endpoint for oss2, what a URL begins with, and whether it is a custom domain; of the bucket `b-1`.
ENDPOINTS = (
    ("https://oss-cn-hangzhou.aliyuncs.com", "https://b-1.oss-cn-hangzhou.aliyuncs.com", False),
    ("https://oss-accelerate.aliyuncs.com", "https://b-1.oss-accelerate.aliyuncs.com", False),
    ("https://cn-hangzhou.oss.aliyuncs.com", "https://b-1.cn-hangzhou.oss.aliyuncs.com", False),
    ("https://upload.example.com", "https://upload.example.com", True),
    ("http://127.0.0.1:9000", "http://127.0.0.1:9000/b-1", False),
    ("http://localhost:9000", "http://localhost:9000/b-1", False),
)


def parts(url: str) -> tuple[str, str, dict[str, list[str]]]:
    """What a URL says, whatever the order of its query: scheme and host, decoded path, parameters."""
    split = urlsplit(url)
    return (
        f"{split.scheme}://{split.netloc}",
        unquote(split.path, errors="strict"),
        parse_qs(split.query, keep_blank_values=True),
    )


def signature(url: str) -> str:
    return parts(url)[2]["x-oss-signature"][0]


def v2_url(
    *,
    access_key_id: str,
    access_key_secret: str,
    security_token: str,
    base_url: str,
    bucket: str,
    key: str,
    region: str,
    expires: int,
    now: int,
    headers: dict[str, str],
) -> str:
    """By alibabacloud-oss-v2's SignerV4, whose Client would not pass additional headers on."""
    request = HttpRequest("PUT", f"{base_url}/{quote(key, safe='/')}", headers=dict(headers))
    context = SigningContext(
        product="oss",
        region=region,
        bucket=bucket,
        key=key,
        request=request,
        credentials=V2Credentials(access_key_id, access_key_secret, security_token or None),
        signing_time=datetime.fromtimestamp(now, timezone.utc),
        additional_headers=set(headers),
    )
    context.auth_method_query = True
    context.expiration_time = datetime.fromtimestamp(now + expires, timezone.utc)
    SignerV4().sign(context)
    return request.url


def three_urls(
    *,
    key: str,
    headers: dict[str, str],
    size: int | None,
    content_type: str | None,
    token: str,
    expires: int,
    endpoint: tuple[str, str, bool],
) -> tuple[str, str, str]:
    """The URL of one upload by our signer, by oss2 and by alibabacloud-oss-v2, of the same second."""
    address, base_url, custom_domain = endpoint
    headers = headers | ({} if size is None else {"Content-Length": str(size)})
    headers = headers | ({} if content_type is None else {"Content-Type": content_type})
    credentials = signer.Credentials("STS.NUkeyId", "secret", token)
    by_oss2, now = sdk_signer.presign(
        credentials,
        endpoint=address,
        custom_domain=custom_domain,
        bucket="b-1",
        key=key,
        region="cn-hangzhou",
        expires=expires,
        headers=headers,
    )
    ours = signer.presign(
        credentials,
        base_url=base_url,
        bucket="b-1",
        key=key,
        region="cn-hangzhou",
        expires=expires,
        now=now,
        headers=headers,
        additional_headers=headers,
    )
    by_oss_v2 = v2_url(
        access_key_id="STS.NUkeyId",
        access_key_secret="secret",
        security_token=token,
        base_url=base_url,
        bucket="b-1",
        key=key,
        region="cn-hangzhou",
        expires=expires,
        now=now,
        headers=headers,
    )
    return ours, by_oss2, by_oss_v2
