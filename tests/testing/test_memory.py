from __future__ import annotations

import asyncio

import pytest

from ehlo.testing import MemoryTransport


class Protocol(asyncio.Protocol):
    """Notes what is called."""

    def __init__(self, *, keeps_open: bool = True) -> None:
        self.calls: list[object] = []
        self.keeps_open = keeps_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(("lost", exc))

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Buffered(asyncio.BufferedProtocol):
    """Has room for four octets."""

    def __init__(self) -> None:
        self.room = bytearray(4)
        self.calls: list[bytes] = []

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        self.calls.append(bytes(self.room[:nbytes]))


async def test_a_buffered_protocol_is_fed_as_much_as_it_has_room_for() -> None:
    protocol = Buffered()
    MemoryTransport(protocol).feed(b"Hello, all")
    assert protocol.calls == [b"Hell", b"o, a", b"ll"]


async def test_a_protocol_is_connected_fed_and_cut() -> None:
    protocol = Protocol()
    transport = MemoryTransport(protocol)
    assert protocol.transport is transport
    transport.feed(b"Hello")
    transport.feed_eof()
    assert not transport.is_closing()
    error = ConnectionResetError()
    transport.lose(error)
    transport.lose()
    transport.feed(b"late")
    assert protocol.calls == ["made", b"Hello", "eof", ("lost", error)]
    assert transport.is_closing()


async def test_a_protocol_that_does_not_stay_open_after_eof_is_closed() -> None:
    protocol = Protocol(keeps_open=False)
    transport = MemoryTransport(protocol)
    transport.feed_eof()
    transport.feed_eof()
    assert transport.is_closing()
    assert protocol.calls == ["made", "eof"]
    await asyncio.sleep(0)
    assert protocol.calls == ["made", "eof", ("lost", None)]


@pytest.mark.parametrize("way", ["close", "abort"])
async def test_closing_is_told_in_the_next_pass_and_once(way: str) -> None:
    protocol = Protocol()
    transport = MemoryTransport(protocol)
    getattr(transport, way)()
    getattr(transport, way)()
    transport.feed(b"late")
    assert protocol.calls == ["made"]
    await asyncio.sleep(0)
    assert protocol.calls == ["made", ("lost", None)]


async def test_what_is_written_is_heard_by_lines() -> None:
    transport = MemoryTransport(Protocol())
    transport.write(b"one\r\ntw")
    transport.write(bytearray(b"o\r\nth"))
    assert transport.writes == [b"one\r\ntw", b"o\r\nth"]
    assert await transport.take_line() == b"one\r\n"
    assert await transport.take_line() == b"two\r\n"
    assert transport.sent == b"th"
    waiter = asyncio.create_task(transport.take_line())
    await asyncio.sleep(0)
    assert not waiter.done()
    transport.write(b"ree\r\nrest")
    assert await waiter == b"three\r\n"
    transport.close()
    assert await transport.take_line() == b"rest"
    assert await transport.take_line() == b""


async def test_the_end_wakes_who_waits_for_a_line() -> None:
    transport = MemoryTransport(Protocol())
    waiter = asyncio.create_task(transport.take_line())
    await asyncio.sleep(0)
    transport.lose()
    assert await waiter == b""


async def test_what_is_written_after_the_end_is_lost() -> None:
    transport = MemoryTransport(Protocol())
    transport.lose()
    transport.write(b"late")
    assert transport.sent == b""


async def test_a_client_may_stop_reading_and_read_again() -> None:
    protocol = Protocol()
    transport = MemoryTransport(protocol)
    transport.write(b"one")
    assert transport.get_write_buffer_size() == 0
    transport.takes_output = False
    transport.write(b"two")
    assert transport.get_write_buffer_size() == 6
    transport.resume()
    assert transport.takes_output
    assert protocol.calls == ["made", "pause", "resume"]
    assert transport.get_write_buffer_size() == 0


async def test_a_protocol_may_stop_reading_and_read_again() -> None:
    transport = MemoryTransport(Protocol())
    assert transport.is_reading()
    transport.pause_reading()
    assert transport.is_reading_paused
    assert not transport.is_reading()
    transport.resume_reading()
    assert transport.is_reading()


async def test_it_has_a_peer_and_what_else_it_is_given() -> None:
    assert MemoryTransport(Protocol()).get_extra_info("peername") == ("192.0.2.1", 49152)
    transport = MemoryTransport(Protocol(), extra={"peername": "", "sockname": "x"})
    assert transport.get_extra_info("peername") == ""
    assert transport.get_extra_info("sockname") == "x"
    assert transport.get_extra_info("ssl_object") is None
