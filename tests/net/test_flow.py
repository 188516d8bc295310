"""Octets to and from one transport: held back, written together, and the end."""

from __future__ import annotations

import asyncio
import socket

from ehlo.errors import Disconnected
from ehlo.net.flow import CLOSING_TIME, READ_SIZE, READS_ON_END, UNREAD_LIMIT, UNSENT_LIMIT
from ehlo.testing import MemoryTransport
from tests.net.support import HOST, LINE, Speaker, calling, echo, ended, feed, in_memory, listening, until
from tests.support import be_quiet, in_callback, pass_time, with_fake_clock

# Reading is paused


async def test_reading_pauses_above_the_limit_and_goes_on_when_all_is_taken() -> None:
    async def script(speaker: Speaker) -> None:
        await future
        await echo(speaker)

    future = asyncio.get_running_loop().create_future()
    speaker, transport = in_memory(script)
    lines = UNREAD_LIMIT // len(LINE)
    await feed(transport, LINE * lines)
    assert transport.is_reading()
    await feed(transport, LINE)
    assert not transport.is_reading()
    future.set_result(None)
    await until(lambda: len(speaker.did) == lines + 1)
    assert transport.is_reading()
    transport.lose()
    await ended(speaker)


async def test_a_client_that_does_not_wait_fills_its_own_buffers() -> None:
    async def script(speaker: Speaker) -> None:
        speaker.did.append("began")
        await asyncio.get_running_loop().create_future()

    speakers: list[Speaker] = []
    async with listening(script, speakers) as server:
        async with calling(server) as caller:
            size = 16 * 1024 * 1024
            caller.send(bytes(size))
            await until(lambda: speakers and speakers[0]._reading_is_paused)
            await asyncio.sleep(0.05)
            # One read of the loop may overshoot the limit.
            assert UNREAD_LIMIT < speakers[0]._framer.buffered <= UNREAD_LIMIT + READ_SIZE
            assert caller.writer.transport.get_write_buffer_size() > size // 4
            caller.reset()
        speakers[0].task.cancel()
        await ended(speakers[0])


async def test_what_one_client_sends_is_not_overwritten_by_the_next() -> None:
    (first, one), (second, two) = in_memory(echo), in_memory(echo)
    await be_quiet()
    await feed(one, b"fir")
    await feed(two, b"second\r\n")
    await feed(one, b"st\r\n")
    assert (bytes(one.sent), bytes(two.sent)) == (b"first\r\n", b"second\r\n")
    for speaker, transport in ((first, one), (second, two)):
        transport.lose()
        await ended(speaker)


async def test_who_sends_without_end_lets_others_have_a_turn() -> None:
    async def script(speaker: Speaker) -> None:
        speaker._expect_chunk(2 * READS_ON_END * READ_SIZE)
        await speaker._drop_data()

    speaker, transport = in_memory(script)
    await be_quiet()
    was_reading: list[bool] = []

    def read_on_end() -> None:
        for _ in range(READS_ON_END):
            was_reading.append(transport.is_reading())
            transport.feed(bytes(READ_SIZE))
        was_reading.append(transport.is_reading())

    await in_callback(read_on_end)
    assert was_reading == [True] * READS_ON_END + [False]
    await be_quiet()
    assert transport.is_reading()
    transport.lose()
    await ended(speaker)


async def test_reading_is_not_paused_on_a_transport_that_is_gone() -> None:
    async def script(speaker: Speaker) -> None:
        await future

    future = asyncio.get_running_loop().create_future()
    speaker, transport = in_memory(script)
    await be_quiet()
    transport.lose()
    speaker.data_received(bytes(UNREAD_LIMIT + 1))
    assert transport.is_reading()
    future.set_result(None)
    await ended(speaker)


# Writing


async def test_much_is_handed_to_the_transport_without_a_wait() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        for _ in range(UNSENT_LIMIT // len(LINE) + 1):
            speaker._write(LINE)
        speaker.did.append(len(transport.writes))
        await speaker.hear()

    speaker, transport = in_memory(script)
    await feed(transport, b"go\r\n")
    await be_quiet()
    assert speaker.did == [1]
    assert len(transport.writes[0]) <= UNSENT_LIMIT + len(LINE)
    transport.lose()
    await ended(speaker)


# Writing is paused


async def talk_on_and_on(speaker: Speaker) -> None:
    await speaker.hear()
    while True:
        await speaker.say(LINE)
        speaker.did.append("said")


@with_fake_clock
async def test_a_client_that_does_not_read_is_waited_for_and_cut_off_in_the_end() -> None:
    speaker, transport = in_memory(talk_on_and_on)
    transport.takes_output = False
    await feed(transport, b"go\r\n")
    await pass_time(speaker._client_timeout - 1)
    said = len(speaker.did)
    assert said * len(LINE) <= UNSENT_LIMIT + 2 * len(LINE)
    await pass_time(2)
    await ended(speaker)
    assert len(speaker.did) == said
    assert isinstance(speaker.ended_by, Disconnected)


@with_fake_clock
async def test_a_client_that_reads_again_is_talked_to_again() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        for _ in range(3 * UNSENT_LIMIT // len(LINE)):
            await speaker.say(LINE)
        await speaker.hear()

    speaker, transport = in_memory(script)
    transport.takes_output = False
    await feed(transport, b"go\r\n")
    await pass_time(speaker._client_timeout - 1)
    transport.resume()
    await pass_time(0)
    assert len(transport.sent) == 3 * UNSENT_LIMIT // len(LINE) * len(LINE)
    await pass_time(2)
    assert not transport.is_closing()
    transport.lose()
    await ended(speaker)


async def test_a_client_that_never_reads_stops_only_itself() -> None:
    async def script(speaker: Speaker) -> None:
        speaker._client_timeout = 0.2
        await talk_on_and_on(speaker)

    speakers: list[Speaker] = []
    async with listening(script, speakers) as server:
        loop = asyncio.get_running_loop()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, (HOST, server.port))
            await loop.sock_sendall(deaf, b"go\r\n")
            await until(lambda: speakers and speakers[0]._drained is not None)
            async with calling(server) as caller:
                caller.send(b"go\r\n")
                for _ in range(1000):
                    assert await caller.reader.readline() == LINE
                caller.reset()
            assert speakers[0].transport.get_write_buffer_size() < 1024 * 1024
            await ended(speakers[0])
            assert isinstance(speakers[0].ended_by, Disconnected)
        await ended(speakers[1])


async def test_a_client_that_goes_while_it_is_waited_for_ends_the_wait() -> None:
    speaker, transport = in_memory(talk_on_and_on)
    transport.takes_output = False
    await feed(transport, b"go\r\n")
    await be_quiet()
    transport.lose()
    await ended(speaker)
    assert isinstance(speaker.ended_by, Disconnected)


async def test_nothing_is_written_to_a_transport_that_is_gone() -> None:
    async def script(speaker: Speaker) -> None:
        await future
        speaker._write(b"too late\r\n")

    future = asyncio.get_running_loop().create_future()
    speaker, transport = in_memory(script)
    await be_quiet()
    transport.lose()
    future.set_result(None)
    await ended(speaker)
    assert transport.writes == []


# The end


@with_fake_clock
async def test_a_client_that_does_not_take_our_last_words_is_cut_off() -> None:
    class Slow(MemoryTransport):
        """Closes when all is taken, as real transports do."""

        def close(self) -> None:
            if self.takes_output:
                super().close()

        def abort(self) -> None:
            super().close()

    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        speaker._write(b"last words\r\n")

    speaker = Speaker(script)
    transport = Slow(speaker)
    transport.takes_output = False
    await feed(transport, b"go\r\n")
    await ended(speaker)
    await pass_time(CLOSING_TIME - 1)
    assert not transport.is_closing()
    await pass_time(2)
    assert transport.is_closing()


async def test_what_is_unsent_at_the_end_is_sent_before_the_connection_closes() -> None:
    async def script(speaker: Speaker) -> None:
        for _ in range(50_000):
            speaker._write(LINE)

    async with listening(script) as server, calling(server) as caller:
        assert len(await caller.reader.read()) == 50_000 * len(LINE)


class Unwritable(MemoryTransport):
    """A transport that fails when it is written to."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise RuntimeError("no way out")


async def test_a_transport_that_cannot_be_written_to_ends_the_session_once() -> None:
    failures: list[str] = []

    async def stubborn(speaker: Speaker) -> None:
        while True:
            try:
                await speaker._next_line(100, 10)
            except RuntimeError as error:
                failures.append(str(error))
                speaker._write(b"sorry")

    speaker = Speaker(stubborn)
    transport = Unwritable(speaker)
    speaker._write(b"hello")
    await ended(speaker)

    assert failures == ["no way out"]
    assert transport.is_closing()
