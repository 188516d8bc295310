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


def test_a_mistake_is_told_by_its_place(
    open_page: Callable[..., Page],
    complaints: list[str],
) -> None:
    complaints.expected.append("422")  # type: ignore[attr-defined]
    page = open_page()
    page.get_by_role("button", name="Faults on purpose").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Scenario in TOML").fill("[[rule]]\nreplly = '450 No'")
    dialog.get_by_role("button", name="Begin").click()
    expect(dialog.get_by_role("alert")).to_contain_text("rule 1: there is no key 'replly'")
