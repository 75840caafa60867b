"""OSS's rules: where a request goes, and which keys, headers and lengths are taken.

Functions from what arrived to what is meant, or a `Refused`. Nothing here is stored, read or signed.

Source:
    https://help.aliyun.com/en/oss/developer-reference/putobject and its neighbours,
    https://help.aliyun.com/en/oss/user-guide/regions-and-endpoints (host names). Where they are silent: a key
    that is not UTF-8 is refused as too long a one is; bad tags are `InvalidTag`; any other host name than
    OSS's, an address or a custom domain begins with the bucket, so that `bucket.localhost` works.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .oss_verify import Refused, on_the_wire, parse_query

_MAX_KEY = 1023
_MAX_METADATA = 8 * 1024
_MAX_TAGS = 10
_STORAGE_CLASSES = frozenset({"Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive"})
_BOOLEANS = frozenset({"true", "false"})
_ACLS = frozenset({"default", "private", "public-read", "public-read-write"})
_ENCRYPTIONS = frozenset({"AES256", "KMS", "SM4"})
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_META_NAME = re.compile(r"x-oss-meta-[a-z0-9-]+")
_CONDITIONS = ("if-modified-since", "if-unmodified-since", "if-match", "if-none-match")
#: Operations on an object, and options of them, that live in the query; and how the names of others begin.
#: Any other foreign parameter is signed and ignored.
_UNDONE_QUERY = frozenset(
    (
        *("acl", "append", "asyncFetch", "callback", "callback-var", "cleanRestoredObject", "comp"),
        *("continuation-token", "endTime", "live", "objectInfo", "partNumber", "position", "qos"),
        *("restore", "select", "sequential", "startTime", "symlink", "tagging", "uploadId", "uploads"),
        *("versionId", "vod", "x-oss-async-process", "x-oss-process"),
    )
)
_UNDONE_PREFIXES = ("response-", "x-oss-ac-")
#: Headers of a PUT that ask for more than to store a body.
_UNDONE_HEADERS = ("x-oss-callback", "x-oss-callback-var", "x-oss-copy-source", "x-oss-symlink-target")
_LEAST_TRAFFIC, _MOST_TRAFFIC = 819200, 838860800
_TAG = re.compile(r"[A-Za-z0-9 +\-=._:/]*")


#: What OSS says for reasons that lie in the account, not in the request: code to status, message and EC. The
#: last six messages are ours.
FAULTS: Mapping[str, tuple[int, str, str]] = {
    "AccessDenied": (403, "You have no right to access this object.", "0003-00000202"),
    "PublicEndpointForbidden": (
        400,
        "Not allowed using the OSS public endpoint , please use CNAME instead.",
        "0048-00000401",
    ),
    "UserDisable": (403, "UserDisable", "0003-00000801"),
    "BucketDisable": (403, "The bucket is disabled.", "0003-00000908"),
    "TransferAccelerationDisabled": (403, "Transfer acceleration is not switched on for this bucket.", ""),
    "KmsServiceNotEnabled": (403, "KMS is not switched on for this account.", ""),
    "FileImmutable": (409, "The object you specified is immutable.", ""),
    "SlowDown": (503, "Please reduce your request rate.", ""),
    "InternalError": (500, "We encountered an internal error. Please try again.", ""),
}


class Place(NamedTuple):
    """Where a request goes."""

    bucket: str | None
    #: Behind the bucket.
    path: str
    #: That the host name says, where it says one.
    region: str | None = None
    cloudbox: str | None = None


_ALIYUN = re.compile(
    r"(?:(?P<bucket>[^.]+)\.)?(?:oss-(?P<region>[^.]+)|(?P<dual>[^.]+)\.oss"
    r"|(?P<cloudbox>[^.]+)\.[^.]+\.oss-cloudbox)\.aliyuncs\.com"
)
_ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){3}|\[[0-9a-f:.]+\]|[^.]*")


def locate(host: str, path: str, cnames: Mapping[str, str]) -> Place:
    """Which bucket, by OSS's rules for host names."""
    if host in cnames:
        return Place(cnames[host], path)
    found = _ALIYUN.fullmatch(host)
    if found:
        bucket, region = found["bucket"], found["region"] or found["dual"]
        if bucket is None and path != "/":
            raise Refused(
                403,
                "SecondLevelDomainForbidden",
                "Please use virtual hosted style to access.",
                ec="0003-00001401",
            )
        return Place(bucket, path, _region_of(region), found["cloudbox"])
    if _ADDRESS.fullmatch(host):
        name, slash, key = path[1:].partition("/")
        bucket = unquote_to_bytes(name).decode("latin-1")
        return Place(bucket or None, f"/{key}") if bucket or slash else Place(None, "/")
    return Place(host.partition(".")[0], path)


def check_bucket(bucket: str, region: str | None, buckets: Mapping[str, str]) -> None:
    """Raise a Refused unless the bucket is there, in the region that the host name says."""
    if not _BUCKET_NAME.fullmatch(bucket):
        raise Refused(
            400,
            "InvalidBucketName",
            "The specified bucket is not valid.",
            ec="0015-00000001",
            fields={"BucketName": bucket},
        )
    if bucket not in buckets:
        raise Refused(
            404,
            "NoSuchBucket",
            "The specified bucket does not exist.",
            ec="0015-00000101",
            fields={"BucketName": bucket},
        )
    if region is not None and region != buckets[bucket]:
        raise Refused(
            403,
            "AccessDenied",
            "The bucket you are attempting to access must be addressed using the specified endpoint. "
            "Please send all future requests to this endpoint.",
            ec="0003-00001403",
            fields={"Bucket": bucket, "Endpoint": f"oss-{buckets[bucket]}.aliyuncs.com"},
        )


#: Finance regions, whose host names do not follow the pattern.
_FINANCE = {
    "cn-hzfinance": "cn-hangzhou-finance",
    "cn-hzjbp-a": "cn-hangzhou-finance",
    "cn-hzjbp-b": "cn-hangzhou-finance",
    "cn-shanghai-finance": "cn-shanghai-finance-1",
    "cn-shenzhen-finance": "cn-shenzhen-finance-1",
    "cn-szfinance": "cn-shenzhen-finance-1",
}


def _region_of(service: str | None) -> str | None:
    """The region that a host name says; None where it says none, as for acceleration."""
    if service is None or service.startswith("accelerate"):
        return None
    region = service.removesuffix("-internal").removesuffix("-pub")
    return _FINANCE.get(region, region)


def key_of(path: str) -> str:
    """The object's name, by OSS's rules.

    Raises:
        Refused: it breaks one.
    """
    raw = unquote_to_bytes(on_the_wire(path[1:]))
    try:
        key = raw.decode()
    except UnicodeDecodeError:
        raise _invalid_name("The Length of Object name must be less than 1024.", "0016-00000002") from None
    if len(raw) > _MAX_KEY:
        raise _invalid_name("The Length of Object name must be less than 1024.", "0016-00000002")
    if key.startswith(("/", "\\")):
        raise _invalid_name("The specified object is not valid.", "0016-00000005")
    return key


def announced_length(headers: Mapping[str, str], max_bytes: int) -> int | None:
    """The body's length; None for chunks."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return None
    length = headers.get("content-length")
    if length is None:
        raise Refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise Refused(400, "InvalidArgument", "The Content-Length is not a number of bytes.")
    if int(length) > max_bytes:
        raise too_large(max_bytes)
    return int(length)


def undone(query: str) -> list[str]:
    """Names in the query that ask for what is not done here."""
    names = {name.decode("latin-1") for name, _ in parse_query(query)}
    return sorted(name for name in names if name in _UNDONE_QUERY or name.startswith(_UNDONE_PREFIXES))


def check_put_headers(headers: Mapping[str, str], query: str) -> None:
    """What OSS says of a header's value before it looks at the body."""
    for name in _CONDITIONS:
        if name in headers:
            raise Refused(
                400,
                "NotImplemented",
                "A header you provided implies functionality that is not implemented.",
                fields={"Header": title(name)},
            )
    for name in _UNDONE_HEADERS:
        if name in headers:
            raise not_implemented(f"The header {name}")
    for name, allowed, ec in (
        ("x-oss-storage-class", _STORAGE_CLASSES, ""),
        ("x-oss-object-acl", _ACLS, ""),
        ("x-oss-forbid-overwrite", _BOOLEANS, "0017-00000279"),
    ):
        if name in headers and headers[name] not in allowed:
            raise _invalid_header(name, headers[name], ec=ec)
    encryption = headers.get("x-oss-server-side-encryption", "AES256")
    if encryption not in _ENCRYPTIONS:
        raise Refused(
            400,
            "InvalidEncryptionAlgorithmError",
            "The Encryption request you specified is not valid. Supported value: AES256/KMS/SM4.",
            fields={"ServerSideEncryption": encryption},
        )
    if "content-md5" in headers:
        content_md5(headers["content-md5"])
    _check_metadata(headers)
    _check_tagging(headers.get("x-oss-tagging", ""))
    limits = [value.decode("latin-1") for name, value in parse_query(query) if name == b"x-oss-traffic-limit"]
    limits += [headers["x-oss-traffic-limit"]] if "x-oss-traffic-limit" in headers else []
    for limit in limits:
        if len(limits) > 1 or not _is_within(limit, _LEAST_TRAFFIC, _MOST_TRAFFIC):
            raise _invalid_header("x-oss-traffic-limit", limit)


def _check_metadata(headers: Mapping[str, str]) -> None:
    total = 0
    for name, value in headers.items():
        if name.startswith("x-oss-meta-"):
            total += len(name) + len(value)
            if not _META_NAME.fullmatch(name):
                raise _invalid_header(name, value)
    if total > _MAX_METADATA:
        raise Refused(
            400,
            "InvalidArgument",
            "Your metadata headers exceed the maximum allowed metadata size.",
            fields={"MaxSizeAllowed": str(_MAX_METADATA)},
        )


def _check_tagging(tagging: str) -> None:
    tags = parse_query(tagging)
    names = [name for name, _ in tags]
    whole = all(_is_tag(name, 128) and name and _is_tag(value, 256) for name, value in tags)
    if len(tags) > _MAX_TAGS or len(set(names)) < len(names) or not whole:
        raise Refused(
            400,
            "InvalidTag",
            "The tags are invalid: at most 10, keys of 1 to 128 and values of up to 256 letters, digits, "
            "spaces and + - = . _ : /, each key once.",
            fields={"ArgumentName": "x-oss-tagging", "ArgumentValue": tagging},
        )


def _is_tag(raw: bytes, most: int) -> bool:
    return len(raw) <= most and _TAG.fullmatch(raw.decode("latin-1")) is not None


def _is_within(digits: str, least: int, most: int) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) < 20 and least <= int(digits) <= most


def content_md5(value: str) -> bytes:
    """The digest that a Content-MD5 says."""
    try:
        digest = base64.b64decode(value.encode("latin-1"), validate=True)
    except ValueError:
        raise invalid_digest("0017-00000502") from None
    if len(digest) != 16:
        raise invalid_digest("0017-00000502")
    return digest


def condition(digest: str, modified: float, headers: Mapping[str, str]) -> int:
    """The status that the conditions of a GET or HEAD lead to."""
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in headers.get("if-none-match", "").split(",")}
    if "if-match" in headers and headers["if-match"].strip('" ') not in (digest, "*"):
        return 412
    if _is_before(headers.get("if-unmodified-since"), modified):
        return 412
    if "if-none-match" in headers:
        return 304 if tags & {digest, "*"} else 200
    since = headers.get("if-modified-since")
    return 304 if since is not None and _is_before(since, modified) is False else 200


def _is_before(date: str | None, modified: float) -> bool | None:
    """Whether a date of HTTP is before that; None if it is none."""
    try:
        parsed = parsedate_tz(date or "")
        return None if parsed is None else mktime_tz(parsed) < int(modified)
    except (OverflowError, ValueError):  # a year that no calendar has
        return None


def range_of(asked: str, size: int) -> tuple[int, int] | None:
    """First and last byte; None for all, also where the range is no good, which OSS ignores."""
    found = re.fullmatch(r"bytes=([0-9]{0,19})-([0-9]{0,19})", asked.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        first, last = size - int(found[2]), size - 1
    else:
        first, last = int(found[1]), int(found[2] or size - 1)
    return (first, last) if 0 <= first <= last < size else None


def title(name: str) -> str:
    """A header's name as OSS writes it."""
    return name if name.startswith("x-oss-") else name.title()


def fault(code: str) -> Refused:
    """One of the faults of an account.

    Raises:
        ValueError: there is none of that code.
    """
    if code not in FAULTS:
        raise ValueError(f"{code} is none of {', '.join(FAULTS)}")
    status, message, ec = FAULTS[code]
    return Refused(status, code, message, ec=ec)


def not_implemented(what: str) -> Refused:
    """What the stand-in does not do."""
    return Refused(
        501,
        "NotImplemented",
        f"{what}: this stand-in does not do it. It has PutObject, GetObject, HeadObject and DeleteObject.",
    )


def method_not_allowed(method: str) -> Refused:
    """What nobody does to an object."""
    return Refused(
        405,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        fields={"Method": method, "ResourceType": "OBJECT"},
    )


def exists() -> Refused:
    """What forbids to overwrite."""
    return Refused(
        409,
        "FileAlreadyExists",
        "The object you specified already exists and can not be overwritten.",
        ec="0026-00000002",
    )


def invalid_digest(ec: str) -> Refused:
    """A Content-MD5 that is none, or not the body's."""
    return Refused(400, "InvalidDigest", "The Content-MD5 you specified was invalid.", ec=ec)


def _invalid_name(message: str, ec: str) -> Refused:
    return Refused(400, "InvalidObjectName", message, ec=ec)


def _invalid_header(name: str, value: str, ec: str = "") -> Refused:
    return Refused(
        400,
        "InvalidArgument",
        f"The value of the header {name} is invalid.",
        ec=ec,
        fields={"ArgumentName": name, "ArgumentValue": value},
    )


def too_large(max_bytes: int) -> Refused:
    """A body over the limit."""
    return Refused(
        400,
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size.",
        fields={"MaxSizeAllowed": str(max_bytes)},
    )
