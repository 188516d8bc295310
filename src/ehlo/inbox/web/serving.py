"""The web server: uvicorn in the loop that is there, on sockets of ours, without its signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import uvicorn

from ehlo.inbox.transcript import address_text
from ehlo.inbox.web.app import build_app
from ehlo.net.listen import tcp_sockets

if TYPE_CHECKING:
    import ssl

    from ehlo.inbox.server import Address, InboxServer

CONNECTIONS_LIMIT = 1000
HEADER_LIMIT = 32 * 1024
"""Octets of a request without its body."""
IDLE_SECONDS = 30
GOODBYE_SECONDS = 2
"""What answers that are being given have when the server stops."""


class WebServer:
    """A web server that runs.  ``start_web`` makes one."""

    def __init__(self, server: uvicorn.Server, url: str) -> None:
        self.url = url
        self._server = server
        self._ticking = asyncio.get_running_loop().create_task(server.main_loop())

    async def stop(self) -> None:
        """Listen no more, and let answers be finished."""
        self._ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._ticking
        await self._server.shutdown()


async def start_web(inbox: InboxServer, address: Address, tls: ssl.SSLContext | None = None) -> WebServer:
    """Listen for browsers and programs.  ``OSError`` when the address cannot be had."""
    sockets = await tcp_sockets(*address)
    config = uvicorn.Config(
        build_app(inbox),
        http="h11",
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_LIMIT,
        h11_max_incomplete_event_size=HEADER_LIMIT,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
    )
    try:
        config.load()
        config.ssl = tls
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets)
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    host, port, *_ = sockets[0].getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what a browser connects to instead
    return WebServer(server, f"{'http' if tls is None else 'https'}://{address_text((host, port))}/")
