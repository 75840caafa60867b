"""The limit: the least that can answer. It checks nothing and knows one bucket, one form of request."""

import hashlib
import hmac
import json
import time

PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"


def handler(event, context):
    """The answer to an FC HTTP event: the signed URL and the headers to send."""
    asked = json.loads(json.loads(event)["body"])
    held = context.credentials
    headers = {"Content-Type": asked["contentType"], "x-oss-meta-owner": asked["metadata"]["owner"]}
    url = sign(
        asked["key"], headers, held.access_key_id, held.access_key_secret, held.security_token, time.gmtime()
    )
    body = json.dumps({"method": "PUT", "url": url, "headers": headers})
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "isBase64Encoded": False,
        "body": body,
    }


def sign(key, headers, key_id, secret, token, now):
    """The URL, by one run through the V4 steps."""
    second = time.strftime("%Y%m%dT%H%M%SZ", now)
    day = second[:8]
    path = encode(key)
    query = (
        f"x-oss-credential={key_id}%2F{day}%2Fcn-hangzhou%2Foss%2Faliyun_v4_request&x-oss-date={second}"
        f"&x-oss-expires=600&x-oss-security-token={encode(token).replace('/', '%2F')}"
        "&x-oss-signature-version=OSS4-HMAC-SHA256"
    )
    request = (
        f"PUT\n/examplebucket/{path}\n{query}\ncontent-type:{headers['Content-Type']}\n"
        f"x-oss-meta-owner:{headers['x-oss-meta-owner']}\n\n\nUNSIGNED-PAYLOAD"
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"OSS4-HMAC-SHA256\n{second}\n{day}/cn-hangzhou/oss/aliyun_v4_request\n{digest}"
    signing_key = f"aliyun_v4{secret}".encode()
    for part in (day, "cn-hangzhou", "oss", "aliyun_v4_request"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, text.encode(), "sha256").hex()
    return f"https://examplebucket.oss-cn-hangzhou.aliyuncs.com/{path}?{query}&x-oss-signature={signature}"


def encode(text):
    """Percent-encoded, all but `/`."""
    raw = text.encode().replace(b"%", b"%25")
    for byte in set(raw.translate(None, PLAIN)) - {37}:
        raw = raw.replace(bytes([byte]), b"%%%02X" % byte)
    return raw.decode()
