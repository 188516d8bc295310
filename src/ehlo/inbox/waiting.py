"""Waiting for a message: the first one after a cursor that is as wanted, found in the store or among what arrives.

The cursor is the number of a message, and numbers grow in the order of commits.  A watch listens first and looks into
the store then; so what arrives between the two is seen by both, and what it has seen already it skips by its number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ehlo.inbox.errors import NoSuchMessage
from ehlo.inbox.patterns import TooSlow
from ehlo.inbox.records import Event, EventKind, Summary

if TYPE_CHECKING:
    from ehlo.inbox.criteria import Criteria
    from ehlo.inbox.events import Hub
    from ehlo.inbox.searching import Searches
    from ehlo.inbox.store import Store

BATCH = 200
"""Messages that one look into the store takes."""
SEEN_LENGTH = 20
"""Messages that are told of, of those that were not wanted."""
PATTERN_SECONDS = 1.0
"""For a search, also when the time is over: what is there already is looked at."""
PATTERN_ROOM = 5.0
"""Seconds that the searches of one client may take together; those that hardly take any are not counted."""
NO_SECONDS = 0.01
INDEX_SECONDS = 5.0
"""How long the index of a message may take before the message is passed over."""

_KINDS = {EventKind.MESSAGE, EventKind.INDEXED}

Run = Callable[..., Awaitable[Any]]
"""Runs a function in a thread, with its arguments."""


@dataclass(frozen=True, slots=True)
class Waited:
    """What came of it: the message or None, where to go on from, and what else arrived (the last few)."""

    summary: Summary | None
    cursor: int
    arrived: tuple[Summary, ...]


class Watch:
    """Looks for messages that meet the criteria, one after the other; a context manager.

    ``inbox`` None is every inbox; ``after`` None is from now on.  ``patterns`` searches for the patterns; None where
    they are this program's own.  ``is_indexed``: whether somebody looks into messages after they have arrived.
    ``TooManyListeners``.
    """

    def __init__(
        self,
        store: Store,
        hub: Hub,
        run: Run,
        criteria: Criteria,
        *,
        inbox: str | None = None,
        after: int | None = None,
        patterns: Searches | None = None,
        is_indexed: bool = True,
        is_stream: bool = False,
    ) -> None:
        self._store = store
        self._run = run
        self._criteria = criteria
        self._inbox = inbox
        self._patterns = patterns
        self._is_indexed = is_indexed
        self._listener = hub.listen(self._wants, is_stream=is_stream)
        self._must_look = after is not None
        # Behind the listening: what is committed from here on is told.
        self.cursor = store.last_id if after is None else after
        self.seen: deque[Summary] = deque(maxlen=SEEN_LENGTH)
        self._pending: deque[tuple[Summary, bool | None]] = deque()
        self._indexed: set[int] = set()
        self._pattern_room = PATTERN_ROOM

    def __enter__(self) -> Self:
        """For ``with``."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Listen no more."""
        self._listener.__exit__(exc_type, exc, traceback)

    @property
    def is_over(self) -> bool:
        """Whether the server stops."""
        return self._listener.has_ended

    async def next(self, timeout: float | None) -> Summary | None:
        """The next message that is wanted; None when the time is over or the server stops.  ``TooSlow``.

        What is there already is looked at even if ``timeout`` is 0.
        """
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        try:
            while not self._listener.has_ended:
                while self._pending:
                    summary, maybe_found = self._pending.popleft()
                    if summary.id <= self.cursor:
                        continue
                    try:
                        is_wanted = await self._is_wanted(summary, deadline, maybe_found=maybe_found)
                    except TimeoutError:
                        self._pending.appendleft((summary, maybe_found))  # for the next call
                        raise
                    self.cursor = summary.id
                    self._indexed.discard(summary.id)
                    if is_wanted:
                        return summary
                    self.seen.append(summary)
                if self._must_look:
                    await self._look()
                else:
                    async with asyncio.timeout_at(deadline):
                        await self._hear()
        except TimeoutError:
            return None
        return None

    def _wants(self, event: Event) -> bool:
        return event.kind in _KINDS and (self._inbox is None or event.inbox == self._inbox)

    async def _look(self) -> None:
        """Take the next batch from the store."""
        found, self._must_look = await self._run(self._read, self.cursor)
        self._pending.extend(found)

    def _read(self, cursor: int) -> tuple[list[tuple[Summary, bool | None]], bool]:
        """The next messages, each with what the query says of it; and whether there are more."""
        ids = self._store.find(inbox=self._inbox, after=cursor)[:BATCH]
        summaries = list(filter(None, map(self._maybe_summary, ids)))
        query = self._criteria.query
        if query is None or not ids:
            return [(summary, None) for summary in summaries], len(ids) == BATCH
        matching = set(self._store.find(query, inbox=self._inbox, after=cursor, before=ids[-1] + 1))
        return [(summary, summary.id in matching) for summary in summaries], len(ids) == BATCH

    def _maybe_summary(self, id_: int) -> Summary | None:
        try:
            return self._store.summary(id_)
        except NoSuchMessage:  # deleted since
            return None

    async def _hear(self) -> None:
        """Take what has happened; wait until something has."""
        events = await self._listener.next()
        if self._listener.has_missed:
            self._listener.recover()
            self._pending.clear()
            self._must_look = True
            return
        for numbered in events:
            event = numbered.event
            if event.summary is None:
                continue
            if event.kind is EventKind.MESSAGE:
                self._pending.append((event.summary, None))
            elif event.summary.id > self.cursor:
                self._indexed.add(event.summary.id)

    async def _is_wanted(self, summary: Summary, deadline: float | None, *, maybe_found: bool | None) -> bool:
        """Whether a message is wanted.  ``maybe_found`` is what a query said about it, None if none was made."""
        criteria = self._criteria
        if not criteria.matches_text(summary):
            return False
        if criteria.has_patterns and not await self._matches_patterns(summary, deadline):
            return False
        if criteria.q is None or maybe_found:
            return True
        if maybe_found is None and await self._run(self._is_found, summary.id):
            return True
        if not self._is_indexed or (summary.is_indexed and maybe_found is not None):
            return False
        await self._until_indexed(summary.id, deadline)
        return bool(await self._run(self._is_found, summary.id))

    async def _matches_patterns(self, summary: Summary, deadline: float | None) -> bool:
        """Whether all patterns are found.  ``TooSlow``; ``TimeoutError`` at the deadline, but not at once."""
        if self._patterns is None:
            return self._criteria.matches(summary)
        for pattern, values in self._criteria.patterns(summary):
            now = asyncio.get_running_loop().time()
            async with asyncio.timeout_at(None if deadline is None else max(deadline, now + PATTERN_SECONDS)):
                found, seconds = await self._patterns.search(pattern, values)
            self._pattern_room -= seconds if seconds > NO_SECONDS else 0
            if self._pattern_room < 0:
                raise TooSlow("the searches for regular expressions took too long")
            if not found:
                return False
        return True

    def _is_found(self, id_: int) -> bool:
        query = self._criteria.query
        assert query is not None
        return bool(self._store.find(query, inbox=self._inbox, after=id_ - 1, before=id_ + 1))

    async def _until_indexed(self, id_: int, deadline: float | None) -> None:
        """Wait until a message can be found by its text, or for long enough.  ``TimeoutError`` at the deadline."""
        loop = asyncio.get_running_loop()
        until = loop.time() + INDEX_SECONDS
        while id_ not in self._indexed and not await self._run(self._is_indexed_now, id_):
            limit = until if deadline is None else min(until, deadline)
            try:
                async with asyncio.timeout_at(limit):
                    await self._hear()
            except TimeoutError:
                if deadline is not None and limit >= deadline:
                    raise
                return
            if self._listener.has_ended:
                return

    def _is_indexed_now(self, id_: int) -> bool:
        summary = self._maybe_summary(id_)
        return summary is None or summary.is_indexed
