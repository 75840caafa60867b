"""deploy/openapi.yaml against the function: each answer that it documents occurs, and none that it does not.

The function answers over a socket of this machine, behind the local Function Compute.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

import index
from local import fc

DOCUMENT = yaml.safe_load((Path(__file__).parent.parent / "deploy" / "openapi.yaml").read_text())
OPERATIONS = DOCUMENT["paths"]["/"]
CREDENTIALS = fc.Credentials("STS.LOCALAKID", "local-secret", "CAISexample+token/with=specials")


@pytest.fixture
def environ(monkeypatch):
    for name in index.settings.NAMES:
        monkeypatch.delenv(name, raising=False)
    for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"):
        monkeypatch.delenv(f"ALIBABA_CLOUD_{name}", raising=False)
    monkeypatch.setenv("OSS_BUCKET", "example-bucket")
    return monkeypatch


def resolved(node):
    """What a reference refers to; anything else is itself."""
    while "$ref" in node:
        target = node["$ref"]
        node = DOCUMENT
        for part in target.removeprefix("#/").split("/"):
            node = node[part]
    return node


def faults(schema, value):
    """How the value breaks a schema of the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    errors = Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def documented_codes(method, status):
    """The codes of a status; the status itself stands for an answer that has none."""
    content = resolved(OPERATIONS[method]["responses"][status]).get("content", {})
    if "application/problem+json" not in content:
        return [status]
    return content["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]


#: The role's credentials where the answer depends on them; a secret that is no text is nothing that the
#: function foresees.
ROLES = {"CredentialsMissing": None, "InternalError": CREDENTIALS._replace(access_key_secret="\udcff")}
#: Method, answer -> settings, and the query of a GET or the body of a POST; x-user is sent as a header.
IDENTITY = {"UPLOAD_IDENTITY_HEADER": "x-user"}
CASES = {
    ("options", "204"): ({}, None),
    ("get", "200"): ({}, {"filename": "cat.png", "contentType": "image/png", "size": "3"}),
    ("get", "UnknownField"): ({}, {"metadata": "a"}),
    ("get", "InvalidField"): ({}, {"size": "-1"}),
    ("get", "InvalidKey"): ({}, {"key": "a//b"}),
    ("get", "ExpiresOutOfRange"): ({}, {"expires": "3601"}),
    ("get", "IdentityMissing"): (IDENTITY, {}),
    ("get", "IdentityInvalid"): (IDENTITY, {"x-user": "a/b"}),
    ("get", "KeyNotAllowed"): ({"UPLOAD_KEYS": "generated"}, {"key": "a"}),
    ("get", "ContentTypeNotAllowed"): ({"UPLOAD_TYPES": "image/*"}, {"contentType": "text/html"}),
    ("get", "SizeNotAllowed"): ({"UPLOAD_MAX_BYTES": "10"}, {"size": "11"}),
    ("get", "Misconfigured"): ({"UPLOAD_PREFIX": "no-slash"}, {}),
    ("get", "CredentialsMissing"): ({}, {}),
    ("get", "InternalError"): ({}, {}),
    ("post", "200"): ({}, {"key": "a b/ü", "contentMd5": "XUFAKrxLKna5cZ2REBfFkg==", "metadata": {"a": "b"}}),
    ("post", "InvalidJson"): ({}, []),
    ("post", "UnknownField"): ({}, {"file": "a"}),
    ("post", "InvalidField"): ({}, {"size": "1"}),
    ("post", "InvalidKey"): ({}, {"key": "../a"}),
    ("post", "ExpiresOutOfRange"): ({}, {"expires": 43201}),
    ("post", "InvalidHeader"): ({}, {"headers": {"cache-control": "\u00fc"}}),
    ("post", "IdentityMissing"): (IDENTITY, {}),
    ("post", "IdentityInvalid"): (IDENTITY, {"x-user": "a,b"}),
    ("post", "KeyNotAllowed"): ({"UPLOAD_PREFIX": "in/"}, {"key": "out/a"}),
    ("post", "ContentTypeNotAllowed"): ({"UPLOAD_TYPES": "image/*"}, {"contentType": "text/html"}),
    ("post", "HeaderNotAllowed"): ({}, {"headers": {"x-oss-object-acl": "public-read"}}),
    ("post", "SizeNotAllowed"): ({}, {"size": 5 * 1024**3 + 1}),
    ("post", "Misconfigured"): ({"OSS_BUCKET": ""}, {}),
    ("post", "CredentialsMissing"): ({}, {}),
    ("post", "InternalError"): ({}, {}),
}


def test_the_file_is_openapi():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_cases_are_all_that_is_documented():
    documented = {
        (method, code)
        for method, operation in OPERATIONS.items()
        for status in operation["responses"]
        for code in documented_codes(method, status)
    }

    assert set(CASES) == documented


@pytest.mark.parametrize(("method", "code"), CASES, ids=lambda part: part)
@pytest.mark.parametrize("origins", ["", "*"], ids=["no origin", "any origin"])
def test_a_documented_answer_occurs_and_is_as_documented(origins, method, code, environ):
    changed, request = CASES[method, code]
    environ.setenv("CORS_ORIGINS", origins)
    for name, value in changed.items():
        environ.setenv(name, value)
    headers = {}
    if isinstance(request, dict) and "x-user" in request:
        headers["X-User"], request = request["x-user"], {}
    arguments = {"params": request} if method == "get" else {"json": request}

    with fc.serve(index.handler, credentials=ROLES.get(code, CREDENTIALS)) as address:
        answer = requests.request(method, address, headers=headers, timeout=10, **arguments)

    documented = resolved(OPERATIONS[method]["responses"][str(answer.status_code)])
    assert as_documented(answer, documented) == []
    assert (answer.json()["code"] if answer.status_code >= 400 else str(answer.status_code)) == code


def as_documented(answer, documented):
    """What differs between an answer and its description."""
    found = []
    for name, header in documented["headers"].items():
        header = resolved(header)
        if name in answer.headers:
            value = answer.headers[name]
            number = header["schema"].get("type") == "integer"
            found += faults(header["schema"], int(value) if number else value)
        elif header.get("required"):
            found.append(f"no {name}")
    if "content" not in documented:
        return found + ["a body"] * bool(answer.content)
    ((content_type, media),) = documented["content"].items()
    if answer.headers["Content-Type"] != content_type:
        found.append(answer.headers["Content-Type"])
    body = json.loads(answer.content)
    if answer.status_code >= 400 and body["status"] != answer.status_code:
        found.append("two statuses")
    return found + faults(media["schema"], body)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_a_method_that_is_not_documented_is_405_with_those_that_are(method, environ):
    with fc.serve(index.handler, credentials=CREDENTIALS) as address:
        answer = requests.request(method, address, timeout=10)

    assert answer.status_code == 405
    assert sorted(answer.headers["Allow"].split(", ")) == sorted(name.upper() for name in OPERATIONS)


REQUEST = DOCUMENT["components"]["schemas"]["Request"]


def test_the_request_has_the_fields_that_the_function_knows():
    assert set(REQUEST["properties"]) == index.policy.FIELDS
    assert {one["name"] for one in OPERATIONS["get"]["parameters"]} == index.policy.FIELDS - {
        "headers",
        "metadata",
    }


@pytest.mark.parametrize(
    "name", OPERATIONS["post"]["requestBody"]["content"]["application/json"]["examples"], ids=str
)
def test_an_example_is_valid_and_gets_a_url(name, environ):
    media = OPERATIONS["post"]["requestBody"]["content"]["application/json"]
    example = media["examples"][name]["value"]

    with fc.serve(index.handler, credentials=CREDENTIALS) as address:
        answer = requests.post(address, json=example, timeout=10)

    assert faults(media["schema"], example) == []
    assert answer.status_code == 200


GRANTED = [
    {},
    {"key": "a"},
    {"key": "k" * 1023},
    {"key": "..a/.b/c../ d"},
    {"key": "a\\b"},
    {"key": "\u200d"},
    {"filename": ""},
    {"size": 0},
    {"size": 5368709120},
    {"expires": 1},
    {"contentType": "image/svg+xml;charset=utf-8"},
    {"contentMd5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
    {"headers": {"Cache-Control": "no-cache, max-age=0"}},
    {"headers": {}, "metadata": {"A-1": " ~ "}},
]
REFUSED = [
    {"key": ""},
    {"key": "k" * 1024},
    {"key": "/a"},
    {"key": "\\a"},
    {"key": "a/"},
    {"key": "a//b"},
    {"key": "a/../b"},
    {"key": "./a"},
    {"key": "a\nb"},
    {"key": "\x7f"},
    {"key": "\u3000"},
    {"key": "a", "filename": "a"},
    {"key": None},
    {"size": -1},
    {"size": 5368709121},
    {"size": "1"},
    {"size": True},
    {"expires": 0},
    {"expires": 604801},
    {"contentType": "image"},
    {"contentType": "image/p ng"},
    {"contentMd5": "d41d8cd98f00b204e9800998ecf8427e"},
    {"contentMd5": "1B2M2Y8AsgTpgAmY7PhCfh=="},
    {"headers": {"cache_control": "a"}},
    {"headers": {"cache-control": ""}},
    {"headers": {"cache-control": "a\nb"}},
    {"metadata": {"": "a"}},
    {"metadata": {"a": 1}},
    {"metadata": []},
    {"Key": "a"},
]


@pytest.mark.parametrize(
    ("request_", "granted"),
    [(one, one in GRANTED) for one in GRANTED + REFUSED],
    ids=lambda one: str(one)[:40],
)
def test_file_and_function_agree_on_what_a_request_is(request_, granted, environ):
    with fc.serve(index.handler, credentials=CREDENTIALS) as address:
        answer = requests.post(address, json=request_, timeout=10)

    assert (faults(REQUEST, request_) == []) is granted
    assert (answer.status_code == 200) is granted


TAMPERED = {
    "a field more": {"extra": 1},
    "no url": {"url": ...},
    "another method": {"method": "POST"},
    "an address without query": {"url": "https://b.example/k"},
    "a number as text": {"expires": "600"},
    "a local time": {"expiresAt": "2026-11-22T10:00:00+08:00"},
    "a header that is not sent": {"headers": {"Host": "b"}},
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_an_answer_that_differs_would_be_seen(change, environ):
    with fc.serve(index.handler, credentials=CREDENTIALS) as address:
        body = requests.post(address, timeout=10).json()
    schema = {"$ref": "#/components/schemas/UploadUrl"}
    changed = {name: value for name, value in {**body, **change}.items() if value is not ...}

    assert faults(schema, body) == []
    assert faults(schema, changed) != []
