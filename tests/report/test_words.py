from __future__ import annotations

import pytest

from ehlo.report import check
from ehlo.report.examples import mail


def found(subject: str) -> list[str]:
    return [f"{finding.rule}: {finding.text}" for finding in check(mail(subject=subject)).findings]


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
    assert found(subject) == []


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
    texts = [text for text in found(subject) if text.startswith("bad-encoded-word: ")]

    assert texts
    assert words in texts[0]
