"""The official SDKs against the stand-in: their URLs, and their own requests, signed in headers."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alibabacloud_oss_v2 as v2
import oss2
import pytest
import requests
from oss2.credentials import StaticCredentialsProvider

from local.oss import ACCESS_KEY_ID, BUCKET, CREDENTIALS, Oss, mock_oss, serve
from local.oss_verify import Credential
from tests import surroundings

ROOT = Path(__file__).parents[1]
PERMANENT = "LTAIpermanent"
KNOWN = {**CREDENTIALS, PERMANENT: Credential("permanentSecret")}
KEYS = ["plain.txt", "folder/a b+c%d.txt", "照片/图 (1).png", "what?#&=", "it's ~*!"]


@pytest.fixture(params=["socket", "responses"])
def oss(request: pytest.FixtureRequest) -> Iterator[Oss]:
    if request.param == "responses":
        with mock_oss(credentials=KNOWN) as oss:
            yield oss
    else:
        oss = Oss(credentials=KNOWN)
        with contextlib.closing(oss), serve(oss):
            yield oss


@pytest.fixture(params=[ACCESS_KEY_ID, PERMANENT], ids=["token", "permanent"])
def access_key_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def oss2_bucket(oss: Oss, access_key_id: str) -> Any:
    known = KNOWN[access_key_id]
    auth = oss2.ProviderAuthV4(StaticCredentialsProvider(access_key_id, known.secret, known.token))
    by_address = oss.address.startswith("http://127.")
    return oss2.Bucket(auth, oss.address, BUCKET, region="cn-hangzhou", is_path_style=by_address)


def v2_client(oss: Oss, access_key_id: str, **options: Any) -> Any:
    known = KNOWN[access_key_id]
    config = v2.config.load_default()
    config.credentials_provider = v2.credentials.StaticCredentialsProvider(
        access_key_id, known.secret, known.token
    )
    config.region = "cn-hangzhou"
    config.endpoint = oss.address
    config.use_path_style = oss.address.startswith("http://127.")
    config.retry_max_attempts = 1
    for name, value in options.items():
        setattr(config, name, value)
    return v2.Client(config)


# ---- oss2 ----


@pytest.mark.parametrize("key", KEYS)
def test_oss2_puts_gets_heads_and_deletes(oss: Oss, access_key_id: str, key: str) -> None:
    bucket = oss2_bucket(oss, access_key_id)

    put = bucket.put_object(key, b"hello", headers={"Content-Type": "text/plain", "x-oss-meta-a": "1"})
    got = bucket.get_object(key)
    head = bucket.head_object(key)

    assert put.status == 200
    assert got.read() == b"hello"
    assert head.content_length == 5
    assert head.headers["x-oss-meta-a"] == "1"
    assert head.content_type == "text/plain"
    assert bucket.object_exists(key)
    assert bucket.delete_object(key).status == 204
    assert not bucket.object_exists(key)
    assert oss.objects == {}


def test_oss2_reads_a_range_and_a_file(oss: Oss, tmp_path: Path) -> None:
    bucket = oss2_bucket(oss, ACCESS_KEY_ID)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(300_000))

    bucket.put_object_from_file("file", str(source))
    bucket.get_object_to_file("file", str(target))

    assert target.read_bytes() == source.read_bytes()
    assert bucket.get_object("file", byte_range=(10, 19)).read() == source.read_bytes()[10:20]


def test_oss2_uploads_a_stream_of_unknown_length_in_chunks(oss: Oss) -> None:
    oss2_bucket(oss, ACCESS_KEY_ID).put_object("stream", iter([b"first ", b"second"]))

    assert oss.objects["stream"].read() == b"first second"


def test_oss2_signs_additional_headers(oss: Oss) -> None:
    bucket = oss2_bucket(oss, ACCESS_KEY_ID)
    headers = {"Content-Type": "image/png", "Content-Length": "5"}
    url = bucket.sign_url(
        "PUT", "a b", 60, headers=headers, slash_safe=True, additional_headers=["Content-Length"]
    )

    assert requests.put(url, data=b"hello!", headers={"Content-Type": "image/png"}).status_code == 403
    assert requests.put(url, data=b"hello", headers={"Content-Type": "image/png"}).status_code == 200


@pytest.mark.parametrize("slash_safe", [True, False], ids=["slash", "%2F"])
@pytest.mark.parametrize("key", KEYS)
def test_oss2_urls_upload(oss: Oss, access_key_id: str, key: str, slash_safe: bool) -> None:
    url = oss2_bucket(oss, access_key_id).sign_url("PUT", key, 60, slash_safe=slash_safe)

    assert requests.put(url, data=b"hello").status_code == 200
    assert oss.objects[key].read() == b"hello"


def test_oss2_raises_its_own_errors_for_refusals(oss: Oss) -> None:
    bucket = oss2_bucket(oss, ACCESS_KEY_ID)
    stranger = oss2.Bucket(
        oss2.ProviderAuthV4(StaticCredentialsProvider(PERMANENT, "wrong")),
        oss.address,
        BUCKET,
        region="cn-hangzhou",
        is_path_style=oss.address.startswith("http://127."),
    )

    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object("absent")
    with pytest.raises(oss2.exceptions.SignatureDoesNotMatch) as mismatch:
        stranger.put_object("key", b"hello")
    bucket.put_object("once", b"", headers={"x-oss-forbid-overwrite": "true"})
    with pytest.raises(oss2.exceptions.ServerError) as exists:
        bucket.put_object("once", b"", headers={"x-oss-forbid-overwrite": "true"})
    with pytest.raises(oss2.exceptions.ServerError) as undone:
        bucket.init_multipart_upload("large")

    assert mismatch.value.ec == "0002-00000201"
    assert (exists.value.status, exists.value.code) == (409, "FileAlreadyExists")
    assert (undone.value.status, undone.value.code) == (501, "NotImplemented")


def test_oss2_is_told_that_buckets_and_the_service_are_not_done(oss: Oss) -> None:
    bucket = oss2_bucket(oss, ACCESS_KEY_ID)
    service = oss2.Service(bucket.auth, oss.address, region="cn-hangzhou")

    with pytest.raises(oss2.exceptions.ServerError) as listing:
        bucket.list_objects()
    with pytest.raises(oss2.exceptions.ServerError) as buckets:
        service.list_buckets()

    assert (listing.value.status, listing.value.code) == (501, "NotImplemented")
    assert (buckets.value.status, buckets.value.code) == (501, "NotImplemented")


def test_oss2_is_refused_for_another_region_as_by_oss(oss: Oss) -> None:
    bucket = oss2_bucket(oss, ACCESS_KEY_ID)
    bucket.region = "cn-beijing"

    with pytest.raises(oss2.exceptions.ServerError) as refused:
        bucket.put_object("key", b"")

    assert (refused.value.status, refused.value.code) == (400, "InvalidArgument")
    assert refused.value.message == "Invalid signing region in Authorization header."
    assert refused.value.ec == "0002-00000226"


# ---- alibabacloud-oss-v2 ----


@pytest.mark.parametrize("key", KEYS)
def test_v2_puts_gets_heads_and_deletes(oss: Oss, access_key_id: str, key: str) -> None:
    client = v2_client(oss, access_key_id)

    put = client.put_object(
        v2.PutObjectRequest(BUCKET, key, body=b"hello", content_type="text/plain", metadata={"a": "1"})
    )
    got = client.get_object(v2.GetObjectRequest(BUCKET, key))
    head = client.head_object(v2.HeadObjectRequest(BUCKET, key))

    assert put.status_code == 200
    with got.body as body:
        assert body.read() == b"hello"
    assert (head.content_length, head.content_type, head.metadata["a"]) == (5, "text/plain", "1")
    assert client.delete_object(v2.DeleteObjectRequest(BUCKET, key)).status_code == 204
    assert oss.objects == {}


def test_v2_signs_additional_headers_in_authorization(oss: Oss) -> None:
    client = v2_client(oss, ACCESS_KEY_ID, additional_headers=["content-length", "host"])

    assert client.put_object(v2.PutObjectRequest(BUCKET, "key", body=io.BytesIO(b"hello"))).status_code == 200


@pytest.mark.parametrize("key", KEYS)
def test_v2_urls_upload(oss: Oss, access_key_id: str, key: str) -> None:
    signed = v2_client(oss, access_key_id).presign(
        v2.PutObjectRequest(BUCKET, key, content_type="image/png", forbid_overwrite="true"),
        expires=datetime.timedelta(seconds=60),
    )

    assert requests.put(signed.url, data=b"hello", headers=dict(signed.signed_headers)).status_code == 200
    again = requests.put(signed.url, data=b"hello", headers=dict(signed.signed_headers))
    assert (again.status_code, "FileAlreadyExists" in again.text) == (409, True)


def test_v2_raises_its_own_errors_for_refusals(oss: Oss) -> None:
    client = v2_client(oss, ACCESS_KEY_ID)

    with pytest.raises(v2.exceptions.OperationError) as refused:
        client.get_object(v2.GetObjectRequest(BUCKET, "absent"))

    error = refused.value.unwrap()
    assert (error.status_code, error.code, error.ec) == (404, "NoSuchKey", "0026-00000001")


# ---- ali-oss ----


def test_ali_oss_puts_gets_heads_deletes_and_its_urls_upload(access_key_id: str) -> None:
    oss = Oss(credentials=KNOWN)
    known = KNOWN[access_key_id]
    with contextlib.closing(oss), serve(oss):
        done = subprocess.run(
            [
                "node",
                str(ROOT / "tests" / "node" / "ali_oss.js"),
                oss.address,
                BUCKET,
                access_key_id,
                known.secret,
                known.token or "",
            ],
            env={**os.environ, "NODE_PATH": str(surroundings.node_packages())},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        headers = {"Content-Type": "image/png", "x-oss-forbid-overwrite": "true"}
        longer = requests.put(result["url"], data=b"hello!", headers=headers)
        right = requests.put(result["url"], data=b"hello", headers=headers)
        again = requests.put(result["url"], data=b"hello", headers=headers)
        keys = list(oss.objects)

    assert result["put"] == 200
    assert result["head"] == [200, {"a": "1"}]
    assert result["got"] == "hello"
    assert result["removed"] == 204
    assert result["missing"] == {"status": 404, "code": "NoSuchKey"}
    assert [longer.status_code, right.status_code, again.status_code] == [403, 200, 409]
    assert keys == ["ali-oss/presigned 照片.png"]
