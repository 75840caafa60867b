"""UPLOAD_FORCED_HEADERS: what is bound to every upload, whether its request says so or not."""

from __future__ import annotations

import json

from upload_url.policy import MAX_HEADER_BYTES, header_fault, is_never_bound


def read(text: str, faults: list[str]) -> dict[str, str]:
    """Name as the uploader gets it -> value.

    Args:
        text: a JSON object of strings.
        faults: what is wrong is added here.
    """
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, list) or not text.startswith("{"):
        faults.append(
            'UPLOAD_FORCED_HEADERS is a JSON object of strings, such as {"x-oss-forbid-overwrite":"true"}.'
        )
        return {}
    forced: dict[str, str] = {}
    lowered = set()
    for name, value in pairs:
        low = name.lower()
        if not isinstance(value, str):
            faults.append(f"UPLOAD_FORCED_HEADERS: the value of {name} is not a string.")
            continue
        value = value.strip(" \t")
        fault = header_fault(name, value)
        if fault:
            faults.append(f"UPLOAD_FORCED_HEADERS: {name}: {fault}")
        elif is_never_bound(low) or low in ("content-type", "content-md5"):
            faults.append(f"UPLOAD_FORCED_HEADERS: {name} cannot be forced.")
        elif low in lowered:
            faults.append(f"UPLOAD_FORCED_HEADERS: {name} stands there twice.")
        lowered.add(low)
        forced[name] = value
    if sum([len(name) + len(value) for name, value in forced.items()]) > MAX_HEADER_BYTES:
        faults.append(f"UPLOAD_FORCED_HEADERS has more than {MAX_HEADER_BYTES} bytes.")
    return forced
