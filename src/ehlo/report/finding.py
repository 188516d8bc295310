"""What a check finds, and what a rule is. Knows neither mail nor SMTP."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

Subject = TypeVar("Subject")


class Severity(enum.IntEnum):
    """How much it matters, in this order."""

    NOTICE = 1
    """Worth knowing; mail is delivered and shown all the same."""
    WARNING = 2
    """A recommendation is not followed: some receivers reject it, file it as spam or show it otherwise."""
    ERROR = 3
    """A standard's requirement is broken: it may be rejected or destroyed on its way."""

    def __str__(self) -> str:
        return self.name.lower()


class Found(NamedTuple):
    """What a rule says of one place; "" is the whole of the subject."""

    place: str
    text: str


def quoted(text: str) -> str:
    """A piece of what is checked, for the text of a finding: short, in one line, harmless to a terminal."""
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``rule`` is what ``ignore`` names; ``source`` the text that says so."""

    rule: str
    severity: Severity
    place: str
    text: str
    source: str

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return f"{self.severity} {self.rule}{where}: {self.text} [{self.source}]"


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """One row of a table: what is checked, with an example that passes and one that fails, which are its tests."""

    name: str
    severity: Severity
    title: str
    source: str
    check: Callable[[Subject], Iterable[Found]]
    passing: Subject
    failing: Subject

    def findings(self, subject: Subject, limit: int) -> list[Finding]:
        """What it finds; of many alike the first ``limit``, and a last one that counts the others."""
        found = iter(self.check(subject))
        try:
            shown = [Finding(self.name, self.severity, *one, self.source) for one in islice(found, limit)]
            others = sum(1 for _ in found)
        except (ValueError, RecursionError):
            # What the standard library makes of hostile input: numbers of thousands of digits, NUL in names, nesting.
            problem = "could not be checked: the message has something here that cannot be read"
            return [Finding(self.name, Severity.WARNING, "", problem, self.source)]  # never clean by being unreadable
        if others:
            shown.append(Finding(self.name, self.severity, "", f"and {others} more of the same", self.source))
        return shown
