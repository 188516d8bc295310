"""smtp-source, with which Postfix is put under load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ehlo import LMTP, SMTP
from tests.e2e.support import MESSAGE, RECIPIENT, SENDER, receiving, run, unix_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MESSAGES = 100
# smtp-source ends the last line, ended or not.
EXTRA = b"\r\n"


@pytest.fixture
def smtp_source(program: Callable[[str], str], tmp_path: Path) -> tuple[str, ...]:
    message = tmp_path / "message"
    message.write_bytes(unix_lines(MESSAGE))
    return (
        *(program("smtp-source"), "-M", "client.example.org", "-f", SENDER, "-t", RECIPIENT),
        *("-m", str(MESSAGES), "-F", str(message)),
    )


@pytest.mark.parametrize("protocol", [SMTP, LMTP])
async def test_a_hundred_messages_over_a_session_each(smtp_source: tuple[str, ...], protocol: type[SMTP]) -> None:
    speaks = ("-L",) if protocol is LMTP else ()
    async with receiving(protocol=protocol) as receiver:
        told = await run(*smtp_source, *speaks, "-s", "5", f"inet:{receiver.address}")
    assert told == (0, "", "")
    assert [mail.content for mail in receiver.mails] == [MESSAGE + EXTRA] * MESSAGES
    assert {mail.mail_from for mail in receiver.mails} == {SENDER}
    assert len(receiver.recorder.endings) == MESSAGES


@pytest.mark.parametrize("protocol", [SMTP, LMTP])
async def test_a_hundred_messages_over_five_sessions(smtp_source: tuple[str, ...], protocol: type[SMTP]) -> None:
    speaks = ("-L",) if protocol is LMTP else ()
    async with receiving(protocol=protocol) as receiver:
        # -d: do not disconnect after a message.  -N: every recipient is another.
        told = await run(*smtp_source, *speaks, "-s", "5", "-d", "-r", "10", "-N", f"inet:{receiver.address}")
    assert told == (0, "", "")
    assert [mail.content for mail in receiver.mails] == [MESSAGE + EXTRA] * MESSAGES
    assert len({recipient for mail in receiver.mails for recipient in mail.rcpt_tos}) == 10 * MESSAGES
    assert len(receiver.recorder.endings) == 5


async def test_lmtp_on_a_unix_socket(smtp_source: tuple[str, ...], tmp_path: Path) -> None:
    unix_path = tmp_path / "lmtp"
    async with receiving(protocol=LMTP, unix_path=unix_path) as receiver:
        told = await run(*smtp_source, "-L", "-s", "5", f"unix:{unix_path}")
    assert told == (0, "", "")
    assert [mail.content for mail in receiver.mails] == [MESSAGE + EXTRA] * MESSAGES
