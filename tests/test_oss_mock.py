"""What other projects' tests hold in their hands: `mock_oss`, the fixtures, objects on the disk, CRC-64."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local import oss_store
from local.oss import ACCESS_KEY_ID, CREDENTIALS, Oss, mock_oss
from local.oss_store import crc64_ecma
from tests.oss_fronts import BUCKET, HOST, NOW, Clock, presign
from tests.oss_fronts import CREDENTIALS as KNOWN

ROOT = Path(__file__).parents[1]


@pytest.fixture
def oss() -> Iterator[Oss]:
    with mock_oss([BUCKET], credentials=KNOWN, clock=Clock()) as oss:
        yield oss


@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        "hello",
        bytearray(b"hello"),
        io.BytesIO(b"hello"),
        io.StringIO("hello"),
        iter([b"he", b"", b"llo"]),
    ],
    ids=["bytes", "text", "bytearray", "file", "text file", "generator"],
)
def test_mock_takes_every_body_that_requests_takes(oss: Oss, body: object) -> None:
    assert requests.put(presign(), data=body).status_code == 200  # type: ignore[arg-type]
    assert oss.objects["folder/photo.png"].read() == b"hello"


def test_mock_takes_no_body_as_an_empty_one(oss: Oss) -> None:
    assert requests.put(presign()).status_code == 200
    assert oss.objects["folder/photo.png"].size == 0


def test_mock_answers_over_https_and_with_a_port(oss: Oss) -> None:
    assert requests.put(presign().replace("http://", "https://"), data=b"1").status_code == 200
    assert requests.put(presign().replace(HOST, f"{HOST}:8443"), data=b"2").status_code == 200


def test_mock_reads_headers_given_as_bytes_or_beyond_latin_1(oss: Oss) -> None:
    value = "照".encode().decode("latin-1")
    url = presign(headers={"x-oss-meta-a": "1"})

    assert requests.put(url, headers={"x-oss-meta-a": b"1"}).status_code == 200
    text = requests.put(url, headers={"x-oss-meta-a": "照"}).text
    assert "x-oss-meta-a:照" in text
    assert value not in text


def test_mock_drops_the_fragment_of_a_url_as_a_client_does(oss: Oss) -> None:
    assert requests.put(presign() + "#top").status_code == 200


def test_mock_lets_nothing_out_but_to_this_machine(oss: Oss) -> None:
    with pytest.raises(requests.exceptions.ConnectionError, match="refused by Responses"):
        requests.get("http://example.com/")
    with pytest.raises(requests.exceptions.ConnectionError, match="Connection refused"):
        requests.get("http://127.0.0.1:9/")


def test_mock_intercepts_no_host_that_only_looks_like_one(oss: Oss) -> None:
    with pytest.raises(requests.exceptions.ConnectionError, match="refused by Responses"):
        requests.put(presign().replace(HOST, f"{HOST}.example"))
    with pytest.raises(requests.exceptions.ConnectionError, match="refused by Responses"):
        requests.get("https://sts.aliyuncs.com/")


def test_mock_gives_the_endpoint_of_its_region() -> None:
    with mock_oss(["a-bucket"], region="cn-beijing") as oss:
        assert oss.address == "https://oss-cn-beijing.aliyuncs.com"


def test_a_client_whose_body_fails_sees_its_own_error_and_nothing_is_stored(oss: Oss) -> None:
    def body() -> Iterator[bytes]:
        yield b"start"
        raise RuntimeError("the client's own")

    with pytest.raises(RuntimeError, match="the client's own"):
        requests.put(presign(), data=body())

    assert oss.objects == {}


def test_two_mocks_share_nothing() -> None:
    with mock_oss() as first:
        first.put("key", b"1")
    with mock_oss() as second:
        assert second.objects == {}


# ---- arranging and reading ----


def test_objects_of_several_buckets_are_named_with_theirs() -> None:
    with mock_oss({"first-bucket": "cn-hangzhou", "second-bucket": "cn-beijing"}) as oss:
        oss.put("key", b"1")
        oss.put("key", b"2", "second-bucket", content_type="text/plain", x_oss_meta_a="b")

        assert sorted(oss.objects) == ["first-bucket/key", "second-bucket/key"]
        assert [oss.get("key"), oss.get("absent")] == [oss.objects["first-bucket/key"], None]
        second = oss.get("key", "second-bucket")

        assert second is not None
        assert second.read() == b"2"
        assert second.headers["content-type"] == "text/plain"
        assert second.headers["x-oss-meta-a"] == "b"


def test_the_local_credentials_hold_what_must_be_encoded() -> None:
    token = CREDENTIALS[ACCESS_KEY_ID].token

    assert token is not None
    assert set("+/=") <= set(token)


def test_importing_the_stand_in_imports_nothing_that_must_be_installed() -> None:
    program = (
        "import sys, local.__main__, local.oss, local.fc; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )

    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["__main__", "local"]


def test_the_readmes_example_runs() -> None:
    (example,) = re.findall("```python\n(.*?)```", (ROOT / "local" / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}

    exec(example, names)

    names["test_upload"]()


FIXTURES = """
pytest_plugins = ["local.pytest_oss"]

def test_one(oss):
    import oss2
    from local.oss import ACCESS_KEY_ID, BUCKET

    known = oss.credentials[ACCESS_KEY_ID]
    provider = oss2.credentials.StaticCredentialsProvider(ACCESS_KEY_ID, known.secret, known.token)
    bucket = oss2.Bucket(oss2.ProviderAuthV4(provider), oss.address, BUCKET, region="cn-hangzhou")
    bucket.put_object("key", b"hello")
    assert oss.objects["key"].read() == b"hello"

def test_two(oss_server):
    import pytest, urllib.request, urllib.error
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(oss_server.address + "/local-bucket/key")
    with refused.value as error:
        assert b"AccessDenied" in error.read()
"""


def test_the_fixtures_work_in_a_project_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(FIXTURES)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )

    assert "2 passed" in done.stdout, done.stdout


# ---- on the disk ----


def test_objects_in_a_folder_are_there_again_next_time(tmp_path: Path) -> None:
    first = Oss([BUCKET], data=tmp_path / "new", clock=lambda: NOW)
    first.put("a/照 b.png", b"hello", content_type="image/png")
    kept = first.objects
    first.close()
    (tmp_path / "new" / ".incoming" / "killed").write_bytes(b"half")

    second = Oss([BUCKET], data=tmp_path / "new")

    assert second.objects == kept
    assert second.objects["a/照 b.png"].read() == b"hello"
    assert second.objects["a/照 b.png"].path.name.endswith("-__b.png")
    assert list((tmp_path / "new" / ".incoming").iterdir()) == []


def test_a_folder_is_for_one_stand_in_at_a_time(tmp_path: Path) -> None:
    first = Oss([BUCKET], data=tmp_path)

    with pytest.raises(BlockingIOError, match="another OSS stand-in uses it"):
        Oss([BUCKET], data=tmp_path)

    first.close()
    first.close()
    Oss([BUCKET], data=tmp_path).close()


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """Root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written_to_is_told_before_the_first_upload() -> None:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is within a folder that is root's alone
        (Path(folder) / ".incoming").mkdir()
        for read_only in (Path(folder) / ".incoming", Path(folder)):
            read_only.chmod(0o555)

        with somebody_else(), pytest.raises(PermissionError):
            Oss([BUCKET], data=Path(folder))

        Path(folder).chmod(0o700)


def test_a_folder_with_other_peoples_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "package.json").write_text('{"name": "other"}')
    (tmp_path / "notes.txt").write_text("mine")

    oss = Oss([BUCKET], data=tmp_path)
    oss.put("key", b"hello")
    oss.close()

    assert list(oss.objects) == ["key"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "sub" / "package.json").read_text()) == {"name": "other"}


def test_an_object_whose_file_somebody_removed_is_not_there(tmp_path: Path) -> None:
    with mock_oss([BUCKET], credentials=KNOWN, clock=Clock(), data=tmp_path) as oss:
        oss.put("key", b"hello").path.unlink()

        assert requests.get(presign("key", "GET")).status_code == 404
        assert requests.put(presign("key"), data=b"again").status_code == 200
        assert requests.get(presign("key", "GET")).content == b"again"


def test_an_upload_whose_description_cannot_be_written_leaves_the_old_object(tmp_path: Path) -> None:
    oss = Oss([BUCKET], data=tmp_path)
    old = oss.put("key", b"old")
    (index,) = tmp_path.glob("*/.index/*.json")
    index.unlink()
    index.mkdir()

    with pytest.raises(OSError, match="directory"):
        oss.put("key", b"new")

    assert oss.objects == {"key": old}
    assert old.read() == b"old"
    assert list((tmp_path / BUCKET).glob("*-key")) == [old.path]


def test_a_temporary_folder_goes_when_the_stand_in_does() -> None:
    oss = Oss()
    stored = oss.put("key", b"hello")

    oss.close()
    oss.close()

    assert not stored.path.exists()


# ---- CRC-64 ----


def test_crc64_is_that_of_oss_whichever_code_computes_it() -> None:
    # The check value of CRC-64/XZ in https://reveng.sourceforge.io/crc-catalogue/
    assert crc64_ecma(b"123456789", 0) == 0x995DC9BBDF1939FA
    assert oss_store._crc64_in_python(b"123456789", 0) == 0x995DC9BBDF1939FA
    assert crc64_ecma(b"6789", crc64_ecma(b"12345", 0)) == 0x995DC9BBDF1939FA
    assert oss_store._crc64_in_python(b"6789", oss_store._crc64_in_python(b"12345", 0)) == 0x995DC9BBDF1939FA


def test_crc64_falls_back_to_python_where_there_is_no_lzma() -> None:
    program = (
        "import sys; sys.modules['_lzma'] = None; from local import oss_store as store; "
        "assert store.crc64_ecma is store._crc64_in_python; print(store.crc64_ecma(b'123456789', 0))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert int(done.stdout) == 0x995DC9BBDF1939FA
