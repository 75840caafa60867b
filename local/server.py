"""HTTP/1.1 on a loopback port, in front of one function from request to answer.

It frames: request lines, header blocks, bodies of a known length or in chunks. It knows neither OSS nor FC;
both stand behind it as an `Answerer`. No input ends it: what is not HTTP gets the refusal that the answerer's
side chose, and the connection is closed.

`http.server` would not do: it answers ``Expect`` before anybody has looked at the request, folds ``//`` at
the start of a path, and reads headers as mail, where a bare CR begins a new one.

Source: https://www.rfc-editor.org/rfc/rfc9112 (its stricter choice wherever it offers one)
"""

from __future__ import annotations

import contextlib
import io
import re
import socket
import socketserver
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import NamedTuple, Protocol

CHUNK = 64 * 1024
#: Seconds without a byte from the client, between requests and inside one.
IDLE = 60.0
#: Seconds for which a refused body is still taken in, so that the client gets to read the refusal.
LINGER = 20.0
_MAX_LINE = 64 * 1024
_MAX_HEAD = 128 * 1024

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*)")
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Readable(Protocol):
    """A body."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes of it; empty at the end.

        Raises:
            BrokenBody: it is not what its headers promise.
        """


class Content(Readable, Protocol):
    """The body of an answer."""

    def close(self) -> None:
        """Called once it is sent, or cannot be."""


#: What comes out: status, headers, body. The headers hold the body's length.
Answer = tuple[int, dict[str, str], Content]
#: Method, URL, headers as they came (latin-1 text), body. The URL is the request's target behind its Host.
Answerer = Callable[[str, str, list[tuple[str, str]], Readable], Answer]
#: A status and a sentence to an answer, for what never became a request.
Refuser = Callable[[int, str], Answer]


class BrokenBody(Exception):
    """Raised when a body cannot be read as its headers promise."""


class SlowBody(BrokenBody):
    """Raised when no byte of the body came for too long."""


class ClientGone(BrokenBody):
    """Raised when the connection broke inside the body: there is nobody to answer."""


@contextlib.contextmanager
def serve(
    answer: Answerer, *, refuse: Refuser, port: int = 0, host: str = "127.0.0.1", idle: float = IDLE
) -> Iterator[str]:
    """Answer requests on a port until the block ends, and give the address.

    What has come in by then is still answered; connections that wait for a request are ended.

    Args:
        answer: is called in a thread per connection.
        refuse: makes the answer to what is not HTTP, and to an exception in `answer`.
        port: 0 is any free one.
        host: an address of this machine.
        idle: seconds without a byte from the client.

    Raises:
        OSError: the port is taken.
    """
    with _Server((host, port), answer, refuse, idle) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.end_waiting()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    # Or a port stays taken for a minute after each run; on Windows it would mean to share it.
    allow_reuse_address = sys.platform != "win32"
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Answerer, refuse: Refuser, idle: float) -> None:
        self.answer = answer
        self.refuse = refuse
        self.idle = idle
        self._waiting: set[socket.socket] = set()
        self._ended = False
        self._lock = threading.Lock()
        super().__init__(address, _Connection)

    @contextlib.contextmanager
    def waiting(self, connection: socket.socket) -> Iterator[None]:
        """While it waits for a request.

        Raises:
            ConnectionAbortedError: there is nobody to answer one any more.
        """
        with self._lock:
            if self._ended:
                raise ConnectionAbortedError
            self._waiting.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.discard(connection)

    def end_waiting(self) -> None:
        """End the connections that wait, now and later."""
        with self._lock:
            self._ended = True
            for connection in self._waiting:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news; anything else is ours to mend."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


class _Head(NamedTuple):
    method: str
    target: str
    headers: list[tuple[str, str]]
    keep_alive: bool

    def all(self, name: str) -> list[str]:
        return [value for other, value in self.headers if other.lower() == name]


class _BadRequest(Exception):
    """Raised when the bytes are not a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Connection(socketserver.StreamRequestHandler):
    # The head of an answer and a short body leave in one packet.
    wbufsize = CHUNK
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        self.request.settimeout(self.server.idle)
        super().setup()

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # timed out, or gone: there is nobody to tell
            while self._one_request():
                pass

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def _one_request(self) -> bool:
        """Answer one request; whether there may be another."""
        try:
            with self.server.waiting(self.connection):
                head = self._head()
            if head is None:
                return False
            body = self._body(head)
        except _BadRequest as bad:
            self._send(self.server.refuse(bad.status, str(bad)), keep=False)
            self._linger()
            return False
        hosts = head.all("host")
        url = f"http://{hosts[0] if hosts else ''}{head.target}" if head.target[0] == "/" else head.target
        try:
            answer = self.server.answer(head.method, url, head.headers, body)
        except ClientGone:
            return False
        except Exception:  # whatever it is, the next request must be answered
            traceback.print_exc()
            answer = self.server.refuse(500, "The stand-in failed; its standard error says how.")
        body.finish(CHUNK)
        keep = head.keep_alive and body.ended and not body.cut
        self._send(answer, keep=keep, bodiless=head.method == "HEAD")
        if not body.ended:
            self._linger()
        return keep

    def _head(self) -> _Head | None:
        """None at the end of the connection."""
        line = self._line()
        if line == b"":
            line = self._line()  # RFC 9112, 2.2: one empty line before a request is forgiven
        if line is None:
            return None
        found = _REQUEST_LINE.fullmatch(line)
        if found is None:
            raise _BadRequest(400, "The request line is not one of HTTP/1.1.")
        method, target, minor = found[1].decode("ascii"), found[2].decode("latin-1"), found[3]
        if target[0] != "/" and "://" not in target and target != "*":
            raise _BadRequest(400, "The request's target is neither a path nor a URL.")
        headers: list[tuple[str, str]] = []
        size = 0
        while line := self._line():
            found = _HEADER.fullmatch(line)
            if found is None:
                raise _BadRequest(400, "A header is not a name, a colon and a value.")
            size += len(line)
            if size > _MAX_HEAD:
                raise _BadRequest(431, "The headers are too long.")
            headers.append((found[1].decode("ascii"), found[2].rstrip(b" \t").decode("latin-1")))
        if line is None:
            return None
        head = _Head(method, target, headers, keep_alive=minor == b"1")
        hosts = head.all("host")
        if len(hosts) != 1 and (hosts or minor == b"1") or not all(map(_HOST.fullmatch, hosts)):
            # A slash in it would become a part of the path.
            raise _BadRequest(400, "There is not one Host header that names a host.")
        connection = ",".join(head.all("connection")).lower()
        return head._replace(keep_alive=head.keep_alive and "close" not in connection)

    def _line(self) -> bytes | None:
        """Without its end; None at the end of the connection."""
        line = self.rfile.readline(_MAX_LINE + 1)
        if len(line) > _MAX_LINE:
            raise _BadRequest(431, "A line of the head is too long.")
        return line[:-1].removesuffix(b"\r") if line.endswith(b"\n") else None

    def _body(self, head: _Head) -> _Body:
        lengths = head.all("content-length")
        codings = head.all("transfer-encoding")
        waits = head.keep_alive and any(value.lower() == "100-continue" for value in head.all("expect"))
        if codings:
            if [coding.lower() for coding in codings] != ["chunked"]:
                raise _BadRequest(501, "The only Transfer-Encoding is chunked.")
            if lengths:
                raise _BadRequest(400, "Content-Length and Transfer-Encoding exclude each other.")
            return _Body(self.rfile, None, self._continue if waits else None)
        length = lengths[0] if lengths else "0"
        if len(lengths) > 1 or not (length.isascii() and length.isdigit() and len(length) < 20):
            raise _BadRequest(400, "Content-Length is not one number of bytes.")
        return _Body(self.rfile, int(length), self._continue if waits else None)

    def _continue(self) -> None:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wfile.flush()

    def _send(self, answer: Answer, *, keep: bool, bodiless: bool = False) -> None:
        status, headers, body = answer
        if status in (204, 304):  # A client looks for the next answer behind the head (RFC 9112, 6.3).
            bodiless = True
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        with contextlib.closing(body):
            try:
                reason = HTTPStatus(status).phrase
            except ValueError:
                reason = ""
            lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
            if not keep:
                lines.append("Connection: close")
            self.wfile.write("\r\n".join((*lines, "", "")).encode("latin-1"))
            while not bodiless and (data := body.read(CHUNK)):
                self.wfile.write(data)
            self.wfile.flush()

    def _linger(self) -> None:
        """Take in what the client still sends: closed at once, the connection is reset under the answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(min(2, self.server.idle))
        end = time.monotonic() + LINGER
        while time.monotonic() < end and self.connection.recv(CHUNK):
            pass


class _Body:
    """A body as it arrives: `length` bytes of `source`, or chunks where that is None."""

    def __init__(
        self, source: io.BufferedIOBase, length: int | None, proceed: Callable[[], None] | None
    ) -> None:
        self._source = source
        self._chunked = length is None
        #: Of the body, or of the chunk.
        self._left = length or 0
        #: Tells a client that waits to go on, once somebody wants the body: a refusal comes before that.
        self._proceed = proceed
        #: Nothing of it is on the connection any more.
        self.ended = length == 0
        #: The connection cannot be used after it.
        self.cut = False

    def read(self, size: int, /) -> bytes:
        if self.ended or self.cut:
            return b""
        try:
            if self._proceed is not None:
                self._proceed()
                self._proceed = None
            return self._read(size)
        except TimeoutError:
            self.ended = self.cut = True
            raise SlowBody("No byte of the body came for too long.") from None
        except OSError:
            self.ended = self.cut = True
            raise ClientGone("The connection broke inside the body.") from None
        except BrokenBody:
            self.cut = True
            raise

    def finish(self, most: int) -> None:
        """Take in the rest if it is known to be at most `most`, so that the connection can go on."""
        if not self._chunked and self._proceed is None and self._left <= most:
            with contextlib.suppress(BrokenBody):
                while self.read(CHUNK):
                    pass

    def _read(self, size: int) -> bytes:
        if self._chunked and not self._left:
            self._left = self._chunk_size()
            if not self._left:
                self._trailers()
                self.ended = True
                return b""
        data = self._source.read(min(size, self._left))
        self._left -= len(data)
        if not data:
            self.ended = self.cut = True
            if self._chunked:
                raise BrokenBody("The body ended inside a chunk.")
        elif not self._left:
            if not self._chunked:
                self.ended = True
            elif self._line():
                raise BrokenBody("A chunk is longer than it says.")
        return data

    def _chunk_size(self) -> int:
        digits = self._line().partition(b";")[0].strip(b" \t")
        if not _CHUNK_SIZE.fullmatch(digits):
            raise BrokenBody("A chunk does not begin with its size.")
        return int(digits, 16)

    def _trailers(self) -> None:
        for _ in range(100):
            if not self._line():
                return
        raise BrokenBody("There are too many trailers.")

    def _line(self) -> bytes:
        line = self._source.readline(4097)
        if not line.endswith(b"\n"):
            raise BrokenBody("The body ended inside a chunk.")
        return line[:-1].removesuffix(b"\r")
