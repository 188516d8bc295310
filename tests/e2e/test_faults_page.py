"""Faults on purpose in the page: chosen, seen, ended."""

from __future__ import annotations

import re
import smtplib
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.page import Served, mail
from tests.e2e.test_inbox_page import browser, complaints, open_page, served

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["browser", "complaints", "open_page", "served"]


def test_a_scenario_is_chosen_fires_and_ends(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("button", name="Faults on purpose").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Nothing goes wrong on purpose now.")
    dialog.get_by_label("Ready scenarios").select_option("greylisting")
    expect(dialog.get_by_label("Scenario in TOML")).to_have_value(re.compile("greylist = 5"))
    dialog.get_by_role("button", name="Begin").click()
    expect(dialog).to_be_hidden()
    button = page.get_by_role("button", name="Faults on purpose: greylisting")
    expect(button).to_have_attribute("data-on", "")

    with pytest.raises(smtplib.SMTPRecipientsRefused):
        served.send(mail("Welcome aboard"))
    page.reload()
    button.click()
    expect(dialog.locator(".fired")).to_contain_text("RCPT, not known yet: reply 451 4.7.1 Greylisted")
    dialog.get_by_role("button", name="End the faults").click()
    expect(page.get_by_role("button", name="Faults on purpose", exact=True)).to_be_visible()
    served.send(mail("Welcome aboard"))


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("replly = '450 No'", "rule 1: there is no key 'replly'"),
        (
            "verb = 'CONNECT'\nsender = 'a@*'\ndelay = 1",
            "rule 1: sender does not go with verb CONNECT: there is no sender",
        ),
    ],
)
def test_a_mistake_is_told_by_its_place(
    rule: str,
    told: str,
    open_page: Callable[..., Page],
    complaints: list[str],
) -> None:
    complaints.expected.append("422")  # type: ignore[attr-defined]
    page = open_page()
    page.get_by_role("button", name="Faults on purpose").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Scenario in TOML").fill(f"[[rule]]\n{rule}")
    dialog.get_by_role("button", name="Begin").click()
    expect(dialog.get_by_role("alert")).to_contain_text(told)


def test_what_did_not_happen_is_not_among_what_fired(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("button", name="Faults on purpose").click()
    dialog = page.get_by_role("dialog")
    rules = "[[rule]]\nstall_after = 1000000\nstall = 60\n\n[[rule]]\nverb = 'QUIT'\ndelay = 0.001"
    dialog.get_by_label("Scenario in TOML").fill(rules)
    dialog.get_by_role("button", name="Begin").click()
    expect(dialog).to_be_hidden()
    served.send(mail("Short"))
    page.reload()
    page.get_by_role("button", name="Faults on purpose").click()
    expect(dialog.locator(".fired li")).to_have_count(1)
    expect(dialog.locator(".fired")).to_contain_text("QUIT, rule 2: delay 0.001 s")
    dialog.get_by_role("button", name="End the faults").click()


def test_a_scenario_that_is_written_outlives_a_look_at_the_choice(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("button", name="Faults on purpose").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Ready scenarios").select_option("flaky")
    dialog.get_by_label("Scenario in TOML").fill("[[rule]]\ndelay = 1")
    dialog.get_by_label("Ready scenarios").select_option("")
    expect(dialog.get_by_label("Scenario in TOML")).to_have_value("[[rule]]\ndelay = 1")
