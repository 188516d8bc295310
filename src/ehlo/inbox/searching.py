"""Patterns of others, one after the other: the loop's side of ``PatternProcess``.

Who waits for a search waits in the loop, and in no thread that others need.  A pattern that took too long once is not
tried again, so that whoever sends it sixty times holds up the others once.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from ehlo.inbox.patterns import NotBegun, PatternProcess, TooSlow

if TYPE_CHECKING:
    import re

SLOW_KEPT: Final = 1000
"""Patterns that are remembered for having been too slow."""


class Searches:
    """Searches, in the order in which they were asked for.  ``close`` blocks; it can be used again after it."""

    def __init__(self) -> None:
        self._process = PatternProcess()
        self._maybe_thread: ThreadPoolExecutor | None = None
        self._slow: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def search(self, pattern: re.Pattern[str], texts: list[str]) -> tuple[bool, float]:
        """Whether the pattern is found in any of the texts, and the seconds that took; ``TooSlow``."""
        if self._maybe_thread is None:
            self._maybe_thread = ThreadPoolExecutor(1, thread_name_prefix="ehlo-patterns")
        return await asyncio.get_running_loop().run_in_executor(self._maybe_thread, self._search, pattern, texts)

    def close(self) -> None:
        """Drop what is asked for, and end the process."""
        thread, self._maybe_thread = self._maybe_thread, None
        if thread is not None:
            thread.shutdown(cancel_futures=True)
        self._process.close()

    def _search(self, pattern: re.Pattern[str], texts: list[str]) -> tuple[bool, float]:
        key = (pattern.pattern, pattern.flags)
        if key in self._slow:
            raise TooSlow("the search for a regular expression took too long before")
        begin = time.monotonic()
        try:
            found = self._process.search(pattern, texts)
        except NotBegun:
            raise
        except TooSlow:
            self._slow[key] = None
            if len(self._slow) > SLOW_KEPT:
                self._slow.popitem(last=False)
            raise
        return found, time.monotonic() - begin
