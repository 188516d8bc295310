"""Scenarios as they are written: what they become, and what is refused, by name and place."""

from __future__ import annotations

from typing import Any

import pytest

from ehlo.inbox.faults.rule import Rule, Scenario
from ehlo.inbox.faults.scenario import (
    FULL,
    GREYLISTED,
    ScenarioError,
    parse_scenario,
    ready_names,
    ready_text,
    scenario_of,
)
from ehlo.net.limits import Rate


def rule_of(**keys: Any) -> Rule:
    return scenario_of({"rule": [keys]}).rules[0]


def test_a_scenario_in_toml_and_as_a_dict_are_the_same() -> None:
    text = """
    name = "two"
    seed = 7
    [[rule]]
    name = "first"
    verb = ["mail", "RCPT"]
    sender = "*@example.com"
    attempt = "1-3"
    per = "sender"
    reply = "451 4.7.1 Later"
    [[rule]]
    delay = 1
    """
    table = {
        "name": "two",
        "seed": 7,
        "rule": [
            {
                "name": "first",
                "verb": ["mail", "RCPT"],
                "sender": "*@example.com",
                "attempt": "1-3",
                "per": "sender",
                "reply": "451 4.7.1 Later",
            },
            {"delay": 1},
        ],
    }
    scenario = parse_scenario(text)
    assert scenario.rules == scenario_of(table).rules
    assert (scenario.name, scenario.seed, scenario.text) == ("two", 7, text)
    first, second = scenario.rules
    assert (first.name, first.verbs, first.first, first.last) == ("first", frozenset({"MAIL", "RCPT"}), 1, 3)
    assert (second.name, second.verbs, second.delay, second.first, second.last) == (
        "rule 2",
        frozenset("*"),
        1.0,
        1,
        None,
    )


@pytest.mark.parametrize(
    ("attempt", "first", "last"), [("1", 1, 1), (1, 1, 1), ("2+", 2, None), ("3-5", 3, 5), ("4-4", 4, 4)]
)
def test_attempts(attempt: object, first: int, last: int | None) -> None:
    rule = rule_of(attempt=attempt, delay=1)
    assert (rule.first, rule.last) == (first, last)


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("*@example.com", "ann@example.com", True),
        ("*@example.com", "ann@EXAMPLE.com", True),
        ("*@example.com", "ann@example.community", False),
        ("*@example.com", "x\nann@example.com", True),  # an address has no line feed anyway
        ("ann@*", "joann@example.com", False),
        ("", "", True),
        ("", "ann@example.com", False),
        ("/^ann/", "Ann@example.com", True),
        ("/^ann/", "joann@example.com", False),
        ("/", "/", True),
        ("ann@[192.0.2.1]", "ann@[192.0.2.1]", True),
        ("ann@[192.0.2.1]", "ann@1", False),
        ("*@[[*]", "ann@[[x]", True),
    ],
)
def test_patterns(pattern: str, value: str, matches: bool) -> None:
    assert rule_of(sender=pattern, delay=1).sender[0].matches(value) is matches


def test_short_forms_stand_for_whole_rules() -> None:
    assert rule_of(greylist=60) == rule_of(verb="RCPT", per="triplet", age=60, reply=GREYLISTED)
    assert rule_of(mailbox_full="a@*") == rule_of(verb="RCPT", recipient="a@*", reply=FULL)
    assert rule_of(tls="refuse").maybe_reply == "454 4.7.0 TLS not available"
    assert rule_of(tls="break").breaks_tls
    assert rule_of(close_with_421=True, verb="MAIL").maybe_reply == "421 4.3.2 Service shutting down"


def test_what_a_rule_says_itself_goes_before_its_short_form() -> None:
    rule = rule_of(greylist=60, per="recipient", reply="450 4.2.0 Come again")
    assert (rule.per, rule.maybe_age, rule.maybe_reply) == ("recipient", 60, "450 4.2.0 Come again")


def test_what_is_amid_the_data_is_about_the_data() -> None:
    assert rule_of(drip=100).verbs == rule_of(stall_after=1, stall=1).verbs == {"DATA", "BDAT"}
    assert rule_of(hide="CHUNKING").verbs == {"EHLO"}


def test_a_rate_is_one() -> None:
    assert rule_of(rate="5/minute", delay=1).maybe_rate == Rate(5, 60)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"repply": "450 No"}, "rule 1: there is no key 'repply'; there are name, verb"),
    ({}, "rule 1: says when, but not what"),
    ({"verb": "RPCT", "delay": 1}, "rule 1: verb: there is no 'RPCT'"),
    ({"verb": 3, "delay": 1}, "rule 1: verb: a text expected, not 3"),
    ({"verb": [], "delay": 1}, "rule 1: verb: an empty list"),
    ({"name": "x", "sender": "/(/", "delay": 1}, "rule 1 (x): sender: no regular expression: '/(/'"),
    ({"sender": "/a{99999999999}/", "delay": 1}, "rule 1: sender: no regular expression"),
    ({"sender": "*" * 501, "delay": 1}, "rule 1: sender: more than 500 characters"),
    ({"name": "", "delay": 1}, "rule 1: name: 1 to 100 printable"),
    ({"name": "a\nb", "delay": 1}, "rule 1: name: 1 to 100 printable"),
    ({"name": "a\u2028b", "delay": 1}, "rule 1: name: 1 to 100 printable"),
    ({"name": "\udcff", "delay": 1}, "rule 1: name: 'utf-8' codec can't encode"),
    ({"reply": "451 \udcff"}, "rule 1: reply: 'utf-8' codec can't encode"),
    ({"hide": ""}, "rule 1: hide: a keyword such as SIZE expected, not ''"),
    ({"hide": "SIZE 5"}, "rule 1: hide: a keyword such as SIZE expected, not 'SIZE 5'"),
    ({"peer": "10.0.0.1/8", "delay": 1}, "rule 1: peer: "),
    ({"attempt": "0", "delay": 1}, "rule 1: attempt: "),
    ({"attempt": "3-2", "delay": 1}, "rule 1: attempt: ends before it begins"),
    ({"attempt": True, "delay": 1}, "rule 1: attempt: a text expected"),
    ({"attempt": "1-", "delay": 1}, "rule 1: attempt: "),
    ({"per": "hour", "delay": 1}, "rule 1: per: one of all, session"),
    ({"per": ["all"], "delay": 1}, "rule 1: per: one of all, session"),
    ({"age": 5, "delay": 1}, "rule 1: age needs per"),
    ({"age": "5", "per": "peer", "delay": 1}, "rule 1: age: a number expected"),
    ({"rate": "5 a minute", "delay": 1}, "rule 1: rate: no rate"),
    ({"size_over": 1.5, "delay": 1}, "rule 1: size_over: a whole number expected"),
    ({"probability": 1.1, "delay": 1}, "rule 1: probability: from 1e-09 to 1 expected"),
    ({"probability": float("nan"), "delay": 1}, "rule 1: probability: from 1e-09 to 1 expected"),
    ({"times": 0, "delay": 1}, "rule 1: times: from 1"),
    ({"times": True, "delay": 1}, "rule 1: times: a whole number expected"),
    ({"reply": "hello"}, "rule 1: reply: "),
    ({"reply": "354 Go on"}, "rule 1: reply: a final reply expected"),
    ({"reply": "450 a\r\n250 b"}, "rule 1: reply: "),
    ({"reply": 450}, "rule 1: reply: a text expected"),
    ({"delay": -1}, "rule 1: delay: from 0 to 500"),
    ({"delay": 501}, "rule 1: delay: from 0 to 500"),
    ({"delay": True}, "rule 1: delay: a number expected"),
    ({"drip": 0}, "rule 1: drip: from 1"),
    ({"disconnect": "now"}, "rule 1: disconnect: one of before, after"),
    ({"disconnect": "unanswered"}, 'disconnect = "unanswered" does not go with verb * but with END: no message'),
    ({"stall": 5, "delay": 1}, "rule 1: stall needs stall_after"),
    (
        {"stall_after": 5, "stall": 1, "verb": "MAIL"},
        "stall_after does not go with verb MAIL but with BDAT or DATA: no",
    ),
    ({"stall_after": 5}, "rule 1: stall_after needs stall or disconnect"),
    ({"drip": 5, "reply": "450 No"}, "reply does not go with drip: the command is not run, and no mail data follow"),
    ({"drip": 5, "disconnect": "reset"}, 'drip with disconnect = "reset" needs stall_after'),
    ({"tls": "maybe"}, "rule 1: tls: one of refuse, break"),
    ({"tls": "break", "verb": "MAIL"}, "rule 1: tls does not go with verb MAIL but with STARTTLS: no TLS begins"),
    (
        {"hide": "SIZE", "verb": "MAIL"},
        "rule 1: hide does not go with verb MAIL but with EHLO or LHLO: nothing is offered",
    ),
    ({"close_with_421": False}, "rule 1: close_with_421: true expected"),
    ({"breaks_tls": True}, "rule 1: there is no key 'breaks_tls'"),
    ({"verb": "CONNECT", "sender": "a@*", "delay": 1}, "sender does not go with verb CONNECT: there is no sender"),
    (
        {"verb": ["MAIL", "RCPT"], "size_over": 5, "delay": 1},
        "size_over does not go with verb RCPT but with END or MAIL",
    ),
    ({"tls": "break", "reply": "450 No"}, 'rule 1: reply does not go with tls = "break": the reply is 220'),
    ({"greylist": 5, "mailbox_full": "a@*"}, "rule 1: greylist does not go with mailbox_full: both say the reply"),
    ({"greylist": 5, "age": 6}, "rule 1: greylist does not go with age: it says the age"),
    (
        {"greylist": 5, "verb": "MAIL"},
        'rule 1: per = "triplet", which greylist stands for, does not go with verb MAIL: there is no recipient',
    ),
    ({"close_with_421": True, "reply": "450 No"}, "close_with_421 does not go with reply: it says the reply"),
    ({"close_with_421": True, "disconnect": "reset"}, "reply, which close_with_421 stands for, does not go with disc"),
    ({"per": "session", "delay": 1}, "rule 1: per needs attempt or age or rate"),
    ({"attempt": "1-5", "rate": "5/minute", "delay": 1}, "so few attempts never come to more than 5"),
    ({"probability": 0, "delay": 1}, "rule 1: probability: from 1e-09 to 1"),
    ({"greylist": 0}, "rule 1: greylist: from 1e-09"),
    ({"greylist": "5 s"}, "rule 1: greylist: a number expected"),
]


@pytest.mark.parametrize(("keys", "complaint"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_rule_is_refused_by_name_and_place(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario_of({"rule": [keys]})
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("name = ", "not TOML"),
        ("a=" + "[" * 5000, "nested too deep"),
        (".".join("a" * 5000) + "=1", "more than 20 parts"),
        (".".join(["'a'"] * 5000) + "=1", "more than 20 parts"),
        (".".join(['"\\""'] * 5000) + "=1", "more than 20 parts"),
        ("seed = " + "9" * 5000, "not TOML: Exceeds the limit"),
        ("# \udcff", "not TOML: 'utf-8' codec can't encode"),
        (None, "a name, TOML or a dict expected, not None"),
        ("#" * 100_001, "more than 100000 characters"),
        ("name = 'x'\n", "a [[rule]] is missing"),
        ({}, "a [[rule]] is missing"),
        ({"rule": {"delay": 1}}, "a [[rule]] is missing"),
        ({"rule": [3]}, "rule 1: a table expected"),
        ({"rule": [{"delay": 1}, {"dellay": 1}]}, "rule 2: there is no key 'dellay'"),
        ({"rule": [{"delay": 1}] * 201}, "more than 200"),
        (
            {"rule": [{"verb": "MAIL", "delay": 1}, {"name": "rule 1", "delay": 2}]},
            "rule 2 (rule 1): name: another rule",
        ),
        (
            {"rule": [{"delay": 1}, {"verb": "END", "sender": "a@*", "delay": 2}]},
            "rule 2: never fires: rules before it",
        ),
        (
            {"rule": [{"verb": verb, "delay": 1} for verb in ("MAIL", "RCPT", ["MAIL", "RCPT"])]},
            "rule 3: never fires: rules before it take every MAIL, RCPT",
        ),
        ({"rules": []}, "the scenario: there is no key 'rules'; there are name, description, seed, rule"),
        ({"seed": "x", "rule": [{"delay": 1}]}, "the scenario: seed: a whole number expected"),
        ({"description": 1, "rule": [{"delay": 1}]}, "the scenario: description: a text expected"),
        ("stormy", "there is no scenario 'stormy'; there are exchange-like, flaky, greylisting, overloaded, strict"),
    ],
)
def test_a_bad_scenario_is_refused(given: Any, complaint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario_of(given)
    assert complaint in str(caught.value)


def test_a_complaint_quotes_no_more_than_can_be_read() -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario_of({"rule": [{"reply": "x" * 50_000, "verb": "x" * 50_000}]})
    assert len(str(caught.value)) <= 1000


CONDITIONS: list[dict[str, Any]] = [
    {"sender": "a@*"},
    {"recipient": "a@*"},
    {"login": "a"},
    {"helo": "a"},
    {"peer": "192.0.2.0/24"},
    {"attempt": "1"},
    {"attempt": "2+"},
    {"rate": "1/s"},
    {"age": 1, "per": "peer"},
    {"times": 1},
    {"probability": 0.5},
    {"verb": "MAIL", "size_over": 5},
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=",".join)
def test_a_rule_with_a_condition_leaves_something_for_those_behind_it(condition: dict[str, Any]) -> None:
    first = {"verb": "RCPT", "delay": 1, **condition}
    assert len(scenario_of({"rule": [first, {"verb": first["verb"], "delay": 2}]}).rules) == 2


def test_a_byte_order_mark_is_not_part_of_it() -> None:
    assert parse_scenario("\ufeff[[rule]]\ndelay = 1\n").text == "[[rule]]\ndelay = 1\n"


def test_rules_in_a_tuple_are_rules() -> None:
    assert scenario_of({"rule": ({"delay": 1},)}).rules[0].delay == 1


def test_the_ready_scenarios_are_scenarios_that_say_what_they_are() -> None:
    assert ready_names() == ["exchange-like", "flaky", "greylisting", "overloaded", "strict"]
    for name in ready_names():
        scenario = scenario_of(name)
        assert scenario.name == name
        assert scenario.description
        assert scenario.text == ready_text(name)


def test_a_scenario_is_one_already() -> None:
    scenario = Scenario("mine", ())
    assert scenario_of(scenario) is scenario


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"delay": 1.5, "reply": "450 4.2.0 No"}, "delay 1.5 s, reply 450 4.2.0 No"),
        ({"stall_after": 0, "stall": 2, "drip": 9}, "drip 9 octets/s, stall 2 s after 0 octets"),
        ({"disconnect": "reset"}, "disconnect reset"),
        ({"stall_after": 5, "disconnect": "reset"}, "disconnect reset after 5 octets"),
        ({"tls": "break"}, "break TLS"),
        ({"hide": ["SIZE", "chunking"]}, "hide CHUNKING SIZE"),
    ],
)
def test_a_rule_says_what_it_does(keys: dict[str, Any], words: str) -> None:
    assert rule_of(**keys).describe() == words
