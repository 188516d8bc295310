"""The counters of a server: that they add up, and that nothing which is to be counted lacks one."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo import Disconnect
from ehlo.net import limits
from ehlo.stats import Stats

if TYPE_CHECKING:
    from ehlo.net.limits import LimitReached

NAMES = [field.name for field in fields(Stats)]
any_stats = st.fixed_dictionaries({name: st.integers(min_value=0, max_value=2**60) for name in NAMES}).map(
    lambda counts: Stats(**counts)
)


def test_everything_begins_at_zero() -> None:
    assert set(Stats().as_dict().values()) == {0}


def test_each_name_has_a_counter_of_its_own() -> None:
    stats = Stats()
    for number, name in enumerate(NAMES, start=1):
        for _ in range(number):
            stats.count(name)
    assert list(stats.as_dict().items()) == [(name, number) for number, name in enumerate(NAMES, start=1)]


def test_counting_by_name_is_counting_by_attribute() -> None:
    stats = Stats()
    stats.commands += 2
    stats.count("commands")
    assert stats.commands == stats.as_dict()["commands"] == 3


def test_a_name_that_is_no_counter_is_an_error() -> None:
    with pytest.raises(AttributeError):
        Stats().count("comands")
    with pytest.raises(AttributeError):
        Stats().comands = 1  # type: ignore[attr-defined]


def test_a_copy_goes_its_own_way() -> None:
    stats = Stats(commands=1)
    copy = stats.copy()
    stats.commands += 1
    assert (copy.commands, stats.commands) == (1, 2)


@given(any_stats)
def test_counters_pass_through_json(stats: Stats) -> None:
    assert Stats(**json.loads(json.dumps(stats.as_dict()))) == stats


@given(any_stats, any_stats)
def test_what_was_added_can_be_taken_away_again(one: Stats, other: Stats) -> None:
    whole = one + other
    assert whole - other == one
    assert whole - one == other


@given(st.lists(any_stats, max_size=4))
def test_the_sum_of_several_workers_is_the_sum_of_each_counter(workers: list[Stats]) -> None:
    whole = sum(workers, Stats())
    assert whole.as_dict() == {name: sum(getattr(worker, name) for worker in workers) for name in NAMES}


@pytest.mark.parametrize("why", Disconnect)
def test_there_is_a_counter_for_every_end_of_a_session(why: Disconnect) -> None:
    Stats().count(f"sessions_ended_{why}")


@pytest.mark.parametrize(
    "error", [each for each in vars(limits).values() if isinstance(each, type) and hasattr(each, "setting")]
)
def test_there_is_a_counter_for_every_limit(error: type[LimitReached]) -> None:
    Stats().count(f"limit_{error.setting}")
