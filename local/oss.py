"""OSS on a laptop: objects kept in a folder, behind OSS's answers.

`Oss.respond` is all of it: a function from a request to an answer. `serve` puts it on a port of this
machine and `mock_oss` behind `responses`, so that programs in the same process reach it under OSS's own
addresses. It verifies every signature (`oss_verify`), keeps to OSS's rules for keys, headers and bodies,
and says 501 for what it does not do.

What it does: PutObject, GetObject, HeadObject, DeleteObject, and CORS preflight.

OSS publishes no order of checks. Here it is the address and its bucket, the method, the signature, what is
implemented, the key, the headers, what is stored already, and last the body, which is not read before.
Whether a URL has expired is judged once, when the request arrives. CORS headers are on refusals too, where
OSS may leave them out, so that a page can read why.

Source:
    https://help.aliyun.com/en/oss/developer-reference/putobject and its neighbours,
    https://help.aliyun.com/en/oss/user-guide/ with an EC number for the errors.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import IO, Any, NamedTuple
from xml.sax.saxutils import escape

from . import oss_rules, server
from .oss_diagnose import likely_cause
from .oss_store import Store, Stored, crc64_ecma
from .oss_verify import Credential, Refused, verify

BUCKET = "local-bucket"
REGION = "cn-hangzhou"
#: An STS credential with the characters that must be encoded in a URL. Nothing secret: it is good for
#: nothing else.
ACCESS_KEY_ID = "STS.LOCALAKID"
CREDENTIALS: Mapping[str, Credential] = {
    ACCESS_KEY_ID: Credential("LocalSecret", "CAISlocal+token/with=every+odd/character=="),
}
#: Of one PutObject.
MAX_BYTES = 5 * 2**30

#: The headers of a PUT that come back with the object, besides x-oss-meta-*.
_KEPT = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-oss-server-side-encryption",
    "x-oss-server-side-encryption-key-id",
    "x-oss-server-side-data-encryption",
    "x-oss-storage-class",
)


class CorsRule(NamedTuple):
    """One rule of a bucket. `*` stands for any run of characters, once in an origin or a header's name."""

    origins: Sequence[str] = ("*",)
    methods: Sequence[str] = ("PUT", "GET", "HEAD", "POST", "DELETE")
    headers: Sequence[str] = ("*",)
    expose: Sequence[str] = ("ETag", "x-oss-request-id", "x-oss-hash-crc64ecma")
    max_age: int = 600


class Oss:
    """Buckets with objects, and OSS's answers about them.

    Args:
        buckets: names, or names to regions.
        credentials: access key id to what is known of it.
        region: of the buckets that are given without one.
        data: the folder where objects are kept; None is a temporary one that `close` removes.
        clock: gives seconds since the epoch.
        cors: the rules of every bucket; none refuses every cross-origin request.
        cnames: host names of your own, to the bucket that they are bound to.
        max_bytes: that one PutObject may send.
        log: is given one line for each request.
    """

    def __init__(
        self,
        buckets: Iterable[str] | Mapping[str, str] = (BUCKET,),
        *,
        credentials: Mapping[str, Credential] = CREDENTIALS,
        region: str = REGION,
        data: Path | None = None,
        clock: Callable[[], float] = time.time,
        cors: Sequence[CorsRule] = (CorsRule(),),
        cnames: Mapping[str, str] | None = None,
        max_bytes: int = MAX_BYTES,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.buckets = dict(buckets) if isinstance(buckets, Mapping) else dict.fromkeys(buckets, region)
        self.credentials = dict(credentials)
        self.region = region
        self.clock = clock
        self.cors = list(cors)
        self.cnames = {name.lower(): bucket for name, bucket in (cnames or {}).items()}
        self.max_bytes = max_bytes
        self.log = log or (lambda line: None)
        #: Where `serve` or `mock_oss` put it.
        self.address = ""
        self._store = Store(data)
        self._faults: deque[Refused] = deque()

    def close(self) -> None:
        """Remove the temporary folder, if the objects are in one."""
        self._store.close()

    @property
    def objects(self) -> dict[str, Stored]:
        """What is stored, by key; with more than one bucket by `bucket/key`."""
        many = len(self.buckets) > 1
        return {f"{bucket}/{key}" if many else key: it for (bucket, key), it in self._store.all().items()}

    def get(self, key: str, bucket: str | None = None) -> Stored | None:
        """The object of that key, in the first bucket unless another is named."""
        return self._store.get(bucket or next(iter(self.buckets)), key)

    def put(self, key: str, content: bytes, bucket: str | None = None, **headers: str) -> Stored:
        """Store an object without a request, as a test's arrangement does.

        Args:
            key: its name.
            content: its bytes.
            bucket: the first one unless named.
            headers: kept with it; `content_type="text/plain"` is Content-Type.
        """
        bucket = bucket or next(iter(self.buckets))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        stored = self._receive(bucket, key, named, io.BytesIO(content), len(content), self.clock())
        assert stored is not None  # noqa: S101 (nothing forbids to overwrite)
        return stored

    def fail_next(self, code: str, times: int = 1) -> None:
        """Refuse the next requests whose signature is good, for a reason that lies in the account.

        Args:
            code: `SlowDown`, `AccessDenied`, `PublicEndpointForbidden` or another of `oss_rules.FAULTS`.
            times: so many requests; those of several calls come one after the other.

        Raises:
            ValueError: there is no such fault.
        """
        self._faults.extend(oss_rules.fault(code) for _ in range(times))

    def respond(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | server.Readable = b"",
    ) -> server.Answer:
        """Answer one request as OSS does.

        Args:
            method: as sent.
            url: absolute, percent-encoded, as sent.
            headers: as sent, in any case; text of which each character is one byte. `Host` beats the URL's.
            body: the bytes behind the head, without the framing of chunks; read only once all else is good.

        Returns:
            Status, headers, and the body to be read and closed.
        """
        started = time.perf_counter()
        request = _Request.of(method, url, headers, self.clock())
        answered: dict[str, str] = {
            "Server": "AliyunOSS",
            "Date": formatdate(request.now, usegmt=True),
            "x-oss-request-id": secrets.token_hex(12).upper(),
        }
        outcome = ""
        try:
            status, further, content = self._answer(
                request, io.BytesIO(body) if isinstance(body, bytes) else body
            )
        except server.ClientGone:
            self._note(request, "broken off")
            raise
        except Refused as refused:
            status = refused.status
            cause = likely_cause(refused, request.headers, self.credentials, self.buckets)
            further, content = _error(refused, request, answered["x-oss-request-id"], cause)
            outcome = f" {refused.code}" + (f" ({cause})" if cause else "")
        self._note(request, f"{status}{outcome}")
        answered["x-oss-server-time"] = str(round((time.perf_counter() - started) * 1000))
        answered.update(self._cors_headers(request))
        answered.update(further)
        return status, answered, content

    def _note(self, request: _Request, outcome: str) -> None:
        self.log(re.sub(r"[^ -~]", "?", f"{request.method} {request.host}{request.path} {outcome}"))

    # ---- what is asked for ----

    def _answer(self, request: _Request, body: server.Readable) -> server.Answer:
        if request.method == "OPTIONS":
            return self._preflight(request)
        place = oss_rules.locate(request.host, request.path, self.cnames)
        bucket, path = place.bucket, place.path
        if bucket is not None:
            oss_rules.check_bucket(bucket, place.region, self.buckets)
        wanted = oss_rules.undone(request.query)
        if request.method == "POST" and path == "/":
            raise oss_rules.not_implemented("PostObject and the other operations on a bucket")
        if request.method not in ("PUT", "GET", "HEAD", "DELETE") and not wanted:
            raise oss_rules.method_not_allowed(request.method)
        verify(
            request.method,
            path,
            request.query,
            request.headers,
            bucket=bucket,
            credentials=self.credentials,
            now=request.now,
            region=place.cloudbox or self.buckets.get(bucket or "", self.region),
            product="oss-cloudbox" if place.cloudbox else "oss",
        )
        with contextlib.suppress(IndexError):
            raise self._faults.popleft()
        if wanted:
            raise oss_rules.not_implemented(f"The query's {', '.join(wanted)}")
        if bucket is None or path == "/":
            raise oss_rules.not_implemented("An operation on a bucket or on the service")
        key = oss_rules.key_of(path)
        if request.method == "PUT":
            return self._put(bucket, key, request, body)
        if request.method == "DELETE":
            self._store.delete(bucket, key)
            return 204, {}, io.BytesIO()
        return self._get(bucket, key, request.headers)

    def _put(self, bucket: str, key: str, request: _Request, body: server.Readable) -> server.Answer:
        headers = request.headers
        oss_rules.check_put_headers(headers, request.query)
        length = oss_rules.announced_length(headers, self.max_bytes)
        forbid = headers.get("x-oss-forbid-overwrite") == "true"
        if forbid and self._store.get(bucket, key) is not None:
            raise oss_rules.exists()
        stored = self._receive(bucket, key, headers, body, length, request.now)
        if stored is None:
            raise oss_rules.exists()
        return 200, {**_digests(stored), **_encryption(stored.headers), "Content-Length": "0"}, io.BytesIO()

    def _receive(
        self,
        bucket: str,
        key: str,
        headers: Mapping[str, str],
        body: server.Readable,
        length: int | None,
        now: float,
    ) -> Stored | None:
        """The object once it is stored; None if there is one by now that must not be overwritten."""
        kept = {name: headers[name] for name in _KEPT if name in headers}
        kept |= {name: value for name, value in headers.items() if name.startswith("x-oss-meta-")}
        kept.setdefault("content-type", "application/octet-stream")
        kept.setdefault("x-oss-storage-class", "Standard")
        expected_md5 = headers.get("content-md5")
        with self._store.receive() as (file, path):
            size, md5, crc64 = _copy(body, file, length, self.max_bytes)
            file.close()
            if expected_md5 is not None and oss_rules.content_md5(expected_md5) != md5:
                raise oss_rules.invalid_digest("0017-00000503")
            stored = Stored(bucket, key, size, md5.hex(), crc64, kept, now, path)
            return self._store.keep(stored, overwrite=headers.get("x-oss-forbid-overwrite") != "true")

    def _get(self, bucket: str, key: str, headers: Mapping[str, str]) -> server.Answer:
        opened = self._store.open(bucket, key)
        if opened is None:
            raise Refused(
                404,
                "NoSuchKey",
                "The specified key does not exist.",
                ec="0026-00000001",
                fields={"Key": key},
            )
        stored, file = opened
        described = {
            **_digests(stored),
            "Last-Modified": formatdate(stored.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "x-oss-object-type": "Normal",
            **{oss_rules.title(name): value for name, value in stored.headers.items()},
        }
        status = oss_rules.condition(stored.md5.upper(), stored.modified, headers)
        if status == 304:
            file.close()
            return 304, {**described, "Content-Length": "0"}, io.BytesIO()
        if status == 412:
            file.close()
            raise Refused(
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold.",
            )
        part = oss_rules.range_of(headers.get("range", ""), stored.size)
        if part is None:
            return 200, {**described, "Content-Length": str(stored.size)}, file
        first, last = part
        file.seek(first)
        described["Content-Range"] = f"bytes {first}-{last}/{stored.size}"
        described["Content-Length"] = str(last - first + 1)
        return 206, described, _Part(file, last - first + 1)

    # ---- CORS ----

    def _preflight(self, request: _Request) -> server.Answer:
        headers = request.headers
        for name, ec in (("origin", "0034-00000101"), ("access-control-request-method", "0034-00000102")):
            if name not in headers:
                raise Refused(
                    400,
                    "BadRequest",
                    f"Insufficient information. {oss_rules.title(name)} request header needed.",
                    ec=ec,
                )
        method = headers["access-control-request-method"]
        asked = [
            name.strip().lower() for name in headers.get("access-control-request-headers", "").split(",")
        ]
        for rule in self.cors:
            if (
                _fits(headers["origin"], rule.origins)
                and method in rule.methods
                and all(_fits(name, rule.headers) for name in asked if name)
            ):
                allowed = {
                    **_allow_origin(rule, headers["origin"]),
                    "Access-Control-Allow-Methods": ", ".join(rule.methods),
                    "Access-Control-Max-Age": str(rule.max_age),
                    "Content-Length": "0",
                }
                if any(asked):
                    allowed["Access-Control-Allow-Headers"] = ", ".join(name for name in asked if name)
                return 200, allowed, io.BytesIO()
        raise Refused(
            403,
            "AccessForbidden",
            # Misspelt as OSS has it.
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of "
            "Origin, request method / Access-Control-Request-Method or Access-Control-Requet-Headers are "
            "not whitelisted by the resource's CORS spec.",
            ec="0003-00000602" if self.cors else "0003-00000601",
        )

    def _cors_headers(self, request: _Request) -> dict[str, str]:
        origin = request.headers.get("origin")
        if origin is None or request.method == "OPTIONS":
            return {}
        for rule in self.cors:
            if _fits(origin, rule.origins) and request.method in rule.methods:
                return _allow_origin(rule, origin)
        return {}


@contextlib.contextmanager
def serve(oss: Oss, port: int = 0) -> Iterator[Oss]:
    """Put it on a port of this machine until the block ends; `oss.address` says where.

    Buckets are reached there in path style, `http://127.0.0.1:40123/bucket/key`, and in virtual-host style
    by the Host header, `bucket.localhost` or OSS's own names.

    Args:
        oss: stays as it is afterwards, objects included.
        port: 0 is any free one.

    Raises:
        OSError: the port is taken.
    """

    def refuse(status: int, message: str) -> server.Answer:
        code = "InternalError" if status >= 500 else "BadRequest"
        request = _Request.of("GET", "http:///", (), oss.clock())
        further, content = _error(Refused(status, code, message), request, secrets.token_hex(12).upper(), "")
        return status, {"Server": "AliyunOSS", **further}, content

    with server.serve(oss.respond, refuse=refuse, port=port) as address:
        oss.address = address
        yield oss


@contextlib.contextmanager
def mock_oss(buckets: Iterable[str] | Mapping[str, str] = (BUCKET,), **options: Any) -> Iterator[Oss]:
    """Put it behind `responses` until the block ends, for `requests` and what is built on it, as oss2 is.

    Every request of this process to OSS's hosts and to the custom domains is answered here; those to this
    machine's own ports pass; any other fails, as `responses` has it. `oss.address` is the endpoint to
    give to an SDK.

    Args:
        buckets: as for `Oss`.
        options: of `Oss`.
    """
    import responses  # for tests alone; all else here needs nothing installed

    oss = Oss(buckets, **options)
    oss.address = f"https://oss-{next(iter(oss.buckets.values()), oss.region)}.aliyuncs.com"
    domains = "|".join([r"([^/?#]+\.)?oss[^./?#]*\.aliyuncs\.com", *map(re.escape, oss.cnames)])
    pattern = re.compile(rf"https?://({domains})(:[0-9]+)?([/?#]|$)", re.IGNORECASE)

    def answer(request: Any) -> tuple[int, dict[str, str], bytes]:
        headers = [(_wire(name), _wire(value)) for name, value in request.headers.items()]
        url = request.url.partition("#")[0]
        status, answered, content = oss.respond(request.method, url, headers, _Upload(request.body))
        with contextlib.closing(content):
            parts = iter(lambda: content.read(server.CHUNK), b"")
            return status, answered, b"" if request.method == "HEAD" else b"".join(parts)

    try:
        with responses.RequestsMock(assert_all_requests_are_fired=False) as intercepted:
            for method in ("GET", "PUT", "POST", "HEAD", "DELETE", "OPTIONS", "PATCH"):
                intercepted.add_callback(method, pattern, answer, content_type=None)
            intercepted.add_passthru(re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\])[:/]"))
            yield oss
    finally:
        oss.close()


def _wire(text: str | bytes) -> str:
    """What http.client would send, as latin-1 text."""
    if isinstance(text, bytes):
        return text.decode("latin-1")
    try:
        return text.encode("latin-1").decode("latin-1")
    except UnicodeEncodeError:
        return text.encode().decode("latin-1")


class _Upload:
    """What `requests` takes as a body, to be read in pieces."""

    def __init__(self, body: Any) -> None:
        if isinstance(body, str):
            body = body.encode()
        if body is None or isinstance(body, (bytes, bytearray)):
            body = io.BytesIO(body or b"")
        self._read = body.read if hasattr(body, "read") else _reader(body)

    def read(self, size: int, /) -> bytes:
        data = self._read(size)
        return data.encode() if isinstance(data, str) else bytes(data)


def _reader(parts: Iterable[bytes]) -> Callable[[int], bytes]:
    iterator = iter(parts)
    rest = b""

    def read(size: int) -> bytes:
        nonlocal rest
        while not rest:
            part = next(iterator, None)
            if part is None:
                return b""
            rest = part
        data, rest = rest[:size], rest[size:]
        return data

    return read


class _Request(NamedTuple):
    method: str
    #: Lower-case, without port.
    host: str
    path: str
    query: str
    headers: dict[str, str]
    now: float

    @classmethod
    def of(
        cls, method: str, url: str, headers: Mapping[str, str] | Iterable[tuple[str, str]], now: float
    ) -> _Request:
        folded: dict[str, str] = {}
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            name = name.lower()
            folded[name] = f"{folded[name]},{value}" if name in folded else value
        _, _, rest = url.partition("://")
        # Up to the first of "/" and "?": urllib would also cut at "#" and strip control characters.
        end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
        host = folded.setdefault("host", rest[:end])
        path, _, query = rest[end:].partition("?")
        host = re.sub(r":[0-9]*$", "", host.strip().lower()).rstrip(".")
        return cls(method, host, path or "/", query, folded, now)


def _copy(
    body: server.Readable, file: IO[bytes], length: int | None, max_bytes: int
) -> tuple[int, bytes, int]:
    """Store the body as it comes; its size, MD5 and CRC-64."""
    md5 = hashlib.md5(usedforsecurity=False)
    crc64 = 0
    size = 0
    while length is None or size < length:
        try:
            data = body.read(server.CHUNK if length is None else min(server.CHUNK, length - size))
        except server.ClientGone:
            raise
        except server.SlowBody as error:
            raise Refused(400, "RequestTimeout", str(error)) from error
        except server.BrokenBody as error:
            raise Refused(400, "IncompleteBody", str(error)) from error
        if not data:
            break
        size += len(data)
        if size > max_bytes:
            raise oss_rules.too_large(max_bytes)
        md5.update(data)
        crc64 = crc64_ecma(data, crc64)
        file.write(data)
    if length is not None and size < length:
        raise Refused(
            400,
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        )
    return size, md5.digest(), crc64


class _Part(io.BufferedIOBase):
    """So many bytes of a file, from where it stands."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._file.read(self._left if size is None or size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


# ---- answers ----


def _error(
    refused: Refused, request: _Request, request_id: str, cause: str
) -> tuple[dict[str, str], server.Content]:
    """OSS's XML, with an element of our own: `LikelyCause`."""
    elements = {
        "Code": refused.code,
        "Message": refused.message,
        "RequestId": request_id,
        "HostId": request.host,
        **refused.fields,
    }
    headers: dict[str, str] = {}
    if refused.ec:
        elements["EC"] = refused.ec
        elements["RecommendDoc"] = f"https://api.aliyun.com/troubleshoot?q={refused.ec}"
        headers["x-oss-ec"] = refused.ec
    if cause:
        elements["LikelyCause"] = cause
    lines = "".join(f"  <{name}>{escape(_printable(value))}</{name}>\n" for name, value in elements.items())
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n{lines}</Error>\n'.encode()
    if request.method == "HEAD":
        headers["x-oss-err"] = base64.b64encode(xml).decode()
        xml = b""
    headers |= {"Content-Type": "application/xml", "Content-Length": str(len(xml))}
    return headers, io.BytesIO(xml)


def _printable(text: str) -> str:
    """Without what XML cannot hold, even escaped."""
    return re.sub("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _digests(stored: Stored) -> dict[str, str]:
    return {
        "ETag": stored.etag,
        "Content-MD5": base64.b64encode(bytes.fromhex(stored.md5)).decode(),
        "x-oss-hash-crc64ecma": str(stored.crc64),
    }


def _encryption(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-oss-server-side-")}


def _allow_origin(rule: CorsRule, origin: str) -> dict[str, str]:
    any_origin = "*" in rule.origins
    allowed = {
        "Access-Control-Allow-Origin": "*" if any_origin else origin,
        "Access-Control-Expose-Headers": ", ".join(rule.expose),
    }
    return allowed if any_origin else {**allowed, "Vary": "Origin"}


def _fits(text: str, patterns: Sequence[str]) -> bool:
    for pattern in patterns:
        before, star, after = pattern.lower().partition("*")
        lowered = text.lower()
        if (
            lowered == before
            if not star
            else (
                len(lowered) >= len(before) + len(after)
                and lowered.startswith(before)
                and lowered.endswith(after)
            )
        ):
            return True
    return False
