"""Notices from outside that the event loop is blocked, and names the line. Knows threads and stacks, not sessions.

One daemon thread per loop, shared by all that watch it, sends the loop a ping four times in the shortest threshold, and
never a second one before the first is answered.  A loop that has not answered for a threshold is stalled.

The thread counts only time that it can vouch for.  It sleeps between two looks; if it wakes when it meant to, it has
witnessed all of the nap.  If it wakes late, then either it stood in the queue for the GIL, which somebody held all that
time while the loop could do nothing either; or nobody ran at all (SIGSTOP, a laptop that slept, a machine with too much
to do), and that says nothing about the loop.  ``gil_wait`` tells the two apart:

    fell asleep              was due                                      woke
        |------ witnessed ------|---- held: it queued for the GIL ----|-- unseen --|
                 counts                        counts                  does not count

A stall that holds the GIL is therefore noticed when the GIL comes free.  The stack is then that of the next
instruction at which the loop's thread let go of it: nearly always the line itself, sometimes one just behind it.

``on_stall`` and ``describe`` are called in the watchdog's thread, while the loop may be in the middle of anything:
they must be quick, and touch nothing but counters and attributes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if sys.platform == "linux":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

logger = logging.getLogger("ehlo.watchdog")

# A stack is for reading: what matters is at its inner end.
STACK_LIMIT = 50

# ``close()`` waits that long for the thread, which ends at once unless a callback or a log handler keeps it.
JOIN_TIMEOUT = 1.0

# A nap is not shorter than this, however close the next threshold: the thread must not spin.
SHORTEST_NAP = 0.001

# Each time that a thread asks for the GIL in vain vouches for that many seconds: it asks every 5 ms, and on a machine
# with four busy processes for each processor it was seen to come to it every 8 to 18 ms only.
ASKED_EVERY = 0.02

_STANDARD_LIBRARY = str(Path(os.__file__).parent) + os.sep


class Stall(NamedTuple):
    """One stall, as far as it was known when it passed a subscriber's threshold.

    ``seconds`` is how long the loop had been blocked by then, to a quarter of the threshold: rather less than more.
    ``stack`` is what the loop was running, outermost frame first, without the loop's own frames; empty if it was
    running no Python code: a callback written in C, or it stood and waited for a GIL that another thread held.
    ``task`` is the name of the task that was running, None if none was.  ``held_gil`` says that the GIL was held for
    at least half of the time.  ``place`` is the line to blame, as ``"file:line function"``.
    """

    seconds: float
    stack: list[traceback.FrameSummary]
    task: str | None
    held_gil: bool
    place: str


class Nap(NamedTuple):
    """One sleep of the watchdog: when it was to end, when it did, and how long the thread queued for the GIL."""

    due: float
    woke: float
    gil_wait: float

    @property
    def held(self) -> float:
        """How much of the delay is known to be the GIL's."""
        return min(max(self.woke - self.due, 0.0), max(self.gil_wait, 0.0))

    @property
    def unseen(self) -> float:
        """How much of the delay nobody can vouch for."""
        return max(self.woke - self.due, 0.0) - self.held


class Delay(NamedTuple):
    """How long the loop did not turn, and for how much of that the GIL was held."""

    seconds: float
    held: float


class Pulse:
    """What the answers to pings prove about a loop. Knows seconds; does not know threads or loops.

    ``since`` is the start of the time for which the loop is not known to have turned, moved forward by what was not
    seen.  ``held`` is the part of it during which the GIL was held.
    """

    def __init__(self, now: float) -> None:
        self.restart(now)

    def restart(self, now: float, held: float = 0.0) -> None:
        """Start again: at ``now`` the loop is known to have turned, but for the last ``held`` seconds."""
        self.since = now - held
        self.held = held

    def unanswered(self, nap: Nap) -> None:
        """Still no answer."""
        self.since += nap.unseen
        self.held += nap.held

    def answered(self, nap: Nap, at: float) -> Delay:
        """Start again, and return how long the answer, given at the time ``at``, was overdue."""
        # Who answered before the nap was to end did so before anything delayed its end.  Else the answer came after
        # the delay, or the GIL was taken once more.
        held_since = min(nap.held, max(nap.woke - at, 0.0))
        unseen = nap.unseen if at > nap.due else 0.0
        delay = Delay(max(at - self.since - unseen, 0.0), self.held + nap.held - held_since)
        self.restart(nap.woke, held_since)
        return delay

    def delay(self, now: float) -> Delay:
        """How long the answer is overdue so far."""
        return Delay(now - self.since, self.held)


class Subscription:
    """One party that watches a loop; made by ``Watchdog.watch``, ended by ``close()``."""

    def __init__(
        self,
        watchdog: Watchdog,
        threshold: float,
        on_stall: Callable[[Stall], None],
        describe: Callable[[asyncio.Task[Any] | None], str],
    ) -> None:
        self.threshold = threshold
        self.on_stall = on_stall
        self.describe = describe
        self.is_told = False  # of the present stall; the watchdog's thread alone uses it
        self._watchdog = watchdog

    def close(self) -> None:
        """Stop watching, from any thread and as often as you like; the last one ends the watchdog's thread."""
        self._watchdog.remove(self)


class Watchdog:
    """The thread that watches one loop.  ``Watchdog.watch`` is how to get at it."""

    _of_loop: ClassVar[dict[asyncio.AbstractEventLoop, Watchdog]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()  # for _of_loop and for who is subscribed

    @classmethod
    def watch(
        cls,
        loop: asyncio.AbstractEventLoop,
        *,
        threshold: float,
        on_stall: Callable[[Stall], None],
        describe: Callable[[asyncio.Task[Any] | None], str],
    ) -> Subscription:
        """Watch ``loop`` from now on; start its thread if nobody watches it yet.

        ``on_stall`` is called once for each stall of at least ``threshold`` seconds, whoever caused it.  ``describe``
        says for the log whose task is running, as in ``"session 4f2a, verb RCPT"``; ``""`` if it is none of yours.
        Both are called in the watchdog's thread, and what they raise is logged and else ignored.

        The log (``ehlo.watchdog``) has one WARNING when a stall passes the smallest threshold and one when it ends,
        however many watch.  A loop that does not run is not stalled, and for a closed one the thread ends by itself.
        Raises ValueError if ``threshold`` is not positive.
        """
        if not threshold > 0:
            raise ValueError(f"threshold must be positive: {threshold}")
        with cls._lock:
            watchdog = cls._of_loop.get(loop) or cls(loop)
            subscription = Subscription(watchdog, threshold, on_stall, describe)
            watchdog._subscriptions = (*watchdog._subscriptions, subscription)  # noqa: SLF001
            if loop not in cls._of_loop:
                watchdog._thread.start()  # noqa: SLF001
                cls._of_loop[loop] = watchdog
        watchdog._changed.set()  # noqa: SLF001 - a shorter threshold counts at once
        return subscription

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._subscriptions: tuple[Subscription, ...] = ()  # replaced, never changed: the thread reads without a lock
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ehlo-watchdog", daemon=True)
        self._answered: float | None = None  # when the last ping was; None while one is under way
        self._depth = 0  # how many frames of a stack are the loop's own, or of those who run it
        # Mostly known at once; so a stall is placed that begins before the loop turns for the first time.
        is_here = asyncio._get_running_loop() is loop  # noqa: SLF001 - public by asyncio's __all__
        self._loop_thread = threading.get_ident() if is_here else None
        self._culprit = ""  # what the log said about the present stall

    def remove(self, subscription: Subscription) -> None:
        """See ``Subscription.close``."""
        with self._lock:
            self._subscriptions = tuple(one for one in self._subscriptions if one is not subscription)
            is_last = not self._subscriptions
            if is_last:
                self._forget()
        if is_last:
            self._changed.set()
            # A callback may close its own subscription.  And whoever waits in a callback for the loop, while the
            # loop is here, must not wait for ever.
            if threading.current_thread() is not self._thread:
                self._thread.join(JOIN_TIMEOUT)

    def _forget(self) -> None:
        if self._of_loop.get(self._loop) is self:
            del self._of_loop[self._loop]

    # In the loop's thread:

    def _pong(self) -> None:
        self._loop_thread = threading.get_ident()
        # What is outside this callback is outside every other one as well.
        self._depth = len(_frames(sys._getframe(1)))  # noqa: SLF001 - as documented in sys
        self._answered = time.monotonic()

    # In the watchdog's thread:

    def _run(self) -> None:
        pulse = Pulse(time.monotonic())
        self._ping()
        while self._subscriptions and not self._loop.is_closed():
            self._look(pulse, self._nap(pulse))
        with self._lock:
            self._forget()
        self._end_stall((self._answered or time.monotonic()) - pulse.since)

    def _ping(self) -> None:
        self._answered = None
        try:
            self._loop.call_soon_threadsafe(self._pong)
        except RuntimeError:  # closed just now, as _run is about to see
            logger.debug("The event loop was closed while it was watched")

    def _nap(self, pulse: Pulse) -> Nap:
        """Sleep until a stall could pass a threshold, or the loop is to be pinged again."""
        asleep = time.monotonic()
        subscriptions = self._subscriptions
        pauses = [one.threshold / 4 for one in subscriptions]
        if self._answered is None:
            pauses += [pulse.since + one.threshold - asleep for one in subscriptions if not one.is_told]
        pause = max(min(pauses, default=0.0), SHORTEST_NAP)
        before = _usage()
        if self._changed.wait(pause):
            self._changed.clear()
        woke = time.monotonic()
        return Nap(asleep + pause, woke, gil_wait(before, _usage()))

    def _look(self, pulse: Pulse, nap: Nap) -> None:
        answered = self._answered
        if not self._loop.is_running():
            # A loop between two runs answers no ping and stalls nobody.
            self._end_stall(nap.woke - pulse.since)
            pulse.restart(nap.woke)
        elif answered is None:
            pulse.unanswered(nap)
        else:
            delay = pulse.answered(nap, answered)
            self._notice(delay)  # over already, when the loop came to the GIL before this thread
            self._end_stall(delay.seconds)
        self._notice(pulse.delay(nap.woke))
        if answered is not None:
            # What it took to log is not the loop's fault.
            pulse.since += time.monotonic() - nap.woke
            self._ping()

    def _notice(self, delay: Delay) -> None:
        stalled = [one for one in self._subscriptions if delay.seconds >= one.threshold and not one.is_told]
        if stalled:
            # The scene comes first, before any system call lets go of the GIL and whoever held it runs on.
            self._begin_stall(stalled, *self._scene(delay))

    def _begin_stall(self, stalled: list[Subscription], stall: Stall, task: asyncio.Task[Any] | None) -> None:
        # Counted before logged: if the loop is blocked inside a log handler, what is logged here has to wait for it.
        for one in stalled:
            one.is_told = True
            try:
                one.on_stall(stall)
            except Exception:
                logger.exception("on_stall failed")
        if self._culprit:
            return  # logged when it passed a smaller threshold
        self._culprit = stall.place
        gil = " with the GIL held" if stall.held_gil else ""
        whose = self._describe(task) or (f"task {stall.task}" if stall.task else "no task")
        text = "".join(traceback.StackSummary.from_list(stall.stack).format()).rstrip() or "  no stack"
        logger.warning(
            "%s blocks the event loop, %.2f s so far%s (%s)\n%s", stall.place, stall.seconds, gil, whose, text
        )

    def _end_stall(self, seconds: float) -> None:
        for one in self._subscriptions:
            one.is_told = False
        if self._culprit:
            logger.warning("%s blocked the event loop for %.2f s in all", self._culprit, seconds)
            self._culprit = ""

    def _describe(self, task: asyncio.Task[Any] | None) -> str:
        for one in self._subscriptions:
            try:
                if text := one.describe(task):
                    return text
            except Exception:
                logger.exception("describe failed")
        return ""

    def _scene(self, delay: Delay) -> tuple[Stall, asyncio.Task[Any] | None]:
        """The stall, and the task that was running.  Looks at everything first; what may wait comes after that."""
        task = asyncio.current_task(self._loop)
        threads = {ident: _frames(frame) for ident, frame in sys._current_frames().items()}  # noqa: SLF001
        del threads[threading.get_ident()]
        mine = threads.pop(self._loop_thread, [])[self._depth :] if self._loop_thread else []
        stack = _summary(mine)
        held_gil = delay.held * 2 >= delay.seconds
        place = _place(stack, [_summary(frames) for frames in threads.values()] if held_gil else [])
        return Stall(delay.seconds, stack, task.get_name() if task else None, held_gil, place), task


def gil_wait(before: tuple[int, float], after: tuple[int, float]) -> float:
    """For how many seconds at most the calling thread queued for the GIL between two calls of ``_usage``.

    A thread that queues for the GIL wakes after every switch interval and asks again, whoever holds it and whether he
    computes or sleeps: those wake-ups are context switches that the kernel counts.  One that is stopped, or is given
    no processor, makes none.  The CPU clock of the loop's thread would miss whoever holds the GIL from another thread,
    or holds it and sleeps; on a machine with too much to do, CPU clocks showed a tenth of the time that the GIL was
    held; and ``pthread_getcpuclockid`` is not on macOS and Windows, and may crash for a thread that has ended.

    Where switches are not counted (macOS, Windows, gVisor) it is the CPU time of the process, at least as long as the
    GIL's holder computed.  That misses a holder who sleeps: then nobody computes, as when the process is stopped.
    """
    if after[0] == 0:  # not even the nap between the two was counted
        return after[1] - before[1]
    return (after[0] - before[0]) * max(ASKED_EVERY, sys.getswitchinterval())


def _usage() -> tuple[int, float]:
    """Context switches of this thread by its own will, 0 where they are not counted; CPU seconds of the process."""
    switches = 0
    if sys.platform == "linux":
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    return switches, time.process_time()


def _frames(frame: FrameType | None) -> list[tuple[FrameType, int]]:
    """The frames from the outermost to ``frame``, with their line numbers."""
    return list(traceback.walk_stack(frame))[::-1] if frame else []


def _summary(frames: list[tuple[FrameType, int]]) -> traceback.StackSummary:
    # The source is read only when the stack is printed.
    return traceback.StackSummary.extract(iter(frames[-STACK_LIMIT:]), lookup_lines=False)


def _place(stack: list[traceback.FrameSummary], others: list[traceback.StackSummary]) -> str:
    """``file:line function`` of the line to blame: the innermost of ``stack`` that is of no library.

    If all are, it may be one of the ``others``: a plain hook in a thread keeps the GIL from the loop as well.  Which
    one it was is not known, so all are named that run code of their own; the idle ones of a pool do not.
    """
    line = min(reversed(stack), key=_remoteness, default=None)  # the first, so the innermost, of the least remote
    if line is None or _remoteness(line):
        lines = [min(reversed(other), key=_remoteness) for other in others if other]
        if places := sorted(_line(other) for other in lines if not _remoteness(other)):
            return f"{' or '.join(places)} (in another thread)"
    return _line(line) if line else "Code without a Python frame"


def _line(frame: traceback.FrameSummary) -> str:
    return f"{frame.filename}:{frame.lineno} {frame.name}"


def _remoteness(frame: traceback.FrameSummary) -> int:
    """0 for the program's own code, 1 for installed packages, 2 for the standard library."""
    # Installed packages may lie inside the standard library's folder, so they come first.
    if f"{os.sep}site-packages{os.sep}" in frame.filename or f"{os.sep}dist-packages{os.sep}" in frame.filename:
        return 1
    return 2 if frame.filename.startswith((_STANDARD_LIBRARY, "<frozen ")) else 0
