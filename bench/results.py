"""What a run has found: every figure of every round, what was missing, what was left out. To and from JSON.

Knows no workload and no server by name; does not judge.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

# The figures of one server in one round of one workload, by name. The unit is part of the name.
Figures = dict[str, float]


@dataclass
class Results:
    """Everything that reports are made of. Filled while the benchmark runs."""

    machine: dict[str, str]
    # By server: its version, or why it takes no part.
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    # By workload, then by server: the rounds, in order; or why there are none.
    rounds: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, workload: str, server: str, figures: Figures) -> None:
        """Record one round."""
        self.rounds.setdefault(workload, {}).setdefault(server, []).append(figures)

    def skip(self, workload: str, server: str, reason: str) -> None:
        """Record that a server does not do a workload; rounds recorded before that are dropped."""
        self.skipped.setdefault(workload, {})[server] = reason
        self.rounds.get(workload, {}).pop(server, None)

    def samples(self, workload: str, server: str, figure: str) -> list[float]:
        """Return one figure round by round; empty if it was not measured."""
        return [figures[figure] for figures in self.rounds.get(workload, {}).get(server, []) if figure in figures]

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Return what `to_json` was called on."""
        loaded: dict[str, Any] = json.loads(text)
        return cls(**loaded)
