"""Fuzzing's command line."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fuzz.corpus import DICTIONARY, ROOT, seeds
from fuzz.script import is_session, script_of
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

# Not under version control: it holds a .gitignore of its own.
FOLDER: Final = ROOT / ".fuzz"
_STARTING_TIME: Final = 60
# Octets, seconds, MiB: what an input may be, take and need.
_LIMITS: Final = ("-max_len=4096", "-timeout=20", "-rss_limit_mb=512")
_RUNS: Final = re.compile(r"^(?:stat::number_of_executed_units: *|)([0-9]+)(?: runs)?$", re.MULTILINE)
_COVERAGE: Final = re.compile(r"cov: ([0-9]+)")


class Result(NamedTuple):
    """What became of a target: the exit status of its process, and what that said."""

    target: str
    status: int
    output: str

    @property
    def summary(self) -> str:
        """One line."""
        runs = _RUNS.findall(self.output)[-1:] or ["?"]
        coverage = [f", coverage {points}" for points in _COVERAGE.findall(self.output)[-1:]]
        return f"{self.target:12} {'ok' if self.status == 0 else 'FAILED'}  {runs[0]} runs{''.join(coverage)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run targets, or replay inputs; 1 if something does not hold."""
    options = _parse(arguments)
    if options.replay:
        return max(_replay(path) for path in options.replay)
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "random")
    if engine == "random":
        print("random input, without coverage" + ("" if options.engine else ": atheris is not installed here"))
    _prepare_folder()
    names = options.target or list(TARGETS)
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: run_target(name, engine, options.time, options.seed), names))
    failed = [result for result in results if result.status]
    print(f"{len(names)} targets in {time.monotonic() - began:.0f} s, {len(failed)} failed")
    for result in failed:
        explain(result)
    return int(bool(failed))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description="Feed ehlo octets that nobody sends by accident."
    )
    parser.add_argument("target", nargs="*", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--time", type=int, default=10, metavar="SECONDS", help="for each target (10)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="targets at a time (as many as CPUs)")
    parser.add_argument("--engine", choices=("atheris", "random"), help="default: atheris, if it is installed")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random numbers (the time)")
    parser.add_argument("--replay", nargs="+", type=Path, metavar="FILE", help="run inputs that were kept")
    options = parser.parse_args(arguments)
    if unknown := set(options.target) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    return options


def _prepare_folder() -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")


def run_target(target: str, engine: str, seconds: int, seed: int) -> Result:
    """One target, in a process of its own."""
    crashes = FOLDER / "crashes" / target
    if engine == "random":
        command = ["fuzz.random_engine", target, f"--time={seconds}", f"--seed={seed}", f"--crashes={crashes}"]
    else:
        folders = [FOLDER / "found" / target, FOLDER / "seeds" / target]
        for folder in (crashes, *folders):
            folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(seeds(target)):
            (folders[1] / f"{number:03}").write_bytes(data)
        command = [
            "fuzz.atheris_engine",
            target,
            f"-max_total_time={seconds}",
            f"-seed={seed % 2**31 or 1}",
            f"-dict={DICTIONARY}",
            f"-artifact_prefix={crashes}/",
            *_LIMITS,
            "-print_final_stats=1",
            *map(str, folders),
        ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    try:
        finished = subprocess.run(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            timeout=seconds + _STARTING_TIME,
            check=False,
        )
        result = Result(target, finished.returncode, finished.stdout.decode(errors="backslashreplace"))
    except subprocess.TimeoutExpired as late:
        result = Result(target, 1, f"it does not end\n{(late.stdout or b'').decode(errors='backslashreplace')}")
    print(result.summary, flush=True)
    return result


def explain(result: Result) -> None:
    """Show the end of what a process said, and how to go on."""
    print(f"\n== {result.target}")
    print("\n".join(result.output.splitlines()[-40:]))
    kept = sorted((FOLDER / "crashes" / result.target).glob("*"), key=lambda path: path.stat().st_mtime)[-1:]
    for path in kept:
        file = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        # In whole: where it is kept may be gone tomorrow.
        print(f"\n{path.read_bytes()!r}\nkept as {file}; to see it again:\n    python -m fuzz --replay {file}")
        if is_session(result.target):
            print(
                "That prints a script too: correct it, put it into tests/dialogues/fuzz_NAME.txt, repair what it shows."
            )
        else:
            print(
                "Give the parser what it prints in a test of its own, or have a client send it: a script of C: and S:\n"
                "lines in tests/dialogues/fuzz_NAME.txt.  The file is also a good seed for fuzz/corpus."
            )


def _replay(path: Path) -> int:
    """Run one input again; its folder is named after the target."""
    target = path.resolve().parent.name
    if target not in TARGETS:
        print(f"{path}: is in no folder of a target")
        return 1
    data = path.read_bytes()
    print(f"== {target}: {data!r}")
    if is_session(target):
        print(script_of(target, data))
    try:
        TARGETS[target](data)
    except Exception:  # noqa: BLE001 - to be seen
        traceback.print_exc(file=sys.stdout)
        return 1
    print("it holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
