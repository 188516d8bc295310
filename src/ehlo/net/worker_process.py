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
from ehlo.net.forked import release, withhold
from ehlo.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OVERTIME = 20.0
"""Seconds after the grace in which a worker says farewell, before it is killed."""
TIME_TO_END = 5.0
"""Seconds in which a worker ends that has said why it cannot serve, before it is killed."""
_LAST_REPORT = 1.0
"""Seconds for what a process that has ended had said; forever, should a child of it have the socket still."""
# For the supervisor alone: systemd would take a worker for it.
_NOT_FOR_WORKERS = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}


# By -m, or by -c alone, it would import from the current directory what this package and Python itself import.
_PROGRAM = """\
import sys
sys.path[:] = sys.argv[2:]
del sys.argv[2:]
from ehlo.worker import main
sys.exit(main(sys.argv[1]))
"""
# What sys.flags tells of options that a worker gets too; those of the environment it has anyway.
_FLAGS = {"optimize": "-O", "dont_write_bytecode": "-B", "bytes_warning": "-b", "verbose": "-v", "no_site": "-S"}
_FLAGS_OF_ISOLATION = {"ignore_environment": "-E", "no_user_site": "-s", "safe_path": "-P"}


class WorkerFailed(EhloError):
    """A worker did not come up; the text says why.

    ``reason`` is the part of it that is the same for every worker; ``status`` the exit status for who gives up.
    """

    def __init__(self, text: str, *, reason: str | None = None, status: int = 1) -> None:
        super().__init__(text)
        self.reason = text if reason is None else reason
        self.status = status


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
        """Whether it has been told to end, by whomever."""
        self.on_leaving: Callable[[], None] = lambda: None
        """Called when somebody else has told it to end."""
        self._covers: list[int] = []
        self._process = process
        self._reader = reader
        self._writer = writer
        self._descriptor: int = writer.get_extra_info("socket").fileno()  # which uvloop does not tell when it is closed
        self._came_up: asyncio.Future[None] = loop.create_future()
        self._deadline: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, number: int, order: Order) -> Self:
        """Start one; ``OSError`` when the system does not."""
        encoded = order.encode()
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo:
            undo.enter_context(ours)
            withhold(ours.fileno())
            undo.callback(release, ours.fileno())
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *_command(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=_environment(),
                    pass_fds=[theirs.fileno(), order.clients, *order.sockets, *order.others],
                )
            undo.callback(_kill, process)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            undo.pop_all()
        writer.write(encoded)
        return cls(number, order.seat, process, reader, writer)

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.pid})"

    @property
    def lived(self) -> float:
        """Seconds since it was ready; 0 if it has not been."""
        return 0.0 if self.ready_since is None else asyncio.get_running_loop().time() - self.ready_since

    async def come_up(self, timeout: float) -> None:
        """Wait until it accepts connections; ``WorkerFailed`` when it does not, and then it is killed."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._came_up)
        except TimeoutError:
            self.kill()
            reason = f"was not ready within {timeout:g} s"
            raise WorkerFailed(f"{self} {reason}", reason=reason) from None
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
            release(self._descriptor)
            self._writer.close()
            if self._deadline is not None:
                self._deadline.cancel()
            self._fail(describe_status(self._process.returncode))
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
        self._kill_after((linger or 0) + grace + OVERTIME)

    def cover(self, sockets: list[int]) -> None:
        """Let it accept from these sockets of others too, and no longer from those that it was told before."""
        if sockets != self._covers:
            self._covers = sockets
            self._say({"cover": sockets})

    def give_up(self, reason: str) -> None:
        """End it, unless it has come up: whoever waits for that is given the reason."""
        if not self._came_up.done():
            self._fail(reason)
            self.kill()

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
            if "failed" in message:
                self._fail(message["failed"], message["status"])
                self._kill_after(TIME_TO_END)
            if "ready" in message and not self._came_up.done():
                self.ready_since = asyncio.get_running_loop().time()
                self._came_up.set_result(None)
            if "stopping" in message and not self.is_dismissed:
                self.is_dismissed = True
                self._kill_after(message["stopping"] + OVERTIME)
                self.on_leaving()

    def _fail(self, reason: str, status: int = 1) -> None:
        if not self._came_up.done():
            text = f"{self} did not come up: {reason}"
            self._came_up.set_exception(WorkerFailed(text, reason=reason, status=status))
            self._came_up.exception()  # somebody may wait for it, or nobody

    def _kill_after(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.kill)


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
    """Python, with the options and the ``sys.path`` of this process, and the socket to talk to."""
    return [sys.executable, *_options(), "-c", _PROGRAM, str(channel), *_path()]


def _options() -> list[str]:
    flags = sys.flags
    options = [option for name, option in _FLAGS.items() for _ in range(getattr(flags, name))]
    if flags.isolated:
        options.append("-I")
    else:
        options += [option for name, option in _FLAGS_OF_ISOLATION.items() if getattr(flags, name)]
    options += [f"-W{option}" for option in sys.warnoptions]
    options += [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]  # noqa: SLF001 - documented
    return options


def _path() -> list[str]:
    """The places of modules, with that of this very package; Python itself ignores what is no text."""
    path = [place for place in sys.path if isinstance(place, str)]  # type: ignore[redundant-expr]
    package = str(Path(__file__).parents[2])
    return path if package in path else [*path, package]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_FOR_WORKERS}
