"""The same URL from Alibaba's own SDK, `oss2`: for those who want it so, and as the judge of `signer`.

Imported only if OSS_SIGNER says so, because importing oss2 costs many times what everything else here costs.

Source: https://github.com/aliyun/aliyun-oss-python-sdk (oss2/api.py Bucket.sign_url, oss2/auth.py
ProviderAuthV4)
"""

from __future__ import annotations

import logging
from calendar import timegm
from time import strptime

from upload_url import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from upload_url.signer import Credentials

#: The first oss2 that does all of it: 2.18.4 presigns V4, but can bind no additional headers, so no size.
OLDEST = (2, 18, 6)


def presign(
    credentials: Credentials,
    *,
    endpoint: str,
    custom_domain: bool,
    bucket: str,
    key: str,
    region: str,
    expires: int,
    headers: Mapping[str, str],
) -> tuple[str, int]:
    """The URL, and the second from which it is good: oss2 reads its own clock.

    Args:
        credentials: what to sign with.
        endpoint: scheme and host without the bucket; of a custom domain, the domain.
        custom_domain: whether the endpoint is bound to the bucket (CNAME).
        bucket: its name.
        key: the object's key as text, not encoded.
        region: the bucket's, without `oss-`.
        expires: seconds.
        headers: all to be signed; those that V4 does not sign by itself become additional headers.

    Raises:
        Misconfigured: oss2 is absent or too old.
    """
    oss2 = _oss2()
    auth = oss2.ProviderAuthV4(
        oss2.credentials.StaticCredentialsProvider(
            credentials.access_key_id, credentials.access_key_secret, credentials.security_token
        )
    )
    client = oss2.Bucket(
        auth,
        endpoint,
        bucket,
        is_cname=custom_domain,
        region=region,
    )
    url: str = client.sign_url(
        "PUT", key, expires, headers=dict(headers), slash_safe=True, additional_headers=list(headers)
    )
    return url, timegm(strptime(url.partition("x-oss-date=")[2][:16], "%Y%m%dT%H%M%SZ"))


def _oss2() -> Any:  # oss2 has no types
    try:
        import oss2
    except ImportError as error:
        raise _too_old(f"oss2 cannot be imported ({error})") from error
    version = oss2.__version__
    if tuple([int(part) for part in version.split(".")[:3] if part.isdigit()]) < OLDEST:
        raise _too_old(f"oss2 {version} is too old to presign V4 with additional headers")
    # At DEBUG it logs what it signs, the security token included.
    logging.getLogger("oss2").setLevel(logging.INFO)
    return oss2


def _too_old(what: str) -> errors.Misconfigured:
    needed = ".".join([str(part) for part in OLDEST])
    return errors.Misconfigured(
        "The reason is in the function's log, under this request's id.",
        log=[f"OSS_SIGNER=oss2: {what}; deploy oss2 {needed} or later, or leave OSS_SIGNER empty."],
    )
