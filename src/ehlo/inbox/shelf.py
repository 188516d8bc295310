"""What has arrived in one inbox, for those who wait in threads and in loops of their own.

Fed by the store's thread.  Knows summaries and who has taken which; does not know what is in a message.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ehlo.inbox.records import Event, EventKind, Summary

if TYPE_CHECKING:
    from ehlo.inbox.store import Store

    Look = Callable[[], Summary | None]


class InboxClosed(RuntimeError):
    """Nothing more can arrive."""


class Shelf:
    """The messages of an inbox in the order of their arrival, from when it is made until it is closed.

    A message that was taken is not given to the next who waits; ``taken`` has their ids.
    """

    def __init__(self, store: Store, inbox: str) -> None:
        self.taken: set[int] = set()
        self._inbox = inbox
        self._summaries: dict[int, Summary] = {}
        self._changed = threading.Condition()
        self._version = 0
        self._futures: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}
        self._is_closed = False
        self._unsubscribe = store.subscribe(self._note)

    @property
    def summaries(self) -> list[Summary]:
        """What is there now, oldest first."""
        with self._changed:
            return list(self._summaries.values())

    def put(self, summaries: Iterable[Summary]) -> None:
        """Put what was there before."""
        with self._changed:
            known = {summary.id: summary for summary in summaries} | self._summaries
            self._summaries = dict(sorted(known.items()))

    def take(self, summary: Summary) -> bool:
        """Take a message; False if somebody was faster."""
        with self._changed:
            if summary.id in self.taken:
                return False
            self.taken.add(summary.id)
            return True

    def wait(self, look: Look, seconds: float) -> Summary | None:
        """Look, and look again whenever something has arrived; None when the time is over before anything is found."""
        deadline = time.monotonic() + seconds
        while True:
            version = self._version
            found = look()
            if found is not None:
                return found
            with self._changed:
                if not self._changed.wait_for(
                    lambda: self._version != version or self._is_closed,  # noqa: B023 - called before the next turn
                    max(0.0, deadline - time.monotonic()),
                ):
                    return None
                self._refuse_if_closed()

    async def wait_async(self, look: Look, seconds: float) -> Summary | None:
        """The same for a coroutine, in whatever loop it runs."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            future: asyncio.Future[None] = loop.create_future()
            with self._changed:
                self._refuse_if_closed()
                self._futures[future] = loop
            try:
                found = look()
                if found is not None:
                    return found
                async with asyncio.timeout_at(deadline):
                    await future
            except TimeoutError:
                return None
            finally:
                with self._changed:
                    self._futures.pop(future, None)

    def close(self) -> None:
        """Let everybody go."""
        self._unsubscribe()
        with self._changed:
            self._is_closed = True
            self._wake()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise InboxClosed("the inbox is closed")

    def _note(self, events: Sequence[Event]) -> None:
        """Take what the store's thread tells."""
        mine = [event for event in events if event.inbox == self._inbox]
        if not mine:
            return
        with self._changed:
            for event in mine:
                if event.kind is EventKind.DELETED:
                    for number in event.ids:
                        self._summaries.pop(number, None)
                elif event.summary is not None and (
                    event.kind is EventKind.MESSAGE or event.summary.id in self._summaries
                ):
                    self._summaries[event.summary.id] = event.summary
            self._wake()

    def _wake(self) -> None:
        self._version += 1
        self._changed.notify_all()
        for future, loop in self._futures.items():
            with suppress(RuntimeError):  # the loop is closed, and nobody waits in it
                loop.call_soon_threadsafe(_set, future)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
