from __future__ import annotations

import asyncio

from ehlo.testing import FakeClockLoop
from tests.support import with_fake_clock


def loop() -> FakeClockLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, FakeClockLoop)
    return running


@with_fake_clock
async def test_time_moves_when_it_is_told_to() -> None:
    before = loop().time()
    assert loop().time() - before < 5
    loop().advance(1000)
    assert 1000 <= loop().time() - before < 1005


@with_fake_clock
async def test_a_timer_that_is_due_runs_in_the_next_pass_and_one_that_is_not_does_not() -> None:
    events: list[str] = []
    loop().call_later(100, events.append, "first")
    loop().call_later(300, events.append, "second")
    loop().advance(99)
    await asyncio.sleep(0)
    assert events == []
    loop().advance(2)
    for _ in range(3):
        await asyncio.sleep(0)
    assert events == ["first"]


@with_fake_clock
async def test_sleeps_and_timeouts_see_the_moved_time() -> None:
    sleeper = asyncio.create_task(asyncio.sleep(3600, "slept"))
    waiter = asyncio.create_task(asyncio.wait_for(asyncio.Event().wait(), 1800))
    await asyncio.sleep(0)
    loop().advance(3601)
    assert await sleeper == "slept"
    assert isinstance((await asyncio.gather(waiter, return_exceptions=True))[0], TimeoutError)


@with_fake_clock
async def test_real_time_goes_on() -> None:
    before = loop().time()
    await asyncio.sleep(0.001)
    assert loop().time() - before >= 0.001
