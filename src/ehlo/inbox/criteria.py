"""What a message must be like to be waited for.  Knows summaries; does not know how they come, or who waits.

A criterion is text, which must be part of the field in any case of its letters, or a pattern.  A pattern that comes by
the network is searched for in a process of its own, because ``re`` keeps the interpreter's lock and some patterns take
longer than the sun has left.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ehlo.inbox.query import Query, QuerySyntaxError, parse_query

if TYPE_CHECKING:
    from ehlo.inbox.records import Summary

FIELD_LIMIT = 2000
"""Characters of a field that are looked at."""
PATTERN_LIMIT = 500
"""Characters of a pattern that comes by the network."""


class BadPattern(ValueError):
    """What stands between the slashes is no regular expression."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """All that are not None must be met.  ``q`` is in the search language; ``QuerySyntaxError`` if it is not.

    ``TypeError`` for what is neither text nor a pattern of text; ``ValueError`` for empty text: a variable that was
    never filled must not mean any message.
    """

    to: str | re.Pattern[str] | None = None
    from_: str | re.Pattern[str] | None = None
    subject: str | re.Pattern[str] | None = None
    q: str | None = None

    def __post_init__(self) -> None:
        """Find out now what could never be met, or always."""
        for name in ("to", "from_", "subject"):
            _check(name, getattr(self, name))
        if self.q is None:
            return
        if not isinstance(self.q, str):
            raise TypeError(f"q: a str expected, not {type(self.q).__name__}")
        if not self.q.strip():
            raise QuerySyntaxError("q: empty; leave it out if any message will do", 0)
        parse_query(self.q)

    @classmethod
    def from_text(
        cls, *, to: str | None = None, from_: str | None = None, subject: str | None = None, q: str | None = None
    ) -> Criteria:
        """Make them of what a client of the API sent: ``/re/`` is a pattern.  ``BadPattern``, and as above."""
        return cls(_pattern(to), _pattern(from_), _pattern(subject), q)

    @property
    def is_empty(self) -> bool:
        """Whether any message will do."""
        return all(wanted is None for wanted in (self.to, self.from_, self.subject, self.q))

    @property
    def query(self) -> Query | None:
        """The query, anew: "today" in it is the day that it is asked."""
        return None if self.q is None else parse_query(self.q)

    @property
    def has_patterns(self) -> bool:
        """Whether a pattern has to be searched for."""
        return any(isinstance(wanted, re.Pattern) for wanted in (self.to, self.from_, self.subject))

    def matches(self, summary: Summary) -> bool:
        """Whether all but ``q`` are met.  For patterns of our own: one of others may take for ever."""
        return self.matches_text(summary) and all(
            any(pattern.search(value) for value in values) for pattern, values in self.patterns(summary)
        )

    def matches_text(self, summary: Summary) -> bool:
        """Whether all criteria that are text are met; patterns and ``q`` are left out."""
        return all(
            not isinstance(wanted, str) or any(wanted.casefold() in value[:FIELD_LIMIT].casefold() for value in values)
            for wanted, values in self._pairs(summary)
        )

    def patterns(self, summary: Summary) -> list[tuple[re.Pattern[str], list[str]]]:
        """Each pattern, with the fields one of which it must be found in."""
        return [
            (wanted, [value[:FIELD_LIMIT] for value in values])
            for wanted, values in self._pairs(summary)
            if isinstance(wanted, re.Pattern)
        ]

    def _pairs(self, summary: Summary) -> list[tuple[str | re.Pattern[str] | None, tuple[str, ...]]]:
        return [
            (self.to, (*summary.rcpt_tos, summary.header_to)),
            (self.from_, (summary.mail_from, summary.header_from)),
            (self.subject, (summary.subject,)),
        ]


def _check(name: str, wanted: object) -> None:
    is_pattern = isinstance(wanted, re.Pattern) and isinstance(wanted.pattern, str)
    if wanted is not None and not is_pattern and not isinstance(wanted, str):
        raise TypeError(f"{name}: a str or a compiled pattern of str expected, not {type(wanted).__name__}")
    if wanted == "":
        raise ValueError(f"{name}: empty; leave it out if any message will do")


def _pattern(text: str | None) -> str | re.Pattern[str] | None:
    if text is None or len(text) < 2 or not (text.startswith("/") and text.endswith("/")):
        return text
    return _compiled(text[1:-1])


@functools.lru_cache(maxsize=100)
def _compiled(source: str) -> re.Pattern[str]:
    if len(source) > PATTERN_LIMIT:
        raise BadPattern(f"a regular expression of more than {PATTERN_LIMIT} characters")
    try:
        return re.compile(source, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadPattern(f"not a regular expression: {error}") from None
