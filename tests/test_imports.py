from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
MODULES = {path.stem: path for path in SRC.rglob("*.py") if path.stem != "__init__"}
#: Which of our own modules each one may import: dependencies point one way.
OURS = {
    "errors": set(),
    "signer": set(),
    "policy": {"errors"},
    "events": {"errors", "policy"},
    "sdk_signer": {"errors", "signer"},
    "settings": {"errors", "policy"},
    "index": {"errors", "events", "policy", "sdk_signer", "settings", "signer"},
}
#: What the way to a URL may load of the standard library besides json and what json loads: a cold start pays.
PAID_FOR = {"__future__", "_blake2", "_hashlib", "hashlib", "hmac", "warnings"}

HANDLE = """
import gc, json, os, sys
before = set(sys.modules)
mine = [before]
sys.path.insert(0, sys.argv[1])
import index
event = {"requestContext": {"http": {"method": "POST"}}, "body": json.dumps(
    {"key": "a b.png", "contentType": "image/png", "size": 5, "metadata": {"k": "v"}})}
assert index.handler(json.dumps(event).encode(), None)["statusCode"] == 200
print(json.dumps(sorted(set(sys.modules) - before)))
print(json.dumps([[any(one is mine for one in gc.get_objects(age)) for age in range(3)], gc.isenabled()]))
"""


def imports(path):
    """The names of the modules that a file imports, those for the type checker alone left out."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in for_types:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            inside = [f"upload_url.{alias.name}" for alias in node.names]
            yield from inside if node.module == "upload_url" else [node.module]


def test_every_module_has_its_place():
    assert set(MODULES) == set(OURS)


@pytest.mark.parametrize("module", sorted(OURS))
def test_dependencies_point_one_way(module):
    ours = {name.partition(".")[2] for name in imports(MODULES[module]) if name.startswith("upload_url")}

    assert ours <= OURS[module]


@pytest.mark.parametrize("module", sorted(OURS))
def test_only_the_sdks_signer_imports_what_is_not_pythons_own(module):
    foreign = {name.partition(".")[0] for name in imports(MODULES[module])}
    foreign -= {*sys.stdlib_module_names, "upload_url"}

    assert foreign == ({"oss2"} if module == "sdk_signer" else set())


@pytest.fixture(scope="module")
def printed():
    """What a start up to its first URL prints: a log line and those two of HANDLE."""
    environ = {
        "OSS_BUCKET": "my-bucket",
        "OSS_REGION": "cn-hangzhou",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.id",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
    }
    line = [sys.executable, "-B", "-c", HANDLE, str(SRC)]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_way_to_a_url_loads_what_is_paid_for_and_no_more(printed):
    loaded = set(printed[1])

    assert {name for name in loaded if not name.startswith(("index", "upload_url"))} <= PAID_FOR
    assert {name for name in loaded if name.startswith("upload_url.")} == {
        f"upload_url.{name}" for name in ("events", "policy", "settings", "signer")
    }


def test_garbage_is_collected_but_looked_for_last_in_what_was_there_before(printed):
    of_age, enabled = printed[2]
    assert of_age == [False, False, True]
    assert enabled
