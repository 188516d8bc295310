"""The table of extensions. Knows EHLO keywords and when each may be offered; does not know how they are done.

An extension is offered only if it can be honoured: by the server itself, or because the handler declares so.  A handler
declares with an attribute ``honours``: a set of keywords, or a mapping where a keyword has something to add:

    honours = {"DSN", "REQUIRETLS"}
    honours = {"DSN": None, "DELIVERBY": 120, "FUTURERELEASE": 604_800, "MT-PRIORITY": "MIXER"}

    BINARYMIME     None                                    RFC 3030
    DSN            None                                    RFC 3461
    REQUIRETLS     None; offered on TLS only               RFC 8689
    RRVS           None                                    RFC 7293
    DELIVERBY      least seconds that it can do, or None   RFC 2852 §2
    FUTURERELEASE  most seconds that it holds a message    RFC 4865 §3
    MT-PRIORITY    name of the priority profile, or None   RFC 6710 §3
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Capabilities:
    """All that the list depends on.

    ``size_limit`` None: no limit.  ``mechanisms`` are those that may be used now.  ``honoured`` is what the handler
    declares.  ``limits`` are the names and values of LIMITS (RFC 9422 §3).  ``verbs`` are those that this class of
    server, or a hook of the handler, adds to the usual ones.  ``xclient`` and ``xforward`` are the attributes that this
    client, which is trusted, may give.  ``now`` is the time of the offer.
    """

    size_limit: int | None = None
    does_utf8: bool = True
    is_tls: bool = False
    can_start_tls: bool = False
    mechanisms: tuple[str, ...] = ()
    honoured: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    has_etrn: bool = False
    xclient: tuple[str, ...] = ()
    xforward: tuple[str, ...] = ()
    now: datetime | None = None


class Extension(NamedTuple):
    """One row.  ``line`` gives what EHLO says after the keyword ("" for nothing), or None when it is not offered."""

    keyword: str
    source: str
    line: Callable[[Capabilities], str | None]


def _always(_: Capabilities) -> str:
    return ""


def _if(condition: bool) -> str | None:  # noqa: FBT001 - reads as a sentence where it is used
    return "" if condition else None


def _declared(keyword: str) -> Callable[[Capabilities], str | None]:
    def line(have: Capabilities) -> str | None:
        value = have.honoured.get(keyword, _UNDECLARED)
        if value is _UNDECLARED:
            return None
        return "" if value is None else str(value)

    return line


def _futurerelease(have: Capabilities) -> str | None:
    seconds = have.honoured.get("FUTURERELEASE")
    if not isinstance(seconds, int) or have.now is None:
        return None
    until = (have.now + timedelta(seconds=seconds)).astimezone(UTC)
    return f"{seconds} {until:%Y-%m-%dT%H:%M:%SZ}"


def _words(words: Collection[str]) -> str | None:
    return " ".join(words) or None


_UNDECLARED = object()

EXTENSIONS: tuple[Extension, ...] = (
    Extension("PIPELINING", "RFC 2920", _always),
    Extension("SIZE", "RFC 1870", lambda have: None if have.size_limit is None else str(have.size_limit)),
    Extension("8BITMIME", "RFC 6152", _always),
    Extension("SMTPUTF8", "RFC 6531", lambda have: _if(have.does_utf8)),
    Extension("CHUNKING", "RFC 3030", _always),
    Extension("BINARYMIME", "RFC 3030", _declared("BINARYMIME")),
    Extension("DSN", "RFC 3461", _declared("DSN")),
    Extension("RRVS", "RFC 7293", _declared("RRVS")),
    Extension("DELIVERBY", "RFC 2852", _declared("DELIVERBY")),
    Extension("FUTURERELEASE", "RFC 4865", _futurerelease),
    Extension("MT-PRIORITY", "RFC 6710", _declared("MT-PRIORITY")),
    Extension("REQUIRETLS", "RFC 8689", lambda have: _if(have.is_tls and "REQUIRETLS" in have.honoured)),
    Extension("LIMITS", "RFC 9422", lambda have: _words([f"{name}={most}" for name, most in have.limits.items()])),
    Extension("STARTTLS", "RFC 3207", lambda have: _if(have.can_start_tls and not have.is_tls)),
    Extension("AUTH", "RFC 4954", lambda have: _words(have.mechanisms)),
    Extension("ETRN", "RFC 1985", lambda have: _if(have.has_etrn)),
    Extension("XCLIENT", "Postfix XCLIENT_README", lambda have: _words(have.xclient)),
    Extension("XFORWARD", "Postfix XFORWARD_README", lambda have: _words(have.xforward)),
    Extension("ENHANCEDSTATUSCODES", "RFC 2034", _always),
    Extension("HELP", "RFC 5321 §4.1.1.8", _always),
)

# What a handler may declare, and of which type the value is.
_DECLARABLE: dict[str, tuple[type, ...]] = {
    "BINARYMIME": (type(None),),
    "DSN": (type(None),),
    "REQUIRETLS": (type(None),),
    "RRVS": (type(None),),
    "DELIVERBY": (int, type(None)),
    "FUTURERELEASE": (int,),
    "MT-PRIORITY": (str, type(None)),
}


def offer(have: Capabilities) -> dict[str, str]:
    """The extensions to offer: what follows each keyword, in the order of the table."""
    lines = ((extension.keyword, extension.line(have)) for extension in EXTENSIONS)
    return {keyword: line for keyword, line in lines if line is not None}


def check_declaration(declared: Collection[str] | Mapping[str, object]) -> dict[str, object]:
    """What a handler declares, by keyword in upper case; ``ValueError``, ``TypeError`` for what nobody can declare."""
    if isinstance(declared, str):
        raise TypeError('honours is a collection of EHLO keywords, as in {"DSN"}')
    pairs = declared.items() if isinstance(declared, Mapping) else ((keyword, None) for keyword in declared)
    honoured = {keyword.upper(): value for keyword, value in pairs}
    for keyword, value in honoured.items():
        types = _DECLARABLE.get(keyword)
        if types is None:
            raise ValueError(f"a handler cannot declare {keyword}, only {', '.join(_DECLARABLE)}")
        if not isinstance(value, types):
            raise TypeError(f"{keyword} is declared with {' or '.join(one.__name__ for one in types)}, not {value!r}")
    return honoured
