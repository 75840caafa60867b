from __future__ import annotations

import hmac
import json
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings

from local.oss_verify import Credential, verify
from tests import hostile, official_sdks
from upload_url import signer
from upload_url.signer import Credentials

VECTORS = json.loads((Path(__file__).parent / "vectors" / "oss-v4-vectors.json").read_text())
NOW = 1_790_000_000
CREDENTIALS = Credentials("STS.NUkeyId", "secret", "CAIS+/token==")


def presign(**changes):
    arguments = {
        "credentials": CREDENTIALS,
        "base_url": "https://b.oss-cn-hangzhou.aliyuncs.com",
        "bucket": "b",
        "key": "cat.png",
        "region": "cn-hangzhou",
        "expires": 600,
        "now": NOW,
    }
    arguments.update(changes)
    return signer.presign(arguments.pop("credentials"), **arguments)


@pytest.fixture(params=VECTORS, ids=[vector["id"] for vector in VECTORS])
def vector(request):
    return request.param


@pytest.fixture
def canonical_request(vector):
    headers = {name.lower(): value for name, value in vector["headers"].items()}
    additional = signer.effective_additional_headers(vector["additional_headers"], headers)
    scope = f"{vector['datetime'][:8]}/{vector['region']}/{vector['product']}/{signer.TERMINATOR}"
    query = {
        **vector["query"],
        "x-oss-credential": f"{vector['access_key_id']}/{scope}",
        "x-oss-date": vector["datetime"],
        "x-oss-expires": str(vector["expires"]),
        "x-oss-signature-version": signer.ALGORITHM,
    }
    query |= {"x-oss-security-token": vector["security_token"]} if vector["security_token"] else {}
    query |= {"x-oss-additional-headers": ";".join(additional)} if additional else {}
    return signer.canonical_request(
        vector["method"],
        f"/{vector['bucket']}/{signer.encode_path(vector['key'])}",
        signer.canonical_query({signer.encode(name): signer.encode(query[name]) for name in query}),
        signer.canonical_headers(headers, additional),
        ";".join(additional),
        headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
    )


def test_the_canonical_request_is_the_official_one(vector, canonical_request):
    assert canonical_request == vector["canonical_request"]


def test_the_string_to_sign_is_the_official_one(vector):
    scope = vector["string_to_sign"].split("\n")[2]

    assert (
        signer.string_to_sign(vector["datetime"], scope, vector["canonical_request"])
        == vector["string_to_sign"]
    )


def test_the_signing_key_gives_the_official_signature(vector):
    key = signer.signing_key(
        vector["access_key_secret"], vector["datetime"][:8], vector["region"], vector["product"]
    )

    signature = hmac.new(key, vector["string_to_sign"].encode(), sha256).hexdigest()

    assert signature == vector["expected_signature"]


def test_the_whole_url_is_the_official_one(vector):
    url = signer.presign(
        Credentials(vector["access_key_id"], vector["access_key_secret"], vector["security_token"] or ""),
        base_url=f"{vector['scheme']}://{vector['host']}",
        bucket=vector["bucket"],
        key=vector["key"],
        region=vector["region"],
        product=vector["product"],
        expires=vector["expires"],
        now=epoch(vector["datetime"]),
        method=vector["method"],
        headers=vector["headers"],
        additional_headers=vector["additional_headers"],
        query=vector["query"],
    )

    assert official_sdks.parts(url) == official_sdks.parts(vector["canonical_url"])


def epoch(date):
    from calendar import timegm
    from time import strptime

    return timegm(strptime(date, "%Y%m%dT%H%M%SZ"))


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("cat.png", "cat.png"),
        ("a b", "a%20b"),
        ("a+b", "a%2Bb"),
        ("100%", "100%25"),
        ("%2B", "%252B"),
        ("~-._", "~-._"),
        ("?#&='\"", "%3F%23%26%3D%27%22"),
        ("猫", "%E7%8C%AB"),
        ("a/b", "a%2Fb"),
        ("", ""),
    ],
)
def test_encode_keeps_the_unreserved_characters_alone(text, encoded):
    assert signer.encode(text) == encoded


def test_encode_path_keeps_slashes():
    assert signer.encode_path("/a//b/../c d/") == "/a//b/../c%20d/"


def test_the_token_is_signed_and_encoded():
    with_token, without = presign(), presign(credentials=Credentials("STS.NUkeyId", "secret"))

    assert "x-oss-security-token=CAIS%2B%2Ftoken%3D%3D&" in with_token
    assert "token" not in without
    assert official_sdks.signature(with_token) != official_sdks.signature(without)


def test_a_path_style_url_signs_the_bucket_once():
    virtual = presign(bucket="b")
    path_style = presign(bucket="b", base_url="http://127.0.0.1:9000/b")

    assert path_style.startswith("http://127.0.0.1:9000/b/cat.png?")
    assert official_sdks.signature(path_style) == official_sdks.signature(virtual)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "dog.png"},
        {"bucket": "c"},
        {"region": "cn-beijing"},
        {"product": "oss-cloudbox"},
        {"expires": 601},
        {"now": NOW + 1},
        {"method": "GET"},
        {"headers": {"Content-Type": "image/png"}},
        {"headers": {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}},
        {"headers": {"x-oss-meta-a": "b"}},
        {"headers": {"content-length": "5"}, "additional_headers": ["content-length"]},
        {"query": {"x": ""}},
        {"credentials": Credentials("STS.NUkeyId", "secret", "another")},
        {"credentials": Credentials("STS.NUkeyIe", "secret", "CAIS+/token==")},
        {"credentials": Credentials("STS.NUkeyId", "secret!", "CAIS+/token==")},
    ],
    ids=str,
)
def test_everything_that_matters_changes_the_signature(change):
    assert official_sdks.signature(presign(**change)) != official_sdks.signature(presign())


def test_a_header_that_is_neither_default_nor_listed_is_not_signed():
    assert presign(headers={"User-Agent": "x"}) == presign()


def test_a_listed_header_that_is_absent_is_not_listed_in_the_url():
    assert presign(additional_headers=["host", "content-length"]) == presign()


def test_additional_headers_are_listed_lowered_sorted_and_once():
    url = presign(
        headers={"Zeta": "1", "Alpha": "2", "x-oss-meta-a": "3"},
        additional_headers=["Zeta", "ALPHA", "alpha", "x-oss-meta-a"],
    )

    assert "x-oss-additional-headers=alpha%3Bzeta&" in url


def test_blanks_around_a_header_value_are_not_signed():
    assert presign(headers={"Content-Type": "  image/png\t"}) == presign(
        headers={"Content-Type": "image/png"}
    )


def test_the_signing_key_follows_the_secret_the_day_the_region_and_the_product():
    first = signer.signing_key("s", "20260101", "r", "oss")

    others = {
        signer.signing_key("t", "20260101", "r", "oss"),
        signer.signing_key("s", "20260102", "r", "oss"),
        signer.signing_key("s", "20260101", "q", "oss"),
        signer.signing_key("s", "20260101", "r", "oss-cloudbox"),
    }

    assert len(others) == 4
    assert first not in others
    assert signer.signing_key("s", "20260101", "r", "oss") == first


def test_credentials_hide_in_repr():
    assert "secret" not in repr(CREDENTIALS)
    assert "CAIS" not in repr(CREDENTIALS)


def test_a_hash_of_the_body_that_is_sent_is_what_is_signed():
    headers = {"x-oss-content-sha256": "0" * 64}
    split = urlsplit(presign(headers=headers))

    verified = verify(
        "PUT",
        split.path,
        split.query,
        headers,
        bucket="b",
        credentials={"STS.NUkeyId": Credential("secret", "CAIS+/token==")},
        now=NOW,
        region="cn-hangzhou",
    )

    assert verified.signed_headers == ("x-oss-content-sha256",)


@settings(max_examples=2000, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile.signings)
def test_three_signers_agree_on_hostile_input(signing):
    ours, by_oss2, by_oss_v2 = official_sdks.three_urls(**signing)

    assert official_sdks.parts(ours) == official_sdks.parts(by_oss2)
    assert official_sdks.parts(ours) == official_sdks.parts(by_oss_v2)
