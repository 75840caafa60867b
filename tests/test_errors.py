from __future__ import annotations

import inspect

import pytest

from upload_url import errors


def leaves(cls):
    below = cls.__subclasses__()
    return [leaf for sub in below for leaf in leaves(sub)] if below else [cls]


LEAVES = leaves(errors.Refusal)
EXPECTED = {
    "InvalidEvent": 400,
    "InvalidJson": 400,
    "UnknownField": 400,
    "InvalidField": 400,
    "InvalidKey": 400,
    "ExpiresOutOfRange": 400,
    "InvalidHeader": 400,
    "IdentityMissing": 401,
    "IdentityInvalid": 401,
    "KeyNotAllowed": 403,
    "ContentTypeNotAllowed": 403,
    "HeaderNotAllowed": 403,
    "MethodNotAllowed": 405,
    "SizeNotAllowed": 413,
    "Misconfigured": 500,
    "CredentialsMissing": 500,
    "InternalError": 500,
}


def test_the_codes_and_their_status_are_the_documented_ones():
    assert {leaf.__name__: leaf.status for leaf in LEAVES} == EXPECTED


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_tree_as_text_has_every_leaf_with_its_status(leaf):
    text = inspect.getmodule(leaf).__doc__
    lines = [line.split() for line in text.splitlines() if line.strip().endswith(str(leaf.status))]

    assert [leaf.__name__, str(leaf.status)] in [words[-2:] for words in lines]


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_says_when_it_is_raised_and_has_a_sentence_as_title(leaf):
    assert leaf.__doc__.startswith("Raised ")
    assert leaf.title.endswith(".")


def test_titles_tell_the_codes_apart():
    assert len({leaf.title for leaf in LEAVES}) == len(LEAVES)


def test_a_problem_has_what_rfc_9457_asks_for_and_what_helps():
    refusal = errors.SizeNotAllowed(
        "Too much.", field="size", limit=5, allowed=("a",), log="not for the caller"
    )

    assert refusal.problem("1-abc") == {
        "type": "urn:oss-upload-url:readme#sizenotallowed",
        "title": "The upload is too large.",
        "status": 413,
        "detail": "Too much.",
        "code": "SizeNotAllowed",
        "requestId": "1-abc",
        "field": "size",
        "limit": 5,
        "allowed": ["a"],
    }


def test_a_problem_leaves_out_what_it_does_not_know():
    assert set(errors.InvalidJson("No.").problem("")) == {
        "type",
        "title",
        "status",
        "detail",
        "code",
        "requestId",
    }
