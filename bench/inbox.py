"""The inbox under load: how fast mail goes in while somebody looks, and how fast it is found and opened after that.

    python -m bench.inbox [--messages 10000] [--connections 8] [--size 1024] [--store FILE] [--pipelined] [--uvloop]
                          [--browser]

The server is a process of its own, which writes a line for each message, as ``ehlo catch`` does.  This one sends, and
is the page as well: it holds the stream of events open and asks for the list again and again.  With ``--browser`` a
Chromium shows the real page instead.  Every id that was acknowledged is looked for at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, NamedTuple, TextIO
from urllib.parse import quote, urlsplit

from bench import load
from bench.inbox_browser import Chromium, cpu_seconds, find_chromium

GOAL_RATE = 1000
GOAL_MILLISECONDS = 50.0
POLL_SECONDS = 0.5
PATIENCE = 10.0
ROUNDS = 20
QUERIES = (
    "",
    "benchmark",
    "abcd",
    "from:sender@example.com",
    "subject:bench -is:read",
    "has:attachment",
    '"no such words"',
)


class Row(NamedTuple):
    """A line of the report; the goal is missed if it is said."""

    what: str
    figure: str
    is_missed: bool = False


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.inbox", description="Measure the inbox.")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--size", type=int, default=1024, help="of a message in octets (%(default)s)")
    parser.add_argument("--store", type=Path, metavar="FILE", help="a file, else a private store")
    parser.add_argument("--pipelined", action="store_true", help="MAIL, RCPT and DATA in one go, as Postfix does")
    parser.add_argument("--uvloop", action="store_true", help="the server on uvloop")
    parser.add_argument("--browser", action="store_true", help="show the page in Chromium ($CHROMIUM)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


# The server's process


async def serve(store_path: Path | None, terminal: TextIO) -> None:
    """Serve until the parent closes our input; say where on the first line.  Messages are shown on ``terminal``."""
    from ehlo.cli.catch import Printer  # noqa: PLC0415 - the client does without it
    from ehlo.inbox.server import InboxServer  # noqa: PLC0415
    from ehlo.inbox.store import Store  # noqa: PLC0415

    with closing(Store(store_path)) as store:
        printer = Printer(terminal, is_brief=True)
        async with InboxServer(store, smtp=(None, 0), web=(None, 0), observer=printer) as server:
            smtp = server.addresses[0][1]
            print(json.dumps({"smtp": smtp, "web": server.web_url}), flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# The client's


class Web:
    """A client of the API, on one connection."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=60)

    def get(self, path: str) -> Any:
        """The answer to GET, read from JSON."""
        self._connection.request("GET", f"/api/v1/{path}")
        with self._connection.getresponse() as response:
            body = response.read()
            if response.status != 200:
                raise load.RefusedError(f"{response.status} {body[:200]!r}")
        return json.loads(body)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Page:
    """What an open page does: it listens to the events, and lists the messages every now and then."""

    def __init__(self, url: str) -> None:
        self.arrived = 0
        self.listed: list[float] = []
        self._url = url
        self._is_over = threading.Event()
        self._events = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._events.connect()
        self._socket = self._events.sock
        self._events.request("GET", "/api/v1/events?together=1")
        self._stream = self._events.getresponse()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._listen, self._poll)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        with suppress(ConnectionError):
            for line in self._stream:
                if line.startswith(b"data: ["):
                    told = json.loads(line.removeprefix(b"data: "))
                    self.arrived += sum(len(data["ids"]) for name, data in told if name == "message")

    def _poll(self) -> None:
        with closing(Web(self._url)) as web:
            while not self._is_over.wait(POLL_SECONDS):
                started = perf_counter()
                web.get("messages?limit=50")
                self.listed.append(perf_counter() - started)

    def wait_for(self, count: int) -> float:
        """Wait until so many messages were seen, some seconds at most; the seconds that it took."""
        started = perf_counter()
        while self.arrived < count and perf_counter() < started + PATIENCE:
            sleep(0.01)
        return perf_counter() - started

    def close(self) -> None:
        """Go elsewhere."""
        self._is_over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._stream.close()
        self._events.close()
        self._socket.close()


def show(url: str, *, has_browser: bool) -> Page | Chromium:
    """The page, in a browser or its stand-in.  ``FileNotFoundError`` where there is no browser."""
    if not has_browser:
        return Page(url)
    program = find_chromium()
    if program is None:
        raise FileNotFoundError("there is no Chromium: say in CHROMIUM where it is")
    return Chromium(program, url)


def send(port: int, options: argparse.Namespace) -> tuple[float, list[float]]:
    """Send all messages; the seconds that it took, and those of each message."""
    share = options.messages // options.connections
    data = load.content(options.size)
    transaction = load.pipelined if options.pipelined else load.lockstep
    seconds: list[float] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            seconds.extend(load.kept_connection(port, share, lambda client: transaction(client, data)))
        except BaseException as failure:  # noqa: BLE001 - raised where it is seen
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(options.connections)]
    started = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return perf_counter() - started, seconds


def wait_until_indexed(web: Web) -> float:
    """Wait until all messages are looked into; the seconds that it took."""
    started = perf_counter()
    newest = web.get("messages?limit=1")["messages"][0]["id"]
    while not web.get(f"messages/{newest}")["is_indexed"]:
        sleep(0.01)
    return perf_counter() - started


def milliseconds(web: Web, path: str) -> tuple[float, float]:
    """Median and maximum of some rounds."""
    times = []
    for _ in range(ROUNDS):
        started = perf_counter()
        web.get(path)
        times.append((perf_counter() - started) * 1000)
    return statistics.median(times), max(times)


def memory(pid: int) -> float | None:
    """The most memory that a process had, in MB; None where /proc does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def measure(options: argparse.Namespace, where: dict[str, Any], pid: int) -> list[Row]:
    """Do it all; the report."""
    web = Web(where["web"])
    before = web.get("messages?limit=1")["total"]
    with closing(show(where["web"], has_browser=options.browser)) as page:
        rows = measure_arrival(options, where["smtp"], web, page, pid)
    newest = web.get("messages?limit=1")
    sent = options.messages // options.connections * options.connections
    missing = before + sent - newest["total"]
    rows.append(Row("missing", str(missing), missing != 0))
    rows += measure_reading(web, newest["messages"][0]["id"], sent)
    used = memory(pid)
    rows.append(Row("memory of the server", "?" if used is None else f"{used:.0f} MB"))
    web.close()
    return rows


def measure_arrival(
    options: argparse.Namespace, port: int, web: Web, page: Page | Chromium, server_pid: int
) -> list[Row]:
    """Send, and see it arrive."""
    pids = {"the server": server_pid} | ({"Chromium": page.pid} if isinstance(page, Chromium) else {})
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    took, seconds = send(port, options)
    rate = len(seconds) / took
    with ThreadPoolExecutor(1) as other:
        indexing = other.submit(wait_until_indexed, web)
        late, lag = page.wait_for(len(seconds)), indexing.result()
    cpu = {name: (cpu_seconds(pid) - before[name]) / len(seconds) for name, pid in pids.items()}
    rows = [
        Row("messages a second, with the page open", f"{rate:.0f}", rate < GOAL_RATE),
        Row("a message, median and 99 %", "{:.1f} {:.1f} ms".format(*_median_and_p99(seconds))),
        Row("the last on the page after it was sent", f"{late * 1000:.0f} ms"),
        Row("looked into after the last arrived", f"{lag * 1000:.0f} ms"),
        *(Row(f"CPU of {name}, a message", f"{used * 1e6:.0f} µs") for name, used in cpu.items()),
    ]
    if isinstance(page, Page):
        listed = "{:.1f} {:.1f} ms".format(*_median_and_p99(page.listed or [0.0]))
        rows.append(Row("list while it runs, median and 99 %", listed))
        rows.append(Row("seen by the page's stream", str(page.arrived), page.arrived != len(seconds)))
    return rows


def measure_reading(web: Web, newest: int, sent: int) -> list[Row]:
    """List, search and open."""
    paths = {f"search {query}" if query else "list": f"messages?limit=50&q={quote(query)}" for query in QUERIES}
    paths |= {"open": f"messages/{newest}", "next page": f"messages?limit=50&before={newest - sent // 2}"}
    figures = {name: milliseconds(web, path) for name, path in paths.items()}
    return [
        Row(name, f"{median:.1f} {worst:.1f} ms", median >= GOAL_MILLISECONDS)
        for name, (median, worst) in figures.items()
    ]


def _median_and_p99(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return statistics.median(ordered) * 1000, ordered[len(ordered) * 99 // 100] * 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a goal is missed."""
    options = parse(arguments)
    if options.serve:
        run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
        if options.uvloop:
            from uvloop import run  # noqa: PLC0415 - when asked for
        with Path(os.devnull).open("w", encoding="utf-8") as terminal:
            run(serve(options.store, terminal))
        return 0
    command = [sys.executable, "-m", "bench.inbox", "--serve", *(["--uvloop"] if options.uvloop else [])]
    if options.store:
        command += ["--store", str(options.store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        rows = measure(options, where, process.pid)
        process.stdin.close()
    for row in rows:
        print(f"{row.what:45} {row.figure:>18}{'   GOAL MISSED' if row.is_missed else ''}")
    return int(any(row.is_missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
