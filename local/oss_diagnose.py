"""Why a request was refused: the likely cause in one sentence, found by trying.

A signature that does not match says nothing. But the server knows the secret, so it can ask of every usual
mistake: would the signature match if this one had not been made? The first that makes it match is the cause,
and as good as proven, since no signature matches by chance. What cannot be guessed, such as a length that was
bound, is at least named.

Source: the troubleshooting list of
https://help.aliyun.com/en/oss/user-guide/upload-files-using-presigned-urls, and what HTTP clients and URL
libraries add and change by themselves.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import mimetypes
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote, unquote_to_bytes

from .oss_verify import (
    UNSIGNED,
    Attempt,
    Credential,
    Refused,
    canonical_query,
    canonical_uri,
    on_the_wire,
    signature_of,
    signed_headers,
)

#: On how many headers, parameters or slashes one guess is tried: a hostile request has thousands of them, and
#: each try costs a signature over all of it.
_MOST = 20

_METHODS = ("PUT", "GET", "POST", "HEAD", "DELETE")
_REGIONS = (
    "cn-hangzhou",
    "cn-shanghai",
    "cn-nanjing",
    "cn-fuzhou",
    "cn-wuhan-lr",
    "cn-qingdao",
    "cn-beijing",
    "cn-zhangjiakou",
    "cn-huhehaote",
    "cn-wulanchabu",
    "cn-shenzhen",
    "cn-heyuan",
    "cn-guangzhou",
    "cn-chengdu",
    "cn-hongkong",
    "rg-china-mainland",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-southeast-1",
    "ap-southeast-3",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "eu-central-1",
    "eu-west-1",
    "us-west-1",
    "us-east-1",
    "na-south-1",
    "me-east-1",
)
#: What URLs are usually signed for, in seconds.
_LIFETIMES = (
    *(60, 120, 180, 300, 599, 600, 800, 900, 1200, 1800, 3599, 3600, 7200, 10800, 21600, 43200, 86400),
    604800,
)
_TYPES = (
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "application/json",
    "application/json; charset=utf-8",
    "application/pdf",
    "application/xml",
    "application/zip",
    "audio/mpeg",
    "image/gif",
    "image/heic",
    "image/jpeg",
    "image/jpg",
    "image/png",
    "image/svg+xml",
    "image/webp",
    "text/csv",
    "text/html",
    "text/markdown",
    "text/plain",
    "text/plain;charset=UTF-8",
    "text/plain; charset=utf-8",
    "video/mp4",
    "video/quicktime",
)
#: Headers that are signed and often dropped, with the values that they usually have.
_OFTEN_DROPPED = {
    "x-oss-forbid-overwrite": ("true", "false"),
    "x-oss-object-acl": ("private", "public-read", "public-read-write", "default"),
    "x-oss-storage-class": ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive"),
    "x-oss-server-side-encryption": ("AES256", "KMS", "SM4"),
    "x-oss-content-sha256": (UNSIGNED,),
}

#: One mistake, and the request as it would have been without it.
_Change = tuple[str, Attempt]


def likely_cause(
    refused: Refused,
    headers: Mapping[str, str],
    credentials: Mapping[str, Credential],
    buckets: Iterable[str] = (),
) -> str:
    """What the caller probably did.

    Args:
        refused: what it is told.
        headers: of the request, names lowered.
        credentials: all that the server knows.
        buckets: all that the server has.

    Returns:
        One sentence; empty where OSS's own message says enough.
    """
    if refused.attempt is None:
        return _of_message(refused, headers)
    return _of_mismatch(refused.attempt, credentials, buckets)


def _of_message(refused: Refused, headers: Mapping[str, str]) -> str:
    """What can be said beyond OSS's message where it names the fault."""
    fields = refused.fields
    if "ExpectedRegion" in fields:
        region, expected = fields["Region"], fields["ExpectedRegion"]
        if region == f"oss-{expected}":
            return f"The region in a credential is {expected}, without the oss- of the endpoint."
        return f"It was signed for the region {region or '(none)'}, but the bucket is in {expected}."
    if refused.ec in ("0002-00000078", "0002-00000211"):
        if "transfer-encoding" in headers and "content-length" not in headers:
            return "The length is bound, but the client sent the body in chunks, without Content-Length."
        return "The client did not send a header that was bound when this was signed."
    if refused.ec == "0002-00000236":
        return f"The URL ended at {fields['Expires']}, and this came at {fields['ServerTime']}."
    if refused.ec in ("0002-00000235", "0002-00000504"):
        return (
            f"It is dated {fields['RequestTime']}, and here it is {fields['ServerTime']}: the signer's clock "
            "is wrong, or it wrote local time where UTC is due."
        )
    if refused.code == "InvalidSecurityToken" and " " in fields["SecurityToken"]:
        return "The token was put into the URL without percent-encoding, so its + became a space."
    return ""


def _of_mismatch(attempt: Attempt, credentials: Mapping[str, Credential], buckets: Iterable[str]) -> str:
    for sentence, changed in itertools.chain(
        _signature_changes(attempt),
        _header_changes(attempt, mimetypes.types_map.values()),
        _method_changes(attempt),
        _key_changes(attempt, buckets),
        _query_changes(attempt),
        _scope_changes(attempt),
        _secret_changes(attempt, credentials),
    ):
        if _matches(changed):
            return f"{sentence}."
    # The one pair of mistakes that is common: two headers at once, as a client does by its defaults.
    for first, changed in _header_changes(attempt):
        for second, both in _header_changes(changed):
            if _matches(both):
                return f"{first}; and {second[:1].lower()}{second[1:]}."
    advice = "compare CanonicalRequest, which is what arrived, with the signer's"
    if attempt.additional:
        advice += f", above all the value of {', '.join(attempt.additional)}, which is bound"
    return f"No usual mistake explains it: {advice}."


def _matches(attempt: Attempt) -> bool:
    return hmac.compare_digest(signature_of(attempt).encode(), attempt.signature.encode())


def _signature_changes(attempt: Attempt) -> Iterator[_Change]:
    signature = attempt.signature
    yield (
        "The signature is in upper case, where lower-case hex is due",
        attempt._replace(signature=signature.lower()),
    )
    try:
        digest = base64.b64decode(signature, validate=True).hex()
    except ValueError:
        return
    yield "The signature is in base64, where lower-case hex is due", attempt._replace(signature=digest)


def _header_changes(attempt: Attempt, types: Iterable[str] = ()) -> Iterator[_Change]:
    """What clients do to headers: add, drop, rewrite; also with `types` besides the usual ones."""
    headers = attempt.headers
    sent = signed_headers(headers, attempt.additional)

    def without(*names: str) -> Attempt:
        return _with_headers(attempt, {name: headers[name] for name in headers if name not in names})

    def having(name: str, value: str) -> Attempt:
        return _with_headers(attempt, {**headers, name: value})

    removable = [name for name in sent if name not in attempt.additional]
    for name in removable[:_MOST]:
        yield (
            f"The client sent {_line(name, headers[name])}, which was not signed: send it not, or sign it",
            without(name),
        )
    if len(removable) > 1:
        yield f"The client sent {', '.join(removable)}, which were not signed", without(*removable)

    was = headers.get("content-type")
    for content_type in _likely_types(attempt, types):
        if was is None:
            yield (
                f"The client did not send Content-Type: {content_type}, which was signed",
                having("content-type", content_type),
            )
        else:
            yield (
                f"The client sent Content-Type: {was}, but {content_type} was signed",
                having("content-type", content_type),
            )
    for name, values in _OFTEN_DROPPED.items():
        for value in values:
            if name not in headers:
                yield f"The client did not send {name}: {value}, which was signed", having(name, value)
            elif headers[name] != value:
                yield f"The client sent {name}: {headers[name]}, but {value} was signed", having(name, value)
    for name in sent[:_MOST]:
        for value in _recoded(headers[name]):
            yield (
                f"The value of {name} was signed in another encoding than it was sent in: "
                "percent-encode it, so that only ASCII travels",
                having(name, value),
            )
    if "host" in attempt.additional:
        for host in _likely_hosts(attempt):
            yield (
                f"The host {host} was signed, but the request came to {headers['host']}",
                having("host", host),
            )


def _method_changes(attempt: Attempt) -> Iterator[_Change]:
    for method in _METHODS:
        yield f"It was signed for {method}, but sent with {attempt.method}", attempt._replace(method=method)


def _key_changes(attempt: Attempt, buckets: Iterable[str]) -> Iterator[_Change]:
    """What signers and URL libraries do to the path."""
    path, bucket = attempt.path, attempt.bucket or ""
    raw = unquote_to_bytes(on_the_wire(path))

    def signed_for(path: bytes) -> Attempt:
        return attempt._replace(uri=canonical_uri(bucket, quote(path)))

    def signed_as(uri: str) -> Attempt:
        return attempt._replace(uri=f"/{bucket}{uri}")

    yield (
        "The key was encoded before it was signed, or the URL was decoded on its way",
        signed_for(on_the_wire(path)),
    )
    yield "The URL's path was encoded a second time on its way", signed_for(unquote_to_bytes(raw))
    yield "A space in the key was sent as +: send %20", signed_for(raw.replace(b"+", b" "))
    yield "A + in the key was sent as a space: send %2B", signed_for(raw.replace(b" ", b"+"))
    yield (
        "The signer encoded the slashes of the key, which V4 keeps",
        signed_as("/" + quote(raw[1:], safe="~")),
    )
    yield "It was signed for a key with a slash at its start, which the URL lacks", signed_for(b"/" + raw)
    yield "The URL has a slash at the key's start that was not signed", signed_for(b"/" + raw.lstrip(b"/"))
    yield "The URL has a doubled slash that was not signed", signed_for(re.sub(b"/+", b"/", raw))
    for slash in itertools.islice((at for at in range(1, len(raw)) if raw[at] == ord("/")), _MOST):
        yield "A doubled slash in the key was folded on its way", signed_for(raw[:slash] + b"/" + raw[slash:])
    yield (
        "The signer left the bucket out: the resource is /bucket/key, also where the URL's path has none",
        attempt._replace(uri=canonical_uri(None, path)),
    )
    yield (
        "The signer put the bucket in twice: the resource is /bucket/key, also where the path begins with it",
        signed_for(f"/{bucket}".encode() + raw),
    )
    for other in buckets:
        yield f"It was signed for the bucket {other}", attempt._replace(uri=canonical_uri(other, path))
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, raw.decode("utf-8", "surrogateescape"))
        yield (
            f"The key was signed in Unicode's form {form}, which the URL's is not",
            signed_for(text.encode("utf-8", "surrogateescape")),
        )
    for sentence, rewrite in _ENCODERS.items():
        yield sentence, signed_as(rewrite(raw))


#: How signers encode a key wrongly.
_ENCODERS: Mapping[str, Callable[[bytes], str]] = {
    "The signer did not encode the key": lambda raw: raw.decode("latin-1"),
    "The signer wrote percent-codes in lower case": lambda raw: re.sub(
        "%..", lambda code: code[0].lower(), quote(raw, safe="/~")
    ),
    "The signer encoded the key as encodeURIComponent does, which leaves !'()* as they are": lambda raw: (
        quote(raw, safe="/~!'()*")
    ),
    "The signer encoded the key as encodeURI does, which leaves reserved characters as they are": (
        lambda raw: quote(raw, safe="/~!'()*;,?:@&=+$#")
    ),
    "The signer encoded the key as an HTML form does, which writes + for a space": lambda raw: (
        quote(raw, safe="/*").replace("%20", "+").replace("~", "%7E")
    ),
}


def _query_changes(attempt: Attempt) -> Iterator[_Change]:
    """What happens to the query after signing, and what signers forget to do to it."""
    params = [pair for pair in attempt.params if pair[0] != b"x-oss-signature"]

    def signed_with(pairs: list[tuple[bytes, bytes]]) -> Attempt:
        return attempt._replace(query=canonical_query(pairs))

    foreign = [pair for pair in params if not pair[0].startswith(b"x-oss-")]
    for pair in foreign[:_MOST]:
        yield (
            f"The parameter {pair[0].decode('latin-1')} was added to the URL after it was signed",
            signed_with([other for other in params if other is not pair]),
        )
    if len(foreign) > 1:
        yield (
            "Parameters were added to the URL after it was signed",
            signed_with([pair for pair in params if pair not in foreign]),
        )
    yield (
        "The token was added after signing: x-oss-security-token is signed with the rest of the query",
        signed_with([pair for pair in params if pair[0] != b"x-oss-security-token"]),
    )
    yield (
        "A + in the query stands for a space: encode it as %2B",
        signed_with([(name, value.replace(b" ", b"+")) for name, value in params]),
    )
    for seconds in _LIFETIMES:
        yield (
            f"x-oss-expires was changed after signing; it was {seconds}",
            signed_with(
                [(name, b"%d" % seconds if name == b"x-oss-expires" else value) for name, value in params]
            ),
        )
    encoded = [(quote(name, safe="~"), quote(value, safe="~")) for name, value in params]
    yield (
        "The signer did not sort the parameters",
        attempt._replace(query="&".join(f"{name}={value}" if value else name for name, value in encoded)),
    )
    yield (
        "The signer wrote = after a parameter that has no value",
        attempt._replace(query="&".join(f"{name}={value}" for name, value in sorted(encoded))),
    )
    yield (
        "The signer did not encode the slashes in the query",
        attempt._replace(query=canonical_query(params).replace("%2F", "/")),
    )
    yield (
        "The signer did not encode the query",
        attempt._replace(
            query="&".join(
                (name + b"=" + value if value else name).decode("latin-1") for name, value in sorted(params)
            )
        ),
    )


def _scope_changes(attempt: Attempt) -> Iterator[_Change]:
    """The key is derived from what the credential says; signers may take it from elsewhere."""
    for region in (*_REGIONS, *(f"oss-{region}" for region in _REGIONS), ""):
        yield (
            f"The signing key was derived for the region {region or '(none)'}, and not for {attempt.region} "
            "as the credential says",
            attempt._replace(region=region),
        )
    yield (
        "The signer hashed an empty payload, where UNSIGNED-PAYLOAD is due",
        attempt._replace(payload=hashlib.sha256().hexdigest()),
    )


def _secret_changes(attempt: Attempt, credentials: Mapping[str, Credential]) -> Iterator[_Change]:
    for access_key_id, known in credentials.items():
        if known.secret != attempt.secret:
            yield f"It was signed with the secret of {access_key_id}", attempt._replace(secret=known.secret)
    for space in ("\n", " ", "\r\n"):
        yield (
            "The signer's secret has white space at its end",
            attempt._replace(secret=attempt.secret + space),
        )
    yield "The signer's secret was empty", attempt._replace(secret="")


# ---- guesses ----


def _likely_types(attempt: Attempt, further: Iterable[str]) -> list[str]:
    """Media types that may have been signed, likeliest first, without the one that came."""
    was = attempt.headers.get("content-type", "")
    bare = was.partition(";")[0].strip()
    guess = mimetypes.guess_type(attempt.path)[0]
    spaced = [was.lower(), was.replace("; ", ";"), was.replace(";", "; ")]
    charsets = [f"{bare}{charset}" for charset in (";charset=UTF-8", "; charset=utf-8") if bare]
    types = dict.fromkeys([bare, *spaced, *charsets, *([guess] if guess else []), *_TYPES, *further])
    return [kind for kind in types if kind not in ("", was)]


def _recoded(value: str) -> Iterator[str]:
    """Other forms of a header's value, as latin-1 text."""
    if "%" in value:
        yield unquote_to_bytes(value).decode("latin-1")
    if not value.isascii() or " " in value:
        yield quote(value.encode("latin-1"))
        yield quote(value.encode("latin-1"), safe="")
    if not value.isascii():
        yield value.encode("utf-8").decode("latin-1")
        try:
            yield value.encode("latin-1").decode("utf-8").encode("latin-1").decode("latin-1")
        except UnicodeError:
            return


def _likely_hosts(attempt: Attempt) -> Iterator[str]:
    host = attempt.headers["host"]
    yield host.partition(":")[0]
    for service in (
        f"oss-{attempt.region}",
        f"oss-{attempt.region}-internal",
        "oss-accelerate",
        "oss-accelerate-overseas",
        f"{attempt.region}.oss",
    ):
        yield f"{attempt.bucket}.{service}.aliyuncs.com"


def _with_headers(attempt: Attempt, headers: Mapping[str, str]) -> Attempt:
    return attempt._replace(headers=headers, payload=headers.get("x-oss-content-sha256", UNSIGNED))


def _line(name: str, value: str) -> str:
    """A header as a person reads it; what is not plain is left out."""
    title = name if name.startswith("x-oss-") else name.title().replace("Md5", "MD5")
    return f"{title}: {value}" if len(value) <= 80 and value.isascii() and value.isprintable() else title
