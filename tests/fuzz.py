"""Random requests, settings and events against the function, and what must hold whatever they are.

`test_fuzz` tries a few thousand of them, `make fuzz` (`python -m tests.fuzz`) as many as one likes. A seed
gives the same inputs again. What is expected is computed here from the request and the environment, not by
the function's own modules.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fnmatch
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from calendar import timegm
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import index
from local import oss
from local.oss_verify import Credential, Refused, verify
from tests import hostile, official_sdks
from tests.surroundings import bare_environment
from tests.test_errors import EXPECTED as CODES
from upload_url import errors, signer
from upload_url.settings import NAMES

ROOT = Path(__file__).parents[1]

PROBLEM = {"type", "title", "status", "detail", "code", "requestId"}
MORE = {"field", "limit", "allowed"}
ANSWER = {"method", "url", "headers", "key", "bucket", "expires", "expiresAt"}
#: Computed, because hypothesis tries the literals that it finds in the code as input: a key that happens to
#: be the secret would look like a leak.
SECRET, TOKEN_CANARY = [hashlib.sha256(name).hexdigest() for name in (b"secret", b"token")]
#: What no uploader may be told to send.
NOT_TO_SEND = re.compile(
    r"host|content-length|authorization|connection|keep-alive|te|trailer|transfer-encoding|upgrade|proxy-.*|"
    r"x-oss-(date|security-token|content-sha256|credential|expires|additional-headers|signature.*|copy-source.*)",
    re.IGNORECASE,
)


# -- what comes in

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile.texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile.texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def perhaps(draw, always, sometimes):
    """A dictionary in which each of `sometimes` is half of the time."""
    table = {name: draw(value) for name, value in always.items()}
    return table | {name: draw(value) for name, value in sometimes.items() if draw(st.booleans())}


#: Hypothesis likes the ends of a range of integers; not those of a list.
nine_in_ten = st.sampled_from([True] * 9 + [False])


@st.composite
def mostly(draw, good, bad):
    """`good` nine times in ten, so that most requests get past one field to the next."""
    return draw(good if draw(nine_in_ten) else bad)


identities = st.sampled_from(["u", "user-1", "a@b.example", "x|y:z+", "U" * 128])
bad_identities = (
    st.sampled_from(["", ".", "..", "a,b", "a/b", "a/../b", "%2e%2e", "u ", "é", "U" * 129]) | hostile.texts
)
bad_media_types = (
    st.sampled_from(
        [
            "image/png,text/html",
            "image/png;x=y,text/html",
            'image/png;a="b",text/html',
            "image",
            "image/",
            "/png",
            "*/*",
        ]
    )
    | hostile.texts
    | st.text(st.sampled_from('image/png;=",\\ \t*textl'), max_size=30)
)
md5s = st.binary(min_size=16, max_size=16).map(lambda digest: base64.b64encode(digest).decode())
keys = st.one_of(
    hostile.good_keys,
    st.tuples(st.sampled_from(["uploads/", "uploads/u/", "猫/", "uploads/user-1/"]), hostile.keys).map(
        "".join
    ),
    st.sampled_from(
        [
            "a",
            "uploads/u/../x",
            "uploads//x",
            "uploads/u/%2e%2e/x",
            "uploads/u/..\\..\\x",
            "uploads",
            "uploads/",
            "UPLOADS/x",
        ]
    ),
)
header_tables = st.dictionaries(
    mostly(
        hostile.header_names,
        st.sampled_from(
            ["Content-Type", "content-md5", "HOST", "Content-Length", "x-oss-copy-source", "Connection"]
        ),
    ),
    mostly(hostile.header_values, hostile.texts),
    max_size=3,
)
sizes = st.integers(0, 2000) | st.sampled_from([0, 1, 1000, 1001, 5 * 1024**3, 5 * 1024**3 + 1])
lifetimes = st.sampled_from([1, 60, 600, 601, 3600, 3601, 43200, 43201, 604800, 604801])
requests = perhaps(
    {},
    {
        "key": mostly(keys, junk),
        "contentType": mostly(hostile.media_types, bad_media_types | junk),
        "size": mostly(sizes, st.integers() | junk),
        "contentMd5": mostly(md5s, hostile.texts | junk),
        "expires": mostly(lifetimes, st.integers() | junk),
        "headers": mostly(header_tables, junk),
        "metadata": mostly(
            st.dictionaries(st.text("abc-XYZ", max_size=5), hostile.header_values, max_size=2), junk
        ),
    },
) | perhaps(
    {
        "filename": hostile.texts
        | st.sampled_from(["cat.PNG", "../../etc/passwd", "a.p/n", "x.tar.gz", "CON"])
    },
    {"contentType": hostile.media_types, "size": sizes},
)
strange_requests = st.one_of(
    junk,
    st.dictionaries(
        st.sampled_from(["key", "identity", "acl", "Key", "size "]) | hostile.texts, junk, max_size=4
    ),
)


def _json_variants(value):
    text = json.dumps(value)
    strange = ["\ufeff" + text, text + text, text[:-1], '{"key":"uploads/a",' + text[1:]]
    return mostly(
        st.sampled_from([text, json.dumps(value, ensure_ascii=False, indent=1)]), st.sampled_from(strange)
    )


origins = st.sampled_from(["https://app.example", "HTTPS://APP.EXAMPLE", "https://evil.example", "null"])
sent_headers = perhaps(
    {},
    {
        "Origin": origins | hostile.texts,
        "Content-Type": st.just("application/json"),
        "X-User-Sub ": identities,
        "X_User_Sub": identities,
    },
)
methods = st.sampled_from(["POST"] * 14 + ["GET"] * 5 + ["OPTIONS", "PUT", "post", "HEAD", "\u03a9" * 30])
ways_in = st.sampled_from(["http"] * 8 + ["direct", "direct", "cloud event", "bytes"])


@st.composite
def scenes(draw, environments):
    """An event and the settings that it meets."""
    variables = draw(environments)
    way = draw(ways_in)
    if way == "bytes":
        return draw(st.binary(max_size=200)), variables
    fields = draw(mostly(requests, strange_requests))
    who = draw(mostly(identities, bad_identities))
    if isinstance(fields, dict) and isinstance(fields.get("key"), str) and draw(nine_in_ten):
        folder = f"{who}/" if variables.get("UPLOAD_IDENTITY_HEADER") else ""
        fields["key"] = variables.get("UPLOAD_PREFIX", "") + folder + fields["key"]
    if way == "http":
        return _http_event(draw, fields, who), variables
    if isinstance(fields, dict) and variables.get("UPLOAD_IDENTITY_HEADER"):
        fields["identity"] = draw(mostly(st.just(who), junk))
    if way == "cloud event":
        fields = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": fields}
    return draw(_json_variants(fields)).encode("utf-8", "surrogatepass"), variables


def _http_event(draw, fields, who):
    """An HTTP trigger's event, most often one that Function Compute would send."""
    method = draw(methods)
    query = fields if method == "GET" and isinstance(fields, dict) else {}
    body = draw(_json_variants(fields))
    encoded = draw(st.booleans())
    if encoded:
        body = base64.b64encode(body.encode("utf-8", "surrogatepass")).decode()
        body = draw(mostly(st.just(body), st.just(body + "!")))
    headers = draw(sent_headers)
    identity = draw(
        st.sampled_from([{"X-User-Sub": who}] * 8 + [{}, {"X-User-Sub": who, "x-user-sub": "victim"}])
    )
    event = {
        "version": "v1",
        "rawPath": draw(st.sampled_from(["/", "/x/../y", "//"])),
        "headers": {**headers, **identity},
        "queryParameters": {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()
        },
        "body": body,
        "isBase64Encoded": encoded,
        "requestContext": {"http": {"method": method, "path": "/"}, "requestId": "1-x"},
    }
    if not draw(nine_in_ten) and not draw(nine_in_ten):
        event[draw(st.sampled_from(sorted(event)))] = draw(junk)
    return json.dumps(event).encode()


#: Settings that are right, in any combination.
good_environments = perhaps(
    {
        "OSS_BUCKET": st.sampled_from(["my-bucket", "b-1", "x" * 63]),
        "OSS_REGION": st.sampled_from(["cn-hangzhou", "us-west-1"]),
        "ALIBABA_CLOUD_ACCESS_KEY_ID": st.sampled_from(["LTAIpermanent", "STS.NUtemporary"]),
    },
    {
        "OSS_ENDPOINT": st.sampled_from(
            [
                *(
                    "internal",
                    "accelerate",
                    "accelerate-overseas",
                    "dual-stack",
                    "https://upload.example.com",
                ),
                *(
                    "https://oss-cn-hangzhou.aliyuncs.com",
                    "http://127.0.0.1:9000",
                    "http://localhost",
                    "https://10.0.0.1/",
                ),
            ]
        ),
        "OSS_SIGNER": st.sampled_from(["native", "native", "native", "oss2"]),
        "UPLOAD_PREFIX": st.sampled_from(["uploads/", "猫/", "a b/%2e/"]),
        "UPLOAD_KEYS": st.sampled_from(["client", "client", "generated"]),
        "UPLOAD_EXPIRES": st.sampled_from(["1", "60", "600"]),
        "UPLOAD_EXPIRES_MAX": st.sampled_from(["600", "86400", "999999999"]),
        "UPLOAD_TYPES": st.sampled_from(["image/*", "image/png, application/pdf"]),
        "UPLOAD_MAX_BYTES": st.sampled_from(["1", "1000", "5368709120"]),
        "UPLOAD_HEADERS": st.sampled_from(["*", "x-oss-*", "x-oss-meta-*", "cache-control"]),
        "UPLOAD_FORCED_HEADERS": st.sampled_from(
            [
                '{"x-oss-forbid-overwrite":"true"}',
                '{"Cache-Control":"no-store","X-Oss-Server-Side-Encryption":" AES256 "}',
            ]
        ),
        "UPLOAD_IDENTITY_HEADER": st.sampled_from(["x-user-sub", "X-User-Sub"]),
        "CORS_ORIGINS": st.sampled_from(
            ["*", "https://app.example", "https://App.example,http://localhost:3000"]
        ),
        "ALIBABA_CLOUD_SECURITY_TOKEN": hostile.tokens.map(lambda token: token and TOKEN_CANARY + token),
    },
)
_environment_texts = st.text(
    st.sampled_from('az09-./:*,{}"[]@ \t%;=_A') | st.characters(codec="utf-8", exclude_characters="\0"),
    max_size=40,
)
#: Right, but for any number of variables that hold anything.
wild_environments = st.tuples(
    good_environments,
    st.dictionaries(
        st.sampled_from([*NAMES, "UPLOAD_MAX_SIZE", "FC_REGION"]),
        _environment_texts
        | st.sampled_from(
            [
                "0",
                "-1",
                "1e3",
                "9" * 30,
                "/",
                "//",
                "https://",
                "http://a.example",
                "{}",
                '{"a":1}',
                '[["a","b"]]',
            ]
        ),
        min_size=1,
        max_size=3,
    ),
).map(lambda pair: {**pair[0], **pair[1]})

uploads = st.tuples(
    hostile.good_keys,
    perhaps(
        {},
        {
            "Content-Type": hostile.media_types,
            "x-oss-meta-a": hostile.header_values,
            "Cache-Control": hostile.header_values,
            "x-oss-forbid-overwrite": st.sampled_from(["true", "false"]),
        },
    ),
    st.binary(max_size=20),
)


def _in_url(position, old, new):
    def change(method, url, headers, body):
        at = int(position * len(url))
        return method, url[:at] + new + url[at + old :], headers, body

    return change


def _in_headers(position, old, new):
    def change(method, url, headers, body):
        at = int(position * (len(headers) + 1))
        return method, url, headers[:at] + new + headers[at + old :], body

    return change


_places = st.floats(0, 1)
_extra_headers = st.tuples(
    hostile.header_names
    | st.sampled_from(
        ["Host", "Authorization", "Content-MD5", "x-oss-date", "x-oss-security-token", "Range"]
    ),
    hostile.header_values
    | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=9),
)
#: An uploader's, a proxy's or an attacker's change to a signed request.
changes = st.one_of(
    st.builds(
        _in_url,
        _places,
        st.integers(0, 3),
        st.sampled_from(
            [*"/%?&=+.~#0a:", "%2F", "..", "%00", "&x-oss-", "\xff", "?acl&", "&x-oss-expires=9"]
        ),
    ),
    st.builds(_in_headers, _places, st.integers(0, 2), st.lists(_extra_headers, max_size=2)),
    st.sampled_from(["PUT", "GET", "HEAD", "POST", "DELETE", "OPTIONS", "put", "PATCH"]).map(
        lambda other: lambda method, url, headers, body: (other, url, headers, body)
    ),
    st.binary(max_size=20).map(
        lambda other: lambda method, url, headers, body: (method, url, headers, other)
    ),
)

# -- what must hold


@contextlib.contextmanager
def environment(variables):
    """The process's environment with these settings and no others; and what is printed in it."""
    before = dict(os.environ)
    try:
        for name in before.keys() - bare_environment().keys():
            del os.environ[name]
        os.environ.update(variables)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            yield printed
    finally:
        for name in list(os.environ):
            if name not in before:
                del os.environ[name]
        os.environ.update(before)


def invoke(event, variables):
    """The handler's outcome: `HTTP 200`, a code, ...

    Raises:
        AssertionError: something that must hold does not.
    """
    variables = {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET, **variables}
    try:
        payload = json.loads(event or b"{}", parse_constant=int)  # int("NaN") is a ValueError: no JSON
    except (ValueError, RecursionError):
        payload = None
    http = isinstance(payload, dict) and bool({"requestContext", "rawPath"} & set(payload))
    answer, refusal = None, None
    started = int(time.time())
    with environment(variables) as printed:
        try:
            answer = index.handler(event, SimpleNamespace(request_id="1-fuzz", region="cn-beijing"))
        except errors.Refusal as refused:
            assert not http, "an HTTP event was answered by an exception"
            refusal = refused
    check_log(printed.getvalue())
    if refusal:
        assert type(refusal).__name__ in CODES
        assert refusal.__cause__ is None
        assert refusal.__context__ is None
        check_secrets(str(refusal))
        return type(refusal).__name__
    if http:
        status, answer = check_response(answer)
        if status == 204:
            return "preflight"
        if status != 200:
            return answer["code"]
    check_answer(answer, variables, whose(payload, http), started)
    return "signed"


def whose(payload, http):
    """The identity in a request that was granted."""
    if not http:
        fields = payload.get("data", payload) if "specversion" in payload else payload
        return fields.get("identity")
    return (
        {name.lower(): value for name, value in payload["headers"].items()}.get("x-user-sub")
        if payload.get("headers")
        else None
    )


def check_response(response):
    """Status and body of a response that Function Compute accepts."""
    assert set(response) == {"statusCode", "headers", "isBase64Encoded", "body"}
    assert response["isBase64Encoded"] is False
    status, headers, text = response["statusCode"], response["headers"], response["body"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["Access-Control-Allow-Origin"]
    for name, value in headers.items():
        assert re.fullmatch(r"[A-Za-z-]+", name)
        assert re.fullmatch(r"[ -~]+", value)
    assert ("Allow" in headers) == (status == 405)
    if status == 204:
        assert text == ""
        return status, None
    body = json.loads(text)
    assert text.isascii()
    if status == 200:
        assert headers["Content-Type"] == "application/json"
        return status, body
    assert headers["Content-Type"] == "application/problem+json"
    assert set(body) - MORE == PROBLEM
    assert CODES[body["code"]] == status == body["status"]
    assert body["type"] == "urn:oss-upload-url:readme#" + body["code"].lower()
    assert len(body["detail"]) < 2000
    return status, body


def check_answer(answer, variables, identity, started):
    """Everything that is promised of a URL."""

    def setting(name, default=""):
        return variables.get(name, "").strip() or default

    token = variables.get("ALIBABA_CLOUD_SECURITY_TOKEN", "")
    url, headers, key = answer["url"], answer["headers"], answer["key"]
    assert set(answer) - {"size"} == ANSWER
    assert answer["method"] == "PUT"
    assert answer["bucket"] == setting("OSS_BUCKET")
    assert re.fullmatch(r"https?://[!-~]+", url)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", key)

    # in its folder
    folder = variables.get("UPLOAD_PREFIX", "")
    if setting("UPLOAD_IDENTITY_HEADER"):
        assert re.fullmatch(r"[A-Za-z0-9._@:|+-]{1,128}", identity)
        folder += identity + "/"
    assert key.startswith(folder)
    assert len(key) > len(folder)
    assert len(key.encode()) <= 1023
    assert not {"", ".", ".."} & set(key.split("/"))
    if setting("UPLOAD_KEYS") == "generated":
        assert re.fullmatch(r"[0-9a-f]{32}(\.[a-z0-9]{1,10})?", key[len(folder) :])

    # bound as the operator says
    sent = {name.lower(): value for name, value in headers.items()}
    assert len(sent) == len(headers)
    forced = {
        name.lower(): value.strip()
        for name, value in json.loads(setting("UPLOAD_FORCED_HEADERS", "{}")).items()
    }
    listed = [
        one.strip().lower()
        for one in setting("UPLOAD_HEADERS", ",".join(index.settings.DEFAULT_HEADERS)).split(",")
    ]
    for name, value in sent.items():
        assert not NOT_TO_SEND.fullmatch(name)
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert re.fullmatch(r"[!-~]([ -~]*[!-~])?", value)
        assert (
            name in forced
            or name in ("content-type", "content-md5")
            or any(fnmatch.fnmatchcase(name, one) for one in listed)
        )
    assert {name: sent.get(name) for name in forced} == forced
    if types := [one.strip().lower() for one in setting("UPLOAD_TYPES").split(",") if one.strip()]:
        essence = sent["content-type"].split(";")[0].strip().lower()
        assert any(fnmatch.fnmatchcase(essence, one) for one in types)
        assert "/" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", sent["content-type"]).partition("/")[2]
    if "content-md5" in sent:
        assert len(base64.b64decode(sent["content-md5"], validate=True)) == 16
    arriving = {**sent, "host": urlsplit(url).netloc, "user-agent": "x"}
    if "size" in answer:
        assert 0 <= answer["size"] <= int(setting("UPLOAD_MAX_BYTES", str(5 * 1024**3)))
        arriving["content-length"] = str(answer["size"])
    else:
        assert not setting("UPLOAD_MAX_BYTES")

    # for so long
    longest = min(int(setting("UPLOAD_EXPIRES_MAX", "3600")), 43200 if token else 604800)
    assert 1 <= answer["expires"] <= longest
    query = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True, strict_parsing=True))
    signed_at = timegm(time.strptime(query["x-oss-date"], "%Y%m%dT%H%M%SZ"))
    assert started <= signed_at <= started + 60
    assert query["x-oss-expires"] == str(answer["expires"])
    assert answer["expiresAt"] == time.strftime(
        "%Y-%m-%dT%H:%M:%SZ", time.gmtime(signed_at + answer["expires"])
    )

    # accepted by OSS with exactly these headers, and not with one changed
    verified = check_signature(url, arriving, variables, key, signed_at)
    promised = set(sent) | ({"content-length"} if "size" in answer else set())
    assert set(verified.signed_headers) == promised
    for name in promised:
        with contextlib.suppress(Refused):
            check_signature(url, {**arriving, name: arriving[name] + "1"}, variables, key, signed_at)
            raise AssertionError(f"{name} can be changed")
    with contextlib.suppress(Refused):
        check_signature(url, {**arriving, "x-oss-object-acl": "public-read"}, variables, key, signed_at)
        raise AssertionError("a header can be added")

    check_secrets(json.dumps({**answer, "url": ""}))
    assert SECRET not in url


def check_signature(url, headers, variables, key, now):
    """What OSS finds signed.

    Raises:
        Refused: OSS would refuse it.
    """
    split = urlsplit(url)
    path, bucket = split.path, variables["OSS_BUCKET"].strip()
    region = variables.get("OSS_REGION", "").strip() or variables.get("FC_REGION", "").strip() or "cn-beijing"
    if re.fullmatch(r"localhost|[0-9.]+", split.hostname):
        assert path.startswith(f"/{bucket}/")
        path = path[len(bucket) + 1 :]
    assert unquote(path, errors="strict") == "/" + key
    # What a client's URL parser would make something else of.
    assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", path)
    known = Credential(SECRET, variables.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None)
    return verify(
        "PUT",
        path,
        split.query,
        headers,
        bucket=bucket,
        credentials={variables["ALIBABA_CLOUD_ACCESS_KEY_ID"]: known},
        now=now,
        region=region,
    )


def check_log(printed):
    """One line of JSON for each request, from which nobody learns a secret."""
    (line,) = printed.splitlines()
    assert printed.isascii()
    assert json.loads(line)["requestId"] == "1-fuzz"
    check_secrets(line)
    assert "x-oss-signature=" not in line


def check_secrets(text):
    assert SECRET not in text
    assert TOKEN_CANARY not in text


# -- properties, each of which returns what came of its input


def any_event(scene):
    """Right settings: no input is answered by a server's fault."""
    event, variables = scene
    outcome = invoke(event, variables)
    assert CODES.get(outcome, 200) < 500, outcome
    return outcome


def any_settings(scene):
    """Any settings: what is wrong with them is said by Misconfigured and nothing else."""
    event, variables = scene
    outcome = invoke(event, variables)
    assert outcome not in ("InternalError", "CredentialsMissing"), outcome
    if outcome == "Misconfigured":
        with environment(variables), pytest.raises(errors.Misconfigured) as refused:
            index.settings.load(os.environ, "cn-beijing")
        assert refused.value.log
        assert all(isinstance(fault, str) and fault for fault in refused.value.log)
    return outcome


def three_signers(signing):
    """Ours and the two official Python SDKs give the same URL."""
    ours, *others = official_sdks.three_urls(**signing)
    for other in others:
        assert official_sdks.parts(other) == official_sdks.parts(ours)
    return "agreed"


def any_tampering(upload, change):
    """What the stand-in stores is what was signed, whatever was changed on the way; all else it refuses."""
    key, bound, body = upload
    known = oss.CREDENTIALS[oss.ACCESS_KEY_ID]
    now = 1_790_000_000
    cloud = oss.Oss(clock=lambda: now)
    signed = {**bound, "Content-Length": str(len(body))}
    url = signer.presign(
        signer.Credentials(oss.ACCESS_KEY_ID, known.secret, known.token or ""),
        base_url=f"http://127.0.0.1:9000/{oss.BUCKET}",
        bucket=oss.BUCKET,
        key=key,
        region=oss.REGION,
        expires=600,
        now=now,
        headers=signed,
        additional_headers=signed,
    )
    method, url, headers, sent = change("PUT", url, list(signed.items()), body)
    status, answered, content = cloud.respond(method, url, headers, sent)
    with content:
        text = content.read()
    objects = cloud.objects
    cloud.close()

    assert all(f"{name}{value}".isprintable() for name, value in answered.items())
    if not objects:
        assert status >= 400
        code = ElementTree.fromstring(text).findtext("Code") if text else "HEAD"
        assert status < 500 or code == "NotImplemented"
        return str(code)
    assert (status, method, list(objects)) == (200, "PUT", [key])
    assert objects[key].size == len(body)
    for name, value in bound.items():
        if name != "x-oss-forbid-overwrite":
            assert objects[key].headers[name.lower()] == value
    return "stored"


class AliOss:
    """The official SDK for Node.js, one process for any number of URLs."""

    FOLDER = ROOT / "build" / "node" / "node_modules"

    def __init__(self):
        self._process = None

    def url(self, **case):
        if self._process is None:
            self._process = subprocess.Popen(
                ["node", str(ROOT / "tests" / "node" / "sign_many.js"), "b-1", "STS.NUkeyId", "secret"],
                env={**os.environ, "NODE_PATH": str(self.FOLDER)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().rstrip("\n")

    def close(self):
        if self._process is not None:
            self._process.communicate(timeout=10)


ali_oss = AliOss()


def and_ali_oss(signing):
    """Ours and ali-oss's signature are the same."""
    headers = dict(signing["headers"])
    if signing["size"] is not None:
        headers["Content-Length"] = str(signing["size"])
    if signing["content_type"] is not None:
        headers["Content-Type"] = signing["content_type"]
    now = 1_790_000_000 + signing["expires"]
    theirs = ali_oss.url(
        key=signing["key"],
        headers=headers,
        additional=list(headers),
        token=signing["token"],
        expires=signing["expires"],
        now=now,
    )
    ours = signer.presign(
        signer.Credentials("STS.NUkeyId", "secret", signing["token"]),
        base_url="https://b-1.oss-cn-hangzhou.aliyuncs.com",
        bucket="b-1",
        key=signing["key"],
        region="cn-hangzhou",
        expires=signing["expires"],
        now=now,
        headers=headers,
        additional_headers=headers,
    )
    assert official_sdks.signature(ours) == official_sdks.signature(theirs)
    return "agreed"


PROPERTIES = {
    "events": (any_event, {"scene": scenes(good_environments)}),
    "settings": (any_settings, {"scene": scenes(wild_environments)}),
    "tampering": (any_tampering, {"upload": uploads, "change": changes}),
    "signers": (three_signers, {"signing": hostile.signings}),
    # Needs Node.js, and build/node, where `make test` puts ali-oss.
    "ali-oss": (and_ali_oss, {"signing": hostile.signings}),
}


def run(name, inputs, number):
    """Try a property on so many inputs; outcome -> how many.

    Args:
        name: of the property.
        inputs: how many; hypothesis may find that there are fewer different ones.
        number: the seed.
    """
    check, strategies = PROPERTIES[name]
    outcomes = Counter()

    @seed(number)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(**strategies)
    def attempt(**arguments):
        outcomes[check(**arguments)] += 1

    attempt()
    return outcomes


#: Of one hypothesis run: it remembers its inputs, and slows down with their number.
BATCH = 1000


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Attack the function with random inputs."
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="for each property (default 100000)")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="the same inputs again (default: the time)"
    )
    parser.add_argument("--only", choices=sorted(PROPERTIES), help="one property instead of all")
    options = parser.parse_args(arguments)
    for name in [options.only] if options.only else PROPERTIES:
        if name == "ali-oss" and not AliOss.FOLDER.is_dir():
            print(f"ali-oss: not tried, there is no {AliOss.FOLDER}; make test installs it")
            continue
        outcomes = Counter()
        started = time.monotonic()
        batch = 0
        while sum(outcomes.values()) < options.inputs:
            number = options.seed + batch
            try:
                outcomes += run(name, min(BATCH, options.inputs - sum(outcomes.values())), number)
            except BaseException:
                print(f"{name}: seed {number}, batch {batch}", file=sys.stderr)
                raise
            batch += 1
        listed = ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
        print(
            f"{name}: {sum(outcomes.values())} inputs in {time.monotonic() - started:.0f} s, "
            f"seeds {options.seed} to {options.seed + batch - 1}: {listed}",
            flush=True,
        )
    ali_oss.close()


if __name__ == "__main__":
    main()
