"""What deploy/ hands to the cloud's own tools, and what its README promises."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from tests import strict
from upload_url import errors

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text()
RESOURCE = strict.render(ROOT / "s.yaml", {"OSS_BUCKET": "example-bucket"})["resources"]["upload_url"]
PROPS = RESOURCE["props"]
SETTINGS = PROPS["environmentVariables"]
POLICIES = sorted(path.name for path in DEPLOY.glob("*-policy.json"))


def statements(name):
    document = json.loads((DEPLOY / name).read_text())
    assert (set(document), document["Version"]) == ({"Version", "Statement"}, "1")
    return document["Statement"]


def text_of(xml, path):
    return [element.text for element in ElementTree.parse(DEPLOY / xml).getroot().findall(path)]


# Rights


def test_the_role_may_put_under_the_prefix_over_tls_and_nothing_else():
    assert statements("put-policy.json") == [
        {
            "Effect": "Allow",
            "Action": ["oss:PutObject"],
            "Resource": [f"acs:oss:*:*:{SETTINGS['OSS_BUCKET']}/{SETTINGS['UPLOAD_PREFIX']}*"],
            "Condition": {"Bool": {"acs:SecureTransport": "true"}},
        }
    ]


def test_what_multipart_adds_stands_apart_and_reaches_no_further():
    (put,), (multipart,) = statements("put-policy.json"), statements("multipart-policy.json")

    assert multipart["Action"] == ["oss:AbortMultipartUpload", "oss:ListParts"]
    assert {**multipart, "Action": put["Action"]} == put


def test_nobody_but_function_compute_may_take_on_the_role():
    assert statements("role-trust.json") == [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["fc.aliyuncs.com"]}}
    ]


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_names_its_actions_and_one_thing_they_apply_to(name):
    (statement,) = statements(name)

    assert not any("*" in action for action in statement["Action"])
    assert all(resource.split(":", 4)[4].rstrip("/*") not in ("", "*") for resource in statement["Resource"])
    assert len(json.dumps(statements(name))) < 2048


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("pass-role-policy.json", f"role/{PROPS['role']}"),
        ("invoke-policy.json", f"functions/{PROPS['functionName']}"),
    ],
)
def test_a_policy_names_what_s_yaml_makes(name, resource):
    (statement,) = statements(name)

    assert statement["Resource"][0].rpartition(":")[2] == resource


# Bucket


def test_the_cors_rule_lets_the_functions_origin_put_and_read_the_etag():
    assert text_of("bucket-cors.xml", "CORSRule/AllowedOrigin") == [SETTINGS["CORS_ORIGINS"]]
    assert text_of("bucket-cors.xml", "CORSRule/AllowedMethod") == ["PUT"]
    assert text_of("bucket-cors.xml", "CORSRule/AllowedHeader") == ["*"]
    assert "ETag" in text_of("bucket-cors.xml", "CORSRule/ExposeHeader")
    assert "*" not in "".join(text_of("bucket-cors.xml", "CORSRule/ExposeHeader"))


def test_the_only_lifecycle_rule_at_work_drops_parts_and_no_object():
    rules = ElementTree.parse(DEPLOY / "bucket-lifecycle.xml").getroot().findall("Rule")
    enabled = [rule for rule in rules if rule.findtext("Status") == "Enabled"]

    assert {rule.findtext("Prefix") for rule in rules} == {SETTINGS["UPLOAD_PREFIX"]}
    assert [[part.tag for part in rule] for rule in enabled] == [
        ["ID", "Prefix", "Status", "AbortMultipartUpload"]
    ]


# README


def test_env_example_names_every_variable_of_s_yaml_with_its_default():
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / "env.example").read_text().splitlines()
        if not line.startswith("#")
    )
    asked = dict(re.findall(r"\$\{env\('(\w+)'(?:, '([^']*)')?\)\}", (ROOT / "s.yaml").read_text()))

    assert example == {**asked, "OSS_BUCKET": "example-bucket"}


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder after every command of README has run in it, and the calls of the cloud's tools."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("deploy", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("s.yaml", "s.jwt.yaml"):
        shutil.copy(ROOT / name, folder)
    example = folder / "deploy" / "env.example"
    mine = {"example-bucket": "my-bucket", "=uploads/": "=in/", "//app.example": "//mine.example"}
    text = example.read_text()
    for old, new in mine.items():
        text = text.replace(old, new)
    example.write_text(text)
    tools = folder / "bin"
    tools.mkdir()
    for name in ("aliyun", "s"):
        # A line of JSON for each call, so that an argument may hold anything.
        (tools / name).write_text(
            "#!/usr/bin/env python3\nimport json, sys\n"
            f"print(json.dumps([{name!r}, *sys.argv[1:]]), file=open({str(folder / 'calls')!r}, 'a'))\n"
        )
        (tools / name).chmod(0o755)
    # As `s deploy` does it: what code names is there only then.
    (action,) = RESOURCE["actions"]["pre-deploy"]
    subprocess.run(action["run"], shell=True, cwd=folder / action["path"], check=True, timeout=60)
    blocks = re.findall(r"<!-- run -->\n```sh\n(.*?)```", README, re.DOTALL)
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return folder, [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def option(calls, command, name):
    (call,) = [call for call in calls if command in call]
    return call[call.index(name) + 1]


def test_readmes_commands_run_and_are_these(followed):
    assert [call[:3] for call in followed[1]] == [
        ["aliyun", "ram", "CreateRole"],
        ["aliyun", "ram", "CreatePolicy"],
        ["aliyun", "ram", "AttachPolicyToRole"],
        ["s", "deploy", "-y"],
        ["s", "invoke", "-e"],
        ["s", "deploy", "-y"],
        ["aliyun", "oss", "cors"],
        ["aliyun", "oss", "lifecycle"],
        ["aliyun", "fnf", "CreateFlow"],
        ["aliyun", "eventbridge", "CreateEventBus"],
        ["aliyun", "eventbridge", "CreateRule"],
    ]


def test_readmes_commands_put_bucket_and_prefix_where_the_settings_have_them(followed):
    folder, calls = followed
    policy = json.loads(option(calls, "CreatePolicy", "--PolicyDocument"))

    assert policy["Statement"][0]["Resource"] == ["acs:oss:*:*:my-bucket/in/*"]
    assert "<Prefix>in/</Prefix>" in (folder / "bucket-lifecycle.xml").read_text()
    assert "https://mine.example.com" in (folder / "bucket-cors.xml").read_text()
    assert [call[5] for call in calls if call[1] == "oss"] == ["oss://my-bucket"] * 2


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("CreateRole", "--AssumeRolePolicyDocument"),
        ("CreatePolicy", "--PolicyDocument"),
        ("CreateRule", "--FilterPattern"),
        ("CreateRule", "--EventTargets"),
        ("invoke", "-e"),
    ],
)
def test_readmes_commands_pass_json(command, name, followed):
    assert json.loads(option(followed[1], command, name))


def test_the_key_that_readme_makes_is_one_that_the_jwt_variant_takes(followed):
    folder, _ = followed
    pairs = [line.split("=", 1) for line in (folder / ".env").read_text().splitlines() if line[:1] != "#"]

    document = strict.render(folder / "s.jwt.yaml", dict(pairs))

    assert strict.faults(document, folder) == []


def test_the_destinations_that_readme_shows_fit_into_s_yaml(tmp_path):
    document = strict.render(ROOT / "s.yaml", {"OSS_BUCKET": "example-bucket"})
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    shown = yaml.safe_load(block)

    document["resources"]["upload_url"]["props"] |= shown

    assert list(shown) == ["asyncInvokeConfig"]
    shutil.copytree(ROOT / "src", tmp_path / PROPS["code"])
    assert strict.faults(document, tmp_path) == []


def test_readme_says_what_each_file_is_for():
    listed = set(re.findall(r"^\| \[([\w.-]+)\]\(\1\) \|", README, re.MULTILINE))

    assert listed == {path.name for path in DEPLOY.iterdir() if path.suffix in (".json", ".xml", ".yaml")}


def test_readmes_links_lead_somewhere():
    links = re.findall(r"\]\(([^)\s]+)\)", README)
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }

    assert [link for link in links if link.startswith("#") and link[1:] not in headings] == []
    assert [
        link
        for link in links
        if not link.startswith(("#", "https://")) and not (DEPLOY / link).resolve().exists()
    ] == []


def test_the_costs_are_what_the_prices_make_of_s_yamls_sizes():
    rows = re.findall(r"^\| ([\d.]+) \| ([\d.]+) \|(.*)\|$", README, re.MULTILINE)
    cent = Decimal("0.01")

    assert len(rows) == 3
    for seconds, calls, rest in rows:
        million_seconds = Decimal(seconds) * 1_000_000
        parts = [
            Decimal(75 * 100),
            million_seconds * Decimal(str(PROPS["cpu"])),
            million_seconds * PROPS["memorySize"] / 1024 * Decimal("0.15"),
            million_seconds * PROPS["diskSize"] / 1024 * Decimal("0.05"),
        ]
        units = sum(parts)
        prices = [(units * Decimal(price)).quantize(cent, ROUND_HALF_UP) for price in ("0.00002", "0.00012")]

        assert [Decimal(cell) for cell in (calls, *rest.split("|"))] == [*parts, units, *prices]


def refusals_of_the_stand_in():
    """Every code and EC that local/ answers an upload with."""
    found = set()
    for path in (ROOT / "local").glob("oss*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").lower().lstrip("_") == "refused":
                found |= {
                    argument.value
                    for argument in node.args
                    if isinstance(argument, ast.Constant)
                    and re.fullmatch(r"[A-Z][A-Za-z]+", str(argument.value))
                }
    return sorted(found)


#: What no upload by one of our URLs meets: answers to reads, to signatures in a header, to what is not HTTP.
NOT_OURS = {"NoSuchKey", "PreconditionFailed", "RequestTimeTooSkewed", "BadRequest"}


@pytest.mark.parametrize("code", refusals_of_the_stand_in())
def test_each_refusal_of_oss_has_its_row(code):
    assert code in NOT_OURS or f"`{code}`" in README


@pytest.mark.parametrize(
    "code",
    sorted(set(re.findall(r"\| \d{3} `(\w+)`", README.split("### The function refuses")[1].split("###")[0]))),
)
def test_a_refusal_of_the_function_has_its_name_and_status(code):
    status = re.search(rf"\| (\d{{3}}) `{code}`", README.split("### The function refuses")[1])[1]

    assert getattr(errors, code).status == int(status)
