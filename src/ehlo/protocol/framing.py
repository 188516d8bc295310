"""Framing: what the next octets mean. Knows octets and states; does not know verbs, replies, sessions or time.

At any moment a server expects one of these, and nothing else:

    COMMAND   a command line, up to CRLF
    SASL      a line that answers a 334, up to CRLF
    DATA      mail data after a 354, up to CRLF "." CRLF
    CHUNK     the octets of a BDAT command, a number known beforehand (RFC 3030 §2)
    TLS       a TLS handshake: no octet of plain text means anything any more (RFC 3207 §4.2)
    CLOSED    nothing

``TRANSITIONS`` says which may follow which.  A change that is not in it is a bug of ours and raises ``RuntimeError``,
before an octet is read in the wrong sense: a server that takes mail data for commands, or the reverse, is what SMTP
smuggling and STARTTLS injection live on.

The framer is pulled: octets go in with ``receive`` in whatever cut the network made, and the server takes a line or a
piece of data when it is ready for it.  So octets behind a DATA or STARTTLS command are not looked at until the server
has decided what they are.
"""

from __future__ import annotations

from enum import IntEnum

from ehlo.errors import CommandSyntaxError, LineTooLong
from ehlo.protocol.data import MailDataDecoder

PIECE_SIZE = 64 * 1024
"""Most octets of mail data that are decoded at a time.  Larger ones cost more, not less: malloc takes what the passes
over them need from the system afresh, page by page."""

REFUSED_LINE_SIZE = 32

_CR = 0x0D


class Framing(IntEnum):
    """What the next octets are."""

    COMMAND = 0
    SASL = 1
    DATA = 2
    CHUNK = 3
    TLS = 4
    CLOSED = 5


# By these names below: what a class attribute costs a few nanoseconds, a member of an enumeration costs a hundred.
_COMMAND, _SASL, _DATA, _CHUNK, _TLS, _CLOSED = Framing

TRANSITIONS: dict[Framing, frozenset[Framing]] = {
    Framing.COMMAND: frozenset({Framing.SASL, Framing.DATA, Framing.CHUNK, Framing.TLS, Framing.CLOSED}),
    Framing.SASL: frozenset({Framing.COMMAND, Framing.CLOSED}),
    Framing.DATA: frozenset({Framing.COMMAND, Framing.CLOSED}),
    Framing.CHUNK: frozenset({Framing.COMMAND, Framing.CLOSED}),
    Framing.TLS: frozenset({Framing.COMMAND, Framing.CLOSED}),
    Framing.CLOSED: frozenset(),
}


class Framer:
    """Cuts the octets of one client into lines and mail data.

    The unread octets are ``_buffer[_position:]``; ``_searched`` is how far a line's end has been looked for, so that
    a line that comes octet by octet is not searched from its beginning each time.  The buffer is one ``bytes``
    object: in the usual case of one line or one chunk at a time it is the very object that the transport delivered,
    and it never grows past what ``ehlo.net.flow`` lets a client be ahead of us.
    """

    __slots__ = ("_buffer", "_chunk_left", "_data", "_position", "_searched", "_skips_line", "refused_line", "state")

    def __init__(self) -> None:
        self.state = _COMMAND
        self._buffer = b""
        self._position = 0
        self._searched = 0
        self._skips_line = False
        self._data: MailDataDecoder | None = None
        self._chunk_left = 0
        self.refused_line = b""
        """The beginning of the line that was refused last: enough to tell what it was meant to be."""

    @property
    def buffered(self) -> int:
        """How many octets wait to be taken."""
        return len(self._buffer) - self._position

    def expects_data(self) -> bool:
        """Whether mail data or a chunk is not over yet."""
        return self.state is _DATA or self.state is _CHUNK

    @property
    def has_bare_newline(self) -> bool:
        """Whether the mail data taken last hold a CR without LF or a LF without CR; never true of chunks."""
        return self._data is not None and self._data.has_bare_newline

    @property
    def has_undoubled_dot(self) -> bool:
        """Whether a line of the mail data taken last began with a single dot, which was lost; never true of chunks."""
        return self._data is not None and self._data.has_undoubled_dot

    def receive(self, data: bytes) -> None:
        """Take octets from the network, in any cut."""
        if self.state is _CLOSED:
            return
        if self._position == len(self._buffer):
            self._buffer = data
            self._searched = 0
        else:
            self._buffer = self._buffer[self._position :] + data
            self._searched -= self._position
        self._position = 0

    def discard(self) -> int:
        """Drop what waits; tell how many octets that was."""
        dropped = self.buffered
        self._buffer = b""
        self._position = self._searched = 0
        return dropped

    def expect(self, state: Framing) -> None:
        """Say what the next octets are.

        TLS drops what came before the handshake.  From then on octets are kept again, because a transport may
        deliver the first decrypted ones before it says that the handshake is over; none is given out until COMMAND.
        """
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"framing cannot go from {self.state.name} to {state.name}")
        self.state = state
        self._data = MailDataDecoder() if state is _DATA else None
        if state is _TLS or state is _CLOSED:
            self.discard()

    def expect_chunk(self, size: int) -> None:
        """Say that the next ``size`` octets are the chunk of a BDAT command; with 0 a command comes next."""
        self.expect(_CHUNK)
        self._chunk_left = size
        if size == 0:
            self.state = _COMMAND

    def next_line(self, limit: int) -> bytes | None:
        """Take a command line or SASL line, without its CRLF; None when it is not there yet.

        Raises ``LineTooLong`` when it passes ``limit`` octets with its CRLF, and ``CommandSyntaxError`` when it holds
        NUL, or a CR or LF that is not part of its end.  Either way all up to the next CRLF is dropped, so that no
        piece of a bad line is ever taken for a line: the client that sent ``RCPT TO:<x`` LF ``DATA`` CRLF may have
        been fooled by someone else into sending it.
        """
        if self.state > _SASL:
            raise RuntimeError(f"no line is expected in {self.state.name}")
        buffer, start = self._buffer, self._position
        if start == len(buffer):
            return None
        while (end := buffer.find(b"\n", self._searched)) >= 0:
            self._position = self._searched = end + 1
            ends_in_crlf = end > start and buffer[end - 1] == _CR
            if self._skips_line:
                self._skips_line = not ends_in_crlf
                start = end + 1
                continue
            line = buffer[start : end - 1]
            if ends_in_crlf and end - start < limit and b"\r" not in line and b"\0" not in line:
                return line
            self._skips_line = not ends_in_crlf
            self.refused_line = buffer[start : min(end, start + REFUSED_LINE_SIZE)]
            if end - start >= limit:
                raise LineTooLong
            if not ends_in_crlf:
                raise CommandSyntaxError("bare LF in a line", text="Lines must end with CRLF")
            raise CommandSyntaxError("bare CR or NUL in a line")
        self._wait_for_line_end(limit)
        return None

    def next_data(self) -> bytes:
        """Take what is there of mail data or a chunk, transparency undone; b"" when nothing is certain yet.

        With the last of it ``state`` becomes COMMAND.
        """
        if self.state is _DATA:
            return self._next_mail_data()
        if self.state is _CHUNK:
            return self._next_chunk_data()
        raise RuntimeError(f"no data are expected in {self.state.name}")

    def _wait_for_line_end(self, limit: int) -> None:
        """Remember what needs no second look; refuse a line that is too long already, and drop what follows of it."""
        unread = self.buffered
        if not self._skips_line and unread < limit:
            self._searched = len(self._buffer)
            return
        was_skipping, self._skips_line = self._skips_line, True
        if not was_skipping:
            self.refused_line = self._buffer[self._position : self._position + REFUSED_LINE_SIZE]
        # A CR at the end may be half of the CRLF that ends the bad line.
        kept = b"\r" if self._buffer.endswith(b"\r") and unread else b""
        self.discard()
        self._buffer = kept
        self._searched = len(kept)
        if not was_skipping:
            raise LineTooLong

    def _next_mail_data(self) -> bytes:
        decoder, buffer = self._data, self._buffer
        assert decoder is not None
        content = b""
        while not content and self._position < len(buffer):
            piece = buffer[self._position : self._position + PIECE_SIZE]
            self._position += len(piece)
            content = decoder.feed(piece)
            if decoder.rest is not None:
                self._position -= len(decoder.rest)
                self.state = _COMMAND
                break
        self._searched = self._position
        return content

    def _next_chunk_data(self) -> bytes:
        start = self._position
        data = self._buffer[start : start + self._chunk_left]
        self._chunk_left -= len(data)
        self._position = self._searched = start + len(data)
        if self._chunk_left == 0:
            self.state = _COMMAND
        return data
