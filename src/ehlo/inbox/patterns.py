"""Searches for regular expressions of others, in a process of its own that is ended when it takes too long.

``re`` holds the interpreter's lock while it searches, and ``(a+)+$`` on thirty letters takes minutes: in a thread it
would stop the server as surely as in the loop.  Knows patterns and text; does not know messages.

Run as a script it is the process: a JSON array ``[pattern, flags, [text ...]]`` a line comes in, ``true`` or ``false``
goes out.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from typing import IO, cast

SECONDS = 0.5
"""For one search."""
START_SECONDS = 10.0
"""For the first one, while the process starts."""


class TooSlow(Exception):
    """The search was given up."""


class PatternProcess:
    """The process, started when it is first needed.  Its methods block and may be called in any thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._maybe_process: subprocess.Popen[bytes] | None = None

    def search(self, pattern: re.Pattern[str], texts: list[str]) -> bool:
        """Whether the pattern is found in any of the texts; ``TooSlow`` if that does not show in time."""
        line = json.dumps([pattern.pattern, pattern.flags & ~re.UNICODE.value, texts]).encode() + b"\n"
        with self._turn:
            answer = self._asked(self._running(), line, SECONDS)
        if not answer.endswith(b"\n"):
            raise TooSlow("the search for a regular expression took too long")
        return bool(json.loads(answer))

    def close(self) -> None:
        """End the process, if there is one."""
        with self._turn:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._maybe_process is None:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._maybe_process = process
            self._asked(process, b'["", 0, [""]]\n', START_SECONDS)
            if self._maybe_process is None:
                raise TooSlow("the search for a regular expression could not begin in time")
        return self._maybe_process

    def _asked(self, process: subprocess.Popen[bytes], line: bytes, seconds: float) -> bytes:
        """The answer; without a line end if none came in time.

        The process has ended then; also if its time was over in the moment in which it answered.
        """
        is_over = threading.Event()

        def give_up() -> None:
            is_over.set()
            process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.start()
        answer = b""
        try:
            answer = _ask(process, line)
        except OSError:  # it has ended
            answer = b""
        finally:
            timer.cancel()
            timer.join()
            if is_over.is_set() or not answer.endswith(b"\n"):
                self._end()
        return answer

    def _end(self) -> None:
        process, self._maybe_process = self._maybe_process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                try:
                    cast("IO[bytes]", pipe).close()
                except OSError:  # what could not be written before it ended
                    continue


def _ask(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    stdin.write(line)
    stdin.flush()
    return stdout.readline()


def main() -> None:
    """Answer until nobody asks any more."""
    for line in sys.stdin.buffer:
        pattern, flags, texts = json.loads(line)
        found = any(re.search(pattern, text, flags) for text in texts)
        sys.stdout.write("true\n" if found else "false\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
