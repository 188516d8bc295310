"""One connection: waiting, flow control, time, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import weakref
from typing import TYPE_CHECKING

import pytest

from ehlo.errors import Disconnected, GateClosed, HookTimeout, IdleTimeout, ShuttingDown
from ehlo.net.connection import (
    BURST,
    CLOSING_TIME,
    RATE_GRACE,
    READ_SIZE,
    READS_ON_END,
    UNREAD_LIMIT,
    UNSENT_LIMIT,
    Connection,
)
from ehlo.net.serve import Server
from ehlo.testing import MemoryTransport
from tests.net.support import HOST, Script, Speaker, calling, echo, ended, feed, in_memory, until, without_the_collector
from tests.support import be_quiet, in_callback, pass_time, with_fake_clock

if TYPE_CHECKING:
    from collections.abc import Callable

LINE = b"x" * 98 + b"\r\n"


class Register:
    """An owner that remembers."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def opened(self, connection: Connection) -> None:
        self.told.append("opened")

    def closed(self, connection: Connection) -> None:
        self.told.append("closed")

    def gone(self, connection: Connection) -> None:
        self.told.append("gone")


def listening(script: Script, speakers: list[Speaker] | None = None) -> Server:
    """A real server of speakers, which are put into ``speakers``."""

    def make() -> Speaker:
        speaker = Speaker(script)
        if speakers is not None:
            speakers.append(speaker)
        return speaker

    return Server(make, host=HOST, stall_threshold=None)


# Lines


async def test_lines_are_heard_and_answers_said() -> None:
    speaker, transport = in_memory(echo)
    await feed(transport, b"one\r\ntw", b"o\r\n")
    assert bytes(transport.sent) == b"one\r\ntwo\r\n"
    transport.lose()
    await ended(speaker)
    assert isinstance(speaker.ended_by, Disconnected)


async def test_the_answers_to_lines_that_came_together_leave_together() -> None:
    speaker, transport = in_memory(echo)
    await be_quiet()
    await feed(transport, b"1\r\n2\r\n3\r\n4\r\n", b"5\r\n")
    assert transport.writes == [b"1\r\n2\r\n3\r\n4\r\n", b"5\r\n"]
    transport.lose()
    await ended(speaker)


async def test_what_is_written_leaves_before_something_else_is_waited_for() -> None:
    async def script(speaker: Speaker) -> None:
        speaker._write(b"before\r\n")
        await future

    future = asyncio.get_running_loop().create_future()
    speaker, transport = in_memory(script)
    await be_quiet()
    assert transport.writes == [b"before\r\n"]
    future.set_result(None)
    await ended(speaker)


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


async def test_a_client_that_is_far_ahead_lets_others_have_a_turn() -> None:
    speaker, transport = in_memory(echo)
    await be_quiet()
    heard: list[int] = []
    asyncio.get_running_loop().call_soon(transport.feed, b"\r\n" * 3 * BURST)
    asyncio.get_running_loop().call_soon(lambda: heard.append(len(speaker.did)))
    await be_quiet()
    assert heard[0] <= BURST
    assert len(speaker.did) == 3 * BURST
    transport.lose()
    await ended(speaker)


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


# The end, by the client


async def test_all_that_came_before_the_client_closed_its_side_is_answered() -> None:
    async def script(speaker: Speaker) -> None:
        await asyncio.sleep(0.01)
        await echo(speaker)

    async with listening(script) as server, calling(server) as caller:
        caller.send(LINE * 300 + b"a line that is not whole")
        caller.writer.write_eof()
        assert await caller.reader.read() == LINE * 300


async def test_a_client_that_closes_its_side_while_nothing_is_to_be_done_is_left() -> None:
    speakers: list[Speaker] = []
    async with listening(echo, speakers) as server, calling(server) as caller:
        caller.send(b"line\r\n")
        assert await caller.reader.readline() == b"line\r\n"
        caller.writer.write_eof()
        assert await caller.has_ended()
        await ended(speakers[0])
        assert isinstance(speakers[0].ended_by, Disconnected)


async def test_a_hook_finishes_although_the_client_has_reset_the_connection() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        speaker.did.append("hook began")
        await future
        speaker.did.append("hook finished")
        await speaker.say(b"stored\r\n")

    future = asyncio.get_running_loop().create_future()
    speakers: list[Speaker] = []
    async with listening(script, speakers) as server:
        async with calling(server) as caller:
            caller.send(b"store it\r\n")
            await until(lambda: speakers and speakers[0].did)
            caller.reset()
        await until(lambda: speakers[0]._is_lost)
        future.set_result(None)
        await ended(speakers[0])
        assert speakers[0].did == ["hook began", "hook finished"]
        assert isinstance(speakers[0].ended_by, Disconnected)


async def test_lines_that_came_before_the_connection_was_lost_can_still_be_heard() -> None:
    async def script(speaker: Speaker) -> None:
        await future
        speaker.did += [await speaker.hear(), await speaker.hear()]
        await speaker.hear()

    future = asyncio.get_running_loop().create_future()
    speaker, transport = in_memory(script)
    await feed(transport, b"1\r\n2\r\n3")
    transport.lose()
    future.set_result(None)
    await ended(speaker)
    assert speaker.did == [b"1", b"2"]


# The end, by us


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


async def test_octets_that_come_after_the_end_are_dropped() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()

    speaker, transport = in_memory(script)
    await feed(transport, b"one\r\n")
    await ended(speaker)
    speaker.data_received(b"two\r\n")
    speaker.eof_received()
    speaker.connection_lost(None)
    assert speaker._framer.buffered == 0


@pytest.mark.parametrize(("by_us", "expected"), [(True, "opened closed gone"), (False, "opened gone closed")])
async def test_the_owner_is_told_of_the_beginning_and_of_the_end_once(by_us: bool, expected: str) -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()

    speaker = Speaker(script)
    speaker.owner = register = Register()
    transport = MemoryTransport(speaker)
    assert register.told == ["opened"]
    if by_us:
        await feed(transport, b"line\r\n")
    else:
        transport.lose()
    await ended(speaker)
    await be_quiet()
    transport.lose()
    assert " ".join(register.told) == expected


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_connection_whose_task_is_cancelled_closes_and_tells_its_owner(has_begun: bool) -> None:
    speaker = Speaker(echo)
    speaker.owner = register = Register()
    transport = MemoryTransport(speaker)
    if has_begun:
        await be_quiet()
    speaker.task.cancel()
    await ended(speaker)
    await be_quiet()
    assert speaker.task.cancelled()
    assert transport.is_closing()
    assert register.told == ["opened", "closed", "gone"]


async def test_a_dialogue_that_fails_closes_the_connection_and_fails_its_task() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        raise LookupError

    speaker, transport = in_memory(script)
    await feed(transport, b"go\r\n")
    await ended(speaker)
    assert isinstance(speaker.task.exception(), LookupError)
    assert transport.is_closing()


# The end, by the server


async def test_a_stop_ends_a_wait_between_transactions_at_once() -> None:
    speaker, _ = in_memory(echo)
    await be_quiet()
    speaker.stop()
    await ended(speaker)
    assert isinstance(speaker.ended_by, ShuttingDown)


async def test_a_stop_leaves_a_transaction_alone() -> None:
    speaker, transport = in_memory(echo)
    speaker.is_in_transaction = True
    await be_quiet()
    speaker.stop()
    await feed(transport, b"go on\r\n")
    assert bytes(transport.sent) == b"go on\r\n"
    assert speaker._is_stopping
    transport.lose()
    await ended(speaker)


async def test_a_stop_leaves_a_hook_alone() -> None:
    async def script(speaker: Speaker) -> None:
        speaker.did.append(await future)

    future = asyncio.get_running_loop().create_future()
    speaker, _ = in_memory(script)
    await be_quiet()
    speaker.stop()
    await be_quiet()
    future.set_result("result")
    await ended(speaker)
    assert speaker.did == ["result"]


async def test_of_two_reasons_to_end_the_first_counts() -> None:
    speaker, _ = in_memory(echo)
    await be_quiet()
    speaker._end(IdleTimeout())
    speaker.stop()
    await ended(speaker)
    assert isinstance(speaker.ended_by, IdleTimeout)


# Time


@with_fake_clock
async def test_octets_do_not_extend_the_time_for_a_line() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear(timeout=10)

    speaker, transport = in_memory(script)
    for _ in range(3):
        await pass_time(3)
        await feed(transport, b"x")
    await pass_time(2)
    await ended(speaker)
    assert isinstance(speaker.ended_by, IdleTimeout)


@with_fake_clock
async def test_each_line_has_a_time_of_its_own() -> None:
    async def script(speaker: Speaker) -> None:
        for _ in range(3):
            await speaker.hear(timeout=10)

    speaker, transport = in_memory(script)
    for _ in range(3):
        await pass_time(9)
        await feed(transport, b"x\r\n")
    await ended(speaker)
    assert speaker.ended_by is None


@with_fake_clock
async def test_the_clients_time_does_not_run_while_we_work() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear(timeout=10)
        await future
        await speaker.hear(timeout=10)
        speaker.did.append("heard")

    future = asyncio.get_running_loop().create_future()
    speaker, transport = in_memory(script)
    await feed(transport, b"1\r\n")
    await pass_time(500)
    future.set_result(None)
    await pass_time(9)
    await feed(transport, b"2\r\n")
    await ended(speaker)
    assert speaker.did == ["heard"]


async def take_data(speaker: Speaker) -> None:
    speaker._expect_data()
    while data := await speaker._next_data():
        speaker.did.append(data)
    speaker.did.append("end")


@with_fake_clock
async def test_every_octet_of_mail_data_extends_the_time() -> None:
    speaker, transport = in_memory(take_data)
    speaker._data_rate_floor = 0
    for _ in range(10):
        await pass_time(speaker._data_timeout - 1)
        await feed(transport, b"x")
    await feed(transport, b"\r\n.\r\n")
    await ended(speaker)
    assert speaker.did[-1] == "end"


@with_fake_clock
async def test_mail_data_that_stay_away_end_the_session() -> None:
    speaker, transport = in_memory(take_data)
    await feed(transport, b"x\r\n")
    await pass_time(speaker._data_timeout + 1)
    await ended(speaker)
    assert isinstance(speaker.ended_by, IdleTimeout)
    assert "end" not in speaker.did


@with_fake_clock
async def test_mail_data_that_come_too_slowly_end_the_session_after_a_minute() -> None:
    speaker, transport = in_memory(take_data)
    passed = 0
    while not speaker.task.done():
        await pass_time(10)
        await feed(transport, b"x" * 10)
        passed += 10
    assert RATE_GRACE <= passed <= RATE_GRACE + 10
    assert isinstance(speaker.ended_by, IdleTimeout)


@with_fake_clock
async def test_mail_data_that_come_fast_enough_may_take_their_time() -> None:
    speaker, transport = in_memory(take_data)
    for _ in range(30):
        await pass_time(10)
        await feed(transport, b"x" * 10 * (speaker._data_rate_floor + 10))
    assert not speaker.task.done()
    await feed(transport, b"\r\n.\r\n")
    await ended(speaker)
    assert speaker.did[-1] == "end"


@with_fake_clock
async def test_the_time_that_we_take_for_mail_data_does_not_make_the_client_slow() -> None:
    async def script(speaker: Speaker) -> None:
        speaker._expect_data()
        while await speaker._next_data():  # noqa: ASYNC110 - it takes its time over each piece
            await asyncio.sleep(100)
        speaker.did.append("end")

    speaker, transport = in_memory(script)
    await be_quiet()
    for _ in range(3):
        await feed(transport, b"x")
        await pass_time(101)
    await feed(transport, b"\r\n.\r\n")
    await pass_time(101)
    await ended(speaker)
    assert speaker.did == ["end"]


@with_fake_clock
async def test_a_chunk_is_counted_and_what_is_not_taken_of_it_can_be_dropped() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        speaker._expect_chunk(6)
        speaker.did.append(await speaker._next_data())
        await speaker._drop_data()
        await echo(speaker)

    speaker, transport = in_memory(script)
    await feed(transport, b"BDAT 6\r\nab", b"cd", b"efnext\r\n")
    assert speaker.did == [b"ab", b"next"]
    transport.lose()
    await ended(speaker)


# The time of a hook


async def run_hook(speaker: Speaker, hook: Callable[[Speaker], object]) -> None:
    """As ``ehlo.dispatch`` does."""
    speaker._is_busy = False
    try:
        speaker.did.append(await hook(speaker))  # type: ignore[misc]
    except asyncio.CancelledError:
        expired = speaker._expired_hook()
        if expired is None:
            raise
        speaker.did.append(type(expired))


@with_fake_clock
async def test_a_hook_that_runs_too_long_is_cancelled_and_the_session_goes_on() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        await run_hook(speaker, lambda _: asyncio.sleep(1000))
        speaker.did.append(speaker.task.cancelling())
        await echo(speaker)

    speaker, transport = in_memory(script)
    await feed(transport, b"go\r\n")
    await pass_time(speaker._hook_timeout - 1)
    assert speaker.did == []
    await pass_time(2)
    assert speaker.did == [HookTimeout, 0]
    await feed(transport, b"next\r\n")
    assert bytes(transport.sent) == b"next\r\n"
    transport.lose()
    await ended(speaker)


@with_fake_clock
async def test_the_waits_of_one_hook_count_together() -> None:
    async def hook(speaker: Speaker) -> None:
        for _ in range(10):
            await asyncio.sleep(100)

    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        await run_hook(speaker, hook)

    speaker, transport = in_memory(script)
    await feed(transport, b"go\r\n")
    for _ in range(5):
        await pass_time(101)
    assert speaker.did == []
    await pass_time(101)
    assert speaker.did == [HookTimeout]
    await ended(speaker)


@with_fake_clock
async def test_another_cancellation_is_not_taken_for_that_of_a_hooks_time() -> None:
    async def script(speaker: Speaker) -> None:
        await run_hook(speaker, lambda _: asyncio.sleep(1000))

    speaker, _ = in_memory(script)
    await be_quiet()
    speaker.task.cancel()
    await ended(speaker)
    assert speaker.task.cancelled()


@with_fake_clock
async def test_a_hook_whose_own_task_reads_has_its_whole_time_after_each_piece() -> None:
    async def read(speaker: Speaker) -> None:
        speaker._expect_data()
        while await speaker._next_data():  # noqa: ASYNC110 - it takes its time over each piece
            await asyncio.sleep(speaker._data_timeout + 100)
        speaker.did.append("all read")

    async def hook(speaker: Speaker) -> None:
        await asyncio.create_task(read(speaker))

    async def script(speaker: Speaker) -> None:
        await run_hook(speaker, hook)

    speaker, transport = in_memory(script)
    await be_quiet()
    await feed(transport, b"text\r\n")
    await pass_time(speaker._data_timeout + 50)
    assert speaker.did == []
    await pass_time(51)
    await feed(transport, b".\r\n")
    await pass_time(speaker._data_timeout + 101)
    await ended(speaker)
    assert speaker.did == ["all read", None]


@with_fake_clock
async def test_a_hook_whose_own_task_waits_for_a_silent_client_ends() -> None:
    async def read(speaker: Speaker) -> None:
        speaker._expect_data()
        await speaker._next_data()

    async def script(speaker: Speaker) -> None:
        await asyncio.create_task(read(speaker))

    speaker, _ = in_memory(script)
    await pass_time(speaker._data_timeout + 1)
    await ended(speaker)
    assert isinstance(speaker.ended_by, IdleTimeout)


@with_fake_clock
async def test_a_hook_that_waited_for_a_slow_reader_has_its_whole_time_afterwards() -> None:
    async def hook(speaker: Speaker) -> None:
        await asyncio.sleep(0)
        await speaker.say(bytes(UNSENT_LIMIT + 1))
        await asyncio.sleep(speaker._client_timeout + 100)

    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        await run_hook(speaker, hook)

    speaker, transport = in_memory(script)
    transport.takes_output = False
    await feed(transport, b"go\r\n")
    await pass_time(10)
    transport.resume()
    await pass_time(speaker._client_timeout + 50)
    assert speaker.did == []
    await pass_time(51)
    assert speaker.did == [None]
    await ended(speaker)


async def test_a_task_of_a_hook_that_outlives_the_session_never_sees_an_end_of_data() -> None:
    async def read(speaker: Speaker) -> None:
        try:
            speaker.did.append(await speaker._next_data())
            speaker.did.append(await speaker._next_data())
        except Disconnected:
            speaker.did.append("disconnected")

    async def script(speaker: Speaker) -> None:
        speaker._expect_data()
        tasks.append(asyncio.create_task(read(speaker)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await future

    tasks: list[asyncio.Task[None]] = []
    future = asyncio.get_running_loop().create_future()
    speaker, transport = in_memory(script)
    await be_quiet()
    await feed(transport, b"half a message\r\n")
    speaker.task.cancel()
    await asyncio.wait(tasks, timeout=5)
    assert speaker.did == [b"half a message", "disconnected"]


async def test_a_task_of_a_hook_that_outlives_its_message_gets_nothing_of_the_next_one() -> None:
    async def read(speaker: Speaker) -> None:
        try:
            while data := await speaker._next_data():
                speaker.did.append(data)
        except Disconnected:
            speaker.did.append("disconnected")

    async def script(speaker: Speaker) -> None:
        speaker._expect_chunk(3)
        task = asyncio.create_task(read(speaker))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await future
        speaker._framer.next_data()
        speaker._expect_chunk(4)
        speaker.data_received(b"next")
        await asyncio.wait([task])
        speaker.did.append(await speaker._next_data())

    future = asyncio.get_running_loop().create_future()
    speaker, _ = in_memory(script)
    await be_quiet()
    speaker._framer.receive(b"one")
    future.set_result(None)
    await ended(speaker)
    assert speaker.did == ["disconnected", b"next"]


# Before the session


class Gated(Speaker):
    """One whose clients begin with a PROXY header; the dialogue begins with its source."""

    def _expects_proxy_header(self) -> bool:
        return True


HEADER = b"PROXY TCP4 192.0.2.9 192.0.2.1 50000 25\r\n"


async def pass_the_gate(speaker: Speaker) -> None:
    try:
        header = await speaker._pass_gate(10)
    except GateClosed as error:
        speaker.did.append(str(error))
        return
    speaker.did.append(header and header.source)
    await echo(speaker)


@pytest.mark.parametrize("pieces", [[HEADER + b"hello\r\n"], [HEADER, b"hello\r\n"], [bytes([o]) for o in HEADER]])
async def test_a_proxy_header_is_read_and_what_follows_it_is_the_clients(pieces: list[bytes]) -> None:
    speakers: list[Gated] = []

    def make() -> Gated:
        speakers.append(Gated(pass_the_gate))
        return speakers[-1]

    async with Server(make, host=HOST, stall_threshold=None) as server:
        async with calling(server) as caller:
            for piece in pieces:
                caller.send(piece)
                await asyncio.sleep(0.001)
            if b"hello" not in b"".join(pieces):
                caller.send(b"hello\r\n")
            assert await caller.reader.readline() == b"hello\r\n"
        await ended(speakers[0])
    assert speakers[0].did == [("192.0.2.9", 50000), b"hello"]


async def test_a_connection_that_expects_no_proxy_header_has_none() -> None:
    speaker, transport = in_memory(pass_the_gate)
    await feed(transport, b"hello\r\n")
    await be_quiet()
    assert speaker.did == [None, b"hello"]
    transport.lose()
    await ended(speaker)


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_proxy_header_that_is_none_closes_the_gate(is_late: bool) -> None:
    async def script(speaker: Speaker) -> None:
        with pytest.raises(GateClosed, match="in time" if is_late else "PROXY"):
            await speaker._pass_gate(0.02 if is_late else 10)
        speaker.did.append("closed")

    speaker = Gated(script)
    server = Server(lambda: speaker, host=HOST, stall_threshold=None)
    async with server, calling(server) as caller:
        caller.send(b"PROXY" if is_late else b"EHLO mallory.example\r\n")
        assert await caller.has_ended()
    assert speaker.did == ["closed"]


@pytest.mark.parametrize("is_hard", [False, True])
async def test_a_client_that_goes_before_its_proxy_header_is_whole_is_gone(is_hard: bool) -> None:
    speaker = Gated(pass_the_gate)
    server = Server(lambda: speaker, host=HOST, stall_threshold=None)
    async with server:
        async with calling(server) as caller:
            caller.send(b"PROXY TCP4")
            await until(lambda: server.connections)
            if is_hard:
                caller.reset()
        await ended(speaker)
    assert isinstance(speaker.ended_by, Disconnected)


async def find_out_whether_it_is_silent(speaker: Speaker) -> None:
    speaker.did.append(await speaker._is_silent(5))
    await echo(speaker)


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


@with_fake_clock
async def test_a_client_that_waits_is_silent() -> None:
    speaker, transport = in_memory(find_out_whether_it_is_silent)
    await pass_time(4)
    assert speaker.did == []
    await pass_time(2)
    assert speaker.did == [True]
    await feed(transport, b"hello\r\n")
    assert speaker.did == [True, b"hello"]
    transport.lose()
    await ended(speaker)


@with_fake_clock
async def test_a_client_that_talks_before_its_turn_is_not_silent_and_still_heard() -> None:
    speaker, transport = in_memory(find_out_whether_it_is_silent)
    await be_quiet()
    await feed(transport, b"hel", b"lo\r\n")
    assert speaker.did == [False, b"hello"]
    await pass_time(10)
    assert not speaker.task.done()
    transport.lose()
    await ended(speaker)


@with_fake_clock
async def test_a_pause_takes_its_time_and_nobody_elses() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        await run_hook(speaker, lambda _: asyncio.sleep(500))
        await speaker._pause(100)
        speaker.did.append("paused")
        await speaker._pause(0)
        await echo(speaker)

    speaker, transport = in_memory(script)
    await feed(transport, b"go\r\n")
    await pass_time(501)
    await pass_time(99)
    assert speaker.did == [None]
    await pass_time(2)
    assert speaker.did == [None, "paused"]
    transport.lose()
    await ended(speaker)


@pytest.mark.parametrize("ending", ["lost", "stopped", "cancelled"])
async def test_a_pause_ends_when_there_is_nobody_to_wait_for(ending: str) -> None:
    async def script(speaker: Speaker) -> None:
        await speaker._pause(1000)
        await speaker._pause(1000)
        speaker.did.append("paused")

    speaker, transport = in_memory(script)
    await be_quiet()
    if ending == "lost":
        transport.lose()
    elif ending == "stopped":
        speaker.stop()
    else:
        speaker.task.cancel()
    await ended(speaker)
    assert speaker.did == ([] if ending == "cancelled" else ["paused"])


# Nothing is left behind


async def say_goodbye(speaker: Speaker) -> None:
    await speaker.hear()
    await asyncio.sleep(0)
    await speaker.say(b"bye\r\n")


@pytest.mark.parametrize("ending", ["by us", "by the client", "by a stop"])
async def test_a_connection_that_ended_is_in_no_reference_cycle(ending: str) -> None:
    speakers: list[Speaker] = []
    with without_the_collector():
        async with listening(say_goodbye, speakers) as server:
            async with calling(server) as caller:
                await until(lambda: speakers)
                reference = weakref.ref(speakers.pop())
                if ending == "by us":
                    caller.send(b"go\r\n")
                    assert await caller.reader.read() == b"bye\r\n"
                elif ending == "by a stop":
                    await server.stop()
            await until(lambda: not server.connections)
        await be_quiet()
        assert reference() is None


def test_a_connection_describes_itself() -> None:
    assert "Speaker" in Speaker(echo).describe()
