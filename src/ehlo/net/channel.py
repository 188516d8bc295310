"""What a supervisor and a worker say to each other, over a socket that nobody else has.

The first thing said is the ``Order``.  After that each message is a line of JSON, an object with one of these:

    to the worker       {"stop": GRACE}                   end as ``Server.stop`` does; 0 a second time: at once
                        {"stop": GRACE, "linger": SECONDS}  let nobody new in, go on for so long, then do that
                        {"cover": [DESCRIPTOR, ...]}      accept from these sockets too, and from no others
    to the supervisor   {"ready": true}                   it accepts connections
                        {"failed": TEXT, "status": NUMBER}  it does not, and ends; the status is for who gives up
                        {"stopping": GRACE}               somebody else has told it to end: it lets nobody new in
                        {"stats": {NAME: NUMBER, ...}}    what has happened, every so often and at the end

When either side's end is closed, the other's process is gone.
"""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import socket

Message = dict[str, Any]

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker is to do.  It comes over the socket, and not as arguments, which everybody on a machine can read.

    ``application`` is ``package.module:name``, called with the sockets and ``arguments``; ``sockets`` and ``clients``
    are file descriptors, which the process has inherited: where to listen, and the file of the ``SharedRegistry``, with
    its ``seats``, ``seat`` and ``key``.  So are ``others``: the sockets of other workers, which it may have to cover.
    ``loop`` is a name for ``event_loop``.  ``secret`` is for ``ehlo.credentials.share_fake_secret``; ``interval`` are
    the seconds from one report to the next.
    """

    application: str
    arguments: list[str]
    sockets: list[int]
    others: list[int]
    loop: str
    clients: int
    seats: int
    seat: int
    key: str = field(repr=False)
    secret: str = field(repr=False)
    interval: float

    def encode(self) -> bytes:
        """The octets to send."""
        text = json.dumps(asdict(self)).encode()
        return _LENGTH.pack(len(text)) + text

    @classmethod
    def receive(cls, channel: socket.socket) -> Self:
        """Take one from a socket, and no octet more; ``EOFError`` if there is none.  Blocks."""
        (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
        return cls(**json.loads(_exactly(channel, length)))


def encode(message: Message) -> bytes:
    """The octets to send."""
    return json.dumps(message).encode() + b"\n"


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None when there will be none, because the other process is gone."""
    try:
        line = await reader.readline()
    except ConnectionError:
        return None
    return json.loads(line) if line.endswith(b"\n") else None


def _exactly(channel: socket.socket, length: int) -> bytes:
    octets = b""
    while len(octets) < length:
        piece = channel.recv(length - len(octets))
        if not piece:
            raise EOFError
        octets += piece
    return octets
