"""How each kind of workload is measured: start a server, warm it up, read its counters around a load.

Knows counters and clocks; the dialogues are in load.py and the sizes in workloads.py. A measurement is a function of a
server and a setting that returns figures; it raises SkipError if the server does not offer what is asked.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Protocol

from bench import install, load
from bench.measure import cpu_seconds, peak, percentile, reset_peak, resident
from bench.peers import Options, Peer, Server, environment, started
from bench.placement import Placement, placed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.results import Figures

    Measurement = Callable[[Peer, "Setting"], Figures]

KB = 1024
MB = 1024 * KB
LARGE = 100 * MB
LARGE_OPTIONS = Options(maybe_size_limit=2 * LARGE)
GENERATOR_TIMEOUT = 120.0
QUIET_SECONDS = 0.3
# A message also "ends" after its reply: a server that frees 100 MB in one go stalls then.
AFTER_SECONDS = 0.1


class SkipError(Exception):
    """The server does not do this workload; the text says why, as part of a sentence about it."""


@dataclass(frozen=True)
class Setting:
    """How a workload is run: the fraction of its full number of messages, and on which CPUs."""

    scale: float
    placement: Placement


@dataclass
class Usage:
    """The CPU time that a server used, and the time that passed, in seconds. Filled when `used_by` ends."""

    cpu: float = 0.0
    seconds: float = 0.0

    def per_message(self, count: int) -> Figures:
        """Return the figures that every load has."""
        return {"cpu_us": self.cpu / count * 1e6, "per_second": count / self.seconds}


@contextlib.contextmanager
def used_by(server: Server) -> Iterator[Usage]:
    """Measure what a server uses until the end of the block."""
    usage, pids = Usage(), server.pids()
    before, begun = cpu_seconds(pids), perf_counter()
    yield usage
    usage.seconds = perf_counter() - begun
    usage.cpu = cpu_seconds(pids) - before


class Driver(Protocol):
    """Sends messages one after the other, on one connection or on many; returns the seconds that each took."""

    def __call__(
        self, port: int, count: int, transaction: load.Transaction, tls: ssl.SSLContext | None = None, /
    ) -> list[float]: ...


def messages(
    driver: Driver,
    transaction: Callable[..., float],
    size: int,
    count: int,
    *,
    needs: str = "",
    **arguments: int,
) -> Measurement:
    """Measure CPU, rate and latency of `count` messages of `size` octets."""

    def measurement(peer: Peer, setting: Setting) -> Figures:
        with started(peer, Options(tls=needs == "STARTTLS")) as server, placed(setting.placement, server.pids()):
            _require(server, needs)
            tls = ssl.create_default_context(cafile=install.certificate().authority) if needs == "STARTTLS" else None
            send = partial(transaction, data=load.content(size), **arguments)
            number = max(1, round(count * setting.scale))
            driver(server.port, _warmup(peer, count), send, tls)
            with used_by(server) as usage:
                seconds = driver(server.port, number, send, tls)
        return {
            **usage.per_message(number),
            "p50_ms": percentile(seconds, 50) * 1e3,
            "p99_ms": percentile(seconds, 99) * 1e3,
        }

    return measurement


def smtp_source(size: int, count: int, sessions: int, hook: str = "") -> Measurement:
    """Measure CPU and rate under Postfix's generator: `sessions` connections at once, each kept for many messages."""
    options = Options(hook=hook)

    def measurement(peer: Peer, setting: Setting) -> Figures:
        if not shutil.which("smtp-source"):
            raise SkipError("smtp-source (Postfix) is not installed")
        number = max(sessions, round(count * setting.scale))
        with started(peer, options) as server, placed(setting.placement, server.pids()):
            _run_smtp_source(server.port, size, _warmup(peer, count), sessions)
            with used_by(server) as usage:
                _run_smtp_source(server.port, size, number, sessions)
        return usage.per_message(number)

    return measurement


def _warmup(peer: Peer, count: int) -> int:
    """Return the number of messages that come before a load of `count`; a quick run does not shorten it."""
    return math.ceil(count * peer.warmup)


def _run_smtp_source(port: int, size: int, count: int, sessions: int) -> None:
    addresses = ["-M", "localhost", "-f", "sender@example.com", "-t", "recipient@example.com"]
    numbers = ["-s", str(sessions), "-m", str(count), "-l", str(size)]
    command = ["smtp-source", "-d", *numbers, *addresses, f"{load.HOST}:{port}"]
    subprocess.run(command, check=True, capture_output=True, timeout=GENERATOR_TIMEOUT)


def idle(count: int) -> Measurement:
    """Measure the resident memory of one session, of `count` that have said EHLO and nothing since."""

    def measurement(peer: Peer, setting: Setting) -> Figures:
        number = max(1, round(count * setting.scale))
        with started(peer) as server:
            with load.idle_sessions(server.port, load.CONNECT_AHEAD):
                pass
            before = resident(server.pids())
            with load.idle_sessions(server.port, number):
                held = resident(server.pids()) - before
        return {"kb_per_session": held / number / KB}

    return measurement


def stall(peer: Peer, _setting: Setting) -> Figures:
    """Measure NOOP on other sessions while a large message arrives, and from its last MB to shortly after its reply."""
    data = load.content(LARGE)
    with started(peer, LARGE_OPTIONS) as server, load.Client(server.port) as client:
        client.hello()
        command = [sys.executable, "-m", "bench.probe", str(server.port)]
        probe = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with probe:
            assert probe.stdin is not None
            assert probe.stdout is not None
            probe.stdout.readline()
            sleep(QUIET_SECONDS)
            begun = perf_counter()
            client.command(load.MAIL)
            client.command(load.RCPT)
            client.command(b"DATA\r\n", b"354")
            client.send(data[:-MB])
            ending = perf_counter()
            client.command(data[-MB:])
            ended = perf_counter()
            sleep(AFTER_SECONDS)
            probe.stdin.close()
            shown = probe.stdout.read()
    if probe.returncode:
        raise load.RefusedError("NOOP failed on another session")
    samples = json.loads(shown)
    quiet = [seconds for due, seconds in samples if due < begun]
    arriving = [seconds for due, seconds in samples if begun <= due < ended]
    final = [seconds for due, seconds in samples if ending <= due < ended + AFTER_SECONDS]
    return {
        "quiet_p99_ms": percentile(quiet, 99) * 1e3,
        "arrival_p99_ms": percentile(arriving, 99) * 1e3,
        "end_p99_ms": percentile(final, 99) * 1e3,
        "worst_ms": max(arriving + final) * 1e3,
        "message_s": ended - begun,
    }


def peak_memory(peer: Peer, _setting: Setting) -> Figures:
    """Measure how far one large message lifts the server's resident memory above what it was when idle."""
    data = load.content(LARGE)
    with started(peer, LARGE_OPTIONS) as server:
        load.kept_connection(server.port, 3, partial(load.lockstep, data=load.content(KB)))
        idle_memory = reset_peak(server.pids())
        load.kept_connection(server.port, 1, partial(load.lockstep, data=data))
        highest = peak(server.pids())
    return {"idle_mb": idle_memory / MB, "above_idle_mb": (highest - idle_memory) / MB}


def growth(few: int, many: int) -> Measurement:
    """Measure what resident memory has gained after `many` sessions since it was read after `few`."""

    def measurement(peer: Peer, setting: Setting) -> Figures:
        number = max(few, round(many * setting.scale))
        data = load.content(KB)
        with started(peer) as server:
            load.short_sessions(server.port, few, data)
            before = resident(server.pids())
            load.short_sessions(server.port, number - few, data)
            after = resident(server.pids())
        return {"before_mb": before / MB, "growth_kb": (after - before) / KB}

    return measurement


def start(peer: Peer, _setting: Setting) -> Figures:
    """Measure the time from starting the process until it listens, and how much importing asyncio is of it."""
    with started(peer):
        pass  # so that what is measured finds everything compiled, and the disk's pages in memory
    begun = perf_counter()
    with started(peer):
        listening = perf_counter() - begun
    figures = {"start_ms": listening * 1e3}
    if peer.command(Options())[0] == str(install.PYTHON):
        figures["above_asyncio_ms"] = (listening - _seconds_until_asyncio()) * 1e3
    return figures


def _seconds_until_asyncio() -> float:
    """Return the time from starting Python until it has imported asyncio and says so."""
    command = [str(install.PYTHON), "-c", "import asyncio; print(flush=True)"]
    begun = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return perf_counter() - begun


def _require(server: Server, keyword: str) -> None:
    """Raise SkipError unless the server offers an extension; none is asked for by an empty keyword."""
    with load.Client(server.port) as client:
        offered = client.hello()
        client.quit()
    if keyword and keyword not in offered:
        raise SkipError(f"does not offer {keyword}")
