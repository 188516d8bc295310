"""Which CPU the client and the server run on. Knows the scheduler's interface; does not know what they do there.

Where the two stand decides a good part of a small message's cost, so it must not be left to luck. Measured with one
connection in lock-step on a virtual machine with two cores: smtp-sink needs 41 µs a message where both share a CPU and
114 µs where they do not, since each reply then wakes the other core, by an interrupt that the hypervisor serves and
the server is charged for; left alone, the scheduler chooses now the one and now the other. Sharing a CPU leaves the
server's own work, and repeats to one per cent.
"""

from __future__ import annotations

import contextlib
import enum
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Placement(enum.Enum):
    """Where client and server run."""

    TOGETHER = "together"
    APART = "apart"
    FREE = "free"


def cpus(placement: Placement, allowed: set[int]) -> tuple[set[int], set[int]]:
    """Return the CPUs for the client and for the server, of those allowed; with a single CPU there is no choice."""
    if placement is Placement.FREE or len(allowed) == 1:
        return allowed, allowed
    # The last one: the first often has the machine's interrupts to serve.
    server = {max(allowed)}
    return (server if placement is Placement.TOGETHER else allowed - server), server


@contextlib.contextmanager
def placed(placement: Placement, pids: Iterable[int]) -> Iterator[None]:
    """Put the server's processes, and this one with what it starts, where they belong; free this one afterwards.

    Only the main thread of each process is bound: helper threads, like those of Node's collector, keep all CPUs.
    """
    allowed = os.sched_getaffinity(0)
    client, server = cpus(placement, allowed)
    for pid in pids:
        os.sched_setaffinity(pid, server)
    os.sched_setaffinity(0, client)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
