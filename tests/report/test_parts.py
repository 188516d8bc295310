from __future__ import annotations

from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.report.examples import crlf
from ehlo.report.parts import DEPTH_LIMIT, PART_LIMIT, parts_of


def test_parts_are_numbered_as_imap_does() -> None:
    raw = crlf(
        "Content-Type: multipart/mixed; boundary=a\n\n"
        "--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n"
        "--a\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--\n--a--\n"
    )
    found = parts_of(raw)

    assert [part.number for part in found] == ["", "1", "1.1", "1.2", "2"]
    assert [part.octets for part in found[2:4]] == [b"one", b"two"]
    assert [part.number for part in found[0].children] == ["1", "2"]
    assert all(part.is_opened and part.is_closed for part in found[:2])


@pytest.mark.parametrize(
    ("raw", "header", "body"),
    [
        (b"Content-Type: a/b;\r\n\tc=d\r\nX: y\r\n\r\nbody", {"content-type": "a/b;\tc=d"}, b"body"),
        (b"content-id : <x>\nContent-ID: <y>\n\nbody", {"content-id": "<x>"}, b"body"),
        (b"\r\nContent-Type: a/b\r\n\r\n", {}, b"Content-Type: a/b\r\n\r\n"),
        (b"Content-Type: a/b\r\n \r\nContent-ID: x\r\n\r\nbody", {"content-type": "a/b", "content-id": "x"}, b"body"),
        (b"Content-Type: a/b\r\r\rbody", {"content-type": "a/b"}, b"\rbody"),
        (b"Content-Type: a/b", {"content-type": "a/b"}, b""),
        (b"X: " + b"x" * 70_000 + b"\r\n\r\nbody", {}, b"body"),
        (b"", {}, b""),
    ],
)
def test_a_header_ends_at_the_first_empty_line(raw: bytes, header: dict[str, str], body: bytes) -> None:
    (part,) = parts_of(raw)

    assert part.header == header
    assert part.octets == body


def test_parts_of_a_digest_are_messages() -> None:
    found = parts_of(crlf("Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: x\n\ny\n--a--\n"))

    assert found[1].content_type == "message/rfc822"


def test_a_part_says_what_its_header_does_not() -> None:
    (part,) = parts_of(b"\r\ntext")

    assert (part.content_type, part.charset, part.encoding, part.maybe_filename) == (
        "text/plain",
        "us-ascii",
        "7bit",
        None,
    )
    assert not part.is_attachment


def test_no_more_parts_are_looked_at_than_the_limit() -> None:
    assert len(parts_of(b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n\nx\n" * 2000)) == PART_LIMIT


def test_parts_are_looked_into_down_to_the_limit() -> None:
    raw = "".join(f"Content-Type: multipart/mixed; boundary={n}x\n\n--{n}x\n" for n in range(100))

    assert len(parts_of(raw.encode())) == DEPTH_LIMIT + 1


_PIECES = st.sampled_from(
    [
        *("Content-Type: multipart/mixed; boundary=a\n", "Content-Type: multipart/alternative; boundary=b\n"),
        *("--a\n", "--b\n", "--a--\n", "--b--\n", "\n", "x\n", "Content-Transfer-Encoding: base64\n"),
    ]
)


@given(st.lists(_PIECES, max_size=30).map("".join))
def test_a_closed_tree_is_that_of_the_standard_library(text: str) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=c\n\n--c\n\n" + text.encode() + b"\n--c--\n"
    ours = parts_of(raw)

    if all(part.is_closed and part.children for part in ours if part.is_multipart):
        theirs = list(BytesParser().parsebytes(raw).walk())
        assert [part.content_type for part in ours] == [part.get_content_type() for part in theirs]
