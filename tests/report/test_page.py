"""docs/check.md against the rules."""

from __future__ import annotations

import re
from pathlib import Path

from ehlo.report import RULES
from ehlo.report.authentication import AUTHENTICATION_NAMES

PAGE = Path(__file__).parents[2] / "docs" / "check.md"
_ROW = re.compile(r"^\| `(.*?)` \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def test_every_rule_is_there_with_its_severity_and_its_source() -> None:
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert rows == [(rule.name, str(rule.severity), rule.title, rule.source) for rule in RULES]


def test_every_finding_about_who_vouches_is_there() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## DKIM")[2].partition("\n## ")[0]
    assert set(re.findall(r"`((?:dkim|spf|dmarc|one-click)-[a-z0-9-]+)`", section)) == AUTHENTICATION_NAMES
