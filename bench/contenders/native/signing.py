"""signer.presign alone."""

from upload_url.signer import Credentials, presign


def prepare(credentials):
    """A call that signs one URL."""
    held = Credentials(*credentials)

    def sign(key, headers, second):
        return presign(
            held,
            base_url="https://examplebucket.oss-cn-hangzhou.aliyuncs.com",
            bucket="examplebucket",
            key=key,
            region="cn-hangzhou",
            expires=600,
            now=second,
            headers=headers,
        )

    return sign
