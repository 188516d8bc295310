"""Waiting for messages: nothing is missed, nothing old is taken, whatever happens at the same time."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox import events, waiting
from ehlo.inbox.criteria import Criteria
from ehlo.inbox.indexer import Indexer
from ehlo.inbox.patterns import TooSlow
from ehlo.inbox.records import Arrival
from ehlo.inbox.server import InboxServer
from ehlo.inbox.store import Store
from tests.inbox.web.support import mail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANY = Criteria()


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[InboxServer]:
    with Store() as store:
        given: dict[str, Any] = {"smtp": None, "web": None, "is_indexed": False}
        async with InboxServer(store, **given | options) as server:
            yield server


def arrival(subject: str = "Hello", inbox: str = "default", **more: Any) -> Arrival:
    return Arrival(raw=mail(subject, **more), mail_from="a@example.com", rcpt_tos=("to@example.com",), inbox=inbox)


async def put(server: InboxServer, subject: str = "Hello", inbox: str = "default", **more: Any) -> int:
    return await asyncio.wrap_future(server.store.add(arrival(subject, inbox, **more)))


async def test_without_a_cursor_only_what_arrives_from_now_on_is_taken() -> None:
    async with running() as server:
        await put(server)
        task = asyncio.ensure_future(server.wait(ANY, timeout=5))
        await asyncio.sleep(0)
        new = await put(server)
        found = await task
        assert found.summary is not None
        assert (found.summary.id, found.cursor, found.arrived) == (new, new, ())


async def test_a_message_that_was_acknowledged_before_the_call_is_old() -> None:
    async with running() as server:
        for _ in range(20):
            await put(server)  # the reply to SMTP comes after this
            assert (await server.wait(ANY, timeout=0)).summary is None


async def test_with_a_cursor_what_is_there_is_taken_at_once_and_in_order() -> None:
    async with running() as server:
        first, second = await put(server), await put(server)
        found = await server.wait(ANY, after=0, timeout=0)
        assert found.cursor == first
        found = await server.wait(ANY, after=found.cursor, timeout=0)
        assert found.cursor == second
        found = await server.wait(ANY, after=found.cursor, timeout=0)
        assert (found.summary, found.cursor) == (None, second)


async def test_what_does_not_match_is_told_of_and_passed_over() -> None:
    async with running() as server:
        for number in range(25):
            await put(server, f"Other {number}")
        wanted = await put(server, "Wanted")
        found = await server.wait(Criteria(subject="wanted"), after=0, timeout=0)
        assert found.cursor == wanted
        assert [other.subject for other in found.arrived] == [f"Other {number}" for number in range(5, 25)]


async def test_when_time_is_over_the_cursor_is_behind_all_that_was_seen() -> None:
    async with running() as server:
        last = [await put(server) for _ in range(3)][-1]
        found = await server.wait(Criteria(subject="nothing"), after=0, timeout=0.01)
        assert (found.summary, found.cursor, len(found.arrived)) == (None, last, 3)


async def test_a_message_of_another_inbox_does_not_count() -> None:
    async with running() as server:
        await put(server, inbox="other")
        task = asyncio.ensure_future(server.wait(ANY, inbox="mine", after=0, timeout=5))
        await put(server, inbox="other")
        mine = await put(server, inbox="mine")
        found = await task
        assert (found.cursor, found.arrived) == (mine, ())


async def test_a_message_that_comes_between_two_calls_is_the_next_ones() -> None:
    async with running() as server:
        cursor = 0
        for number in range(10):
            await put(server, f"a {number}")
            await put(server, f"b {number}")
            found = await server.wait(Criteria(subject=f"a {number}"), after=cursor, timeout=5)
            cursor = found.cursor
            found = await server.wait(Criteria(subject=f"b {number}"), after=cursor, timeout=5)
            assert found.summary is not None
            assert found.arrived == ()
            cursor = found.cursor


async def test_a_message_that_is_committed_while_the_store_is_looked_into_is_not_missed() -> None:
    async with running() as server:
        await put(server, "old")
        with server.watch(ANY, after=0) as watch:
            read = watch._read

            def read_late(cursor: int) -> Any:
                found = read(cursor)
                # Committed behind the look, told of before the look is over.
                server.store.add(arrival("in between")).result()
                return found

            watch._read = read_late  # type: ignore[method-assign]
            subjects = []
            for _ in range(2):
                found = await watch.next(5)
                assert found is not None
                subjects.append(found.subject)
            assert subjects == ["old", "in between"]


async def test_a_message_that_is_seen_by_the_look_and_told_of_is_given_once() -> None:
    async with running() as server:
        with server.watch(ANY, after=0) as watch:
            await put(server, "first")  # told of, and there for the look
            assert (await watch.next(5)) is not None
            assert (await watch.next(0.02)) is None


async def test_messages_of_one_commit_are_given_one_by_one() -> None:
    async with running() as server:
        futures = [server.store.add(arrival(f"{number}")) for number in range(50)]
        with server.watch(ANY) as live, server.watch(ANY, after=0) as looking:
            for watch in (looking, live):
                ids: list[int] = []
                while (found := await watch.next(0.3 if len(ids) < 1 else 0.1)) is not None:
                    ids.append(found.id)
                assert ids == sorted(set(ids))
                if watch is looking:
                    assert ids == [future.result() for future in futures]


async def test_nothing_is_missed_or_taken_twice_under_load() -> None:
    async with running() as server:
        count = 400

        def send() -> None:
            for number in range(count):
                server.store.add(arrival(f"{number}"))

        sender = threading.Thread(target=send)
        found_ids: list[int] = []
        cursor = 0
        sender.start()
        while len(found_ids) < count:
            found = await server.wait(ANY, after=cursor, timeout=5)
            assert found.summary is not None
            assert found.cursor > cursor
            cursor = found.cursor
            found_ids.append(cursor)
        sender.join()
        assert found_ids == list(range(1, count + 1))


async def test_more_than_a_queue_holds_is_found_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_LENGTH", 5)
    monkeypatch.setattr(waiting, "BATCH", 7)
    async with running() as server:
        with server.watch(ANY) as watch:
            ids = [await put(server, f"{number}") for number in range(40)]
            heard: list[int] = []
            while len(heard) < 40:
                found = await watch.next(5)
                assert found is not None
                heard.append(found.id)
            assert heard == ids


async def test_what_is_deleted_meanwhile_is_passed_over() -> None:
    async with running() as server:
        first, second = await put(server), await put(server)
        with server.watch(ANY, after=0) as watch:
            find = server.store.find

            def find_and_delete(*args: Any, **more: Any) -> Any:
                found = find(*args, **more)
                server.store.delete([first]).result()
                return found

            server.store.find = find_and_delete  # type: ignore[method-assign]
            found = await watch.next(5)
        assert found is not None
        assert found.id == second


# Queries and patterns


async def test_a_query_finds_text_as_soon_as_it_is_indexed() -> None:
    async with running(is_indexed=True) as server:
        task = asyncio.ensure_future(server.wait(Criteria(q="needle"), timeout=10))
        await asyncio.sleep(0)
        await put(server, text="hay")
        wanted = await put(server, text="a needle in it")
        await put(server, text="hay")
        found = await task
        assert found.cursor == wanted
        assert len(found.arrived) == 1


async def test_a_query_that_needs_no_index_does_not_wait_for_it() -> None:
    async with running() as server:
        task = asyncio.ensure_future(server.wait(Criteria(q="subject:wanted"), timeout=5))
        await asyncio.sleep(0)
        await put(server, "Other")
        wanted = await put(server, "Wanted")
        assert (await task).cursor == wanted


async def test_a_query_with_a_cursor_finds_what_is_indexed_later() -> None:
    with Store() as store:
        async with InboxServer(store, smtp=None, web=None, is_indexed=False) as server:
            server.is_indexed = True
            await put(server, text="hay")
            wanted = await put(server, text="needle")
            task = asyncio.ensure_future(server.wait(Criteria(q="needle"), after=0, timeout=10))
            await asyncio.sleep(0.05)
            assert not task.done()
            indexer = Indexer(store)
            indexer.start()
            try:
                assert (await task).cursor == wanted
            finally:
                await asyncio.to_thread(indexer.close)


async def test_a_message_whose_index_is_not_there_in_time_is_looked_at_again_next_time() -> None:
    async with running() as server:
        server.is_indexed = True
        id_ = await put(server, text="needle")
        found = await server.wait(Criteria(q="needle"), after=0, timeout=0.02)
        assert found.summary is None
        assert found.cursor < id_


async def test_a_message_that_is_never_indexed_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "INDEX_SECONDS", 0.01)
    async with running() as server:
        server.is_indexed = True
        await put(server, "Other")
        wanted = await put(server, "Wanted")
        assert (await server.wait(Criteria(q="subject:wanted"), after=0, timeout=5)).cursor == wanted


async def test_patterns_of_others_are_searched_for_elsewhere() -> None:
    async with running() as server:
        id_ = await put(server, "Reset 123")
        with server.watch(Criteria.from_text(subject=r"/^reset \d+$/"), after=0) as watch:
            found = await watch.next(10)
        assert found is not None
        assert found.id == id_


async def test_a_pattern_that_takes_for_ever_ends_the_wait() -> None:
    async with running() as server:
        await put(server, "a" * 40 + "b")
        with server.watch(Criteria.from_text(subject=r"/(a+)+$/"), after=0) as watch, pytest.raises(TooSlow):
            await watch.next(10)


async def test_stopping_ends_the_wait() -> None:
    async with running() as server:
        task = asyncio.ensure_future(server.wait(ANY, timeout=60))
        await asyncio.sleep(0)
        await server.stop()
        assert (await task).summary is None
