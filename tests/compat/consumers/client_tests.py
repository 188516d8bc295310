"""In the manner of a client library's test server: everything is recorded, and verbs are replaced one by one."""

from __future__ import annotations

import asyncio
from typing import Any

from aiosmtpd.handlers import Message
from aiosmtpd.smtp import MISSING, SMTP, _Missing


class RecordingHandler(Message):
    def __init__(self) -> None:
        super().__init__()
        self.commands: list[tuple[str, tuple[Any, ...]]] = []
        self.responses: list[Any] = []
        self.messages: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.messages.append(message)

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return ["250-AUTH LOGIN", *responses] if server._tls_protocol else responses


class RecordingSMTP(SMTP):
    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        if arg.strip() == "<broken>":
            return None, ""
        return super()._getaddr(arg)

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        self.event_handler.commands.append((command, args))
        return await super()._call_handler_hook(command, *args)

    async def push(self, status: Any) -> None:
        await super().push(status)
        self.event_handler.responses.append(status)

    async def smtp_EXPN(self, arg: str) -> None:
        status = await self._call_handler_hook("EXPN")
        await self.push("502 EXPN not implemented" if isinstance(status, _Missing) else status)

    async def smtp_HELP(self, arg: str) -> None:
        status = await self._call_handler_hook("HELP")
        if status is MISSING:
            await super().smtp_HELP(arg)
        else:
            await self.push(status)

    async def smtp_STARTTLS(self, arg: str) -> None:
        await super().smtp_STARTTLS(arg)
        self.event_handler.commands.append(("STARTTLS", (arg,)))

    # What such tests put in the place of a verb.

    async def smtp_XEXPN(self, arg: str) -> None:
        await self.push("250-Joseph Blow <jblow@example.com>\n250 Alice Smith <asmith@example.com>")

    async def smtp_XBAD(self, arg: str) -> None:
        self._writer.write(b"250 \xff\xff\xff\xff\r\n")
        await self._writer.drain()

    async def smtp_XCLOSE(self, arg: str) -> None:
        await self.push("250 done")
        await self.push("221 bye now")
        assert self.transport is not None
        self.transport.close()

    async def smtp_XDROP(self, arg: str) -> None:
        await self.push("501 error")
        if self._handler_coroutine:
            self._handler_coroutine.cancel()
        if self.transport:
            self.transport.close()

    async def smtp_XEOF(self, arg: str) -> None:
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.write_eof()

    async def smtp_XLATER(self, arg: str) -> None:
        await self.push("250 soon")
        assert self.transport is not None
        self.loop.call_later(0.01, self.transport.close)
