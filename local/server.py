"""HTTP/1.1 on a loopback port, in front of one function from request to answer.

It frames: request lines, header blocks, bodies of a known length or in chunks. It knows neither OSS nor FC;
both stand behind it as an `Answerer`. No input ends it: what is not HTTP gets the refusal that the
answerer's side chose, and the connection is closed.

`http.server` parses the request; what it would do differently from a real front is overridden here: it
answers ``Expect`` before anybody looked at the request, and folds ``//`` at the start of a path.
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
from http.server import BaseHTTPRequestHandler
from typing import IO, Protocol

CHUNK = 64 * 1024
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
#: Seconds without a byte from the client.
IDLE = 60.0
#: Seconds for which a refused body is still taken in, so that the client gets to read the refusal.
LINGER = 20.0


class Readable(Protocol):
    """A body: as much of it as `read` is asked for, and nothing at its end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""


#: What comes out: status, headers, body. The headers hold the body's length.
Answer = tuple[int, dict[str, str], IO[bytes]]
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
def serve(answer: Answerer, *, refuse: Refuser, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
    """Answer requests on a port until the block ends, and give the address.

    Args:
        answer: is called in a thread per connection.
        refuse: makes the answer to what is not HTTP, and to an exception in `answer`.
        port: 0 is any free one.
        host: an address of this machine.

    Raises:
        OSError: the port is taken.
    """
    server = _Server((host, port), answer, refuse)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Answerer, refuse: Refuser) -> None:
        self.answer = answer
        self.refuse = refuse
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news; anything else is ours to mend."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE
    # The head and a short body leave in one packet.
    wbufsize = CHUNK
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        self._waits = False
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if len(self.raw_requestline) > 65536:
                self.requestline = self.request_version = self.command = ""
                self.send_error(414)
                return
            if not self.raw_requestline or not self.parse_request():
                return
            if self.request_version == "HTTP/0.9":
                self.send_error(400, "The request line has no version.")
                return
            self._answer_request()
        except OSError:
            # Timed out, or gone: there is nobody to tell.
            self.close_connection = True

    def _answer_request(self) -> None:
        # A folded header is one line.
        headers = [(name, " ".join(value.split("\r\n"))) for name, value in self.headers.items()]
        # http.server folds "//" at the start of the path; a key may begin like that.
        target = self.requestline.split()[1]
        if target.startswith("/"):
            target = f"http://{self.headers.get('Host', '')}{target}"
        try:
            body = self._body()
        except ValueError as error:
            self.close_connection = True
            self.send_error(400, str(error))
            return
        try:
            answer = self.server.answer(self.command, target, headers, body)
        except ClientGone:
            return
        except Exception:  # whatever it is, the next request must be answered
            traceback.print_exc()
            answer = self.server.refuse(500, "The stand-in failed; its standard error says how.")
        if not self._waits:
            body.finish(CHUNK)
        if not body.ended or body.cut:
            self.close_connection = True
        self._send(answer)
        if not body.ended:
            self._linger()

    def _body(self) -> _Body:
        lengths = {value.strip() for value in self.headers.get_all("Content-Length", [])}
        coding = self.headers.get("Transfer-Encoding")
        if coding is not None:
            if coding.strip().lower() != "chunked":
                raise ValueError("The only Transfer-Encoding is chunked.")
            if lengths:
                raise ValueError("Content-Length and Transfer-Encoding exclude each other.")
            return _Body(self.rfile, None, self._continue)
        length = lengths.pop() if lengths else "0"
        if lengths or not (length.isascii() and length.isdigit() and len(length) < 20):
            raise ValueError("Content-Length is not one number of bytes.")
        return _Body(self.rfile, int(length), self._continue)

    def _continue(self) -> None:
        """Told to go on once somebody wants the body, so that a refusal comes before it is sent."""
        if self._waits:
            self._waits = False
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()

    def handle_expect_100(self) -> bool:
        self._waits = True
        return True

    def _send(self, answer: Answer) -> None:
        status, headers, body = answer
        with body:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                while data := body.read(CHUNK):
                    self.wfile.write(data)
            self.wfile.flush()

    def _linger(self) -> None:
        """Take in what the client still sends: closed at once, the connection is reset under the answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(2)
        end = time.monotonic() + LINGER
        while time.monotonic() < end and self.rfile.read1(CHUNK):
            pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.close_connection = True
        self._send(self.server.refuse(int(code), message or self.responses.get(code, ("",))[0]))
        self._linger()

    def log_message(self, format: str, *args: object) -> None:
        """The answerer keeps the log."""


class _Body:
    """A body as it arrives: `length` bytes of `source`, or chunks where that is None."""

    def __init__(self, source: io.BufferedIOBase, length: int | None, wanted: Callable[[], None]) -> None:
        self._source = source
        self._chunked = length is None
        #: Of the body, or of the chunk.
        self._left = length or 0
        self._wanted = wanted
        #: Nothing of it is on the connection any more.
        self.ended = length == 0
        #: The connection ended first.
        self.cut = False

    def read(self, size: int, /) -> bytes:
        if self.ended:
            return b""
        try:
            self._wanted()
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
        if not self.ended and not self._chunked and self._left <= most:
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
        digits = self._line().partition(b";")[0].strip()
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
        return line.rstrip(b"\r\n")
