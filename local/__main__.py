"""`python3 -m local`: the function and OSS on this machine, or files uploaded through both."""

# The rules of the output:
#  - standard output has what was asked for and nothing else: the addresses and the session to paste, or one
#    line per stored file, "KEY  SIZE  ETAG  PATH"
#  - standard error has the log while serving, one line per request; while uploading only errors, and for a
#    file that failed also what the log said of it
#  - an error begins with "local: ", has no capital at its start and no full stop at its end
#  - the exit is 0, 1 for a failure, 2 for wrong usage; Ctrl-C is 0 while serving and 130 while uploading
# Nothing here prints a signed URL, a signature, a token or a secret.

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib
import io
import json
import mimetypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from . import fc, files, oss, server
from .oss_verify import Credential

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path(__file__).resolve().parent / "page"
MODULE = ROOT / "clients" / "browser"

EPILOG = """\
Without FILE both serve until Ctrl-C. With FILE each is uploaded through the function, and what was stored
is shown. Settings come from the environment, as on Function Compute; unset, OSS_BUCKET is local-bucket,
OSS_REGION cn-hangzhou, OSS_ENDPOINT the stand-in's address, and CORS_ORIGINS is *, so that a page from
anywhere may try it. Credentials are ALIBABA_CLOUD_* if set, else fixed ones that open nothing else.

example:
  $ python3 -m local --data /tmp/bucket photo.jpg
"""


class _Failed(Exception):
    """Raised when one file, or the whole, cannot go on: the message is for the person."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    log = _Log(sys.stderr, silent=bool(options.files))
    try:
        with _running(options, log, os.environ) as (cloud, function):
            if not options.files:
                with contextlib.suppress(KeyboardInterrupt):
                    _print_session(function, cloud.address)
                    threading.Event().wait()
                return 0
            outcomes = [_upload_and_tell(file, function, cloud, log, options) for file in options.files]
            return 0 if all(outcomes) else 1
    except _Failed as failed:
        return _tell(str(failed))
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # What standard output has not taken, the interpreter would try to write again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _tell(f"standard output: {_reason(error)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m local",
        description="The function and an OSS stand-in on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path, help="what to upload")
    for name in ("function", "oss"):
        parser.add_argument(
            f"--{name}-port", type=_port, default=0, metavar="PORT", help="0, the default, is any free one"
        )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where objects are kept (default: a temporary folder)"
    )
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return int(text)


@contextlib.contextmanager
def _running(
    options: argparse.Namespace, log: _Log, environ: MutableMapping[str, str]
) -> Iterator[tuple[oss.Oss, str]]:
    """OSS and the function, each on its port."""
    bucket = environ.get("OSS_BUCKET") or oss.BUCKET
    region = environ.get("OSS_REGION") or environ.get("FC_REGION") or oss.REGION
    role = _credentials(environ)
    with contextlib.ExitStack() as stack:
        try:
            cloud = oss.Oss(
                [bucket],
                region=region,
                credentials={
                    role.access_key_id: Credential(role.access_key_secret, role.security_token or None)
                },
                data=options.data,
                log=log,
            )
        except (OSError, ValueError) as error:
            raise _Failed(f"{options.data}: {_reason(error)}") from error
        stack.callback(cloud.close)
        with _port_errors(options.oss_port, "--oss-port"):
            stack.enter_context(oss.serve(cloud, options.oss_port))
        for name, value in {
            "OSS_BUCKET": bucket,
            "OSS_REGION": region,
            "OSS_ENDPOINT": cloud.address,
            "CORS_ORIGINS": "*",
        }.items():
            if not environ.get(name):
                environ[name] = value
                stack.callback(environ.pop, name, None)
        function = fc.Fc(_handler(), credentials=role, region=region, log=log)
        with _port_errors(options.function_port, "--function-port"):
            address = stack.enter_context(
                server.serve(_with_page(function.respond), refuse=fc.refuse, port=options.function_port)
            )
        yield cloud, address


def _handler() -> fc.Handler:
    sys.path.insert(0, str(ROOT / "src"))
    handler: fc.Handler = importlib.import_module("index").handler
    return handler


def _credentials(environ: MutableMapping[str, str]) -> fc.Credentials:
    key_id = environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID")
    secret = environ.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if key_id and secret:
        return fc.Credentials(key_id, secret, environ.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""))
    local = oss.CREDENTIALS[oss.ACCESS_KEY_ID]
    return fc.Credentials(oss.ACCESS_KEY_ID, local.secret, local.token or "")


def _with_page(answer: server.Answerer) -> server.Answerer:
    """The page's files under /page/; the function gets all else."""

    def respond(
        method: str, url: str, headers: list[tuple[str, str]], body: server.Readable
    ) -> server.Answer:
        path = "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]
        if path == "/page":  # its links are relative
            return 308, {"Location": "/page/", "Content-Length": "0"}, io.BytesIO()
        if path == "/page/upload.js":  # of which there is one copy
            return files.respond(MODULE, method, "upload.js")
        if path.startswith("/page/"):
            return files.respond(PAGE, method, path.removeprefix("/page/"))
        return answer(method, url, headers, body)

    return respond


def _print_session(function: str, cloud: str) -> None:
    print(
        f"""\
function  {function}/
oss       {cloud}
page      {function}/page/

curl -sS {function}/ -H 'Content-Type: application/json' \\
  -d '{{"filename": "LICENSE", "contentType": "text/plain"}}' > answer.json
url=$(python3 -c 'import json; print(json.load(open("answer.json"))["url"])')
curl -sS -i -X PUT -H 'Content-Type: text/plain' -T LICENSE "$url\"""",
        flush=True,
    )


# ---- uploading ----


def _upload_and_tell(
    path: Path, function: str, cloud: oss.Oss, log: _Log, options: argparse.Namespace
) -> bool:
    log.clear()
    try:
        key = _upload(path, function)
    except _Failed as failed:
        _tell(f"{path}: {failed}")
        log.show()
        return False
    stored = cloud.get(key)
    if stored is None:
        # OSS_ENDPOINT names another OSS than the stand-in.
        print(f"{key}  {path.stat().st_size}")
    else:
        where = stored.path if options.data else "(temporary, --data keeps it)"
        print(f"{key}  {stored.size}  {stored.etag}  {where}", flush=True)
    return True


def _upload(path: Path, function: str) -> str:
    """Send one file as any client would.

    Returns:
        The key under which it is stored.
    """
    if path.is_dir():
        raise _Failed("is a directory")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            wanted: dict[str, object] = {"filename": path.name, "size": size}
            content_type = mimetypes.guess_type(path.name)[0]
            if content_type:
                wanted["contentType"] = content_type
            status, answered = _send(
                "POST", f"{function}/", {"Content-Type": "application/json"}, json.dumps(wanted).encode()
            )
            answer = json.loads(answered)
            if status != 200:
                raise _Failed(f"{status} {answer.get('code')}: {answer.get('detail')}")
            headers = {**answer["headers"], "Content-Length": str(size)}
            status, answered = _send(answer["method"], answer["url"], headers, file)
            if status != 200:
                raise _Failed(f"{status} {_oss_error(answered)}")
            return str(answer["key"])
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(_reason(error)) from error


def _send(method: str, url: str, headers: dict[str, str], body: bytes | IO[bytes]) -> tuple[int, bytes]:
    """One request, its URL exactly as given."""
    scheme, _, rest = url.partition("://")
    host, slash, target = rest.partition("/")
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    connection = kind(host, timeout=60, blocksize=server.CHUNK)
    with contextlib.closing(connection):
        connection.request(method, slash + target, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def _oss_error(xml: bytes) -> str:
    try:
        error = ElementTree.fromstring(xml)  # noqa: S314 (our own stand-in's, or Alibaba's)
    except ElementTree.ParseError:  # a proxy on the way, or OSS_ENDPOINT is not OSS's
        return "not an answer of OSS"
    sentence = f"{error.findtext('Code')}: {error.findtext('Message')}"
    cause = error.findtext("LikelyCause")
    return f"{sentence} ({cause})" if cause else sentence


# ---- telling ----


class _Log:
    """A line for every request: printed at once, or kept until a file fails."""

    def __init__(self, out: IO[str], *, silent: bool) -> None:
        self._out = out
        self._silent = silent
        self._lines: list[str] = []

    def __call__(self, line: str) -> None:
        if self._silent:
            self._lines.append(line)
        else:
            self._out.write(f"{line}\n")  # in one piece: print would let another thread's line in between
            self._out.flush()

    def show(self) -> None:
        for line in self._lines:
            print(f"  {line}", file=self._out, flush=True)

    def clear(self) -> None:
        self._lines.clear()


def _tell(message: str) -> int:
    print(f"local: {message}", file=sys.stderr, flush=True)
    return 1


@contextlib.contextmanager
def _port_errors(port: int, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Failed(f"port {port}: {_reason(error)}; choose another with {option}") from error


def _reason(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


if __name__ == "__main__":
    # The temporary folder goes also when somebody ends this politely.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    sys.exit(main())
