"""What came by no HTTP trigger.

Either a CloudEvents envelope (EventBridge), or the request object itself (direct invocation, CloudFlow).

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md (envelope)
"""

from __future__ import annotations

from upload_url import errors
from upload_url.events import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


class Invocation(Request):
    """A request without HTTP: the answer is the bare object, and a refusal is raised."""

    def __init__(self, fields: dict[str, object]) -> None:
        super().__init__("POST", {}, {}, "")
        self._fields = fields

    def identity(self, header: str) -> str | None:
        """Who is asking, as the invoker says it in the field `identity`; None if it does not."""
        # Taken out of the request, whose other fields mean the same whichever way they came.
        identity = self._fields.pop("identity", None) if header else None
        if identity is not None and not isinstance(identity, str):
            raise errors.InvalidField("identity is a string.", field="identity")
        return identity

    def fields(self) -> dict[str, object]:
        """The request's object."""
        return self._fields


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
