from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ehlo.net import systemd
from ehlo.net.systemd import notify, reloading, take_sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd is Linux's")

# What systemd does, which has no shell in between: the process knows its own id.
ACTIVATED = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
os.dup2(int(sys.argv[2]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp"}
from ehlo.net.systemd import take_sockets
(taken,) = take_sockets()
print(taken.getsockname()[1], taken.get_inheritable(), [name for name in os.environ if name.startswith("LISTEN_")])
print(take_sockets())
"""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield receiver


def test_the_manager_is_told(manager: socket.socket) -> None:
    notify("READY=1", "STATUS=well")
    assert manager.recv(1000) == b"READY=1\nSTATUS=well"


def test_a_reload_has_its_time(manager: socket.socket) -> None:
    before = time.monotonic_ns() // 1000
    reloading()
    state, when = manager.recv(1000).decode().split("\n")
    assert state == "RELOADING=1"
    assert before <= int(when.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such sockets")
def test_the_manager_may_have_a_socket_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0ehlo-test-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@ehlo-test-{os.getpid()}")
        notify("READY=1")
        assert receiver.recv(1000) == b"READY=1"


@pytest.mark.parametrize("path", [None, "", "/nowhere/at/all"])
def test_where_nobody_listens_nothing_happens(monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if path is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify("READY=1")


def test_sockets_are_taken_once_and_not_handed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        source = Path(systemd.__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", ACTIVATED, str(source), str(bound.fileno())],
            pass_fds=[bound.fileno()],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{bound.getsockname()[1]} False []\nNone\n"


@pytest.mark.parametrize(("pid", "count"), [(None, "1"), ("1", "1"), ("own", "0"), ("own", "many")])
def test_sockets_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, pid: str | None, count: str) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    if pid is not None:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()) if pid == "own" else pid)
    monkeypatch.setenv("LISTEN_FDS", count)
    assert take_sockets() is None


def test_what_is_no_socket_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr(systemd, "FIRST", file.fileno())
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        with pytest.raises(OSError, match=r"not a socket|non-socket"):
            take_sockets()
