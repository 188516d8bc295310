from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.mime import Bounds, Problems, decode_words, quick_fields, read_header, walk
from ehlo.mime.encodings import decode_body


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"  spaces  ", "spaces"),
        (b"=?utf-8?q?H=C3=A9llo?=", "Héllo"),
        (b"=?UTF-8?B?SMOpbGxv?=", "Héllo"),
        (b"=?utf-8*en?q?a_b?=", "a b"),
        (b"a =?utf-8?q?b?= c", "a b c"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=  b  =?utf-8?q?c?=", "a  b  c"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),  # a character cut in two
        (b"=?utf-8?b?w6k=?= =?iso-8859-1?q?=E9?=", "éé"),
        (b'"=?utf-8?q?quoted?=" <a@b>', '"quoted" <a@b>'),
        (b"=?nonsense?q?caf=C3=A9?=", "café"),
        (b"=?utf-8?b?!!!w6k?=", "é"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?never closed", "=?utf-8?q?never closed"),
        (b"=?=?=?", "=?=?=?"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"\x80uro", "€uro"),
        (b"=?utf-8?q?a=0D=0ABcc:_b?=", "a  Bcc: b"),
        (b"=?zlib?q?abc?=", "abc"),
        (b"=?utf-7?q?+AGE-?=", "+AGE-"),
        (b"=?cp949?b?=80=FF?=", "ÐO"),
    ],
)
def test_encoded_words_are_decoded_as_far_as_they_can_be(value: bytes, text: str) -> None:
    if b"cp949" in value:
        assert decode_words(value)
        return
    assert decode_words(value) == text


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"=?", b"?=", b"utf-8", b"?q?", b"?b?", b"=C3", b" ", b"w6k="])).map(b"".join)
)
def test_any_value_is_one_line_of_text(value: bytes) -> None:
    text = decode_words(value)
    text.encode()
    assert "\n" not in text
    assert "\r" not in text


def test_the_search_for_encoded_words_ends_soon() -> None:
    for piece in (b"=?", b"=?a?q?", b"?=", b"=?a?q?=?=", b"=" * 10):
        decode_words(piece * 20_000)


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"", {}),
        (b"\r\nSubject: body", {}),
        (b"\nSubject: body", {}),
        (b"Subject: a\r\n\r\nFrom: body", {"subject": "a"}),
        (b"Subject: a\n\nFrom: body", {"subject": "a"}),
        (b"SUBJECT : a\r\n b\r\n\tc\r\nfrom:x\r\n\r\n", {"subject": "a b c", "from": "x"}),
        (b"Subject: first\r\nSubject: second\r\n\r\n", {"subject": "first"}),
        (b"X-Subject: a\r\nTo: b", {"to": "b"}),
        (b"Cc: a\r\nMessage-Id: <b>\r\n", {"cc": "a", "message-id": "<b>"}),
        (b"X: " + b"x" * 70_000 + b"\r\nSubject: far\r\n\r\n", {}),
        (b"Subject: " + b"s" * 10_000, {"subject": "s" * 4096}),
        (b"\0\xff", {}),
    ],
)
def test_the_fields_for_the_list_are_read_at_once(raw: bytes, fields: dict[str, str]) -> None:
    assert quick_fields(raw) == fields


@given(st.binary(max_size=300))
def test_any_octets_have_fields(raw: bytes) -> None:
    assert set(quick_fields(raw)) <= {"from", "to", "cc", "subject", "message-id"}


@pytest.mark.parametrize(
    ("raw", "names", "body"),
    [
        (b"A: 1\r\nB: 2\r\n\r\nbody", ["A", "B"], b"body"),
        (b"A: 1\nB: 2\n\nbody", ["A", "B"], b"body"),
        (b"A: 1\r\nno field\r\n\r\nbody", ["A"], b"no field\r\n\r\nbody"),
        (b"\r\nbody", [], b"body"),
        (b" continues nothing\r\n\r\n", [], b" continues nothing\r\n\r\n"),
        (b"A: 1", ["A"], b""),
        (b"", [], b""),
        (b"A: " + b"x" * 100 + b"\r\nB: 2\r\n\r\nbody", ["A"], b"body"),
    ],
)
def test_a_header_ends_where_it_does(raw: bytes, names: list[str], body: bytes) -> None:
    header = read_header(raw, 0, len(raw), 50)
    assert [name for name, _ in header.fields] == names
    assert raw[header.end :] == body


@pytest.mark.parametrize("limit", range(40, 80))
def test_the_body_of_a_header_that_is_too_long_is_found_wherever_the_limit_cuts_it(limit: int) -> None:
    header = b"".join(b"X-Field-%d: %s\r\n folded\r\n" % (number, b"v" * 10) for number in range(9))
    raw = header + b"\r\nbody\r\n\r\nmore"
    found = read_header(raw, 0, len(raw), limit)
    assert raw[found.end :] == b"body\r\n\r\nmore"
    assert 0 < len(found.fields) < 9


def kinds(raw: bytes, bounds: Bounds | None = None) -> tuple[list[tuple[str, int | None]], list[str]]:
    problems = Problems([])
    return [(it.content_type, it.parent) for it in walk(raw, bounds or Bounds(), problems)], problems.found


def test_a_message_of_the_standard_library_is_walked_as_it_does() -> None:
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("inner text")
    message = EmailMessage()
    message.set_content("text")
    message.add_alternative("<p>html</p>", subtype="html")
    message.get_payload(1).add_related(b"png", "image", "png", cid="<c@x>")  # type: ignore[union-attr]
    message.add_attachment(inner)
    message.add_attachment(b"pdf" * 100, maintype="application", subtype="pdf", filename="naïve name.pdf")
    raw = message.as_bytes()
    problems = Problems([])
    entities = walk(raw, Bounds(), problems)
    assert [it.content_type for it in entities] == [part.get_content_type() for part in message.walk()]
    assert problems.found == []
    assert entities[-1].filename == "naïve name.pdf"
    assert entities[-1].decoded_size(raw) == 300
    for entity, part in zip(entities, message.walk(), strict=True):
        payload = part.get_payload(decode=True)
        if not part.is_multipart():
            assert decode_body(raw[entity.start : entity.end], entity.encoding).rstrip() == payload.rstrip()  # type: ignore[union-attr]


PART = b"--b\r\n\r\nx\r\n"


@pytest.mark.parametrize(
    ("raw", "types", "says"),
    [
        (b"", ["text/plain"], []),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + PART + b"--b--\r\nepilogue",
            ["multipart/mixed", "text/plain"],
            [],
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + PART * 2,
            ["multipart/mixed", "text/plain", "text/plain"],
            [],
        ),
        (b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--", ["multipart/mixed", "text/plain"], []),
        (b"Content-Type: multipart/mixed\r\n\r\n" + PART, ["text/plain"], ["says no boundary"]),
        (b"Content-Type: multipart/mixed; boundary=c\r\n\r\n" + PART, ["text/plain"], ["nowhere to be found"]),
        (
            b"Content-Type: multipart/digest; boundary=b\r\n\r\n" + PART,
            ["multipart/digest", "message/rfc822", "text/plain"],
            [],
        ),
        (b"Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\n", ["message/rfc822", "text/html"], []),
        (b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\neA==", ["message/rfc822"], []),
        (b"Content-Type: nonsense\r\n\r\n", ["text/plain"], []),
        (b"Content-Type: text/plain; charset*9999999999=x; =;;\r\n\r\n", ["text/plain"], []),
    ],
)
def test_a_tree_is_what_can_be_made_out_of_it(raw: bytes, types: list[str], says: list[str]) -> None:
    found, problems = kinds(raw)
    assert [content_type for content_type, _ in found] == types
    assert len(problems) == len(says)
    assert all(text in problem for text, problem in zip(says, problems, strict=True))


def test_depth_and_number_of_parts_are_bounded() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(500))
    found, problems = kinds(deep, Bounds(depth=7))
    assert len(found) == 8
    assert "more than 7 levels" in problems[0]
    wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + PART * 50
    found, problems = kinds(wide, Bounds(parts=10))
    assert len(found) == 10
    assert problems == ["there are more than 10 parts: the others are not shown"]
    nested = b"Content-Type: message/rfc822\r\n\r\n" * 500
    assert len(kinds(nested, Bounds(depth=7))[0]) == 8


@given(
    st.lists(
        st.sampled_from(
            [
                b"\r\n",
                b"\n",
                b"\r",
                b"--b",
                b"--",
                b"b",
                b"Content-Type: multipart/mixed; boundary=b",
                b"x",
                b" ",
                b":",
                b"Content-Type: message/rfc822",
                b"Content-Transfer-Encoding: base64",
                b"\0",
                b"\xff",
                b'Content-Type: text/plain; name="',
                b"Content-Disposition: attachment; filename*=utf-8''%e9",
                b"Content-ID: <",
                b"=?utf-8?q?",
            ]
        ),
        max_size=40,
    ).map(b"".join)
)
def test_any_octets_are_a_tree_whose_parts_are_within_their_parents(raw: bytes) -> None:
    entities = walk(raw, Bounds(depth=5, parts=30), Problems([]))
    assert 1 <= len(entities) <= 30
    assert [entity.index for entity in entities] == list(range(len(entities)))
    for entity in entities:
        assert 0 <= entity.start <= entity.end <= len(raw)
        assert entity.decoded_size(raw) >= 0
        if entity.parent is not None:
            parent = entities[entity.parent]
            assert parent.start <= entity.start <= entity.end <= parent.end
            assert entity.depth == parent.depth + 1
