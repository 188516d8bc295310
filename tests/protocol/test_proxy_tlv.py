"""TLVs of PROXY v2, section 2.2 of https://www.haproxy.org/download/3.5/doc/proxy-protocol.txt."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.protocol import proxy_tlv
from ehlo.protocol.proxy_tlv import (
    ALPN,
    AUTHORITY,
    CRC32C,
    NETNS,
    NOOP,
    SSL,
    SSL_CIPHER,
    SSL_CLIENT_CERT,
    SSL_CN,
    SSL_GROUP,
    SSL_KEY_ALG,
    SSL_SIG_ALG,
    SSL_SIG_SCHEME,
    SSL_VERSION,
    UNIQUE_ID,
    UNIQUE_ID_LIMIT,
    ProxyDetails,
    ProxyError,
    ProxySSL,
    ProxyTLV,
    SSLClient,
    check_crc32c,
    crc32c,
    read_details,
    split_tlvs,
)


def join(*tlvs: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack(">BH", kind, len(value)) + value for kind, value in tlvs)


def read_ssl(*tlvs: tuple[int, bytes], client: int = 0, verify: int = 0) -> ProxySSL | None:
    return read_details([ProxyTLV(SSL, struct.pack(">BL", client, verify) + join(*tlvs))]).ssl


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8))
def test_tlvs_are_cut_apart_in_order(tlvs: list[tuple[int, bytes]]) -> None:
    assert split_tlvs(join(*tlvs)) == tuple(tlvs)


def test_tlvs_that_are_cut_short_anywhere_are_refused() -> None:
    data = join((AUTHORITY, b"mx.example"), (NOOP, b"xyz"))
    ends_of_tlvs = (0, len(data) - 6, len(data))
    for length in range(len(data) + 1):
        if length in ends_of_tlvs:
            split_tlvs(data[:length])
        else:
            with pytest.raises(ProxyError, match="TLV"):
                split_tlvs(data[:length])


def test_no_octets_are_no_tlvs() -> None:
    assert split_tlvs(b"") == ()
    assert read_details(()) == ProxyDetails()


def test_the_registered_tlvs_are_read() -> None:
    assert read_details(
        split_tlvs(
            join(
                (NOOP, b""),
                (ALPN, b"smtp"),
                (AUTHORITY, "münchen.example".encode()),
                (CRC32C, b"\x00\x00\x01\x02"),
                (UNIQUE_ID, b"\x00\xff"),
                (NETNS, b"blue"),
                (NOOP, b"\xff"),
            )
        )
    ) == ProxyDetails(alpn=b"smtp", authority="münchen.example", crc32c=0x102, unique_id=b"\x00\xff", netns="blue")


def test_what_is_not_registered_is_passed_over() -> None:
    registered = {ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS}
    others = [ProxyTLV(kind, b"\xff") for kind in range(256) if kind not in registered]
    assert read_details(others + others) == ProxyDetails()


def test_the_tls_session_of_the_client_is_read() -> None:
    tlvs = (
        (SSL_VERSION, b"TLSv1.3"),
        (SSL_CN, "Élise".encode()),
        (SSL_CIPHER, b"TLS_AES_256_GCM_SHA384"),
        (SSL_SIG_ALG, b"RSA-SHA256"),
        (SSL_KEY_ALG, b"RSA2048"),
        (SSL_GROUP, b"X25519"),
        (SSL_SIG_SCHEME, b"rsa_pss_rsae_sha256"),
        (SSL_CLIENT_CERT, b"\x30\x82"),
        (0xE0, b"\xff"),
    )
    assert read_ssl(*tlvs, client=0x03, verify=18) == ProxySSL(
        client=SSLClient.SSL | SSLClient.CERT_CONN,
        verify=18,
        tlvs=tuple(ProxyTLV(*tlv) for tlv in tlvs),
        version="TLSv1.3",
        cn="Élise",
        cipher="TLS_AES_256_GCM_SHA384",
        sig_alg="RSA-SHA256",
        key_alg="RSA2048",
        group="X25519",
        sig_scheme="rsa_pss_rsae_sha256",
        client_cert=b"\x30\x82",
    )


def test_a_header_of_haproxy_with_a_client_certificate_is_read() -> None:
    # What HAProxy sends with send-proxy-v2-ssl-cn, from go-proxyproto's tests (tlvparse).
    ssl = bytes.fromhex(
        "07 00000000 210007 544c5376312e33 22001f 4578616d706c6520436f6d6d6f6e204e616d6520436c69656e742043657274"
    )
    details = read_details([ProxyTLV(SSL, ssl)]).ssl
    assert details is not None
    assert details.client == SSLClient.SSL | SSLClient.CERT_CONN | SSLClient.CERT_SESS
    assert (details.version, details.cn) == ("TLSv1.3", "Example Common Name Client Cert")


@pytest.mark.parametrize(
    ("client", "verify", "is_verified"),
    [(0x03, 0, True), (0x05, 0, True), (0x07, 0, True), (0x07, 1, False), (0x01, 0, False), (0x00, 0, False)],
)
def test_a_certificate_is_verified_only_if_there_is_one(client: int, verify: int, is_verified: bool) -> None:
    ssl = read_ssl(client=client, verify=verify)
    assert ssl is not None
    assert ssl.has_verified_certificate is is_verified


def test_flags_of_the_future_are_kept() -> None:
    ssl = read_ssl(client=0xFF)
    assert ssl is not None
    assert ssl.client == 0xFF


@pytest.mark.parametrize("length", range(5))
def test_an_ssl_without_its_fixed_part_is_refused(length: int) -> None:
    with pytest.raises(ProxyError, match=f"SSL has {length} octets"):
        read_details([ProxyTLV(SSL, bytes(length))])


@pytest.mark.parametrize("broken", [b"\x21", b"\x21\x00", b"\x21\x00\x01", b"\x21\x00\x03ab", b"\xff\xff\xff"])
def test_an_ssl_with_a_broken_tlv_inside_is_refused(broken: bytes) -> None:
    with pytest.raises(ProxyError, match="TLV"):
        read_details([ProxyTLV(SSL, bytes(5) + broken)])


def test_an_ssl_inside_an_ssl_is_refused_however_deep_it_goes() -> None:
    value = bytes(5)
    while len(value) < 60000:
        value = bytes(5) + join((SSL, value))
    with pytest.raises(ProxyError, match="inside SSL"):
        read_details([ProxyTLV(SSL, value)])


@pytest.mark.parametrize("kind", [ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL, NETNS])
def test_a_registered_tlv_that_comes_twice_is_refused(kind: int) -> None:
    tlv = ProxyTLV(kind, bytes(5) if kind == SSL else b"abcd")
    read_details([tlv])
    with pytest.raises(ProxyError, match=f"two TLVs of type {kind:#04x}"):
        read_details([tlv, tlv])


@pytest.mark.parametrize("kind", range(SSL_VERSION, SSL_CLIENT_CERT + 1))
def test_a_registered_tlv_that_comes_twice_in_an_ssl_is_refused(kind: int) -> None:
    read_ssl((kind, b"a"))
    with pytest.raises(ProxyError, match=f"two TLVs of type {kind:#04x}"):
        read_ssl((kind, b"a"), (kind, b"a"))


ASCII_IN_SSL = [SSL_VERSION, SSL_CIPHER, SSL_SIG_ALG, SSL_KEY_ALG, SSL_GROUP, SSL_SIG_SCHEME]


@pytest.mark.parametrize("value", [b"a\x00", b"a\r\nb", b"\x1b[2J", b"\x7f", b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_text_that_is_none_is_refused(value: bytes) -> None:
    for kind in (AUTHORITY, NETNS):
        with pytest.raises(ProxyError, match="a text"):
            read_details([ProxyTLV(kind, value)])
    for kind in (SSL_CN, *ASCII_IN_SSL):
        with pytest.raises(ProxyError, match="a text"):
            read_ssl((kind, value))


def test_what_is_ascii_by_the_specification_is_not_utf8() -> None:
    with pytest.raises(ProxyError, match="no ascii"):
        read_details([ProxyTLV(NETNS, "é".encode())])
    for kind in ASCII_IN_SSL:
        with pytest.raises(ProxyError, match="no ascii"):
            read_ssl((kind, "é".encode()))


def test_a_unique_id_has_128_octets_at_most() -> None:
    assert read_details([ProxyTLV(UNIQUE_ID, bytes(UNIQUE_ID_LIMIT))]).unique_id == bytes(128)
    with pytest.raises(ProxyError, match="UNIQUE_ID has 129 octets"):
        read_details([ProxyTLV(UNIQUE_ID, bytes(UNIQUE_ID_LIMIT + 1))])


@pytest.mark.parametrize("length", [0, 1, 3, 5])
def test_a_checksum_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ProxyError, match=f"CRC32C has {length} octets"):
        read_details([ProxyTLV(CRC32C, bytes(length))])


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720 appendix B.4, whose octets are those of the little-endian numbers.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc32c_is_castagnolis(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@given(st.binary(max_size=40), st.binary(max_size=20), st.binary(max_size=20), st.integers(0, 0xFFFFFFFF))
def test_a_checksum_is_of_the_header_with_zeros_in_its_place(
    start: bytes, before: bytes, after: bytes, wrong: int
) -> None:
    zeroed = start + join((NOOP, before), (CRC32C, bytes(4)), (NOOP, after))
    right = crc32c(zeroed)
    for value in {right, wrong, 0}:
        tlvs = (ProxyTLV(NOOP, before), ProxyTLV(CRC32C, value.to_bytes(4, "big")), ProxyTLV(NOOP, after))
        header = start + join(*tlvs)
        if value == right:
            check_crc32c(header, tlvs)
        else:
            with pytest.raises(ProxyError, match="checksum is wrong"):
                check_crc32c(header, tlvs)


def test_a_header_without_a_checksum_has_none_to_be_wrong() -> None:
    check_crc32c(b"abc" + join((NOOP, b"x")), (ProxyTLV(NOOP, b"x"),))


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda inner: join((SSL, bytes(5) + inner))))
def test_no_octets_raise_anything_but_a_proxy_error(data: bytes) -> None:
    try:
        details = read_details(split_tlvs(data))
    except ProxyError:
        return
    assert isinstance(details, ProxyDetails)


def test_every_registered_type_has_the_number_of_the_specification() -> None:
    assert {
        name: getattr(proxy_tlv, name) for name in vars(proxy_tlv) if name.isupper() and not name.startswith("_")
    } == {
        "ALPN": 0x01,
        "AUTHORITY": 0x02,
        "CRC32C": 0x03,
        "NOOP": 0x04,
        "UNIQUE_ID": 0x05,
        "UNIQUE_ID_LIMIT": 128,
        "SSL": 0x20,
        "SSL_VERSION": 0x21,
        "SSL_CN": 0x22,
        "SSL_CIPHER": 0x23,
        "SSL_SIG_ALG": 0x24,
        "SSL_KEY_ALG": 0x25,
        "SSL_GROUP": 0x26,
        "SSL_SIG_SCHEME": 0x27,
        "SSL_CLIENT_CERT": 0x28,
        "NETNS": 0x30,
    }
