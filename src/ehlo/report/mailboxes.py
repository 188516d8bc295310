"""Lists of addresses, as To has one. Knows quotation marks, comments and groups; does not know which address is right.

Reads whatever stands there, in one pass, and raises nothing: ``email.utils`` reads the same field differently from one
version of Python to the next, and does not say where an address was left out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# RFC 5322 §3.2.2: comments nest, and quotation marks mean nothing in them; §3.2.4: nor do parentheses in strings.
_IN_COMMENT = re.compile(r"\\.|[()]|[^()\\]+|\\", re.DOTALL)
_OUTSIDE = re.compile(r'"(?:[^"\\]|\\.)*"|\\.|[()]|[^"()\\]+|.', re.DOTALL)

# RFC 5322 §3.4: address-list = (address *("," address)); group = display-name ":" [group-list] ";" [CFWS];
# angle-addr = [CFWS] "<" addr-spec ">" [CFWS]; §3.4.1: domain-literal = [CFWS] "[" *([FWS] dtext) [FWS] "]" [CFWS]
_PIECE = re.compile(
    r"""(?P<brackets> < (?: "(?:[^"\\]|\\.)*" | [^"<>] )* > )
      | (?P<mark> [,;:] )
      | (?P<text> "(?:[^"\\]|\\.)*" | \[[^\[\]]*\] | (?:\\.|[^"<\[,;:\\])+ | . )""",
    re.DOTALL | re.VERBOSE,
)


class Mailbox(NamedTuple):
    """One of a list: its name as it is written, its address, and what stands behind the angle brackets.

    ``has_brackets`` False: there are none, and ``address`` is the whole of it.
    """

    name: str
    address: str
    rest: str
    has_brackets: bool

    @property
    def domain(self) -> str:
        """What stands behind the last "@" of the address, in lower case; "" without one."""
        return self.address.rpartition("@")[2].lower() if "@" in self.address else ""


class Mailboxes(NamedTuple):
    """A list, groups dissolved.

    ``gaps`` counts members with nothing in them; ``semicolons`` those that end no group; ``has_groups`` and
    ``is_group_open`` say whether there is a group, and one that does not end.
    """

    members: tuple[Mailbox, ...]
    gaps: int
    semicolons: int
    has_groups: bool
    is_group_open: bool


@lru_cache(maxsize=16)  # several rules read the same fields
def read_mailboxes(value: str) -> Mailboxes:
    """Read the value of a field, unfolded."""
    reader = _Reader()
    for match in _PIECE.finditer(_without_comments(value)):
        reader.take(match.lastgroup, match.group())
    return reader.finish()


def _without_comments(value: str) -> str:
    kept: list[str] = []
    depth = position = 0
    while position < len(value):
        match = (_IN_COMMENT if depth else _OUTSIDE).match(value, position)
        assert match is not None  # the patterns match any character
        position = match.end()
        text = match.group()
        if text == "(":
            depth += 1
        elif text == ")" and depth:
            depth -= 1
            kept.append(" ")
        elif not depth:
            kept.append(text)
    return "".join(kept)


class _Reader:
    """Takes the pieces of a list, one after the other."""

    def __init__(self) -> None:
        self._members: list[Mailbox] = []
        self._gaps = self._semicolons = 0
        self._has_groups = self._is_in_group = False
        self._is_behind_group = False
        self._clear()

    def _clear(self) -> None:
        self._before: list[str] = []
        self._has_at = False
        self._after: list[str] = []
        self._maybe_brackets: str | None = None

    def take(self, kind: str | None, text: str) -> None:
        if kind == "mark" and text != ":":
            self._end_member(text)
        elif kind == "mark" and self._may_begin_group():
            self._has_groups = self._is_in_group = True
            self._clear()
        elif kind == "brackets" and self._maybe_brackets is None:
            self._maybe_brackets = text[1:-1].strip()
        else:
            (self._before if self._maybe_brackets is None else self._after).append(text)
            self._has_at = self._has_at or "@" in text

    def finish(self) -> Mailboxes:
        if self._members or self._gaps or self._has_text():
            self._end_member("")
        return Mailboxes(
            tuple(self._members), self._gaps, self._semicolons, self._has_groups, is_group_open=self._is_in_group
        )

    def _has_text(self) -> bool:
        return self._maybe_brackets is not None or any(piece.strip() for piece in self._before)

    def _may_begin_group(self) -> bool:
        return not (self._is_in_group or self._maybe_brackets is not None or self._has_at)

    def _end_member(self, mark: str) -> None:
        ends_group = mark == ";" and self._is_in_group
        if self._has_text():
            before, after = "".join(self._before).strip(), "".join(self._after).strip()
            maybe_brackets = self._maybe_brackets
            self._members.append(
                Mailbox("", before, after, has_brackets=False)
                if maybe_brackets is None
                else Mailbox(before, maybe_brackets, after, has_brackets=True)
            )
        elif not (ends_group or self._is_behind_group):
            self._gaps += 1
        self._semicolons += mark == ";" and not ends_group
        self._is_in_group = self._is_in_group and not ends_group
        self._is_behind_group = ends_group
        self._clear()
