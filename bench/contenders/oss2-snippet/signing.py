"""Bucket.sign_url alone, on a bucket made once."""

import oss2
from oss2.credentials import StaticCredentialsProvider


def prepare(credentials):
    """A call that signs one URL."""
    key_id, secret, token = credentials
    auth = oss2.ProviderAuthV4(StaticCredentialsProvider(key_id, secret, token))
    bucket = oss2.Bucket(auth, "https://oss-cn-hangzhou.aliyuncs.com", "examplebucket", region="cn-hangzhou")

    def sign(key, headers, second):  # the SDK reads its own clock
        return bucket.sign_url("PUT", key, 600, headers=headers, slash_safe=True)

    return sign
