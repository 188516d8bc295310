"""In the manner of a chat server's mail gateway: a socket of its own, and its own words for what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from email.message import Message as EmailMessage
from typing import Any

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import SMTP, TLSSetupException

logger = logging.getLogger("gateway")


class Handler(Message):
    def __init__(self, domain: str) -> None:
        super().__init__()
        self.domain = domain
        self.messages: list[EmailMessage] = []
        self.errors: list[tuple[str, str]] = []

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if not address.endswith("@" + self.domain):
            return "550 5.1.1 Bad destination mailbox address"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def handle_message(self, message: EmailMessage) -> None:
        self.messages.append(message)

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, TLSSetupException):
            cause = error.__cause__ or error
            self.errors.append(("TLS", type(cause).__name__))
            return "421 4.7.0 TLS error"
        self.errors.append((type(error).__name__, str(error)))
        return "421 4.3.0 Server error"


class PermissionsDropped(Exception):
    """Said by the socket."""


class Server(UnthreadedController):
    """Binds by itself, and says what a privileged program has done then."""

    def __init__(self, handler: Any, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(handler, hostname="127.0.0.1", port=0, loop=loop, **settings)
        self.has_dropped = False

    async def _create_server(self) -> asyncio.AbstractServer:
        listener = socket.create_server(("127.0.0.1", 0))
        server = await self.loop.create_server(self._factory_invoker, sock=listener, ssl=self.ssl_context)
        self.has_dropped = True
        self.port = listener.getsockname()[1]
        return server

    def _factory_invoker(self) -> Any:
        invoked: Any = super()._factory_invoker()
        with suppress(AttributeError):
            invoked.seen_by_gateway = True
        return invoked
