from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.report import Mail, check
from ehlo.report.examples import added, mail


def rules(one: Mail) -> set[str]:
    return {finding.rule for finding in check(one).findings}


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 2 Nov 2026 12:00:00 +0100",
        "Mon, 02 Nov 2026 12:00:00 -0000",
        "mon,2 nov 2026 12:00 +0530",
        "2 Nov 2026 12:00:00 -0330 (NST)",
        "Sat, 31 Dec 2016 23:59:60 +0000",
        "Thu, 29 Feb 2024 00:00:00 +0000",
    ],
)
def test_a_right_date_is_left_alone(value: str) -> None:
    assert rules(mail(date=value)) == set()


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "bad-date"),
        ("yesterday", "bad-date"),
        ("2026-11-02T12:00:00+01:00", "bad-date"),
        ("Mon Nov  2 12:00:00 2026", "bad-date"),
        ("Mon, 2 November 2026 12:00:00 +0100", "bad-date"),
        ("Mon, 2 Nov 2026 12:00:00", "bad-date"),
        ("Mon, 2 Nov 2026 12:00:00 CET", "bad-date"),
        ("Mon, 2 Nov 2026 12:00:00 +0160", "bad-date"),
        ("Mon, 2 Nov 2026 12:00:00 +01:00", "bad-date"),
        ("Mon, 2 Nov 2026 24:00:00 +0100", "bad-date"),
        ("Tue, 31 Nov 2026 12:00:00 +0100", "bad-date"),
        ("Sun, 29 Feb 2026 12:00:00 +0100", "bad-date"),
        ("Tue, 2 Nov 1886 12:00:00 +0100", "bad-date"),
        ("Mon, 02 Nov 2026 11:00:00 GMT", "obsolete-date"),
        ("Mon, 02 Nov 2026 11:00:00 UTC", "obsolete-date"),
        ("Mon, 02 Nov 2026 11:00:00 Z", "obsolete-date"),
        ("Mon, 2 Nov 26 12:00:00 +0100", "obsolete-date"),
        ("Sun, 2 Nov 2026 12:00:00 +0100", "wrong-weekday"),
        ("Thu, 1 Jan 1970 00:00:00 +0000", "unset-clock"),
        ("Tue, 01 Jan 1980 00:00:00 +0000", "unset-clock"),
        ("Sat, 2 Nov 2126 12:00:00 +0100", "future-date"),
    ],
)
def test_a_wrong_date_is_found_by_one_rule(value: str, rule: str) -> None:
    assert rules(mail(date=value)) == {rule}
    assert rules(added("Resent-From: carl@sender.example", f"Resent-Date: {value}")) == {rule}


def test_clocks_may_differ_by_a_day() -> None:
    now = datetime.now(UTC)

    assert rules(mail(date=format_datetime(now + timedelta(hours=23)))) == set()
    assert rules(mail(date=format_datetime(now + timedelta(hours=25)))) == {"future-date"}


@given(st.integers(0, 35 * 365 * 86400), st.integers(-12 * 60, 14 * 60))
def test_what_python_writes_is_right(seconds: int, minutes: int) -> None:
    when = datetime(1990, 1, 1, tzinfo=timezone(timedelta(minutes=minutes))) + timedelta(seconds=seconds)

    assert rules(mail(date=format_datetime(when))) == set()


@given(st.text(st.sampled_from(list("MonTueNv 0123456789:,+-()")), max_size=40))
def test_no_date_breaks_the_check(value: str) -> None:
    check(mail(date=value))
