"""A worker, as its supervisor sees it: a process, and a socket to talk to it.

Knows processes and messages; does not know why a worker is wanted, nor what it serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ehlo.errors import EhloError
from ehlo.net.channel import Message, Order, encode, receive
from ehlo.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULE = "ehlo.worker"
OVERTIME = 20.0
"""Seconds after the grace in which a worker says farewell, before it is killed."""
_LAST_REPORT = 1.0
"""Seconds for what a process that has ended had said; forever, should a child of it have the socket still."""
# For the supervisor alone: systemd would take a worker for it.
_NOT_FOR_WORKERS = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}


class WorkerFailed(EhloError):
    """A worker did not come up; the text says why."""


class WorkerProcess:
    """One process.  ``stats`` is what it has reported last; ``silence`` counts up until it reports again."""

    def __init__(
        self,
        number: int,
        seat: int,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.seat = seat
        self.pid = process.pid
        self.stats = Stats()
        self.silence = 0
        self.status: int | None = None
        """As ``Popen.returncode``; None while it runs."""
        self.ready_since: float | None = None
        self.is_dismissed = False
        """Whether it has been told to end."""
        self._process = process
        self._reader = reader
        self._writer = writer
        self._failure = ""
        self._came_up: asyncio.Future[None] = loop.create_future()
        self._deadline: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, number: int, order: Order) -> Self:
        """Start one; ``OSError`` when the system does not."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo:
            undo.enter_context(ours)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *_command(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=_environment(),
                    pass_fds=[theirs.fileno(), order.clients, *order.sockets],
                )
            undo.callback(_kill, process)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            undo.pop_all()
        writer.write(order.encode())
        return cls(number, order.seat, process, reader, writer)

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.pid})"

    async def come_up(self, timeout: float) -> None:
        """Wait until it accepts connections; ``WorkerFailed`` when it does not, and then it is killed."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._came_up)
        except TimeoutError:
            self.kill()
            raise WorkerFailed(f"{self} was not ready within {timeout:g} s") from None
        except asyncio.CancelledError:
            self.kill()
            raise

    async def end(self) -> int:
        """Read what it reports until it has ended, and give its status.  To be called once, right after ``start``."""
        reading = asyncio.create_task(self._read())
        try:
            self.status = await self._process.wait()
            await asyncio.wait([reading], timeout=_LAST_REPORT)
        finally:
            reading.cancel()
            self._writer.close()
            if self._deadline is not None:
                self._deadline.cancel()
            if not self._came_up.done():
                reason = self._failure or describe_status(self._process.returncode)
                self._came_up.set_exception(WorkerFailed(f"{self} did not come up: {reason}"))
                self._came_up.exception()  # somebody may wait for it, or nobody
        return self.status

    def stop(self, grace: float, linger: float | None = None) -> None:
        """Tell it to end: to finish open transactions within ``grace`` seconds; to go on for ``linger`` before that.

        Told again without a grace, it ends at once.  It is killed if it takes much longer, or is not ready yet.
        """
        self.is_dismissed = True
        if self.ready_since is None:
            self.kill()
            return
        self._say({"stop": grace} if linger is None else {"stop": grace, "linger": linger})
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later((linger or 0) + grace + OVERTIME, self.kill)

    def kill(self) -> None:
        """End it, whatever it does."""
        _kill(self._process)

    def _say(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def _read(self) -> None:
        while (message := await receive(self._reader)) is not None:
            self.silence = 0
            if "stats" in message:
                self.stats = Stats.from_dict(message["stats"])
            self._failure = message.get("failed", self._failure)
            if "ready" in message and not self._came_up.done():
                self.ready_since = asyncio.get_running_loop().time()
                self._came_up.set_result(None)


def describe_status(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None or status >= 0:
        return f"it exited with status {status}"
    try:
        return f"it was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was killed by signal {-status}"


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _command(channel: int) -> Sequence[str]:
    """Python, as this process was started, and the socket to talk to."""
    flags = [f"-W{option}" for option in sys.warnoptions]
    flags += ["-Xdev"] * sys.flags.dev_mode + ["-I"] * sys.flags.isolated
    return [sys.executable, *flags, "-m", MODULE, str(channel)]


def _environment() -> dict[str, str]:
    """The same environment, in which this very package is found; where other things are, the order says."""
    folder = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    return {name: value for name, value in os.environ.items() if name not in _NOT_FOR_WORKERS} | {"PYTHONPATH": path}
