"""The report on a message: what it says, and to whom."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox.checking import VOUCHING_LIMIT, Checker
from ehlo.inbox.records import Line, SessionRecord
from ehlo.report.dns import SystemResolver, Zone
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
        web.server.checker = Checker(script=tmp_path / "missing.py")
        answer = await ask(web, "report_message", id=await put(web, RAW))
        assert (answer.status, answer.error) == (503, "not_checked")


# Who vouches for it

ZONE = Zone(
    """
    sender.example        TXT "v=spf1 ip4:192.0.2.1 -all"
    _dmarc.sender.example TXT "v=DMARC1; p=reject"
    """
)


async def put_from_sender(web: Web) -> int:
    return await put(web, RAW, session_id="s1", mail_from="anna@sender.example")


@pytest.mark.parametrize(("address", "result", "passes"), [("192.0.2.1", "pass", True), ("192.0.2.9", "fail", False)])
async def test_with_an_address_it_says_who_vouches_for_it(address: str, result: str, *, passes: bool) -> None:
    async with serving(resolver=ZONE) as web:
        answer = await ask(
            web, "report_message", id=await put_from_sender(web), query=f"address={address}&helo=mx.sender.example"
        )
        found = answer.json["authentication"]
        assert (found["dkim"], found["spf"]["result"], found["dmarc"]["passes"]) == ([], result, passes)
        assert "sender.example has v=spf1 ip4:192.0.2.1 -all" in found["spf"]["steps"]
        assert found["dmarc"]["request"] == "reject"
        rules = [finding["rule"] for finding in answer.json["findings"]]
        assert {"bare-lf", "dkim-none"} <= set(rules)
        assert ("spf-fail" in rules) is ("dmarc-fail" in rules) is not passes
        ranks = [["error", "warning", "notice"].index(finding["severity"]) for finding in answer.json["findings"]]
        assert ranks == sorted(ranks)


async def test_without_an_address_nobody_is_asked() -> None:
    async with serving(resolver=ZONE) as web:
        answer = await ask(web, "report_message", id=await put_from_sender(web))
        assert answer.json["authentication"] is None
        assert "dkim-none" not in {finding["rule"] for finding in answer.json["findings"]}


async def test_a_server_that_was_not_told_whom_to_ask_says_so() -> None:
    async with serving() as web:
        answer = await ask(web, "report_message", id=await put_from_sender(web), query="address=192.0.2.1")
        assert (answer.status, answer.error) == (409, "no_resolver")
        assert "--dns" in answer.json["error"]["message"]


@pytest.mark.parametrize("wrong", ["address=sender.example", "address=", "helo=mx.sender.example"])
async def test_what_is_no_address_is_refused(wrong: str) -> None:
    async with serving(resolver=ZONE) as web:
        assert (await ask(web, "report_message", id=await put_from_sender(web), query=wrong)).status == 422


@pytest.mark.parametrize("resolver", [None, ZONE])
async def test_a_client_is_told_whether_it_may_ask(resolver: Zone | None) -> None:
    async with serving(resolver=resolver) as web:
        assert (await ask(web, "info")).json["can_authenticate"] is (resolver is not None)


async def test_name_servers_that_are_silent_are_a_result_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = SystemResolver(("127.0.0.1",), 0.2, port=silent.getsockname()[1])
        async with serving(resolver=resolver) as web:
            id_ = await put_from_sender(web)
            answer = await ask(web, "report_message", id=id_, query="address=192.0.2.1")
            found = answer.json["authentication"]
            assert (found["spf"]["result"], found["dmarc"]["passes"]) == ("temperror", None)
            # Another time it is asked again: somebody may be there.
            assert (id_, None) not in web.server.voucher._kept


async def test_no_more_wait_for_name_servers_than_may() -> None:
    async with serving(resolver=ZONE) as web:
        id_ = await put_from_sender(web)
        for _ in range(VOUCHING_LIMIT):
            assert web.server.voucher._places.acquire(blocking=False)
        answer = await ask(web, "report_message", id=id_, query="address=192.0.2.1")
        assert (answer.status, answer.error) == (503, "not_checked")
        web.server.voucher._places.release()
        assert (await ask(web, "report_message", id=id_, query="address=192.0.2.1")).status == 200
        assert (await ask(web, "report_message", id=id_, query="address=192.0.2.1")).status == 200
