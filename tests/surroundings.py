"""The tests' own environment, without what the function reads from it; packages beside the lock's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: How the names of settings, credentials and what Function Compute sets begin.
PREFIXES = ("OSS_", "UPLOAD_", "CORS_", "ALIBABA_CLOUD_", "FC_")


def bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}


def fetched(requirement: str) -> Path:
    """Where a package of this version is, installed once, alone."""
    folder = ROOT / "build" / requirement.replace("==", "-")
    if not folder.exists():
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]
        subprocess.run(
            [sys.executable, *install, folder, requirement], check=True, capture_output=True, timeout=300
        )
    return folder


def node_packages() -> Path:
    """Where the packages that tests/node names are installed, once. Skips the test if there is no npm."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("npm is missing")
        pytest.skip("npm is missing")
    source, target = ROOT / "tests" / "node", ROOT / "build" / "node"
    target.mkdir(parents=True, exist_ok=True)
    fresh = target / "package-lock.json"
    lock = (source / "package-lock.json").read_text()
    if not fresh.exists() or fresh.read_text() != lock or not (target / ".installed").exists():
        shutil.copy(source / "package.json", target)
        shutil.copy(source / "package-lock.json", target)
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=target,
            check=True,
            capture_output=True,
            timeout=120,
        )
        (target / ".installed").touch()
    return target / "node_modules"
