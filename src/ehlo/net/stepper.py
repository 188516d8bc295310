"""Who runs a connection's coroutine. Knows tasks and coroutines; does not know octets, SMTP or time.

A connection is one coroutine that reads like a dialogue: wait for a line, do it, wait for the next.  Between two
commands it waits for input, and the usual way (a future that the task awaits) costs a pass through the event loop for
every command: 20 to 30 % of all the work of a small message.  So this coroutine can be run by two drivers:

* its *task*, the ordinary way, whenever it waits for anything but input: a hook's database, a full transport;
* the *transport's callback*: when input arrives and the coroutine waits for just that, ``step()`` runs it there and
  then, until it waits again.  If it waits for input once more, the task never noticed.  If it waits for something
  else, the task is woken and takes over.

To the code inside nothing is different: ``asyncio.current_task()`` is the connection's task in both cases (so
``asyncio.timeout`` works and the watchdog finds the session), context variables live in the task's context, and a
cancellation arrives where the coroutine waits.  ``_enter_task`` and ``_leave_task`` are the functions that asyncio
documents for that ("Extending asyncio": task lifetime support).

    parked    waits for input; the task waits on ``_wake_up``
    running   inside ``step()``, or inside the task
    awaiting  waits for something else, through the task
    done      the coroutine has ended; ``task`` ends too
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import types
from asyncio import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from typing import Any

# What the coroutine yields, or has done, when it is not a future for the task to wait on.
_PARK = object()
_RESUME = object()
_ENDED = object()

# A task that begins at once runs while the coroutine that made it does; then "running" does not say which of them.
_TASKS_MAY_BE_EAGER = sys.version_info >= (3, 12)


class Stepper:
    """Runs one coroutine; see the module's text."""

    __slots__ = (
        "_context",
        "_coroutine",
        "_failure",
        "_is_running",
        "_loop",
        "_on_suspend",
        "_pending",
        "_waiter",
        "_wake_up",
        "is_parked",
        "task",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, None],
        on_suspend: Callable[[], None],
    ) -> None:
        """``on_suspend`` is called when the coroutine begins to wait for anything but input."""
        self._loop = loop
        self._coroutine = coroutine
        self._on_suspend = on_suspend
        self._context = contextvars.copy_context()
        self._wake_up: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pending: object = None
        self._failure: BaseException | None = None
        self.is_parked = False
        self._is_running = False
        body = self._run()
        # Up to its first yield.  A task that is cancelled before its first turn throws into what has not begun, which
        # runs nothing of it: nobody would close the connection.
        body.send(None)
        # Not by the loop's task factory, which may begin at once (Python 3.12), while this is being made.
        self.task: asyncio.Task[None] = asyncio.Task(body, loop=loop, context=self._context)

    @property
    def awaits_input(self) -> bool:
        """Whether ``input_arrived`` would let something go on."""
        return self.is_parked or self._waiter is not None

    @types.coroutine
    def wait_for_input(self) -> Generator[Any, None, None]:
        """Return after ``input_arrived`` was called.  For the connection's own coroutine, and what it awaits."""
        if self._is_running and (not _TASKS_MAY_BE_EAGER or asyncio.current_task(self._loop) is self.task):
            yield _PARK
            return
        # A hook reads mail data from a task of its own: an ordinary future serves it.
        self._waiter = self._loop.create_future()
        try:
            yield from self._waiter
        finally:
            self._waiter = None

    def input_arrived(self) -> None:
        """Let the coroutine go on, if input is what it waits for."""
        if not self.is_parked:
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
            return
        assert self._wake_up is not None
        if self._wake_up.done():
            return  # the task was cancelled and is about to tell the coroutine, which must not slip away from that
        loop, task = self._loop, self.task
        try:
            _enter_task(loop, task)
        except RuntimeError:
            # Fed from inside another task, as transports in memory do; only one task at a time can be current.
            self._pending = _RESUME
            self._wake()
            return
        self.is_parked = False
        self._is_running = True
        pending: object
        try:
            pending = self._context.run(self._coroutine.send, None)
        except StopIteration:
            pending = _ENDED
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the task
            pending, self._failure = _ENDED, error
        finally:
            self._is_running = False
            _leave_task(loop, task)
        if pending is _PARK:
            self.is_parked = True
            return
        self._pending = pending
        if pending is not _ENDED:
            self._on_suspend()
        self._wake()

    def _wake(self) -> None:
        self.is_parked = False
        if self._wake_up is not None and not self._wake_up.done():
            self._wake_up.set_result(None)

    async def _run(self) -> None:
        try:
            await self
        finally:
            self._on_suspend = _ignore  # the owner has us and we had the owner: leave no cycle behind

    def __await__(self) -> Generator[Any, None, None]:
        """The body of the task: run the coroutine, wait for what it waits for, sleep while it is parked."""
        resume: Callable[[Any], Any] = self._coroutine.send
        value: BaseException | None = None
        try:
            yield
        except asyncio.CancelledError as error:
            # Before it began: let it begin, so that it can clean up, and be cancelled where it first waits.
            self.task.uncancel()
            self.task.cancel(*error.args)
        try:
            while True:
                self._is_running = True
                try:
                    self._pending = resume(value)
                except StopIteration:
                    return
                finally:
                    self._is_running = False
                resume, value = self._coroutine.send, None
                if self._pending is not _PARK:
                    self._on_suspend()
                else:
                    value = yield from self._sleep()
                    if self._pending is _ENDED:
                        break
                    if value is not None and not _cancel(self._pending, value):
                        resume = self._coroutine.throw
                        continue
                    value = None
                    if self._pending is _RESUME:
                        continue
                try:
                    yield self._pending
                except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the coroutine
                    resume, value = self._coroutine.throw, error
            if self._failure is not None:
                raise self._failure
        finally:
            # Their tracebacks lead back here.
            self._failure = value = None

    def _sleep(self) -> Generator[Any, None, BaseException | None]:
        """Wait in the task until ``_wake``; give the exception (a cancellation) that ended the wait otherwise."""
        self.is_parked = True
        self._wake_up = self._loop.create_future()
        try:
            yield from self._wake_up
        except BaseException as error:  # noqa: BLE001 - returned, to be thrown into the coroutine
            return error
        finally:
            self.is_parked = False
            self._wake_up = None
        return None


class Begun:
    """A coroutine that has run to its first wait already; ``await`` it, once, for the rest, or ``drop`` it."""

    __slots__ = ("_coroutine", "_pending")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._pending = coroutine.send(None)

    def drop(self) -> None:
        """End it where it is; what it waits for is told that nobody waits any more."""
        _cancel(self._pending, asyncio.CancelledError())
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait for what it waits for, and go on."""
        pending = self._pending
        while True:
            resume: Callable[[Any], Any] = self._coroutine.send
            value: BaseException | None = None
            try:
                yield pending
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the coroutine
                resume, value = self._coroutine.throw, error
            try:
                pending = resume(value)
            except StopIteration:
                return


def _cancel(pending: object, error: BaseException) -> bool:
    """Cancel the future that a step handed over, as a cancelled task does with the one that it waits on."""
    return asyncio.isfuture(pending) and pending.cancel(*error.args)


def _ignore() -> None:
    """Nobody is left to be told."""
