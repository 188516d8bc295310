"""The content of a message while it arrives. Knows limits and pieces; does not know verbs, replies or handlers.

``ContentReader`` gives what a connection delivers, piece by piece, within the limits.  ``read_all`` makes one object of
it for ``handle_DATA``; ``Chunks`` is the asynchronous iterator that ``handle_DATA_STREAM`` reads.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from io import SEEK_END, BytesIO
from typing import TYPE_CHECKING

from ehlo.errors import BareNewline, DataAborted, EhloError, MessageTooBig, ProtocolError
from ehlo.protocol.data import normalize_newlines
from ehlo.settings import BareNewlines, Settings

if TYPE_CHECKING:
    from ehlo.protocol.framing import Framer
    from ehlo.session import Envelope


class ContentLineTooLong(ProtocolError):
    """A line of mail data passes ``line_length_limit`` (RFC 5321 §4.5.3.1.6)."""

    code = 500
    enhanced = "5.6.0"
    text = "Line too long"


class ContentReader:
    """Reads one message, however many DATA or BDAT it takes, and enforces the limits while it does.

    ``size`` counts octets as the handler gets them, with transparency undone (RFC 1870 §5).
    """

    __slots__ = ("_drop", "_framer", "_is_chunked", "_line_length", "_next", "_settings", "size")

    def __init__(
        self,
        next_data: Callable[[], Awaitable[bytes]],
        drop_data: Callable[[], Awaitable[None]],
        framer: Framer,
        settings: Settings,
        *,
        is_chunked: bool = True,
    ) -> None:
        self._next = next_data
        self._drop = drop_data
        self._framer = framer
        self._settings = settings
        self._is_chunked = is_chunked
        self._line_length = 0
        self.size = 0

    async def read(self) -> bytes:
        """The next piece; b"" at the end.

        A violation is raised at once, as the ``ProtocolError`` that it is; the client can be told after the end only
        (RFC 5321 §4.2.5), so the caller goes on to ``give_up``.
        """
        piece = await self._next()
        settings = self._settings
        has_bare_newline = self._framer.has_bare_newline
        if has_bare_newline and settings.bare_newlines is BareNewlines.NORMALIZE:
            piece = normalize_newlines(piece)
        self.size += len(piece)
        if settings.data_size_limit is not None and self.size > settings.data_size_limit:
            raise MessageTooBig
        if has_bare_newline and settings.bare_newlines is BareNewlines.REFUSE:
            raise BareNewline
        if settings.line_length_limit is not None:
            self._check_lines(piece, settings.line_length_limit)
        return piece

    @property
    def is_over(self) -> bool:
        """Whether the end of mail data has been read; of chunks, nobody knows before the next is asked for."""
        return not self._is_chunked and not self._framer.expects_data()

    async def skip(self) -> None:
        """Read what is left of the message, for nobody."""
        while await self._next():
            pass

    async def give_up(self) -> None:
        """Drop what is on its way: all that is left of DATA, but only the present chunk of BDAT."""
        await self._drop()

    def _check_lines(self, piece: bytes, limit: int) -> None:
        first, *others = piece.split(b"\n")
        longest = max([self._line_length + len(first), *map(len, others)])
        self._line_length = len(others[-1]) if others else self._line_length + len(first)
        if longest + (1 if others else 0) > limit:
            raise ContentLineTooLong


_ROOM_FROM = 4 * 1024 * 1024
_ROOM = 34 * 1024 * 1024


async def read_all(reader: ContentReader) -> bytes:
    """The whole content as one object.

    One piece is given as it is.  More are gathered in a ``BytesIO``, which grows in place and gives up its buffer
    without a copy: 100 MB take 100 MB and no step of it takes a millisecond, where joining a list takes twice the
    memory and stops the loop for 90 ms.

    In place, if the system can move its pages: glibc does that for blocks of more than 32 MB at any time, but for
    smaller ones only until the first of that size was freed, and then 40 MB are copied at once when they have become
    too large for the heap (17 ms).  So what is large gets a block of that size early: zeros that are nowhere yet,
    which take memory only as they are filled.
    """
    first = await reader.read()
    second = await reader.read() if first and not reader.is_over else b""
    if not second:
        return first
    gathered = BytesIO(first)
    gathered.seek(0, SEEK_END)
    while second and gathered.tell() < _ROOM_FROM:
        gathered.write(second)
        second = await reader.read()
    if second:
        beginning, gathered = gathered.getvalue(), BytesIO(bytes(_ROOM))
        gathered.write(beginning)
        del beginning
        while second:
            gathered.write(second)
            second = await reader.read()
        gathered.truncate()
    return gathered.getvalue()


LARGE = 8 * 1024 * 1024
"""Octets of a content whose memory is not given back at once: the system takes 80 us for each MB."""

# Who refers to an object that nobody keeps: its owner, the one who looks, and the call of getrefcount.  Newer versions
# of Python do not count all of these, so that a handler who keeps it might be overlooked: there it is freed at once.
_NOBODYS = 3 if sys.version_info < (3, 14) else 0


def give_back(envelope: Envelope, loop: asyncio.AbstractEventLoop) -> None:
    """Let go of a large content in several steps of the loop, if nobody keeps it; its transaction is over.

    100 MB at once stop the loop for 8 ms.  Freeing in a thread does not help, since no other thread runs meanwhile.
    But a ``BytesIO`` shrinks in place when it loses more than half of what it has.
    """
    content = envelope.content
    if type(content) is not bytes or len(content) < LARGE:
        return
    if sys.getrefcount(envelope) > _NOBODYS or sys.getrefcount(content) > _NOBODYS:
        return
    envelope.content = None
    remains = BytesIO(content)  # shares the memory, until one of them changes
    del content
    loop.call_soon(_shrink, remains, loop)


def _shrink(remains: BytesIO, loop: asyncio.AbstractEventLoop) -> None:
    size = remains.seek(0, SEEK_END) // 2 - 1
    if size < LARGE // 2:
        return
    remains.truncate(size)
    loop.call_soon(_shrink, remains, loop)


class Chunks:
    """What ``handle_DATA_STREAM`` iterates over: the content in pieces of up to some 300 KiB, as they come.

    The iteration ends normally only after the end of data.  Otherwise it raises ``DataAborted``, and ``failure`` is
    why: the client is gone, took too long, or the content breaks a limit.
    """

    __slots__ = ("_is_closed", "_reader", "failure", "is_complete")

    def __init__(self, reader: ContentReader) -> None:
        self._reader = reader
        self.failure: EhloError | None = None
        self.is_complete = False
        self._is_closed = False

    def __aiter__(self) -> Chunks:
        """It is its own iterator."""
        return self

    async def __anext__(self) -> bytes:
        """The next piece."""
        if self.failure is not None:
            raise DataAborted(str(self.failure))
        if self.is_complete:
            raise StopAsyncIteration
        if self._is_closed:
            raise DataAborted("the hook has returned")
        try:
            piece = await self._reader.read()
        except EhloError as error:
            if not self._is_closed:
                self.failure = error
            raise DataAborted(str(error)) from error
        if self._is_closed:
            raise DataAborted("the hook has returned")
        if not piece:
            self.is_complete = True
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """The hook has returned: a task that it left behind gets nothing more, least of all of the next message."""
        self._is_closed = True

    @property
    def size(self) -> int:
        """Octets given so far."""
        return self._reader.size
