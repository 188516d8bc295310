"""Controllers: they start and stop as others' do, and where those fail, these do not."""

from __future__ import annotations

import asyncio
import errno
import smtplib
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from ehlo.compat.aiosmtpd import controller as module
from ehlo.compat.aiosmtpd.controller import (
    Controller,
    UnixSocketController,
    UnixSocketUnthreadedController,
    UnthreadedController,
    get_localhost,
)
from ehlo.compat.aiosmtpd.handlers import Sink
from ehlo.compat.aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    from tests.harness import LoopFactory


def noop(port: int, host: str = "127.0.0.1") -> int:
    with smtplib.SMTP(host, port, timeout=10) as client:
        return client.noop()[0]


@pytest.fixture
def controller(loop_factory: LoopFactory) -> Iterator[Controller]:
    made = Controller(Sink(), "127.0.0.1", 0, loop_factory(), server_hostname="mx.test")
    yield made
    made.stop(no_assert=True)
    if not made.loop.is_closed():
        made.loop.close()


# -- In a thread ---------------------------------------------------------------------------------------------------


def test_a_port_that_the_system_chooses_is_told(controller: Controller) -> None:
    controller.start()
    assert controller.port == controller.server.sockets[0].getsockname()[1]
    assert noop(controller.port) == 250


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address of IPv4")
def test_all_addresses_of_a_name_have_one_port(controller: Controller) -> None:
    hosts: Any = ["127.0.0.1", "127.0.0.2"]
    controller.hostname = hosts
    controller.start()
    assert [listening.getsockname()[1] for listening in controller.server.sockets] == [controller.port] * 2
    assert [noop(controller.port, host) for host in hosts] == [250, 250]


def test_it_starts_again_after_it_has_stopped(controller: Controller) -> None:
    for _ in range(2):
        controller.start()
        assert noop(controller.port) == 250
        controller.stop()
    assert controller.server is None
    assert controller.smtpd is None


def test_no_client_comes_but_those_from_outside(controller: Controller) -> None:
    class Watching(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connected.append(transport)
            super().connection_made(transport)

    connected: list[object] = []
    controller.factory = lambda: Watching(Sink(), hostname="mx.test")  # type: ignore[method-assign]
    controller.start()
    assert isinstance(controller.smtpd, Watching)
    assert connected == []
    noop(controller.port)
    assert len(connected) == 1


@pytest.mark.parametrize("is_broken", [True, False])
def test_what_is_wrong_with_the_factory_is_raised_by_start(controller: Controller, is_broken: bool) -> None:
    def factory() -> None:
        if is_broken:
            raise ZeroDivisionError("division by zero")

    controller.factory = factory  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError if is_broken else RuntimeError, match=r"division|factory\(\) returned None"):
        controller.start()
    with pytest.raises(AssertionError, match="already running"):
        controller.start()
    with socket.create_connection((controller.hostname, controller.port)) as client:
        assert client.recv(1) == b""
    controller.stop()
    with pytest.raises(AssertionError, match="not running"):
        controller.stop()


def test_a_port_that_is_taken_is_told_at_once(controller: Controller) -> None:
    controller.start()
    other = Controller(Sink(), "127.0.0.1", controller.port, ready_timeout=30)
    began = time.monotonic()
    with pytest.raises(OSError, match="address") as caught:
        other.start()
    assert caught.value.errno == errno.EADDRINUSE
    assert time.monotonic() - began < 10
    other.stop()
    other.loop.close()


class Slow(Controller):
    def _run(self, ready_event: threading.Event) -> None:
        time.sleep(0.2)
        super()._run(ready_event)


class SlowFactory(Controller):
    def factory(self) -> Any:
        time.sleep(0.2)
        return super().factory()


@pytest.mark.parametrize(("cls", "text"), [(Slow, "failed to start"), (SlowFactory, "not responding")])
def test_a_start_that_takes_too_long_is_an_error(
    cls: type[Controller], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOSMTPD_CONTROLLER_TIMEOUT", "0.05")
    controller = cls(Sink(), "127.0.0.1", 0, ready_timeout=10)
    with pytest.raises(TimeoutError, match=text):
        controller.start()
    controller.stop()


@pytest.mark.parametrize("is_tls", [False, True])
def test_stop_does_not_wait_for_clients(
    is_tls: bool, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    controller = Controller(Sink(), "127.0.0.1", 0, ssl_context=server_context if is_tls else None)
    controller.start()
    client: socket.socket = socket.create_connection(("127.0.0.1", controller.port), 10)
    if is_tls:
        client = client_context.wrap_socket(client, server_hostname="localhost")
    with client:
        assert client.recv(1000).startswith(b"220 ")
        began = time.monotonic()
        controller.stop()
        assert time.monotonic() - began < 2
        assert client.recv(1) == b""


def test_stop_does_not_wait_for_a_handshake(server_context: ssl.SSLContext) -> None:
    controller = Controller(Sink(), "127.0.0.1", 0, ssl_context=server_context)
    controller.start()
    with socket.create_connection(("127.0.0.1", controller.port), 10):
        began = time.monotonic()
        controller.stop()
        assert time.monotonic() - began < 5


def test_a_hook_that_runs_is_cancelled_by_stop(controller: Controller) -> None:
    class Waiting:
        async def handle_NOOP(self, *_: object) -> str:
            entered.set()
            try:
                await asyncio.sleep(30)
            finally:
                left.set()
            return "250 never"

    entered, left = threading.Event(), threading.Event()
    controller.handler = Waiting()
    controller.start()
    with socket.create_connection((controller.hostname, controller.port), 10) as client:
        client.sendall(b"NOOP\r\n")
        assert entered.wait(10)
        controller.stop()
    assert left.is_set()


def test_parameters_of_smtp_are_passed_on() -> None:
    with pytest.warns(DeprecationWarning, match="server_kwargs will be removed"):
        controller = Controller(
            Sink(), server_hostname="mx.test", ident="here", server_kwargs={"ident": "there", "timeout": 5}
        )
    controller.loop.close()
    assert controller.SMTP_kwargs == {"ident": "here", "timeout": 5, "hostname": "mx.test", "enable_SMTPUTF8": True}
    assert controller.port == 8025


# -- In a loop that one has ----------------------------------------------------------------------------------------


@pytest.fixture
def loop(loop_factory: LoopFactory) -> Iterator[asyncio.AbstractEventLoop]:
    made = loop_factory()
    yield made
    made.close()
    asyncio.set_event_loop(None)


def test_a_loop_that_is_there_is_used(loop: asyncio.AbstractEventLoop) -> None:
    controller = UnthreadedController(Sink(), "127.0.0.1", 0, loop)
    controller.begin()
    port = controller.port
    assert loop.run_until_complete(asyncio.wait_for(loop.run_in_executor(None, noop, port), 10)) == 250
    controller.end()
    assert controller.ended.is_set()
    assert controller.server is None
    with pytest.raises(ConnectionRefusedError):
        noop(port)
    loop.run_until_complete(loop.shutdown_default_executor())


def test_the_end_does_not_wait_for_clients(loop: asyncio.AbstractEventLoop) -> None:
    controller = UnthreadedController(Sink(), "127.0.0.1", 0, loop)
    controller.begin()

    async def stay() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", controller.port)
        assert (await reader.readline()).startswith(b"220 ")
        controller.end()
        await asyncio.get_running_loop().run_in_executor(None, controller.ended.wait, 10)
        writer.write(b"QUIT\r\n")
        assert (await reader.readline()) == b"221 Bye\r\n"
        writer.close()

    loop.run_until_complete(stay())
    assert controller.ended.is_set()
    loop.run_until_complete(loop.shutdown_default_executor())


def test_it_may_listen_on_a_unix_socket(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> None:
    path = tmp_path / "smtp"
    threaded = UnixSocketController(Sink(), path)
    threaded.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        assert client.recv(1000).startswith(b"220 ")
    threaded.stop()
    unthreaded = UnixSocketUnthreadedController(Sink(), tmp_path / "other", loop)
    unthreaded.begin()
    unthreaded.end()


# -- This machine --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(None, "::1"), (errno.EADDRNOTAVAIL, "127.0.0.1"), (errno.EAFNOSUPPORT, "127.0.0.1"), (errno.EADDRINUSE, "::1")],
)
def test_the_loopback_address_is_that_of_ipv6_if_there_is_one(
    failure: int | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_has_ipv6", lambda: True)
    monkeypatch.setattr(socket, "socket", lambda *_: _Probe(failure))
    assert get_localhost() == expected


def test_without_ipv6_it_is_that_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_ipv6", lambda: False)
    assert get_localhost() == "127.0.0.1"


def test_other_failures_are_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_ipv6", lambda: True)
    monkeypatch.setattr(socket, "socket", lambda *_: _Probe(errno.EMFILE))
    with pytest.raises(OSError, match="no socket"):
        get_localhost()


class _Probe:
    def __init__(self, failure: int | None) -> None:
        self._failure = failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def bind(self, address: object) -> None:
        if self._failure is not None:
            raise OSError(self._failure, "no socket")
