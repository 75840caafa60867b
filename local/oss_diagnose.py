"""Why a signature differs, found by trying."""

from __future__ import annotations

from collections.abc import Mapping

from .oss_verify import Credential, Refused


def likely_cause(refused: Refused, headers: Mapping[str, str], credentials: Mapping[str, Credential]) -> str:
    """One sentence, or empty."""
    return ""
