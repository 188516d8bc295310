"""Which sockets are opened for a host, a port or a path."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ehlo.net import listen
from ehlo.net.listen import inode_of, multiply, remove_unix_socket, tcp_sockets, unix_socket


def names_of(sockets: list[socket.socket]) -> list[str]:
    return [bound.getsockname()[0] for bound in sockets]


def ports_of(sockets: list[socket.socket]) -> set[int]:
    return {bound.getsockname()[1] for bound in sockets}


async def names_for(host: Any, port: int = 0) -> list[str]:
    """The addresses that are bound for a host; they all have one port, and it is a real one."""
    sockets = await tcp_sockets(host, port)
    try:
        assert len(ports_of(sockets)) == 1
        assert 0 not in ports_of(sockets)
        return names_of(sockets)
    finally:
        close(sockets)


def close(sockets: list[socket.socket]) -> None:
    for bound in sockets:
        bound.close()


def _can_have(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _can_have("::1"), reason="this machine has no IPv6")


class Resolver:
    """Stands in for the resolver: answers with the addresses that were given for a name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
        self.names = names
        self.loop = asyncio.get_running_loop()
        monkeypatch.setattr(listen.asyncio, "get_running_loop", lambda: self)  # type: ignore[attr-defined]

    async def getaddrinfo(self, name: str, port: int, **how: Any) -> list[Any]:
        found: list[Any] = []
        for address in self.names.get(name, [name]):
            infos = await self.loop.getaddrinfo(address, port, **how)
            found += infos
        return found


def lacks(monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, number: int) -> None:
    """Let binding an address of a family fail."""
    bind = listen._bind

    def refuse(wanted: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
        if wanted == family:
            raise OSError(number, os.strerror(number))
        return bind(wanted, address)

    monkeypatch.setattr(listen, "_bind", refuse)


# TCP


async def test_one_address() -> None:
    assert await names_for("127.0.0.1") == ["127.0.0.1"]


@needs_ipv6
async def test_none_is_the_loopback_of_both_kinds_on_one_port() -> None:
    assert await names_for(None) == ["127.0.0.1", "::1"]


@needs_ipv6
async def test_an_empty_host_is_everywhere_on_one_port() -> None:
    assert await names_for("") == ["0.0.0.0", "::"]


@needs_ipv6
async def test_several_names_share_the_port() -> None:
    assert await names_for(["127.0.0.1", "::1", "127.0.0.2"]) == ["127.0.0.1", "::1", "127.0.0.2"]


async def test_an_address_that_is_named_twice_is_bound_once() -> None:
    assert await names_for(("127.0.0.1", "127.0.0.1")) == ["127.0.0.1"]


async def test_no_name_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no host"):
        await tcp_sockets([], 0)


async def test_the_port_that_was_asked_for_is_the_one_that_is_bound() -> None:
    sockets = await tcp_sockets("127.0.0.1", 0)
    (port,) = ports_of(sockets)
    close(sockets)
    again = await tcp_sockets("127.0.0.1", port)
    assert ports_of(again) == {port}
    close(again)


async def test_a_port_that_is_taken_is_an_error_that_says_where() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"127\.0\.0\.1 port {port}") as caught:
            await tcp_sockets("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE


async def test_when_one_address_cannot_be_had_none_is_kept() -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await tcp_sockets(["127.0.0.1", "127.0.0.2"], port)
        # It would be an error if the first were still bound and listened.
        with socket.create_server(("127.0.0.1", port)):
            pass


async def test_a_chosen_port_that_is_taken_on_the_second_address_is_chosen_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bind = listen._bind
    tried: list[int] = []

    def refuse_twice(family: socket.AddressFamily, address: Any) -> socket.socket:
        if address[0] == "127.0.0.2":
            tried.append(address[1])
            if len(tried) <= 2:
                raise OSError(errno.EADDRINUSE, "Address already in use")
        return bind(family, address)

    monkeypatch.setattr(listen, "_bind", refuse_twice)
    assert await names_for(["127.0.0.1", "127.0.0.2"]) == ["127.0.0.1", "127.0.0.2"]
    assert len(tried) == 3


async def test_it_gives_up_when_no_port_can_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    bind = listen._bind

    def refuse(family: socket.AddressFamily, address: Any) -> socket.socket:
        if address[0] == "127.0.0.2":
            tried.append(address)
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return bind(family, address)

    monkeypatch.setattr(listen, "_bind", refuse)
    with pytest.raises(OSError, match="in use"):
        await tcp_sockets(["127.0.0.1", "127.0.0.2"], 0)
    assert 2 <= len(tried) <= 100


async def test_a_name_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(socket.gaierror):
        await tcp_sockets("256.256.256.256", 0)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
@pytest.mark.parametrize(("host", "expected"), [(None, "127.0.0.1"), ("", "0.0.0.0")])
async def test_a_machine_without_ipv6_does_without(
    host: str | None, expected: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks(monkeypatch, socket.AF_INET6, number)
    assert await names_for(host) == [expected]


@pytest.mark.parametrize("addresses", [["127.0.0.1", "::1"], ["::1", "127.0.0.1"]])
async def test_a_name_with_addresses_of_both_kinds_does_without_ipv6(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Resolver(monkeypatch, localhost=addresses)
    lacks(monkeypatch, socket.AF_INET6, errno.EADDRNOTAVAIL)
    assert await names_for("localhost") == ["127.0.0.1"]


async def test_an_ipv6_address_that_was_asked_for_is_not_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, localhost=["127.0.0.1", "::1"])
    lacks(monkeypatch, socket.AF_INET6, errno.EADDRNOTAVAIL)
    for host in ("::1", ["127.0.0.1", "::1"], ["localhost", "::1"], ["::1", "localhost"]):
        with pytest.raises(OSError, match="requested address"):
            await tcp_sockets(host, 0)


async def test_another_failure_of_ipv6_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, socket.AF_INET6, errno.EACCES)
    with pytest.raises(PermissionError):
        await tcp_sockets(None, 25)


async def test_no_ipv4_is_not_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, socket.AF_INET, errno.EADDRNOTAVAIL)
    with pytest.raises(OSError, match="requested address"):
        await tcp_sockets(None, 0)


# UNIX


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lmtp.sock"


def test_a_path_that_is_free_is_bound(path: Path) -> None:
    with unix_socket(path) as bound:
        assert bound.getsockname() == str(path)
        assert path.is_socket()


def test_a_socket_that_a_server_left_behind_is_replaced(path: Path) -> None:
    with unix_socket(str(path)):
        pass
    assert path.is_socket()
    with unix_socket(path) as bound:
        bound.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_socket_where_somebody_listens_is_not_replaced(path: Path) -> None:
    with unix_socket(path) as bound:
        bound.listen()
        with pytest.raises(OSError, match="Somebody listens") as caught:
            unix_socket(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert path.is_socket()


def test_a_socket_of_somebody_who_has_no_time_to_accept_is_not_replaced(path: Path) -> None:
    with unix_socket(path) as bound:
        bound.listen(0)
        clients = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            clients.append(client)
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        with pytest.raises(OSError, match="Somebody listens"):
            unix_socket(path)
        close(clients)


def test_a_socket_for_datagrams_is_not_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(path))
        with pytest.raises(OSError, match="Somebody listens"):
            unix_socket(path)


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        unix_socket(path)
    assert path.read_text() == "precious"


def test_a_path_in_a_folder_that_does_not_exist_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unix_socket(path / "nowhere")


def test_the_file_is_removed_if_it_is_ours(path: Path) -> None:
    with unix_socket(path) as bound:
        remove_unix_socket(bound, inode_of(str(path)))
        assert not path.exists()
        remove_unix_socket(bound, (0, 0))


def test_the_file_is_not_removed_if_somebody_else_has_taken_the_path(path: Path) -> None:
    with unix_socket(path) as ours:
        inode = inode_of(str(path))
        path.unlink()
        with unix_socket(path):
            remove_unix_socket(ours, inode)
            assert path.is_socket()


# For several processes

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares connections out")


@linux_only
async def test_connections_are_shared_out_among_the_sockets_of_several_processes() -> None:
    with closing_all(await tcp_sockets("127.0.0.1", 0)) as first:
        groups = multiply(first, 3)
        with closing_all([*itertools.chain(*groups)]) as sockets:
            assert len({bound.getsockname() for bound in sockets}) == 1
            for bound in sockets:
                bound.listen()
                bound.setblocking(False)
            clients = [socket.create_connection(bound.getsockname()) for _ in range(60)]
            with closing_all(clients):
                taken = [accept_all(bound) for bound in sockets]
                with closing_all([*itertools.chain(*taken)]):
                    assert sum(map(len, taken)) == 60
                    assert all(taken)


@linux_only
async def test_a_port_that_is_shared_is_taken_for_everybody_else() -> None:
    first = await tcp_sockets("127.0.0.1", 0)
    with closing_all([*itertools.chain(*multiply(first, 2))]) as sockets:
        for bound in sockets:
            bound.listen()
        port = first[0].getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await tcp_sockets("127.0.0.1", port)


async def test_all_addresses_are_multiplied() -> None:
    with closing_all(await tcp_sockets(None, 0)) as first, closing_all([*itertools.chain(*multiply(first, 2))]) as all_:
        names = [bound.getsockname() for bound in all_]
        assert names == [bound.getsockname() for bound in first] * 2


async def test_where_the_system_does_not_share_out_all_have_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "CAN_SHARE_OUT", False)
    with closing_all(await tcp_sockets("127.0.0.1", 0)) as first:
        assert multiply(first, 2) == [first, first]


def test_a_unix_socket_is_the_same_for_all(tmp_path: Path) -> None:
    with unix_socket(tmp_path / "socket") as bound:
        assert multiply([bound], 2) == [[bound], [bound]]


@linux_only
async def test_when_one_cannot_be_had_those_that_were_made_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def bind(*args: Any, **kwargs: Any) -> socket.socket:
        if made:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        made.append(original(*args, **kwargs))
        return made[0]

    original = listen._bind
    with closing_all(await tcp_sockets("127.0.0.1", 0)) as first:
        monkeypatch.setattr(listen, "_bind", bind)
        with pytest.raises(OSError, match="in use"):
            multiply(first, 3)
        assert made[0].fileno() == -1
        assert first[0].fileno() != -1


def accept_all(bound: socket.socket) -> list[socket.socket]:
    accepted = []
    with contextlib.suppress(BlockingIOError):
        while True:
            accepted.append(bound.accept()[0])
    return accepted


@contextlib.contextmanager
def closing_all(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()
