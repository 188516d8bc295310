"""The page that is made of results."""

from __future__ import annotations

import pytest

from bench import report
from bench.goals import Goal, Place, Verdict
from bench.measure import summarize
from bench.peers import PEERS
from bench.results import Results
from bench.workloads import WORKLOADS


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.0667, "0.0667"),
        (0.25, "0.250"),
        (1, "1.00"),
        (9.996, "10.00"),
        (52.34, "52.3"),
        (380.4, "380"),
        (19503.2, "19,503"),
        (-3.21, "-3.21"),
    ],
)
def test_number_has_three_digits_and_no_exponent(value: float, shown: str) -> None:
    assert report.number(value) == shown


def test_cell_shows_the_spread_of_several_rounds_only() -> None:
    assert report.cell(summarize([90, 100, 110])) == "100 ± 10%"
    assert report.cell(summarize([100])) == "100"


def test_table_sets_figures_to_the_right() -> None:
    assert list(report.table(["a", "b"], [["x", "1"]])) == ["| a | b |", "|---|---:|", "| x | 1 |"]


def test_goal_row_says_limit_measure_and_verdict() -> None:
    goal = Goal("fast", Place("kept", "ehlo"), 0.25, maybe_better=0.2)
    row = report.goal_row(Verdict(goal, summarize([0.24]), 0.22))
    assert row == ("fast", "≤ 0.250 (better: 0.200)", "0.240", "0.220", "met")
    assert report.goal_row(Verdict(goal, None))[2:] == ("", "", "not measured")


def found() -> Results:
    results = Results(
        machine={"processor": "Abacus, 1 core"}, versions={"ehlo-uvloop": "1.0"}, missing={"node": "no node"}
    )
    for value in (40.0, 60.0, 50.0):
        results.add("pipelined", "smtp-sink", {"cpu_us": value})
        results.add("pipelined", "ehlo-uvloop", {"cpu_us": value / 2, "per_second": 1000.0})
    results.skip("pipelined", "aiosmtpd", "does not offer PIPELINING")
    return results


def test_page_has_machine_versions_missing_and_skipped() -> None:
    page = report.markdown(found())
    assert "- processor: Abacus, 1 core\n" in page
    assert "- ehlo, uvloop: 1.0\n" in page
    assert "- smtp-server, Node: missing, no node\n" in page
    assert "- aiosmtpd, asyncio: left out, does not offer PIPELINING.\n" in page


def test_best_server_stands_first_and_others_are_its_multiples() -> None:
    lines = report.markdown(found()).splitlines()
    rows = [line for line in lines if line.startswith(("| ehlo, uvloop |", "| smtp-sink, C |"))]
    assert rows[0].startswith("| ehlo, uvloop | 25.0 ± 20% | 1.00 | 1,000 |")
    assert rows[1].startswith("| smtp-sink, C | 50.0 ± 20% | 2.00 |  |")


def test_workload_that_was_not_run_has_no_section() -> None:
    page = report.markdown(found())
    assert "pipelined" in page
    assert "idle sessions" not in page


def test_every_figure_of_every_workload_has_a_heading() -> None:
    assert {figure for workload in WORKLOADS for figure in workload.figures} <= report.HEADINGS.keys()


def test_names_are_unique() -> None:
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)
    assert len({peer.name for peer in PEERS}) == len(PEERS)


def test_results_survive_json() -> None:
    assert Results.from_json(found().to_json()) == found()


def test_skipping_drops_the_rounds_before() -> None:
    results = found()
    results.skip("pipelined", "smtp-sink", "it failed")
    assert results.samples("pipelined", "smtp-sink", "cpu_us") == []


def test_page_shows_the_plot_where_there_is_one() -> None:
    results = Results(machine={})
    assert "![" not in report.markdown(results)
    assert "(performance/cpu.svg)" in report.markdown(results, "performance/cpu.svg")


def test_page_names_who_is_missing_and_why() -> None:
    results = Results(machine={"processor": "one"}, missing={"haraka": "haraka is not installed"})
    assert "- Haraka: missing, haraka is not installed" in report.markdown(results)
