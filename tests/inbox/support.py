"""Mail and stores for the tests of the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ehlo.inbox.records import Arrival, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ehlo.inbox.store import Store

PATIENCE = 20.0
"""Seconds that a test waits for what happens within milliseconds, unless it is broken."""


def mail(
    subject: str = "Hello", body: str = "A body.", *, sender: str = "ann@example.com", to: str = "bob@example.org"
) -> bytes:
    """A message of a few lines."""
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", "Message-ID: <1@example.com>", "", body, ""]
    return "\r\n".join(lines).encode()


def arrival(raw: bytes | None = None, **fields: Any) -> Arrival:
    """A message on its way."""
    fields.setdefault("mail_from", "ann@example.com")
    fields.setdefault("rcpt_tos", ("bob@example.org",))
    return Arrival(mail() if raw is None else raw, **fields)


def put(store: Store, raw: bytes | None = None, **fields: Any) -> int:
    """Store a message and wait; its id."""
    return store.add(arrival(raw, **fields)).result(PATIENCE)


class Clock:
    """The time of day, as a test wants it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Listener:
    """Notes what happens in a store."""

    def __init__(self, store: Store) -> None:
        self.events: list[Event] = []
        self.stop = store.subscribe(self.hear)

    def hear(self, events: Sequence[Event]) -> None:
        self.events += events

    def take(self) -> list[Event]:
        """What has happened since the last call."""
        events, self.events = self.events, []
        return events
