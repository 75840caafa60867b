"""The tests' own environment, without what the function reads from it."""

from __future__ import annotations

import os

#: How the names of settings, credentials and what Function Compute sets begin.
PREFIXES = ("OSS_", "UPLOAD_", "CORS_", "ALIBABA_CLOUD_", "FC_")


def bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
