from __future__ import annotations

import re
import time
from typing import Any

import pytest

from ehlo.inbox.criteria import FIELD_LIMIT, PATTERN_LIMIT, BadPattern, Criteria
from ehlo.inbox.patterns import PatternProcess, TooSlow
from ehlo.inbox.query import QuerySyntaxError
from ehlo.inbox.records import Summary


def summary(**fields: object) -> Summary:
    given = {
        "id": 1,
        "inbox": "default",
        "received_at": 0.0,
        "size": 0,
        "mail_from": "bounce@example.com",
        "rcpt_tos": ("alice@example.com", "bcc@example.com"),
        "header_from": "Bob <bob@example.com>",
        "header_to": "Alice <alice@example.com>",
        "subject": "Reset your Straße 123",
        "message_id": "",
        "snippet": "",
        "attachments": 0,
        "has_html": False,
        "is_read": False,
        "is_indexed": False,
        "tags": (),
        "session_id": "",
    }
    return Summary(**given | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        (Criteria(), True),
        (Criteria(to="alice@"), True),
        (Criteria(to="ALICE@EXAMPLE.COM"), True),
        (Criteria(to="bcc@example.com"), True),
        (Criteria(to="bob"), False),
        (Criteria(from_="bounce"), True),
        (Criteria(from_="Bob <"), True),
        (Criteria(from_="alice"), False),
        (Criteria(subject="STRASSE"), True),
        (Criteria(subject="set your"), True),
        (Criteria(subject="set  your"), False),
        (Criteria(subject=re.compile(r"\d{3}$")), True),
        (Criteria(subject=re.compile(r"^\d")), False),
        (Criteria(to=re.compile("^bcc")), True),
        (Criteria(to="alice", subject="other"), False),
        (Criteria(to=re.compile("alice"), subject="other"), False),
    ],
)
def test_a_message_meets_all_criteria_or_not(criteria: Criteria, *, expected: bool) -> None:
    assert criteria.matches(summary()) is expected


def test_what_a_client_writes_between_slashes_is_a_pattern() -> None:
    criteria = Criteria.from_text(subject="/^reset .* [0-9]+$/", to="/", from_="a/b")
    assert isinstance(criteria.subject, re.Pattern)
    assert criteria.to == "/"
    assert criteria.from_ == "a/b"
    assert Criteria.from_text(subject="/^reset/").matches(summary())


def test_nothing_asked_for_is_any_message() -> None:
    assert Criteria.from_text(to=None).is_empty
    assert not Criteria.from_text(to="//").is_empty


@pytest.mark.parametrize("name", ["to", "from_", "subject", "q"])
def test_an_empty_criterion_does_not_mean_any_message(name: str) -> None:
    for make in (Criteria, Criteria.from_text):
        with pytest.raises(ValueError, match="empty"):
            make(**{name: ""})


@pytest.mark.parametrize("name", ["to", "from_", "subject", "q"])
@pytest.mark.parametrize("wanted", [["x"], b"x", re.compile(b"x"), 1])
def test_a_criterion_is_text_or_a_pattern_of_text(name: str, wanted: Any) -> None:
    with pytest.raises(TypeError, match=name):
        Criteria(**{name: wanted})


@pytest.mark.parametrize(
    "text", ["/(/", "/a{99999999999}/", "/(?P<x/", "/\\/", f"/{'a' * (PATTERN_LIMIT + 1)}/", "/*/"]
)
def test_what_is_no_pattern_is_said(text: str) -> None:
    with pytest.raises(BadPattern):
        Criteria.from_text(subject=text)


def test_a_query_that_cannot_be_understood_is_said() -> None:
    with pytest.raises(QuerySyntaxError):
        Criteria(q="from:")
    assert Criteria(q="from:a").query is not None
    assert Criteria().query is None


def test_no_more_of_a_field_is_looked_at_than_is_bounded() -> None:
    long = summary(subject="x" * FIELD_LIMIT + "needle")
    assert not Criteria(subject="needle").matches(long)
    assert not Criteria(subject=re.compile("needle")).matches(long)


# Patterns of others


def test_a_pattern_is_searched_for_in_a_process() -> None:
    process = PatternProcess()
    try:
        assert process.search(re.compile("^h.llo", re.IGNORECASE), ["nothing", "Hällo \ud800 \n"])
        assert not process.search(re.compile("^x"), ["Hello"])
        assert not process.search(re.compile("^x"), [])
    finally:
        process.close()


def test_a_pattern_that_takes_for_ever_is_given_up_and_the_next_one_is_searched_for() -> None:
    process = PatternProcess()
    try:
        began = time.monotonic()
        with pytest.raises(TooSlow):
            process.search(re.compile(r"(a+)+$"), ["a" * 40 + "b"])
        assert time.monotonic() - began < 5
        assert process.search(re.compile("a"), ["a"])
    finally:
        process.close()


def test_a_process_that_was_never_needed_is_not_there() -> None:
    process = PatternProcess()
    process.close()
    process.close()
