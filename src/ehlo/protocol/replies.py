"""Replies. Knows codes, enhanced status codes, lines and their encoding; does not know who says them or why.

A reply is written by a programmer as a status, ``"250 OK"`` or ``"550 5.7.1 Not here"``, or as a ``Reply`` when it
has several lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

# RFC 5321 §4.5.3.1.5: a reply line, with its code and CRLF.
REPLY_LINE_LIMIT = 512

# RFC 5321 §4.2:
#   Reply-line  = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
#   Reply-code  = %x32-35 %x30-35 %x30-39
# RFC 3463 §2:
#   status-code = class "." subject "." detail
#   class       = "2" / "4" / "5"
#   subject     = 1*3DIGIT
#   detail      = 1*3DIGIT
# textstring is HTAB and printable ASCII; RFC 6531 §3.7.4.2 adds UTF-8.  Control characters are what splits replies.
_STATUS = re.compile(
    r"(?P<code>[2-5][0-5][0-9])"
    r"(?:\ (?P<enhanced>[245]\.[0-9]{1,3}\.[0-9]{1,3})(?=\ |\Z))?"
    r"(?:\ (?P<text>[^\x00-\x08\x0a-\x1f\x7f]*))?",
    re.VERBOSE,
)
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of one or more lines (RFC 5321 §4.2).

    ``enhanced`` is the enhanced status code (RFC 2034), or None to let the server choose the one of the class
    (``2.0.0``, ``4.0.0``, ``5.0.0``).  ``lines`` hold text only: no codes, no CR, LF or NUL.
    """

    code: int
    enhanced: str | None
    lines: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what would break the wire: ``ValueError``."""
        if not (200 <= self.code <= 559 and self.code % 100 < 60):
            raise ValueError(f"no reply code of RFC 5321 §4.2: {self.code}")
        if self.enhanced is not None and not _ENHANCED.fullmatch(self.enhanced):
            raise ValueError(f"no enhanced status code of RFC 3463 §2: {self.enhanced!r}")
        if self.enhanced is not None and self.enhanced[0] != str(self.code)[0]:
            raise ValueError(f"enhanced status code {self.enhanced!r} is not of the class of {self.code}")
        if not self.lines:
            raise ValueError("a reply has at least one line")
        for line in self.lines:
            if _CONTROL.search(line):
                raise ValueError("a reply line holds a control character")

    @classmethod
    def parse(cls, status: str) -> Reply:
        """Make a reply of ``"250 2.0.0 OK"`` or ``"250 OK"``; ``ValueError`` when it is no code plus text."""
        match = _STATUS.fullmatch(status)
        if match is None:
            raise ValueError("a status is a reply code, a space and one line of text")
        return cls(int(match["code"]), match["enhanced"], (match["text"] or "",))

    @property
    def text(self) -> str:
        """The lines, joined by LF: for logs, not for the wire."""
        return "\n".join(self.lines)

    @property
    def is_positive(self) -> bool:
        """2yz: done."""
        return 200 <= self.code < 300

    @property
    def is_intermediate(self) -> bool:
        """3yz: go on."""
        return 300 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        """4yz: try again later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: do not try again."""
        return self.code >= 500

    def __str__(self) -> str:
        """As a status, lines joined by " / ": for logs."""
        return " ".join(filter(None, (str(self.code), self.enhanced, " / ".join(self.lines))))

    def encode(self, *, with_enhanced: bool = True, utf8: bool = False) -> bytes:
        """Octets for the wire.

        ``with_enhanced``: an enhanced status code on every line of 2yz, 4yz and 5yz (RFC 2034 §4); the greeting and
        the replies to HELO and EHLO have none.  ``utf8``: the client asked for SMTPUTF8 (RFC 6531 §3.7.4.2);
        otherwise what is not ASCII becomes "?".
        """
        prefix = ""
        if with_enhanced and not self.is_intermediate:
            prefix = (self.enhanced or f"{self.code // 100}.0.0") + " "
        room = REPLY_LINE_LIMIT - len("250-") - len(prefix) - len("\r\n")
        charset, errors = ("utf-8", "strict") if utf8 else ("ascii", "replace")
        lines = [prefix.encode() + piece for line in self.lines for piece in _split(line.encode(charset, errors), room)]
        code = b"%d" % self.code
        return b"".join([code + b"-" + line + b"\r\n" for line in lines[:-1]] + [code + b" " + lines[-1] + b"\r\n"])


class EncodedReply(NamedTuple):
    """A status ready to be sent."""

    code: int
    data: bytes


@lru_cache(maxsize=1024)
def encode_status(status: str, *, utf8: bool = False) -> EncodedReply:
    """The octets of a status.  Cached, since servers say the same few things.  ``ValueError`` as ``Reply.parse``."""
    reply = Reply.parse(status)
    return EncodedReply(reply.code, reply.encode(utf8=utf8))


def _split(text: bytes, room: int) -> list[bytes]:
    """Cut text that is longer than a reply line into several, never inside a UTF-8 sequence."""
    pieces = []
    while len(text) > room:
        cut = room
        while text[cut] & 0xC0 == 0x80:
            cut -= 1
        pieces.append(text[:cut])
        text = text[cut:]
    return [*pieces, text]
