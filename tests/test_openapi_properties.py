"""Requests made up from deploy/openapi.yaml, valid and not, against the function over HTTP (schemathesis)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, assume, settings

import index
from local import fc

if sys.version_info < (3, 11):
    pytest.skip("schemathesis needs Python 3.11", allow_module_level=True)

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

SCHEMA = schemathesis.openapi.from_path(
    Path(__file__).parent.parent / "deploy" / "openapi.yaml",
    config=schemathesis.Config.from_dict(
        {"checks": {"negative_data_rejection": {"expected-statuses": [400, 403, 405, 413]}}}
    ),
)


@SCHEMA.hook
def filter_body(context, body):
    """What OpenAPI has no words for: 3.0 is not 3, and some fields speak of each other."""
    if not isinstance(body, dict):
        return True
    if any(isinstance(body.get(name), float) for name in ("size", "expires")):
        return False
    names = [name.lower() for name in body["headers"]] if isinstance(body.get("headers"), dict) else []
    return len(set(names)) == len(names)


@pytest.fixture(scope="module")
def address():
    with pytest.MonkeyPatch.context() as environ:
        for name in index.settings.NAMES:
            environ.delenv(name, raising=False)
        environ.setenv("OSS_BUCKET", "example-bucket")
        # The widest settings, so that what the file permits is also what these permit.
        environ.setenv("UPLOAD_EXPIRES_MAX", "43200")
        environ.setenv("UPLOAD_HEADERS", "*")
        credentials = fc.Credentials("STS.LOCALAKID", "local-secret", "CAISexample+token/with=specials")
        with fc.serve(index.handler, credentials=credentials) as served:
            yield served


@SCHEMA.parametrize()
@settings(
    max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
def test_the_function_answers_as_documented(case, address):
    # Longer ones do not get as far as the function.
    assume(len(requests.Request(**case.as_transport_kwargs(base_url=address)).prepare().path_url) <= 4096)
    # OpenAPI has no words either for two parameters of a query that exclude each other.
    both = {"key", "filename"} <= set(case.query or {})

    case.call_and_validate(
        base_url=address, timeout=10, excluded_checks=[positive_data_acceptance] if both else []
    )
