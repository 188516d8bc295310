"""How long to wait before a worker that died is started again. Knows seconds; does not know clocks or processes."""

from __future__ import annotations

DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each start, the last of them for all that follow.

The first is immediate: where there is no other worker, connections wait in the dead one's socket for its successor.
"""
STABLE = 60.0
"""Seconds after which a worker that died is not one that keeps dying."""


class BackOff:
    """The delays of one worker and its successors."""

    def __init__(self) -> None:
        self._deaths = 0

    def delay_after(self, lived: float) -> float:
        """Seconds to wait now that it has died; ``lived``: seconds from when it was ready until then."""
        if lived >= STABLE:
            self._deaths = 0
        delay = DELAYS[min(self._deaths, len(DELAYS) - 1)]
        self._deaths += 1
        return delay
