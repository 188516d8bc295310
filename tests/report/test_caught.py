"""Who vouches for a message that an inbox caught."""

from __future__ import annotations

import pickle
import smtplib
from typing import TYPE_CHECKING

import pytest

from ehlo.inbox import Inbox
from ehlo.report.dns import SystemResolver, Zone
from ehlo.report.spf import Result

if TYPE_CHECKING:
    from ehlo.inbox import Message

ADDRESS = "192.0.2.1"
RIGHT = f'app.example TXT "v=spf1 ip4:{ADDRESS} -all"'
WRONG = 'app.example TXT "v=spf1 -all"'


def caught(inbox: Inbox) -> Message:
    with smtplib.SMTP(inbox.host, inbox.port, "app.example") as client:
        client.sendmail("app@app.example", ["ann@example.com"], "From: app@app.example\r\n\r\nHello\r\n")
    return inbox.wait()


def spf_of(message: Message, zone: str | None = None) -> Result:
    spf = message.authenticate(zone=zone, address=ADDRESS).maybe_spf
    assert spf is not None
    return spf.result


def test_a_message_asks_whom_its_inbox_asks() -> None:
    with Inbox(resolver=Zone(RIGHT)) as inbox:
        assert spf_of(caught(inbox)) is Result.PASS


def test_a_further_inbox_asks_the_same() -> None:
    with Inbox(resolver=Zone(RIGHT)) as inbox, inbox.new() as other:
        assert spf_of(caught(other)) is Result.PASS


def test_a_zone_comes_before_the_resolver_of_the_inbox() -> None:
    with Inbox(resolver=Zone(RIGHT)) as inbox:
        assert spf_of(caught(inbox), WRONG) is Result.FAIL


def test_a_message_that_was_pickled_asks_the_same() -> None:
    with Inbox(resolver=Zone(RIGHT)) as inbox:
        message = pickle.loads(pickle.dumps(caught(inbox)))

    assert spf_of(message) is Result.PASS


def test_a_message_whose_inbox_asks_name_servers_can_be_pickled() -> None:
    pytest.importorskip("dns")
    with Inbox(resolver=SystemResolver(("127.0.0.1",))) as inbox:
        assert pickle.loads(pickle.dumps(caught(inbox))).id == 1
