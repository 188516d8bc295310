"""``get_proxy`` and what it gives, beside aiosmtpd's."""

from __future__ import annotations

import asyncio
import importlib
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.compat.aiosmtpd import proxy_protocol
from ehlo.compat.aiosmtpd.proxy_protocol import MalformedTLV, ProxyData, ProxyTLV, UnknownTypeTLV, get_proxy
from tests.compat.dialogues import HEADERS, make_tlv
from tests.compat.roots import REAL

theirs = importlib.import_module(f"{REAL}.proxy_protocol")

_FIELDS = (
    *("version", "command", "family", "protocol", "src_addr", "dst_addr", "src_port", "dst_port", "rest"),
    *("whole_raw", "tlv_start", "error", "valid"),
)


async def read(module: Any, octets: bytes) -> tuple[dict[str, Any], bytes, str]:
    """The fields, what is left to be read, and the representation."""
    reader = asyncio.StreamReader(limit=1001)
    reader.feed_data(octets)
    reader.feed_eof()
    try:
        data = await module.get_proxy(reader)
    except asyncio.IncompleteReadError as error:
        return {"incomplete": error.partial}, b"", ""
    assert bool(data) == data.valid
    return {name: getattr(data, name) for name in _FIELDS}, await reader.read(-1), repr(data)


@pytest.mark.parametrize("name", HEADERS)
async def test_a_header_is_read_alike(name: str) -> None:
    octets = HEADERS[name] + b"EHLO client.example\r\n"
    ours = await read(proxy_protocol, octets)
    assert ours == await read(theirs, octets)


@pytest.mark.parametrize("name", [name for name in HEADERS if "without an end" not in name])
async def test_a_header_that_is_cut_off_is_read_alike(name: str) -> None:
    octets = HEADERS[name]
    for end in range(len(octets)):
        assert await read(proxy_protocol, octets[:end]) == await read(theirs, octets[:end])


class Reader:
    """What ``get_proxy`` reads from, without a loop: nothing has to be waited for."""

    def __init__(self, octets: bytes | bytearray) -> None:
        self._octets = octets

    async def read(self, n: int = -1) -> Any:
        taken, self._octets = self._octets[:n], self._octets[n:]
        return taken

    async def readexactly(self, n: int) -> Any:
        return await self.read(n)

    async def readuntil(self, separator: bytes = b"\n") -> Any:
        return await self.read(self._octets.index(separator) + 1)


def shown(module: Any, octets: bytes) -> str:
    """The header, read without a loop."""
    try:
        module.get_proxy(Reader(octets)).send(None)
    except StopIteration as end:
        return repr(end.value)
    raise AssertionError("it waits")


@given(st.binary(max_size=200))
def test_octets_behind_a_signature_are_read_alike(octets: bytes) -> None:
    signature = b"\r\n\r\n\x00\r\nQUIT\n\x21"
    assert shown(proxy_protocol, signature + octets) == shown(theirs, signature + octets)


@given(st.lists(st.sampled_from(["PROXY", "TCP4", "TCP6", "UNKNOWN", "192.0.2.1", "::1", "25", "0", "70000", "x", ""])))
def test_words_are_read_alike(words: list[str]) -> None:
    octets = f"PROXY {' '.join(words)}\r\n".encode()
    assert shown(proxy_protocol, octets) == shown(theirs, octets)


async def test_a_port_is_digits_and_nothing_else() -> None:
    # The original reads it as Python does: 1_0 is 10.
    data, _, _ = await read(proxy_protocol, b"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 25\r\n")
    assert data["error"] == "PROXYv1 port malformed"


async def test_a_reader_may_give_bytearrays() -> None:
    for name in ("v1 TCP4", "v2 TCP6"):
        assert await get_proxy(Reader(bytearray(HEADERS[name])))


async def test_errors_are_logged_alike(caplog: pytest.LogCaptureFixture) -> None:
    logged = []
    for module in (proxy_protocol, theirs):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "mail.debug"):
            for octets in HEADERS.values():
                await read(module, octets)
        logged.append([(record.name, record.levelname, record.getMessage()) for record in caplog.records])
    assert logged[0] == logged[1]


# -- TLVs --------------------------------------------------------------------------------------------------


def parsed(cls: Any, data: bytes, **how: bool) -> Any:
    try:
        return cls.parse(data, **how)
    except (RuntimeError, KeyError) as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("partial_ok", [False, True])
@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 5, 0x21, 0x30, 0xEE]), st.binary(max_size=5)), max_size=5),
    st.integers(0, 40),
)
def test_tlvs_are_parsed_alike(strict: bool, partial_ok: bool, tlvs: list[tuple[int, bytes]], end: int) -> None:
    data = b"".join(make_tlv(kind, value) for kind, value in tlvs)[:end]
    inside = make_tlv(1, b"a") + make_tlv(0x20, b"\1\0\0\0\2" + data) + make_tlv(2, b"b")
    for octets in (data, inside, inside[:-1]):
        how = {"strict": strict, "partial_ok": partial_ok}
        assert parsed(ProxyTLV, octets, **how) == parsed(theirs.ProxyTLV, octets, **how)


@pytest.mark.parametrize(
    "inner", [b"", make_tlv(0x20, b"\1\0\0\0\0"), make_tlv(0x20, b"\1\0\0\0\0" + make_tlv(0x20, b""))]
)
def test_an_empty_or_nested_ssl_tlv_is_malformed(inner: bytes) -> None:
    # docs/migrating.md, proxy-tlv: an IndexError, and a recursion whose depth the peer chooses.
    data = make_tlv(0x20, b"\1\0\0\0\0" + inner if inner else b"")
    with pytest.raises(MalformedTLV, match="0x20"):
        ProxyTLV.parse(data, partial_ok=False)
    values, _ = ProxyTLV.parse(make_tlv(1, b"x") + data)
    assert values["ALPN"] == b"x"
    assert values["SSL"] is False


def test_the_depth_of_nesting_is_not_the_peers_choice() -> None:
    data = b""
    for _ in range(1500):
        data = make_tlv(0x20, bytes(5) + data)
    header = ProxyData(version=2)
    header.rest = data
    assert header.tlv is None


def test_tlvs_are_found_as_attributes() -> None:
    classes: list[Any] = [ProxyTLV, theirs.ProxyTLV]
    for cls in classes:
        tlv = cls.from_raw(make_tlv(1, b"smtp") + make_tlv(0xEE, b"x"))
        assert (tlv.ALPN, tlv.xEE, tlv.AUTHORITY) == (b"smtp", b"x", None)
        assert tlv.tlv_loc == {"ALPN": 0, "xEE": 7}
        assert tlv == {"ALPN": b"smtp", "xEE": b"x"}
        assert tlv.same_attribs(ALPN=b"smtp")
        assert not tlv.same_attribs(ALPN=b"x")
        assert not tlv.same_attribs(AUTHORITY=b"x")
        with pytest.raises(KeyError, match="notfound:AUTHORITY"):
            tlv.same_attribs(_raises=True, AUTHORITY=b"x")
        with pytest.raises(ValueError, match="mismatch:ALPN actual=b'smtp' expect=b'x'"):
            tlv.same_attribs(_raises=True, ALPN=b"x")
        assert cls.from_raw(b"") is None
        assert cls.name_to_num("ALPN") == 1
        assert cls.name_to_num("NOBODY") is None


def test_unknown_types_are_refused_if_so_wanted() -> None:
    with pytest.raises(UnknownTypeTLV, match="xEE"):
        ProxyTLV.from_raw(make_tlv(0xEE, b"x"), strict=True)


def test_data_are_compared_and_shown_alike() -> None:
    classes: list[Any] = [ProxyData, theirs.ProxyData]
    for cls in classes:
        one, other = cls(version=1), cls(version=1)
        assert one == other
        assert not one
        assert one.with_error("broken", log_prefix=False) is one
        assert one != other
        assert one.same_attribs(error="broken", version=1)
        assert not one.same_attribs(nobody=1)
        with pytest.raises(KeyError, match="notfound:nobody"):
            one.same_attribs(_raises=True, nobody=1)
        with pytest.raises(ValueError, match="mismatch:version actual=1 expect=2"):
            one.same_attribs(_raises=True, version=2)
        with pytest.raises(AttributeError):
            one.nobody = 1
    assert repr(ProxyData(version=2)) == repr(theirs.ProxyData(version=2))
