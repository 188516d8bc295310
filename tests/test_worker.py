"""A worker in this process, with the test as its supervisor; as processes they are in tests/net/test_supervisor.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import credentials, worker
from ehlo.net.channel import Message, Order, encode, receive
from ehlo.net.listen import tcp_sockets
from ehlo.net.shared_registry import SharedRegistry, new_file
from tests.net.support import HOST, calling
from tests.net.workers import pid_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ehlo import SMTPServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")


class Supervisor:
    """What the test says to its worker, and hears."""

    def __init__(self, port: int, order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.port = port
        self.order = order
        self.worker: asyncio.Task[int]
        self._reader = reader
        self._writer = writer

    def say(self, message: Message) -> None:
        self._writer.write(encode(message))

    def leave(self) -> None:
        self._writer.close()

    async def hear(self) -> Message | None:
        async with asyncio.timeout(5):
            return await receive(self._reader)

    async def hear_all(self) -> list[Message]:
        heard = []
        while (message := await self.hear()) is not None:
            heard.append(message)
        return heard


def order(sockets: list[int], clients: int, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "application": "tests.net.workers:make",
        "arguments": [],
        "sockets": sockets,
        "others": [],
        "loop": "auto",
        "clients": clients,
        "seats": 2,
        "seat": 0,
        "key": "00",
        "secret": "00" * 32,
        "interval": 3600,
    }
    return Order(**(fields | changes))


@asynccontextmanager
async def working(**changes: Any) -> AsyncIterator[Supervisor]:
    bound = await tcp_sockets(HOST, 0)
    port = bound[0].getsockname()[1]
    descriptors = [each.detach() for each in bound]
    clients = new_file(2)
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    supervisor = Supervisor(port, order(descriptors, clients, **changes), reader, writer)
    supervisor.worker = asyncio.create_task(worker.Worker(theirs, supervisor.order).run())
    try:
        yield supervisor
    finally:
        supervisor.leave()
        async with asyncio.timeout(5):
            await supervisor.worker
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        os.close(clients)


async def test_it_says_that_it_is_ready_serves_stops_when_told_and_reports() -> None:
    async with working() as supervisor:
        assert await supervisor.hear() == {"ready": True}
        async with calling(supervisor.port) as caller:
            await caller.greet()
            supervisor.say({"stop": 30})
            assert (await caller.hear()).startswith("421 ")
        (report,) = await supervisor.hear_all()
        assert report["stats"]["sessions_opened"] == 1
        assert await supervisor.worker == 0


async def test_it_reports_every_so_often() -> None:
    async with working(interval=0.01) as supervisor:
        await supervisor.hear()
        assert (await supervisor.hear() or {})["stats"]["sessions_opened"] == 0
        async with calling(supervisor.port) as caller:
            await caller.greet()
            while (await supervisor.hear() or {})["stats"]["sessions_opened"] == 0:
                pass


async def test_it_stops_when_its_supervisor_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    async with working() as supervisor:
        await supervisor.hear()
        supervisor.leave()
        assert await supervisor.worker == 0
        assert "the supervisor is gone: stopping" in caplog.messages


async def test_it_stops_when_it_is_terminated() -> None:
    async with working() as supervisor:
        await supervisor.hear()
        signal.raise_signal(signal.SIGTERM)
        assert await supervisor.worker == 0


async def test_it_goes_on_for_a_while_with_who_is_there() -> None:
    async with working() as supervisor:
        await supervisor.hear()
        async with calling(supervisor.port) as caller:
            await caller.greet()
            supervisor.say({"stop": 30, "linger": 30})
            assert (await caller.mail()).startswith("250 ")
            assert await pid_of(caller) == os.getpid()
            await caller.ask("QUIT")
        assert await supervisor.worker == 0


async def test_it_goes_on_no_longer_than_it_may() -> None:
    async with working() as supervisor:
        await supervisor.hear()
        async with calling(supervisor.port) as caller:
            await caller.greet()
            supervisor.say({"stop": 30, "linger": 0})
            assert (await caller.hear()).startswith("421 ")
        assert await supervisor.worker == 0


async def test_it_hurries_when_it_is_told_to_though_it_has_a_grace() -> None:
    async with working() as supervisor:
        await supervisor.hear()
        async with calling(supervisor.port) as caller:
            await caller.greet()
            await caller.begin()
            supervisor.say({"stop": 30})
            supervisor.say({"stop": 0})
            assert (await caller.hear()).startswith("421 ")
        assert await supervisor.worker == 0


async def test_it_counts_clients_where_it_was_told_to() -> None:
    async with working(application="tests.net.workers:make_limited", arguments=['{"connections": 2}']) as supervisor:
        await supervisor.hear()
        async with calling(supervisor.port) as caller:
            await caller.greet()
            registry = SharedRegistry(supervisor.order.clients, seats=2, seat=1, key=bytes(1))
            assert [*registry._sessions] == [1, 0]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("leave", ["3"], "it exited with status 3"),
        ("leave", ["it has its reasons"], "it has its reasons"),
        ("make_unless", [__file__], "LookupError: test_worker.py is there"),
        ("make_nonsense", [], "TypeError: tests.net.workers:make_nonsense gave str, and not what ehlo.serve makes"),
    ],
)
async def test_what_keeps_it_from_serving_is_said(name: str, arguments: list[str], reason: str) -> None:
    async with working(application=f"tests.net.workers:{name}", arguments=arguments) as supervisor:
        assert await supervisor.hear() == {"failed": reason, "status": 3 if arguments == ["3"] else 1}
        assert await supervisor.worker == 1


async def test_a_server_of_other_sockets_is_stopped() -> None:
    async with working(application="tests.net.workers:make_elsewhere") as supervisor:
        message = await supervisor.hear() or {}
        assert message["failed"].endswith("does not serve the sockets that it was given: serve(sockets=...)")


async def test_it_accepts_from_the_sockets_of_others_while_it_is_told_to() -> None:
    other = socket.create_server((HOST, 0))
    port = other.getsockname()[1]
    async with working(others=[other.fileno()]) as supervisor:
        await supervisor.hear()
        supervisor.say({"cover": [other.fileno()]})
        async with calling(port) as caller:
            await caller.greet()
            supervisor.say({"cover": []})
            assert await pid_of(caller) == os.getpid()
            with socket.create_connection((HOST, port)):
                supervisor.say({"stop": 0})
                assert (await caller.hear()).startswith("421 ")
                assert await supervisor.worker == 0
        assert other.detach() != -1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))  # it has closed it


async def test_it_says_that_somebody_else_has_told_it_to_end() -> None:
    async with working() as supervisor:
        await supervisor.hear()
        async with calling(supervisor.port) as caller:
            await caller.greet()
            await caller.begin()
            signal.raise_signal(signal.SIGTERM)
            assert await supervisor.hear() == {"stopping": 30.0}
            assert not supervisor.worker.done()


# Without a supervisor


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[int]:
    statuses: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr("ehlo.worker.os._exit", statuses.put)
    return statuses


def test_a_process_that_does_not_notice_that_its_supervisor_is_gone_ends(
    monkeypatch: pytest.MonkeyPatch, exits: queue.Queue[int]
) -> None:
    monkeypatch.setattr(worker, "ANSWER", 0.01)
    ours, theirs = socket.socketpair()
    with theirs, worker._Lifeline(theirs):
        ours.sendall(b"something is said")
        ours.close()
        assert exits.get(timeout=5) == 1


def test_a_process_that_does_not_end_without_its_supervisor_is_ended(
    monkeypatch: pytest.MonkeyPatch, exits: queue.Queue[int]
) -> None:
    monkeypatch.setattr(worker, "GRACE", 0.01)
    monkeypatch.setattr(worker, "OVERTIME", 0)
    ours, theirs = socket.socketpair()
    with theirs, worker._Lifeline(theirs) as lifeline:
        lifeline.noticed.set()
        ours.close()
        assert exits.get(timeout=5) == 1


# The process


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The supervisor's end; the worker's is ``sys.argv[1]``.  What a worker does to its process is undone."""
    monkeypatch.setattr(credentials, "_fake_secret", credentials.fake_secret())
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(sys, "argv", ["worker", str(theirs.detach())])
    with ours:
        yield ours
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_process_without_an_order_ends(channel: socket.socket) -> None:
    channel.close()
    assert worker.main(sys.argv[1]) == 1


def test_a_process_is_as_its_order_says(channel: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(self: worker.Worker) -> int:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)
        assert credentials.fake_secret() == b"s" * 32
        self._channel.close()
        return 5

    monkeypatch.setattr(worker.Worker, "run", look)
    with socket.socket() as bound:
        bound.set_inheritable(True)
        clients = new_file(2)
        channel.sendall(order([bound.fileno()], clients, secret=(b"s" * 32).hex()).encode())
        assert worker.main(sys.argv[1]) == 5
        assert not bound.get_inheritable()
        os.close(clients)


async def test_an_application_may_be_anywhere_in_its_module() -> None:
    class Namespace:
        @staticmethod
        async def make(sockets: list[socket.socket]) -> SMTPServer:
            from tests.net.workers import make

            return make(sockets)

    sys.modules["a_module_of_a_test"] = Namespace  # type: ignore[assignment]
    Namespace.inner = Namespace  # type: ignore[attr-defined]
    try:
        server = await worker.make_server(order([], -1, application="a_module_of_a_test:inner.make"), [])
        assert server.settings.hostname == "mx.test"
    finally:
        del sys.modules["a_module_of_a_test"]
