from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.errors import BadChunkSize, BadSequence, CommandSyntaxError
from ehlo.protocol.commands import (
    ANY,
    COMMANDS,
    Chunk,
    Command,
    CommandLine,
    Stage,
    parse_chunk,
    parse_command,
    refusal,
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"NOOP", CommandLine("NOOP", None)),
        (b"noop", CommandLine("NOOP", None)),
        (b"NOOP ", CommandLine("NOOP", None)),
        (b"NOOP  \t ", CommandLine("NOOP", None)),
        (b"NOOP a  b ", CommandLine("NOOP", "a  b")),
        (b"NOOP\ta", CommandLine("NOOP", "a")),
        (b"mail from:<A@Example.com>", CommandLine("MAIL", "from:<A@Example.com>")),
        ("VRFY grün".encode(), CommandLine("VRFY", "grün")),
    ],
)
def test_a_line_is_a_verb_and_an_argument(line: bytes, command: CommandLine) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    "line", [b"", b" ", b" NOOP", b"\xff", b"NOOP \xff", "ÉHLO x".encode(), "noop\u00a0x".encode()]
)
def test_a_line_without_a_verb_or_not_in_utf8_is_no_command(line: bytes) -> None:
    with pytest.raises(CommandSyntaxError):
        parse_command(line)


@given(st.binary())
def test_whatever_the_line_it_is_a_command_or_a_syntax_error(line: bytes) -> None:
    try:
        verb, arg = parse_command(line)
    except CommandSyntaxError:
        return
    assert verb
    assert verb.isascii()
    assert " " not in verb
    assert verb == verb.upper()
    assert arg is None or arg == arg.strip(" \t") != ""


def test_every_row_stands_under_its_verb() -> None:
    assert all(verb == row.verb == verb.upper() for verb, row in COMMANDS.items())


OUT_OF_PLACE = [(row, stage) for row, stage in product(COMMANDS.values(), Stage) if stage not in row.stages]


@pytest.mark.parametrize(
    ("row", "stage"), OUT_OF_PLACE, ids=[f"{row.verb}-{stage.name}" for row, stage in OUT_OF_PLACE]
)
def test_a_refusal_is_503_and_says_what_to_do(row: Command, stage: Stage) -> None:
    error = refusal(row, stage)
    assert isinstance(error, BadSequence)
    assert error.status.startswith("503 5.5.1 ")
    if stage is Stage.CONNECTED:
        assert "HELO or EHLO first" in error.status


@pytest.mark.parametrize(
    ("verb", "stage", "text"),
    [
        ("RCPT", Stage.GREETED, "Need MAIL command"),
        ("DATA", Stage.GREETED, "Need RCPT command"),
        ("DATA", Stage.MAIL, "Need RCPT command"),
        ("BDAT", Stage.MAIL, "Need RCPT command"),
        ("MAIL", Stage.MAIL, "Not allowed inside a transaction"),
        ("MAIL", Stage.RCPT, "Not allowed inside a transaction"),
        ("STARTTLS", Stage.RCPT, "Not allowed inside a transaction"),
        ("DATA", Stage.CHUNKS, "Not allowed between BDAT commands"),
    ],
)
def test_a_refusal_names_what_is_missing(verb: str, stage: Stage, text: str) -> None:
    assert refusal(COMMANDS[verb], stage).text == text


# RFC 2920 §3.1: "The EHLO, DATA, VRFY, EXPN, TURN, QUIT, and NOOP commands can only appear as the last command in a
# group".  RFC 3207 §4.2 adds STARTTLS, Postfix XCLIENT; LHLO stands for EHLO.


def test_before_tls_there_are_four_verbs_and_lhlo() -> None:
    assert {verb for verb, row in COMMANDS.items() if row.before_tls} == {"NOOP", "EHLO", "LHLO", "STARTTLS", "QUIT"}


# RFC 4954 §6: "530 ... may be returned by any command other than AUTH, EHLO, HELO, NOOP, RSET, or QUIT"
def test_before_authentication_there_are_those_of_rfc_4954_and_what_comes_before_it() -> None:
    allowed = {verb for verb, row in COMMANDS.items() if row.before_auth}
    by_rfc = {"AUTH", "EHLO", "HELO", "LHLO", "NOOP", "RSET", "QUIT"}
    assert allowed == by_rfc | {"STARTTLS", "XCLIENT", "XFORWARD"}


def test_a_row_of_its_own_is_allowed_everywhere_but_before_tls_and_authentication() -> None:
    row = Command("NOW")
    assert row.stages == ANY == frozenset(Stage)
    assert not row.before_tls
    assert not row.before_auth


@pytest.mark.parametrize(
    ("arg", "chunk"),
    [
        ("0", Chunk(0, is_last=False)),
        ("10", Chunk(10, is_last=False)),
        ("0 LAST", Chunk(0, is_last=True)),
        ("10 last", Chunk(10, is_last=True)),
        ("007   Last", Chunk(7, is_last=True)),
        ("9" * 20, Chunk(10**20 - 1, is_last=False)),
    ],
)
def test_the_argument_of_bdat_is_a_size_and_perhaps_last(arg: str, chunk: Chunk) -> None:
    assert parse_chunk(arg) == chunk


@pytest.mark.parametrize(
    "arg", [None, "", "LAST", "x", "-1", "+1", "1.0", "1 2", "1 LAST LAST", "1LAST", "1\tLAST", "٣", "9" * 21]
)
def test_anything_else_cannot_be_counted(arg: str | None) -> None:
    with pytest.raises(BadChunkSize):
        parse_chunk(arg)
