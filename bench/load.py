"""The client: every dialogue that the benchmark drives, over plain blocking sockets.

Knows just enough SMTP to be a well-behaved client; does not know which server it talks to, nor how its cost is
measured. Blocking sockets because a client on an event loop would add its own wake-ups to every latency; one thread is
enough, since the server's CPU time is the figure and the client has a core of its own.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    Transaction = Callable[["Client"], float]

HOST = "127.0.0.1"
TIMEOUT = 60.0
# Connections opened before their turn comes. Node's smtp-server waits 100 ms before it greets; so many in reserve hide
# that pause.
CONNECT_AHEAD = 64
LINE_LENGTH = 76
DOT_LINE_EVERY = 64 * 1024
EHLO = b"EHLO client.example.com\r\n"
MAIL = b"MAIL FROM:<sender@example.com>\r\n"
RCPT = b"RCPT TO:<recipient@example.com>\r\n"
IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: choose the port at connect, when the whole 4-tuple is known


class RefusedError(Exception):
    """The server did not answer as a session that goes well is answered. Holds the reply."""


def content(size: int) -> bytes:
    """Return `size` octets of mail data and end-of-data: a header and lines like base64, the same on every call.

    A stuffed line (RFC 5321 section 4.5.2) stands in every 64 KiB, so that a server cannot gain by hoping that there
    is none.
    """
    source = random.Random(size)
    head = b"From: sender@example.com\r\nTo: recipient@example.com\r\nSubject: benchmark\r\nMIME-Version: 1.0\r\n\r\n"
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    block = b"..stuffed\r\n" if size > DOT_LINE_EVERY else b""
    while len(block) < min(size, DOT_LINE_EVERY):
        block += bytes(source.choices(alphabet, k=LINE_LENGTH)) + b"\r\n"
    body = block * (size // len(block) + 1)
    return (head + body)[: size - 2] + b"\r\n.\r\n"


class Client:
    """One SMTP session. An unexpected reply raises RefusedError, a connection that fails OSError."""

    def __init__(self, port: int, source: str = "") -> None:
        """Connect to `port` on the loopback interface, from the loopback address `source` if one is given."""
        self._socket = socket.socket()
        self._socket.settimeout(TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self._socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            self._socket.bind((source, 0))
        self._socket.connect((HOST, port))
        self._rest = b""

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close the connection, without QUIT."""
        self.close()

    def close(self) -> None:
        """Close the connection at once."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._socket.sendall(data)

    def expect(self, code: bytes) -> bytes:
        """Read one reply, return its octets. Raise RefusedError unless its code begins with `code`."""
        data = self._rest
        while (end := _end_of_reply(data)) < 0:
            received = self._socket.recv(65536)
            if not received:
                raise RefusedError(f"connection closed instead of {code.decode()}")
            data = data + received if data else received
        reply, self._rest = data[:end], data[end:]
        if not reply.startswith(code):
            raise RefusedError(reply.decode("utf-8", "replace").strip())
        return reply

    def command(self, line: bytes, code: bytes = b"250") -> bytes:
        """Send one command, return its reply."""
        self._socket.sendall(line)
        return self.expect(code)

    def hello(self, *, greeted: bool = False) -> frozenset[str]:
        """Read the greeting unless it was read, send EHLO, return the keywords that the server offers."""
        if not greeted:
            self.expect(b"220")
        lines = self.command(EHLO).decode("ascii", "replace").splitlines()[1:]
        return frozenset(line[4:].split(" ")[0].upper() for line in lines)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Upgrade by STARTTLS and send EHLO again (RFC 3207)."""
        self.command(b"STARTTLS\r\n", b"220")
        self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self.hello(greeted=True)

    def quit(self) -> None:
        """Send QUIT, wait for its reply, close."""
        self.command(b"QUIT\r\n", b"221")
        self.close()


def _end_of_reply(data: bytes) -> int:
    """Return the length of the reply at the start of `data`, or -1 if it is not complete (RFC 5321 section 4.2.1)."""
    start = 0
    while (newline := data.find(b"\n", start)) >= 0:
        if data[start + 3 : start + 4] != b"-":
            return newline + 1
        start = newline + 1
    return -1


def lockstep(client: Client, data: bytes, recipients: int = 1) -> float:
    """Send one message, each command after the reply to the one before it.

    `data` carries its end-of-data, as in the other transactions. Returns the seconds from MAIL to the last reply.
    """
    started = perf_counter()
    client.command(MAIL)
    for _ in range(recipients):
        client.command(RCPT)
    client.command(b"DATA\r\n", b"354")
    client.command(data)
    return perf_counter() - started


def pipelined(client: Client, data: bytes) -> float:
    """Send one message as Postfix does: MAIL, RCPT and DATA in one group (RFC 2920), then the content."""
    started = perf_counter()
    client.send(MAIL + RCPT + b"DATA\r\n")
    client.expect(b"250")
    client.expect(b"250")
    client.expect(b"354")
    client.command(data)
    return perf_counter() - started


def chunked(client: Client, data: bytes) -> float:
    """Send one message by a single BDAT (RFC 3030): the same octets as with DATA, end-of-data included."""
    started = perf_counter()
    client.command(MAIL)
    client.command(RCPT)
    client.send(b"BDAT %d LAST\r\n" % len(data))
    client.command(data)
    return perf_counter() - started


def kept_connection(port: int, count: int, transaction: Transaction, _tls: ssl.SSLContext | None = None) -> list[float]:
    """Send `count` messages over one connection; return the seconds that each took."""
    with Client(port) as client:
        client.hello()
        seconds = [transaction(client) for _ in range(count)]
        client.quit()
    return seconds


def new_connections(port: int, count: int, transaction: Transaction, tls: ssl.SSLContext | None = None) -> list[float]:
    """Send `count` messages, each over a connection of its own, with STARTTLS if `tls` is given.

    Some connections are opened before their turn; sessions follow each other. Connecting is part of the cost, not of
    the latency.
    """
    waiting: deque[Client] = deque()
    seconds = []
    for opened in range(count + CONNECT_AHEAD):
        if opened < count:
            waiting.append(Client(port))
        if opened >= CONNECT_AHEAD:
            with waiting.popleft() as client:
                client.hello()
                if tls:
                    client.start_tls(tls)
                seconds.append(transaction(client))
                client.quit()
    return seconds


@contextlib.contextmanager
def idle_sessions(port: int, count: int) -> Iterator[None]:
    """Hold `count` sessions that have said EHLO and then nothing, from several loopback addresses."""
    clients: list[Client] = []
    try:
        while len(clients) < count:
            batch = [Client(port, source(len(clients) + n)) for n in range(min(CONNECT_AHEAD, count - len(clients)))]
            clients += batch
            for client in batch:
                client.expect(b"220")
                client.send(EHLO)
            for client in batch:
                client.expect(b"250")
        yield
    finally:
        for client in clients:
            client.close()


def source(number: int) -> str:
    """Return one of eight loopback addresses: one alone has too few ports for tens of thousands of connections."""
    return f"127.0.0.{2 + number % 8}"


def short_sessions(port: int, count: int, data: bytes) -> None:
    """Run `count` sessions, one after the other, each with one pipelined message."""
    for number in range(count):
        with Client(port, source(number)) as client:
            client.hello()
            pipelined(client, data)
            client.quit()
