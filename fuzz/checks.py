"""What targets say when something does not hold, and what several of them look at."""

from __future__ import annotations

import re

# What would split a line of a log, of a header or of a reply.
_SPLITTING = re.compile(r"[\x00\r\n]")


class Violation(AssertionError):
    """An invariant does not hold."""


def require(condition: object, what: str) -> None:
    """Raise ``Violation`` unless the condition holds.  Not an ``assert``: it must work under ``-O`` too."""
    if not condition:
        raise Violation(what)


def require_harmless(text: str, what: str) -> None:
    """Require a text that cannot end the line that it is written into."""
    require(not _SPLITTING.search(text), f"{what} holds CR, LF or NUL: {text!r}")


def as_text(data: bytes) -> str | None:
    """What a command line's octets are to the server: UTF-8, or nothing that is looked at."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
