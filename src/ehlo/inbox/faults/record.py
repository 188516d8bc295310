"""Which rule fired when, for which session, and what it did. Bounded; may be read in any thread.

There is a log of all that fired, and one of each scenario in force: what happens elsewhere does not displace its own.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

LIMIT = 1000
"""Entries that are kept: the newest."""


class Act(NamedTuple):
    """Something that happened: ``at`` in seconds since 1970, when it began; ``text`` in words."""

    at: float
    text: str


@dataclass(slots=True)
class Fired:
    """A rule that fired, and what it has done so far; in a log that is something.

    ``sender`` None where there was none yet.
    """

    scenario: str
    rule: str
    verb: str
    session_id: str
    sender: str | None
    recipients: tuple[str, ...]
    acts: tuple[Act, ...] = ()

    @property
    def at(self) -> float:
        """When the first of it happened."""
        return self.acts[0].at

    @property
    def act(self) -> str:
        """All of it, in words."""
        return ", ".join(act.text for act in self.acts)


class FaultLog:
    """The entries, oldest first; ``count`` is how many there were in all."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.count = 0
        self._entries: deque[Fired] = deque(maxlen=limit)
        self._turn = threading.Lock()

    def add(self, entry: Fired) -> None:
        """Keep an entry, which may get more acts yet."""
        with self._turn:
            self._entries.append(entry)
            self.count += 1

    def entries(self) -> list[Fired]:
        """Those that are kept."""
        with self._turn:
            return list(self._entries)

    def clear(self) -> None:
        """Forget them."""
        with self._turn:
            self._entries.clear()
            self.count = 0
