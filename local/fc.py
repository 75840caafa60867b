"""Function Compute's HTTP trigger on a laptop: request to event, and the handler's dictionary to answer.

`event_of` and `answer_of` are the two translations; `Fc.respond` puts a handler between them, and `serve`
that on a port of this machine.

Source:
    https://help.aliyun.com/en/functioncompute/http-trigger-invoking-function (event and answer),
    https://help.aliyun.com/en/functioncompute/error-handling-1-1 (exceptions). Where they are silent: a
    body is base64 unless its Content-Type is textual and its bytes are UTF-8; an exception is a 502.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from . import server

Handler = Callable[[bytes, Any], Any]

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")
_MAX_HEADERS = 8 * 1024
_MAX_TARGET = 4 * 1024
_MAX_BODY = 32 * 2**20
_DROPPED = frozenset({"connection", "keep-alive"})
_RESERVED = frozenset({"connection", "content-length", "date", "keep-alive", "server", "upgrade"})


class Credentials(NamedTuple):
    """The STS credentials of the function's role."""

    access_key_id: str
    access_key_secret: str
    security_token: str


class Function(NamedTuple):
    """What the context says of the function."""

    name: str = "presign"
    handler: str = "index.handler"
    memory: int = 128
    timeout: int = 10


class Context(NamedTuple):
    """The second argument of a handler, as on python3.10."""

    request_id: str
    region: str
    account_id: str
    function: Function
    credentials: Credentials | None


class Fc:
    """One function behind its HTTP trigger.

    Args:
        handler: is called for one request at a time, as on an instance of FC.
        methods: of the trigger; others get 403.
        credentials: of the role; None is a function without one, and python3.12.
        region: where it runs.
        account_id: whose it is.
        clock: gives seconds since the epoch.
        log: is given one line for each request, and the traceback of an exception.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        methods: Sequence[str] = METHODS,
        credentials: Credentials | None = None,
        region: str = "cn-hangzhou",
        account_id: str = "1234567890123456",
        clock: Callable[[], float] = time.time,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.handler = handler
        self.methods = methods
        self.credentials = credentials
        self.region = region
        self.account_id = account_id
        self.clock = clock
        self.log = log or (lambda line: None)
        self._one = threading.Lock()

    def respond(
        self, method: str, url: str, headers: Iterable[tuple[str, str]], body: server.Readable
    ) -> server.Answer:
        """Answer one request as FC does."""
        token = secrets.token_hex(14)
        request_id = f"1-{token[:8]}-{token[8:16]}-{token[16:]}"
        pairs = list(headers)
        status, answered, content = self._answer(method, url, pairs, body, request_id)
        origin = next((value for name, value in pairs if name.lower() == "origin"), None)
        names = {name.lower() for name in answered}
        if origin is not None and "access-control-allow-origin" not in names:
            answered["Access-Control-Allow-Origin"] = origin
            answered["Access-Control-Allow-Credentials"] = "true"
        answered["X-Fc-Request-Id"] = request_id
        answered["Content-Length"] = str(len(content))
        return status, answered, io.BytesIO(content)

    def _answer(
        self, method: str, url: str, headers: list[tuple[str, str]], body: server.Readable, request_id: str
    ) -> tuple[int, dict[str, str], bytes]:
        if method not in self.methods:
            return _refusal(403, "AccessDenied", f"The trigger does not allow {method}.")
        target = "/" + url.partition("://")[2].partition("/")[2]
        if len(target) > _MAX_TARGET:
            return _refusal(400, "InvalidArgument", "Path and query are over 4 KB.")
        if sum(len(name) + len(value) for name, value in headers) > _MAX_HEADERS:
            return _refusal(400, "InvalidArgument", "The headers are over 8 KB.")
        content = b""
        while data := body.read(server.CHUNK):
            content += data
            if len(content) > _MAX_BODY:
                return _refusal(400, "InvalidArgument", "The body is over 32 MB.")
        event = event_of(
            method,
            target,
            headers,
            content,
            request_id=request_id,
            account_id=self.account_id,
            now=self.clock(),
        )
        context = Context(request_id, self.region, self.account_id, Function(), self.credentials)
        try:
            with self._one:
                result = self.handler(event, context)
        except Exception as error:  # FC answers every exception
            self.log(traceback.format_exc())
            return _unhandled(error)
        return answer_of(result)


def event_of(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    request_id: str,
    account_id: str,
    now: float,
    source_ip: str = "127.0.0.1",
) -> bytes:
    """The event of an HTTP request.

    Args:
        method: as sent.
        target: path and query, percent-encoded, as sent.
        headers: as sent; repeated ones are joined by ",".
        body: without the framing of chunks.
        request_id: goes into `requestContext`.
        account_id: goes into `requestContext`.
        now: seconds since the epoch.
        source_ip: of the caller.
    """
    folded: dict[str, str] = {}
    for name, value in headers:
        name = _canonical(name)
        if name.lower() in _DROPPED or name.startswith("X-Fc-"):
            continue
        folded[name] = f"{folded[name]},{value}" if name in folded else value
    query: dict[str, str] = {}
    path, _, raw_query = target.partition("?")
    for name, value in parse_qsl(raw_query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    text, encoded = _body_text(body, folded.get("Content-Type", ""))
    host = folded.get("Host", "")
    return json.dumps(
        {
            "version": "v1",
            "rawPath": path,
            "headers": folded,
            "queryParameters": query,
            "body": text,
            "isBase64Encoded": encoded,
            "requestContext": {
                "accountId": account_id,
                "domainName": host,
                "domainPrefix": host.partition(".")[0],
                "http": {
                    "method": method,
                    "path": unquote(path),
                    "protocol": "HTTP/1.1",
                    "sourceIp": source_ip,
                    "userAgent": folded.get("User-Agent", ""),
                },
                "requestId": request_id,
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
                "timeEpoch": str(int(now * 1000)),
            },
        },
        ensure_ascii=False,
    ).encode()


def answer_of(result: Any) -> tuple[int, dict[str, str], bytes]:
    """What FC makes of a handler's result: status, headers, body."""
    if not isinstance(result, Mapping) or not isinstance(result.get("statusCode"), int):
        return 200, {"Content-Type": "application/json"}, json.dumps(result).encode()
    headers = {
        str(name): str(value)
        for name, value in (result.get("headers") or {}).items()
        if name.lower() not in _RESERVED and not name.lower().startswith("x-fc-")
    }
    if sum(len(name) + len(value) for name, value in headers.items()) > _MAX_HEADERS:
        return _refusal(502, "BadResponse", "The headers of the answer are over 8 KB.")
    body = str(result.get("body") or "").encode()
    if result.get("isBase64Encoded"):
        body = base64.b64decode(body)
    return result["statusCode"], headers, body


@contextlib.contextmanager
def serve(handler: Handler, port: int = 0, **options: Any) -> Iterator[str]:
    """Put a handler on a port of this machine until the block ends, and give the address.

    Args:
        handler: the function's.
        port: 0 is any free one.
        options: of `Fc`.

    Raises:
        OSError: the port is taken.
    """
    with serve_fc(Fc(handler, **options), port) as address:
        yield address


@contextlib.contextmanager
def serve_fc(fc: Fc, port: int = 0) -> Iterator[str]:
    """The same for an `Fc`."""

    def refuse(status: int, message: str) -> server.Answer:
        _, headers, content = _refusal(status, "InvalidArgument", message)
        return status, {**headers, "Content-Length": str(len(content))}, io.BytesIO(content)

    with server.serve(fc.respond, refuse=refuse, port=port) as address:
        yield address


def _canonical(name: str) -> str:
    """As Go writes it: every part between hyphens with one capital."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _body_text(body: bytes, content_type: str) -> tuple[str, bool]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind.endswith(("json", "xml", "x-www-form-urlencoded")) or not body:
        with contextlib.suppress(UnicodeDecodeError):
            return body.decode(), False
    return base64.b64encode(body).decode(), True


def _refusal(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps({"ErrorCode": code, "ErrorMessage": message}).encode()
    return status, {"Content-Type": "application/json", "X-Fc-Error-Code": code}, body


def _unhandled(error: Exception) -> tuple[int, dict[str, str], bytes]:
    frames = [
        [f'File "{frame.filename}"', f"line {frame.lineno}", f"in {frame.name}", frame.line or ""]
        for frame in traceback.extract_tb(error.__traceback__)[1:]
    ]
    body = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": frames}
    headers = {"Content-Type": "application/json", "X-Fc-Error-Type": "UnhandledInvocationError"}
    return 502, headers, json.dumps(body).encode()
