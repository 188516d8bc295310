"""Deadlines that cost nothing to move. Knows the loop's clock; does not know what a deadline is for.

A session sets a new deadline for every command.  A ``call_later`` and a ``cancel`` each time would be a heap
operation each; here a deadline is an attribute, and the one timer that is armed looks at it when it fires: passed,
it says so; moved, it is armed again for the rest.

Most sessions are over long before a deadline of theirs could pass, many within milliseconds, and on uvloop a timer
costs one with a single message a twentieth of all its work.  So the first timer of a deadline is that of a round, which
it shares with those that were set at about the same time.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Callable

ROUND_TIME = 0.5
"""Seconds that a round goes on; sooner deadlines have a timer of their own."""
ROUND_SIZE = 500
"""Most deadlines of a round: at its end each of them may need a timer, which takes some microseconds."""

# The round of a loop that deadlines join now.  The loop itself keeps it, by the timer.
_rounds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_Round]] = weakref.WeakKeyDictionary()


class Deadline:
    """One movable deadline.  ``on_expiry`` is called in the loop when it passes, at most once for each ``set``."""

    __slots__ = ("_armed_at", "_at", "_handle", "_loop", "_on_expiry")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[], None]) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._at: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._armed_at = math.inf
        """When the timer fires, its own or that of its round; later than any deadline when there is none."""

    def set(self, seconds: float) -> float:
        """Let it expire ``seconds`` from now, whatever was set before.  Gives the time that it is."""
        now = self._loop.time()
        self._at = at = now + seconds
        if at < self._armed_at:
            if self._handle is not None:
                self._handle.cancel()
            if seconds < ROUND_TIME:
                self._arm(at)
            else:
                self._handle = None
                self._armed_at = _join_round(self._loop, now, self)
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

    def round_ended(self, at: float) -> None:
        """Know that the round which ends at this time has ended."""
        if self._handle is None and self._armed_at == at:  # else it has a timer, or is in another round
            self._armed_at = math.inf
            if self._at is not None:
                self._arm(self._at)

    def _arm(self, at: float) -> None:
        self._armed_at = at
        self._handle = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._handle = None
        self._armed_at = math.inf
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._arm(self._at)
            return
        self._at = None
        self._on_expiry()


class _Round:
    """Deadlines that share their first timer."""

    __slots__ = ("__weakref__", "ends_at", "members")

    def __init__(self, loop: asyncio.AbstractEventLoop, ends_at: float) -> None:
        self.ends_at = ends_at
        self.members: list[Deadline] = []
        loop.call_at(ends_at, self._end)

    def _end(self) -> None:
        for deadline in self.members:
            deadline.round_ended(self.ends_at)


def _join_round(loop: asyncio.AbstractEventLoop, now: float, deadline: Deadline) -> float:
    """Put a deadline into the round of its loop; when that ends."""
    reference = _rounds.get(loop)
    current = None if reference is None else reference()
    if current is None or current.ends_at <= now or len(current.members) >= ROUND_SIZE:
        current = _Round(loop, now + ROUND_TIME)
        _rounds[loop] = weakref.ref(current)
    current.members.append(deadline)
    return current.ends_at


def _ignore() -> None:
    """Nobody is left to be told."""
