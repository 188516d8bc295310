"""Which addresses and names lead out to the Internet, and which into somebody's own network.  Asks no name server."""

from __future__ import annotations

import ipaddress
import re

# https://www.iana.org/assignments/iana-ipv6-special-registry: what ``is_global`` knows in some releases of Python only,
# or takes for global although it leads to an address of version 4 that is looked at nowhere.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "::/96",  # IPv4-compatible (RFC 4291 §2.5.5.1)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765 §2.1)
        "64:ff9b:1::/48",  # NAT64 of a local network (RFC 8215)
        "5f00::/16",  # segment routing (RFC 9602)
        "fec0::/10",  # site-local (RFC 3879)
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAMES = (".localhost", ".local", ".localdomain", ".internal", ".home.arpa", ".lan")

# Nothing in front of the host, and nothing that a browser makes another character of.
_WEB_URL = re.compile(
    r"https?://(?:(?P<name>[A-Za-z0-9.-]{1,253})|\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\])(?::[0-9]{1,5})?(?:[/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def is_public(address: str) -> bool:
    """Whether an address is one of the Internet's, and not another notation for one that is not."""
    found = ipaddress.ip_address(address)
    if any(found.version == network.version and found in network for network in _PRIVATE):
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


def is_public_url(url: str) -> bool:
    """Whether a URL of http or https leads out, as far as it shows: a name may have any address.

    What is not plainly written is refused.  A browser reads ``%31`` in a host as 1 and a backslash as a slash, and so
    does not see the host that others see.
    """
    match = None if "\\" in url else _WEB_URL.fullmatch(url)
    if match is None:
        return False
    if match["ipv6"] is not None:
        try:
            return ":" in match["ipv6"] and is_public(match["ipv6"])
        except ValueError:
            return False
    name = match["name"].removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # an address to a browser, in whatever notation: 0x7f.1 is 127.0.0.1
        try:
            return is_public(name)
        except ValueError:
            return False
    return len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and not f".{name.lower()}".endswith(_LOCAL_NAMES)
