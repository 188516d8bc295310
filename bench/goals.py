"""The figures to reach, as a table, and how far a run has got. Knows names of workloads and servers; measures nothing.

A goal is a ratio of two figures of the same run, taken round by round, so that a machine that is slow for a while is
slow for both; or it is one figure in its own unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bench.measure import Summary, summarize

if TYPE_CHECKING:
    from bench.results import Results


class Place(NamedTuple):
    """Where a figure stands in the results."""

    workload: str
    server: str
    figure: str = "cpu_us"


@dataclass(frozen=True)
class Goal:
    """At most `limit`, or less than it if `strictly`; `better` is what would be better still."""

    title: str
    of: Place
    limit: float
    maybe_against: Place | None = None
    strictly: bool = False
    maybe_better: float | None = None

    def met(self, value: float) -> bool:
        """Tell whether a measured value reaches the goal."""
        return value < self.limit if self.strictly else value <= self.limit


class Verdict(NamedTuple):
    """A goal and what was measured; None if a side of it was not measured in this run.

    `undisturbed` compares the best round of each side: whatever else runs on a machine only ever adds to a figure.
    """

    goal: Goal
    maybe_measured: Summary | None
    undisturbed: float = 0.0

    @property
    def word(self) -> str:
        """Say it in a word or two."""
        if self.maybe_measured is None:
            return "not measured"
        return "met" if self.goal.met(self.maybe_measured.median) else "not met"


def _kept(server: str) -> Place:
    return Place("kept", server)


def _new(server: str) -> Place:
    return Place("new", server)


def _1mb(server: str) -> Place:
    return Place("1mb", server)


FAST = "ehlo-uvloop"

GOALS = (
    Goal("1 KB, kept: asyncio, against aiosmtpd", _kept("ehlo"), 0.5, _kept("aiosmtpd"), maybe_better=0.4),
    Goal("1 KB, kept: uvloop, against aiosmtpd", _kept(FAST), 0.25, _kept("aiosmtpd-uvloop"), maybe_better=0.2),
    Goal("1 KB, kept: against smtp-sink", _kept(FAST), 1.7, _kept("smtp-sink")),
    Goal("1 KB, kept: against Node's smtp-server", _kept(FAST), 1.0, _kept("node"), strictly=True),
    Goal("1 KB, new connection: asyncio, against aiosmtpd", _new("ehlo"), 0.6, _new("aiosmtpd")),
    Goal("1 KB, new connection: uvloop, against aiosmtpd", _new(FAST), 0.3, _new("aiosmtpd-uvloop")),
    Goal("1 KB, new connection: against smtp-sink", _new(FAST), 1.7, _new("smtp-sink")),
    Goal("1 MB: against aiosmtpd", _1mb(FAST), 1 / 15, _1mb("aiosmtpd-uvloop")),
    Goal("1 MB: against smtp-sink", _1mb(FAST), 0.4, _1mb("smtp-sink")),
    Goal("1 MB: against Node's smtp-server", _1mb(FAST), 1.0, _1mb("node"), strictly=True),
    Goal("1 MB: BDAT against DATA", Place("bdat-1mb", FAST), 1.0, _1mb(FAST), strictly=True),
    Goal("1 KB, kept: pipelined against lock-step", Place("pipelined", FAST), 0.6, _kept(FAST)),
    Goal("100 MB message: peak memory above idle, buffered, MB", Place("peak", FAST, "above_idle_mb"), 110.0),
    Goal("100 MB message: peak memory above idle, streamed, MB", Place("peak", "ehlo-stream", "above_idle_mb"), 4.0),
    Goal("100 MB message: p99 of NOOP on others at its end, ms", Place("stall", FAST, "end_p99_ms"), 10.0),
    Goal("Memory of an idle session, of 10,000, KB", Place("idle", FAST, "kb_per_session"), 7.0),
    # "No growth beyond noise": the allocator's arenas come by the megabyte, which is ten octets a session.
    Goal("Memory gained from 1,000 to 100,000 sessions, KB", Place("growth", FAST, "growth_kb"), 1024.0),
    Goal("Import and start, beyond importing asyncio, ms", Place("start", "ehlo", "above_asyncio_ms"), 60.0),
)


def evaluate(goal: Goal, results: Results) -> Verdict:
    """Compare a goal with a run."""
    ours = results.samples(*goal.of)
    theirs = [1.0] * len(ours) if goal.maybe_against is None else results.samples(*goal.maybe_against)
    ratios = [one / other for one, other in zip(ours, theirs, strict=False)]
    return Verdict(goal, summarize(ratios), min(ours) / min(theirs)) if ratios else Verdict(goal, None)
