"""sdk_signer.presign alone: oss2's sign_url behind the same call."""

from upload_url.sdk_signer import presign
from upload_url.signer import Credentials


def prepare(credentials):
    """A call that signs one URL."""
    held = Credentials(*credentials)

    def sign(key, headers, second):  # the SDK reads its own clock
        url, _ = presign(
            held,
            endpoint="https://oss-cn-hangzhou.aliyuncs.com",
            custom_domain=False,
            bucket="examplebucket",
            key=key,
            region="cn-hangzhou",
            expires=600,
            headers=headers,
        )
        return url

    return sign
