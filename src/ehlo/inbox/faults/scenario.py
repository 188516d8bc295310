"""Fault scenarios as they are written: TOML or a dict, made into frozen rules. Knows keys and types; matches nothing.

A scenario is a list of rules.  A rule says when (``verb``, ``sender``, ``attempt`` ...) and what (``reply``, ``delay``,
``disconnect`` ...).  What is misspelt or cannot be is refused by its name and place: a fault that never comes would
make a test pass that proves nothing.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, get_args

from ehlo.inbox.faults.combining import ANY, EVERYWHERE, contradiction
from ehlo.inbox.faults.rule import Ending, Pattern, Patterns, Per, Rule, Scenario
from ehlo.net.limits import Rate
from ehlo.net.networks import Networks
from ehlo.protocol.replies import Reply

RULE_LIMIT = 200
TEXT_LIMIT = 100_000
PATTERN_LIMIT = 500
"""Characters of a pattern."""
NOT_NONE = 1e-9
"""Of a time or a probability that may not be 0: the rule would never fire."""
LONGEST_PAUSE = 500.0
"""Seconds; less than ``hook_timeout``, which would end it with a reply that no rule asks for."""

VERBS = EVERYWHERE | {ANY}

GREYLISTED = "451 4.7.1 Greylisted, try again later"
FULL = "452 4.2.2 Mailbox full"
NO_TLS = "454 4.7.0 TLS not available"  # RFC 3207 §4
GOING = "421 4.3.2 Service shutting down"

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
# The library takes a time that grows with the square of a dotted key.
_DEEP = re.compile(r"(?:[A-Za-z0-9_-]{1,100}[ \t]*\.[ \t]*){20}")
# attempt = first [ "-" last / "+" ]
_ATTEMPT = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8})|(\+))?")


class ScenarioError(ValueError):
    """A scenario that cannot be; the text says which key of which rule."""


def ready_names() -> list[str]:
    """The names of the scenarios that are there already."""
    return sorted(file.name.removesuffix(".toml") for file in _library().iterdir() if file.name.endswith(".toml"))


def ready_text(name: str) -> str:
    """The TOML of one of them; ``ScenarioError`` if there is none of this name."""
    if name not in ready_names():
        raise ScenarioError(f"there is no scenario {name!r}; there are {', '.join(ready_names())}")
    return str((_library() / f"{name}.toml").read_text(encoding="utf-8"))


def scenario_of(given: str | Mapping[str, Any] | Scenario) -> Scenario:
    """A scenario from the name of a ready one, from TOML, or from a dict of the same shape; ``ScenarioError``."""
    if isinstance(given, Scenario):
        return given
    if isinstance(given, Mapping):
        return _scenario(given, "")
    if re.fullmatch(r"[\w-]+", given):
        return parse_scenario(ready_text(given))
    return parse_scenario(given)


def parse_scenario(text: str) -> Scenario:
    """A scenario in TOML; ``ScenarioError``."""
    if len(text) > TEXT_LIMIT:
        raise ScenarioError(f"more than {TEXT_LIMIT} characters")
    if _DEEP.search(text):
        raise ScenarioError("not TOML that anybody would write: a key of more than 20 parts")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"not TOML: {error}") from None
    except RecursionError:
        raise ScenarioError("not TOML that anybody would write: it is nested too deep") from None
    return _scenario(table, text)


def _library() -> Any:
    return resources.files("ehlo.inbox.faults") / "library"


def _scenario(table: Mapping[str, Any], text: str) -> Scenario:
    _check_keys(table, ("name", "description", "seed", "rule"), "the scenario")
    rules = table.get("rule", [])
    if not isinstance(rules, list) or not rules:
        raise ScenarioError("the scenario: rule: a [[rule]] is missing")
    if len(rules) > RULE_LIMIT:
        raise ScenarioError(f"the scenario: rule: more than {RULE_LIMIT}")
    return Scenario(
        name=_take(table, "name", _name, "custom", "the scenario"),
        rules=tuple(_rule(rule, number) for number, rule in enumerate(rules, 1)),
        description=_take(table, "description", _text, "", "the scenario"),
        seed=_take(table, "seed", _whole(-(2**63)), 0, "the scenario"),
        text=text,
    )


def _rule(given: Any, number: int) -> Rule:
    place = f"rule {number}"
    if not isinstance(given, Mapping):
        raise ScenarioError(f"{place}: a table expected")
    name = _take(given, "name", _name, place, place)
    place = place if name == place else f"{place} ({name})"
    _check_keys(given, ("name", *_KEYS), place)
    table = _written_out(given, place)
    found: dict[str, Any] = {}
    for key, (field, read) in _READERS.items():
        if key in table:
            found[field] = _take(table, key, read, None, place)
    verbs = found.setdefault("verbs", frozenset({ANY}))
    found["first"], found["last"] = found.pop("attempt", (1, None))
    rule = Rule(name=name, **found)
    maybe_why = contradiction(given, table, verbs) or _never_fires(rule)
    if maybe_why is not None:
        raise ScenarioError(f"{place}: {maybe_why}")
    return rule


def _written_out(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The rule without short forms; what it says itself goes before what they stand for."""
    table: dict[str, Any] = {}
    for key, (read, expand) in _EXPANDED.items():
        if key in given:
            table |= expand(_take(given, key, read, None, place))
    table |= {key: value for key, value in given.items() if key not in _EXPANDED and key != "name"}
    if "verb" not in table and ("drip" in table or "stall_after" in table):
        table["verb"] = ["DATA", "BDAT"]
    if "verb" not in table and "hide" in table:
        table["verb"] = "EHLO"
    return table


def _never_fires(rule: Rule) -> str | None:
    """Why nothing can come of it, None if something can."""
    if not rule.describe():
        return "says when, but not what: reply, delay, disconnect ... are missing"
    if rule.maybe_rate is not None and rule.last is not None and rule.last - rule.first < rule.maybe_rate.count:
        return f"attempt and rate: so few attempts never come to more than {rule.maybe_rate.count}"
    return None


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in table:
        if key not in known:
            raise ScenarioError(f"{place}: there is no key {str(key)[:50]!r}; there are {', '.join(known)}")


def _take(table: Mapping[str, Any], key: str, read: Callable[[Any], Any], default: Any, place: str) -> Any:
    if key not in table:
        return default
    try:
        return read(table[key])
    except (ValueError, TypeError) as error:
        raise ScenarioError(f"{place}: {key}: {error}") from None


# What a value may be


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text expected, not {value!r}")
    return value


def _name(value: Any) -> str:
    if not _NAME.fullmatch(_text(value)):
        raise ValueError("1 to 100 printable characters expected")
    return str(value)


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError("an empty list")
    return [_text(each) for each in values]


def _verbs(value: Any) -> frozenset[str]:
    verbs = frozenset(each.upper() for each in _texts(value))
    unknown = sorted(verbs - VERBS)
    if unknown:
        raise ValueError(f"there is no {unknown[0][:50]!r}; there are {', '.join(sorted(VERBS))}")
    return verbs


def _patterns(value: Any) -> Patterns:
    return tuple(_pattern(text) for text in _texts(value))


def _pattern(text: str) -> Pattern:
    if len(text) > PATTERN_LIMIT:
        raise ValueError(f"more than {PATTERN_LIMIT} characters: {text[:50]!r} ...")
    if len(text) > 1 and text.startswith("/") and text.endswith("/"):
        try:
            return Pattern(text, re.compile(text[1:-1], re.IGNORECASE), is_expression=True)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"no regular expression: {text!r}: {error}") from None
    return Pattern(text, re.compile(rf"\A(?:{fnmatch.translate(text)})", re.IGNORECASE), is_expression=False)


def _attempt(value: Any) -> tuple[int, int | None]:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)
    match = _ATTEMPT.fullmatch(text)
    if match is None:
        raise ValueError(f'"2", "1-3" or "2+" expected, not {text!r}')
    first = int(match[1])
    last = None if match[3] else int(match[2] or first)
    if last is not None and last < first:
        raise ValueError(f"ends before it begins: {text!r}")
    return first, last


def _number(least: float, most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"a number expected, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"from {least:g} to {most:g} expected, not {value!r}")
        return float(value)

    return read


def _whole(least: int, most: int = 2**63) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"a whole number expected, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"from {least} to {most} expected, not {value!r}")
        return value

    return read


def _choice(*known: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)} expected, not {value!r}")
        return str(value)

    return read


def _reply(value: Any) -> str:
    reply = Reply.parse(_text(value))
    if reply.is_intermediate:
        raise ValueError(f"a final reply expected, not {value!r}")
    return str(value)


def _keywords(value: Any) -> frozenset[str]:
    return frozenset(text.upper() for text in _texts(value))


def _flag(value: Any) -> bool:
    if value is not True:
        raise ValueError(f"true expected, not {value!r}")
    return True


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "verb": ("verbs", _verbs),
    "sender": ("sender", _patterns),
    "recipient": ("recipient", _patterns),
    "login": ("login", _patterns),
    "helo": ("helo", _patterns),
    "peer": ("maybe_peers", lambda value: Networks(_texts(value))),
    "attempt": ("attempt", _attempt),
    "per": ("per", _choice(*get_args(Per))),
    "age": ("maybe_age", _number(NOT_NONE, 1e9)),
    "rate": ("maybe_rate", lambda value: Rate.parse(_text(value))),
    "size_over": ("maybe_size_over", _whole(0)),
    "probability": ("probability", _number(NOT_NONE, 1)),
    "times": ("maybe_times", _whole(1)),
    "reply": ("maybe_reply", _reply),
    "delay": ("delay", _number(0, LONGEST_PAUSE)),
    "stall_after": ("maybe_stall_after", _whole(0)),
    "stall": ("stall", _number(0, LONGEST_PAUSE)),
    "drip": ("maybe_drip", _number(1, 1e12)),
    "disconnect": ("maybe_ending", _choice(*get_args(Ending))),
    "hide": ("hidden", _keywords),
    "tls": ("breaks_tls", lambda value: value == "break"),
}

_Expand = Callable[[Any], dict[str, Any]]
_TLS: dict[str, dict[str, Any]] = {
    "refuse": {"verb": "STARTTLS", "reply": NO_TLS},
    "break": {"verb": "STARTTLS", "tls": "break"},
}
_EXPANDED: dict[str, tuple[Callable[[Any], Any], _Expand]] = {
    "tls": (_choice(*_TLS), lambda kind: _TLS[kind]),
    "close_with_421": (_flag, lambda _: {"reply": GOING}),
    "greylist": (
        _number(NOT_NONE, 1e9),
        lambda seconds: {"verb": "RCPT", "per": "triplet", "age": seconds, "reply": GREYLISTED},
    ),
    "mailbox_full": (_texts, lambda who: {"verb": "RCPT", "recipient": who, "reply": FULL}),
}
_KEYS = tuple(dict.fromkeys((*_READERS, *_EXPANDED)))
