"""What happened, told to whoever listens: the loop's side of the store's events.

The store calls from its own thread; here that becomes one call in the loop for all that has come meanwhile.  Listeners
have queues of a bounded length.  Who does not empty his is told that he missed something, and looks into the store,
which has it all; so no listener can hold memory, and none can lose anything without knowing.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ehlo.inbox.records import Event

QUEUE_LENGTH = 2000
"""Events that wait for a listener."""
MEMORY_LENGTH = 2000
"""Events that are remembered for listeners who come back."""
WAITERS_LIMIT = 200
STREAMS_LIMIT = 100


class TooManyListeners(Exception):
    """No more can be had at once."""


@dataclass(slots=True)
class Numbered:
    """An event and its number, which counts from 1 in each run of the server.

    ``maybe_octets`` is for those who tell it to many: what they have made of the event, once for all.
    """

    number: int
    event: Event
    maybe_octets: bytes | None = None


class Hub:
    """Tells listeners of events.  Everything but ``publish`` belongs to the loop's thread.

    ``epoch`` names this run of the server: numbers of another one mean nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.epoch = secrets.token_hex(4)
        self.number = 0
        self._loop = loop
        self._lock = threading.Lock()
        self._incoming: list[Event] = []
        self._memory: deque[Numbered] = deque(maxlen=MEMORY_LENGTH)
        self._listeners: set[Listener] = set()
        self._is_closed = False

    def publish(self, events: Sequence[Event]) -> None:
        """Take events, in any thread; they are told in the loop, in this order."""
        with self._lock:
            is_first = not self._incoming
            self._incoming += events
        if is_first:
            try:
                self._loop.call_soon_threadsafe(self._tell)
            except RuntimeError:  # the loop is closed: nobody listens any more
                self._incoming.clear()

    def listen(self, wants: Callable[[Event], bool], *, is_stream: bool = False) -> Listener:
        """A listener for the events that it wants, from now on.  ``TooManyListeners``; close it in the end."""
        same = sum(listener.is_stream is is_stream for listener in self._listeners)
        if same >= (STREAMS_LIMIT if is_stream else WAITERS_LIMIT):
            raise TooManyListeners("too many clients are waiting")
        listener = Listener(self, wants, is_stream=is_stream)
        self._listeners.add(listener)
        if self._is_closed:
            listener.end()
        return listener

    def since(self, number: int) -> list[Numbered] | None:
        """The events after this number, None when not all of them are remembered."""
        if number > self.number or (self._memory and number + 1 < self._memory[0].number):
            return None
        return [numbered for numbered in self._memory if numbered.number > number]

    def count(self, *, is_stream: bool) -> int:
        """How many listen."""
        return sum(listener.is_stream is is_stream for listener in self._listeners)

    def close(self) -> None:
        """End what everybody waits for."""
        self._is_closed = True
        for listener in list(self._listeners):
            listener.end()

    def forget(self, listener: Listener) -> None:
        """Tell a listener nothing more."""
        self._listeners.discard(listener)

    def _tell(self) -> None:
        with self._lock:
            events, self._incoming = self._incoming, []
        for event in events:
            self.number += 1
            numbered = Numbered(self.number, event)
            self._memory.append(numbered)
            for listener in self._listeners:
                listener.offer(numbered)


class Listener:
    """A queue of events.  ``has_missed``: there were more than it holds, and it was emptied."""

    def __init__(self, hub: Hub, wants: Callable[[Event], bool], *, is_stream: bool) -> None:
        self.is_stream = is_stream
        self.has_missed = False
        self.has_ended = False
        self._hub = hub
        self.wants = wants
        self._queue: deque[Numbered] = deque()
        self._arrived = asyncio.Event()

    def offer(self, numbered: Numbered) -> None:
        """Put an event into the queue if it is wanted."""
        if not self.wants(numbered.event):
            return
        if len(self._queue) >= QUEUE_LENGTH:
            self._queue.clear()
            self.has_missed = True
        if not self.has_missed:
            self._queue.append(numbered)
        self._arrived.set()

    def end(self) -> None:
        """Let ``next`` return: the server stops."""
        self.has_ended = True
        self._arrived.set()

    async def next(self) -> list[Numbered]:
        """All events that are there, at least one; none when some were missed, or when the hub is closed."""
        while not (self._queue or self.has_missed or self.has_ended):
            self._arrived.clear()
            await self._arrived.wait()
        events = list(self._queue)
        self._queue.clear()
        return events

    def recover(self) -> None:
        """Begin anew after ``has_missed``."""
        self.has_missed = False
        self._queue.clear()

    def __enter__(self) -> Self:
        """For ``with``."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Listen no more."""
        self._hub.forget(self)
