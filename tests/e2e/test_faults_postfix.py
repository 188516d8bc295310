"""Ready fault scenarios, as Postfix meets them."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ehlo import serve
from ehlo.inbox.faults import FaultHandler, Faults, ready_text
from tests.e2e.support import MESSAGE, SENDER, run, unix_lines
from tests.e2e.test_postfix import emptied, listening, postfix, relay, started_postfix
from tests.support import Recorder

if TYPE_CHECKING:
    from tests.e2e.postfix import Postfix

__all__ = ["postfix", "started_postfix"]


@pytest.mark.parametrize(
    ("scenario", "recipient", "said"),
    [
        ("strict", "unknown@smtp.test", "550 5.1.1 No such user here (in reply to RCPT TO command)"),
        ("exchange-like", "unknown@smtp.test", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found"),
        ("exchange-like", "full@smtp.test", "554 5.2.2 mailbox full (in reply to end of DATA command)"),
    ],
)
async def test_what_is_refused_bounces(postfix: Postfix, scenario: str, recipient: str, said: str) -> None:
    recorder, faults = Recorder(), Faults()
    faults.set(scenario)
    with closing(faults):
        async with serve(FaultHandler(recorder, faults), sockets=listening(postfix, "smtp"), hostname="mx.test"):
            log = await relay(postfix, recipient, sender="")
    assert re.search(rf"to=<{recipient}>.* status=bounced .*said: {re.escape(said)}", log)
    assert recorder.envelopes == []
    assert faults.log.count == 1


async def test_who_is_greylisted_comes_again(postfix: Postfix) -> None:
    recorder, faults = Recorder(), Faults()
    faults.set(ready_text("greylisting").replace("greylist = 5", "greylist = 0.5"))
    async with serve(FaultHandler(recorder, faults), sockets=listening(postfix, "smtp"), hostname="mx.test"):
        before = len(postfix.log)
        await run(*postfix.send_command(SENDER, "bob@smtp.test"), sent=unix_lines(MESSAGE))
        async with asyncio.timeout(20):
            while "status=deferred" not in postfix.log[before:]:  # noqa: ASYNC110 - another process cannot tell us
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.6)
        await run("postqueue", "-c", postfix.folder / "etc", "-f")
        await emptied(postfix)
        log = postfix.log[before:]
    assert "said: 451 4.7.1 Greylisted, try again later (in reply to RCPT TO command)" in log
    assert log.count("status=sent") == len(recorder.envelopes) == 1
