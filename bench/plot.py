"""A run as pictures: CPU per message, one panel a workload, as PNG and SVG.

    PEERS_PYTHON -m bench.plot RESULTS.json FOLDER

Run by the peers' Python, where matplotlib is; the benchmark itself needs no third party.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]
import matplotlib.pyplot as plt  # type: ignore[import-not-found, unused-ignore]

from bench.measure import summarize
from bench.report import TITLES, number
from bench.results import Results
from bench.workloads import WORKLOADS

COLUMNS = 3
OURS, OTHERS = "#1f6f8b", "#b8bec4"


def draw(results: Results, folder: Path) -> None:
    """Write cpu.png and cpu.svg into `folder`."""
    shown = [workload for workload in WORKLOADS if "cpu_us" in workload.figures and results.rounds.get(workload.name)]
    rows = -(-len(shown) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(5 * COLUMNS, 2.6 * rows), squeeze=False, layout="constrained")
    for panel in axes.flat:
        panel.set_axis_off()
    for workload, panel in zip(shown, axes.flat, strict=False):
        panel.set_axis_on()
        servers = results.rounds[workload.name]
        bars = [(summarize(results.samples(workload.name, server, "cpu_us")), server) for server in servers]
        bars.sort(key=lambda bar: bar[0].median, reverse=True)
        medians = [summary.median for summary, _ in bars]
        errors = [[s.median - s.low for s, _ in bars], [s.high - s.median for s, _ in bars]]
        colours = [OURS if server.startswith("ehlo") else OTHERS for _, server in bars]
        drawn = panel.barh([TITLES[server] for _, server in bars], medians, xerr=errors, color=colours, ecolor="#555")
        panel.bar_label(drawn, [number(median) for median in medians], padding=6, fontsize=8)
        panel.set_title(workload.title, fontsize=10, loc="left")
        panel.margins(x=0.18)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Server CPU per message, µs (user + system, median and range of rounds; less is better)")
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        figure.savefig(folder / f"cpu.{kind}", dpi=120)


if __name__ == "__main__":
    mpl.use("agg")
    draw(Results.from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
