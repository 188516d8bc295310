from __future__ import annotations

import pytest

from ehlo.report import Mail, check
from ehlo.report.examples import mail

LEAVE = "<https://news.sender.example/leave?id=1>, <mailto:leave@sender.example>"


def rules(one: Mail) -> set[str]:
    return {finding.rule for finding in check(one).findings}


@pytest.mark.parametrize("precedence", ["bulk", "list", "Bulk"])
def test_mail_that_is_marked_as_bulk_says_how_to_leave(precedence: str) -> None:
    assert rules(mail(precedence=precedence)) == {"no-list-unsubscribe"}


@pytest.mark.parametrize("value", ["auto-replied", "auto-generated; owner-email=bob@receiver.example"])
def test_an_answer_of_a_machine_is_no_list(value: str) -> None:
    assert rules(mail(precedence="bulk", auto_submitted=value)) == set()


def test_where_nobody_may_write_leaving_takes_one_click() -> None:
    assert rules(mail(list_post="<mailto:l@sender.example>", list_unsubscribe=LEAVE)) == set()
    assert rules(mail(list_post="NO (announcements only)", list_unsubscribe=LEAVE)) == {"no-one-click"}


@pytest.mark.parametrize(
    "value",
    ["(Use this to leave) <mailto:leave@sender.example?body=leave%20list>", "<mailto:a@b.example> (or call us)"],
)
def test_a_comment_beside_a_uri_is_allowed(value: str) -> None:
    assert rules(mail(list_unsubscribe=value)) == {"no-one-click"}


@pytest.mark.parametrize(
    "value", ["", "mailto:leave@sender.example", "<leave@sender.example>", "<https://a b.example>"]
)
def test_what_is_no_uri_in_angle_brackets_is_wrong(value: str) -> None:
    assert "bad-list-unsubscribe" in rules(mail(list_unsubscribe=value))


@pytest.mark.parametrize("value", ["One-Click", "List-Unsubscribe=One-Click; x=1", ""])
def test_one_click_is_written_in_one_way(value: str) -> None:
    assert rules(mail(list_unsubscribe=LEAVE, list_unsubscribe_post=value)) == {"bad-one-click"}
