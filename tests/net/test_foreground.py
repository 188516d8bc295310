from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo import SMTP, Envelope, Session, serve
from ehlo.net.foreground import (
    CannotListen,
    SafeFormatter,
    event_loop,
    open_sockets,
    parse_address,
    serve_until_signal,
    visible,
)
from ehlo.net.worker_process import WorkerFailed
from tests.support import Nothing, be_quiet

if TYPE_CHECKING:
    from collections.abc import Callable


# Addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", None, 8025),
        (":25", None, 25),
        ("localhost:25", None, 25),
        ("localhost", None, 8025),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("mx.example.com", "mx.example.com", 8025),
        ("mx.example.com:", "mx.example.com", 8025),
        ("[::1]:25", "::1", 25),
        ("[::1]", "::1", 8025),
        ("[fe80::1%lo]:25", "fe80::1%lo", 25),
        ("*:25", "", 25),
        ("*", "", 8025),
    ],
)
def test_an_address_is_a_host_and_a_port_of_which_either_may_lack(text: str, host: str | None, port: int) -> None:
    assert parse_address(text, 8025) == (host, port)


@pytest.mark.parametrize("port", ["smtp", "65536", "-1", "2 5", "\N{ARABIC-INDIC DIGIT TWO}"])
def test_a_port_that_is_none_is_named(port: str) -> None:
    with pytest.raises(ValueError, match=f"^Invalid port number: {port}$"):
        parse_address(f"localhost:{port}", 8025)


@pytest.mark.parametrize("text", ["::1:25", "::1", "[::1", "::1]:25", "[]:25", "a]b:25"])
def test_an_ipv6_address_without_its_brackets_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match=r"brackets: \[::1\]:8025"):
        parse_address(text, 8025)


# What keeps it from listening


async def test_an_address_in_use_is_one_line_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            await open_sockets("127.0.0.1", port)
    line = str(caught.value)
    assert f"127.0.0.1 port {port}" in line
    assert "choose another port" in line
    assert "\n" not in line


async def test_a_server_that_cannot_start_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = serve(Nothing(), "127.0.0.1", other.getsockname()[1], hostname="mx.test")
        with pytest.raises(CannotListen, match="in use"):
            await serve_until_signal(server, pytest.fail)


async def test_a_host_that_has_no_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("ehlo.net.foreground.tcp_sockets", fail)
    with pytest.raises(CannotListen, match=r"^cannot listen on mx\.example: Name or service not known$"):
        await open_sockets("mx.example", 0)


async def test_what_cannot_be_a_host_is_named() -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on a\.\.b: not a host name$"):
        await open_sockets("a..b", 0)


async def test_the_hint_fits_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(CannotListen, match=r"127\.0\.0\.1 port 25 \(ports below 1024 are for root"):
        await open_sockets("127.0.0.1", 25)


# Signals


class Replaceable:
    """Stands in for workers."""

    def __init__(self) -> None:
        self.host: str | list[str] | None = None
        self.reloads = 0
        self.is_ready_to_start = True
        self.may_reload = asyncio.Event()
        self.is_stopping = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.stopped = asyncio.Event()
        self.heard: list[str] = []

    async def start(self) -> None:
        if not self.is_ready_to_start:
            signal.raise_signal(signal.SIGTERM)
            await self.stopped.wait()
            raise WorkerFailed("stopped")

    async def stop(self) -> None:
        self.is_stopping.set()
        await self.may_stop.wait()
        self.stopped.set()

    def hurry(self) -> None:
        self.heard.append("hurry")

    def kill(self) -> None:
        self.heard.append("kill")
        self.may_stop.set()

    def overtake(self) -> None:
        self.heard.append("overtake")

    async def serve_forever(self) -> None:
        await self.stopped.wait()

    async def reload(self) -> None:
        self.reloads += 1
        await self.may_reload.wait()
        if self.reloads == 2:
            raise WorkerFailed("the second one")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
async def test_sighup_replaces_workers_and_once_more_what_came_in_the_meantime() -> None:
    workers = Replaceable()
    before = signal.getsignal(signal.SIGHUP)

    async def send(count: int) -> None:
        for _ in range(count):
            signal.raise_signal(signal.SIGHUP)
        await be_quiet()

    async def play() -> None:
        await send(1)
        await send(3)
        assert workers.reloads == 1
        workers.may_reload.set()
        await be_quiet()
        assert workers.reloads == 2
        await send(1)
        assert workers.reloads == 3
        signal.raise_signal(signal.SIGTERM)

    playing: list[asyncio.Task[None]] = []
    await serve_until_signal(workers, lambda: playing.append(asyncio.create_task(play())))  # type: ignore[arg-type]
    await playing[0]
    assert signal.getsignal(signal.SIGHUP) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
async def test_a_reload_may_fail_in_any_way_and_the_next_one_is_done(caplog: pytest.LogCaptureFixture) -> None:
    workers = Replaceable()

    async def fail() -> None:
        workers.reloads += 1
        raise LookupError("nobody expects it")

    async def play() -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
            await be_quiet()
        signal.raise_signal(signal.SIGTERM)

    workers.reload = fail  # type: ignore[method-assign]
    playing: list[asyncio.Task[None]] = []
    await serve_until_signal(workers, lambda: playing.append(asyncio.create_task(play())))  # type: ignore[arg-type]
    await playing[0]
    assert workers.reloads == 2
    assert workers.heard == ["overtake"] * 2
    assert "nobody expects it" in caplog.text


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
async def test_systemd_is_not_told_that_workers_are_ready_when_they_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Replaceable()
    said: list[str] = []
    monkeypatch.setattr("ehlo.net.foreground.notify", said.append)
    monkeypatch.setattr("ehlo.net.foreground.reloading", lambda: said.append("RELOADING=1"))

    async def play() -> None:
        workers.may_stop.clear()
        signal.raise_signal(signal.SIGHUP)
        await be_quiet()
        signal.raise_signal(signal.SIGTERM)
        await be_quiet()
        workers.may_reload.set()
        await be_quiet()
        workers.may_stop.set()

    playing: list[asyncio.Task[None]] = []
    await serve_until_signal(workers, lambda: playing.append(asyncio.create_task(play())))  # type: ignore[arg-type]
    await playing[0]
    assert said == ["READY=1", "RELOADING=1", "STOPPING=1"]


async def test_a_third_signal_kills_workers() -> None:
    workers = Replaceable()
    workers.may_stop.clear()
    before = signal.getsignal(signal.SIGTERM)

    async def play() -> None:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
            await be_quiet()

    playing: list[asyncio.Task[None]] = []
    await serve_until_signal(workers, lambda: playing.append(asyncio.create_task(play())))  # type: ignore[arg-type]
    await playing[0]
    assert workers.heard == ["hurry", "kill"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("host", "where"), [(None, ""), ("mx.example", " on mx.example"), (["a", "b"], " on a, b")])
async def test_the_host_of_workers_is_named_when_it_has_no_address(host: str | list[str] | None, where: str) -> None:
    async def fail() -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    workers = Replaceable()
    workers.start = fail  # type: ignore[method-assign]
    workers.host = host
    with pytest.raises(CannotListen, match=f"^cannot listen{where}: Name or service not known$"):
        await serve_until_signal(workers, pytest.fail)  # type: ignore[arg-type]


async def test_a_signal_while_it_starts_is_no_failure() -> None:
    workers = Replaceable()
    workers.is_ready_to_start = False
    await serve_until_signal(workers, pytest.fail)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_the_server_and_leaves_the_handlers_as_they_were(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    server = serve(Nothing(), port=0, hostname="mx.test")
    await serve_until_signal(server, lambda: signal.raise_signal(number))
    assert not server.is_serving
    assert signal.getsignal(number) is before


class Endless:
    """Answers no message, and cannot be hurried but by a cancellation."""

    def __init__(self) -> None:
        self.is_called = asyncio.Event()
        self.ends: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.is_called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise


async def test_a_second_signal_does_not_wait_for_open_transactions() -> None:
    handler = Endless()
    server = serve(handler, "127.0.0.1", 0, hostname="mx.test")
    is_ready = asyncio.Event()
    serving = asyncio.create_task(serve_until_signal(server, is_ready.set))
    await is_ready.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"HELO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    for _ in range(5):
        await reader.readline()
    writer.write(b"text\r\n.\r\n")
    await handler.is_called.wait()

    signal.raise_signal(signal.SIGTERM)
    for _ in range(10):
        await asyncio.sleep(0)
    assert handler.ends == []
    signal.raise_signal(signal.SIGTERM)
    await serving

    assert handler.ends == ["cancelled"]
    assert (await reader.read()).startswith(b"421 ")
    writer.close()


async def test_a_server_that_fails_to_announce_itself_is_stopped() -> None:
    def fail() -> None:
        raise BrokenPipeError

    server = serve(Nothing(), port=0, hostname="mx.test")
    with pytest.raises(BrokenPipeError):
        await serve_until_signal(server, fail)
    assert not server.is_serving


def test_in_a_thread_where_no_signal_arrives_it_serves_without() -> None:
    outcome: list[object] = []

    async def serve_and_stop() -> None:
        server = serve(Nothing(), port=0, hostname="mx.test")
        loop = asyncio.get_running_loop()
        await serve_until_signal(server, lambda: outcome.append(loop.create_task(server.stop())))

    thread = threading.Thread(target=lambda: asyncio.run(serve_and_stop()))
    thread.start()
    thread.join(timeout=5)
    assert len(outcome) == 1
    assert not thread.is_alive()


# The loop


def test_the_loop_can_be_asked_to_debug() -> None:
    async def is_debugging() -> bool:
        return asyncio.get_running_loop().get_debug()

    with event_loop(debug=True) as runner:
        assert runner.run(is_debugging())


def test_the_loop_is_asyncio_s_where_uvloop_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    with event_loop() as runner:
        assert type(runner.get_loop()).__module__.startswith("asyncio.")


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    statuses: list[int] = []
    monkeypatch.setattr("ehlo.net.foreground.os._exit", statuses.append)
    monkeypatch.setattr("ehlo.net.foreground.logging.shutdown", lambda: None)
    monkeypatch.setattr("ehlo.net.foreground.THREAD_GRACE", 0.01)
    return statuses


def _leave_a_hook(release: threading.Event) -> Callable[[], None]:
    async def start() -> None:
        threading.Thread(target=release.wait, name="ehlo-hook_0").start()

    def run() -> None:
        with event_loop() as runner:
            runner.run(start())

    return run


def test_a_hook_that_does_not_return_does_not_keep_the_process(exits: list[int]) -> None:
    release = threading.Event()
    try:
        _leave_a_hook(release)()
    finally:
        release.set()
    assert exits == [0]


def test_a_hook_that_returns_is_waited_for(exits: list[int]) -> None:
    release = threading.Event()
    release.set()
    _leave_a_hook(release)()
    assert exits == []


# What goes to a terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße, 件名 ✓", "Grüße, 件名 ✓"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\nb\tc\0\x7f", r"a\r\nb\tc\x00\x7f"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\u2066\u2069\u061c", r"\u2066\u2069\u061c"),
        ("line\u2028break", r"line\u2028break"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("no\xa0break\u3000", "no break "),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_what_could_deceive_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    assert visible(text).replace("\u200c", "").replace("\u200d", "").isprintable()


def test_the_log_shows_what_peers_sent_made_visible() -> None:
    record = logging.LogRecord("ehlo.smtp", logging.INFO, "", 0, "from=<%s>", ("\x9b2Ja@b\x1b",), None)
    assert SafeFormatter("%(message)s").format(record) == r"from=<\x9b2Ja@b\x1b>"


def test_a_traceback_in_the_log_keeps_its_lines() -> None:
    try:
        raise ValueError("\x1b")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), (type(error), error, error.__traceback__))
    lines = SafeFormatter("%(message)s").format(record).split("\n")
    assert lines[0] == "failed"
    assert lines[-1] == r"ValueError: \x1b"
