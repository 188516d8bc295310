"""TLVs of PROXY protocol v2. Knows types, lengths, values and the checksum; does not know addresses or sockets.

The source is https://www.haproxy.org/download/3.5/doc/proxy-protocol.txt, section 2.2: "the specification" below.

A TLV is a type (one octet), the length of its value (two octets) and the value.  All are kept in order as they came.
Those that the specification registers are read, checked and given by name as well; of these (but NOOP) a header
may hold one each, since nobody says which of two would count.  What is inside SSL is read there and only there: an
SSL inside an SSL is refused, so that no depth of nesting can be asked for.

What is text lands in logs and trace fields, and some of it (AUTHORITY, CN) was chosen by the client behind the proxy,
so octets that are not in the right charset, or that print as nothing, are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, NamedTuple

from ehlo.errors import ProtocolError

# The specification, 2.2.5.
UNIQUE_ID_LIMIT = 128

ALPN = 0x01
AUTHORITY = 0x02
CRC32C = 0x03
NOOP = 0x04
UNIQUE_ID = 0x05
SSL = 0x20
SSL_VERSION = 0x21
SSL_CN = 0x22
SSL_CIPHER = 0x23
SSL_SIG_ALG = 0x24
SSL_KEY_ALG = 0x25
SSL_GROUP = 0x26
SSL_SIG_SCHEME = 0x27
SSL_CLIENT_CERT = 0x28
NETNS = 0x30

_TYPE_AND_LENGTH = struct.Struct(">BH")
_CLIENT_AND_VERIFY = struct.Struct(">BL")
_CRC32C_LENGTH = 4


class ProxyError(ProtocolError):
    """The connection does not begin with a PROXY header as the specification has it: it must be aborted.

    The specification wants no reply, and before a TLS handshake there is no way to give one; the 421 is for a shell
    that tells its peer all the same.
    """

    code = 421
    enhanced = "4.5.2"
    text = "Malformed PROXY header"


class ProxyTLV(NamedTuple):
    """One TLV: its type, 0 to 255, and its value."""

    type: int
    value: bytes


class SSLClient(IntFlag):
    """What the client did, in the words of the specification, 2.2.6."""

    SSL = 0x01
    CERT_CONN = 0x02
    CERT_SESS = 0x04


@dataclass(frozen=True, slots=True)
class ProxySSL:
    """The TLS session between the client and the proxy; None is what the proxy did not tell.

    ``verify`` is 0 if the client gave a certificate that the proxy could verify.  ``cn`` is the Common Name of the
    client's certificate, ``client_cert`` that certificate in DER; ``sig_alg`` and ``key_alg`` are of the proxy's own.
    ``tlvs`` are all TLVs of the second level, in order.
    """

    client: SSLClient
    verify: int
    tlvs: tuple[ProxyTLV, ...] = ()
    version: str | None = None
    cn: str | None = None
    cipher: str | None = None
    sig_alg: str | None = None
    key_alg: str | None = None
    group: str | None = None
    sig_scheme: str | None = None
    client_cert: bytes | None = None

    @property
    def has_verified_certificate(self) -> bool:
        """Whether the client gave a certificate, in this connection or session, and the proxy could verify it.

        ``verify`` alone does not tell: a peer may write 0 there for a client without a certificate.
        """
        return bool(self.client & (SSLClient.CERT_CONN | SSLClient.CERT_SESS)) and self.verify == 0


@dataclass(frozen=True, slots=True)
class ProxyDetails:
    """The registered TLVs of a header, read; None is what the proxy did not tell.

    ``authority`` is the host name that the client asked for (SNI); ``crc32c`` is a checksum that was found right.
    """

    alpn: bytes | None = None
    authority: str | None = None
    crc32c: int | None = None
    unique_id: bytes | None = None
    ssl: ProxySSL | None = None
    netns: str | None = None


def split_tlvs(data: bytes) -> tuple[ProxyTLV, ...]:
    """Cut octets that are TLVs and nothing else; ``ProxyError`` when one of them is not there whole."""
    tlvs = []
    position = 0
    while position < len(data):
        value = position + _TYPE_AND_LENGTH.size
        if value > len(data):
            raise ProxyError(f"a TLV is cut short after {len(data) - position} octets")
        kind, length = _TYPE_AND_LENGTH.unpack_from(data, position)
        position = value + length
        if position > len(data):
            raise ProxyError(f"TLV {kind:#04x} claims {length} octets, {len(data) - value} are left")
        tlvs.append(ProxyTLV(kind, data[value:position]))
    return tuple(tlvs)


def read_details(tlvs: Sequence[ProxyTLV]) -> ProxyDetails:
    """Read the registered TLVs of the first level; ``ProxyError`` when one is malformed or comes twice."""
    return ProxyDetails(**_read(tlvs, _DETAILS))


def check_crc32c(header: bytes, tlvs: Sequence[ProxyTLV]) -> None:
    """Verify the checksum of a whole header that ends in ``tlvs``, if they hold one (the specification, 2.2.3).

    It is calculated with zeros in its own place.  ``ProxyError`` when it is another.
    """
    position = len(header) - sum(_TYPE_AND_LENGTH.size + len(tlv.value) for tlv in tlvs)
    for tlv in tlvs:
        position += _TYPE_AND_LENGTH.size
        end = position + len(tlv.value)
        if tlv.type == CRC32C:
            zeroed = header[:position] + bytes(len(tlv.value)) + header[end:]
            if crc32c(zeroed) != int.from_bytes(tlv.value, "big"):
                raise ProxyError("the checksum is wrong")
        position = end


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, RFC 9260 appendix A): ``zlib.crc32`` has another polynomial."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC32C_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _crc32c_row(octet: int) -> int:
    for _ in range(8):
        # 0x1EDC6F41 with its bits in reverse.
        octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
    return octet


_CRC32C_TABLE = tuple(_crc32c_row(octet) for octet in range(256))


def _octets(value: bytes) -> bytes:
    return value


def _text(value: bytes, charset: str) -> str:
    try:
        text = value.decode(charset)
    except UnicodeDecodeError:
        raise ProxyError(f"a text is no {charset}") from None
    if not text.isprintable():
        raise ProxyError("a text holds what does not print")
    return text


def _ascii(value: bytes) -> str:
    return _text(value, "ascii")


def _utf8(value: bytes) -> str:
    return _text(value, "utf-8")


def _unique_id(value: bytes) -> bytes:
    if len(value) > UNIQUE_ID_LIMIT:
        raise ProxyError(f"UNIQUE_ID has {len(value)} octets")
    return value


def _checksum(value: bytes) -> int:
    if len(value) != _CRC32C_LENGTH:
        raise ProxyError(f"CRC32C has {len(value)} octets")
    return int.from_bytes(value, "big")


def _ssl(value: bytes) -> ProxySSL:
    if len(value) < _CLIENT_AND_VERIFY.size:
        raise ProxyError(f"SSL has {len(value)} octets")
    client, verify = _CLIENT_AND_VERIFY.unpack_from(value)
    tlvs = split_tlvs(value[_CLIENT_AND_VERIFY.size :])
    return ProxySSL(SSLClient(client), verify, tlvs, **_read(tlvs, _SSL_DETAILS))


def _nested_ssl(value: bytes) -> None:
    raise ProxyError(f"SSL of {len(value)} octets inside SSL")


# Type, and the field that it fills with what the function makes of its value.
_Readers = Mapping[int, tuple[str, Callable[[bytes], object]]]

_DETAILS: _Readers = {
    ALPN: ("alpn", _octets),
    AUTHORITY: ("authority", _utf8),
    CRC32C: ("crc32c", _checksum),
    UNIQUE_ID: ("unique_id", _unique_id),
    SSL: ("ssl", _ssl),
    NETNS: ("netns", _ascii),
}

_SSL_DETAILS: _Readers = {
    SSL: ("ssl", _nested_ssl),
    SSL_VERSION: ("version", _ascii),
    SSL_CN: ("cn", _utf8),
    SSL_CIPHER: ("cipher", _ascii),
    SSL_SIG_ALG: ("sig_alg", _ascii),
    SSL_KEY_ALG: ("key_alg", _ascii),
    SSL_GROUP: ("group", _ascii),
    SSL_SIG_SCHEME: ("sig_scheme", _ascii),
    SSL_CLIENT_CERT: ("client_cert", _octets),
}


def _read(tlvs: Sequence[ProxyTLV], readers: _Readers) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for tlv in tlvs:
        if tlv.type not in readers:
            continue
        field, read = readers[tlv.type]
        if field in fields:
            raise ProxyError(f"two TLVs of type {tlv.type:#04x}")
        fields[field] = read(tlv.value)
    return fields
