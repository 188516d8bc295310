"""What a value of a scenario may be: each function reads one, from TOML or a dict; ``ValueError`` or ``TypeError``.

Knows types and limits; does not know which key wants what.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Any

from ehlo.inbox.faults.combining import ANY, EVERYWHERE
from ehlo.inbox.faults.rule import Pattern, Patterns
from ehlo.protocol.replies import Reply

PATTERN_LIMIT = 500
"""Characters of a pattern."""
NAME_LIMIT = 100
VERBS = EVERYWHERE | {ANY}

# attempt = first [ "-" last / "+" ]
_ATTEMPT = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8})|(\+))?")
# RFC 5321 §4.1.1.1: ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


def as_text(value: Any) -> str:
    """A text, and of Unicode: what fired is written to files and to the API."""
    if not isinstance(value, str):
        raise TypeError(f"a text expected, not {value!r}")
    value.encode()
    return value


def as_name(value: Any) -> str:
    """What a transcript can say in one line."""
    if not 0 < len(as_text(value)) <= NAME_LIMIT or not value.isprintable():
        raise ValueError(f"1 to {NAME_LIMIT} printable characters expected")
    return str(value)


def as_texts(value: Any) -> list[str]:
    """A list of texts, or one."""
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError("an empty list")
    return [as_text(each) for each in values]


def as_verbs(value: Any) -> frozenset[str]:
    """Verbs, and what else a rule may be about."""
    verbs = frozenset(each.upper() for each in as_texts(value))
    unknown = sorted(verbs - VERBS)
    if unknown:
        raise ValueError(f"there is no {unknown[0][:50]!r}; there are {', '.join(sorted(VERBS))}")
    return verbs


def as_patterns(value: Any) -> Patterns:
    """Globs with ``*`` and ``?``, and regular expressions."""
    return tuple(_pattern(text) for text in as_texts(value))


def _pattern(text: str) -> Pattern:
    if len(text) > PATTERN_LIMIT:
        raise ValueError(f"more than {PATTERN_LIMIT} characters: {text[:50]!r} ...")
    if len(text) > 1 and text.startswith("/") and text.endswith("/"):
        try:
            return Pattern(text, re.compile(text[1:-1], re.IGNORECASE), is_expression=True)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"no regular expression: {text!r}: {error}") from None
    # An address may have brackets: ann@[192.0.2.1].
    glob = fnmatch.translate(text.replace("[", "[[]"))
    return Pattern(text, re.compile(rf"\A(?:{glob})", re.IGNORECASE), is_expression=False)


def as_attempt(value: Any) -> tuple[int, int | None]:
    """The first and the last attempt; None: there is no last one."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else as_text(value)
    match = _ATTEMPT.fullmatch(text)
    if match is None:
        raise ValueError(f'"2", "1-3" or "2+" expected, not {text!r}')
    first = int(match[1])
    last = None if match[3] else int(match[2] or first)
    if last is not None and last < first:
        raise ValueError(f"ends before it begins: {text!r}")
    return first, last


def between(least: float, most: float) -> Callable[[Any], float]:
    """A reader of numbers, both ends included."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"a number expected, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"from {least:g} to {most:g} expected, not {value!r}")
        return float(value)

    return read


def whole_between(least: int, most: int = 2**63) -> Callable[[Any], int]:
    """A reader of whole numbers, both ends included."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"a whole number expected, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"from {least} to {most} expected, not {value!r}")
        return value

    return read


def choice(*known: str) -> Callable[[Any], str]:
    """A reader of one of some words."""

    def read(value: Any) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)} expected, not {value!r}")
        return str(value)

    return read


def as_reply(value: Any) -> str:
    """A reply that ends a command."""
    reply = Reply.parse(as_text(value))
    if reply.is_intermediate:
        raise ValueError(f"a final reply expected, not {value!r}")
    return str(value)


def as_keywords(value: Any) -> frozenset[str]:
    """Keywords of EHLO."""
    keywords = frozenset(text.upper() for text in as_texts(value))
    for each in keywords:
        if not _KEYWORD.fullmatch(each):
            raise ValueError(f"a keyword such as SIZE expected, not {each!r}")
    return keywords


def as_true(value: Any) -> bool:
    """True: whoever does not want it leaves it out."""
    if value is not True:
        raise ValueError(f"true expected, not {value!r}")
    return True
