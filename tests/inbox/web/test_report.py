"""The report on a message: what it says, and to whom."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox.records import Line, SessionRecord
from tests.inbox.web.support import put, serving
from tests.inbox.web.test_api import ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.inbox.web.support import Web

RAW = b"From: anna@sender.example\r\nSubject: Lunch\r\n\r\nAt one?\n"
SPOKEN = (Line(0.0, "S", "220 mx ESMTP"), Line(0.1, "C", "HELO client.sender.example"), Line(0.2, "S", "250 mx"))


async def report_on(web: Web, id_: int, **more: Any) -> dict[str, str]:
    answer = await ask(web, "report_message", id=id_, **more)
    assert answer.status == 200, answer
    return {finding["rule"]: finding["severity"] for finding in answer.json["findings"]}


async def brought_by(web: Web, inbox: str | None) -> int:
    """A message, with the session that brought it to ``inbox``."""
    id_ = await put(web, RAW, session_id="s1", inbox="team")
    record = SessionRecord("s1", "", "", 0.0, ended_at=1.0, inbox=inbox, messages=(id_,), transcript=SPOKEN)
    await asyncio.wrap_future(web.server.store.put_session(record))
    return id_


async def test_a_report_says_what_is_wrong_the_worst_first() -> None:
    async with serving() as web:
        answer = (await ask(web, "report_message", id=await put(web, RAW))).json
        assert not answer["is_clean"]
        assert answer["findings"][0] == {
            "rule": "bare-lf",
            "severity": "error",
            "place": "line 4",
            "text": answer["findings"][0]["text"],
            "source": answer["findings"][0]["source"],
        }
        ranks = [["error", "warning", "notice"].index(finding["severity"]) for finding in answer["findings"]]
        assert ranks == sorted(ranks)
        assert "no-message-id" in {finding["rule"] for finding in answer["findings"]}


async def test_it_speaks_of_the_session_too() -> None:
    async with serving() as web:
        assert (await report_on(web, await brought_by(web, "team")))["helo"] == "warning"


@pytest.mark.parametrize(("inbox", "is_told"), [("team", True), (None, False)])
async def test_a_session_of_several_inboxes_is_told_to_the_owner_alone(inbox: str | None, is_told: bool) -> None:
    async with serving() as web:
        made = web.server.accounts.create("team")
        await asyncio.wrap_future(made.done)
        id_ = await brought_by(web, inbox)
        assert "helo" in await report_on(web, id_)
        headers = {"authorization": f"Bearer {made.token}"}
        assert ("helo" in await report_on(web, id_, headers=headers)) is is_told


async def test_a_message_that_is_not_there_has_none() -> None:
    async with serving() as web:
        assert (await ask(web, "report_message", id=7)).status == 404


async def test_what_is_not_for_a_token_has_none() -> None:
    async with serving() as web:
        made = web.server.accounts.create("team")
        await asyncio.wrap_future(made.done)
        headers = {"authorization": f"Bearer {made.token}"}
        assert (await ask(web, "report_message", id=await put(web, RAW), headers=headers)).status == 404


async def test_a_message_that_cannot_be_checked_is_said_to_be_one(tmp_path: Path) -> None:
    async with serving() as web:
        web.server.checker._script = tmp_path / "missing.py"
        answer = await ask(web, "report_message", id=await put(web, RAW))
        assert (answer.status, answer.error) == (503, "not_checked")
