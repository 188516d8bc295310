from __future__ import annotations

import pytest

from ehlo.report import Mail, check
from ehlo.report.examples import added, mail


def found(one: Mail) -> list[str]:
    return [f"{finding.rule}: {finding.text}" for finding in check(one).findings]


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
        "=?utf-8*de?Q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?b?Z3L832U=?=",
        "=?utf-8?q?Gr=C3=BC?=\n =?utf-8?q?=C3=9Fe?= (=?utf-8?q?=C3=BC?=)",
        "=?ISO-2022-JP?B?GyRCJDMbKEI=?=",
        "=?utf-8?q??= 1 =? 2 ?=",
    ],
)
def test_a_right_encoded_word_is_left_alone(subject: str) -> None:
    assert found(mail(subject=subject)) == []


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("=?utf-8?x?Gr=C3=BC?=", "whose encoding nobody knows"),
        ("=?utf-8?q?Hello w=C3=B6rld?=", "with white space in it"),
        ("=?utf-8?q?Hello=20w=C3=B6=\n  rld?=", "with white space in it"),
        ("=?utf-8?q?100%=?=", "cannot be decoded"),
        ("=?utf-8?b?R3LDvMOfZQ?=", "cannot be decoded"),
        ("=?utf-8?b?Grüße?=", "cannot be decoded"),
        ("=?utf-8?q?Gr=C3?= =?utf-8?q?=BC?=", "with octets that are no character"),
        ("=?us-ascii?q?Gr=C3=BC?=", "with octets that are no character"),
        (f"=?utf-8?q?{'x' * 70}?=", "of 82 characters"),
        ("=?utf-8?q?Gr=C3=BC?==?utf-8?q?=C3=9Fe?=", "touches what is beside it"),
        ("Re:=?utf-8?q?Gr=C3=BC?=", "touches what is beside it"),
        ("=?utf-8?q?Gr=C3=BC?=!", "touches what is beside it"),
        ("=?utf-8?q?Why?_No?=", "does not end it"),
        ("=?utf-8?b?R3LDvA==", "does not end it"),
    ],
)
def test_a_wrong_encoded_word_is_told_what_is_wrong(subject: str, words: str) -> None:
    texts = [text for text in found(mail(subject=subject)) if text.startswith("bad-encoded-word: ")]

    assert texts
    assert words in texts[0]


@pytest.mark.parametrize("name", ["In-Reply-To", "References"])
@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        ("<1@sender.example>", True),
        ("<1@sender.example>\n <2@[192.0.2.1]> (the second)", True),
        ("<1@sender.example><2@sender.example>", True),
        ("1@sender.example", False),
        ("<1@sender.example>, <2@sender.example>", False),
        ("<1>", False),
        ("", False),
    ],
)
def test_what_a_message_answers_is_named_by_ids(name: str, value: str, *, is_right: bool) -> None:
    texts = found(added(f"{name}: {value}"))

    assert [text.partition(":")[0] for text in texts] == ([] if is_right else ["bad-message-id"])


@pytest.mark.parametrize("missing", ["Resent-From", "Resent-Date"])
def test_what_is_sent_again_says_when_and_by_whom(missing: str) -> None:
    fields = {"Resent-From": "carl@sender.example", "Resent-Date": "Mon, 2 Nov 2026 13:00:00 +0100"}
    (text,) = found(added(*(f"{name}: {value}" for name, value in fields.items() if name != missing)))

    assert text.startswith("incomplete-resent: ")
    assert missing in text


def test_a_file_of_what_was_delivered_may_have_a_return_path() -> None:
    delivered = added("Return-Path: <anna@sender.example>", "Received: from a by b; Mon, 2 Nov 2026 12:00:00 +0100").raw

    assert found(Mail(delivered)) == []
    assert "return-path" in found(Mail(delivered, "anna@sender.example"))[0]


def test_a_file_is_not_told_of_a_mail_command() -> None:
    greeting = mail(subject="Grüße").raw

    assert "MAIL" not in found(Mail(greeting))[0]
    assert "MAIL had no SMTPUTF8" in found(Mail(greeting, "anna@sender.example"))[0]
