from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehlo.report import RULES, Mail, Rule, Severity, check
from ehlo.report.check import ALIKE
from ehlo.report.dialogue import RIGHT, Dialogue, Line
from ehlo.report.examples import BODY, HEAD, crlf, mail

NAMES = [rule.name for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_passing_example_passes(rule: Rule[Any]) -> None:
    assert rule.findings(rule.passing, ALIKE) == []


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_failing_example_fails(rule: Rule[Any]) -> None:
    findings = rule.findings(rule.failing, ALIKE)

    assert findings
    for finding in findings:
        assert finding.rule == rule.name
        assert finding.severity is rule.severity
        assert finding.text


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_rule_names_its_source(rule: Rule[Any]) -> None:
    assert rule.source
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.title[0].isupper()
    assert not rule.title.endswith(".")


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_a_right_message_has_no_findings() -> None:
    assert check(mail(), RIGHT).findings == ()


def test_findings_come_with_the_worst_first() -> None:
    report = check(mail(subject=None, date=None, message_id=None))

    assert [one.severity for one in report.findings] == [Severity.ERROR, Severity.WARNING, Severity.NOTICE]
    assert not report.is_clean


def test_a_report_with_notices_only_is_clean() -> None:
    report = check(mail(subject=None))

    assert report.findings
    assert report.is_clean


def test_findings_of_a_rule_can_be_ignored() -> None:
    report = check(mail(date=None))

    assert report.without({"no-date"}).findings == ()


def test_to_ignore_a_rule_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no such rule: no-dat"):
        check(mail()).without({"no-dat"})


def test_many_findings_alike_are_counted() -> None:
    report = check(Mail(crlf(HEAD + "\n") + b"x\n" * 100))

    alike = [one for one in report.findings if one.rule == "bare-lf"]
    assert len(alike) == ALIKE + 1
    assert alike[-1].text == f"and {100 - ALIKE} more of the same"


def test_a_finding_says_where_and_on_whose_word() -> None:
    (finding,) = check(mail(message_id="1@sender.example")).findings

    assert str(finding).startswith("error bad-message-id (line 7, Message-ID): ")
    assert str(finding).endswith("[RFC 5322 §3.6.4]")


def test_text_of_the_message_is_quoted_safely() -> None:
    (finding,) = check(mail(message_id="\x1b[31m" + "x" * 500)).findings

    assert "\x1b" not in finding.text
    assert len(finding.text) < 200


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_nothing_raises_for_any_octets(octets: bytes) -> None:
    check(Mail(octets))


_PIECES = st.sampled_from(
    [
        *HEAD.splitlines(keepends=True),
        BODY,
        "\n",
        "--x\n",
        "Content-Type: multipart/mixed; boundary=x\n",
        "=?utf-8?b?x?=",
        "\x00",
        "ü",
        " ",
        ":",
    ]
)


@settings(max_examples=200)
@given(st.lists(_PIECES, max_size=30))
def test_nothing_raises_for_what_is_nearly_a_message(pieces: list[str]) -> None:
    check(Mail(crlf("".join(pieces)), "anna@sender.example"))


_SAID = st.builds(
    Line,
    st.floats(0, 10),
    st.sampled_from("CS-"),
    st.sampled_from(["MAIL", "RCPT TO:<a>", "334", "250 OK", "", "DATA", "\udcff"]),
)


@settings(max_examples=200)
@given(st.lists(_SAID, max_size=20))
def test_nothing_raises_for_any_dialogue(lines: list[Line]) -> None:
    check(mail(), Dialogue(lines))
