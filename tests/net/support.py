"""Connections to play with, and clients of real sockets: for the tests of what is between the loop and SMTP."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import trustme

from ehlo.controller import SMTPServer, serve
from ehlo.errors import Disconnected, Goodbye
from ehlo.net.connection import Connection
from ehlo.net.serve import Server
from ehlo.testing import MemoryTransport
from tests.support import Nothing, in_callback

HOST = "127.0.0.1"
PATIENCE = 5.0
LINE = b"x" * 98 + b"\r\n"

Script = Callable[["Speaker"], Awaitable[None]]


class Speaker(Connection):
    """A connection whose dialogue is a function; ``did`` and ``ended_by`` tell what became of it."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script
        self.did: list[object] = []
        self.ended_by: BaseException | None = None
        self.is_in_transaction = False

    async def _converse(self) -> None:
        try:
            await self.script(self)
        except (Goodbye, Disconnected) as error:
            self.ended_by = error.with_traceback(None)

    def _is_between_transactions(self) -> bool:
        return not self.is_in_transaction

    async def hear(self, timeout: float = 300) -> bytes:
        return await self._next_line(100_000, timeout)

    async def say(self, data: bytes) -> None:
        self._write(data)
        await self._drain()


async def echo(speaker: Speaker) -> None:
    """Say what the client says."""
    while True:
        line = await speaker.hear()
        speaker.did.append(line)
        await speaker.say(line + b"\r\n")


def in_memory(script: Script) -> tuple[Speaker, MemoryTransport]:
    speaker = Speaker(script)
    return speaker, MemoryTransport(speaker)


async def feed(transport: MemoryTransport, *pieces: bytes) -> None:
    """Deliver each piece as real transports do: in a callback of its own."""
    for piece in pieces:
        await in_callback(functools.partial(transport.feed, piece))


async def ended(connection: Connection) -> None:
    """Wait until the connection's task is over, whatever its end."""
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([connection.task])


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the network or another thread makes true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)


@contextlib.contextmanager
def without_the_collector() -> Iterator[None]:
    """What is still there within has somebody who needs it: cycles are not broken up."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Caller:
    """A client of a real server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hear(self) -> str:
        """The next reply: its lines without CRLF, joined by LF.  "" when the server has closed."""
        lines = []
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await self.reader.readline()).decode()
                if not line:
                    break
                lines.append(line.removesuffix("\r\n"))
                if line[3:4] != "-":
                    break
        return "\n".join(lines)

    async def ask(self, *lines: str) -> str:
        """Send lines together, give the first reply."""
        self.send("".join(line + "\r\n" for line in lines).encode())
        return await self.hear()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def greet(self, verb: str = "EHLO") -> str:
        """Hear the greeting if there is one to hear, say EHLO, give its reply."""
        assert (await self.hear()).startswith("220 ")
        reply = await self.ask(f"{verb} client.example")
        assert reply.startswith("250")
        return reply

    async def begin(self) -> None:
        """MAIL and RCPT."""
        assert (await self.ask("MAIL FROM:<from@example.com>")).startswith("250 ")
        assert (await self.ask("RCPT TO:<to@example.com>")).startswith("250 ")

    async def mail(self, *lines: str) -> str:
        """A whole transaction; the reply to the end of data."""
        await self.begin()
        assert (await self.ask("DATA")).startswith("354 ")
        return await self.ask(*(lines or ("Subject: test", "", "text")), ".")

    async def start_tls(self, context: ssl.SSLContext, name: str | None = None) -> None:
        """The handshake, after a 220 to STARTTLS."""
        async with asyncio.timeout(PATIENCE):
            await self.writer.start_tls(context, server_hostname=name)

    async def has_ended(self) -> bool:
        """Whether the server says nothing more and closes."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read() == b""
        except ConnectionError:
            return True

    def reset(self) -> None:
        """End the connection the hard way."""
        taken: socket.socket = self.writer.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


@asynccontextmanager
async def calling(
    target: Server | int | str, context: ssl.SSLContext | None = None, name: str | None = None
) -> AsyncIterator[Caller]:
    """A client of a server, a port or a path; with TLS from the start if a context is given."""
    if isinstance(target, str):
        reader, writer = await asyncio.open_unix_connection(target)
    else:
        port = target if isinstance(target, int) else target.port
        server_name = (name or HOST) if context is not None else None
        reader, writer = await asyncio.open_connection(HOST, port, ssl=context, server_hostname=server_name)
    caller = Caller(reader, writer)
    try:
        yield caller
    finally:
        caller.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(caller.writer.wait_closed(), PATIENCE)


def listening(script: Script, speakers: list[Speaker] | None = None) -> Server:
    """A real server of speakers, which are put into ``speakers``."""

    def make() -> Speaker:
        speaker = Speaker(script)
        if speakers is not None:
            speakers.append(speaker)
        return speaker

    return Server(make, host=HOST, stall_threshold=None)


def smtp(handler: object | None = None, **parameters: Any) -> SMTPServer:
    """A server of SMTP on a port of its own, which nobody watches."""
    where = {"host": HOST, "port": 0, "hostname": "mx.test", "stall_threshold": None}
    return serve(Nothing() if handler is None else handler, **{**where, **parameters})


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def certificate(*names: str) -> trustme.LeafCert:
    return authority().issue_cert(*(names or (HOST, "mx.example")))


def server_context(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(*names).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context
