"""The tree of refusals: everything that can be said instead of a URL.

Refusal                        status
├── InvalidEvent                  400
├── InvalidJson                   400
├── UnknownField                  400
├── InvalidField                  400
├── InvalidKey                    400
├── ExpiresOutOfRange             400
├── InvalidHeader                 400
├── Unauthorized
│   ├── IdentityMissing           401
│   └── IdentityInvalid           401
├── Forbidden
│   ├── KeyNotAllowed             403
│   ├── ContentTypeNotAllowed     403
│   └── HeaderNotAllowed          403
├── MethodNotAllowed              405
├── SizeNotAllowed                413
└── ServerFault
    ├── Misconfigured             500
    ├── CredentialsMissing        500
    └── InternalError             500

A leaf's name is the `code` of the answer and the name under which a workflow catches it: both are API.
Source of the answer's shape: RFC 9457, problem details.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Refusal(Exception):
    """Raised if the function will not hand out a URL.

    Args:
        detail: one or two sentences for the caller: what is wrong and what to do. Never a secret.
        field: the request's field, as a path: `size`, `headers.cache-control`.
        limit: the number that was overstepped.
        allowed: what would have been accepted.
        log: for the operator's log alone.
    """

    status = 400
    title = ""

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        limit: int | None = None,
        allowed: Sequence[str] | None = None,
        log: object = None,
    ) -> None:
        super().__init__(detail)
        self.field = field
        self.limit = limit
        self.allowed = allowed
        self.log = log

    def problem(self, request_id: str) -> dict[str, object]:
        """The answer's body, as RFC 9457 has it."""
        code = type(self).__name__
        body: dict[str, object] = {
            # README's anchor of the code. A name, not an address: copies of this project live in many places.
            "type": "urn:oss-upload-url:readme#" + code.lower(),
            "title": self.title,
            "status": self.status,
            "detail": str(self),
            "code": code,
            "requestId": request_id,
        }
        if self.field is not None:
            body["field"] = self.field
        if self.limit is not None:
            body["limit"] = self.limit
        if self.allowed is not None:
            body["allowed"] = list(self.allowed)
        return body

    def log_line(self) -> dict[str, object]:
        """What the operator's log has of it."""
        line: dict[str, object] = {"code": type(self).__name__, "detail": str(self)}
        if self.field is not None:
            line["field"] = self.field
        if self.log is not None:
            line["log"] = self.log
        return line


class InvalidEvent(Refusal):
    """Raised if the event is none that this function's trigger sends."""

    title = "The event is not one that this function understands."


class InvalidJson(Refusal):
    """Raised if the request is not one JSON object in UTF-8."""

    title = "The request is not a JSON object."


class UnknownField(Refusal):
    """Raised if the request has a field that is not documented."""

    title = "The request has a field that does not exist."


class InvalidField(Refusal):
    """Raised if a field has the wrong type or form, contradicts another, or is missing where it is needed."""

    title = "A field of the request is not valid."


class InvalidKey(Refusal):
    """Raised if the key is no key that OSS and every client treat alike."""

    title = "The key is not a valid object key."


class ExpiresOutOfRange(Refusal):
    """Raised if the URL would live longer than allowed, or not at all."""

    title = "The lifetime of the URL is out of range."


class InvalidHeader(Refusal):
    """Raised if a header to bind has a malformed name or value, or stands there twice."""

    title = "A header is not valid."


class Unauthorized(Refusal):
    """Raised if it is not clear who is asking."""

    status = 401


class IdentityMissing(Unauthorized):
    """Raised if the caller's identity is required and absent."""

    title = "The caller is not identified."


class IdentityInvalid(Unauthorized):
    """Raised if the caller's identity cannot be a path segment, or stands there twice."""

    title = "The caller's identity is not usable."


class Forbidden(Refusal):
    """Raised if the operator's settings do not permit what is asked for."""

    status = 403


class KeyNotAllowed(Forbidden):
    """Raised if the key is outside the prefix, or named where the function names it."""

    title = "The key is not allowed."


class ContentTypeNotAllowed(Forbidden):
    """Raised if the media type is not among the operator's."""

    title = "The content type is not allowed."


class HeaderNotAllowed(Forbidden):
    """Raised if a header is not the caller's to bind."""

    title = "The header is not allowed."


class MethodNotAllowed(Refusal):
    """Raised if the HTTP method is none of GET, POST and OPTIONS."""

    status = 405
    title = "The method is not allowed."


class SizeNotAllowed(Refusal):
    """Raised if the upload is larger than the operator or OSS permits."""

    status = 413
    title = "The upload is too large."


class ServerFault(Refusal):
    """Raised if the caller did nothing wrong."""

    status = 500


class Misconfigured(ServerFault):
    """Raised if the settings are wrong; `log` is the list of everything that is wrong with them."""

    title = "The function is misconfigured."


class CredentialsMissing(ServerFault):
    """Raised if there is nothing to sign with."""

    title = "The function has no credentials."


class InternalError(ServerFault):
    """Raised in place of an exception that nobody foresaw."""

    title = "The function failed."

    @classmethod
    def of(cls, crash: Exception) -> InternalError:
        """With the places where it happened. Without its message, which may quote a token or a secret."""
        import traceback  # only a crash pays for it

        frames = traceback.extract_tb(crash.__traceback__)
        return cls(
            "Nobody foresaw this. More is in the function's log, under this request's id.",
            log=[
                type(crash).__name__,
                *[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            ],
        )
