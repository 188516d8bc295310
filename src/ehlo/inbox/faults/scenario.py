"""Fault scenarios as they are written: TOML or a dict, made into frozen rules. Knows keys and types; matches nothing.

A scenario is a list of rules.  A rule says when (``verb``, ``sender``, ``attempt`` ...) and what (``reply``, ``delay``,
``disconnect`` ...).  What is misspelt or cannot be is refused by its name and place: a fault that never comes would
make a test pass that proves nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, get_args

from ehlo.inbox.faults.combining import ANY, contradiction
from ehlo.inbox.faults.rule import Ending, Per, Rule, Scenario
from ehlo.inbox.faults.values import (
    as_attempt,
    as_keywords,
    as_name,
    as_patterns,
    as_reply,
    as_text,
    as_texts,
    as_true,
    as_verbs,
    between,
    choice,
    whole_between,
)
from ehlo.net.limits import Rate
from ehlo.net.networks import Networks

RULE_LIMIT = 200
TEXT_LIMIT = 100_000
COMPLAINT_LIMIT = 1000
"""Characters; what is complained about may be quoted in it."""
NOT_NONE = 1e-9
"""Of a time or a probability that may not be 0: the rule would never fire."""
LONGEST_PAUSE = 500.0
"""Seconds; less than ``hook_timeout``, which would end it with a reply that no rule asks for."""

GREYLISTED = "451 4.7.1 Greylisted, try again later"
FULL = "452 4.2.2 Mailbox full"
NO_TLS = "454 4.7.0 TLS not available"  # RFC 3207 §4
GOING = "421 4.3.2 Service shutting down"

# The library takes a time that grows with the square of a dotted key.
_PART = r"""(?:[A-Za-z0-9_-]{1,100}|'[^'\n]{0,100}'|"(?:[^"\\\n]|\\.){0,100}")"""
_DEEP = re.compile(rf"(?:{_PART}[ \t]{{0,9}}\.[ \t]{{0,9}}){{20}}")


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
    if not isinstance(given, str):
        raise ScenarioError(f"a name, TOML or a dict expected, not {given!r}"[:COMPLAINT_LIMIT])
    if re.fullmatch(r"[\w-]+", given):
        return parse_scenario(ready_text(given))
    return parse_scenario(given)


def parse_scenario(text: str) -> Scenario:
    """A scenario in TOML; ``ScenarioError``."""
    text = text.removeprefix("\ufeff")  # which some editors begin a file with
    if len(text) > TEXT_LIMIT:
        raise ScenarioError(f"more than {TEXT_LIMIT} characters")
    if _DEEP.search(text):
        raise ScenarioError("not TOML that anybody would write: a key of more than 20 parts")
    try:
        text.encode()
        table = tomllib.loads(text)
    except ValueError as error:  # no TOML, no Unicode, or a number of more digits than Python reads
        raise ScenarioError(f"not TOML: {error}") from None
    except RecursionError:
        raise ScenarioError("not TOML that anybody would write: it is nested too deep") from None
    return _scenario(table, text)


def _library() -> Any:
    return resources.files("ehlo.inbox.faults") / "library"


def _scenario(table: Mapping[str, Any], text: str) -> Scenario:
    _check_keys(table, ("name", "description", "seed", "rule"), "the scenario")
    rules = table.get("rule", [])
    if not isinstance(rules, list | tuple) or not rules:
        raise ScenarioError("the scenario: rule: a [[rule]] is missing")
    if len(rules) > RULE_LIMIT:
        raise ScenarioError(f"the scenario: rule: more than {RULE_LIMIT}")
    made = tuple(_rule(rule, number) for number, rule in enumerate(rules, 1))
    _check_order(made)
    return Scenario(
        name=_take(table, "name", as_name, "custom", "the scenario"),
        rules=made,
        description=_take(table, "description", as_text, "", "the scenario"),
        seed=_take(table, "seed", whole_between(-(2**63)), 0, "the scenario"),
        text=text,
    )


def _rule(given: Any, number: int) -> Rule:
    place = f"rule {number}"
    if not isinstance(given, Mapping):
        raise ScenarioError(f"{place}: a table expected")
    name = _take(given, "name", as_name, place, place)
    place = _place(number, name)
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


def _place(number: int, name: str) -> str:
    return name if name == f"rule {number}" else f"rule {number} ({name})"


def _check_order(rules: Sequence[Rule]) -> None:
    names: set[str] = set()
    taken: set[str] = set()
    for number, rule in enumerate(rules, 1):
        if rule.name in names:
            raise ScenarioError(f"{_place(number, rule.name)}: name: another rule before it has this name")
        if ANY in taken or rule.verbs <= taken:
            verbs = ", ".join(sorted(rule.verbs))
            raise ScenarioError(f"{_place(number, rule.name)}: never fires: rules before it take every {verbs}")
        names.add(rule.name)
        if rule.is_unconditional:
            taken |= rule.verbs


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
        raise ScenarioError(f"{place}: {key}: {error}"[:COMPLAINT_LIMIT]) from None


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "verb": ("verbs", as_verbs),
    "sender": ("sender", as_patterns),
    "recipient": ("recipient", as_patterns),
    "login": ("login", as_patterns),
    "helo": ("helo", as_patterns),
    "peer": ("maybe_peers", lambda value: Networks(as_texts(value))),
    "attempt": ("attempt", as_attempt),
    "per": ("per", choice(*get_args(Per))),
    "age": ("maybe_age", between(NOT_NONE, 1e9)),
    "rate": ("maybe_rate", lambda value: Rate.parse(as_text(value))),
    "size_over": ("maybe_size_over", whole_between(0)),
    "probability": ("probability", between(NOT_NONE, 1)),
    "times": ("maybe_times", whole_between(1)),
    "reply": ("maybe_reply", as_reply),
    "delay": ("delay", between(0, LONGEST_PAUSE)),
    "stall_after": ("maybe_stall_after", whole_between(0)),
    "stall": ("stall", between(0, LONGEST_PAUSE)),
    "drip": ("maybe_drip", between(1, 1e12)),
    "disconnect": ("maybe_ending", choice(*get_args(Ending))),
    "hide": ("hidden", as_keywords),
    "tls": ("breaks_tls", lambda value: value == "break"),
}

_Expand = Callable[[Any], dict[str, Any]]
_TLS: dict[str, dict[str, Any]] = {
    "refuse": {"verb": "STARTTLS", "reply": NO_TLS},
    "break": {"verb": "STARTTLS", "tls": "break"},
}
_EXPANDED: dict[str, tuple[Callable[[Any], Any], _Expand]] = {
    "tls": (choice(*_TLS), lambda kind: _TLS[kind]),
    "close_with_421": (as_true, lambda _: {"reply": GOING}),
    "greylist": (
        between(NOT_NONE, 1e9),
        lambda seconds: {"verb": "RCPT", "per": "triplet", "age": seconds, "reply": GREYLISTED},
    ),
    "mailbox_full": (as_texts, lambda who: {"verb": "RCPT", "recipient": who, "reply": FULL}),
}
_KEYS = tuple(dict.fromkeys((*_READERS, *_EXPANDED)))
