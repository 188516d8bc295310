"""A connection's ``_reader`` and ``_writer``, for programs that read and write past the server.

They exist only once somebody asks for them.  What a program does not take from the reader goes back to the connection
before it reads the next command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol


class Connection(Protocol):
    """What the two need."""

    transport: Any
    """None when the session is over; what is said has been written when it is looked at."""
    _transport: Any
    """That of the connection or, when it is over, the last that it had."""
    loop: asyncio.AbstractEventLoop

    async def _next_octets(self) -> bytes:
        """What has come, or what comes next; b"" at the end of input."""

    async def _drain(self) -> None:
        """Wait while the client does not read."""


class _Transport:
    """The attribute ``_transport`` of both: whoever starts TLS by himself assigns the new one to it."""

    def __get__(self, stream: Any, owner: type[Any] | None = None) -> Any:
        connection = stream._connection
        return connection.transport or connection._transport

    def __set__(self, stream: Any, transport: Any) -> None:
        if transport is not None:  # as StreamReader's own constructor does
            stream._connection.transport = transport


class Reader(asyncio.StreamReader):
    """A ``StreamReader`` that nobody feeds: it asks its connection."""

    _transport: Any = _Transport()

    def __init__(self, connection: Connection, limit: int) -> None:
        self._connection = connection
        super().__init__(limit=limit, loop=connection.loop)
        self._buffer: bytearray

    def push(self, data: bytes) -> None:
        """Let this be read."""
        self._buffer.extend(data)

    def take(self) -> bytes:
        """Give up what nobody has read."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    async def _wait_for_data(self, func_name: str) -> None:
        # The one place where a StreamReader waits; under this name since Python 3.4.
        data = await self._connection._next_octets()
        if data:
            self.push(data)
        else:
            self.feed_eof()


class Writer:
    """As much of a ``StreamWriter`` as a program uses beside ``push``: it writes to the transport at once."""

    _transport: Any = _Transport()

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def transport(self) -> Any:
        """The transport."""
        return self._transport

    def write(self, data: bytes) -> None:
        """Send octets."""
        self._transport.write(data)

    def writelines(self, data: Iterable[bytes]) -> None:
        """Send octets."""
        self._transport.writelines(data)

    async def drain(self) -> None:
        """Wait while the client does not read."""
        await self._connection._drain()

    def write_eof(self) -> None:
        """Send no more."""
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        """Whether that can be done: not with TLS."""
        return bool(self._transport.can_write_eof())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A fact of the transport."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport is None or bool(self._transport.is_closing())

    def close(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.close()
