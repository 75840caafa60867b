"""Forms of text that few requests have: base64, and the parameters of a media type."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

#: A comma may stand in a bare value (browsers say `codecs=vp8,opus`), but never a `/` with it: what follows a
#: comma would be read as a second media type and overrule the one that was allowed
#: (https://fetch.spec.whatwg.org/#content-type-header).
_PARAMETERS = (
    r"[ \t]*PARAMETER(?:[ \t]*;[ \t]*PARAMETER)*".replace(
        "PARAMETER", r'[TOKEN]+=(?:[TOKEN,]+|"(?:[ !#-\[\]-~]|\\[ -~])*")'
    )
).replace("TOKEN", r"A-Za-z0-9!#$%&'*+.^_`|~\-")


def base64_bytes(text: str) -> bytes | None:
    """The bytes; None if it is not the base64 of any, though Python's decoder would pass over that."""
    try:
        data = a2b_base64(text)
    except ValueError:  # binascii.Error is one
        return None
    return data if b2a_base64(data, newline=False).decode() == text else None


def are_parameters(text: str) -> bool:
    """Whether that can follow a media type's first `;`."""
    return re.fullmatch(_PARAMETERS, text) is not None
