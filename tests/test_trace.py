from __future__ import annotations

import email.utils
import unicodedata
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.protocol.tlsinfo import TLSInfo
from ehlo.session import Envelope, Session
from ehlo.trace import ReceivedCounter, count_received, received_field, return_path_field

NOW = datetime(2024, 2, 29, 12, 30, 45, tzinfo=UTC)
TLS = TLSInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)


def session_of(peer: Any = ("192.0.2.1", 4711), **facts: Any) -> Session:
    session = Session(peer)
    session.host_name = "client.example"
    session.extended_smtp = True
    for name, value in facts.items():
        setattr(session, name, value)
    return session


def envelope_to(*recipients: str, smtp_utf8: bool = False) -> Envelope:
    envelope = Envelope()
    envelope.rcpt_tos.extend(recipients)
    envelope.smtp_utf8 = smtp_utf8
    return envelope


def unfolded(field: str) -> str:
    assert field.endswith("\r\n")
    return field[:-2].replace("\r\n\t", " ")


def received(session: Session, envelope: Envelope | None = None, **arguments: Any) -> str:
    """The field without its date."""
    envelope = envelope or envelope_to("one@example.com", "two@example.com")
    field = unfolded(received_field(session, envelope, **{"by": "mx.example", "now": NOW, **arguments}))
    return field.removesuffix("; Thu, 29 Feb 2024 12:30:45 +0000").replace(envelope.id, "ID")


def test_a_received_field_says_from_whom_by_whom_how_for_whom_and_when() -> None:
    envelope = envelope_to("to@example.com")
    assert received_field(session_of(), envelope, by="mx.example", now=NOW) == (
        "Received: from client.example ([192.0.2.1])\r\n"
        f"\tby mx.example with ESMTP id {envelope.id}\r\n"
        "\tfor <to@example.com>;\r\n"
        "\tThu, 29 Feb 2024 12:30:45 +0000\r\n"
    )


def test_the_time_is_now_if_it_is_not_given() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    date = unfolded(received_field(session_of(), envelope_to(), by="mx.example")).rpartition(";")[2]
    assert before <= email.utils.parsedate_to_datetime(date) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("protocol", "facts", "name"),
    [
        ("SMTP", "", "SMTP"),
        ("SMTP", "TLS", "SMTP"),
        ("SMTP", "EHLO", "ESMTP"),
        ("SMTP", "EHLO TLS", "ESMTPS"),
        ("SMTP", "EHLO AUTH", "ESMTPA"),
        ("SMTP", "EHLO TLS AUTH", "ESMTPSA"),
        ("SMTP", "EHLO UTF8", "UTF8SMTP"),
        ("SMTP", "EHLO TLS UTF8", "UTF8SMTPS"),
        ("SMTP", "EHLO AUTH UTF8", "UTF8SMTPA"),
        ("SMTP", "EHLO TLS AUTH UTF8", "UTF8SMTPSA"),
        ("LMTP", "EHLO", "LMTP"),
        ("LMTP", "EHLO TLS", "LMTPS"),
        ("LMTP", "EHLO AUTH", "LMTPA"),
        ("LMTP", "EHLO TLS AUTH", "LMTPSA"),
        ("LMTP", "EHLO UTF8", "UTF8LMTP"),
        ("LMTP", "EHLO TLS UTF8", "UTF8LMTPS"),
        ("LMTP", "EHLO AUTH UTF8", "UTF8LMTPA"),
        ("LMTP", "EHLO TLS AUTH UTF8", "UTF8LMTPSA"),
    ],
)
def test_the_protocol_has_its_registered_name(protocol: str, facts: str, name: str) -> None:
    session = session_of(
        extended_smtp="EHLO" in facts, ssl=TLS if "TLS" in facts else None, authenticated="AUTH" in facts
    )
    envelope = envelope_to(smtp_utf8="UTF8" in facts)
    assert received(session, envelope, protocol=protocol) == (
        f"Received: from client.example ([192.0.2.1]) by mx.example with {name} id ID"
    )


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        (("192.0.2.1", 25), "client.example ([192.0.2.1])"),
        (("2001:db8::1", 25, 0, 0), "client.example ([IPv6:2001:db8::1])"),
        (("fe80::1%eth0", 25, 0, 2), "client.example ([IPv6:fe80::1])"),
        ("", "client.example"),
        ("/run/a)socket", "client.example"),
        (None, "client.example"),
        ((), "client.example"),
        (("no address", 1), "client.example"),
    ],
)
def test_the_address_of_the_client_is_a_literal(peer: object, shown: str) -> None:
    assert received(session_of(peer)) == f"Received: from {shown} by mx.example with ESMTP id ID"


@pytest.mark.parametrize(
    ("helo", "shown"),
    [
        ("mail.example", "mail.example"),
        ("[192.0.2.7]", "[192.0.2.7]"),
        ("[IPv6:2001:db8::7]", "[IPv6:2001:db8::7]"),
        ("my_pc", "my_pc"),
        ("a(b", "a?b"),
        ("x;y", "x?y"),
        ("a\\", "a?"),
        ('"', "?"),
        ("<x@y>", "?x?y?"),
        ("bücher.example", "b?cher.example"),
        ("a" * 300, "a" * 255),
        ("x\r\nBcc: y", "x??Bcc??y"),
    ],
)
def test_a_name_that_is_no_name_cannot_change_the_field(helo: str, shown: str) -> None:
    assert received(session_of(host_name=helo)).startswith(f"Received: from {shown} ([192.0.2.1]) by ")


def test_an_internationalised_name_stays_in_an_internationalised_message() -> None:
    envelope = envelope_to(smtp_utf8=True)
    assert received(session_of(host_name="bücher.example"), envelope).startswith("Received: from bücher.example (")


def test_a_client_without_a_name_is_called_by_its_address_or_unknown() -> None:
    assert received(session_of(host_name=None)).startswith("Received: from [192.0.2.1] ([192.0.2.1]) by ")
    assert received(session_of("", host_name=None)).startswith("Received: from unknown by ")


def test_our_own_name_is_made_harmless_too() -> None:
    assert " by my?host with " in received(session_of(), by="my host")
    assert " by unknown with " in received(session_of(), by="")


@pytest.mark.parametrize(
    ("recipients", "utf8", "clause"),
    [
        (["to@example.com"], False, " for <to@example.com>"),
        (['"a b;(c"@example.com'], False, ' for <"a b;(c"@example.com>'),
        (["Postmaster"], False, " for <Postmaster>"),
        (["jürgen@example.com"], True, " for <jürgen@example.com>"),
        (["jürgen@example.com"], False, ""),
        (["one@example.com", "two@example.com"], False, ""),
        ([], False, ""),
        (["a hook's own\r\nX: entry"], False, ""),
    ],
)
def test_only_a_single_recipient_is_named(recipients: list[str], utf8: bool, clause: str) -> None:
    field = received(session_of(), envelope_to(*recipients, smtp_utf8=utf8))
    assert field.partition(" id ID")[2] == clause


NAMES = st.text(min_size=1, max_size=600)


@given(helo=NAMES, by=NAMES, recipient=NAMES, utf8=st.booleans())
def test_whatever_is_said_it_is_one_field_of_short_lines(helo: str, by: str, recipient: str, utf8: bool) -> None:
    envelope = envelope_to(recipient, smtp_utf8=utf8)
    field = received_field(session_of(host_name=helo), envelope, by=by, now=NOW)
    header = BytesHeaderParser().parsebytes(field.encode() + b"\r\nbody")
    assert header.keys() == ["Received"]
    assert field.partition(f" id {envelope.id}")[0].count(";") == 0
    lines = field.removesuffix("\r\n").split("\r\n\t")
    assert all(len(line) < 998 for line in lines)
    assert not any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for line in lines for character in line)
    assert field.isascii() or utf8


@pytest.mark.parametrize(
    ("mail_from", "field"),
    [
        ("from@example.com", "<from@example.com>"),
        ("", "<>"),
        (None, "<>"),
        ("jürgen@example.com", "<jürgen@example.com>"),
        ("a\r\nBcc: b", "<a??Bcc: b>"),
    ],
)
def test_a_return_path_is_the_reverse_path(mail_from: str | None, field: str) -> None:
    envelope = Envelope()
    envelope.mail_from = mail_from
    assert return_path_field(envelope) == f"Return-Path: {field}\r\n"


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (b"", 0),
        (b"Subject: x\r\n\r\nbody", 0),
        (b"Received: x\r\n\r\nbody", 1),
        (b"received: x\r\nRECEIVED: y\r\n\r\n", 2),
        (b"Received: x\r\n\tReceived: folded\r\n\r\n", 1),
        (b"X-Received: x\r\nReceived-SPF: y\r\n\r\n", 0),
        (b"\r\nReceived: in the body\r\n", 0),
        (b"Subject: x\r\n\r\nReceived: in the body\r\n\r\n", 0),
        (b"Received:\r\nReceived:\r\n\r\nReceived:", 2),
        (b"Received: no end", 1),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_received_fields_are_counted_in_the_header_whatever_the_cut(content: bytes, count: int, size: int) -> None:
    assert count_received(content) == count
    counter = ReceivedCounter()
    for start in range(0, len(content), size):
        counter.feed(content[start : start + size])
    assert counter.count == count


@given(
    st.lists(st.sampled_from([b"Received: x\r\n", b"Subject: y\r\n", b"\t Received:\r\n", b"\r\n", b"\r", b"R"])),
    st.lists(st.integers(min_value=1, max_value=20), min_size=1),
)
def test_any_cut_gives_the_same_count(lines: list[bytes], cuts: list[int]) -> None:
    content = b"".join(lines)
    counter = ReceivedCounter()
    position = 0
    while position < len(content):
        size = cuts[position % len(cuts)]
        counter.feed(content[position : position + size])
        position += size
    assert counter.count == count_received(content)
