"""The command as a process: `python -W error -m ehlo`, with the signals and exit statuses of a real one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROJECT = Path(__file__).parents[2]
PATIENCE = 20.0


class Command:
    """A command that runs.  ``out`` and ``err`` gather what it says."""

    def __init__(
        self, *arguments: str, cwd: Path = PROJECT, reads_output: bool = True, pass_fds: Sequence[int] = ()
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *arguments],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(PROJECT / "src"), "PYTHONUNBUFFERED": "1"},
            pass_fds=pass_fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        if not reads_output and self.process.stdout is not None:
            self.process.stdout.close()  # long before anything is written
        self.out = _Gathered(self.process.stdout)
        self.err = _Gathered(self.process.stderr)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status."""
        status = self.process.wait(PATIENCE)
        self.out.finish()
        self.err.finish()
        return status

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()


class _Gathered:
    """What comes out of a pipe, read by a thread so that the pipe never fills."""

    def __init__(self, maybe_pipe: IO[str] | None) -> None:
        assert maybe_pipe is not None
        self._pipe = maybe_pipe
        self._text = ""
        self._changed = threading.Condition()
        self._is_over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        return self._text

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match, as soon as there is one; an AssertionError with everything else when there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or re.search(pattern, self._text), PATIENCE)
            match = re.search(pattern, self._text)
        assert match is not None, f"no {pattern!r} in:\n{self._text}"
        return match

    def finish(self) -> None:
        self._thread.join(PATIENCE)
        self._pipe.close()

    def _read(self) -> None:
        for line in () if self._pipe.closed else self._pipe:
            with self._changed:
                self._text += line
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()


@contextmanager
def running(
    *arguments: str, cwd: Path = PROJECT, reads_output: bool = True, pass_fds: Sequence[int] = ()
) -> Iterator[Command]:
    """A command, killed at the end if it still runs."""
    command = Command(*arguments, cwd=cwd, reads_output=reads_output, pass_fds=pass_fds)
    try:
        yield command
    finally:
        command.process.kill()
        command.wait()
