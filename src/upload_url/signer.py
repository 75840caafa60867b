"""OSS signature V4 for presigned URLs, in the standard library.

Pure: the same arguments give the same URL. The stages have the specification's names, so that whoever has
it open finds the line. What may be signed is decided elsewhere; nothing is fetched, logged or remembered
but one signing key.

Source: https://help.aliyun.com/en/oss/developer-reference/add-signatures-to-urls (V4 signatures in
presigned URLs)
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALGORITHM = "OSS4-HMAC-SHA256"
TERMINATOR = "aliyun_v4_request"
UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
PERCENT = 0x25


class Credentials:
    """An access key and the STS token that belongs to it, "" for a permanent key. Hidden in `repr`."""

    __slots__ = ("access_key_id", "access_key_secret", "security_token")

    def __init__(self, access_key_id: str, access_key_secret: str, security_token: str = "") -> None:
        self.access_key_id = access_key_id
        self.access_key_secret = access_key_secret
        self.security_token = security_token


def presign(
    credentials: Credentials,
    *,
    base_url: str,
    bucket: str,
    key: str,
    region: str,
    expires: int,
    now: int,
    method: str = "PUT",
    headers: Mapping[str, str] | None = None,
    additional_headers: Iterable[str] = (),
    query: Mapping[str, str] | None = None,
    product: str = "oss",
) -> str:
    """The URL that lets whoever has it send `method` for `key` until `now + expires`.

    Args:
        credentials: what to sign with.
        base_url: scheme and host, and in path style the bucket: `https://b.oss-cn-hangzhou.aliyuncs.com`.
            No `/` at the end.
        bucket: part of what is signed, whether or not it stands in the URL.
        key: the object's key as text, not encoded.
        region: the bucket's, without `oss-`, whatever endpoint is used.
        expires: seconds.
        now: seconds since the epoch; the second from which the URL is good.
        method: upper case.
        headers: those that the uploader will send, names in any case. `content-type`, `content-md5` and
            every `x-oss-*` among them are signed, the rest only if listed in `additional_headers`.
        additional_headers: names of further headers to sign. Those that are absent or signed anyway are
            left out.
        query: further parameters of the URL, not encoded; they are signed as well.
        product: `oss`, or `oss-cloudbox` with the box's id as the region.
    """
    date = strftime("%Y%m%dT%H%M%SZ", gmtime(now))
    scope = f"{date[:8]}/{region}/{product}/{TERMINATOR}"
    signed_headers = {name.lower(): value for name, value in headers.items()} if headers else {}
    additional = effective_additional_headers(additional_headers, signed_headers)
    additional_names = ";".join(additional)

    # Names and values, encoded: those written out here are what their encoding would give.
    parameters = {
        "x-oss-credential": encode(f"{credentials.access_key_id}/{scope}"),
        "x-oss-date": date,
        "x-oss-expires": str(expires),
        "x-oss-signature-version": ALGORITHM,
    }
    if credentials.security_token:
        parameters["x-oss-security-token"] = encode(credentials.security_token)
    if additional:
        parameters["x-oss-additional-headers"] = encode(additional_names)
    if query:
        parameters.update([(encode(name), encode(value)) for name, value in query.items()])

    path = encode_path(key)
    query_string = canonical_query(parameters)
    request = canonical_request(
        method,
        f"/{bucket}/{path}",
        query_string,
        canonical_headers(signed_headers, additional),
        additional_names,
        signed_headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
    )
    key_of_the_day = signing_key(credentials.access_key_secret, date[:8], region, product)
    signature = hmac.digest(key_of_the_day, string_to_sign(date, scope, request).encode(), "sha256").hex()
    return f"{base_url}/{path}?{query_string}&x-oss-signature={signature}"


def canonical_request(
    method: str, uri: str, query: str, headers: str, additional_headers: str, payload_hash: str
) -> str:
    """The request as text: each part on its line, all of them encoded already."""
    return f"{method}\n{uri}\n{query}\n{headers}\n{additional_headers}\n{payload_hash}"


def canonical_query(parameters: Mapping[str, str]) -> str:
    """All parameters (encoded) but the signature, sorted by their names. An empty value goes without `=`."""
    return "&".join([f"{name}={value}" if value else name for name, value in sorted(parameters.items())])


def canonical_headers(headers: Mapping[str, str], additional_headers: list[str]) -> str:
    """The signed headers (names lowered) in byte order of their names, each line with its line feed."""
    return "".join(
        [
            f"{name}:{value.strip()}\n"
            for name, value in sorted(headers.items())
            if is_signed_by_default(name) or name in additional_headers
        ]
    )


def effective_additional_headers(names: Iterable[str], headers: Mapping[str, str]) -> list[str]:
    """What `x-oss-additional-headers` lists: names lowered and sorted.

    A name that is absent from the request or signed by default is dropped, as all official SDKs do.
    """
    return sorted(
        {low for name in names if (low := name.lower()) in headers and not is_signed_by_default(low)}
    )


def is_signed_by_default(name: str) -> bool:
    """Whether a header (name lowered) is part of every signature."""
    return name.startswith("x-oss-") or name in ("content-type", "content-md5")


def string_to_sign(date: str, scope: str, request: str) -> str:
    """What the signature is made of: algorithm, time, scope and the hash of the canonical request."""
    return f"{ALGORITHM}\n{date}\n{scope}\n{sha256(request.encode()).hexdigest()}"


@lru_cache(maxsize=2)
def signing_key(secret: str, day: str, region: str, product: str) -> bytes:
    """The key of one day, region and product, derived from the secret.

    The last ones are kept: it is the same for every URL until the day or the credentials change.
    """
    key = f"aliyun_v4{secret}".encode()
    for part in (day, region, product, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(maxsize=8)  # the token is nine tenths of what is encoded, and the same for hours
def encode(text: str) -> str:
    """Percent-encoded for the query: all but the unreserved characters, `/` included, in upper-case hex."""
    return _percent_encode(text, UNRESERVED)


def encode_path(text: str) -> str:
    """Percent-encoded for the path: as `encode`, but `/` stays."""
    return _percent_encode(text, UNRESERVED + b"/")


def _percent_encode(text: str, kept: bytes) -> str:
    data = text.encode()
    # What is left after deleting the harmless bytes is what has to be replaced: usually nothing.
    others = set(data.translate(None, kept))
    if not others:
        return text
    if PERCENT in others:  # first of all, and once: what follows brings in more of them
        others.remove(PERCENT)
        data = data.replace(b"%", b"%25")
    for byte in others:
        data = data.replace(bytes((byte,)), b"%%%02X" % byte)
    return data.decode()
