"""A next server for the tests of Proxy, which fails where and how it is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ehlo import LMTP, SMTP, serve
from ehlo.errors import Disconnected, Goodbye

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ehlo import Chunks, Envelope, Session, SMTPServer

STAGES = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT", "END")


async def _refuse_for_now(server: SMTP) -> None:
    await server.push("450 4.7.1 Not now")


async def _refuse_for_ever(server: SMTP) -> None:
    await server.push("554 5.7.1 Never")


async def _say_goodbye(server: SMTP) -> None:
    raise Goodbye("told to", text="Going away")


async def _drop(server: SMTP) -> None:
    server.transport.abort()
    raise Disconnected("told to")


async def _close(server: SMTP) -> None:
    server.transport.close()
    raise Disconnected("told to")


async def _talk_nonsense(server: SMTP) -> None:
    await server.push(b"250OK, or what")


async def _go_on(server: SMTP) -> None:
    await server.push("354 Go on")


async def _be_silent(server: SMTP) -> None:
    await asyncio.Event().wait()


FAILURES: dict[str, Callable[[SMTP], Awaitable[None]]] = {
    "refuses for now": _refuse_for_now,
    "refuses for ever": _refuse_for_ever,
    "says goodbye": _say_goodbye,
    "drops": _drop,
    "closes": _close,
    "talks nonsense": _talk_nonsense,
    "goes on": _go_on,
    "is silent": _be_silent,
}


class Upstream:
    """A handler that keeps what it accepted: ``messages`` as (sender, recipients, content).

    ``status`` answers the end of data.  ``missing`` are keywords that EHLO leaves out.  ``fails_at`` is one of STAGES,
    ``failure`` one of FAILURES; ``failed`` is set when that has happened.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[str | None, list[str], bytes]] = []
        self.envelopes: list[Envelope] = []
        self.received = asyncio.Event()
        self.status: Any = None
        self.missing: set[str] = set()
        self.fails_at = ""
        self.failure = ""
        self.failed = asyncio.Event()
        self.sessions = 0
        self.verbs: list[str] = []
        self.ends: list[str] = []
        self.ended = asyncio.Event()

    async def fail(self, server: SMTP, stage: str) -> bool:
        """Fail, if this is the stage for it."""
        if stage != self.fails_at:
            return False
        self.failed.set()
        await FAILURES[self.failure](server)
        return True

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.sessions += 1

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        return [line for line in lines if line.partition(" ")[0] not in self.missing]

    async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> Any:
        content = b""
        async for chunk in chunks:
            content += chunk
            self.received.set()
            if await self.fail(server, "CONTENT"):
                return "554 5.3.0 Failed already"
        if await self.fail(server, "END"):
            raise Disconnected("has said what it had to say")
        self.envelopes.append(envelope)
        if not isinstance(self.status, str) or self.status.startswith("2"):
            self.messages.append((envelope.mail_from, list(envelope.rcpt_tos), content))
        return self.status

    async def handle_DISCONNECT(self, server: SMTP, session: Session, envelope: Envelope, why: str) -> None:
        self.ends.append(str(why))
        self.ended.set()


class _Unreliable(SMTP):
    event_handler: Upstream

    async def _welcome(self) -> None:
        if not await self.event_handler.fail(self, "CONNECT"):
            await super()._welcome()

    async def smtp_EHLO(self, arg: str | None) -> None:
        if not await self._fails("EHLO"):
            await super().smtp_EHLO(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:
        if not await self._fails("MAIL"):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:
        if not await self._fails("RCPT"):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str | None) -> None:
        if not await self._fails("DATA"):
            await super().smtp_DATA(arg)

    async def smtp_RSET(self, arg: str | None) -> None:
        if not await self._fails("RSET"):
            await super().smtp_RSET(arg)

    async def smtp_QUIT(self, arg: str | None) -> None:
        if not await self._fails("QUIT"):
            await super().smtp_QUIT(arg)

    async def _fails(self, stage: str) -> bool:
        self.event_handler.verbs.append(stage)
        return await self.event_handler.fail(self, stage)


class UnreliableSMTP(_Unreliable):
    """An SMTP server for ``Upstream``."""


class UnreliableLMTP(_Unreliable, LMTP):
    """The same for LMTP."""


@asynccontextmanager
async def running(handler: object, **where_and_how: Any) -> AsyncIterator[SMTPServer]:
    """A server that is not waited for at the end."""
    if "unix_path" not in where_and_how:
        where_and_how = {"host": "127.0.0.1", "port": 0, **where_and_how}
    server = serve(handler, **{"hostname": "mx.example", **where_and_how})
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace=0)
