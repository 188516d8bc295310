"""A process that answers questions, and is ended when an answer takes too long.  Does not know what it is asked."""

from __future__ import annotations

import subprocess
import threading
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Child:
    """The process, started when it is first asked.  One question at a time: its owner sees to that.

    ``read`` takes an answer from the pipe; None when it breaks off.  ``hello`` is what a process is asked first, for
    which it has ``start_seconds``.
    """

    def __init__(
        self,
        command: Sequence[str],
        read: Callable[[IO[bytes]], bytes | None],
        *,
        hello: bytes,
        start_seconds: float,
    ) -> None:
        self._command = command
        self._read = read
        self._hello = hello
        self._start_seconds = start_seconds
        self._maybe_process: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """Start it, unless it runs; whether it runs now."""
        if self._maybe_process is not None and self._maybe_process.poll() is not None:
            self.end()  # somebody else has ended it: the next question is not to suffer for that
        if self._maybe_process is None:
            try:
                self._maybe_process = subprocess.Popen(  # noqa: S603 - the command is a file of this package
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
            except OSError:  # no memory, or no descriptors, for another process: perhaps the next time
                return False
            self.ask([self._hello], self._start_seconds)
        return self._maybe_process is not None

    def ask(self, question: Sequence[bytes], seconds: float) -> bytes | None:
        """The answer to a process that was started; None if none came in time.

        The process has ended then; also if its time was over in the moment in which it answered.
        """
        process = self._maybe_process
        assert process is not None
        stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        is_over = threading.Event()

        def give_up() -> None:
            is_over.set()
            process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.start()
        answer = None
        try:
            for piece in question:
                stdin.write(piece)
            stdin.flush()
            answer = self._read(stdout)
        except OSError:  # it has ended
            answer = None
        finally:
            timer.cancel()
            timer.join()
            if answer is None or is_over.is_set():
                self.end()
        return answer

    def end(self) -> None:
        """End it at once, if it runs."""
        process, self._maybe_process = self._maybe_process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                try:
                    cast("IO[bytes]", pipe).close()
                except OSError:  # what could not be written before it ended
                    continue
