"""In the manner of a pytest plugin: port 0, found out late, and a ``stop`` of its own that may be called twice."""

from __future__ import annotations

import email
from email.message import Message
from typing import Any

import aiosmtpd.controller


class Handler:
    def __init__(self) -> None:
        self.outbox: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content)
        message["X-Envelope"] = f"{session.peer[0]} {envelope.mail_from} {envelope.rcpt_tos}"
        self.outbox.append(message)
        return "250 OK"


class Server(aiosmtpd.controller.Controller):
    def __init__(self, host: str = "localhost", port: int = 0) -> None:
        super().__init__(Handler(), hostname=host, port=port, server_hostname=host)

    @property
    def outbox(self) -> list[Message]:
        outbox: list[Message] = self.handler.outbox
        return outbox

    def _trigger_server(self) -> None:
        if not hasattr(self, "addr"):
            self.addr = self.server.sockets[0].getsockname()[:2]  # type: ignore[union-attr]
            if self.port == 0:
                self.port = self.addr[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def accepting(self) -> bool:
        server: Any = self.server
        return bool(server.is_serving())

    def stop(self, timeout: float | None = None) -> None:
        if self.loop.is_running():
            self.loop.call_soon_threadsafe(self.cancel_tasks)
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None
        self._thread_exception = None
        self._factory_invoked = None  # type: ignore[assignment]
        self.server_coro = None
        self.server = None
        self.smtpd = None
