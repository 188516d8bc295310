"""The ready fault scenarios, as nodemailer meets them.  smtplib's turn is in tests/inbox/faults/test_library.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox import Inbox
from ehlo.inbox.faults import ready_text
from tests.e2e.support import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    Report = dict[str, Any]
    Nodemailer = Callable[..., Awaitable[list[Report]]]

NAME = "client.example.org"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as inbox:
        yield inbox


@pytest.fixture
def nodemailer(program: Callable[[str], str], node_folder: Path, inbox: Inbox) -> Nodemailer:
    async def send(*recipients: str, size: int = 10, name: str = NAME, **settings: Any) -> list[Report]:
        """What becomes of a mail to each, one after another on one connection."""
        mails = [
            {"from": "ann@example.com", "to": recipient, "subject": "Hello", "text": "x" * size}
            for recipient in recipients
        ]
        transport = {"host": inbox.host, "port": inbox.port, "name": name, "pool": True, "maxConnections": 1}
        job = {"transport": {**transport, "tls": {"rejectUnauthorized": False}, **settings}, "mails": mails}
        told = await run(program("node"), node_folder / "nodemailer_client.js", sent=json.dumps(job).encode())
        assert told.is_content
        reports: list[Report] = json.loads(told.output)
        return reports

    return send


def codes(reports: list[Report]) -> list[int]:
    return [int(report.get("responseCode") or report["response"][:3]) for report in reports]


async def test_greylisting(inbox: Inbox, nodemailer: Nodemailer) -> None:
    with inbox.faults(ready_text("greylisting").replace("greylist = 5", "greylist = 0.2")):
        assert codes(await nodemailer("bob@example.com")) == [451]
        inbox.assert_none(within=0.2)
        assert codes(await nodemailer("bob@example.com")) == [250]
    inbox.wait(to="bob@example.com")


async def test_overloaded(inbox: Inbox, nodemailer: Nodemailer) -> None:
    with inbox.faults("overloaded"):
        assert codes(await nodemailer(*["bob@example.com"] * 7)) == [250] * 5 + [450] * 2


async def test_strict(inbox: Inbox, nodemailer: Nodemailer) -> None:
    with inbox.faults("strict"):
        assert codes(await nodemailer("bob@example.com", "unknown@example.com")) == [250, 550]
        assert codes(await nodemailer("bob@example.com", size=120_000)) == [552]
        assert codes(await nodemailer("bob@example.com", name="laptop")) == [550]


async def test_exchange_like(inbox: Inbox, nodemailer: Nodemailer) -> None:
    with inbox.faults("exchange-like"):
        recipients = ("unknown@example.com", "full@example.com", "busy@example.com", "busy@example.com")
        assert codes(await nodemailer(*recipients)) == [550, 554, 451, 250]


async def test_flaky(inbox: Inbox, nodemailer: Nodemailer) -> None:
    reports = []
    with inbox.faults(ready_text("flaky").replace("stall = 1\n", "stall = 0.01\n")) as faults:
        for _ in range(12):
            reports += await nodemailer("bob@example.com", pool=False)
    fired = [entry.rule for entry in faults.fired]
    broken = [report for report in reports if "error" in report]
    assert len(broken) == len(fired) - fired.count("stall") > 0
    assert len(inbox.messages) == 12 - len(broken) + fired.count("reply lost")
