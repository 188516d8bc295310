"""A Chromium that shows the page, and what processes take.  Knows the browser; does not know what is measured.

Nothing is attached to it while it shows the page: a debugger would be told of each event, by each of its processes.
What it shows is read from the title of its tab, which begins with the number of unread messages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 30.0
SETTLING = 2.0
"""Seconds that a browser is busy with itself after it has shown something."""
_PAUSE = 0.02
_COUNT = re.compile(r"\(([0-9,]+)\) ")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def find_chromium() -> str | None:
    """The program: that of the variable CHROMIUM, or the first one of the usual names."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """Shows the page from when it is made until ``close``.  ``TimeoutError`` if it does not."""

    def __init__(self, program: str, url: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ehlo-bench-", ignore_cleanup_errors=True)
        options = ["--headless=new", "--no-first-run", "--lang=en", "--window-size=1280,800"]
        options += [f"--user-data-dir={self._folder.name}", "--remote-debugging-port=0"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")  # it refuses to run as root with one
        self._process = subprocess.Popen([program, *options, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._until(lambda: "ehlo inbox" in self._title())
        except TimeoutError:
            self.close()
            raise
        sleep(SETTLING)
        self.pid = self._process.pid
        self._began_with = self._shown()

    def wait_for(self, count: int) -> float:
        """Wait until it shows so many more messages than at first; the seconds that it took."""
        started = perf_counter()
        self._until(lambda: self._shown() >= self._began_with + count)
        return perf_counter() - started

    def close(self) -> None:
        """End it, and remove what it has written."""
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = perf_counter() + PATIENCE
        while not condition():
            if perf_counter() > deadline:
                raise TimeoutError("Chromium does not show the page")
            sleep(_PAUSE)

    def _shown(self) -> int:
        match = _COUNT.match(self._title())
        return int(match[1].replace(",", "")) if match else 0

    def _title(self) -> str:
        """The title of its tab, as it tells whoever might want to debug it; empty while it does not."""
        with suppress(OSError, ValueError, IndexError):  # the file is written, or the browser ends
            port = int((Path(self._folder.name) / "DevToolsActivePort").read_text().split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
                return next((str(tab["title"]) for tab in json.load(answer) if tab["type"] == "page"), "")
        return ""


def cpu_seconds(root: int) -> float:
    """What a process and those that it has started have taken so far; 0 where /proc does not tell."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            # proc(5): pid (comm) state ppid ...; utime and stime are the 14th and the 15th
            fields = path.read_text().rpartition(")")[2].split()
            pid = int(path.parent.name)
            children[int(fields[1])].append(pid)
            ticks[pid] = int(fields[11]) + int(fields[12])
    found = [root]
    for pid in found:  # it grows meanwhile
        found += children[pid]
    return sum(ticks.get(pid, 0) for pid in found) / _TICKS
