"""Runs workloads over servers, in rounds. Knows neither what a workload does nor how a result is shown."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.install import MissingError
from bench.load import RefusedError
from bench.phases import Setting, SkipError
from bench.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.peers import Peer
    from bench.placement import Placement
    from bench.workloads import Workload

# What a server or its dialogue can die of; anything else is a fault of the benchmark.
FAILURES = (RefusedError, MissingError, OSError, subprocess.SubprocessError)


def say(text: str) -> None:
    """Tell whoever waits for the run."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Plan:
    """How much is run: rounds, a fraction of the full numbers, maybe a placement other than each workload's own."""

    rounds: int
    scale: float = 1.0
    maybe_placement: Placement | None = None


def run(workloads: Sequence[Workload], peers: Sequence[Peer], plan: Plan) -> Results:
    """Prepare the servers, run every workload on each of them, in rounds; return what was found."""
    raise_open_files_limit()
    results = Results(machine=machine())
    present = []
    for peer in peers:
        try:
            results.versions[peer.name] = peer.prepare()
            present.append(peer)
        except MissingError as missing:
            results.missing[peer.name] = str(missing)
            say(f"{peer.name}: missing, {missing}")
    for workload in workloads:
        run_workload(workload, present, plan, results)
    return results


def run_workload(workload: Workload, peers: Sequence[Peer], plan: Plan, results: Results) -> None:
    """Run one workload: A B C A B C. A server that cannot do it, or fails at it, is left out of it with the reason."""
    asked = [peer for peer in peers if workload.asks(peer)]
    setting = Setting(plan.scale, plan.maybe_placement or workload.placement)
    rounds = min(plan.rounds, workload.rounds)
    for number in range(1, rounds + 1):
        for peer in list(asked):
            try:
                figures = workload.measure(peer, setting)
            except SkipError as skip:
                results.skip(workload.name, peer.name, str(skip))
                asked.remove(peer)
            except FAILURES as failure:
                results.skip(workload.name, peer.name, f"it failed: {failure}")
                say(f"{workload.name} {peer.name}: failed, {failure!r}")
                asked.remove(peer)
            else:
                results.add(workload.name, peer.name, figures)
                shown = "  ".join(f"{name} {figures[name]:.2f}" for name in workload.figures if name in figures)
                say(f"{workload.name} {number}/{rounds} {peer.name}: {shown}")


def raise_open_files_limit() -> None:
    """Let this process and what it starts open as many files as the machine grants: idle sessions are many."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def machine() -> dict[str, str]:
    """Describe the machine."""
    cpu = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = f"{pages / 2**30:.0f} GB"
    return {
        "processor": f"{cpu}, {os.cpu_count()} cores",
        "memory": memory,
        "load before the run": f"{os.getloadavg()[0]:.1f} processes wanted a CPU",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }
