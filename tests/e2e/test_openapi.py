"""The API against its own description: schemathesis calls every operation with what is allowed and what is not."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from ehlo.inbox.records import Arrival, SessionRecord
from ehlo.inbox.server import InboxServer
from ehlo.inbox.store import Store
from ehlo.inbox.web.openapi import document
from tests.inbox.web.support import mail

if TYPE_CHECKING:
    from collections.abc import Iterator

schemathesis: Any = pytest.importorskip("schemathesis")

MESSAGES = 30
OCTETS = ("application/mbox", "application/x-tar", "message/rfc822")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An inbox with something in it."""
    with Store() as store:
        for number in range(MESSAGES):
            raw = mail(f"Mail {number}", html="<b>x</b>", attachment=("a.bin", b"x"))
            arrival = Arrival(raw=raw, mail_from="a@example.com", rcpt_tos=("b@example.com",))
            store.add(arrival).result(10)
        store.put_session(SessionRecord("abc-1", "127.0.0.1:5", "127.0.0.1:25", 1.0, 2.0, outcome="idle")).result(10)
        found: list[str] = []
        is_ready, loop_ends = threading.Event(), asyncio.Event()
        loops: list[asyncio.AbstractEventLoop] = []

        async def main() -> None:
            loops.append(asyncio.get_running_loop())
            async with InboxServer(store, smtp=None, web=("127.0.0.1", 0), is_indexed=False) as server:
                found.append(server.web_url or "")
                is_ready.set()
                await loop_ends.wait()

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        assert is_ready.wait(30)
        yield found[0]
        loops[0].call_soon_threadsafe(loop_ends.set)
        thread.join()


@schemathesis.serializer(*OCTETS)  # type: ignore[untyped-decorator]
def octets(_context: Any, value: Any) -> bytes:
    """Whatever it is, as octets: any are a message."""
    return str(value).encode("utf-8", "replace")


# A stream has no end, and so no answer that could be looked at.
schema = schemathesis.openapi.from_dict(document()).exclude(operation_id="events")


@schema.parametrize()  # type: ignore[untyped-decorator]
@hypothesis.settings(max_examples=15, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_every_operation_answers_as_described(case: Any, url: str) -> None:
    if case.operation.definition.raw["operationId"] == "wait":
        case.query = {**(case.query or {}), "timeout": 0}  # nobody sends anything
    # Any octets are a message, and some combinations of what is allowed are not: those of ids, q and all.
    excluded = ["positive_data_acceptance"] + ["negative_data_rejection"] * (case.media_type in OCTETS)
    checks = schemathesis.checks.CHECKS
    case.call_and_validate(base_url=f"{url}api/v1", excluded_checks=[checks.get_one(name) for name in excluded])
