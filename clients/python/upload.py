#!/usr/bin/env python3
"""Upload a file to OSS with a URL from the function. Needs requests.

    UPLOAD_ENDPOINT=https://... [UPLOAD_AUTHORIZATION='Bearer ...'] python3 upload.py FILE [TYPE]

Prints the object's key. Exit codes: 0 stored, 1 refused or failed (the reason is on stderr), 2 wrong usage.

As a library: `put(answer["method"], answer["url"], answer["headers"], path)` sends a file by an answer of the
function; metadata, storage class and whatever else the URL binds are in `headers`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from xml.sax.saxutils import unescape

import requests

CONNECT_SECONDS = 10
ASK_SECONDS = 60
SILENT_SECONDS = 300  # nothing sent or received for so long; an upload may take as long as it needs
MAX_ANSWER_BYTES = 65536
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Refused(Exception):
    """The function or OSS answered, but not with a yes."""

    def __init__(self, status: int, code: str, message: str, *, expired: bool) -> None:
        super().__init__(f"{status} {code}: {message}" if code else f"{status}: {message}")
        self.status, self.code, self.message, self.expired = status, code, message, expired


class Failed(Exception):
    """There was no answer, or none that can be used."""


def main(args: list[str]) -> int:
    """The command: one line on stdout or stderr, and the exit code."""
    endpoint = os.environ.get("UPLOAD_ENDPOINT", "")
    if len(args) not in (1, 2) or not args[0] or not endpoint:
        print("usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT", file=sys.stderr)
        return 2
    try:
        key = upload(
            endpoint,
            args[0],
            args[1] if len(args) == 2 else "",
            show if sys.stderr.isatty() else None,
            authorization=os.environ.get("UPLOAD_AUTHORIZATION", ""),
        )
    except (Refused, Failed) as error:
        print(f"upload: {one_line(str(error))}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(key.encode() + b"\n")  # bytes: a key may be Chinese and the terminal Latin-1
    return 0


def upload(
    endpoint: str,
    file: str,
    content_type: str = "",
    progress: Callable | None = None,
    *,
    authorization: str = "",
) -> str:
    """Store the file and give its key. An expired URL is asked for again once: uploads may have queued."""
    answer = ask(endpoint, file, content_type, authorization=authorization)
    try:
        put(answer["method"], answer["url"], answer["headers"], file, progress)
    except Refused as refused:
        if not refused.expired:
            raise
        answer = ask(endpoint, file, content_type, authorization=authorization)
        put(answer["method"], answer["url"], answer["headers"], file, progress)
    return answer["key"]


def ask(endpoint: str, file: str, content_type: str = "", *, authorization: str = "") -> dict:
    """Ask the function for a URL: {"method": str, "url": str, "headers": {str: str}, "key": str, ...}."""
    size = size_of(file)
    question = {"filename": os.path.basename(file).encode("utf-8", "replace").decode(), "size": size}
    if content_type:
        question["contentType"] = content_type
    headers = {"Content-Type": "application/json"}
    if authorization:
        if not re.fullmatch("[ -~]+", authorization):
            raise Failed("the authorization is not printable ASCII")
        headers["Authorization"] = authorization
    status, body = send("POST", endpoint, headers, json.dumps(question).encode(), ASK_SECONDS)
    if status != 200:
        raise refusal(status, body)
    try:
        answer = json.loads(body)
        values = [
            answer["method"],
            answer["url"],
            answer["key"],
            *answer["headers"],
            *answer["headers"].values(),
        ]
        if not all(isinstance(value, str) and value and not CONTROL.search(value) for value in values):
            raise ValueError("a value that is no plain text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Failed(f"{host(endpoint)} answered something else than an upload: {text_of(body)}") from error
    return answer


def put(
    method: str,
    url: str,
    headers: Mapping[str, str],
    file: str,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Send the file to `url`: streamed, with its length, and with exactly `headers`."""
    size = size_of(file)
    with open(file, "rb") as opened:
        # requests takes a stream of no bytes for one of unknown length, and would send it chunked.
        body = Body(opened, size, progress) if size else b""
        status, answer = send(method, url, headers, body, SILENT_SECONDS)
    if status != 200:
        raise refusal(status, answer)


class Body:
    """A file that tells how much of it has been read; requests takes the length from `len`."""

    def __init__(self, opened, size: int, progress: Callable[[int, int], None] | None) -> None:
        self.opened, self.size, self.progress, self.sent = opened, size, progress, 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self):
        return iter(lambda: self.read(65536), b"")

    def read(self, count: int = -1) -> bytes:
        """What requests asks for next."""
        left = self.size - self.sent  # of what was promised: the file may have grown
        chunk = self.opened.read(left if count < 0 else min(count, left))
        if left and not chunk:
            raise Failed("the file has become shorter")
        self.sent += len(chunk)
        if self.progress:
            self.progress(self.sent, self.size)
        return chunk


def size_of(file: str) -> int:
    """In bytes; an unreadable file is told before anybody is asked."""
    try:
        if not os.path.isfile(file):
            os.stat(file)
            raise Failed(f"cannot read {file}: not a file")
        with open(file, "rb") as opened:
            return os.fstat(opened.fileno()).st_size
    except (OSError, ValueError) as error:
        raise Failed(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


class Adapter(requests.adapters.HTTPAdapter):
    """urllib3 gives to sending the time for connecting; here it gets that for reading."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def get_connection_with_tls_context(self, *args, **kwargs):
        """From requests 2.32 on."""
        return self.patient(super().get_connection_with_tls_context(*args, **kwargs))

    def get_connection(self, *args, **kwargs):
        """Before that."""
        return self.patient(super().get_connection(*args, **kwargs))

    def patient(self, pool):
        """The pool, whose connections wait for longer once they are there."""
        seconds = self.seconds

        class Connection(pool.ConnectionCls):
            def connect(self):
                super().connect()
                self.wait()

            def request(self, *args, **kwargs):
                if self.sock is not None:  # through a proxy it is connected by now, and its time set anew
                    self.wait()
                return super().request(*args, **kwargs)

            def wait(self):
                self.timeout = seconds
                self.sock.settimeout(seconds)

        pool.ConnectionCls = Connection
        return pool


def send(method: str, url: str, headers: Mapping[str, str], body, seconds: float) -> tuple[int, bytes]:
    """One request and what came back, the body cut at 64 KB. Redirects are answers, not followed.

    Raises:
        Failed: no answer; also if nothing is sent or received for so many seconds.
    """
    if not re.match(r"https?://[^/\s]", url, re.IGNORECASE):
        raise Failed("the address is not http or https")
    # The adapter, because a session reads a redirect's whole body even where it may not follow.
    with requests.Session() as session, contextlib.closing(Adapter(seconds)) as adapter:
        try:
            # Some `auth` must be given: without, requests looks into ~/.netrc, and OSS refuses an
            # Authorization header beside a signed URL.
            request = requests.Request(method, url, headers, data=body, auth=lambda request: request)
            prepared = session.prepare_request(request)
            prepared.url = url  # as given: preparing decodes and joins some of it
            settings = session.merge_environment_settings(url, {}, True, None, None)
            with adapter.send(prepared, timeout=(CONNECT_SECONDS, seconds), **settings) as response:
                return response.status_code, response.raw.read(MAX_ANSWER_BYTES, decode_content=True)
        except (
            requests.RequestException,
            requests.packages.urllib3.exceptions.HTTPError,
            ValueError,
        ) as error:
            raise Failed(f"no answer from {host(url)}: {cause(error)}") from error


def cause(error: BaseException) -> str:
    """The innermost reason: the outer ones quote the whole URL, and that is a secret."""
    if isinstance(error, ValueError):
        return "the URL or a header cannot be sent"
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error)


def refusal(status: int, body: bytes) -> Refused:
    """What the function (JSON) or OSS (XML) says against it, or else the beginning of what came.

    OSS's two elements are flat: an XML parser would refuse what was cut and bring entities along.
    """
    text = body.decode("utf-8", "replace")
    try:
        said = json.loads(text)
        code = first(said, "code", "errorType", "ErrorCode")
        message = first(said, "detail", "errorMessage", "ErrorMessage", "title")
        return Refused(status, code, message, expired=False)
    except (ValueError, AttributeError, RecursionError):
        pass
    code, message, ec = (
        unescape(found[1], {"&quot;": '"', "&apos;": "'"}) if found else ""
        for found in (re.search(f"<{name}>([^<]*)</{name}>", text) for name in ("Code", "Message", "EC"))
    )
    expired = status == 403 and ("has expired" in message or ec == "0002-00000236")
    return Refused(status, code, message or text_of(body), expired=expired)


def first(said: Mapping[str, object], *names: str) -> str:
    """Of the function's own names and of those that Function Compute uses when it answers for it."""
    return next((value for name in names if isinstance(value := said.get(name), str)), "")


def text_of(body: bytes) -> str:
    """The beginning of a body that is neither JSON nor OSS's XML: a proxy's page, say."""
    return one_line(body[:200].decode("utf-8", "replace")) or "an empty answer"


def one_line(text: str) -> str:
    """Whoever answered does not get to move the cursor: control characters become blanks."""
    return " ".join(CONTROL.sub(" ", text).split())[:1000]


def host(url: str) -> str:
    """What may be shown of an address: no user, no query."""
    return re.split("[/?#]", url.partition("//")[2])[0].rpartition("@")[2]


def show(sent: int, size: int) -> None:
    """The progress line; it ends at its own beginning, so that whatever comes next replaces it."""
    print(f"{sent * 100 // size:3} %", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
