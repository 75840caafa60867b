"""The function: an event in, a presigned PUT URL out.

The only place that knows the clock, the environment, randomness and the log. On the way: `events` reads
what came, `settings` what the operator wants, `policy` decides, `signer` signs.
"""

from __future__ import annotations

import gc
import os
import sys
import time

# Nothing that is there or imported is garbage: to look for some takes 1 of 4 ms.
gc.disable()

from upload_url import errors, events, policy, settings, signer  # noqa: E402 - after gc.disable

gc.freeze()  # and back: all of it is in the oldest generation then, unseen
gc.unfreeze()
gc.enable()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Context(Protocol):
        """What this function reads of FC's context, beside `credentials`, which only python3.10 has."""

        request_id: str
        region: str


def handler(event: bytes, context: Context) -> dict[str, object]:
    """What Function Compute calls.

    Returns:
        For an HTTP trigger's event its response, `{"statusCode": int, "headers": {str: str},
        "isBase64Encoded": false, "body": str}`, whatever happens. For a direct invocation the answer's bare
        object.

    Raises:
        Refusal: in a direct invocation, so that a workflow can catch it by its name.
    """
    started = time.perf_counter_ns()
    request_id = getattr(context, "request_id", None) or ""
    line: dict[str, object] = {"requestId": request_id}
    chosen: settings.Settings | None = None
    request: events.Request | None = None
    answer: dict[str, object] = {}
    refusal: errors.Refusal | None = None
    http = False
    try:
        payload = events.parse(event)
        http = events.is_http(payload)
        request = events.from_http(payload) if http else events.from_payload(payload)
        if request.method == "OPTIONS":
            line["outcome"] = "preflight"
        else:
            chosen = _settings(context)
            answer = _answer(request, chosen, context, line)
    except errors.Refusal as refused:
        refusal = refused
        http = http or events.is_large_http(event)
    except Exception as crash:
        refusal = errors.InternalError.of(crash)
    if refusal:
        line.update(refusal.log_line())
    line["milliseconds"] = (time.perf_counter_ns() - started) // 1000 / 1000
    sys.stdout.write(events.to_json(line) + "\n")  # print() writes twice
    sys.stdout.flush()

    if not http:
        if refusal:
            # A workflow catches on the error's name; what FC sends back with it is this frame and no other.
            refusal.__context__ = None
            raise refusal.with_traceback(None) from None
        return answer
    # A browser is to read even the answer that says that the settings are wrong.
    origins = chosen.origins if chosen else settings.origins(os.environ)
    if refusal:
        return events.reply(refusal.status, refusal.problem(request_id), request=request, origins=origins)
    return events.reply(200 if answer else 204, answer or None, request=request, origins=origins)


def _answer(
    request: events.Request, chosen: settings.Settings, context: Context, line: dict[str, object]
) -> dict[str, object]:
    identity = request.identity(chosen.policy.identity_header)
    fields = request.fields()
    credentials = _credentials(context)
    upload = policy.allow(
        fields,
        chosen.policy,
        identity=identity,
        sts=bool(credentials.security_token),
        new_id=lambda: os.urandom(16).hex(),
    )
    signed_headers = upload.signed_headers()
    now = int(time.time())
    if chosen.signer == "oss2":
        from upload_url import sdk_signer

        url, now = sdk_signer.presign(
            credentials,
            endpoint=chosen.endpoint,
            custom_domain=chosen.custom_domain,
            bucket=chosen.bucket,
            key=upload.key,
            region=chosen.region,
            expires=upload.expires,
            headers=signed_headers,
        )
    else:
        url = signer.presign(
            credentials,
            base_url=chosen.base_url,
            bucket=chosen.bucket,
            key=upload.key,
            region=chosen.region,
            expires=upload.expires,
            now=now,
            headers=signed_headers,
            additional_headers=signed_headers,
        )
    line.update(
        outcome="signed",
        key=upload.key,
        size=upload.size,
        type=upload.headers.get("Content-Type"),
        expires=upload.expires,
    )
    answer: dict[str, object] = {
        "method": "PUT",
        "url": url,
        "headers": upload.headers,
        "key": upload.key,
        "bucket": chosen.bucket,
        "expires": upload.expires,
        "expiresAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + upload.expires)),
    }
    if upload.size is not None:
        answer["size"] = upload.size
    return answer


_loaded: tuple[object, str, settings.Settings] | None = None


def _settings(context: Context) -> settings.Settings:
    """The settings of the environment as it is now; read anew only if a variable has changed."""
    global _loaded
    # The dictionary behind os.environ, where there is one: to compare it takes 1 us, to look up every
    # setting's name 10 us, which would be a fourth of a warm call.
    environ = getattr(os.environ, "_data", os.environ)
    region = getattr(context, "region", None) or ""
    if _loaded is None or _loaded[0] != environ or _loaded[1] != region:
        _loaded = None
        _loaded = (dict(environ), region, settings.load(os.environ, region))
    return _loaded[2]


def _credentials(context: Context) -> signer.Credentials:
    """The role's: from the context on python3.10, from the environment on python3.12. FC renews them."""
    given = getattr(context, "credentials", None)
    key_id, secret = getattr(given, "access_key_id", None), getattr(given, "access_key_secret", None)
    token = getattr(given, "security_token", None)
    if not (key_id and secret):
        key_id = os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID")
        secret = os.environ.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
        token = os.environ.get("ALIBABA_CLOUD_SECURITY_TOKEN")
    if not (key_id and secret):
        raise errors.CredentialsMissing(
            "The function cannot sign. The reason is in its log, under this request's id.",
            log="Give the function a role that may oss:PutObject; Function Compute then hands over its "
            "credentials. Elsewhere set ALIBABA_CLOUD_ACCESS_KEY_ID, _ACCESS_KEY_SECRET and _SECURITY_TOKEN.",
        )
    return signer.Credentials(key_id, secret, token or "")
