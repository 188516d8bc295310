from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from examples.now import Nothing, TellsTime
from tests.support import Client, in_callback

if TYPE_CHECKING:
    from ehlo import SMTP, Envelope, Session


async def converse(handler: object, *lines: str) -> list[str]:
    client = Client(TellsTime(handler, hostname="mx.test"))
    await client.hear()
    replies = [await client.ask(line) for line in lines]
    await in_callback(client.transport.lose)
    return replies


async def test_now_tells_the_time() -> None:
    (reply,) = await converse(Nothing(), "NOW")
    code, _, told = reply.partition(" 2.0.0 ")
    assert code == "250"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(told)) < timedelta(minutes=1)


async def test_now_is_a_verb_like_others() -> None:
    lower, wrong, helped, listed = await converse(Nothing(), "now utc", "NOW CET", "HELP NOW", "HELP")
    assert lower.startswith("250 ")
    assert wrong == "501 5.5.4 Syntax: NOW [UTC]"
    assert helped.endswith("Syntax: NOW [UTC]")
    assert " NOW " in listed


async def test_a_handler_may_answer_it() -> None:
    class NoTime:
        async def handle_NOW(self, server: SMTP, session: Session, envelope: Envelope, now: datetime) -> str:
            return "450 4.0.0 No time"

    assert await converse(NoTime(), "NOW") == ["450 4.0.0 No time"]
