"""The order of rounds, what becomes of failures, and where processes are placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.load import RefusedError
from bench.peers import Options, Peer
from bench.phases import Setting, SkipError
from bench.placement import Placement, cpus
from bench.results import Figures, Results
from bench.run import Plan, run_workload
from bench.workloads import Workload

if TYPE_CHECKING:
    from collections.abc import Callable


def no_command(_options: Options) -> list[str]:
    raise AssertionError("nothing is started here")


def peers(*names: str) -> list[Peer]:
    return [Peer(name, name, str, no_command, role="extra" if name == "extra" else "") for name in names]


def run(workload: Workload, rounds: int) -> Results:
    results = Results(machine={})
    run_workload(workload, peers("a", "b", "extra"), Plan(rounds, scale=0.5), results)
    return results


def workload(measure: Callable[[Peer, Setting], Figures]) -> Workload:
    return Workload("w", "W", measure, figures=("n",))


def one(_peer: Peer, _setting: Setting) -> Figures:
    return {"n": 1.0}


def test_rounds_take_turns_and_servers_with_a_role_stay_out() -> None:
    order = []

    def measure(peer: Peer, setting: Setting) -> Figures:
        assert setting == Setting(0.5, Placement.TOGETHER)
        order.append(peer.name)
        return {"n": 1.0}

    run(workload(measure), 3)
    assert order == ["a", "b", "a", "b", "a", "b"]


def test_workload_limits_its_rounds_and_names_the_roles_that_it_wants() -> None:
    results = run(Workload("w", "W", one, rounds=2, roles=frozenset({"extra"})), 5)
    assert {server: len(rounds) for server, rounds in results.rounds["w"].items()} == {"a": 2, "b": 2, "extra": 2}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SkipError("does not offer CHUNKING"), "does not offer CHUNKING"),
        (RefusedError("552 too much"), "it failed: 552 too much"),
        (ConnectionResetError("reset"), "it failed: reset"),
    ],
)
def test_server_that_fails_is_left_out_and_the_others_go_on(error: Exception, reason: str) -> None:
    def measure(peer: Peer, _setting: Setting) -> Figures:
        if peer.name == "a":
            raise error
        return {"n": 1.0}

    results = run(workload(measure), 2)
    assert results.skipped == {"w": {"a": reason}}
    assert results.samples("w", "b", "n") == [1.0, 1.0]


def test_fault_of_the_benchmark_is_not_blamed_on_a_server() -> None:
    def measure(_peer: Peer, _setting: Setting) -> Figures:
        raise KeyError

    with pytest.raises(KeyError):
        run(workload(measure), 1)


@pytest.mark.parametrize(
    ("placement", "allowed", "client", "server"),
    [
        (Placement.TOGETHER, {0, 1}, {1}, {1}),
        (Placement.APART, {0, 1}, {0}, {1}),
        (Placement.APART, {2, 3, 5}, {2, 3}, {5}),
        (Placement.FREE, {0, 1}, {0, 1}, {0, 1}),
        (Placement.APART, {0}, {0}, {0}),
        (Placement.TOGETHER, {0}, {0}, {0}),
    ],
)
def test_placement(placement: Placement, allowed: set[int], client: set[int], server: set[int]) -> None:
    assert cpus(placement, allowed) == (client, server)
