"""What stands before a connection: a PROXY header, or nothing yet. Knows transports; does not know who is trusted.

A load balancer puts a PROXY header before everything that its client sends, TLS handshake included, perhaps in the
same segment.  So it must be read to the octet, which a stream of arriving chunks does not allow; an
``asyncio.BufferedProtocol`` does: its buffer is as long as what is still missing.  When the header is whole, reading is
paused, and the transport is given its real protocol, or TLS.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ehlo.errors import Disconnected, GateClosed, ProtocolError

if TYPE_CHECKING:
    from ehlo.net.connection import Connection
    from ehlo.protocol.proxy import ProxyHeader


class ProxyGate(asyncio.BufferedProtocol):
    """Reads one PROXY header, and not an octet more."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        # Of the header, or of the ``ProtocolError``.
        self._header: asyncio.Future[ProxyHeader] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._transport = transport
        from ehlo.protocol.proxy import ProxyHeaderReader  # noqa: PLC0415 - few servers stand behind a proxy

        self._reader = ProxyHeaderReader()
        self._buffer = bytearray()

    async def wait_for_header(self, timeout: float) -> ProxyHeader:
        """Give the header; ``GateClosed`` when it is malformed, or not there after ``timeout`` seconds."""
        try:
            return await asyncio.wait_for(self._header, timeout)
        except TimeoutError:
            raise GateClosed("no PROXY header in time") from None
        except ProtocolError as error:
            raise GateClosed(str(error)) from error

    def get_buffer(self, sizehint: int) -> bytearray:
        """Room for the octets that belong to the header for certain."""
        self._buffer = bytearray(self._reader.missing)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Octets have come."""
        try:
            header = self._reader.feed(bytes(self._buffer[:nbytes]))
        except ProtocolError as error:
            self._finish(error)
        else:
            if header is not None:
                self._finish(header)

    def eof_received(self) -> bool:
        """The header will not come any more."""
        self._finish(Disconnected("end of input in the PROXY header"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The same."""
        self._finish(Disconnected("connection lost in the PROXY header"))
        self._connection.connection_lost(exc)

    def close(self) -> None:
        """Wait no longer: the server stops."""
        self._finish(Disconnected("the server stops"))

    def _finish(self, outcome: ProxyHeader | Exception) -> None:
        if self._header.done():
            return
        self._transport.pause_reading()
        if isinstance(outcome, Exception):
            self._header.set_exception(outcome)
        else:
            self._header.set_result(outcome)
