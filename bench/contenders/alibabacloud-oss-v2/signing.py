"""Client.presign alone, on a client made once."""

import datetime

import alibabacloud_oss_v2 as oss

EXPIRES = datetime.timedelta(seconds=600)


def prepare(credentials):
    """A call that signs one URL."""
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(*credentials)
    config.region = "cn-hangzhou"
    client = oss.Client(config)

    def sign(key, headers, second):  # the SDK reads its own clock
        request = oss.PutObjectRequest(
            bucket="examplebucket",
            key=key,
            content_type=headers["Content-Type"],
            metadata={"owner": headers["x-oss-meta-owner"]},
        )
        return client.presign(request, expires=EXPIRES).url

    return sign
