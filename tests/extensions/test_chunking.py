"""CHUNKING (RFC 3030 §2): BDAT, whose octets are counted and never looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ehlo import LMTP, SMTP, DataAborted, Envelope, LoginPassword, Session, allow, syntax
from tests.extensions.support import codes, hear_many, offer
from tests.support import Nothing, Recorder, be_quiet, talk, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

ALL_OCTETS = bytes(range(256))
# What would be an end of data, a command, a bare newline or a hidden dot anywhere else.
TRAPS = b"\r\n.\r\n.\r\n..\r\nQUIT\r\nRSET\r\n\n.\n\r.\r\0\r\nBDAT 0 LAST\r\n\r"


def bdat(octets: bytes, *, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets


class Stream(Nothing):
    """Reads a message as it comes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[str] = []

    async def handle_DATA_STREAM(
        self, server: SMTP, session: Session, envelope: Envelope, chunks: AsyncIterable[bytes]
    ) -> None:
        try:
            async for piece in chunks:
                self.pieces.append(piece)
        except DataAborted:
            self.ends.append("aborted")
            raise
        self.ends.append("complete")


class ReadsLittle(Nothing):
    """Answers before it has read everything."""

    async def handle_DATA_STREAM(
        self, server: SMTP, session: Session, envelope: Envelope, chunks: AsyncIterable[bytes]
    ) -> str:
        async for _ in chunks:
            break
        return "550 5.7.1 Not this"


async def test_it_is_offered_in_smtp_and_lmtp() -> None:
    for server_class in (SMTP, LMTP):
        async with talk(server_class=server_class) as client:
            assert (await offer(client))["CHUNKING"] == ""


async def test_one_last_chunk_is_a_message() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"Hello\r\n", last=True))
        assert (await client.hear()).startswith("250 2.0.0 OK queued as ")
    (envelope,) = handler.envelopes
    assert envelope.content == b"Hello\r\n"
    assert envelope.is_chunked


@pytest.mark.parametrize("octets", [ALL_OCTETS, TRAPS, b"", b"\r", b"\n", b".", b".\r\n", b"\0"])
async def test_octets_arrive_exactly_as_they_were_sent(octets: bytes) -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(octets) + bdat(octets, last=True))
        assert codes(await hear_many(client, 2)) == ["250", "250"]
        assert await client.is_usable()
    assert handler.contents == [octets * 2]


@pytest.mark.parametrize("setting", ["refuse", "normalize", "keep"])
async def test_no_setting_for_bare_newlines_touches_chunks(setting: str) -> None:
    handler = Recorder()
    async with talk(handler, bare_newlines=setting) as client:
        await client.begin()
        await client.feed(bdat(TRAPS, last=True))
        assert (await client.hear()).startswith("250 ")
    assert handler.contents == [TRAPS]


async def test_a_message_cut_anywhere_arrives_whole() -> None:
    octets = wire("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>")
    octets += bdat(b"12\r\n.\r\n") + bdat(b"") + bdat(b"4", last=True) + wire("NOOP")
    handler = Recorder()
    for cut in range(1, len(octets)):
        async with talk(handler) as client:
            await client.feed(octets[:cut], octets[cut:])
            assert codes(await hear_many(client, 6)) == ["250"] * 6
    async with talk(handler) as client:
        await client.feed(*(octets[at : at + 1] for at in range(len(octets))))
        assert codes(await hear_many(client, 6)) == ["250"] * 6
    assert set(handler.contents) == {b"12\r\n.\r\n4"}
    assert len(handler.contents) == len(octets)


async def test_each_chunk_is_acknowledged_with_its_size() -> None:
    async with talk() as client:
        await client.begin()
        for size in (3, 0, 1000):
            await client.feed(bdat(b"x" * size))
            assert await client.hear() == f"250 2.0.0 {size} octets received"


async def test_the_last_chunk_may_be_empty() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc"))
        await client.hear()
        assert (await client.ask("BDAT 0 LAST")).startswith("250 2.0.0 OK queued as ")
    assert handler.contents == [b"abc"]


@pytest.mark.parametrize("command", ["BDAT 1 LAST", "bdat 1 last", "Bdat 01 Last", "BDAT 1  LAST", "BDAT  1 LAST "])
async def test_it_is_understood_in_any_case(command: str) -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(wire(command) + b"x")
        assert (await client.hear()).startswith("250 ")
    assert handler.contents == [b"x"]


@pytest.mark.parametrize(
    "arg", ["", " x", " -1", " +1", " 1.0", " 0x1", " 1 LAS", " 1 LAST x", " LAST", " 1LAST", " \u0661", " " + "1" * 21]
)
async def test_a_size_that_cannot_be_read_ends_the_session(arg: str) -> None:
    # Nobody knows where the next command begins.
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.say(f"BDAT{arg}", "QUIT")
        (reply,) = await client.hear_all()
        assert reply == "501 5.5.4 Syntax: BDAT <size> [LAST]; closing connection"
    assert handler.contents == []


async def test_a_chunk_may_be_said_to_be_huge() -> None:
    handler = Recorder()
    async with talk(handler, data_size_limit=None) as client:
        await client.begin()
        await client.feed(b"BDAT 99999999999999999999 LAST\r\n", b"x" * 1000)
        assert client.said() == []
    assert handler.contents == []


# Out of place: the chunk is consumed, and only then refused.


async def test_it_needs_ehlo() -> None:
    async with talk(is_greeted=False) as client:
        await client.hear()
        await client.feed(bdat(b"QUIT\r\n", last=True))
        assert (await client.hear()).startswith("503 5.5.1 ")
        await client.ask("HELO client.example")
        await client.begin()
        await client.feed(bdat(b"QUIT\r\n", last=True))
        assert (await client.hear()).startswith("502 5.5.1 ")
        assert await client.is_usable()


@pytest.mark.parametrize("stage", [[], ["MAIL FROM:<a@example.com>"]])
async def test_without_a_recipient_it_is_consumed_and_refused(stage: list[str]) -> None:
    async with talk() as client:
        await client.say(*stage)
        await hear_many(client, len(stage))
        await client.feed(bdat(wire("QUIT", "NOOP")) + bdat(TRAPS, last=True))
        assert codes(await hear_many(client, 2)) == ["503", "503"]
        assert await client.is_usable()


async def test_a_group_whose_recipients_were_refused_executes_nothing_of_the_message() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.feed(
            wire("MAIL FROM:<a@example.com>", "RCPT TO:<no address>")
            + bdat(wire("RCPT TO:<x@example.com>"))
            + bdat(b"", last=True)
        )
        assert codes(await hear_many(client, 4)) == ["250", "553", "503", "503"]
        assert await client.is_usable()
    assert handler.contents == []


async def test_a_refused_chunk_is_answered_when_it_is_over() -> None:
    # RFC 3030 §2: "MUST accept and discard the associated message data before sending the appropriate 5XX or 4XX code".
    async with talk() as client:
        await client.feed(b"BDAT 3 LAST\r\n", b"12")
        await be_quiet()
        assert client.said() == []
        await client.feed(b"3")
        assert (await client.hear()).startswith("503 ")


async def nobody(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return False


@pytest.mark.filterwarnings("ignore:auth_required without")
async def test_it_is_consumed_when_authentication_is_missing() -> None:
    async with talk(authenticator=nobody, auth_required=True, auth_require_tls=False) as client:
        await client.feed(bdat(wire("QUIT"), last=True))
        assert (await client.hear()).startswith("530 5.7.0 ")
        assert await client.is_usable()


async def test_it_is_consumed_when_nobody_is_served() -> None:
    class Closed(Nothing):
        async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            return "554 No"

    async with talk(Closed(), is_greeted=False) as client:
        await client.hear()
        await client.feed(bdat(wire("QUIT"), last=True))
        assert await client.hear() == "503 5.5.1 No service here"
        assert await client.ask("QUIT") == "221 2.0.0 Bye"


class OwnBDAT(SMTP):
    """Answers BDAT without a look at the chunk."""

    @syntax("BDAT <size> [LAST]")
    @allow(has_chunk=True)
    async def smtp_BDAT(self, arg: str | None) -> None:
        await self.push("502 5.5.1 Not here")


async def test_a_subclass_that_leaves_a_chunk_unread_executes_none_of_it() -> None:
    async with talk(server_class=OwnBDAT) as client:
        await client.feed(bdat(wire("QUIT"), last=True), wire("NOOP"))
        assert await hear_many(client, 2) == ["502 5.5.1 Not here", "250 2.0.0 OK"]


# Mixed with other commands


async def test_data_between_chunks_is_refused() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc"))
        await client.hear()
        assert (await client.ask("DATA")).startswith("503 5.5.1 ")
        await client.feed(bdat(b"def", last=True))
        assert (await client.hear()).startswith("250 ")
    assert handler.contents == [b"abcdef"]


async def test_data_sent_with_a_refused_data_are_not_executed() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc"))
        await client.hear()
        await client.say("DATA", "BDAT 0 LAST", ".")
        assert codes(await client.hear_all()) == ["503", "421"]
    assert handler.contents == []


@pytest.mark.parametrize("command", ["MAIL FROM:<x@example.com>", "RCPT TO:<x@example.com>", "STARTTLS", "AUTH PLAIN"])
async def test_nothing_that_belongs_elsewhere_is_allowed_between_chunks(command: str) -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc"))
        await client.hear()
        assert (await client.ask(command)).startswith("503 5.5.1 ")
        await client.ask("BDAT 0 LAST")
    (envelope,) = handler.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("from@example.com", ["to@example.com"])


@pytest.mark.parametrize("command", ["NOOP", "HELP", "VRFY a", "EXPN a", "NONSENSE", "RSET x"])
async def test_what_changes_nothing_may_stand_between_chunks(command: str) -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc") + wire(command) + bdat(b"def", last=True))
        replies = await hear_many(client, 3)
        assert [replies[0][:3], replies[2][:3]] == ["250", "250"]
    assert handler.contents == [b"abcdef"]


@pytest.mark.parametrize("command", ["RSET", "EHLO client.example", "HELO client.example"])
async def test_a_message_can_be_given_up_between_chunks(command: str) -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc"))
        await client.hear()
        assert (await client.ask(command)).startswith("250")
        await client.feed(bdat(b"QUIT\r\n", last=True))
        assert (await client.hear()).startswith("503 ")
        assert (await client.send("Next")).startswith("250 ")
    assert handler.contents == [b"Next\r\n"]


async def test_quit_between_chunks_is_the_end() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc") + wire("QUIT") + bdat(b"def", last=True))
        assert codes(await client.hear_all()) == ["250", "221"]
    assert handler.contents == []


async def test_after_the_last_chunk_there_is_none() -> None:
    # RFC 3030 §2: "Any BDAT command sent after the BDAT LAST is illegal and MUST be replied to with a 503".
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc", last=True) + bdat(wire("QUIT"), last=True) + wire("NOOP"))
        assert codes(await hear_many(client, 3)) == ["250", "503", "250"]
    assert handler.contents == [b"abc"]


async def test_one_session_may_use_data_and_bdat_by_turns() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        for _ in range(2):
            await client.begin()
            await client.feed(bdat(b"chunk", last=True))
            await client.hear()
            await client.send("data")
    assert handler.contents == [b"chunk", b"data\r\n"] * 2
    assert [envelope.is_chunked for envelope in handler.envelopes] == [True, False] * 2


# Failures


async def test_after_a_failed_chunk_those_in_the_pipeline_are_consumed() -> None:
    handler = Recorder()
    async with talk(handler, data_size_limit=10) as client:
        await client.begin()
        await client.feed(bdat(b"x" * 11) + bdat(wire("QUIT")) + bdat(b"", last=True) + wire("NOOP"))
        assert codes(await hear_many(client, 4)) == ["552", "503", "503", "250"]
        assert (await client.send("Next")).startswith("250 ")
    assert handler.contents == [b"Next\r\n"]


async def test_a_failed_chunk_is_answered_when_it_is_over() -> None:
    async with talk(data_size_limit=10) as client:
        await client.begin()
        await client.feed(b"BDAT 20 LAST\r\n", b"x" * 19)
        await be_quiet()
        assert client.said() == []
        await client.feed(b"x")
        assert (await client.hear()).startswith("552 ")


async def test_a_client_that_goes_away_amid_a_chunk_has_sent_nothing() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(b"BDAT 20 LAST\r\n", b"x" * 19)
    assert handler.contents == []
    assert handler.reasons == ["closed"]


async def test_the_end_of_input_between_chunks_is_no_end_of_data() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc"))
        client.transport.feed_eof()
        assert codes(await client.hear_all()) == ["250"]
    assert handler.contents == []


# As a stream


async def test_a_stream_gets_chunks_like_mail_data() -> None:
    handler = Stream()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc"))
        await client.hear()
        assert handler.pieces == [b"abc"]
        await client.feed(bdat(TRAPS, last=True))
        assert (await client.hear()).startswith("250 2.0.0 OK queued as ")
    assert b"".join(handler.pieces) == b"abc" + TRAPS
    assert handler.ends == ["complete"]


@pytest.mark.parametrize("command", ["RSET", "EHLO client.example", "QUIT"])
async def test_a_stream_is_told_that_a_message_was_given_up(command: str) -> None:
    handler = Stream()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(bdat(b"abc"))
        await client.hear()
        await client.ask(command)
        assert client.said() == []
    assert handler.ends == ["aborted"]


async def test_a_stream_is_told_that_the_client_is_gone() -> None:
    handler = Stream()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(b"BDAT 20 LAST\r\n", b"x" * 19)
    assert handler.ends == ["aborted"]


async def test_what_a_stream_leaves_unread_is_consumed() -> None:
    async with talk(ReadsLittle()) as client:
        await client.begin()
        await client.feed(bdat(b"abc") + bdat(wire("QUIT")) + bdat(wire("QUIT"), last=True))
        replies = await hear_many(client, 3)
        assert replies[2] == "550 5.7.1 Not this"
        assert codes(replies[:2]) == ["250", "250"]
        assert await client.is_usable()


async def test_no_chunk_leaves_the_framing_in_doubt() -> None:
    async with talk() as client:
        await client.begin()
        await client.feed(b"BDAT 3\r\n", b"ab")
        assert client.server._framer.expects_data()
        await client.feed(b"c")
        await client.hear()
        assert not client.server._framer.expects_data()
