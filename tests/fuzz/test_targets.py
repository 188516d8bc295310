"""Each target of fuzz/, for a moment: its seeds and some random inputs hold, and with a fault in ehlo they do not."""

from __future__ import annotations

import itertools
import re

import pytest

from ehlo import LMTP, SMTP
from ehlo.content import ContentReader
from ehlo.net.connection import Connection
from ehlo.net.flow import Flow
from ehlo.protocol import client, commands, parameters, replies, xclient, xtext
from ehlo.protocol.client import MailDataEncoder, ReplyParser
from ehlo.protocol.data import MailDataDecoder
from ehlo.protocol.framing import Framer, Framing
from ehlo.protocol.proxy import ProxyHeaderReader
from ehlo.protocol.sasl import scram
from fuzz import corpus, random_engine
from fuzz.targets import TARGETS

# A session is a thousand times the work of a text.
INPUTS = {"session": 150, "dialogue": 60}
INPUTS_WITH_A_FAULT = 600


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_and_some_random_inputs_hold(target: str) -> None:
    count = len(corpus.seeds(target)) + INPUTS.get(target, 400)
    for data in itertools.islice(random_engine.inputs(target), count):
        try:
            TARGETS[target](data)
        except Exception as error:
            error.add_note(f"the input of {target}: {data!r}")
            raise


def require_that_it_is_noticed(target: str) -> None:
    for data in itertools.islice(random_engine.inputs(target), INPUTS_WITH_A_FAULT):
        try:
            TARGETS[target](data)
        except Exception:  # noqa: BLE001 - a Violation, or what the parser lets out
            return
    pytest.fail("nothing was noticed")


# Faults of a server

NEXT_DATA, NEXT_LINE, EXPECT = Framer.next_data, Framer.next_line, Framer.expect
DROP_DATA, READ, WRITE = Connection._drop_data, ContentReader.read, Flow._write
RCPT_REPLY = b"250 2.1.5"


def end_data_at_lf(framer: Framer) -> bytes:
    framer._buffer = framer._buffer[framer._position :].replace(b"\n.\n", b"\r\n.\r\n")
    framer._position = 0
    return NEXT_DATA(framer)


def end_a_line_at_lf(framer: Framer, limit: int) -> bytes | None:
    framer._buffer = framer._buffer.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return NEXT_LINE(framer, limit)


def keep_what_came_before_tls(framer: Framer, state: Framing) -> None:
    kept = framer._buffer[framer._position :]
    EXPECT(framer, state)
    if state is Framing.TLS:
        framer._buffer = kept


async def run_the_end_of_a_refused_chunk(connection: Connection) -> None:
    connection._framer._chunk_left = min(connection._framer._chunk_left, 1)
    await DROP_DATA(connection)


def forget_to_answer(flow: Flow, data: bytes) -> None:
    if not data.startswith(RCPT_REPLY):
        WRITE(flow, data)


def answer_twice(flow: Flow, data: bytes) -> None:
    WRITE(flow, data * (1 + data.startswith(RCPT_REPLY)))


async def accept_without_delivery(_server: SMTP, reader: ContentReader) -> None:
    await reader.skip()


async def lose_octets(reader: ContentReader) -> bytes:
    return (await READ(reader)).replace(b"T", b"")


SERVER_FAULTS = [
    (Framer, "next_data", end_data_at_lf),
    (Framer, "next_line", end_a_line_at_lf),
    (Framer, "has_bare_newline", property(lambda _: False)),
    (Framer, "expect", keep_what_came_before_tls),
    (Connection, "_drop_data", run_the_end_of_a_refused_chunk),
    (Connection, "_expect_chunk", lambda *_: None),
    (Flow, "_write", forget_to_answer),
    (Flow, "_write", answer_twice),
    (LMTP, "_encode_outcome", SMTP._encode_outcome),
    (SMTP, "_buffer", accept_without_delivery),
    (ContentReader, "read", lose_octets),
]


@pytest.mark.parametrize(("owner", "name", "fault"), SERVER_FAULTS, ids=[name for _, name, _ in SERVER_FAULTS])
@pytest.mark.parametrize("target", ["session", "dialogue"])
def test_a_fault_of_a_server_is_noticed(
    monkeypatch: pytest.MonkeyPatch, target: str, owner: type, name: str, fault: object
) -> None:
    monkeypatch.setattr(owner, name, fault)
    require_that_it_is_noticed(target)


# Faults of a parser

FEED, RECEIVE = MailDataDecoder.feed, ReplyParser.receive
NEVER = re.compile(r"(?!)")

PARSER_FAULTS = [
    ("framing", Framer, "next_line", end_a_line_at_lf),
    ("maildata", MailDataDecoder, "feed", lambda decoder, piece: FEED(decoder, piece).replace(b"T", b"")),
    ("maildata", MailDataEncoder, "feed", lambda _, piece: piece),
    # As it was: U+017F is an "s" where case is ignored.
    ("commands", commands, "_CHUNK", re.compile(r"(?P<size>[0-9]{1,20})(?:[ ]+(?P<last>LAST))?", re.IGNORECASE)),
    # As it was: "<" may stand in an address literal.
    (
        "address",
        client,
        "_ADDRESS",
        re.compile(r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"|[^"<>\x00-\x20\x7f])*'),
    ),
    ("parameters", parameters, "_CONTROL", NEVER),
    ("xtext", xtext, "_NO_XCHAR", re.compile(rb"[^!-~]")),
    ("replies", replies, "_CONTROL", NEVER),
    ("proxy", ProxyHeaderReader, "missing", property(lambda reader: reader._missing + 1)),
    ("xclient", xclient, "is_helo_name", lambda _: True),
    ("sasl", scram, "_is_proof", lambda *_: True),
    ("client", ReplyParser, "receive", lambda parser, piece: RECEIVE(parser, piece[:50])),
]


@pytest.mark.parametrize(
    ("target", "owner", "name", "fault"),
    PARSER_FAULTS,
    ids=[f"{target}-{name}" for target, _, name, _ in PARSER_FAULTS],
)
def test_a_fault_of_a_parser_is_noticed(
    monkeypatch: pytest.MonkeyPatch, target: str, owner: object, name: str, fault: object
) -> None:
    monkeypatch.setattr(owner, name, fault)
    require_that_it_is_noticed(target)
