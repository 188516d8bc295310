"""The table of extensions. Knows EHLO keywords and when each may be offered; does not know how they are done.

An extension is offered only if it can be honoured: by the server itself, or because the handler declares so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Capabilities:
    """All that the list depends on.

    ``size_limit`` None: no limit.  ``mechanisms`` are those that may be used now.  ``honoured`` are the keywords that
    the handler declares.
    """

    size_limit: int | None = None
    does_utf8: bool = True
    is_tls: bool = False
    can_start_tls: bool = False
    mechanisms: tuple[str, ...] = ()
    honoured: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Extension:
    """One row.  ``line`` gives what EHLO says after the keyword ("" for nothing), or None when it is not offered."""

    keyword: str
    source: str
    line: Callable[[Capabilities], str | None]


def _always(_: Capabilities) -> str:
    return ""


def _if(condition: bool) -> str | None:  # noqa: FBT001 - reads as a sentence where it is used
    return "" if condition else None


EXTENSIONS: tuple[Extension, ...] = (
    Extension("PIPELINING", "RFC 2920", _always),
    Extension("SIZE", "RFC 1870", lambda have: None if have.size_limit is None else str(have.size_limit)),
    Extension("8BITMIME", "RFC 6152", _always),
    Extension("SMTPUTF8", "RFC 6531", lambda have: _if(have.does_utf8)),
    Extension("CHUNKING", "RFC 3030", _always),
    Extension("STARTTLS", "RFC 3207", lambda have: _if(have.can_start_tls and not have.is_tls)),
    Extension("AUTH", "RFC 4954", lambda have: " ".join(have.mechanisms) or None),
    Extension("ENHANCEDSTATUSCODES", "RFC 2034", _always),
    Extension("HELP", "RFC 5321 §4.1.1.8", _always),
)


def offer(have: Capabilities) -> dict[str, str]:
    """The extensions to offer: what follows each keyword, in the order of the table."""
    lines = ((extension.keyword, extension.line(have)) for extension in EXTENSIONS)
    return {keyword: line for keyword, line in lines if line is not None}
