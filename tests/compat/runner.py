"""Holds dialogues with a server of either root, in one event loop, and notes what was said, seen and logged.

Nothing sleeps: server and client share the loop, so a server that has said nothing in so many turns of it has nothing
to say.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import trustme

from tests.compat.dialogues import Act, Dialogue, Step
from tests.compat.roots import load

if TYPE_CHECKING:
    import ssl
    import types

PATIENCE = 5.0
# Turns of the loop in which nothing comes: after a reply, and where none is awaited.
QUIET = 8
VERY_QUIET = 25

# What came ends in a line that is not to be continued.
_COMPLETE = re.compile(rb"(?:\A|\n)(?![0-9]{3}-)[^\n]*\n\Z")
_PEER = re.compile(r"\('127\.0\.0\.1', \d+\)")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")

CLOSED = b"(closed)"


@dataclass(frozen=True)
class Outcome:
    """What came of a dialogue: octets by step, what hooks saw, and what was logged."""

    said: list[bytes]
    seen: list[Any]
    logged: list[str]


class _Ear(asyncio.Protocol):
    """A client that only listens."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.is_over = False
        self.changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.changed.set()

    def eof_received(self) -> bool:
        self.is_over = True
        self.changed.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self.changed.set()


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the server, and for the client."""
    import ssl

    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("mx.test").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class Servers:
    """The servers of one root, each started when it is first asked for."""

    def __init__(self, root: str, level: int) -> None:
        self._level = level
        self._program: types.ModuleType = load("setups", root)
        self._running: dict[str, tuple[asyncio.Server, Any, int]] = {}

    async def play(self, dialogue: Dialogue) -> Outcome:
        """Hold it."""
        port, handler = await self._find(dialogue.setup)
        seen: list[Any] = []
        if hasattr(handler, "seen") and not isinstance(handler, type):
            handler.seen = seen
        with _logged(self._level) as logged:
            said = await _talk(port, dialogue.steps, is_wrapped=self._program.SETUPS[dialogue.setup].is_wrapped)
        return Outcome(said, seen, logged)

    async def close(self) -> None:
        for server, _, _ in self._running.values():
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, name: str) -> tuple[int, Any]:
        if name not in self._running:
            setup = self._program.SETUPS[name]
            handler = setup.handler()
            loop = asyncio.get_running_loop()
            context, _ = contexts()
            factory = self._program.make_factory(setup, handler, context, loop)
            server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context if setup.is_wrapped else None)
            self._running[name] = (server, handler, server.sockets[0].getsockname()[1])
        _, handler, port = self._running[name]
        return port, handler


async def _talk(port: int, steps: tuple[Step, ...], *, is_wrapped: bool) -> list[bytes]:
    loop = asyncio.get_running_loop()
    _, context = contexts()
    transport, ear = await loop.create_connection(
        _Ear, "127.0.0.1", port, ssl=context if is_wrapped else None, server_hostname="mx.test" if is_wrapped else None
    )
    is_greeted = not (steps and isinstance(steps[0], bytes))
    said = [await _listen(ear, is_awaited=is_greeted)]
    try:
        for step, next_step in zip_longest(steps, steps[1:]):
            if ear.is_over:
                break
            if step is Act.HANDSHAKE:
                if not said[-1].startswith(b"220"):
                    said.append(b"(no TLS)")
                    continue
                try:
                    upgraded = await loop.start_tls(transport, ear, context, server_hostname="mx.test")
                except OSError as error:
                    said.append(type(error).__name__.encode())
                    break
                assert upgraded is not None
                transport = upgraded
                said.append(await _listen(ear, is_awaited=False))
            elif step is Act.EOF:
                transport.write_eof()
                said.append(await _listen(ear, is_awaited=False))
            elif isinstance(step, bytes):
                transport.write(step)
                # The end comes with what is before it.
                said.append(b"" if next_step is Act.EOF else await _listen(ear, is_awaited=False))
            else:
                transport.write(step.encode() + b"\r\n")
                said.append(await _listen(ear, is_awaited=True))
        if said[-1].endswith(CLOSED):
            said.append(await _listen(ear, is_awaited=False))
    finally:
        transport.abort()
        # So that the server has seen it, and logged it.
        for _ in range(6):
            await asyncio.sleep(0)
    return said


async def _listen(ear: _Ear, *, is_awaited: bool) -> bytes:
    """What comes until nothing comes; a step that awaits a reply waits for it."""
    if is_awaited:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not (_COMPLETE.search(ear.heard) or ear.is_over):
                    ear.changed.clear()
                    await ear.changed.wait()
    quiet, patience = 0, QUIET if is_awaited else VERY_QUIET
    while quiet < patience and not ear.is_over:
        before = len(ear.heard)
        await asyncio.sleep(0)
        quiet = quiet + 1 if before == len(ear.heard) else 0
    heard = bytes(ear.heard) + (CLOSED if ear.is_over else b"")
    ear.heard.clear()
    return heard


class _Collector(logging.Handler):
    """What is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = _ADDRESS.sub("0x", _PEER.sub("(peer)", record.getMessage()))
        self.lines.append(f"{record.levelname} {text}")


@contextmanager
def _logged(level: int) -> Iterator[list[str]]:
    collector = _Collector()
    levels = {"mail.log": level, "mail.debug": logging.WARNING}
    before = []
    for name, lowest in levels.items():
        logger = logging.getLogger(name)
        before.append((logger, logger.level, logger.propagate))
        logger.addHandler(collector)
        logger.setLevel(lowest)
        logger.propagate = False
    try:
        yield collector.lines
    finally:
        for logger, old_level, propagates in before:
            logger.removeHandler(collector)
            logger.setLevel(old_level)
            logger.propagate = propagates


def play_all(dialogues: list[Dialogue], *roots: str, level: int = logging.INFO) -> dict[str, list[Outcome]]:
    """Hold all dialogues with the servers of each root, in a loop of their own.  ``level`` is that of mail.log."""
    outcomes: dict[str, list[Outcome]] = {}

    async def play(root: str) -> list[Outcome]:
        servers = Servers(root, level)
        try:
            return [await servers.play(dialogue) for dialogue in dialogues]
        finally:
            await servers.close()

    for root in roots:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.get_loop().set_exception_handler(lambda loop, context: None)
            outcomes[root] = runner.run(play(root))
    return outcomes
