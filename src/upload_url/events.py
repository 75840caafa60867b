"""Function Compute's events as requests, answers as Function Compute's responses.

Three ways in: an HTTP trigger's event; a CloudEvents envelope (EventBridge); anything else is the request
object itself (direct invocation, CloudFlow). The platform's dictionaries are read here and go no further
inwards.

Sources: https://help.aliyun.com/en/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function (event,
response), https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md (envelope),
https://fetch.spec.whatwg.org/#http-cors-protocol (CORS)
"""

from __future__ import annotations

import json

from upload_url import errors
from upload_url.policy import exact_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

METHODS = "GET, POST, OPTIONS"
#: More than the largest request there can be (a key, 8 KB of headers, each character written as \uXXXX),
#: far less than FC's 32 MB.
MAX_BODY_BYTES = 65536
#: More than an event with the largest body, each character of it escaped; parsed, FC's 32 MB would take
#: more memory than its smallest instance has.
MAX_EVENT_BYTES = 1024**2
#: What a browser on an origin that is not listed is told. FC would otherwise echo its origin; `null` is
#: what sandboxed frames have.
NO_ORIGIN = "https://origin-not-allowed.invalid"

#: JSON of what is answered or logged. It is our own and holds no cycle; to look for one takes 2 of 40 us.
to_json = json.JSONEncoder(check_circular=False).encode

#: A field that gives other triggers' events away -> what to say.
_OTHER_EVENTS = {
    "events": "This is an OSS trigger's event",
    "triggerTime": "This is a timer's event",
    "triggerName": "This is a timer's event",
    "httpMethod": "This is an API Gateway event",
    "responseContext": "This is an asynchronous invocation's result",
}
_EXPECTED = (
    'expected is an HTTP trigger\'s event, a request object such as {} or {"filename":"cat.png"}, '
    "or one CloudEvent with that object in data."
)


class Request:
    """What has arrived, free of the platform.

    Attributes:
        method: `GET`, `POST`, `OPTIONS` or any other.
        headers: names lowered; repeated ones joined by commas.
        query: decoded; repeated names joined by commas.
        body: not yet parsed.
    """

    def __init__(
        self, method: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes | str
    ) -> None:
        self.method = method
        self.headers = headers
        self.query = query
        self.body = body

    def identity(self, header: str) -> str | None:
        """Who is asking, as the trigger or the invoker says it; None if it does not.

        Args:
            header: where the trigger says it, lowered; "" where nobody needs to.
        """
        return self.headers.get(header)

    def fields(self) -> dict[str, object]:
        """The request's object.

        Raises:
            MethodNotAllowed: the method is none that carries one.
            InvalidJson: the body is not one JSON object.
            UnknownField: the query names a field that only a body can hold.
        """
        if self.method == "GET":
            return _query_fields(self.query)
        if self.method != "POST":
            raise errors.MethodNotAllowed(
                f"{self.method[:16]} is not supported; use POST or GET.", allowed=METHODS.split(", ")
            )
        if len(self.body) > MAX_BODY_BYTES:
            raise errors.InvalidJson(f"The body has more than {MAX_BODY_BYTES} bytes.", limit=MAX_BODY_BYTES)
        if not self.body:
            return {}
        fields = _parse(self.body)
        if not isinstance(fields, dict):
            raise errors.InvalidJson("The body is JSON, but not an object: {} is the smallest request.")
        return fields


class Invocation(Request):
    """A request without HTTP: the answer is the bare object, and a refusal is raised."""

    def __init__(self, fields: dict[str, object]) -> None:
        super().__init__("POST", {}, {}, "")
        self._fields = fields

    def identity(self, header: str) -> str | None:
        """As the invoker says it."""
        # Taken out of the request, whose other fields mean the same whichever way they came.
        identity = self._fields.pop("identity", None) if header else None
        if identity is not None and not isinstance(identity, str):
            raise errors.InvalidField("identity is a string.", field="identity")
        return identity

    def fields(self) -> dict[str, object]:
        """The request's object."""
        return self._fields


def parse(event: bytes) -> Any:
    """The event's JSON.

    Raises:
        InvalidJson: it is none, or too large to hold an acceptable request. An empty event is the empty
            request.
    """
    if len(event) > MAX_EVENT_BYTES:
        raise errors.InvalidJson(f"The body has more than {MAX_BODY_BYTES} bytes.", limit=MAX_BODY_BYTES)
    if not event:
        return {}
    payload = _parse(event, _LENIENT)
    # An HTTP trigger's event is FC's own writing; what callers write is held to one member of each name.
    # Holding FC to it as well would take 2 of 40 us.
    return payload if is_http(payload) else _parse(event)


def is_large_http(event: bytes) -> bool:
    """Whether `parse` will refuse an HTTP trigger's event unread; it is then answered, not raised."""
    return len(event) > MAX_EVENT_BYTES and b'"requestContext"' in event


def is_http(payload: object) -> bool:
    """Whether an HTTP trigger has sent it; no request object has fields of these names.

    An asynchronous invocation's result, which a destination gets, has a requestContext too.
    """
    return (
        isinstance(payload, dict)
        and ("requestContext" in payload or "rawPath" in payload)
        and "responseContext" not in payload
    )


def from_http(payload: dict[str, Any]) -> Request:
    """The request in an HTTP trigger's event. Fields may be absent or null, but not of another type.

    Raises:
        InvalidEvent: Function Compute would not send this.
    """
    http = _object(_object(payload, "requestContext"), "http")
    method = http.get("method")
    if not isinstance(method, str) or not method:
        raise errors.InvalidEvent(
            "The event has no requestContext.http.method; an HTTP trigger's event has one."
        )
    body: object = payload.get("body")
    encoded = payload.get("isBase64Encoded")
    if body is None:
        body = ""
    if not isinstance(body, str) or not (encoded is None or isinstance(encoded, bool)):
        raise errors.InvalidEvent(
            "The event's body is not a string, or isBase64Encoded neither true nor false."
        )
    if encoded:
        decoded = exact_base64(body)
        if decoded is None:
            raise errors.InvalidEvent("The event's body is not the base64 that isBase64Encoded promises.")
        body = decoded
    given = _strings(payload, "headers")
    headers = {name.lower(): value for name, value in given.items()}
    if len(headers) < len(given):  # some names differ in case alone
        headers = {}
        for name, value in given.items():
            low = name.lower()
            headers[low] = f"{headers[low]},{value}" if low in headers else value
    return Request(method, headers, _strings(payload, "queryParameters"), body)


def from_payload(payload: Any) -> Invocation:
    """The request in a direct invocation's payload or a CloudEvent.

    Raises:
        InvalidEvent: it is some other service's event.
        InvalidJson: it is not an object.
    """
    if isinstance(payload, list):
        raise errors.InvalidEvent("This is a list of events, as event streams send: " + _EXPECTED)
    if not isinstance(payload, dict):
        raise errors.InvalidJson("The payload is JSON, but not an object: {} is the smallest request.")
    for name, what in _OTHER_EVENTS.items():
        if name in payload:
            raise errors.InvalidEvent(f"{what}: {_EXPECTED}")
    if "specversion" in payload:
        # The prefix is kept for Alibaba Cloud's services, OSS's own events among them.
        if str(payload.get("source")).startswith("acs."):
            raise errors.InvalidEvent("This is a CloudEvent of an Alibaba Cloud service: " + _EXPECTED)
        data = payload.get("data")
        if not isinstance(data, dict):
            raise errors.InvalidEvent("The CloudEvent's data is not an object: " + _EXPECTED)
        payload = data
    return Invocation(payload)


def reply(
    status: int,
    body: dict[str, object] | None,
    *,
    request: Request | None,
    origins: tuple[str, ...],
) -> dict[str, object]:
    """The response as Function Compute takes it; every answer to an HTTP request leaves through here.

    Args:
        status: the HTTP status.
        body: what is answered as JSON; None for a preflight.
        request: what is answered; None if it could not be read.
        origins: whose pages may read the answer.
    """
    headers = {"Cache-Control": "no-store"}
    if origins == ("*",):
        headers["Access-Control-Allow-Origin"] = "*"
    else:
        origin = request.headers.get("origin", "").lower() if request else ""
        headers["Access-Control-Allow-Origin"] = origin if origin in origins else NO_ORIGIN
        headers["Vary"] = "Origin"
    if body is None:
        headers["Access-Control-Allow-Methods"] = METHODS
        headers["Access-Control-Allow-Headers"] = "authorization, content-type"
        headers["Access-Control-Max-Age"] = "600"
        text = ""
    else:
        headers["Content-Type"] = "application/json" if status == 200 else "application/problem+json"
        text = to_json(body)
    if status == 405:
        headers["Allow"] = METHODS
    return {"statusCode": status, "headers": headers, "isBase64Encoded": False, "body": text}


def _query_fields(query: Mapping[str, str]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in query.items():
        if name in ("headers", "metadata"):
            raise errors.UnknownField(
                f"{name} does not fit into a query: send the request by POST.", field=name
            )
        number = name in ("size", "expires") and value.isascii() and value.isdigit() and len(value) <= 18
        fields[name] = int(value) if number else value
    return fields


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise errors.InvalidEvent(f"The event's {name} is not an object.")
    return value


def _strings(parent: dict[str, Any], name: str) -> dict[str, str]:
    table: dict[str, Any] = _object(parent, name)
    for value in table.values():
        if not isinstance(value, str):
            raise errors.InvalidEvent(f"The event's {name} are not all strings.")
    return table


def _parse(data: bytes | str, decoder: json.JSONDecoder | None = None) -> Any:
    decoder = decoder or _STRICT
    try:
        text = data if isinstance(data, str) else data.decode()
        if text[0] == "{":
            # decode() without its two searches for blanks, 1 of 36 us.
            value, end = decoder.raw_decode(text)
            if end == len(text):
                return value
        return decoder.decode(text)
    except UnicodeDecodeError as error:
        raise errors.InvalidJson("It is not UTF-8.") from error
    except RecursionError as error:
        raise errors.InvalidJson("It is nested too deeply.") from error
    except ValueError as error:
        raise errors.InvalidJson(f"It is not JSON: {error}.") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("an object has two members of one name")
    return table


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_LENIENT = json.JSONDecoder(parse_constant=_no_constant)
_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
