"""The settings and the CORS rule that ship, at work: the function and OSS on sockets of this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import requests

import index
from local import fc, oss
from tests import strict

ROOT = Path(__file__).parent.parent
PAGE = "https://app.example.com"
PNG = {"filename": "cat.png", "contentType": "image/png", "size": 4}


def props_of(name, folder):
    for file in ("s.yaml", "s.jwt.yaml"):
        (folder / file).write_text((ROOT / file).read_text())
    (folder / "jwks.json").write_text('{"keys": []}')
    return strict.render(folder / name, {"OSS_BUCKET": "example-bucket"})["resources"]["upload_url"]["props"]


def cors_rule():
    (rule,) = ElementTree.parse(ROOT / "deploy" / "bucket-cors.xml").getroot().findall("CORSRule")
    tags = ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader")
    return oss.CorsRule(
        *[[one.text for one in rule.findall(tag)] for tag in tags], int(rule.findtext("MaxAgeSeconds"))
    )


@pytest.fixture
def bucket():
    with oss.serve(oss.Oss(["example-bucket"], cors=[cors_rule()])) as served:
        yield served


@pytest.fixture(params=["python3.10", "python3.12"])
def start(request, bucket, tmp_path, monkeypatch):
    """Puts the function that one of the two files describes on a port, and gives its address."""
    (key_id, account), *_ = oss.CREDENTIALS.items()

    def started(name):
        props = props_of(name, tmp_path)
        for setting in index.settings.NAMES:
            monkeypatch.delenv(setting, raising=False)
        for setting, value in {**props["environmentVariables"], "OSS_ENDPOINT": bucket.address}.items():
            monkeypatch.setenv(setting, value)
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", key_id)
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", account.secret)
        monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", account.token)
        return served.enter_context(
            fc.serve(
                index.handler,
                methods=props["triggers"][0]["triggerConfig"]["methods"],
                runtime=request.param,
                credentials=fc.Credentials(key_id, account.secret, account.token),
            )
        )

    with contextlib.ExitStack() as served:
        yield started


def ask(address, fields=PNG, **headers):
    return requests.post(address, json=fields, headers=headers, timeout=10)


def put(answer, content=b"meow", **changed):
    headers = {name: value for name, value in {**answer["headers"], **changed}.items() if value is not None}
    return requests.put(answer["url"], data=content, headers=headers, timeout=10)


def test_an_upload_is_stored_under_a_made_key_of_the_prefix(start, bucket):
    answer = ask(start("s.yaml")).json()

    assert put(answer).status_code == 200
    assert answer["key"].startswith("uploads/")
    assert bucket.get(answer["key"]).read() == b"meow"


def test_a_url_stores_one_object_once(start, bucket):
    answer = ask(start("s.yaml")).json()

    first, second = put(answer), put(answer, b"MEOW")

    assert (first.status_code, second.status_code) == (200, 409)
    assert "<Code>FileAlreadyExists</Code>" in second.text
    assert bucket.get(answer["key"]).read() == b"meow"


ABUSES = {
    "longer": {"content": b"meow!"},
    "shorter": {"content": b"me"},
    "another type": {"Content-Type": "text/html"},
    "no type": {"Content-Type": None},
    "overwriting": {"x-oss-forbid-overwrite": "false"},
    "overwriting by silence": {"x-oss-forbid-overwrite": None},
    "public": {"x-oss-object-acl": "public-read"},
}


@pytest.mark.parametrize("changed", ABUSES.values(), ids=ABUSES)
def test_an_upload_other_than_the_one_that_was_granted_is_refused(changed, start, bucket):
    answer = ask(start("s.yaml")).json()

    refused = put(answer, **changed)

    assert refused.status_code == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in refused.text
    assert bucket.get(answer["key"]) is None


WISHES = {
    "own key": ({"key": "uploads/x.png"}, 403, "KeyNotAllowed"),
    "html": ({"contentType": "text/html"}, 403, "ContentTypeNotAllowed"),
    "svg": ({"contentType": "image/svg+xml"}, 403, "ContentTypeNotAllowed"),
    "no type": ({"contentType": ...}, 400, "InvalidField"),
    "no size": ({"size": ...}, 400, "InvalidField"),
    "too large": ({"size": 100 * 1024**2 + 1}, 413, "SizeNotAllowed"),
    "too long": ({"expires": 3601}, 400, "ExpiresOutOfRange"),
    "overwriting": ({"headers": {"x-oss-forbid-overwrite": "false"}}, 403, "HeaderNotAllowed"),
    "public": ({"headers": {"x-oss-object-acl": "public-read"}}, 403, "HeaderNotAllowed"),
    "a callback": ({"headers": {"x-oss-callback": "e30="}}, 403, "HeaderNotAllowed"),
}


@pytest.mark.parametrize(("wish", "status", "code"), WISHES.values(), ids=WISHES)
def test_a_request_for_more_than_ships_is_refused(wish, status, code, start):
    fields = {name: value for name, value in {**PNG, **wish, "filename": ...}.items() if value is not ...}

    answer = ask(start("s.yaml"), fields)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_the_listed_page_passes_both_preflights_and_reads_both_answers(start, bucket):
    address = start("s.yaml")
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    answer = ask(address, Origin=PAGE)
    names = ",".join(sorted(name.lower() for name in answer.json()["headers"]))
    of_put = {**preflight, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": names}

    answers = [
        requests.options(address, headers=preflight, timeout=10),
        answer,
        requests.options(answer.json()["url"], headers=of_put, timeout=10),
        put(answer.json(), Origin=PAGE),
    ]

    assert [one.status_code for one in answers] == [204, 200, 200, 200]
    assert [one.headers["Access-Control-Allow-Origin"] for one in answers] == [PAGE] * 4
    assert "ETag" in answers[3].headers["Access-Control-Expose-Headers"]


def test_another_page_passes_neither(start, bucket):
    address, page = start("s.yaml"), "https://evil.example"
    asked = ask(address, Origin=page)
    at_oss = requests.options(
        asked.json()["url"],
        headers={"Origin": page, "Access-Control-Request-Method": "PUT"},
        timeout=10,
    )

    assert asked.headers["Access-Control-Allow-Origin"] == "https://origin-not-allowed.invalid"
    assert "Access-Control-Allow-Credentials" not in asked.headers
    assert at_oss.status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_the_trigger_keeps_other_methods_from_the_function(method, start):
    assert requests.request(method, start("s.yaml"), timeout=10).status_code == 403


# The JWT variant. The trigger's check is Function Compute's; here its header is sent as it would pass it on.


@pytest.mark.parametrize(
    "identity", ["alice", "auth0|5f7c8ec7", "a.b+c@example.com", "urn:user:1", "...", "-"]
)
def test_a_caller_uploads_into_a_folder_of_its_own(identity, start, bucket):
    answer = ask(start("s.jwt.yaml"), **{"X-Upload-Identity": identity}).json()

    assert put(answer).status_code == 200
    assert [key.rpartition("/")[0] for key in bucket.objects] == [f"uploads/{identity}"]


def test_a_callers_url_does_not_open_anothers_folder(start, bucket):
    answer = ask(start("s.jwt.yaml"), **{"X-Upload-Identity": "alice"}).json()

    moved = put({**answer, "url": answer["url"].replace("/alice/", "/mallory/", 1)})

    assert moved.status_code == 403
    assert bucket.objects == {}


def test_without_the_triggers_header_nobody_gets_a_url(start):
    answer = ask(start("s.jwt.yaml"))

    assert (answer.status_code, answer.json()["code"]) == (401, "IdentityMissing")


@pytest.mark.parametrize("name", ["X-Upload-Identity", "x-upload-identity"])
def test_a_header_that_somebody_added_to_the_triggers_is_refused(name, start):
    connection = http.client.HTTPConnection(urlsplit(start("s.jwt.yaml")).netloc, timeout=10)
    body = json.dumps(PNG).encode()

    with contextlib.closing(connection):
        connection.putrequest("POST", "/")
        connection.putheader("X-Upload-Identity", "alice")
        connection.putheader(name, "mallory")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        problem = json.loads(answer.read())

    assert (answer.status, problem["code"]) == (401, "IdentityInvalid")
