"""A second client, a process of its own: NOOPs at a fixed rate on a few sessions, while something else happens.

    python -m bench.probe PORT

Prints a line when its sessions stand, runs until its standard input is closed, then prints a JSON list of [due,
seconds] pairs. `due` is when a NOOP was due, on the clock that time.perf_counter() shows in all processes of the
machine (CLOCK_MONOTONIC), and `seconds` is how long after that a reply came. One NOOP is under way at a time; those
that fall due meanwhile count as answered with it, so that a server that stalls for a second is charged for a thousand
NOOPs, not for one.
"""

from __future__ import annotations

import itertools
import json
import select
import sys
from time import perf_counter

from bench.load import Client

SESSIONS = 4
INTERVAL = 0.001


def watch(port: int) -> list[tuple[float, float]]:
    """Send NOOPs in turn over a few sessions until standard input ends; return when each was due, and its delay."""
    clients = [Client(port) for _ in range(SESSIONS)]
    for client in clients:
        client.hello()
    print("ready", flush=True)
    samples = []
    due = perf_counter()
    for client in itertools.cycle(clients):
        if select.select([sys.stdin], [], [], max(0.0, due - perf_counter()))[0]:
            break
        client.command(b"NOOP\r\n")
        answered = perf_counter()
        while due <= answered:
            samples.append((due, answered - due))
            due += INTERVAL
    return samples


if __name__ == "__main__":
    print(json.dumps(watch(int(sys.argv[1]))))
