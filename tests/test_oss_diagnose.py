"""The likely cause of a refusal: one mistake made on purpose, and the sentence that names it."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, unquote

import pytest

from local.oss_verify import Attempt
from tests.oss_fronts import (
    AKID,
    BUCKET,
    HOST,
    NOW,
    SECRET,
    STS_AKID,
    Front,
    front_of,
    presign,
    signed_by_stages,
)

JPEG = {"Content-Type": "image/jpeg"}
KEY = "folder/a b.png"


@pytest.fixture(params=["socket", "responses"])
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    with front_of(request.param, buckets=[BUCKET, "other-bucket"]) as front:
        yield front


def wrong_signer(change: Callable[[Attempt], Attempt], key: str = KEY, **query: str) -> str:
    """A URL whose signer made one mistake, by changing what it signs.

    Args:
        change: makes the mistake in what the signer signs.
        key: in plain text.
        query: further parameters.
    """
    path, _, whole = presign(key, query=query).partition(HOST)[2].partition("?")
    return signed_by_stages(path, "&".join(reversed(whole.split("&"))), change)


def uri(text: str) -> Callable[[Attempt], Attempt]:
    return lambda attempt: attempt._replace(uri=text)


def query(rewrite: Callable[[str], str]) -> Callable[[Attempt], Attempt]:
    return lambda attempt: attempt._replace(query=rewrite(attempt.query))


# ---- what clients do ----


@pytest.mark.parametrize(
    ("signed", "sent", "cause"),
    [
        ({}, JPEG, "The client sent Content-Type: image/jpeg, which was not signed"),
        (JPEG, {}, "The client did not send Content-Type: image/jpeg, which was signed"),
        (
            JPEG,
            {"Content-Type": "application/x-www-form-urlencoded"},
            "The client sent Content-Type: application/x-www-form-urlencoded, but image/jpeg was signed",
        ),
        (
            {"Content-Type": "text/x-odd"},
            {"Content-Type": "text/x-odd;charset=UTF-8"},
            "The client sent Content-Type: text/x-odd;charset=UTF-8, but text/x-odd was signed",
        ),
        (
            {"Content-Type": "text/x-odd; charset=utf-8"},
            {"Content-Type": "text/x-odd"},
            "but text/x-odd; charset=utf-8 was signed",
        ),
        ({"Content-Type": "application/epub+zip"}, {}, "did not send Content-Type: application/epub+zip"),
        ({}, {"Content-MD5": "XUFAKrxLKna5cZ2REBfFkg=="}, "The client sent Content-MD5: XUFAKrx"),
        ({}, {"x-oss-meta-cdn": "1"}, "The client sent x-oss-meta-cdn: 1, which was not signed"),
        ({}, {"x-oss-meta-a": "1", "x-oss-meta-b": "2"}, "sent x-oss-meta-a, x-oss-meta-b, which were not"),
        ({"x-oss-forbid-overwrite": "true"}, {}, "did not send x-oss-forbid-overwrite: true"),
        (
            {"x-oss-object-acl": "private"},
            {"x-oss-object-acl": "public-read"},
            "The client sent x-oss-object-acl: public-read, but private was signed",
        ),
        (
            {"Content-Type": "image/png", "x-oss-storage-class": "IA"},
            {},
            "Content-Type: image/png, which was signed; and the client did not send x-oss-storage-class: IA",
        ),
        (
            {"x-oss-meta-name": "%E4%B8%AD"},
            {"x-oss-meta-name": "中".encode().decode("latin-1")},
            "The value of x-oss-meta-name was signed in another encoding",
        ),
        (
            {"x-oss-meta-name": "a%20b"},
            {"x-oss-meta-name": "a b"},
            "The value of x-oss-meta-name was signed in another encoding",
        ),
        (
            {"x-oss-meta-name": "a b"},
            {"x-oss-meta-name": "a%20b"},
            "The value of x-oss-meta-name was signed in another encoding",
        ),
        ({"Content-Length": "6"}, {}, "above all the value of content-length, which is bound."),
        ({"host": "proxy.internal"}, {}, "above all the value of host, which is bound."),
        ({"x-oss-meta-a": "1"}, {}, "No usual mistake explains it: compare CanonicalRequest"),
        (
            {"host": f"{BUCKET}.oss-cn-hangzhou-internal.aliyuncs.com"},
            {},
            "The host examplebucket.oss-cn-hangzhou-internal.aliyuncs.com was signed, but",
        ),
    ],
)
def test_the_cause_names_what_the_client_did_to_the_headers(
    front: Front, signed: Mapping[str, str], sent: Mapping[str, str], cause: str
) -> None:
    reply = front.send("PUT", presign(headers=dict(signed)), b"hello", dict(sent))

    assert reply.code == "SignatureDoesNotMatch"
    assert cause in (reply.cause or "")


def test_the_cause_names_the_value_that_was_signed_as_utf8_and_sent_as_latin1(front: Front) -> None:
    value = "é".encode().decode("latin-1")
    url = wrong_signer(lambda attempt: attempt._replace(headers={"x-oss-meta-a": value}))

    reply = front.send("PUT", url, b"hello", {"x-oss-meta-a": "é"})

    assert "The value of x-oss-meta-a was signed in another encoding" in (reply.cause or "")


def test_the_cause_names_the_value_that_was_signed_as_latin1_and_sent_as_utf8(front: Front) -> None:
    url = wrong_signer(lambda attempt: attempt._replace(headers={"x-oss-meta-a": "é"}))

    reply = front.send("PUT", url, b"hello", {"x-oss-meta-a": "é".encode().decode("latin-1")})

    assert "The value of x-oss-meta-a was signed in another encoding" in (reply.cause or "")


def test_the_cause_does_not_repeat_a_value_that_is_not_plain(front: Front) -> None:
    reply = front.put(presign(), x_oss_meta_long="x" * 100)

    assert reply.cause == "The client sent x-oss-meta-long, which was not signed: send it not, or sign it."


@pytest.mark.parametrize(("signed", "sent"), [("GET", "PUT"), ("PUT", "GET"), ("POST", "PUT")])
def test_the_cause_names_the_method_that_was_signed(front: Front, signed: str, sent: str) -> None:
    reply = front.send(sent, presign(method=signed), b"hello" if sent == "PUT" else None)

    assert reply.cause == f"It was signed for {signed}, but sent with {sent}."


# ---- what happens to the URL ----


@pytest.mark.parametrize(
    ("key", "before", "after", "cause"),
    [
        ("a%20b", "a%2520b", "a%20b", "The key was encoded before it was signed, or the URL was decoded"),
        ("a b", "a%20b", "a%2520b", "The URL's path was encoded a second time"),
        ("a b", "a%20b", "a+b", "A space in the key was sent as +"),
        ("a+b", "a%2Bb", "a%20b", "A + in the key was sent as a space"),
        ("/a", "//a", "/a", "It was signed for a key with a slash at its start"),
        ("a", "/a", "//a", "The URL has a slash at the key's start that was not signed"),
        ("a/b", "a/b", "a//b", "The URL has a doubled slash that was not signed"),
        ("a//b", "a//b", "a/b", "A doubled slash in the key was folded on its way"),
        ("\u00e9", "%C3%A9", "e%CC%81", "The key was signed in Unicode's form NFC"),
        ("e\u0301", "e%CC%81", "%C3%A9", "The key was signed in Unicode's form NFD"),
    ],
)
def test_the_cause_names_what_happened_to_the_path(
    front: Front, key: str, before: str, after: str, cause: str
) -> None:
    url = presign(key).replace(f"{before}?", f"{after}?", 1)

    reply = front.put(url)

    assert cause in (reply.cause or "")


def test_the_cause_names_what_happened_to_a_path_that_was_sent_without_percent_encoding(front: Front) -> None:
    url = presign("照 b").replace(quote("照 b"), "照+b".encode().decode("latin-1"))

    _, _, content = front.oss.respond("PUT", url, {"Content-Length": "5"}, b"hello")

    with content:
        assert b"A space in the key was sent as +" in content.read(10_000)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda url: url + "&utm_source=mail", "The parameter utm_source was added to the URL"),
        (lambda url: url + "&a=1&b=2", "Parameters were added to the URL after it was signed"),
        (lambda url: url.replace("expires=600", "expires=86400"), "x-oss-expires was changed after signing"),
        (lambda url: url[:-64] + url[-64:].upper(), "The signature is in upper case"),
        (lambda url: url.replace(BUCKET, "other-bucket"), "It was signed for the bucket examplebucket"),
    ],
    ids=["one parameter", "two parameters", "expires", "signature", "bucket"],
)
def test_the_cause_names_what_was_altered_after_signing(
    front: Front, change: Callable[[str], str], cause: str
) -> None:
    reply = front.put(change(presign()))

    assert cause in (reply.cause or "")


# ---- what signers do ----


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (uri(f"/{BUCKET}/folder%2Fa%20b.png"), "The signer encoded the slashes of the key"),
        (uri("/folder/a%20b.png"), "The signer left the bucket out"),
        (uri(f"/{BUCKET}/{BUCKET}/folder/a%20b.png"), "The signer put the bucket in twice"),
        (uri(f"/{BUCKET}/folder/a b.png"), "The signer did not encode the key"),
        (uri(f"/{BUCKET}/folder/a+b.png"), "A + in the key was sent as a space|as an HTML form does"),
        (query(lambda text: text.replace("%2F", "/")), "The signer did not encode the slashes in the query"),
        (query(lambda text: text + "="), "The signer wrote = after a parameter that has no value"),
        (
            query(lambda text: "&".join(reversed(text.split("&")))),
            "The signer did not sort the parameters",
        ),
        (lambda attempt: attempt._replace(region="cn-beijing"), "derived for the region cn-beijing"),
        (
            lambda attempt: attempt._replace(region="oss-cn-hangzhou"),
            "derived for the region oss-cn-hangzhou",
        ),
        (lambda attempt: attempt._replace(region=""), "derived for the region \\(none\\)"),
        (lambda attempt: attempt._replace(secret=SECRET + "\n"), "The signer's secret has white space"),
        (lambda attempt: attempt._replace(secret=""), "The signer's secret was empty"),
        (lambda attempt: attempt._replace(secret="anotherSecret"), "with the secret of LTAIother"),
        (
            lambda attempt: attempt._replace(
                payload="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            ),
            "The signer hashed an empty payload",
        ),
    ],
)
def test_the_cause_names_what_the_signer_did(
    front: Front, change: Callable[[Attempt], Attempt], cause: str
) -> None:
    reply = front.put(wrong_signer(change, zz=""))

    assert reply.code == "SignatureDoesNotMatch"
    assert re.search(cause, reply.cause or "")


@pytest.mark.parametrize(
    ("key", "signed", "cause"),
    [
        ("it's!(1)*", "it's!(1)*", "The signer did not encode the key|as encodeURIComponent does"),
        ("it's (1)", "it's%20(1)", "as encodeURIComponent does"),
        ("a b;c,d", "a%20b;c,d", "as encodeURI does"),
        ("a b~", "a+b%7E", "as an HTML form does"),
        ("照", "%e7%85%a7", "percent-codes in lower case"),
    ],
)
def test_the_cause_names_how_the_signer_encoded_the_key(
    front: Front, key: str, signed: str, cause: str
) -> None:
    reply = front.put(wrong_signer(uri(f"/{BUCKET}/{signed}"), key))

    assert re.search(cause, reply.cause or "")


def test_the_cause_names_a_token_that_was_added_after_signing(front: Front) -> None:
    good = presign(access_key_id=STS_AKID)
    unsigned = presign(access_key_id=STS_AKID, token="")
    token = re.search("&x-oss-security-token=[^&]*", good)

    assert token
    reply = front.put(unsigned + token[0])

    assert "The token was added after signing" in (reply.cause or "")


def test_the_cause_names_a_query_that_was_not_encoded(front: Front) -> None:
    reply = front.put(wrong_signer(query(unquote), note="a b"))

    assert "The signer did not encode the query" in (reply.cause or "")


def test_the_cause_names_a_plus_in_the_query_that_stands_for_a_space(front: Front) -> None:
    url = presign(query={"note": "a+b"})

    reply = front.put(url.replace("a%2Bb", "a+b"))

    assert "A + in the query stands for a space" in (reply.cause or "")


def test_the_cause_names_a_signature_in_base64(front: Front) -> None:
    url, _, digits = presign().rpartition("=")

    reply = front.put(f"{url}={quote(base64.b64encode(bytes.fromhex(digits)), safe='')}")

    assert reply.cause == "The signature is in base64, where lower-case hex is due."


# ---- where OSS's message says what, but not why ----


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (presign(now=NOW - 601), "ended at 2025-11-22T09:59:59.000Z, and this came at 2025-11-22T10:00:00"),
        (presign(now=NOW + 28800), "is dated 2025-11-22T18:00:00.000Z, and here it is 2025-11-22T10:00:00"),
        (presign(region="cn-beijing"), "for the region cn-beijing, but the bucket is in cn-hangzhou."),
        (presign(region="oss-cn-hangzhou"), "is cn-hangzhou, without the oss- of the endpoint."),
        (presign(region=""), "for the region (none), but the bucket is in cn-hangzhou."),
        (presign(access_key_id=STS_AKID).replace("%2B", "+"), "put into the URL without percent-encoding"),
        (presign(headers={"cache-control": "no-cache"}), "did not send a header that was bound"),
    ],
)
def test_the_cause_says_more_than_the_message(front: Front, url: str, cause: str) -> None:
    assert cause in (front.put(url).cause or "")


def test_the_cause_is_left_out_where_the_message_says_all(front: Front) -> None:
    reply = front.put(presign(access_key_id="unknown"))

    assert reply.code == "InvalidAccessKeyId"
    assert reply.cause is None


@pytest.mark.parametrize(("headers", "parameters"), [(500, 0), (0, 10_000)], ids=["headers", "parameters"])
def test_a_request_with_very_much_in_it_is_not_searched_for_minutes(
    front: Front, headers: int, parameters: int
) -> None:
    url = presign() + "0" + "&a" * parameters
    many = {f"x-oss-meta-{number}": "1" for number in range(headers)}
    started = time.monotonic()

    reply = front.send("PUT", url, b"hello", many)

    assert reply.code == "SignatureDoesNotMatch"
    assert time.monotonic() - started < 10


def test_two_known_mistakes_at_once_are_not_explained_falsely(front: Front) -> None:
    reply = front.put(presign("other").replace("/other?", "/folder?").replace(AKID, "LTAIother"))

    assert reply.cause == (
        "No usual mistake explains it: compare CanonicalRequest, which is what arrived, with the signer's."
    )
