"""Applications for the tests of workers, and what helps to talk to them.

A client can ask what the process that serves it is, and let it do what processes should not: by VRFY.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehlo import SMTP, Envelope, LimitSettings, Rate, Session, SMTPServer, serve
from ehlo.controller import serve_workers
from ehlo.credentials import fake_secret
from ehlo.net.networks import Networks
from tests.net.support import HOST, Caller, calling

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from ehlo.net.supervisor import Workers

PATIENCE = 20.0
"""Seconds: a worker is a process that has to start, on a machine that has other things to do."""


class Handler:
    """Keeps messages as files."""

    def __init__(self, folder: str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.count = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        if self.folder is not None:
            self.count += 1
            (self.folder / f"{os.getpid()}-{self.count}").write_bytes(envelope.content or b"")

    async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str | None:
        match arg.split():
            case ["pid"]:
                return f"252 2.0.0 {os.getpid()}"
            case ["secret"]:
                return f"252 2.0.0 {hashlib.sha256(fake_secret()).hexdigest()}"
            case ["loop"]:
                return f"252 2.0.0 {type(asyncio.get_running_loop()).__module__}"
            case ["environment", name]:
                return f"252 2.0.0 {os.environ.get(name)}"
            case ["block"]:
                time.sleep(PATIENCE)  # noqa: ASYNC251 - on purpose
            case ["exit", status]:
                os._exit(int(status))
        return None


def make(sockets: Sequence[socket.socket], folder: str | None = None) -> SMTPServer:
    return serve(Handler(folder), sockets=sockets, hostname="mx.test", stall_threshold=None)


async def make_in_time(sockets: Sequence[socket.socket]) -> SMTPServer:
    await asyncio.sleep(0)
    return make(sockets)


async def make_when(sockets: Sequence[socket.socket], file: str) -> SMTPServer:
    await until(lambda: Path(file).exists())
    return make(sockets)


def make_limited(sockets: Sequence[socket.socket], text: str) -> SMTPServer:
    limits: dict[str, Any] = json.loads(text)
    for name, value in limits.items():
        limits[name] = Rate.parse(value) if isinstance(value, str) else value
    settings = LimitSettings(exempt=Networks([]), **limits)
    return serve(Handler(), sockets=sockets, hostname="mx.test", stall_threshold=None, limits=settings)


def make_unless(sockets: Sequence[socket.socket], file: str) -> SMTPServer:
    if Path(file).exists():
        raise LookupError(f"{Path(file).name} is there")
    return make(sockets)


def make_unless_and_stay(sockets: Sequence[socket.socket], file: str) -> SMTPServer:
    if Path(file).exists():
        threading.Thread(target=time.sleep, args=(PATIENCE,)).start()
    return make_unless(sockets, file)


def leave(_sockets: Sequence[socket.socket], status: str) -> SMTPServer:
    raise SystemExit(int(status) if status.isdecimal() else status)


def die(_sockets: Sequence[socket.socket]) -> SMTPServer:
    os._exit(7)


def take_long(_sockets: Sequence[socket.socket]) -> SMTPServer:
    time.sleep(PATIENCE)
    raise AssertionError("nobody waits for so long")


def make_nonsense(_sockets: Sequence[socket.socket]) -> str:
    return "nonsense"


def make_elsewhere(_sockets: Sequence[socket.socket]) -> SMTPServer:
    return serve(Handler(), HOST, 0, hostname="mx.test")


def some(name: str = "make", *arguments: str, workers: int = 2, **where: Any) -> Workers:
    """Workers that serve one of the applications above."""
    if not where.keys() & {"unix_path", "sockets"}:
        where = {"host": HOST, "port": 0} | where
    return serve_workers(f"{__name__}:{name}", workers=workers, arguments=arguments, **where)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another process makes true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@asynccontextmanager
async def calling_worker(workers: Workers, pid: int) -> AsyncIterator[Caller]:
    """A client whom a certain process serves, and who has said EHLO."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with calling(workers.port) as caller:
                await caller.greet()
                if await pid_of(caller) == pid:
                    yield caller
                    return


async def pid_of(caller: Caller) -> int:
    return int((await caller.ask("VRFY pid")).split()[-1])


async def who_serves(workers: Workers) -> int:
    """The process that happens to serve a new connection."""
    async with calling(workers.port) as caller:
        await caller.hear()
        return await pid_of(caller)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked for its status does not."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False


def have_ended(pids: Sequence[int]) -> bool:
    """Wait for processes to end that are nobody's children here."""
    until = time.monotonic() + PATIENCE
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.005)
    return not any(map(is_alive, pids))
