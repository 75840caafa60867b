"""The work that every contender does, and whether what came of it is right: one event in, one URL out."""

import datetime
import hashlib
import hmac
import json
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit

BUCKET = "examplebucket"
REGION = "cn-hangzhou"
KEY = "uploads/2026/11/00000000 Käse.png"
KEY_ID = "STS.LOCALAKID"
SECRET = "LOCALSECRETLOCALSECRET"
#: 800 characters, as long as the tokens that FC hands over, and with all three characters that need encoding
TOKEN = "CAIS/+9=" + "Zq7Lm2Xc4Vb6Nh8J" * 49 + "+/Tail=="

ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "OSS_BUCKET": BUCKET,
    "OSS_REGION": REGION,
    "FC_REGION": REGION,
    "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY_ID,
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
    "ALIBABA_CLOUD_SECURITY_TOKEN": TOKEN,
}

#: an HTTP trigger's event as a phone's HTTP client causes it
EVENT = {
    "version": "v1",
    "rawPath": "/",
    "headers": {
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "Content-Length": "122",
        "Content-Type": "application/json",
        "Host": "upload-abcdefghij.cn-hangzhou.fcapp.run",
        "User-Agent": "okhttp/4.12.0",
    },
    "queryParameters": {},
    "body": json.dumps(
        {"key": KEY, "contentType": "image/png", "metadata": {"owner": "42"}, "expires": 600},
        ensure_ascii=False,
    ),
    "isBase64Encoded": False,
    "requestContext": {
        "accountId": "123456",
        "domainName": "upload-abcdefghij.cn-hangzhou.fcapp.run",
        "domainPrefix": "upload-abcdefghij",
        "http": {
            "method": "POST",
            "path": "/",
            "protocol": "HTTP/1.1",
            "sourceIp": "203.0.113.7",
            "userAgent": "okhttp/4.12.0",
        },
        "requestId": "1-67401234-15abcdef-1234567890ab",
        "time": "2026-11-22T10:00:00Z",
        "timeEpoch": "1795341600000",
    },
}


def check(body: str) -> None:
    """Raise if an answer's URL is not what an uploader needs; the signature is recomputed from the URL.

    Raises:
        AssertionError: Saying what is wrong. Nothing wrong is timed.
    """
    answer = json.loads(body)
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    url = urlsplit(answer["url"])
    query = dict(parse_qsl(url.query, strict_parsing=True))
    if "x-oss-signature" in query:
        prefix, start, product = "x-oss", "aliyun_v4", "oss"
    else:
        prefix, start, product = "X-Amz", "AWS4", "s3"
    names = {name.lower(): name for name in query}

    def parameter(name: str) -> str:
        return query.get(names.get(f"{prefix}-{name}".lower(), ""), "")

    assert answer["method"] == "PUT", "another method"
    assert headers.pop("content-type", None) == "image/png", "the content type is not bound"
    assert headers == {f"{prefix.lower()}-meta-owner": "42"}, f"not the headers asked for: {headers}"
    headers["content-type"] = "image/png"
    assert url.path == "/" + quote(KEY, safe="/-._~"), f"another key: {url.path}"
    assert (url.hostname or "").startswith(BUCKET + "."), f"another bucket: {url.hostname}"
    assert parameter("security-token") == TOKEN, "another token"
    assert 598 <= int(parameter("expires")) <= 600, "another expiry"
    second = parameter("date")
    signed_at = datetime.datetime.strptime(second, "%Y%m%dT%H%M%S%z")
    assert abs(datetime.datetime.now(datetime.timezone.utc) - signed_at).total_seconds() < 300, "another time"
    scope = f"{second[:8]}/{REGION}/{product}/{'aws4' if product == 's3' else 'aliyun_v4'}_request"
    assert parameter("credential") == f"{KEY_ID}/{scope}", "another credential"
    expected = _signature(url, query, headers, prefix, start, scope, second)
    assert parameter("signature") == expected, "another signature"


def _signature(
    url, query: Mapping[str, str], headers: dict[str, str], prefix: str, start: str, scope: str, second: str
) -> str:
    """OSS V4 and AWS V4 differ in names, in the path, and in which headers are signed."""
    pairs = [(quote(k, safe=""), quote(v, safe="")) for k, v in query.items() if not k.endswith("ignature")]
    if prefix == "X-Amz":
        path, listed = url.path, query["X-Amz-SignedHeaders"]
        headers = headers | {"host": url.netloc}
        assert set(headers) == set(listed.split(";")), f"signed headers: {listed}"
        algorithm = "AWS4-HMAC-SHA256"
    else:
        path, listed, algorithm = f"/{BUCKET}{url.path}", "", "OSS4-HMAC-SHA256"
    request = "\n".join(
        [
            "PUT",
            path,
            "&".join(f"{name}={value}" for name, value in sorted(pairs)),
            "".join(f"{name}:{value}\n" for name, value in sorted(headers.items())),
            listed,
            "UNSIGNED-PAYLOAD",
        ]
    )
    key = (start + SECRET).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    digest = hashlib.sha256(request.encode()).hexdigest()
    return hmac.new(key, f"{algorithm}\n{second}\n{scope}\n{digest}".encode(), "sha256").hexdigest()
