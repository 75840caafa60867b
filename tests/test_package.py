"""deploy/package.py: what it lays out, and that Function Compute has nothing to compile in it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_events import http_event

ROOT = Path(__file__).parent.parent
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
#: What Serverless Devs gives to every file in the package: 2023-11-01T00:00:00Z
ZIP_TIME = 1698796800

script = importlib.util.spec_from_file_location("package", ROOT / "deploy" / "package.py")
assert script
assert script.loader
package = importlib.util.module_from_spec(script)
script.loader.exec_module(package)

#: The function called as Function Compute does, saying which source files had to be compiled.
CALL = """
import builtins, sys
compiled, compile_ = [], builtins.compile
def watched(source, name, *arguments, **keywords):
    compiled.append(name)
    return compile_(source, name, *arguments, **keywords)
builtins.compile = watched
sys.path[0] = sys.argv[1]
import index
status = index.handler(sys.argv[2].encode(), None)["statusCode"]
print(status, [name for name in compiled if name.startswith(sys.argv[1])])
"""


@pytest.fixture
def folder(tmp_path):
    """A package that has bytecode of the Python that runs this test."""
    package.lay_out(tmp_path / "package")
    package.add_bytecode(tmp_path / "package", sys.executable)
    return tmp_path / "package"


@pytest.fixture
def deployed(folder, tmp_path):
    """The package as Function Compute has it: through a zip with fixed times, read-only."""
    shutil.make_archive(str(tmp_path / "code"), "zip", folder)
    with zipfile.ZipFile(tmp_path / "code.zip") as archive:
        archive.extractall(tmp_path / "code")
    for path in [*(tmp_path / "code").rglob("*"), tmp_path / "code"]:
        os.utime(path, (ZIP_TIME, ZIP_TIME))
    return tmp_path / "code"


def call(code, python=sys.executable):
    """The status of an answer, and the source files that were compiled for it."""
    environ = {
        "OSS_BUCKET": "my-bucket",
        "OSS_REGION": "cn-hangzhou",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.id",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
    }
    event = json.dumps(http_event(body="{}"))
    line = [python, "-B", "-c", CALL, str(code), event]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()[-1]


def test_a_deployed_package_compiles_nothing(deployed):
    assert call(deployed) == "200 []"


def test_bytecode_that_remembers_its_sources_time_would_be_stale(deployed):
    line = [sys.executable, "-m", "compileall", "-q", "-f", str(deployed)]
    subprocess.run(line, check=True, timeout=60)
    for path in deployed.rglob("*.py"):
        os.utime(path, (1, 1))

    assert "index.py" in call(deployed)


def test_bytecode_of_another_version_does_no_harm(deployed):
    for path in deployed.rglob("*.pyc"):
        path.write_bytes(b"not for this Python")
        path.rename(str(path).replace(sys.implementation.cache_tag or "", "cpython-399"))

    assert "index.py" in call(deployed)
    assert call(deployed).startswith("200 ")


def test_a_package_without_bytecode_answers_too(tmp_path):
    package.lay_out(tmp_path / "package")

    assert not list((tmp_path / "package").rglob("*.pyc"))
    assert call(tmp_path / "package").startswith("200 ")


@pytest.mark.parametrize("variable", ["PYTHONOPTIMIZE", "PYTHONPYCACHEPREFIX"])
def test_the_environment_of_who_deploys_changes_nothing(variable, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, "1" if variable == "PYTHONOPTIMIZE" else str(tmp_path / "elsewhere"))
    package.lay_out(tmp_path / "package")
    package.add_bytecode(tmp_path / "package", sys.executable)

    assert call(tmp_path / "package") == "200 []"


def test_a_package_that_cannot_be_written_is_told_in_one_line(tmp_path):
    for name in ("deploy", "src"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "build").write_text("a file, not a folder")

    done = subprocess.run(
        [sys.executable, str(tmp_path / "deploy" / "package.py")], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 1
    assert done.stderr.startswith("build/package cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_package_is_src_and_nothing_else(folder):
    laid_out = {file.relative_to(folder) for file in folder.rglob("*") if file.suffix == ".py"}

    assert laid_out == {file.relative_to(ROOT / "src") for file in (ROOT / "src").rglob("*.py")}
    assert {file.suffix for file in folder.rglob("*") if file.is_file()} == {".py", ".pyc"}


def test_the_command_lays_out_anew_and_says_what(tmp_path):
    for name in ("deploy", "src"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "build" / "package").mkdir(parents=True)
    (tmp_path / "build" / "package" / "old.py").touch()
    line = [sys.executable, str(tmp_path / "deploy" / "package.py")]

    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120)

    assert len(done.stdout.splitlines()) == len(package.RUNTIMES)
    for runtime, words in zip(package.RUNTIMES, done.stdout.splitlines(), strict=True):
        version = runtime.removeprefix("python")
        if package.find_python(runtime):
            assert words == f"build/package: with bytecode for {runtime}"
        else:
            assert words.startswith(f"build/package: no bytecode for {runtime}: ")
            assert f"`uv python install {version}`" in words
    assert (tmp_path / "build" / "package" / "index.py").exists()
    assert not (tmp_path / "build" / "package" / "old.py").exists()


def program(path, line):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_a_python_that_does_not_run_is_no_python(tmp_path, monkeypatch):
    program(tmp_path / "python3.99", "exit 127")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert package.find_python("python3.99") is None
    assert package.find_python("python3.98") is None
    assert package.find_python(f"python{HERE}") == sys.executable


def test_a_python_of_another_version_or_kind_makes_bytecode_for_nobody(tmp_path, monkeypatch):
    program(tmp_path / "python3.99", "echo cpython-398")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert package.find_python("python3.99") is None

    program(tmp_path / "python3.99", "echo pypy399")

    assert package.find_python("python3.99") is None


@pytest.mark.parametrize(
    ("keeper", "asked", "answer"),
    [
        ("uv", "python find --no-python-downloads 3.99", "bin/python"),
        ("pyenv", "prefix 3.99", ""),
        ("py", "-3.99 -c import sys; print(sys.executable)", "bin/python"),
    ],
)
def test_a_python_that_no_path_leads_to_is_found_by_who_keeps_it(
    keeper, asked, answer, tmp_path, monkeypatch
):
    python = tmp_path / "3.99" / "bin" / "python"
    program(python, "echo cpython-399")
    program(tmp_path / "tools" / keeper, f'[ "$*" = "{asked}" ] && echo {tmp_path / "3.99" / answer}')
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))

    assert package.find_python("python3.99") == str(python)
    assert package.find_python("python3.98") is None
