"""In the manner of a notification gateway: long lines by an assignment to the class, a handler that is a tuple."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP


class GatewayHandler(NamedTuple):
    config: str
    received: list[Any]

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if not address.endswith(self.config):
            return "550 unknown recipient"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.received.append((list(envelope.rcpt_tos), envelope.content))
        return "250 OK"


class Gateway(UnthreadedController):
    def factory(self) -> SMTP:
        return SMTP(self.handler, hostname="gateway.example", enable_SMTPUTF8=True, loop=self.loop)


def allow_long_lines() -> int:
    """Give the limit that was."""
    before = SMTP.line_length_limit
    SMTP.line_length_limit = 2**16
    return before


def restore(limit: int) -> None:
    SMTP.line_length_limit = limit


def make_gateway(loop: asyncio.AbstractEventLoop, port: int) -> Gateway:
    return Gateway(GatewayHandler("@gateway.example", []), "127.0.0.1", port, loop)
