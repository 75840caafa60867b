"""The environment's variables as Settings, or everything that is wrong with them.

Sources: https://help.aliyun.com/en/oss/user-guide/regions-and-endpoints (hosts),
https://help.aliyun.com/en/oss/user-guide/bucket-naming-conventions (bucket names).
"""

from __future__ import annotations

import json

from upload_url import errors
from upload_url.policy import (
    HEADER_NAME,
    LOWER_DIGITS_HYPHEN,
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
    "content-disposition",
    "content-encoding",
    "content-language",
    "cache-control",
    "expires",
    "x-oss-meta-*",
    "x-oss-storage-class",
    "x-oss-forbid-overwrite",
)
#: `OSS_ENDPOINT` by name -> the host, which a bucket's name goes before.
HOSTS = {
    "public": "oss-{region}.aliyuncs.com",
    "internal": "oss-{region}-internal.aliyuncs.com",
    "accelerate": "oss-accelerate.aliyuncs.com",
    "accelerate-overseas": "oss-accelerate-overseas.aliyuncs.com",
    "dual-stack": "{region}.oss.aliyuncs.com",
}
#: A key's longest tail after the prefix: identity, slash, 32 digits, dot, extension.
LONGEST_MADE_TAIL = 128 + 1 + 32 + 1 + 10

_SCHEME = LOWER_DIGITS_HYPHEN + "+."  # apps have their own: capacitor://localhost
_HOST_PORT = LOWER_DIGITS_HYPHEN + "._:[]"


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
    reading = _Reading(environ)
    settings = Settings()
    settings.bucket = reading.bucket()
    settings.region = reading.region(context_region)
    settings.endpoint, settings.base_url, settings.custom_domain = reading.endpoint(
        settings.bucket, settings.region
    )
    settings.signer = reading.choice("OSS_SIGNER", ("native", "oss2"))
    settings.origins = reading.origins()
    settings.policy = reading.policy()
    for name in environ:
        # A misspelt limit would silently be no limit.
        if name.startswith("UPLOAD_") and name not in NAMES and name not in CLIENTS_NAMES:
            reading.fault(f"{name} is no setting of this function.")
    if reading.faults:
        raise errors.Misconfigured(
            "The reason is in the function's log, under this request's id.", log=reading.faults
        )
    return settings


def origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    """CORS_ORIGINS alone, so that a browser can read even the answer that says the rest is wrong."""
    return _Reading(environ).origins()


class _Reading:
    """The environment as it is read: one method for each setting; what is wrong is noted in `faults`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.faults: list[str] = []

    def fault(self, sentence: str) -> None:
        self.faults.append(sentence)

    def text(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    def listed(self, name: str) -> list[str]:
        return [item for item in [part.strip() for part in self.text(name).split(",")] if item]

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """The variable's value, the first choice if it has none."""
        value = self.text(name) or choices[0]
        if value not in choices:
            self.fault(f"{name}: {value} is none of {', '.join(choices)}.")
        return value

    def number(self, name: str, unit: str) -> int | None:
        """The variable's number; None if it has none."""
        text = self.text(name)
        if text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0:
            return int(text)
        if text:
            self.fault(f"{name}: {text} is not a number of {unit} above 0.")
        return None

    def bucket(self) -> str:
        bucket = self.text("OSS_BUCKET")
        if not bucket:
            self.fault("OSS_BUCKET is not set: the name of the bucket to upload to.")
        elif (
            not 3 <= len(bucket) <= 63
            or bucket.strip(LOWER_DIGITS_HYPHEN)
            or bucket[0] == "-"
            or bucket[-1] == "-"
        ):
            self.fault(
                f"OSS_BUCKET: {bucket} is no bucket name: 3 to 63 of a-z, 0-9 and -, but no - at an end."
            )
        return bucket

    def region(self, context_region: str) -> str:
        region = self.text("OSS_REGION") or self.text("FC_REGION") or context_region.strip()
        if not region:
            self.fault(
                "OSS_REGION is not set and Function Compute names none: the bucket's region, such as "
                "cn-hangzhou."
            )
        elif region.startswith("oss-"):
            self.fault(f"OSS_REGION: write {region[4:]} for {region}; oss- is part of host names only.")
        elif region.strip(LOWER_DIGITS_HYPHEN):
            self.fault(f"OSS_REGION: {region} is no region id, such as cn-hangzhou.")
        return region

    def endpoint(self, bucket: str, region: str) -> tuple[str, str, bool]:
        """Endpoint, base URL, and whether the host is a custom domain."""
        endpoint = self.text("OSS_ENDPOINT") or "public"
        if endpoint not in HOSTS:
            return self.address(endpoint, bucket)
        if "finance" in region and endpoint in ("public", "internal", "dual-stack"):
            self.fault(
                f"OSS_ENDPOINT: the hosts of {region} follow no pattern: write the address, "
                "such as https://oss-cn-hzfinance.aliyuncs.com."
            )
        if region.startswith("rg-") and endpoint != "public":
            self.fault(f"OSS_ENDPOINT: {region} has no {endpoint} endpoint.")
        host = HOSTS[endpoint].replace("{region}", region)
        return "https://" + host, f"https://{bucket}.{host}", False

    def address(self, text: str, bucket: str) -> tuple[str, str, bool]:
        """The same, where it is none of the names."""
        scheme, separator, authority = text.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in ("https", "http"):
            self.fault(f"OSS_ENDPOINT: {text} is neither one of {', '.join(HOSTS)} nor an https:// address.")
            return "", "", False
        authority = authority.removesuffix("/").lower()
        host, _, port = authority.partition(":")
        local = host == "localhost" or _is_ipv4(host)
        if any(not label or label.strip(LOWER_DIGITS_HYPHEN) for label in host.split(".")) or (
            authority != host
            and not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535)
        ):
            self.fault(f"OSS_ENDPOINT: {text} must end after its host, or host:port: no path, user or query.")
        elif scheme == "http" and not local:
            self.fault("OSS_ENDPOINT: write https://; http:// is for an IP or localhost only.")
        elif host.endswith(".aliyuncs.com") and host.startswith(bucket + "."):
            self.fault(f"OSS_ENDPOINT: leave the bucket out: {scheme}://{authority[len(bucket) + 1 :]}")
        elif host.endswith(".aliyuncs.com") and host.startswith("s3."):
            self.fault("OSS_ENDPOINT: s3.oss-... speaks another signature; write the address without s3.")
        address = f"{scheme}://{authority}"
        if local:
            return address, f"{address}/{bucket}", False
        if host.endswith(".aliyuncs.com"):
            return address, f"{scheme}://{bucket}.{authority}", False
        return address, address, True

    def origins(self) -> tuple[str, ...]:
        listed = self.listed("CORS_ORIGINS")
        if "*" in listed:
            if len(listed) > 1:
                self.fault("CORS_ORIGINS: * already means every origin; leave out the others.")
            return ("*",)
        good = []
        for origin in listed:
            scheme, _, host = origin.lower().partition("://")
            if scheme and not scheme.strip(_SCHEME) and host and not host.strip(_HOST_PORT):
                good.append(origin.lower())
            else:
                self.fault(
                    f"CORS_ORIGINS: {origin} is no origin; write scheme and host, "
                    "such as https://example.com."
                )
        return tuple(good)

    def policy(self) -> Policy:
        policy = Policy()
        policy.prefix = self.prefix()
        policy.generated_keys = self.choice("UPLOAD_KEYS", ("client", "generated")) == "generated"
        policy.expires = min(self.number("UPLOAD_EXPIRES", "seconds") or 600, MAX_EXPIRES)
        policy.expires_max = min(self.number("UPLOAD_EXPIRES_MAX", "seconds") or 3600, MAX_EXPIRES)
        if policy.expires > policy.expires_max:
            self.fault(
                f"UPLOAD_EXPIRES ({policy.expires}) is above UPLOAD_EXPIRES_MAX ({policy.expires_max})."
            )
        policy.types = self.types()
        policy.max_bytes = self.number("UPLOAD_MAX_BYTES", "bytes")
        if policy.max_bytes and policy.max_bytes > MAX_PUT_BYTES:
            self.fault(f"UPLOAD_MAX_BYTES: OSS takes at most {MAX_PUT_BYTES} bytes by PUT.")
        policy.headers = self.header_names()
        policy.header_beginnings = tuple([name[:-1] for name in policy.headers if name[-1] == "*"])
        policy.forced_headers = self.forced_headers()
        policy.identity_header = self.text("UPLOAD_IDENTITY_HEADER").lower()
        if policy.identity_header.strip(TOKEN):
            self.fault("UPLOAD_IDENTITY_HEADER: write the header's name alone, such as x-user-sub.")
        return policy

    def prefix(self) -> str:
        prefix = self.environ.get("UPLOAD_PREFIX", "")
        if prefix:
            fault = key_fault(prefix + "x")
            if not prefix.endswith("/"):
                self.fault(f"UPLOAD_PREFIX: write {prefix}/ for {prefix}: it ends with a slash.")
            elif fault:
                self.fault(f"UPLOAD_PREFIX: no key can start with it. {fault}")
            elif key_fault(prefix + "x" * LONGEST_MADE_TAIL):
                self.fault("UPLOAD_PREFIX is too long: no room is left for a key.")
        return prefix

    def types(self) -> tuple[str, ...]:
        types = tuple([one.lower() for one in self.listed("UPLOAD_TYPES")])
        for one in types:
            family, _, subtype = one.partition("/")
            plain = family and subtype and not family.strip(TOKEN) and not subtype.strip(TOKEN)
            if not plain or "*" in family or ("*" in subtype and subtype != "*"):
                self.fault(f"UPLOAD_TYPES: {one} is no media type, such as image/png or image/*.")
        return types

    def header_names(self) -> tuple[str, ...]:
        names = tuple([name.lower() for name in self.listed("UPLOAD_HEADERS")])
        for name in names:
            if name.removesuffix("*").strip(HEADER_NAME):
                self.fault(f"UPLOAD_HEADERS: {name} is no header's name; a * stands at its end.")
        return names if self.text("UPLOAD_HEADERS") else DEFAULT_HEADERS

    def forced_headers(self) -> dict[str, tuple[str, str]]:
        text = self.text("UPLOAD_FORCED_HEADERS")
        if not text:
            return {}
        try:
            pairs = json.loads(text, object_pairs_hook=list)
        except (ValueError, RecursionError):
            pairs = None
        if not isinstance(pairs, list) or not text.startswith("{"):
            self.fault(
                'UPLOAD_FORCED_HEADERS is a JSON object of strings: {"x-oss-forbid-overwrite":"true"}.'
            )
            return {}
        forced: dict[str, tuple[str, str]] = {}
        for name, value in pairs:
            low = name.lower()
            if not isinstance(value, str):
                self.fault(f"UPLOAD_FORCED_HEADERS: the value of {name} is not a string.")
                continue
            value = value.strip(" \t")
            fault = header_fault(name, value)
            if fault:
                self.fault(f"UPLOAD_FORCED_HEADERS: {name}: {fault}")
            elif is_never_bound(low) or low in ("content-type", "content-md5"):
                self.fault(f"UPLOAD_FORCED_HEADERS: {name} cannot be forced.")
            elif low in forced:
                self.fault(f"UPLOAD_FORCED_HEADERS: {name} stands there twice.")
            forced[low] = (name, value)
        if sum([len(name) + len(value) for name, value in forced.values()]) > MAX_HEADER_BYTES:
            self.fault(f"UPLOAD_FORCED_HEADERS has more than {MAX_HEADER_BYTES} bytes.")
        return forced


def _is_ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(
        part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in parts
    )
