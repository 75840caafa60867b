"""The documented way: oss2's Bucket.sign_url in a handler, with the credentials that FC hands over."""

import json
import os

import oss2
from oss2.credentials import StaticCredentialsProvider


def handler(event, context):
    """The answer to an FC HTTP event: the signed URL and the headers to send."""
    asked = json.loads(json.loads(event)["body"])
    held = context.credentials
    headers = {"Content-Type": asked["contentType"], "x-oss-meta-owner": asked["metadata"]["owner"]}
    auth = oss2.ProviderAuthV4(
        StaticCredentialsProvider(held.access_key_id, held.access_key_secret, held.security_token)
    )
    bucket = oss2.Bucket(
        auth,
        "https://oss-cn-hangzhou.aliyuncs.com",
        os.environ["OSS_BUCKET"],
        region=os.environ["OSS_REGION"],
    )
    url = bucket.sign_url("PUT", asked["key"], asked["expires"], headers=headers, slash_safe=True)
    body = json.dumps({"method": "PUT", "url": url, "headers": headers})
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "isBase64Encoded": False,
        "body": body,
    }
