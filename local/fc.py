"""Function Compute's HTTP trigger on a laptop: request to event, and the handler's dictionary to answer.

`event_of` and `answer_of` are the two translations, `Fc.respond` puts a handler between them, and `serve`
that on a port of this machine. Requests may arrive at once, but the handler sees one at a time, as on an
instance.

Not done: the trigger's own authentication, asynchronous invocation, the function's timeout and memory.

Source:
    https://help.aliyun.com/en/functioncompute/http-trigger-invoking-function (event, answer, limits),
    https://help.aliyun.com/en/functioncompute/error-handling-1-1 (exceptions),
    https://help.aliyun.com/en/functioncompute/context-1 (context). Where they are silent: a body is base64
    unless its Content-Type is textual and its bytes are UTF-8, and also when empty without a Content-Type; an
    exception is a 502; a result that is no answer is sent as it is, with 200; a status under 200 is a bad
    response; the header block counts as the bytes of names and values.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import re
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from . import server

Handler = Callable[[bytes, Any], Any]

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")
MAX_HEADERS = 8 * 1024
MAX_TARGET = 4 * 1024
MAX_BODY = 32 * 2**20

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Host is in the event's requestContext, and a body is whole by then.
_NOT_PASSED = frozenset({"connection", "host", "keep-alive", "transfer-encoding"})
_RESERVED = frozenset({"connection", "content-length", "date", "keep-alive", "server", "upgrade"})


class Credentials(NamedTuple):
    """The STS credentials of the function's role."""

    access_key_id: str
    access_key_secret: str
    security_token: str

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id}, ***, ***)"


class Fc:
    """One function behind its HTTP trigger.

    Args:
        handler: is called for one request at a time.
        methods: of the trigger; others get 403.
        runtime: `python3.10`, or `python3.12`, whose context has no credentials: there they are in the
            environment.
        credentials: of the role; None is a function without one.
        region: where it runs.
        account_id: whose it is.
        clock: gives seconds since the epoch.
        log: is given what the function prints, line by line, and the traceback of an exception.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        methods: Sequence[str] = METHODS,
        runtime: str = "python3.10",
        credentials: Credentials | None = None,
        region: str = "cn-hangzhou",
        account_id: str = "1234567890123456",
        clock: Callable[[], float] = time.time,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.handler = handler
        self.methods = tuple(methods)
        self.runtime = runtime
        self.credentials = credentials
        self.region = region
        self.account_id = account_id
        self.clock = clock
        self.log = log or (lambda line: None)
        self._one = threading.Lock()

    def respond(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | server.Readable = b"",
    ) -> server.Answer:
        """Answer one request as FC does.

        Args:
            method: as sent.
            url: absolute, percent-encoded, as sent.
            headers: as sent, in any case; text of which each character is one byte.
            body: without the framing of chunks.
        """
        token = secrets.token_hex(14)
        request_id = f"1-{token[:8]}-{token[8:16]}-{token[16:]}"
        pairs = list(headers)
        source = io.BytesIO(body) if isinstance(body, bytes) else body
        status, answered, content = self._answer(method, url, pairs, source, request_id)
        origin = next((value for name, value in pairs if name.lower() == "origin"), None)
        if origin is not None and "Access-Control-Allow-Origin" not in answered:
            answered["Access-Control-Allow-Origin"] = origin
            answered["Access-Control-Allow-Credentials"] = "true"
            answered.setdefault("Access-Control-Expose-Headers", "Date,x-fc-request-id,x-fc-error-type")
        answered["X-Fc-Request-Id"] = request_id
        answered["Date"] = formatdate(self.clock(), usegmt=True)
        answered["Content-Length"] = str(len(content))
        return status, answered, io.BytesIO(content)

    def _answer(
        self, method: str, url: str, headers: list[tuple[str, str]], body: server.Readable, request_id: str
    ) -> tuple[int, dict[str, str], bytes]:
        names = {name.lower(): value for name, value in headers}
        preflight = method == "OPTIONS" and "access-control-request-method" in names
        if preflight and method not in self.methods:
            return _platform_preflight(names)
        if method not in self.methods:
            return _refusal(403, "AccessDenied", f"The trigger does not allow {method}.")
        target = "/" + url.partition("://")[2].partition("/")[2]
        if len(target) > MAX_TARGET:
            return _refusal(400, "InvalidArgument", "Path and query are over 4 KB.")
        if sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS:
            return _refusal(400, "InvalidArgument", "The headers are over 8 KB.")
        parts: list[bytes] = []
        size = 0
        try:
            while data := body.read(server.CHUNK):
                parts.append(data)
                size += len(data)
                if size > MAX_BODY:
                    return _refusal(400, "InvalidArgument", "The body is over 32 MB.")
        except server.ClientGone:
            raise
        except server.BrokenBody as broken:
            return _refusal(400, "InvalidArgument", str(broken))
        announced = names.get("content-length", "")
        if announced.isdigit() and size < int(announced):
            return _refusal(400, "InvalidArgument", "The body is shorter than its Content-Length.")
        event = event_of(
            method,
            target,
            headers,
            b"".join(parts),
            request_id=request_id,
            account_id=self.account_id,
            now=self.clock(),
        )
        return self._invoke(event, request_id)

    def _invoke(self, event: bytes, request_id: str) -> tuple[int, dict[str, str], bytes]:
        context = context_of(
            request_id,
            runtime=self.runtime,
            region=self.region,
            account_id=self.account_id,
            credentials=self.credentials,
        )
        printed = io.StringIO()
        try:
            with self._one, _stdout.to(printed):
                result = self.handler(event, context)
            return answer_of(result)
        except (Exception, SystemExit) as error:  # FC answers for every exception
            print(traceback.format_exc(), end="", file=printed)
            return _unhandled(error)
        finally:
            for line in printed.getvalue().splitlines():
                self.log(line)


class _Stdout:
    """Standard output while handlers run: each one's prints go to its own log, all else where it went before.

    `contextlib.redirect_stdout` is for a whole process: of two functions in it, the first to end would take
    the other's output away, and either what the process itself prints meanwhile.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._handlers = threading.local()
        self._running = 0
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._handlers, "printed", None) or self._before, name)

    @contextlib.contextmanager
    def to(self, printed: io.StringIO) -> Iterator[None]:
        with self._lock:
            if not self._running:
                self._before, sys.stdout = sys.stdout, self
            self._running += 1
        callers = getattr(self._handlers, "printed", None)  # a handler's that calls another function
        self._handlers.printed = printed
        try:
            yield
        finally:
            self._handlers.printed = callers
            with self._lock:
                self._running -= 1
                if not self._running:
                    sys.stdout = self._before


_stdout = _Stdout()


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
    with server.serve(Fc(handler, **options).respond, refuse=refuse, port=port) as address:
        yield address


def refuse(status: int, message: str) -> server.Answer:
    """The answer to what is not a request, or broke this module."""
    code = "InternalServerError" if status >= 500 else "InvalidArgument"
    status, headers, content = _refusal(status, code, message)
    return status, {**headers, "Content-Length": str(len(content))}, io.BytesIO(content)


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
    """The event of an HTTP request, as JSON.

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
    passed: dict[str, str] = {}
    host = ""
    for name, value in headers:
        name, value = canonical_name(name), _text(value)
        if name == "Host":
            host = value
        if name.lower() not in _NOT_PASSED and not name.startswith("X-Fc-"):
            passed[name] = f"{passed[name]},{value}" if name in passed else value
    raw_path, _, raw_query = _text(target).partition("?")
    query: dict[str, str] = {}
    for name, value in parse_qsl(raw_query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    text, encoded = _body_of(body, passed.get("Content-Type", ""))
    event = {
        "version": "v1",
        "rawPath": raw_path,
        "headers": passed,
        "queryParameters": query,
        "body": text,
        "isBase64Encoded": encoded,
        "requestContext": {
            "accountId": account_id,
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": method,
                "path": unquote(raw_path),
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": passed.get("User-Agent", ""),
            },
            "requestId": request_id,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            "timeEpoch": str(int(now * 1000)),
        },
    }
    return json.dumps(event, ensure_ascii=False).encode()


def context_of(
    request_id: str, *, runtime: str, region: str, account_id: str, credentials: Credentials | None
) -> SimpleNamespace:
    """The handler's second argument, with the attributes that the runtime gives it."""
    function = SimpleNamespace(name="oss-upload-url", handler="index.handler", memory=128, timeout=10)
    logger = logging.getLogger()
    context = SimpleNamespace(
        request_id=request_id,
        region=region,
        account_id=account_id,
        function=function,
        getLogger=lambda: logger,
    )
    if runtime == "python3.12":
        function.version_id, function.qualifier = "", "LATEST"
        context.log_project = context.log_store = ""
        context.logger = logger
    else:
        context.credentials = credentials or Credentials("", "", "")
        context.service = SimpleNamespace(log_project="", log_store="", qualifier="LATEST", version_id="")
    return context


def answer_of(result: Any) -> tuple[int, dict[str, str], bytes]:
    """What FC makes of a handler's result: status, headers, body.

    Raises:
        TypeError: JSON cannot hold it; for FC that is the function's exception.
    """
    if isinstance(result, bytes):
        return 200, {"Content-Type": "application/octet-stream"}, result
    result = json.loads(json.dumps(result))
    if not isinstance(result, dict) or "statusCode" not in result:
        text = result if isinstance(result, str) else json.dumps(result)
        return 200, {"Content-Type": "application/json"}, text.encode()
    status, given, body = result["statusCode"], result.get("headers") or {}, result.get("body")
    if type(status) is not int or not 200 <= status <= 599 or not isinstance(given, dict):
        return _refusal(502, "BadResponse", "statusCode is not a final status, or headers are no object.")
    headers: dict[str, str] = {}
    for raw_name, raw_value in given.items():
        name, value = canonical_name(raw_name), _latin1(str(raw_value))
        if not _TOKEN.fullmatch(name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            return _refusal(502, "BadResponse", f"The header {name!r} is not one of HTTP.")
        if not _is_reserved(name.lower(), value):
            headers[name] = value
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS:
        return _refusal(502, "BadResponse", "The headers of the answer are over 8 KB.")
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    content = text.encode("utf-8", "replace")
    if result.get("isBase64Encoded"):
        try:
            content = base64.b64decode(content, validate=True)
        except ValueError:
            return _refusal(502, "BadResponse", "The body is not base64, as isBase64Encoded says it is.")
    if content:
        headers.setdefault("Content-Type", "application/json")
    return status, headers, content


def canonical_name(name: str) -> str:
    """A header's name as Go writes it, a capital after each hyphen; what is no name stays as it is."""
    if not _TOKEN.fullmatch(name):
        return name
    return "-".join(part.capitalize() for part in name.split("-"))


def _body_of(body: bytes, content_type: str) -> tuple[str, bool]:
    kind = content_type.partition(";")[0].strip().lower()
    textual = kind.startswith("text/") or kind.endswith(
        ("json", "xml", "javascript", "x-www-form-urlencoded")
    )
    if textual:
        with contextlib.suppress(UnicodeDecodeError):
            return body.decode(), False
    return base64.b64encode(body).decode(), True


def _is_reserved(name: str, value: str) -> bool:
    """What a function cannot set."""
    if name == "content-disposition":
        return value.strip().lower().startswith("attachment")
    return name in _RESERVED or name.startswith("x-fc-")


def _platform_preflight(names: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """What FC says where the trigger does not pass OPTIONS to the function: all is allowed."""
    headers = {"Access-Control-Allow-Methods": names["access-control-request-method"]}
    if "access-control-request-headers" in names:
        headers["Access-Control-Allow-Headers"] = names["access-control-request-headers"]
    return 200, headers, b""


def _refusal(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps({"ErrorCode": code, "ErrorMessage": message}).encode()
    return status, {"Content-Type": "application/json", "X-Fc-Error-Type": code}, body


def _unhandled(error: BaseException) -> tuple[int, dict[str, str], bytes]:
    # The first frame is ours.
    frames = [
        [f'File "{frame.filename}"', f"line {frame.lineno}", f"in {frame.name}", frame.line or ""]
        for frame in traceback.extract_tb(error.__traceback__)[1:]
    ]
    body = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": frames}
    headers = {"Content-Type": "application/json", "X-Fc-Error-Type": "UnhandledInvocationError"}
    return 502, headers, json.dumps(body).encode()


def _text(value: str) -> str:
    """Bytes as latin-1 text, read as UTF-8, with Go's replacement for what is not."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def _latin1(value: str) -> str:
    """UTF-8 as latin-1 text, a character for each byte."""
    return value.encode("utf-8", "replace").decode("latin-1")
