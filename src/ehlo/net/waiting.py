"""Who waits for whom, and whose time runs. Does not know what is waited for: lines, mail data, a handshake.

A connection runs one coroutine, and at any moment one of these is true of it:

    it waits for input               the client's time runs, as whoever waits has set ``_deadline``
    it waits until the client reads  the client's time runs: ``_client_timeout``
    it waits for anything else       a hook's time runs: ``_hook_timeout``, for all waits of one hook together
    it pauses                        nobody's time runs

A client's time that is over ends the wait for input by a verdict, which is raised there, or the connection, if it does
not read.  A hook's that is over cancels the hook; ``_expired_hook`` tells that cancellation from others.

``_is_busy`` says that a hook's time has begun.  To say ``_is_busy = False`` is to give the next hook its whole time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ehlo.errors import Disconnected, Goodbye, HookTimeout, IdleTimeout
from ehlo.net.flow import Flow
from ehlo.net.stepper import Stepper
from ehlo.net.timer import Deadline

LAST_WORDS = 5.0
"""Seconds that a cancelled hook has before its session is cut off."""


class Waiting(Flow):
    """A flow with a coroutine that waits for it; see the module's text."""

    __slots__ = ("_deadline", "_hook_expired", "_is_busy", "_is_stopping", "_pause_over", "_stepper", "_verdict")

    _stepper: Stepper
    _deadline: Deadline

    # Times in seconds; SMTP sets them from its settings.
    _client_timeout: float = 300.0
    _hook_timeout: float = 540.0

    def __init__(self) -> None:
        super().__init__()
        self._verdict: Goodbye | None = None
        self._is_stopping = False
        self._pause_over: asyncio.Future[None] | None = None
        self._is_busy = False
        self._hook_expired = False

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let the coroutine run, from the next turn of the loop on."""
        self._deadline = Deadline(self.loop, self._expired)
        self._stepper = Stepper(self.loop, coroutine, self._suspended)

    @property
    def task(self) -> asyncio.Task[None]:
        """The task of this connection."""
        return self._stepper.task

    # Waiting

    async def _wait_for_input(self) -> None:
        """Return when there is more than there was; ``Disconnected`` if there will be none, or the verdict."""
        if self._has_eof:
            raise Disconnected("end of input")
        if self._reading_is_paused:
            self._resume_reading()
        if self._unsent:
            self._flush()  # nobody notices when it is a hook's own task that waits
        if self._is_busy and asyncio.current_task() is self.task:
            self._is_busy = False
        await self._stepper.wait_for_input()
        if self._is_busy:
            # It was a task of the hook's own that waited: now it is the hook's time again.
            self._deadline.set(self._hook_timeout)
        if self._verdict is not None:
            raise self._take_verdict()

    async def _wait_for_reader(self) -> None:
        try:
            await super()._wait_for_reader()
        finally:
            self._is_busy = False  # the client's time is over; a hook that waited for it has its own again

    async def _pause(self, seconds: float) -> None:
        """Let the client wait, while nobody's time runs.  It is over at once when the client is gone or we stop."""
        if not seconds or self._is_lost or self._is_stopping:
            return
        self._pause_over = self.loop.create_future()
        timer = self.loop.call_later(seconds, self._end_pause)
        try:
            await self._pause_over
        finally:
            timer.cancel()
            self._pause_over = None

    def _end_pause(self) -> None:
        if self._pause_over is not None and not self._pause_over.done():
            self._pause_over.set_result(None)

    # How a wait ends

    def _input_ended(self) -> None:
        self._stepper.input_arrived()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone.  A hook that runs is not disturbed: it may be storing a message that came whole."""
        self._end_pause()
        super().connection_lost(exc)

    def _end(self, verdict: Goodbye) -> None:
        """Let the wait for input end with ``verdict``."""
        if self._verdict is None:
            self._verdict = verdict
            del verdict  # it is about to be raised, and the traceback of that leads back to this frame
            self._stepper.input_arrived()

    def _take_verdict(self) -> Goodbye:
        """Give the verdict and forget it: an exception whose traceback leads to its owner is a reference cycle."""
        verdict, self._verdict = self._verdict, None
        assert verdict is not None
        return verdict

    def _expired_hook(self) -> HookTimeout | None:
        """Whether a cancellation that arrived is that of a hook's time; then the task goes on."""
        if not self._hook_expired:
            return None
        self._hook_expired = False
        while self.task.cancelling():
            self.task.uncancel()
        return HookTimeout(f"longer than {self._hook_timeout:g} s")

    # Called by the stepper and the deadline

    def _suspended(self) -> None:
        """The dialogue waits, not for input: send what there is to send, and let somebody's time run."""
        self._flush()
        if self._pause_over is not None:
            self._deadline.clear()
        elif self._drained is not None:
            self._deadline.set(self._client_timeout)
        elif not self._is_busy:
            self._is_busy = True
            self._deadline.set(self._hook_timeout)

    def _expired(self) -> None:
        """Time is over, for whoever we wait for."""
        if self._drained is not None:
            self.transport.abort()
        elif self._stepper.awaits_input:
            self._end(IdleTimeout())
        elif self._is_busy:
            if self._hook_expired:
                self.transport.abort()  # the hook caught the first cancellation, and waits for something else
            self._hook_expired = True
            self.task.cancel()
            self._deadline.set(LAST_WORDS)
