"""What a rule may say together: held against what a session shows, through all combinations."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox.faults import FaultHandler, Faults, ScenarioError, combining, scenario, scenario_of
from ehlo.inbox.faults.combining import ANY, CONNECT, END, EVERYWHERE, EXCLUDED, NEEDED, PLACES, TOLD_TWICE
from tests.support import Recorder, talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from ehlo.inbox.faults.matching import Matcher, Situation
    from ehlo.inbox.faults.rule import Rule
    from tests.support import Client

DOCS = Path(__file__).parents[3] / "docs" / "faults.md"
TRANSACTION = ("MAIL FROM:<ann@example.com> SIZE=100", "RCPT TO:<bob@example.com>")
AMID = ("VRFY bob", "EXPN all", "HELP", "NOOP", "RSET")


class Watching(Faults):
    """Nothing goes wrong; what could have is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.set({"rule": [{"delay": 1}]})
        self.situations: list[Situation] = []

    async def decide(self, matcher: Matcher, situation: Situation, miss: Callable[[Rule, str], None]) -> None:
        self.situations.append(situation)


async def everything(client: Client) -> None:
    """A session with every command, where it belongs."""
    await client.greet()
    for line in ("STARTTLS", "AUTH PLAIN x", "XCLIENT NAME=x", "XFORWARD NAME=x", "ETRN x", "HELO a.example", "LHLO b"):
        await client.ask(line)
    client.server.session.login = "ann"
    for line in (
        "EHLO a.example",
        "STARTTLS",
        "XCLIENT NAME=x",
        "XFORWARD NAME=x",
        "ETRN x",
        "HELO a.example",
        "LHLO b",
    ):
        await client.ask(line)
    await client.ask("EHLO a.example")
    for line in AMID:
        await client.ask(TRANSACTION[0])
        await client.ask(TRANSACTION[1])
        await client.ask(line)
        await client.ask("RSET")
    await client.ask(TRANSACTION[0])
    await client.ask(TRANSACTION[1])
    await client.ask("DATA")
    await client.ask("Hello", ".")
    await client.ask(TRANSACTION[0])
    await client.ask(TRANSACTION[1])
    await client.feed(b"BDAT 2 LAST\r\nhi")
    await client.hear()
    await client.ask(TRANSACTION[0])
    await client.ask(TRANSACTION[1])
    await client.ask("QUIT")


KNOWN: dict[str, Callable[[Situation], object]] = {
    "helo": lambda situation: situation.values("helo"),
    "login": lambda situation: situation.values("login"),
    "sender": lambda situation: situation.values("sender"),
    "recipient": lambda situation: situation.values("recipient"),
    'per = "sender"': lambda situation: situation.key("sender"),
    'per = "recipient"': lambda situation: situation.key("recipient"),
    'per = "triplet"': lambda situation: situation.key("triplet"),
    "size_over": lambda situation: situation.size is not None,
}


async def test_the_table_says_what_a_session_shows_to_be_known_where() -> None:
    faults = Watching()
    async with talk(FaultHandler(Recorder(), faults), is_greeted=False) as client:
        await everything(client)
    assert {situation.verb for situation in faults.situations} == EVERYWHERE
    assert set(KNOWN) == {key for key, place in PLACES.items() if place.is_about_when}
    for key, is_known in KNOWN.items():
        shown = {situation.verb for situation in faults.situations if is_known(situation)}
        assert shown == PLACES[key].verbs, key


WHENS: dict[str, dict[str, Any]] = {
    "helo": {"helo": "a"},
    "login": {"login": "a"},
    "sender": {"sender": "a"},
    "recipient": {"recipient": "a"},
    "size_over": {"size_over": 1},
    **{f'per = "{per}"': {"per": per, "attempt": "1"} for per in ("sender", "recipient", "triplet")},
    "peer": {"peer": "127.0.0.1"},
    'per = "session"': {"per": "session", "attempt": "1"},
    'per = "peer"': {"per": "peer", "attempt": "1"},
    "times": {"times": 1},
    "probability": {"probability": 0.5},
}


@pytest.mark.parametrize("key", WHENS)
@pytest.mark.parametrize("verb", sorted(EVERYWHERE | {ANY}))
def test_what_is_never_known_there_is_refused_by_key_and_reason(verb: str, key: str) -> None:
    rule = {"verb": verb, "reply": "450 4.2.0 No", **WHENS[key]}
    if verb == ANY or key not in PLACES or verb in PLACES[key].verbs:
        scenario_of({"rule": [rule]})
        return
    with pytest.raises(ScenarioError, match=rf"rule 1: {key} does not go with verb {verb}.*: {PLACES[key].why}"):
        scenario_of({"rule": [rule]})


WHATS: list[dict[str, Any]] = [
    {"reply": "450 4.2.0 No"},
    {"reply": "250 2.0.0 Yes"},
    {"delay": 0.001},
    {"disconnect": "before"},
    {"disconnect": "after"},
    {"disconnect": "reset"},
    {"disconnect": "unanswered"},
    {"stall": 0.001},
    {"stall_after": 2},
    {"stall_after": 2, "stall": 0.001},
    {"drip": 1e6},
    {"hide": "SIZE"},
    {"tls": "break"},
]
COMBINED = [
    {key: value for what in some for key, value in what.items()}
    for count in (1, 2)
    for some in itertools.combinations(WHATS, count)
    if sum(map(len, some)) == len({key for what in some for key in what})  # no key twice
]
DIALOGUE = ("EHLO a.example", "STARTTLS", "AUTH PLAIN x", "NOOP", *TRANSACTION)
STAGES = [CONNECT, "EHLO", "STARTTLS", "AUTH", "NOOP", "MAIL", "RCPT", "DATA", "BDAT", END, "QUIT"]


async def done(rule: dict[str, Any]) -> tuple[str, str]:
    """What a rule announces, and what of it is recorded when a session has met it."""
    faults = Faults()
    faults.set({"rule": [rule]})
    async with talk(FaultHandler(Recorder(), faults), is_greeted=False) as client:
        is_open = bool(await client.hear())
        for line in (*DIALOGUE, "BDAT 5 LAST\r\nHello" if rule["verb"] == "BDAT" else "DATA", "Hello\r\n.", "QUIT"):
            if not is_open:
                break
            await client.feed(line.encode() + (b"" if line.startswith("BDAT") else b"\r\n"))
            is_open = bool(await client.hear())
    announced = next(iter(scenario_of({"rule": [rule]}).rules)).describe()
    return announced, "".join(entry.act for entry in faults.log.entries()[:1])


def is_pointless(rule: dict[str, Any]) -> bool:
    """Whether nobody could tell that it does what it says: QUIT ends the session anyway, no TLS begins elsewhere ..."""
    verb = rule["verb"]
    return (
        (verb == "QUIT" and rule.get("disconnect") == "after")
        or (verb != END and rule.get("disconnect") == "unanswered")
        or (verb != "STARTTLS" and "tls" in rule)
        or ("stall_after" in rule and (verb not in {"DATA", "BDAT"} or not rule.keys() & {"stall", "disconnect"}))
    )


def is_refused(rule: dict[str, Any]) -> bool:
    try:
        scenario_of({"rule": [rule]})
    except ScenarioError:
        return True
    return False


@pytest.mark.parametrize("verb", STAGES)
async def test_a_rule_is_refused_that_would_not_do_all_that_it_says(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [{"verb": verb, **what} for what in COMBINED]
    refused = [is_refused(rule) for rule in rules]
    monkeypatch.setattr(scenario, "contradiction", lambda *_: None)
    monkeypatch.setattr(scenario, "_never_fires", lambda _: None)
    for rule, was_refused in zip(rules, refused, strict=True):
        announced, did = await done(rule)
        does_it = announced != "" and set(announced.split(", ")) == set(did.split(", ")) and not is_pointless(rule)
        assert does_it is not was_refused, (rule, announced, did)


@pytest.mark.parametrize(("one", "other"), [*EXCLUDED, *TOLD_TWICE])
def test_each_pair_of_the_table_is_refused(one: str, other: str) -> None:
    values: dict[str, dict[str, Any]] = {
        "reply": {"reply": "450 4.2.0 No"},
        "stall_after": {"stall_after": 1, "stall": 1},
        "drip": {"drip": 9},
        "hide": {"hide": "SIZE"},
        "disconnect": {"disconnect": "before"},
        "tls": {"tls": "refuse"},
        'tls = "break"': {"tls": "break"},
        "greylist": {"greylist": 5},
        "mailbox_full": {"mailbox_full": "a"},
        "close_with_421": {"close_with_421": True},
        "age": {"age": 1},
        "recipient": {"recipient": "a"},
        **{f'disconnect = "{ending}"': {"disconnect": ending} for ending in ("before", "reset", "unanswered")},
    }
    with pytest.raises(ScenarioError, match=rf"rule 1: {one} does not go with {other}: "):
        scenario_of({"rule": [values[one] | values[other]]})


def test_the_page_has_the_table() -> None:
    text = " ".join(DOCS.read_text().split())
    for key, place in PLACES.items():
        names = sorted(verb for verb in place.verbs if verb != ANY)
        but = sorted(EVERYWHERE - place.verbs)
        where = "at " + ", ".join(names) if len(names) < len(but) else "not at " + ", ".join(but)
        assert f"| `{key}` | {where} | {place.why} |" in text
    for (one, other), why in (EXCLUDED | TOLD_TWICE).items():
        if other not in combining.SHORT_FORMS:
            assert f"| `{one}` | `{other}` | {why} |" in text
    for features, one_of in NEEDED:
        assert f"| {' with '.join(f'`{one}`' for one in features)} |" in text, (features, one_of)
