"""The server's side of V4, on its own."""

from __future__ import annotations

import pytest

from local.oss_verify import Credential, Refused, verify

CREDENTIALS = {"AKID": Credential("secret")}


def test_verify_refuses_a_request_without_any_signature() -> None:
    with pytest.raises(Refused) as refused:
        verify("PUT", "/key", "", {}, bucket="b", credentials=CREDENTIALS, now=0, region="cn-hangzhou")

    assert (refused.value.status, refused.value.code) == (403, "AccessDenied")
