"""Function Compute's HTTP trigger: the event as documented, and the answer as FC treats it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import requests

from local import fc, server

#: 2025-11-22T10:00:00.123Z
NOW = 1763805600.123


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(handler: fc.Handler, method: str = "GET", target: str = "/", /, **options: Any) -> Answer:
    """One request through an `Fc`, without a socket."""
    headers = options.pop("headers", {})
    body = options.pop("body", b"")
    function = fc.Fc(handler, clock=lambda: NOW, **options)
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    status, answered, content = function.respond(method, f"http://example.com{target}", pairs, body)
    with contextlib.closing(content):
        return Answer(status, answered, content.read(2**26))


def event_for(method: str = "GET", target: str = "/", /, **options: Any) -> dict[str, Any]:
    """The event that a handler gets."""
    seen: list[bytes] = []

    def handler(event: bytes, context: Any) -> dict[str, Any]:
        seen.append(event)
        return {"statusCode": 204}

    assert call(handler, method, target, **options).status == 204
    assert isinstance(seen[0], bytes)
    return dict(json.loads(seen[0]))


def answering(result: Any) -> fc.Handler:
    return lambda event, context: result


# ---- the event ----


def test_the_event_is_as_documented_field_by_field() -> None:
    event = fc.event_of(
        "GET",
        "/example?parameter1=value1&parameter2=value1&parameter2=value2",
        [
            ("Host", "id.cn-hangzhou.fcapp.run"),
            ("header1", "value1"),
            ("header2", "value1"),
            ("header2", "value2"),
            ("user-agent", "PostmanRuntime/7.32.3"),
            ("content-type", "text/plain"),
        ],
        b"Hello FC!",
        request_id="1-64f6cd87-0123456789ab",
        account_id="1234567890123456",
        now=1693896071.895,
        source_ip="11.11.11.11",
    )

    assert json.loads(event) == {
        "version": "v1",
        "rawPath": "/example",
        "body": "Hello FC!",
        "isBase64Encoded": False,
        "headers": {
            "Header1": "value1",
            "Header2": "value1,value2",
            "User-Agent": "PostmanRuntime/7.32.3",
            "Content-Type": "text/plain",
        },
        "queryParameters": {"parameter1": "value1", "parameter2": "value1,value2"},
        "requestContext": {
            "accountId": "1234567890123456",
            "domainName": "id.cn-hangzhou.fcapp.run",
            "domainPrefix": "id",
            "http": {
                "method": "GET",
                "path": "/example",
                "protocol": "HTTP/1.1",
                "sourceIp": "11.11.11.11",
                "userAgent": "PostmanRuntime/7.32.3",
            },
            "requestId": "1-64f6cd87-0123456789ab",
            "time": "2023-09-05T06:41:11Z",
            "timeEpoch": "1693896071895",
        },
    }


def test_the_event_has_every_field_also_when_there_is_nothing_in_it() -> None:
    event = event_for()

    assert event["headers"] == {}
    assert event["queryParameters"] == {}
    # As captured from FC: an empty body of no type is base64.
    assert (event["body"], event["isBase64Encoded"]) == ("", True)
    assert event["requestContext"]["timeEpoch"] == "1763805600123"
    assert event["requestContext"]["time"] == "2025-11-22T10:00:00Z"


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("content-type", "Content-Type"),
        ("CONTENT-MD5", "Content-Md5"),
        ("x-oss-meta-a", "X-Oss-Meta-A"),
        ("ETag", "Etag"),
        ("x_under-score", "X_under-Score"),
        ("no name", "no name"),
    ],
)
def test_header_names_are_written_as_go_writes_them(sent: str, canonical: str) -> None:
    assert fc.canonical_name(sent) == canonical


@pytest.mark.parametrize(
    "name", ["X-Fc-Invocation-Type", "x-fc-anything", "Connection", "keep-alive", "Host"]
)
def test_headers_that_fc_keeps_for_itself_are_not_passed(name: str) -> None:
    assert event_for(headers={name: "x", "Kept": "y"})["headers"] == {"Kept": "y"}


def test_header_values_are_read_as_utf8_with_a_mark_for_what_is_not() -> None:
    headers = {"A": "é".encode().decode("latin-1"), "B": "é"}

    assert event_for(headers=headers)["headers"] == {"A": "é", "B": "\ufffd"}


@pytest.mark.parametrize(
    ("target", "raw", "path", "query"),
    [
        ("/a%20b/%E7%85%A7?x=%20+%2B", "/a%20b/%E7%85%A7", "/a b/照", {"x": "  +"}),
        ("/?a&b=&c=1&c=2", "/", "/", {"a": "", "b": "", "c": "1,2"}),
        ("/?", "/", "/", {}),
        ("/?%FF=1", "/", "/", {"\ufffd": "1"}),
        ("//x/../y", "//x/../y", "//x/../y", {}),
    ],
)
def test_the_path_is_there_raw_and_decoded_and_the_query_decoded(
    target: str, raw: str, path: str, query: dict[str, str]
) -> None:
    event = event_for("GET", target)

    assert event["rawPath"] == raw
    assert event["requestContext"]["http"]["path"] == path
    assert event["queryParameters"] == query


@pytest.mark.parametrize(
    ("content_type", "body", "text", "encoded"),
    [
        ("application/json", b'{"a":1}', '{"a":1}', False),
        ("application/problem+json", b"{}", "{}", False),
        ("Text/Plain; charset=utf-8", "照".encode(), "照", False),
        ("application/x-www-form-urlencoded", b"a=1", "a=1", False),
        ("application/xml", b"<a/>", "<a/>", False),
        ("application/json", b"\xff", "/w==", True),
        ("application/octet-stream", b"text", "dGV4dA==", True),
        ("image/png", b"\x89PNG", "iVBORw==", True),
        (None, b"{}", "e30=", True),
        ("application/json", b"", "", False),
    ],
)
def test_a_body_is_text_where_its_type_and_bytes_are_and_else_base64(
    content_type: str | None, body: bytes, text: str, encoded: bool
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    event = event_for("POST", "/", headers=headers, body=body)

    assert (event["body"], event["isBase64Encoded"]) == (text, encoded)


# ---- limits and methods ----


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"A": "x" * (8 * 1024 - 1)}}, 204),
        ({"headers": {"A": "x" * (8 * 1024)}}, 400),
        ({"headers": [("A", "x" * 4096), ("A", "x" * 4096)]}, 400),
        ({"body": bytes(32 * 2**20)}, 204),
        ({"body": bytes(32 * 2**20 + 1)}, 400),
    ],
    ids=["headers", "headers over", "repeated headers over", "body", "body over"],
)
def test_headers_of_8_kb_and_a_body_of_32_mb_are_the_limit(options: dict[str, Any], status: int) -> None:
    answer = call(answering({"statusCode": 204}), "POST", "/", **options)

    assert answer.status == status
    assert answer.headers.get("X-Fc-Error-Type") == ("InvalidArgument" if status == 400 else None)


@pytest.mark.parametrize(("size", "status"), [(4096, 204), (4097, 400)])
def test_path_and_query_of_4_kb_are_the_limit(size: int, status: int) -> None:
    target = "/a?" + "x" * (size - 3)

    assert call(answering({"statusCode": 204}), "GET", target).status == status


def test_a_method_that_the_trigger_does_not_list_is_a_403() -> None:
    answer = call(answering({"statusCode": 204}), "PUT", "/", methods=["GET", "POST"])

    assert (answer.status, answer.json()["ErrorCode"]) == (403, "AccessDenied")


def test_a_body_shorter_than_its_length_does_not_reach_the_function() -> None:
    answer = call(answering({"statusCode": 204}), "POST", "/", headers={"Content-Length": "3"}, body=b"ab")

    assert (answer.status, answer.json()["ErrorCode"]) == (400, "InvalidArgument")


# ---- the answer ----


def test_the_answer_is_what_the_handler_says() -> None:
    result = {
        "statusCode": 201,
        "headers": {"content-type": "text/plain", "X-Own": "1"},
        "isBase64Encoded": False,
        "body": "stored 照",
    }

    answer = call(answering(result))

    assert answer.status == 201
    assert answer.body == "stored 照".encode()
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["X-Own"] == "1"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["Date"] == "Sat, 22 Nov 2025 10:00:00 GMT"


def test_the_request_id_of_the_answer_is_that_of_event_and_context() -> None:
    def handler(event: bytes, context: Any) -> dict[str, Any]:
        ids = [json.loads(event)["requestContext"]["requestId"], context.request_id]
        return {"statusCode": 200, "body": json.dumps(ids)}

    answer = call(handler)

    assert answer.json() == [answer.headers["X-Fc-Request-Id"]] * 2


def test_a_base64_body_is_decoded() -> None:
    result = {"statusCode": 200, "isBase64Encoded": True, "body": base64.b64encode(b"\x00\xff").decode()}

    assert call(answering(result)).body == b"\x00\xff"


@pytest.mark.parametrize(
    "name",
    ["X-Fc-Own", "connection", "Content-Length", "DATE", "keep-alive", "Server", "Upgrade"],
)
def test_headers_that_a_function_cannot_set_are_dropped(name: str) -> None:
    answer = call(answering({"statusCode": 200, "headers": {name: "mine"}, "body": "x"}))

    assert "mine" not in answer.headers.values()


@pytest.mark.parametrize(("value", "kept"), [("attachment; filename=a", False), ("inline", True)])
def test_only_the_attachment_of_a_content_disposition_is_dropped(value: str, kept: bool) -> None:
    answer = call(answering({"statusCode": 200, "headers": {"content-disposition": value}}))

    assert (answer.headers.get("Content-Disposition") == value) == kept


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "200"},
        {"statusCode": True},
        {"statusCode": 199},
        {"statusCode": 600},
        {"statusCode": None},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"A": "x\r\nSet-Cookie: y"}},
        {"statusCode": 200, "headers": {"A b": "x"}},
        {"statusCode": 200, "headers": {"A": "x" * 8192}},
        {"statusCode": 200, "isBase64Encoded": True, "body": "no base64!"},
    ],
)
def test_an_answer_that_is_none_is_a_bad_response(result: object) -> None:
    answer = call(answering(result))

    assert (answer.status, answer.json()["ErrorCode"]) == (502, "BadResponse")


@pytest.mark.parametrize(
    ("result", "body"),
    [("text", b"text"), ({"a": 1}, b'{"a": 1}'), (None, b"null"), (b"\xff", b"\xff"), ([1], b"[1]")],
)
def test_a_result_that_is_no_answer_is_sent_as_it_is(result: object, body: bytes) -> None:
    answer = call(answering(result))

    assert (answer.status, answer.body) == (200, body)


def test_a_body_that_is_no_text_is_sent_as_json() -> None:
    assert call(answering({"statusCode": 200, "body": {"a": 1}})).body == b'{"a": 1}'


def test_header_values_that_are_no_text_are_written_and_others_are_sent_as_utf8() -> None:
    answer = call(answering({"statusCode": 200, "headers": {"A": 1, "B": "照"}}))

    assert answer.headers["A"] == "1"
    assert answer.headers["B"].encode("latin-1") == "照".encode()


# ---- exceptions ----


def crash(event: bytes, context: Any) -> None:
    raise ValueError("boom")


def leave(event: bytes, context: Any) -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        (crash, "ValueError", "boom"),
        (leave, "SystemExit", "3"),
        (answering(object()), "TypeError", "Object of type object is not JSON serializable"),
    ],
)
def test_an_exception_becomes_an_error_with_its_stack(handler: fc.Handler, kind: str, message: str) -> None:
    lines: list[str] = []

    answer = call(handler, log=lines.append)

    assert answer.status == 502
    assert answer.headers["X-Fc-Error-Type"] == "UnhandledInvocationError"
    assert (answer.json()["errorType"], answer.json()["errorMessage"]) == (kind, message)
    assert kind in lines[-1]


def test_the_stack_begins_with_the_handler() -> None:
    stack = call(crash).json()["stackTrace"]

    assert stack[0][0] == f'File "{__file__}"'
    assert stack[0][2:] == ["in crash", 'raise ValueError("boom")']


def test_each_functions_prints_go_to_its_own_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Two functions in one process, the second called during the first and ending after it."""
    first, second, ended = threading.Event(), threading.Event(), threading.Event()
    logs: dict[str, list[str]] = {"first": [], "second": []}

    def one(event: bytes, context: Any) -> dict[str, Any]:
        print("first")
        first.set()
        assert second.wait(10)
        return {"statusCode": 204}

    def other(event: bytes, context: Any) -> dict[str, Any]:
        assert first.wait(10)
        print("second")
        second.set()
        assert ended.wait(10)
        print("second again")
        return {"statusCode": 204}

    threads = [
        threading.Thread(target=call, args=(one,), kwargs={"log": logs["first"].append}),
        threading.Thread(target=call, args=(other,), kwargs={"log": logs["second"].append}),
    ]
    for thread in threads:
        thread.start()
    assert second.wait(10)
    print("the caller's own")
    threads[0].join(10)
    ended.set()
    threads[1].join(10)
    print("and afterwards")

    assert logs == {"first": ["first"], "second": ["second", "second again"]}
    assert capsys.readouterr().out == "the caller's own\nand afterwards\n"


def test_a_function_may_call_another_one_of_its_process(capsys: pytest.CaptureFixture[str]) -> None:
    logs: dict[str, list[str]] = {"outer": [], "inner": []}

    def inner(event: bytes, context: Any) -> dict[str, Any]:
        print("inner")
        raise ValueError

    def outer(event: bytes, context: Any) -> dict[str, Any]:
        print("before")
        assert call(inner, log=logs["inner"].append).status == 502
        print("after")
        return {"statusCode": 204}

    assert call(outer, log=logs["outer"].append).status == 204

    assert logs["outer"] == ["before", "after"]
    assert (logs["inner"][0], logs["inner"][-1]) == ("inner", "ValueError")
    assert capsys.readouterr().out == ""


def test_what_the_function_prints_goes_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    def handler(event: bytes, context: Any) -> dict[str, Any]:
        print("one\ntwo")
        return {"statusCode": 204}

    lines: list[str] = []
    call(handler, log=lines.append)

    assert lines == ["one", "two"]
    assert capsys.readouterr().out == ""


# ---- CORS ----

ORIGIN = {"Origin": "https://anyone.example"}


def test_any_origin_is_echoed_with_credentials_when_the_function_says_nothing() -> None:
    answer = call(answering({"statusCode": 200}), headers=ORIGIN)

    assert answer.headers["Access-Control-Allow-Origin"] == "https://anyone.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"


def test_nothing_is_added_when_the_function_says_who_may() -> None:
    result = {"statusCode": 200, "headers": {"access-control-allow-origin": "https://app.example"}}

    answer = call(answering(result), headers=ORIGIN)

    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_nothing_is_added_without_an_origin() -> None:
    assert not [name for name in call(answering({"statusCode": 200})).headers if name.startswith("Access")]


def test_a_preflight_is_answered_by_the_platform_where_the_trigger_has_no_options() -> None:
    headers = {
        **ORIGIN,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }

    answer = call(crash, "OPTIONS", "/", headers=headers, methods=["POST"])
    bare = call(crash, "OPTIONS", "/", headers=dict(list(headers.items())[:2]), methods=["POST"])

    assert (answer.status, bare.status) == (200, 200)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://anyone.example"
    assert answer.headers["Access-Control-Allow-Methods"] == "PUT"
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
    assert "Access-Control-Allow-Headers" not in bare.headers


def test_a_preflight_reaches_the_function_where_the_trigger_has_options() -> None:
    headers = {**ORIGIN, "Access-Control-Request-Method": "PUT"}

    assert call(answering({"statusCode": 299}), "OPTIONS", "/", headers=headers).status == 299


# ---- the context ----

ROLE = fc.Credentials("STS.id", "secret", "token")


def context_for(**options: Any) -> Any:
    seen: list[Any] = []

    def handler(event: bytes, context: Any) -> dict[str, Any]:
        seen.append(context)
        return {"statusCode": 204}

    call(handler, **options)
    return seen[0]


def test_the_context_of_python_3_10_has_the_credentials_of_the_role() -> None:
    context = context_for(credentials=ROLE, region="cn-beijing", account_id="42")

    assert (context.region, context.account_id) == ("cn-beijing", "42")
    assert context.credentials == ROLE
    assert context.service.qualifier == "LATEST"
    assert (context.function.name, context.function.handler) == ("oss-upload-url", "index.handler")
    assert (context.function.memory, context.function.timeout) == (128, 10)
    assert context.getLogger().name == "root"


def test_the_context_without_a_role_has_empty_credentials() -> None:
    assert context_for().credentials == ("", "", "")


def test_the_context_of_python_3_12_has_no_credentials() -> None:
    context = context_for(credentials=ROLE, runtime="python3.12")

    assert not hasattr(context, "credentials")
    assert not hasattr(context, "service")
    assert context.function.qualifier == "LATEST"
    assert context.logger.name == "root"


def test_the_secret_of_the_role_does_not_show() -> None:
    assert repr(ROLE) == "Credentials(STS.id, ***, ***)"


# ---- on a port ----


def test_the_handler_sees_one_request_at_a_time() -> None:
    running = 0
    most = 0

    def handler(event: bytes, context: Any) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return {"statusCode": 204}

    with fc.serve(handler) as address:
        threads = [threading.Thread(target=requests.get, args=[address]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    assert (running, most) == (0, 1)


@pytest.fixture
def echo() -> Iterator[str]:
    def handler(event: bytes, context: Any) -> dict[str, Any]:
        return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": event.decode()}

    with fc.serve(handler) as address:
        yield address


def test_a_real_request_becomes_the_event(echo: str) -> None:
    answer = requests.post(
        f"{echo}/a%20b?x=1", json={"k": "照"}, headers={"X-Multi": "a, b", "Connection": "close"}
    )

    event = answer.json()
    assert event["rawPath"] == "/a%20b"
    assert json.loads(event["body"]) == {"k": "照"}
    assert event["headers"]["Content-Type"] == "application/json"
    assert event["headers"]["X-Multi"] == "a, b"
    assert "Connection" not in event["headers"]
    assert event["requestContext"]["domainName"] == echo.partition("://")[2]


def test_a_body_in_chunks_arrives_whole(echo: str) -> None:
    event = requests.post(echo, data=iter([b"a", b"b"]), headers={"Content-Type": "text/plain"}).json()

    assert event["body"] == "ab"
    assert "Transfer-Encoding" not in event["headers"]


def test_a_broken_body_is_refused(echo: str) -> None:
    with socket.create_connection(("127.0.0.1", int(echo.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()

        assert response.status == 400
        assert json.loads(response.read())["ErrorCode"] == "InvalidArgument"


def test_what_is_not_http_is_refused_in_fc_form(echo: str) -> None:
    with socket.create_connection(("127.0.0.1", int(echo.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"hello\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()

        assert response.status == 400
        assert response.headers["X-Fc-Error-Type"] == "InvalidArgument"


def test_a_bug_of_the_stand_in_itself_is_named_as_the_platforms() -> None:
    status, headers, _ = fc.refuse(500, "a bug")

    assert (status, headers["X-Fc-Error-Type"]) == (500, "InternalServerError")


def test_a_client_that_went_away_is_not_answered() -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise server.ClientGone("gone")

    with pytest.raises(server.ClientGone):
        call(answering({"statusCode": 204}), "POST", "/", body=Gone())
