"""The hashes alone: five HMACs and one SHA-256 on texts of the right length, nothing encoded or joined."""

import hashlib
import hmac


def prepare(credentials):
    """A call that does the hashing of one signature."""
    _, secret, token = credentials
    start = f"aliyun_v4{secret}".encode()
    #: a canonical request of this work, but for the key: that, the caller varies
    request = f"PUT\n/examplebucket/\n{token}{' ' * 240}\n\n\nUNSIGNED-PAYLOAD".encode()

    def sign(key, headers, second):
        digest = hashlib.sha256(request + key.encode()).hexdigest()
        signing_key = hmac.digest(start, b"20261122", "sha256")
        signing_key = hmac.digest(signing_key, b"cn-hangzhou", "sha256")
        signing_key = hmac.digest(signing_key, b"oss", "sha256")
        signing_key = hmac.digest(signing_key, b"aliyun_v4_request", "sha256")
        return hmac.digest(signing_key, digest.encode(), "sha256").hex()

    return sign
