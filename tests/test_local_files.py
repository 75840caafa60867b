"""The page's files: what is in the folder, and nothing outside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text("<p>page</p>")
    (folder / "app.JS").write_text("1")
    (folder / "data.bin").write_bytes(b"\x00")
    (folder / "sub" / "index.html").write_text("sub")
    (folder / "a b.css").write_text("p{}")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "loop").symlink_to(folder / "loop")
    return folder


def get(folder: Path, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    status, headers, content = files.respond(folder, method, path)
    body = content.read(1000)
    content.close()
    return status, headers, body


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("", b"<p>page</p>", "text/html; charset=utf-8"),
        ("index.html", b"<p>page</p>", "text/html; charset=utf-8"),
        ("sub/", b"sub", "text/html; charset=utf-8"),
        ("app.JS", b"1", "text/javascript; charset=utf-8"),
        ("a%20b.css", b"p{}", "text/css; charset=utf-8"),
        ("data.bin", b"\x00", "application/octet-stream"),
    ],
)
def test_files_are_served_with_their_types(folder: Path, path: str, body: bytes, content_type: str) -> None:
    status, headers, served = get(folder, path)

    assert (status, served, headers["Content-Type"]) == (200, body, content_type)
    assert headers["Content-Length"] == str(len(body))
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "absent",
        "sub",
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "sub/../../secret.txt",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "link.txt",
        "loop",
        "index.html%00.png",
        "x" * 5000,
        "\udcff",
    ],
)
def test_nothing_else_is_served(folder: Path, path: str) -> None:
    status, _, body = get(folder, path)

    assert (status, body) == (404, b"no such file\n")


def test_only_get_and_head_are_answered(folder: Path) -> None:
    assert get(folder, "", "HEAD")[0] == 200
    status, headers, _ = get(folder, "", "POST")

    assert (status, headers["Allow"]) == (405, "GET, HEAD")
