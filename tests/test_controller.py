"""Controllers: servers with a thread of their own, and servers in a loop that the user has."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import smtplib
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import (
    LMTP,
    SMTP,
    Controller,
    Envelope,
    Session,
    UnixSocketController,
    UnixSocketUnthreadedController,
    UnthreadedController,
    serve,
)
from ehlo.auth import AuthResult
from ehlo.settings import Settings
from ehlo.shared import Shared
from tests.net.support import HOST, calling, certificate, client_context, server_context
from tests.support import Nothing, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness import LoopFactory

MESSAGE = "Subject: test\r\n\r\ntext\r\n"


def send(port: int) -> None:
    """Send a message to a server on this machine."""
    with smtplib.SMTP(HOST, port, local_hostname="client.example", timeout=5) as client:
        client.sendmail("from@example.com", ["to@example.com"], MESSAGE)


def say(path: str | Path | int, *lines: str, closes: bool = True) -> list[str]:
    """What a server says until it closes, if these lines are said to it at once, and no more if ``closes``."""
    target: Any = (HOST, path) if isinstance(path, int) else str(path)
    family = socket.AF_INET if isinstance(path, int) else socket.AF_UNIX
    with socket.socket(family) as client:
        client.settimeout(5)
        client.connect(target)
        client.sendall("".join(line + "\r\n" for line in lines).encode())
        if closes:
            client.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := client.recv(65536):
            heard += piece
    return heard.decode().splitlines()


def controller_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ehlo-controller"]


@pytest.fixture(autouse=True)
def _no_controller_is_left() -> Iterator[None]:
    yield
    assert controller_threads() == []


class Greeter(Recorder):
    """Counts clients."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.count += 1


# In a thread


def test_a_controller_receives_mail_in_a_thread_of_its_own(loop_factory: LoopFactory) -> None:
    handler = Recorder()
    controller = Controller(handler, port=0, loop_factory=loop_factory)
    controller.start()
    try:
        (thread,) = controller_threads()
        assert thread.daemon
        assert controller.port > 0
        send(controller.port)
    finally:
        controller.stop()
    assert handler.contents == [MESSAGE.encode()]
    assert handler.reasons == ["quit"]


def test_a_controller_is_a_context_manager(loop_factory: LoopFactory) -> None:
    handler = Recorder()
    with Controller(handler, port=0, loop_factory=loop_factory) as controller:
        assert isinstance(controller, Controller)
        send(controller.port)
    assert len(handler.contents) == 1


def test_a_controller_runs_on_the_loop_that_it_is_given(loop_factory: LoopFactory) -> None:
    class Handler(Recorder):
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> None:
            loops.append(asyncio.get_running_loop())

    loops: list[asyncio.AbstractEventLoop] = []
    made: list[asyncio.AbstractEventLoop] = []

    def make() -> asyncio.AbstractEventLoop:
        made.append(loop_factory())
        return made[-1]

    with Controller(Handler(), port=0, loop_factory=make) as controller:
        say(controller.port, "NOOP")
    assert loops == made
    assert made[0].is_closed()


def test_a_controller_can_be_started_again_and_again() -> None:
    handler = Recorder()
    controller = Controller(handler, port=0)
    for number in range(1, 6):
        controller.start()
        send(controller.port)
        controller.stop()
        assert len(handler.contents) == number
        assert controller.server is None
        assert controller.port == 0


def test_a_controller_that_runs_cannot_be_started() -> None:
    with Controller(Nothing(), port=0) as controller:
        with pytest.raises(RuntimeError, match="running"):
            controller.start()
        say(controller.port, "QUIT")


def test_a_controller_that_does_not_run_can_be_stopped() -> None:
    controller = Controller(Nothing(), port=0)
    controller.stop()
    with controller:
        pass
    controller.stop()


def test_a_controller_does_not_connect_to_itself() -> None:
    handler = Greeter()
    with Controller(handler, port=0):
        pass
    assert handler.count == 0


def test_a_controller_tells_where_to_connect() -> None:
    assert Controller(Nothing()).hostname == "127.0.0.1"
    assert Controller(Nothing(), "").hostname == "127.0.0.1"
    assert Controller(Nothing(), "127.0.0.2").hostname == "127.0.0.2"
    assert Controller(Nothing()).port == 8025
    with Controller(Nothing(), "127.0.0.2", port=0, server_hostname="mx.test") as controller:
        with smtplib.SMTP(controller.hostname, controller.port, timeout=5) as client:
            assert client.noop()[0] == 250
        assert controller.server is not None
        assert controller.server.settings.hostname == "mx.test"


def test_a_controller_says_hello_with_its_name() -> None:
    with Controller(Nothing(), port=0, server_hostname="mx.test", ident="test 1.0") as controller:
        assert say(controller.port, "HELO x")[:2] == ["220 mx.test ESMTP test 1.0", "250 mx.test"]


def test_a_controller_knows_its_hosts_name_if_it_is_given_none() -> None:
    with Controller(Nothing(), port=0) as controller:
        assert say(controller.port)[0] == f"220 {socket.getfqdn()} ESMTP ehlo"


def test_a_setting_that_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Controller(Nothing(), port=0, timeout=-1)


def test_a_controller_is_watched_as_it_is_told() -> None:
    with Controller(Nothing(), port=0, server_hostname="mx.test", stall_threshold=None) as controller:
        assert controller.server is not None
        assert controller.server._watch is None
    with Controller(Nothing(), port=0, server_hostname="mx.test", stall_threshold=60) as controller:
        assert controller.server is not None
        assert controller.server._watch is not None


# When it does not start


def test_a_port_that_is_taken_is_raised_where_the_controller_is_started(loop_factory: LoopFactory) -> None:
    with socket.create_server((HOST, 0)) as taken:
        controller = Controller(Recorder(), HOST, taken.getsockname()[1], loop_factory=loop_factory)
        for _ in range(2):
            with pytest.raises(OSError, match="in use") as caught:
                controller.start()
            assert caught.value.errno == errno.EADDRINUSE
        assert controller.server is None
    controller.start()
    send(controller.port)
    controller.stop()


def test_a_handler_that_cannot_work_is_raised_where_the_controller_is_started() -> None:
    class Handler:
        def handle_DATA_STREAM(self, *_: object) -> None:
            """It would have to be a coroutine function."""

    with pytest.raises(TypeError, match="handle_DATA_STREAM"):
        Controller(Handler(), port=0).start()


def test_a_factory_that_fails_is_raised_where_the_controller_is_started() -> None:
    class Broken(Controller):
        def factory(self) -> SMTP:
            raise LookupError("factory")

    with pytest.raises(LookupError, match="factory"):
        Broken(Nothing(), port=0).start()


@contextlib.contextmanager
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the search for this host's name take until the end of the block."""
    over = threading.Event()

    def search() -> str:
        over.wait(10)
        return "mx.test"

    monkeypatch.setattr(socket, "getfqdn", search)
    try:
        yield
    finally:
        over.set()


def test_a_controller_that_takes_too_long_gives_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Controller(Nothing(), port=0, ready_timeout=0.05)
    with stuck(monkeypatch):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            controller.start()
        assert time.monotonic() - began < 3
        assert controller_threads() == []
    controller.ready_timeout = 5
    with controller:
        say(controller.port, "QUIT")


def test_a_controller_whose_loop_comes_too_late_gives_up(loop_factory: LoopFactory) -> None:
    def make() -> asyncio.AbstractEventLoop:
        late.wait(0.2)
        return loop_factory()

    late = threading.Event()
    controller = Controller(Nothing(), port=0, ready_timeout=0.02, loop_factory=make)
    with pytest.raises(TimeoutError):
        controller.start()
    late.set()
    controller.ready_timeout = 5
    with controller:
        say(controller.port, "QUIT")


# How it stops


class Stuck(Recorder):
    """A handler whose plain hook does not return before it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()
        self.may_return = threading.Event()

    def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> None:
        self.has_begun.set()
        self.may_return.wait(10)


def test_a_plain_hook_that_is_stuck_does_not_hold_up_the_end(loop_factory: LoopFactory) -> None:
    handler = Stuck()
    controller = Controller(handler, port=0, loop_factory=loop_factory)
    controller.start()
    try:
        with socket.create_connection((HOST, controller.port), timeout=5) as client:
            client.sendall(b"NOOP\r\n")
            assert handler.has_begun.wait(5)
            began = time.monotonic()
            controller.stop(grace=0.05)
            assert time.monotonic() - began < 3
            assert client.recv(1000).endswith(b"closing connection\r\n")
        assert handler.reasons == ["shutdown"]
    finally:
        handler.may_return.set()


def test_a_session_between_commands_is_told_and_does_not_hold_up_the_end(loop_factory: LoopFactory) -> None:
    controller = Controller(Recorder(), port=0, loop_factory=loop_factory)
    controller.start()
    with socket.create_connection((HOST, controller.port), timeout=5) as client:
        heard = client.makefile("rb")
        assert heard.readline().startswith(b"220 ")
        began = time.monotonic()
        controller.stop()
        assert time.monotonic() - began < 3
        assert heard.read() == b"421 4.3.2 Service shutting down, closing connection\r\n"


def test_a_coroutine_hook_may_stop_its_controller() -> None:
    class Handler(Recorder):
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
            controller.stop()
            return "250 stopping"

    controller = Controller(Handler(), port=0, server_hostname="mx.test")
    controller.start()
    assert say(controller.port, "NOOP", closes=False)[1:] == [
        "250 2.0.0 stopping",
        "421 4.3.2 Service shutting down, closing connection",
    ]
    controller.stop()


def test_a_plain_hook_may_stop_its_controller() -> None:
    class Handler(Recorder):
        def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> None:
            controller.stop(grace=0.02)

    controller = Controller(Handler(), port=0, server_hostname="mx.test")
    controller.start()
    assert say(controller.port, "NOOP", closes=False)[1:] == ["421 4.3.2 Service shutting down, closing connection"]
    controller.stop()


def test_several_threads_may_stop_a_controller() -> None:
    controller = Controller(Nothing(), port=0)
    controller.start()
    stopping = [threading.Thread(target=controller.stop) for _ in range(3)]
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join(5)
    assert controller_threads() == []


def test_what_ends_the_loop_of_a_controller_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Handler(Recorder):
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> None:
            raise SystemExit("hook")

    controller = Controller(Handler(), port=0)
    controller.start()
    (thread,) = controller_threads()
    with caplog.at_level(logging.ERROR, "ehlo.server"):
        say(controller.port, "NOOP")
        thread.join(5)
    assert "the thread of a controller ends" in caplog.messages
    controller.stop()


# Others than SMTP on TCP


def test_a_controller_serves_lmtp_where_its_factory_says_so() -> None:
    class LMTPController(Controller):
        def factory(self) -> SMTP:
            return LMTP(self.handler, shared=self.shared)

    with LMTPController(Nothing(), port=0, server_hostname="mx.test") as controller:
        heard = say(controller.port, "EHLO x", "LHLO x")
    assert heard[0] == "220 mx.test LMTP ehlo"
    assert heard[1].startswith("500 ")
    assert heard[2].startswith("250-mx.test")


class Own(SMTP):
    """A server with a verb and a mechanism of its own."""

    async def smtp_NOW(self, arg: str | None) -> None:
        await self.push("250 now")

    async def auth_OWN(self, _: object, args: list[str]) -> AuthResult:  # noqa: N802
        return AuthResult(success=True)


@pytest.mark.parametrize("shares", [False, True])
def test_a_controller_serves_a_subclass_with_verbs_and_mechanisms_of_its_own(shares: bool) -> None:
    class OwnController(Controller):
        def factory(self) -> SMTP:
            if shares:
                return Own(self.handler, shared=self.shared)
            return Own(self.handler, settings=settings)

    settings = Settings(hostname="own.test", auth_require_tls=False)
    handler = Recorder()
    with OwnController(handler, port=0, server_hostname="own.test", auth_require_tls=False) as controller:
        assert controller.server is not None
        heard = say(controller.port, "EHLO x", "NOW", "AUTH OWN")
    assert any(line[4:].startswith("AUTH ") and "OWN" in line for line in heard)
    assert heard[-2] == "250 2.0.0 now"
    assert heard[-1].startswith("235 ")


def test_threads_of_plain_hooks_end_with_a_controller_whose_factory_shares_nothing() -> None:
    class Plain:
        def handle_NOOP(self, *_: object) -> None:
            names.append(threading.current_thread().name)

    class OwnController(Controller):
        def factory(self) -> SMTP:
            return SMTP(self.handler, hostname="mx.test")

    names: list[str] = []
    handler = Plain()
    with OwnController(handler, port=0) as controller:
        say(controller.port, "NOOP")
    assert len(names) == 1
    for thread in threading.enumerate():
        if thread.name in names:
            thread.join(5)
    assert names[0] not in {thread.name for thread in threading.enumerate()}


def test_a_controller_listens_on_a_unix_socket_and_removes_its_file(tmp_path: Path, loop_factory: LoopFactory) -> None:
    path = tmp_path / "smtp.sock"
    controller = UnixSocketController(Recorder(), path, loop_factory=loop_factory, server_hostname="mx.test")
    for _ in range(2):
        with controller:
            assert say(controller.unix_socket, "NOOP")[0] == "220 mx.test ESMTP ehlo"  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match="no TCP port"):
                _ = controller.port
        assert not path.exists()
    with pytest.raises(RuntimeError, match="no TCP port"):
        _ = controller.port


def test_a_controller_replaces_a_unix_socket_that_was_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with UnixSocketController(Nothing(), str(path)):
        assert say(path, "QUIT")[-1].startswith("221 ")
    assert not path.exists()


def test_a_controller_speaks_tls_from_the_first_octet(loop_factory: LoopFactory) -> None:
    handler = Recorder()
    with (
        Controller(handler, port=0, ssl_context=server_context(), loop_factory=loop_factory) as controller,
        smtplib.SMTP_SSL(HOST, controller.port, context=client_context(), timeout=5) as client,
    ):
        client.sendmail("from@example.com", ["to@example.com"], MESSAGE)
    assert len(handler.contents) == 1


def test_a_controller_speaks_starttls_and_takes_another_certificate(tmp_path: Path, loop_factory: LoopFactory) -> None:
    path = tmp_path / "other.pem"
    certificate("other.example", HOST).private_key_and_cert_chain_pem.write_to_path(path)

    def shown(port: int) -> object:
        with smtplib.SMTP(HOST, port, timeout=5) as client:
            client.starttls(context=client_context())
            assert isinstance(client.sock, ssl.SSLSocket)
            certificate = client.sock.getpeercert()
            assert certificate is not None
            return certificate["subjectAltName"]

    parameters: Any = {"tls_context": server_context(), "loop_factory": loop_factory}
    with Controller(Recorder(), port=0, **parameters) as controller:
        before = shown(controller.port)
        assert controller.server is not None
        controller.server.load_cert_chain(path)
        assert shown(controller.port) != before


# In a loop that the user has


async def test_a_controller_runs_in_a_loop_that_runs() -> None:
    handler = Recorder()
    async with UnthreadedController(handler, port=0) as controller:
        assert controller.hostname == "127.0.0.1"
        assert controller_threads() == []
        async with calling(controller.port) as caller:
            await caller.greet()
            assert (await caller.mail()).startswith("250 ")
        with pytest.raises(RuntimeError, match="running"):
            await controller.start()
    assert len(handler.contents) == 1
    assert controller.server is None


async def test_a_controller_in_a_loop_can_be_started_again() -> None:
    controller = UnthreadedController(Recorder(), port=0)
    await controller.stop()
    for _ in range(3):
        await controller.start()
        async with calling(controller.port) as caller:
            await caller.greet()
        await controller.stop()
        await controller.stop()


async def test_whoever_stops_a_controller_that_stops_waits_for_the_same_end() -> None:
    controller = UnthreadedController(Recorder(), port=0)
    await controller.start()
    async with calling(controller.port) as caller:
        await caller.greet()
        await caller.begin()
        stopping = [asyncio.create_task(controller.stop(grace=60)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert not any(each.done() for each in stopping)
        with pytest.raises(RuntimeError, match="running"):
            await controller.start()
        await caller.ask("RSET")
        await asyncio.wait_for(asyncio.gather(*stopping), 5)
    assert controller.server is None


async def test_a_port_that_is_taken_is_raised_in_a_loop_too() -> None:
    with socket.create_server((HOST, 0)) as taken:
        controller = UnthreadedController(Nothing(), HOST, taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await controller.start()
        assert controller.server is None


def test_a_controller_begins_and_ends_in_a_loop_that_does_not_run(loop_factory: LoopFactory) -> None:
    async def talk(port: int) -> None:
        async with calling(port) as caller:
            await caller.greet()
            assert (await caller.mail()).startswith("250 ")

    handler = Recorder()
    loop = loop_factory()
    try:
        controller = UnthreadedController(handler, port=0, loop=loop)
        for _ in range(2):
            controller.begin()
            loop.run_until_complete(talk(controller.port))
            controller.end()
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    assert len(handler.contents) == 2


def test_a_controller_that_knows_no_loop_can_neither_begin_nor_end() -> None:
    controller = UnthreadedController(Nothing(), port=0)
    with pytest.raises(RuntimeError, match="need the loop"):
        controller.begin()
    with pytest.raises(RuntimeError, match="need the loop"):
        controller.end()


async def test_a_loop_that_runs_is_not_for_begin_and_end() -> None:
    controller = UnthreadedController(Nothing(), port=0, loop=asyncio.get_running_loop())
    with pytest.raises(RuntimeError, match="is running"):
        controller.begin()
    with pytest.raises(RuntimeError, match="is running"):
        controller.end()
    assert controller.server is None


async def test_another_loop_that_runs_is_not_for_begin_either(loop_factory: LoopFactory) -> None:
    with contextlib.closing(loop_factory()) as idle:
        controller = UnthreadedController(Nothing(), port=0, loop=idle)
        with pytest.raises(RuntimeError, match="is running"):
            controller.begin()


async def test_a_controller_in_a_loop_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    controller = UnixSocketUnthreadedController(Recorder(), path)
    assert controller.unix_socket == path
    async with controller, calling(str(path)) as caller:
        await caller.greet()
        assert (await caller.mail()).startswith("250 ")
    assert not path.exists()


# serve


def test_settings_come_as_one_or_one_by_one() -> None:
    settings = Settings(hostname="mx.test", timeout=5)
    assert serve(Nothing(), settings=settings).settings is settings
    assert serve(Nothing(), hostname="mx.test", timeout=5).settings == settings
    with pytest.raises(TypeError, match="not both"):
        serve(Nothing(), settings=settings, timeout=5)


async def test_a_subclass_can_be_served() -> None:
    settings = Settings(hostname="mx.test", auth_require_tls=False)
    server = serve(Nothing(), HOST, 0, protocol=Own, settings=settings, stall_threshold=None)
    async with server, calling(server) as caller:
        assert "250 AUTH OWN" in (await caller.greet()).replace("-", " ")
        assert await caller.ask("NOW") == "250 2.0.0 now"


def test_lmtp_is_not_served_on_the_port_of_smtp() -> None:
    with pytest.raises(ValueError, match="port 25"):
        serve(Nothing(), port=25, protocol=LMTP)


def test_what_connections_share_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    init = Shared.__init__

    def count(self: Shared, *args: Any) -> None:
        made.append(self)
        init(self, *args)

    monkeypatch.setattr(Shared, "__init__", count)
    with Controller(Nothing(), port=0, server_hostname="mx.test") as controller:
        for _ in range(3):
            say(controller.port, "QUIT")
    assert len(made) == 1
