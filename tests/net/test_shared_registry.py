"""Several processes that count together: the model of tests/net/test_clients.py holds for all of them as for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehlo.net import shared_registry
from ehlo.net.clients import Client, ClientTable
from ehlo.net.limits import (
    AuthFailureRateExceeded,
    LimitSettings,
    MessageRateExceeded,
    Rate,
    TooManyClientConnections,
    TooManyConnections,
)
from ehlo.net.registry import LocalNetwork
from ehlo.net.shared_registry import PLACES, SharedRegistry, new_file
from tests.net.test_clients import MODEL, OPERATIONS, Clock, Model, is_refused, passes

pytest.importorskip("fcntl")

SEATS = 3
KEY = b"key"
PEER = ("192.0.2.1", 49152)
SOURCE = Path(shared_registry.__file__).parents[2]


@contextmanager
def file() -> Iterator[int]:
    descriptor = new_file(SEATS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def registry(descriptor: int, seat: int = 0) -> SharedRegistry:
    return SharedRegistry(descriptor, seats=SEATS, seat=seat, key=KEY)


def tables(descriptor: int, **limits: Any) -> list[ClientTable]:
    """One for each seat, as if each were in a process of its own, with one clock as processes have."""
    clock = Clock()
    found = [ClientTable(LimitSettings(**limits), clock) for _ in range(SEATS)]
    for seat, table in enumerate(found):
        table.registry = registry(descriptor, seat)
    return found


def host(number: int) -> tuple[str, int]:
    return f"198.51.{number >> 8}.{number & 255}", 49152


class SharedModel(Model):
    """The same model beside tables of which each session takes the next one."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.tables = [ClientTable(MODEL, self.clock) for _ in range(SEATS)]
        for seat, table in enumerate(self.tables):
            table.registry = registry(descriptor, seat)

    def connect(self, number: int) -> None:
        self.tables.append(self.tables.pop(0))
        self.table = self.tables[0]
        super().connect(number)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 20)), max_size=80))
def test_several_count_as_one(steps: list[tuple[str, int]]) -> None:
    with file() as descriptor:
        model = SharedModel(descriptor)
        for operation, number in steps:
            model.do(operation, number)
            assert {table.connections for table in model.tables} == {len(model.sessions)}


def test_connections_are_counted_over_all() -> None:
    with file() as descriptor:
        one, two, _ = tables(descriptor, connections=3)
        clients = [one.connect(host(1)), two.connect(host(2)), one.connect(host(3))]
        assert is_refused(TooManyConnections, two.connect, host(4))
        clients[0].disconnect()
        two.connect(host(4))
        assert is_refused(TooManyConnections, one.connect, host(5))


def test_connections_of_a_client_are_counted_over_all() -> None:
    with file() as descriptor:
        one, two, three = tables(descriptor, connections_per_client=2)
        first = one.connect(PEER)
        two.connect(PEER)
        assert is_refused(TooManyClientConnections, three.connect, PEER)
        first.disconnect()
        three.connect(PEER)
        assert is_refused(TooManyClientConnections, two.connect, PEER)


def test_rates_are_spent_over_all() -> None:
    with file() as descriptor:
        clients = [table.connect(PEER) for table in tables(descriptor, message_rate=Rate(4, 60))]
        for number in range(4):
            clients[number % SEATS].message()
        for client in clients:
            assert is_refused(MessageRateExceeded, client.message)


def test_attempts_under_way_are_counted_over_all() -> None:
    with file() as descriptor:
        clients = [table.connect(PEER) for table in tables(descriptor, auth_failure_rate=Rate(2, 60))]
        clients[0].auth_began()
        clients[1].auth_began()
        assert is_refused(AuthFailureRateExceeded, clients[2].auth_began)
        clients[0].auth_ended(is_failure=False)
        clients[2].auth_began()


def test_who_dies_leaves_no_sessions_but_what_was_spent() -> None:
    with file() as descriptor:
        one, two, _ = tables(
            descriptor, connections_per_client=2, auth_failure_rate=Rate(1, 60), message_rate=Rate(2, 60)
        )
        dead = one.connect(PEER)
        one.connect(PEER)
        dead.auth_began()
        dead.message()
        registry(descriptor, 2).vacate(0)
        assert two.connections == 0
        client = two.connect(PEER)
        client.auth_began()
        assert passes(MessageRateExceeded, client.message) == 1


def test_who_said_goodbye_leaves_nothing_to_clear() -> None:
    with file() as descriptor:
        one, *_ = tables(descriptor, connections_per_client=2)
        one.connect(PEER).disconnect()
        before = os.fstat(descriptor).st_blocks
        registry(descriptor, 2).vacate(0)
        assert os.fstat(descriptor).st_blocks == before


def test_a_seat_is_emptied_and_no_other() -> None:
    with file() as descriptor:
        one, two, three = tables(descriptor, connections_per_client=9)
        for table in (one, two, three):
            table.connect(PEER)
        registry(descriptor).vacate(1)
        assert [*registry(descriptor)._sessions] == [1, 0, 1]
        assert registry(descriptor).find("192.0.2.1", 0).connections == 2


def test_a_lock_dies_with_who_holds_it() -> None:
    with file() as descriptor:
        program = (
            "from ehlo.net.shared_registry import SharedRegistry\n"
            f"with SharedRegistry({descriptor}, seats={SEATS}, seat=1, key={KEY!r}):\n"
            "    print(flush=True)\n"
            "    input()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
        )
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            import fcntl

            with pytest.raises(BlockingIOError):
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process.kill()
            process.wait()
            with registry(descriptor):
                pass


# Room


def crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a single set, of 16 places."""
    monkeypatch.setattr(shared_registry, "PLACES", 16)


def test_who_left_first_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(monkeypatch)
    with file() as descriptor:
        one, two, _ = tables(descriptor, message_rate=Rate(2, 60))
        for number in range(16):
            client = one.connect(host(number))
            client.message()
            client.disconnect()
            one._clock.now += 1  # type: ignore[attr-defined]
        two.connect(host(16)).message()
        assert len(one) == 16
        remembered = [passes(MessageRateExceeded, two.connect(host(number)).message) for number in (15, 8, 1)]
        assert remembered == [1, 1, 1]
        assert passes(MessageRateExceeded, two.connect(host(0)).message) == 2


def test_who_is_connected_makes_no_room_and_others_are_counted_by_each_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd(monkeypatch)
    with file() as descriptor:
        one, two, _ = tables(descriptor, connections_per_client=2, connections=40)
        clients: list[Client] = [one.connect(host(number)) for number in range(16)]
        clients += [one.connect(PEER), one.connect(PEER)]
        assert isinstance(one.registry.find("192.0.2.1", 0), LocalNetwork)
        assert is_refused(TooManyClientConnections, one.connect, PEER)
        clients.append(two.connect(PEER))
        clients[0].disconnect()  # there is a place now, but not for who is counted already
        assert is_refused(TooManyClientConnections, one.connect, PEER)
        assert one.connections == 18
        for client in clients[1:]:
            client.disconnect()
        assert one.connections == 0


def test_the_memory_is_that_of_what_is_used() -> None:
    with file() as descriptor:
        one, *_ = tables(descriptor, connections_per_client=2)
        for number in range(10):
            one.connect(host(number))
        status = os.fstat(descriptor)
        assert status.st_size > 8 * PLACES
        if sys.platform == "linux":
            assert status.st_blocks * 512 < 1_000_000
