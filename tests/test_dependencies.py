"""What the function needs is the standard library; what the tests need is locked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements-dev.lock").read_text()
LOCKED = set(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", LOCK, re.MULTILINE))

#: Answers requests of every kind, then says what has been imported from outside the standard library.
ANSWER = """
import json, os, sys
sys.path.insert(0, "src")
os.environ |= {"OSS_BUCKET": "my-bucket", "OSS_REGION": "cn-hangzhou", "CORS_ORIGINS": "https://a.example"}
os.environ |= {"ALIBABA_CLOUD_ACCESS_KEY_ID": "a", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "b"}
import index
def http(method, body):
    event = {"requestContext": {"http": {"method": method}}, "headers": {}, "body": body}
    return index.handler(json.dumps(event).encode(), None)["statusCode"]
rich = {"contentType": "text/plain; charset=utf-8", "size": 0, "contentMd5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
statuses = [http("POST", json.dumps(rich)), http("GET", ""), http("OPTIONS", ""), http("POST", "{")]
os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = os.fsdecode(bytes([255]))
statuses.append(http("POST", "{}"))
assert statuses == [200, 200, 204, 400, 500], statuses
imported = {name.partition(".")[0] for name in sys.modules}
print(sorted(imported - sys.stdlib_module_names - {"index", "upload_url", "__main__"}), file=sys.stderr)
"""


def test_the_function_answers_without_a_single_package_installed():
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ANSWER], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "[]\n")


def imports(path):
    """Full names of what a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_the_stand_ins_know_the_function_by_its_handler_alone():
    found = {name for path in (ROOT / "local").rglob("*.py") for name in imports(path)}

    assert [name for name in found if name.partition(".")[0] in ("index", "upload_url")] == []


def pinned():
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    return [re.split("[=;]+ *", line)[:2] for line in lines if not line.startswith(("-r", "#"))]


def test_every_requirement_is_locked_in_its_version():
    wanted = {(name.lower().replace("_", "-"), version.strip()) for name, version in pinned()}

    assert wanted - LOCKED == set()


def test_everything_in_the_lock_has_a_hash_and_nothing_says_where_it_comes_from():
    requirements = re.split(r"\n(?=[a-z])", LOCK.strip())

    assert len(requirements) > len(pinned())
    assert [one.split(" ")[0] for one in requirements if "--hash=sha256:" not in one] == []
    assert re.findall(r"https?:|--.*index|--find-links|@ ", LOCK) == []
