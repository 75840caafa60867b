"""The files of one folder over HTTP: what serves the upload page."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import unquote

from . import server

#: Fixed, because Python's own table differs from machine to machine.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}


def respond(folder: Path, method: str, path: str) -> server.Answer:
    """Answer a request for one file.

    Args:
        folder: nothing outside it is served, whatever the path and its links say.
        method: `GET` and `HEAD` are answered.
        path: behind the folder, percent-encoded; empty or with a slash at its end means `index.html`.
    """
    if method not in ("GET", "HEAD"):
        return _text(405, "only GET and HEAD", {"Allow": "GET, HEAD"})
    name = unquote(path)
    if not name or name.endswith("/"):
        name += "index.html"
    root = folder.resolve()
    try:
        file = (root / name).resolve()
        if not file.is_relative_to(root):
            return _text(404, "no such file")
        content = file.read_bytes()
    except (OSError, RuntimeError, ValueError):  # too long, a link to itself, a NUL in the name
        return _text(404, "no such file")
    headers = {
        "Content-Type": _TYPES.get(file.suffix.lower(), "application/octet-stream"),
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return 200, headers, io.BytesIO(content)


def _text(status: int, sentence: str, headers: dict[str, str] | None = None) -> server.Answer:
    content = f"{sentence}\n".encode()
    further = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(content))}
    return status, {**further, **(headers or {})}, io.BytesIO(content)
