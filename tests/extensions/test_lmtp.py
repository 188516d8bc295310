"""LMTP (RFC 2033): LHLO, a reply for each recipient, and never on port 25."""

from __future__ import annotations

import functools
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import LMTP, SMTP, Envelope, Reply, Session, serve
from tests.extensions.support import codes, hear_many, keywords, offer, on_tls
from tests.support import Client, Nothing, Recorder, talk, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable
    from pathlib import Path

RECIPIENTS = ("b@example.com", "c@example.com", "d@example.com")


def bdat(octets: bytes, *, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets


class Delivers(Nothing):
    """Says what became of each message."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.contents: list[bytes | None] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        self.contents.append(envelope.content)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Streams(Nothing):
    """The same, as the content comes."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome

    async def handle_DATA_STREAM(
        self, server: SMTP, session: Session, envelope: Envelope, chunks: AsyncIterable[bytes]
    ) -> Any:
        async for _ in chunks:
            pass
        return self.outcome


def lmtp(handler: object | None = None, **settings: Any) -> Any:
    return talk(handler, server_class=LMTP, **settings)


async def deliver(client: Client, *, by: str, recipients: Iterable[str] = RECIPIENTS) -> list[str]:
    """A message to recipients by DATA or by BDAT; the replies to its end, and whatever comes with them."""
    recipients = list(recipients)
    await client.begin(*recipients)
    if by == "DATA":
        await client.ask("DATA")
        await client.say("Hello", ".", "NOOP")
    else:
        await client.feed(bdat(b"Hello\r\n"))
        assert (await client.hear()).startswith("250 ")
        await client.feed(bdat(b"", last=True) + wire("NOOP"))
    replies = []
    while (reply := await client.hear()) != "250 2.0.0 OK":
        replies.append(reply)
    return replies


BY = pytest.mark.parametrize("by", ["DATA", "BDAT"])


# LHLO


async def test_it_greets_as_lmtp() -> None:
    async with lmtp(is_greeted=False) as client:
        assert await client.hear() == "220 mx.test LMTP ehlo"


@pytest.mark.parametrize("verb", ["HELO", "EHLO", "helo", "ehlo"])
async def test_helo_and_ehlo_are_no_commands(verb: str) -> None:
    # RFC 2033 §4.1: "The LHLO command replaces the HELO and EHLO commands"; §4.1 wants them refused.
    async with lmtp(is_greeted=False) as client:
        await client.hear()
        assert await client.ask(f"{verb} client.example") == "500 Command not recognized"
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("503 5.5.1 ")
        assert (await client.ask("LHLO client.example")).startswith("250-mx.test\n")


async def test_lhlo_is_no_command_in_smtp() -> None:
    async with talk(is_greeted=False) as client:
        await client.hear()
        assert await client.ask("LHLO client.example") == "500 Command not recognized"


@pytest.mark.parametrize("extra", [{}, on_tls()], ids=["plain", "tls"])
async def test_it_offers_what_lmtp_requires(extra: dict[str, object]) -> None:
    # RFC 2033 §5: "An LMTP server MUST implement" PIPELINING and ENHANCEDSTATUSCODES, and should do 8BITMIME.
    async with lmtp(extra=extra) as client:
        assert {"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING", "SIZE"} <= (await offer(client)).keys()


async def test_lhlo_needs_a_name() -> None:
    async with lmtp(is_greeted=False) as client:
        await client.hear()
        assert await client.ask("LHLO") == "501 Syntax: LHLO hostname"


async def test_lhlo_calls_the_hook_of_ehlo() -> None:
    class Adds(Nothing):
        async def handle_EHLO(
            self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
        ) -> list[str]:
            return [*lines, "XOWN 1"]

    async with lmtp(Adds(), is_greeted=False) as client:
        await client.hear()
        assert keywords(await client.ask("LHLO client.example"))["XOWN"] == "1"


async def test_help_lists_lhlo_only() -> None:
    async with lmtp() as client:
        listed = (await client.ask("HELP")).split()
        assert "LHLO" in listed
        assert not {"HELO", "EHLO"} & set(listed)


# A reply for each recipient


@BY
async def test_every_accepted_recipient_gets_a_reply(by: str) -> None:
    handler = Delivers()
    async with lmtp(handler) as client:
        replies = await deliver(client, by=by)
        assert len(replies) == 3
        assert all(reply.startswith("250 2.0.0 OK queued as ") for reply in replies)
    assert handler.contents == [b"Hello\r\n"]


@BY
async def test_refused_recipients_get_none(by: str) -> None:
    async with lmtp(Delivers(["250 b", "250 d"])) as client:
        await client.say(
            "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "RCPT TO:<no address>", "RCPT TO:<d@example.com>"
        )
        assert codes(await hear_many(client, 4)) == ["250", "250", "553", "250"]
        if by == "DATA":
            await client.ask("DATA")
            await client.say("Hello", ".")
        else:
            await client.feed(bdat(b"Hello\r\n", last=True))
        assert await hear_many(client, 2) == ["250 2.0.0 b", "250 2.0.0 d"]
        assert await client.is_usable()


@BY
@pytest.mark.parametrize("handler_class", [Delivers, Streams])
async def test_a_handler_may_answer_for_each_in_their_order(by: str, handler_class: type[Delivers | Streams]) -> None:
    outcome = ["250 2.1.5 b", Reply(452, "4.2.2", ("c is", "full")), None]
    async with lmtp(handler_class(outcome)) as client:
        first, second, third = await deliver(client, by=by)
        assert (first, second) == ("250 2.1.5 b", "452-4.2.2 c is\n452 4.2.2 full")
        assert third.startswith("250 2.0.0 OK queued as ")


@BY
@pytest.mark.parametrize("handler_class", [Delivers, Streams])
async def test_one_answer_is_for_all(by: str, handler_class: type[Delivers | Streams]) -> None:
    async with lmtp(handler_class("550 5.7.1 Not this")) as client:
        assert await deliver(client, by=by) == ["550 5.7.1 Not this"] * 3


@BY
async def test_a_recipient_that_came_twice_gets_two_replies(by: str) -> None:
    # RFC 2033 §4.2: as many replies as there were successful RCPT commands, in their order.
    async with lmtp(Delivers(["250 one", "250 two"])) as client:
        assert await deliver(client, by=by, recipients=["b@example.com"] * 2) == ["250 2.0.0 one", "250 2.0.0 two"]


@BY
@pytest.mark.parametrize("outcome", [[], ["250 OK"], ["250 OK"] * 4])
async def test_a_list_of_another_length_is_a_mistake_for_all(
    by: str, outcome: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with lmtp(Delivers(outcome)) as client:
        assert await deliver(client, by=by) == ["451 4.3.0 Internal error, try again later"] * 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@BY
@pytest.mark.parametrize(
    "outcome", [RuntimeError("details"), ["250 OK", "nonsense", "250 OK"], ["250 a\r\n250 b"] * 3, 7]
)
async def test_what_fails_is_temporary_for_all(by: str, outcome: Any) -> None:
    async with lmtp(Delivers(outcome)) as client:
        assert await deliver(client, by=by) == ["451 4.3.0 Internal error, try again later"] * 3


async def test_a_list_is_a_mistake_in_smtp() -> None:
    async with talk(Delivers(["250 OK"])) as client:
        assert await client.send("Hello") == "451 4.3.0 Internal error, try again later"


class Expands(Delivers):
    """Makes several recipients of one, or counts on others that were there before."""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> None:
        envelope.rcpt_tos.append("archive@example.com")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == "list@example.com":
            envelope.rcpt_tos += ["one@example.com", "two@example.com", "three@example.com"]
        return "250 2.1.5 OK"


@BY
async def test_there_is_a_reply_for_each_rcpt_however_many_recipients_a_hook_makes_of_it(by: str) -> None:
    # RFC 2033 §4.2: "for each previously successful RCPT command"; one more, and the client is out of step for good.
    async with lmtp(Expands()) as client:
        assert codes(await deliver(client, by=by, recipients=["list@example.com", "b@example.com"])) == ["250"] * 2
    async with lmtp(Expands(["250 the list", "250 b"])) as client:
        replies = await deliver(client, by=by, recipients=["list@example.com", "b@example.com"])
        assert replies == ["250 2.0.0 the list", "250 2.0.0 b"]


@BY
async def test_there_is_a_reply_for_each_rcpt_however_few_are_left(by: str) -> None:
    class Forgets(Delivers):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
            envelope.rcpt_tos.clear()
            return self.outcome

    async with lmtp(Forgets()) as client:
        assert codes(await deliver(client, by=by)) == ["250"] * 3


class OwnRCPT(LMTP):
    """Records recipients itself."""

    async def smtp_RCPT(self, arg: str | None) -> None:
        self.envelope.rcpt_tos.append(str(arg))
        await self.push("250 2.1.5 OK")


async def test_a_subclass_may_record_recipients_itself() -> None:
    async with talk(server_class=OwnRCPT) as client:
        assert codes(await deliver(client, by="DATA")) == ["250"] * 3


async def test_every_transaction_counts_its_own() -> None:
    async with lmtp() as client:
        for count in (3, 1, 2):
            assert len(await deliver(client, by="DATA", recipients=RECIPIENTS[:count])) == count
        await client.begin(*RECIPIENTS)
        await client.ask("RSET")
        assert len(await deliver(client, by="BDAT", recipients=RECIPIENTS[:1])) == 1


# Errors after the end of data


@BY
async def test_too_much_is_said_once_for_each(by: str) -> None:
    async with lmtp(data_size_limit=5) as client:
        await client.begin(*RECIPIENTS)
        if by == "DATA":
            await client.ask("DATA")
            await client.say("too much", ".")
        else:
            await client.feed(bdat(b"too much", last=True))
        assert codes(await hear_many(client, 3)) == ["552"] * 3
        assert await client.is_usable()


async def test_bare_newlines_are_refused_once_for_each() -> None:
    async with lmtp() as client:
        await client.begin(*RECIPIENTS)
        await client.ask("DATA")
        await client.feed(b"a\nb\r\n.\r\n")
        assert await hear_many(client, 3) == ["550 5.6.11 Bare CR or LF in mail data"] * 3
        assert await client.is_usable()


async def test_a_chunk_that_is_not_the_last_gets_one_reply() -> None:
    # It is no end of data, whether it is taken or not; what follows in the pipeline is refused.
    async with lmtp(data_size_limit=5) as client:
        await client.begin(*RECIPIENTS)
        await client.feed(bdat(b"abc") + bdat(b"def") + bdat(b"", last=True) + wire("NOOP"))
        assert codes(await hear_many(client, 4)) == ["250", "552", "503", "250"]


# Without recipients


@pytest.mark.parametrize("commands", [[], ["MAIL FROM:<a@example.com>"]])
async def test_without_a_recipient_there_is_no_data(commands: list[str]) -> None:
    # RFC 2033 §4.2: "the DATA command MUST fail with a 503 reply code".
    async with lmtp() as client:
        await client.say(*commands)
        await hear_many(client, len(commands))
        assert (await client.ask("DATA")).startswith("503 5.5.1 ")
        await client.feed(bdat(wire("QUIT"), last=True))
        assert (await client.hear()).startswith("503 5.5.1 ")
        assert await client.is_usable()


async def test_a_client_that_goes_away_is_not_waited_for() -> None:
    handler = Recorder()
    async with lmtp(handler) as client:
        await client.begin(*RECIPIENTS)
        await client.ask("DATA")
        await client.say("Hello")
    assert handler.contents == []


# Port 25


class OwnLMTP(LMTP):
    """A subclass."""


@pytest.mark.parametrize("protocol", [LMTP, OwnLMTP, functools.partial(LMTP)])
def test_it_is_not_served_on_port_25(protocol: Any) -> None:
    # RFC 2033 §5: "The LMTP protocol MUST NOT be used on TCP port 25."
    with pytest.raises(ValueError, match="port 25"):
        serve(Nothing(), port=25, protocol=protocol)


def test_nor_on_a_socket_that_is_bound_to_it() -> None:
    class Bound(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return ("127.0.0.1", 25)

    with Bound() as bound, pytest.raises(ValueError, match="port 25"):
        serve(Nothing(), sockets=[bound], protocol=LMTP)


def test_other_places_are_its_own(tmp_path: Path) -> None:
    serve(Nothing(), port=24, protocol=LMTP)
    serve(Nothing(), unix_path=tmp_path / "lmtp", port=25, protocol=LMTP)
    serve(Nothing(), port=25)
