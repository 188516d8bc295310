"""The web server: uvicorn in the loop that is there, on sockets of ours, without its signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ehlo.inbox.transcript import address_text
from ehlo.inbox.web.app import build_app
from ehlo.net.listen import tcp_sockets

if TYPE_CHECKING:
    import ssl

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from ehlo.inbox.server import Address, InboxServer

# Not on Windows, where sockets are not counted with files.
resource = importlib.import_module("resource") if importlib.util.find_spec("resource") is not None else None

CONNECTIONS_LIMIT = 1000
SPARE_CONNECTIONS = 16
"""More than are served: these are told so, and any more are closed at once."""
HEAD_SECONDS = 10.0
"""What a client has for the head of a request."""
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


class PatientForAWhile(H11Protocol):
    """A connection that is closed when the head of a request does not come in time, and one too many at once."""

    _maybe_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency + SPARE_CONNECTIONS:
            transport.abort()
            return
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Wait no longer when a head is there, and anew when another one begins."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the timer go."""
        super().connection_lost(exc)
        self._stop_timer()

    def _watch_head(self) -> None:
        if not self._waits_for_head():
            self._stop_timer()
        elif self._maybe_timer is None:
            self._maybe_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _waits_for_head(self) -> bool:
        # There is a cycle from the first head on; uvicorn limits the silence between two requests itself.
        maybe_cycle = cast("RequestResponseCycle | None", self.cycle)
        return maybe_cycle is None or maybe_cycle.response_complete

    def _give_up(self) -> None:
        self._maybe_timer = None
        if self._waits_for_head():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._maybe_timer is not None:
            self._maybe_timer.cancel()
            self._maybe_timer = None


def connections_limit() -> int:
    """How many connections the web has: a third of the files that may be open, so that SMTP has some whatever comes."""
    if resource is None:
        return CONNECTIONS_LIMIT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS_LIMIT
    return int(max(SPARE_CONNECTIONS, min(CONNECTIONS_LIMIT, soft // 3)))


async def start_web(inbox: InboxServer, address: Address, tls: ssl.SSLContext | None = None) -> WebServer:
    """Listen for browsers and programs.  ``OSError`` when the address cannot be had."""
    sockets = await tcp_sockets(*address)
    config = uvicorn.Config(
        build_app(inbox),
        http=PatientForAWhile,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=connections_limit(),
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
