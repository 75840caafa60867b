"""How long the uploaders wait: as long as something moves, and not for ever where nothing does.

All of them at once in each test, since all they do is wait.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest

from tests.test_clients import CLIENTS, ENVIRONMENT, MEGABYTES_64, TOOLS, answering, build, reply
from tests.test_clients import big as big
from tests.test_clients import serving as serving

#: What stands in the sources, in seconds: how long an answer to the question may take, and how long nothing
#: may move. What the tests write for both.
ASK, SILENT, HASTY = 60, 300, 3
CONNECT = 10


@pytest.fixture(scope="module")
def names():
    """The clients whose toolchains are here, built."""
    return [name for name in TOOLS if build(name)]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory, names):
    """The folder of clients that are as they are but for being less patient."""
    folder = tmp_path_factory.mktemp("hasty")
    for name in names:
        shutil.copytree(CLIENTS / name, folder / name, ignore=shutil.ignore_patterns("build"))
        (source,) = [file for file in (folder / name).iterdir() if file.stem.lower() == "upload"]
        text = source.read_text()
        for seconds in (ASK, SILENT):
            text, count = re.subn(rf"\b{seconds}(?=_000\b|\b)", str(HASTY), text)
            assert (name, seconds, count) == (name, seconds, 1)
        source.write_text(text)
        built = subprocess.run([folder / name / "run"], capture_output=True, timeout=300)
        assert (name, built.returncode) == (name, 2), built.stderr
    return folder


def all_run(folder, names, file, endpoint, **environment):
    """How each of them ends, and after how many seconds. As on the command line, but at the same time."""

    def one(name):
        start = time.monotonic()
        done = subprocess.run(
            [folder / name / "run", file],
            env=ENVIRONMENT | {"UPLOAD_ENDPOINT": endpoint} | environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        ends[name] = SimpleNamespace(
            code=done.returncode, out=done.stdout, err=done.stderr, seconds=time.monotonic() - start
        )

    ends: dict[str, SimpleNamespace] = {}
    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == sorted(names)  # a thread that failed has left nothing
    return ends


@contextlib.contextmanager
def listening(treat):
    """A server of bare connections, each of them given to `treat`; the address."""
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

        def accept():
            with contextlib.suppress(OSError):  # closed
                while True:
                    connection = there.accept()[0]
                    held.append(connection)
                    threading.Thread(target=treat, args=(connection,), daemon=True).start()

        held: list[socket.socket] = []
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{there.getsockname()[1]}"
        there.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def hear(connection):
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def hear_slowly(connection):
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += connection.recv(65536)
    head, _, body = heard.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    left = int(length[1]) - len(body)
    while left and (chunk := connection.recv(65536)):
        left -= len(chunk)
        time.sleep(2.5 * HASTY * 65536 / MEGABYTES_64)
    if not left:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def hear_nothing(connection):
    """The kernel's buffers fill up."""


def gave_up(ends):
    for name, end in ends.items():
        assert (name, end.code, end.out) == (name, 1, "")
        said = re.sub("Picked up JAVA_TOOL_OPTIONS: .*\n", "", end.err)
        assert re.fullmatch(r"upload: no answer from 127\.0\.0\.1:\d+(: \S[^\n]*| in time)\n", said), name
        assert HASTY <= end.seconds < 10 * HASTY, (name, end.seconds)
    return True


def test_a_function_that_never_answers_is_not_waited_for_for_ever(hasty, names, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")
    with listening(hear) as function:
        assert gave_up(all_run(hasty, names, file, function))


def test_a_storage_that_hears_all_and_never_answers_is_not_waited_for_for_ever(
    hasty, names, serving, tmp_path
):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")
    with listening(hear) as storage:
        assert gave_up(all_run(hasty, names, file, serving(answering(url=storage + "/k"))))


def test_a_storage_that_hears_nothing_more_is_not_waited_for_for_ever(hasty, names, serving, big):
    with listening(hear_nothing) as storage:
        assert gave_up(all_run(hasty, names, big.file, serving(answering(url=storage + "/k"))))


def test_nor_is_one_over_https(hasty, names, serving, big, tmp_path):
    """Some can be stopped while they write to a socket, but not while they encrypt for it."""
    subject = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    lines = [f"openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem {subject}"]
    if "java" in names:  # which does not read certificates as they are
        lines.append("keytool -importcert -noprompt -file certificate.pem -keystore trust -storepass secret")
    for line in lines:
        subprocess.run(line.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    held = []
    certificate = str(tmp_path / "certificate.pem")

    with listening(
        lambda connection: held.append(context.wrap_socket(connection, server_side=True))
    ) as storage:
        ends = all_run(
            hasty,
            [name for name in names if name in ("curl", "java", "go", "python", "node", "android")],
            big.file,
            serving(answering(url=storage.replace("http:", "https:") + "/k")),
            CURL_CA_BUNDLE=certificate,
            SSL_CERT_FILE=certificate,
            REQUESTS_CA_BUNDLE=certificate,
            NODE_EXTRA_CA_CERTS=certificate,
            JAVA_TOOL_OPTIONS=f"-Djavax.net.ssl.trustStore={tmp_path / 'trust'} "
            "-Djavax.net.ssl.trustStorePassword=secret",
        )

    for connection in held:
        connection.close()
    assert len(held) >= len(ends)  # Node.js connects anew once it has given up
    assert gave_up(ends)


def test_an_upload_may_take_longer_than_any_silence(hasty, names, serving, big):
    with listening(hear_slowly) as storage:
        ends = all_run(hasty, names, big.file, serving(answering(url=storage + "/k")))

    assert {name: (end.code, end.err) for name, end in ends.items()} == dict.fromkeys(names, (0, ""))
    assert min(end.seconds for end in ends.values()) > 2 * HASTY


def test_a_network_may_be_silent_for_longer_than_a_connection_may_take(names, serving, big):
    def storage(method, url, headers, body):
        body.read(2**20)
        time.sleep(CONNECT + 2)
        while body.read(2**20):
            pass
        return reply(200, b"")

    ends = all_run(CLIENTS, names, big.file, serving(answering(url=serving(storage) + "/k")))

    assert {name: (end.code, end.err) for name, end in ends.items()} == dict.fromkeys(names, (0, ""))
