"""A client that blocks, for servers in other threads, and loops in other threads."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

PATIENCE = 10.0


class Talk:
    """One connection; ``greeting`` is what came first."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, context: ssl.SSLContext | None = None) -> None:
        self._socket: socket.socket = socket.create_connection((host, port), PATIENCE)
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        self.greeting = self.hear()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def say(self, text: str | bytes) -> None:
        self._socket.sendall(text if isinstance(text, bytes) else text.encode() + b"\r\n")

    def hear(self) -> str:
        """One reply: its lines, joined by LF; "" when the server has closed."""
        lines = []
        while True:
            try:
                line = self._file.readline()
            except ConnectionError:
                line = b""
            if not line:
                break
            lines.append(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))
            if line[3:4] != b"-":
                break
        return "\n".join(lines)

    def ask(self, text: str | bytes) -> str:
        self.say(text)
        return self.hear()

    def ask_all(self, *texts: str) -> list[str]:
        return [self.ask(text) for text in texts]

    def start_tls(self, context: ssl.SSLContext) -> None:
        assert self.ask("STARTTLS").startswith("220")
        self._file.close()
        self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._file = self._socket.makefile("rb")

    def send(
        self, *lines: str, recipients: tuple[str, ...] = ("bob@example.com",), hello: str = "EHLO c.example"
    ) -> str:
        """A whole message; the reply to it."""
        assert self.ask(hello).startswith("250")
        assert self.ask("MAIL FROM:<alice@example.com>").startswith("250")
        for recipient in recipients:
            assert self.ask(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.ask("DATA").startswith("354")
        return self.ask("\r\n".join((*lines, ".")))


def b64(text: bytes) -> str:
    return b64encode(text).decode()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens at; the original cannot find one by itself."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as one:
        one.bind((host, 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def running(controller: Any) -> Iterator[Any]:
    """A threaded controller."""
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()


@contextmanager
def loop_in_a_thread() -> Iterator[tuple[asyncio.AbstractEventLoop, Callable[[Any], Any]]]:
    """A loop that runs, and a function that runs a coroutine in it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE)

    try:
        yield loop, run
    finally:
        run(_cancel_everything())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


async def _cancel_everything() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.01)  # for the ends of connections
