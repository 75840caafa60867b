from __future__ import annotations

import base64
import json

import pytest

from upload_url import errors, events


def http_event(method="POST", body="", headers=None, query=None, **changes):
    """As the help page of HTTP triggers shows it, with what a test needs to be different."""
    event = {
        "version": "v1",
        "rawPath": "/example",
        "body": body,
        "isBase64Encoded": False,
        "headers": {"Host": "x.cn-hangzhou.fcapp.run", "User-Agent": "curl/7.88.1"} | (headers or {}),
        "queryParameters": query or {},
        "requestContext": {
            "accountId": "1234",
            "domainName": "x.cn-hangzhou.fcapp.run",
            "domainPrefix": "x",
            "http": {
                "method": method,
                "path": "/example",
                "protocol": "HTTP/1.1",
                "sourceIp": "11.11.11.11",
                "userAgent": "curl/7.88.1",
            },
            "requestId": "1-64f6cd87-0123",
            "time": "2023-09-05T06:41:11Z",
            "timeEpoch": "1693896071895",
        },
    }
    event.update(changes)
    return event


def fields(**changes):
    return events.from_http(http_event(**changes)).fields()


# -- parse


@pytest.mark.parametrize("event", [b"", "{}", b"{}"], ids=repr)
def test_an_empty_event_is_the_empty_request(event):
    assert events.parse(event) == {}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (b"\xff", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{", "not JSON"),
        (b"{}{}", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"requestContext":NaN}', "NaN"),
        (b'{"a":1,"a":2}', "two members of one name"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        ('{"a":1}'.encode("utf-16"), "not"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_json_is_refused(event, says):
    with pytest.raises(errors.InvalidJson, match=says):
        events.parse(event)


# -- HTTP


@pytest.mark.parametrize(
    "event", [{"requestContext": {}}, {"rawPath": "/"}, {"requestContext": None}, http_event()]
)
def test_an_http_event_is_known_by_its_names(event):
    assert events.is_http(event)


@pytest.mark.parametrize(
    "event", [{}, {"key": "a"}, [], None, "requestContext", 5, ["requestContext"]], ids=repr
)
def test_anything_else_is_no_http_event(event):
    assert not events.is_http(event)


def test_a_post_is_its_json_object():
    assert fields(body='{"key": "a", "size": 5}') == {"key": "a", "size": 5}


def test_a_post_without_a_body_is_the_empty_request():
    assert fields(body="") == {}
    assert fields(body=None) == {}


def test_a_base64_body_is_decoded():
    assert fields(body=base64.b64encode('{"key":"猫"}'.encode()).decode(), isBase64Encoded=True) == {
        "key": "猫"
    }


def test_an_empty_body_may_be_called_base64():
    assert fields(body="", isBase64Encoded=True) == {}


@pytest.mark.parametrize("body", ["!!!!", "e30", "e30=\n", "e3 0=", "é", "e31="], ids=ascii)
def test_a_body_that_is_not_the_base64_it_is_called_is_refused(body):
    with pytest.raises(errors.InvalidEvent):
        fields(body=body, isBase64Encoded=True)


@pytest.mark.parametrize("body", ["x", "[]", "null", '"a"', "5", "{", '{"a":1,"a":2}', "[" * 60_000])
def test_a_body_that_is_not_one_json_object_is_refused(body):
    with pytest.raises(errors.InvalidJson):
        fields(body=body)


def test_a_body_that_is_not_utf8_is_refused():
    with pytest.raises(errors.InvalidJson):
        fields(body=base64.b64encode(b'{"key":"\xff"}').decode(), isBase64Encoded=True)


def test_a_body_larger_than_any_request_is_refused():
    assert fields(body="{}".ljust(65536)) == {}
    with pytest.raises(errors.InvalidJson) as refused:
        fields(body="{}".ljust(65537))
    assert refused.value.limit == 65536


def test_a_get_is_its_query_with_numbers():
    assert fields(
        method="GET", query={"key": "a b", "size": "5", "expires": "0", "contentType": "image/png"}
    ) == {
        "key": "a b",
        "size": 5,
        "expires": 0,
        "contentType": "image/png",
    }


@pytest.mark.parametrize("size", ["", "-5", "5.0", "1e3", "٥", "5,5", " 5", "9" * 19])
def test_what_is_no_number_in_a_query_stays_text_for_the_policy_to_refuse(size):
    assert fields(method="GET", query={"size": size}) == {"size": size}


@pytest.mark.parametrize("name", ["headers", "metadata"])
def test_a_query_has_no_nested_fields(name):
    with pytest.raises(errors.UnknownField) as refused:
        fields(method="GET", query={name: "{}"})

    assert refused.value.field == name


def test_a_query_may_name_fields_that_the_policy_does_not_know():
    assert fields(method="GET", query={"x": "1"}) == {"x": "1"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "PATCH", "post", "TRACE", "X" * 9000])
def test_another_method_is_refused(method):
    with pytest.raises(errors.MethodNotAllowed) as refused:
        fields(method=method)

    assert refused.value.allowed == ["GET", "POST", "OPTIONS"]
    assert len(str(refused.value)) < 100


def test_header_names_are_lowered_and_repeats_joined():
    request = events.from_http(
        http_event(headers={"X-USER": "a", "x-user": "b", "Origin": "https://a.example"})
    )

    assert request.headers["x-user"] == "a,b"
    assert request.headers["origin"] == "https://a.example"
    assert request.identity("x-user") == "a,b"
    assert request.identity("x-other") is None


@pytest.mark.parametrize(
    "event",
    [
        {"requestContext": {}},
        {"requestContext": None},
        {"requestContext": "x"},
        {"requestContext": {"http": []}},
        {"requestContext": {"http": {"method": ""}}},
        {"requestContext": {"http": {"method": 5}}},
        {"requestContext": {"http": {"method": None}}},
        {"rawPath": "/"},
        http_event(headers=None) | {"headers": []},
        http_event() | {"headers": {"a": 1}},
        http_event() | {"headers": {"a": ["b"]}},
        http_event() | {"headers": "x"},
        http_event() | {"queryParameters": {"a": ["b"]}},
        http_event() | {"queryParameters": "a=b"},
        http_event() | {"body": {}},
        http_event() | {"body": 5},
        http_event() | {"isBase64Encoded": "true"},
        http_event() | {"isBase64Encoded": 1},
    ],
    ids=str,
)
def test_an_event_that_fc_would_not_send_is_refused(event):
    with pytest.raises(errors.InvalidEvent):
        events.from_http(event)


def test_absent_and_null_parts_of_an_event_count_as_empty():
    request = events.from_http(
        {"requestContext": {"http": {"method": "POST"}}, "headers": None, "body": None}
    )

    assert (request.headers, request.query, request.fields()) == ({}, {}, {})


# -- direct


def test_a_direct_payload_is_the_request_itself():
    request = events.from_payload({"key": "a"})

    assert request.fields() == {"key": "a"}


def test_a_cloud_event_has_the_request_in_its_data():
    assert events.from_payload({"specversion": "1.0", "id": "1", "data": {"key": "a"}}).fields() == {
        "key": "a"
    }


@pytest.mark.parametrize("data", [None, "{}", [], 5])
def test_a_cloud_event_without_an_object_is_refused(data):
    with pytest.raises(errors.InvalidEvent, match="CloudEvent"):
        events.from_payload({"specversion": "1.0", "data": data})


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"events": []}, "OSS trigger"),
        ({"triggerTime": "", "triggerName": "", "payload": ""}, "timer"),
        ({"triggerName": ""}, "timer"),
        ({"path": "/", "httpMethod": "GET"}, "API Gateway"),
        ([{"specversion": "1.0"}], "list of events"),
        ({"specversion": "1.0", "source": "acs.oss", "data": {}}, "Alibaba Cloud"),
    ],
    ids=str,
)
def test_another_services_event_is_refused_with_what_is_expected(payload, says):
    with pytest.raises(errors.InvalidEvent, match=f"{says}.*expected is"):
        events.from_payload(payload)


@pytest.mark.parametrize("payload", ["x", 5, None, True], ids=repr)
def test_a_payload_that_is_no_object_is_refused(payload):
    with pytest.raises(errors.InvalidJson):
        events.from_payload(payload)


def test_a_direct_invocation_says_who_asks_in_a_field():
    request = events.from_payload({"identity": "u", "key": "a"})

    assert request.identity("x-user-sub") == "u"
    assert request.fields() == {"key": "a"}
    assert events.from_payload({}).identity("x-user-sub") is None


def test_the_identity_field_is_unknown_where_nobody_needs_it():
    request = events.from_payload({"identity": "u"})

    assert request.identity("") is None
    assert request.fields() == {"identity": "u"}


@pytest.mark.parametrize("identity", [5, [], {}, True], ids=repr)
def test_an_identity_field_of_another_type_is_refused(identity):
    with pytest.raises(errors.InvalidField) as refused:
        events.from_payload({"identity": identity}).identity("x-user-sub")

    assert refused.value.field == "identity"


def test_an_http_request_cannot_say_who_asks_in_a_field():
    request = events.from_http(http_event(body='{"identity":"u"}'))

    assert request.identity("x-user-sub") is None
    assert request.fields() == {"identity": "u"}


# -- reply


def reply(status=200, body=None, origin=None, origins=(), request=True):
    headers = {} if origin is None else {"Origin": origin}
    asked = events.from_http(http_event(headers=headers)) if request else None
    return events.reply(status, body, request=asked, origins=origins)


def test_an_answer_is_what_fc_takes():
    response = reply(200, {"key": "猫"})

    assert response["statusCode"] == 200
    assert response["isBase64Encoded"] is False
    assert json.loads(response["body"]) == {"key": "猫"}
    assert response["headers"]["Content-Type"] == "application/json"
    assert response["headers"]["Cache-Control"] == "no-store"


def test_a_refusal_is_problem_json():
    assert reply(400, {"code": "x"})["headers"]["Content-Type"] == "application/problem+json"


def test_a_405_names_the_methods():
    assert reply(405, {})["headers"]["Allow"] == "GET, POST, OPTIONS"
    assert "Allow" not in reply(400, {})["headers"]


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), None, events.NO_ORIGIN),
        ((), "https://a.example", events.NO_ORIGIN),
        (("https://a.example",), "https://a.example", "https://a.example"),
        (("https://a.example",), "https://b.example", events.NO_ORIGIN),
        (("https://a.example",), "https://a.example.evil.example", events.NO_ORIGIN),
        (("https://a.example",), "http://a.example", events.NO_ORIGIN),
        (("https://a.example",), "https://a.example,https://b.example", events.NO_ORIGIN),
        (("https://a.example",), "null", events.NO_ORIGIN),
        (("https://a.example",), "", events.NO_ORIGIN),
        (("https://a.example",), None, events.NO_ORIGIN),
        (("https://a.example", "https://b.example"), "https://b.example", "https://b.example"),
        (("*",), "https://a.example", "*"),
        (("*",), None, "*"),
    ],
)
def test_only_a_listed_origin_may_read_the_answer(origins, origin, allowed):
    headers = reply(200, {}, origin=origin, origins=origins)["headers"]

    assert headers["Access-Control-Allow-Origin"] == allowed
    assert headers.get("Vary") == (None if origins == ("*",) else "Origin")


def test_an_unreadable_request_is_answered_with_cors_too():
    assert reply(400, {}, request=False)["headers"]["Access-Control-Allow-Origin"] == events.NO_ORIGIN


def test_a_preflight_allows_what_the_function_takes():
    response = reply(204, None, origin="https://a.example", origins=("https://a.example",))

    assert response["body"] == ""
    assert "Content-Type" not in response["headers"]
    assert response["headers"]["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert response["headers"]["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert response["headers"]["Access-Control-Max-Age"] == "600"


# -- boundaries that nothing above holds


@pytest.mark.parametrize("name", ["events", "triggerTime", "triggerName", "httpMethod", "responseContext"])
def test_one_field_of_another_services_event_gives_it_away(name):
    with pytest.raises(errors.InvalidEvent):
        events.from_payload({name: "x"})


def test_an_event_of_a_megabyte_is_read_and_one_byte_more_is_not():
    event = json.dumps(http_event()).encode()

    assert events.parse(event.ljust(1024**2)) == http_event()
    assert not events.is_large_http(event.ljust(1024**2))
    assert events.is_large_http(event.ljust(1024**2 + 1))
    with pytest.raises(errors.InvalidJson):
        events.parse(event.ljust(1024**2 + 1))


def test_a_small_event_is_never_a_large_one_whatever_it_holds():
    assert not events.is_large_http(b'{"requestContext": ')


def test_a_direct_invocation_counts_as_a_post():
    assert events.from_payload({}).method == "POST"


def test_a_number_in_a_query_has_at_most_18_digits():
    request = events.from_http(http_event(method="GET", query={"size": "9" * 18, "expires": "9" * 19}))

    assert request.fields() == {"size": 10**18 - 1, "expires": "9" * 19}


def test_a_long_method_is_repeated_up_to_16_characters():
    with pytest.raises(errors.MethodNotAllowed, match="^X{16} is not supported"):
        events.from_http(http_event(method="X" * 17)).fields()
