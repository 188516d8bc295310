"""A server: listening sockets, the connections they brought, and an orderly end. Does not know SMTP.

It takes a factory of connections.  Stopping goes in steps: nobody new is let in; who is between transactions is told
421 and let go; who is in one may finish within the grace; who is left then is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ehlo.net.listen import BACKLOG, inode_of, remove_unix_socket, tcp_sockets, unix_socket
from ehlo.net.tls import note_server_names
from ehlo.net.watchdog import Stall, Subscription, Watchdog

if TYPE_CHECKING:
    from ehlo.net.connection import Connection

log = logging.getLogger("ehlo.server")

STALL_THRESHOLD = 1.0
"""Seconds for which something may block the event loop before the log names it."""
GRACE = 30.0
"""Seconds that open transactions have to finish when a server stops."""
LAST_WORDS = 5.0
"""Seconds that a cancelled session has for its ``handle_DISCONNECT``."""
FAREWELL = 0.1
"""Seconds that sessions which are cancelled at the very end have to say so."""
PARTING = 1.0
"""Seconds that clients of a server that stops have to take what was said last, and to close TLS as we do."""
_TURNS_OF_ACCEPTING = 3


class Server:
    """Serves connections in the running loop; ``ehlo.serve`` makes one for a handler.

        async with Server(factory, host="", port=25) as server:
            await server.serve_forever()

    Give ``host`` and ``port`` (see ``ehlo.net.listen.tcp_sockets``), or ``unix_path``, or ``sockets`` that are bound.
    With ``ssl_context`` TLS begins at once (RFC 8314), or behind a PROXY header: the connection begins it, so that one
    amid its handshake is known here as any other is.  ``stall_threshold``: seconds for which something may block the
    event loop before the log names it; None: nobody watches.  It can be started again after it has stopped, unless it
    was given ``sockets``, which are closed then.
    """

    def __init__(
        self,
        factory: Callable[[], Connection],
        *,
        host: str | Sequence[str] | None = None,
        port: int = 0,
        unix_path: str | os.PathLike[str] | None = None,
        sockets: Sequence[socket.socket] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        stall_threshold: float | None = STALL_THRESHOLD,
        backlog: int = BACKLOG,
    ) -> None:
        self.ssl_context = ssl_context
        self.stalls = 0
        self._factory = factory
        self._host = host
        self._port = port
        self._unix_path = unix_path
        self._given_sockets = sockets
        self._stall_threshold = stall_threshold
        self._backlog = backlog
        self._sockets: list[socket.socket] = []
        self._listeners: list[asyncio.AbstractServer] = []
        self._closing: list[asyncio.AbstractServer] = []
        self._connections: set[Connection] = set()
        self._leaving: set[Connection] = set()
        self._watch: Subscription | None = None
        self._inode: tuple[int, int] | None = None
        self._emptied: asyncio.Event | None = None
        self._stopped: asyncio.Event | None = None
        self._is_stopping = False
        self._stopping: asyncio.Task[None] | None = None

    # Facts

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The listening sockets; none before the start and after the stop."""
        return tuple(self._sockets)

    @property
    def addresses(self) -> list[Any]:
        """Where it listens: ``(host, port)``, ``(host, port, flow, scope)`` or a path each."""
        return [listening.getsockname() for listening in self._sockets]

    @property
    def port(self) -> int:
        """The TCP port, also when it was chosen by 0; ``RuntimeError`` when there is none."""
        for listening in self._sockets:
            if listening.family in {socket.AF_INET, socket.AF_INET6}:
                return int(listening.getsockname()[1])
        raise RuntimeError("the server listens on no TCP port")

    @property
    def connections(self) -> frozenset[Connection]:
        """The sessions that are open now."""
        return frozenset(self._connections)

    @property
    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return bool(self._listeners)

    # Life

    async def start(self) -> None:
        """Listen.  ``OSError`` when an address cannot be had; then nothing is left open."""
        if self._stopped is not None and not self._stopped.is_set():
            raise RuntimeError("the server is running")
        loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._emptied = asyncio.Event()
        self._is_stopping = False
        if self.ssl_context is not None:
            note_server_names(self.ssl_context)
        try:
            await self._prepare()
            self._check_not_stopped()
            self._sockets = await self._open_sockets()
            for listening in list(self._sockets):
                self._check_not_stopped()
                self._listeners.append(await self._listen(loop, listening))
            self._check_not_stopped()
        except BaseException:
            unused = [] if self._given_sockets is not None else self._sockets
            self._stop_listening()
            await self.stop(grace=0)
            for bound in unused:
                bound.close()
            raise
        if self._stall_threshold is not None:
            self._watch = Watchdog.watch(
                loop, threshold=self._stall_threshold, on_stall=self._on_stall, describe=self._describe
            )
        log.info("listening on %s", self._names())

    def _check_not_stopped(self) -> None:
        if self._is_stopping:
            raise RuntimeError("the server was stopped while it started")

    async def serve_forever(self) -> None:
        """Wait until somebody stops the server; a cancellation stops it too."""
        if self._stopped is None:
            raise RuntimeError("the server has not been started")
        try:
            await self._stopped.wait()
        finally:
            await self.stop()

    async def accept_from(self, bound: socket.socket) -> asyncio.AbstractServer:
        """Let those in too who come by another socket: until ``stop_accepting``, or ``stop_accepting_from``."""
        listener = await self._listen(asyncio.get_running_loop(), bound)
        self._listeners.append(listener)
        return listener

    def stop_accepting_from(self, listener: asyncio.AbstractServer) -> None:
        """Leave that socket to others; it is closed here.  The sessions that came by it go on."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._closing.append(listener)
            listener.close()

    def stop_accepting(self) -> None:
        """Let nobody new in; the sessions that are open go on.  ``stop`` must follow."""
        self._closing += self._stop_listening()

    async def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no session is open, but not longer than this; whether that is so."""
        await _let_in()
        return await self._wait_until_empty(self._connections, seconds)

    async def stop(self, grace: float = GRACE) -> None:
        """Stop listening, let open transactions finish within ``grace`` seconds, end all sessions.

        Called in a hook's own task it returns at once: the session that calls is one of those that are waited for.
        """
        if self._stopped is None or self._stopped.is_set():
            return
        if self._is_own_task():
            if not self._is_stopping:
                self._stopping = asyncio.create_task(self.stop(grace))
            return
        if self._is_stopping:
            await self._stopped.wait()
            return
        self._is_stopping = True
        log.info("stopping: %d sessions are open", len(self._connections))
        self.stop_accepting()
        listeners, self._closing = self._closing, []
        try:
            await self._end_sessions(grace)
        finally:
            try:
                await self._close(listeners)
            finally:
                self._stopped.set()
                log.info("stopped")

    def hurry(self) -> None:
        """While it stops: wait no longer for open transactions."""
        self._cancel_all()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    # For the factory's subclass of this server

    async def _prepare(self) -> None:
        """What must be done before the first connection, off the loop if it blocks."""

    def _release(self) -> None:
        """What must be given back after the last."""

    # Owner of connections

    def opened(self, connection: Connection) -> None:
        """A connection's transport is there."""
        self._connections.add(connection)
        if self._is_stopping:
            connection.stop()

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        if not connection.is_gone:
            self._leaving.add(connection)
        if not self._connections and self._emptied is not None:
            self._emptied.set()

    def gone(self, connection: Connection) -> None:
        """A connection's transport is closed."""
        self._leaving.discard(connection)
        if not self._leaving and self._emptied is not None:
            self._emptied.set()

    def _make(self) -> Connection:
        connection = self._factory()
        connection.owner = self
        connection.tls_from_start = self.ssl_context
        return connection

    # Inside

    async def _open_sockets(self) -> list[socket.socket]:
        if self._given_sockets is not None:
            return list(self._given_sockets)
        if self._unix_path is not None:
            bound = unix_socket(self._unix_path)
            self._inode = inode_of(bound.getsockname())
            return [bound]
        return await tcp_sockets(self._host, self._port)

    async def _listen(self, loop: asyncio.AbstractEventLoop, bound: socket.socket) -> asyncio.AbstractServer:
        # AF_UNIX is no name of the socket module on Windows.
        is_unix = bound.family.name == "AF_UNIX"
        create: Any = loop.create_unix_server if is_unix else loop.create_server
        # The file is removed by whoever made it, which a worker process did not.
        options = {"cleanup_socket": False} if is_unix and sys.version_info >= (3, 13) else {}
        listener: asyncio.AbstractServer = await create(self._make, sock=bound, backlog=self._backlog, **options)
        return listener

    def _stop_listening(self) -> list[asyncio.AbstractServer]:
        listeners, self._listeners = self._listeners, []
        if self._inode is not None:
            remove_unix_socket(self._sockets[0], self._inode)
            self._inode = None
        for listener in listeners:
            listener.close()
        self._sockets = []
        return listeners

    async def _end_sessions(self, grace: float) -> None:
        for connection in list(self._connections):
            connection.stop()
        if await self._wait_until_empty(self._connections, grace):
            return
        log.warning("cancelling %d sessions after %g s", len(self._connections), grace)
        self._cancel_all()
        if not await self._wait_until_empty(self._connections, LAST_WORDS):
            log.error("%d sessions did not end when cancelled", len(self._connections))

    async def _close(self, listeners: list[asyncio.AbstractServer]) -> None:
        self._cancel_all()
        if not await self._wait_until_empty(self._connections, FAREWELL):
            for connection in list(self._connections):
                connection.transport.abort()  # its hook swallows every cancellation; its client at least is let go
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._release()
        if not await self._wait_until_empty(self._leaving, PARTING):
            for connection in self._leaving:
                connection.transport.abort()
            await self._wait_until_empty(self._leaving, PARTING)
        for listener in listeners:
            # On Python 3.12 and later this waits for the transports of all connections: so it comes last.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(listener.wait_closed(), LAST_WORDS)

    async def _wait_until_empty(self, connections: set[Connection], seconds: float) -> bool:
        assert self._emptied is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while connections:
                    self._emptied.clear()
                    await self._emptied.wait()
        return not connections

    def _is_own_task(self) -> bool:
        task = asyncio.current_task()
        return any(connection.task is task for connection in self._connections)

    def _cancel_all(self) -> None:
        for connection in list(self._connections):
            connection.task.cancel()

    def _names(self) -> str:
        return ", ".join(
            address if isinstance(address, str) else f"[{address[0]}]:{address[1]}" for address in self.addresses
        )

    def _on_stall(self, _stall: Stall) -> None:
        self.stalls += 1

    def _describe(self, task: asyncio.Task[Any] | None) -> str:
        """Who is running: called by the watchdog's thread."""
        for connection in list(self._connections):
            if connection.task is task:
                return connection.describe()
        return ""


async def _let_in() -> None:
    """Let the loop announce whom it has accepted already: that takes a task, and then a callback."""
    for _ in range(_TURNS_OF_ACCEPTING):
        await asyncio.sleep(0)
