from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehlo.report import RULES, Mail, Rule, Severity, check
from ehlo.report.check import ALIKE
from ehlo.report.dialogue import RIGHT, Dialogue, Line, spoken
from ehlo.report.examples import BODY, HEAD, crlf, html, mail

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


GROUP = (
    "C! RCPT TO:<bob@receiver.example>",
    "S: 250 2.1.5 OK",
    "C! DATA",
    "S: 354 Go ahead",
    "-: 100 octets of mail data",
)
MAIL_FROM = ("C: MAIL FROM:<anna@sender.example>", "S: 250 2.1.0 OK")
OPENING = ("S: 220 mx", "C: EHLO a.example", "S: 250-mx", "S: 250 PIPELINING")
RIGHT_DIALOGUES = {
    "the next message behind the content": (*MAIL_FROM, *GROUP, "S: 250 OK", "C! MAIL FROM:<a@a.example>", "S: 250 OK"),
    "DATA in a group whose recipient is refused": (*MAIL_FROM, GROUP[0], "S: 550 No", "C! DATA", "S: 503 No recipient"),
    "a reply that is a fault": (
        *MAIL_FROM,
        "C: RCPT TO:<b@b.example>",
        "-: fault x, y: reply 501 5.1.3 Bad",
        "S: 501 5.1.3 Bad",
    ),
}


@pytest.mark.parametrize("title", RIGHT_DIALOGUES)
def test_a_right_client_is_not_blamed(title: str) -> None:
    dialogue = spoken(*OPENING, *RIGHT_DIALOGUES[title], "C: QUIT", "S: 221 Bye")

    assert [str(one) for one in check(mail(), dialogue).findings if one.rule != "reply-ignored"] == []


HOSTILE = {
    "a reference of many digits": html(f'<a title="&#{"1" * 5000};">x</a>'),
    "a parameter of many digits": mail(content_type=f"text/plain; name*{'1' * 5000}*=a"),
    "NUL in a file name": mail(content_disposition="attachment; filename*=a\0''x"),
    "NUL in a character set": mail(content_type="text/plain; charset*=a\0''utf-8"),
    "parentheses in parentheses": mail(to="(" * 5000),
    "parts in parts": mail(
        "".join(f"--{n}\nContent-Type: multipart/mixed; boundary={n + 1}\n\n" for n in range(3000)),
        content_type="multipart/mixed; boundary=0",
    ),
}


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_mail_is_checked_as_far_as_it_can_be(title: str) -> None:
    assert check(HOSTILE[title]).findings


def test_a_single_name_to_ignore_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="collection"):
        check(mail()).without("no-date")


def test_findings_about_who_vouches_can_be_ignored() -> None:
    assert check(mail()).without({"dkim-none", "spf-softfail"}).findings == ()
