"""Parsers of /proc and the arithmetic on samples."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import measure

STATUS = """\
Name:\tpython3
State:\tS (sleeping)
VmHWM:\t   25624 kB
VmRSS:\t   25000 kB
Threads:\t1
"""
SMAPS_ROLLUP = """\
55d0f8a000-7ffd1f9000 ---p 00000000 00:00 0                      [rollup]
Rss:               25000 kB
Pss:               21500 kB
"""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_parent_is_the_fourth_field() -> None:
    assert measure.parse_parent("4242 (python3) S 17 4242 4242 0 -1 4194304") == 17


def test_command_name_with_spaces_and_brackets_shifts_no_field() -> None:
    assert measure.parse_parent("4242 (a b) 99 (c) S 17 4242 4242 0 -1 4194304") == 17


def test_memory_is_in_octets_and_lines_without_kb_are_left_out() -> None:
    assert measure.parse_memory(STATUS) == {"VmHWM": 25624 * 1024, "VmRSS": 25000 * 1024}


def test_header_of_smaps_rollup_is_left_out() -> None:
    assert measure.parse_memory(SMAPS_ROLLUP) == {"Rss": 25000 * 1024, "Pss": 21500 * 1024}


def test_tree_holds_children_of_children_and_nobody_else() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 13: 10}
    assert sorted(measure.descendants(10, parents)) == [10, 11, 12, 13]


@on_linux
def test_own_process_has_used_cpu_and_memory() -> None:
    own = [os.getpid()]
    assert own[0] in measure.process_tree(own[0])
    assert measure.cpu_seconds(own) > 0
    assert measure.resident(own) > 1_000_000


@on_linux
def test_cpu_clock_of_a_process_agrees_with_its_own_view() -> None:
    before = sum(os.times()[:2])
    seen = measure.cpu_seconds([os.getpid()])
    assert before - 0.02 <= seen <= sum(os.times()[:2]) + 0.02


@on_linux
def test_peak_is_not_below_what_was_resident_when_it_was_reset() -> None:
    own = [os.getpid()]
    resident = measure.reset_peak(own)
    # The kernel's counters of a page or a batch of pages per thread may lag.
    assert measure.peak(own) >= resident - 1_000_000


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (99.5, 100), (100, 100), (1, 1), (0, 1)])
def test_percentile_is_by_nearest_rank(percent: float, expected: float) -> None:
    assert measure.percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_every_percentile_of_one_sample_is_that_sample() -> None:
    assert measure.percentile([3.5], 50) == measure.percentile([3.5], 99) == 3.5


@given(st.lists(st.floats(0, 1e9), min_size=1), st.floats(0, 100))
def test_percentile_is_a_sample(samples: list[float], percent: float) -> None:
    assert measure.percentile(samples, percent) in samples


def test_spread_is_half_the_range_over_the_median() -> None:
    assert measure.summarize([9.0, 10.0, 13.0]).spread == pytest.approx(0.2)


def test_spread_of_zeros_is_zero() -> None:
    assert measure.summarize([0.0, 0.0]).spread == 0
