"""Which rule fired when, for which session. Bounded; may be read in any thread."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

LIMIT = 1000
"""Entries that are kept: the newest."""


@dataclass(frozen=True, slots=True)
class Fired:
    """``at`` in seconds since 1970; ``act`` is what it did, in words; ``port`` is that of the listener.

    ``sender`` None where there was none yet.
    """

    at: float
    scenario: str
    rule: str
    act: str
    verb: str
    session_id: str
    port: int | None
    sender: str | None
    recipients: tuple[str, ...]


class FaultLog:
    """The entries, oldest first; ``count`` is how many there were in all."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.count = 0
        self._entries: deque[Fired] = deque(maxlen=limit)
        self._turn = threading.Lock()

    def add(self, entry: Fired) -> None:
        """Keep one."""
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
