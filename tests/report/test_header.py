from __future__ import annotations

import pytest

from ehlo.report import Mail, check
from ehlo.report.examples import added, mail


def found(one: Mail) -> list[str]:
    return [f"{finding.rule}: {finding.text}" for finding in check(one).findings]


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

    assert [text.partition(":")[0] for text in texts] == ([] if is_right else ["bad-reference"])


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
