"""A worker: the process that ``ehlo.net.supervisor`` starts, with a socket to talk to it.

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
import select
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

from ehlo.controller import SMTPServer
from ehlo.credentials import share_fake_secret
from ehlo.net.channel import Order, encode, receive
from ehlo.net.foreground import event_loop
from ehlo.net.forked import release, withhold
from ehlo.net.serve import GRACE
from ehlo.net.shared_registry import SharedRegistry
from ehlo.net.worker_process import OVERTIME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ehlo.net.channel import Message

log = logging.getLogger("ehlo.workers")

ANSWER = 5.0
"""Seconds in which the loop must notice that the supervisor is gone, or else the process ends."""


def main(argument: str) -> int:
    """Do what the order says; the exit status is 0 when that was done to its end."""
    channel = socket.socket(fileno=int(argument))
    try:
        order = Order.receive(channel)
    except EOFError:
        channel.close()
        return 1
    for descriptor in (channel.fileno(), order.clients, *order.sockets, *order.others):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - it has no keyword
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
        self._others = order.others
        self._covered: dict[int, tuple[socket.socket, asyncio.AbstractServer]] = {}

    async def run(self) -> int:
        """Serve, and give the exit status."""
        order = self._order
        descriptors = (self._channel.fileno(), order.clients, *order.sockets, *order.others)
        withhold(*descriptors)
        with _Lifeline(self._channel) as self._lifeline:
            try:
                return await self._run()
            finally:
                release(*descriptors)

    async def _run(self) -> int:
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        try:
            sockets = [_adopted(descriptor) for descriptor in self._order.sockets]
            try:
                self._server = await make_server(self._order, sockets)
                await self._start()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the application raises
                self._say(_failure(error))
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
        loop.add_signal_handler(signal.SIGTERM, self._leave)
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
            if "cover" in message:
                await self._cover(message["cover"])
            elif "linger" in message:
                self._keep(self._retire(message["linger"], message["stop"]))
            else:
                self._keep(self._stop(message["stop"]))
        self._lifeline.noticed.set()
        log.error("the supervisor is gone: stopping")
        await self._stop(GRACE)

    def _leave(self) -> None:
        """Stop, because somebody else than the supervisor wants it."""
        self._leave_others()
        self._server.stop_accepting()
        self._say({"stopping": GRACE})
        self._keep(self._server.stop(GRACE))

    async def _cover(self, descriptors: list[int]) -> None:
        """Accept from these sockets too, whose own worker is gone, and no longer from others."""
        self._uncover(self._covered.keys() - {*descriptors})
        for descriptor in {*descriptors} - self._covered.keys():
            if descriptor not in self._others:
                return  # it has left them
            adopted = _adopted(os.dup(descriptor))  # it is closed when it is given back
            withhold(adopted.fileno())
            self._covered[descriptor] = adopted, await self._server.accept_from(adopted)
        if not self._others:  # it left them in the meantime
            self._uncover([*self._covered])

    def _uncover(self, descriptors: Iterable[int]) -> None:
        for descriptor in descriptors:
            adopted, listener = self._covered.pop(descriptor)
            release(adopted.fileno())
            self._server.stop_accepting_from(listener)

    def _leave_others(self) -> None:
        """Have nothing to do any more with the sockets of others: while one has them, they are open."""
        self._uncover([*self._covered])
        release(*self._order.sockets, *self._others)
        for descriptor in self._others:
            os.close(descriptor)
        self._others = []

    async def _stop(self, grace: float) -> None:
        self._leave_others()
        if grace == 0:
            self._server.hurry()  # should it be stopping already, with another grace
        await self._server.stop(grace)

    async def _retire(self, linger: float, grace: float) -> None:
        self._leave_others()
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


class _Lifeline:
    """Ends the process when its supervisor is gone, and whatever runs here does not notice or takes too long.

    A thread does: imports may hang, and hooks may keep the loop from turning.
    """

    def __init__(self, channel: socket.socket) -> None:
        self.noticed = threading.Event()
        self._ended = threading.Event()
        self._channel = channel.dup()

    def __enter__(self) -> Self:
        withhold(self._channel.fileno())
        threading.Thread(target=self._watch, name="ehlo-lifeline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.noticed.set()
        self._ended.set()
        with contextlib.suppress(OSError):  # the supervisor was first
            self._channel.shutdown(socket.SHUT_RDWR)  # which ends the thread too

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._channel, select.POLLHUP)
        while not any(event & select.POLLHUP for _, event in poll.poll()):
            pass
        if not (self.noticed.wait(ANSWER) and self._ended.wait(GRACE + OVERTIME)):
            os._exit(1)
        release(self._channel.fileno())
        self._channel.close()


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


def _failure(error: BaseException) -> Message:
    """Why the application cannot be served.  ``SystemExit`` has said so by its text, its cause, or on stderr."""
    if not isinstance(error, SystemExit):
        log.error("the application cannot be served", exc_info=error)
        return {"failed": f"{type(error).__name__}: {error}", "status": 1}
    status = error.code if isinstance(error.code, int) else 1
    text = error.code if isinstance(error.code, str) else error.__cause__
    return {"failed": str(text or f"it exited with status {error.code}"), "status": status}


if __name__ == "__main__":
    sys.exit("This is what ehlo.serve_workers starts; it is of no use without its supervisor.")
