"""The judgement of goals, and that the table of goals names things that exist."""

from __future__ import annotations

import pytest

from bench.goals import GOALS, Goal, Place, evaluate
from bench.peers import PEERS
from bench.results import Results
from bench.workloads import WORKLOADS

OURS, THEIRS = Place("kept", "ehlo"), Place("kept", "aiosmtpd")


def results(ours: list[float], theirs: list[float]) -> Results:
    found = Results(machine={})
    for value in ours:
        found.add("kept", "ehlo", {"cpu_us": value})
    for value in theirs:
        found.add("kept", "aiosmtpd", {"cpu_us": value})
    return found


def test_ratio_is_taken_round_by_round() -> None:
    # The machine was three times slower in the second round; each round says one half.
    verdict = evaluate(Goal("", OURS, 0.5, THEIRS), results([50, 150], [100, 300]))
    assert verdict.maybe_measured is not None
    assert (verdict.maybe_measured.low, verdict.maybe_measured.high) == (0.5, 0.5)
    assert verdict.word == "met"


def test_ratio_above_the_limit_is_not_met() -> None:
    assert evaluate(Goal("", OURS, 0.5, THEIRS), results([51], [100])).word == "not met"


def test_best_rounds_are_compared_whenever_they_were() -> None:
    assert evaluate(Goal("", OURS, 0.5, THEIRS), results([90, 40], [100, 300])).undisturbed == 0.4


def test_less_means_less() -> None:
    assert evaluate(Goal("", OURS, 1.0, THEIRS, strictly=True), results([100], [100])).word == "not met"
    assert evaluate(Goal("", OURS, 1.0, THEIRS, strictly=True), results([99], [100])).word == "met"


def test_figure_of_its_own_is_compared_with_the_limit() -> None:
    assert evaluate(Goal("", OURS, 10), results([9, 10, 30], [])).word == "met"
    assert evaluate(Goal("", OURS, 10), results([9, 11, 30], [])).word == "not met"


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], []), ([], [1.0])])
def test_goal_without_both_sides_is_not_measured(ours: list[float], theirs: list[float]) -> None:
    verdict = evaluate(Goal("", OURS, 0.5, THEIRS), results(ours, theirs))
    assert verdict.maybe_measured is None
    assert verdict.word == "not measured"


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.title)
def test_goal_names_figures_that_are_measured(goal: Goal) -> None:
    workloads = {workload.name: workload for workload in WORKLOADS}
    peers = {peer.name: peer for peer in PEERS}
    for place in (goal.of, goal.maybe_against or goal.of):
        workload = workloads[place.workload]
        assert place.figure in workload.figures
        assert workload.asks(peers[place.server])


def test_better_is_stricter_than_the_goal() -> None:
    assert all(goal.maybe_better < goal.limit for goal in GOALS if goal.maybe_better is not None)
