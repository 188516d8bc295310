"""Mail data within aiosmtpd's limits. Knows octets; does not know replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ehlo.content import ContentLineTooLong, ContentReader, read_all
from ehlo.errors import MessageTooBig
from ehlo.settings import Settings

if TYPE_CHECKING:
    from ehlo.protocol.framing import Framer

_SETTINGS = Settings()


class MailData(ContentReader):
    """The octets behind a 354, line ends and all else as they came; ``size_limit`` None or 0 is any."""

    __slots__ = ("_line_limit", "_size_limit")

    def __init__(
        self,
        next_data: Callable[[], Awaitable[bytes]],
        drop_data: Callable[[], Awaitable[None]],
        framer: Framer,
        *,
        size_limit: int | None,
        line_limit: int,
    ) -> None:
        super().__init__(next_data, drop_data, framer, _SETTINGS, is_chunked=False)
        self._size_limit = size_limit
        self._line_limit = line_limit

    async def read(self) -> bytes:
        """The next piece; raises ``MessageTooBig`` or ``ContentLineTooLong``, whichever the client did first."""
        piece = await self._next()
        room = None if not self._size_limit else self._size_limit - self.size
        self.size += len(piece)
        if room is None or len(piece) <= room:
            self._check_lines(piece, self._line_limit)
            return piece
        before, newline, _ = piece[:room].rpartition(b"\r\n")
        whole_lines = len(before) + len(newline)
        self._check_lines(piece[:whole_lines], self._line_limit)
        # The line that passes the limit of size may be two octets longer, and perhaps there is more of it to come.
        line = piece[whole_lines:]
        while b"\r\n" not in line and len(line) <= self._line_limit and (more := await self._next()):
            line += more
        self._check_lines(line.partition(b"\r\n")[0], self._line_limit + 2)
        raise MessageTooBig

    async def read_all(self) -> bytes:
        """All of it.  A violation is raised behind the end of data, and nothing is kept until then."""
        try:
            return await read_all(self)
        except (MessageTooBig, ContentLineTooLong):
            await self.give_up()
            raise

    def _check_lines(self, piece: bytes, limit: int) -> None:
        """Go through a piece in leaps: from the beginning of a line to the last CRLF that it can reach within limits.

        The decoder never cuts a CRLF in two, and the last line of mail data has one too.
        """
        start = -self._line_length
        while len(piece) - start + 2 > limit:
            end = piece.rfind(b"\r\n", max(start, 0), max(start + limit, 0))
            if end < 0:
                raise ContentLineTooLong
            start = end + 2
        end = piece.rfind(b"\r\n", max(start, 0))
        self._line_length = len(piece) - (start if end < 0 else end + 2)
