"""Rules about dates. Knows how a date is written and what time it is; does not know when a message was sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ehlo.report.examples import mail
from ehlo.report.finding import Found, Rule, Severity, quoted

if TYPE_CHECKING:
    from ehlo.report.mail import Field, Mail

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# RFC 5322 §3.3: date-time = [day-of-week ","] date time [CFWS]; date = day month year; year = FWS 4*DIGIT FWS;
# time = time-of-day zone; time-of-day = hour ":" minute [":" second]; zone = FWS ("+" / "-") 4DIGIT.
# §4.3 adds years of fewer digits and zones that are words.  Here a zone may be missing, to be told so.
_DATE_TIME = re.compile(
    rf"""(?: (?P<weekday> {"|".join(_WEEKDAYS)} ) \s* , )? \s*
    (?P<day> [0-9]{{1,2}} ) \s+ (?P<month> {"|".join(_MONTHS)} ) \s+ (?P<year> [0-9]{{2,4}} ) \s+
    (?P<hour> [0-9]{{2}} ) : (?P<minute> [0-9]{{2}} ) (?: : (?P<second> [0-9]{{2}} ) )?
    (?: \s+ (?P<zone> [+-][0-9]{{4}} | [a-z]+ ) )? \s* (?: \( [^()]* \) )?""",
    re.IGNORECASE | re.VERBOSE,
)
# RFC 5322 §4.3: those of the obsolete syntax, and the military ones, of one letter; UTC is none, and read everywhere.
_OLD_ZONES = frozenset({"ut", "gmt", "utc", "est", "edt", "cst", "cdt", "mst", "mdt", "pst", "pdt"})
_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>[0-9]{2})(?P<minutes>[0-5][0-9])")

_RIGHT = "Mon, 2 Nov 2026 12:00:00 +0100"
_CLOCK_TOLERANCE = timedelta(days=1)
_EARLIEST = 1900
"""RFC 5322 §3.3: any year from then on."""
_UNSET = 1980
"""Clocks that nobody set begin in 1970 (UNIX) or 1980 (the PC); SMTP is of 1982 (RFC 821)."""


def _dates(mail: Mail) -> Iterator[tuple[Field, re.Match[str] | None]]:
    for name in ("Date", "Resent-Date"):
        for one in mail.all(name):
            yield one, _DATE_TIME.fullmatch(one.value)


def _moments(mail: Mail) -> Iterator[tuple[Field, re.Match[str], datetime]]:
    for one, match in _dates(mail):
        maybe_moment = None if match is None else _moment(match)
        if match is not None and maybe_moment is not None:
            yield one, match, maybe_moment


def _moment(match: re.Match[str]) -> datetime | None:
    """What it means; UTC is as near as it matters here where the zone is a word.  None if there is no such time."""
    year = int(match["year"])
    if len(match["year"]) < 4:  # RFC 5322 §4.3
        year += 2000 if len(match["year"]) == 2 and year < 50 else 1900
    if year < _EARLIEST:
        return None
    month = _MONTHS.index(match["month"].lower()) + 1
    second = min(int(match["second"] or 0), 59)  # of 60: a leap second (§3.3)
    try:
        moment = datetime(year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), second, 0, UTC)
        return moment.replace(tzinfo=_zone(match["zone"] or ""))
    except ValueError:
        return None


def _zone(text: str) -> timezone:
    if not text or text.isalpha():
        return UTC
    offset = _OFFSET.fullmatch(text)
    if offset is None:
        raise ValueError("no offset has 60 minutes or more")
    distance = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"]))
    return timezone(-distance if offset["sign"] == "-" else distance)


def _is_known(zone: str) -> bool:
    return not zone.isalpha() or len(zone) == 1 or zone.lower() in _OLD_ZONES


def _bad_date(mail: Mail) -> Iterator[Found]:
    for one, match in _dates(mail):
        if match is None:
            yield Found(one.place, f"is {quoted(one.value)}: write it as in {_RIGHT}")
        elif not match["zone"]:
            yield Found(one.place, "has no zone: add the offset from UTC, as +0100 in " + _RIGHT)
        elif not _is_known(match["zone"]):
            yield Found(
                one.place, f"has the zone {match['zone'][:20]}, which readers take for UTC: write the offset, as +0100"
            )
        elif _moment(match) is None:
            yield Found(one.place, f"is {quoted(one.value)}, which no calendar or clock has: correct it")


def _obsolete_date(mail: Mail) -> Iterator[Found]:
    for one, match, _ in _moments(mail):
        if len(match["year"]) < 4:
            yield Found(one.place, "has a year of fewer than four digits: write all of them")
        elif match["zone"] and match["zone"].isalpha() and _is_known(match["zone"]):
            yield Found(one.place, f"has the zone {match['zone']}: write the offset from UTC, as +0000")


def _wrong_weekday(mail: Mail) -> Iterator[Found]:
    for one, match, moment in _moments(mail):
        right = _WEEKDAYS[moment.weekday()]
        if match["weekday"] and match["weekday"].lower() != right:
            yield Found(
                one.place, f"is a {right.capitalize()} and says {match['weekday']}: write the day of the date, or none"
            )


def _future_date(mail: Mail) -> Iterator[Found]:
    for one, _, moment in _moments(mail):
        if moment > datetime.now(UTC) + _CLOCK_TOLERANCE:
            yield Found(one.place, "is in the future: set the clock of the sender, and write the time of sending")


def _unset_clock(mail: Mail) -> Iterator[Found]:
    for one, _, moment in _moments(mail):
        if moment.year <= _UNSET:
            yield Found(one.place, f"is of {moment.year}, before there was such mail: set the clock of the sender")


RULES: tuple[Rule[Mail], ...] = (
    Rule(
        "bad-date",
        Severity.ERROR,
        "The Date is a date, a time and a zone",
        "RFC 5322 §3.3",
        _bad_date,
        mail(date="Mon, 2 Nov 2026 12:00 -0000 (nobody says where)"),
        mail(date="Mon, 2 Nov 2026 12:00:00"),
    ),
    Rule(
        "obsolete-date",
        Severity.NOTICE,
        "The Date is written in the way of today",
        "RFC 5322 §4.3",
        _obsolete_date,
        mail(),
        mail(date="Mon, 02 Nov 2026 11:00:00 GMT"),
    ),
    Rule(
        "wrong-weekday",
        Severity.ERROR,
        "The day of the week is that of the date",
        "RFC 5322 §3.3",
        _wrong_weekday,
        mail(date="2 Nov 2026 12:00:00 +0100"),
        mail(date="Tue, 2 Nov 2026 12:00:00 +0100"),
    ),
    Rule(
        "future-date",
        Severity.WARNING,
        "The Date is not in the future",
        "RFC 5322 §3.6.1",
        _future_date,
        mail(),
        mail(date="Sat, 2 Nov 2126 12:00:00 +0100"),
    ),
    Rule(
        "unset-clock",
        Severity.WARNING,
        "The Date is of a time that had mail",
        "RFC 5322 §3.6.1",
        _unset_clock,
        mail(),
        mail(date="Thu, 1 Jan 1970 00:00:00 +0000"),
    ),
)
