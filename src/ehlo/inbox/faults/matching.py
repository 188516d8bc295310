"""Whether a rule fires. Knows situations and counts; the time is given, and chance is drawn from the scenario's seed.

Rules are asked in their order.  The first that fires wins, and those behind it are not asked: a rule counts only what
it is asked about and what its patterns match.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ehlo.inbox.faults.scenario import ANY, Pattern, Rule, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_LIMIT = 10_000
"""Senders, peers ... that a rule keeps apart; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rule is held against.  ``sender`` None: nobody yet.  ``size`` in octets, None: not known."""

    verb: str
    session_id: str = ""
    peer: Any = None
    helo: str = ""
    login: str = ""
    sender: str | None = None
    recipients: tuple[str, ...] = ()
    size: int | None = None

    def key(self, per: str) -> tuple[Any, ...]:
        """What attempts, age and rate are counted by."""
        host = self.peer[0] if isinstance(self.peer, tuple) and self.peer else self.peer
        sender = (self.sender or "").lower()
        recipients = tuple(sorted(recipient.lower() for recipient in self.recipients))
        keys: dict[str, tuple[Any, ...]] = {
            "all": (),
            "session": (self.session_id,),
            "sender": (sender,),
            "recipient": recipients,
            "peer": (host,),
            "triplet": (host, sender, *recipients),
        }
        return keys[per]


@dataclass(slots=True)
class _Count:
    """What a rule remembers of one key."""

    since: float
    attempts: int = 0
    passed: deque[float] = field(default_factory=deque)


class _Memory:
    """What a rule remembers."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)  # noqa: S311 - it must be foreseeable
        self.fired = 0
        self._counts: dict[tuple[Any, ...], _Count] = {}

    def count(self, key: tuple[Any, ...], now: float) -> _Count:
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= KEY_LIMIT:
                del self._counts[next(iter(self._counts))]
            count = self._counts[key] = _Count(now)
        return count


class Matcher:
    """A scenario at work.  The same seed and the same situations at the same times give the same faults."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        # Of its own for each rule: what one draws does not change what another does.
        self._memories = [_Memory(f"{scenario.seed}/{number}") for number in range(len(scenario.rules))]

    def decide(self, situation: Situation, now: float) -> Rule | None:
        """The rule that fires; None if none does.  ``now`` in seconds, of any clock that does not go back."""
        for rule, memory in zip(self.scenario.rules, self._memories, strict=True):
            if applies(rule, situation) and _fires(rule, memory, situation, now):
                memory.fired += 1
                return rule
        return None


def applies(rule: Rule, situation: Situation) -> bool:
    """Whether a rule is about this, whatever was before."""
    if ANY not in rule.verbs and situation.verb not in rule.verbs:
        return False
    if rule.maybe_peers is not None and situation.peer not in rule.maybe_peers:
        return False
    if rule.maybe_size_over is not None and (situation.size is None or situation.size <= rule.maybe_size_over):
        return False
    return (
        _is_one(rule.sender, () if situation.sender is None else (situation.sender,))
        and _is_one(rule.recipient, situation.recipients)
        and _is_one(rule.login, (situation.login,))
        and _is_one(rule.helo, (situation.helo,))
    )


def _is_one(patterns: tuple[Pattern, ...], values: Iterable[str]) -> bool:
    return not patterns or any(pattern.matches(value) for value in values for pattern in patterns)


def _fires(rule: Rule, memory: _Memory, situation: Situation, now: float) -> bool:
    count = memory.count(situation.key(rule.per), now)
    count.attempts += 1
    if not rule.first <= count.attempts <= (rule.last or count.attempts):
        return False
    if rule.maybe_age is not None and now - count.since >= rule.maybe_age:
        return False
    if rule.maybe_rate is not None and _is_within(rule.maybe_rate.count, rule.maybe_rate.seconds, count.passed, now):
        return False
    if rule.maybe_times is not None and memory.fired >= rule.maybe_times:
        return False
    return rule.probability >= 1 or memory.random.random() < rule.probability


def _is_within(most: int, seconds: float, passed: deque[float], now: float) -> bool:
    """Whether one more may pass; those above the rate do not count."""
    while passed and now - passed[0] >= seconds:
        passed.popleft()
    if len(passed) >= most:
        return False
    passed.append(now)
    return True
