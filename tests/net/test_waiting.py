"""Whose time runs while a connection waits, and how a wait ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ehlo.errors import HookTimeout, IdleTimeout
from ehlo.net.flow import UNSENT_LIMIT
from tests.net.support import Speaker, echo, ended, feed, in_memory
from tests.support import be_quiet, pass_time, with_fake_clock

if TYPE_CHECKING:
    from collections.abc import Callable

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


# Pauses


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


# Verdicts


async def test_of_two_reasons_to_end_the_first_counts() -> None:
    speaker, _ = in_memory(echo)
    await be_quiet()
    speaker._end(IdleTimeout())
    speaker.stop()
    await ended(speaker)
    assert isinstance(speaker.ended_by, IdleTimeout)
