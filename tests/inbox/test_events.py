from __future__ import annotations

import asyncio
import threading

import pytest

from ehlo.inbox import events
from ehlo.inbox.events import Hub, TooManyListeners
from ehlo.inbox.records import Event, EventKind


def event(id_: int, inbox: str = "default") -> Event:
    return Event(EventKind.CHANGED, inbox, (id_,))


def ids(found: list[events.Numbered]) -> list[int]:
    return [numbered.event.ids[0] for numbered in found]


def anything(_: Event) -> bool:
    return True


async def test_a_listener_hears_what_happens_from_now_on() -> None:
    hub = Hub(asyncio.get_running_loop())
    hub.publish([event(1)])
    await asyncio.sleep(0)
    with hub.listen(anything) as listener:
        hub.publish([event(2), event(3)])
        hub.publish([event(4)])
        assert ids(await listener.next()) == [2, 3, 4]
    assert hub.count(is_stream=False) == 0


async def test_events_come_from_any_thread_in_their_order() -> None:
    hub = Hub(asyncio.get_running_loop())
    with hub.listen(anything) as listener:

        def publish_all() -> None:
            for number in range(300):
                hub.publish([event(number)])

        thread = threading.Thread(target=publish_all)
        thread.start()
        heard: list[int] = []
        async with asyncio.timeout(5):
            while len(heard) < 300:
                heard += ids(await listener.next())
        thread.join()
    assert heard == list(range(300))


async def test_a_listener_hears_what_it_wants_only() -> None:
    hub = Hub(asyncio.get_running_loop())
    with hub.listen(lambda event: event.inbox == "a") as listener:
        hub.publish([event(1, "b"), event(2, "a")])
        assert ids(await listener.next()) == [2]


async def test_who_does_not_listen_holds_no_memory_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_LENGTH", 10)
    hub = Hub(asyncio.get_running_loop())
    with hub.listen(anything) as slow, hub.listen(anything) as other:
        for number in range(30):
            hub.publish([event(number)])
            await asyncio.sleep(0)
            assert ids(await other.next()) == [number]
            assert len(slow._queue) <= 10
        assert await slow.next() == []
        assert slow.has_missed
        slow.recover()
        hub.publish([event(99)])
        assert ids(await slow.next()) == [99]
        assert not slow.has_missed


async def test_what_was_missed_can_be_had_as_long_as_it_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MEMORY_LENGTH", 3)
    hub = Hub(asyncio.get_running_loop())
    hub.publish([event(number) for number in range(1, 6)])
    await asyncio.sleep(0)
    assert hub.number == 5
    assert ids(hub.since(3) or []) == [4, 5]
    assert ids(hub.since(2) or []) == [3, 4, 5]
    assert hub.since(1) is None
    assert hub.since(5) == []
    assert hub.since(6) is None  # of another run


async def test_listeners_are_limited_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAITERS_LIMIT", 2)
    monkeypatch.setattr(events, "STREAMS_LIMIT", 1)
    hub = Hub(asyncio.get_running_loop())
    with hub.listen(anything), hub.listen(anything), hub.listen(anything, is_stream=True):
        for is_stream in (False, True):
            with pytest.raises(TooManyListeners):
                hub.listen(anything, is_stream=is_stream)
    with hub.listen(anything):
        pass


async def test_closing_ends_every_wait_also_one_that_begins_later() -> None:
    hub = Hub(asyncio.get_running_loop())
    with hub.listen(anything) as listener:
        waiting = asyncio.ensure_future(listener.next())
        await asyncio.sleep(0)
        hub.close()
        assert await waiting == []
        assert listener.has_ended
    with hub.listen(anything) as late:
        assert await late.next() == []


def test_events_behind_the_end_of_the_loop_are_dropped() -> None:
    loop = asyncio.new_event_loop()
    hub = Hub(loop)
    loop.close()
    hub.publish([event(1)])
    hub.publish([event(2)])
    assert hub._incoming == []
