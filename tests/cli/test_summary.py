from __future__ import annotations

import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.cli.summary import (
    DEPTH_LIMIT,
    PART_LIMIT,
    TEXT_LIMIT,
    Attachment,
    Person,
    Summary,
    glance,
    summarize,
)


def mail(*lines: str) -> bytes:
    return "\r\n".join([*lines, ""]).encode()


def multipart(*parts: str, boundary: str = "frontier") -> bytes:
    lines = [f"Content-Type: multipart/mixed; boundary={boundary}", "", "preamble"]
    for part in parts:
        lines += [f"--{boundary}", part]
    return mail(*lines, f"--{boundary}--", "epilogue")


# Fields


def test_the_fields_that_people_look_at() -> None:
    summary = summarize(
        mail(
            "Subject: Hello",
            'From: "Ann A." <ann@example.org>',
            "To: bob@example.org,",
            "\tCarl <carl@example.org>",
            "CC: =?utf-8?q?D=C3=B6rte?= <d@example.org>",
            "",
            "Text",
        )
    )
    assert summary.maybe_subject == "Hello"
    assert summary.senders == [Person("Ann A.", "ann@example.org")]
    assert summary.recipients == [
        Person("", "bob@example.org"),
        Person("Carl", "carl@example.org"),
        Person("Dörte", "d@example.org"),
    ]
    assert summary.text == "Text\r\n"
    assert not summary.problems


def test_fields_that_are_missing_are_none_and_not_empty() -> None:
    summary = summarize(mail("X-Nothing: else", "", "Text"))
    assert summary.maybe_subject is None
    assert summary.senders is None
    assert summary.recipients is None


def test_people_that_cannot_be_parsed_are_shown_as_they_are() -> None:
    assert summarize(mail("To: undisclosed-recipients:;", "", "")).recipients == [
        Person("", "undisclosed-recipients:;")
    ]


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?utf-8?b?5Lu2?=\r\n =?utf-8?b?5ZCN?=", "件名"),
        (b"=?iso-8859-1?q?caf=E9?= au lait", "café au lait"),
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("latin-1"), "Grüße"),
        (b"=?no-such-charset?q?caf=C3=A9?=", "café"),
        (b"=?utf-8?q?caf=E9?=", "café"),
        (b"=?utf-8?b?x?=", "=?utf-8?b?x?="),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?idna?q?xn--a?=", "xn--a"),
        (b"", ""),
    ],
)
def test_a_subject_is_decoded_as_far_as_it_can_be(value: bytes, subject: str) -> None:
    assert summarize(b"Subject: " + value + b"\r\n\r\n").maybe_subject == subject


def test_the_first_subject_counts() -> None:
    assert summarize(mail("Subject: one", "Subject: two", "", "")).maybe_subject == "one"


def test_a_message_without_a_header_is_all_text() -> None:
    summary = summarize(b"hello, world\r\nmore\r\n")
    assert summary.text == "hello, world\r\nmore\r\n"


def test_a_header_ends_at_the_first_line_that_is_no_field() -> None:
    summary = summarize(mail("Subject: Hello", "this is text", "", "more"))
    assert summary.maybe_subject == "Hello"
    assert summary.text == "this is text\r\n\r\nmore\r\n"


def test_an_empty_message_is_empty() -> None:
    summary = summarize(b"")
    assert (summary.size, summary.text, summary.attachments, summary.problems) == (0, "", [], [])


def test_a_header_without_end_is_not_looked_at_without_end() -> None:
    summary = summarize(b"A: b\r\n" * 50_000 + b"Subject: late\r\n\r\nText")
    assert summary.maybe_subject is None
    assert len(summary.text) <= TEXT_LIMIT


# Text


@pytest.mark.parametrize(
    ("fields", "body", "text"),
    [
        ("Content-Type: text/plain; charset=utf-8", "ß".encode(), "ß"),
        ("Content-Type: text/plain; charset=iso-8859-1", b"\xdf", "ß"),
        ("Content-Type: text/plain; charset=us-ascii", "ß".encode(), "ß"),
        ("Content-Type: text/plain", b"\x93quoted\x94", "“quoted”"),
        ("Content-Type: text/plain; charset=nonsense", "ß".encode(), "ß"),
        ("Content-Type: text/plain; charset=punycode", b"-a", "-a"),
        ("Content-Type: text/plain; charset=hex", b"6162", "6162"),
        ("Content-Type: text/plain; charset=unicode_escape", rb"\x41", r"\x41"),
        ("Content-Type: text/plain; charset=raw_unicode_escape", rb"\u0041", r"\u0041"),
        ("Content-Type: text/plain; charset=utf-7", b"+AEE-", "+AEE-"),
        ("Content-Type: text/plain; charset=idna", b"xn--a", "xn--a"),
        ("Content-Type: text/plain; charset=utf-16", b"a", "a"),
        ("Content-Type: text/plain", b"\x81", "\x81"),
        ("Content-Transfer-Encoding: quoted-printable", b"Gr=C3=BC=\r\n=C3=9Fe =ZZ", "Grüße =ZZ"),
        ("Content-Transfer-Encoding: base64", b"SGVs\r\nbG8=", "Hello"),
        ("Content-Transfer-Encoding: BASE64", b"SGVs!bG8", "Hello"),
        ("Content-Transfer-Encoding: base64", b"SGVsbG8hA", "Hello!"),
        ("Content-Transfer-Encoding: base64", b"!", ""),
        ("Content-Transfer-Encoding: x-unknown", b"as it is", "as it is"),
        ("Content-Type: nonsense", b"as it is", "as it is"),
    ],
)
def test_text_is_decoded_as_far_as_it_can_be(fields: str, body: bytes, text: str) -> None:
    summary = summarize(fields.encode() + b"\r\n\r\n" + body)
    assert summary.text == text
    assert not summary.problems


@pytest.mark.parametrize("encoding", ["7bit", "base64", "quoted-printable"])
def test_only_the_beginning_of_a_long_text_is_decoded(encoding: str) -> None:
    summary = summarize(f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + b"AAAA" * TEXT_LIMIT)
    assert summary.text_is_cut
    assert 0 < len(summary.text) <= TEXT_LIMIT


def test_a_character_cut_in_two_is_dropped() -> None:
    assert summarize(b"\r\n" + b"a" + "ß".encode() * TEXT_LIMIT).text.rstrip("ß") == "a"


def test_plain_text_goes_before_html() -> None:
    summary = summarize(multipart("Content-Type: text/html\r\n\r\n<b>rich", "Content-Type: text/plain\r\n\r\nplain"))
    assert summary.text == "plain"


def test_html_is_reduced_to_text_where_there_is_no_other() -> None:
    message = EmailMessage()
    message.set_content("<p>Hello, <b>W&ouml;rld</b>", subtype="html")
    assert summarize(message.as_bytes()).text == "Hello, Wörld"


def test_html_is_shown_where_the_plain_part_is_empty() -> None:
    summary = summarize(multipart("Content-Type: text/plain\r\n\r\n \r\n", "Content-Type: text/html\r\n\r\n<b>rich"))
    assert summary.text == "rich"


# Parts


def test_attachments_are_listed_with_name_type_and_decoded_size() -> None:
    message = EmailMessage()
    message.set_content("see attached")
    message.add_attachment(b"x" * 1001, maintype="application", subtype="pdf", filename="Größe.pdf")
    message.add_attachment("some text", filename="notes.txt")
    message.add_attachment(b"", maintype="image", subtype="png", filename="empty.png")
    summary = summarize(message.as_bytes())
    assert summary.text == "see attached\n"
    assert summary.attachments == [
        Attachment("Größe.pdf", "application/pdf", 1001),
        Attachment("notes.txt", "text/plain", 10),
        Attachment("empty.png", "image/png", 0),
    ]


def test_the_size_of_a_large_attachment_is_right_though_estimated() -> None:
    message = EmailMessage()
    message.set_content("")
    message.add_attachment(bytes(2_000_000), maintype="application", subtype="zip", filename="a.zip")
    (attachment,) = summarize(message.as_bytes()).attachments
    assert attachment.size == pytest.approx(2_000_000, rel=1e-3)


def test_parts_within_parts_are_found() -> None:
    message = EmailMessage()
    message.set_content("plain")
    message.add_alternative("<p>rich", subtype="html")
    message.add_attachment(b"x", maintype="image", subtype="png", filename="x.png")
    summary = summarize(message.as_bytes())
    assert summary.text == "plain\n"
    assert [attachment.name for attachment in summary.attachments] == ["x.png"]


def test_a_file_name_in_encoded_words_is_decoded_though_it_should_not_be_one() -> None:
    part = 'Content-Type: image/png; name="=?utf-8?q?Gr=C3=BCn?="\r\n\r\nx'
    assert summarize(multipart("\r\ntext", part)).attachments[0].name == "Grün"


def test_a_line_that_begins_like_the_boundary_is_content() -> None:
    assert summarize(multipart("\r\na\r\n--frontiers\r\nb --frontier\r\nc")).text == (
        "a\r\n--frontiers\r\nb --frontier\r\nc"
    )


def test_the_line_break_before_a_boundary_is_not_content() -> None:
    assert summarize(multipart("\r\na\r\n", "\r\nb")).text == "a\r\n"


def test_what_follows_the_last_boundary_is_nothing() -> None:
    assert summarize(multipart("\r\na")).attachments == []


def test_a_last_part_without_its_end_counts() -> None:
    content = multipart("Content-Type: image/gif\r\n\r\nab").partition(b"\r\n--frontier--")[0]
    assert summarize(content).attachments == [Attachment("", "image/gif", 2)]


@pytest.mark.parametrize("boundary", ["; boundary=other", ""])
def test_a_multipart_without_its_parts_is_a_problem_and_shown_raw(boundary: str) -> None:
    summary = summarize(mail(f"Content-Type: multipart/mixed{boundary}", "", "--frontier", "", "text"))
    assert summary.problems == ["multipart/mixed without its parts"]
    assert summary.text == "--frontier\r\n\r\ntext\r\n"


def test_too_many_parts_are_a_problem() -> None:
    summary = summarize(multipart(*["Content-Type: image/png\r\n\r\n"] * (PART_LIMIT + 5)))
    assert len(summary.attachments) == PART_LIMIT
    assert summary.problems == [f"more than {PART_LIMIT} parts: the others are not shown"]


def test_parts_within_parts_without_end_are_a_problem() -> None:
    content = b""
    for number in range(5000):
        content += f"Content-Type: multipart/mixed; boundary=b{number}\r\n\r\n--b{number}\r\n".encode()
    assert summarize(content).problems == [f"parts within parts, {DEPTH_LIMIT} levels deep"]


# Problems


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"a: b\r\n\r\nc\r\n", []),
        (b"a: b\n\nc\r\n", ["2 bare LF: other servers may refuse this mail"]),
        (b"a: b\r\rc\r\n", ["2 bare CR: other servers may refuse this mail"]),
        (b"\n\r", ["1 bare LF: other servers may refuse this mail", "1 bare CR: other servers may refuse this mail"]),
    ],
)
def test_bare_newlines_are_a_problem(content: bytes, problems: list[str]) -> None:
    assert summarize(content).problems == problems


def test_what_the_email_package_does_not_survive_is_shown_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RecursionError  # as on Python 3.11 for a field of many "("

    monkeypatch.setattr("email.utils.getaddresses", fail)
    content = b"To: you@example.com\r\n\r\ntext\r\n"
    summary = summarize(content)
    assert summary.problems == ["the message cannot be read as MIME (RecursionError)"]
    assert summary.text == content.decode()


@given(st.binary())
def test_any_octets_have_a_summary(content: bytes) -> None:
    assert summarize(content).size == len(content)


_PIECES = [
    b"Subject: ",
    b"From: ",
    b"Content-Type: multipart/mixed; boundary=x",
    b"Content-Type: text/html; charset=",
    b"Content-Disposition: attachment; filename*0*=utf-8''",
    b"Content-Transfer-Encoding: base64",
    b"\r\n",
    b"\n",
    b"\r\n--x",
    b"--",
    b"=?utf-8?b?",
    b"?=",
    b'"',
    b";",
    b"<a href='",
    b"<!--",
    b"\xff",
    b"(",
]


@given(st.lists(st.sampled_from(_PIECES)).map(b"".join))
def test_pieces_of_mail_in_any_order_have_a_summary(content: bytes) -> None:
    summary = summarize(content)
    assert summary.size == len(content)
    assert glance(content) == Summary(summary.size, summary.maybe_subject)


_MANY = 1_000_000


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a" * _MANY,
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"\n--ab" * _MANY,
        b"Content-Type: text/html\r\n\r\n" + b"<a " * _MANY,
        b"Content-Type: text/html\r\n\r\n" + b"<!--" * _MANY,
        b"Content-Type: text/html\r\n\r\n" + b"<a href=" * _MANY,
        b"Content-Type: text/html\r\n\r\n" + b"<style>" * _MANY,
        b"Content-Type: text/html\r\n\r\n" + b"&#" * _MANY,
        b"Subject: " + b"=?a?b?" * _MANY,
        b"To: " + b"a," * _MANY,
        b"To: " + b'"\\' * _MANY,
        b"Content-Type: text/plain; " + b"a*0*=b;" * _MANY,
        b"a:" * _MANY,
        b"\n" * _MANY,
    ],
    ids=lambda content: repr(content[-8:]),
)
def test_a_message_made_to_hurt_takes_no_time(content: bytes) -> None:
    began = time.process_time()
    summarize(content)
    glance(content)
    # The worst of them takes a tenth of this, and what is quadratic takes minutes.
    assert time.process_time() - began < 2
