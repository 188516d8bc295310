"""A client in memory, for the tests of the server proper.

    async with talk(handler, error_limit=3) as client:
        assert await client.ask("NOOP") == "250 2.0.0 OK"

Octets are delivered from a callback of the loop, where no task is current: as real transports deliver them.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ehlo import LMTP, SMTP, Envelope, Session, Settings
from ehlo.testing import FakeClockLoop, MemoryTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

PATIENCE = 5.0
# Passes of the loop after which a server that has nothing to wait for has said what it wanted to say.
QUIET_PASSES = 20

HookArguments = tuple[SMTP, Session, Envelope]


class Nothing:
    """A handler without hooks."""


class Recorder:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.reasons: list[str] = []

    @property
    def contents(self) -> list[bytes | None]:
        return [envelope.content for envelope in self.envelopes]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    async def handle_DISCONNECT(self, server: SMTP, session: Session, envelope: Envelope, why: str) -> None:
        self.reasons.append(why)


class Client:
    """The other end of one server in memory."""

    def __init__(self, server: SMTP, *, extra: dict[str, Any] | None = None) -> None:
        self.server = server
        self.transport = MemoryTransport(server, extra=extra)

    async def feed(self, *pieces: bytes) -> None:
        """Deliver each piece in a callback of its own."""
        for piece in pieces:
            await in_callback(functools.partial(self.transport.feed, piece))

    async def say(self, *lines: str) -> None:
        """Send lines, together."""
        await self.feed(wire(*lines))

    async def hear(self) -> str:
        """The next reply: its lines without CRLF, joined by LF.  "" when the server has closed."""
        lines = []
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await self.transport.take_line()).decode()
                if not line:
                    break
                assert line.endswith("\r\n"), line
                lines.append(line[:-2])
                if line[3] != "-":
                    break
        return "\n".join(lines)

    async def hear_all(self) -> list[str]:
        """All replies up to the end of the connection."""
        replies = []
        while reply := await self.hear():
            replies.append(reply)
        return replies

    async def ask(self, *lines: str) -> str:
        """Send lines, give the reply."""
        await self.say(*lines)
        return await self.hear()

    async def greet(self) -> None:
        """Hear the greeting and say EHLO, or LHLO."""
        assert (await self.hear()).startswith("220 ")
        verb = "LHLO" if isinstance(self.server, LMTP) else "EHLO"
        assert (await self.ask(f"{verb} client.example")).startswith("250")

    async def begin(self, *recipients: str) -> None:
        """MAIL, and RCPT for each recipient, at least one."""
        assert (await self.ask("MAIL FROM:<from@example.com>")).startswith("250")
        for recipient in recipients or ("to@example.com",):
            assert (await self.ask(f"RCPT TO:<{recipient}>")).startswith("250")

    async def send(self, *lines: str) -> str:
        """A whole transaction with one recipient; the reply to the end of data."""
        await self.begin()
        assert (await self.ask("DATA")).startswith("354")
        return await self.ask(*lines, ".")

    def said(self) -> list[str]:
        """What has been said and not been heard, by lines, right now."""
        lines = bytes(self.transport.sent).decode().splitlines()
        self.transport.sent.clear()
        return lines

    async def is_usable(self) -> bool:
        """Whether the session goes on."""
        return await self.ask("NOOP still there?") == "250 2.0.0 OK"

    async def is_over(self) -> bool:
        """Whether the server closes without another word."""
        return await self.hear() == "" and self.transport.is_closing()

    async def leave(self) -> None:
        """Cut the connection, and wait until nothing of the session is left."""
        await in_callback(self.transport.lose)
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([self.server.task])


def wire(*lines: str) -> bytes:
    """Lines as they are sent."""
    return b"".join(line.encode() + b"\r\n" for line in lines)


async def in_callback(function: Callable[[], object]) -> None:
    """Call ``function`` from the loop, outside of any task."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def call() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - it belongs to the test
            done.set_exception(error)
        else:
            done.set_result(None)

    loop.call_soon(call)
    await done


async def be_quiet() -> None:
    """Let everybody do what can be done without waiting."""
    for _ in range(QUIET_PASSES):
        await asyncio.sleep(0)


async def pass_time(seconds: float) -> None:
    """Let time pass; in a test ``with_fake_clock``."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FakeClockLoop)
    await be_quiet()
    loop.advance(seconds)
    await be_quiet()


def with_fake_clock(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on a loop whose time ``pass_time`` moves."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


@asynccontextmanager
async def talk(
    handler: object | None = None,
    *,
    server_class: type[SMTP] = SMTP,
    is_greeted: bool = True,
    extra: dict[str, Any] | None = None,
    **parameters: Any,
) -> AsyncIterator[Client]:
    """A client of a server of its own; with ``is_greeted`` it has said EHLO (or LHLO) already."""
    settings = Settings(**{"hostname": "mx.test", **parameters})
    server = server_class(Nothing() if handler is None else handler, settings=settings)
    client = Client(server, extra=extra)
    try:
        if is_greeted:
            await client.greet()
        yield client
    finally:
        await client.leave()
        server.shared.close()
    if not server.task.cancelled():
        server.task.result()  # whatever happens in a session, its task does not fail
