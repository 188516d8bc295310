from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from ehlo.inbox import searching, waiting
from ehlo.inbox.child import Child
from ehlo.inbox.criteria import Criteria
from ehlo.inbox.patterns import PatternProcess, TooSlow
from ehlo.inbox.records import Arrival
from ehlo.inbox.searching import Searches
from ehlo.inbox.server import InboxServer
from ehlo.inbox.store import Store


async def test_a_pattern_that_took_too_long_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "SLOW_KEPT", 1)
    tried = []

    def search(_self: PatternProcess, pattern: re.Pattern[str], _texts: list[str]) -> bool:
        tried.append(pattern.pattern)
        if pattern.pattern != "quick":
            raise TooSlow
        return True

    monkeypatch.setattr(PatternProcess, "search", search)
    searches = Searches()
    for text in ("slow", "slow", "slower", "slow"):
        with pytest.raises(TooSlow):
            await searches.search(re.compile(text), [])
    assert (await searches.search(re.compile("quick"), []))[0]
    assert tried == ["slow", "slower", "slow", "quick"]
    searches.close()
    assert (await searches.search(re.compile("quick"), []))[0]
    searches.close()


async def test_a_pattern_that_could_not_begin_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    begins = iter([False, True])
    start = Child.start
    monkeypatch.setattr(Child, "start", lambda self: next(begins) and start(self))
    searches = Searches()
    with pytest.raises(TooSlow):
        await searches.search(re.compile("any"), ["any"])
    assert (await searches.search(re.compile("any"), ["any"]))[0]
    searches.close()


class Searched:
    """Takes any time, and the given one for each search."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    async def search(self, _pattern: re.Pattern[str], _texts: list[str]) -> tuple[bool, float]:
        if self._seconds is None:
            await asyncio.Event().wait()
        return False, self._seconds or 0

    def close(self) -> None:
        pass


async def next_of(searched: Searched, *, messages: int, timeout: float) -> Any:
    with Store() as store:
        server = InboxServer(store, smtp=None, web=None, is_indexed=False)
        server.patterns = searched  # type: ignore[assignment]
        async with server, asyncio.timeout(10):
            for _ in range(messages):
                await asyncio.wrap_future(store.add(Arrival(raw=b"a: b", mail_from="", rcpt_tos=(), inbox="default")))
            with server.watch(Criteria.from_text(subject="/a/"), after=0) as watch:
                return await watch.next(timeout), watch.cursor


async def test_a_search_that_others_hold_up_does_not_outlast_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATTERN_SECONDS", 0.01)
    assert await next_of(Searched(None), messages=1, timeout=0) == (None, 0)


@pytest.mark.parametrize(("seconds", "is_too_slow"), [(2.0, True), (0.001, False)])
async def test_the_searches_of_a_client_may_take_so_long_together(seconds: float, is_too_slow: bool) -> None:
    if is_too_slow:
        with pytest.raises(TooSlow):
            await next_of(Searched(seconds), messages=4, timeout=0)
    else:
        assert (await next_of(Searched(seconds), messages=4, timeout=0))[1] == 4


async def test_those_who_wait_for_a_search_hold_no_thread_of_the_store() -> None:
    with Store() as store:
        async with InboxServer(store, smtp=None, web=None, is_indexed=False) as server:
            slow = [
                asyncio.ensure_future(server.patterns.search(re.compile(f"(a+)+${'x' * number}"), ["a" * 60]))
                for number in range(12)
            ]
            await asyncio.sleep(0)
            assert (await server.run(store.list)).total == 0
            assert not any(task.done() for task in slow)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
