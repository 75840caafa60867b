"""OSS_ENDPOINT where it is none of the names but an address: a custom domain, a local one, one of OSS's."""

from __future__ import annotations

from upload_url.policy import LOWER_DIGITS_HYPHEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def read(text: str, bucket: str, names: Iterable[str], faults: list[str]) -> tuple[str, str, bool]:
    """Endpoint, base URL, and whether the host is a custom domain; see `settings.Settings`.

    Args:
        text: the address.
        bucket: goes before a host of OSS's own, and after an IP or localhost.
        names: what could have been written instead.
        faults: what is wrong is added here.
    """
    scheme, separator, authority = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("https", "http"):
        faults.append(f"OSS_ENDPOINT: {text} is neither one of {', '.join(names)} nor an https:// address.")
        return "", "", False
    authority = authority.removesuffix("/").lower()
    host, _, port = authority.partition(":")
    local = host == "localhost" or _is_ipv4(host)
    if any(not label or label.strip(LOWER_DIGITS_HYPHEN) for label in host.split(".")) or (
        authority != host
        and not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535)
    ):
        faults.append(f"OSS_ENDPOINT: {text} must end after its host, or host:port: no path, user or query.")
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


def _is_ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(
        part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in parts
    )
