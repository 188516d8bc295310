"""Controllers as programs know them from aiosmtpd: a server in a thread with a loop of its own, or in a loop you have.

Knows loops, threads and sockets; what is served is what ``factory`` makes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import socket
import ssl
import threading
import time
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from ehlo.compat.aiosmtpd.smtp import SMTP

__all__ = [
    "DEFAULT_READY_TIMEOUT",
    "IP6_IS",
    "BaseController",
    "BaseThreadedController",
    "BaseUnthreadedController",
    "Controller",
    "InetMixin",
    "UnixSocketController",
    "UnixSocketMixin",
    "UnixSocketUnthreadedController",
    "UnthreadedController",
    "get_localhost",
]

DEFAULT_READY_TIMEOUT: float = 5.0

LAST_WORDS = 5.0
"""Seconds that sessions have to end after they were cancelled."""
PARTING = 1.0
"""Seconds that listeners have to be gone: on Python 3.12 and later they wait for every client."""

# How often a port that the system chose for one address may turn out to be taken on another.
_TRIES = 20


class IP6_IS:  # noqa: N801 - its name elsewhere
    """What an error from binding ::1 says about IPv6."""

    NO = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
    YES = frozenset({errno.EADDRINUSE})


def _has_ipv6() -> bool:
    return socket.has_ipv6


def get_localhost() -> Literal["::1", "127.0.0.1"]:
    """The loopback address of this machine: that of IPv6, if it has IPv6.  ``OSError`` when it cannot tell."""
    if not _has_ipv6():
        return "127.0.0.1"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        if error.errno in IP6_IS.NO:
            return "127.0.0.1"
        if error.errno not in IP6_IS.YES:
            raise
    return "::1"


class _FakeServer(asyncio.Protocol):
    """What a connection gets when ``factory`` fails: its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class BaseController(metaclass=ABCMeta):
    """What all controllers have.  ``smtpd`` is the ``SMTP`` that was made last."""

    smtpd: Any = None
    server: Any = None
    server_coro: Any = None
    _thread_exception: BaseException | None = None

    def __init__(
        self,
        handler: Any,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        **SMTP_parameters: Any,  # noqa: N803 - the name that the field knows
    ) -> None:
        self.handler = handler
        self.loop = loop or asyncio.new_event_loop()
        self.ssl_context = ssl_context
        self.SMTP_kwargs: dict[str, Any] = {}
        if "server_kwargs" in SMTP_parameters:
            warnings.warn(
                "server_kwargs will be removed in version 2.0. Just specify the keyword arguments to forward to SMTP "
                "as kwargs to this __init__ method.",
                DeprecationWarning,
                stacklevel=2,
            )
            self.SMTP_kwargs = SMTP_parameters.pop("server_kwargs")
        self.SMTP_kwargs.update(SMTP_parameters)
        if server_hostname:
            self.SMTP_kwargs["hostname"] = server_hostname
        self.SMTP_kwargs.setdefault("enable_SMTPUTF8", True)
        self._factory_invoked: Any = threading.Event()

    def factory(self) -> Any:
        """Make the protocol of one connection; override it to serve a subclass, or LMTP."""
        return SMTP(self.handler, **self.SMTP_kwargs)

    def _factory_invoker(self) -> Any:
        """Call ``factory``; ``start`` raises what it raises."""
        try:
            self.smtpd = self.factory()
            if self.smtpd is None:
                raise RuntimeError("factory() returned None")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for whoever waits in start()
            self._thread_exception = error
            return _FakeServer()
        else:
            return self.smtpd
        finally:
            self._factory_invoked.set()

    @abstractmethod
    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        """Listen, in ``self.loop``; each connection gets what ``_factory_invoker`` makes."""

    def _cleanup(self) -> None:
        self._thread_exception = None
        self._factory_invoked.clear()
        self.server_coro = None
        self.server = None
        self.smtpd = None

    def cancel_tasks(self, stop_loop: bool = True) -> None:  # noqa: FBT001, FBT002 - the signature that the field knows
        """Cancel all tasks of the loop, and stop it; for ``loop.call_soon_threadsafe``."""
        if stop_loop:
            self.loop.stop()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()

    def _listening(self) -> None:  # noqa: B027 - UNIX sockets have nothing to do here
        """The server is there, and nobody has been told."""


class BaseThreadedController(BaseController, metaclass=ABCMeta):
    """Runs in a thread.  ``ready_timeout``: seconds that the start may take; ``AIOSMTPD_CONTROLLER_TIMEOUT`` wins."""

    _thread: threading.Thread | None = None

    def __init__(
        self,
        handler: Any,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        ready_timeout: float = DEFAULT_READY_TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        **SMTP_parameters: Any,  # noqa: N803
    ) -> None:
        super().__init__(handler, loop, ssl_context=ssl_context, server_hostname=server_hostname, **SMTP_parameters)
        self.ready_timeout = float(os.getenv("AIOSMTPD_CONTROLLER_TIMEOUT", str(ready_timeout)))

    @abstractmethod
    def _trigger_server(self) -> None:
        """Have ``_factory_invoker`` called, so that ``start`` can see whether ``factory`` works."""

    def _run(self, ready_event: threading.Event) -> None:
        """What the thread does."""
        asyncio.set_event_loop(self.loop)
        try:
            self.server_coro = self._create_server()
            self.server = self.loop.run_until_complete(self.server_coro)
            self._listening()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is for whoever waits in start()
            self._thread_exception = error
            self.loop.close()
            return
        self.loop.call_soon(ready_event.set)
        self.loop.run_forever()
        self.loop.run_until_complete(self._end())
        self.loop.close()
        self.server = None

    async def _end(self) -> None:
        self.server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS)
        await _wait_closed(self.server)

    def start(self) -> None:
        """Start the thread, and return when the server listens.

        Raises what keeps it from that, or ``TimeoutError``; ``stop`` is called for then, too.
        """
        if self._thread is not None:
            raise AssertionError("SMTP daemon already running")
        self._factory_invoked = threading.Event()
        self._thread_exception = None
        if self.loop.is_closed():  # it has been stopped before
            self.loop = asyncio.new_event_loop()
        ready_event = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready_event,), daemon=True)
        self._thread.start()
        start = time.monotonic()
        if not _wait(ready_event, self.ready_timeout, self._thread):
            if self._thread_exception is not None:
                raise self._thread_exception
            raise TimeoutError(
                "SMTP server failed to start within allotted time. This might happen if the system is too busy. "
                "Try increasing the `ready_timeout` parameter."
            )
        self._listening()
        with contextlib.suppress(TimeoutError):
            self._trigger_server()
        if not self._factory_invoked.wait(self.ready_timeout - (time.monotonic() - start)):
            raise TimeoutError(
                "SMTP server started, but not responding within allotted time. This might happen if the system is too "
                "busy. Try increasing the `ready_timeout` parameter."
            )
        if self._thread_exception is not None:
            raise self._thread_exception
        if self.smtpd is None:
            raise RuntimeError("Unknown Error, failed to init SMTP server")

    def stop(self, no_assert: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature that the field knows
        """End all sessions, and return when the thread has ended."""
        if not no_assert and self._thread is None:
            raise AssertionError("SMTP daemon not running")
        with contextlib.suppress(RuntimeError):  # the loop is closed: the start has failed
            self.loop.call_soon_threadsafe(self.cancel_tasks)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._cleanup()


class BaseUnthreadedController(BaseController, metaclass=ABCMeta):
    """Runs in a loop that is not running yet: ``begin()``, ``loop.run_forever()``, ``end()``."""

    def __init__(
        self,
        handler: Any,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        **SMTP_parameters: Any,  # noqa: N803
    ) -> None:
        super().__init__(handler, loop, ssl_context=ssl_context, server_hostname=server_hostname, **SMTP_parameters)
        self.ended = threading.Event()

    def begin(self) -> None:
        """Listen; sessions begin when the loop runs."""
        asyncio.set_event_loop(self.loop)
        self.server_coro = self._create_server()
        self.server = self.loop.run_until_complete(self.server_coro)
        self._listening()

    async def finalize(self) -> None:
        """Listen no more, and set ``ended``.  Sessions go on as long as the loop runs."""
        self.ended.clear()
        self.server.close()
        await _wait_closed(self.server)
        if asyncio.iscoroutine(self.server_coro):
            self.server_coro.close()
        self._cleanup()
        self.ended.set()

    def end(self) -> None:
        """The same, for who cannot await it: at once when the loop does not run, soon when it does."""
        self.ended.clear()
        if self.loop.is_running():
            self._ending = self.loop.create_task(self.finalize())
        else:
            self.loop.run_until_complete(self.finalize())


class InetMixin(BaseController, metaclass=ABCMeta):
    """Listens on TCP.

    ``hostname`` None is the loopback address, "" every address.  With ``port`` 0 the system chooses, and ``port``
    tells which it is once the server listens.
    """

    def __init__(
        self,
        handler: Any,
        hostname: str | None = None,
        port: int = 8025,
        loop: asyncio.AbstractEventLoop | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(handler, loop, **kwargs)
        self._localhost = get_localhost()
        self.hostname = self._localhost if hostname is None else hostname
        self.port = port

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        create = functools.partial(
            self.loop.create_server, self._factory_invoker, host=self.hostname, ssl=self.ssl_context
        )
        return create(port=self.port) if self.port else _on_one_port(create)

    def _trigger_server(self) -> None:
        self.loop.call_soon_threadsafe(self._factory_invoker)

    def _listening(self) -> None:
        if not self.port:
            self.port = self.server.sockets[0].getsockname()[1]


class UnixSocketMixin(BaseController, metaclass=ABCMeta):
    """Listens on a UNIX socket."""

    def __init__(
        self,
        handler: Any,
        unix_socket: str | Path,
        loop: asyncio.AbstractEventLoop | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(handler, loop, **kwargs)
        self.unix_socket = str(unix_socket)

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_unix_server(self._factory_invoker, path=self.unix_socket, ssl=self.ssl_context)

    def _trigger_server(self) -> None:
        self.loop.call_soon_threadsafe(self._factory_invoker)


class Controller(InetMixin, BaseThreadedController):
    """TCP, in a thread."""


class UnixSocketController(UnixSocketMixin, BaseThreadedController):
    """A UNIX socket, in a thread."""


class UnthreadedController(InetMixin, BaseUnthreadedController):
    """TCP, in a loop that you have."""


class UnixSocketUnthreadedController(UnixSocketMixin, BaseUnthreadedController):
    """A UNIX socket, in a loop that you have."""


async def _on_one_port(create: Callable[..., Any]) -> asyncio.AbstractServer:
    """Listen on a port that is free on all addresses of a name: asyncio would choose one for each of them."""
    for tries_left in range(_TRIES, 0, -1):
        server: asyncio.AbstractServer = await create(port=0)
        port, *others = {listening.getsockname()[1] for listening in server.sockets}  # type: ignore[attr-defined]
        if not others:
            return server
        server.close()
        await server.wait_closed()
        try:
            return await create(port=port)  # type: ignore[no-any-return]
        except OSError as error:
            if error.errno != errno.EADDRINUSE or tries_left == 1:
                raise
    raise AssertionError("unreachable")


async def _wait_closed(server: Any) -> None:
    """Let a closed server be gone.  Those of Python 3.12 and later wait for their clients, who may not care."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.wait_closed(), PARTING)


def _wait(event: threading.Event, seconds: float, thread: threading.Thread) -> bool:
    """Wait for an event, as long as there is somebody to set it."""
    end = time.monotonic() + seconds
    while not event.wait(min(0.05, max(0.0, end - time.monotonic()))):
        if time.monotonic() >= end or not thread.is_alive():
            return event.is_set()
    return True
