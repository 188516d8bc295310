"""Octets to and from one transport, and no more of them than somebody takes. Does not know what they mean.

``Flow`` is the side of a connection that asyncio calls, and all of it that is about how much is where:

* *Reading* goes to one buffer for all connections of a loop.  Who takes octets and is ahead of those who use them
  calls ``_pause_reading``, so a client that is ahead of us fills its own buffers, not ours; ``_resume_reading`` is for
  who has used them up.  A client whose octets fill the buffer time after time lets others have a turn.
* *Writing* never waits: ``_write`` keeps, ``_flush`` hands over, together and in one system call.  ``_drain`` waits
  while the client does not read.
* *The end*: ``_has_eof`` says that no octet will come any more, ``_is_lost`` that none can be sent either.

When there is something to take, or never will be, a subclass is told: ``data_received`` and ``_input_ended``.  Who
waits for it, how long, and over TLS or not, is its business.
"""

from __future__ import annotations

import asyncio
from typing import cast
from weakref import WeakKeyDictionary

from ehlo.errors import Disconnected

UNREAD_LIMIT = 64 * 1024
"""Reading pauses when more octets than these wait to be used; one read of the loop may overshoot it."""
READ_SIZE = 64 * 1024
"""Most octets that one read takes."""
READS_ON_END = 8
"""Reads of so many octets, after which others have a turn: uvloop reads a fast client's socket up to 32 times."""
UNSENT_LIMIT = 16 * 1024
"""Replies are handed to the transport at the latest when there are so many octets of them."""
CLOSING_TIME = 10.0
"""Seconds that a client has to take what we still have for it after we closed."""

# Where the connections of a loop read to.  One buffer is enough for all, as each has taken what was read before the
# loop does anything else.  Reading into fresh memory each time costs a system call or two, and a page fault for every
# 4 KiB: for a MB of BDAT on uvloop, which takes 256 KiB at once then, three times of what all the rest costs.
_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _buffer_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = _buffers.get(loop)
    if buffer is None:
        buffer = _buffers[loop] = memoryview(bytearray(READ_SIZE))
    return buffer


class Flow(asyncio.BufferedProtocol):
    """One transport; see the module's text.

    An ``asyncio.BufferedProtocol``; what is not a transport may call ``data_received`` all the same.
    """

    # Here and in the subclasses, a kilobyte and a half less for each session than a dict of so many names, and faster.
    __slots__ = (
        "__weakref__",
        "_drained",
        "_full_reads",
        "_has_eof",
        "_is_lost",
        "_reading_is_paused",
        "_receive_buffer",
        "_unsent",
        "_writing_is_paused",
        "loop",
        "transport",
    )

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop

    _receive_buffer: memoryview

    def __init__(self) -> None:
        self._unsent = b""
        self._has_eof = False
        self._is_lost = False
        self._reading_is_paused = False
        self._writing_is_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._full_reads = 0

    # For the subclass to say

    def data_received(self, data: bytes) -> None:
        """Take octets."""
        raise NotImplementedError

    def _input_ended(self) -> None:
        """Know that there will be no more octets.  May come twice."""
        raise NotImplementedError

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know the transport, and the loop that it runs in."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's do not derive from it
        self.loop = asyncio.get_running_loop()
        self._receive_buffer = _buffer_of(self.loop)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport may put what comes next."""
        return self._receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take octets that are there now."""
        self.data_received(self._receive_buffer[:nbytes].tobytes())
        if nbytes == READ_SIZE:
            self._full_reads += 1
            if self._full_reads >= READS_ON_END:
                self._give_others_a_turn()
        elif self._full_reads:
            self._full_reads = 0

    def eof_received(self) -> bool:
        """The client sends no more.  The transport stays open, for the answers to what it has sent."""
        self._has_eof = True
        self._input_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._is_lost = self._has_eof = True
        self._end_drain()
        self._input_ended()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._writing_is_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writing_is_paused = False
        self._end_drain()

    # Reading

    def _pause_reading(self) -> None:
        if not self._reading_is_paused and not self._is_lost:
            self._reading_is_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        self._reading_is_paused = False
        self.transport.resume_reading()

    def _give_others_a_turn(self) -> None:
        self._full_reads = 0
        if not (self._reading_is_paused or self._is_lost or self.transport.is_closing()):
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if not (self._reading_is_paused or self._is_lost or self.transport.is_closing()):
            self.transport.resume_reading()

    # Writing

    def _write(self, data: bytes) -> None:
        """Send, when ``_flush`` is called, or now if there is much."""
        self._unsent += data
        if len(self._unsent) > UNSENT_LIMIT:
            self._flush()

    def _flush(self) -> None:
        data = self._unsent
        if data:
            self._unsent = b""
            if self._is_lost:
                return
            try:
                self.transport.write(data)
            except Exception:
                self._is_lost = self._has_eof = True  # else to say that it failed would fail, and so on for ever
                raise

    async def _drain(self) -> None:
        """Wait while the client does not read what we write; ``Disconnected`` when it is gone."""
        while self._writing_is_paused and not self._is_lost:
            await self._wait_for_reader()
        if self._is_lost:
            raise Disconnected("connection lost")

    async def _wait_for_reader(self) -> None:
        self._drained = self.loop.create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    def _end_drain(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # The end

    @property
    def is_gone(self) -> bool:
        """Whether the transport is closed."""
        return self._is_lost

    def _hang_up(self) -> None:
        """Close when what is unsent has been taken, or after ``CLOSING_TIME``."""
        self._flush()
        transport = self.transport
        # Asked before close(): asyncio's TLS transport fails here afterwards, if its connection is lost already and
        # nobody has told us yet (a client that leaves with the last octet of its handshake).
        unsent = 0 if self._is_lost else transport.get_write_buffer_size()
        if not transport.is_closing():
            transport.close()
        if unsent:
            self.loop.call_later(CLOSING_TIME, transport.abort)
