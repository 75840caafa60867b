"""HTTP trigger, direct invocation, CloudFlow, EventBridge, what comes in by mistake; and who is asking."""

from __future__ import annotations

import contextlib
import json
import traceback
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as some

import index
from upload_url import errors

HERE = Path(__file__).parent
EVENTS = HERE / "events"
EXAMPLES = HERE.parent / "deploy" / "examples"
SECRET, TOKEN = "local-secret-0123456789", "CAISexample+token/with=specials"


@pytest.fixture
def context():
    return SimpleNamespace(request_id="1-64f6cd87-0a0b0c0d-0123456789ab", region="cn-hangzhou")


@pytest.fixture(autouse=True)
def environ(monkeypatch):
    for name in (*index.settings.NAMES, "FC_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OSS_BUCKET", "example-bucket")
    monkeypatch.setenv("UPLOAD_PREFIX", "uploads/")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.LOCALAKID")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", TOKEN)
    return monkeypatch


def sample(name):
    return (EVENTS / f"{name}.json").read_bytes()


def http_event(method="POST", body="", headers=None, query=None, encoded=False):
    event = json.loads(sample("http"))
    event["requestContext"]["http"]["method"] = method
    event |= {
        "body": body,
        "headers": headers or {},
        "queryParameters": query or {},
        "isBase64Encoded": encoded,
    }
    return json.dumps(event).encode()


def answered(response):
    """Status and body of an HTTP answer."""
    return response["statusCode"], json.loads(response["body"])


def direct(payload, context):
    return index.handler(json.dumps(payload).encode(), context)


def refused(payload, context):
    """The exception that a direct invocation ends in."""
    with pytest.raises(errors.Refusal) as caught:
        index.handler(payload if isinstance(payload, bytes) else json.dumps(payload).encode(), context)
    return caught.value


# HTTP


def test_a_get_by_curl_gets_a_url(context):
    status, body = answered(index.handler(sample("http-curl-get"), context))

    assert status == 200
    assert body["headers"] == {"Content-Type": "image/png"}
    assert body["size"] == 1024
    assert body["key"].startswith("uploads/")
    assert body["key"].endswith(".png")


def test_the_documentations_own_event_is_read_and_its_parameters_refused_by_name(context):
    status, body = answered(index.handler(sample("http"), context))

    assert (status, body["code"], body["field"]) == (400, "UnknownField", "parameter1")
    assert body["requestId"] == context.request_id


def test_an_http_event_that_came_through_the_invocation_api_is_answered_as_http(context):
    status, body = answered(index.handler(sample("http-by-invoke"), context))

    assert (status, body["code"]) == (400, "InvalidJson")


@pytest.mark.parametrize(
    ("body", "encoded"),
    [('{"size":3}', False), ("eyJzaXplIjozfQ==", True)],
    ids=["text", "base64"],
)
def test_a_body_is_read_as_the_flag_says(body, encoded, context):
    status, answer = answered(index.handler(http_event(body=body, encoded=encoded), context))

    assert (status, answer["size"]) == (200, 3)


@pytest.mark.parametrize(
    "missing", ["version", "rawPath", "body", "isBase64Encoded", "headers", "queryParameters"]
)
def test_a_field_that_function_compute_leaves_out_is_empty(missing, context):
    event = json.loads(http_event())
    del event[missing]

    assert index.handler(json.dumps(event).encode(), context)["statusCode"] == 200


# Direct invocation


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b' {"filename":"cat.png"} '], ids=["nothing", "{}", "a request"]
)
def test_a_direct_invocation_is_answered_with_the_bare_object(payload, context):
    answer = index.handler(payload, context)

    assert list(answer) == ["method", "url", "headers", "key", "bucket", "expires", "expiresAt"]


def test_both_ways_in_mean_the_same_by_the_same_fields(context):
    request = {
        "key": "uploads/a b/ü.txt",
        "contentType": "text/plain",
        "size": 5,
        "contentMd5": "XUFAKrxLKna5cZ2REBfFkg==",
        "expires": 60,
        "headers": {"Cache-Control": "no-cache"},
        "metadata": {"who": "me"},
    }

    _, over_http = answered(index.handler(http_event(body=json.dumps(request)), context))
    directly = direct(request, context)

    assert {**over_http, "url": "", "expiresAt": ""} == {**directly, "url": "", "expiresAt": ""}
    assert urlsplit(over_http["url"]).path == urlsplit(directly["url"]).path


#: A request for each refusal that a direct invocation can meet, under settings that let all occur.
REFUSALS = {
    "InvalidEvent": sample("oss"),
    "InvalidJson": b"[1",
    "UnknownField": {"file": "a"},
    "InvalidField": {"size": "3"},
    "InvalidKey": {"key": "uploads//a"},
    "ExpiresOutOfRange": {"expires": 0},
    "InvalidHeader": {"headers": {"cache-control": "ü"}},
    "KeyNotAllowed": {"key": "elsewhere/a"},
    "ContentTypeNotAllowed": {"contentType": "text/html"},
    "HeaderNotAllowed": {"headers": {"x-oss-object-acl": "public-read"}},
    "SizeNotAllowed": {"size": 11},
}


@pytest.mark.parametrize(("code", "payload"), REFUSALS.items(), ids=REFUSALS)
def test_a_refusal_of_a_direct_invocation_is_raised_under_its_codes_name(code, payload, context, environ):
    if code == "ContentTypeNotAllowed":
        environ.setenv("UPLOAD_TYPES", "image/*")
    environ.setenv("UPLOAD_MAX_BYTES", "10" if code == "SizeNotAllowed" else "")

    refusal = refused(payload, context)

    assert type(refusal).__name__ == code
    assert str(refusal)


def test_each_refusal_that_needs_no_http_is_among_those_tested():
    def leaves(kind):
        return [name for sub in kind.__subclasses__() for name in leaves(sub)] or [kind.__name__]

    elsewhere = {"IdentityMissing", "IdentityInvalid", "Misconfigured", "CredentialsMissing", "InternalError"}

    assert set(leaves(errors.Refusal)) == {*REFUSALS, *elsewhere, "MethodNotAllowed"}


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("OSS_BUCKET", "Misconfigured", "OSS_BUCKET"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "CredentialsMissing", "Give the function a role"),
    ],
)
def test_a_fault_of_the_function_is_raised_without_its_reason_which_is_logged(
    name, code, reason, context, environ, capsys
):
    environ.setenv(name, "")

    refusal = refused({}, context)

    assert type(refusal).__name__ == code
    assert reason not in str(refusal)
    assert reason in capsys.readouterr().out


def test_an_unforeseen_exception_is_raised_as_internal_error_and_says_nothing(context, environ, capsys):
    class Crash(SimpleNamespace):
        @property
        def credentials(self):
            raise RuntimeError(SECRET)

    refusal = refused({}, Crash(request_id="r", region="cn-hangzhou"))

    assert type(refusal).__name__ == "InternalError"
    assert SECRET not in str(refusal) + capsys.readouterr().out


@pytest.mark.parametrize("payload", [b"[1", {"size": 1.5}, {"key": "/"}], ids=["parse", "policy", "key"])
def test_what_a_caller_sees_of_a_raised_refusal_is_the_handlers_own_frame(payload, context):
    refusal = refused(payload, context)

    assert [frame.name for frame in traceback.extract_tb(refusal.__traceback__)][1:] == ["handler"]
    assert refusal.__cause__ is None
    assert refusal.__context__ is None


@pytest.mark.parametrize(
    "payload",
    [b"", b'{"key":"elsewhere/a"}', sample("oss"), sample("http-curl-get")],
    ids=["200", "403", "oss", "http"],
)
def test_a_call_leaves_one_line_in_the_log_without_url_token_or_secret(payload, context, capsys):
    with contextlib.suppress(errors.Refusal):
        index.handler(payload, context)

    (line,) = capsys.readouterr().out.splitlines()

    assert json.loads(line)["requestId"] == context.request_id
    assert not any(word in line for word in ("x-oss-signature", "https://", TOKEN, SECRET))


# CloudFlow


def task():
    flow = yaml.safe_load((EXAMPLES / "cloudflow.yaml").read_text())
    return next(state for state in flow["States"] if state["Type"] == "Task")


def test_the_example_workflow_sends_what_the_function_takes(context, environ):
    environ.setenv("UPLOAD_TYPES", "application/pdf")
    given_input = json.loads(sample("cloudflow"))
    body = {
        name.removesuffix(".$"): given_input[expression.removeprefix("$Input.")]
        for name, expression in task()["Parameters"]["body"].items()
    }

    answer = direct(body, context)

    wanted = [expression.removeprefix("$Output.Body.") for expression in task()["OutputConstructor"].values()]
    assert {"url", "headers", "method"} <= set(wanted) <= set(answer)


def test_the_example_workflow_catches_by_names_that_refusals_have():
    rules = [*task()["Retry"], *task()["Catch"]]

    names = [name for rule in rules for name in rule["Errors"]]

    assert names
    assert all(issubclass(getattr(errors, name), errors.Refusal) for name in names)


def test_the_example_workflow_leads_from_its_start_to_states_that_exist():
    flow = yaml.safe_load((EXAMPLES / "cloudflow.yaml").read_text())
    states = {state["Name"]: state for state in flow["States"]}
    nexts = [task()["Next"], *[rule["Next"] for rule in task()["Catch"]]]

    assert flow["StartAt"] == task()["Name"]
    assert sorted([flow["StartAt"], *nexts]) == sorted(states)


# EventBridge


@pytest.mark.parametrize(
    "event", [EVENTS / "eventbridge.json", EXAMPLES / "eventbridge-event.json"], ids=["delivered", "sent"]
)
def test_a_cloudevents_data_is_the_request(event, context):
    answer = index.handler(event.read_bytes(), context)

    assert "statusCode" not in answer
    assert (answer["size"], answer["headers"]) == (48211, {"Content-Type": "application/pdf"})
    assert answer["key"].endswith(".pdf")


def test_the_example_rule_matches_the_example_event_and_passes_it_whole():
    pattern, event, (target,) = (
        json.loads((EXAMPLES / f"eventbridge-{name}.json").read_text())
        for name in ("pattern", "event", "targets")
    )

    assert all(event[name] in values for name, values in pattern.items())
    assert [one["Form"] for one in target["ParamList"] if one["ResourceKey"] == "Body"] == ["ORIGINAL"]


@pytest.mark.parametrize("data", [None, "{}", [], 1, ...], ids=["null", "text", "list", "number", "absent"])
def test_a_cloudevent_whose_data_is_no_object_is_refused(data, context):
    event = json.loads(sample("eventbridge"))
    event["data"] = data
    if data is ...:
        del event["data"]

    assert "data is not an object" in str(refused(event, context))


def test_a_refused_cloudevent_is_raised_like_any_other(context):
    event = json.loads(sample("eventbridge"))
    event["data"]["size"] = -1

    assert type(refused(event, context)).__name__ == "InvalidField"


# What comes in by mistake


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("oss", "OSS trigger"),
        ("timer", "timer"),
        ("api-gateway", "API Gateway"),
        ("eventbridge-stream", "list of events"),
        ("eventbridge-oss", "CloudEvent of an Alibaba Cloud service"),
        ("async-result", "asynchronous invocation"),
    ],
)
def test_another_triggers_event_is_refused_with_a_sentence_that_says_what_is_expected(event, said, context):
    refusal = refused(sample(event), context)

    assert type(refusal) is errors.InvalidEvent
    assert said in str(refusal)
    assert "HTTP trigger's event" in str(refusal)
    assert '{"filename":"cat.png"}' in str(refusal)
    assert "CloudEvent" in str(refusal)


@pytest.mark.parametrize("payload", [b"\xff", b"1", b'"{}"', b"null", b'{"size":1,"size":2}', b"{" * 9999])
def test_a_payload_that_is_no_json_object_is_refused(payload, context):
    assert type(refused(payload, context)) is errors.InvalidJson


# Who is asking


@pytest.fixture
def identified(environ):
    environ.setenv("UPLOAD_IDENTITY_HEADER", "X-Upload-Identity")
    return environ


def ask(identity, context, /, **request):
    """The status and body for a caller whom the trigger calls `identity`."""
    headers = {} if identity is None else {"X-Upload-Identity": identity}
    return answered(index.handler(http_event(body=json.dumps(request), headers=headers), context))


@pytest.mark.parametrize(
    "identity",
    ["alice", "auth0|5f7c8ec7c33c6c004bbafe82", "a.b@example.com", "urn:user:1", "-", "...", "a" * 128],
)
def test_a_caller_writes_under_a_folder_of_its_own(identity, identified, context):
    status, body = ask(identity, context, filename="cat.png")

    assert status == 200
    assert body["key"].rpartition("/")[0] == f"uploads/{identity}"
    assert urlsplit(body["url"]).path.count("/") == 3


@pytest.mark.parametrize("case", ["x-upload-identity", "X-UPLOAD-IDENTITY", "X-Upload-Identity"])
def test_the_identity_is_found_however_its_header_is_spelt(case, identified, context):
    response = index.handler(http_event(headers={case: "alice"}), context)

    assert answered(response)[1]["key"].startswith("uploads/alice/")


ODD = {
    "comma": "alice,mallory",
    "comma and blank": "alice, mallory",
    "comma at the end": "alice,",
    "slash": "alice/mallory",
    "parent": "..",
    "here": ".",
    "up and over": "../mallory",
    "backslash": "..\\mallory",
    "encoded slash": "a%2Fb",
    "blank": " ",
    "blank around": " alice ",
    "control character": "alice\n",
    "NUL": "alice\0",
    "letter beyond ASCII": "ålice",
    "full-width dot": "．．",
    "too long": "a" * 129,
    "semicolon": "a;b",
    "quote": '"alice"',
}


@pytest.mark.parametrize("identity", ODD.values(), ids=ODD)
def test_an_odd_identity_is_401(identity, identified, context):
    status, body = ask(identity, context)

    assert (status, body["code"]) == (401, "IdentityInvalid")


@pytest.mark.parametrize("identity", [None, ""], ids=["absent", "empty"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_missing_identity_is_401(method, identity, identified, context):
    headers = {} if identity is None else {"X-Upload-Identity": identity}

    status, body = answered(index.handler(http_event(method, headers=headers), context))

    assert (status, body["code"]) == (401, "IdentityMissing")


@pytest.mark.parametrize("identity", ["alice,mallory", "alice,", ","])
def test_a_comma_in_the_identity_is_told_as_a_second_one(identity, identified, context):
    assert "twice" in ask(identity, context)[1]["detail"]


def test_an_identity_in_two_headers_is_401(identified, context):
    headers = {"X-Upload-Identity": "alice", "x-upload-identity": "mallory"}

    status, body = answered(index.handler(http_event(headers=headers), context))

    assert (status, body["code"]) == (401, "IdentityInvalid")


def test_a_preflight_needs_no_identity(identified, context):
    assert index.handler(http_event("OPTIONS"), context)["statusCode"] == 204


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("uploads/mallory/a", "KeyNotAllowed"),
        ("uploads/alice2/a", "KeyNotAllowed"),
        ("uploads/alice", "KeyNotAllowed"),
        ("uploads/Alice/a", "KeyNotAllowed"),
        ("alice/a", "KeyNotAllowed"),
        ("uploads/alice/", "InvalidKey"),
        ("uploads/alice/../mallory/a", "InvalidKey"),
        ("uploads/alice/./a", "InvalidKey"),
        ("uploads//alice/a", "InvalidKey"),
        ("/uploads/alice/a", "InvalidKey"),
    ],
)
def test_a_caller_cannot_name_a_key_outside_its_folder(key, code, identified, context):
    status, body = ask("alice", context, key=key)

    assert status in (400, 403)
    assert body["code"] == code


def test_a_caller_may_name_a_key_inside_its_folder(identified, context):
    assert ask("alice", context, key="uploads/alice/a/b.txt")[1]["key"] == "uploads/alice/a/b.txt"


def test_neither_field_nor_query_stands_in_for_the_trigger(identified, context):
    by_field = ask(None, context, identity="alice")
    by_query = answered(index.handler(http_event("GET", query={"identity": "alice"}), context))
    with_header = ask("alice", context, identity="mallory")

    assert [body["code"] for _, body in (by_field, by_query)] == ["IdentityMissing"] * 2
    assert with_header[1]["code"] == "UnknownField"


def test_without_the_setting_a_forged_header_means_nothing(context):
    status, body = ask("../mallory", context)

    assert status == 200
    assert body["key"].count("/") == 1


@given(some.text(max_size=140))
@examples(derandomize=True, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_identity_leaves_its_folder(identified, context, capsys, identity):
    status, body = ask(identity, context, filename="a.png")

    if status == 200:
        assert body["key"].split("/")[:2] == ["uploads", identity]
        assert body["key"].count("/") == 2
        assert identity not in (".", "..")
    else:
        assert (status, body["status"]) == (401, 401)


def test_a_direct_invocation_says_who_it_is_for(identified, context):
    answer = direct({"filename": "a.png", "identity": "alice"}, context)

    assert answer["key"].startswith("uploads/alice/")
    assert "identity" not in answer


def test_a_cloudevent_says_it_in_its_data(identified, context):
    event = json.loads(sample("eventbridge"))
    event["data"]["identity"] = "alice"

    assert index.handler(json.dumps(event).encode(), context)["key"].startswith("uploads/alice/")


@pytest.mark.parametrize(
    ("identity", "code"),
    [
        (..., "IdentityMissing"),
        ("", "IdentityMissing"),
        (None, "IdentityMissing"),
        ("a,b", "IdentityInvalid"),
        ("..", "IdentityInvalid"),
        ("a/b", "IdentityInvalid"),
        (7, "InvalidField"),
        (["alice"], "InvalidField"),
    ],
)
def test_a_direct_invocation_for_nobody_is_refused(identity, code, identified, context):
    refusal = refused({} if identity is ... else {"identity": identity}, context)

    assert type(refusal).__name__ == code


def test_without_the_setting_identity_is_a_field_that_does_not_exist(context):
    assert type(refused({"identity": "alice"}, context)).__name__ == "UnknownField"


def test_the_token_that_the_url_carries_is_the_one_of_this_call(context, environ):
    first = direct({}, context)
    environ.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "CAISnext")
    second = direct({}, context)

    tokens = [parse_qs(urlsplit(one["url"]).query)["x-oss-security-token"] for one in (first, second)]

    assert tokens == [[TOKEN], ["CAISnext"]]
