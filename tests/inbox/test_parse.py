from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox import parse as module
from ehlo.inbox.mime import Bounds
from ehlo.inbox.parse import Limits, parse, unreadable
from ehlo.inbox.records import Link
from ehlo.inbox.rows import parsed_of, parsed_row


def test_a_usual_mail_is_taken_apart() -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message["From"] = "Jörg <joerg@example.com>"
    message.set_content("Hello\nhttps://example.com/a.\n")
    message.add_alternative('<p>Hello <a href="https://example.com/b">there</a></p><img src="cid:l@x">', subtype="html")
    message.get_payload(1).add_related(b"png", "image", "png", cid="<l@x>")  # type: ignore[union-attr]
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    parsed = parse(message.as_bytes())
    assert parsed.text == "Hello\nhttps://example.com/a.\n"
    assert parsed.html is not None
    assert parsed.html.startswith("<p>Hello")
    assert ("Subject", "Grüße") in parsed.headers
    assert ("From", "Jörg <joerg@example.com>") in parsed.headers
    assert parsed.links == (
        Link("https://example.com/b", "there", "html"),
        Link("https://example.com/a", "https://example.com/a", "text"),
    )
    assert [part.filename for part in parsed.parts if part.is_attachment] == ["a.pdf"]
    assert [part.content_id for part in parsed.parts if part.content_id] == ["l@x"]
    assert parsed.snippet == "Hello https://example.com/a."
    assert parsed.problem is None
    assert not parsed.is_text_from_html


def test_html_alone_gives_the_text() -> None:
    parsed = parse(b"Content-Type: text/html\r\n\r\n<h1>Hi</h1><p>One<p>Two")
    assert parsed.text == "Hi\n\nOne\n\nTwo"
    assert parsed.is_text_from_html
    empty = parse(
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n \r\n"
        b"--b\r\nContent-Type: text/html\r\n\r\nHi"
    )
    assert empty.text == "Hi"


def test_the_text_of_an_enclosed_message_is_not_this_ones() -> None:
    inner = b"Content-Type: text/html\r\n\r\n<b>inner</b>"
    parsed = parse(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        + inner
        + b"\r\n--b--"
    )
    assert parsed.text is None
    assert parsed.html is None
    assert [part.content_type for part in parsed.parts if part.is_attachment] == ["message/rfc822", "text/html"]


@pytest.mark.parametrize(
    ("raw", "text", "problem"),
    [
        (b"", "", None),
        (b"just text", "just text", None),
        (b"\xff\xfe", "ÿþ", None),
        (
            b"Content-Type: text/plain; charset=klingon\r\n\r\ncaf\xc3\xa9",
            "café",
            "the charset klingon is not known: the text may be wrong",
        ),
        (b"Content-Type: text/plain; charset=utf-8\r\n\r\ncaf\xe9", "café", None),
        (b"Content-Transfer-Encoding: base64\r\n\r\n!SGVs*bG8", "Hello", None),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=ZZ=\r\nc", "a=b=ZZc", None),
        (b"Content-Transfer-Encoding: odd\r\n\r\nas it is", "as it is", None),
        (
            b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx",
            "--b\r\n\r\nx".replace("\r\n", "\n"),
            "multipart/mixed says no boundary: its parts cannot be told apart",
        ),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnever ended", "never ended", None),
        (b"Subject: caf\xe9\r\n\r\n", "", None),
    ],
)
def test_what_breaks_the_rules_gives_something_useful(raw: bytes, text: str, problem: str | None) -> None:
    parsed = parse(raw)
    assert parsed.text == text
    assert parsed.problem == problem


def test_every_limit_is_kept_and_told() -> None:
    limits = Limits(text=1000, value=50, bounds=Bounds(parts=5, depth=3, fields=4))
    raw = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 100) for n in range(10)) + b"\r\n" + b"\xc3\xa9" * 5000
    parsed = parse(raw, limits)
    assert len(parsed.headers) == 4
    assert all(len(value) == 50 for _, value in parsed.headers)
    assert parsed.text is not None
    assert len(parsed.text) < 1000
    assert parsed.problem is not None
    assert "only the first 1000 octets of the text" in parsed.problem
    assert "more than 4 header fields" in parsed.problem
    assert "only the first 5 octets are looked into" in str(parse(b"a: b\n", size=6).problem)


def test_a_text_that_is_cut_in_base64_ends_at_a_character() -> None:
    import base64

    raw = b"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + base64.encodebytes(
        "é".encode() * 3000
    )
    parsed = parse(raw, Limits(text=1001))
    assert parsed.text is not None
    assert set(parsed.text) == {"é"}


def test_what_nobody_foresaw_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "walk", fail)
    parsed = parse(b"Subject: x\r\n\r\ncaf\xe9")
    assert parsed.problem == "the message cannot be read as MIME (MemoryError)"
    assert parsed.text is not None
    assert parsed.text.endswith("café")
    assert len(parsed.parts) == 1


@pytest.mark.parametrize(
    "piece",
    [
        b"<a href=x ",
        b"<a <a ",
        b"<!--",
        b"&#1;",
        b"=?",
        b"Content-Type: a\r\n",
        b"https://",
        b"(((",
        b"\n--b",
        b"code 1234 ",
        b"a\r\n",
        b"<script>",
        b"1-",
        b"<a href='https://x'>",
        b"\xe2\x80\x8b",
    ],
)
@pytest.mark.parametrize("content_type", [b"text/plain", b"text/html", b"multipart/mixed; boundary=b"])
@pytest.mark.timeout(20)
def test_a_message_made_to_be_slow_is_not(piece: bytes, content_type: bytes) -> None:
    raw = b"Content-Type: " + content_type + b"\r\nSubject: " + piece.replace(b"\r\n", b" ") * 2000
    parse(raw + b"\r\n\r\n" + piece * (1_000_000 // len(piece)))


_PIECES = [
    b"\r\n",
    b"\n",
    b"--b",
    b"--b--",
    b"Content-Type: multipart/alternative; boundary=b",
    b"Content-Type: text/html; charset=",
    b"utf-16",
    b"iso-2022-kr",
    b"<a href='http://x'>",
    b"<p>",
    b"code 123456",
    b"Content-Transfer-Encoding: base64",
    b"w6k=",
    b"=C3",
    b"Subject: =?utf-8?q?",
    b"\xff",
    b"\0",
    b"Content-Disposition: attachment; filename=",
    b"\xed\xa0\x80",
    b"http://",
    b" ",
    b"&#xd800;",
]


@given(st.lists(st.sampled_from(_PIECES) | st.binary(max_size=5), max_size=40).map(b"".join))
def test_any_octets_are_parsed_into_what_can_be_stored_and_read_again(raw: bytes) -> None:
    parsed = parse(raw)
    assert "cannot be read as MIME" not in (parsed.problem or "")
    row = parsed_row(parsed)
    for value in row:
        if isinstance(value, str):
            value.encode("utf-8")
    assert parsed_of(row[:8], row.snippet) == parsed


def test_a_message_that_could_not_be_read_has_a_problem_alone() -> None:
    parsed = unreadable("it took too long")
    assert (parsed.text, parsed.html, parsed.parts, parsed.problem) == (None, None, (), "it took too long")
