"""The real `s`, up to where the cloud begins: what it makes of the files, and what lies there to be deployed.

Its component fc3, which talks to Function Compute, is replaced by one that writes down what it is handed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import strict, surroundings
from tests.test_deploy import JWKS
from tests.test_package import package

ROOT = Path(__file__).parent.parent
RECORDER = """
const fs = require("fs");
module.exports = class {
  async deploy({ props }) {
    const code = fs.existsSync(props.code) ? fs.readdirSync(props.code, { recursive: true }) : [];
    fs.writeFileSync("handed-over.json", JSON.stringify({ props, code }));
    return {};
  }
};
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clone's folder, and the recorder in fc3's place."""
    for name in ("src", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "s.yaml").read_text()
    assert text.count("component: fc3\n") == 1
    (tmp_path / "s.yaml").write_text(text.replace("component: fc3\n", "component: ./recorder\n"))
    shutil.copy(ROOT / "s.jwt.yaml", tmp_path)
    (tmp_path / "jwks.json").write_text(json.dumps(JWKS))
    (tmp_path / "recorder").mkdir()
    (tmp_path / "recorder" / "package.json").write_text('{"name": "recorder", "main": "index.js"}')
    (tmp_path / "recorder" / "index.js").write_text(RECORDER)
    return tmp_path


def deploy(folder: Path, *options: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [surroundings.node_packages() / ".bin" / "s", "deploy", "-y", *options],
        cwd=folder,
        env={**surroundings.bare_environment(), "HOME": str(folder), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def handed_over(folder: Path) -> Any:
    return json.loads((folder / "handed-over.json").read_text())


@pytest.mark.parametrize("variant", ["s.yaml", "s.jwt.yaml"])
def test_it_reads_the_files_as_our_schema_does(variant: str, folder: Path) -> None:
    environ = {"OSS_BUCKET": "my-bucket", "OSS_REGION": "ap-southeast-1", "RUNTIME": "python3.10"}

    done = deploy(folder, "-t", variant, environ=environ)

    assert done.returncode == 0, done.stdout
    rendered = strict.render(folder / variant, environ)
    assert handed_over(folder)["props"] == rendered["resources"]["upload_url"]["props"]


@pytest.mark.parametrize("runtime", package.RUNTIMES)
def test_what_lies_there_is_src_with_bytecode_of_the_runtime_alone(runtime: str, folder: Path) -> None:
    # As deploy/README.md has it: the values are in a file.
    (folder / ".env").write_text(f"OSS_BUCKET=my-bucket\nRUNTIME={runtime}\n")

    done = deploy(folder, environ={})

    assert done.returncode == 0, done.stdout
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    tag = runtime.replace("python", "cpython-").replace(".", "")
    bytecode = {
        str(Path(source).parent / "__pycache__" / f"{Path(source).stem}.{tag}.pyc") for source in sources
    }
    files = {name for name in handed_over(folder)["code"] if Path(name).suffix}
    assert files == sources | (bytecode if package.find_python(runtime) else set())


def test_a_runtime_that_the_function_does_not_run_on_is_not_deployed(folder: Path) -> None:
    done = deploy(folder, environ={"OSS_BUCKET": "my-bucket", "RUNTIME": "python3.9"})

    assert done.returncode != 0
    assert "the function does not run on python3.9, but on python3.10 and python3.12" in done.stdout
    assert not (folder / "handed-over.json").exists()
