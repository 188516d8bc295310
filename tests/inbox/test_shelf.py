from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from ehlo.inbox.records import Event, EventKind, Summary
from ehlo.inbox.shelf import InboxClosed, Shelf

PATIENCE = 5.0


def summary(number: int, subject: str = "", **more: Any) -> Summary:
    facts: dict[str, Any] = {
        "inbox": "mine",
        "received_at": 0.0,
        "size": 1,
        "mail_from": "ann@a.example",
        "rcpt_tos": ("bob@b.example",),
        "header_from": "",
        "header_to": "",
        "message_id": "",
        "snippet": "",
        "attachments": 0,
        "has_html": False,
        "is_read": False,
        "is_indexed": False,
        "tags": (),
        "session_id": "",
    }
    return Summary(id=number, subject=subject, **(facts | more))


class Source:
    """What a store is to a shelf: somebody who calls back."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[Sequence[Event]], None]] = []

    def subscribe(self, callback: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def tell(self, *events: Event) -> None:
        for callback in self.callbacks:
            callback(events)

    def arrive(self, number: int, inbox: str = "mine") -> None:
        self.tell(Event(EventKind.MESSAGE, inbox, (number,), summary(number, inbox=inbox)))


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def shelf(source: Source) -> Shelf:
    return Shelf(cast("Any", source), "mine")


def first(shelf: Shelf, number: int) -> Callable[[], Summary | None]:
    """A look for a message."""
    return lambda: next((one for one in shelf.summaries if one.id == number), None)


def ids(shelf: Shelf) -> list[int]:
    return [one.id for one in shelf.summaries]


def test_it_holds_the_messages_of_its_inbox_in_their_order(source: Source, shelf: Shelf) -> None:
    source.arrive(5)
    source.arrive(6, "another")
    source.arrive(7)
    shelf.put([summary(1), summary(2)])
    assert ids(shelf) == [1, 2, 5, 7]


def test_what_is_deleted_goes_and_what_is_looked_into_is_renewed(source: Source, shelf: Shelf) -> None:
    source.arrive(1)
    source.arrive(2)
    source.tell(Event(EventKind.DELETED, "mine", (1, 9)))
    source.tell(Event(EventKind.INDEXED, "mine", (2,), summary(2, is_indexed=True)))
    source.tell(Event(EventKind.INDEXED, "mine", (1,), summary(1, is_indexed=True)))  # it was too late
    assert [(one.id, one.is_indexed) for one in shelf.summaries] == [(2, True)]


def test_a_message_is_taken_once(shelf: Shelf) -> None:
    assert [shelf.take(summary(1)), shelf.take(summary(1)), shelf.take(summary(2))] == [True, False, True]


def test_what_is_there_is_found_at_once(source: Source, shelf: Shelf) -> None:
    source.arrive(1)
    found = shelf.wait(first(shelf, 1), 0)
    assert found is not None
    assert found.id == 1


def test_a_wait_for_what_does_not_come_ends(source: Source, shelf: Shelf) -> None:
    source.arrive(1)
    assert shelf.wait(first(shelf, 2), 0.01) is None


def test_a_thread_that_waits_is_woken(source: Source, shelf: Shelf) -> None:
    is_looking = threading.Event()
    found: list[Summary | None] = []

    def look() -> Summary | None:
        is_looking.set()
        return first(shelf, 2)()

    thread = threading.Thread(target=lambda: found.append(shelf.wait(look, PATIENCE)))
    thread.start()
    assert is_looking.wait(PATIENCE)
    source.arrive(1)
    source.arrive(2)
    thread.join(PATIENCE)
    assert [one.id for one in found if one] == [2]


def test_what_comes_between_the_look_and_the_wait_is_not_missed(source: Source, shelf: Shelf) -> None:
    looks = 0

    def look() -> Summary | None:
        nonlocal looks
        looks += 1
        found = first(shelf, 1)()
        if looks == 1:
            source.arrive(1)
        return found

    assert shelf.wait(look, PATIENCE) is not None
    assert looks == 2


async def test_a_coroutine_that_waits_is_woken_from_another_thread(source: Source, shelf: Shelf) -> None:
    waiting = asyncio.create_task(shelf.wait_async(first(shelf, 2), PATIENCE))
    await asyncio.sleep(0)
    await asyncio.to_thread(source.arrive, 1)
    await asyncio.to_thread(source.arrive, 2)
    found = await waiting
    assert found is not None
    assert found.id == 2


async def test_a_coroutine_does_not_wait_for_ever(shelf: Shelf) -> None:
    assert await shelf.wait_async(first(shelf, 1), 0.01) is None


async def test_two_that_wait_in_one_loop_do_not_hinder_each_other(source: Source, shelf: Shelf) -> None:
    waiting = [asyncio.create_task(shelf.wait_async(first(shelf, number), PATIENCE)) for number in (1, 2)]
    await asyncio.sleep(0)
    source.arrive(2)
    source.arrive(1)
    assert [found.id for found in await asyncio.gather(*waiting) if found] == [1, 2]


def test_a_loop_that_is_closed_is_passed_over(source: Source, shelf: Shelf) -> None:
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(shelf.wait_async(first(shelf, 1), PATIENCE))
    loop.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    loop.close()
    source.arrive(1)  # raises nothing
    assert ids(shelf) == [1]


async def test_who_waits_hears_that_it_is_closed(shelf: Shelf, source: Source) -> None:
    waiting = asyncio.create_task(shelf.wait_async(first(shelf, 1), PATIENCE))
    blocked = asyncio.create_task(asyncio.to_thread(shelf.wait, first(shelf, 1), PATIENCE))
    await asyncio.sleep(0)
    shelf.close()
    for task in (waiting, blocked):
        with pytest.raises(InboxClosed):
            await task
    assert source.callbacks == []
