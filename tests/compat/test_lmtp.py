"""LMTP: what Mailman and others do with it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from ehlo.compat.aiosmtpd.lmtp import LMTP
from ehlo.testing import Script

if TYPE_CHECKING:
    from ehlo.compat.aiosmtpd.smtp import SMTP, Envelope, Session

GREETING = "S: 220 mx.test Python SMTP 1.4.6\n"


class PerRecipient:
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "\r\n".join(f"250 {recipient}" for recipient in envelope.rcpt_tos)


async def test_a_reply_for_each_recipient_is_joined_by_crlf() -> None:
    make = functools.partial(LMTP, PerRecipient())
    await Script.parse(
        GREETING + "C: LHLO client.test\nS: 250-mx.test\nS: ...\nC: MAIL FROM:<>\nC: RCPT TO:<a@b>\nC: RCPT TO:<c@d>\n"
        "C: DATA\nS: 250 OK\nS: 250 OK\nS: 250 OK\nS: 354 ...\nC: x\nC: .\nC: QUIT\n"
        "S: 250 a@b\nS: 250 c@d\nS: 221 Bye\nX: closed\n"
    ).play(make(hostname="mx.test"))


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("HELO client.test", '500 Error: command "HELO" not recognized'),
        ("EHLO client.test", '500 Error: command "EHLO" not recognized'),
        ("LHLO", "501 Syntax: EHLO hostname"),
        ("MAIL FROM:<a@b>", "503 Error: send HELO first"),
        ("HELP", "250 Supported commands: AUTH DATA HELP LHLO MAIL NOOP QUIT RCPT RSET VRFY"),
    ],
)
async def test_its_verbs_are_those_of_lmtp(command: str, reply: str) -> None:
    await Script.parse(f"{GREETING}C: {command}\nS: {reply}\n").play(LMTP(object(), hostname="mx.test"))
