"""Plain random input: seeds and random octets, mutated, without a look at what they reach.

    python -m fuzz.random_engine TARGET --time 10 --crashes FOLDER --seed 1

Runs on every Python, and the same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz.corpus import seeds, words
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONGEST = 400


def inputs(target: str, seed: int = 0) -> Iterator[bytes]:
    """Endless inputs; the seeds themselves come first."""
    known = seeds(target)
    dictionary = words()
    numbers = random.Random(seed)
    yield from known
    while True:
        kind = numbers.random()
        data = numbers.choice(known) if kind < 0.7 else numbers.randbytes(numbers.randint(0, _LONGEST))
        for _ in range(numbers.randint(0 if kind >= 0.7 else 1, 6)):
            data = _mutate(data, numbers, known, dictionary)
        yield data


def _mutate(data: bytes, numbers: random.Random, known: list[bytes], dictionary: list[bytes]) -> bytes:
    at = numbers.randint(0, len(data))
    end = min(len(data), at + numbers.randint(1, 8))
    match numbers.randint(0, 6):
        case 0:
            return data[:at] + numbers.choice(dictionary) + data[at:]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + numbers.randbytes(1) + data[at + 1 :]
        case 3:
            return data[:at] + data[at:end] * numbers.choice((2, 3, 100)) + data[end:]
        case 4:
            return data[:at] + bytes(reversed(data[at:end])) + data[end:]
        case 5:
            other = numbers.choice(known)
            return data[:at] + other[numbers.randint(0, len(other)) :]
        case _:
            return data[:at] + bytes([numbers.choice(b"0123456789")]) + data[at + 1 :]


def run(target: str, function: Callable[[bytes], None], *, seconds: float, seed: int, crashes: Path) -> int:
    """Run for a time; give how many inputs that were.  What an input raises is raised, and the input kept."""
    began = time.monotonic()
    count = 0
    for data in inputs(target, seed):
        if time.monotonic() - began > seconds:
            break
        count += 1
        try:
            function(data)
        except BaseException:
            crashes.mkdir(parents=True, exist_ok=True)
            (crashes / f"crash-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}").write_bytes(data)
            raise
    return count


def main() -> int:
    """Run one target."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.random_engine")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--time", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crashes", type=Path, required=True)
    options = parser.parse_args()
    count = run(
        options.target,
        TARGETS[options.target],
        seconds=options.time,
        seed=options.seed,
        crashes=options.crashes,
    )
    print(f"{count} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
