"""A run as a page of Markdown. Knows how figures are called and rounded; measures and judges nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.goals import GOALS, evaluate
from bench.measure import summarize
from bench.peers import PEERS
from bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.goals import Verdict
    from bench.measure import Summary
    from bench.results import Results
    from bench.workloads import Workload

TITLES = {peer.name: peer.title for peer in PEERS}
# Main figures are also shown as multiples of this server's.
YARDSTICK = "ehlo-uvloop"


# How each figure is headed.
HEADINGS = {
    "cpu_us": "CPU per message, µs",
    "per_second": "messages/s",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "kb_per_session": "memory per session, KB",
    "end_p99_ms": "p99 while it ends, ms",
    "arrival_p99_ms": "p99 while it arrives, ms",
    "worst_ms": "worst, ms",
    "quiet_p99_ms": "p99 before, ms",
    "message_s": "the message took, s",
    "above_idle_mb": "peak above idle, MB",
    "idle_mb": "idle, MB",
    "above_asyncio_ms": "beyond importing asyncio, ms",
    "start_ms": "until it listens, ms",
    "growth_kb": "gained, KB",
    "before_mb": "before, MB",
}

INTRODUCTION = """\
# Performance

Made by `make bench`. Every server ran as a process of its own, with its limits, timeouts and checks at their defaults,
a handler with one asynchronous hook and no debug log, on the loopback interface. Each round starts each server afresh,
in turn (A B C A B C); a figure is the median over the rounds, ± half of the range. CPU is the user and system time
that the operating system charged to the server's processes between the start and the end of a load, after a warm-up.
Latency is that of a transaction, from MAIL to the reply to its end. 1 KB is 1024 octets. Messages on new connections
come from a client that connects ahead, so that a pause before the greeting costs no one throughput. One connection
in lock-step shares a CPU with the server up to 100 KB: on two CPUs, waking each other costs more than the mail, more so
in a virtual machine, and the server is charged for it. Larger messages and many connections come from another CPU.

"No server" is a program that says fixed replies whatever it is sent: the least that a server in Python can cost.

Workers are processes that share a port, and a supervisor; where they are measured, the client and all processes of a
server have every CPU of the machine, and take it from each other: on two CPUs two workers and the client make three.

A goal is met or not by the median; "best rounds" compares each side's best, which a busy machine disturbs least.
"""


def number(value: float) -> str:
    """Return a value with three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def cell(summary: Summary) -> str:
    """Return a figure and its spread."""
    return number(summary.median) + (f" ± {summary.spread:.0%}" if summary.high > summary.low else "")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; all columns but the first are figures and stand to the right."""
    yield "| " + " | ".join(headings) + " |"
    yield "|---" + "|---:" * (len(headings) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def goal_row(verdict: Verdict) -> tuple[str, str, str, str, str]:
    """Return a goal, its limit, what was measured over all rounds and over the best ones, and the verdict."""
    goal = verdict.goal
    limit = ("< " if goal.strictly else "≤ ") + number(goal.limit)
    if goal.maybe_better is not None:
        limit += f" (better: {number(goal.maybe_better)})"
    if verdict.maybe_measured is None:
        return goal.title, limit, "", "", verdict.word
    return goal.title, limit, cell(verdict.maybe_measured), number(verdict.undisturbed), verdict.word


def workload_lines(workload: Workload, results: Results) -> Iterator[str]:
    """Yield the section of one workload: a row per server, best first, and who was left out and why."""
    measured = results.rounds.get(workload.name, {})
    skipped = results.skipped.get(workload.name, {})
    if not measured and not skipped:
        return
    yield from ("", f"## {workload.title}", "")
    if measured:
        yield from table(*_workload_table(workload, results))
    if measured and skipped:
        yield ""
    for server, reason in skipped.items():
        yield f"- {TITLES.get(server, server)}: left out, {reason}."


def _workload_table(workload: Workload, results: Results) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of a workload's table."""
    main = workload.figures[0]
    yardstick = results.samples(workload.name, YARDSTICK, main)
    columns = [HEADINGS[figure] for figure in workload.figures]
    headings = ["server", columns[0], f"× {TITLES[YARDSTICK]}", *columns[1:]]
    ordered = []
    for server in results.rounds[workload.name]:
        cells = []
        for figure in workload.figures:
            samples = results.samples(workload.name, server, figure)
            cells.append(cell(summarize(samples)) if samples else "")
        own = results.samples(workload.name, server, main)
        ratios = [one / other for one, other in zip(own, yardstick, strict=False) if other]
        cells.insert(1, number(summarize(ratios).median) if ratios else "")
        ordered.append((summarize(own).median if own else math.inf, [TITLES.get(server, server), *cells]))
    return headings, [row for _, row in sorted(ordered)]


def markdown(results: Results, maybe_picture: str | None = None) -> str:
    """Return the whole page. `maybe_picture` is where the plot is, seen from the page."""
    lines = [INTRODUCTION]
    if maybe_picture is not None:
        lines += [f"![CPU per message, by workload and server]({maybe_picture})", ""]
    lines += ["## Machine and versions", ""]
    lines += [f"- {key}: {value}" for key, value in results.machine.items()]
    lines += [f"- {TITLES.get(server, server)}: {version}" for server, version in results.versions.items()]
    lines += [f"- {TITLES.get(server, server)}: missing, {reason}" for server, reason in results.missing.items()]
    lines += ["", "## Goals", ""]
    lines += table(
        [
            "goal (ratios are of CPU per message; ehlo on uvloop unless said)",
            "limit",
            "measured",
            "best rounds",
            "verdict",
        ],
        [goal_row(evaluate(goal, results)) for goal in GOALS],
    )
    for workload in WORKLOADS:
        lines += workload_lines(workload, results)
    return "\n".join(lines) + "\n"
