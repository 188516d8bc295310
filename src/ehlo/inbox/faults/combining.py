"""What a rule may say together. Knows the names of keys, and where each means something; does not know what they do.

A key may stand here with a value, as in ``disconnect = "after"``: then the row is about this value only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ehlo.protocol.commands import COMMANDS

CONNECT, END, ANY = "CONNECT", "END", "*"
EVERYWHERE = frozenset({CONNECT, END, *COMMANDS})
"""What a rule may be about: the connection, the commands, the end of the mail data."""

# RFC 5321 §4.1.4: those that may come while a transaction is open, and leave it so until they are done.
_AMID = frozenset({"MAIL", "RCPT", "DATA", "BDAT", END, "RSET", "NOOP", "QUIT", "HELP", "VRFY", "EXPN"})
_WITH_RECIPIENTS = _AMID - {"MAIL"}


_Name = Callable[[str], str]


class Place(NamedTuple):
    """Where a key means something: elsewhere, ``why`` not.  ``is_about_when``: it is one of the keys that say when."""

    verbs: frozenset[str]
    why: str
    is_about_when: bool = False


PLACES: dict[str, Place] = {
    "helo": Place(EVERYWHERE - {CONNECT}, "the client has not named itself", is_about_when=True),
    "login": Place(EVERYWHERE - {CONNECT, "AUTH"}, "nobody has logged in", is_about_when=True),
    "sender": Place(_AMID, "there is no sender", is_about_when=True),
    "recipient": Place(_WITH_RECIPIENTS, "there is no recipient", is_about_when=True),
    'per = "sender"': Place(_AMID, "there is no sender", is_about_when=True),
    'per = "recipient"': Place(_WITH_RECIPIENTS, "there is no recipient", is_about_when=True),
    'per = "triplet"': Place(_WITH_RECIPIENTS, "there is no recipient", is_about_when=True),
    "size_over": Place(frozenset({"MAIL", END}), "the size of the message is not known", is_about_when=True),
    "stall_after": Place(frozenset({"DATA", "BDAT"}), "no mail data follow"),
    "drip": Place(frozenset({"DATA", "BDAT"}), "no mail data follow"),
    "hide": Place(frozenset({"EHLO", "LHLO"}), "nothing is offered"),
    "tls": Place(frozenset({"STARTTLS"}), "no TLS begins"),
    'disconnect = "unanswered"': Place(frozenset({END}), "no message has been taken"),
    'disconnect = "after"': Place((EVERYWHERE | {ANY}) - {"QUIT"}, "the connection is closed anyway"),
}
"""Keys that are not here mean something everywhere."""

_SILENT = "nothing is said before the connection is closed"
EXCLUDED: dict[tuple[str, str], str] = {
    ("reply", 'disconnect = "before"'): _SILENT,
    ("reply", 'disconnect = "reset"'): _SILENT,
    ("reply", 'disconnect = "unanswered"'): _SILENT,
    ("reply", "stall_after"): "the command is not run, and no mail data follow",
    ("reply", "drip"): "the command is not run, and no mail data follow",
    ("reply", "hide"): "the command is not run, and nothing is offered",
    ("reply", 'tls = "break"'): "the reply is 220",
    ("hide", 'disconnect = "before"'): _SILENT,
    ("hide", 'disconnect = "reset"'): _SILENT,
    ("disconnect", 'tls = "break"'): "the connection is closed where the handshake should be",
}
"""Pairs that cannot stand in one rule, nor be stood for."""

SHORT_FORMS = ("tls", "close_with_421", "greylist", "mailbox_full")
TOLD_TWICE: dict[tuple[str, str], str] = {
    ("close_with_421", "reply"): "it says the reply",
    ("greylist", "age"): "it says the age",
    ("mailbox_full", "recipient"): "it says the recipient",
    **dict.fromkeys(itertools.combinations(SHORT_FORMS, 2), "both say the reply"),
}
"""Pairs that cannot stand in one rule: a short form, and what it says itself."""

NEEDED: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("stall",), ("stall_after",)),
    (("stall_after",), ("stall", "disconnect")),
    (("drip", 'disconnect = "before"'), ("stall_after",)),
    (("drip", 'disconnect = "reset"'), ("stall_after",)),
    (("age",), tuple(f'per = "{per}"' for per in ("session", "sender", "recipient", "peer", "triplet"))),
    (("per",), ("attempt", "age", "rate")),
]
"""What all of some keys need one of."""


def contradiction(given: Mapping[str, Any], written_out: Mapping[str, Any], verbs: frozenset[str]) -> str | None:
    """Why a rule cannot do all that it says, None if it can.

    ``written_out`` is what is ``given`` with what short forms stand for, ``verbs`` what it is about in the end.
    """
    said_itself = _features(given)
    said = said_itself | _features(written_out)
    maybe_short = next((form for form in SHORT_FORMS if form in given), None)

    def name(feature: str) -> str:
        return feature if feature in said_itself else f"{feature}, which {maybe_short} stands for,"

    return next(
        itertools.chain(_excluded(said_itself, said, name), _needed(said, name), _places(said, verbs, name)), None
    )


def _features(table: Mapping[str, Any]) -> set[str]:
    """Keys, and keys with their values."""
    # A pause of no time is none.
    said = {key for key, value in table.items() if key not in {"delay", "stall"} or value}
    return said | {f'{key} = "{table[key]}"' for key in ("per", "disconnect", "tls") if key in said}


def _excluded(said_itself: set[str], said: set[str], name: _Name) -> Iterator[str]:
    for table, features in ((TOLD_TWICE, said_itself), (EXCLUDED, said)):
        for (one, other), why in table.items():
            if {one, other} <= features:
                yield f"{name(one)} does not go with {name(other)}: {why}"


def _needed(said: set[str], name: _Name) -> Iterator[str]:
    for features, one_of in NEEDED:
        if said.issuperset(features) and said.isdisjoint(one_of):
            yield f"{' with '.join(map(name, features))} needs {' or '.join(one_of)}"


def _places(said: set[str], verbs: frozenset[str], name: _Name) -> Iterator[str]:
    for feature, place in PLACES.items():
        if feature not in said:
            continue
        for verb in sorted(verbs - place.verbs - ({ANY} if place.is_about_when else set())):
            only = f" but with {' or '.join(sorted(place.verbs))}" if len(place.verbs) <= 2 else ""
            yield f"{name(feature)} does not go with verb {verb}{only}: {place.why}"
