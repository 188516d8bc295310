"""A handler that keeps its mail, and helpers for clients that are tested against a server in another thread."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import smtplib

    from ehlo.compat.aiosmtpd.smtp import SMTP, Envelope, Session

ASYNCIO_CATCHUP_DELAY = float(os.environ.get("ASYNCIO_CATCHUP_DELAY", "0.1"))
"""Seconds after which a server in another thread is believed to have done what it had to do."""

# struct linger of socket(7): whether to linger at close, and for how many seconds.
_LINGER = struct.Struct("hh" if sys.platform == "win32" else "ii")


class ReceivingHandler:
    """Keeps the envelope of every message in ``box``."""

    def __init__(self) -> None:
        self.box: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep it."""
        self.box.append(envelope)
        return "250 OK"


def reset_connection(client: smtplib.SMTP) -> None:
    """Close a client's connection by RST and not by FIN: without lingering, what was not sent is thrown away."""
    assert client.sock is not None
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))
    client.close()


def catchup_delay(delay: float = ASYNCIO_CATCHUP_DELAY) -> None:
    """Sleep, so that the server does what it has to do."""
    time.sleep(delay)


def send_recv(sock: socket.socket, data: bytes, end: bytes = b"\r\n", timeout: float = 0.1) -> bytes:
    """Send a line; give all that comes until nothing has come for ``timeout`` seconds, or the connection ends."""
    sock.sendall(data + end)
    heard = b""
    while select.select([sock], [], [], timeout)[0]:
        piece = sock.recv(1024)
        if not piece:
            break
        heard += piece
    return heard
