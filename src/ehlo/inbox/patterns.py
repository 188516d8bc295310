"""Searches for regular expressions of others, in a process of its own that is ended when it takes too long.

``re`` holds the interpreter's lock while it searches, and ``(a+)+$`` on thirty letters takes minutes: in a thread it
would stop the server as surely as in the loop.  Knows patterns and text; does not know messages.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from pathlib import Path
from typing import IO

from ehlo.inbox.child import Child

SECONDS = 0.5
"""For one search."""
START_SECONDS = 10.0
"""For the first one, while the process starts."""

# No site module and nothing of this folder in the path: it needs the standard library alone.
_COMMAND = [sys.executable, "-I", "-S", str(Path(__file__).with_name("pattern_worker.py"))]


class TooSlow(Exception):
    """The search was given up."""


class NotBegun(TooSlow):
    """It could not even begin: that says nothing about the pattern."""


class PatternProcess:
    """The process, started when it is first needed.  Its methods block and may be called in any thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._child = Child(_COMMAND, _read_line, hello=_question("", 0, [""]), start_seconds=START_SECONDS)

    def search(self, pattern: re.Pattern[str], texts: list[str]) -> bool:
        """Whether the pattern is found in any of the texts; ``TooSlow`` if that does not show in time."""
        question = _question(pattern.pattern, pattern.flags & ~re.UNICODE.value, texts)
        with self._turn:
            if not self._child.start():
                raise NotBegun("the search for a regular expression could not begin in time")
            answer = self._child.ask([question], SECONDS)
        if answer is None:
            raise TooSlow("the search for a regular expression took too long")
        return bool(json.loads(answer))

    def close(self) -> None:
        """End the process, if there is one."""
        with self._turn:
            self._child.end()


def _question(pattern: str, flags: int, texts: list[str]) -> bytes:
    return json.dumps([pattern, flags, texts]).encode() + b"\n"


def _read_line(pipe: IO[bytes]) -> bytes | None:
    line = pipe.readline()
    return line if line.endswith(b"\n") else None
