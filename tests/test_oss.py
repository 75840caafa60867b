"""OSS's answers: every test through both fronts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest

from tests.oss_fronts import Front, front_of, presign

FRONTS = ["socket", "responses"]


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    with front_of(request.param) as front:
        yield front


# ---- what is stored ----


def test_put_object_stores_the_body_and_answers_with_its_digests(front: Front) -> None:
    reply = front.put(presign())

    assert reply.status == 200
    assert reply.body == b""
    assert reply.headers["etag"] == f'"{hashlib.md5(b"hello").hexdigest().upper()}"'
    assert reply.headers["content-md5"] == base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    assert reply.headers["x-oss-hash-crc64ecma"] == "11177612005948864433"
    assert len(reply.headers["x-oss-request-id"]) == 24
    assert reply.headers["x-oss-server-time"].isdigit()
    assert reply.headers["server"] == "AliyunOSS"
    assert reply.headers["date"] == "Sat, 22 Nov 2025 10:00:00 GMT"
    assert front.oss.objects["folder/photo.png"].read() == b"hello"
