"""The environment's variables as Settings, or everything that is wrong with them.

Sources: https://help.aliyun.com/en/oss/user-guide/regions-and-endpoints (hosts),
https://help.aliyun.com/en/oss/user-guide/bucket-naming-conventions (bucket names).
"""

from __future__ import annotations

import json

from upload_url import errors
from upload_url.policy import (
    HEADER_NAME,
    MAX_EXPIRES,
    MAX_HEADER_BYTES,
    MAX_PUT_BYTES,
    TOKEN,
    Policy,
    header_fault,
    is_never_bound,
    key_fault,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Every variable that `load` reads, apart from FC_REGION, which Function Compute sets.
NAMES = (
    "OSS_BUCKET",
    "OSS_REGION",
    "OSS_ENDPOINT",
    "OSS_SIGNER",
    "UPLOAD_PREFIX",
    "UPLOAD_KEYS",
    "UPLOAD_EXPIRES",
    "UPLOAD_EXPIRES_MAX",
    "UPLOAD_TYPES",
    "UPLOAD_MAX_BYTES",
    "UPLOAD_HEADERS",
    "UPLOAD_FORCED_HEADERS",
    "UPLOAD_IDENTITY_HEADER",
    "CORS_ORIGINS",
)
#: The uploaders' own variables, which a laptop may have in the same environment.
CLIENTS_NAMES = ("UPLOAD_ENDPOINT", "UPLOAD_AUTHORIZATION")

DEFAULT_HEADERS = (
    "content-disposition, content-encoding, content-language, cache-control, expires, "
    "x-oss-meta-*, x-oss-storage-class, x-oss-forbid-overwrite"
)
#: `OSS_ENDPOINT` by name. Host of a bucket, with its region.
HOSTS = {
    "public": "{bucket}.oss-{region}.aliyuncs.com",
    "internal": "{bucket}.oss-{region}-internal.aliyuncs.com",
    "accelerate": "{bucket}.oss-accelerate.aliyuncs.com",
    "accelerate-overseas": "{bucket}.oss-accelerate-overseas.aliyuncs.com",
    "dual-stack": "{bucket}.{region}.oss.aliyuncs.com",
}
#: A key's longest tail after the prefix: identity, slash, 32 digits, dot, extension.
LONGEST_MADE_TAIL = 128 + 1 + 32 + 1 + 10

_LOWER_DIGITS_HYPHEN = "abcdefghijklmnopqrstuvwxyz0123456789-"
_SCHEME = _LOWER_DIGITS_HYPHEN + "+."  # apps have their own: capacitor://localhost
_HOST_PORT = _LOWER_DIGITS_HYPHEN + "._:[]"


class Settings:
    """What the operator has set.

    Attributes:
        bucket: its name.
        region: the bucket's, without `oss-`.
        base_url: what a signed URL begins with: scheme, host, and in path style the bucket. No `/` at the
            end.
        endpoint: the same without the bucket, as oss2 wants it.
        custom_domain: whether the host is a domain bound to the bucket (CNAME).
        signer: `native` or `oss2`.
        origins: whose pages may call the function, lowered as browsers send them; `("*",)` for all, empty
            for none.
        policy: what may be uploaded.
    """

    __slots__ = ("base_url", "bucket", "custom_domain", "endpoint", "origins", "policy", "region", "signer")

    bucket: str
    region: str
    base_url: str
    endpoint: str
    custom_domain: bool
    signer: str
    origins: tuple[str, ...]
    policy: Policy


def load(environ: Mapping[str, str], context_region: str = "") -> Settings:
    """The settings that the environment describes.

    Args:
        environ: the environment's variables. An empty one counts as unset.
        context_region: the function's own region, for want of OSS_REGION and FC_REGION.

    Raises:
        Misconfigured: with every fault, in `log`.
    """
    faults: list[str] = []
    settings = Settings()
    settings.bucket = _bucket(environ, faults)
    settings.region = _region(environ, context_region, faults)
    settings.endpoint, settings.base_url, settings.custom_domain = _endpoint(
        environ, settings.bucket, settings.region, faults
    )
    settings.signer = _choice(environ, "OSS_SIGNER", ("native", "oss2"), faults)
    settings.origins = origins(environ, faults)
    settings.policy = _policy(environ, faults)
    for name in environ:
        # A misspelt limit would silently be no limit.
        if name.startswith("UPLOAD_") and name not in NAMES and name not in CLIENTS_NAMES:
            faults.append(f"{name} is no setting of this function.")
    if faults:
        raise errors.Misconfigured(
            "The reason is in the function's log, under this request's id.", log=faults
        )
    return settings


def origins(environ: Mapping[str, str], faults: list[str]) -> tuple[str, ...]:
    """CORS_ORIGINS alone, so that a browser can read even the answer that says the rest is wrong."""
    listed = _list(environ.get("CORS_ORIGINS", ""))
    if "*" in listed:
        if len(listed) > 1:
            faults.append("CORS_ORIGINS: * already means every origin; leave out the others.")
        return ("*",)
    good = []
    for origin in listed:
        scheme, _, host = origin.partition("://")
        if scheme and not scheme.lower().strip(_SCHEME) and host and not host.lower().strip(_HOST_PORT):
            good.append(origin.lower())
        else:
            faults.append(
                f"CORS_ORIGINS: {origin} is no origin; write scheme and host, such as https://example.com."
            )
    return tuple(good)


def _bucket(environ: Mapping[str, str], faults: list[str]) -> str:
    bucket = environ.get("OSS_BUCKET", "").strip()
    if not bucket:
        faults.append("OSS_BUCKET is not set: the name of the bucket to upload to.")
    elif (
        not 3 <= len(bucket) <= 63
        or bucket.strip(_LOWER_DIGITS_HYPHEN)
        or bucket[0] == "-"
        or bucket[-1] == "-"
    ):
        faults.append(
            f"OSS_BUCKET: {bucket} is no bucket name: 3 to 63 of a-z, 0-9 and hyphen, no hyphen at an end."
        )
    return bucket


def _region(environ: Mapping[str, str], context_region: str, faults: list[str]) -> str:
    region = (environ.get("OSS_REGION", "") or environ.get("FC_REGION", "") or context_region).strip()
    if not region:
        faults.append(
            "OSS_REGION is not set and Function Compute names none: the bucket's region, such as cn-hangzhou."
        )
    elif region.startswith("oss-"):
        faults.append(f"OSS_REGION: write {region[4:]} for {region}; oss- is part of host names only.")
    elif region.strip(_LOWER_DIGITS_HYPHEN):
        faults.append(f"OSS_REGION: {region} is no region id, such as cn-hangzhou.")
    return region


def _endpoint(
    environ: Mapping[str, str], bucket: str, region: str, faults: list[str]
) -> tuple[str, str, bool]:
    """Endpoint, base URL, and whether the host is a custom domain."""
    endpoint = environ.get("OSS_ENDPOINT", "").strip() or "public"
    if endpoint in HOSTS:
        fault = _no_such_host(endpoint, region)
        if fault:
            faults.append(fault)
        host = HOSTS[endpoint].format(bucket=bucket, region=region)
        return "https://" + host[len(bucket) + 1 :], "https://" + host, False
    scheme, separator, authority = endpoint.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("https", "http"):
        faults.append(
            f"OSS_ENDPOINT: {endpoint} is neither one of {', '.join(HOSTS)} nor an https:// address."
        )
        return "", "", False
    authority = authority.removesuffix("/").lower()
    host, _, port = authority.partition(":")
    local = host == "localhost" or _is_ipv4(host)
    if any(not label or label.strip(_LOWER_DIGITS_HYPHEN) for label in host.split(".")) or (
        authority != host
        and not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535)
    ):
        faults.append(
            f"OSS_ENDPOINT: {endpoint} must end after its host, or host:port: no path, user or query."
        )
    elif scheme == "http" and not local:
        faults.append("OSS_ENDPOINT: write https://; http:// is for an IP or localhost only.")
    elif host.endswith(".aliyuncs.com") and host.startswith(bucket + "."):
        faults.append(f"OSS_ENDPOINT: leave the bucket out: {scheme}://{authority[len(bucket) + 1 :]}")
    elif host.endswith(".aliyuncs.com") and host.startswith("s3."):
        faults.append("OSS_ENDPOINT: s3.oss-... speaks another signature; write the address without s3.")
    address = f"{scheme}://{authority}"
    if local:
        return address, f"{address}/{bucket}", False
    if host.endswith(".aliyuncs.com"):
        return address, f"{scheme}://{bucket}.{authority}", False
    return address, address, True


def _no_such_host(endpoint: str, region: str) -> str | None:
    if "finance" in region and endpoint in ("public", "internal", "dual-stack"):
        return (
            f"OSS_ENDPOINT: the hosts of {region} follow no pattern: write the address, "
            "such as https://oss-cn-hzfinance.aliyuncs.com."
        )
    if region.startswith("rg-") and endpoint != "public":
        return f"OSS_ENDPOINT: {region} has no {endpoint} endpoint."
    return None


def _is_ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(
        part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in parts
    )


def _policy(environ: Mapping[str, str], faults: list[str]) -> Policy:
    expires = _seconds(environ, "UPLOAD_EXPIRES", 600, faults)
    expires_max = _seconds(environ, "UPLOAD_EXPIRES_MAX", 3600, faults)
    if expires > expires_max:
        faults.append(f"UPLOAD_EXPIRES ({expires}) is above UPLOAD_EXPIRES_MAX ({expires_max}).")
    max_bytes = None
    if environ.get("UPLOAD_MAX_BYTES", "").strip():
        max_bytes = _whole_number(environ, "UPLOAD_MAX_BYTES", "a number of bytes", faults)
        if max_bytes > MAX_PUT_BYTES:
            faults.append(f"UPLOAD_MAX_BYTES: OSS takes at most {MAX_PUT_BYTES} bytes by PUT.")
    identity_header = environ.get("UPLOAD_IDENTITY_HEADER", "").strip()
    if identity_header.strip(TOKEN):
        faults.append("UPLOAD_IDENTITY_HEADER: write the header's name alone, such as x-user-sub.")
    return Policy(
        prefix=_prefix(environ, faults),
        generated_keys=_choice(environ, "UPLOAD_KEYS", ("client", "generated"), faults) == "generated",
        expires=expires,
        expires_max=expires_max,
        types=_types(environ, faults),
        max_bytes=max_bytes,
        headers=_header_names(environ, faults),
        forced_headers=_forced_headers(environ, faults),
        identity_header=identity_header.lower(),
    )


def _prefix(environ: Mapping[str, str], faults: list[str]) -> str:
    prefix = environ.get("UPLOAD_PREFIX", "")
    if prefix:
        fault = key_fault(prefix + "x")
        if not prefix.endswith("/"):
            faults.append(f"UPLOAD_PREFIX: write {prefix}/ for {prefix}: it ends with a slash.")
        elif fault:
            faults.append(f"UPLOAD_PREFIX: no key can start with it. {fault}")
        elif key_fault(prefix + "x" * LONGEST_MADE_TAIL):
            faults.append("UPLOAD_PREFIX is too long: no room is left for a key.")
    return prefix


def _seconds(environ: Mapping[str, str], name: str, default: int, faults: list[str]) -> int:
    if not environ.get(name, "").strip():
        return default
    return min(_whole_number(environ, name, "a number of seconds", faults), MAX_EXPIRES)


def _whole_number(environ: Mapping[str, str], name: str, meaning: str, faults: list[str]) -> int:
    """The variable's number, 1 if it has none."""
    text = environ[name].strip()
    if text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0:
        return int(text)
    faults.append(f"{name}: {text} is not {meaning} above 0.")
    return 1


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...], faults: list[str]) -> str:
    """The variable's value, the first choice if it has none."""
    value = environ.get(name, "").strip() or choices[0]
    if value not in choices:
        faults.append(f"{name}: {value} is none of {', '.join(choices)}.")
    return value


def _types(environ: Mapping[str, str], faults: list[str]) -> tuple[str, ...]:
    types = tuple([one.lower() for one in _list(environ.get("UPLOAD_TYPES", ""))])
    for one in types:
        family, _, subtype = one.partition("/")
        plain = family and subtype and not family.strip(TOKEN) and not subtype.strip(TOKEN)
        if not plain or "*" in family or ("*" in subtype and subtype != "*"):
            faults.append(f"UPLOAD_TYPES: {one} is no media type, such as image/png or image/*.")
    return types


def _header_names(environ: Mapping[str, str], faults: list[str]) -> tuple[str, ...]:
    names = tuple(
        [name.lower() for name in _list(environ.get("UPLOAD_HEADERS", "").strip() or DEFAULT_HEADERS)]
    )
    for name in names:
        if name.removesuffix("*").strip(HEADER_NAME):
            faults.append(f"UPLOAD_HEADERS: {name} is no header's name; a * stands at its end.")
    return names


def _forced_headers(environ: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    text = environ.get("UPLOAD_FORCED_HEADERS", "").strip()
    if not text:
        return {}
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


def _list(text: str) -> list[str]:
    return [item for item in [part.strip() for part in text.split(",")] if item]
