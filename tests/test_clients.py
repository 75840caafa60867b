"""The uploaders of clients/ but the browser's, as they are started, against the function and the stand-in."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import pty
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

import index
from local import fc, oss, server
from local.oss_verify import Credential

CLIENTS = Path(__file__).parent.parent / "clients"
#: What a client needs, by the programs that its Debian packages bring.
TOOLS = {
    "curl": ["curl", "awk"],
    "java": ["java", "javac"],
    "go": ["go"],
    "python": [],
    "node": ["node"],
    "csharp": ["mono", "mcs"],
    "cpp": ["c++", "curl-config"],
    "android": ["java", "javac"],
}
#: Nothing of the machine's: in the C locale the names of files are mere bytes, and nobody has a proxy.
ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHON": sys.executable}
USAGE = "usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT\n"
MEGABYTES_64 = 64 * 2**20
#: What OSS keeps with an object to which nothing was bound.
UNBOUND = {"content-type": "application/octet-stream", "x-oss-storage-class": "Standard"}
#: A JWT's signs, and those that a shell, a configuration of curl's or a tidy library may trip over.
TOKEN = "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-_~+/= \"q\" \\ 'a' $(b), 100 %"


def build(name):
    """Whether the client's toolchain is here; if it is, the client is built."""
    missing = [tool for tool in TOOLS[name] if shutil.which(tool) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{name} needs {', '.join(missing)}; see clients/README.md")
    if missing:
        return False
    built = subprocess.run([CLIENTS / name / "run"], capture_output=True, timeout=300)
    if built.returncode != 2:
        pytest.fail(f"{name} does not build:\n{built.stderr.decode()}")
    return True


@pytest.fixture(scope="session", params=TOOLS)
def client(request):
    """The name of a client that is built."""
    if not build(request.param):
        pytest.skip(f"{request.param} needs {', '.join(TOOLS[request.param])}; see clients/README.md")
    return request.param


@pytest.fixture(scope="session")
def big(tmp_path_factory):
    """A file of 64 MB and its MD5."""
    content = random.Random(64).randbytes(MEGABYTES_64)
    file = tmp_path_factory.mktemp("big") / "big.bin"
    file.write_bytes(content)
    return SimpleNamespace(file=file, md5=hashlib.md5(content).hexdigest())


@pytest.fixture
def cloud(monkeypatch):
    """Starts the function and the stand-in; gives the addresses, what is stored, asked and heard."""
    for name in list(os.environ):
        if name.startswith(("OSS_", "UPLOAD_", "CORS_", "ALIBABA_CLOUD_", "FC_")):
            monkeypatch.delenv(name)
    role = fc.Credentials(oss.ACCESS_KEY_ID, *oss.CREDENTIALS[oss.ACCESS_KEY_ID][:2])
    with contextlib.ExitStack() as stack:

        def start(*, clock=time.time, known=oss.CREDENTIALS, **settings):
            asked: list[str] = []  # the function's log
            heard: list[dict[str, str]] = []  # the headers of each question
            put: list[str] = []
            stand_in = oss.Oss(clock=clock, credentials=known, log=put.append)
            stack.callback(stand_in.close)
            stack.enter_context(oss.serve(stand_in))
            settings = {
                "OSS_BUCKET": oss.BUCKET,
                "OSS_REGION": oss.REGION,
                "OSS_ENDPOINT": stand_in.address,
            } | settings
            for name, value in settings.items():
                monkeypatch.setenv(name, value)

            def handler(event, context):
                heard.append(json.loads(event)["headers"])
                return index.handler(event, context)

            function = stack.enter_context(fc.serve(handler, credentials=role, log=asked.append))
            return SimpleNamespace(function=function, oss=stand_in, asked=asked, heard=heard, put=put)

        yield start


@pytest.fixture
def serving():
    """Starts servers that answer as a test says; gives the address."""
    with contextlib.ExitStack() as stack:

        def refuse(status, message):
            raise AssertionError(message)

        yield lambda answer: stack.enter_context(server.serve(answer, refuse=refuse))


def run(client, *arguments, endpoint="", **environment):
    """What the client says and how it ends."""
    environment = ENVIRONMENT | ({"UPLOAD_ENDPOINT": endpoint} if endpoint else {}) | environment
    done = subprocess.run(
        [CLIENTS / client / "run", *arguments], env=environment, capture_output=True, timeout=60
    )
    return SimpleNamespace(
        code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode(errors="backslashreplace")
    )


def run_in_a_terminal(client, file, endpoint):
    """The same where standard error is one."""
    leader, follower = pty.openpty()
    environment = ENVIRONMENT | {"UPLOAD_ENDPOINT": endpoint}
    command = [CLIENTS / client / "run", file]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=follower, timeout=60)
    told = os.read(leader, 100_000)
    os.close(leader)
    os.close(follower)
    return SimpleNamespace(code=done.returncode, out=done.stdout.decode(), err=told.decode())


def peak(client, file, endpoint):
    """Bytes of memory that the client held at most."""
    command = [str(CLIENTS / client / "run"), str(file), "a/b"]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(command[0], command, ENVIRONMENT | {"UPLOAD_ENDPOINT": endpoint}, file_actions=quiet)
    return os.wait4(pid, 0)[2].ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def reply(status, body, **headers):
    """An answer of a server of our own."""
    return status, {"Content-Length": str(len(body)), **headers}, io.BytesIO(body)


def answering(**changes):
    """What a function would say, as a server's answer."""
    said = {
        "method": "PUT",
        "url": "http://127.0.0.1:9/b/k?x-oss-signature=s3cret",
        "headers": {},
        "key": "k",
    }
    said["headers"] = {"Content-Type": "text/plain"}
    return lambda *request: reply(200, json.dumps(said | changes).encode())


def free_port():
    """One on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


# -- stored


@pytest.mark.parametrize("content", [b"", b"x"], ids=["0 bytes", "1 byte"])
def test_a_small_file_is_stored(client, cloud, tmp_path, content):
    there = cloud()
    file = tmp_path / "a.txt"
    file.write_bytes(content)

    done = run(client, file, "text/plain", endpoint=there.function)

    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{32}\.txt\n", done.out)
    assert there.oss.get(done.out.strip()).read() == content


def test_64_megabytes_are_stored(client, cloud, big):
    there = cloud()

    done = run(client, big.file, "application/octet-stream", endpoint=there.function)

    assert (done.code, done.err) == (0, "")
    stored = there.oss.get(done.out.strip())
    assert (stored.size, stored.md5) == (MEGABYTES_64, big.md5)


def test_the_memory_does_not_grow_with_the_file(client, cloud, tmp_path, big):
    there = cloud()
    small = tmp_path / "a.bin"
    small.write_bytes(b"x")

    growth = peak(client, big.file, there.function) - peak(client, small, there.function)

    assert growth < 45 * 2**20
    assert len(there.oss.objects) == 2


def test_a_file_without_a_type_is_stored(client, cloud, tmp_path):
    """A type that the library made up would not be the signed one."""
    there = cloud()
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function)

    assert (done.code, done.err) == (0, "")
    assert there.oss.get(done.out.strip()).headers == UNBOUND


def test_a_key_with_blanks_and_chinese_is_printed_as_it_is_stored(client, cloud, tmp_path):
    prefix = "上传 图片/\U0001f600 é\"\\+%25~!'()*&=?#;:@/"
    there = cloud(UPLOAD_PREFIX=prefix)
    file = tmp_path / "假 期.JPG"
    file.write_bytes(b"x")

    done = run(client, file, "image/jpeg", endpoint=there.function)

    assert (done.code, done.err) == (0, "")
    assert [f"{key}\n" for key in there.oss.objects] == [done.out]
    assert re.fullmatch(re.escape(prefix) + "[0-9a-f]{32}\\.jpg\n", done.out)


@pytest.mark.parametrize(
    "name", ["-", "--help", "@a", "{a,b}[1-3]", "a\nb", "a\"b\\c' $(d)`e`;%41&amp;", "文件"]
)
def test_a_file_may_have_any_name(client, cloud, tmp_path, monkeypatch, name):
    there = cloud()
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"x")

    done = run(client, name, endpoint=there.function)

    assert (done.code, done.err) == (0, "")
    assert there.oss.get(done.out.strip()).read() == b"x"


def test_what_the_url_binds_is_sent_to_the_letter(client, cloud, tmp_path):
    """Metadata, storage class, and forms that some libraries would tidy up."""
    bound = {
        "x-oss-storage-class": "IA",
        "x-oss-meta-owner": "%E5%BC%A0,  b=c;d",
        "x-oss-meta-taken-at": "2026-11-22T10:00:00Z",
        "cache-control": "max-age=60,public",
        "content-disposition": 'attachment;filename="a b.html"',
        "content-language": "zh",
        "expires": "Thu, 01 Dec 2044 16:00:00 GMT",
    }
    there = cloud(UPLOAD_FORCED_HEADERS=json.dumps(bound))
    file = tmp_path / "a.html"
    file.write_bytes(b"x")

    done = run(client, file, "text/html;charset=UTF-8", endpoint=there.function)

    assert (done.code, done.err) == (0, "")
    assert there.oss.get(done.out.strip()).headers == bound | {"content-type": "text/html;charset=UTF-8"}


def test_the_body_has_a_length_and_nothing_is_added_that_oss_would_keep(client, serving, tmp_path):
    seen = []

    def storage(method, url, headers, body):
        seen.append((method, url, {name.lower(): value for name, value in headers}, body.read(9)))
        return reply(200, b"")

    target = serving(storage) + "/b/%E4%B8%8A%20%2B~a-b_c.d?x-oss-signature=%2Fa%3D&x-oss-date=1"
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(
        client,
        file,
        endpoint=serving(answering(url=target, headers={"Content-Type": "a/b", "x-oss-meta-c": "d"})),
    )

    assert (done.code, done.out, done.err) == (0, "k\n", "")
    [(method, url, headers, body)] = seen
    assert (method, url, body) == ("PUT", target, b"x")
    kept = {
        name: value
        for name, value in headers.items()
        if re.match("x-oss-|content-|cache-|expires|auth|trans", name)
    }
    assert kept == {"content-type": "a/b", "x-oss-meta-c": "d", "content-length": "1"}


def test_the_settings_of_a_home_change_nothing(client, cloud, tmp_path):
    """OSS refuses a password beside a signed URL."""
    there = cloud()
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".curlrc").write_text('netrc\nheader = "Content-Type: a/b"\n')
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function, HOME=str(tmp_path))

    assert (done.code, done.err) == (0, "")
    assert there.oss.get(done.out.strip()).headers == UNBOUND


def test_the_progress_is_told_to_a_terminal(client, cloud, tmp_path):
    there = cloud()
    file = tmp_path / "a.txt"
    file.write_bytes(bytes(2**20))

    done = run_in_a_terminal(client, file, endpoint=there.function)

    assert done.code == 0
    assert list(there.oss.objects) == [done.out.strip()]
    assert re.search(r"\b100(\.0)? ?%", done.err)


# -- refused


def test_a_refusal_of_the_function_is_told_as_it_says(client, cloud, tmp_path):
    there = cloud(UPLOAD_TYPES="image/*")
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, "text/plain", endpoint=there.function)

    assert (done.code, done.out) == (1, "")
    said = json.loads(there.asked[0])["detail"]
    assert done.err == f"upload: 403 ContentTypeNotAllowed: {said}\n"
    assert there.put == []


def test_the_function_is_told_the_size(client, cloud, tmp_path):
    there = cloud(UPLOAD_MAX_BYTES="1000")
    file = tmp_path / "a.txt"
    file.write_bytes(bytes(1001))

    done = run(client, file, endpoint=there.function)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("upload: 413 SizeNotAllowed: ")


def test_an_answer_of_function_compute_itself_is_told(client, serving, tmp_path):
    crash = serving(
        lambda *request: reply(
            502, b'{"errorMessage":"boom\\u000a","errorType":"KeyError","stackTrace":[[1]]}'
        )
    )
    throttled = serving(lambda *request: reply(429, b'{"ErrorCode":"TooMany","ErrorMessage":"wait"}'))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    assert run(client, file, endpoint=crash).err == "upload: 502 KeyError: boom\n"
    assert run(client, file, endpoint=throttled).err == "upload: 429 TooMany: wait\n"


def test_a_refusal_of_oss_is_told_even_if_it_comes_before_the_end_of_the_body(client, cloud, big):
    other = {oss.ACCESS_KEY_ID: oss.CREDENTIALS[oss.ACCESS_KEY_ID]._replace(secret="AnotherSecret")}
    there = cloud(known=other)

    done = run(client, big.file, endpoint=there.function)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(
        "upload: 403 SignatureDoesNotMatch: The request signature we calculated does not match"
    )
    assert done.err.count("\n") == 1
    assert len(there.put) == 1


def test_a_second_upload_to_a_one_shot_url_is_a_409(client, cloud, serving, tmp_path):
    there = cloud(UPLOAD_FORCED_HEADERS='{"x-oss-forbid-overwrite":"true"}')
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")
    answer = requests.post(there.function, json={"contentType": "text/plain"}, timeout=10).json()
    twice = serving(answering(**answer))

    assert run(client, file, "text/plain", endpoint=twice).out == answer["key"] + "\n"
    done = run(client, file, "text/plain", endpoint=twice)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("upload: 409 FileAlreadyExists: The object you specified already exists")


def test_an_expired_url_is_asked_for_again(client, cloud, tmp_path):
    late = itertools.chain([3600], itertools.repeat(0))
    there = cloud(clock=lambda: time.time() + next(late))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function)

    assert (done.code, done.err) == (0, "")
    assert list(there.oss.objects) == [done.out.strip()]
    assert (len(there.asked), len(there.put)) == (2, 2)


def test_an_expired_url_is_asked_for_again_only_once(client, cloud, tmp_path):
    there = cloud(clock=lambda: time.time() + 3600)
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function)

    assert (done.code, done.out) == (1, "")
    assert done.err == "upload: 403 AccessDenied: Request has expired.\n"
    assert (len(there.asked), len(there.put)) == (2, 2)


def test_a_token_that_has_expired_is_a_reason_to_ask_again(client, cloud, tmp_path):
    dead = {name: credential._replace(expires=1.0) for name, credential in oss.CREDENTIALS.items()}
    there = cloud(known=dead)
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("upload: 403 SecurityTokenExpired: ")
    assert len(there.asked) == 2


def test_other_refusals_are_not_asked_again(client, cloud, tmp_path):
    there = cloud(known={"AnotherId": Credential("AnotherSecret")})
    file = tmp_path / "has expired.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("upload: 403 InvalidAccessKeyId: ")
    assert (len(there.asked), len(there.put)) == (1, 1)


# -- authorization


def test_the_authorization_is_sent_with_each_question(client, cloud, tmp_path):
    late = itertools.chain([3600], itertools.repeat(0))
    there = cloud(clock=lambda: time.time() + next(late))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function, UPLOAD_AUTHORIZATION=TOKEN)

    assert (done.code, done.err) == (0, "")
    assert [headers["Authorization"] for headers in there.heard] == [TOKEN, TOKEN]
    assert list(there.oss.objects) == [done.out.strip()]


def test_the_authorization_is_not_sent_to_oss(client, serving, tmp_path):
    asked, put = [], []
    storage = serving(lambda method, url, headers, body: put.append(headers) or reply(200, b""))
    answer = answering(url=storage + "/b/k?x-oss-signature=s3cret")
    function = serving(lambda method, url, headers, body: asked.append(headers) or answer())
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=function, UPLOAD_AUTHORIZATION=TOKEN)

    assert (done.code, done.out, done.err) == (0, "k\n", "")
    assert [value for name, value in asked[0] if name.lower() == "authorization"] == [TOKEN]
    assert [
        (name, value) for name, value in put[0] if name.lower() == "authorization" or TOKEN in value
    ] == []


@pytest.mark.parametrize("environment", [{}, {"UPLOAD_AUTHORIZATION": ""}], ids=["absent", "empty"])
def test_without_the_variable_no_authorization_is_sent(client, cloud, tmp_path, environment):
    there = cloud()
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function, **environment)

    assert (done.code, done.err) == (0, "")
    assert ["Authorization" in headers for headers in there.heard] == [False]


@pytest.mark.parametrize(
    "value",
    [
        "s3cret\r\nx-upload-identity: a",
        "s3cret\n",
        "\ns3cret",
        "s3\tcret",
        "s3cret\x7f",
        "s3cret\x01",
        "s3crét",
    ],
    ids=ascii,
)
def test_an_authorization_that_is_no_header_is_refused_and_not_told(client, cloud, tmp_path, value):
    there = cloud()
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=there.function, UPLOAD_AUTHORIZATION=value)

    assert (done.code, done.out, done.err) == (1, "", "upload: the authorization is not printable ASCII\n")
    assert there.heard == []


def test_a_refused_authorization_is_told_and_its_value_is_not(client, serving, tmp_path):
    refused = b'{"ErrorCode":"AccessDenied","ErrorMessage":"The token is invalid."}'
    function = serving(lambda *request: reply(401, refused, **{"WWW-Authenticate": "Bearer"}))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=function, UPLOAD_AUTHORIZATION="Bearer s3cret")

    assert (done.code, done.out) == (1, "")
    assert done.err == "upload: 401 AccessDenied: The token is invalid.\n"


def test_an_authorization_is_not_told_where_nobody_answers(client, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(
        client, file, endpoint=f"http://127.0.0.1:{free_port()}/", UPLOAD_AUTHORIZATION="Bearer s3cret"
    )

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("upload: no answer from 127.0.0.1:")
    assert "s3cret" not in done.err


@pytest.mark.parametrize("status", [302, 307])
def test_an_authorization_follows_no_redirect(client, serving, tmp_path, status):
    followed = []
    elsewhere = serving(lambda *request: followed.append(request) or answering()())
    function = serving(lambda *request: reply(status, b"moved", Location=elsewhere + "/"))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=function, UPLOAD_AUTHORIZATION=TOKEN)

    assert (done.code, done.out) == (1, "")
    assert followed == []


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs Linux's /proc")
def test_secrets_are_on_no_command_line(client, serving, tmp_path):
    """Every user may list every process's arguments. The file's name is among them, so we looked well."""
    listed = []

    def look(answer):
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                listed.append(process.read_bytes())
        return answer

    storage = serving(lambda *request: look(reply(200, b"")))
    answer = answering(url=storage + "/b/k?x-oss-signature=s3cret-url")
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(
        client, file, endpoint=serving(lambda *request: look(answer())), UPLOAD_AUTHORIZATION="s3cret-token"
    )

    assert (done.code, done.out, done.err) == (0, "k\n", "")
    assert len([line for line in listed if str(file).encode() in line]) >= 2
    assert [line for line in listed if b"s3cret" in line] == []


# -- wrong use, and what nobody wishes for


@pytest.mark.parametrize("arguments", [[], [""], ["a", "b", "c"]], ids=["none", "empty", "three"])
def test_wrong_use_is_told_in_one_line(client, arguments):
    done = run(client, *arguments, endpoint="http://127.0.0.1:9/")

    assert (done.code, done.out, done.err) == (2, "", USAGE)


def test_the_functions_address_is_needed(client, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    assert run(client, file).code == 2
    assert run(client, file, UPLOAD_ENDPOINT="").err == USAGE


@pytest.mark.parametrize("name", ["missing.txt", "."], ids=["missing", "folder"])
def test_what_is_no_file_is_told_before_anybody_is_asked(client, cloud, tmp_path, name):
    there = cloud()

    done = run(client, tmp_path / name, endpoint=there.function)

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"upload: cannot read \S+: \S.*\n", done.err)
    assert there.asked == []


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1", "http://", "http:///x"]
)
def test_an_address_that_is_not_http_is_refused(client, tmp_path, address):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=address)

    assert (done.code, done.out, done.err) == (1, "", "upload: the address is not http or https\n")


def test_an_endpoint_that_does_not_answer_is_named(client, tmp_path):
    port = free_port()
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=f"http://127.0.0.1:{port}/?s3cret")

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(rf"upload: no answer from 127\.0\.0\.1:{port}: \S.*\n", done.err)
    assert "s3cret" not in done.err


def test_a_signed_url_is_not_told_where_the_storage_does_not_answer(client, serving, tmp_path):
    port = free_port()
    function = serving(answering(url=f"http://127.0.0.1:{port}/b/k?x-oss-signature=s3cret"))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=function)

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(rf"upload: no answer from 127\.0\.0\.1:{port}: \S.*\n", done.err)
    assert "s3cret" not in done.err


def test_a_terminal_too_is_told_that_the_storage_does_not_answer(client, serving, tmp_path):
    port = free_port()
    function = serving(answering(url=f"http://127.0.0.1:{port}/b/k?x-oss-signature=s3cret"))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run_in_a_terminal(client, file, endpoint=function)

    assert (done.code, done.out) == (1, "")
    assert f"upload: no answer from 127.0.0.1:{port}" in done.err
    assert "s3cret" not in done.err


NO_ADDRESSES = ["http://127.0.0.1:99999/?s3cret", "http://127.0.0.1:a/?s3cret", "http://[::1/?s3cret"]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_endpoint_that_is_no_address_is_told_in_one_line(client, tmp_path, address):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=address)

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"upload: [^\n]+\n", done.err)
    assert not re.search("s3cret|Exception", done.err)


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_a_url_that_is_no_address_is_told_in_one_line(client, serving, tmp_path, url):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(url=url)))

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"upload: [^\n]+\n", done.err)
    assert not re.search("s3cret|Exception", done.err)


@pytest.mark.parametrize(
    "changes",
    [{"headers": {"Content-Type": "a/b", "x-oss-meta-a": "上"}}, {"method": "PU T"}, {"method": "PÜT"}],
    ids=["header", "blank in method", "letter in method"],
)
def test_what_http_has_no_form_for_is_sent_or_told_in_one_line(client, serving, tmp_path, changes):
    """Some libraries send it, some refuse it, and none may end in a traceback."""
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(**changes)))

    assert (done.code, done.out) == (1, "")  # nobody listens there
    assert re.fullmatch(r"upload: [^\n]+\n", done.err)
    assert "s3cret" not in done.err


# The curl command cannot be told to give up; it waits until the storage does.
@pytest.mark.parametrize("client", [name for name in TOOLS if name != "curl"], indirect=True)
def test_a_file_that_becomes_shorter_is_told_at_once(client, serving, tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(32 * 2**20))
    heard = []

    def storage(method, url, headers, body):
        heard.append(len(body.read(65536)))
        os.truncate(file, 1000)
        heard.extend(map(len, iter(lambda: body.read(65536), b"")))
        return reply(400, b"")

    done = run(client, file, endpoint=serving(answering(url=serving(storage) + "/k")))

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"upload: [^\n]+\n", done.err)
    assert sum(heard) < 32 * 2**20


def test_no_more_of_a_growing_file_is_sent_than_was_promised(client, tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(32 * 2**20))
    refused = []

    def refuse(status, message):
        refused.append(message)
        return reply(status, b"")

    def storage(method, url, headers, body):
        body.read(65536)
        with file.open("ab") as grown:
            grown.write(b"x" * 100_000)
        list(iter(lambda: body.read(65536), b""))
        return reply(400, b"")

    with (
        server.serve(storage, refuse=refuse) as there,
        server.serve(answering(url=there + "/k"), refuse=refuse) as function,
    ):
        done = run(client, file, endpoint=function)

    assert (done.code, done.out) == (1, "")
    assert refused == []  # the rest would be the beginning of another request


def test_a_connection_that_ends_without_an_answer_is_told(client, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        process = subprocess.Popen(
            [CLIENTS / client / "run", file],
            env=ENVIRONMENT | {"UPLOAD_ENDPOINT": endpoint},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        listening.settimeout(0.2)
        while process.poll() is None:
            with contextlib.suppress(TimeoutError), listening.accept()[0] as connection:
                connection.recv(100_000)
        out, err = process.communicate(timeout=10)

    assert (process.returncode, out) == (1, b"")
    assert re.fullmatch(r"upload: no answer from 127\.0\.0\.1:\d+: \S.*\n", err.decode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>\n<b>It works!</b>\x1b[31m",
        b"[]",
        b"{}",
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"k"}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"k","headers":"a"}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"k","headers":{}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"","headers":{"Content-Type":"a/b"}}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"k","headers":{"Content-Type":""}}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"k\\nl","headers":{"Content-Type":"a/b"}}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/\\n","key":"k","headers":{"Content-Type":"a/b"}}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"k","headers":{"a":"b\\r\\nc: d"}}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"k","headers":{"a\\r\\nb: c":"d"}}',
        b'{"method":"PUT","url":"http://127.0.0.1:9/","key":"k\\u009bl","headers":{"Content-Type":"a/b"}}',
        b'{"a":"\\uzzz\x00"}',
        b'{"a":' + b"[" * 30_000,
        b'{"a":"' + b"\\" * 30_000,
    ],
    ids=[
        "nothing",
        "html",
        "list",
        "empty",
        "no headers",
        "text for headers",
        "cut",
        "empty key",
        "empty header",
        "line in key",
        "line in url",
        "line in value",
        "line in name",
        "escape in key",
        "no code",
        "deep",
        "backslashes",
    ],
)
def test_an_answer_that_is_no_upload_is_not_followed(client, serving, tmp_path, body):
    function = serving(lambda *request: reply(200, body))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=function)

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(
        r"upload: 127\.0\.0\.1:\d+ answered something else than an upload: [^\x00-\x1f\x7f-\x9f]+\n", done.err
    )


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "/k"])
def test_a_url_that_is_not_http_is_refused(client, serving, tmp_path, url):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(url=url)))

    assert (done.code, done.out, done.err) == (1, "", "upload: the address is not http or https\n")


def test_a_proxys_page_is_told_in_one_line(client, serving, tmp_path):
    page = b"<html>\r\n<h1>502 Bad\x1b[31m Gateway</h1>\n" + b" nginx" * 1000
    storage = serving(lambda *request: reply(502, page, **{"Content-Type": "text/html"}))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(url=storage + "/k")))

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("upload: 502: <html> <h1>502 Bad [31m Gateway</h1> nginx")
    assert len(done.err) < 300
    assert done.err.count("\n") == 1


def test_no_refusal_moves_the_cursor(client, serving, tmp_path):
    """A terminal also takes U+009B for the beginning of a command."""
    body = b'{"code":"A","detail":"a\\u009b1\\u001b[2J\xc2\x9b2\\u007f\\r\\n3\\u0085"}'
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(lambda *request: reply(500, body)))

    assert (done.code, done.out, done.err) == (1, "", "upload: 500 A: a 1 [2J 2 3\n")


def test_a_refusal_whose_words_are_no_texts_is_told_by_its_number(client, serving, tmp_path):
    function = serving(lambda *request: reply(500, b'{"code":5,"detail":[1]}'))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=function)

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"upload: 500 ?:[^\n]*\n", done.err)


def test_a_refusal_without_words_is_told_by_its_number(client, serving, tmp_path):
    storage = serving(lambda *request: reply(403, b""))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(url=storage + "/k")))

    assert (done.code, done.out, done.err) == (1, "", "upload: 403: an empty answer\n")


def test_the_words_of_oss_are_read_as_xml(client, serving, tmp_path):
    xml = (
        b"<?xml version='1.0'?>\n<Error>\n <Code>A&amp;lt;</Code>\n"
        b" <Message>&lt;a&gt; &quot;b&quot; &apos;c\n'</Message></Error>"
    )
    storage = serving(lambda *request: reply(400, xml))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(url=storage + "/k")))

    assert done.err == "upload: 400 A&lt;: <a> \"b\" 'c '\n"


def test_only_the_beginning_of_an_endless_answer_is_read(client, serving, tmp_path):
    class Endless(io.RawIOBase):
        sent = 0

        def read(self, size=-1):
            Endless.sent += size
            return b"<Error><Code>Big</Code><Message>m</Message>".ljust(size)

    storage = serving(lambda *request: (500, {"Content-Length": str(2**40)}, Endless()))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(url=storage + "/k")))

    assert (done.code, done.out, done.err) == (1, "", "upload: 500 Big: m\n")
    assert Endless.sent < 50 * 2**20


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(client, serving, tmp_path, status):
    followed = []
    elsewhere = serving(lambda *request: followed.append(request) or reply(200, b"{}"))
    storage = serving(lambda *request: reply(status, b"moved", Location=elsewhere + "/"))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(url=storage + "/k")))

    assert (done.code, done.out) == (1, "")
    # fetch gives no more of it than this.
    assert re.fullmatch(rf"upload: ({status}: moved|no answer from \S+: unexpected redirect)\n", done.err)
    assert followed == []


def test_a_failed_callback_is_no_success(client, serving, tmp_path):
    """OSS has stored the object and says 203: whoever waits for the callback must hear of it."""
    xml = b"<Error><Code>CallbackFailed</Code><Message>Error status : 301.</Message></Error>"
    storage = serving(lambda *request: reply(203, xml))
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")

    done = run(client, file, endpoint=serving(answering(url=storage + "/k")))

    assert (done.code, done.out, done.err) == (1, "", "upload: 203 CallbackFailed: Error status : 301.\n")
