"""The PROXY protocol: who the client is, says the load balancer that we trust, before everything else.

What makes a header valid is in tests/protocol/test_proxy.py; here it meets sockets, TLS, time and trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import SMTP, Disconnect, Envelope, Session
from ehlo.protocol.proxy import ProxyCommand, ProxyFamily
from tests.extensions.support import HOST, Authority, TLSWire, connected, ended, offer, serving
from tests.support import PATIENCE, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ehlo import SMTPServer
    from ehlo.protocol.proxy import ProxyHeader

GREETING = b"220 mx.test ESMTP ehlo\r\n"
TRUSTING: dict[str, Any] = {"proxy_protocol_timeout": 5.0, "proxy_networks": ["127.0.0.1"]}

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
INET = (0x11, socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.25") + struct.pack("!HH", 56324, 25))
MAPPED = (
    0x21,
    socket.inet_pton(socket.AF_INET6, "::ffff:203.0.113.7")
    + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 56324, 25),
)
INET6 = (
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::25")
    + struct.pack("!HH", 56324, 25),
)
UNIX = (0x31, b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0"))
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.25 56324 25\r\n"


def v2(family: int, addresses: bytes, *tlvs: bytes, command: int = PROXY) -> bytes:
    rest = addresses + b"".join(tlvs)
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


CLIENT = ("203.0.113.7", 56324)
TLVS = (
    tlv(0x01, b"smtp"),
    tlv(0x02, b"mx.example.com"),
    tlv(0x04, b"\0" * 3),
    tlv(0x05, b"unique"),
    tlv(0x20, struct.pack("!BL", 1, 0) + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"ann")),
    tlv(0xE0, b"of one's own"),
)
# Header, peer afterwards (None: that of the proxy itself), and command.
HEADERS = {
    "v1": (V1, CLIENT, ProxyCommand.PROXY),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::25 56324 25\r\n", ("2001:db8::7", 56324), ProxyCommand.PROXY),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", None, ProxyCommand.PROXY),
    "v1 unknown with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None, ProxyCommand.PROXY),
    "v2": (v2(*INET), CLIENT, ProxyCommand.PROXY),
    "v2 IPv6": (v2(*INET6), ("2001:db8::7", 56324), ProxyCommand.PROXY),
    "v2 mapped": (v2(*MAPPED), CLIENT, ProxyCommand.PROXY),
    "v2 unix": (v2(*UNIX), "/run/client", ProxyCommand.PROXY),
    "v2 unspec": (v2(0x00, b"whatever"), None, ProxyCommand.PROXY),
    "v2 local": (v2(0x00, b"", command=LOCAL), None, ProxyCommand.LOCAL),
    "v2 local with addresses": (v2(*INET, command=LOCAL), None, ProxyCommand.LOCAL),
    "v2 with TLVs": (v2(*INET, *TLVS), CLIENT, ProxyCommand.PROXY),
    "v2 of 4096 octets": (v2(*INET, tlv(0xE0, b"x" * 4081)), CLIENT, ProxyCommand.PROXY),
}


class Gatekeeper(Recorder):
    """Keeps what the first hooks saw."""

    def __init__(self, answer: str | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.peers: list[object] = []
        self.headers: list[ProxyHeader] = []

    async def handle_PROXY(self, server: SMTP, session: Session, envelope: Envelope, header: ProxyHeader) -> str | None:
        self.headers.append(header)
        if self.answer == "raise":
            raise RuntimeError("details")
        return self.answer

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.peers.append(session.peer)


@contextlib.asynccontextmanager
async def stream(server: SMTPServer) -> Any:
    """A plain connection to a server, bounded in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        async with asyncio.timeout(PATIENCE):
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def segments(octets: bytes, *, octet_by_octet: bool) -> Iterator[bytes]:
    size = 1 if octet_by_octet else len(octets)
    return (octets[start : start + size] for start in range(0, len(octets), size))


async def send(writer: asyncio.StreamWriter, octets: bytes, *, octet_by_octet: bool) -> None:
    for segment in segments(octets, octet_by_octet=octet_by_octet):
        writer.write(segment)
        await writer.drain()
        await asyncio.sleep(0)  # let the server take it


async def silence(reader: asyncio.StreamReader) -> bool:
    """Whether the other side closes without a word."""
    with contextlib.suppress(ConnectionError):
        return await reader.read() == b""
    return True


# What is believed


@pytest.mark.parametrize("name", HEADERS)
async def test_the_peer_is_who_the_header_says(name: str) -> None:
    octets, maybe_peer, command = HEADERS[name]
    handler = Gatekeeper()
    async with serving(handler, **TRUSTING) as server, connected(server, says=octets) as client:
        await client.greet()
        session = client.server.session
        assert session.proxy_data is not None
        assert session.proxy_data.raw == octets
        assert session.proxy_data.command is command
        own = client.writer.get_extra_info("sockname")
        assert session.peer == (own if maybe_peer is None else maybe_peer)
        assert handler.peers == [session.peer]
        assert handler.headers == [session.proxy_data]
        assert (await client.send("Hello")).startswith("250 ")


@pytest.mark.parametrize("name", HEADERS)
async def test_the_same_before_tls(authority: Authority, name: str) -> None:
    octets, maybe_peer, _ = HEADERS[name]
    handler = Gatekeeper()
    async with (
        serving(handler, ssl_context=authority.server_context(), **TRUSTING) as server,
        connected(server, says=octets, shakes_hands=authority.client_context()) as client,
    ):
        await client.greet()
        session = client.server.session
        assert session.ssl is not None
        assert session.ssl.server_name == HOST
        own = client.writer.get_extra_info("sockname")
        assert session.peer == (own if maybe_peer is None else maybe_peer)
        assert "STARTTLS" not in await offer(client)
        assert (await client.send("Hello")).startswith("250 ")


async def test_tlvs_are_kept_and_read() -> None:
    async with serving(**TRUSTING) as server, connected(server, says=v2(*INET, *TLVS)) as client:
        await client.greet()
        header = client.server.session.proxy_data
        assert header is not None
        assert header.family is ProxyFamily.INET
        assert header.destination == ("192.0.2.25", 25)
        assert [kind for kind, _ in header.tlvs] == [0x01, 0x02, 0x04, 0x05, 0x20, 0xE0]
        details = header.details
        assert (details.alpn, details.authority, details.unique_id) == (b"smtp", "mx.example.com", b"unique")
        assert details.ssl is not None
        assert (details.ssl.version, details.ssl.cn) == ("TLSv1.3", "ann")


# How it comes


@pytest.mark.parametrize("octet_by_octet", [False, True])
@pytest.mark.parametrize("name", ["v1", "v1 unknown", "v2", "v2 with TLVs"])
async def test_a_header_with_what_follows_it(name: str, octet_by_octet: bool) -> None:
    octets = HEADERS[name][0]
    async with serving(**TRUSTING) as server, stream(server) as (reader, writer):
        await send(writer, octets + b"HELO client.example\r\nQUIT\r\n", octet_by_octet=octet_by_octet)
        assert await reader.read() == GREETING + b"250 mx.test\r\n221 2.0.0 Bye\r\n"


@pytest.mark.parametrize("octet_by_octet", [False, True])
@pytest.mark.parametrize("name", ["v1", "v2", "v2 with TLVs"])
async def test_a_header_with_the_first_octets_of_tls(authority: Authority, name: str, octet_by_octet: bool) -> None:
    octets = HEADERS[name][0]
    async with (
        serving(ssl_context=authority.server_context(), **TRUSTING) as server,
        stream(server) as (reader, writer),
    ):
        wire = TLSWire(authority.client_context(), reader, writer)
        await send(writer, octets + wire.hello(), octet_by_octet=octet_by_octet)
        await wire.shake_hands()
        assert await wire.hear() == GREETING
        assert await wire.ask(b"HELO client.example\r\n") == b"250 mx.test\r\n"
        (connection,) = server.connections
        assert connection.session.peer == CLIENT  # type: ignore[attr-defined]


async def test_nothing_is_said_before_the_header_is_whole() -> None:
    async with serving(**TRUSTING) as server, stream(server) as (reader, writer):
        await send(writer, V1[:-1], octet_by_octet=True)
        (connection,) = server.connections
        assert reader._buffer == b""
        assert connection.session.proxy_data is None  # type: ignore[attr-defined]
        writer.write(V1[-1:])
        assert await reader.readline() == GREETING


async def test_the_header_comes_once() -> None:
    async with serving(**TRUSTING) as server, connected(server, says=V1) as client:
        await client.greet()
        assert (await client.ask(V1.decode().strip())).startswith("500 5.5.1 ")
        assert client.server.session.peer == CLIENT


async def test_starttls_and_the_header_go_together(authority: Authority) -> None:
    async with (
        serving(tls_context=authority.server_context(), **TRUSTING) as server,
        connected(server, says=v2(*INET)) as client,
    ):
        await client.greet()
        await client.start_tls(authority.client_context())
        session = client.server.session
        assert session.peer == CLIENT
        assert session.proxy_data is not None
        assert session.ssl is not None


async def test_a_unix_socket_may_be_the_proxys(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving(unix_path=path, proxy_protocol_timeout=5, proxy_networks=["unix"]) as server:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(V1 + b"QUIT\r\n")
        assert await reader.read() == GREETING + b"221 2.0.0 Bye\r\n"
        writer.close()
        await ended(server)


# Who is believed


async def test_who_is_not_trusted_is_served_without_a_header() -> None:
    handler = Gatekeeper()
    async with (
        serving(handler, proxy_protocol_timeout=5, proxy_networks=["192.0.2.0/24"]) as server,
        connected(server) as client,
    ):
        await client.greet()
        assert (await client.ask(V1.decode().strip())).startswith("500 5.5.1 ")
        session = client.server.session
        assert session.peer == client.writer.get_extra_info("sockname")
        assert session.proxy_data is None
        assert (await client.send("Hello")).startswith("250 ")
    assert handler.headers == []


async def test_the_same_with_tls(authority: Authority) -> None:
    async with (
        serving(
            ssl_context=authority.server_context(), proxy_protocol_timeout=5, proxy_networks=["192.0.2.0/24"]
        ) as server,
        connected(server, shakes_hands=authority.client_context()) as client,
    ):
        await client.greet()
        session = client.server.session
        assert session.peer == client.writer.get_extra_info("sockname")
        assert session.ssl is not None


async def test_without_the_setting_a_header_is_a_bad_command() -> None:
    async with serving() as server, connected(server) as client:
        await client.greet()
        assert (await client.ask(V1.decode().strip())).startswith("500 5.5.1 ")


def test_the_setting_needs_somebody_to_trust() -> None:
    with pytest.raises(ValueError, match="proxy_networks"):
        SMTP(Recorder(), proxy_protocol_timeout=5)


async def test_it_is_the_real_client_that_may_say_xclient() -> None:
    async with serving(xclient_networks=["203.0.113.7"], **TRUSTING) as server:
        async with connected(server, says=V1) as client:
            await client.greet()
            assert "XCLIENT" in await offer(client)
        async with connected(server, says=V1.replace(b"203.0.113.7", b"203.0.113.8")) as client:
            await client.greet()
            assert "XCLIENT" not in await offer(client)


# What is not a header


MALFORMED = {
    "a command": b"EHLO client.example\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 20,
    "an empty line": b"\r\nEHLO client.example\r\n",
    "v1 without addresses": b"PROXY TCP4\r\n    ",
    "v1 too long": b"PROXY TCP4 " + b"1" * 200,
    "v1 with a bare LF": b"PROXY UNKNOWN\n ",
    "v1 with a bad address": b"PROXY TCP4 203.0.113.256 192.0.2.25 56324 25\r\n",
    "v1 with a bad port": b"PROXY TCP4 203.0.113.7 192.0.2.25 65536 25\r\n",
    "v1 of another family": b"PROXY TCP6 203.0.113.7 192.0.2.25 56324 25\r\n",
    "v1 in lower case": b"proxy tcp4 203.0.113.7 192.0.2.25 56324 25\r\n",
    "v1 with an unknown protocol": b"PROXY UDP4 203.0.113.7 192.0.2.25 56324 25\r\n",
    "v2 of version 3": SIGNATURE + struct.pack("!BBH", 0x31, 0x11, 12) + INET[1],
    "v2 with an unknown command": v2(*INET, command=0x22),
    "v2 with an unknown family": v2(0x41, INET[1]),
    "v2 too short for its addresses": v2(0x11, INET[1][:11]),
    "v2 too long": SIGNATURE + struct.pack("!BBH", PROXY, 0x11, 4097) + INET[1],
    "v2 as long as can be": SIGNATURE + struct.pack("!BBH", PROXY, 0x11, 0xFFFF) + INET[1],
    "v2 with a TLV cut short": v2(*INET, b"\x05\0"),
    "v2 with a TLV that claims too much": v2(*INET, b"\x05\0\xffx"),
    "v2 with a wrong checksum": v2(*INET, tlv(0x03, b"\0\0\0\0")),
    "v2 with SSL in SSL": v2(*INET, tlv(0x20, b"\1\0\0\0\0" + tlv(0x20, b"\1\0\0\0\0"))),
    "v2 with SSL cut short": v2(*INET, tlv(0x20, b"\1\0\0")),
    "v2 with a TLV of SSL that claims too much": v2(*INET, tlv(0x20, b"\1\0\0\0\0\x21\xff\xff")),
    "v2 with two names": v2(*INET, tlv(0x02, b"a"), tlv(0x02, b"b")),
    "v2 with a name that splits lines": v2(*INET, tlv(0x02, b"a\r\nReceived: b")),
}


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("name", MALFORMED)
async def test_without_a_valid_header_there_is_no_connection(
    authority: Authority, name: str, is_tls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    # "the receiver ... must abort the connection if the header is not valid", and nobody is told anything.
    handler = Gatekeeper()
    tls = {"ssl_context": authority.server_context()} if is_tls else {}
    with caplog.at_level(logging.INFO):
        async with serving(handler, **tls, **TRUSTING) as server, stream(server) as (reader, writer):
            writer.write(MALFORMED[name])
            assert await silence(reader)
            await ended(server)
    assert (handler.headers, handler.peers, handler.reasons) == ([], [], [Disconnect.PROXY])
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    # Not silent: the log says why.
    assert len([record for record in caplog.records if record.name == "ehlo.smtp"]) == 1


@pytest.mark.parametrize("octets", [b"", b"P", V1[:-1], SIGNATURE, v2(*INET)[:-1]])
async def test_a_header_that_is_late_is_none(octets: bytes) -> None:
    handler = Gatekeeper()
    async with (
        serving(handler, proxy_protocol_timeout=0.05, proxy_networks=["127.0.0.1"]) as server,
        stream(server) as (reader, writer),
    ):
        writer.write(octets)
        assert await silence(reader)
        await ended(server)
    assert (handler.peers, handler.reasons) == ([], [Disconnect.PROXY])


async def test_octets_do_not_extend_the_time() -> None:
    handler = Gatekeeper()
    loop = asyncio.get_running_loop()
    async with (
        serving(handler, proxy_protocol_timeout=0.1, proxy_networks=["127.0.0.1"]) as server,
        stream(server) as (reader, writer),
    ):
        began = loop.time()
        closed = asyncio.ensure_future(silence(reader))
        for octet in V1:
            if closed.done():
                break
            writer.write(bytes([octet]))
            await asyncio.wait([closed], timeout=0.03)
        assert await closed
        assert loop.time() - began < 1
        await ended(server)
    assert handler.reasons == [Disconnect.PROXY]


@pytest.mark.parametrize("octets", [b"", V1[:-1], v2(*INET)[:-1]])
async def test_a_client_that_goes_away_in_the_header_is_gone(octets: bytes) -> None:
    handler = Gatekeeper()
    async with serving(handler, **TRUSTING) as server:
        async with stream(server) as (reader, writer):
            writer.write(octets)
            writer.write_eof()
            assert await silence(reader)
        await ended(server)
    assert handler.reasons == [Disconnect.CLOSED]


async def test_a_handshake_that_fails_behind_a_header_ends_the_session(authority: Authority) -> None:
    handler = Gatekeeper()
    async with (
        serving(handler, ssl_context=authority.server_context(), **TRUSTING) as server,
        stream(server) as (reader, writer),
    ):
        writer.write(V1 + b"EHLO client.example\r\n")
        with contextlib.suppress(ConnectionError):
            assert (await reader.read())[:1] in {b"", b"\x15"}  # at most an alert
        await ended(server)
    assert handler.reasons == [Disconnect.TLS]


async def test_a_handshake_that_hangs_behind_a_header_ends_within_its_time(authority: Authority) -> None:
    handler = Gatekeeper()
    async with (
        serving(handler, ssl_context=authority.server_context(), tls_handshake_timeout=0.05, **TRUSTING) as server,
        stream(server) as (reader, writer),
    ):
        writer.write(V1)
        assert await silence(reader)
        await ended(server)
    assert handler.reasons == [Disconnect.TLS]


# The hook


@pytest.mark.parametrize("answer", ["421 4.7.0 Not you", "554 5.7.1 Not you"])
async def test_a_hook_may_refuse_the_header(answer: str) -> None:
    handler = Gatekeeper(answer)
    async with serving(handler, **TRUSTING) as server, stream(server) as (reader, writer):
        writer.write(V1)
        assert await silence(reader)
        await ended(server)
    assert (handler.peers, handler.reasons) == ([], [Disconnect.PROXY])
    assert len(handler.headers) == 1


async def test_a_hook_may_agree() -> None:
    async with serving(Gatekeeper("220 Welcome"), **TRUSTING) as server, connected(server, says=V1) as client:
        await client.greet()


async def test_a_hook_that_fails_is_our_fault() -> None:
    handler = Gatekeeper("raise")
    async with serving(handler, **TRUSTING) as server, stream(server) as (reader, writer):
        writer.write(V1)
        assert await reader.read() == b"421 4.3.0 Internal error, closing connection\r\n"
        await ended(server)
    assert handler.reasons == [Disconnect.FAILURE]


async def test_a_server_that_stops_does_not_wait_for_headers() -> None:
    handler = Gatekeeper()
    async with serving(handler, **TRUSTING) as server, stream(server) as (reader, writer):
        writer.write(b"P")
        async with asyncio.timeout(PATIENCE):
            while not server.connections:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        await server.stop(grace=0)
        await silence(reader)
    assert len(handler.reasons) == 1
