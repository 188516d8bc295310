"""Exim as the sending MTA, which sends mail data in chunks, and the first of them along with the envelope."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ehlo import LMTP, SMTP
from tests.e2e.exim import NAME, UNPACKED, find_nss_wrapper, prepared_exim
from tests.e2e.support import EIGHT_BIT_MESSAGE, MESSAGE, SENDER, receiving, run, unix_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.exim import Exim
    from tests.e2e.support import Certificates, Receiver

# `=>` is the first recipient of a message, `->` another of the same transaction, L pipelined, K chunked, C the reply.
DELIVERY = re.compile(r'^\S+ \S+ \S+ [-=]> (\S+) .* L K C="([^"]*)"$', re.MULTILINE)
FAILURE = re.compile(r"^\S+ \S+ \S+ \*\* (\S+) .*: (\d{3} .*)$", re.MULTILINE)
# Of all that Exim says of a delivery, these are the only ones to hope for: accepted, delivered, and no more to do.
GOOD_LINE = re.compile(r"\S+ \S+ \S+ (?:<= |[-=]> |Completed$)")
SMALL_MESSAGE = ("From: alice@example.org", "Subject: Parameters", "", "Small")
CHUNK = re.compile(r"> BDAT (\d+)( LAST)?$", re.MULTILINE)


class Relayed(NamedTuple):
    """What Exim had to say of a message."""

    log: str
    dialogue: str

    @property
    def replies(self) -> dict[str, str]:
        """The reply for each recipient to whom it was delivered, chunked and pipelined."""
        return dict(DELIVERY.findall(self.log))

    @property
    def failures(self) -> dict[str, str]:
        """The reply for each recipient to whom it will never be."""
        return dict(FAILURE.findall(self.log))

    @property
    def went_well(self) -> bool:
        return all(GOOD_LINE.match(line) for line in self.log.splitlines())

    @property
    def chunks(self) -> list[int]:
        """The sizes of the chunks, in octets; only the last may call itself that."""
        chunks = CHUNK.findall(self.dialogue)
        assert [bool(last) for _, last in chunks] == [False] * (len(chunks) - 1) + [True]
        return [int(size) for size, _ in chunks]


@pytest.fixture
def exim(program: Callable[[str], str], certificates: Certificates) -> Iterator[Exim]:
    """An Exim that must not panic, and have nothing left to do in the end."""
    unpacked = UNPACKED / "usr/sbin/exim4"
    path = unpacked if unpacked.exists() else Path(program("exim4"))
    maybe_nss_wrapper = find_nss_wrapper()
    if maybe_nss_wrapper is None:
        pytest.skip("libnss-wrapper is not installed")
    with prepared_exim(path, maybe_nss_wrapper, certificates.authority_file) as prepared:
        yield prepared
        assert prepared.panic_log == ""
        assert prepared.has_an_empty_queue


async def relay(
    exim: Exim, receiver: Receiver, *recipients: str, message: bytes = MESSAGE, sender: str = SENDER
) -> Relayed:
    """Hand a message to Exim, which ends when it has got rid of it."""
    return await _tell(exim, receiver, exim.send_command(sender, *recipients), unix_lines(message))


async def submit(exim: Exim, receiver: Receiver, *commands: str) -> Relayed:
    """The same by SMTP, with a small message: only so does Exim take parameters."""
    lines = ["EHLO localhost", *commands, "DATA", *SMALL_MESSAGE, ".", "QUIT"]
    return await _tell(exim, receiver, exim.command("-bs"), "".join(f"{line}\r\n" for line in lines).encode())


async def _tell(exim: Exim, receiver: Receiver, command: tuple[str, ...], sent: bytes) -> Relayed:
    exim.send_to(receiver.port)
    told = await run(*command, sent=sent)
    print(exim.log)
    assert told.status == 0
    return Relayed(exim.log, told.errors)


async def test_a_chunked_message_arrives_whole_and_once(exim: Exim) -> None:
    recipients = ["bob@smtp.test", "carol@smtp.test", "dave@smtp.test"]
    async with receiving() as receiver:
        relayed = await relay(exim, receiver, *recipients)
    assert receiver.mail.mail_from == SENDER
    assert receiver.mail.rcpt_tos == recipients
    assert receiver.mail.host_name == NAME
    assert receiver.mail.envelope.is_chunked
    assert receiver.mail.content == MESSAGE
    assert relayed.chunks == [len(MESSAGE)]
    assert relayed.replies == dict.fromkeys(recipients, f"250 2.0.0 OK queued as {receiver.mail.envelope.id}")
    assert relayed.went_well


async def test_a_large_message_arrives_whole_in_several_chunks(exim: Exim) -> None:
    # Exim cuts the header section into small chunks, the body is one.
    message = b"X-Long: of many lines\r\n" * 2_000 + MESSAGE + (b"." * 70 + b"\r\n") * 42_000
    async with receiving() as receiver:
        relayed = await relay(exim, receiver, "bob@smtp.test", message=message)
    assert len(message) > 3_000_000
    assert len(relayed.chunks) > 2
    assert sum(relayed.chunks) == len(message)
    assert receiver.mail.envelope.is_chunked
    assert receiver.mail.content == message
    assert relayed.replies == {"bob@smtp.test": f"250 2.0.0 OK queued as {receiver.mail.envelope.id}"}
    assert relayed.went_well


async def test_octets_above_127_arrive_as_sent(exim: Exim) -> None:
    # Exim sends them without BODY=8BITMIME, whatever it was told.
    async with receiving() as receiver:
        relayed = await relay(exim, receiver, "bob@smtp.test", message=EIGHT_BIT_MESSAGE)
    assert receiver.mail.envelope.is_chunked
    assert receiver.mail.content == EIGHT_BIT_MESSAGE
    assert relayed.went_well


async def test_internationalised_addresses(exim: Exim) -> None:
    commands = ["MAIL FROM:<zoë@example.org> SMTPUTF8", "RCPT TO:<用户@smtp.test>"]
    async with receiving() as receiver:
        relayed = await submit(exim, receiver, *commands)
    assert receiver.mail.mail_from == "zoë@example.org"
    assert receiver.mail.rcpt_tos == ["用户@smtp.test"]
    assert "SMTPUTF8" in receiver.mail.options
    assert relayed.went_well


async def test_starttls_with_a_verified_certificate(exim: Exim, certificates: Certificates) -> None:
    async with receiving(tls_context=certificates.server_context()) as receiver:
        relayed = await relay(exim, receiver, "bob@tls.test")
    assert "CV=yes" in relayed.log
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.envelope.is_chunked
    assert receiver.mail.content == MESSAGE
    assert relayed.went_well


@pytest.mark.parametrize(("name", "protocol"), [("smtp", SMTP), ("lmtp", LMTP)])
async def test_delivery_status_notifications(exim: Exim, name: str, protocol: type[SMTP]) -> None:
    commands = [
        f"MAIL FROM:<{SENDER}> RET=HDRS ENVID=an+20id+3D",
        f"RCPT TO:<bob@{name}.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old@example.org",
        f"RCPT TO:<carol@{name}.test> NOTIFY=NEVER",
    ]
    async with receiving(honours=["DSN"], protocol=protocol) as receiver:
        relayed = await submit(exim, receiver, *commands)
    assert receiver.mail.envelope.mail_parameters.ret == "HDRS"
    assert receiver.mail.envelope.mail_parameters.envid == "an id="
    assert receiver.mail.rcpt_tos == [f"bob@{name}.test", f"carol@{name}.test"]
    bob, carol = receiver.mail.envelope.recipients
    assert bob.options == ("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;old@example.org")
    assert carol.options == ("NOTIFY=NEVER",)
    assert receiver.mail.envelope.is_chunked
    assert relayed.went_well


async def test_a_recipient_refused_in_a_pipelined_group(exim: Exim) -> None:
    recipients = ["bob@smtp.test", "nobody@smtp.test", "carol@smtp.test"]
    async with receiving(refused=["nobody@smtp.test"]) as receiver:
        relayed = await relay(exim, receiver, *recipients, sender="<>")
    assert receiver.mail.mail_from == ""
    assert receiver.mail.rcpt_tos == ["bob@smtp.test", "carol@smtp.test"]
    assert receiver.mail.content == MESSAGE
    reply = f"250 2.0.0 OK queued as {receiver.mail.envelope.id}"
    assert relayed.replies == {"bob@smtp.test": reply, "carol@smtp.test": reply}
    assert relayed.failures == {"nobody@smtp.test": "550 5.1.1 No such mailbox"}


async def test_a_pipelined_chunk_of_which_every_recipient_is_refused(exim: Exim) -> None:
    refusals = ["BDAT refused: 503 5.5.1 "]
    async with receiving(refused=["nobody@smtp.test"], expected_refusals=refusals) as receiver:
        relayed = await relay(exim, receiver, "nobody@smtp.test", sender="<>")
    assert receiver.mails == []
    assert relayed.failures == {"nobody@smtp.test": "550 5.1.1 No such mailbox"}


async def test_lmtp(exim: Exim) -> None:
    async with receiving(protocol=LMTP) as receiver:
        relayed = await relay(exim, receiver, "bob@lmtp.test", "carol@lmtp.test")
    assert receiver.mail.rcpt_tos == ["bob@lmtp.test", "carol@lmtp.test"]
    assert receiver.mail.envelope.is_chunked
    assert receiver.mail.content == MESSAGE
    assert list(relayed.replies) == ["bob@lmtp.test", "carol@lmtp.test"]
    assert relayed.went_well


async def test_lmtp_tells_for_whom_it_failed(exim: Exim) -> None:
    verdict = ["250 2.0.0 Stored", "550 5.2.1 Mailbox closed", "250 2.0.0 Stored too"]
    async with receiving(protocol=LMTP, verdict=verdict) as receiver:
        relayed = await relay(exim, receiver, "a@lmtp.test", "b@lmtp.test", "c@lmtp.test", sender="<>")
    assert receiver.mail.rcpt_tos == ["a@lmtp.test", "b@lmtp.test", "c@lmtp.test"]
    assert relayed.replies == {"a@lmtp.test": "250 2.0.0 Stored", "c@lmtp.test": "250 2.0.0 Stored too"}
    assert relayed.failures == {"b@lmtp.test": "550 5.2.1 Mailbox closed"}
