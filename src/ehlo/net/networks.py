r"""Networks: who is in a list of them, and which one a peer belongs to. Does not know what is allowed to whom.

A peer is what ``transport.get_extra_info("peername")`` gives:

    ("192.0.2.1", 49152)                      IPv4
    ("2001:db8::1", 49152, 0, 0)              IPv6; "fe80::1%eth0" with a scope, which is not looked at
    ("::ffff:192.0.2.1", 49152, 0, 0)         IPv4 on an IPv6 socket: counts as IPv4
    "", "/run/client.sock", b"\0abstract"      the client of a UNIX socket
    None                                      nobody knows

or the text of an address.  None is *not* a UNIX socket, though some libraries say so: a TCP connection that the client
has reset before it was looked at has no peer name any more, on uvloop at least, and yet all that the client sent is
still there to be read and executed.  If None were trusted as a UNIX socket is, so would be anybody who resets.
For the same reason a text that is neither an address nor surely a path belongs nowhere.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

UNIX = "unix"
"""In a list of networks and as the network of a peer: UNIX sockets."""
UNKNOWN = "unknown"
"""The network of all those of whom nobody knows where they are."""

_MAPPED = 0xFFFF  # RFC 4291 §2.5.5.2: ::ffff:0:0/96


class Networks:
    """A set of networks: ``("192.0.2.1", 25) in Networks(["192.0.2.0/24", "2001:db8::/32", "::1", "unix"])``.

    ``texts`` are networks in CIDR notation, addresses, and ``"unix"`` for the clients of UNIX sockets.  ``ValueError``
    names the one that is none of these, such as ``10.0.0.1/8``, which has bits where none belong.

    A look-up takes a set for each length of prefix, however many networks there are, and no cache that strangers could
    fill: half a microsecond to one.
    """

    __slots__ = ("_prefixes", "_texts", "_with_unix")

    def __init__(self, texts: Iterable[str]) -> None:
        if isinstance(texts, str):
            raise TypeError(f"several networks are expected, not one text: {texts!r}")
        found = [_parse_network(text) for text in texts]
        networks = [network for network in found if network is not None]
        self._with_unix = None in found
        self._texts = frozenset([*map(str, networks), *([UNIX] if self._with_unix else [])])
        # Bits of an address: how far to shift it, and what is then to be found.
        self._prefixes: dict[int, list[tuple[int, set[int]]]] = {32: [], 128: []}
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            rows = self._prefixes[network.max_prefixlen]
            row = next((row for row in rows if row[0] == shift), None)
            if row is None:
                rows.append(row := (shift, set()))
            row[1].add(int(network.network_address) >> shift)

    def __contains__(self, peer: Any) -> bool:
        if not self._texts:
            return False
        address = _address_of(peer)
        if address is None:
            return self._with_unix and _is_unix(peer)
        bits, value = address
        for shift, prefixes in self._prefixes[bits]:  # noqa: SIM110 - any() costs twice as much
            if value >> shift in prefixes:
                return True
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._texts == other._texts

    def __hash__(self) -> int:
        return hash(self._texts)

    def __repr__(self) -> str:
        return f"Networks({sorted(self._texts)})"


def network_of(peer: Any, ipv4_prefix: int = 32, ipv6_prefix: int = 64) -> str:
    """The network that a peer belongs to, as a text: one address, or an address and the length of its prefix.

    An IPv6 host makes up the lower 64 bits by itself, and anew as often as it likes (RFC 8981), so a single address of
    a /64 means nothing.  ``UNIX`` and ``UNKNOWN`` are networks too.
    """
    address = _address_of(peer)
    if address is None:
        return UNIX if _is_unix(peer) else UNKNOWN
    bits, value = address
    family, prefix = (socket.AF_INET, ipv4_prefix) if bits == 32 else (socket.AF_INET6, ipv6_prefix)
    shift = bits - prefix
    text = socket.inet_ntop(family, (value >> shift << shift).to_bytes(bits // 8, "big"))
    return f"{text}/{prefix}" if shift else text


def _parse_network(text: str) -> IPv4Network | IPv6Network | None:
    """None for UNIX sockets."""
    if text.lower() == UNIX:
        return None
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"no network: {text!r}: {error}") from None
    if "%" in text:
        raise ValueError(f"no network: {text!r}: a network has no scope")
    value = int(network.network_address)
    if network.version == 6 and network.prefixlen >= 96 and value >> 32 == _MAPPED:
        return IPv4Network((value & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _address_of(peer: Any) -> tuple[int, int] | None:
    """An address's bits (32 or 128) and its value; None when the peer has none."""
    host = peer[0] if isinstance(peer, tuple) and peer else peer
    if not isinstance(host, str):
        return None
    # inet_pton: a tenth of what ipaddress takes.
    try:
        if ":" not in host:
            return 32, int.from_bytes(socket.inet_pton(socket.AF_INET, host), "big")
        value = int.from_bytes(socket.inet_pton(socket.AF_INET6, host.partition("%")[0]), "big")
    except (OSError, ValueError):
        return None
    return (32, value & 0xFFFFFFFF) if value >> 32 == _MAPPED else (128, value)


def _is_unix(peer: Any) -> bool:
    """Whether this is the name of a UNIX socket: none, a path, or an abstract one (bytes)."""
    return isinstance(peer, bytes) or (isinstance(peer, str) and peer[:1] in {"", "/", "\0"})


LOOPBACK = Networks(["127.0.0.0/8", "::1", UNIX])
"""This machine."""
