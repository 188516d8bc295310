"""The counters, as Prometheus reads them (its text format, version 0.0.4).  Knows numbers; does not know who counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """``kind`` is counter or gauge."""

    name: str
    kind: str
    text: str
    value: float


def render(metrics: Iterable[Metric]) -> str:
    """The text."""
    lines = []
    for name, kind, text, value in metrics:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value:.15g}"]
    return "\n".join([*lines, ""])


def smtp_metrics(counters: dict[str, int]) -> Iterable[Metric]:
    """A metric for each counter of the SMTP server."""
    for name, value in counters.items():
        yield Metric(f"ehlo_smtp_{name}_total", "counter", f"SMTP: {name.replace('_', ' ')}.", value)
