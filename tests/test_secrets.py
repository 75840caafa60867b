"""Canary credentials through every path: only the URL has the token, and nothing has the secret."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest

import index
from local import fc, oss
from local.oss_verify import Credential
from tests.surroundings import bare_environment
from tests.test_events import http_event
from upload_url import errors, signer

ROOT = Path(__file__).parents[1]
KEY_ID, SECRET, TOKEN = "STS.NUcanaryId", "canary0secret0canary", "CAISc/anary+token/c+anary=="
#: As somebody might find it: plain, in a URL, in a repr of bytes.
FORMS = (SECRET, TOKEN, "CAISc%2Fanary", "canary%2Btoken", "anary+token", "canary0secret")

#: outcome -> settings, and what the HTTP event has; `fields` goes to a direct invocation as well.
CASES = {
    "signed": ({}, {"fields": {"key": "a", "size": 5, "contentType": "image/png"}}),
    "preflight": ({}, {"method": "OPTIONS", "headers": {"Origin": "https://a.example"}}),
    "InvalidEvent": ({}, {"queryParameters": 5, "fields": {"events": []}}),
    "InvalidJson": ({}, {"fields": []}),
    "UnknownField": ({}, {"fields": {"acl": "private"}}),
    "InvalidField": ({}, {"fields": {"size": "5"}}),
    "InvalidKey": ({}, {"fields": {"key": "/"}}),
    "ExpiresOutOfRange": ({}, {"fields": {"expires": 0}}),
    "InvalidHeader": ({}, {"fields": {"metadata": {"a": "é"}}}),
    "IdentityMissing": ({"UPLOAD_IDENTITY_HEADER": "x-user-sub"}, {"fields": {}}),
    "IdentityInvalid": ({"UPLOAD_IDENTITY_HEADER": "x-user-sub"}, {"headers": {"x-user-sub": "a,b"}}),
    "KeyNotAllowed": ({"UPLOAD_PREFIX": "u/"}, {"fields": {"key": "a"}}),
    "ContentTypeNotAllowed": ({"UPLOAD_TYPES": "image/*"}, {"fields": {"contentType": "a/b"}}),
    "HeaderNotAllowed": ({}, {"fields": {"headers": {"x-oss-object-acl": "private"}}}),
    "MethodNotAllowed": ({}, {"method": "DELETE"}),
    "SizeNotAllowed": ({"UPLOAD_MAX_BYTES": "1"}, {"fields": {"size": 2}}),
    "Misconfigured": ({"OSS_BUCKET": "!", "OSS_ENDPOINT": "ftp://x", "UPLOAD_EXPIRES": "x"}, {"fields": {}}),
    "CredentialsMissing": ({"ALIBABA_CLOUD_ACCESS_KEY_ID": ""}, {"fields": {}}),
    # A secret that no encoder takes: the exception quotes it.
    "InternalError": ({"ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET + "\udcff"}, {"fields": {}}),
}
#: Those that a direct invocation can meet.
DIRECT = sorted(set(CASES) - {"signed", "preflight", "IdentityInvalid", "MethodNotAllowed"})


class Explosive:
    """A context whose credentials fail, and say with what, and because of what."""

    request_id = "1-canary"
    region = "cn-hangzhou"

    @property
    def credentials(self):
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise RuntimeError(f"cannot use {KEY_ID} {SECRET} {TOKEN}") from error


def context_of(runtime):
    """FC's, with the credentials where that runtime has them."""
    if runtime == "python3.12":
        return SimpleNamespace(request_id="1-canary", region="cn-hangzhou")
    taken = [
        os.environ.pop(f"ALIBABA_CLOUD_{name}")
        for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")
    ]
    return SimpleNamespace(request_id="1-canary", region="cn-hangzhou", credentials=fc.Credentials(*taken))


@pytest.fixture(autouse=True)
def environment(monkeypatch, caplog):
    for name in os.environ.keys() - bare_environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("OSS_BUCKET", "my-bucket")
    monkeypatch.setenv("OSS_REGION", "cn-hangzhou")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", TOKEN)
    # Everybody's loggers at their loudest, oss2's own included.
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="oss2")
    return monkeypatch


@pytest.fixture
def said(capsys, caplog):
    """What was printed and logged up to now."""

    def read():
        printed = capsys.readouterr()
        return "\n".join([printed.out, printed.err, caplog.text, *map(repr, caplog.records)])

    return read


def assert_no_secret(*texts):
    for text in texts:
        assert [form for form in FORMS if form in text] == []


def everything_about(error):
    """What a runtime, a logger or a debugger shows of an exception, and of all that hang on it."""
    seen = []
    while error is not None:
        seen += [str(error), repr(error), repr(error.args), repr(vars(error))]
        seen += traceback.format_exception(error)
        error = error.__cause__ or error.__context__
    return seen


def expect(environment, outcome, signer_name):
    """Sets the stage for it, and gives what to send."""
    settings, sent = CASES[outcome]
    environment.setenv("OSS_SIGNER", signer_name)
    for name, value in settings.items():
        environment.setenv(name, value)
    return dict(sent)


@pytest.mark.parametrize("runtime", ["python3.10", "python3.12"])
@pytest.mark.parametrize("signer_name", ["native", "oss2"])
@pytest.mark.parametrize("outcome", CASES)
def test_an_http_answer_and_its_log_hold_no_secret(environment, said, outcome, signer_name, runtime):
    sent = expect(environment, outcome, signer_name)
    event = http_event(body=json.dumps(sent.pop("fields", {})), **sent)

    response = index.handler(json.dumps(event).encode(), context_of(runtime))

    answer = json.loads(response["body"] or '{"code": "preflight"}')
    url = answer.pop("url", "")
    assert outcome == answer.get("code", "signed")
    assert ("CAISc%2Fanary%2Btoken%2Fc%2Banary%3D%3D" in url) == (outcome == "signed")
    assert SECRET not in url
    assert_no_secret(said(), json.dumps(response["headers"]), json.dumps(answer))


@pytest.mark.parametrize("signer_name", ["native", "oss2"])
@pytest.mark.parametrize("outcome", DIRECT)
def test_a_raised_refusal_and_all_that_hangs_on_it_hold_no_secret(environment, said, outcome, signer_name):
    fields = expect(environment, outcome, signer_name)["fields"]
    event = b"{" if outcome == "InvalidJson" else json.dumps(fields).encode()

    with pytest.raises(errors.Refusal) as refused:
        index.handler(event, context_of("python3.12"))

    assert type(refused.value).__name__ == outcome
    assert_no_secret(said(), *everything_about(refused.value))


def test_a_crash_that_quotes_the_credentials_takes_them_nowhere(said):
    response = index.handler(json.dumps(http_event(body="{}")).encode(), Explosive())
    with pytest.raises(errors.InternalError) as refused:
        index.handler(b"{}", Explosive())

    assert json.loads(response["body"])["code"] == "InternalError"
    assert_no_secret(said(), response["body"], *everything_about(refused.value))


def test_nothing_that_holds_a_secret_shows_it_in_repr():
    credentials = signer.Credentials(KEY_ID, SECRET, TOKEN)
    known = Credential(SECRET, TOKEN)
    cloud = oss.Oss(credentials={KEY_ID: known})

    shown = [
        repr(fc.Credentials(KEY_ID, SECRET, TOKEN)),
        repr(credentials),
        repr(known),
        repr(cloud),
        str(known),
    ]

    cloud.close()
    assert_no_secret(*shown)


@pytest.mark.parametrize("change", ["", "x", "&x-oss-x=1"], ids=["good", "bad signature", "bad query"])
def test_the_stand_ins_log_holds_no_url_and_no_secret(tmp_path, change):
    lines = []
    cloud = oss.Oss(
        ["my-bucket"], credentials={KEY_ID: Credential(SECRET, TOKEN)}, data=tmp_path, log=lines.append
    )
    answer = index.handler(b'{"key":"a"}', context_of("python3.12"))

    status, _, body = cloud.respond("PUT", answer["url"] + change, {"Content-Length": "1"}, b"x")

    with body:
        assert_no_secret(*lines)
        assert "x-oss-signature=" not in "".join(lines)
        assert (status == 200) == (change == "")
        assert SECRET not in body.read().decode()


@pytest.mark.parametrize(
    "settings", [{}, {"UPLOAD_TYPES": "a/b"}, {"OSS_BUCKET": "!"}, {"UPLOAD_EXPIRES": "x"}], ids=str
)
def test_the_command_says_no_secret_whatever_happens(settings, tmp_path):
    file = tmp_path / "cat.png"
    file.write_bytes(b"meow")

    done = subprocess.run(
        [sys.executable, "-m", "local", str(file)],
        cwd=ROOT,
        env={**os.environ, "OSS_BUCKET": "my-bucket", **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == (1 if settings else 0), done.stderr
    assert_no_secret(done.stdout, done.stderr)
