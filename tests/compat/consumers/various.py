"""Smaller habits: a class for a handler, methods that keep counts, limits of one's own, an async server."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from aiosmtpd.controller import Controller, UnixSocketController
from aiosmtpd.handlers import AsyncMessage, Mailbox, Sink
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session, auth_mechanism, syntax


class DjangoHandler:
    """As a framework's mail tests have it."""

    def __init__(self) -> None:
        self.mailbox: list[Any] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        data = envelope.content
        mail_from = envelope.mail_from
        assert isinstance(data, bytes)
        if b"From:" not in data:
            return f"553 '{mail_from}' != ''"
        self.mailbox.append(data)
        return "250 OK"


class HardenedSMTP(SMTP):
    """An error budget, a limit of recipients: what the library leaves to others."""

    errors = 0

    async def push(self, status: Any) -> None:
        if str(status).startswith("5"):
            self.errors += 1
        await super().push(status)
        if self.errors >= 3:
            await super().push("421 4.7.0 Too many errors")
            assert self.transport is not None
            self.transport.close()

    async def smtp_RCPT(self, arg: str | None) -> None:
        assert self.envelope is not None
        if len(self.envelope.rcpt_tos) >= 2:
            await self.push("452 4.5.3 Too many recipients")
            return
        await super().smtp_RCPT(arg)


class HardenedController(Controller):
    sessions = 0

    def factory(self) -> SMTP:
        type(self).sessions += 1
        return HardenedSMTP(self.handler, **self.SMTP_kwargs)


class Collector(AsyncMessage):
    def __init__(self) -> None:
        super().__init__(loop=None)
        self.subjects: list[str] = []

    async def handle_message(self, message: Any) -> None:
        await asyncio.sleep(0)
        self.subjects.append(f"{message['Subject']} {message['X-MailFrom']} {message['X-RcptTo']}")


async def serve_lmtp(handler: Any, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractServer:
    """With ``functools.partial`` for a factory."""
    return await loop.create_server(functools.partial(LMTP, handler, enable_SMTPUTF8=True), "127.0.0.1", 0)


class BrokenFactory(Controller):
    def factory(self) -> Any:
        raise KeyError("no server today")


class NoFactory(Controller):
    def factory(self) -> Any:
        return None


__all__ = ["Mailbox", "Sink", "UnixSocketController", "auth_mechanism", "syntax"]
