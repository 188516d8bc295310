"""The benchmark's command line."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import install
from bench.peers import PEERS, environment
from bench.placement import Placement
from bench.report import markdown
from bench.run import Plan, run, say
from bench.workloads import QUICK_SCALE, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Results

ROUNDS, QUICK_ROUNDS = 5, 3


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run ehlo and its peers side by side.")
    parser.add_argument("--quick", action="store_true", help="the main workloads only, about a minute")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, with --quick {QUICK_ROUNDS}")
    parser.add_argument("--workload", nargs="+", metavar="NAME", choices=[workload.name for workload in WORKLOADS])
    parser.add_argument("--server", nargs="+", metavar="NAME", choices=[peer.name for peer in PEERS])
    parser.add_argument(
        "--placement",
        choices=[placement.value for placement in Placement],
        help="CPUs of client and server, if not each workload's own",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report, else it is printed")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="write cpu.png and cpu.svg")
    parser.add_argument("--list", action="store_true", help="show the names of workloads and servers, then stop")
    return parser.parse_args(arguments)


def plot(results: Results, folder: Path) -> Path | None:
    """Draw, in the peers' Python, and return the picture; say why if that cannot be."""
    try:
        install.python_package("matplotlib")
    except install.MissingError as missing:
        say(f"no plot: {missing}")
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(results.to_json())
        file.flush()
        command = [str(install.PYTHON), "-m", "bench.plot", file.name, str(folder)]
        root = str(Path(__file__).parent.parent)
        subprocess.run(command, check=True, env={**environment(), "PYTHONPATH": root})
    return folder / "cpu.svg"


def main() -> int:
    """Run what was asked for; return 1 if ehlo failed at something."""
    options = parse()
    if options.list:
        print(*(f"{workload.name:12} {workload.title}" for workload in WORKLOADS), sep="\n")
        print(*(f"{peer.name:16} {peer.title}" for peer in PEERS), sep="\n")
        return 0
    workloads = [
        workload
        for workload in WORKLOADS
        if (workload.name in options.workload if options.workload else workload.quick or not options.quick)
    ]
    peers = [peer for peer in PEERS if not options.server or peer.name in options.server]
    plan = Plan(
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        scale=QUICK_SCALE if options.quick else 1.0,
        maybe_placement=options.placement and Placement(options.placement),
    )
    results = run(workloads, peers, plan)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(results.to_json())
    maybe_picture = plot(results, options.plot) if options.plot else None
    if options.markdown:
        seen_from = options.markdown.parent
        maybe_address = os.path.relpath(maybe_picture, seen_from) if maybe_picture else None
        options.markdown.write_text(markdown(results, maybe_address))
    else:
        print(markdown(results))
    failed = [server for servers in results.skipped.values() for server, why in servers.items() if "failed" in why]
    return int(any(server.startswith("ehlo") for server in failed))


if __name__ == "__main__":
    sys.exit(main())
