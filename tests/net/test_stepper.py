"""The two drivers of one coroutine: what it can tell of them, which must be nothing."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import sys
import weakref
from asyncio import _enter_task, _leave_task
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ehlo.net.stepper import Begun, Stepper
from tests.support import be_quiet, in_callback

if TYPE_CHECKING:
    from tests.harness import LoopFactory

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="outside")

Script = Callable[["Actor"], Coroutine[Any, Any, None]]
Waiting = Callable[["Actor"], Awaitable[object]]


class Actor:
    """A coroutine in a stepper, and what became of it; with ``feed`` as its transport."""

    def __init__(self, script: Script) -> None:
        self.loop = asyncio.get_running_loop()
        self.did: list[object] = []
        self.suspensions: list[bool] = []  # whether it was input that it began to wait for
        self.future: asyncio.Future[object] = self.loop.create_future()
        self.stepper = Stepper(self.loop, script(self), self._suspended)
        self.task = self.stepper.task

    def _suspended(self) -> None:
        self.suspensions.append(False)

    async def input(self) -> None:
        self.suspensions.append(True)
        await self.stepper.wait_for_input()

    async def feed(self, *and_then: Callable[[], object]) -> None:
        """Let input arrive in a callback, as transports do, and call ``and_then`` before anything else happens."""

        def arrive() -> None:
            self.stepper.input_arrived()
            for function in and_then:
                function()

        await in_callback(arrive)

    async def end(self) -> None:
        """Wait until the task has ended; raise what it raises."""
        async with asyncio.timeout(5):
            await self.task


async def started(script: Script) -> Actor:
    actor = Actor(script)
    await be_quiet()
    return actor


# From state to state


async def test_the_coroutine_begins_in_its_task_and_not_in_the_constructor() -> None:
    async def script(actor: Actor) -> None:
        actor.did.append("began")

    actor = Actor(script)
    assert actor.did == []
    await actor.end()
    assert actor.did == ["began"]


async def test_a_coroutine_that_never_waits_ends_with_its_task() -> None:
    async def script(actor: Actor) -> None:
        """Nothing to do."""

    actor = await started(script)
    assert actor.task.done()
    assert actor.suspensions == []
    assert not actor.stepper.awaits_input


async def wait_for_input_twice(actor: Actor) -> None:
    await actor.input()
    actor.did.append(1)
    await actor.input()
    actor.did.append(2)


async def test_a_coroutine_that_waits_for_input_is_parked() -> None:
    actor = await started(wait_for_input_twice)
    assert actor.stepper.is_parked
    assert actor.stepper.awaits_input
    assert actor.suspensions == [True]
    actor.task.cancel()


async def test_input_runs_a_parked_coroutine_before_it_returns() -> None:
    actor = await started(wait_for_input_twice)
    seen: list[list[object]] = []
    await actor.feed(lambda: seen.append([*actor.did, actor.stepper.is_parked]))
    assert seen == [[1, True]]
    assert actor.suspensions == [True, True]
    actor.task.cancel()


async def test_a_step_that_parks_again_does_not_wake_the_task() -> None:
    actor = await started(wait_for_input_twice)
    waits_for = actor.stepper._wake_up
    await actor.feed()
    await be_quiet()
    assert waits_for is not None
    assert actor.stepper._wake_up is waits_for
    actor.task.cancel()


async def test_the_task_ends_when_a_step_ends_the_coroutine() -> None:
    actor = await started(wait_for_input_twice)
    seen: list[list[object]] = []
    await actor.feed()
    await actor.feed(lambda: seen.append([*actor.did, actor.stepper.is_parked]))
    assert seen == [[1, 2, False]]
    await actor.end()
    assert actor.suspensions == [True, True]


async def wait_for_input_and_then(waiting: Waiting, actor: Actor) -> None:
    await actor.input()
    try:
        actor.did.append(await waiting(actor))
    except BaseException as error:
        actor.did.append(type(error))
        raise
    await actor.input()
    actor.did.append("end")


async def wait_for_the_future(actor: Actor) -> object:
    return await actor.future


def then(waiting: Waiting) -> Script:
    return functools.partial(wait_for_input_and_then, waiting)


async def test_a_step_hands_what_else_the_coroutine_waits_for_to_the_task() -> None:
    actor = await started(then(wait_for_the_future))
    await actor.feed()
    await be_quiet()
    assert actor.suspensions == [True, False]
    assert not actor.stepper.awaits_input
    actor.future.set_result("result")
    await be_quiet()
    assert actor.did == ["result"]
    assert actor.stepper.is_parked
    await actor.feed()
    await actor.end()
    assert actor.did == ["result", "end"]


async def test_a_future_may_be_done_before_the_task_takes_it_over() -> None:
    actor = await started(then(wait_for_the_future))
    await actor.feed(lambda: actor.future.set_result("result"))
    await be_quiet()
    assert actor.did == ["result"]
    actor.task.cancel()


async def test_the_failure_of_what_a_step_handed_over_arrives_in_the_coroutine() -> None:
    actor = await started(then(wait_for_the_future))
    await actor.feed(lambda: actor.future.set_exception(LookupError))
    with pytest.raises(LookupError):
        await actor.end()
    assert actor.did == [LookupError]


async def test_a_step_may_hand_over_a_sleep_of_no_time() -> None:
    async def sleep(actor: Actor) -> None:
        await asyncio.sleep(0)

    actor = await started(then(sleep))
    await actor.feed(lambda: actor.did.append("step is over"))
    await be_quiet()
    assert actor.did == ["step is over", None]
    assert actor.suspensions == [True, False, True]
    actor.task.cancel()


async def test_the_task_runs_the_coroutine_from_one_wait_to_the_next() -> None:
    async def script(actor: Actor) -> None:
        await asyncio.sleep(0)
        await actor.future
        await actor.input()

    actor = await started(script)
    actor.future.set_result(None)
    await be_quiet()
    assert actor.suspensions == [False, False, True]
    await actor.feed()
    await actor.end()


async def test_input_does_not_disturb_a_coroutine_that_waits_for_something_else() -> None:
    actor = await started(then(wait_for_the_future))
    await actor.feed()
    await actor.feed()
    await be_quiet()
    await actor.feed()
    assert actor.did == []
    actor.future.set_result("result")
    await be_quiet()
    assert actor.did == ["result"]
    assert actor.stepper.is_parked
    actor.task.cancel()


async def test_input_from_inside_another_task_wakes_the_task_instead() -> None:
    actor = await started(wait_for_input_twice)
    actor.stepper.input_arrived()
    actor.stepper.input_arrived()
    assert actor.did == []
    await be_quiet()
    assert actor.did == [1]
    assert actor.stepper.is_parked
    actor.stepper.input_arrived()
    await actor.end()


async def test_input_that_a_step_itself_brings_does_not_step_into_the_step() -> None:
    async def script(actor: Actor) -> None:
        await actor.input()
        actor.stepper.input_arrived()
        actor.did.append("undisturbed")
        await actor.input()

    actor = await started(script)
    await actor.feed()
    assert actor.did == ["undisturbed"]
    assert actor.stepper.is_parked
    actor.task.cancel()


async def test_input_after_the_end_is_nobodys() -> None:
    actor = await started(wait_for_input_twice)
    await actor.feed()
    await actor.feed(actor.stepper.input_arrived)
    await actor.end()
    await actor.feed()
    assert actor.did == [1, 2]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin at once from Python 3.12 on")
async def test_a_loop_whose_tasks_begin_at_once_makes_no_difference() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    actor = Actor(wait_for_input_twice)
    loop.set_task_factory(None)
    assert actor.did == []
    await be_quiet()
    await actor.feed()
    await actor.feed()
    await actor.end()
    assert actor.did == [1, 2]


# Exceptions


async def fail_at_once(actor: Actor) -> None:
    raise LookupError


async def fail_after_input(actor: Actor) -> None:
    await actor.input()
    raise LookupError


async def fail_after_a_future(actor: Actor) -> None:
    await actor.input()
    actor.future.set_result(None)
    await asyncio.sleep(0)
    raise LookupError


@pytest.mark.parametrize("script", [fail_at_once, fail_after_input, fail_after_a_future])
async def test_the_task_fails_as_the_coroutine_does(script: Script) -> None:
    actor = await started(script)
    await actor.feed()
    with pytest.raises(LookupError):
        await actor.end()


async def test_a_failure_in_a_step_does_not_reach_whoever_brings_the_input() -> None:
    actor = await started(fail_after_input)
    await actor.feed(lambda: actor.did.append(actor.task.done()))
    assert actor.did == [False]
    with pytest.raises(LookupError):
        await actor.end()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("is_stepped", [False, True])
def test_an_interrupt_ends_the_loop_as_it_does_from_any_task(
    error: type[BaseException], is_stepped: bool, loop_factory: LoopFactory
) -> None:
    async def interrupt(actor: Actor) -> None:
        if is_stepped:
            await actor.input()
        raise error

    async def main() -> None:
        actor = await started(interrupt)
        await actor.feed()
        await be_quiet()
        pytest.fail("the loop went on")

    with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(error):
        runner.run(main())


# Cancellation


async def cancelled(actor: Actor) -> None:
    with pytest.raises(asyncio.CancelledError):
        await actor.end()
    assert actor.task.cancelled()


async def test_a_cancellation_arrives_where_the_coroutine_waits_for_input() -> None:
    async def script(actor: Actor) -> None:
        try:
            await actor.input()
        except asyncio.CancelledError as error:
            actor.did.append(error.args)
            raise

    actor = await started(script)
    actor.task.cancel("enough")
    await cancelled(actor)
    assert actor.did == [("enough",)]


async def test_a_coroutine_may_survive_a_cancellation_of_its_wait_for_input() -> None:
    async def script(actor: Actor) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await actor.input()
        actor.task.uncancel()
        await wait_for_input_twice(actor)

    actor = await started(script)
    actor.task.cancel()
    await be_quiet()
    assert actor.suspensions == [True, True]
    await actor.feed()
    await actor.feed()
    await actor.end()
    assert actor.did == [1, 2]


async def test_a_coroutine_that_is_cancelled_after_a_step_is_cancelled_where_it_waits_now() -> None:
    actor = await started(wait_for_input_twice)
    await actor.feed()
    actor.task.cancel()
    await cancelled(actor)
    assert actor.did == [1]


async def test_a_cancellation_before_the_task_took_a_future_over_cancels_the_future() -> None:
    actor = await started(then(wait_for_the_future))
    await actor.feed(functools.partial(actor.task.cancel, "enough"))
    await cancelled(actor)
    assert actor.did == [asyncio.CancelledError]
    assert actor.future.cancelled()


async def test_a_cancellation_after_the_task_took_a_future_over_cancels_the_future() -> None:
    actor = await started(then(wait_for_the_future))
    await actor.feed()
    await be_quiet()
    actor.task.cancel()
    await cancelled(actor)
    assert actor.did == [asyncio.CancelledError]
    assert actor.future.cancelled()


async def test_a_cancellation_is_not_lost_when_the_future_is_done_already() -> None:
    actor = await started(then(wait_for_the_future))
    await actor.feed(lambda: actor.future.set_result("result"), actor.task.cancel)
    await cancelled(actor)
    assert actor.did == [asyncio.CancelledError]


async def test_a_cancellation_before_the_task_took_a_sleep_of_no_time_over_is_not_lost() -> None:
    async def sleep(actor: Actor) -> None:
        await asyncio.sleep(0)

    actor = await started(then(sleep))
    await actor.feed(actor.task.cancel)
    await cancelled(actor)
    assert actor.did == [asyncio.CancelledError]


@pytest.mark.parametrize("is_taken_over", [False, True])
async def test_a_cancellation_cancels_the_child_that_the_coroutine_waits_for(is_taken_over: bool) -> None:
    async def child(actor: Actor) -> None:
        try:
            await actor.future
        finally:
            actor.did.append("child ended")

    async def wait_for_the_child(actor: Actor) -> None:
        await asyncio.create_task(child(actor))

    actor = await started(then(wait_for_the_child))
    if is_taken_over:
        await actor.feed()
        await be_quiet()
        actor.task.cancel()
    else:
        # A first turn, so that the child has begun and can tell of its end.
        await actor.feed(lambda: actor.loop.call_soon(actor.task.cancel))
    await cancelled(actor)
    assert actor.did == ["child ended", asyncio.CancelledError]


async def test_a_child_that_ignores_the_cancellation_gives_its_result_as_with_any_task() -> None:
    async def child(actor: Actor) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await actor.future
        return "result"

    async def wait_for_the_child(actor: Actor) -> object:
        task = asyncio.create_task(child(actor))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await task

    actor = await started(then(wait_for_the_child))
    await actor.feed()
    await be_quiet()
    actor.task.cancel()
    await be_quiet()
    assert actor.did == ["result"]
    assert actor.stepper.is_parked
    actor.task.cancel()


async def test_a_cancellation_after_input_from_inside_another_task_is_not_lost() -> None:
    actor = await started(wait_for_input_twice)
    actor.stepper.input_arrived()
    actor.task.cancel()
    await cancelled(actor)
    assert actor.did == []


async def test_input_does_not_overtake_a_cancellation() -> None:
    async def script(actor: Actor) -> None:
        try:
            await actor.input()
            actor.did.append("input")
        except asyncio.CancelledError:
            actor.did.append("cancelled")
        await asyncio.sleep(0)

    actor = await started(script)

    def cancel_and_feed() -> None:
        actor.task.cancel()
        actor.stepper.input_arrived()

    await in_callback(cancel_and_feed)
    await actor.end()
    assert actor.did == ["cancelled"]


async def test_a_second_cancellation_arrives_as_well() -> None:
    async def script(actor: Actor) -> None:
        for wait in (actor.input, actor.input):
            try:
                await wait()
            except asyncio.CancelledError:
                actor.did.append("cancelled")

    actor = await started(script)
    actor.task.cancel()
    await be_quiet()
    actor.task.cancel()
    await actor.end()
    assert actor.did == ["cancelled", "cancelled"]


async def test_a_cancellation_after_the_last_step_comes_too_late() -> None:
    async def script(actor: Actor) -> None:
        await actor.input()

    actor = await started(script)
    await actor.feed(actor.task.cancel)
    await actor.end()


async def test_a_failure_in_the_last_step_outlives_a_cancellation() -> None:
    actor = await started(fail_after_input)
    await actor.feed(actor.task.cancel)
    with pytest.raises(LookupError):
        await actor.end()


async def test_a_coroutine_that_is_cancelled_before_it_began_begins_and_can_clean_up() -> None:
    async def script(actor: Actor) -> None:
        try:
            await actor.input()
        except asyncio.CancelledError as error:
            actor.did.append((error.args, actor.task.cancelling()))
            raise

    actor = Actor(script)
    actor.task.cancel("enough")
    await cancelled(actor)
    assert actor.did == [(("enough",), 1)]


async def test_a_coroutine_that_is_cancelled_before_it_began_may_end_without_a_wait() -> None:
    async def script(actor: Actor) -> None:
        actor.did.append("began")

    actor = Actor(script)
    actor.task.cancel()
    await be_quiet()
    assert actor.did == ["began"]
    assert actor.task.done()


# What the code inside can see


async def test_the_current_task_is_the_same_in_both_drivers() -> None:
    async def script(actor: Actor) -> None:
        actor.did.append(asyncio.current_task())
        await actor.input()
        actor.did.append(asyncio.current_task())
        await asyncio.sleep(0)
        actor.did.append(asyncio.current_task())

    actor = await started(script)
    outside: list[object] = []
    await actor.feed(lambda: outside.append(asyncio.current_task()))
    await actor.end()
    assert actor.did == [actor.task] * 3
    assert outside == [None]


async def test_context_variables_live_in_the_task_whoever_runs_it() -> None:
    async def script(actor: Actor) -> None:
        place.set("set in the task")
        await actor.input()
        actor.did.append(place.get())
        place.set("set in a step")
        await asyncio.sleep(0)
        actor.did.append(place.get())
        await actor.input()
        actor.did.append(place.get())

    place.set("test")
    actor = await started(script)
    place.set("set outside")
    seen: list[str] = []
    await actor.feed(lambda: seen.append(place.get()))
    await be_quiet()
    await actor.feed()
    await actor.end()
    assert actor.did == ["set in the task", "set in a step", "set in a step"]
    assert seen == ["set outside"]


async def test_the_context_is_that_of_whoever_made_the_stepper() -> None:
    async def script(actor: Actor) -> None:
        actor.did.append(place.get())

    place.set("maker")
    actor = Actor(script)
    place.set("later")
    await actor.end()
    assert actor.did == ["maker"]


async def test_a_timeout_that_began_in_a_step_expires_later() -> None:
    async def script(actor: Actor) -> None:
        await actor.input()
        try:
            async with asyncio.timeout(0.01):
                await actor.input()
                actor.did.append("stepped")
                await actor.input()
        except TimeoutError:
            actor.did.append(actor.task.cancelling())
        await actor.input()

    actor = await started(script)
    await actor.feed()
    await actor.feed()
    await asyncio.sleep(0.02)
    assert actor.did == ["stepped", 0]
    assert actor.stepper.is_parked
    await actor.feed()
    await actor.end()


async def test_a_timeout_that_began_in_a_step_expires_while_something_else_is_awaited() -> None:
    async def script(actor: Actor) -> None:
        await actor.input()
        try:
            async with asyncio.timeout(0.01):
                await actor.future
        except TimeoutError:
            actor.did.append(actor.future.cancelled())
        await actor.input()

    actor = await started(script)
    await actor.feed()
    await asyncio.sleep(0.02)
    assert actor.did == [True]
    await actor.feed()
    await actor.end()


async def test_input_in_the_moment_in_which_a_timeout_expires_leaves_no_stray_cancellation() -> None:
    async def script(actor: Actor) -> None:
        try:
            async with asyncio.timeout(None) as timeout:
                actor.did.append(timeout)
                await actor.input()
        except TimeoutError:
            actor.did.append("expired")
        await wait_for_input_twice(actor)

    actor = await started(script)
    (timeout,) = actor.did
    assert isinstance(timeout, asyncio.Timeout)
    expired = actor.loop.create_future()

    def look() -> None:
        if actor.task.cancelling():
            actor.stepper.input_arrived()
            expired.set_result(None)
        else:
            actor.loop.call_soon(look)

    timeout.reschedule(actor.loop.time())
    actor.loop.call_soon(look)
    await expired
    await be_quiet()
    await actor.feed()
    await actor.feed()
    await actor.end()
    assert actor.did == [timeout, "expired", 1, 2]


# A hook's own tasks


async def test_another_task_may_wait_for_the_input() -> None:
    async def child(actor: Actor) -> None:
        await actor.input()
        actor.did.append("child")

    async def wait_for_the_child(actor: Actor) -> None:
        await asyncio.create_task(child(actor))

    actor = await started(then(wait_for_the_child))
    await actor.feed()
    await be_quiet()
    assert (actor.stepper.awaits_input, actor.stepper.is_parked) == (True, False)
    await actor.feed(actor.stepper.input_arrived)
    await be_quiet()
    assert actor.did == ["child", None]
    assert actor.stepper.is_parked
    await actor.feed()
    await actor.end()


async def test_another_task_that_waits_for_the_input_may_be_cancelled() -> None:
    async def wait_with_a_timeout(actor: Actor) -> None:
        task = asyncio.create_task(actor.input())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    actor = await started(then(wait_with_a_timeout))
    await actor.feed()
    await be_quiet()
    assert actor.did == [None]
    assert actor.stepper.is_parked
    await actor.feed()
    await actor.end()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin at once from Python 3.12 on")
async def test_another_task_may_wait_for_the_input_that_begins_at_once_within_a_step() -> None:
    async def wait_for_the_child(actor: Actor) -> None:
        await asyncio.eager_task_factory(actor.loop, actor.input())  # type: ignore[attr-defined,unused-ignore]

    actor = await started(then(wait_for_the_child))
    await actor.feed()
    await actor.feed()
    await be_quiet()
    assert actor.did == [None]
    await actor.feed()
    await actor.end()


# A coroutine that begins before it is awaited


async def work(did: list[str], future: asyncio.Future[str]) -> None:
    did.append("began")
    try:
        did.append(await future)
        await asyncio.sleep(0)
    finally:
        did.append("ended")


async def test_a_coroutine_can_begin_at_once_and_go_on_when_it_is_awaited() -> None:
    did: list[str] = []
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    begun = Begun(work(did, future))
    assert did == ["began"]
    future.set_result("result")
    await be_quiet()
    assert did == ["began"]
    await begun
    assert did == ["began", "result", "ended"]


async def test_the_failure_of_what_it_waits_for_arrives_in_a_coroutine_that_began() -> None:
    did: list[str] = []
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    begun = Begun(work(did, future))
    future.set_exception(LookupError())
    with pytest.raises(LookupError):
        await begun
    assert did == ["began", "ended"]


async def test_a_coroutine_that_began_is_cancelled_with_whoever_waits_for_it() -> None:
    async def wait() -> None:
        await begun

    did: list[str] = []
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    begun = Begun(work(did, future))
    waiting = asyncio.create_task(wait())
    await be_quiet()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert future.cancelled()
    assert did == ["began", "ended"]


async def test_a_coroutine_that_began_can_be_dropped() -> None:
    did: list[str] = []
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    Begun(work(did, future)).drop()
    assert did == ["began", "ended"]
    assert future.cancelled()


# Nothing is left behind


async def end_in_the_task(actor: Actor) -> None:
    await asyncio.sleep(0)


async def end_in_a_step(actor: Actor) -> None:
    await actor.input()


async def end_after_both(actor: Actor) -> None:
    await actor.input()
    await asyncio.sleep(0)
    await actor.input()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            await actor.input()
    await asyncio.create_task(asyncio.sleep(0))


class Owner(Actor):
    """Holds the stepper, and the stepper holds its methods: as a connection does."""


@pytest.mark.parametrize("script", [end_in_the_task, end_in_a_step, end_after_both])
async def test_a_coroutine_that_ended_leaves_no_reference_cycle(script: Script) -> None:
    gc.collect()
    gc.disable()
    try:
        owner = Owner(script)
        reference = weakref.ref(owner)
        stepper = weakref.ref(owner.task)
        await be_quiet()
        await owner.feed()
        await be_quiet()
        await owner.feed()
        await be_quiet()
        assert owner.task.done()
        del owner
        assert reference() is None
        assert stepper() is None
    finally:
        gc.enable()


# The same as in a plain task


class Runner(Protocol):
    """Runs a player's coroutine, one way or the other."""

    task: asyncio.Task[None]

    def wait_for_input(self) -> Awaitable[None]:
        """Return after ``input_arrived``; for the player's own coroutine."""

    def input_arrived(self) -> bool:
        """Whether the coroutine needs a turn of the loop to run to where a step would have run it."""

    def input_arrived_in_a_task(self) -> None:
        """The same, when another task is current."""


class Stepped:
    """By the stepper."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> None:
        self.stepper = Stepper(loop, coroutine, lambda: None)
        self.task = self.stepper.task
        self.loop = loop

    def wait_for_input(self) -> Awaitable[None]:
        return self.stepper.wait_for_input()

    def input_arrived(self) -> bool:
        self.stepper.input_arrived()
        return False

    def input_arrived_in_a_task(self) -> None:
        other: Any = self.other()
        _enter_task(self.loop, other)
        try:
            self.stepper.input_arrived()
        finally:
            _leave_task(self.loop, other)

    class other:  # noqa: N801 - only has to be current
        """Stands for another task."""


class Plain:
    """By a task that waits for a future: what the stepper must be equal to."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> None:
        self.maybe_waiter: asyncio.Future[None] | None = None
        self.loop = loop
        self.task = loop.create_task(coroutine)

    async def wait_for_input(self) -> None:
        self.maybe_waiter = self.loop.create_future()
        try:
            await self.maybe_waiter
        finally:
            self.maybe_waiter = None

    def input_arrived(self) -> bool:
        if self.maybe_waiter is None or self.maybe_waiter.done():
            return False
        self.maybe_waiter.set_result(None)
        return True

    def input_arrived_in_a_task(self) -> None:
        self.input_arrived()


class Player:
    """Plays a list of acts in a runner while the events of another list happen; ``trace`` is what it saw."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        runner: Callable[[asyncio.AbstractEventLoop, Coroutine[Any, Any, None]], Runner],
        acts: Sequence[str],
    ) -> None:
        self.loop = loop
        self.trace: list[str] = []
        self.unread = 0
        self.futures = {name: loop.create_future() for name in "ab"}
        self.runner = runner(loop, self.play(acts))
        self.stubborn_children: list[asyncio.Task[object]] = []

    async def play(self, acts: Sequence[str]) -> None:
        for number, act in enumerate(acts):
            try:
                outcome = await self.act(act)
            except asyncio.CancelledError as error:
                outcome = f"cancelled, {error.args}, {self.runner.task.uncancel()} more"
                if "!" in act:
                    raise
            except LookupError:
                outcome = "failed"
            self.trace.append(f"{number} {act}: {outcome}, {self.unread} unread")
            assert asyncio.current_task() is self.runner.task

    async def act(self, act: str) -> object:
        name = act.rstrip("!")
        if name == "read":
            while not self.unread:
                await self.runner.wait_for_input()
            self.unread -= 1
            return "read"
        if name == "turn":
            await asyncio.sleep(0)
            return "turned"
        if name == "child":
            return await asyncio.create_task(self.wait("a"))
        if name == "stubborn child":
            begun = self.loop.create_future()
            self.stubborn_children.append(self.loop.create_task(self.wait_anyhow("a", begun)))
            await begun  # it matters whether a cancellation comes before its first turn or after it
            return await self.stubborn_children[-1]
        if name == "both":
            return await asyncio.gather(*map(self.wait, "ab"), return_exceptions=True)
        if name == "shield":
            return await asyncio.shield(self.futures["b"])
        if name == "fail":
            raise ZeroDivisionError
        return await self.wait(name)

    async def wait(self, name: str) -> object:
        future = self.futures[name]
        if future.done():
            future = self.futures[name] = self.loop.create_future()
        return await future

    async def wait_anyhow(self, name: str, begun: asyncio.Future[None]) -> object:
        if not begun.done():
            begun.set_result(None)
        with contextlib.suppress(asyncio.CancelledError):
            return await self.wait(name)
        return "stubborn"

    def happen(self, event: str) -> int:
        """Let something happen; how many turns of the loop must follow it."""
        if event == "input":
            self.unread += 1
            return 1 if self.runner.input_arrived() else 0
        if event == "input in a task":
            self.unread += 1
            self.runner.input_arrived_in_a_task()
        elif event == "cancel":
            self.runner.task.cancel("enough")
        elif event != "pause":
            name, outcome = event.split()
            future = self.futures[name]
            if not future.done() and outcome == "done":
                future.set_result(name)
            elif not future.done():
                future.set_exception(LookupError())
                future.exception()
        # Long enough for all that can be done: a hand-over takes the task one turn more than a plain one.
        return 10 if event == "pause" else 0

    def watch(self, events: Sequence[str]) -> Generator[None, None, None]:
        """Let events happen, each in a callback; yields between turns of the loop."""
        for event in events:
            for _ in range(self.happen(event)):
                yield

    async def run(self, events: Sequence[str]) -> tuple[list[str], str]:
        watch = self.watch(events)
        over = self.loop.create_future()

        def turn() -> None:
            try:
                next(watch)
            except StopIteration:
                over.set_result(None)
            except BaseException as error:  # noqa: BLE001 - raised below
                over.set_exception(error)
            else:
                self.loop.call_soon(turn)

        await be_quiet()
        self.loop.call_soon(turn)
        await over
        await be_quiet()
        task = self.runner.task
        is_over = task.done()
        while not task.done():
            task.cancel()
            await be_quiet()
        ending = "cancelled" if task.cancelled() else repr(task.exception())
        for child in self.stubborn_children:
            child.cancel()
        return self.trace, ending if is_over else "goes on"


ACTS = ["read", "turn", "a", "b", "child", "stubborn child", "both", "shield", "fail", "read!", "a!", "turn!", "child!"]
EVENTS = ["input", "input in a task", "cancel", "a done", "b done", "a failed", "pause"]


@given(
    acts=st.lists(st.sampled_from(ACTS), max_size=8),
    events=st.lists(st.sampled_from(EVENTS), max_size=20),
)
@example(acts=["read", "a"], events=["cancel", "input", "pause", "a done", "pause"])
@example(acts=["read", "child", "read"], events=["input", "cancel", "pause", "input", "pause"])
@example(acts=["read", "stubborn child", "read"], events=["input", "pause", "cancel", "input", "pause"])
@example(acts=["read", "read", "stubborn child"], events=["input", "a done", "input", "input"])
@example(acts=["read", "turn", "read"], events=["input", "cancel", "pause", "input in a task", "cancel"])
async def test_whatever_happens_the_coroutine_sees_what_it_would_see_in_a_plain_task(
    acts: list[str], events: list[str]
) -> None:
    loop = asyncio.get_running_loop()
    stepped = await Player(loop, Stepped, acts).run(events)
    plain = await Player(loop, Plain, acts).run(events)
    assert stepped == plain
