"""Mail data. Knows where it ends and how dots are hidden; does not know replies, sizes, sessions or time.

The end of mail data is CRLF "." CRLF and nothing else (RFC 5321 §4.1.1.4), and a line that begins with a dot has
one dot too many (§4.5.2).  Both are done on whole chunks, as they come from the network, never line by line:

* *Look*: split what is held back from before plus the new chunk at each LF ".".  Most chunks have none: nothing ends in
  them, and nothing is hidden.
* *Search* for the terminator where some part begins with CR, or where there are more dots than a few.
* *Hold back*: if it is not there, the last one to four octets may be its beginning (CR, CRLF, CRLF., CRLF.CR).
  They wait for the next chunk, so no octet is searched twice but those.
* *Unstuff*: in what is given out, every CRLF "." is a hidden dot, because the one that was not hidden is the end.  The
  few parts are joined without it.  A bare LF hides nothing: if there is one, each CRLF "." is looked for instead.

The first line has no CRLF before it, yet its dot counts.  So the decoder starts as if it held back a CRLF, and
leaves those two octets out of the first piece that it gives.
"""

from __future__ import annotations

import re
from io import IncrementalNewlineDecoder

END_OF_DATA = b"\r\n.\r\n"

_HELD_BACK = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
_DOTTED_LINE = re.compile(rb"\n\.")
# More splits than these cost more than looking through the whole chunk twice.  At least 2: the end and a hidden dot.
_FEW = 32
_DOT = ord(".")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class MailDataDecoder:
    """Octets after a 354 in, message content out.

    ``feed`` gives the content that is certain by now.  When the end was found ``rest`` is what came behind it (b""
    if nothing did); until then it is None.  ``has_bare_newline`` tells whether a CR without LF or a LF without CR
    was seen so far (RFC 5321 §2.3.8): such octets never end the data, but another server might think that they do.
    ``has_undoubled_dot`` tells whether a line began with one dot, which is lost then (§4.5.2); where dots are many,
    only the first ones of a chunk are looked at.
    """

    __slots__ = ("_held", "_is_first", "has_bare_newline", "has_undoubled_dot", "rest")

    def __init__(self) -> None:
        self._held = b"\r\n"
        self._is_first = True
        self.has_bare_newline = False
        self.has_undoubled_dot = False
        self.rest: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """Take octets as they came, in any cut, and give the content that they complete (perhaps b"")."""
        if self._held:
            data = self._held + data
        parts = _DOTTED_LINE.split(data, _FEW)
        end = data.find(END_OF_DATA) if len(parts) > 1 and _may_end(parts) else -1
        if end >= 0:
            self.rest = data[end + len(END_OF_DATA) :]
            self._held = b""
            piece = data[: end + 2]
            is_stuffed = len(parts) > 2
        else:
            self._held = held = _beginning_of_end(data)
            piece = data[: -len(held)] if held else data
            is_stuffed = len(parts) > 1
        if is_stuffed:
            if not self.has_undoubled_dot and _has_undoubled_dot(parts):
                self.has_undoubled_dot = True
            piece = self._unstuff(piece, parts if end < 0 else None)
        elif not self.has_bare_newline and has_bare_newline(piece):
            self.has_bare_newline = True
        if self._is_first and piece:
            # Never a single octet: a lone CR of the CRLF that we put in front would have been held back.
            self._is_first = False
            return piece[2:]
        return piece

    def _unstuff(self, piece: bytes, maybe_parts: list[bytes] | None) -> bytes:
        """Take the hidden dots out.  ``maybe_parts`` are those of the piece and of what is held back behind it."""
        if maybe_parts is not None and len(maybe_parts) <= _FEW and not self.has_bare_newline:
            joined = b"\n".join(maybe_parts)
            # What is held back has lost its dot in this, if it has one.
            unstuffed = joined[: len(joined) - len(self._held) + self._held.count(b".")]
            if not has_bare_newline(unstuffed):
                return unstuffed
        if not self.has_bare_newline and has_bare_newline(piece):
            self.has_bare_newline = True
        return piece.replace(b"\r\n.", b"\r\n")


def has_bare_newline(piece: bytes) -> bool:
    """Whether some CR or LF is not half of a CRLF.  ``piece`` must not be cut inside a CRLF.

    The standard library has a decoder for universal newlines that notes which it has seen.  Asking it costs 0.3 ms per
    MB; counting CR, LF and CRLF costs 1.6, a pattern search 6 and more.
    """
    decoder = IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(piece.decode("latin-1"), final=True)
    return decoder.newlines not in {None, "\r\n"}


def normalize_newlines(content: bytes) -> bytes:
    """Make every bare CR and bare LF a CRLF.  ``content`` must not be cut inside a CRLF."""
    return _BARE.sub(b"\r\n", content)


def _may_end(parts: list[bytes]) -> bool:
    """Whether the terminator may be in what was split into these parts."""
    if len(parts) > _FEW:
        return True
    for part in parts[1:]:  # noqa: SIM110 - any() costs a small message a microsecond
        if part.startswith(b"\r"):  # and not CRLF, whose LF may be where the next split was
            return True
    return False


def _has_undoubled_dot(parts: list[bytes]) -> bool:
    """Whether some CRLF "." before the terminator has anything behind it but a dot."""
    before = parts[0]
    for part in parts[1:]:
        if part and part[0] != _DOT and before.endswith(b"\r"):
            # Behind the terminator the data are over.
            return part != b"\r" and not part.startswith(b"\r\n")
        before = part
    return False


def _beginning_of_end(data: bytes) -> bytes:
    """The longest end of ``data`` that may be the beginning of the terminator."""
    for beginning in _HELD_BACK:
        if data.endswith(beginning):
            return beginning
    return b""
