r"""SMTP smuggling: nothing but CRLF "." CRLF ends mail data, and nothing inside them is ever a command.

What is known of it (2023: Postfix CVE-2023-51764, Sendmail CVE-2023-51765, Exim CVE-2023-51766, and those that
followed) is a server that takes something else for the end: LF "." LF, LF "." CRLF, CR "." CR, CRLF "." CR, CRLF NUL
"." CRLF and so on.  Here every combination of a few ways to end a line, to write a dot and to end another line is
tried, each followed by a whole transaction that must not take place.

An oracle that is too simple to be wrong says what should come of it: split at CRLF, up to a line that is a dot.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ehlo.settings import BareNewlines
from tests.extensions.support import Authority, codes, connected, serving
from tests.support import Client, Recorder, talk, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ehlo import SMTP, Envelope, Session

LINE_ENDS = (
    b"", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\n\r", b"\r\r\n", b"\r\n\n", b"\n\r\n", b"\r\0\n", b"\r\n\0",
    b"\0\r\n", b"\x85",
)  # fmt: skip
DOTS = (b".", b"..", b"...", b"\0.", b".\0", b" .", b". ", b".\r", b"\xef\xbc\x8e")

BEFORE = wire("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA")
SMUGGLED = wire("MAIL FROM:<smuggled@example.com>", "RCPT TO:<victim@example.com>", "DATA", "Subject: smuggled")
END = b".\r\n"
AFTER = wire("NOOP")

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class Variant(NamedTuple):
    """A beginning, what some server takes for an end of data, and the mail data that this makes."""

    beginning: bytes
    false_end: bytes

    @property
    def data(self) -> bytes:
        return self.beginning + self.false_end + SMUGGLED + END

    @property
    def octets(self) -> bytes:
        """All that the client says."""
        return BEFORE + self.data + AFTER


def variants() -> Iterator[Variant]:
    for left, dot, right in itertools.product(LINE_ENDS, DOTS, LINE_ENDS):
        for beginning in (b"text",) if left else (b"", b"text"):
            variant = Variant(beginning, left + dot + right)
            # But for those that end the data in truth.
            if b"\r\n.\r\n" not in b"\r\n" + beginning + variant.false_end + SMUGGLED:
                yield variant


VARIANTS = sorted(set(variants()))


def share(setting: BareNewlines, step: int = 1) -> list[Variant]:
    """A part of the variants, other ones for each setting: what is cut here and there meets the same code."""
    return VARIANTS[list(BareNewlines).index(setting) :: len(BareNewlines) * step]


def oracle(data: bytes) -> bytes:
    """The content of mail data."""
    lines = []
    for line in data.split(b"\r\n"):
        if line == b".":
            break
        lines.append(line.removeprefix(b"."))
    return b"".join(line + b"\r\n" for line in lines)


def outcome(setting: BareNewlines, data: bytes) -> tuple[str, list[bytes]]:
    """The reply to the end of data, and the contents that the handler gets."""
    content = oracle(data)
    if setting is BareNewlines.NORMALIZE:
        content = _BARE.sub(b"\r\n", content)
    elif setting is BareNewlines.REFUSE and _BARE.search(content):
        return "550 5.6.11 Bare CR or LF in mail data", []
    return "250 2.0.0 OK queued as ", [content]


class Receiver(Recorder):
    """Knows who was ever named as a sender."""

    def __init__(self) -> None:
        super().__init__()
        self.senders: set[str] = set()

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> None:
        self.senders.add(address)


async def check(client: Client, handler: Receiver, setting: BareNewlines, data: bytes, *pieces: bytes) -> None:
    """Send the pieces, which are one transaction with these mail data, and see that there was just that one."""
    handler.envelopes.clear()
    await client.feed(*pieces)
    reply, contents = outcome(setting, data)
    mail, rcpt, go_on, end, after = client.said()
    assert (mail, rcpt, go_on[:3], after) == ("250 2.1.0 OK", "250 2.1.5 OK", "354", "250 2.0.0 OK")
    assert end.startswith(reply)
    assert handler.contents == contents
    assert handler.senders == {"a@example.com"}


def test_there_are_enough_of_them() -> None:
    assert len(VARIANTS) >= 400
    published = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n.\n", b"\r.\r\n", b"\r\n\0.\r\n", b"\r\n.\r\r\n"]
    assert {Variant(b"text", end) for end in published} <= set(VARIANTS)


@pytest.mark.parametrize("setting", BareNewlines)
async def test_no_variant_ends_the_data(setting: BareNewlines) -> None:
    handler = Receiver()
    async with talk(handler, bare_newlines=setting) as client:
        for variant in VARIANTS:
            await check(client, handler, setting, variant.data, variant.octets)


@pytest.mark.parametrize("setting", BareNewlines)
async def test_nor_does_it_when_it_is_cut_anywhere(setting: BareNewlines) -> None:
    handler = Receiver()
    async with talk(handler, bare_newlines=setting) as client:
        for variant in share(setting):
            start = len(BEFORE) + len(variant.beginning)
            for cut in range(start - 1, start + len(variant.false_end) + 2):
                await check(client, handler, setting, variant.data, variant.octets[:cut], variant.octets[cut:])


@pytest.mark.parametrize("setting", BareNewlines)
async def test_nor_octet_by_octet(setting: BareNewlines) -> None:
    handler = Receiver()
    async with talk(handler, bare_newlines=setting) as client:
        for variant in share(setting, step=10):
            octets = variant.octets
            await check(client, handler, setting, variant.data, *(octets[at : at + 1] for at in range(len(octets))))


@pytest.mark.parametrize("setting", BareNewlines)
@pytest.mark.parametrize("text", [b"", b"text\r\n", b"..\r\n", b"\0\r\n", b"text\r\n\r\n", b".text\r\n\r\n"])
async def test_the_real_end_may_be_cut_anywhere(setting: BareNewlines, text: bytes) -> None:
    octets = BEFORE + text + END + AFTER
    handler = Receiver()
    async with talk(handler, bare_newlines=setting) as client:
        for cut in range(1, len(octets)):
            await check(client, handler, setting, text + END, octets[:cut], octets[cut:])


async def test_a_false_end_is_not_waited_behind_either() -> None:
    # A client that was told 250 here could be made to believe that its message has arrived.
    handler = Receiver()
    for variant in VARIANTS[::7]:
        if not (b"\r\n" + variant.beginning + variant.false_end).endswith(b"\r\n.\r"):
            async with talk(handler, data_timeout=1000) as client:
                await client.feed(BEFORE + variant.beginning + variant.false_end)
                assert codes(client.said()) == ["250", "250", "354"]
    assert handler.envelopes == []


# DATA in BDAT, and BDAT in DATA


async def test_a_chunk_is_what_its_size_says_whatever_is_in_it() -> None:
    handler = Receiver()
    async with talk(handler) as client:
        for variant in VARIANTS:
            handler.envelopes.clear()
            for data in (variant.data, b"\r\n.\r\n" + variant.data):
                await client.feed(BEFORE[:-6] + b"BDAT %d LAST\r\n" % len(data) + data + AFTER)
                assert codes(client.said()) == ["250", "250", "250", "250"]
                assert handler.contents.pop() == data
                handler.envelopes.clear()
    assert handler.senders == {"a@example.com"}


@pytest.mark.parametrize("size", range(1, 12))
async def test_a_chunk_that_ends_inside_a_false_end_ends_there(size: int) -> None:
    # What follows belongs to nobody but the client: it is a line, and a bad one.
    octets = b"\r\n.\r\n\n.\n\r.\r"
    handler = Receiver()
    async with talk(handler) as client:
        await client.feed(BEFORE[:-6] + b"BDAT %d LAST\r\n" % size + octets + b"\r\n" + AFTER)
        replies = client.said()
        assert codes(replies[:3]) == ["250", "250", "250"]
        assert set(codes(replies[3:-1])) <= {"500"}
        assert replies[-1] == "250 2.0.0 OK"
    assert handler.contents == [octets[:size]]


async def test_bdat_in_mail_data_is_text() -> None:
    text = wire("BDAT 0 LAST", "BDAT 1000000", "QUIT", "..", ".RSET")
    handler = Receiver()
    async with talk(handler) as client:
        await check(client, handler, BareNewlines.REFUSE, text + END, BEFORE + text + END + AFTER)


async def test_an_end_of_data_between_chunks_is_a_bad_command() -> None:
    handler = Receiver()
    async with talk(handler) as client:
        await client.feed(BEFORE[:-6] + b"BDAT 4\r\ntext\r\n.\r\n" + SMUGGLED)
        # The empty line, the dot, MAIL, RCPT: none of them belongs there; DATA has octets behind it, and that is all.
        assert codes(client.said()) == ["250", "250", "250", "500", "500", "503", "503", "503", "421"]
    assert handler.contents == []
    assert handler.senders == {"a@example.com"}


async def test_chunks_and_mail_data_are_not_mixed() -> None:
    handler = Receiver()
    async with talk(handler) as client:
        await client.feed(BEFORE + b"text\r\nBDAT 4 LAST\r\n.\r\n" + b"BDAT 4 LAST\r\nQUIT" + AFTER)
        assert codes(client.said()) == ["250", "250", "354", "250", "503", "250"]
    assert handler.contents == [b"text\r\nBDAT 4 LAST\r\n"]


# Command lines

BAD_OCTETS = (b"\0", b"\r", b"\n", b"\n\r", b"\r\r", b"\n\n", b"\xff", b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80")
LINES = (
    b"NOOP", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.com>", b"EHLO client.example", b"DATA", b"RSET",
    b"VRFY ann", b"BDAT 3 LAST",
)  # fmt: skip


def spoilt(line: bytes, octets: bytes) -> Iterator[bytes]:
    """A line with octets put in everywhere, and a command behind them."""
    for at in range(len(line) + 1):
        yield line[:at] + octets + line[at:]
    yield line + octets + b"MAIL FROM:<smuggled@example.com>"


# What follows these is content, not a command.
CONTENT_FOLLOWS = (b"DATA", b"BDAT")


@pytest.mark.parametrize("octets", BAD_OCTETS)
@pytest.mark.parametrize("line", [b"DATA", b"BDAT 42", b"BDAT 42 LAST", b" BDAT 42"])
async def test_behind_a_bad_line_that_has_content_nothing_is_executed(line: bytes, octets: bytes) -> None:
    handler = Receiver()
    async with talk(handler) as client:
        await client.begin()
        handler.senders.clear()
        await client.feed(line + octets + b"\r\nRSET\r\nMAIL FROM:<evil@example.net>\r\n")
        refused, goodbye = client.said()
        assert refused[:1] == "5"
        assert goodbye.startswith("421 4.7.0 ")
    assert handler.senders == set()
    assert handler.contents == []


@pytest.mark.parametrize("octets", BAD_OCTETS)
async def test_a_bad_line_is_one_bad_line(octets: bytes) -> None:
    # No part of it is executed: who sent it may have been made to by somebody else.
    handler = Receiver()
    async with talk(handler, error_limit=100_000) as client:
        await client.begin()
        handler.senders.clear()
        for line in LINES:
            if line.startswith(CONTENT_FOLLOWS):
                continue  # see below
            for bad in spoilt(line, octets):
                await client.feed(bad + b"\r\n" + AFTER)
                refused, after = client.said()
                assert refused.startswith("500 5.5.2 "), bad
                assert after == "250 2.0.0 OK", bad
        assert client.server.envelope.rcpt_tos == ["to@example.com"]
    assert handler.senders == set()
    assert handler.contents == []


@pytest.mark.parametrize("octets", BAD_OCTETS)
async def test_the_same_cut_anywhere(octets: bytes) -> None:
    handler = Receiver()
    async with talk(handler, error_limit=100_000) as client:
        for bad in (b"NOOP" + octets + b"MAIL FROM:<x@example.com>", octets + b"NOOP", b"NOOP" + octets):
            data = bad + b"\r\n" + AFTER
            for cut in range(1, len(data)):
                await client.feed(data[:cut], data[cut:])
                refused, after = client.said()
                assert refused.startswith("500 5.5.2 "), (bad, cut)
                assert after == "250 2.0.0 OK", (bad, cut)
    assert handler.senders == set()


@pytest.mark.parametrize("verb", ["NOÖP", "ЕHLO", "NOO\u0420", "\uff2e\uff2f\uff2f\uff30", "\u00a0NOOP"])
async def test_no_verb_is_anything_but_ascii(verb: str) -> None:
    async with talk() as client:
        assert (await client.ask(verb)).startswith("500 5.5.")
        assert await client.is_usable()


@pytest.mark.parametrize(
    "path",
    [
        "<a@example.com>\nX: y",
        "<a\nb@example.com>",
        "a@example.com>\rX: y",
        '<"a\0b"@example.com>',
        "<a\tb@example.com>",
        "<a@example.com> SIZE=1\nRCPT TO:<x@example.com>",
        "<a@example.com>\x0bX: y",
        "<a\x85b@example.com>",
    ],
)
async def test_header_like_data_in_mail_is_refused(path: str) -> None:
    handler = Receiver()
    async with talk(handler) as client:
        await client.feed(f"MAIL FROM:{path} SMTPUTF8\r\n".encode() + AFTER)
        refused, after = client.said()
        assert refused[:3] in {"500", "501", "553"}
        assert after == "250 2.0.0 OK"
    assert handler.senders == set()


# STARTTLS; more of it in tests/extensions/test_starttls.py


async def test_no_part_of_what_comes_with_starttls_is_executed(tmp_path: Path) -> None:
    # A connection each: wherever the attacker's segment ends, nothing is left of it on TLS.
    authority = Authority(tmp_path)
    context, trust = authority.server_context(), authority.client_context()
    handler = Receiver()
    injected = b"X\r\n" + BEFORE + SMUGGLED
    async with serving(handler, tls_context=context) as server:
        for size in range(0, len(injected), 5):
            async with connected(server) as client:
                await client.greet()
                await client.feed(b"STARTTLS\r\n" + injected[:size])
                assert (await client.hear()).startswith("220 ")
                await client.shake_hands(trust)
                # The remainder of a line that began before the handshake would make a bad one of this.
                assert (await client.ask("EHLO client.example")).startswith("250-mx.test")
                assert await client.is_usable()
    assert handler.senders == set()
