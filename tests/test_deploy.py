"""s.yaml and s.jwt.yaml hold, and each mistake that `s verify` lets through is found when planted."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests import strict
from upload_url import settings

ROOT = Path(__file__).parent.parent
ENVIRON = {"OSS_BUCKET": "example-bucket"}
JWKS = {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZpt"}]}


@pytest.fixture
def folder(tmp_path):
    """The files that deploy, and the key that the JWT variant expects of its operator."""
    for name in ("s.yaml", "s.jwt.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "build" / "package")  # as deploy/package.py lays it out
    (tmp_path / "jwks.json").write_text(json.dumps(JWKS))
    return tmp_path


@pytest.fixture(params=["s.yaml", "s.jwt.yaml"])
def document(request, folder):
    return strict.render(folder / request.param, ENVIRON)


def props(document):
    return document["resources"]["upload_url"]["props"]


def trigger(document):
    return props(document)["triggers"][0]["triggerConfig"]


def test_both_variants_are_without_fault(document, folder):
    assert strict.faults(document, folder) == []


def test_only_the_bucket_has_no_default(folder):
    with pytest.raises(ValueError, match="OSS_BUCKET is not set"):
        strict.render(folder / "s.yaml", {})


def test_every_variable_comes_from_the_environment_and_reaches_the_function(folder):
    environ = {
        "OSS_BUCKET": "b-1",
        "OSS_REGION": "ap-southeast-1",
        "OSS_ENDPOINT": "https://files.example.com",
        "UPLOAD_PREFIX": "in/",
        "CORS_ORIGINS": "https://a.example",
        "RUNTIME": "python3.10",
        "ROLE": "acs:ram::123:role/r",
    }

    rendered = props(strict.render(folder / "s.yaml", environ))

    assert (rendered["region"], rendered["runtime"], rendered["role"]) == (
        "ap-southeast-1",
        "python3.10",
        "acs:ram::123:role/r",
    )
    assert {name: rendered["environmentVariables"].get(name) for name in environ} == {
        **environ,
        "RUNTIME": None,
        "ROLE": None,
    }


def test_an_empty_variable_means_the_default(folder):
    rendered = strict.render(folder / "s.yaml", {**ENVIRON, "OSS_ENDPOINT": ""})

    assert props(rendered)["environmentVariables"]["OSS_ENDPOINT"] == "public"


def test_the_jwt_variant_changes_nothing_but_the_trigger_and_the_identity(folder):
    plain, jwt = (strict.render(folder / name, ENVIRON) for name in ("s.yaml", "s.jwt.yaml"))

    del props(jwt)["environmentVariables"]["UPLOAD_IDENTITY_HEADER"]
    props(jwt)["triggers"] = props(plain)["triggers"]

    assert jwt == plain


def test_the_jwt_variant_cannot_be_rendered_without_its_key(folder):
    (folder / "jwks.json").unlink()

    with pytest.raises(FileNotFoundError):
        strict.render(folder / "s.jwt.yaml", ENVIRON)


@pytest.mark.parametrize("name", [".env", "/jwks.json", "*.pem"])
def test_what_an_operator_puts_beside_s_yaml_stays_out_of_commits(name):
    assert name in (ROOT / ".gitignore").read_text().splitlines()


def test_s_yaml_names_every_setting_and_no_other(folder):
    rendered = strict.render(folder / "s.jwt.yaml", ENVIRON)

    assert set(props(rendered)["environmentVariables"]) == set(settings.NAMES)


def test_the_custom_domain_shown_holds_once_its_comment_is_lifted(folder):
    text = (folder / "s.yaml").read_text()
    lifted = re.sub(r"^      # (customDomain:|  \w)", r"      \1", text, flags=re.MULTILINE)
    (folder / "s.yaml").write_text(lifted)

    document = strict.render(folder / "s.yaml", ENVIRON)

    assert props(document)["customDomain"]["domainName"] == "upload.example.com"
    assert strict.faults(document, folder) == []


def test_a_packaging_step_may_stand_before_the_deployment(document, folder):
    document["resources"]["upload_url"]["actions"] = {"pre-deploy": [{"run": "make package", "path": "./"}]}

    assert strict.faults(document, folder) == []


def change(path, value):
    """A mutation: sets what is at the path of keys, or removes it if the value is ..."""

    def mutate(document):
        *parents, last = path
        for key in parents:
            document = document[key]
        if value is ...:
            del document[last]
        else:
            document[last] = value

    return mutate


PROPS = ("resources", "upload_url", "props")
ENV = (*PROPS, "environmentVariables")
TRIGGER = (*PROPS, "triggers", 0)
CONFIG = (*TRIGGER, "triggerConfig")
DOMAIN = {
    "domainName": "upload.example.com",
    "protocol": "HTTPS",
    "certConfig": {"certId": "1"},
    "authConfig": {"authType": "function"},
    "route": {"path": "/*"},
}


def without(name):
    return {key: value for key, value in DOMAIN.items() if key != name}


MISTAKES = {
    "wrong edition": (change(("edition",), "1.0.0"), "edition"),
    "misspelt top-level key": (change(("resource",), {}), "resource"),
    "misspelt resource key": (change(("resources", "upload_url", "prop"), {}), "prop"),
    "other component": (change(("resources", "upload_url", "component"), "fc"), "component"),
    "misspelt action": (change(("resources", "upload_url", "actions"), {"predeploy": []}), "predeploy"),
    "misspelt property": (change((*PROPS, "memroySize"), 128), "memroySize"),
    "no region": (change((*PROPS, "region"), ...), "region"),
    "unknown region": (change((*PROPS, "region"), "oss-cn-hangzhou"), "region"),
    "unknown runtime": (change((*PROPS, "runtime"), "python3.11"), "runtime"),
    "bad function name": (change((*PROPS, "functionName"), "1-upload"), "functionName"),
    "concurrency on a built-in runtime": (change((*PROPS, "instanceConcurrency"), 10), "instanceConcurrency"),
    "no cpu": (change((*PROPS, "cpu"), ...), "all three"),
    "no disk": (change((*PROPS, "diskSize"), ...), "all three"),
    "other disk": (change((*PROPS, "diskSize"), 1024), "diskSize"),
    "odd cpu": (change((*PROPS, "cpu"), 0.08), "multiple of 0.05"),
    "too much cpu for the memory": (change((*PROPS, "cpu"), 0.15), "GB for each vCPU"),
    "too much memory for the cpu": (change((*PROPS, "memorySize"), 512), "GB for each vCPU"),
    "odd memory": (change((*PROPS, "memorySize"), 160), "memorySize"),
    "no timeout at all": (change((*PROPS, "timeout"), 0), "timeout"),
    "no role": (change((*PROPS, "role"), ...), "role"),
    "role in mixed case": (change((*PROPS, "role"), "OssUploadUrl"), "lower-case"),
    "bad log configuration": (change((*PROPS, "logConfig"), "off"), "logConfig"),
    "code folder missing": (change((*PROPS, "code"), "./source"), "has no index.py"),
    "code is the whole folder": (change((*PROPS, "code"), "./"), "has no index.py"),
    "no handler": (change((*PROPS, "handler"), ...), "handler"),
    "handler's module missing": (change((*PROPS, "handler"), "main.handler"), "has no main.py"),
    "handler's function missing": (change((*PROPS, "handler"), "index.main"), "no function main"),
    "number among the variables": (change((*ENV, "UPLOAD_EXPIRES"), 600), "UPLOAD_EXPIRES"),
    "boolean among the variables": (change((*ENV, "UPLOAD_KEYS"), True), "UPLOAD_KEYS"),
    "variable no setting knows": (change((*ENV, "UPLOAD_MAX_SIZE"), "1"), "no UPLOAD_MAX_SIZE"),
    "reserved variable": (change((*ENV, "FC_REGION"), "cn-hangzhou"), "no FC_REGION"),
    "empty variable": (change((*ENV, "OSS_SIGNER"), ""), "empty"),
    "variables over 4 KB": (change((*ENV, "UPLOAD_TYPES"), "image/png," * 410), "4 KB"),
    "setting the function refuses": (change((*ENV, "UPLOAD_PREFIX"), "uploads"), "UPLOAD_PREFIX"),
    "no prefix": (change((*ENV, "UPLOAD_PREFIX"), ...), "what ships"),
    "keys by the client": (change((*ENV, "UPLOAD_KEYS"), "client"), "what ships"),
    "any type": (change((*ENV, "UPLOAD_TYPES"), ...), "what ships"),
    "any size": (change((*ENV, "UPLOAD_MAX_BYTES"), ...), "what ships"),
    "overwriting": (change((*ENV, "UPLOAD_FORCED_HEADERS"), ...), "overwriting"),
    "every origin": (change((*ENV, "CORS_ORIGINS"), "*"), "origin"),
    "no trigger": (change((*PROPS, "triggers"), []), "0 of type http"),
    "unknown trigger": (change((*TRIGGER, "triggerType"), "https"), "https"),
    "other trigger's configuration": (
        change(CONFIG, {"cronExpression": "@every 1m", "enable": True}),
        "cronExpression",
    ),
    "misspelt trigger property": (change((*CONFIG, "authtype"), "function"), "authtype"),
    "no methods": (change((*CONFIG, "methods"), ...), "methods"),
    "no OPTIONS": (change((*CONFIG, "methods"), ["GET", "POST"]), "OPTIONS"),
    "unknown method": (change((*CONFIG, "methods"), ["GET", "POST", "options"]), "options"),
    "no authType": (change((*CONFIG, "authType"), ...), "authType"),
    "unknown authType": (change((*CONFIG, "authType"), "apikey"), "apikey"),
    "anonymous": (change((*CONFIG, "authType"), "anonymous"), "anonymous"),
    "open domain": (
        change((*PROPS, "customDomain"), {**DOMAIN, "authConfig": {"authType": "anonymous"}}),
        "anonymous",
    ),
    "domain without authentication": (
        change((*PROPS, "customDomain"), without("authConfig")),
        "authConfig",
    ),
    "domain without TLS": (change((*PROPS, "customDomain"), {**DOMAIN, "protocol": "HTTP"}), "HTTP"),
    "domain without certificate": (change((*PROPS, "customDomain"), without("certConfig")), "certConfig"),
    "misspelt domain property": (change((*PROPS, "customDomain"), {**DOMAIN, "domain": ""}), "domain"),
}


@pytest.mark.parametrize(("mutate", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_is_found_and_named(mutate, said, document, folder):
    mutate(document)

    found = strict.faults(document, folder)

    assert found
    assert said in " ".join(found)


AUTH = (*CONFIG, "authConfig")
CLAIM = {
    "claimName": "sub",
    "mappingParameterName": "x-upload-identity",
    "mappingParameterPosition": "header",
}
JWT_MISTAKES = {
    "no authConfig": (change(AUTH, ...), "needs its keys"),
    "no jwks": (change((*AUTH, "jwks"), ...), "jwks"),
    "jwks without keys": (change((*AUTH, "jwks"), {}), "keys"),
    "no key": (change((*AUTH, "jwks", "keys"), []), "[]"),
    "half a key": (change((*AUTH, "jwks", "keys", 0, "n"), ...), "'n'"),
    "elliptic key": (change((*AUTH, "jwks", "keys", 0, "crv"), "P-256"), "crv"),
    "no tokenLookup": (change((*AUTH, "tokenLookup"), ...), "tokenLookup"),
    "token in a body": (change((*AUTH, "tokenLookup", 0, "readPosition"), "body"), "tokenLookup"),
    "no claimPassBy": (change((*AUTH, "claimPassBy"), ...), "claimPassBy"),
    "claim in a cookie": (change((*AUTH, "claimPassBy", 0, "mappingParameterPosition"), "cookie"), "cookie"),
    "claim in another header": (
        change((*AUTH, "claimPassBy"), [{**CLAIM, "mappingParameterName": "x-user"}]),
        "x-user",
    ),
    "claim without a name": (change((*AUTH, "claimPassBy"), "header::x-upload-identity"), "claimPassBy"),
    "nobody reads the claim": (change((*ENV, "UPLOAD_IDENTITY_HEADER"), ...), "claimPassBy"),
    "open path": (change((*AUTH, "whitelist"), ["/health"]), "whitelist"),
    "misspelt authConfig property": (change((*AUTH, "tokenLookUp"), "header:a"), "tokenLookUp"),
}


@pytest.mark.parametrize(("mutate", "said"), JWT_MISTAKES.values(), ids=JWT_MISTAKES)
def test_a_planted_mistake_in_the_jwt_block_is_found_and_named(mutate, said, folder):
    document = strict.render(folder / "s.jwt.yaml", ENVIRON)

    mutate(document)

    assert said in " ".join(strict.faults(document, folder))


def test_an_identity_header_without_jwt_is_found(folder):
    document = strict.render(folder / "s.yaml", ENVIRON)

    props(document)["environmentVariables"]["UPLOAD_IDENTITY_HEADER"] = "x-user"

    assert "any caller could name one" in " ".join(strict.faults(document, folder))


def test_a_jwt_block_without_jwt_is_found(folder):
    document = strict.render(folder / "s.jwt.yaml", ENVIRON)

    trigger(document)["authType"] = "function"

    assert "only jwt has one" in " ".join(strict.faults(document, folder))


def test_claim_and_token_may_be_written_in_the_short_form(folder):
    document = strict.render(folder / "s.jwt.yaml", ENVIRON)

    config = trigger(document)["authConfig"]
    config["claimPassBy"] = "header:sub:X-Upload-Identity,header:email:x-mail"
    config["tokenLookup"] = "header:Authorization:Bearer "

    assert strict.faults(document, folder) == []


def test_private_files_beside_the_code_are_found(document, folder):
    (folder / "build" / "package" / ".env").write_text("")

    assert "would be deployed" in " ".join(strict.faults(document, folder))


@pytest.mark.parametrize("expression", ["${env(X)}", "${file('a')}", "a${env('X')}"])
def test_an_expression_that_is_not_understood_is_no_text(expression, folder):
    document = yaml.safe_load((folder / "s.yaml").read_text())
    document["name"] = expression
    (folder / "s.yaml").write_text(yaml.safe_dump(document))

    with pytest.raises(ValueError, match="not understood"):
        strict.render(folder / "s.yaml", ENVIRON)


def test_the_untouched_document_stays_untouched(document, folder):
    before = copy.deepcopy(document)

    strict.faults(document, folder)

    assert document == before
