from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import FrameSummary, StackSummary
from typing import TYPE_CHECKING, Any, cast

import pytest

import ehlo.net.watchdog
import tests.harness
from ehlo.net.watchdog import ASKED_EVERY, Delay, Nap, Pulse, Stall, Subscription, Watchdog, _place, gil_wait

if TYPE_CHECKING:
    from tests.harness import LoopFactory

# Short, so that the tests are; not so short that a busy machine looks like a blocked loop.
THRESHOLD = 0.1


class Listener:
    """Collects stalls, and lets ``block`` end as soon as it was noticed itself: however busy the machine."""

    def __init__(self) -> None:
        self.stalls: list[Stall] = []
        self.noticed = threading.Event()

    def __call__(self, stall: Stall) -> None:
        self.stalls.append(stall)
        if "block" in names(stall):
            self.noticed.set()


def names(stall: Stall) -> list[str]:
    return [frame.name for frame in stall.stack]


def block(noticed: threading.Event, seconds_more: float = 0) -> None:
    assert noticed.wait(10), "nobody noticed"
    time.sleep(seconds_more)


def hold_the_gil(length: int) -> None:
    re.match(r"(a+)+$", "a" * length + "b")


@functools.cache
def length_to_hold_the_gil() -> int:
    """How long a string keeps ``hold_the_gil`` busy for 0.12 to 0.24 seconds on this machine."""
    for length in range(16, 40):
        start = time.perf_counter()
        hold_the_gil(length)
        if time.perf_counter() - start > 0.12:
            return length
    raise AssertionError("this machine does not backtrack")


def describe_nothing(_task: asyncio.Task[Any] | None) -> str:
    return ""


def watch(
    loop: asyncio.AbstractEventLoop,
    on_stall: Callable[[Stall], None],
    threshold: float = THRESHOLD,
    describe: Callable[[asyncio.Task[Any] | None], str] = describe_nothing,
) -> Subscription:
    return Watchdog.watch(loop, threshold=threshold, on_stall=on_stall, describe=describe)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - it is another thread that makes it true
            await asyncio.sleep(0.005)


def watchdog_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ehlo-watchdog"]


def messages(caplog: pytest.LogCaptureFixture, function: str) -> list[str]:
    """What was logged about ``function``; a busy machine may have stalled the loop elsewhere as well."""
    assert {record.name for record in caplog.records} <= {"ehlo.watchdog", "asyncio"}
    return [message for message in caplog.messages if f" {function} " in message.splitlines()[0]]


@pytest.fixture(autouse=True)
def _no_watchdog_is_left() -> Iterator[None]:
    yield
    assert watchdog_threads() == []


# What naps and answers prove


def test_a_nap_that_ends_in_time_has_no_delay() -> None:
    nap = Nap(due=10.0, woke=10.0, gil_wait=0.0)
    assert (nap.held, nap.unseen) == (0, 0)


def test_a_nap_that_is_cut_short_has_no_delay() -> None:
    nap = Nap(due=10.0, woke=9.0, gil_wait=0.005)
    assert (nap.held, nap.unseen) == (0, 0)


def test_a_delay_without_a_wait_for_the_gil_is_unseen() -> None:
    nap = Nap(due=10.0, woke=15.0, gil_wait=0.0)
    assert (nap.held, nap.unseen) == (0, 5)


def test_a_delay_by_the_gil_is_held() -> None:
    nap = Nap(due=10.0, woke=15.0, gil_wait=4.0)
    assert (nap.held, nap.unseen) == (4, 1)


def test_no_more_is_held_than_the_delay() -> None:
    assert Nap(due=10.0, woke=15.0, gil_wait=7.0).held == 5


def test_a_clock_that_goes_backwards_holds_nothing() -> None:
    assert Nap(due=10.0, woke=15.0, gil_wait=-7.0).held == 0


def on_time(woke: float) -> Nap:
    return Nap(due=woke, woke=woke, gil_wait=0.0)


def test_time_without_an_answer_adds_up() -> None:
    pulse = Pulse(0.0)
    pulse.unanswered(on_time(1.0))
    pulse.unanswered(on_time(2.0))
    assert 2.0 - pulse.since == 2
    assert pulse.held == 0


def test_a_process_that_was_stopped_proves_nothing() -> None:
    pulse = Pulse(0.0)
    pulse.unanswered(on_time(1.0))
    pulse.unanswered(Nap(due=2.0, woke=100.0, gil_wait=0.0))
    assert 100.0 - pulse.since == 2


def test_time_that_the_gil_was_held_counts() -> None:
    pulse = Pulse(0.0)
    pulse.unanswered(Nap(due=1.0, woke=100.0, gil_wait=99.0))
    assert 100.0 - pulse.since == 100
    assert pulse.held == 99


def test_a_gil_taken_after_the_answer_counts_from_then() -> None:
    pulse = Pulse(0.0)
    assert pulse.answered(Nap(due=1.0, woke=10.0, gil_wait=9.0), at=0.25) == Delay(0.25, 0)
    assert pulse.delay(10.0) == Delay(9, 9)


def test_a_gil_given_back_before_the_answer_belongs_to_the_answer() -> None:
    pulse = Pulse(0.0)
    assert pulse.answered(Nap(due=1.0, woke=10.0, gil_wait=9.0), at=9.5) == Delay(9.5, 8.5)
    assert pulse.delay(10.0).seconds <= 0.5


def test_a_stop_after_the_answer_counts_nothing() -> None:
    pulse = Pulse(0.0)
    assert pulse.answered(Nap(due=1.0, woke=10.0, gil_wait=0.0), at=0.25) == Delay(0.25, 0)
    assert pulse.delay(10.0) == Delay(0, 0)


def test_an_answer_after_a_stop_is_not_overdue_by_the_stop() -> None:
    pulse = Pulse(0.0)
    pulse.unanswered(on_time(5.0))
    assert pulse.answered(Nap(due=6.0, woke=106.0, gil_wait=0.0), at=105.5) == Delay(5.5, 0)


def test_an_answer_is_never_overdue_by_less_than_nothing() -> None:
    assert Pulse(0.0).answered(Nap(due=1.0, woke=100.0, gil_wait=0.0), at=50.0) == Delay(0, 0)


def test_context_switches_tell_the_wait_for_the_gil() -> None:
    assert gil_wait((10, 0.0), (30, 9.0)) == pytest.approx(20 * ASKED_EVERY)


def test_the_processor_time_tells_it_where_switches_are_not_counted() -> None:
    assert gil_wait((0, 1.0), (0, 3.5)) == 2.5


# The line to blame

STANDARD = str(Path(os.__file__).parent / "socket.py")
PACKAGE = str(Path(os.__file__).parent / "site-packages" / "requests" / "api.py")


def stack(*filenames: str) -> StackSummary:
    frames = [FrameSummary(name, line, "function", lookup_line=False) for line, name in enumerate(filenames, 1)]
    return StackSummary.from_list(frames)


@pytest.mark.parametrize(
    ("filenames", "place"),
    [
        (["/srv/a.py", "/srv/b.py"], "/srv/b.py:2 function"),
        (["/srv/a.py", PACKAGE, STANDARD], "/srv/a.py:1 function"),
        ([PACKAGE, STANDARD], f"{PACKAGE}:1 function"),
        ([STANDARD, "<frozen importlib._bootstrap>"], "<frozen importlib._bootstrap>:2 function"),
        ([STANDARD, "<stdin>"], "<stdin>:2 function"),
        ([], "Code without a Python frame"),
    ],
)
def test_the_innermost_line_that_is_of_no_library_is_to_blame(filenames: list[str], place: str) -> None:
    assert _place(stack(*filenames), []) == place


def test_other_threads_are_to_blame_if_the_loop_runs_library_code_only() -> None:
    others = [stack("/srv/main.py"), stack("/srv/hook.py", STANDARD), stack(STANDARD, PACKAGE)]
    assert _place(stack(STANDARD), others) == "/srv/hook.py:1 function or /srv/main.py:1 function (in another thread)"


def test_other_threads_are_not_to_blame_if_the_loop_runs_a_handler() -> None:
    assert _place(stack("/srv/handler.py"), [stack("/srv/main.py")]) == "/srv/handler.py:1 function"


def test_idle_threads_are_not_to_blame() -> None:
    assert _place(stack(PACKAGE), [stack(STANDARD)]) == f"{PACKAGE}:1 function"


# Stalls


async def test_a_blocked_loop_is_logged_once_and_once_more_when_it_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    subscription = watch(asyncio.get_running_loop(), listener, describe=lambda _: "session 4f2a, verb RCPT")
    block(listener.noticed, seconds_more=THRESHOLD)
    await until(lambda: len(messages(caplog, "block")) == 2)
    subscription.close()
    begun, ended = messages(caplog, "block")
    here = re.escape(f"{__file__}:{block.__code__.co_firstlineno + 1} block")
    assert re.match(here + r" blocks the event loop, \d\.\d\d s so far \(session 4f2a, verb RCPT\)\n", begun)
    assert 'assert noticed.wait(10), "nobody noticed"' in begun
    length = re.fullmatch(here + r" blocked the event loop for (\d\.\d\d) s in all", ended)
    assert length is not None
    assert float(length[1]) > 1.5 * THRESHOLD
    assert {record.levelno for record in caplog.records if record.name == "ehlo.watchdog"} == {logging.WARNING}


async def test_a_stall_is_told_with_length_stack_and_task() -> None:
    listener = Listener()
    task = asyncio.current_task()
    assert task is not None
    task.set_name("the one")
    subscription = watch(asyncio.get_running_loop(), listener)
    await until(lambda: subscription._watchdog._answered)  # the loop's own frames are known
    block(listener.noticed)
    subscription.close()
    stall = listener.stalls[-1]
    assert THRESHOLD <= stall.seconds < 10
    assert (stall.task, stall.held_gil) == ("the one", False)
    assert stall.place == f"{__file__}:{block.__code__.co_firstlineno + 1} block"
    inner = names(stall).index("block")
    assert names(stall)[inner - 1] == test_a_stall_is_told_with_length_stack_and_task.__name__
    assert names(stall)[inner + 1] == "wait"  # of the threading module, so not to blame
    outer = {frame.filename for frame in stall.stack[:inner]}
    assert outer <= {__file__, tests.harness.__file__}, "frames of the loop's own"


async def test_a_callback_that_blocks_belongs_to_no_task(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    described: list[asyncio.Task[Any] | None] = []

    def describe(task: asyncio.Task[Any] | None) -> str:
        described.append(task)
        return ""

    loop = asyncio.get_running_loop()
    subscription = watch(loop, listener, describe=describe)
    loop.call_soon(block, listener.noticed)
    await until(lambda: len(messages(caplog, "block")) == 2)
    subscription.close()
    assert described[-1] is None
    assert listener.stalls[-1].task is None
    assert "(no task)" in messages(caplog, "block")[0]


async def test_a_stall_that_holds_the_gil_is_told_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    length = length_to_hold_the_gil()
    stalls: list[Stall] = []
    subscription = watch(asyncio.get_running_loop(), stalls.append, THRESHOLD / 2)
    await until(lambda: subscription._watchdog._answered)
    async with asyncio.timeout(20):
        while not messages(caplog, "hold_the_gil"):  # more than once only if the machine is very busy
            start = time.monotonic()
            hold_the_gil(length)
            seconds = time.monotonic() - start
            await asyncio.sleep(0.05)
    await until(lambda: len(messages(caplog, "hold_the_gil")) == 2)
    subscription.close()
    (stall,) = [stall for stall in stalls if "hold_the_gil" in names(stall)]
    assert stall.held_gil
    assert seconds / 2 < stall.seconds < seconds + THRESHOLD
    assert "with the GIL held" in messages(caplog, "hold_the_gil")[0]


async def test_a_gil_held_by_another_thread_is_its_stall_too() -> None:
    length = length_to_hold_the_gil()
    await asyncio.to_thread(int)  # the thread is there; else the loop would be blocked while it starts it
    stalls: list[Stall] = []
    subscription = watch(asyncio.get_running_loop(), stalls.append, THRESHOLD / 2)
    await until(lambda: subscription._watchdog._answered)
    async with asyncio.timeout(20):
        while not any(stall.held_gil for stall in stalls):  # more than once only if the machine is very busy
            await asyncio.to_thread(hold_the_gil, length)
            await asyncio.sleep(0.05)
    subscription.close()


async def test_each_subscriber_has_its_own_threshold_and_the_log_tells_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    quick, slow, never = Listener(), Listener(), Listener()
    subscriptions = [
        watch(loop, quick, THRESHOLD),
        # The session is this one's; the others count the stall as well.
        watch(loop, slow, 2 * THRESHOLD, describe=lambda _: "session 1, verb DATA"),
        watch(loop, never, 1000 * THRESHOLD),
    ]
    block(slow.noticed)
    await until(lambda: len(messages(caplog, "block")) == 2)
    for subscription in subscriptions:
        subscription.close()
    assert [[*map(names, one.stalls)].count(names(slow.stalls[-1])) for one in (quick, slow, never)] == [1, 1, 0]
    assert slow.stalls[-1].seconds >= 2 * THRESHOLD
    assert "(session 1, verb DATA)" in messages(caplog, "block")[0]


async def test_callbacks_that_raise_are_logged_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()

    def fail(stall: Stall) -> None:
        listener(stall)
        raise RuntimeError("full")

    def fail_to_describe(task: asyncio.Task[Any] | None) -> str:
        raise LookupError("no such session")

    subscription = watch(asyncio.get_running_loop(), fail, describe=fail_to_describe)
    block(listener.noticed)
    await until(lambda: len(messages(caplog, "block")) == 2)
    listener.noticed.clear()
    block(listener.noticed)
    await until(lambda: len(messages(caplog, "block")) == 4)
    subscription.close()
    assert "on_stall failed" in caplog.messages
    assert "describe failed" in caplog.messages
    assert "(task Task-" in messages(caplog, "block")[0]


async def test_a_stall_that_is_over_when_the_watch_ends_has_its_end_logged(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    subscription = watch(asyncio.get_running_loop(), listener)
    block(listener.noticed)  # before the loop turned once, and it does not turn until close()
    subscription.close()
    assert ["blocks" in message for message in messages(caplog, "block")] == [True, False]


def test_a_loop_between_two_runs_is_not_stalled(loop_factory: LoopFactory) -> None:
    stalls: list[Stall] = []
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        subscription = watch(runner.get_loop(), stalls.append)
        runner.run(asyncio.sleep(0.01))
        time.sleep(2 * THRESHOLD)
        runner.run(asyncio.sleep(0.01))
        subscription.close()
    assert stalls == []


STOPPED = """
import asyncio, sys, threading
from ehlo.net.watchdog import Watchdog

async def main():
    loop, stalls, noticed = asyncio.get_running_loop(), [], threading.Event()

    def on_stall(stall):
        stalls.append(stall)
        noticed.set()

    Watchdog.watch(loop, threshold=0.15, on_stall=on_stall, describe=lambda task: "")
    await loop.run_in_executor(None, lambda: print("stop me", flush=True) or sys.stdin.readline())
    await asyncio.sleep(0.06)
    print(len(stalls), flush=True)
    noticed.wait(10)
    print(len(stalls), flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_process_that_is_stopped_has_no_stall() -> None:
    source = str(Path(ehlo.net.watchdog.__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        env={**os.environ, "PYTHONPATH": source},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stop me\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate("go on\n", timeout=10)
    # Nothing for the stop; the same watchdog does count what blocks after it.
    assert output.split() == ["0", "1"]


# The thread


async def test_the_servers_of_a_loop_share_one_thread() -> None:
    loop = asyncio.get_running_loop()
    first, second = watch(loop, lambda _: None), watch(loop, lambda _: None, threshold=60)
    (thread,) = watchdog_threads()
    assert thread.daemon
    first.close()
    assert watchdog_threads() == [thread]
    second.close()
    assert watchdog_threads() == []
    second.close()  # once more does no harm


async def test_a_shorter_threshold_counts_at_once() -> None:
    loop = asyncio.get_running_loop()
    told = threading.Event()
    patient, impatient = watch(loop, lambda _: None, threshold=60), watch(loop, lambda _: told.set())
    assert told.wait(10), "the thread slept on for a quarter of the longer threshold"
    impatient.close()
    patient.close()


async def test_a_hundred_watches_leave_no_thread() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(100):
        watch(loop, lambda _: None, threshold=60).close()
    assert watchdog_threads() == []


async def test_a_callback_may_end_its_own_watch() -> None:
    subscriptions: list[Subscription] = []
    subscriptions.append(watch(asyncio.get_running_loop(), lambda _: subscriptions[0].close()))
    (thread,) = watchdog_threads()
    thread.join(10)  # blocks the loop
    assert not thread.is_alive()


def test_the_thread_ends_with_a_loop_that_is_closed_while_watched(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    subscription = watch(loop, lambda _: None)
    (thread,) = watchdog_threads()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    thread.join(10)
    assert not thread.is_alive()
    subscription.close()


@pytest.mark.parametrize("threshold", [0, -1, float("nan")])
async def test_a_threshold_that_is_not_positive_is_the_callers_mistake(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be positive"):
        watch(asyncio.get_running_loop(), lambda _: None, threshold)


class DeafLoop:
    """Runs, and never does what it is asked to."""

    def __init__(self) -> None:
        self.pings = 0

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.pings += 1


class ClosingLoop(DeafLoop):
    """Is closed by another thread just when it is pinged."""

    def is_closed(self) -> bool:
        return self.pings > 0

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        super().call_soon_threadsafe(callback)
        raise RuntimeError("Event loop is closed")


async def test_a_stall_that_the_watchdog_saw_only_when_it_was_over_counts(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    stalls: list[Stall] = []
    # Its thread sleeps for 15 seconds; what it sees next is told here.
    subscription = watch(loop, stalls.append, threshold=60)
    watchdog = subscription._watchdog
    await until(lambda: watchdog._answered)
    now = time.monotonic()
    watchdog._answered = now
    watchdog._look(Pulse(now - 100), Nap(due=now - 90, woke=now, gil_wait=90.0))
    assert [(stall.held_gil, 99 < stall.seconds < 101) for stall in stalls] == [(True, True)]
    assert ["so far" in message for message in caplog.messages if "the event loop" in message] == [True, False]
    subscription.close()


def test_a_loop_that_does_not_answer_is_not_pinged_again() -> None:
    loop = DeafLoop()
    stalls: list[Stall] = []
    told = threading.Event()
    first = watch(cast("asyncio.AbstractEventLoop", loop), stalls.append, threshold=0.01)
    second = watch(cast("asyncio.AbstractEventLoop", loop), lambda _: told.set(), threshold=0.05)
    assert told.wait(10)
    first.close()
    second.close()
    assert loop.pings == 1
    assert len(stalls) == 1
    assert (stalls[0].stack, stalls[0].task) == ([], None)  # nobody knows its thread


def test_a_loop_closed_just_before_the_ping_is_no_error() -> None:
    loop = ClosingLoop()
    subscription = watch(cast("asyncio.AbstractEventLoop", loop), lambda _: None)
    subscription._watchdog._thread.join(10)
    assert loop.pings == 1
    subscription.close()
