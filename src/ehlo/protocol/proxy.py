"""The PROXY protocol, v1 and v2. Knows octets and addresses; does not know sockets, time or whom to trust.

The source is https://www.haproxy.org/download/3.5/doc/proxy-protocol.txt: "the specification" below.

What follows the header belongs to someone else, most often a TLS handshake, and cannot be put back into a socket.  So
the reader never asks for an octet that may lie behind the header: ``missing`` is the number of octets that any valid
header still needs at least, after what has come.

    before the first octet   15, the shortest v1 line, PROXY UNKNOWN CRLF (the shortest v2 header has 16)
    v1                       what the shortest words, and the CRLF, still need: a few steps per line
    v2                       up to octet 16 what is missing of it; there is the length, and the rest is known

Whether a connection begins with a header is never guessed: it is a setting, and without the header there is no
connection (the specification, 2: anything else lets clients choose the address that they come from).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Literal

from ehlo.protocol.proxy_tlv import (
    ProxyDetails,
    ProxyError,
    ProxySSL,
    ProxyTLV,
    SSLClient,
    check_crc32c,
    read_details,
    split_tlvs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "V2_LENGTH_LIMIT",
    "ProxyCommand",
    "ProxyDetails",
    "ProxyEndpoint",
    "ProxyError",
    "ProxyFamily",
    "ProxyHeader",
    "ProxyHeaderReader",
    "ProxySSL",
    "ProxyTLV",
    "ProxyTransport",
    "SSLClient",
]

# A host and a port, the path of a UNIX socket, or None when the header names none.
ProxyEndpoint = tuple[str, int] | str | None


class ProxyCommand(Enum):
    """Whose connection it is: the proxy's own (a health check), or one that it relays."""

    LOCAL = 0x0
    PROXY = 0x1


class ProxyFamily(Enum):
    """The address family of the relayed connection."""

    UNSPEC = 0x0
    INET = 0x1
    INET6 = 0x2
    UNIX = 0x3


class ProxyTransport(Enum):
    """The transport protocol of the relayed connection."""

    UNSPEC = 0x0
    STREAM = 0x1
    DGRAM = 0x2


# The specification, 2.1: "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535" CRLF.
V1_LINE_LIMIT = 107

# Octets after the first 16.  The specification wants a header to fit into 536, but a client's certificate among the
# TLVs takes 1 to 2 KiB (go-proxyproto, pull request 144).
V2_LENGTH_LIMIT = 4096

_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_VERSION = 2
# Signature, version and command, family and transport, and how many octets follow.
_V2_FIXED = struct.Struct(">12sBBH")

# What follows, by family: source and destination, and the ports of both where there are any.
_V2_ADDRESSES = {
    ProxyFamily.INET: struct.Struct(">4s4sHH"),
    ProxyFamily.INET6: struct.Struct(">16s16sHH"),
    ProxyFamily.UNIX: struct.Struct(">108s108s"),
}

# All that a header may begin with.
_V1_SHORTEST = len(b"PROXY UNKNOWN\r\n")
_BEGINNINGS = (_V2_SIGNATURE, b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r\n")

# The specification, 2.1, has no ABNF.  This is what it says:
#   line    = "PROXY" SP ( "TCP4" / "TCP6" ) SP address SP address SP port SP port CRLF
#           / "PROXY" SP "UNKNOWN" [ SP *( any octet but CR and LF ) ] CRLF
#   port    = "0" / ( %x31-39 *4DIGIT )              ; up to 65535
# The address is of the family that the line names.  No leading zeros: they would be octal to some.  A scope ("%eth0")
# is no part of an address that comes from another host.
_V1_LINE = re.compile(
    rb"PROXY\ (?P<protocol>TCP[46])"
    rb"\ (?P<source>[0-9A-Fa-f.:]+)\ (?P<destination>[0-9A-Fa-f.:]+)"
    rb"\ (?P<source_port>0|[1-9][0-9]{0,4})\ (?P<destination_port>0|[1-9][0-9]{0,4})\r\n",
    re.VERBOSE,
)
_PORT_LIMIT = 65535

# A v1 line of which the end may not have come yet.
_V1_BEGUN = re.compile(rb"(?P<line>[^\r\n]*)(?P<end>(?:\r\n?)?)")

# The shortest words of a line that names its addresses.
_V1_SHORTEST_WORDS = {
    b"TCP4": (b"PROXY", b"TCP4", b"0.0.0.0", b"0.0.0.0", b"0", b"0"),
    b"TCP6": (b"PROXY", b"TCP6", b"::", b"::", b"0", b"0"),
}
_V1_FAMILIES: dict[bytes, tuple[ProxyFamily, Callable[[str], IPv4Address | IPv6Address]]] = {
    b"TCP4": (ProxyFamily.INET, IPv4Address),
    b"TCP6": (ProxyFamily.INET6, IPv6Address),
}


_NO_DETAILS = ProxyDetails()


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole and valid header.

    ``source`` is the client and ``destination`` what it connected to: ``(host, port)`` for INET and INET6, a path for
    UNIX (empty if the socket has no name, beginning with NUL in Linux's abstract namespace; octets that are no UTF-8
    are surrogates), or None for LOCAL and UNSPEC: then the real addresses of the connection are the ones that count.
    An IPv4-mapped IPv6 address is given as the IPv4 address, so that limits and networks see one client and not two.

    ``tlvs`` are in order, and ``details`` are those of them that are registered, read and checked.  Both are empty
    for v1, and for LOCAL and UNSPEC, where nothing says which octets are TLVs.  ``raw`` is every octet of the header.
    """

    version: Literal[1, 2]
    command: ProxyCommand
    family: ProxyFamily
    protocol: ProxyTransport
    source: ProxyEndpoint = None
    destination: ProxyEndpoint = None
    tlvs: tuple[ProxyTLV, ...] = ()
    details: ProxyDetails = _NO_DETAILS
    raw: bytes = b""


class ProxyHeaderReader:
    """Reads one header, fed with octets in any cut.

    Offer exactly ``missing`` octets to the network, feed what came, and go on until ``feed`` gives the header.  The
    end of the connection, and the time that all this may take, are the caller's to watch.

    ``length_limit`` is for the octets of a v2 header after its first 16.
    """

    __slots__ = ("_data", "_length_limit", "_missing")

    def __init__(self, *, length_limit: int = V2_LENGTH_LIMIT) -> None:
        self._data = b""
        self._length_limit = length_limit
        self._missing = _V1_SHORTEST

    @property
    def missing(self) -> int:
        """How many octets may be read now without passing the end of the header; 0 once it is complete or refused."""
        return self._missing

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take octets; give the header when it is complete, None when more is needed.

        ``ProxyError`` (the peer's fault) as soon as the octets cannot become a valid header.  ``ValueError`` (the
        caller's) when there are more than ``missing``.
        """
        if len(data) > self._missing:
            raise ValueError(f"{len(data)} octets fed, {self._missing} are missing")
        self._data += data
        self._missing = 0
        missing = _count_missing(self._data, self._length_limit)
        if missing == 0:
            return _parse_v1(self._data) if self._data.startswith(b"PROXY") else _parse_v2(self._data)
        self._missing = missing
        return None


def _count_missing(data: bytes, length_limit: int) -> int:
    """How many octets the shortest header that begins with ``data`` still needs; ``ProxyError`` if there is none."""
    if not any(beginning.startswith(data[: len(beginning)]) for beginning in _BEGINNINGS):
        raise ProxyError("no PROXY header")
    if data.startswith(b"\r"):
        return _count_missing_v2(data, length_limit)
    if len(data) < _V1_SHORTEST:
        return _V1_SHORTEST - len(data)
    return _count_missing_v1(data)


def _count_missing_v1(data: bytes) -> int:
    """The same for a v1 line of at least 15 octets."""
    match = _V1_BEGUN.fullmatch(data)
    if match is None:
        raise ProxyError("a bare CR or LF in a v1 line")
    missing = len(b"\r\n") - len(match["end"])
    if not match["end"]:
        missing += _count_missing_words(match["line"])
    if len(data) + missing > V1_LINE_LIMIT:
        raise ProxyError("a v1 line is too long")
    return missing


def _count_missing_words(line: bytes) -> int:
    """What a line without its end needs at least: the rest of the word that has begun, and the words after it."""
    words = line.split(b" ")
    to_come = _V1_SHORTEST_WORDS.get(words[1], ())[len(words) - 1 :]
    if not to_come:
        return 0
    return max(len(to_come[0]) - len(words[-1]), 0) + sum(len(b" " + word) for word in to_come[1:])


def _parse_v1(line: bytes) -> ProxyHeader:
    if line.startswith(b"PROXY UNKNOWN"):
        return ProxyHeader(1, ProxyCommand.PROXY, ProxyFamily.UNSPEC, ProxyTransport.UNSPEC, raw=line)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise ProxyError("a v1 line is malformed")
    family, read_address = _V1_FAMILIES[match["protocol"]]
    try:
        source = read_address(match["source"].decode())
        destination = read_address(match["destination"].decode())
    except ValueError:
        raise ProxyError("a v1 line has a malformed address") from None
    ports = int(match["source_port"]), int(match["destination_port"])
    if max(ports) > _PORT_LIMIT:
        raise ProxyError(f"a v1 line has the port {max(ports)}")
    return ProxyHeader(
        1,
        ProxyCommand.PROXY,
        family,
        ProxyTransport.STREAM,
        source=(_host(source), ports[0]),
        destination=(_host(destination), ports[1]),
        raw=line,
    )


def _read_v2_fixed(data: bytes, length_limit: int) -> tuple[ProxyCommand, ProxyFamily, ProxyTransport, int]:
    """The first 16 octets: command, family, transport, and how many octets follow."""
    _, version_and_command, family_and_transport, length = _V2_FIXED.unpack_from(data)
    if version_and_command >> 4 != _V2_VERSION:
        raise ProxyError(f"PROXY version {version_and_command >> 4}")
    if length > length_limit:
        raise ProxyError(f"a v2 header claims {length} octets")
    try:
        command = ProxyCommand(version_and_command & 0xF)
        if command is ProxyCommand.LOCAL:
            # The specification, 2.2: the family "is ignored", whatever it is.
            return command, ProxyFamily.UNSPEC, ProxyTransport.UNSPEC, length
        family, transport = ProxyFamily(family_and_transport >> 4), ProxyTransport(family_and_transport & 0xF)
    except ValueError as error:
        raise ProxyError(f"a v2 header has an unassigned value: {error}") from None
    return command, family, transport, length


def _count_missing_v2(data: bytes, length_limit: int) -> int:
    """The same for octets that begin with the v2 signature, or a part of it."""
    if len(data) < _V2_FIXED.size:
        return _V2_FIXED.size - len(data)
    _, family, transport, length = _read_v2_fixed(data, length_limit)
    if _has_addresses(family, transport) and length < _V2_ADDRESSES[family].size:
        raise ProxyError(f"a v2 header leaves {length} octets for {family.name} addresses")
    return _V2_FIXED.size + length - len(data)


def _parse_v2(data: bytes) -> ProxyHeader:
    command, family, transport, _ = _read_v2_fixed(data, len(data))
    if not _has_addresses(family, transport):
        return ProxyHeader(2, command, family, transport, raw=data)
    addresses = _V2_ADDRESSES[family]
    source, destination = _read_v2_addresses(family, addresses.unpack_from(data, _V2_FIXED.size))
    tlvs = split_tlvs(data[_V2_FIXED.size + addresses.size :])
    details = read_details(tlvs)
    check_crc32c(data, tlvs)
    return ProxyHeader(2, command, family, transport, source, destination, tlvs, details, data)


def _has_addresses(family: ProxyFamily, transport: ProxyTransport) -> bool:
    """Whether addresses follow the first 16 octets, and TLVs these: nothing says how long UNSPEC addresses are."""
    return family is not ProxyFamily.UNSPEC and transport is not ProxyTransport.UNSPEC


def _read_v2_addresses(family: ProxyFamily, fields: tuple[Any, ...]) -> tuple[ProxyEndpoint, ProxyEndpoint]:
    if family is ProxyFamily.UNIX:
        source, destination = fields
        return _path(source), _path(destination)
    source, destination, source_port, destination_port = fields
    return (_host(ip_address(source)), source_port), (_host(ip_address(destination)), destination_port)


def _host(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _path(data: bytes) -> str:
    # A path ends at its first NUL; a name in the abstract namespace begins with one, and what follows it is padding.
    path = data.rstrip(b"\x00") if data.startswith(b"\x00") else data.partition(b"\x00")[0]
    return path.decode("utf-8", "surrogateescape")
