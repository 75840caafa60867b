"""pytest's fixtures of the OSS stand-in, for any project: `pytest_plugins = ["local.pytest_oss"]`.

The one module here that needs something installed: pytest, and `responses` for the fixture `oss`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from .oss import Oss, mock_oss, serve


@pytest.fixture
def oss() -> Iterator[Oss]:
    """OSS for `requests` and what is built on it, in this process, under OSS's own addresses."""
    with mock_oss() as oss:
        yield oss


@pytest.fixture
def oss_server() -> Iterator[Oss]:
    """OSS on a port of this machine, for any client in any language: `oss_server.address`."""
    oss = Oss()
    with contextlib.closing(oss), serve(oss):
        yield oss
