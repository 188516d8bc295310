from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ehlo.protocol.replies import REPLY_LINE_LIMIT, EncodedReply, Reply, encode_status

CONTROLS = [chr(code) for code in range(32) if chr(code) != "\t"] + ["\x7f"]
LINE = re.compile(rb"[2-5][0-5][0-9][ -][^\r\n\0]*\r\n")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(CONTROLS)), max_size=1200)
codes = st.sampled_from([code for code in range(200, 560) if code % 100 < 60])


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        ("250 OK", Reply(250, None, ("OK",))),
        ("250 2.1.5 OK", Reply(250, "2.1.5", ("OK",))),
        ("550 5.7.1 Not here", Reply(550, "5.7.1", ("Not here",))),
        ("451 4.12.345 Later", Reply(451, "4.12.345", ("Later",))),
        ("250 2.0.0", Reply(250, "2.0.0", ("",))),
        ("250", Reply(250, None, ("",))),
        ("250 ", Reply(250, None, ("",))),
        ("250 1.2.3 is no code of a class", Reply(250, None, ("1.2.3 is no code of a class",))),
        ("250 2.0.0.0 is no code", Reply(250, None, ("2.0.0.0 is no code",))),
        ("250 2.1 is no code", Reply(250, None, ("2.1 is no code",))),
        ("250 tab\there", Reply(250, None, ("tab\there",))),
        ("250 grüß dich", Reply(250, None, ("grüß dich",))),
        ("354 Go on", Reply(354, None, ("Go on",))),
    ],
)
def test_a_status_is_a_code_an_enhanced_code_and_text(status: str, reply: Reply) -> None:
    assert Reply.parse(status) == reply


@pytest.mark.parametrize(
    "status",
    [
        "",
        "OK",
        "25",
        "2500 OK",
        "250-OK",
        "250OK",
        " 250 OK",
        "199 OK",
        "260 OK",
        "600 OK",
        "٢٥٠ OK",
        "250 OK\r\n",
        "250 OK\n",
        "250 one\r\n250 two",
        "550 2.0.0 of another class",
        "250 4.0.0 of another class",
        *[f"250 a{control}b" for control in CONTROLS],
    ],
)
def test_anything_else_is_none(status: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Reply.parse(status)


@pytest.mark.parametrize("code", [-1, 0, 199, 260, 299, 360, 599, 560, 600, 1000])
def test_no_reply_has_a_code_that_rfc_5321_does_not_know(code: int) -> None:
    with pytest.raises(ValueError, match="no reply code"):
        Reply(code, None, ("text",))


@pytest.mark.parametrize("control", CONTROLS)
def test_no_line_of_a_reply_holds_a_control_character(control: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        Reply(250, None, ("fine", f"not{control}fine"))


def test_a_reply_has_a_line() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        Reply(250, None, ())


@pytest.mark.parametrize(
    "enhanced", ["5.0.0", "", "2", "2.0", "2.0.0.0", "2.0.0 ", "2.0.0\r\n250 x", "2.x.0", "2.0.0000"]
)
def test_an_enhanced_code_is_one_and_of_the_class_of_the_code(enhanced: str) -> None:
    with pytest.raises(ValueError, match="enhanced status code"):
        Reply(250, enhanced, ("text",))


@pytest.mark.parametrize(
    ("code", "claims"),
    [
        (200, "is_positive"),
        (259, "is_positive"),
        (300, "is_intermediate"),
        (354, "is_intermediate"),
        (400, "is_transient"),
        (459, "is_transient"),
        (500, "is_permanent"),
        (559, "is_permanent"),
    ],
)
def test_a_reply_is_of_one_class(code: int, claims: str) -> None:
    reply = Reply(code, None, ("text",))
    names = ("is_positive", "is_intermediate", "is_transient", "is_permanent")
    assert [name for name in names if getattr(reply, name)] == [claims]


def test_every_line_has_the_code_and_the_enhanced_code() -> None:
    reply = Reply(550, "5.7.1", ("one", "two"))
    assert reply.encode() == b"550-5.7.1 one\r\n550 5.7.1 two\r\n"


@pytest.mark.parametrize(
    ("code", "octets"), [(250, b"250 2.0.0 x\r\n"), (451, b"451 4.0.0 x\r\n"), (550, b"550 5.0.0 x\r\n")]
)
def test_without_an_enhanced_code_it_is_that_of_the_class(code: int, octets: bytes) -> None:
    assert Reply(code, None, ("x",)).encode() == octets


def test_3yz_has_no_enhanced_code() -> None:
    assert Reply.parse("354 Go on").encode() == b"354 Go on\r\n"


def test_a_greeting_has_no_enhanced_code_even_if_it_is_given() -> None:
    assert Reply.parse("220 2.0.0 mx.test").encode(with_enhanced=False) == b"220 mx.test\r\n"


def test_what_is_not_ascii_is_sent_to_those_only_who_asked_for_it() -> None:
    reply = Reply.parse("250 grüß dich")
    assert reply.encode(utf8=True) == "250 2.0.0 grüß dich\r\n".encode()
    assert reply.encode() == b"250 2.0.0 gr?? dich\r\n"


def test_a_long_line_is_cut_into_several() -> None:
    encoded = Reply.parse("250 " + "x" * 1000).encode()
    lines = encoded.splitlines(keepends=True)
    assert [len(line) for line in lines] == [REPLY_LINE_LIMIT] * 2
    assert encoded.replace(b"250-2.0.0 ", b"").replace(b"250 2.0.0 ", b"").replace(b"\r\n", b"") == b"x" * 1000


def test_a_long_line_is_not_cut_inside_a_character() -> None:
    for shift in range(4):
        encoded = Reply.parse("250 " + "x" * shift + "€" * 500).encode(utf8=True)
        for line in encoded.splitlines(keepends=True):
            assert len(line) <= REPLY_LINE_LIMIT
            line.decode()


@given(codes, st.lists(texts, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_whatever_is_said_is_a_reply_of_rfc_5321(code: int, lines: list[str], utf8: bool, with_enhanced: bool) -> None:
    encoded = Reply(code, None, tuple(lines)).encode(utf8=utf8, with_enhanced=with_enhanced)
    pieces = encoded.split(b"\n")
    assert pieces.pop() == b""
    assert all(LINE.fullmatch(piece + b"\n") and len(piece) < REPLY_LINE_LIMIT for piece in pieces)
    assert {piece[3:4] for piece in pieces[:-1]} <= {b"-"}
    assert pieces[-1][3:4] == b" "


@given(codes, texts)
def test_a_reply_survives_its_status(code: int, text: str) -> None:
    assume(not re.match(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}( |$)", text))
    reply = Reply(code, None, (text,))
    assert Reply.parse(str(reply)) == reply


def test_for_logs_lines_are_joined() -> None:
    reply = Reply(250, "2.0.0", ("one", "two"))
    assert str(reply) == "250 2.0.0 one / two"
    assert reply.text == "one\ntwo"
    assert str(Reply(250, None, ("one",))) == "250 one"


def test_encode_status_gives_code_and_octets() -> None:
    assert encode_status("550 5.7.1 Grüße") == EncodedReply(550, b"550 5.7.1 Gr??e\r\n")
    assert encode_status("550 5.7.1 Grüße", utf8=True) == EncodedReply(550, "550 5.7.1 Grüße\r\n".encode())
    with pytest.raises(ValueError, match="reply code"):
        encode_status("fine")
