"""A worker: the process that ``ehlo.net.supervisor`` starts, as ``python -m ehlo.worker SOCKET``.

Takes its order, makes the server that the application is, says when it is ready, reports what it counts, and ends when
it is told to or when its supervisor is gone.  Does not know why.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from ehlo.controller import SMTPServer
from ehlo.credentials import share_fake_secret
from ehlo.net.channel import Order, encode, receive
from ehlo.net.foreground import event_loop
from ehlo.net.shared_registry import SharedRegistry

if TYPE_CHECKING:
    from ehlo.net.channel import Message

log = logging.getLogger("ehlo.workers")


def main(argument: str) -> int:
    """Do what the order says; the exit status is 0 when that was done to its end."""
    channel = socket.socket(fileno=int(argument))
    try:
        order = Order.receive(channel)
    except EOFError:
        channel.close()
        return 1
    for descriptor in (channel.fileno(), order.clients, *order.sockets):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - it has no keyword
    sys.path[:] = order.path
    _set_python_path(order.python_path)
    share_fake_secret(bytes.fromhex(order.secret))
    # A terminal sends these to everybody; what becomes of workers, the supervisor decides.  No SIG_IGN, which programs
    # that a handler starts would inherit.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    with event_loop(order.loop) as runner:
        return runner.run(Worker(channel, order).run())


class Worker:
    """What runs in the loop of a worker."""

    def __init__(self, channel: socket.socket, order: Order) -> None:
        self._channel = channel
        self._order = order
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve, and give the exit status."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        try:
            sockets = [_adopted(descriptor) for descriptor in self._order.sockets]
            try:
                self._server = await make_server(self._order, sockets)
                await self._start()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the application raises
                self._say({"failed": _reason(error)})
                for adopted in sockets:
                    adopted.close()
                return 1
            await self._serve()
            return 0
        finally:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _start(self) -> None:
        order, server = self._order, self._server
        # The order's limits of clients are those of all workers together.
        server.shared.clients.registry = SharedRegistry(
            order.clients, seats=order.seats, seat=order.seat, key=bytes.fromhex(order.key)
        )
        await server.start()
        if sorted(bound.fileno() for bound in server.sockets) != sorted(order.sockets):
            await server.stop(0)
            raise ValueError(f"{order.application} does not serve the sockets that it was given: serve(sockets=...)")

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self._keep(self._server.stop()))
        self._say({"ready": True})
        self._keep(self._obey())
        self._keep(self._report())
        await self._server.serve_forever()
        loop.remove_signal_handler(signal.SIGTERM)
        for task in self._tasks:
            task.cancel()
        self._say({"stats": self._server.stats.as_dict()})

    async def _obey(self) -> None:
        while (message := await receive(self._reader)) is not None:
            if "linger" in message:
                self._keep(self._retire(message["linger"], message["stop"]))
            else:
                self._keep(self._stop(message["stop"]))
        log.error("the supervisor is gone: stopping")
        await self._server.stop()

    async def _stop(self, grace: float) -> None:
        if grace == 0:
            self._server.hurry()  # should it be stopping already, with another grace
        await self._server.stop(grace)

    async def _retire(self, linger: float, grace: float) -> None:
        self._server.stop_accepting()
        await self._server.wait_until_idle(linger)
        await self._server.stop(grace)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._order.interval)
            if not self._writer.transport.get_write_buffer_size():  # the supervisor listens
                self._say({"stats": self._server.stats.as_dict()})

    def _say(self, message: Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    def _keep(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def make_server(order: Order, sockets: list[socket.socket]) -> SMTPServer:
    """The server that the application makes for the sockets.  Raises what the application does, and ``TypeError``."""
    module, _, name = order.application.partition(":")
    application: Any = importlib.import_module(module)
    for part in name.split("."):
        application = getattr(application, part)
    server = application(sockets, *order.arguments)
    if inspect.isawaitable(server):
        server = await server
    if not isinstance(server, SMTPServer):
        raise TypeError(f"{order.application} gave {type(server).__name__}, and not what ehlo.serve makes")
    return server


def _adopted(descriptor: int) -> socket.socket:
    adopted = socket.socket(fileno=descriptor)
    if adopted.family not in {socket.AF_INET, socket.AF_INET6}:
        return adopted
    # With its protocol, which not every system tells: see ehlo.net.listen.
    return socket.socket(adopted.family, adopted.type, socket.IPPROTO_TCP, fileno=adopted.detach())


def _reason(error: BaseException) -> str:
    """Why the application cannot be served.  ``SystemExit`` has been explained, by a text of its own or on stderr."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, str) else f"it exited with status {error.code}"
    log.error("the application cannot be served", exc_info=error)
    return f"{type(error).__name__}: {error}"


def _set_python_path(path: str | None) -> None:
    """As it was for the supervisor, for programs that a handler starts."""
    if path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
