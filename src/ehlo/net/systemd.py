"""What systemd hands over, and what it is told. Knows environment variables and sockets; does not know servers.

Both work with whatever speaks the same protocols (sd_listen_fds(3), sd_notify(3)), and do nothing where nobody does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

FIRST = 3
"""The first file descriptor that is handed over."""


def take_sockets() -> list[socket.socket] | None:
    """The listening sockets that this process was started with (``ListenStream=``); None if there are none.

    They can be taken once: programs that this one starts must not take them for theirs.  ``OSError`` for one that is
    none.
    """
    pid, count, _ = (os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal() or int(count) < 1:
        return None
    taken = [socket.socket(fileno=descriptor) for descriptor in range(FIRST, FIRST + int(count))]
    for each in taken:
        each.set_inheritable(False)
    return taken


def notify(*assignments: str) -> None:
    """Say ``READY=1`` and the like to the service manager (``Type=notify``), which must not hold us up."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto("\n".join(assignments).encode(), "\0" + path[1:] if path.startswith("@") else path)


def reloading() -> None:
    """Say that a reload begins; ``notify("READY=1")`` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
