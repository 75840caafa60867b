"""The newer official SDK: Client.presign in a handler."""

import datetime
import json
import os

import alibabacloud_oss_v2 as oss


def handler(event, context):
    """The answer to an FC HTTP event: the signed URL and the headers to send."""
    asked = json.loads(json.loads(event)["body"])
    held = context.credentials
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(
        held.access_key_id, held.access_key_secret, held.security_token
    )
    config.region = os.environ["OSS_REGION"]
    request = oss.PutObjectRequest(
        bucket=os.environ["OSS_BUCKET"],
        key=asked["key"],
        content_type=asked["contentType"],
        metadata=asked["metadata"],
    )
    signed = oss.Client(config).presign(request, expires=datetime.timedelta(seconds=asked["expires"]))
    body = json.dumps({"method": signed.method, "url": signed.url, "headers": dict(signed.signed_headers)})
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "isBase64Encoded": False,
        "body": body,
    }
