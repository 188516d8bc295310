"""Deadlines that cost nothing to move. Knows the loop's clock; does not know what a deadline is for.

A session sets a new deadline for every command.  A ``call_later`` and a ``cancel`` each time would be a heap
operation each; here a deadline is an attribute, and the one timer that is armed looks at it when it fires: passed,
it says so; moved, it is armed again for the rest.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """One movable deadline.  ``on_expiry`` is called in the loop when it passes, at most once for each ``set``."""

    __slots__ = ("_armed_at", "_at", "_handle", "_loop", "_on_expiry")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[], None]) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._at: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._armed_at = math.inf
        """When the timer fires; later than any deadline when there is none."""

    def set(self, seconds: float) -> float:
        """Let it expire ``seconds`` from now, whatever was set before.  Gives the time that it is."""
        now = self._loop.time()
        self._at = at = now + seconds
        if at < self._armed_at:
            if self._handle is not None:
                self._handle.cancel()
            self._arm(at)
        return now

    def clear(self) -> None:
        """Let nothing expire until the next ``set``."""
        self._at = None

    def close(self) -> None:
        """Forget the timer: the session is over."""
        self._at = None
        self._on_expiry = _ignore  # the owner has us and we had the owner: leave no cycle behind
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, at: float) -> None:
        self._armed_at = at
        self._handle = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._armed_at = math.inf
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._arm(self._at)
            return
        self._at = None
        self._on_expiry()


def _ignore() -> None:
    """Nobody is left to be told."""
