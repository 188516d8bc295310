"""Whether a rule fires. Knows situations and counts; the time is given, and chance is drawn from the scenario's seed.

Rules are asked in their order.  The first that fires wins, and those behind it are not asked: a rule counts only what
it is asked about and what its patterns match.

Chance is drawn for each session apart, by its number: the first that was seen, the second ...  So what befalls a
session does not depend on how far others are that go on at the same time.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ehlo.inbox.faults.combining import ANY
from ehlo.inbox.faults.record import FaultLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ehlo.inbox.faults.rule import Pattern, Rule, Scenario

KEY_LIMIT = 10_000
"""Senders, peers ... that a rule keeps apart, and sessions; the oldest is forgotten first."""

_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rule is held against.  None, or no recipient: not known, or nobody yet.  ``size`` in octets."""

    verb: str
    session_id: str = ""
    peer: Any = None
    helo: str | None = None
    login: str | None = None
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    size: int | None = None

    def values(self, key: str) -> tuple[str, ...]:
        """What the patterns of a rule are held against."""
        if key == "recipient":
            return self.recipients
        maybe_value = getattr(self, key)
        return () if maybe_value is None else (maybe_value,)

    def key(self, per: str) -> tuple[Any, ...] | None:
        """What attempts, age and rate are counted by; None while that is not known."""
        host = self.peer[0] if isinstance(self.peer, tuple) and self.peer else self.peer
        sender = tuple(value.lower() for value in self.values("sender"))
        recipients = tuple(sorted(recipient.lower() for recipient in self.recipients))
        match per:
            case "sender":
                return sender or None
            case "recipient":
                return recipients or None
            case "triplet":
                return (host, *sender, *recipients) if sender and recipients else None
        return {"all": (), "session": (self.session_id,), "peer": (host,)}[per]


class Question(NamedTuple):
    """A regular expression, and what it is to be found in."""

    pattern: Pattern
    values: tuple[str, ...]


Found = dict[Question, bool]


@dataclass(slots=True)
class _Count:
    """What a rule remembers of one key."""

    since: float
    attempts: int = 0
    passed: deque[float] = field(default_factory=deque)


class _Memory:
    """What a rule remembers."""

    def __init__(self) -> None:
        self.fired = 0
        self.counts: dict[tuple[Any, ...], _Count] = {}


@dataclass(slots=True)
class _Session:
    """``number`` counts from 1; ``draws`` is how often each rule has drawn."""

    number: int
    draws: dict[int, int] = field(default_factory=dict)


class Matcher:
    """A scenario at work.  The same seed and the same situations at the same times give the same faults.

    ``log`` is for whoever does what the rules say.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.log = FaultLog()
        self._memories = [_Memory() for _ in scenario.rules]
        self._sessions: dict[str, _Session] = {}
        self._session_count = 0

    def questions(self, situation: Situation) -> Iterator[tuple[Rule, Question]]:
        """What must be found out, by whoever has the time, before it can be decided."""
        for rule in self.scenario.rules:
            if is_about(rule, situation):
                for key, patterns in rule.patterns.items():
                    values = situation.values(key)
                    yield from ((rule, Question(one, values)) for one in patterns if one.is_expression and values)

    def decide(self, situation: Situation, now: float, found: Mapping[Question, bool] | None = None) -> Rule | None:
        """The rule that fires; None if none does.  ``now`` in seconds, of any clock that does not go back.

        ``found`` answers the questions; what it does not answer is not so.
        """
        session = _remembered(self._sessions, situation.session_id, self._new_session)
        for number, (rule, memory) in enumerate(zip(self.scenario.rules, self._memories, strict=True)):
            if (
                applies(rule, situation, found or {})
                and _is_counted(rule, memory, situation, now)
                and (rule.probability >= 1 or self._draw(number, session) < rule.probability)
            ):
                memory.fired += 1
                return rule
        return None

    def _new_session(self) -> _Session:
        self._session_count += 1
        return _Session(self._session_count)

    def _draw(self, rule: int, session: _Session) -> float:
        """From 0 to 1.  Of its own for each rule: what one draws does not change what another does."""
        draw = session.draws[rule] = session.draws.get(rule, 0) + 1
        # It must be foreseeable.
        return random.Random(f"{self.scenario.seed}/{rule}/{session.number}/{draw}").random()  # noqa: S311


def is_about(rule: Rule, situation: Situation) -> bool:
    """Whether verb, peer, size and what is counted by are those of a rule."""
    if ANY not in rule.verbs and situation.verb not in rule.verbs:
        return False
    if rule.maybe_peers is not None and situation.peer not in rule.maybe_peers:
        return False
    if rule.maybe_size_over is not None and (situation.size is None or situation.size <= rule.maybe_size_over):
        return False
    return situation.key(rule.per) is not None


def applies(rule: Rule, situation: Situation, found: Mapping[Question, bool]) -> bool:
    """Whether a rule is about this, whatever was before."""
    if not is_about(rule, situation):
        return False
    return all(
        any(_matches(pattern, situation.values(key), found) for pattern in patterns)
        for key, patterns in rule.patterns.items()
    )


def _matches(pattern: Pattern, values: tuple[str, ...], found: Mapping[Question, bool]) -> bool:
    if pattern.is_expression:
        return found.get(Question(pattern, values), False)
    return any(pattern.matches(value) for value in values)


def _is_counted(rule: Rule, memory: _Memory, situation: Situation, now: float) -> bool:
    """Count this, and say whether the counts let the rule fire."""
    key = situation.key(rule.per)
    assert key is not None
    count = _remembered(memory.counts, key, lambda: _Count(now))
    count.attempts += 1
    if not rule.first <= count.attempts <= (rule.last or count.attempts):
        return False
    if rule.maybe_age is not None and now - count.since >= rule.maybe_age:
        return False
    if rule.maybe_rate is not None and _is_within(rule.maybe_rate.count, rule.maybe_rate.seconds, count.passed, now):
        return False
    return rule.maybe_times is None or memory.fired < rule.maybe_times


def _remembered(known: dict[Any, _Kept], key: Any, make: Callable[[], _Kept]) -> _Kept:
    """What is known by a key, made where there is nothing; the oldest makes room."""
    if key not in known:
        if len(known) >= KEY_LIMIT:
            del known[next(iter(known))]
        known[key] = make()
    return known[key]


def _is_within(most: int, seconds: float, passed: deque[float], now: float) -> bool:
    """Whether one more may pass; those above the rate do not count."""
    while passed and now - passed[0] >= seconds:
        passed.popleft()
    if len(passed) >= most:
        return False
    passed.append(now)
    return True
