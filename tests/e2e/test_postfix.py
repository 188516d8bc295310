"""Postfix as the sending MTA, which pipelines whatever it may."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import LMTP, SMTP, Disconnect
from tests.e2e.postfix import running_postfix
from tests.e2e.support import EIGHT_BIT_MESSAGE, MESSAGE, SENDER, receiving, run, unix_lines

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tests.e2e.postfix import Postfix
    from tests.e2e.support import Certificates, Mail

NAME = "relay.example.org"
# Postfix's own, put in front of what it was given (RFC 5321 §4.4).
RECEIVED = re.compile(rb"Received: by relay\.example\.org \(Postfix[^\r]*(?:\r\n\t[^\r]*)+\r\n")
COMPLAINT = re.compile(r"^.*\b(?:warning|error|fatal|panic): .*$", re.MULTILINE)


@pytest.fixture(scope="module")
def started_postfix(program: Callable[[str], str], root_rights: None, certificates: Certificates) -> Iterator[Postfix]:
    with running_postfix(program("postfix"), program("sendmail"), certificates.authority_file) as started:
        yield started


@pytest.fixture
def postfix(started_postfix: Postfix) -> Iterator[Postfix]:
    """A Postfix that has to come through the test without a word of complaint."""
    before = len(started_postfix.log)
    yield started_postfix
    log = started_postfix.log[before:]
    print(log)
    assert COMPLAINT.findall(log) == []


def listening(postfix: Postfix, name: str) -> list[socket.socket]:
    """One of Postfix's destinations, for a server to take over; the server closes its copy."""
    return [postfix.sockets[name].dup()]


async def relay(
    postfix: Postfix, *recipients: str, message: bytes = MESSAGE, sender: str = SENDER, options: tuple[str, ...] = ()
) -> str:
    """Hand a message to Postfix and wait until it has got rid of all it has; give what it logged."""
    before = len(postfix.log)
    told = await run(*postfix.send_command(sender, *recipients, options=options), sent=unix_lines(message))
    assert told == (0, "", "")
    await emptied(postfix)
    return postfix.log[before:]


async def emptied(postfix: Postfix) -> None:
    async with asyncio.timeout(20):
        while not postfix.has_an_empty_queue:  # noqa: ASYNC110 - another process cannot set an event of ours
            await asyncio.sleep(0.02)


def relayed(mail: Mail) -> bytes:
    """The content without the trace field that Postfix added."""
    content, count = RECEIVED.subn(b"", mail.content, count=1)
    assert count == 1
    return content


async def test_a_pipelined_message_arrives_whole_and_once(postfix: Postfix) -> None:
    async with receiving(sockets=listening(postfix, "smtp")) as receiver:
        log = await relay(postfix, "bob@smtp.test", "carol@smtp.test")
    assert "Using ESMTP PIPELINING" in log
    assert log.count("status=sent (250 2.0.0 OK queued as ") == 2
    assert receiver.mail.mail_from == SENDER
    assert receiver.mail.rcpt_tos == ["bob@smtp.test", "carol@smtp.test"]
    assert receiver.mail.host_name == NAME
    assert relayed(receiver.mail) == MESSAGE


async def test_a_large_message_arrives_whole(postfix: Postfix) -> None:
    message = MESSAGE + (b"." * 70 + b"\r\n") * 70_000
    async with receiving(sockets=listening(postfix, "smtp")) as receiver:
        await relay(postfix, "bob@smtp.test", message=message)
    assert relayed(receiver.mail) == message


async def test_octets_above_127_arrive_as_sent(postfix: Postfix) -> None:
    async with receiving(sockets=listening(postfix, "smtp")) as receiver:
        await relay(postfix, "bob@smtp.test", message=EIGHT_BIT_MESSAGE)
    assert "BODY=8BITMIME" in receiver.mail.options
    assert relayed(receiver.mail) == EIGHT_BIT_MESSAGE


async def test_internationalised_addresses(postfix: Postfix) -> None:
    async with receiving(sockets=listening(postfix, "smtp")) as receiver:
        await relay(postfix, "用户@smtp.test", sender="zoë@example.org")
    assert receiver.mail.mail_from == "zoë@example.org"
    assert receiver.mail.rcpt_tos == ["用户@smtp.test"]
    assert "SMTPUTF8" in receiver.mail.options


async def test_many_messages_at_once_each_arrive_once(postfix: Postfix) -> None:
    recipients = [f"{number}@smtp.test" for number in range(40)]
    # Postfix keeps connections for the next message; those that are open in the end are told 421.
    endings = (Disconnect.QUIT, Disconnect.SHUTDOWN)
    async with receiving(sockets=listening(postfix, "smtp"), expected_endings=endings) as receiver:
        sent = unix_lines(MESSAGE)
        told = await asyncio.gather(
            *(run(*postfix.send_command(SENDER, recipient), sent=sent) for recipient in recipients)
        )
        await emptied(postfix)
    assert set(told) == {(0, "", "")}
    assert sorted(mail.rcpt_tos for mail in receiver.mails) == sorted([recipient] for recipient in recipients)
    assert {relayed(mail) for mail in receiver.mails} == {MESSAGE}


@pytest.mark.parametrize(("name", "parameter"), [("tls", "tls_context"), ("smtps", "ssl_context")])
async def test_tls_with_a_verified_certificate(
    postfix: Postfix, certificates: Certificates, name: str, parameter: str
) -> None:
    tls: dict[str, Any] = {parameter: certificates.server_context()}
    async with receiving(sockets=listening(postfix, name), **tls) as receiver:
        log = await relay(postfix, f"bob@{name}.test")
    assert "Verified TLS connection established to localhost" in log
    assert receiver.mail.tls == "TLSv1.3"
    assert relayed(receiver.mail) == MESSAGE


@pytest.mark.parametrize(("name", "protocol"), [("smtp", SMTP), ("lmtp", LMTP)])
async def test_delivery_status_notifications(postfix: Postfix, name: str, protocol: type[SMTP]) -> None:
    options = ("-N", "success,delay", "-R", "hdrs", "-V", "an id=+")
    async with receiving(honours=["DSN"], protocol=protocol, sockets=listening(postfix, name)) as receiver:
        await relay(postfix, f"bob@{name}.test", f"carol@{name}.test", options=options)
    parameters = receiver.mail.envelope.mail_parameters
    assert parameters.ret == "HDRS"
    assert parameters.envid == "an id=+"
    for recipient in receiver.mail.envelope.recipients:
        assert recipient.options == (f"ORCPT=rfc822;{recipient}", "NOTIFY=SUCCESS,DELAY")
        assert recipient.parameters.orcpt is not None
        assert recipient.parameters.orcpt.address == recipient
    assert receiver.mail.rcpt_tos == [f"bob@{name}.test", f"carol@{name}.test"]


async def test_xforward_tells_where_a_message_came_from(postfix: Postfix) -> None:
    async with receiving(sockets=listening(postfix, "xforward"), xforward_networks=["127.0.0.0/8"]) as receiver:
        log = await relay(postfix, "bob@xforward.test")
    assert "> localhost[127.0.0.1]" in log
    xforward = receiver.mail.session.xforward
    assert xforward is not None
    assert xforward.source == "LOCAL"
    assert relayed(receiver.mail) == MESSAGE


async def test_lmtp_on_tcp(postfix: Postfix) -> None:
    async with receiving(protocol=LMTP, sockets=listening(postfix, "lmtp")) as receiver:
        log = await relay(postfix, "bob@lmtp.test", "carol@lmtp.test")
    assert "Using LMTP PIPELINING" in log
    assert log.count("status=sent (250 2.0.0 OK queued as ") == 2
    assert receiver.mail.rcpt_tos == ["bob@lmtp.test", "carol@lmtp.test"]
    assert relayed(receiver.mail) == MESSAGE


async def test_lmtp_on_a_unix_socket(postfix: Postfix) -> None:
    unix_path = postfix.folder / "lmtp"
    async with receiving(protocol=LMTP, unix_path=unix_path) as receiver:
        unix_path.chmod(0o666)  # Postfix connects as a user of its own
        log = await relay(postfix, "bob@unix.test")
    assert "status=sent (250 2.0.0 OK queued as " in log
    assert receiver.mail.rcpt_tos == ["bob@unix.test"]
    assert relayed(receiver.mail) == MESSAGE


async def test_lmtp_tells_for_whom_it_failed(postfix: Postfix) -> None:
    verdict = ["250 2.0.0 Stored", "550 5.2.1 Mailbox closed", "250 2.0.0 Stored too"]
    async with receiving(protocol=LMTP, sockets=listening(postfix, "lmtp"), verdict=verdict) as receiver:
        # From the null reverse-path, so that nobody has to be told of the failure.
        log = await relay(postfix, "a@lmtp.test", "b@lmtp.test", "c@lmtp.test", sender="")
    statuses = re.findall(r"to=<([^>]*)>.* status=(\w+) \((.*)\)", log)
    assert [status[:2] for status in sorted(statuses)] == [
        ("a@lmtp.test", "sent"),
        ("b@lmtp.test", "bounced"),
        ("c@lmtp.test", "sent"),
    ]
    assert "said: 550 5.2.1 Mailbox closed" in sorted(statuses)[1][2]
    assert receiver.mail.mail_from == ""
    assert receiver.mail.rcpt_tos == ["a@lmtp.test", "b@lmtp.test", "c@lmtp.test"]


async def test_a_recipient_refused_in_a_pipelined_group(postfix: Postfix) -> None:
    async with receiving(sockets=listening(postfix, "smtp"), refused=["nobody@smtp.test"]) as receiver:
        log = await relay(postfix, "bob@smtp.test", "nobody@smtp.test", sender="")
    assert re.search(r"to=<nobody@smtp\.test>.* status=bounced .*said: 550 5\.1\.1 No such mailbox", log)
    assert receiver.mail.rcpt_tos == ["bob@smtp.test"]
    assert relayed(receiver.mail) == MESSAGE


async def test_a_pipelined_group_of_which_every_recipient_is_refused(postfix: Postfix) -> None:
    refusals = ["DATA refused: 503 5.5.1 "]
    async with receiving(
        sockets=listening(postfix, "smtp"), refused=["nobody@smtp.test"], expected_refusals=refusals
    ) as receiver:
        log = await relay(postfix, "nobody@smtp.test", sender="")
    assert re.search(r"to=<nobody@smtp\.test>.* status=bounced .*said: 550 5\.1\.1 No such mailbox", log)
    assert receiver.mails == []
