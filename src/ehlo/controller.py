"""Servers ready to use: ``serve`` in your own loop, controllers that run one in a thread or in a loop that you give.

async with serve(handler, port=25) as server:        # in a coroutine
    await server.serve_forever()

with Controller(handler, port=0) as controller:      # anywhere else: it has a thread of its own
    smtplib.SMTP(controller.hostname, controller.port)
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, Unpack

from ehlo.credentials import fake_secret
from ehlo.net.listen import BACKLOG
from ehlo.net.serve import GRACE, STALL_THRESHOLD, Server
from ehlo.net.thread import ServerThread
from ehlo.net.tls import load_cert_chain, set_tickets
from ehlo.settings import ControllerParameters, Parameters, Settings
from ehlo.shared import Shared
from ehlo.smtp import SMTP

if TYPE_CHECKING:
    from ehlo.net.supervisor import Workers
    from ehlo.net.watchdog import Stall
    from ehlo.stats import Stats

PORT = 8025
SMTP_PORT = 25
READY_TIMEOUT = 5.0
WORKER_READY_TIMEOUT = 60.0
HANG_TIMEOUT = 60.0


class ProtocolClass(Protocol):
    """``SMTP``, ``LMTP``, a subclass of one, or a ``functools.partial`` of one."""

    def __call__(self, handler: Any, *, shared: Shared) -> SMTP:
        """Make the protocol of one connection."""
        ...


class SMTPServer(Server):
    """A server for a handler; what ``serve`` gives."""

    def __init__(self, shared: Shared, factory: Callable[[], SMTP], **where: Any) -> None:
        settings = shared.settings
        self.shared = shared
        super().__init__(factory, **where)
        for context in self._contexts():
            if settings.tls_tickets is not None:
                set_tickets(context, are_given=settings.tls_tickets)

    @property
    def settings(self) -> Settings:
        """What it was told."""
        return self.shared.settings

    @property
    def stats(self) -> Stats:
        """What has happened since it was made, as plain counters."""
        return self.shared.stats

    def load_cert_chain(
        self, certfile: str | os.PathLike[str], keyfile: str | os.PathLike[str] | None = None, password: Any = None
    ) -> None:
        """Exchange the certificate while running: for STARTTLS and implicit TLS, from the next handshake on."""
        contexts = self._contexts()
        if not contexts:
            raise RuntimeError("the server has no TLS context")
        for context in contexts:
            load_cert_chain(context, certfile, keyfile, password)

    def _contexts(self) -> list[ssl.SSLContext]:
        return [context for context in (self.ssl_context, self.settings.tls_context) if context is not None]

    async def _prepare(self) -> None:
        if self.shared.hostname is None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self.shared.threads, self.shared.look_up_hostname)

    def _on_stall(self, stall: Stall) -> None:
        super()._on_stall(stall)
        self.stats.stalls += 1

    def _release(self) -> None:
        self.shared.close()


Application = Callable[..., SMTPServer | Awaitable[SMTPServer]]
"""What ``serve_workers`` names: called with the sockets, and the arguments if there are any."""


def serve(
    handler: object,
    host: str | Sequence[str] | None = None,
    port: int = PORT,
    *,
    protocol: ProtocolClass = SMTP,
    unix_path: str | os.PathLike[str] | None = None,
    sockets: Sequence[socket.socket] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    stall_threshold: float | None = STALL_THRESHOLD,
    backlog: int = BACKLOG,
    settings: Settings | None = None,
    **parameters: Unpack[Parameters],
) -> SMTPServer:
    """A server for a handler, to be used with ``async with``, or ``await server.start()`` and ``await server.stop()``.

    ``host`` None is the loopback of IPv4 and IPv6, "" every address; ``port`` 0 lets the system choose and
    ``server.port`` tell.  Instead of both: ``unix_path``, or ``sockets`` that are bound already (which is how
    privileges are dropped after the bind).  ``protocol`` is ``SMTP``, ``LMTP`` or a subclass.  ``ssl_context`` is for
    TLS from the first octet, ``tls_context`` among the parameters for STARTTLS.  Parameters are the fields of
    ``Settings``.  ``ValueError`` for LMTP on port 25.
    """
    if settings is None:
        settings = Settings(**parameters)
    elif parameters:
        raise TypeError("give settings or their fields, not both")
    cls = getattr(protocol, "func", protocol)
    if getattr(cls, "protocol_name", None) == "LMTP" and SMTP_PORT in _ports(port, unix_path, sockets):
        raise ValueError("LMTP must not be served on port 25 (RFC 2033 §5)")
    shared = Shared(handler, settings, getattr(cls, "own_mechanisms", SMTP.own_mechanisms))
    return SMTPServer(
        shared,
        lambda: protocol(handler, shared=shared),
        host=host,
        port=port,
        unix_path=unix_path,
        sockets=sockets,
        ssl_context=ssl_context,
        stall_threshold=stall_threshold,
        backlog=backlog,
    )


def serve_workers(
    application: str,
    host: str | Sequence[str] | None = None,
    port: int = PORT,
    *,
    workers: int,
    arguments: Sequence[str] = (),
    unix_path: str | os.PathLike[str] | None = None,
    sockets: Sequence[socket.socket] | None = None,
    loop: str = "auto",
    ready_timeout: float = WORKER_READY_TIMEOUT,
    hang_timeout: float | None = HANG_TIMEOUT,
) -> Workers:
    """Several processes that serve one address, to be used with ``async with``, or ``await start()`` and ``stop()``.

    ``application`` is ``"package.module:name"``: what stands there is called in each process as ``name(sockets,
    *arguments)``, and gives what ``serve(handler, sockets=sockets, ...)`` makes, or is a coroutine function that does
    (an ``Application``).  So everything that ``serve`` can be told is said there; workers are new processes, to which
    no handler and no TLS context of this one could be handed, and ``await workers.reload()`` replaces them by others
    that have read code, configuration and certificates anew.  Its module must not be ``__main__``, and sets up the log.

    ``host``, ``port``, ``unix_path`` and ``sockets`` are as for ``serve``.  ``loop`` is "auto" (uvloop where it is
    installed), "asyncio" or "uvloop".  ``ready_timeout`` are the seconds in which a worker must accept connections,
    ``hang_timeout`` those after which one is killed whose event loop does not turn, at least 5; None: never.
    ``ValueError`` and ``TypeError`` for what makes no sense, ``RuntimeError`` on Windows.
    """
    module, colon, name = application.partition(":")
    if not (module and colon and name):
        raise ValueError(f"an application is named as in package.module:name: {application!r}")
    if module == "__main__":
        raise ValueError("a worker cannot import __main__: put the application into a module")
    from ehlo.net.supervisor import Workers  # noqa: PLC0415 - who serves by itself need not wait for it

    return Workers(
        application,
        arguments,
        workers=workers,
        host=host,
        port=port,
        unix_path=unix_path,
        sockets=sockets,
        loop=loop,
        secret=fake_secret(),
        ready_timeout=ready_timeout,
        hang_timeout=hang_timeout,
    )


def _ports(
    port: int, unix_path: str | os.PathLike[str] | None, sockets: Sequence[socket.socket] | None
) -> Collection[int]:
    """The TCP ports that a server is told to listen on."""
    if sockets is not None:
        return [bound.getsockname()[1] for bound in sockets if bound.family in {socket.AF_INET, socket.AF_INET6}]
    return [port] if unix_path is None else []


class CommonParameters(ControllerParameters, total=False):
    """What every controller takes beside where to listen: these, and the settings.

    ``ssl_context`` is for TLS from the first octet, ``server_hostname`` the name in the greeting (None: this host's),
    ``stall_threshold`` as for ``serve``.
    """

    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    stall_threshold: float | None


class ThreadParameters(CommonParameters, total=False):
    """What controllers take that run in a thread.

    ``ready_timeout``: seconds within which it must listen; ``loop_factory``: such as ``uvloop.new_event_loop``.
    """

    ready_timeout: float
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None


class _Controller:
    """What all controllers have: a handler, where to listen, and ``factory`` to override."""

    def __init__(
        self,
        handler: object,
        where: dict[str, Any],
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        stall_threshold: float | None = STALL_THRESHOLD,
        **parameters: Unpack[ControllerParameters],
    ) -> None:
        self.handler = handler
        self.ssl_context = ssl_context
        self.stall_threshold = stall_threshold
        self.settings = Settings(hostname=server_hostname, **parameters)
        self._where = where
        self._shared: Shared | None = None

    def factory(self) -> SMTP:
        """Make the protocol of one connection; override it to serve a subclass or LMTP."""
        return SMTP(self.handler, shared=self._shared)

    @property
    def server(self) -> SMTPServer | None:
        """The server; None while there is none."""
        raise NotImplementedError

    @property
    def shared(self) -> Shared:
        """What connections have in common; an overridden ``factory`` passes it on: ``LMTP(handler, shared=...)``."""
        assert self._shared is not None
        return self._shared

    @property
    def port(self) -> int:
        """The TCP port; that of the settings while it does not run.  ``RuntimeError`` when there is none."""
        if "port" not in self._where:
            raise RuntimeError("the server listens on no TCP port")
        return self.server.port if self.server is not None else int(self._where["port"])

    def _new_server(self) -> SMTPServer:
        shared = self._shared = Shared(self.handler, self.settings, SMTP.own_mechanisms)
        # One to look at: what is wrong with the factory shows at the start, and not when the first client comes.
        protocol = self.factory()
        if protocol.shared is not shared:
            shared = protocol.shared
        elif protocol.own_mechanisms != SMTP.own_mechanisms:
            shared = self._shared = Shared(self.handler, self.settings, protocol.own_mechanisms)
        return SMTPServer(
            shared,
            self.factory,
            ssl_context=self.ssl_context,
            stall_threshold=self.stall_threshold,
            **self._where,
        )


class _ThreadedController(_Controller):
    """Runs a server in a thread of its own, with a loop of its own.  A context manager; can be started again."""

    def __init__(
        self,
        handler: object,
        where: dict[str, Any],
        *,
        ready_timeout: float = READY_TIMEOUT,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        **parameters: Unpack[CommonParameters],
    ) -> None:
        super().__init__(handler, where, **parameters)
        self.ready_timeout = ready_timeout
        self._thread = ServerThread(self._new_server, loop_factory)

    @property
    def server(self) -> SMTPServer | None:
        """The server; None while the thread does not run."""
        return self._thread.server

    def start(self) -> None:
        """Start, and return when it accepts connections.

        Raises what kept it from listening (``OSError``), ``TimeoutError`` after ``ready_timeout`` seconds, and
        ``RuntimeError`` when it runs already.
        """
        self._thread.start(self.ready_timeout)

    def stop(self, grace: float = GRACE) -> None:
        """Stop as ``Server.stop`` does, and return when the thread has ended; nothing happens when it does not run.

        Called in that very thread, by a coroutine hook, it returns at once.  A plain hook that calls it is waited for
        no longer than ``grace``, as any other is.
        """
        self._thread.stop(grace)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


class _LoopController(_Controller):
    """Runs a server in a loop that you have.

    ``begin`` and ``end`` are for a loop that does not run yet or any more; in a coroutine use ``async with``, or
    ``await start()`` and ``await stop()``.
    """

    def __init__(
        self,
        handler: object,
        where: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
        **parameters: Unpack[CommonParameters],
    ) -> None:
        super().__init__(handler, where, **parameters)
        self.loop = loop
        self._server: SMTPServer | None = None

    @property
    def server(self) -> SMTPServer | None:
        """The server; None while it does not run."""
        return self._server

    async def start(self) -> None:
        """Listen, in the running loop."""
        if self._server is not None:
            raise RuntimeError("the controller is running")
        server = self._new_server()
        await server.start()
        self._server = server

    async def stop(self, grace: float = GRACE) -> None:
        """Stop as ``Server.stop`` does; nothing happens when it does not run."""
        if self._server is not None:
            try:
                await self._server.stop(grace)
            finally:
                self._server = None

    def begin(self) -> None:
        """Listen; connections are served when the loop runs.  ``RuntimeError`` if it runs now."""
        self._idle_loop().run_until_complete(self.start())

    def end(self, grace: float = GRACE) -> None:
        """Stop; for a loop that does not run."""
        self._idle_loop().run_until_complete(self.stop(grace))

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    def _idle_loop(self) -> asyncio.AbstractEventLoop:
        if self.loop is None:
            raise RuntimeError("begin() and end() need the loop that was given to the controller")
        if self.loop.is_running() or asyncio._get_running_loop() is not None:  # noqa: SLF001 - in asyncio's __all__
            raise RuntimeError("begin() and end() are not for a loop that is running: await start() and stop()")
        return self.loop


class _OnTCP(_Controller):
    """Listens on TCP.

    ``hostname`` is where: None is the loopback of IPv4 and IPv6, "" every address.
    """

    @property
    def hostname(self) -> str:
        """What a client on this machine connects to."""
        return self._where["host"] or "127.0.0.1"


class Controller(_OnTCP, _ThreadedController):
    """SMTP on TCP, in a thread."""

    def __init__(
        self, handler: object, hostname: str | None = None, port: int = PORT, **parameters: Unpack[ThreadParameters]
    ) -> None:
        super().__init__(handler, {"host": hostname, "port": port}, **parameters)


class UnixSocketController(_ThreadedController):
    """The same on a UNIX socket, whose file is removed at the end."""

    def __init__(
        self, handler: object, unix_socket: str | os.PathLike[str], **parameters: Unpack[ThreadParameters]
    ) -> None:
        super().__init__(handler, {"unix_path": unix_socket}, **parameters)
        self.unix_socket = unix_socket


class UnthreadedController(_OnTCP, _LoopController):
    """SMTP on TCP, in a loop that you have."""

    def __init__(
        self,
        handler: object,
        hostname: str | None = None,
        port: int = PORT,
        loop: asyncio.AbstractEventLoop | None = None,
        **parameters: Unpack[CommonParameters],
    ) -> None:
        super().__init__(handler, {"host": hostname, "port": port}, loop, **parameters)


class UnixSocketUnthreadedController(_LoopController):
    """The same on a UNIX socket, whose file is removed at the end."""

    def __init__(
        self,
        handler: object,
        unix_socket: str | os.PathLike[str],
        loop: asyncio.AbstractEventLoop | None = None,
        **parameters: Unpack[CommonParameters],
    ) -> None:
        super().__init__(handler, {"unix_path": unix_socket}, loop, **parameters)
        self.unix_socket = unix_socket
