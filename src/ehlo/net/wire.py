"""A client's end of a connection. Knows transports and octets; does not know commands, nor what a reply is about.

``Wire`` turns the callbacks of a transport into three coroutines: ``reply``, ``drain`` and ``start_tls``.  One task at
a time uses them.  None of them knows the time; each may be cancelled, and then the wire is fit for ``abort`` only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ehlo.protocol.client import ReplyParser

if TYPE_CHECKING:
    from ssl import SSLContext

    from ehlo.protocol.replies import Reply

# Reading pauses when more than this is unread.  No honest reply comes near it.
UNREAD_LIMIT = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where to connect to: ``unix_path``, or ``host`` and ``port`` if it is None.  ``ssl`` is for TLS at once."""

    host: str
    port: int
    unix_path: str | None
    ssl: SSLContext | None


class Wire(asyncio.Protocol):
    """One connection.  ``parser`` holds what came; ``has_ended`` says that nothing more will come."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.parser = ReplyParser()
        self.has_ended = False
        self.is_writing_paused = False
        self._is_reading_paused = False
        self._maybe_why: Exception | None = None
        self._change = asyncio.Event()
        self._lost = asyncio.Event()

    @property
    def is_closing(self) -> bool:
        """Whether one of the two ends has closed."""
        return self.has_ended or self.transport.is_closing()

    async def connect(self, to: Destination) -> None:
        """Connect, without TLS.  Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        if to.unix_path is not None:
            await loop.create_unix_connection(lambda: self, to.unix_path)
        else:
            await loop.create_connection(lambda: self, to.host, to.port)

    async def start_tls(self, context: SSLContext, server_hostname: str | None) -> None:
        """Shake hands.  Raises ``OSError``, of which ``ssl.SSLError`` is one.

        The caller has looked that nothing is unread.  No other code runs between its look and the moment when the TLS
        engine takes over the transport, as ``loop.start_tls`` does not wait before that.
        """
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(self.transport, self, context, server_hostname=server_hostname)
            if transport is None:
                # CPython #105993: lost in the very moment when the handshake was done.
                raise ConnectionResetError("connection lost after the handshake")
        except BaseException:
            # asyncio does not always call connection_lost after a handshake that failed or was cancelled.
            self.transport.abort()
            self.connection_lost(None)
            raise
        self.transport = transport

    async def reply(self) -> Reply:
        """Wait for the next reply.  Raises ``BadReply``, or ``ConnectionError`` when none can come."""
        while (reply := self.parser.next_reply()) is None:
            if self.has_ended:
                raise ConnectionResetError("the server closed the connection") from self._maybe_why
            if self._is_reading_paused:
                self._is_reading_paused = False
                self.transport.resume_reading()
            await self._something_changed()
        return reply

    async def drain(self) -> None:
        """Wait until the server has taken most of what was written, or has ended it, or has said something."""
        while self.is_writing_paused and not self.has_ended and not self.parser.has_unread:
            await self._something_changed()

    async def lost(self) -> None:
        """Wait until the transport is gone."""
        await self._lost.wait()

    def write(self, data: bytes) -> None:
        """Write octets, perhaps none."""
        self.transport.write(data)

    def close(self) -> None:
        """Close when all that was written is sent."""
        self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (uvloop's are no subclass of ``asyncio.Transport``)."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep the octets, and let the server wait when nobody wants them."""
        self.parser.receive(data)
        if self.parser.buffered > UNREAD_LIMIT and not self._is_reading_paused:
            self._is_reading_paused = True
            self.transport.pause_reading()
        self._change.set()

    def eof_received(self) -> None:
        """Note that no reply can come any more, even if the transport must first get rid of what was written."""
        self.has_ended = True
        self._change.set()

    def pause_writing(self) -> None:
        """Note that the server is behind."""
        self.is_writing_paused = True

    def resume_writing(self) -> None:
        """Note that the server has caught up."""
        self.is_writing_paused = False
        self._change.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and why.  May come twice."""
        self.has_ended = True
        self._maybe_why = self._maybe_why or exc
        self._change.set()
        self._lost.set()

    async def _something_changed(self) -> None:
        self._change.clear()
        await self._change.wait()
