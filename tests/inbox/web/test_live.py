"""Waiting by HTTP, and streams of events: what a client sees, and what is left when it goes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ehlo.inbox import events
from ehlo.inbox.records import Event, EventKind, SessionRecord
from ehlo.inbox.web import routes_live, streaming
from tests.inbox.web.support import Web, mail, put, serving, until


def waiters(web: Web) -> int:
    return web.server.hub.count(is_stream=False)


def streams(web: Web) -> int:
    return web.server.hub.count(is_stream=True)


# Waiting


async def test_a_wait_is_answered_with_the_message_and_what_is_in_it() -> None:
    async with serving() as web:
        waiting = web.begin("/api/v1/wait?to=alice&subject=/^code/&timeout=10")
        await until(lambda: waiters(web) == 1)
        other = await put(web, mail("Other"))
        id_ = await put(web, mail("Code", text="Your code is 483920"), rcpt_tos=("alice@example.com",))
        found = (await waiting.answer()).json
        assert (found["message"]["id"], found["cursor"]) == (id_, id_)
        assert found["message"]["codes"] == ["483920"]
        assert found["message"]["text"].strip() == "Your code is 483920"
        assert [message["id"] for message in found["arrived"]] == [other]
        assert waiters(web) == 0


async def test_a_wait_that_is_over_says_null_and_where_to_go_on() -> None:
    async with serving() as web:
        id_ = await put(web)
        found = (await web.get("/api/v1/wait?timeout=0.01&after=0&subject=none")).json
        assert (found["message"], found["cursor"]) == (None, id_)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("q=from:", 400, "bad_query"),
        ("subject=/(/", 422, "invalid"),
        ("timeout=x", 422, "invalid"),
        ("subjct=a", 422, "invalid"),
        ("to=", 422, "invalid"),
        ("from=", 422, "invalid"),
        ("subject=", 422, "invalid"),
        ("q=", 422, "invalid"),
        ("q=%20", 400, "bad_query"),
    ],
)
async def test_what_cannot_be_waited_for_is_said_at_once(query: str, status: int, code: str) -> None:
    async with serving() as web:
        for path in ("wait", "events"):
            if path == "events" and "timeout" in query:
                continue
            answer = await web.get(f"/api/v1/{path}?{query}")
            assert (answer.status, answer.error) == (status, code)


async def test_a_pattern_that_takes_for_ever_is_an_error_and_stops_nobody() -> None:
    async with serving() as web:
        await put(web, mail("a" * 40 + "b"))
        slow = web.begin("/api/v1/wait?after=0&subject=/(a%2B)%2B$/")
        assert (await web.get("/api/v1/wait?after=0&timeout=0&subject=aaa")).json["message"] is not None
        answer = await slow.answer()
        assert (answer.status, answer.error) == (422, "too_slow")


async def test_a_client_that_goes_away_is_not_waited_for() -> None:
    async with serving() as web:
        waiting = web.begin("/api/v1/wait?timeout=300")
        await until(lambda: waiters(web) == 1)
        await waiting.leave()
        assert waiters(web) == 0


async def test_waiters_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAITERS_LIMIT", 3)
    async with serving() as web:
        waiting = [web.begin("/api/v1/wait?timeout=300") for _ in range(3)]
        await until(lambda: waiters(web) == 3)
        answer = await web.get("/api/v1/wait?timeout=300")
        assert (answer.status, answer.error, answer.headers["retry-after"]) == (429, "too_many", "5")
        await waiting[0].leave()
        assert (await web.get("/api/v1/wait?timeout=0.01")).status == 200
        for one in waiting[1:]:
            await one.leave()


async def test_those_who_wait_hold_no_thread() -> None:
    async with serving() as web:
        waiting = [web.begin("/api/v1/wait?timeout=300") for _ in range(100)]
        await until(lambda: waiters(web) == 100)
        assert (await web.get("/api/v1/messages")).status == 200
        await put(web)
        assert {(await one.answer()).json["cursor"] for one in waiting} == {1}


async def test_a_server_that_stops_answers_those_who_wait() -> None:
    async with serving() as web:
        waiting = web.begin("/api/v1/wait?timeout=300")
        stream = web.begin("/api/v1/events")
        await stream.event()
        await until(lambda: waiters(web) == 1)
        stopping = asyncio.ensure_future(web.server.stop())
        assert (await waiting.answer()).json["message"] is None
        assert (await stream.answer()).status == 200
        await stopping


# Streams


async def test_a_stream_tells_what_happens() -> None:
    async with serving() as web:
        store = web.server.store
        old = await put(web)
        stream = web.begin("/api/v1/events")
        hello = await stream.event()
        assert (hello.name, hello.data) == ("hello", {"cursor": old})
        id_ = await put(web, mail("News"))
        message = await stream.event()
        assert (message.name, message.data["subject"]) == ("message", "News")
        await asyncio.wrap_future(store.mark([id_], is_read=True))
        assert (await stream.event())[:2] == ("changed", {"ids": [id_], "is_read": True})
        await asyncio.wrap_future(store.tag([id_], add=["a"], remove=["b"]))
        changed = (await stream.event()).data
        assert (changed["ids"], changed["add_tags"]) == ([id_], ["a"])
        await asyncio.wrap_future(store.delete([id_]))
        assert (await stream.event())[:2] == ("deleted", {"ids": [id_]})
        await asyncio.wrap_future(store.put_session(SessionRecord("s-1", "p", "l", 0.0, outcome="idle")))
        assert (await stream.event()).data["id"] == "s-1"
        await web.post("/api/v1/inboxes", {"name": "team"})
        assert (await stream.event())[:2] == ("inbox", {"name": "team"})
        await stream.leave()
        assert streams(web) == 0


async def test_a_message_that_was_indexed_has_changed() -> None:
    async with serving(is_indexed=True) as web:
        stream = web.begin("/api/v1/events")
        await stream.event()
        id_ = await put(web, mail(text="the text"))
        changed = (await stream.events_until("changed"))[-1]
        assert changed.data["ids"] == [id_]
        assert changed.data["message"]["snippet"] == "the text"
        await stream.leave()


async def test_what_happens_in_a_moment_can_be_had_together() -> None:
    async with serving() as web:
        old = await put(web)
        stream = web.begin(f"/api/v1/events?together=1&after={old - 1}")
        assert (await stream.event()).name == "hello"
        caught_up = await stream.event()
        assert (caught_up.name, caught_up.data) == ("together", [["message", {"ids": [old]}]])
        first = await put(web)
        alone = await stream.event()
        assert alone.data == [["message", {"ids": [first]}]]
        arrivals = [Event(EventKind.MESSAGE, "default", (id_,)) for id_ in (7, 8)]
        read = Event(EventKind.CHANGED, "default", (first,), is_read=True)
        web.server.hub.publish([arrivals[0], read, arrivals[1], Event(EventKind.DELETED, "default", (7,))])
        several = await stream.event()
        assert several.data == [
            ["message", {"ids": [7, 8]}],
            ["changed", {"ids": [first], "is_read": True}],
            ["deleted", {"ids": [7]}],
        ]
        await stream.leave()
        again = web.begin("/api/v1/events?together=1", **{"last-event-id": alone.id})
        await again.event()
        assert await again.event() == several
        await again.leave()


async def test_who_is_told_together_waits_for_more_while_much_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_live, "BUSY", 3)
    monkeypatch.setattr(routes_live, "BUSY_LINGER", 60.0)
    monkeypatch.setattr(routes_live, "LINGER", 0.0)
    async with serving() as web:
        together, others = web.begin("/api/v1/events?together=1"), web.begin("/api/v1/events")
        for stream in (together, others):
            await stream.event()
        for count in (2, 3):  # at once, both times
            web.server.hub.publish([Event(EventKind.DELETED, "default", (1,))] * count)
            assert len((await together.event()).data) == count
        told = len(together.request.sent)
        web.server.hub.publish([Event(EventKind.INBOX, "a")])
        await others.events_until("inbox")
        await asyncio.sleep(0)
        assert len(together.request.sent) == told
        for stream in (together, others):
            await stream.leave()


async def test_a_stream_of_an_inbox_is_of_that_inbox() -> None:
    async with serving() as web:
        stream = web.begin("/api/v1/events?inbox=team")
        await stream.event()
        await put(web)
        id_ = await put(web, inbox="team")
        assert (await stream.event()).data["id"] == id_
        await stream.leave()


async def test_a_stream_that_broke_goes_on_where_it_was() -> None:
    async with serving() as web:
        stream = web.begin("/api/v1/events")
        await stream.event()
        first = await put(web)
        seen = await stream.event()
        assert seen.data["id"] == first
        await stream.leave()
        missed = [await put(web), await put(web)]
        again = web.begin("/api/v1/events", **{"last-event-id": seen.id})
        assert [(await again.event()).name for _ in range(1)] == ["hello"]
        assert [(await again.event()).data["id"] for _ in range(2)] == missed
        new = await put(web)
        assert (await again.event()).data["id"] == new
        await again.leave()


async def test_a_stream_that_missed_too_much_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MEMORY_LENGTH", 2)
    async with serving() as web:
        first = web.begin("/api/v1/events")
        hello = await first.event()
        await first.leave()
        for _ in range(5):
            await put(web)
        for last in (hello.id, f"{'0' * 8}.1", f"{web.server.hub.epoch}.999"):
            again = web.begin("/api/v1/events", **{"last-event-id": last})
            assert [(await again.event()).name for _ in range(2)] == ["hello", "reset"]
            await again.leave()


@pytest.mark.parametrize("last", ["", "x", "1", "m", "0.0", "٣", "a" * 1000])
async def test_an_id_that_is_none_begins_anew(last: str) -> None:
    async with serving() as web:
        stream = web.begin("/api/v1/events", **{"last-event-id": last.encode().decode("latin-1")})
        await stream.event()
        id_ = await put(web)
        assert (await stream.event()).data["id"] == id_
        await stream.leave()


async def test_a_stream_may_begin_with_what_is_newer_than_a_message() -> None:
    async with serving() as web:
        ids = [await put(web) for _ in range(3)]
        stream = web.begin(f"/api/v1/events?after={ids[0]}")
        assert [event.data.get("id") for event in [await stream.event() for _ in range(3)]] == [None, *ids[1:]]
        new = await put(web)
        assert (await stream.event()).data["id"] == new
        await stream.leave()


async def test_who_would_have_to_catch_up_too_much_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_live, "CATCH_UP_LIMIT", 2)
    async with serving() as web:
        for _ in range(3):
            await put(web)
        stream = web.begin("/api/v1/events?after=0")
        assert [(await stream.event()).name for _ in range(2)] == ["hello", "reset"]
        await stream.leave()


async def test_a_stream_with_criteria_is_of_messages_that_match_and_resumes() -> None:
    async with serving() as web:
        wanted = await put(web, mail("Wanted"))
        stream = web.begin("/api/v1/events?subject=wanted&after=0")
        assert (await stream.event()).name == "hello"
        found = await stream.event()
        assert (found.name, found.data["id"], found.id) == ("message", wanted, f"m{wanted}")
        await stream.leave()
        await put(web, mail("Other"))
        missed = await put(web, mail("Wanted"))
        again = web.begin("/api/v1/events?subject=wanted&after=0", **{"last-event-id": found.id})
        await again.event()
        assert (await again.event()).data["id"] == missed
        new = await put(web, mail("Wanted too"))
        assert (await again.event()).data["id"] == new
        await again.leave()
        assert streams(web) == 0


async def test_a_stream_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_live, "KEEP_ALIVE", 0.01)
    async with serving() as web:
        for query in ("", "?subject=a"):
            stream = web.begin(f"/api/v1/events{query}")
            await until(lambda: len(stream.request.sent) > 3)  # noqa: B023 - called at once
            assert stream.request.sent[3]["body"] == b": alive\n\n"
            await stream.leave()


async def test_a_client_that_does_not_read_holds_a_bounded_memory_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_LENGTH", 10)
    async with serving() as web:
        slow, fast = web.begin("/api/v1/events"), web.begin("/api/v1/events")
        await slow.event()
        await fast.event()
        slow.request.reads.clear()
        for _ in range(40):
            id_ = await put(web)
            assert (await fast.event()).data["id"] == id_
        listeners = list(web.server.hub._listeners)
        assert all(len(listener._queue) <= 10 for listener in listeners)
        slow.request.reads.set()
        assert (await slow.events_until("reset"))[-1].name == "reset"
        new = await put(web)
        assert (await slow.event()).data["id"] == new
        for stream in (slow, fast):
            await stream.leave()


async def test_a_client_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STUCK_SECONDS", 0.02)
    async with serving() as web:
        stream = web.begin("/api/v1/events")
        await stream.event()
        stream.request.reads.clear()
        await put(web)
        await stream.task
        assert streams(web) == 0


async def test_streams_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "STREAMS_LIMIT", 1)
    async with serving() as web:
        stream = web.begin("/api/v1/events")
        await stream.event()
        for path in ("/api/v1/events", "/api/v1/events?subject=a"):
            assert (await web.get(path)).status == 429
        assert (await web.get("/api/v1/wait?timeout=0")).status == 200
        await stream.leave()


async def test_an_event_is_encoded_once_for_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    described = []
    describe = routes_live._describe

    def counting(event: Any) -> Any:
        described.append(event.ids)
        return describe(event)

    monkeypatch.setattr(routes_live, "_describe", counting)
    async with serving() as web:
        streams_ = [web.begin("/api/v1/events") for _ in range(3)]
        for stream in streams_:
            await stream.event()
        id_ = await put(web)
        assert [(await stream.event()).data["id"] for stream in streams_] == [id_] * 3
        assert len(described) == 1
        for stream in streams_:
            await stream.leave()


async def test_what_comes_in_a_burst_goes_out_together() -> None:
    async with serving() as web:
        stream = web.begin("/api/v1/events")
        await stream.event()
        ids = [await put(web) for _ in range(20)]
        assert [(await stream.event()).data["id"] for _ in ids] == ids
        assert len(stream.request.sent) < 20
        await stream.leave()
