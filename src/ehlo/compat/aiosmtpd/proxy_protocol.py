"""The PROXY protocol under aiosmtpd's names: ``get_proxy``, ``ProxyData``, ``ProxyTLV``, with its error texts.

Reads any reader with ``read``, ``readexactly`` and ``readuntil``; does not know sockets, time or whom to trust.  It is
as lenient as the original: a header that is understood is reported, also where ``ehlo.protocol.proxy``, the core's
strict parser, refuses one (checksums, texts that do not print, LOCAL with an unknown family), since a handler of that
time judges ``ProxyData`` by itself.  Not lenient are nested and empty SSL TLVs: docs/migrating.md, ``proxy-tlv``.

The source is https://www.haproxy.org/download/3.5/doc/proxy-protocol.txt.
"""

from __future__ import annotations

import logging
import re
import struct
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple, Protocol, Self

from ehlo.protocol.proxy import V1_LINE_LIMIT

V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


class V2_CMD(IntEnum):  # noqa: N801 - aiosmtpd's name
    """Whose connection it is: the proxy's own (a health check), or one that it relays."""

    LOCAL = 0
    PROXY = 1


class AF(IntEnum):
    """The address family; UNSPEC is also the UNKNOWN of version 1."""

    UNSPEC = 0
    INET = 1
    INET6 = 2
    UNIX = 3


class PROTO(IntEnum):
    """The transport protocol; UNSPEC is also the UNKNOWN of version 1."""

    UNSPEC = 0
    STREAM = 1
    DGRAM = 2


V2_VALID_CMDS = {int(command) for command in V2_CMD}
V2_VALID_FAMS = {int(family) for family in AF}
V2_VALID_PROS = {int(protocol) for protocol in PROTO}
# The octets of family and transport behind which addresses stand.
V2_PARSE_ADDR_FAMPRO = {
    family << 4 | protocol for family in (AF.INET, AF.INET6, AF.UNIX) for protocol in (PROTO.STREAM, PROTO.DGRAM)
}

__all__ = [
    "V2_CMD",
    "V2_PARSE_ADDR_FAMPRO",
    "V2_SIGNATURE",
    "V2_VALID_CMDS",
    "V2_VALID_FAMS",
    "V2_VALID_PROS",
    "AsyncReader",
    "IPv4Address",
    "IPv6Address",
    "MalformedTLV",
    "ProxyData",
    "ProxyTLV",
    "UnknownTypeTLV",
    "get_proxy",
]

log = logging.getLogger("mail.debug")

EndpointAddress = IPv4Address | IPv6Address | str | bytes

_NOT_FOUND = object()


class MalformedTLV(RuntimeError):
    """A TLV that is not there whole, or an SSL TLV that cannot be one."""


class UnknownTypeTLV(KeyError):
    """A TLV of a type without a name, where only known ones are wanted."""


class AsyncReader(Protocol):
    """What ``get_proxy`` reads from: an ``asyncio.StreamReader``, for example."""

    async def read(self, n: int = ...) -> bytes:
        """At most so many octets, b"" at the end."""

    async def readexactly(self, n: int) -> bytes:
        """So many octets; ``IncompleteReadError`` if there are less."""

    async def readuntil(self, separator: bytes = ...) -> bytes:
        """Up to and with the separator, which is LF if not given."""


def _same_attribs(find: Callable[[str], Any], wanted: dict[str, Any], *, raises: bool) -> bool:
    """Whether everything that is wanted is found and equal; or else ``KeyError`` or ``ValueError`` if it ``raises``."""
    for name, expected in wanted.items():
        actual = find(name)
        if actual is not _NOT_FOUND and actual == expected:
            continue
        if not raises:
            return False
        if actual is _NOT_FOUND:
            raise KeyError(f"notfound:{name}")
        raise ValueError(f"mismatch:{name} actual={actual!r} expect={expected!r}")
    return True


Octets = bytes | bytearray | memoryview


class _RawTLV(NamedTuple):
    position: int
    type: int
    value: Octets


def _split(chunk: Octets) -> Iterator[_RawTLV]:
    """Cut into TLVs, as far as they are whole; ``MalformedTLV`` at one whose value is not."""
    position = 0
    while position < len(chunk):
        value_start = position + 3
        length = int.from_bytes(chunk[position + 1 : value_start], "big")
        value = chunk[value_start : value_start + length]
        if len(value) < length:
            raise MalformedTLV(f"TLV 0x{chunk[position]:02X} is malformed!")
        yield _RawTLV(position, chunk[position], value)
        position = value_start + length


class ProxyTLV(dict[str, Any]):
    """The TLVs of a header by name, as items and as attributes; an attribute that is not there is None.

    ``SSL`` is whether what is inside of it could be read; that stands beside it, as ``SSL_VERSION`` and so on, with
    ``SSL_CLIENT`` and ``SSL_VERIFY`` as numbers.  A type without a name is ``xNN``, in hexadecimal.  ``tlv_loc`` is
    where each TLV began in the octets; inside SSL it is counted as aiosmtpd counts, without the head of the SSL TLV.
    """

    __slots__ = ("tlv_loc",)

    PP2_TYPENAME: dict[int, str] = {  # noqa: RUF012 - the original's, and a program may add to it
        0x01: "ALPN",
        0x02: "AUTHORITY",
        0x03: "CRC32C",
        0x04: "NOOP",
        0x05: "UNIQUE_ID",
        0x20: "SSL",
        0x21: "SSL_VERSION",
        0x22: "SSL_CN",
        0x23: "SSL_CIPHER",
        0x24: "SSL_SIG_ALG",
        0x25: "SSL_KEY_ALG",
        0x30: "NETNS",
    }

    def __init__(self, *args: Any, _tlv_loc: dict[str, int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tlv_loc = _tlv_loc

    def __getattr__(self, item: str) -> Any:
        return self.get(item)

    def same_attribs(self, _raises: bool = False, **kwargs: Any) -> bool:  # noqa: FBT001, FBT002 - aiosmtpd's signature
        """Whether all these are there with these values; or else ``KeyError`` or ``ValueError`` with ``_raises``."""
        return _same_attribs(lambda name: self.get(name, _NOT_FOUND), kwargs, raises=_raises)

    @classmethod
    def parse(
        cls,
        data: Octets,
        partial_ok: bool = True,  # noqa: FBT001, FBT002 - aiosmtpd's signature
        strict: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[dict[str, Any], dict[str, int]]:
        """Read TLVs: their values, and where they began.

        ``MalformedTLV`` for one that is not whole, unless ``partial_ok``: then what stood before it is given.
        ``UnknownTypeTLV`` for a type without a name, if ``strict``.
        """
        values: dict[str, Any] = {}
        positions: dict[str, int] = {}
        with suppress(MalformedTLV) if partial_ok else nullcontext():
            for position, type_, value in _split(data):
                name = cls._name(type_, strict=strict)
                positions[name] = position
                if name == "SSL":
                    cls._parse_ssl(value, position, values, positions, strict=strict)
                else:
                    values[name] = value
        return values, positions

    @classmethod
    def _parse_ssl(
        cls, data: Octets, offset: int, values: dict[str, Any], positions: dict[str, int], *, strict: bool
    ) -> None:
        try:
            if not data:
                raise MalformedTLV("TLV 0x20 is empty!")
            values["SSL_CLIENT"] = data[0]
            values["SSL_VERIFY"] = int.from_bytes(data[1:5], "big")
            for position, type_, value in _split(data[5:]):
                name = cls._name(type_, strict=strict)
                # One inside the other, and the header chooses how many: an attack and nothing else.
                if name == "SSL":
                    raise MalformedTLV("TLV 0x20 is nested!")
                positions[name] = offset + position
                values[name] = value
        except MalformedTLV:
            values["SSL"] = False
            raise
        values["SSL"] = True

    @classmethod
    def _name(cls, type_: int, *, strict: bool) -> str:
        name = cls.PP2_TYPENAME.get(type_)
        if name is None:
            name = f"x{type_:02X}"
            if strict:
                raise UnknownTypeTLV(name)
        return name

    @classmethod
    def from_raw(
        cls,
        raw: Octets,
        strict: bool = False,  # noqa: FBT001, FBT002 - aiosmtpd's signature
    ) -> Self | None:
        """Read TLVs; None if there are none.  Errors as in ``parse``, with nothing partial."""
        if not raw:
            return None
        values, positions = cls.parse(raw, partial_ok=False, strict=strict)
        return cls(values, _tlv_loc=positions)

    @classmethod
    def name_to_num(cls, name: str) -> int | None:
        """Give the type that has the name; None if none has."""
        return next((number for number, known in cls.PP2_TYPENAME.items() if known == name), None)


@dataclass(slots=True, order=True)
class ProxyData:
    """A header, as far as it was understood: true in a condition if it is valid.

    ``error`` is why it is not, "" if it is.  ``command``, ``family`` and ``protocol`` are plain numbers in version 2;
    they equal the enums.  The addresses of UNIX sockets are 108 octets each.  ``rest`` is what stood behind UNKNOWN,
    or the TLVs, not decoded: ``tlv`` decodes them.  ``whole_raw`` is all octets of the header, and ``tlv_start`` where
    in it the TLVs begin.
    """

    version: int | None = field(kw_only=True)
    command: int | None = field(default=None, init=False)
    family: int | None = field(default=None, init=False)
    protocol: int | None = field(default=None, init=False)
    src_addr: EndpointAddress | None = field(default=None, init=False)
    dst_addr: EndpointAddress | None = field(default=None, init=False)
    src_port: int | None = field(default=None, init=False)
    dst_port: int | None = field(default=None, init=False)
    rest: bytes | bytearray = field(default=b"", init=False)
    whole_raw: bytearray = field(default_factory=bytearray, init=False)
    tlv_start: int | None = field(default=None, init=False)
    error: str = field(default="", init=False)
    _tlv: ProxyTLV | None = field(default=None, init=False)

    @property
    def valid(self) -> bool:
        """Whether there is no error, and it says what is relayed."""
        return not self.error and self.version is not None and self.protocol is not None

    @property
    def tlv(self) -> ProxyTLV | None:
        """The TLVs, read when they are first asked for; None if there are none or one is malformed."""
        if self._tlv is None:
            with suppress(MalformedTLV):
                self._tlv = ProxyTLV.from_raw(self.rest)
        return self._tlv

    def with_error(self, error_msg: str, log_prefix: bool = True) -> ProxyData:  # noqa: FBT001, FBT002 - aiosmtpd's signature
        """Note the error, log it, and give this object."""
        log.warning("PROXY error: %s" if log_prefix else "%s", error_msg)
        self.error = error_msg
        return self

    def same_attribs(self, _raises: bool = False, **kwargs: Any) -> bool:  # noqa: FBT001, FBT002 - aiosmtpd's signature
        """Whether the attributes have these values; or else ``KeyError`` or ``ValueError`` with ``_raises``."""
        return _same_attribs(lambda name: getattr(self, name, _NOT_FOUND), kwargs, raises=_raises)

    def __bool__(self) -> bool:
        return self.valid


class _Refused(Exception):
    """The header cannot be taken; the text is for ``ProxyData.error``."""


async def get_proxy(reader_func: AsyncReader) -> ProxyData:
    """Read a header, and nothing behind it.

    What is wrong with it is in ``ProxyData.error``.  ``IncompleteReadError`` only if there are not even five octets.
    """
    signature = bytes(await reader_func.readexactly(5))
    if signature == b"PROXY":
        proxy_data, read = ProxyData(version=1), _get_v1
    elif signature == V2_SIGNATURE[:5]:
        proxy_data, read = ProxyData(version=2), _get_v2
    else:
        return ProxyData(version=None).with_error("PROXY unrecognized signature")
    try:
        await read(reader_func, proxy_data, signature)
    except _Refused as refusal:
        return proxy_data.with_error(str(refusal))
    except Exception as error:  # noqa: BLE001 - a reader of somebody's own may raise anything, and this is how it is told
        return ProxyData(version=None).with_error(f"PROXY exception: {error}", log_prefix=False)
    return proxy_data


# Version 1.  The specification, 2.1, has no ABNF; aiosmtpd asks for this much:
#   line    = "PROXY" SP ( "UNKNOWN" *octet / ( "TCP4" / "TCP6" ) SP address SP address SP port SP port ) CRLF
#   port    = "0" / ( %x31-39 *DIGIT )
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]+")
_PORT = re.compile(r"0|[1-9][0-9]*")
_PORT_LIMIT = 65535
_V1_FAMILIES = {b"4": AF.INET, b"6": AF.INET6}
_IP_VERSIONS = {AF.INET: 4, AF.INET6: 6}


async def _get_v1(reader: AsyncReader, proxy_data: ProxyData, beginning: bytes) -> None:
    line = bytes(await reader.readuntil())
    proxy_data.whole_raw = bytearray(beginning + line)
    if len(proxy_data.whole_raw) > V1_LINE_LIMIT:
        raise _Refused("PROXYv1 header too long")
    if not line.endswith(b"\r\n"):
        raise _Refused("PROXYv1 malformed")
    # By single spaces: two of them make an empty word, which nothing takes.
    words = deque(line[:-2].split(b" "))
    if words.popleft():
        raise _Refused("PROXYv1 wrong signature")
    kind = words.popleft()
    if kind == b"UNKNOWN":
        proxy_data.family, proxy_data.protocol = AF.UNSPEC, PROTO.UNSPEC
        proxy_data.rest = b"".join(b" " + word for word in words)
        return
    family = _V1_FAMILIES.get(kind[-1:])
    if family is None:
        raise _Refused("PROXYv1 unrecognized family")
    proxy_data.family = family
    if not kind.startswith(b"TCP"):
        raise _Refused("PROXYv1 unrecognized protocol")
    proxy_data.protocol = PROTO.STREAM
    _take_v1_addresses(words, proxy_data, family)
    _take_v1_ports(words, proxy_data)
    if words:
        raise _Refused("PROXYv1 unrecognized extraneous data")


def _take_v1_addresses(words: deque[bytes], proxy_data: ProxyData, family: AF) -> None:
    try:
        source, destination = (ip_address(_take_word(words, _ADDRESS)) for _ in range(2))
    except ValueError:
        raise _Refused("PROXYv1 address malformed") from None
    version = _IP_VERSIONS[family]
    if not source.version == destination.version == version:
        raise _Refused(f"PROXYv1 address not IPv{version}")
    proxy_data.src_addr, proxy_data.dst_addr = source, destination


def _take_v1_ports(words: deque[bytes], proxy_data: ProxyData) -> None:
    try:
        proxy_data.src_port = int(_take_word(words, _PORT))
        proxy_data.dst_port = int(_take_word(words, _PORT))
    except ValueError:
        raise _Refused("PROXYv1 port malformed") from None
    for which, port in (("src", proxy_data.src_port), ("dst", proxy_data.dst_port)):
        if port > _PORT_LIMIT:
            raise _Refused(f"PROXYv1 {which} port out of bounds")


def _take_word(words: deque[bytes], pattern: re.Pattern[str]) -> str:
    """Take the next word; ``ValueError`` if it is not of the pattern, ``IndexError`` if there is none."""
    word = words.popleft().decode("latin-1")
    if not pattern.fullmatch(word):
        raise ValueError(word)
    return word


# Version 2.  Version and command, family and transport, and how many octets follow.
_V2_FIXED = struct.Struct(">BBH")
_V2_VERSION = 2
# What follows, by family: source and destination, and the ports of both where there are any.
_V2_ADDRESSES = {
    AF.INET: struct.Struct(">4s4sHH"),
    AF.INET6: struct.Struct(">16s16sHH"),
    AF.UNIX: struct.Struct(">108s108s"),
}


async def _get_v2(reader: AsyncReader, proxy_data: ProxyData, beginning: bytes) -> None:
    signature = beginning + await _read(reader, len(V2_SIGNATURE) - len(beginning), "signature")
    if signature != V2_SIGNATURE:
        raise _Refused("PROXYv2 wrong signature")
    fixed = await _read(reader, _V2_FIXED.size, "header")
    version_and_command, family_and_transport, length = _V2_FIXED.unpack(fixed)
    if version_and_command >> 4 != _V2_VERSION:
        raise _Refused("PROXYv2 illegal version")
    proxy_data.command = version_and_command & 0xF
    if proxy_data.command not in V2_VALID_CMDS:
        raise _Refused("PROXYv2 unsupported command")
    proxy_data.family = family = family_and_transport >> 4
    if family not in V2_VALID_FAMS:
        raise _Refused("PROXYv2 unsupported family")
    proxy_data.protocol = family_and_transport & 0xF
    if proxy_data.protocol not in V2_VALID_PROS:
        raise _Refused("PROXYv2 unsupported protocol")
    tail = await _read(reader, length, "tail part")
    proxy_data.whole_raw = bytearray(signature + fixed + tail)
    if family_and_transport not in V2_PARSE_ADDR_FAMPRO:
        proxy_data.rest = bytearray(tail)
        return
    addresses = _V2_ADDRESSES[AF(family)]
    if len(tail) < addresses.size:
        raise _Refused("PROXYv2 truncated address")
    source, destination, *ports = addresses.unpack_from(tail)
    if ports:
        # Four octets make an IPv4 address, sixteen an IPv6 one.
        source, destination = ip_address(source), ip_address(destination)
        proxy_data.src_port, proxy_data.dst_port = ports
    proxy_data.src_addr, proxy_data.dst_addr = source, destination
    proxy_data.rest = bytearray(tail[addresses.size :])
    if proxy_data.rest:
        proxy_data.tlv_start = len(V2_SIGNATURE) + len(fixed) + addresses.size


async def _read(reader: AsyncReader, length: int, what: str) -> bytes:
    """So many octets; ``ConnectionError`` if the connection ends before."""
    data = b""
    while len(data) < length:
        piece = await reader.read(length - len(data))
        if not piece:
            raise ConnectionError(f"Connection lost while waiting for {what}")
        data += piece
    return data
