"""The servers that are compared, each on a port of 127.0.0.1.  All accept mail for everybody and throw it away."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiosmtpd.smtp

from ehlo import serve
from tests.differential.dialogues import SIZE_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAME: Final = "mx.example.org"


class Accepting:
    """A handler that accepts everything, and declares what Postfix offers."""

    honours: Final = {"DSN"}

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        return "250 Taken"


@asynccontextmanager
async def running_ehlo() -> AsyncIterator[int]:
    """One in this loop; its port."""
    server = serve(
        Accepting(), "127.0.0.1", 0, hostname=NAME, data_size_limit=SIZE_LIMIT, error_limit=1000, stall_threshold=None
    )
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(grace=0)


@asynccontextmanager
async def running_aiosmtpd() -> AsyncIterator[int]:
    """The same of aiosmtpd."""
    loop = asyncio.get_running_loop()

    def factory() -> Any:
        return aiosmtpd.smtp.SMTP(
            Accepting(), hostname=NAME, data_size_limit=SIZE_LIMIT, enable_SMTPUTF8=True, loop=loop
        )

    server = await loop.create_server(factory, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        # Sessions of clients that have gone end by themselves, a few turns later.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)
