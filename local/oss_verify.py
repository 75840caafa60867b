"""The server's side of OSS signature V4: is this request signed as OSS demands?

Written from the specification, and sharing no line with any signer: it takes what arrived, decodes it,
encodes it anew, and compares. It knows no socket, no storage and no clock. It does not ask whether the
object may be written: that is `oss`; nor why a signature differs: that is `oss_diagnose`.

The order of its checks, each of which ends the matter:

 1. how the request is signed: in the URL, in ``Authorization``, both (refused), neither or as V1 (refused);
 2. the shape: every parameter there, once, not contradicted by a header of the same name; the version;
 3. the credential's parts, then its region, then its product;
 4. ``x-oss-date``, its day in the scope, ``x-oss-expires`` and its ceiling;
 5. the list of additional headers, and that each of them arrived;
 6. the access key is known; its token is there, where it belongs, the right one and alive;
 7. the time window;
 8. the signature, compared in constant time.

OSS does not publish its order. This one looks at the form before the secret, and at the clock before the
signature, so an expired URL says that it expired whatever else is wrong with it.

Source:
    https://help.aliyun.com/en/oss/developer-reference/add-signatures-to-urls (URLs),
    https://help.aliyun.com/en/oss/developer-reference/recommend-to-use-signature-version-4 (headers),
    https://help.aliyun.com/en/oss/user-guide/0002-00000201 and its neighbours (errors). Where they are
    silent: a ``+`` in a query is a space, as in HTML forms (so a token must be percent-encoded); parameters
    that occur twice are all signed, sorted by name and value; additional headers are sorted before they are
    compared.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "OSS4-HMAC-SHA256"
#: How far ahead of the server's clock a request may be dated, in seconds; in header mode also how far behind.
MAX_SKEW = 15 * 60
#: Seconds that a URL may live, and with a security token.
MAX_EXPIRES = 604800
MAX_EXPIRES_STS = 43200

_TERMINATOR = "aliyun_v4_request"
UNSIGNED = "UNSIGNED-PAYLOAD"
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_ACCESS_KEY_ID = re.compile(r"[A-Za-z0-9._-]+")
_ALWAYS_SIGNED = frozenset({"content-type", "content-md5"})
#: What makes a URL a signed one, and what it then must have, with the EC of its absence.
_PARAMETERS = {
    "x-oss-signature-version": "0002-00000066",
    "x-oss-credential": "0002-00000217",
    "x-oss-date": "0002-00000502",
    "x-oss-expires": "0002-00000215",
    "x-oss-signature": "0002-00000219",
}
_V1_PARAMETERS = frozenset({"Signature", "OSSAccessKeyId", "Expires"})

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your key and signing method."
)


class Credential(NamedTuple):
    """What the server knows of an access key id. An STS credential has a token, and may end."""

    secret: str
    token: str | None = None
    #: When the token dies, in seconds since the epoch; None is never.
    expires: float | None = None

    def __repr__(self) -> str:
        return f"Credential(secret=***, token={'***' if self.token else None}, expires={self.expires})"


class Attempt(NamedTuple):
    """A request that was understood, with the secret that its signature must have been made with."""

    method: str
    #: None for a request to the service itself.
    bucket: str | None
    #: The path behind the bucket, percent-encoded, as received; "/" when there is no object.
    path: str
    #: The query, decoded: names and values as bytes.
    params: list[tuple[bytes, bytes]]
    #: What V4 makes of bucket and path.
    uri: str
    #: What V4 makes of the parameters.
    query: str
    #: Names lowered; values as latin-1 text, so that every byte which arrived is one character.
    headers: Mapping[str, str]
    #: Names of the additional headers, lowered and sorted.
    additional: tuple[str, ...]
    #: The canonical request's last line.
    payload: str
    date: str
    region: str
    product: str
    secret: str
    signature: str

    def __repr__(self) -> str:
        return f"Attempt({self.method} {self.bucket}{self.path})"


class Verified(NamedTuple):
    """What a good signature proves."""

    access_key_id: str
    #: True for a URL, False for an Authorization header.
    presigned: bool
    #: When the URL ends, in seconds since the epoch; None for a header.
    expires_at: int | None
    #: Names of all headers that the signature binds, sorted.
    signed_headers: tuple[str, ...]


class Refused(Exception):
    """Raised when OSS would answer with an error.

    Args:
        status: of HTTP.
        code: OSS's name for it.
        message: OSS's sentence, or ours where OSS's is not known.
        ec: the number of the cause, empty where OSS's is not known.
        fields: further elements of the XML answer.
        attempt: what was compared, when the signature differs.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        ec: str = "",
        fields: Mapping[str, str] | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.fields = dict(fields or {})
        self.attempt = attempt


def verify(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    bucket: str | None,
    credentials: Mapping[str, Credential],
    now: float,
    region: str,
    product: str = "oss",
) -> Verified:
    """Check the signature of one request.

    Args:
        method: as received.
        path: behind the bucket, percent-encoded, as received: "/" and the key, also where the URL's path
            began with the bucket.
        query: percent-encoded, as received, without "?".
        headers: names lowered, repeated ones joined by ","; values as latin-1 text.
        bucket: that the request is for; None for the service itself.
        credentials: access key id to what is known of it.
        now: seconds since the epoch.
        region: where the bucket is, `cn-hangzhou`.
        product: `oss`, or `oss-cloudbox` with the CloudBox's id as region.

    Raises:
        Refused: with OSS's answer, for any reason at all.
    """
    params = parse_query(query)
    names = {name.decode("latin-1") for name, _ in params}
    in_url = not names.isdisjoint(_PARAMETERS)
    if "authorization" in headers:
        if in_url or names >= _V1_PARAMETERS:
            raise _invalid_argument(
                "Either the Signature query string parameter or the Authorization header should be "
                "specified, not both.",
                name="Authorization",
            )
        claim = _claim_of_header(headers)
    elif in_url:
        claim = _claim_of_url(params, headers)
    elif not _V1_PARAMETERS.isdisjoint(names):
        raise _v1_refused()
    else:
        raise Refused(
            403, "AccessDenied", "Anonymous access is forbidden for this operation.", ec="0003-00001201"
        )

    access_key_id, day = _check_scope(claim, region=region, product=product)
    signed_at = _check_date(claim, day)
    ends_at = _check_expires(claim, signed_at)
    additional = _check_additional(claim, headers)
    secret = _check_access_key(claim, access_key_id, credentials, now)
    _check_window(claim, signed_at, ends_at, now)

    attempt = Attempt(
        method=method,
        bucket=bucket,
        path=path,
        params=params,
        uri=canonical_uri(bucket, path),
        query=canonical_query(params),
        headers=headers,
        additional=additional,
        payload=headers.get("x-oss-content-sha256", UNSIGNED),
        date=claim.date,
        region=region,
        product=product,
        secret=secret,
        signature=claim.signature,
    )
    if not hmac.compare_digest(signature_of(attempt).encode(), on_the_wire(claim.signature)):
        raise _mismatch(attempt, access_key_id)
    return Verified(access_key_id, claim.presigned, ends_at, tuple(signed_headers(headers, additional)))


# ---- what V4 computes, stage by stage, under the specification's names ----


def parse_query(query: str) -> list[tuple[bytes, bytes]]:
    """Names and values, decoded, in the order in which they came."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(_decode_form(name), _decode_form(value)) for name, _, value in pairs]


def canonical_request(attempt: Attempt) -> str:
    """The request as V4 reads it, as latin-1 text."""
    headers = attempt.headers
    return "\n".join(
        (
            attempt.method,
            attempt.uri,
            attempt.query,
            "".join(
                f"{name}:{headers[name].strip()}\n" for name in signed_headers(headers, attempt.additional)
            ),
            ";".join(attempt.additional),
            attempt.payload,
        )
    )


def canonical_uri(bucket: str | None, path: str) -> str:
    """Bucket and key, with the slashes kept; nothing else of the path is normalised."""
    whole = path if bucket is None else f"/{bucket}{path}"
    return quote(unquote_to_bytes(on_the_wire(whole)))


def canonical_query(params: list[tuple[bytes, bytes]]) -> str:
    """Every parameter but the signature, sorted by its encoded name; an empty value has no "="."""
    encoded = sorted(
        (quote(name, safe=""), quote(value, safe="")) for name, value in params if name != b"x-oss-signature"
    )
    return "&".join(f"{name}={value}" if value else name for name, value in encoded)


def signed_headers(headers: Mapping[str, str], additional: tuple[str, ...]) -> list[str]:
    """Which of the headers that arrived are signed, sorted."""
    return sorted(
        name for name in headers if name.startswith("x-oss-") or name in _ALWAYS_SIGNED or name in additional
    )


def string_to_sign(attempt: Attempt) -> str:
    """What the signature is made of."""
    digest = hashlib.sha256(canonical_request(attempt).encode("latin-1")).hexdigest()
    scope = f"{attempt.date[:8]}/{attempt.region}/{attempt.product}/{_TERMINATOR}"
    return f"{ALGORITHM}\n{attempt.date}\n{scope}\n{digest}"


def signature_of(attempt: Attempt) -> str:
    """The signature that the request should have."""
    key = _signing_key(attempt.secret, attempt.date[:8], attempt.region, attempt.product)
    return hmac.new(key, string_to_sign(attempt).encode("latin-1"), hashlib.sha256).hexdigest()


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str, product: str) -> bytes:
    key = b"aliyun_v4" + secret.encode()
    for part in (day, region, product, _TERMINATOR):
        key = hmac.new(key, part.encode("latin-1"), hashlib.sha256).digest()
    return key


# ---- what the request claims of itself ----


class _Claim(NamedTuple):
    presigned: bool
    credential: str
    date: str
    #: None in a header: only a URL says how long it lives.
    expires: str | None
    #: None when there is no list.
    additional: str | None
    token: str | None
    signature: str


def _claim_of_url(params: list[tuple[bytes, bytes]], headers: Mapping[str, str]) -> _Claim:
    found: dict[str, str] = {}
    for name_bytes, value_bytes in params:
        name, value = name_bytes.decode("latin-1"), value_bytes.decode("latin-1")
        if not name.startswith("x-oss-"):
            continue
        if found.setdefault(name, value) != value or headers.get(name, value) != value:
            raise _invalid_argument(f"The parameter {name} is given with different values.", name=name)

    version = found.get("x-oss-signature-version")
    if version != ALGORITHM:
        raise _invalid_argument(
            f"The signature version is invalid, {ALGORITHM} is expected.",
            name="x-oss-signature-version",
            value=version,
            ec=_PARAMETERS["x-oss-signature-version"],
        )
    for name, ec in _PARAMETERS.items():
        if not found.get(name):
            if name == "x-oss-expires" and name in found:
                ec = "0002-00000216"
            raise _invalid_argument(
                f"Query string authentication requires the {name} parameter.", name=name, ec=ec
            )
    token = found.get("x-oss-security-token")
    if token is None and "x-oss-security-token" in headers:
        raise Refused(
            400,
            "InvalidRequest",
            "Security-token must be provided by query string parameter.",
            ec="0002-00000005",
        )
    return _Claim(
        presigned=True,
        credential=found["x-oss-credential"],
        date=found["x-oss-date"],
        expires=found["x-oss-expires"],
        additional=found.get("x-oss-additional-headers"),
        token=token,
        signature=found["x-oss-signature"],
    )


def _claim_of_header(headers: Mapping[str, str]) -> _Claim:
    scheme, _, rest = headers["authorization"].strip().partition(" ")
    if scheme == "OSS":
        raise _v1_refused()
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if scheme != ALGORITHM or not parts.get("Credential") or not parts.get("Signature"):
        raise _invalid_argument("Authorization header is invalid.", name="Authorization")
    return _Claim(
        presigned=False,
        credential=parts["Credential"],
        date=headers.get("x-oss-date") or headers.get("date", ""),
        expires=None,
        additional=parts.get("AdditionalHeaders") or None,
        token=headers.get("x-oss-security-token"),
        signature=parts["Signature"],
    )


def _check_scope(claim: _Claim, *, region: str, product: str) -> tuple[str, str]:
    """The access key id and the day of the credential."""
    parts = claim.credential.split("/")
    if len(parts) != 5 or parts[4] != _TERMINATOR:
        raise _invalid_claim(claim, "credential", "0002-00000224" if claim.presigned else "0002-00000213")
    access_key_id, day, claimed_region, claimed_product, _ = parts
    if not _ACCESS_KEY_ID.fullmatch(access_key_id):
        raise _invalid_argument(
            "The access key id in credential is invalid.", name="x-oss-credential", ec="0002-00000222"
        )
    if claimed_region != region:
        raise _invalid_claim(
            claim, "signing region", "0002-00000226", {"Region": claimed_region, "ExpectedRegion": region}
        )
    if claimed_product != product:
        raise _invalid_claim(claim, "signing product", "0002-00000227")
    return access_key_id, day


def _check_date(claim: _Claim, day: str) -> int:
    """When the request was signed, in seconds since the epoch."""
    try:
        if not _DATE.fullmatch(claim.date):
            raise ValueError(claim.date)
        signed_at = calendar.timegm(time.strptime(claim.date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise _invalid_claim(claim, "signing date", "0002-00000502") from None
    if claim.date[:8] != day:
        raise _invalid_claim(claim, "signing date", "0002-00000224")
    return signed_at


def _check_expires(claim: _Claim, signed_at: int) -> int | None:
    """When the URL ends, in seconds since the epoch."""
    if claim.expires is None:
        return None
    ceiling = MAX_EXPIRES if claim.token is None else MAX_EXPIRES_STS
    digits = claim.expires.isascii() and claim.expires.isdigit() and len(claim.expires) < 12
    if not digits or not 1 <= int(claim.expires) <= ceiling:
        raise _invalid_argument(
            f"The x-oss-expires parameter must be between 1 and {ceiling} seconds.",
            name="x-oss-expires",
            value=claim.expires,
            ec="0002-00000232",
        )
    return signed_at + int(claim.expires)


def _check_additional(claim: _Claim, headers: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the additional headers, lowered and sorted."""
    if claim.additional is None:
        return ()
    names = sorted({name.lower() for name in claim.additional.split(";")})
    field = "x-oss-additional-headers"
    for name in names:
        if not name:
            raise _invalid_argument(
                "An element of the additional headers is empty.",
                name=field,
                value=claim.additional,
                ec="0002-00000077" if claim.presigned else "0002-00000209",
            )
        if "_" in name:
            raise _invalid_argument(
                "The name of an additional header must not hold an underscore.", name=field, value=name
            )
        if name not in headers:
            raise _invalid_argument(
                f"The additional header {name} is not in the request.",
                name=field,
                value=claim.additional,
                ec="0002-00000078" if claim.presigned else "0002-00000211",
            )
    return tuple(names)


def _check_access_key(
    claim: _Claim,
    access_key_id: str,
    credentials: Mapping[str, Credential],
    now: float,
) -> str:
    """The secret."""
    known = credentials.get(access_key_id)
    # Without its token OSS cannot look a temporary key up, so it says that there is no such key.
    if known is None or (known.token is not None and claim.token is None):
        raise Refused(
            403,
            "InvalidAccessKeyId",
            "The OSS Access Key Id you provided does not exist in our records.",
            ec="0002-00000902",
            fields={"OSSAccessKeyId": access_key_id},
        )
    if claim.token is not None and claim.token != known.token:
        if any(claim.token == other.token for other in credentials.values()):
            raise Refused(
                403,
                "AccessKeyIdAndSecurityTokenNotMatch",
                "The security token you provided does not belong to the access key id.",
                fields={"OSSAccessKeyId": access_key_id},
            )
        raise Refused(
            403,
            "InvalidSecurityToken",
            "The security token you provided is invalid.",
            ec="0002-00000006",
            fields={"SecurityToken": claim.token},
        )
    if known.expires is not None and now > known.expires:
        raise Refused(
            403,
            "SecurityTokenExpired",
            "The security token you provided has expired.",
            ec="0002-00000007",
        )
    return known.secret


def _check_window(claim: _Claim, signed_at: int, ends_at: int | None, now: float) -> None:
    if ends_at is None:
        if abs(now - signed_at) > MAX_SKEW:
            raise Refused(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                ec="0002-00000504",
                fields={"RequestTime": iso_time(signed_at), "ServerTime": iso_time(now)},
            )
    elif now > ends_at:
        raise Refused(
            403,
            "AccessDenied",
            "Request has expired.",
            ec="0002-00000236",
            fields={"Expires": iso_time(ends_at), "ServerTime": iso_time(now)},
        )
    elif now < signed_at - MAX_SKEW:
        raise Refused(
            403,
            "AccessDenied",
            "Request is not yet valid.",
            ec="0002-00000235",
            fields={"RequestTime": iso_time(signed_at), "ServerTime": iso_time(now)},
        )


def iso_time(seconds: float) -> str:
    """As OSS writes a time in its XML: 2026-11-22T10:00:00.000Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def _mismatch(attempt: Attempt, access_key_id: str) -> Refused:
    to_sign = string_to_sign(attempt)
    return Refused(
        403,
        "SignatureDoesNotMatch",
        MISMATCH,
        ec="0002-00000201",
        fields={
            "OSSAccessKeyId": access_key_id,
            "SignatureProvided": attempt.signature,
            "StringToSign": to_sign,
            "StringToSignBytes": to_sign.encode("latin-1").hex(" ").upper(),
            "CanonicalRequest": canonical_request(attempt).encode("latin-1").decode("utf-8", "replace"),
        },
        attempt=attempt,
    )


def _v1_refused() -> Refused:
    return Refused(
        403,
        "AccessDenied",
        "Signature V1 is not offered for this bucket; sign with OSS4-HMAC-SHA256.",
        ec="0002-00000080",
    )


def _invalid_claim(claim: _Claim, what: str, ec: str, fields: Mapping[str, str] | None = None) -> Refused:
    """The same fault has one sentence for a URL and another for a header."""
    if not claim.presigned:
        message = f"Invalid {what} in Authorization header."
    elif what == "credential":
        message = "The credential is invalid."
    else:
        message = f"The {what} in credential is invalid."
    return Refused(400, "InvalidArgument", message, ec=ec, fields=fields)


def _invalid_argument(message: str, *, name: str, value: str | None = None, ec: str = "") -> Refused:
    fields = {"ArgumentName": name}
    if value is not None:
        fields["ArgumentValue"] = value
    return Refused(400, "InvalidArgument", message, ec=ec, fields=fields)


def on_the_wire(text: str) -> bytes:
    """The bytes of a URL or header: one for each character of latin-1 text, UTF-8 for any other."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _decode_form(text: str) -> bytes:
    return unquote_to_bytes(on_the_wire(text.replace("+", " ")))
