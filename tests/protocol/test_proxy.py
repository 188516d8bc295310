"""The PROXY protocol, https://www.haproxy.org/download/3.5/doc/proxy-protocol.txt ("the specification")."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ehlo.errors import ProtocolError
from ehlo.protocol.proxy import (
    V1_LINE_LIMIT,
    V2_LENGTH_LIMIT,
    ProxyCommand,
    ProxyDetails,
    ProxyError,
    ProxyFamily,
    ProxyHeader,
    ProxyHeaderReader,
    ProxyTLV,
    ProxyTransport,
)
from ehlo.protocol.proxy_tlv import AUTHORITY, CRC32C, NOOP, SSL, SSL_CN, crc32c

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
IPV4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.9") + struct.pack(">HH", 56324, 25)
IPV6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::9")
    + struct.pack(">HH", 56324, 25)
)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def v2(body: bytes = IPV4, *, version_and_command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack(">BBH", version_and_command, family, len(body)) + body


def with_checksum(body: bytes, *, family: int = 0x11) -> bytes:
    """The header with a CRC32C appended."""
    zeroed = v2(body + tlv(CRC32C, bytes(4)), family=family)
    return zeroed[:-4] + crc32c(zeroed).to_bytes(4, "big")


def read(data: bytes, cuts: Sequence[int] = (), *, length_limit: int = V2_LENGTH_LIMIT) -> tuple[ProxyHeader, bytes]:
    """Read a header as a shell does; give it with what was left unread.

    ``cuts`` are how many octets the network has each time at most; when they are used up it has everything.
    """
    reader = ProxyHeaderReader(length_limit=length_limit)
    sizes = iter(cuts)
    position = 0
    while reader.missing:
        piece = data[position : position + min(reader.missing, next(sizes, len(data)))]
        assert piece, "the reader wants more than there is"
        position += len(piece)
        header = reader.feed(piece)
        assert (header is None) == (reader.missing > 0)
    assert header is not None
    return header, data[position:]


def refuse(data: bytes, cuts: Sequence[int] = (), *, length_limit: int = V2_LENGTH_LIMIT) -> str:
    """Why a header is refused."""
    with pytest.raises(ProxyError) as caught:
        read(data, cuts, length_limit=length_limit)
    return str(caught.value)


# Version 1


V1_LINES = [
    # The specification, 2.1.
    (
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        ProxyFamily.INET,
        ("192.168.0.1", 56324),
        ("192.168.0.11", 443),
    ),
    (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ProxyFamily.INET,
        ("255.255.255.255", 65535),
        ("255.255.255.255", 65535),
    ),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ProxyFamily.INET, ("0.0.0.0", 0), ("0.0.0.0", 0)),
    (b"PROXY TCP6 :: ::1 0 0\r\n", ProxyFamily.INET6, ("::", 0), ("::1", 0)),
    (
        b"PROXY TCP6 2001:DB8:0:0:0:0:0:1 2001:db8::0009 1 25\r\n",
        ProxyFamily.INET6,
        ("2001:db8::1", 1),
        ("2001:db8::9", 25),
    ),
    (
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        ProxyFamily.INET6,
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    ),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:209 1 2\r\n", ProxyFamily.INET6, ("192.0.2.1", 1), ("192.0.2.9", 2)),
]


@pytest.mark.parametrize(("line", "family", "source", "destination"), V1_LINES)
def test_a_v1_line_names_both_ends(
    line: bytes, family: ProxyFamily, source: tuple[str, int], destination: tuple[str, int]
) -> None:
    header, rest = read(line)
    assert header == ProxyHeader(
        1, ProxyCommand.PROXY, family, ProxyTransport.STREAM, source, destination, (), ProxyDetails(), line
    )
    assert rest == b""


UNKNOWN_LINES = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN \r\n",
    b"PROXY UNKNOWN \x00 TCP4 \xff whatever\r\n",
    b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
]


@pytest.mark.parametrize("line", UNKNOWN_LINES)
def test_a_v1_line_of_an_unknown_protocol_names_nobody(line: bytes) -> None:
    header, _ = read(line)
    assert header == ProxyHeader(1, ProxyCommand.PROXY, ProxyFamily.UNSPEC, ProxyTransport.UNSPEC, raw=line)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.01 192.0.2.9 1 25\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.9 1 25\r\n",
        b"PROXY TCP4 192.0.2 192.0.2.9 1 25\r\n",
        b"PROXY TCP4 1 2 3 4\r\n",
        b"PROXY TCP4 0xC0.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 01 25\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 025\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 65536 25\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 -1 25\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 +1 25\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1_0 25\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 \r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 25 \r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 25 7\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY TCP4 192.0.2.1\t192.0.2.9 1 25\r\n",
        b"PROXY TCP4 192.0.2.1\x00 192.0.2.9 1 25\r\n",
        b"PROXY TCP4 \xb9.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::9 1 25\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY TCP6 2001:db8::1 192.0.2.9 1 25\r\n",  # nginx issue 1609
        b"PROXY TCP6 2001:db8::1::2 2001:db8::9 1 25\r\n",
        b"PROXY TCP6 2001:db8:::1 2001:db8::9 1 25\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::9 1 25\r\n",
        b"PROXY TCP6 [2001:db8::1] 2001:db8::9 1 25\r\n",
        b"PROXY TCP6 2001:db8::12345 2001:db8::9 1 25\r\n",
    ],
)
def test_a_malformed_v1_line_is_refused(line: bytes) -> None:
    assert refuse(line).startswith("a v1 line ")


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 25\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.9 1 25\r\r\n",
        b"PROXY TCP4 192.0.2.1\r\n192.0.2.9 1 25\r\n",
        b"PROXY TCP4 192.0.2.1\n192.0.2.9 1 25\r\n",
        b"PROXY TCP4 192.0.2.1\r192.0.2.9 1 25\r\n",
        b"PROXY UNKNOWN a\nb\r\n",
        b"PROXY UNKNOWN a\rb\r\n",
        b"PROXY UNKNOWN a\r\r\n",
    ],
)
def test_a_bare_cr_or_lf_in_a_v1_line_is_refused_in_any_cut(line: bytes) -> None:
    assert refuse(line + b"EHLO", [1] * 107)
    assert refuse(line + b"EHLO")


def test_a_v1_line_has_107_octets_at_most() -> None:
    line = b"PROXY UNKNOWN ".ljust(V1_LINE_LIMIT - 2, b"x") + b"\r\n"
    assert read(line)[0].raw == line
    too_long = line[:-2] + b"x\r\n"
    assert refuse(too_long) == refuse(too_long, [1] * 108) == "a v1 line is too long"


def test_a_v1_line_without_end_is_refused_at_its_limit() -> None:
    line = b"PROXY UNKNOWN ".ljust(V1_LINE_LIMIT, b"x")
    for cut in (1, V1_LINE_LIMIT):
        # One octet of room for a CRLF is none.
        assert refuse(line[:-1], [cut] * V1_LINE_LIMIT) == "a v1 line is too long"


# Version 2


def test_a_v2_header_over_ipv4_names_both_ends() -> None:
    assert read(v2())[0] == ProxyHeader(
        2,
        ProxyCommand.PROXY,
        ProxyFamily.INET,
        ProxyTransport.STREAM,
        ("192.0.2.1", 56324),
        ("192.0.2.9", 25),
        raw=v2(),
    )


def test_a_v2_header_over_ipv6_names_both_ends() -> None:
    header, _ = read(v2(IPV6, family=0x22))
    assert (header.family, header.protocol) == (ProxyFamily.INET6, ProxyTransport.DGRAM)
    assert (header.source, header.destination) == (("2001:db8::1", 56324), ("2001:db8::9", 25))


def test_an_ipv4_mapped_address_is_given_as_ipv4() -> None:
    mapped = bytes(10) + b"\xff\xff" + socket.inet_aton("192.0.2.1")
    assert read(v2(mapped + mapped + bytes(4), family=0x21))[0].source == ("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("octets", "path"),
    [
        (b"", ""),
        (b"/run/a.sock", "/run/a.sock"),
        (b"/run/a.sock\x00left over", "/run/a.sock"),
        (b"/" + b"a" * 107, "/" + "a" * 107),
        (b"\x00abstract", "\x00abstract"),
        (b"/run/\xc3\xa9", "/run/é"),
        (b"/run/\xe9", "/run/\udce9"),
    ],
)
def test_a_v2_header_over_unix_sockets_has_paths(octets: bytes, path: str) -> None:
    header, _ = read(v2(octets.ljust(108, b"\x00") + b"/dst".ljust(108, b"\x00"), family=0x31))
    assert (header.family, header.protocol) == (ProxyFamily.UNIX, ProxyTransport.STREAM)
    assert (header.source, header.destination) == (path, "/dst")


@pytest.mark.parametrize("family", [0x00, 0x11, 0x21, 0x31, 0x44, 0xFF])
@pytest.mark.parametrize("body", [b"", IPV4, b"\xff" * 300])
def test_a_local_connection_names_nobody_whatever_else_it_says(family: int, body: bytes) -> None:
    data = v2(body, version_and_command=0x20, family=family)
    assert read(data)[0] == ProxyHeader(2, ProxyCommand.LOCAL, ProxyFamily.UNSPEC, ProxyTransport.UNSPEC, raw=data)


@pytest.mark.parametrize("family", [0x00, 0x01, 0x02, 0x10, 0x20, 0x30])
@pytest.mark.parametrize("body", [b"", b"\x20\x00", IPV6 * 3])
def test_an_unspecified_family_or_transport_names_nobody(family: int, body: bytes) -> None:
    header, rest = read(v2(body, family=family) + b"EHLO")
    assert header.command is ProxyCommand.PROXY
    assert (header.family.value, header.protocol.value) == (family >> 4, family & 0xF)
    assert (header.source, header.destination, header.tlvs) == (None, None, ())
    assert rest == b"EHLO"


def test_every_command_family_and_transport_that_is_not_assigned_is_refused() -> None:
    pairs = {(command, family) for command in range(256) for family in (0x00, 0x11, 0x44)}
    pairs |= {(command, family) for command in (0x20, 0x21) for family in range(256)}
    for command, family in pairs:
        data = v2(bytes(216), version_and_command=command, family=family)
        is_assigned = command == 0x20 or (command == 0x21 and family >> 4 <= 3 and family & 0xF <= 2)
        if is_assigned:
            assert read(data)[0].raw == data
        else:
            assert refuse(data)


@pytest.mark.parametrize(("family", "size"), [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)])
def test_a_v2_header_that_is_too_short_for_its_addresses_is_refused_before_they_come(family: int, size: int) -> None:
    assert read(v2(bytes(size), family=family))[0].source is not None
    for length in range(size):
        assert f" leaves {length} octets " in refuse(v2(bytes(length), family=family)[:16])


def test_a_v2_header_that_claims_more_than_the_limit_is_refused_before_it_comes() -> None:
    assert read(v2(IPV4 + tlv(NOOP, bytes(V2_LENGTH_LIMIT - 15))))[0].tlvs == ((NOOP, bytes(V2_LENGTH_LIMIT - 15)),)
    start = v2(bytes(V2_LENGTH_LIMIT + 1))[:16]
    assert refuse(start) == f"a v2 header claims {V2_LENGTH_LIMIT + 1} octets"
    assert refuse(v2(bytes(65535))[:16])


def test_the_limit_of_v2_can_be_set() -> None:
    assert read(v2(bytes(65535), family=0x00), length_limit=65535)[0].family is ProxyFamily.UNSPEC
    assert read(v2(), length_limit=12)[0].source == ("192.0.2.1", 56324)
    assert refuse(v2(), length_limit=11) == "a v2 header claims 12 octets"


def test_tlvs_follow_the_addresses() -> None:
    for family, addresses in ((0x11, IPV4), (0x21, IPV6), (0x31, bytes(216))):
        header, _ = read(
            v2(addresses + tlv(AUTHORITY, b"mx.example") + tlv(0xEA, b"") + tlv(NOOP, b"\xff"), family=family)
        )
        assert header.tlvs == (ProxyTLV(AUTHORITY, b"mx.example"), ProxyTLV(0xEA, b""), ProxyTLV(NOOP, b"\xff"))
        assert header.details == ProxyDetails(authority="mx.example")


def test_a_header_with_a_broken_tlv_is_refused() -> None:
    assert refuse(v2(IPV4 + b"\x04\x00")) == "a TLV is cut short after 2 octets"
    assert refuse(v2(IPV4 + tlv(SSL, bytes(5) + tlv(SSL, bytes(5))))) == "SSL of 5 octets inside SSL"


def test_the_checksum_of_a_header_is_verified() -> None:
    for family, addresses in ((0x11, IPV4), (0x21, IPV6), (0x31, bytes(216))):
        data = with_checksum(addresses + tlv(AUTHORITY, b"mx.example"), family=family)
        assert read(data)[0].details.crc32c == int.from_bytes(data[-4:], "big")


def test_a_header_with_any_bit_flipped_is_refused_for_its_checksum() -> None:
    data = with_checksum(IPV4 + tlv(NOOP, b"xyz"))
    for octet in range(16, len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[octet] ^= 1 << bit
            # A flipped type of the checksum itself leaves a header without one.
            if flipped[-7] == CRC32C:
                assert refuse(bytes(flipped))


def test_a_header_of_a_real_load_balancer_is_read() -> None:
    # AWS PrivateLink, from elastic-load-balancing-tools (Compatibility_AwsNetworkLoadBalancerTest.java).
    data = bytes.fromhex(
        "0d0a0d0a000d0a515549540a 21110054 ac1f0771ac1f0a1fc8f20050"
        "030004e8d6892d ea001701767063652d3038643262663135666163353030316339 040024" + "00" * 36
    )
    header, _ = read(data)
    assert (header.source, header.destination) == (("172.31.7.113", 51442), ("172.31.10.31", 80))
    assert header.details == ProxyDetails(crc32c=0xE8D6892D)
    assert header.tlvs[1:] == ((0xEA, b"\x01vpce-08d2bf15fac5001c9"), (NOOP, bytes(36)))


# Where a header begins and ends


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO client.example\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n",
        b"\r\n\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY tcp4 192.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY TCP44 192.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY  TCP4 192.0.2.1 192.0.2.9 1 25\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN\n\n",
        b"PROXY\r\n",
        b" PROXY UNKNOWN\r\n",
        SIGNATURE[:-1] + b"\x00!\x11",
    ],
)
def test_what_begins_otherwise_is_refused_at_the_first_octet_that_is_wrong(data: bytes) -> None:
    beginnings = (SIGNATURE, b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r\n")
    good = 0
    while good < len(data) and any(beginning.startswith(data[: good + 1]) for beginning in beginnings):
        good += 1
    reader = ProxyHeaderReader()
    for position in range(good):
        assert reader.feed(data[position : position + 1]) is None
    if good < len(data):
        with pytest.raises(ProxyError, match="no PROXY header"):
            reader.feed(data[good : good + 1])
        assert refuse(data) == "no PROXY header"


def test_before_the_first_octet_the_shortest_header_of_all_is_missing() -> None:
    assert ProxyHeaderReader().missing == len(b"PROXY UNKNOWN\r\n")


@pytest.mark.parametrize(
    ("begun", "missing"),
    [
        (b"P", 14),
        (b"\r", 15),
        (SIGNATURE, 4),
        (v2()[:15], 1),
        (v2()[:16], 12),
        (v2(bytes(100))[:17], 99),
        (b"PROXY UNKNOWN", 2),
        (b"PROXY UNKNOWN\r", 1),
        (b"PROXY UNKNOWN x", 2),
        (b"PROXY UNKNOWN xyz\r", 1),
        # 3 of "0.0.0.0" and " 0.0.0.0 0 0\r\n"
        (b"PROXY TCP4 192.", 3 + 14),
        (b"PROXY TCP4 192.168.0.1", 14),
        (b"PROXY TCP4 192.168.0.1 ", 7 + 6),
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 5", 4),
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 5 ", 3),
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 5 2", 2),
        (b"PROXY TCP4 192.168.0.1 192.168.0.11 5 25\r", 1),
        # 0 of "::" and " :: 0 0\r\n"
        (b"PROXY TCP6 2001", 9),
        (b"PROXY TCP6 2001: ", 2 + 6),
    ],
)
def test_missing_is_what_the_shortest_valid_header_still_needs(begun: bytes, missing: int) -> None:
    reader = ProxyHeaderReader()
    for position in range(len(begun)):
        assert reader.feed(begun[position : position + 1]) is None
    assert reader.missing == missing


def test_an_ordinary_v1_line_is_read_in_few_steps() -> None:
    for line, *_ in V1_LINES:
        reader = ProxyHeaderReader()
        steps = position = 0
        while reader.missing:
            piece = line[position : position + reader.missing]
            position += len(piece)
            reader.feed(piece)
            steps += 1
        assert steps <= 40


def test_more_than_is_missing_is_the_callers_mistake_and_changes_nothing() -> None:
    reader = ProxyHeaderReader()
    with pytest.raises(ValueError, match="16 octets fed, 15 are missing"):
        reader.feed(b"PROXY UNKNOWN\r\nE")
    assert reader.missing == 15
    assert reader.feed(b"PROXY UNKNOWN\r\n") is not None


def test_a_reader_that_has_its_header_takes_nothing_more() -> None:
    reader = ProxyHeaderReader()
    assert reader.feed(b"PROXY UNKNOWN\r\n") is not None
    assert reader.missing == 0
    with pytest.raises(ValueError, match="1 octets fed, 0 are missing"):
        reader.feed(b"E")


def test_a_reader_that_refused_takes_nothing_more() -> None:
    reader = ProxyHeaderReader()
    with pytest.raises(ProxyError):
        reader.feed(b"E")
    assert reader.missing == 0
    with pytest.raises(ValueError, match="1 octets fed, 0 are missing"):
        reader.feed(b"P")


def test_a_refusal_is_a_protocol_error_that_closes_and_quotes_nothing() -> None:
    with pytest.raises(ProtocolError) as caught:
        ProxyHeaderReader().feed(b"SECRET")
    assert caught.value.status == "421 4.5.2 Malformed PROXY header"


# Any header, in any cut

ports = st.integers(0, 65535)
v1_lines = (
    st.builds("PROXY TCP4 {} {} {} {}\r\n".format, st.ip_addresses(v=4), st.ip_addresses(v=4), ports, ports)
    | st.builds("PROXY TCP6 {} {} {} {}\r\n".format, st.ip_addresses(v=6), st.ip_addresses(v=6), ports, ports)
    | st.text("0123456789abcdef:. %\x00", max_size=90).map("PROXY UNKNOWN {}\r\n".format)
).map(str.encode)
any_tlvs = st.lists(st.builds(tlv, st.integers(0xE0, 0xFF) | st.just(NOOP), st.binary(max_size=40)), max_size=4).map(
    b"".join
)
v2_headers = (
    st.builds(lambda addresses, tlvs: v2(addresses + tlvs), st.binary(min_size=12, max_size=12), any_tlvs)
    | st.builds(
        lambda addresses, tlvs: v2(addresses + tlvs, family=0x21), st.binary(min_size=36, max_size=36), any_tlvs
    )
    | st.builds(lambda path, tlvs: v2(path.ljust(216, b"\x00") + tlvs, family=0x31), st.binary(max_size=216), any_tlvs)
    | st.builds(lambda tlvs: with_checksum(IPV4 + tlvs), any_tlvs)
    | st.builds(
        lambda body, command, family: v2(body, version_and_command=command, family=family),
        st.binary(max_size=60),
        st.just(0x20),
        st.integers(0, 255),
    )
)
headers = v1_lines | v2_headers
cuts_of = st.lists(st.integers(1, 20), max_size=120)
trailers = st.binary(max_size=30) | st.sampled_from([b"\n", b"\r\n", b"\r\nEHLO", b"EHLO x\r\n", b"\x16\x03\x01\x02"])


@given(headers, trailers, cuts_of)
@example(b"PROXY UNKNOWN\r\n", b"\r\n", [])
@example(b"PROXY TCP6 :: :: 0 0\r\n", b"\r\n", [1] * 120)
def test_any_cut_gives_the_same_header_and_leaves_what_follows_it(data: bytes, trailer: bytes, cuts: list[int]) -> None:
    header, rest = read(data + trailer, cuts)
    assert header.raw == data
    assert rest == trailer
    assert header == read(data)[0]


almost_headers = (
    st.builds(
        lambda data, at, octet: data[:at] + bytes([octet]) + data[at + 1 :],
        headers,
        st.integers(0, 60),
        st.integers(0, 255),
    )
    | st.builds(
        lambda body, command, family: v2(body, version_and_command=command, family=family),
        st.binary(max_size=80),
        st.sampled_from([0x20, 0x21]),
        st.sampled_from([0x00, 0x11, 0x12, 0x21, 0x31]),
    )
    | st.builds(lambda value: v2(IPV4 + tlv(SSL, value)), st.binary(max_size=40))
    | st.builds(lambda value: v2(IPV4 + tlv(SSL, bytes(5) + tlv(SSL_CN, value))), st.binary(max_size=40))
    | st.binary(max_size=150).map(b"PROXY TCP4 ".__add__)
    | st.binary(max_size=150).map(b"PROXY TCP6 ".__add__)
    | st.binary(max_size=150).map(SIGNATURE.__add__)
    | st.binary(max_size=150)
)


@given(almost_headers, cuts_of)
@settings(max_examples=300)
def test_no_input_raises_anything_but_a_proxy_error_in_any_cut(data: bytes, cuts: list[int]) -> None:
    outcomes = []
    for sizes in (cuts, [1] * len(data), []):
        reader = ProxyHeaderReader()
        pieces = iter(sizes)
        position = 0
        outcome: ProxyHeader | str | None = None
        while reader.missing and position < len(data):
            size = min(reader.missing, next(pieces, len(data)))
            try:
                outcome = reader.feed(data[position : position + size])
            except ProxyError:
                outcome = "refused"
            position += size
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1] == outcomes[2]
