"""Replies in, commands and mail data out, without a connection."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.errors import BareNewline, EhloError
from ehlo.protocol.client import (
    BadReply,
    MailDataEncoder,
    ReplyParser,
    UpstreamError,
    command_line,
    mail_command,
    parse_extensions,
    rcpt_command,
)
from ehlo.protocol.data import MailDataDecoder, normalize_newlines
from ehlo.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

Outcome = list[Reply | str]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, cut at the places (modulo its length); some pieces may be empty."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def parse(pieces: list[bytes], **limits: int) -> Outcome:
    """All replies, and "bad" for the error that ended them."""
    parser = ReplyParser(**limits)
    outcome: Outcome = []
    try:
        for piece in pieces:
            parser.receive(piece)
            while (reply := parser.next_reply()) is not None:
                outcome.append(reply)
    except BadReply:
        outcome.append("bad")
    return outcome


def one(data: bytes) -> Reply:
    (reply,) = parse([data])
    assert isinstance(reply, Reply)
    return reply


def encode(pieces: list[bytes], *, normalizes: bool = False) -> bytes:
    encoder = MailDataEncoder(normalizes=normalizes)
    return b"".join([*map(encoder.feed, pieces), encoder.finish()])


places = st.lists(st.integers(0, 500), max_size=12)

# Made of what matters to the parser, so that valid replies, nearly valid ones and limits come up often.
REPLY_PARTS = [b"250", b"250-", b"250 ", b"354 ", b"421-", b"5.1.1 ", b"2.0.0", b"ok", b"\r\n", b"\r\n", b"\r", b"\n"]
reply_octets = st.lists(st.sampled_from([*REPLY_PARTS, b"\xff"]), max_size=25).map(b"".join)

# The same for mail data.
content_octets = st.lists(st.sampled_from([b".", b"\r\n", b"\r\n.", b"a", b"", b"\r", b"\n", b"\x00\xff"]), max_size=25)
clean_content = st.lists(st.sampled_from([b".", b"\r\n", b"\r\n.", b"a", b".\r\n", b"\x00\xff"]), max_size=25)


# Replies


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"250 OK\r\n", Reply(250, None, ("OK",))),
        (b"250\r\n", Reply(250, None, ("",))),  # "clients MUST be prepared for it to be omitted" (§4.2.1)
        (b"250 \r\n", Reply(250, None, ("",))),
        (b"250-\r\n250\r\n", Reply(250, None, ("", ""))),
        (b"250  two\r\n", Reply(250, None, (" two",))),
        (b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, None, ("a", "b", "c"))),
        (b"250-234 text\r\n250 -\r\n", Reply(250, None, ("234 text", "-"))),
        (b"250 2.1.5 ok\r\n", Reply(250, "2.1.5", ("ok",))),
        (b"250 2.1.5\r\n", Reply(250, "2.1.5", ("",))),
        (b"550-5.1.1 no\r\n550-5.1.1\r\n550 5.1.1 user\r\n", Reply(550, "5.1.1", ("no", "", "user"))),
        (b"550-5.1.1 no\r\n550 user\r\n", Reply(550, "5.1.1", ("no", "user"))),
        (b"550-no\r\n550 5.1.1 user\r\n", Reply(550, None, ("no", "5.1.1 user"))),
        (b"550 5.7.606 x\r\n", Reply(550, "5.7.606", ("x",))),
        (b"550 5.1.1x\r\n", Reply(550, None, ("5.1.1x",))),
        (b"550 4.1.1 x\r\n", Reply(550, None, ("4.1.1 x",))),  # not of the class of the code
        (b"354 2.0.0 go\r\n", Reply(354, None, ("2.0.0 go",))),
        (b"571 5.7.1 no\r\n", Reply(554, "5.7.1", ("no",))),  # Exchange
        (b"499 no\r\n", Reply(451, None, ("no",))),
        (b"290 yes\r\n", Reply(250, None, ("yes",))),
        (b"250 a\tb\r\n", Reply(250, None, ("a\tb",))),
        (b"250 \x00\x1b[31m\x7f\r\n", Reply(250, None, ("??[31m?",))),
        ("250 größer\r\n".encode(), Reply(250, None, ("größer",))),
        (b"250 gr\xf6\xdfer\r\n", Reply(250, None, ("gr\\xf6\\xdfer",))),
    ],
)
def test_a_reply_is_parsed(data: bytes, reply: Reply) -> None:
    assert parse([data]) == [reply]


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"ok\r\n",
        b"25\r\n",
        b"2500 ok\r\n",
        b"250ok\r\n",
        b"250\tok\r\n",
        b" 250 ok\r\n",
        b"150 wait\r\n",
        b"600 ok\r\n",
        b"\xb2\xb5\xb0 ok\r\n",
        "２５０ ok\r\n".encode(),
        b"HTTP/1.1 400 Bad Request\r\n",
        b"250 ok\n",  # a bare LF
        b"\n",
        b"250-a\n250 b\r\n",
        b"250 a\rb\r\n",  # a bare CR
        b"250 a\r\r\n",
        b"250-a\r\n251 b\r\n",  # one reply with two codes
        b"220-mx\r\n521 5.7.1 no\r\n",
    ],
)
def test_what_is_no_reply_is_an_error_and_no_guess(data: bytes) -> None:
    assert parse([data]) == ["bad"]


def test_a_bad_reply_is_an_upstream_error_without_reply() -> None:
    parser = ReplyParser()
    parser.receive(b"hello\r\n")
    with pytest.raises(UpstreamError) as caught:
        parser.next_reply()
    assert caught.value.reply is None
    assert isinstance(caught.value, EhloError)


def test_nothing_is_given_before_the_last_line_has_ended() -> None:
    assert parse([b"250-a\r\n250 b\r"]) == []
    assert parse([b"250-a\r\n"]) == []


def test_what_follows_a_reply_is_not_looked_at() -> None:
    parser = ReplyParser()
    parser.receive(b"220 go ahead\r\n\x16\x03\x01\n")
    assert parser.next_reply() == Reply(220, None, ("go ahead",))
    assert parser.has_unread
    assert parser.buffered == 4


@pytest.mark.parametrize(
    ("data", "has_unread"), [(b"", False), (b"2", True), (b"250-a\r\n", True), (b"250 a\r\n", False)]
)
def test_half_a_reply_is_unread(data: bytes, has_unread: bool) -> None:
    parser = ReplyParser()
    parser.receive(data)
    parser.next_reply()
    assert parser.has_unread is has_unread


def test_a_line_may_have_as_many_octets_as_the_limit_and_no_more() -> None:
    line = b"250 " + b"x" * 14 + b"\r\n"
    assert parse([line], line_limit=20) == [Reply(250, None, ("x" * 14,))]
    assert parse([line], line_limit=19) == ["bad"]


def test_a_line_without_end_is_refused_at_the_limit() -> None:
    assert parse([b"250 ", b"x" * 16], line_limit=20) == []
    assert parse([b"250 ", b"x" * 17], line_limit=20) == ["bad"]


def test_a_reply_may_have_as_many_lines_as_the_limit_and_no_more() -> None:
    assert parse([b"250-\r\n" * 2 + b"250 \r\n"], lines_limit=3) == [Reply(250, None, ("",) * 3)]
    assert parse([b"250-\r\n" * 3 + b"250 \r\n"], lines_limit=3) == ["bad"]


def test_a_reply_without_end_is_refused_by_default() -> None:
    assert parse([b"250-x\r\n"] * 1000) == ["bad"]
    assert parse([b"250 " + b"x" * 100_000]) == ["bad"]


@given(reply_octets, places)
def test_the_cut_does_not_change_the_replies(data: bytes, where: list[int]) -> None:
    limits = {"line_limit": 24, "lines_limit": 3}
    assert parse(cut(data, where), **limits) == parse([data], **limits)
    assert parse([bytes([octet]) for octet in data], **limits) == parse([data], **limits)


@given(st.binary(max_size=200), places)
def test_any_octets_give_replies_or_a_bad_reply_and_nothing_else(data: bytes, where: list[int]) -> None:
    assert parse(cut(data, where)) == parse([data])


plain_text = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cc"]), max_size=40)
replies = st.builds(
    lambda code, detail, lines: Reply(code, detail and f"{code // 100}.{detail}", tuple(lines)),
    st.builds(lambda a, b: a * 100 + b, st.sampled_from([2, 4, 5]), st.integers(0, 59)),
    st.sampled_from([None, "0.0", "7.1", "1.10"]),
    # A text that begins like an enhanced status code of its own cannot be told from one.
    st.lists(plain_text.filter(lambda text: not text[:1].isdigit()), min_size=1, max_size=5),
)


@given(st.lists(replies, max_size=4), places)
def test_what_our_server_says_our_client_reads(said: list[Reply], where: list[int]) -> None:
    data = b"".join(reply.encode(with_enhanced=reply.enhanced is not None, utf8=True) for reply in said)
    assert parse(cut(data, where)) == said


# EHLO


def test_the_extensions_are_keywords_in_upper_case_with_their_parameters() -> None:
    reply = one(b"250-mx.example greets you\r\n250-size 1000\r\n250-PIPELINING\r\n250 AUTH PLAIN  login\r\n")
    assert parse_extensions(reply) == {"SIZE": ("1000",), "PIPELINING": (), "AUTH": ("PLAIN", "login")}


def test_a_server_without_extensions_has_none() -> None:
    assert parse_extensions(one(b"250 STARTTLS\r\n")) == {}


def test_an_equals_sign_may_stand_for_the_first_space() -> None:
    reply = one(b"250-mx\r\n250-AUTH=LOGIN PLAIN\r\n250 SIZE=100\r\n")
    assert parse_extensions(reply) == {"AUTH": ("LOGIN", "PLAIN"), "SIZE": ("100",)}


def test_a_keyword_on_two_lines_has_the_parameters_of_both_once() -> None:
    reply = one(b"250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 AUTH=LOGIN CRAM-MD5\r\n")
    assert parse_extensions(reply) == {"AUTH": ("PLAIN", "LOGIN", "CRAM-MD5")}


def test_lines_that_are_no_keyword_are_passed_over() -> None:
    reply = one(b"250-mx\r\n250-\r\n250--DSN\r\n250-X_Y\r\n250- SIZE\r\n250-HELP \r\n250 8BITMIME\r\n")
    assert parse_extensions(reply) == {"HELP": (), "8BITMIME": ()}


# Commands


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (command_line("NOOP"), b"NOOP\r\n"),
        (command_line("EHLO", "[127.0.0.1]"), b"EHLO [127.0.0.1]\r\n"),
        (command_line("VRFY", "größe"), "VRFY größe\r\n".encode()),
        (mail_command(""), b"MAIL FROM:<>\r\n"),
        (mail_command("a@b", ["SIZE=10", "BODY=8BITMIME"]), b"MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME\r\n"),
        (mail_command("a@b.example", ["AUTH=<>", "SMTPUTF8"]), b"MAIL FROM:<a@b.example> AUTH=<> SMTPUTF8\r\n"),
        (rcpt_command("Postmaster"), b"RCPT TO:<Postmaster>\r\n"),
        (rcpt_command("a@[IPv6:::1]", ["ORCPT=rfc822;a+2Bb@c"]), b"RCPT TO:<a@[IPv6:::1]> ORCPT=rfc822;a+2Bb@c\r\n"),
        (rcpt_command('"a> b"@c'), b'RCPT TO:<"a> b"@c>\r\n'),
        (rcpt_command('"a\\"> \\\\"@c'), b'RCPT TO:<"a\\"> \\\\"@c>\r\n'),
        (rcpt_command("dömi@exämple"), "RCPT TO:<dömi@exämple>\r\n".encode()),
        (rcpt_command("a@b", iter(["X=1=2"])), b"RCPT TO:<a@b> X=1=2\r\n"),
        (rcpt_command('a@[tag:<x>"y]'), b'RCPT TO:<a@[tag:<x>"y]>\r\n'),
    ],
)
def test_a_command_is_one_line(line: bytes, expected: bytes) -> None:
    assert line == expected


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "a\r\nRSET", "\ud800"])
@pytest.mark.parametrize(
    "make",
    [
        command_line,
        partial(command_line, "EHLO"),
        mail_command,
        lambda bad: mail_command("a@b", [f"X={bad}"]),
        lambda bad: rcpt_command(f'"{bad}"@b'),
        lambda bad: rcpt_command("a@b", [f"X={bad}"]),
    ],
)
def test_no_argument_can_end_a_command_line(make: Callable[[str], bytes], bad: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        make(bad)


@pytest.mark.parametrize(
    "address",
    [
        "a@b> SIZE=1",
        "a@b>",
        "<a@b",
        "a b@c",
        ' "',
        '"a@b',
        '"a\\"@b',
        '"a"b" c"@d>',
        "[a> b]",
        "a@[b]>",
        "a\t@b",
        "a@b\x7f",
    ],
)
def test_no_address_can_leave_its_angle_brackets(address: str) -> None:
    with pytest.raises(ValueError, match="angle brackets"):
        mail_command(address)
    with pytest.raises(ValueError, match="angle brackets"):
        rcpt_command(address)


@pytest.mark.parametrize("parameter", ["", " ", "SIZE=1 BODY=7BIT", "SIZE=", "=1", "-X", "X_Y=1", "SIZE\t", "X=\x7f"])
def test_no_parameter_can_be_none_or_two(parameter: str) -> None:
    with pytest.raises(ValueError, match="parameter"):
        mail_command("a@b", [parameter])
    with pytest.raises(ValueError, match="parameter"):
        rcpt_command("a@b", ["NOTIFY=NEVER", parameter])


@given(st.text(max_size=30), st.lists(st.text(max_size=10), max_size=3))
def test_whatever_the_arguments_a_command_is_one_line_or_refused(address: str, parameters: list[str]) -> None:
    try:
        line = rcpt_command(address, parameters)
    except ValueError:
        return
    assert line.endswith(b"\r\n")
    assert not {0, 10, 13} & set(line[:-2])


# Mail data


@pytest.mark.parametrize(
    ("content", "data"),
    [
        (b"", b".\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r\n\r\n", b"a\r\n\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"\r\n.\r\n", b"\r\n..\r\n.\r\n"),
        (b"..\r\n.a\r\na.\r\n", b"...\r\n..a\r\na.\r\n.\r\n"),
        (b"\x00\xff", b"\x00\xff\r\n.\r\n"),
    ],
)
def test_dots_are_hidden_and_the_end_is_added(content: bytes, data: bytes) -> None:
    assert encode([content]) == data
    assert encode([bytes([octet]) for octet in content]) == data


@given(clean_content, places)
def test_the_cut_does_not_change_the_mail_data(parts: list[bytes], where: list[int]) -> None:
    content = b"".join(parts)
    assert encode(cut(content, where)) == encode([content])


@given(clean_content)
def test_the_decoder_gives_back_the_content_and_nothing_more(parts: list[bytes]) -> None:
    content = b"".join(parts)
    decoder = MailDataDecoder()
    decoded = decoder.feed(encode(parts) + b"QUIT\r\n")
    assert decoder.rest == b"QUIT\r\n"
    assert decoded == content + (b"" if content.endswith(b"\r\n") or not content else b"\r\n")


@given(content_octets, st.booleans())
def test_nothing_before_finish_ends_the_mail_data(parts: list[bytes], normalizes: bool) -> None:
    encoder = MailDataEncoder(normalizes=normalizes)
    data = b"\r\n"
    try:
        for part in parts:
            data += encoder.feed(part)
    except BareNewline:
        assert not normalizes
    assert b"\r\n.\r\n" not in data
    # Nor for a server that takes a bare CR or LF for a line's end.
    assert b"\n.\n" not in data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


BARE = [b"a\rb", b"a\nb", b"\n", b"\r", b"a\r\r\n", b"a\n\r", b"a\r\n\n", b"a\n.\n", b"a\r.\r"]


@pytest.mark.parametrize("content", BARE)
def test_a_bare_cr_or_lf_is_refused_in_any_cut(content: bytes) -> None:
    for where in range(len(content) + 1):
        with pytest.raises(BareNewline):
            encode([content[:where], content[where:]])


@given(content_octets, places)
def test_a_bare_cr_or_lf_is_refused_if_and_only_if_there_is_one(parts: list[bytes], where: list[int]) -> None:
    content = b"".join(parts)
    bare = content.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare:
        with pytest.raises(BareNewline):
            encode(cut(content, where))
    else:
        encode(cut(content, where))


@given(content_octets, places)
def test_normalizing_makes_each_bare_cr_or_lf_a_crlf_in_any_cut(parts: list[bytes], where: list[int]) -> None:
    content = b"".join(parts)
    assert encode(cut(content, where), normalizes=True) == encode([normalize_newlines(content)])
