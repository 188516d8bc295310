"""One connection: lines and mail data, the time for them, and how it ends."""

from __future__ import annotations

import asyncio
import weakref

import pytest

from ehlo.errors import Disconnected, GateClosed, IdleTimeout, ShuttingDown
from ehlo.net.connection import BURST, RATE_GRACE, Connection
from ehlo.net.serve import Server
from ehlo.testing import MemoryTransport
from tests.net.support import (
    HOST,
    LINE,
    Speaker,
    calling,
    echo,
    ended,
    feed,
    in_memory,
    listening,
    until,
    without_the_collector,
)
from tests.support import be_quiet, pass_time, with_fake_clock


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
