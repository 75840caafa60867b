from __future__ import annotations

import logging
import sys

import pytest

from tests import official_sdks
from tests.surroundings import fetched
from upload_url import errors, sdk_signer, signer
from upload_url.signer import Credentials

CREDENTIALS = Credentials("STS.NUkeyId", "secret", "CAIS+/token==")
UPLOAD = {"bucket": "my-bucket", "key": "a b/猫.png", "region": "cn-hangzhou", "expires": 600}
HEADERS = {
    "Content-Type": "image/png",
    "Content-Length": "5",
    "cache-control": "no-cache",
    "x-oss-meta-a": "b",
}


@pytest.fixture
def other_oss2(monkeypatch):
    """Puts a real oss2 of another version, fetched once, in the place of the pinned one."""

    def put(version):
        for name in [name for name in sys.modules if name.partition(".")[0] == "oss2"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(fetched(f"oss2=={version}"))

    return put


def ours(now, base_url="https://my-bucket.oss-cn-hangzhou.aliyuncs.com"):
    return signer.presign(
        CREDENTIALS, base_url=base_url, now=now, headers=HEADERS, additional_headers=HEADERS, **UPLOAD
    )


@pytest.mark.parametrize(
    ("endpoint", "base_url", "custom_domain"),
    [
        ("https://oss-cn-hangzhou.aliyuncs.com", "https://my-bucket.oss-cn-hangzhou.aliyuncs.com", False),
        ("https://upload.example.com", "https://upload.example.com", True),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/my-bucket", False),
        ("http://localhost:9000", "http://localhost:9000/my-bucket", False),
    ],
)
def test_oss2_gives_the_same_url(endpoint, base_url, custom_domain):
    url, now = sdk_signer.presign(
        CREDENTIALS, endpoint=endpoint, custom_domain=custom_domain, headers=HEADERS, **UPLOAD
    )

    assert official_sdks.parts(url) == official_sdks.parts(ours(now, base_url))
    assert "/a%20b/%E7%8C%AB.png?" in url


def sign():
    return sdk_signer.presign(
        CREDENTIALS,
        endpoint="https://oss-cn-hangzhou.aliyuncs.com",
        custom_domain=False,
        headers=HEADERS,
        **UPLOAD,
    )


def test_the_oss2_that_python3_12_has_gives_the_same_url(other_oss2):
    other_oss2("2.18.6")

    url, now = sign()

    assert official_sdks.parts(url) == official_sdks.parts(ours(now))


@pytest.mark.parametrize("version", ["2.16.0", "2.18.4"])
def test_an_oss2_that_is_too_old_is_misconfigured_and_named(other_oss2, version):
    other_oss2(version)

    with pytest.raises(errors.Misconfigured) as refused:
        sign()

    assert refused.value.log[0].startswith(f"OSS_SIGNER=oss2: oss2 {version} is too old")
    assert "2.18.6 or later" in refused.value.log[0]


def test_an_absent_oss2_is_misconfigured(monkeypatch):
    monkeypatch.setitem(sys.modules, "oss2", None)

    with pytest.raises(errors.Misconfigured) as refused:
        sign()

    assert "oss2 cannot be imported" in refused.value.log[0]


def test_oss2_does_not_log_the_token(caplog):
    caplog.set_level(logging.DEBUG)

    sign()

    assert "CAIS" not in caplog.text


@pytest.mark.parametrize("key", ["?a", "??", "a?"])
def test_a_key_may_begin_with_a_question_mark(key):
    upload = {**UPLOAD, "key": key}
    url, now = sdk_signer.presign(
        CREDENTIALS,
        endpoint="https://oss-cn-hangzhou.aliyuncs.com",
        custom_domain=False,
        headers=HEADERS,
        **upload,
    )

    mine = signer.presign(
        CREDENTIALS,
        base_url="https://my-bucket.oss-cn-hangzhou.aliyuncs.com",
        now=now,
        headers=HEADERS,
        additional_headers=HEADERS,
        **upload,
    )
    assert official_sdks.parts(url) == official_sdks.parts(mine)
