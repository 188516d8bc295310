"""What is measured: a row per workload, with sizes, numbers and who takes part. How is in phases.py and load.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import phases
from bench.load import chunked, kept_connection, lockstep, new_connections, pipelined
from bench.phases import KB, MB
from bench.placement import Placement

if TYPE_CHECKING:
    from bench.peers import Peer
    from bench.phases import Measurement

TRANSACTION_FIGURES = ("cpu_us", "per_second", "p50_ms", "p99_ms")
QUICK_SCALE = 0.5


@dataclass(frozen=True)
class Workload:
    """One row. `figures` are the columns of its table, the main one first.

    `rounds` is an upper limit for what takes long and varies little. `roles` are those of servers that take part only
    here, and `only`, if not empty, the beginning of the names of all who take part. `placement` matters to those that
    measure CPU.
    """

    name: str
    title: str
    measure: Measurement
    figures: tuple[str, ...] = TRANSACTION_FIGURES
    placement: Placement = Placement.TOGETHER
    rounds: int = 99
    quick: bool = False
    roles: frozenset[str] = frozenset()
    only: str = ""

    def asks(self, peer: Peer) -> bool:
        """Tell whether the workload is meant for this server at all."""
        return peer.name.startswith(self.only) and (not peer.role or peer.role in self.roles)


STREAM = frozenset({"stream"})
WORKERS = frozenset({"workers"})
FIXED = frozenset({"fixed"})
FAST = "ehlo-uvloop"

WORKLOADS = (
    Workload(
        "kept", "1 KB, kept connection", phases.messages(kept_connection, lockstep, KB, 2000), quick=True, roles=FIXED
    ),
    Workload(
        "kept-10",
        "1 KB, ten kept connections at once (smtp-source)",
        phases.smtp_source(KB, 3000, sessions=10),
        figures=("cpu_us", "per_second"),
        placement=Placement.APART,
    ),
    Workload(
        "workers",
        "1 KB, ten kept connections at once (smtp-source), all CPUs for everybody",
        phases.smtp_source(KB, 6000, sessions=10),
        figures=("cpu_us", "per_second"),
        placement=Placement.FREE,
        roles=WORKERS,
    ),
    Workload(
        "workers-compute",
        "The same, and the hook computes for a millisecond",
        phases.smtp_source(KB, 2000, sessions=10, hook="compute"),
        figures=("cpu_us", "per_second"),
        placement=Placement.FREE,
        roles=WORKERS,
        only=FAST,
    ),
    Workload(
        "new",
        "1 KB, a new connection each",
        phases.messages(new_connections, lockstep, KB, 500),
        quick=True,
        roles=FIXED,
    ),
    Workload(
        "starttls",
        "1 KB, a new connection with STARTTLS each",
        phases.messages(new_connections, lockstep, KB, 250, needs="STARTTLS"),
    ),
    Workload("50kb", "50 KB, kept connection", phases.messages(kept_connection, lockstep, 50 * KB, 500)),
    Workload(
        "1mb",
        "1 MB, kept connection",
        phases.messages(kept_connection, lockstep, MB, 40),
        placement=Placement.APART,
        quick=True,
    ),
    Workload(
        "25mb",
        "25 MB, kept connection",
        phases.messages(kept_connection, lockstep, 25 * MB, 3),
        placement=Placement.APART,
        rounds=3,
    ),
    Workload(
        "pipelined",
        "1 KB, kept connection, pipelined",
        phases.messages(kept_connection, pipelined, KB, 3000, needs="PIPELINING"),
        quick=True,
    ),
    Workload(
        "recipients",
        "1 KB for 100 recipients, kept connection",
        phases.messages(kept_connection, lockstep, KB, 80, recipients=100),
    ),
    Workload(
        "bdat-1mb",
        "1 MB by BDAT, kept connection",
        phases.messages(kept_connection, chunked, MB, 40, needs="CHUNKING"),
        placement=Placement.APART,
    ),
    Workload("idle", "10,000 idle sessions after EHLO", phases.idle(10_000), figures=("kb_per_session",), rounds=1),
    Workload(
        "stall",
        "NOOP on four other sessions while a 100 MB message arrives and ends",
        phases.stall,
        figures=("end_p99_ms", "arrival_p99_ms", "worst_ms", "quiet_p99_ms", "message_s"),
        rounds=3,
        roles=STREAM,
    ),
    Workload(
        "peak",
        "Peak memory for one 100 MB message",
        phases.peak_memory,
        figures=("above_idle_mb", "idle_mb"),
        rounds=2,
        roles=STREAM,
    ),
    Workload("start", "Import and start", phases.start, figures=("above_asyncio_ms", "start_ms")),
    Workload(
        "growth",
        "Memory gained between 1,000 and 100,000 sessions",
        phases.growth(1_000, 100_000),
        figures=("growth_kb", "before_mb"),
        rounds=1,
        only=FAST,
    ),
)
