"""The command, as a person types it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from local import __main__ as command
from local import server
from local.oss import ACCESS_KEY_ID, CREDENTIALS, Oss, serve
from local.oss_verify import Credential
from tests.surroundings import bare_environment

ROOT = Path(__file__).parents[1]


def local(*arguments: object, cwd: Path = ROOT, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", *map(str, arguments)],
        cwd=cwd,
        env={**bare_environment(), "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    file.write_bytes(b"hello")
    return file


# ---- files ----


def test_a_file_is_uploaded_and_what_was_stored_is_shown(file: Path, tmp_path: Path) -> None:
    done = local("--data", tmp_path / "data", file)

    found = re.fullmatch(r'([0-9a-f]{32}\.png)  5  "([0-9A-F]{32})"  (.*)\n', done.stdout)
    assert found
    assert found[2] == "5D41402ABC4B2A76B9719D911017C592"
    assert Path(found[3]).read_bytes() == b"hello"
    assert (done.returncode, done.stderr) == (0, "")


def test_several_files_of_any_name_and_size_are_uploaded(tmp_path: Path) -> None:
    names = ["empty", "照片 (1)+%.jpg", "a#b?.TXT"]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * (len(name) if name != "empty" else 0))

    done = local(*[tmp_path / name for name in names])

    lines = done.stdout.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["0", "12", "8"]
    assert [Path(line.split("  ")[0]).suffix for line in lines] == ["", ".jpg", ".txt"]
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_folder_nothing_is_left_behind(file: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()

    done = local(file, TMPDIR=str(tmp_path / "tmp"))

    assert "(temporary, --data keeps it)" in done.stdout
    assert list((tmp_path / "tmp").iterdir()) == []


def test_settings_come_from_the_environment(file: Path, tmp_path: Path) -> None:
    done = local(
        "--data", tmp_path, file, UPLOAD_PREFIX="in/", OSS_BUCKET="my-bucket", OSS_REGION="cn-beijing"
    )

    assert done.stdout.startswith("in/")
    assert f"  {tmp_path / 'my-bucket'}/" in done.stdout
    assert done.returncode == 0


def test_credentials_come_from_the_environment(file: Path) -> None:
    mine = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAImine", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "mine"}
    other = Oss(["local-bucket"], credentials={"LTAImine": Credential("mine")})
    with contextlib.closing(other), serve(other):
        at_the_stand_in = local(file, **mine)
        at_one_that_knows_no_others = local(file, OSS_ENDPOINT=other.address, **mine)

    assert at_the_stand_in.returncode == 0, at_the_stand_in.stderr
    assert at_one_that_knows_no_others.returncode == 0, at_one_that_knows_no_others.stderr


def test_a_missing_file_is_named_and_the_others_are_uploaded(file: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    done = local(missing, file)

    assert done.stderr == f"local: {missing}: no such file or directory\n"
    assert len(done.stdout.splitlines()) == 1
    assert done.returncode == 1


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    done = local(tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"local: {tmp_path}: is a directory\n")


def test_a_refusal_of_the_function_is_told_with_its_log(file: Path) -> None:
    done = local(file, UPLOAD_TYPES="text/plain")

    assert done.stdout == ""
    assert done.stderr.startswith(f"local: {file}: 403 ContentTypeNotAllowed: ")
    assert '"code": "ContentTypeNotAllowed"' in done.stderr.splitlines()[1]
    assert done.returncode == 1


def test_an_oss_that_is_not_there_is_told(file: Path) -> None:
    done = local(file, OSS_SIGNER="native", OSS_ENDPOINT="http://127.0.0.1:9")

    assert done.stderr.startswith(f"local: {file}: connection refused")
    assert done.returncode == 1


def test_another_oss_than_the_stand_in_is_used_if_the_settings_say_so(file: Path) -> None:
    other = Oss(["local-bucket"], credentials={ACCESS_KEY_ID: CREDENTIALS[ACCESS_KEY_ID]})
    with contextlib.closing(other), serve(other):
        done = local(file, OSS_ENDPOINT=other.address)

        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{next(iter(other.objects))}  5\n"


def test_a_wrong_signature_is_told_with_the_likely_cause(file: Path) -> None:
    credential = CREDENTIALS[ACCESS_KEY_ID]._replace(secret="Other")
    other = Oss(["local-bucket"], credentials={ACCESS_KEY_ID: credential})
    with contextlib.closing(other), serve(other):
        done = local(file, OSS_ENDPOINT=other.address)

    assert "403 SignatureDoesNotMatch: The request signature we calculated" in done.stderr
    assert "(No usual mistake explains it: compare CanonicalRequest" in done.stderr
    assert done.returncode == 1


def test_an_answer_that_is_not_of_an_oss_is_told(file: Path) -> None:
    def refuse(status: int, message: str) -> server.Answer:
        return status, {"Content-Length": "6"}, io.BytesIO(b"<html>")

    with server.serve(lambda *request: refuse(502, ""), refuse=refuse) as address:
        done = local(file, OSS_ENDPOINT=address)

    assert done.stderr.startswith(f"local: {file}: 502 not an answer of OSS\n")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["--oss-port", "x"], ["--function-port", "65536"], ["--oss-port", "-1"], ["--data"]],
)
def test_wrong_usage_is_exit_2_with_a_usage_line(arguments: list[str]) -> None:
    done = local(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: python3 -m local")


def test_help_shows_an_example() -> None:
    done = local("--help")

    assert "$ python3 -m local --data" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("option", ["--oss-port", "--function-port"])
def test_a_port_in_use_is_told(option: str, file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = local(option, port, file)

    assert done.stderr == f"local: port {port}: address already in use; choose another with {option}\n"
    assert (done.returncode, done.stdout) == (1, "")


def test_a_data_folder_that_is_a_file_is_told(file: Path) -> None:
    done = local("--data", file, file)

    assert done.stderr == f"local: {file}: not a directory\n"
    assert done.returncode == 1


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"path": 1}', '{"path": "x", "other": 1}'])
def test_a_data_folder_with_a_broken_index_is_told(text: str, file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "data" / "local-bucket" / ".index" / "x.json"
    broken.parent.mkdir(parents=True)
    broken.write_text(text)

    done = local("--data", tmp_path / "data", file)

    assert done.stderr == f"local: {tmp_path / 'data'}: {broken} does not describe an object\n"
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("arguments", [[], ["LICENSE"]], ids=["serving", "uploading"])
def test_an_output_that_takes_no_more_is_told_in_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=ROOT, env=bare_environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip

    assert (done.returncode, done.stderr) == (1, "local: standard output: no space left on device\n")


def test_ctrl_c_while_uploading_is_exit_130_without_a_trace(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-m", "local", str(file)]
        settings = {**bare_environment(), "OSS_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with subprocess.Popen(
            command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            silent.settimeout(20)
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                out, told = process.communicate(timeout=20)

    assert (process.returncode, out, told) == (130, "", "")


# ---- serving ----


@contextlib.contextmanager
def serving(*arguments: object, **settings: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The running command and its addresses."""
    with subprocess.Popen(
        [sys.executable, "-m", "local", *map(str, arguments)],
        cwd=ROOT,
        env={**bare_environment(), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        addresses = dict(process.stdout.readline().split() for _ in range(3))
        try:
            yield process, addresses
        finally:
            process.kill()


def test_serving_prints_three_addresses_and_a_session() -> None:
    with serving() as (process, addresses):
        assert process.stdout
        rest = "".join(process.stdout.readline() for _ in range(2))

    assert list(addresses) == ["function", "oss", "page"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", addresses["function"])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", addresses["oss"])
    assert addresses["page"] == addresses["function"] + "page/"
    assert rest.startswith(f"\ncurl -sS {addresses['function']} ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_a_word_or_a_trace(number: signal.Signals, tmp_path: Path) -> None:
    with serving(TMPDIR=str(tmp_path)) as (process, _):
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        _, told = process.communicate(timeout=20)

    assert (process.returncode, told) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_the_printed_session_stores_the_file(tmp_path: Path) -> None:
    with serving("--data", tmp_path) as (process, addresses):
        assert process.stdout
        session = "".join(process.stdout.readline() for _ in range(5))
        work = tmp_path / "work"
        work.mkdir()
        (work / "LICENSE").write_text("a licence")
        done = subprocess.run(
            ["sh", "-e", "-c", session], cwd=work, capture_output=True, text=True, timeout=30
        )
        answer = json.loads((work / "answer.json").read_text())

    assert done.returncode == 0, done.stderr
    assert "HTTP/1.1 200 OK" in done.stdout
    assert answer["url"].startswith(f"{addresses['oss']}/local-bucket/")
    assert [path.read_text() for path in (tmp_path / "local-bucket").glob("*") if path.is_file()] == [
        "a licence"
    ]


def test_a_folder_that_another_process_uses_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("hello")

    with serving("--data", tmp_path / "data"):
        done = local("--data", tmp_path / "data", file)

    assert done.returncode == 1
    assert done.stderr == f"local: {tmp_path / 'data'}: another OSS stand-in uses it\n"


def test_ports_may_be_chosen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [first.getsockname()[1], second.getsockname()[1]]

    with serving("--function-port", ports[0], "--oss-port", ports[1]) as (_, addresses):
        assert addresses["function"] == f"http://127.0.0.1:{ports[0]}/"
        assert addresses["oss"] == f"http://127.0.0.1:{ports[1]}"


def test_the_log_is_on_standard_error_and_names_no_secret() -> None:
    with serving() as (process, addresses):
        request = urllib.request.Request(addresses["function"], data=b"{}", method="POST")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as response:
            url = json.load(response)["url"]
        assert requests.put(url, data=b"").status_code == 200
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)

    lines = told.splitlines()
    assert json.loads(lines[0])["outcome"] == "signed"
    assert lines[1].startswith("PUT 127.0.0.1/local-bucket/")
    assert "signature" not in told
    assert "CAIS" not in told


def test_a_line_of_the_log_is_written_in_one_piece_so_that_two_do_not_mix() -> None:
    class Pieces(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    written: list[str] = []

    command._Log(Pieces(), silent=False)("PUT / 200")

    assert written == ["PUT / 200\n"]


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [({}, "*"), ({"CORS_ORIGINS": "https://a.example"}, "https://origin-not-allowed.invalid")],
    ids=["unset", "another"],
)
def test_any_origin_may_call_unless_the_settings_say_otherwise(
    settings: dict[str, str], allowed: str
) -> None:
    with serving(**settings) as (_, addresses):
        answer = requests.get(addresses["function"], headers={"Origin": "https://b.example"})

    assert answer.headers["Access-Control-Allow-Origin"] == allowed


# ---- the page ----


def test_the_page_is_served_under_its_path_and_the_function_under_all_others() -> None:
    def function(method: str, url: str, headers: object, body: object) -> str:
        return f"{method} {url}"

    respond = command._with_page(function)

    status, _, content = respond("GET", "http://x/page/?a=1", [], None)
    assert (status, content.read(100_000)) == (200, (command.PAGE / "index.html").read_bytes())
    status, headers, _ = respond("GET", "http://x/page", [], None)
    assert (status, headers["Location"]) == (308, "/page/")
    status, _, content = respond("GET", "http://x/page/upload.js", [], None)
    assert (status, content.read(100_000)) == (200, (command.MODULE / "upload.js").read_bytes())
    assert respond("GET", "http://x/page/../fc.py", [], None)[0] == 404
    for path in ("/", "/pages/", "/?/page/"):
        assert respond("GET", f"http://x{path}", [], None) == f"GET http://x{path}"
