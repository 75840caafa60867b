"""Where the OSS stand-in keeps its objects: a folder.

It knows neither HTTP nor OSS's rules.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

try:
    import fcntl
except ImportError:  # Windows: there the folder is not kept for one
    fcntl = None  # type: ignore[assignment]  # to mypy it is a module


class Stored(NamedTuple):
    """An object."""

    bucket: str
    key: str
    size: int
    md5: str
    crc64: int
    #: What comes back with it: names lowered, latin-1 text.
    headers: Mapping[str, str]
    #: Seconds since the epoch.
    modified: float
    path: Path

    @property
    def etag(self) -> str:
        """MD5 in upper-case hex, in quotes."""
        return f'"{self.md5.upper()}"'

    def read(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()


class Store:
    """Objects in a folder: a file for the bytes, and in .index a JSON file that names it and holds the rest.

    An object comes into being, or is replaced, by one rename of its JSON file, so a reader finds the old
    one or the new one, and what was broken off leaves nothing.

    Args:
        root: the folder; None is a temporary one.

    Raises:
        OSError: the folder cannot be made, read or written to, or another store uses it.
        ValueError: a JSON file in it is none of ours.
    """

    def __init__(self, root: Path | None) -> None:
        temporary = root is None
        self._root = root or Path(tempfile.mkdtemp(prefix="oss-"))
        self._incoming = self._root / ".incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._leave: Callable[[], object] = (
            weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)
            if temporary
            else weakref.finalize(self, os.close, _claim(self._root))
        )
        for broken in self._incoming.iterdir():  # a process was killed inside an upload
            broken.unlink()
        with self.receive():
            pass  # where nothing can be written, better now than at the first upload
        self._lock = threading.Lock()
        self._index = {(it.bucket, it.key): it for it in map(_load, self._root.glob("*/.index/*.json"))}

    def close(self) -> None:
        """Leave the folder to others; remove it, if it is a temporary one."""
        self._leave()

    def all(self) -> dict[tuple[str, str], Stored]:
        """Every object, by bucket and key."""
        with self._lock:
            return dict(self._index)

    def get(self, bucket: str, key: str) -> Stored | None:
        """One of them."""
        return self._index.get((bucket, key))

    def open(self, bucket: str, key: str) -> tuple[Stored, IO[bytes]] | None:
        """One of them, to be read as it is now, whatever becomes of the key."""
        with self._lock:
            stored = self._index.get((bucket, key))
            try:
                return None if stored is None else (stored, stored.path.open("rb"))
            except FileNotFoundError:  # somebody tidied the folder
                return None

    @contextlib.contextmanager
    def receive(self) -> Iterator[tuple[IO[bytes], Path]]:
        """A file to write to, which is gone at the end unless `keep` took it."""
        path = self._incoming / secrets.token_hex(8)
        try:
            with path.open("wb") as file:
                yield file, path
        finally:
            path.unlink(missing_ok=True)

    def keep(self, stored: Stored, *, overwrite: bool) -> Stored | None:
        """Make it the object of its key; None if there is one that must not be overwritten."""
        folder = self._root / stored.bucket
        (folder / ".index").mkdir(parents=True, exist_ok=True)
        with self._lock:
            old = self._index.get((stored.bucket, stored.key))
            if old is not None and not overwrite:
                return None
            # The end of the key, so that a person finds the file, and a program its extension.
            tail = re.sub(r"[^A-Za-z0-9._-]", "_", stored.key.rpartition("/")[2])[-60:]
            final = stored._replace(path=folder / f"{stored.path.name}-{tail}")
            os.replace(stored.path, final.path)
            try:
                _save(final, self._incoming / f"{stored.path.name}.json", _index_file(folder, stored.key))
            except OSError:
                final.path.unlink(missing_ok=True)
                raise
            self._index[(stored.bucket, stored.key)] = final
            if old is not None:
                old.path.unlink(missing_ok=True)
        return final

    def delete(self, bucket: str, key: str) -> None:
        """Forget it, if it is there."""
        with self._lock:
            old = self._index.pop((bucket, key), None)
            if old is not None:
                _index_file(self._root / bucket, key).unlink(missing_ok=True)
                old.path.unlink(missing_ok=True)


def _claim(folder: Path) -> int:
    """A descriptor that keeps every other process out of the folder for as long as it is open.

    Two stores would not see each other's objects, and take each other's uploads for broken ones.
    """
    if fcntl is None:
        return os.open(os.devnull, os.O_RDONLY)
    claim = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(claim)
        raise BlockingIOError(error.errno, "another OSS stand-in uses it", str(folder)) from None
    return claim


def _index_file(folder: Path, key: str) -> Path:
    return folder / ".index" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _save(stored: Stored, temporary: Path, path: Path) -> None:
    try:
        temporary.write_text(json.dumps({**stored._asdict(), "path": stored.path.name}, indent=1))
        os.replace(temporary, path)
    except OSError:  # the disk is full
        temporary.unlink(missing_ok=True)
        raise


def _load(path: Path) -> Stored:
    try:
        fields = json.loads(path.read_text())
        return Stored(**{**fields, "path": path.parent.parent / fields["path"]})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe an object") from error


# ---- CRC-64 ----


def _crc64_function() -> Callable[[bytes, int], int]:
    """CRC-64 as OSS computes it: ECMA-182, reflected, the same as XZ's.

    It is taken from the C library inside Python's lzma where that is found: 5 GB a second, against 15 MB
    for a loop in Python.
    """
    try:
        import _lzma

        function = ctypes.CDLL(_lzma.__file__).lzma_crc64
    except (ImportError, OSError, AttributeError):
        return _crc64_in_python
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return lambda data, crc: int(function(data, len(data), crc))


def _crc64_in_python(data: bytes, crc: int) -> int:
    table = _crc64_table()
    crc ^= 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFFFFFFFFFF


def _crc64_table() -> list[int]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0xC96C5795D7870F42 if crc & 1 else 0)
        table.append(crc)
    return table


crc64_ecma = _crc64_function()
