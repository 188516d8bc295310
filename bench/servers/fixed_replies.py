"""No server: says what one would say, to a client in lock-step, without a look at anything but the first four octets.

What it costs is what asyncio's interface costs by itself: the least that any server in Python can cost.
Prints its port.
"""

from __future__ import annotations

import asyncio
from typing import cast

import uvloop

REPLIES = {
    b"EHLO": b"250-localhost\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
OK = b"250 2.0.0 OK\r\n"


class FixedReplies(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's do not derive from it
        self.transport.write(b"220 localhost ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer a command; anything else is a whole message."""
        start = data[:4]
        self.transport.write(REPLIES.get(start, OK))
        if start == b"QUIT":
            self.transport.close()


async def main() -> None:
    """Serve until it is ended."""
    server = await asyncio.get_running_loop().create_server(FixedReplies, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


uvloop.run(main())
