"""In the manner of a mail server built upon the library: mail data in chunks by a loop of its own, PROXY, ident."""

from __future__ import annotations

import asyncio
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import MISSING, SMTP

CHUNK = 100


class StreamingSMTP(SMTP):
    async def smtp_DATA(self, arg: str) -> None:
        if await self.check_helo_needed():
            return
        if await self.check_auth_needed("DATA"):
            return
        assert self.envelope is not None
        if not self.envelope.rcpt_tos:
            await self.push("503 Error: need RCPT command")
            return
        if arg:
            await self.push("501 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        held = b""
        status: Any = MISSING
        while True:
            try:
                line = await self._reader.readuntil(b"\r\n")
            except asyncio.LimitOverrunError as error:
                line = await self._reader.readexactly(error.consumed)
                held += line
                continue
            if line == b".\r\n":
                break
            held += line.removeprefix(b".")
            if len(held) > CHUNK:
                status = await self._call_handler_hook("DATA_CHUNK", held, False)
                held = b""
                if status is not None and status is not MISSING:
                    break
        if status is None or status is MISSING:
            status = await self._call_handler_hook("DATA_CHUNK", held, True)
        self._set_rset_state()  # type: ignore[no-untyped-call]
        await self.push(status)


class Endpoint:
    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.envelopes: list[tuple[Any, ...]] = []

    async def handle_PROXY(self, server: Any, session: Any, envelope: Any, proxy_data: Any) -> bool:
        session.client = (str(proxy_data.src_addr), proxy_data.src_port)
        return True

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address == "<>":
            address = ""
        envelope.mail_from = address or "<>"
        return "250 mail ok"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        envelope.rcpt_tos.append(address)
        return "250 rcpt ok"

    async def handle_DATA_CHUNK(self, server: Any, session: Any, envelope: Any, data: bytes, last: bool) -> str | None:
        self.chunks.append(data)
        if not last:
            return None
        self.envelopes.append((session.client, envelope.mail_from, list(envelope.rcpt_tos)))
        return "250 accepted"


class Gateway(Controller):
    def factory(self) -> SMTP:
        return StreamingSMTP(self.handler, ident="koukan", proxy_protocol_timeout=30, **self.SMTP_kwargs)
