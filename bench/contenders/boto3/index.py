"""boto3's V4 presigning, for the S3 face that OSS shows under s3.oss-<region>."""

import json
import os

import boto3
from botocore.config import Config


def handler(event, context):
    """The answer to an FC HTTP event: the signed URL and the headers to send."""
    asked = json.loads(json.loads(event)["body"])
    held = context.credentials
    client = make_client(held.access_key_id, held.access_key_secret, held.security_token)
    url = client.generate_presigned_url(
        "put_object",
        Params={
            "Bucket": os.environ["OSS_BUCKET"],
            "Key": asked["key"],
            "ContentType": asked["contentType"],
            "Metadata": asked["metadata"],
        },
        ExpiresIn=asked["expires"],
    )
    headers = {"Content-Type": asked["contentType"], "x-amz-meta-owner": asked["metadata"]["owner"]}
    body = json.dumps({"method": "PUT", "url": url, "headers": headers})
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "isBase64Encoded": False,
        "body": body,
    }


def make_client(key_id, secret, token):
    """A client that signs for the bucket's region."""
    return boto3.client(
        "s3",
        region_name="cn-hangzhou",
        endpoint_url="https://s3.oss-cn-hangzhou.aliyuncs.com",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "virtual"},
            request_checksum_calculation="when_required",
        ),
    )
