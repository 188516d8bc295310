"""Runs the rules over a message. Knows which rules there are; does not know what any of them looks at."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ehlo.report import addresses, commands, dates, encodings, files, header, html, lists, mime, octets, sessions, words
from ehlo.report.authentication import AUTHENTICATION_NAMES
from ehlo.report.finding import Finding, Rule, Severity

_TABLES = (octets, header, words, dates, addresses, mime, encodings, files, html, lists)
MAIL_RULES: tuple[Rule[Mail], ...] = tuple(rule for table in _TABLES for rule in table.RULES)
DIALOGUE_RULES = (*sessions.RULES, *commands.RULES)
RULES: tuple[Rule[Any], ...] = (*MAIL_RULES, *DIALOGUE_RULES)

if TYPE_CHECKING:
    from ehlo.report.dialogue import Dialogue
    from ehlo.report.mail import Mail

ALIKE = 5
"""Most findings of one rule that are listed; one more counts the rest."""


@dataclass(frozen=True, slots=True)
class Report:
    """Findings, the worst first; those of one severity in the order of the rules."""

    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Nothing worse than a notice."""
        return all(one.severity is Severity.NOTICE for one in self.findings)

    def joined(self, findings: Iterable[Finding]) -> Report:
        """The same with further findings, the worst first."""
        return Report(tuple(sorted((*self.findings, *findings), key=lambda one: -one.severity)))

    def without(self, ignore: Collection[str]) -> Report:
        """The same without some rules; ``ValueError`` for a name that no rule has, ``TypeError`` for a single text."""
        if isinstance(ignore, str):
            raise TypeError(f"ignore is a collection of names, such as {{{ignore!r}}}")
        unknown = set(ignore) - {rule.name for rule in RULES} - AUTHENTICATION_NAMES
        if unknown:
            raise ValueError(f"no such rule: {', '.join(sorted(unknown))}")
        return Report(tuple(one for one in self.findings if one.rule not in ignore))

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "nothing was found"


def check(mail: Mail, maybe_dialogue: Dialogue | None = None) -> Report:
    """Check a message by every rule, and the session that brought it, if there was one."""
    findings = [finding for rule in MAIL_RULES for finding in rule.findings(mail, ALIKE)]
    if maybe_dialogue is not None:
        findings += [finding for rule in DIALOGUE_RULES for finding in rule.findings(maybe_dialogue, ALIKE)]
    return Report(tuple(sorted(findings, key=lambda one: -one.severity)))
