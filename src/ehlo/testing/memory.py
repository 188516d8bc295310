"""A transport in memory: the other end of a protocol, without sockets."""

from __future__ import annotations

import asyncio
from typing import Any


class MemoryTransport(asyncio.Transport):
    """Connects a protocol to a test.

    What the protocol writes is in ``sent`` until ``take_line`` takes it.  ``feed`` gives it octets, ``feed_eof`` and
    ``lose`` end the connection from the other side.  ``takes_output`` False is a client that does not read: writing is
    paused until ``resume``.  ``extra`` answers ``get_extra_info``.
    """

    def __init__(
        self, protocol: asyncio.Protocol | asyncio.BufferedProtocol, *, extra: dict[str, Any] | None = None
    ) -> None:
        super().__init__({"peername": ("192.0.2.1", 49152), **(extra or {})})
        self.protocol = protocol
        self.sent = bytearray()
        self.writes: list[bytes] = []
        self.takes_output = True
        self.is_reading_paused = False
        self._is_closing = False
        self._is_lost = False
        self._changed = asyncio.Event()
        protocol.connection_made(self)

    # The other side

    def feed(self, data: bytes) -> None:
        """Give octets to the protocol, unless it has closed."""
        if self._is_closing:
            return
        if isinstance(self.protocol, asyncio.Protocol):
            self.protocol.data_received(data)
            return
        while data:
            room = memoryview(self.protocol.get_buffer(-1))
            size = min(len(room), len(data))
            room[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]

    def feed_eof(self) -> None:
        """Say that no more will come."""
        if not self._is_closing and not self.protocol.eof_received():
            self.close()

    def lose(self, exc: Exception | None = None) -> None:
        """Cut the connection."""
        self._is_closing = True
        if not self._is_lost:
            self._is_lost = True
            self.protocol.connection_lost(exc)
        self._changed.set()

    def resume(self) -> None:
        """Read again."""
        self.takes_output = True
        self.protocol.resume_writing()

    async def take_line(self) -> bytes:
        """The next line that the protocol wrote, with its CRLF; what is there of it, perhaps b"", at the end."""
        while (end := self.sent.find(b"\n") + 1) == 0:
            if self._is_closing:
                end = len(self.sent)
                break
            self._changed.clear()
            await self._changed.wait()
        line = bytes(self.sent[:end])
        del self.sent[:end]
        return line

    # asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Take what the protocol says."""
        if self._is_lost:
            return
        self.writes.append(bytes(data))
        self.sent += data
        self._changed.set()
        if not self.takes_output:
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        """Nothing waits, or all of it."""
        return 0 if self.takes_output else len(self.sent)

    def pause_reading(self) -> None:
        """Note it."""
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        """Note it."""
        self.is_reading_paused = False

    def is_reading(self) -> bool:
        """Whether the protocol wants more."""
        return not self.is_reading_paused

    def is_closing(self) -> bool:
        """Whether either side has ended the connection."""
        return self._is_closing

    def close(self) -> None:
        """End it from the protocol's side, in the next pass of the loop, as real transports do."""
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self.lose)

    def abort(self) -> None:
        """The same."""
        self.close()
