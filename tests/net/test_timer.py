"""A deadline that is moved far more often than it passes."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from ehlo.net import timer
from ehlo.net.timer import Deadline
from ehlo.testing import FakeClockLoop
from tests.support import be_quiet, pass_time, with_fake_clock


class Expiries:
    """How often a deadline has passed, and the deadline."""

    def __init__(self) -> None:
        self.count = 0
        self.loop = asyncio.get_running_loop()
        self.deadline = Deadline(self.loop, self.note)

    def note(self) -> None:
        self.count += 1

    def armed(self) -> int:
        """How many timers the loop has for it, cancelled ones not counted."""
        assert isinstance(self.loop, FakeClockLoop)
        scheduled: list[asyncio.TimerHandle] = self.loop._scheduled  # type: ignore[attr-defined]
        return sum(not handle.cancelled() for handle in scheduled)


@with_fake_clock
async def test_it_passes_once_and_not_before_its_time() -> None:
    expiries = Expiries()
    expiries.deadline.set(300)
    await pass_time(299)
    assert expiries.count == 0
    await pass_time(2)
    assert expiries.count == 1
    await pass_time(1000)
    assert expiries.count == 1


@with_fake_clock
async def test_one_that_was_never_set_never_passes() -> None:
    expiries = Expiries()
    await pass_time(1_000_000)
    assert expiries.count == 0
    assert expiries.armed() == 0


@with_fake_clock
async def test_a_later_one_replaces_an_earlier_one() -> None:
    expiries = Expiries()
    expiries.deadline.set(10)
    await pass_time(9)
    expiries.deadline.set(10)
    await pass_time(9)
    assert expiries.count == 0
    await pass_time(2)
    assert expiries.count == 1


@with_fake_clock
async def test_an_earlier_one_replaces_a_later_one() -> None:
    expiries = Expiries()
    expiries.deadline.set(300)
    expiries.deadline.set(10)
    await pass_time(11)
    assert expiries.count == 1
    await pass_time(300)
    assert expiries.count == 1


@with_fake_clock
async def test_a_cleared_one_does_not_pass_and_can_be_set_again() -> None:
    expiries = Expiries()
    expiries.deadline.set(10)
    expiries.deadline.clear()
    await pass_time(20)
    assert expiries.count == 0
    expiries.deadline.set(10)
    await pass_time(11)
    assert expiries.count == 1


@with_fake_clock
async def test_one_that_was_cleared_and_set_before_its_timer_fired_passes_at_the_new_time() -> None:
    expiries = Expiries()
    expiries.deadline.set(10)
    expiries.deadline.clear()
    expiries.deadline.set(20)
    await pass_time(11)
    assert expiries.count == 0
    await pass_time(10)
    assert expiries.count == 1


@with_fake_clock
async def test_it_can_be_set_again_from_its_own_call() -> None:
    loop = asyncio.get_running_loop()
    passed: list[float] = []

    def again() -> None:
        passed.append(loop.time())
        if len(passed) < 3:
            deadline.set(10)

    deadline = Deadline(loop, again)
    deadline.set(10)
    for _ in range(5):
        await pass_time(11)
    assert len(passed) == 3


@with_fake_clock
async def test_moving_it_costs_no_timer() -> None:
    expiries = Expiries()
    for _ in range(100):
        expiries.deadline.set(300)
    expiries.deadline.clear()
    expiries.deadline.set(400)
    assert expiries.armed() == 1
    await pass_time(301)
    assert expiries.armed() == 1
    expiries.deadline.close()


@pytest.mark.parametrize("maybe_age", [None, 0, 1])
def test_a_closed_one_leaves_no_timer_of_its_own_behind(maybe_age: float | None) -> None:
    @with_fake_clock
    async def test() -> None:
        expiries = Expiries()
        if maybe_age is not None:
            expiries.deadline.set(10)
            await pass_time(maybe_age)
        expiries.deadline.close()
        assert expiries.armed() == (maybe_age == 0)  # that of its round
        await pass_time(1)
        assert expiries.armed() == 0
        await pass_time(10)
        assert expiries.count == 0

    test()


@with_fake_clock
async def test_those_that_are_set_at_about_the_same_time_share_a_timer_and_pass_each_at_its_own() -> None:
    together = [Expiries() for _ in range(10)]
    for number, expiries in enumerate(together):
        expiries.deadline.set(10 + number)
    assert together[0].armed() == 1
    await pass_time(9.5)
    for number in range(10):
        await pass_time(1)
        assert [expiries.count for expiries in together] == [1] * (number + 1) + [0] * (9 - number)
    assert together[0].armed() == 0


@with_fake_clock
async def test_one_that_is_set_sooner_than_its_round_ends_passes_then_and_once() -> None:
    expiries = Expiries()
    expiries.deadline.set(300)
    expiries.deadline.set(0.1)
    await pass_time(0.2)
    assert expiries.count == 1
    expiries.deadline.set(300)
    await pass_time(299)
    assert expiries.count == 1
    await pass_time(2)
    assert expiries.count == 2


@with_fake_clock
async def test_one_that_has_a_timer_when_its_round_ends_keeps_it() -> None:
    expiries = Expiries()
    expiries.deadline.set(300)
    await pass_time(0.3)
    expiries.deadline.set(0.15)
    expiries.deadline.set(0.4)
    await pass_time(0.3)
    assert expiries.armed() == 1
    assert expiries.count == 0
    await pass_time(0.2)
    assert expiries.count == 1


@with_fake_clock
async def test_a_round_is_bounded_in_time_and_in_size() -> None:
    first = Expiries()
    first.deadline.set(300)
    await pass_time(timer.ROUND_TIME * 0.9)
    later = Expiries()
    later.deadline.set(300)
    assert first.armed() == 1
    await pass_time(timer.ROUND_TIME * 0.2)
    assert first.armed() == 2  # one of each
    many = [Expiries() for _ in range(timer.ROUND_SIZE + 1)]
    for expiries in many:
        expiries.deadline.set(300)
    assert first.armed() == 4
    for expiries in (first, later, *many):
        expiries.deadline.close()


def test_a_loop_that_was_closed_amid_a_round_is_forgotten() -> None:
    loop = asyncio.new_event_loop()
    deadline = Deadline(loop, lambda: None)
    deadline.set(300)
    loop.close()
    reference = weakref.ref(loop)
    del loop, deadline
    gc.collect()
    assert reference() is None


@with_fake_clock
async def test_one_that_is_set_after_it_was_closed_tells_nobody() -> None:
    expiries = Expiries()
    expiries.deadline.close()
    expiries.deadline.set(10)
    await pass_time(11)
    assert expiries.count == 0


@with_fake_clock
async def test_a_closed_one_is_in_no_reference_cycle() -> None:
    gc.collect()
    gc.disable()
    try:
        expiries = Expiries()
        expiries.deadline.set(10)
        expiries.deadline.close()
        reference = weakref.ref(expiries)
        del expiries
        await be_quiet()
        assert reference() is None
    finally:
        gc.enable()


async def test_it_passes_on_the_chosen_loop() -> None:
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    deadline = Deadline(loop, lambda: passed.set_result(loop.time()))
    due = loop.time() + 0.03
    deadline.set(0.01)
    deadline.set(0.03)
    # A loop's clock may be a millisecond coarse.
    assert await asyncio.wait_for(passed, 5) >= due - 0.005
