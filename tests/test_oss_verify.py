"""The server's side of V4, on its own: the official vectors verify, and nothing else does."""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import json
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.oss import Oss
from local.oss_verify import (
    Credential,
    Refused,
    Verified,
    canonical_query,
    parse_query,
    signature_of,
    verify,
)
from tests.oss_fronts import AKID, BUCKET, CREDENTIALS, HOST, NOW, STS_AKID, TOKEN, presign

VECTORS = json.loads((Path(__file__).parent / "vectors" / "oss-v4-vectors.json").read_text())
DATE = "20251122T100000Z"
END = "aliyun_v4_request"
BAD = "InvalidArgument"


class Request(NamedTuple):
    """One call of `verify`."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    bucket: str
    credentials: Mapping[str, Credential]
    now: float
    region: str
    product: str

    def verify(self) -> Verified:
        return verify(
            self.method,
            self.path,
            self.query,
            self.headers,
            bucket=self.bucket,
            credentials=self.credentials,
            now=self.now,
            region=self.region,
            product=self.product,
        )

    def with_query(self, name: str, value: str | None) -> Request:
        """The same with one parameter set, or removed."""
        pairs = [pair for pair in self.query.split("&") if pair.partition("=")[0] != name]
        added = [] if value is None else [f"{name}={value}"]
        return self._replace(query="&".join(pairs + added))

    def with_header(self, name: str, value: str | None) -> Request:
        rest = {other: self.headers[other] for other in self.headers if other != name}
        return self._replace(headers=rest if value is None else {**rest, name: value})

    def parameter(self, name: str) -> str:
        return next(pair.partition("=")[2] for pair in self.query.split("&") if pair.startswith(f"{name}="))


def seconds(date: str) -> int:
    return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))


def of_vector(vector: Mapping[str, Any]) -> Request:
    return Request(
        method=vector["method"],
        path="/" + quote(vector["key"]),
        query=vector["canonical_url"].partition("?")[2],
        headers={name.lower(): value for name, value in vector["headers"].items()} | {"host": vector["host"]},
        bucket=vector["bucket"],
        credentials={
            vector["access_key_id"]: Credential(vector["access_key_secret"], vector["security_token"]),
        },
        now=seconds(vector["datetime"]),
        region=vector["region"],
        product=vector["product"],
    )


def tampered(good: Request) -> Iterator[tuple[str, Request]]:
    """The request with one thing changed, in every way that the signature must notice."""
    yield "method", good._replace(method="GET" if good.method == "PUT" else "PUT")
    yield "bucket", good._replace(bucket=good.bucket + "2")
    yield "region", good._replace(region="cn-beijing")
    yield "product", good._replace(product="oss-other")
    yield "key longer", good._replace(path=good.path + "x")
    yield "key shorter", good._replace(path=good.path[:-1])
    yield "key in upper case", good._replace(path=good.path.upper())
    yield "key with a doubled slash", good._replace(path="/" + good.path)
    yield "key encoded twice", good._replace(path=quote(quote(good.path, safe=""), safe="/") + "%25")
    yield "too late", good._replace(now=good.now + int(good.parameter("x-oss-expires")) + 1)
    yield "too early", good._replace(now=good.now - 15 * 60 - 1)
    yield "another parameter", good.with_query("extra", "1")
    yield "additional headers", good.with_query("x-oss-additional-headers", "host")
    yield (
        "secret",
        good._replace(
            credentials={
                name: known._replace(secret=known.secret + "x") for name, known in good.credentials.items()
            }
        ),
    )
    yield (
        "token",
        good._replace(
            credentials={name: known._replace(token="other") for name, known in good.credentials.items()}
        ),
    )
    yield "access key", good._replace(credentials={})
    for pair in good.query.split("&"):
        name, _, value = pair.partition("=")
        yield f"without {name}", good.with_query(name, None)
        yield f"value of {name}", good.with_query(name, value[:-1] + ("1" if value[-1:] != "1" else "2"))
    bound = {*good.headers} & {"content-type", *parameter_list(good)} | {
        name for name in good.headers if name.startswith("x-oss-")
    }
    for name in sorted(bound):
        yield f"header {name} changed", good.with_header(name, good.headers[name] + "x")
        yield f"header {name} in upper case", good.with_header(name, good.headers[name].swapcase())
        yield f"header {name} dropped", good.with_header(name, None)
    yield "Content-MD5 added", good.with_header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")
    yield "x-oss header added", good.with_header("x-oss-meta-author", "me")
    signature = good.parameter("x-oss-signature")
    yield "signature in upper case", good.with_query("x-oss-signature", signature.upper())
    yield "signature cut", good.with_query("x-oss-signature", signature[:-1])
    for at in range(len(signature)):
        digit = "0" if signature[at] != "0" else "1"
        yield (
            f"signature's digit {at}",
            good.with_query("x-oss-signature", signature[:at] + digit + signature[at + 1 :]),
        )


def parameter_list(request: Request) -> list[str]:
    """The additional headers of a URL."""
    query = dict(parse_query(request.query))
    return query.get(b"x-oss-additional-headers", b"").decode().split(";")


TAMPERED = [
    pytest.param(changed, id=f"{vector['id']}: {name}")
    for vector in VECTORS
    for name, changed in tampered(of_vector(vector))
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_verify_accepts_every_official_vector(vector: Mapping[str, Any]) -> None:
    request = of_vector(vector)

    verified = request.verify()

    assert verified.access_key_id == vector["access_key_id"]
    assert verified.presigned
    assert verified.expires_at == seconds(vector["datetime"]) + vector["expires"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_verify_ignores_headers_that_are_not_signed(vector: Mapping[str, Any]) -> None:
    request = of_vector(vector).with_header("user-agent", "other").with_header("cache-control", "no-cache")

    assert request.verify().presigned


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_verify_accepts_parameters_in_any_order_and_an_empty_value_with_or_without_its_sign(
    vector: Mapping[str, Any],
) -> None:
    request = of_vector(vector)
    pairs = [pair if "=" in pair else f"{pair}=" for pair in request.query.split("&")]

    assert request._replace(query="&&".join(reversed(pairs))).verify().presigned


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_a_refused_vector_shows_what_the_server_computed_stage_by_stage(vector: Mapping[str, Any]) -> None:
    request = of_vector(vector).with_query("x-oss-signature", "0" * 64)

    with pytest.raises(Refused) as refused:
        request.verify()

    fields = refused.value.fields
    assert fields["CanonicalRequest"] == vector["canonical_request"]
    assert fields["StringToSign"] == vector["string_to_sign"]
    assert bytes.fromhex(fields["StringToSignBytes"]).decode() == vector["string_to_sign"]
    assert fields["SignatureProvided"] == "0" * 64


@pytest.mark.parametrize("request_", TAMPERED)
def test_verify_refuses_a_vector_with_one_thing_changed(request_: Request) -> None:
    with pytest.raises(Refused) as refused:
        request_.verify()

    assert refused.value.status in (400, 403)


# ---- what a URL says ----


def signed(**options: Any) -> Request:
    """A good request for a URL, unless an option says otherwise."""
    headers = options.get("headers", {})
    path, _, query = presign(**options).removeprefix("http://").partition("/")[2].partition("?")
    return Request(
        method=options.get("method", "PUT"),
        path=f"/{path}",
        query=query,
        headers={"host": "example.com", **{name.lower(): value for name, value in headers.items()}},
        bucket=BUCKET,
        credentials=CREDENTIALS,
        now=NOW,
        region="cn-hangzhou",
        product="oss",
    )


def refusal(request: Request) -> Refused:
    with pytest.raises(Refused) as refused:
        request.verify()
    return refused.value


@pytest.mark.parametrize(
    ("name", "value", "code", "ec"),
    [
        ("x-oss-signature-version", None, BAD, "0002-00000066"),
        ("x-oss-signature-version", "", BAD, "0002-00000066"),
        ("x-oss-signature-version", "OSS2", BAD, "0002-00000066"),
        ("x-oss-credential", None, BAD, "0002-00000217"),
        ("x-oss-credential", "", BAD, "0002-00000217"),
        ("x-oss-date", None, BAD, "0002-00000502"),
        ("x-oss-expires", None, BAD, "0002-00000215"),
        ("x-oss-expires", "", BAD, "0002-00000216"),
        ("x-oss-signature", None, BAD, "0002-00000219"),
        ("x-oss-credential", f"{AKID}/20251122/cn-hangzhou/oss", BAD, "0002-00000224"),
        ("x-oss-credential", f"{AKID}/20251122/cn-hangzhou/oss/x", BAD, "0002-00000224"),
        ("x-oss-credential", f"{AKID}/20251122/cn-hangzhou/oss/{END}/", BAD, "0002-00000224"),
        ("x-oss-credential", f"{AKID}/20251123/cn-hangzhou/oss/{END}", BAD, "0002-00000224"),
        ("x-oss-credential", f"/20251122/cn-hangzhou/oss/{END}", BAD, "0002-00000222"),
        ("x-oss-credential", f"a%20b/20251122/cn-hangzhou/oss/{END}", BAD, "0002-00000222"),
        ("x-oss-credential", f"{AKID}/20251122/cn-beijing/oss/{END}", BAD, "0002-00000226"),
        ("x-oss-credential", f"{AKID}/20251122//oss/{END}", BAD, "0002-00000226"),
        ("x-oss-credential", f"{AKID}/20251122/cn-hangzhou/s3/{END}", BAD, "0002-00000227"),
        (
            "x-oss-credential",
            f"unknown/20251122/cn-hangzhou/oss/{END}",
            "InvalidAccessKeyId",
            "0002-00000902",
        ),
        ("x-oss-date", "20251122", BAD, "0002-00000502"),
        ("x-oss-date", "2025-11-22T10:00:00Z", BAD, "0002-00000502"),
        ("x-oss-date", "20251322T100000Z", BAD, "0002-00000502"),
        ("x-oss-date", "20251122T250000Z", BAD, "0002-00000502"),
        ("x-oss-expires", "0", BAD, "0002-00000232"),
        ("x-oss-expires", "604801", BAD, "0002-00000232"),
        ("x-oss-expires", "-1", BAD, "0002-00000232"),
        ("x-oss-expires", "1e3", BAD, "0002-00000232"),
        ("x-oss-expires", "%D9%A1", BAD, "0002-00000232"),
        ("x-oss-expires", "9" * 5000, BAD, "0002-00000232"),
        ("x-oss-additional-headers", "", BAD, "0002-00000077"),
        ("x-oss-additional-headers", "host;", BAD, "0002-00000077"),
        ("x-oss-additional-headers", "host;;user-agent", BAD, "0002-00000077"),
        ("x-oss-additional-headers", "host;user_agent", BAD, ""),
        ("x-oss-additional-headers", "content-length;host", BAD, "0002-00000078"),
        ("x-oss-additional-headers", "host", "SignatureDoesNotMatch", "0002-00000201"),
        ("x-oss-signature", "%FF", "SignatureDoesNotMatch", "0002-00000201"),
    ],
)
def test_verify_names_what_is_wrong_with_a_parameter(
    name: str, value: str | None, code: str, ec: str
) -> None:
    refused = refusal(signed().with_query(name, value))

    assert (refused.code, refused.ec) == (code, ec)


def test_verify_refuses_a_request_without_any_signature() -> None:
    refused = refusal(signed()._replace(query="param=1"))

    assert (refused.status, refused.code, refused.ec) == (403, "AccessDenied", "0003-00001201")


def test_verify_refuses_a_url_of_signature_v1() -> None:
    refused = refusal(signed()._replace(query="OSSAccessKeyId=a&Expires=1&Signature=b"))

    assert (refused.status, refused.code, refused.ec) == (403, "AccessDenied", "0002-00000080")


def test_verify_refuses_a_parameter_given_twice_with_different_values() -> None:
    good = signed()

    refused = refusal(good._replace(query=good.query + "&x-oss-expires=1200"))

    assert (refused.status, refused.code) == (400, "InvalidArgument")
    assert refused.fields["ArgumentName"] == "x-oss-expires"


def test_verify_refuses_a_header_that_contradicts_the_parameter_of_its_name() -> None:
    refused = refusal(signed().with_header("x-oss-date", "20251122T100001Z"))

    assert (refused.status, refused.code) == (400, "InvalidArgument")


def test_verify_signs_foreign_parameters_and_all_occurrences_of_one_name() -> None:
    good = signed(query={"a": "2"})

    assert refusal(good._replace(query=good.query + "&a=1")).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("at", [-900, 0, 600], ids=["early", "at once", "last second"])
def test_verify_accepts_a_url_from_a_quarter_before_its_date_until_it_ends(at: int) -> None:
    assert signed()._replace(now=NOW + at).verify().expires_at == NOW + 600


@pytest.mark.parametrize(
    ("at", "ec", "message"),
    [(-901, "0002-00000235", "Request is not yet valid."), (601, "0002-00000236", "Request has expired.")],
    ids=["too early", "too late"],
)
def test_verify_refuses_a_url_outside_its_window(at: int, ec: str, message: str) -> None:
    refused = refusal(signed()._replace(now=NOW + at))

    assert (refused.status, refused.code, refused.ec, refused.message) == (403, "AccessDenied", ec, message)


def test_verify_says_expired_before_it_says_mismatch() -> None:
    refused = refusal(signed().with_query("x-oss-signature", "0" * 64)._replace(now=NOW + 601))

    assert refused.message == "Request has expired."


@pytest.mark.parametrize("expires", [1, 604800])
def test_verify_accepts_the_shortest_and_the_longest_life(expires: int) -> None:
    assert signed(expires=expires).verify().expires_at == NOW + expires


# ---- tokens ----


def test_verify_accepts_a_token_with_characters_that_must_be_encoded() -> None:
    assert signed(access_key_id=STS_AKID, expires=43200).verify().access_key_id == STS_AKID


def test_verify_refuses_a_life_over_twelve_hours_with_a_token() -> None:
    refused = refusal(signed(access_key_id=STS_AKID, expires=43201))

    assert (refused.status, refused.code, refused.ec) == (400, "InvalidArgument", "0002-00000232")
    assert "43200" in refused.message


@pytest.mark.parametrize(
    ("access_key_id", "token", "status", "code", "ec"),
    [
        (STS_AKID, None, 403, "InvalidAccessKeyId", "0002-00000902"),
        (STS_AKID, "forged", 403, "InvalidSecurityToken", "0002-00000006"),
        (STS_AKID, "CAISother", 403, "AccessKeyIdAndSecurityTokenNotMatch", ""),
        (AKID, "forged", 403, "InvalidSecurityToken", "0002-00000006"),
        (AKID, TOKEN, 403, "AccessKeyIdAndSecurityTokenNotMatch", ""),
    ],
    ids=["absent", "forged", "another key's", "forged for a permanent key", "for a permanent key"],
)
def test_verify_refuses_a_token_that_is_not_the_keys(
    access_key_id: str, token: str | None, status: int, code: str, ec: str
) -> None:
    encoded = None if token is None else quote(token, safe="")

    refused = refusal(signed(access_key_id=access_key_id).with_query("x-oss-security-token", encoded))

    assert (refused.status, refused.code, refused.ec) == (status, code, ec)


def test_verify_refuses_a_token_that_comes_as_a_header_beside_a_signed_url() -> None:
    url = signed(access_key_id=STS_AKID).with_query("x-oss-security-token", None)

    refused = refusal(url.with_header("x-oss-security-token", TOKEN))

    assert (refused.status, refused.code, refused.ec) == (400, "InvalidRequest", "0002-00000005")


def test_verify_refuses_a_token_that_was_put_into_the_url_as_it_is() -> None:
    good = signed(access_key_id=STS_AKID)

    refused = refusal(good._replace(query=good.query.replace("%2B", "+")))

    assert refused.code == "InvalidSecurityToken"


def test_verify_refuses_a_token_that_has_ended_though_the_url_has_not() -> None:
    refused = refusal(signed(access_key_id=STS_AKID, expires=7200)._replace(now=NOW + 3601))

    assert (refused.status, refused.code, refused.ec) == (403, "SecurityTokenExpired", "0002-00000007")


# ---- additional headers ----


def test_verify_reports_which_headers_are_bound() -> None:
    verified = signed(headers={"Content-Length": "5", "Content-Type": "a/b", "x-oss-meta-a": "1"}).verify()

    assert verified.signed_headers == ("content-length", "content-type", "x-oss-meta-a")


def test_verify_reads_the_list_of_additional_headers_in_any_order_and_case() -> None:
    good = signed(headers={"Cache-Control": "no-cache", "Content-Length": "5"})

    changed = good.with_query("x-oss-additional-headers", "Content-Length%3Bcache-control")

    # Signed as sorted: what the query says is signed too, so only an equal list can match.
    assert refusal(changed).fields["CanonicalRequest"].splitlines()[-2] == "cache-control;content-length"
    assert good.verify().presigned


def test_verify_reads_a_path_that_was_not_encoded_as_utf8() -> None:
    assert signed(key="照")._replace(path="/照").verify().presigned


def test_verify_reads_a_byte_that_python_escaped_as_that_byte() -> None:
    path = b"/\xe7\x85\xa7\xff".decode("utf-8", "surrogateescape")

    refused = refusal(signed()._replace(path=path))

    assert refused.fields["CanonicalRequest"].splitlines()[1] == f"/{BUCKET}/%E7%85%A7%FF"


def test_verify_trims_the_value_of_a_header() -> None:
    assert signed(headers={"Content-Type": "a/b"}).with_header("content-type", "  a/b\t").verify().presigned


def test_verify_signs_the_bytes_of_a_header_as_they_came() -> None:
    value = "é中".encode().decode("latin-1")

    refused = refusal(signed().with_header("x-oss-meta-a", value))

    assert "x-oss-meta-a:é中" in refused.fields["CanonicalRequest"]


# ---- Authorization ----


def in_header(**changes: str) -> Request:
    """What an SDK sends, here with a signature that cannot match."""
    parts = {
        "Credential": f"{AKID}/20251122/cn-hangzhou/oss/aliyun_v4_request",
        "AdditionalHeaders": "host",
        "Signature": "0" * 64,
        **{name: value for name, value in changes.items() if name[0].isupper()},
    }
    pairs = ",".join(f"{name}={value}" for name, value in parts.items() if value)
    authorization = changes.get("authorization", f"OSS4-HMAC-SHA256 {pairs}")
    return Request(
        method="GET",
        path="/key",
        query="",
        headers={
            "host": "example.com",
            "x-oss-date": changes.get("date", DATE),
            "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
            "authorization": authorization,
        },
        bucket=BUCKET,
        credentials=CREDENTIALS,
        now=NOW,
        region="cn-hangzhou",
        product="oss",
    )


@pytest.mark.parametrize(
    ("changes", "status", "code", "ec", "what"),
    [
        ({}, 403, "SignatureDoesNotMatch", "0002-00000201", ""),
        ({"authorization": "OSS AKID:abc="}, 403, "AccessDenied", "0002-00000080", ""),
        ({"authorization": "Bearer x"}, 400, BAD, "", "is invalid"),
        ({"authorization": ""}, 400, BAD, "", "is invalid"),
        ({"Signature": ""}, 400, BAD, "", "is invalid"),
        ({"Credential": ""}, 400, BAD, "", "is invalid"),
        ({"Credential": "a/b"}, 400, BAD, "0002-00000213", "Invalid credential in"),
        (
            {"Credential": f"{AKID}/20251122/cn-beijing/oss/{END}"},
            400,
            BAD,
            "0002-00000226",
            "Invalid signing region in",
        ),
        (
            {"Credential": f"{AKID}/20251122/cn-hangzhou/oss-cloudbox/{END}"},
            400,
            BAD,
            "0002-00000227",
            "Invalid signing product in",
        ),
        ({"date": "x"}, 400, BAD, "0002-00000502", "Invalid signing date in"),
        ({"date": "20251122T101501Z"}, 403, "RequestTimeTooSkewed", "0002-00000504", ""),
        ({"date": "20251122T094459Z"}, 403, "RequestTimeTooSkewed", "0002-00000504", ""),
        ({"AdditionalHeaders": "host;"}, 400, BAD, "0002-00000209", ""),
        ({"AdditionalHeaders": "absent"}, 400, BAD, "0002-00000211", ""),
    ],
)
def test_verify_names_what_is_wrong_with_an_authorization(
    changes: dict[str, str], status: int, code: str, ec: str, what: str
) -> None:
    refused = refusal(in_header(**changes))

    assert (refused.status, refused.code, refused.ec) == (status, code, ec)
    assert what in refused.message


@pytest.mark.parametrize("date", ["20251122T101500Z", "20251122T094500Z"], ids=["ahead", "behind"])
def test_verify_allows_a_quarter_of_an_hour_either_side_in_a_header(date: str) -> None:
    assert refusal(in_header(date=date)).code == "SignatureDoesNotMatch"


def test_verify_reads_the_date_header_where_there_is_no_x_oss_date() -> None:
    request = in_header().with_header("x-oss-date", None).with_header("date", DATE)

    assert refusal(request).fields["StringToSign"].splitlines()[1] == DATE


def test_verify_refuses_a_signature_in_both_places() -> None:
    both = signed().with_header("authorization", in_header().headers["authorization"])

    refused = refusal(both)

    assert (refused.status, refused.code) == (400, "InvalidArgument")
    assert "not both" in refused.message


def test_secrets_do_not_show_in_any_representation() -> None:
    refused = refusal(signed().with_query("x-oss-signature", "0" * 64))

    shown = repr(refused) + repr(refused.attempt) + repr(CREDENTIALS) + repr(vars(refused))

    assert CREDENTIALS[AKID].secret not in shown
    assert TOKEN not in shown


def test_verify_signs_the_service_itself_as_a_slash() -> None:
    request = in_header()._replace(path="/", bucket=None)  # type: ignore[arg-type]

    assert refusal(request).fields["CanonicalRequest"].splitlines()[1] == "/"


def test_verify_hashes_the_canonical_request_into_the_string_to_sign() -> None:
    fields = refusal(in_header()).fields

    digest = hashlib.sha256(fields["CanonicalRequest"].encode()).hexdigest()
    assert fields["StringToSign"].splitlines()[3] == digest


# ---- anything at all ----

WIRE = st.text(st.characters(max_codepoint=255), max_size=40)
ANY = st.one_of(
    WIRE, st.text(max_size=20), st.sampled_from(["", "+", "%", "%zz", "=", "&", "/", ";", "\n", "\x00"])
)
NAMES = st.sampled_from(
    [
        "authorization",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "host",
        "if-match",
        "origin",
        "range",
        "transfer-encoding",
        "x-oss-additional-headers",
        "x-oss-callback",
        "x-oss-content-sha256",
        "x-oss-date",
        "x-oss-forbid-overwrite",
        "x-oss-meta-a",
        "x-oss-security-token",
        "x-oss-tagging",
    ]
)


@settings(max_examples=120, deadline=None)
@given(
    method=st.one_of(
        st.sampled_from(["PUT", "GET", "HEAD", "DELETE", "POST", "OPTIONS"]), st.text("AZ\xff", max_size=3)
    ),
    start=st.integers(0, 500),
    length=st.integers(0, 60),
    junk=ANY,
    headers=st.dictionaries(NAMES, WIRE, max_size=4),
    resigned=st.booleans(),
)
def test_whatever_arrives_gets_an_answer_of_oss(
    oss: Oss, method: str, start: int, length: int, junk: str, headers: dict[str, str], resigned: bool
) -> None:
    """A good URL with a part of it replaced, or a good signature over anything a signer takes."""
    good = presign(headers=headers if resigned else {}, method=method or "PUT")
    at = len(f"http://{HOST}") + start
    url = good if resigned else good[:at] + junk + good[at + length :]

    status, answered, content = oss.respond(method, url, headers, b"hello")

    with contextlib.closing(content):
        xml = content.read(100_000)
    assert 200 <= status <= 599
    assert all(isinstance(value, str) for value in answered.values())
    assert status < 400 or method == "HEAD" or ElementTree.fromstring(xml).findtext("Code")


@pytest.fixture(scope="module")
def oss() -> Iterator[Oss]:
    oss = Oss([BUCKET], credentials=CREDENTIALS, clock=lambda: NOW)
    with contextlib.closing(oss):
        yield oss


# ---- what only its mutants showed to be held by nothing ----


@pytest.mark.parametrize(
    ("name", "value", "fields"),
    [
        ("x-oss-signature-version", None, {"ArgumentName": "x-oss-signature-version"}),
        (
            "x-oss-signature-version",
            "OSS2",
            {"ArgumentName": "x-oss-signature-version", "ArgumentValue": "OSS2"},
        ),
        ("x-oss-credential", f"/20251122/cn-hangzhou/oss/{END}", {"ArgumentName": "x-oss-credential"}),
        ("x-oss-date", None, {"ArgumentName": "x-oss-date"}),
        ("x-oss-expires", "0", {"ArgumentName": "x-oss-expires", "ArgumentValue": "0"}),
        (
            "x-oss-additional-headers",
            "host;",
            {"ArgumentName": "x-oss-additional-headers", "ArgumentValue": "host;"},
        ),
        (
            "x-oss-additional-headers",
            "absent",
            {"ArgumentName": "x-oss-additional-headers", "ArgumentValue": "absent"},
        ),
        (
            "x-oss-additional-headers",
            "a_b",
            {"ArgumentName": "x-oss-additional-headers", "ArgumentValue": "a_b"},
        ),
    ],
)
def test_an_invalid_argument_is_named_with_its_value_if_it_has_one(
    name: str, value: str | None, fields: dict[str, str]
) -> None:
    assert refusal(signed().with_query(name, value)).fields == fields


@pytest.mark.parametrize(
    ("credential", "message"),
    [
        (f"{AKID}/x", "The credential is invalid."),
        (f"{AKID}/20251122/cn-beijing/oss/{END}", "The signing region in credential is invalid."),
        (f"{AKID}/20251122/cn-hangzhou/s3/{END}", "The signing product in credential is invalid."),
        (f"{AKID}/20251123/cn-hangzhou/oss/{END}", "The signing date in credential is invalid."),
    ],
)
def test_what_is_wrong_with_a_credential_is_said(credential: str, message: str) -> None:
    refused = refusal(signed().with_query("x-oss-credential", credential))

    assert refused.message == message
    assert str(refused) == f"400 InvalidArgument: {message}"


def test_the_regions_expected_and_claimed_are_told() -> None:
    refused = refusal(signed().with_query("x-oss-credential", f"{AKID}/20251122/cn-beijing/oss/{END}"))

    assert refused.fields == {"Region": "cn-beijing", "ExpectedRegion": "cn-hangzhou"}


@pytest.mark.parametrize("query", ["Signature=a", "OSSAccessKeyId=a", "Expires=1"])
def test_one_parameter_of_v1_is_enough_to_be_v1(query: str) -> None:
    assert refusal(signed()._replace(query=query)).ec == "0002-00000080"


def test_one_parameter_of_v1_beside_an_authorization_is_a_foreign_parameter() -> None:
    assert refusal(in_header()._replace(query="Expires=1")).code == "SignatureDoesNotMatch"
    assert refusal(in_header()._replace(query="Expires=1&Signature=b&OSSAccessKeyId=a")).code == BAD


def test_the_product_is_oss_unless_another_is_said() -> None:
    good = signed()

    verified = verify(
        good.method,
        good.path,
        good.query,
        good.headers,
        bucket=good.bucket,
        credentials=good.credentials,
        now=good.now,
        region=good.region,
    )

    assert verified.expires_at == NOW + 600


@pytest.mark.parametrize("expires", ["%B2", "1%B2", "600%00", "+600", " 600"])
def test_what_is_no_ascii_number_is_no_life(expires: str) -> None:
    assert refusal(signed().with_query("x-oss-expires", expires)).ec == "0002-00000232"


@pytest.mark.parametrize(
    "date", ["2025112T100000Z", "20251122T100000Z/", "20251122T100000Zx", "x20251122T100000Z"]
)
def test_a_date_has_nothing_around_it(date: str) -> None:
    assert refusal(signed().with_query("x-oss-date", date)).ec == "0002-00000502"


def test_a_scheme_that_is_not_v4s_is_invalid_though_its_parts_are_good() -> None:
    authorization = in_header().headers["authorization"].replace("OSS4-HMAC-SHA256", "OSS5-HMAC-SHA256")

    refused = refusal(in_header(authorization=authorization))

    assert (refused.code, refused.message) == (BAD, "Authorization header is invalid.")


def test_a_token_in_both_places_is_a_header_that_nobody_signed() -> None:
    good = signed(access_key_id=STS_AKID)

    assert refusal(good.with_header("x-oss-security-token", TOKEN)).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(("late", "good"), [(0, True), (1, False)], ids=["its last second", "a second later"])
def test_a_token_is_good_until_its_last_second(late: int, good: bool) -> None:
    request = signed(access_key_id=STS_AKID)
    known = request.credentials[STS_AKID]._replace(expires=NOW - late)
    request = request._replace(credentials={STS_AKID: known})

    with contextlib.nullcontext() if good else pytest.raises(Refused, match="SecurityTokenExpired"):
        request.verify()


def test_a_credential_has_no_token_and_no_end_unless_they_are_said() -> None:
    assert Credential("secret") == ("secret", None, None)


def test_a_time_is_told_as_oss_writes_it() -> None:
    late, early = refusal(signed()._replace(now=NOW + 601)), refusal(signed()._replace(now=NOW - 901))

    assert late.fields == {"Expires": "2025-11-22T10:10:00.000Z", "ServerTime": "2025-11-22T10:10:01.000Z"}
    assert early.fields == {
        "RequestTime": "2025-11-22T10:00:00.000Z",
        "ServerTime": "2025-11-22T09:44:59.000Z",
    }


def test_an_empty_list_of_additional_headers_in_an_authorization_is_no_list() -> None:
    authorization = (
        in_header().headers["authorization"].replace("AdditionalHeaders=host", "AdditionalHeaders=")
    )

    assert refusal(in_header(authorization=authorization)).code == "SignatureDoesNotMatch"


def test_a_credential_shows_whether_it_has_a_token() -> None:
    assert repr(Credential("secret")) == "Credential(secret=***, token=None, expires=None)"
    assert repr(Credential("secret", "token", 5.0)) == "Credential(secret=***, token=***, expires=5.0)"


def test_a_hash_of_the_body_that_is_sent_is_what_is_signed() -> None:
    good = signed(headers={"x-oss-content-sha256": "0" * 64})

    assert good.verify().signed_headers == ("x-oss-content-sha256",)
    assert refusal(good.with_header("x-oss-content-sha256", "1" * 64)).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    "request_",
    [
        in_header(authorization="Bearer x"),
        in_header(Signature=""),
        signed().with_header("authorization", in_header().headers["authorization"]),
    ],
    ids=["another scheme", "no signature", "a signed URL as well"],
)
def test_what_is_wrong_with_an_authorization_is_named(request_: Request) -> None:
    assert refusal(request_).fields == {"ArgumentName": "Authorization"}


@pytest.mark.parametrize(
    ("token", "code", "fields"),
    [
        (None, "InvalidAccessKeyId", {"OSSAccessKeyId": STS_AKID}),
        ("forged", "InvalidSecurityToken", {"SecurityToken": "forged"}),
        ("CAISother", "AccessKeyIdAndSecurityTokenNotMatch", {"OSSAccessKeyId": STS_AKID}),
    ],
    ids=["absent", "forged", "another key's"],
)
def test_a_token_beside_an_authorization_is_a_header(
    token: str | None, code: str, fields: dict[str, str]
) -> None:
    request = in_header(Credential=f"{STS_AKID}/20251122/cn-hangzhou/oss/{END}")

    refused = refusal(request.with_header("x-oss-security-token", token))

    assert (refused.code, refused.fields) == (code, fields)


def test_a_good_authorization_has_no_end_and_binds_its_token() -> None:
    request = in_header(Credential=f"{STS_AKID}/20251122/cn-hangzhou/oss/{END}")
    request = request.with_header("x-oss-security-token", TOKEN)
    attempt = refusal(request).attempt
    assert attempt is not None

    authorization = request.headers["authorization"].replace("0" * 64, signature_of(attempt))

    assert request.with_header("authorization", authorization).verify() == Verified(
        STS_AKID,
        presigned=False,
        expires_at=None,
        signed_headers=("host", "x-oss-content-sha256", "x-oss-date", "x-oss-security-token"),
    )


def test_an_authorization_without_any_date_has_an_invalid_one() -> None:
    refused = refusal(in_header().with_header("x-oss-date", None))

    assert (refused.code, refused.ec) == (BAD, "0002-00000502")
    assert refused.message == "Invalid signing date in Authorization header."


def test_a_signature_that_is_no_text_of_bytes_is_one_that_differs() -> None:
    refused = refusal(in_header(Signature="照\udcff"))

    assert (refused.code, refused.fields["SignatureProvided"]) == ("SignatureDoesNotMatch", "照\udcff")


def test_a_token_that_was_not_encoded_is_shown_as_it_was_read() -> None:
    good = signed(access_key_id=STS_AKID)

    refused = refusal(good._replace(query=good.query.replace("%2B", "+")))

    assert refused.fields == {"SecurityToken": TOKEN.replace("+", " ")}


def test_a_plus_in_a_query_is_a_space_on_either_side() -> None:
    assert parse_query("a+b=c+d&e%2Bf") == [(b"a b", b"c d"), (b"e+f", b"")]


def test_every_slash_of_a_query_is_encoded_and_no_tilde() -> None:
    assert signed(query={"~a/b": "~c/d"}).verify().presigned
    assert canonical_query(parse_query("~a/b=~c/d")) == "~a%2Fb=~c%2Fd"


@pytest.mark.parametrize(
    ("date", "signed_at"),
    [("20251122T101501Z", "2025-11-22T10:15:01.000Z"), ("20251122T094459Z", "2025-11-22T09:44:59.000Z")],
    ids=["ahead", "behind"],
)
def test_a_skew_is_told_with_both_times(date: str, signed_at: str) -> None:
    fields = refusal(in_header(date=date)).fields

    assert fields == {"RequestTime": signed_at, "ServerTime": "2025-11-22T10:00:00.000Z"}


@pytest.mark.parametrize(
    ("expires", "ec"),
    [("600".zfill(11), "0002-00000201"), ("600".zfill(12), "0002-00000232")],
    ids=["11 digits", "12 digits"],
)
def test_a_life_is_written_in_eleven_digits_at_most(expires: str, ec: str) -> None:
    assert refusal(signed().with_query("x-oss-expires", expires)).ec == ec


def test_an_attempt_shows_what_was_asked_for() -> None:
    assert repr(refusal(signed(key="a/b").with_query("x", "1")).attempt) == f"Attempt(PUT {BUCKET}/a/b)"


def test_the_bytes_of_a_path_that_was_not_encoded_are_those_of_the_key() -> None:
    assert signed(key="é照")._replace(path="/" + "é照".encode().decode("latin-1")).verify().presigned


def test_the_bytes_of_a_header_are_hashed_as_they_came() -> None:
    good = signed(headers={"x-oss-meta-a": "é照"})

    assert good.with_header("x-oss-meta-a", "é照".encode().decode("latin-1")).verify().presigned


def test_the_name_of_a_parameter_may_be_any_bytes() -> None:
    assert refusal(signed().with_query("x-oss-%FF", "%FE")).code == "SignatureDoesNotMatch"
