"""The same URL from the official SDKs, for comparison. No line of ours takes part in making it."""

from __future__ import annotations

from datetime import datetime, timezone
from urllib.parse import parse_qs, quote, unquote, urlsplit

from alibabacloud_oss_v2.credentials import Credentials as V2Credentials
from alibabacloud_oss_v2.signer.v4 import SignerV4
from alibabacloud_oss_v2.types import HttpRequest, SigningContext


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
