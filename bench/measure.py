"""What a process tree has used, read from /proc, and the arithmetic on samples.

Knows Linux; does not know SMTP, peers or workloads. CPU is user and system time together, as the kernel accounts it to
the process, read from the process's CPU clock: it counts nanoseconds, where /proc/PID/stat counts ticks of 10 ms.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROC = Path("/proc")


@dataclass(frozen=True)
class Summary:
    """Several rounds of one figure."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the range as a fraction of the median; 0 if the median is 0."""
        return (self.high - self.low) / 2 / abs(self.median) if self.median else 0.0


def parse_parent(text: str) -> int:
    """Return the parent's id from /proc/PID/stat (proc(5)); the command's name in it may hold spaces and brackets."""
    return int(text.rpartition(")")[2].split()[1])


def parse_memory(text: str) -> dict[str, int]:
    """Return octets by name, from the lines `Name:  123 kB` of /proc/PID/status or smaps_rollup."""
    octets = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            octets[words[0].rstrip(":")] = int(words[1]) * 1024
    return octets


def descendants(root: int, parents: dict[int, int]) -> list[int]:
    """Return `root` and all its descendants, given each process's parent."""
    found = [root]
    for pid in found:  # grows while it is walked
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def process_tree(root: int) -> list[int]:
    """Return the process ids of `root` and of everything that it started and that still runs."""
    parents = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = parse_parent(path.read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended between the listing and the reading
    return descendants(root, parents)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time that these processes have used so far, ended threads included."""
    # A process's CPU clock is ~pid << 3 | 2 (clock_getcpuclockid(3), which the time module lacks).
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident(pids: Iterable[int]) -> int:
    """Return the octets of memory in use, as proportional set size: pages shared in a tree are counted once."""
    return sum(parse_memory((PROC / str(pid) / "smaps_rollup").read_text())["Pss"] for pid in pids)


def reset_peak(pids: Iterable[int]) -> int:
    """Make the peak of each process start again from now; return the octets resident now (RSS, as the peak is)."""
    now = 0
    for pid in pids:
        (PROC / str(pid) / "clear_refs").write_text("5")
        now += parse_memory((PROC / str(pid) / "status").read_text())["VmRSS"]
    return now


def peak(pids: Iterable[int]) -> int:
    """Return the sum of the peaks of resident memory, in octets, since `reset_peak`."""
    return sum(parse_memory((PROC / str(pid) / "status").read_text())["VmHWM"] for pid in pids)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that `percent` of all samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def summarize(samples: Sequence[float]) -> Summary:
    """Return the median and the range of at least one sample."""
    return Summary(statistics.median(samples), min(samples), max(samples))
