"""Workers as real processes: they share an address, are started again, replaced and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import Stats
from ehlo.controller import serve_workers
from ehlo.credentials import fake_secret
from ehlo.net import back_off, supervisor
from ehlo.net.listen import CAN_SHARE_OUT, tcp_sockets
from ehlo.net.worker_process import WorkerFailed
from tests.net.support import HOST, Caller, calling
from tests.net.workers import calling_worker, is_alive, pid_of, some, until, who_serves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ehlo.net.supervisor import Workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")


@pytest.fixture(autouse=True)
def _reports_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "REPORT_INTERVAL", 0.02)


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    with contextlib.suppress(ChildProcessError):
        pid, status = os.waitpid(-1, os.WNOHANG)
        pytest.fail(f"process {pid} is left: {status}")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


def arguments_of(pid: int) -> bytes:
    if sys.platform != "linux":
        pytest.skip("only Linux tells")
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def files_in(folder: Path) -> list[Path]:
    return [*folder.iterdir()]


# Serving


@pytest.mark.skipif(not CAN_SHARE_OUT, reason="whoever is first takes all")
async def test_workers_share_a_port_and_each_gets_connections() -> None:
    async with some() as workers:
        served = {await who_serves(workers) for _ in range(40)}
        assert served == set(workers.pids)
        assert len(served) == 2
        assert workers.addresses == [(HOST, workers.port)]


async def test_all_addresses_are_served(tmp_path: Path) -> None:
    async with some(host=None) as workers:
        for host, port, *_ in workers.addresses:
            reader, writer = await asyncio.open_connection(host, port)
            assert (await reader.readline()).startswith(b"220 ")
            writer.close()
            await writer.wait_closed()


async def test_a_unix_socket_is_served_and_its_file_removed_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with some(unix_path=path) as workers:
        await workers.reload(linger=0)
        async with calling(str(path)) as caller:
            await caller.greet()
            assert await pid_of(caller) in workers.pids
        with pytest.raises(RuntimeError, match="no TCP port"):
            _ = workers.port
    assert not path.exists()


async def test_sockets_that_are_there_already_are_served() -> None:
    bound = await tcp_sockets(HOST, 0)
    port = bound[0].getsockname()[1]
    async with some(sockets=bound) as workers:
        assert workers.port == port
        assert await who_serves(workers) in workers.pids
    with pytest.raises(RuntimeError, match="sockets that were given are closed"):
        await workers.start()


async def test_sockets_that_were_there_remain_when_workers_do_not_come_up(tmp_path: Path) -> None:
    bound = await tcp_sockets(HOST, 0)
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    workers = some("make_unless", str(obstacle), sockets=bound)
    with pytest.raises(WorkerFailed):
        await workers.start()
    obstacle.unlink()
    async with workers:
        assert await who_serves(workers) in workers.pids


async def test_an_application_may_be_a_coroutine_function() -> None:
    async with some("make_in_time", workers=1) as workers:
        assert [await who_serves(workers)] == workers.pids


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
async def test_the_loop_of_workers_is_chosen(name: str) -> None:
    pytest.importorskip(name)
    async with some(workers=1, loop=name) as workers, calling(workers.port) as caller:
        await caller.greet()
        assert (await caller.ask("VRFY loop")).split()[-1].startswith(name)


async def test_workers_have_the_secret_of_the_supervisor_and_what_was_for_it_alone_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere/else")
    async with some(workers=1) as workers, calling(workers.port) as caller:
        await caller.greet()
        assert (await caller.ask("VRFY secret")).endswith(hashlib.sha256(fake_secret()).hexdigest())
        assert (await caller.ask("VRFY environment NOTIFY_SOCKET")).endswith("None")
        assert (await caller.ask("VRFY environment PYTHONPATH")).endswith(" /nowhere/else")


async def test_what_workers_were_told_does_not_show_in_their_arguments() -> None:
    async with some("make_unless", "a secret", workers=1) as workers:
        assert b"secret" not in arguments_of(workers.pids[0])


# Counting


async def test_counters_are_added_up_also_those_of_who_is_gone() -> None:
    async with some() as workers:
        for pid in workers.pids:
            async with calling_worker(workers, pid) as caller:
                await caller.mail()
        await until(lambda: workers.stats.messages_accepted == 2)
        killed = workers.pids[0]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: len(workers.pids) == 2 and killed not in workers.pids)
        assert workers.stats.messages_accepted == 2
        async with calling_worker(workers, workers.pids[0]) as caller:
            await caller.mail()
    assert workers.stats.messages_accepted == 3
    opened = workers.stats.sessions_opened
    assert opened == sum(count for name, count in workers.stats.as_dict().items() if name.startswith("sessions_ended"))


async def test_what_was_counted_is_logged_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ehlo.workers"):
        async with some(workers=1) as workers, calling(workers.port) as caller:
            await caller.greet()
            await caller.mail()
    assert "messages_accepted 1" in caplog.messages[-1]


def test_counters_of_another_version_are_taken_as_far_as_they_are_known() -> None:
    assert Stats.from_dict({"commands": 2, "unheard_of": 3}) == Stats(commands=2)


# Limits


async def refusal(workers: Workers, callers: contextlib.AsyncExitStack, at_most: int) -> int:
    """How many are let in until one is refused; they stay."""
    for count in range(at_most + 1):
        caller = await callers.enter_async_context(calling(workers.port))
        if (await caller.hear()).startswith("421 "):
            return count
    return at_most + 1


@pytest.mark.parametrize("limit", ["connections", "connections_per_client"])
async def test_connections_are_limited_over_all_workers_and_those_of_the_dead_do_not_count(limit: str) -> None:
    async with some("make_limited", json.dumps({limit: 8})) as workers, contextlib.AsyncExitStack() as callers:
        assert await refusal(workers, callers, 20) == 8
        before = workers.pids
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(workers.pids) == 2 and not {*before} & {*workers.pids})
        assert await refusal(workers, callers, 20) == 8


async def test_rates_hold_over_all_workers() -> None:
    async with some("make_limited", json.dumps({"message_rate": "6/1h"})) as workers:
        replies: Counter[str] = Counter()
        pids = set()
        for _ in range(20):
            async with calling(workers.port) as caller:
                await caller.greet()
                pids.add(await pid_of(caller))
                replies[(await caller.ask("MAIL FROM:<a@b.example>"))[:3]] += 1
        assert replies == {"250": 6, "451": 14}
        assert len(pids) == 2 or not CAN_SHARE_OUT


# Dying


async def test_a_worker_that_dies_is_started_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with some() as workers:
        first, second = workers.pids
        with caplog.at_level(logging.INFO, "ehlo.workers"):
            os.kill(first, signal.SIGKILL)
            await until(lambda: len(workers.pids) == 2 and first not in workers.pids)
        assert workers.pids[1] == second
        assert f"worker 1 (process {first}): died: it was killed by SIGKILL" in caplog.messages
        assert "worker 1: to be started again now" in caplog.messages


async def test_a_worker_that_dies_again_has_to_wait_and_a_reload_does_not(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(back_off, "DELAYS", (3600.0,))
    async with some() as workers:
        async with calling_worker(workers, workers.pids[0]) as caller:
            caller.send(b"VRFY exit 3\r\n")
            await until(lambda: len(workers.pids) == 1)
        assert "it exited with status 3" in caplog.text
        assert "worker 1: to be started again in 3600 s" in caplog.messages
        await workers.reload(linger=0)
        assert len(workers.pids) == 2


@pytest.mark.skipif(not CAN_SHARE_OUT, reason="all have the same socket")
async def test_while_a_post_is_empty_another_worker_accepts_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(back_off, "DELAYS", (3600.0,))
    async with some(workers=3) as workers:
        first, second, third = workers.pids
        os.kill(first, signal.SIGKILL)
        os.kill(second, signal.SIGKILL)
        assert {await who_serves(workers) for _ in range(20)} == {third}
        await workers.reload(linger=0)
        assert len({await who_serves(workers) for _ in range(60)}) == 3
        assert third not in workers.pids


async def test_a_reload_makes_up_for_deaths_before(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(back_off, "DELAYS", (0.0, 3600.0))
    async with some(workers=1) as workers:
        for _ in range(2):
            (pid,) = workers.pids
            os.kill(pid, signal.SIGKILL)
            await until(lambda: workers.pids and workers.pids != [pid])  # noqa: B023
            await workers.reload(linger=0)
    assert "3600" not in caplog.text


async def test_what_waits_in_the_queue_of_the_dead_is_served_by_the_successor() -> None:
    async with some(workers=1) as workers:
        (pid,) = workers.pids
        os.kill(pid, signal.SIGSTOP)
        async with calling(workers.port) as caller:
            os.kill(pid, signal.SIGKILL)
            await caller.greet()
            assert await pid_of(caller) != pid


async def test_a_worker_whose_loop_does_not_turn_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    async with some(hang_timeout=2) as workers:
        (pid, other) = workers.pids
        async with calling_worker(workers, pid) as caller:
            caller.send(b"VRFY block\r\n")
            await until(lambda: pid not in workers.pids and len(workers.pids) == 2)
        assert other in workers.pids
        assert f"worker 1 (process {pid}): killed, because it has said nothing for 2 s" in caplog.messages


async def test_a_worker_that_somebody_terminates_finishes_its_transactions_and_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with some("make", str(tmp_path), workers=1) as workers, calling(workers.port) as caller:
        await caller.greet()
        await caller.begin()
        (pid,) = workers.pids
        os.kill(pid, signal.SIGTERM)
        await until(lambda: workers.pids != [pid])
        assert await who_serves(workers) != pid  # its successor does not wait for it
        assert (await caller.ask("DATA")).startswith("354 ")
        assert (await caller.ask("text", ".")).startswith("250 ")
        await caller.hear()
        assert await caller.has_ended()
        await until(lambda: len(workers._running) == 1)
    assert f"worker 1 (process {pid}): somebody has told it to stop" in caplog.messages
    assert "died" not in caplog.text


# Not coming up


@pytest.mark.parametrize(
    ("application", "reason"),
    [
        (("leave", "3"), "it exited with status 3"),
        (("leave", "because"), "because"),
        (("die",), "it exited with status 7"),
        (("make_nonsense",), "gave str, and not what ehlo.serve makes"),
        (("make_elsewhere",), "does not serve the sockets that it was given"),
        (("no_such_thing",), "has no attribute 'no_such_thing'"),
    ],
)
async def test_workers_that_do_not_come_up_are_an_error_that_says_why(
    application: tuple[str, ...], reason: str
) -> None:
    workers = some(*application)
    with pytest.raises(WorkerFailed, match=rf"worker 1 \(process \d+\) did not come up: .*{reason}"):
        await workers.start()
    assert workers.pids == []


async def test_workers_that_do_not_come_up_leave_no_file_open() -> None:
    counts = []
    for _ in range(3):
        with pytest.raises(WorkerFailed):
            await some("leave", "1").start()
        await asyncio.sleep(0)
        counts.append(open_files())
    assert counts == counts[:1] * 3


async def test_a_worker_that_is_not_ready_in_time_is_killed() -> None:
    with pytest.raises(WorkerFailed, match=r"was not ready within 0\.2 s"):
        await some("take_long", ready_timeout=0.2).start()


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    workers = some("take_long")
    starting = asyncio.create_task(workers.start())
    await until(lambda: workers._running)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not workers._running


async def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server((HOST, 0)) as taken:
        workers = some(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await workers.start()


async def test_a_worker_that_cannot_be_started_at_all_is_one_that_did_not_come_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerFailed, match=r"worker 1 could not be started: .*No such file"):
        await some().start()


@pytest.mark.parametrize(
    ("application", "keywords", "complaint"),
    [
        ("package.module", {}, "package.module:name"),
        (":name", {}, "package.module:name"),
        ("__main__:name", {}, "cannot import __main__"),
        ("package:name", {"workers": 0}, "at least 1"),
        ("package:name", {"loop": "trio"}, "loop is one of auto, asyncio, uvloop"),
        ("package:name", {"hang_timeout": 0.05}, "hang_timeout must be at least 0.1, or None"),
        ("package:name", {"ready_timeout": 0}, "ready_timeout must be more than 0"),
        ("package:name", {"sockets": []}, "no sockets to listen on"),
        ("package:name", {"host": "127.0.0.1", "unix_path": "a"}, "not several of them"),
        ("package:name", {"arguments": "text"}, "arguments is a sequence of texts, and not a text"),
        ("package:name", {"arguments": ["text", Path()]}, r"arguments\[1\] is a text, and not PosixPath"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(application: str, keywords: dict[str, Any], complaint: str) -> None:
    with pytest.raises((ValueError, TypeError), match=complaint):
        serve_workers(application, **{"workers": 1, **keywords})


def test_windows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "sys", SimpleNamespace(platform="win32"))
    with pytest.raises(RuntimeError, match="POSIX"):
        serve_workers("package:name", workers=1)


async def test_workers_that_run_cannot_be_started_and_those_that_do_not_cannot_be_replaced() -> None:
    workers = some(workers=1)
    with pytest.raises(RuntimeError, match="not running"):
        await workers.reload()
    with pytest.raises(RuntimeError, match="not been started"):
        await workers.serve_forever()
    await workers.stop()
    async with workers:
        with pytest.raises(RuntimeError, match="are running"):
            await workers.start()
    await workers.start()
    assert len(workers.pids) == 1
    await workers.stop()
    assert workers.pids == workers.addresses == []


# Replacing


async def test_a_reload_replaces_the_workers(caplog: pytest.LogCaptureFixture) -> None:
    async with some() as workers:
        before = workers.pids
        with caplog.at_level(logging.INFO, "ehlo.workers"):
            await workers.reload(linger=0)
        assert not {*before} & {*workers.pids}
        assert not any(map(is_alive, before))
        assert "replaced 2 workers" in caplog.messages


async def test_a_successor_that_does_not_come_up_leaves_the_old_ones(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    obstacle = tmp_path / "obstacle"
    async with some("make_unless", str(obstacle)) as workers:
        before = workers.pids
        obstacle.touch()
        with pytest.raises(WorkerFailed, match="LookupError: obstacle is there"):
            await workers.reload()
        assert workers.pids == before
        assert any(message.startswith("not replaced: worker 1") for message in caplog.messages)
        assert await who_serves(workers) in before
        obstacle.unlink()
        await workers.reload(linger=0)
        assert not {*before} & {*workers.pids}


async def test_a_successor_that_has_said_why_it_fails_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    obstacle = tmp_path / "obstacle"
    async with some("make_unless_and_stay", str(obstacle), workers=1) as workers:
        obstacle.touch()
        with pytest.raises(WorkerFailed, match="obstacle is there"):
            await workers.reload()
        assert len(workers._running) == 2
        monkeypatch.setattr("ehlo.net.worker_process.TIME_TO_END", 0.01)
        with pytest.raises(WorkerFailed, match="obstacle is there"):
            await workers.reload()
        await until(lambda: len(workers._running) == 2)


async def test_the_same_reason_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    obstacle = tmp_path / "obstacle"
    async with some("make_unless", str(obstacle), workers=3) as workers:
        obstacle.touch()
        before = workers.pids
        for pid in before[:2]:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: caplog.text.count("in 1 s") == 2)
    assert caplog.text.count("LookupError: obstacle is there") == 1


async def test_a_newer_reload_does_not_wait_for_a_successor_that_has_not_come_up(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    sign.touch()
    async with some("make_when", str(sign), workers=1) as workers:
        before = workers.pids
        sign.unlink()
        first = asyncio.create_task(workers.reload(linger=0))
        await until(lambda: workers._maybe_candidate)
        second = asyncio.create_task(workers.reload(linger=0))
        with pytest.raises(WorkerFailed, match="a newer reload goes before it"):
            await first
        sign.touch()
        await second
        assert workers.pids != before


async def test_who_has_just_come_may_finish_though_the_worker_is_replaced(tmp_path: Path) -> None:
    async with some("make", str(tmp_path), workers=1) as workers, calling(workers.port) as caller:
        reloading = asyncio.create_task(workers.reload(linger=5))
        (before,) = workers.pids
        await until(lambda: workers.pids != [before])
        await caller.greet()
        assert await pid_of(caller) == before
        assert (await caller.mail()).startswith("250 ")
        assert (await caller.ask("QUIT")).startswith("221 ")
        await reloading


async def test_a_worker_that_dies_while_it_is_replaced_has_one_successor(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    sign.touch()
    async with some("make_when", str(sign), workers=1) as workers:
        (before,) = workers.pids
        sign.unlink()
        reloading = asyncio.create_task(workers.reload(linger=0))
        await until(lambda: len(workers._running) == 2)
        os.kill(before, signal.SIGKILL)
        await until(lambda: not workers.pids and len(workers._running) == 2)
        sign.touch()
        await reloading
        await until(lambda: len(workers._running) == 1)
        assert [worker.pid for worker in workers._running] == workers.pids


PACE = 0.005
"""Seconds between two messages of a client: new workers need some of the processors to start."""


class Load:
    """Clients that send all the time, on new connections or on kept ones, and note what was accepted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.is_over = False
        self.accepted: list[str] = []
        self.farewells = 0

    async def on_new_connections(self, name: str) -> None:
        """None of them is refused, and none ends before its message is accepted."""
        while not self.is_over:
            async with calling(self.port) as caller:
                await caller.greet()
                await self.send(caller, f"{name}-{len(self.accepted)}")
                assert (await caller.ask("QUIT")).startswith("221 ")

    async def on_kept_connections(self, name: str) -> None:
        """A server that stops may say so between two messages, but not within one."""
        while not self.is_over:
            with contextlib.suppress(Farewell):
                async with calling(self.port) as caller:
                    await caller.greet()
                    while not self.is_over:
                        await self.send(caller, f"{name}-{len(self.accepted)}")

    async def goes_on(self) -> None:
        """Wait until some more was accepted."""
        enough = len(self.accepted) + 20
        await until(lambda: len(self.accepted) > enough)

    async def send(self, caller: Caller, text: str) -> None:
        try:
            reply = await caller.ask("MAIL FROM:<from@example.com>")
        except ConnectionError:
            reply = "421 reset"
        if not reply or reply.startswith("421 "):
            self.farewells += 1
            raise Farewell(reply)
        assert reply.startswith("250 ")
        assert (await caller.ask("RCPT TO:<to@example.com>")).startswith("250 ")
        assert (await caller.ask("DATA")).startswith("354 ")
        assert (await caller.ask(text, ".")).startswith("250 ")
        self.accepted.append(text)
        await asyncio.sleep(PACE)


class Farewell(Exception):
    """421, or the end."""


@contextlib.asynccontextmanager
async def loading(port: int) -> AsyncIterator[Load]:
    load = Load(port)
    async with asyncio.TaskGroup() as group:
        for number in range(2):
            group.create_task(load.on_new_connections(f"new{number}"))
            group.create_task(load.on_kept_connections(f"kept{number}"))
        try:
            yield load
        finally:
            load.is_over = True


async def test_reloads_under_load_refuse_nobody_and_lose_nothing(tmp_path: Path) -> None:
    async with some("make", str(tmp_path)) as workers:
        before = {*workers.pids}
        async with loading(workers.port) as load:
            for _ in range(2):
                await load.goes_on()
                await workers.reload(linger=1.5)
            await load.goes_on()
    stored = [path.read_text().strip() for path in files_in(tmp_path)]
    assert not before & {*workers.pids}
    assert sorted(load.accepted) == sorted(stored)
    assert workers.stats.messages_accepted == len(load.accepted)


# Stopping


async def test_a_transaction_may_finish_when_workers_stop(tmp_path: Path) -> None:
    workers = some("make", str(tmp_path))
    await workers.start()
    port = workers.port
    async with calling(port) as caller:
        await caller.greet()
        await caller.begin()
        stopping = asyncio.create_task(workers.stop())
        await until(lambda: not is_listening(port))
        assert (await caller.ask("DATA")).startswith("354 ")
        assert (await caller.ask("text", ".")).startswith("250 ")
        assert (await caller.hear()).startswith("421 ")
    await asyncio.gather(stopping, workers.stop())
    assert len(files_in(tmp_path)) == 1


async def test_workers_in_a_hurry_do_not_wait_for_transactions() -> None:
    workers = some()
    await workers.start()
    async with calling(workers.port) as caller:
        await caller.greet()
        await caller.begin()
        stopping = asyncio.create_task(workers.stop())
        await until(lambda: workers._is_stopping)
        workers.hurry()
        assert (await caller.hear()).startswith("421 ")
        async with asyncio.timeout(10):
            await stopping


async def test_a_worker_that_does_not_stop_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ehlo.net.worker_process.OVERTIME", 0.1)
    workers = some()
    await workers.start()
    async with calling_worker(workers, workers.pids[0]) as caller:
        caller.send(b"VRFY block\r\n")
        await workers.stop(grace=0)
    assert "died: it was killed by SIGKILL" in caplog.text


async def test_serving_for_ever_ends_when_somebody_stops_the_workers() -> None:
    workers = some(workers=1)
    await workers.start()
    serving = asyncio.create_task(workers.serve_forever())
    await workers.stop()
    await serving


async def test_workers_that_are_stopped_while_they_start_stop(caplog: pytest.LogCaptureFixture) -> None:
    workers = some("take_long")
    starting = asyncio.create_task(workers.start())
    with caplog.at_level(logging.INFO, "ehlo.workers"):
        await until(lambda: workers._running)
        await workers.stop()
        with pytest.raises(WorkerFailed):
            await starting
    assert workers._maybe_listening is None
    assert "workers serve" not in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_workers_are_killed_when_they_have_to_be(caplog: pytest.LogCaptureFixture) -> None:
    workers = some(workers=1)
    await workers.start()
    (pid,) = workers.pids
    async with calling_worker(workers, pid) as caller:
        caller.send(b"VRFY block\r\n")
        stopping = asyncio.create_task(workers.stop())
        await until(lambda: workers._is_stopping)
        with caplog.at_level(logging.INFO, "ehlo.workers"):
            workers.kill()
            await stopping
    assert f"worker 1 (process {pid}): killed" in caplog.messages


async def test_workers_that_are_stopped_while_they_are_replaced_stop(caplog: pytest.LogCaptureFixture) -> None:
    async with some() as workers:
        reloading = asyncio.create_task(workers.reload())
        await until(lambda: len(workers._running) > 2)
        await workers.stop()
        with pytest.raises(WorkerFailed):
            await reloading
        assert not workers._running
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
