from __future__ import annotations

import re
from typing import Any

import pytest

from ehlo.inbox.criteria import Criteria
from ehlo.inbox.explain import LIST_LIMIT, describe, explain, list_messages
from ehlo.inbox.records import SessionRecord, Summary
from tests.inbox.test_shelf import summary

URL = "smtp://127.0.0.1:2525"


def session(**more: Any) -> SessionRecord:
    return SessionRecord("s1", "127.0.0.1:9", "127.0.0.1:2525", 0.0, ended_at=1.0, helo="app.example", **more)


@pytest.mark.parametrize(
    ("criteria", "text"),
    [
        (Criteria(), "message"),
        (Criteria(to="ann@a.example"), "message to 'ann@a.example'"),
        (Criteria("a", "b", re.compile("c.*"), "d"), "message from 'b' to 'a' with subject /c.*/ found by 'd'"),
    ],
)
def test_what_was_waited_for_is_said_in_words(criteria: Criteria, text: str) -> None:
    assert describe(criteria) == text


def test_nobody_came() -> None:
    assert explain(Criteria(), URL, [], set(), []) == (
        f"Nothing arrived at {URL}, and nobody connected: is that where the application sends its mail?"
    )


def test_somebody_came_and_sent_nothing() -> None:
    told = explain(Criteria(), URL, [], set(), [session()])
    assert told.splitlines() == [
        f"Nothing arrived at {URL}, though somebody was there:",
        "  127.0.0.1:9 app.example: sent nothing",
    ]


def test_somebody_sent_what_is_deleted() -> None:
    assert explain(Criteria(), URL, [], set(), [session(messages=(1,))]).endswith(": what it sent is deleted")


def test_each_message_tells_why_it_was_not_the_one() -> None:
    criteria = Criteria(to="carl@c.example", subject=re.compile("Code"))
    told = explain(criteria, URL, [summary(1, "Your Code"), summary(2, "Welcome")], set(), [])
    lines = told.splitlines()
    assert lines[0] == f"What did arrive at {URL}:"
    assert re.fullmatch(r"  #1 \d\d:\d\d:\d\d from <ann@a\.example> to bob@b\.example: 'Your Code'", lines[1])
    assert lines[2] == "      to is not 'carl@c.example'"
    assert lines[4:] == ["      to is not 'carl@c.example'", "      subject is not /Code/"]


def test_a_message_that_was_taken_and_one_that_the_search_does_not_find() -> None:
    told = explain(Criteria(q="has:attachment"), URL, [summary(1), summary(2)], {1}, [])
    assert "an earlier wait had it (again=True takes it once more)" in told
    assert "'has:attachment' does not find it" in told


def test_refused_sessions_are_told_beside_the_messages_and_good_ones_are_not() -> None:
    problem = "RCPT was refused: 550 5.1.1 Who?"
    sessions = [session(problem=problem, is_refused=True), session()]
    told = explain(Criteria(), URL, [summary(1)], {1}, sessions).splitlines()
    assert told[-2:] == ["Sessions that were refused or broke off:", f"  127.0.0.1:9 app.example: {problem}"]


def test_a_long_list_is_cut() -> None:
    many = [summary(number) for number in range(1, 101)]
    assert len(list_messages(many).splitlines()) == LIST_LIMIT
    told = explain(Criteria(to="x"), URL, many, set(), [session(is_refused=True)] * 50)
    assert f"(the last {LIST_LIMIT} of 100)" in told
    assert "#100 " in told
    assert "#80 " not in told


def test_nothing_that_was_sent_reaches_the_terminal_raw() -> None:
    hostile = "\x1b[31m\u202e\r\nx"
    one: Summary = summary(1, hostile, mail_from=hostile, rcpt_tos=(hostile,))
    bad = session(problem=hostile, is_refused=True)
    told = explain(Criteria(to="x"), URL, [one], set(), [bad]) + list_messages([one])
    assert "".join(told.splitlines()).isprintable()
