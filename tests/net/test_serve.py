"""The life of a server: start, stop, and what becomes of those who are connected."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import SMTP, Envelope, Session
from ehlo.net import serve as module
from ehlo.net.listen import unix_socket
from ehlo.net.serve import Server
from ehlo.testing import MemoryTransport
from tests.net.support import (
    HOST,
    PATIENCE,
    Caller,
    Speaker,
    calling,
    echo,
    ended,
    server_context,
    smtp,
    until,
)
from tests.support import Recorder, be_quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ehlo.controller import SMTPServer
    from ehlo.net.connection import Connection

NOTICE = "421 4.3.2 Service shutting down, closing connection"


class Waiting(Recorder):
    """A handler whose ``handle_DATA`` waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.was_cancelled = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.has_begun.set()
        try:
            await self.may_go_on.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        await super().handle_DATA(server, session, envelope)


async def hand_over(caller: Caller) -> None:
    """Send a whole message without waiting for the last reply."""
    await caller.begin()
    assert (await caller.ask("DATA")).startswith("354 ")
    caller.send(b"text\r\n.\r\n")


def is_refused(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == errno.ECONNREFUSED


def open_files() -> list[str]:
    """What the file descriptors of this process are; skips where nobody tells."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("this system does not list file descriptors")
    found = []
    for link in folder.iterdir():
        with contextlib.suppress(OSError):  # the folder itself, which is open while it is read
            found.append(str(link.readlink()))
    return sorted(found)


def our_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("ehlo")}


# Facts


async def test_a_server_that_runs_tells_where() -> None:
    async with smtp() as server:
        assert server.is_serving
        assert server.port > 0
        assert server.addresses == [(HOST, server.port)]
        assert [listening.getsockname() for listening in server.sockets] == server.addresses
        assert server.connections == frozenset()


async def test_a_server_that_does_not_run_is_nowhere() -> None:
    server = smtp()
    for _ in range(2):
        assert not server.is_serving
        assert server.addresses == []
        assert server.sockets == ()
        with pytest.raises(RuntimeError, match="no TCP port"):
            _ = server.port
        await server.start()
        await server.stop()


async def test_all_addresses_share_the_port_that_was_chosen() -> None:
    async with smtp(host=["127.0.0.1", "127.0.0.2"]) as server:
        assert server.addresses == [("127.0.0.1", server.port), ("127.0.0.2", server.port)]
        for address in server.addresses:
            reader, writer = await asyncio.open_connection(*address)
            assert (await reader.readline()).startswith(b"220 ")
            writer.close()
            await writer.wait_closed()
        await until(lambda: not server.connections)


async def test_the_open_sessions_are_known() -> None:
    async with smtp() as server:
        async with calling(server) as caller:
            await caller.greet()
            (connection,) = server.connections
            assert isinstance(connection, SMTP)
            assert connection.session.host_name == "client.example"
            assert (await caller.ask("QUIT")).startswith("221 ")
        await until(lambda: not server.connections)


# Start


async def test_a_server_cannot_be_started_twice() -> None:
    async with smtp() as server:
        with pytest.raises(RuntimeError, match="running"):
            await server.start()
        assert server.is_serving


async def test_a_server_can_be_started_again() -> None:
    server = smtp()
    for _ in range(3):
        async with server, calling(server) as caller:
            await caller.greet()
            assert (await caller.mail()).startswith("250 ")


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    before_files, before_threads = open_files(), our_threads()
    with socket.create_server((HOST, 0)) as taken:
        server = smtp(port=taken.getsockname()[1], hostname=None, host=["127.0.0.2", HOST])
        with pytest.raises(OSError, match="in use") as caught:
            await server.start()
        assert caught.value.errno == errno.EADDRINUSE
        assert not server.is_serving
        await server.stop()
    await until(lambda: our_threads() == before_threads)
    assert open_files() == before_files


async def test_a_server_that_did_not_start_can_be_started_later() -> None:
    with socket.create_server((HOST, 0)) as taken:
        server = smtp(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await server.start()
    async with server, calling(server) as caller:
        await caller.greet()


async def test_when_one_socket_cannot_listen_none_does(monkeypatch: pytest.MonkeyPatch) -> None:
    server = smtp(host=["127.0.0.1", "127.0.0.2"])
    listen = server._listen
    ports: list[int] = []

    async def listen_once(loop: asyncio.AbstractEventLoop, bound: socket.socket) -> asyncio.AbstractServer:
        if ports:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        ports.append(bound.getsockname()[1])
        return await listen(loop, bound)

    async with smtp():
        """A loop may open files of its own for its first server."""
    await be_quiet()
    before = open_files()
    monkeypatch.setattr(server, "_listen", listen_once)
    with pytest.raises(OSError, match="in use"):
        await server.start()
    await be_quiet()
    assert is_refused(ports[0])
    assert open_files() == before


async def test_a_start_that_is_cancelled_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(loop: asyncio.AbstractEventLoop, bound: socket.socket) -> asyncio.AbstractServer:
        binding.set()
        await loop.create_future()
        raise AssertionError("it was to be cancelled")

    before = open_files()
    binding = asyncio.Event()
    server = smtp()
    monkeypatch.setattr(server, "_listen", never)
    starting = asyncio.create_task(server.start())
    await binding.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not server.is_serving
    assert open_files() == before


async def test_sockets_that_are_bound_already_are_served() -> None:
    bound = [socket.create_server((HOST, 0)), socket.create_server((HOST, 0))]
    ports = [one.getsockname()[1] for one in bound]
    async with smtp(sockets=bound) as server:
        for port in ports:
            async with calling(port) as caller:
                await caller.greet()
        await until(lambda: not server.connections)
    assert all(is_refused(port) for port in ports)


async def test_a_unix_socket_is_served_and_its_file_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "smtp.sock"
    server = smtp(unix_path=path)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            async with server:
                assert server.addresses == [str(path)]
                with pytest.raises(RuntimeError, match="no TCP port"):
                    _ = server.port
                async with calling(str(path)) as caller:
                    await caller.greet()
                    assert (await caller.mail()).startswith("250 ")
                await until(lambda: not server.connections)
            assert not path.exists()
    assert f"listening on {path}" in caplog.messages


async def test_a_unix_socket_that_another_server_has_taken_over_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    async with smtp(unix_path=path) as ours:
        path.unlink()
        async with smtp(unix_path=path):
            await ours.stop()
            async with calling(str(path)) as caller:
                await caller.greet()


async def test_a_unix_socket_where_another_server_listens_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "smtp.sock"
    async with smtp(unix_path=path):
        with pytest.raises(OSError, match="Somebody listens"):
            await smtp(unix_path=path).start()
        async with calling(str(path)) as caller:
            await caller.greet()


# Serve for ever


async def test_serving_for_ever_ends_when_somebody_stops_the_server() -> None:
    server = smtp()
    await server.start()
    serving = asyncio.create_task(server.serve_forever())
    await be_quiet()
    assert not serving.done()
    await server.stop()
    await asyncio.wait_for(serving, 5)


async def test_a_cancellation_of_serving_for_ever_stops_the_server() -> None:
    server = smtp()
    await server.start()
    port = server.port
    serving = asyncio.create_task(server.serve_forever())
    async with calling(port) as caller:
        await caller.greet()
        serving.cancel()
        assert await caller.hear() == NOTICE
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert not server.is_serving
    assert is_refused(port)


async def test_a_server_that_was_never_started_cannot_serve() -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        await smtp().serve_forever()


async def test_a_server_that_was_stopped_has_served_for_ever() -> None:
    async with smtp() as server:
        pass
    await server.serve_forever()


# Stop


async def test_a_session_between_commands_is_told_at_once() -> None:
    handler = Recorder()
    server = smtp(handler)
    await server.start()
    async with calling(server) as silent, calling(server) as caller:
        await caller.greet()
        await caller.mail()
        assert (await silent.hear()).startswith("220 ")
        await asyncio.wait_for(server.stop(grace=60), 5)
        for each in (silent, caller):
            assert await each.hear() == NOTICE
            assert await each.has_ended()
    assert handler.reasons == ["shutdown", "shutdown"]
    assert server.connections == frozenset()


async def test_a_session_amid_a_line_is_told_at_once() -> None:
    server = smtp()
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        caller.send(b"NOO")
        await asyncio.sleep(0.01)
        await asyncio.wait_for(server.stop(grace=60), 5)
        assert await caller.hear() == NOTICE


async def test_a_transaction_finishes_within_the_grace_and_then_the_session_ends() -> None:
    handler = Waiting()
    server = smtp(handler)
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        await hand_over(caller)
        await handler.has_begun.wait()
        stopping = asyncio.create_task(server.stop(grace=60))
        await be_quiet()
        assert not stopping.done()
        handler.may_go_on.set()
        assert (await caller.hear()).startswith("250 2.0.0 OK queued")
        assert await caller.hear() == NOTICE
        assert await caller.has_ended()
        await asyncio.wait_for(stopping, 5)
    assert handler.contents == [b"text\r\n"]
    assert handler.reasons == ["shutdown"]


async def test_a_client_amid_its_transaction_may_go_on_with_it() -> None:
    handler = Recorder()
    server = smtp(handler)
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        await caller.begin()
        stopping = asyncio.create_task(server.stop(grace=60))
        await be_quiet()
        assert (await caller.ask("DATA")).startswith("354 ")
        assert (await caller.ask("text", ".")).startswith("250 ")
        assert await caller.hear() == NOTICE
        await asyncio.wait_for(stopping, 5)
    assert handler.contents == [b"text\r\n"]


async def test_a_client_that_gives_up_its_transaction_is_told() -> None:
    server = smtp()
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        await caller.begin()
        stopping = asyncio.create_task(server.stop(grace=60))
        await be_quiet()
        assert await caller.ask("RSET") == "250 2.0.0 OK"
        assert await caller.hear() == NOTICE
        await asyncio.wait_for(stopping, 5)


async def test_a_transaction_is_cancelled_after_the_grace(caplog: pytest.LogCaptureFixture) -> None:
    handler = Waiting()
    server = smtp(handler)
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        await hand_over(caller)
        await handler.has_begun.wait()
        began = time.monotonic()
        await asyncio.wait_for(server.stop(grace=0.05), 5)
        assert time.monotonic() - began >= 0.045
        assert await caller.hear() == NOTICE
        assert await caller.has_ended()
    assert handler.was_cancelled
    assert handler.contents == []
    assert handler.reasons == ["shutdown"]
    assert "cancelling 1 sessions after 0.05 s" in caplog.messages


async def test_without_a_grace_sessions_between_commands_are_still_told() -> None:
    handler = Recorder()
    server = smtp(handler)
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        await asyncio.wait_for(server.stop(grace=0), 5)
        assert await caller.hear() == NOTICE
    assert handler.reasons == ["shutdown"]


async def test_a_hook_between_transactions_is_not_interrupted() -> None:
    class Handler:
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
            begun.set()
            await may_go_on.wait()
            return "250 done"

    begun, may_go_on = asyncio.Event(), asyncio.Event()
    server = smtp(Handler())
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        caller.send(b"NOOP\r\n")
        await begun.wait()
        stopping = asyncio.create_task(server.stop(grace=60))
        await be_quiet()
        may_go_on.set()
        assert await caller.hear() == "250 2.0.0 done"
        assert await caller.hear() == NOTICE
        await asyncio.wait_for(stopping, 5)


async def test_an_authentication_that_waits_for_the_client_is_given_up() -> None:
    def authenticate(*_: object) -> None:
        raise AssertionError("nobody was to be authenticated")

    server = smtp(authenticator=authenticate, auth_require_tls=False)
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        assert (await caller.ask("AUTH LOGIN")).startswith("334 ")
        await asyncio.wait_for(server.stop(grace=60), 5)
        assert await caller.hear() == NOTICE


@pytest.mark.parametrize("is_implicit", [False, True])
async def test_a_handshake_that_is_under_way_is_given_up_at_once(is_implicit: bool) -> None:
    handler = Recorder()
    server = smtp(handler, **{"ssl_context" if is_implicit else "tls_context": server_context()})
    await server.start()
    async with calling(server) as caller:
        if not is_implicit:
            await caller.greet()
            assert (await caller.ask("STARTTLS")).startswith("220 ")
        await until(lambda: server.connections)
        await be_quiet()
        await asyncio.wait_for(server.stop(grace=60), 5)
        assert await caller.has_ended()
    assert handler.reasons == ["shutdown"]


async def test_nobody_new_is_let_in_while_a_transaction_finishes() -> None:
    handler = Waiting()
    server = smtp(handler)
    await server.start()
    port = server.port
    async with calling(server) as caller:
        await caller.greet()
        await hand_over(caller)
        await handler.has_begun.wait()
        stopping = asyncio.create_task(server.stop(grace=60))
        await be_quiet()
        assert not server.is_serving
        assert is_refused(port)
        handler.may_go_on.set()
        await asyncio.wait_for(stopping, 5)


async def test_whom_the_system_let_in_at_the_last_moment_is_told() -> None:
    handler = Waiting()
    server = smtp(handler)
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        await hand_over(caller)
        await handler.has_begun.wait()
        stopping = asyncio.create_task(server.stop(grace=60))
        await be_quiet()
        late = MemoryTransport(server._make())
        assert (await late.take_line()).startswith(b"220 ")
        assert (await late.take_line()).decode().strip() == NOTICE
        handler.may_go_on.set()
        await asyncio.wait_for(stopping, 5)


async def test_whoever_stops_a_server_that_stops_waits_for_the_same_end() -> None:
    handler = Waiting()
    server = smtp(handler)
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        await hand_over(caller)
        await handler.has_begun.wait()
        stopping = [asyncio.create_task(server.stop(grace=60)) for _ in range(3)]
        await be_quiet()
        assert not any(each.done() for each in stopping)
        handler.may_go_on.set()
        await asyncio.wait_for(asyncio.gather(*stopping), 5)
    await server.stop()


async def test_a_server_that_was_never_started_can_be_stopped() -> None:
    await smtp().stop()


async def test_a_stop_that_is_cancelled_ends_everything_at_once() -> None:
    handler = Waiting()
    server = smtp(handler)
    await server.start()
    serving = asyncio.create_task(server.serve_forever())
    async with calling(server) as caller:
        await caller.greet()
        await hand_over(caller)
        await handler.has_begun.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.stop(grace=60), 0.02)
        assert await caller.hear() == NOTICE
        await until(lambda: not server.connections)
    assert handler.was_cancelled
    await asyncio.wait_for(serving, 5)


async def test_a_stop_that_is_cancelled_again_and_again_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ignore(speaker: Speaker) -> None:
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    may_end = asyncio.Event()
    server = Server(lambda: Speaker(ignore), host=HOST, stall_threshold=None)
    await server.start()
    async with calling(server):
        await until(lambda: server.connections)
        stopping = asyncio.create_task(server.stop(grace=60))
        for _ in range(5):
            await asyncio.sleep(0.001)
            stopping.cancel()
        await asyncio.wait([stopping], timeout=5)
        await asyncio.wait_for(server.serve_forever(), 5)
        may_end.set()
        await until(lambda: not server.connections)


async def test_a_session_that_ignores_its_cancellation_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def ignore(speaker: Speaker) -> None:
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    may_end = asyncio.Event()
    monkeypatch.setattr(module, "LAST_WORDS", 0.02)
    server = Server(lambda: Speaker(ignore), host=HOST, stall_threshold=None)
    await server.start()
    async with calling(server):
        await until(lambda: server.connections)
        await asyncio.wait_for(server.stop(grace=0), 5)
        assert "1 sessions did not end when cancelled" in caplog.messages
        may_end.set()
        await until(lambda: not server.connections)


async def test_last_words_that_nobody_takes_do_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(speaker: Speaker) -> None:
        await speaker.hear()
        for _ in range(100):
            speaker._write(bytes(100_000))
        await speaker.hear()

    monkeypatch.setattr(module, "PARTING", 0.05)
    speaker = Speaker(talk)
    server = Server(lambda: speaker, host=HOST, stall_threshold=None)
    await server.start()
    loop = asyncio.get_running_loop()
    with socket.socket() as deaf:
        deaf.setblocking(False)
        await loop.sock_connect(deaf, (HOST, server.port))
        await loop.sock_sendall(deaf, b"go\r\n")
        await until(lambda: speaker._writing_is_paused)
        await asyncio.wait_for(server.stop(), 5)
        assert speaker.is_gone
        assert server._leaving == set()


async def test_a_session_that_was_accepted_in_the_last_moment_is_closed() -> None:
    server = Server(lambda: Speaker(echo), host=HOST, stall_threshold=None)
    await server.start()
    connection = server._make()
    late = MemoryTransport(connection)
    server._cancel_all()
    await ended(connection)
    assert late.is_closing()
    assert server.connections == frozenset()
    await server.stop()


# Stop from a hook


class Stopper(Recorder):
    """Stops the server when a client says so."""

    server: SMTPServer
    how: Callable[[], Coroutine[Any, Any, None]]

    async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
        await self.how()
        return "250 stopping"


async def test_a_hook_that_stops_the_server_answers_before_its_session_ends() -> None:
    handler = Stopper()
    server = smtp(handler)
    handler.how = server.stop
    await server.start()
    async with calling(server) as other, calling(server) as caller:
        await other.greet()
        await caller.greet()
        assert await caller.ask("NOOP") == "250 2.0.0 stopping"
        assert await caller.hear() == NOTICE
        assert await other.hear() == NOTICE
        await asyncio.wait_for(server.serve_forever(), 5)
    assert handler.reasons == ["shutdown", "shutdown"]


async def test_a_hook_may_stop_a_server_that_stops_already() -> None:
    async def stop_twice() -> None:
        await server.stop()
        await asyncio.sleep(0)
        await server.stop()

    handler = Stopper()
    server = smtp(handler)
    handler.how = stop_twice
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        assert await caller.ask("NOOP") == "250 2.0.0 stopping"
        await asyncio.wait_for(server.serve_forever(), 5)


async def test_a_hook_whose_own_task_stops_the_server_is_cancelled_after_the_grace() -> None:
    async def stop_in_a_task() -> None:
        await asyncio.create_task(server.stop(grace=0.02))

    handler = Stopper()
    server = smtp(handler)
    handler.how = stop_in_a_task
    await server.start()
    async with calling(server) as caller:
        await caller.greet()
        assert await caller.ask("NOOP") == NOTICE
        await asyncio.wait_for(server.serve_forever(), 5)
    assert handler.reasons == ["shutdown"]


async def test_a_plain_hook_may_stop_the_server_from_its_thread() -> None:
    class Handler:
        def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
            asyncio.run_coroutine_threadsafe(smtp_server.stop(grace=0.02), loop).result(5)
            return "250 stopping"

    loop = asyncio.get_running_loop()
    smtp_server = smtp(Handler())
    await smtp_server.start()
    async with calling(smtp_server) as caller:
        await caller.greet()
        assert await caller.ask("NOOP") == NOTICE
        await asyncio.wait_for(smtp_server.serve_forever(), 5)


# Nothing is left behind


async def test_a_hundred_starts_and_stops_leave_nothing() -> None:
    def facts() -> object:
        return len(asyncio.all_tasks()), our_threads(), open_files()

    handler = Recorder()
    server = smtp(handler, stall_threshold=10)
    found: list[object] = []
    for _ in range(100):
        async with server, calling(server) as caller:
            await caller.greet()
            assert (await caller.mail()).startswith("250 ")
        await be_quiet()
        found.append(facts())
    assert len(handler.contents) == 100
    # With the first, a loop may open files of its own.
    assert found[1:] == [found[1]] * 99


# Who blocks the loop


class Sleepy:
    """Blocks the loop, as no hook should."""

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: Any) -> None:
        self.session = session
        for _ in range(100):
            if noticed(server):
                break
            time.sleep(0.05)  # noqa: ASYNC251 - the line to be blamed


def noticed(server: SMTP) -> bool:
    return bool(getattr(server.owner, "stalls", 0))


async def test_a_hook_that_blocks_the_loop_is_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    handler = Sleepy()
    async with smtp(handler, stall_threshold=0.1) as server:
        async with calling(server) as caller:
            await caller.greet()
            await caller.begin()
            await caller.ask("RSET")
            await until(lambda: any("blocked the event loop for" in message for message in caplog.messages))
        assert server.stalls == 1
        first = next(message for message in caplog.messages if "blocks the event loop" in message)
        assert f"session {handler.session.id}, RCPT" in first
        assert "test_serve.py" in first.splitlines()[0]
        assert "handle_RCPT" in first.splitlines()[0]
        assert "the line to be blamed" in first
        await until(lambda: not server.connections)


async def test_whoever_else_blocks_the_loop_is_no_session() -> None:
    async with smtp(stall_threshold=10) as server, calling(server) as caller:
        await caller.greet()
        (connection,) = server.connections
        assert server._describe(connection.task).endswith("between commands")
        assert server._describe(asyncio.current_task()) == ""
        assert server._describe(None) == ""


async def test_a_server_that_is_not_watched_has_no_watchdog() -> None:
    async with smtp(stall_threshold=None):
        assert "ehlo-watchdog" not in {thread.name for thread in threading.enumerate()}


# Letting sessions go on


async def test_a_server_that_accepts_nobody_new_goes_on_with_who_is_there() -> None:
    handler = Recorder()
    server = smtp(handler)
    await server.start()
    port = server.port
    async with calling(server) as client:
        await client.greet()
        server.stop_accepting()
        assert is_refused(port)
        assert not server.is_serving
        assert (await client.mail()).startswith("250 ")
        assert (await client.mail()).startswith("250 ")
        stopping = asyncio.create_task(server.stop())
        assert await client.hear() == NOTICE
    await stopping
    assert len(handler.envelopes) == 2


def _make_and_tell(factory: Callable[[], Connection], made: asyncio.Event) -> Connection:
    made.set()
    return factory()


async def test_who_was_accepted_in_the_last_moment_is_waited_for() -> None:
    server = smtp()
    await server.start()
    with socket.create_connection((HOST, server.port)) as client:
        client.setblocking(False)
        loop, made = asyncio.get_running_loop(), asyncio.Event()
        server._factory = functools.partial(_make_and_tell, server._factory, made)
        await made.wait()
        server.stop_accepting()
        assert not await server.wait_until_idle(0)
        assert (await loop.sock_recv(client, 100)).startswith(b"220 ")
        await loop.sock_sendall(client, b"QUIT\r\n")
        assert await server.wait_until_idle(PATIENCE)
    await server.stop()


async def test_the_file_of_a_socket_that_was_given_is_left_to_the_giver(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with unix_socket(path) as bound:
        async with smtp(sockets=[bound.dup()]):
            pass
        assert path.exists()
