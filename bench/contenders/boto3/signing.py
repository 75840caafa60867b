"""generate_presigned_url alone, on a client made once."""

from index import make_client


def prepare(credentials):
    """A call that signs one URL."""
    client = make_client(*credentials)

    def sign(key, headers, second):  # the SDK reads its own clock
        return client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": "examplebucket",
                "Key": key,
                "ContentType": headers["Content-Type"],
                "Metadata": {"owner": headers["x-oss-meta-owner"]},
            },
            ExpiresIn=600,
        )

    return sign
