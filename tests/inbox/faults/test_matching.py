"""Which rule fires: patterns, counts, time and chance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehlo.inbox.faults import matching
from ehlo.inbox.faults.matching import Matcher, Situation
from ehlo.inbox.faults.scenario import scenario_of


def matcher_of(*rules: dict[str, Any], seed: int = 0) -> Matcher:
    return Matcher(scenario_of({"seed": seed, "rule": [{"delay": 1, **rule} for rule in rules]}))


def fires(rule: dict[str, Any], situation: Situation, now: float = 0.0) -> bool:
    return matcher_of(rule).decide(situation, now) is not None


ANN = Situation(
    "RCPT",
    "session-1",
    ("192.0.2.7", 4000),
    "client.example",
    "ann",
    "ann@example.com",
    ("bob@example.net", "eve@example.org"),
    1000,
)

TABLE: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"verb": "*"}, True),
    ({"verb": "RCPT"}, True),
    ({"verb": ["MAIL", "rcpt"]}, True),
    ({"verb": "MAIL"}, False),
    ({"sender": "ann@*"}, True),
    ({"sender": ["bob@*", "ann@*"]}, True),
    ({"sender": "bob@*"}, False),
    ({"recipient": "eve@*"}, True),
    ({"recipient": "ann@*"}, False),
    ({"login": "ann"}, True),
    ({"login": ""}, False),
    ({"login": "*"}, True),
    ({"helo": "*.example"}, True),
    ({"helo": "localhost"}, False),
    ({"peer": "192.0.2.0/24"}, True),
    ({"peer": ["127.0.0.1", "192.0.2.7"]}, True),
    ({"peer": "127.0.0.0/8"}, False),
    ({"size_over": 999}, True),
    ({"size_over": 1000}, False),
    ({"probability": 1}, True),
    ({"sender": "ann@*", "recipient": "ann@*"}, False),
]


@pytest.mark.parametrize(("rule", "is_so"), TABLE, ids=str)
def test_a_rule_fires_where_all_that_it_says_applies(rule: dict[str, Any], is_so: bool) -> None:
    assert fires(rule, ANN) is is_so


@pytest.mark.parametrize(
    "rule",
    [
        {"sender": "*"},
        {"recipient": "*"},
        {"helo": "*"},
        {"login": "*"},
        {"size_over": 0},
        {"attempt": "1", "per": "sender"},
        {"attempt": "1", "per": "recipient"},
        {"attempt": "1", "per": "triplet"},
    ],
)
def test_what_is_not_known_yet_matches_nothing(rule: dict[str, Any]) -> None:
    assert not fires(rule, Situation("NOOP"))


def test_the_null_sender_is_a_sender() -> None:
    assert fires({"sender": ""}, Situation("MAIL", sender=""))


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [("1", [1]), ("2", [2]), ("1-3", [1, 2, 3]), ("2+", [2, 3, 4, 5]), ("5", [5])],
)
def test_attempts_are_counted(attempt: str, expected: list[int]) -> None:
    matcher = matcher_of({"attempt": attempt})
    assert [number for number in range(1, 6) if matcher.decide(ANN, 0) is not None] == expected


OTHER = {
    "session": Situation("RCPT", "session-2", ANN.peer, sender=ANN.sender, recipients=ANN.recipients),
    "sender": Situation("RCPT", ANN.session_id, ANN.peer, sender="x@example.com", recipients=ANN.recipients),
    "recipient": Situation("RCPT", ANN.session_id, ANN.peer, sender=ANN.sender, recipients=("x@example.com",)),
    "peer": Situation("RCPT", ANN.session_id, ("192.0.2.8", 1), sender=ANN.sender, recipients=ANN.recipients),
}


@pytest.mark.parametrize("differs", OTHER)
@pytest.mark.parametrize("per", ["all", "session", "sender", "recipient", "peer", "triplet"])
def test_what_is_counted_apart(per: str, differs: str) -> None:
    matcher = matcher_of({"attempt": "1", "per": per})
    assert matcher.decide(ANN, 0) is not None
    is_apart = per == differs or (per == "triplet" and differs != "session")
    assert (matcher.decide(OTHER[differs], 0) is not None) is is_apart
    assert matcher.decide(ANN, 0) is None


def test_neither_the_case_of_addresses_nor_the_port_of_a_client_makes_another_key() -> None:
    matcher = matcher_of({"attempt": "1", "per": "triplet"})
    assert matcher.decide(Situation("RCPT", "a", ("::1", 1, 0, 0), sender="A@x.example", recipients=("B@y",)), 0)
    assert not matcher.decide(Situation("RCPT", "b", ("::1", 2, 0, 0), sender="a@X.example", recipients=("b@Y",)), 0)


def test_age_counts_from_the_first_attempt() -> None:
    matcher = matcher_of({"age": 10, "per": "triplet"})
    assert [matcher.decide(ANN, now) is not None for now in (100, 105, 109.9, 110, 200)] == [True] * 3 + [False] * 2
    assert matcher.decide(OTHER["sender"], 200) is not None


def test_a_rate_lets_so_many_pass_in_its_time() -> None:
    matcher = matcher_of({"rate": "2/10s"})
    times = (0, 1, 2, 9, 10, 10.5, 11, 30)
    assert [now for now in times if matcher.decide(ANN, now) is not None] == [2, 9, 10.5]


def test_times_is_how_often_at_all() -> None:
    matcher = matcher_of({"times": 2})
    found = [matcher.decide(Situation("RCPT", str(number)), 0) for number in range(5)]
    assert [rule is not None for rule in found] == [True, True, False, False, False]


def test_the_first_rule_that_fires_wins_and_those_behind_it_count_nothing() -> None:
    matcher = matcher_of({"name": "a", "attempt": "1"}, {"name": "b", "attempt": "1"}, {"name": "c"})
    names = [rule.name for rule in [matcher.decide(ANN, 0) for _ in range(4)] if rule is not None]
    assert names == ["a", "b", "c", "c"]


def test_what_does_not_match_is_not_counted() -> None:
    matcher = matcher_of({"verb": "RCPT", "attempt": "1"})
    assert matcher.decide(Situation("MAIL"), 0) is None
    assert matcher.decide(ANN, 0) is not None


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "KEY_LIMIT", 3)
    matcher = matcher_of({"attempt": "1", "per": "session"})
    for number in range(4):
        assert matcher.decide(Situation("RCPT", str(number)), 0) is not None
    assert matcher.decide(Situation("RCPT", "3"), 0) is None
    assert matcher.decide(Situation("RCPT", "0"), 0) is not None  # forgotten


@settings(max_examples=40)
@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    probability=st.floats(1e-6, 1),
    verbs=st.lists(st.sampled_from(["MAIL", "RCPT", "DATA"]), max_size=50),
)
def test_the_same_seed_and_the_same_traffic_give_the_same_faults(
    seed: int, probability: float, verbs: list[str]
) -> None:
    rules = [{"verb": "MAIL", "probability": probability}, {"verb": ["MAIL", "RCPT"], "probability": probability}]
    first, second = matcher_of(*rules, seed=seed), matcher_of(*rules, seed=seed)
    assert [first.decide(Situation(verb), 0) for verb in verbs] == [second.decide(Situation(verb), 0) for verb in verbs]


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_a_rule_draws_the_same_whatever_others_draw(seed: int) -> None:
    rule = {"verb": "RCPT", "probability": 0.5}
    alone = matcher_of({"verb": "NOOP"}, rule, seed=seed)
    among = matcher_of({"verb": "MAIL", "probability": 0.5}, rule, seed=seed)
    expected = [alone.decide(Situation("RCPT"), 0) is None for _ in range(20)]
    found = []
    for _ in range(20):
        among.decide(Situation("MAIL"), 0)
        found.append(among.decide(Situation("RCPT"), 0) is None)
    assert found == expected


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), order=st.lists(st.sampled_from("abc"), max_size=40))
def test_what_befalls_a_session_does_not_depend_on_those_beside_it(seed: int, order: list[str]) -> None:
    def faults_of(order: list[str]) -> dict[str, list[bool]]:
        matcher = matcher_of({"verb": "RCPT", "probability": 0.5}, seed=seed)
        for session in "abc":
            matcher.decide(Situation("CONNECT", session), 0)
        said: dict[str, list[bool]] = {session: [] for session in "abc"}
        for session in order:
            said[session].append(matcher.decide(Situation("RCPT", session), 0) is not None)
        return said

    assert faults_of(order) == faults_of(sorted(order))


def test_a_regular_expression_that_was_not_found_out_about_does_not_match() -> None:
    matcher = matcher_of({"sender": "/^ann/"})
    [(rule, question)] = matcher.questions(ANN)
    assert (rule.name, question.values) == ("rule 1", ("ann@example.com",))
    assert matcher.decide(ANN, 0) is None
    assert matcher.decide(ANN, 0, {question: True}) is rule
    assert list(matcher.questions(Situation("NOOP"))) == []


def test_a_probability_is_met_about_as_often() -> None:
    matcher = matcher_of({"probability": 0.3}, seed=1)
    assert 250 < sum(matcher.decide(ANN, 0) is not None for _ in range(1000)) < 350
