"""What may be uploaded, where, and for how long: request and policy in, upload or refusal out.

Pure, and ignorant of HTTP, of Function Compute and of signing. Everything in a request is hostile until it
has passed here.

Source of the object rules: https://help.aliyun.com/en/oss/developer-reference/putobject
"""

from __future__ import annotations

from upload_url import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_KEY_BYTES = 1023
MAX_PUT_BYTES = 5 * 1024**3
MAX_HEADER_BYTES = 8192
#: The longest life of a V4 URL in seconds, and the longest of one that STS credentials have signed.
MAX_EXPIRES = 604800
MAX_EXPIRES_STS = 43200

FIELDS = frozenset(("key", "filename", "contentType", "size", "contentMd5", "expires", "headers", "metadata"))

_LETTERS_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: RFC 9110's token without `_`, which OSS refuses in the name of a signed header, and without what no
#: header in use has.
HEADER_NAME = _LETTERS_DIGITS + "-"
#: RFC 9110's token: both halves of a media type.
TOKEN = _LETTERS_DIGITS + "!#$%&'*+-.^_`|~"
IDENTITY = _LETTERS_DIGITS + "._@:|+-"
EXTENSION = "abcdefghijklmnopqrstuvwxyz0123456789"
LOWER_DIGITS_HYPHEN = EXTENSION + "-"

#: C0, DEL and C1. Other characters without a glyph, such as the joiners in emoji, are fine in a key.
CONTROLS = frozenset([chr(point) for point in (*range(32), *range(127, 160))])

#: Headers that nobody may bind: the signature's own, the connection's, and those that the HTTP client sets
#: by itself.
NEVER_BOUND = frozenset(
    (
        "host",
        "content-length",
        "authorization",
        "x-oss-date",
        "x-oss-security-token",
        "x-oss-content-sha256",
        "x-oss-credential",
        "x-oss-expires",
        "x-oss-additional-headers",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)

#: After a media type's first `;`. A comma may stand in a bare value (`codecs=vp8,opus`), but never a `/` with
#: it: what follows a comma would be read as a second media type and overrule the one allowed
#: (https://fetch.spec.whatwg.org/#content-type-header).
MEDIA_TYPE_PARAMETERS = (
    r"[ \t]*PARAMETER(?:[ \t]*;[ \t]*PARAMETER)*".replace(
        "PARAMETER", r'[TOKEN]+=(?:[TOKEN,]+|"(?:[ !#-\[\]-~]|\\[ -~])*")'
    )
).replace("TOKEN", r"A-Za-z0-9!#$%&'*+.^_`|~\-")


class Policy:
    """What the operator allows.

    Attributes:
        prefix: every key starts with it; "" or ends with `/`.
        generated_keys: whether callers may not name the key.
        expires: seconds a URL lives if the caller does not say.
        expires_max: seconds a URL may live.
        types: media types, lowered, `image/*` for a family; empty for any.
        max_bytes: the largest upload; None for OSS's own limit.
        headers: names that callers may bind, lowered; a trailing `*` stands for any ending.
        header_beginnings: those with a `*`, without it.
        forced_headers: bound to every upload: lowered name -> name as the uploader gets it, value.
        identity_header: the header that says who is asking, lowered; "" if nobody needs to.
    """

    prefix: str
    generated_keys: bool
    expires: int
    expires_max: int
    types: tuple[str, ...]
    max_bytes: int | None
    headers: tuple[str, ...]
    header_beginnings: tuple[str, ...]
    forced_headers: Mapping[str, tuple[str, str]]
    identity_header: str


class Upload:
    """What will be signed.

    Attributes:
        key: the object's key.
        headers: exactly what the uploader must send.
        size: bytes, bound as `Content-Length`; None if the uploader may send any number.
        expires: seconds.
    """

    def __init__(self, key: str, headers: dict[str, str], size: int | None, expires: int) -> None:
        self.key = key
        self.headers = headers
        self.size = size
        self.expires = expires

    def signed_headers(self) -> dict[str, str]:
        """What the signature covers: the headers to send, and the length, which clients add by themselves."""
        if self.size is None:
            return self.headers
        return {**self.headers, "Content-Length": str(self.size)}


def allow(
    fields: Mapping[str, object],
    policy: Policy,
    *,
    identity: str | None,
    sts: bool,
    new_id: Callable[[], str],
) -> Upload:
    """The upload that the policy grants for a request.

    Args:
        fields: the request's object, of any shape.
        policy: the operator's.
        identity: who is asking, as the trigger says it; None if it does not. Ignored unless the policy
            wants it.
        sts: whether temporary credentials will sign, which shortens the longest life.
        new_id: gives 32 hex digits that never come again.

    Raises:
        Refusal: the leaf that says what is wrong.
    """
    folder = policy.prefix
    if policy.identity_header:
        folder += _identity(identity) + "/"
    for name in fields:
        if name not in FIELDS:
            raise errors.UnknownField(
                f"There is no field {_shown(name)}.", field=_shown(name), allowed=sorted(FIELDS)
            )
    key = _key(fields, policy, folder, new_id)
    size = _size(fields, policy)
    return Upload(key, _headers(fields, policy), size, _expires(fields, policy, sts))


def key_fault(key: str) -> str | None:
    """What is wrong with a key, as a sentence; None if nothing is.

    Stricter than OSS: what a client or proxy would rewrite on the way (`//`, `/../`) would be refused there
    as a bad signature.
    """
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "It has half of a surrogate pair, which is no character."
    if not 1 <= length <= MAX_KEY_BYTES:
        return f"It has {length} bytes in UTF-8; 1 to {MAX_KEY_BYTES} are possible."
    if key[0] in "/\\":
        return "It must not start with a slash or a backslash."
    if not key.strip():
        return "It must not be of blanks alone."
    if not (key.isprintable() or CONTROLS.isdisjoint(key)):
        return "It must not have control characters."
    if not {"", ".", ".."}.isdisjoint(key.split("/")):
        return 'It must not have empty, "." or ".." segments, nor end with a slash.'
    return None


def header_fault(name: str, value: str) -> str | None:
    """What is wrong with a header to bind (its value trimmed), as a sentence; None if nothing is."""
    if not name or name.strip(HEADER_NAME):
        return "A header's name has letters, digits and hyphens only."
    if name.lower() == "x-oss-meta-":
        return "A metadata name must not be empty."
    if not value:
        return "A header's value must not be empty."
    if not (value.isascii() and value.isprintable()):
        return "OSS signs printable ASCII only: percent-encode the rest of the value."
    return None


def is_never_bound(name: str) -> bool:
    """Whether a header (name lowered) can be bound by nobody.

    `x-oss-copy-source` makes of a PUT a copy of any object that the signer may read.
    """
    return name in NEVER_BOUND or name.startswith(("x-oss-signature", "x-oss-copy-source"))


def exact_base64(text: str) -> bytes | None:
    """The bytes; None if it is not the base64 of any, which Python's decoder passes over."""
    from binascii import a2b_base64, b2a_base64  # seldom needed

    try:
        data = a2b_base64(text)
    except ValueError:  # binascii.Error is one
        return None
    return data if b2a_base64(data, newline=False).decode() == text else None


def _identity(identity: str | None) -> str:
    if not identity:
        raise errors.IdentityMissing(
            "The request says nothing about who sends it: it has to pass the trigger's authentication."
        )
    if "," in identity:
        raise errors.IdentityInvalid("The caller's identity was given twice.")
    if len(identity) > 128 or identity.strip(IDENTITY) or identity in (".", ".."):
        raise errors.IdentityInvalid(
            "The caller's identity has 1 to 128 of A-Z a-z 0-9 . _ @ : | + - and is not a dot path."
        )
    return identity


def _key(fields: Mapping[str, object], policy: Policy, folder: str, new_id: Callable[[], str]) -> str:
    key, filename = _text(fields, "key"), _text(fields, "filename")
    if key is None:
        return folder + new_id() + (_extension(filename) if filename else "")
    if filename is not None:
        raise errors.InvalidField("Give key or filename, not both.", field="filename")
    if policy.generated_keys:
        raise errors.KeyNotAllowed(
            "The function names the key here: leave key out, or give filename for its extension.", field="key"
        )
    fault = key_fault(key)
    if fault:
        raise errors.InvalidKey(fault, field="key")
    if not key.startswith(folder):
        raise errors.KeyNotAllowed(f"The key must start with {folder}", field="key", allowed=[folder + "*"])
    return key


def _extension(filename: str) -> str:
    """`.png` of `photos/Cat.PNG`: the one part of a caller's file name that may get into a key."""
    stem, _, extension = filename.replace("\\", "/").rpartition("/")[2].rpartition(".")
    extension = extension.lower()
    plain = stem and 1 <= len(extension) <= 10 and not extension.strip(EXTENSION)
    return "." + extension if plain else ""


def _size(fields: Mapping[str, object], policy: Policy) -> int | None:
    size = _number(fields, "size")
    if size is None:
        if policy.max_bytes is not None:
            raise errors.InvalidField("size is required here: the number of bytes to upload.", field="size")
        return None
    if size < 0:
        raise errors.InvalidField("size is a number of bytes, 0 or more.", field="size")
    limit = MAX_PUT_BYTES if policy.max_bytes is None else policy.max_bytes
    if size > limit:
        raise errors.SizeNotAllowed(f"At most {limit} bytes may be uploaded.", field="size", limit=limit)
    return size


def _expires(fields: Mapping[str, object], policy: Policy, sts: bool) -> int:
    limit = min(policy.expires_max, MAX_EXPIRES_STS if sts else MAX_EXPIRES)
    expires = _number(fields, "expires")
    if expires is None:
        return min(policy.expires, limit)
    if not 1 <= expires <= limit:
        raise errors.ExpiresOutOfRange(f"expires is 1 to {limit} seconds.", field="expires", limit=limit)
    return expires


def _headers(fields: Mapping[str, object], policy: Policy) -> dict[str, str]:
    """Everything to bind, under the names that the uploader will send."""
    wanted = _wanted_headers(fields)
    if policy.types and "content-type" not in wanted:
        raise errors.InvalidField(
            "contentType is required here: the media type of the upload.",
            field="contentType",
            allowed=policy.types,
        )
    headers: dict[str, str] = {}
    for low, (name, value, field) in wanted.items():
        if low == "content-type":
            _check_content_type(value, policy)
        elif low == "content-md5":
            _check_content_md5(value)
        else:
            fault = header_fault(name, value)
            if fault:
                raise errors.InvalidHeader(fault, field=field)
            if is_never_bound(low):
                raise errors.HeaderNotAllowed(
                    f"{name} cannot be bound: it is the signature's, the connection's or a copy's. "
                    "size binds the length.",
                    field=field,
                )
            if low in policy.forced_headers:
                if policy.forced_headers[low][1] != value:
                    raise errors.HeaderNotAllowed(
                        f"{name} has a fixed value here: leave it out.", field=field
                    )
            elif low not in policy.headers and not low.startswith(policy.header_beginnings):
                raise errors.HeaderNotAllowed(
                    f"{name} may not be bound here.", field=field, allowed=policy.headers
                )
        headers[name] = value
    for low, (name, value) in policy.forced_headers.items():
        if low not in wanted:
            headers[name] = value
    length = sum([len(name) + len(value) for name, value in headers.items()])
    if length > MAX_HEADER_BYTES:
        raise errors.InvalidHeader(
            f"The headers have {length} bytes together; {MAX_HEADER_BYTES} are possible.",
            limit=MAX_HEADER_BYTES,
        )
    return headers


def _wanted_headers(fields: Mapping[str, object]) -> dict[str, tuple[str, str, str]]:
    """What the request asks to bind, not yet judged: lowered name -> name, trimmed value, its field."""
    wanted: dict[str, tuple[str, str, str]] = {}
    for name, field in (("Content-Type", "contentType"), ("Content-MD5", "contentMd5")):
        value = _text(fields, field)
        if value is not None:
            wanted[name.lower()] = (name, value.strip(" \t"), field)
    for beginning, table in (("", "headers"), ("x-oss-meta-", "metadata")):
        for ending, value in _table(fields, table).items():
            name, value, field = beginning + ending, value.strip(" \t"), f"{table}.{_shown(ending)}"
            low = name.lower()
            if low in wanted:
                name, before, other = wanted[low]
                if other not in ("contentType", "contentMd5"):
                    raise errors.InvalidHeader(
                        "Two headers have this name; upper and lower case do not tell them apart.",
                        field=field,
                    )
                if before != value:
                    raise errors.InvalidField(
                        f"{other} and the header {name} say different things: give one.", field=other
                    )
            elif low == "content-type":
                name = "Content-Type"
            elif low == "content-md5":
                name = "Content-MD5"
            wanted[low] = (name, value, field)
    return wanted


def _check_content_type(value: str, policy: Policy) -> None:
    essence, semicolon, parameters = value.partition(";")
    family, _, subtype = essence.rstrip(" \t").partition("/")
    well_formed = bool(family and subtype) and not family.strip(TOKEN) and not subtype.strip(TOKEN)
    if well_formed and semicolon:
        import re  # json has loaded it; the pattern is compiled only for the few types with parameters

        well_formed = re.fullmatch(MEDIA_TYPE_PARAMETERS, parameters) is not None
    if not well_formed:
        raise errors.InvalidField("contentType is a media type, such as image/png.", field="contentType")
    if policy.types:
        family = family.lower()
        if f"{family}/{subtype.lower()}" not in policy.types and f"{family}/*" not in policy.types:
            raise errors.ContentTypeNotAllowed(
                "This content type may not be uploaded.", field="contentType", allowed=policy.types
            )


def _check_content_md5(value: str) -> None:
    digest = exact_base64(value)
    if digest is None or len(digest) != 16:
        raise errors.InvalidField(
            "contentMd5 is the body's MD5, 16 bytes, in base64: 24 characters.", field="contentMd5"
        )


def _text(fields: Mapping[str, object], name: str) -> str | None:
    if name not in fields:
        return None
    value = fields[name]
    if not isinstance(value, str):
        raise errors.InvalidField(f"{name} is a string; leave it out where there is none.", field=name)
    return value


def _number(fields: Mapping[str, object], name: str) -> int | None:
    if name not in fields:
        return None
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.InvalidField(f"{name} is a whole number; leave it out where there is none.", field=name)
    return value


def _table(fields: Mapping[str, object], name: str) -> dict[str, str]:
    if name not in fields:
        return {}
    table = fields[name]
    if not isinstance(table, dict):
        raise errors.InvalidField(f"{name} is an object of strings.", field=name)
    for key, value in table.items():
        if not isinstance(value, str):
            raise errors.InvalidField(f"{name} is an object of strings.", field=f"{name}.{_shown(key)}")
    return table


def _shown(name: str) -> str:
    """A name from outside, cut to what an answer or a log line should repeat."""
    return name if len(name) <= 64 else name[:64] + "..."
