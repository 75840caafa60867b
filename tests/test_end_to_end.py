"""The whole, as a stranger meets it: the documented command, plain curl, real sockets."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import oss2
import pytest

from local import oss
from tests.surroundings import bare_environment

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """`python3 -m local`, with its addresses by name."""
    command = [sys.executable, "-m", "local", "--data", str(tmp_path_factory.mktemp("data"))]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=bare_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        addresses = dict(process.stdout.readline().split() for _ in range(3))
        yield addresses
        process.terminate()


def curl(*arguments):
    """Status and body."""
    done = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def ask(cloud, **fields):
    status, body = curl(cloud["function"], "-d", json.dumps(fields))
    assert status == 200, body
    return json.loads(body)


def put(answer, path, *arguments):
    headers = [part for name, value in answer["headers"].items() for part in ("-H", f"{name}: {value}")]
    return curl("-T", str(path), *headers, *arguments, answer["url"])


def stored(cloud, key):
    """What OSS says of an object that was uploaded, read by a client with the account's key."""
    key_id, account = next(iter(oss.CREDENTIALS.items()))
    auth = oss2.ProviderAuthV4(
        oss2.credentials.StaticCredentialsProvider(key_id, account.secret, account.token)
    )
    bucket = oss2.Bucket(
        auth, cloud["oss"], "local-bucket", region="cn-hangzhou", is_verify_object_strict=False
    )
    return bucket.get_object(key)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(b"meow")
    return path


@pytest.mark.parametrize("size", [0, 1, 100 * 1024**2], ids=["0 bytes", "1 byte", "100 MB"])
def test_curl_uploads_a_file_of_any_size(cloud, tmp_path, size):
    path = tmp_path / "file.bin"
    path.write_bytes(os.urandom(1024) * (size // 1024) + b"x" * (size % 1024))

    answer = ask(cloud, filename="file.bin", size=size, contentType="application/octet-stream")
    status, body = put(answer, path)

    assert (status, body) == (200, "")
    found = hashlib.md5()
    for chunk in stored(cloud, answer["key"]):
        found.update(chunk)
    assert found.hexdigest() == hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "key",
    [
        "plain.txt",
        "with space.txt",
        "a+b.txt",
        "100%.txt",
        "%2F%20.txt",
        "?.txt",
        "what?a=b&c=d",
        "#frag.txt",
        "~tilde-._",
        'it\'s "quoted".txt',
        "[1]{2}<3>|^`\\.txt",
        "中文/图 片.png",
        "é/e\u0301.txt",
        "👩\u200d🚀.png",
        "*&=;:,@!$().txt",
        "..a/b..",
        "x" * 1023,
    ],
)
def test_curl_uploads_under_a_key_with_any_character(cloud, file, key):
    status, body = put(ask(cloud, key=key), file)

    assert (status, body) == (200, "")
    assert stored(cloud, key).read() == b"meow"


def test_curl_gets_a_url_by_get_too(cloud, file):
    status, body = curl("-G", cloud["function"], "--data-urlencode", "key=a b/猫.png", "-d", "size=4")

    assert status == 200
    assert put(json.loads(body), file) == (200, "")
    assert stored(cloud, "a b/猫.png").read() == b"meow"


BOUND = {
    "key": "bound/cat.png",
    "contentType": "image/png",
    "size": 4,
    "contentMd5": "SkvkDJasYxTpHZPzgEOmNA==",  # of the file
    "headers": {"Cache-Control": "no-cache", "x-oss-storage-class": "IA"},
    "metadata": {"color": "blue"},
}


@pytest.fixture
def bound(cloud):
    return ask(cloud, **BOUND)


def test_everything_that_can_be_bound_is_stored(cloud, file, bound):
    assert put(bound, file) == (200, "")

    headers = stored(cloud, BOUND["key"]).headers
    assert headers["Content-Type"] == "image/png"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["x-oss-meta-color"] == "blue"
    assert headers["x-oss-storage-class"] == "IA"
    assert headers["Content-MD5"] == BOUND["contentMd5"]
    assert headers["Content-Length"] == "4"


def refused(result, code="SignatureDoesNotMatch"):
    status, body = result
    return status == 403 and f"<Code>{code}</Code>" in body


def test_one_character_of_the_key_changed_is_refused(file, bound):
    changed = bound | {"url": bound["url"].replace("/cat.png?", "/cat.pnh?")}

    assert refused(put(changed, file))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("x-oss-expires", "SignatureDoesNotMatch"),
        ("x-oss-date", "SignatureDoesNotMatch"),
        ("x-oss-signature", "SignatureDoesNotMatch"),
        ("x-oss-security-token", "InvalidSecurityToken"),
        ("x-oss-credential", "InvalidAccessKeyId"),
    ],
)
def test_one_character_of_the_query_changed_is_refused(file, bound, name, code):
    value = re.search(f"{name}=([^&]+)", bound["url"])[1]
    # Of the time the last digit of the seconds: another day or minute would be refused for other reasons.
    place = -2 if name == "x-oss-date" else 0
    other = "1" if value[place] != "1" else "2"
    changed = value[:place] + other + (value[place + 1 :] if place + 1 else "")

    assert refused(put(bound | {"url": bound["url"].replace(value, changed)}, file), code)


def test_another_method_is_refused(file, bound):
    assert refused(put(bound, file, "-X", "GET"))
    assert refused(put(bound, file, "-X", "DELETE"))


@pytest.mark.parametrize(
    "name", ["Content-Type", "Content-MD5", "Cache-Control", "x-oss-storage-class", "x-oss-meta-color"]
)
def test_one_character_of_a_bound_header_changed_is_refused(file, bound, name):
    value = bound["headers"][name]
    changed = ("A" if value[0] != "A" else "B") + value[1:]

    assert refused(put(bound | {"headers": bound["headers"] | {name: changed}}, file))


@pytest.mark.parametrize("name", ["Content-Type", "Content-MD5", "x-oss-storage-class", "x-oss-meta-color"])
def test_a_bound_header_left_out_is_refused(file, bound, name):
    headers = {key: value for key, value in bound["headers"].items() if key != name}

    assert refused(put(bound | {"headers": headers}, file))


@pytest.mark.parametrize(
    "header", ["x-oss-object-acl: public-read", "x-oss-meta-more: 1", "Content-Type: text/html"]
)
def test_a_header_that_was_not_bound_is_refused(cloud, file, header):
    answer = ask(cloud, key="unbound.txt")

    assert refused(put(answer, file, "-H", header))


def test_another_length_than_the_bound_one_is_refused(cloud, tmp_path):
    longer = tmp_path / "longer"
    longer.write_bytes(b"meowmeow")

    assert refused(put(ask(cloud, key="length.txt", size=4), longer))


def test_the_url_stays_in_one_piece_for_other_clients(cloud, file):
    """A standard URL parser and encoder gives back what the function gave out."""
    url = ask(cloud, key="a b/+%?#~'\"中文")["url"]
    path = urlsplit(url).path

    assert quote("/local-bucket/a b/+%?#~'\"中文", safe="/") == path
    assert url.isascii()
