from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

import index
from tests import official_sdks
from tests.test_events import http_event
from upload_url import errors, policy, signer

CANARIES = ("STS.NUcanaryId", "canary-secret", "CAIS/canary+token==")
SETTINGS = {
    "OSS_BUCKET": "my-bucket",
    "OSS_REGION": "cn-hangzhou",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": CANARIES[0],
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": CANARIES[1],
    "ALIBABA_CLOUD_SECURITY_TOKEN": CANARIES[2],
}
#: As on python3.12: no credentials.
CONTEXT = SimpleNamespace(request_id="1-64f6cd87-0123", region="cn-shanghai")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The function's environment, and nothing of the machine's that the function would read."""
    for name in list(os.environ):
        if name.startswith(("OSS_", "UPLOAD_", "CORS_", "ALIBABA_CLOUD_", "FC_")):
            monkeypatch.delenv(name)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def call(fields=None, context=CONTEXT, **changes):
    """The response to an HTTP request, with its body parsed."""
    body = "" if fields is None else json.dumps(fields)
    response = index.handler(json.dumps(http_event(body=body, **changes)).encode(), context)
    return response | {"body": json.loads(response["body"]) if response["body"] else None}


def log(capsys):
    """The one line that a request may log."""
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


# -- answers


def test_the_answer_is_what_an_uploader_needs():
    answer = call({"key": "a b.png", "contentType": "image/png", "size": 5, "expires": 60})["body"]

    url, when = answer.pop("url"), answer.pop("expiresAt")
    assert answer == {
        "method": "PUT",
        "headers": {"Content-Type": "image/png"},
        "key": "a b.png",
        "bucket": "my-bucket",
        "expires": 60,
        "size": 5,
    }
    assert url.startswith(
        "https://my-bucket.oss-cn-hangzhou.aliyuncs.com/a%20b.png?x-oss-additional-headers=content-length&"
    )
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", when)


def test_the_signature_covers_what_the_answer_says():
    answer = call(
        {"key": "a", "contentType": "a/b", "size": 5, "metadata": {"m": "n"}, "headers": {"expires": "0"}}
    )["body"]
    now = signed_at(answer["url"])
    sent = answer["headers"] | {"Content-Length": "5"}

    expected = signer.presign(
        signer.Credentials(*CANARIES),
        base_url="https://my-bucket.oss-cn-hangzhou.aliyuncs.com",
        bucket="my-bucket",
        key="a",
        region="cn-hangzhou",
        expires=600,
        now=now,
        headers=sent,
        additional_headers=["content-length", "expires"],
    )

    assert answer["url"] == expected
    assert answer["headers"] == {"Content-Type": "a/b", "expires": "0", "x-oss-meta-m": "n"}


def signed_at(url):
    from calendar import timegm
    from time import strptime

    return timegm(strptime(official_sdks.parts(url)[2]["x-oss-date"][0], "%Y%m%dT%H%M%SZ"))


def test_the_size_is_in_the_answer_only_if_bound():
    assert "size" not in call({})["body"]
    assert call({"size": 0})["body"]["size"] == 0


def test_every_made_key_is_another():
    keys = {call({"filename": "cat.PNG"})["body"]["key"] for _ in range(50)}

    assert len(keys) == 50
    assert all(re.fullmatch(r"[0-9a-f]{32}\.png", key) for key in keys)


def test_a_get_is_answered_alike():
    answer = call(method="GET", query={"key": "a", "size": "5"})["body"]

    assert (answer["key"], answer["size"]) == ("a", 5)


def test_a_base64_body_is_honoured():
    encoded = base64.b64encode(b'{"key":"a"}').decode()
    event = http_event(body=encoded, isBase64Encoded=True)

    assert json.loads(index.handler(json.dumps(event).encode(), CONTEXT)["body"])["key"] == "a"


def test_a_body_of_32_mb_is_refused_without_being_read():
    event = json.dumps(http_event(body="x" * 32 * 1024**2)).encode()

    tracemalloc.start()
    response = index.handler(event, CONTEXT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    problem = json.loads(response["body"])
    assert (response["statusCode"], problem["code"], problem["limit"]) == (400, "InvalidJson", 65536)
    assert peak < 100_000


def test_a_direct_payload_over_a_megabyte_is_refused_without_being_read():
    with pytest.raises(errors.InvalidJson) as refused:
        index.handler(b'{"key":"' + b"x" * 1024**2 + b'"}', CONTEXT)

    assert refused.value.limit == 65536


def test_the_largest_body_fits_into_an_event_however_it_is_escaped():
    event = json.dumps(http_event(body="{}".ljust(65536, "\n"), headers={"x": "\x01" * 8192}))

    response = index.handler(event.replace("\\n", "\\u000a").encode(), CONTEXT)

    assert response["statusCode"] == 200


def test_a_preflight_is_answered_without_signing(capsys):
    response = call(method="OPTIONS", headers={"Origin": "https://a.example"})

    assert response["statusCode"] == 204
    assert response["body"] is None
    assert log(capsys)["outcome"] == "preflight"


def test_both_signers_give_the_same_answer(environment):
    environment.setenv("OSS_SIGNER", "oss2")
    by_oss2 = call({"key": "a/猫 ?.png", "contentType": "image/png", "size": 5, "metadata": {"a": "b"}})[
        "body"
    ]
    environment.setenv("OSS_SIGNER", "")
    now = signed_at(by_oss2["url"])
    environment.setattr(index.time, "time", lambda: now + 0.5)

    ours = call({"key": "a/猫 ?.png", "contentType": "image/png", "size": 5, "metadata": {"a": "b"}})["body"]

    assert official_sdks.parts(by_oss2.pop("url")) == official_sdks.parts(ours.pop("url"))
    assert by_oss2 == ours


def test_the_answers_end_is_the_urls_end():
    answer = call({"expires": 60})["body"]
    end = signed_at(answer["url"]) + 60

    assert answer["expiresAt"] == index.time.strftime("%Y-%m-%dT%H:%M:%SZ", index.time.gmtime(end))


# -- credentials


def test_the_contexts_credentials_come_first():
    context = SimpleNamespace(
        request_id="1",
        region="r",
        credentials=SimpleNamespace(
            access_key_id="STS.ctx", access_key_secret="s", security_token="ctx-token"
        ),
    )

    url = call({}, context)["body"]["url"]

    assert "x-oss-credential=STS.ctx%2F" in url
    assert "x-oss-security-token=ctx-token&" in url


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        SimpleNamespace(),
        SimpleNamespace(access_key_id="", access_key_secret="", security_token=""),
        SimpleNamespace(access_key_id=None, access_key_secret=None, security_token=None),
        SimpleNamespace(access_key_id="STS.ctx", access_key_secret="", security_token="ctx-token"),
    ],
    ids=repr,
)
def test_a_context_without_credentials_leaves_it_to_the_environment(given):
    url = call({}, SimpleNamespace(request_id="1", region="r", credentials=given))["body"]["url"]

    assert "x-oss-credential=STS.NUcanaryId%2F" in url
    assert "ctx-token" not in url


def test_credentials_are_read_on_every_call(environment):
    before = call({"key": "a"})["body"]["url"]
    environment.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.other")
    environment.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "other")
    environment.delenv("ALIBABA_CLOUD_SECURITY_TOKEN")

    after = call({"key": "a"})["body"]["url"]

    assert "STS.NUcanaryId" in before
    assert "STS.other" in after
    assert "security-token" not in after


@pytest.mark.parametrize("name", ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
def test_no_credentials_are_a_500_and_the_log_says_to_give_a_role(environment, capsys, name):
    environment.delenv(name)

    response = call({})

    assert response["statusCode"] == 500
    assert response["body"]["code"] == "CredentialsMissing"
    assert "role" not in response["body"]["detail"]
    assert "Give the function a role that may oss:PutObject" in log(capsys)["log"]


def test_credentials_without_a_token_may_sign_for_seven_days(environment):
    environment.setenv("UPLOAD_EXPIRES_MAX", "604800")

    assert call({"expires": 43201})["body"]["code"] == "ExpiresOutOfRange"
    environment.delenv("ALIBABA_CLOUD_SECURITY_TOKEN")
    assert call({"expires": 604800})["body"]["expires"] == 604800


# -- refusals


def test_a_refusal_is_problem_json_with_the_request_id_and_cors(environment):
    environment.setenv("CORS_ORIGINS", "https://a.example")

    response = call({"key": "/a"}, headers={"origin": "https://a.example"})

    assert response["statusCode"] == 400
    assert response["headers"]["Content-Type"] == "application/problem+json"
    assert response["headers"]["Access-Control-Allow-Origin"] == "https://a.example"
    assert response["body"] == {
        "type": "urn:oss-upload-url:readme#invalidkey",
        "title": "The key is not a valid object key.",
        "status": 400,
        "detail": "It must not start with a slash or a backslash.",
        "code": "InvalidKey",
        "requestId": "1-64f6cd87-0123",
        "field": "key",
    }


@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE"])
def test_another_method_is_a_405_with_allow(method):
    response = call({}, method=method)

    assert response["statusCode"] == 405
    assert response["headers"]["Allow"] == "GET, POST, OPTIONS"


def test_an_event_that_fc_would_not_send_is_a_400():
    response = index.handler(b'{"requestContext": 5}', CONTEXT)

    assert response["statusCode"] == 400
    assert json.loads(response["body"])["code"] == "InvalidEvent"


def test_misconfiguration_is_told_in_full_to_the_log_alone(environment, capsys):
    environment.setenv("OSS_BUCKET", "Bad_Bucket")
    environment.setenv("UPLOAD_EXPIRES", "soon")
    environment.setenv("CORS_ORIGINS", "https://a.example")

    response = call({}, headers={"Origin": "https://a.example"})

    assert response["statusCode"] == 500
    assert response["body"]["code"] == "Misconfigured"
    assert "Bad_Bucket" not in json.dumps(response)
    assert response["headers"]["Access-Control-Allow-Origin"] == "https://a.example"
    line = log(capsys)
    assert len(line["log"]) == 2
    assert line["requestId"] == "1-64f6cd87-0123"


def test_misconfiguration_is_told_on_every_call_until_it_is_mended(environment):
    assert call({})["statusCode"] == 200
    environment.setenv("OSS_BUCKET", "Bad_Bucket")
    assert call({})["statusCode"] == 500
    assert call({})["statusCode"] == 500
    environment.setenv("OSS_BUCKET", "other-bucket")
    assert call({})["body"]["bucket"] == "other-bucket"


def test_the_region_may_come_from_the_context(environment):
    environment.delenv("OSS_REGION")

    assert call({})["body"]["url"].startswith("https://my-bucket.oss-cn-shanghai.aliyuncs.com/")


def test_a_preflight_is_answered_even_if_misconfigured(environment):
    environment.setenv("OSS_BUCKET", "")

    assert call(method="OPTIONS")["statusCode"] == 204


def test_an_oss2_that_cannot_be_imported_is_misconfigured(environment, capsys):
    environment.setenv("OSS_SIGNER", "oss2")
    environment.setitem(sys.modules, "oss2", None)

    assert call({})["body"]["code"] == "Misconfigured"
    assert "oss2 cannot be imported" in log(capsys)["log"][0]


def test_an_identity_comes_from_the_triggers_header_alone(environment):
    environment.setenv("UPLOAD_IDENTITY_HEADER", "X-User-Sub")
    environment.setenv("UPLOAD_PREFIX", "uploads/")

    assert call({}, headers={"x-user-sub": "u"})["body"]["key"].startswith("uploads/u/")
    assert call({})["statusCode"] == 401
    assert call({}, headers={"X-User-Sub": "u", "x-user-sub": "v"})["body"]["code"] == "IdentityInvalid"
    assert call({"identity": "u"}, headers={"x-user-sub": "v"})["body"]["code"] == "UnknownField"
    assert (
        call(method="GET", query={"identity": "u"}, headers={"x-user-sub": "v"})["body"]["code"]
        == "UnknownField"
    )


class Explosive(SimpleNamespace):
    """A context that fails in a way nobody foresaw, with a secret in the message."""

    @property
    def credentials(self):
        raise RuntimeError(f"cannot use {CANARIES[1]} {CANARIES[2]}")


def test_an_unforeseen_exception_is_a_500_whose_frames_are_logged(capsys):
    response = call({}, Explosive(request_id="1-x", region="r"))

    assert response["statusCode"] == 500
    assert response["body"]["code"] == "InternalError"
    line = log(capsys)
    assert line["log"][0] == "RuntimeError"
    assert any("_credentials" in frame for frame in line["log"])


# -- direct invocation


def test_a_direct_invocation_is_answered_with_the_bare_object():
    answer = index.handler(b'{"key":"a","size":5}', CONTEXT)

    assert answer["method"] == "PUT"
    assert answer["key"] == "a"
    assert "statusCode" not in answer


def test_an_empty_payload_is_the_empty_request():
    assert index.handler(b"", CONTEXT)["method"] == "PUT"


def test_a_cloud_event_is_answered_with_the_bare_object():
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"key": "a"}}

    assert index.handler(json.dumps(event).encode(), CONTEXT)["key"] == "a"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (b"nonsense", "InvalidJson"),
        (b"[]", "InvalidEvent"),
        (b'{"acl":"x"}', "UnknownField"),
        (b'{"key":"/a"}', "InvalidKey"),
        (b'{"identity":"u"}', "UnknownField"),
    ],
)
def test_a_refused_direct_invocation_raises_under_the_codes_name_with_one_frame(event, code):
    with pytest.raises(errors.Refusal) as refused:
        index.handler(event, CONTEXT)

    assert type(refused.value).__name__ == code
    frames = [entry.name for entry in refused.traceback]
    assert frames[1:] == ["handler"]
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_an_unforeseen_exception_of_a_direct_invocation_is_an_internal_error():
    with pytest.raises(errors.InternalError) as refused:
        index.handler(b"{}", Explosive(request_id="1-x", region="r"))

    assert not any(canary in str(refused.value) for canary in CANARIES)


def test_a_direct_invocation_says_who_asks(environment):
    environment.setenv("UPLOAD_IDENTITY_HEADER", "x-user-sub")

    assert index.handler(b'{"identity":"u"}', CONTEXT)["key"].startswith("u/")
    with pytest.raises(errors.IdentityMissing):
        index.handler(b"{}", CONTEXT)
    with pytest.raises(errors.IdentityInvalid):
        index.handler(b'{"identity":"u,v"}', CONTEXT)


# -- the log


def test_a_signed_request_is_one_line_of_json(capsys):
    call({"key": "a", "size": 5, "contentType": "a/b", "expires": 60})

    line = log(capsys)
    assert line.pop("milliseconds") > 0
    assert line == {
        "requestId": "1-64f6cd87-0123",
        "outcome": "signed",
        "key": "a",
        "size": 5,
        "type": "a/b",
        "expires": 60,
    }


def test_a_refused_request_is_one_line_with_its_code(capsys):
    call({"key": "a\nb"})

    line = log(capsys)
    assert line.pop("milliseconds") > 0
    assert line == {
        "requestId": "1-64f6cd87-0123",
        "code": "InvalidKey",
        "detail": "It must not have control characters.",
        "field": "key",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"key": "/"},
        {"x": "y"},
        {"size": -1},
        {"metadata": {"a": CANARIES[1]}},
        {"key": "a", "contentType": CANARIES[2]},
    ],
    ids=str,
)
@pytest.mark.parametrize("context", [CONTEXT, Explosive(request_id="1-x", region="r")], ids=["ok", "crash"])
@pytest.mark.parametrize("signer_name", ["native", "oss2"])
def test_no_secret_token_or_signature_is_logged_or_answered_but_in_the_url(
    environment, capsys, fields, context, signer_name
):
    environment.setenv("OSS_SIGNER", signer_name)

    response = call(fields, context)

    url = response["body"].pop("url", "")
    printed = capsys.readouterr()
    answered = json.dumps({**response, "body": {**response["body"], "headers": None}})
    for text in (printed.out, printed.err, answered):
        assert not any(canary in text for canary in CANARIES)
        assert "x-oss-signature" not in text
    assert CANARIES[1] not in url


def test_a_context_that_lacks_everything_is_good_enough():
    assert call({}, object())["body"]["method"] == "PUT"


def test_the_longest_prefix_identity_and_extension_still_make_a_key(environment):
    environment.setenv("UPLOAD_PREFIX", "x" * 850 + "/")
    environment.setenv("UPLOAD_IDENTITY_HEADER", "x-user-sub")

    key = call({"filename": "a.abcdefghij"}, headers={"x-user-sub": "u" * 128})["body"]["key"]

    assert policy.key_fault(key) is None
    assert len(key) == 1023


# -- what is absent, and what changes, between two calls


@pytest.mark.parametrize(
    "context", [object(), SimpleNamespace(request_id=None, region=None)], ids=["bare", "empty"]
)
def test_a_context_without_an_id_or_a_region_is_answered_with_an_empty_id(environment, context, capsys):
    environment.delenv("OSS_REGION")

    problem = call({}, context)["body"]

    assert (problem["code"], problem["requestId"]) == ("Misconfigured", "")
    assert "OSS_REGION is not set" in log(capsys)["log"][0]


def test_the_region_follows_the_context(environment):
    environment.delenv("OSS_REGION")

    def host(region):
        return call({}, SimpleNamespace(request_id="1", region=region))["body"]["url"].split("/")[2]

    assert host("cn-beijing") == "my-bucket.oss-cn-beijing.aliyuncs.com"
    assert host("us-west-1") == "my-bucket.oss-us-west-1.aliyuncs.com"
    assert host("cn-beijing") == "my-bucket.oss-cn-beijing.aliyuncs.com"


@pytest.mark.parametrize(("key_id", "secret"), [("", "other"), ("OTHER", ""), (None, "other")])
def test_half_a_credential_in_the_context_is_none(key_id, secret):
    given = SimpleNamespace(access_key_id=key_id, access_key_secret=secret, security_token="other-token")

    url = call({}, SimpleNamespace(request_id="1", region="r", credentials=given))["body"]["url"]

    assert "x-oss-credential=STS.NUcanaryId%2F" in url
    assert "CAIS%2Fcanary" in url


def test_what_is_no_event_at_all_is_an_internal_error():
    with pytest.raises(errors.InternalError):
        index.handler(None, CONTEXT)


def test_the_milliseconds_have_three_decimals(capsys, monkeypatch):
    monkeypatch.setattr(index.time, "perf_counter_ns", iter((1_000_000, 6_234_999)).__next__)
    call()

    assert log(capsys)["milliseconds"] == 5.234


def test_the_milliseconds_are_those_of_the_call(capsys):
    call({})

    assert 0 < log(capsys)["milliseconds"] < 1000


def test_the_log_is_written_before_the_answer_goes_out():
    program = "import os, index; index.handler(b'{}', None); os._exit(0)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(index.__file__).parent), "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert json.loads(done.stdout)["outcome"] == "signed"


def test_the_log_leaves_out_what_a_refusal_does_not_know(capsys):
    call(method="DELETE")

    assert set(log(capsys)) == {"requestId", "code", "detail", "milliseconds"}
