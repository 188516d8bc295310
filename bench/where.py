"""Where the CPU time of one small message goes: the kernel, the event loop, Python's own work by part, the hook.

    python -m bench.where [--loop asyncio] [--new] [--messages 4000]

Needs ``perf`` (Linux).  The server runs as in the benchmark, one connection is kept, or there is a new one for each
message, and the kernel's timer samples it; of what is ours, the part is told by leaving parts away: the same octets fed
to a session without sockets, then to a connection that only echoes lines.  Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import load
from bench.measure import cpu_seconds
from bench.peers import PEERS, started
from bench.placement import Placement, placed
from ehlo import SMTP
from ehlo.net.connection import Connection
from ehlo.testing import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    SendAll = Callable[[int, int, Callable[[load.Client], float]], object]

SIZE = 1024
FREQUENCY = 5000
ROUNDS = 15
MESSAGES_OF_A_ROUND = 500
# The parts of a process, by the file that perf names.
PARTS = {
    "[kernel": "system calls, in the kernel",
    "loop.cpython": "uvloop and libuv",
    "libpython": "Python",
    "python3": "Python",
    "_asyncio": "asyncio, in C",
}
OTHER = "the C library and others"


class Handler:
    """Accepts everything."""

    async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:
        return "250 OK"


class Echo(Connection):
    """Reads lines and writes as many: what reading, waiting and writing cost by themselves."""

    async def _converse(self) -> None:
        while True:
            self._write(await self._next_line(512, 300.0))


def shares(report: str) -> dict[str, float]:
    """Return the fraction of each part, from ``perf report --sort dso``."""
    found: dict[str, float] = {}
    for line in report.splitlines():
        match = re.match(r"\s*([0-9.]+)%\s+(\S+)", line)
        if match:
            part = next((name for start, name in PARTS.items() if match[2].startswith(start)), OTHER)
            found[part] = found.get(part, 0.0) + float(match[1]) / 100
    return found


def sample(peer_name: str, messages: int, send_all: SendAll) -> tuple[float, dict[str, float]]:
    """Return the microseconds of a message, and the fraction of each part."""
    peer = next(peer for peer in PEERS if peer.name == peer_name)
    send = partial(load.lockstep, data=load.content(SIZE))
    with (
        tempfile.TemporaryDirectory() as folder,
        started(peer) as server,
        placed(Placement.TOGETHER, server.pids()),
    ):
        send_all(server.port, messages // 4, send)
        before = cpu_seconds(server.pids())
        send_all(server.port, messages, send)
        seconds = (cpu_seconds(server.pids()) - before) / messages
        data = Path(folder, "perf.data")
        events = ["-e", "cpu-clock", "-F", str(FREQUENCY), "-p", str(server.process.pid)]
        recorder = subprocess.Popen(["perf", "record", "-q", "-o", str(data), *events], stderr=subprocess.DEVNULL)
        os.sched_setaffinity(recorder.pid, range(os.cpu_count() or 1))
        time.sleep(0.5)
        send_all(server.port, messages, send)
        recorder.send_signal(signal.SIGINT)
        recorder.wait()
        command = ["perf", "report", "-i", str(data), "--stdio", "--sort", "dso"]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return seconds * 1e6, shares(report)


async def _best(connection: Connection, greeting: bytes, pieces: Sequence[bytes]) -> float:
    """Return the microseconds of CPU that a connection needs for these pieces, each in a callback as from a socket."""
    loop = asyncio.get_running_loop()
    transport = MemoryTransport(connection)
    transport.write = lambda _data: None  # type: ignore[method-assign, assignment]
    for _ in range(3):
        await asyncio.sleep(0)
    done: asyncio.Future[float] = loop.create_future()

    def feed() -> None:
        transport.feed(greeting)
        best = float("inf")
        for _ in range(ROUNDS):
            begun = time.thread_time()
            for _ in range(MESSAGES_OF_A_ROUND):
                for piece in pieces:
                    transport.feed(piece)
            best = min(best, time.thread_time() - begun)
        done.set_result(best / MESSAGES_OF_A_ROUND * 1e6)

    loop.call_soon(feed)
    best = await done
    connection.task.cancel()
    await asyncio.wait([connection.task])
    return best


def hook_microseconds() -> float:
    """Return what calling the hook by itself costs."""
    handler, count = Handler(), 20_000

    async def call() -> None:
        for _ in range(count):
            await handler.handle_DATA(None, None, None)

    begun = time.thread_time()
    asyncio.run(call())
    return (time.thread_time() - begun) / count * 1e6


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="uvloop")
    parser.add_argument("--new", action="store_true", help="a new connection for each message")
    parser.add_argument("--messages", type=int, default=4000)
    options = parser.parse_args(arguments)
    peer = "ehlo-uvloop" if options.loop == "uvloop" else "ehlo"
    total, parts = sample(peer, options.messages, load.new_connections if options.new else load.kept_connection)
    print(f"| part of {total:.1f} µs | share |\n|---|---|")
    for part, share in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"| {part} | {share:.0%} |")
    if options.new:
        return
    pieces = [load.MAIL, load.RCPT, b"DATA\r\n", load.content(SIZE)]
    ours = asyncio.run(_best(SMTP(Handler(), hostname="localhost"), load.EHLO, pieces))
    lines = asyncio.run(_best(Echo(), b"x\r\n", [b"x" * 30 + b"\r\n"] * len(pieces)))
    hook = hook_microseconds()
    print("\n| ehlo's own, without a socket | µs |\n|---|---|")
    print(f"| reading, waiting, writing: four lines echoed | {lines:.1f} |")
    print(f"| verbs, addresses, mail data, replies, counters | {ours - lines - hook:.1f} |")
    print(f"| the hook | {hook:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
