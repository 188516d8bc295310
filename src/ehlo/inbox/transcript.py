"""A session's dialogue, as it was spoken: who said what, and when.  Knows lines; does not know what becomes of them.

``RecordingSMTP`` is the server with a ``Tape`` running.  What a client says to log in is replaced by a mark before it
reaches the tape, also where it stands in the wrong place: in the argument of an AUTH that is refused, in lines that
follow one, in a header of the HTTP that somebody speaks to this port.  Mail data is a number of octets; the message is
kept elsewhere.

A line of the client carries the time when its last octets arrived, one of the server the time when it was written.  So
a line of the client that is older than the reply above it was sent without waiting for that reply.
"""

from __future__ import annotations

import re
import time
from collections import deque
from typing import TYPE_CHECKING, Literal, NamedTuple

from ehlo.errors import CommandSyntaxError, LineTooLong, TLSFailed
from ehlo.inbox.records import Line
from ehlo.net.tls import tls_info
from ehlo.protocol.commands import parse_command
from ehlo.protocol.framing import Framing
from ehlo.protocol.sasl import MECHANISMS
from ehlo.smtp import SMTP

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Iterator

UNDOUBLED_DOT = "a dot at the beginning of a line was not doubled, and is lost"
"""A note that ``ehlo.report`` knows."""
HEAD_LINES = 2000
"""Lines that are kept from the beginning of a session."""
TAIL_LINES = 200
"""Lines that are kept from its end, when there were more."""
HEAD_OCTETS = 256 * 1024
LINE_OCTETS = 4096
"""A longer line is cut."""

By = Literal["C", "S", "-"]

# Mechanisms that may be named: a word that is none of them could be the password itself.
_NAMED = {*MECHANISMS, "ANONYMOUS", "DIGEST-MD5", "GSSAPI", "NTLM", "SCRAM-SHA-1", "SCRAM-SHA-512", "XOAUTH"}
# RFC 5321 §4.2:  the last line of a reply = Reply-code [ SP textstring ] CRLF; 4yz and 5yz are refusals
_REFUSAL = re.compile(rb"^[45].. [^\r\n]*", re.MULTILINE)
# What is no command and looks like this is not shown: POP3, IMAP and HTTP have been spoken to SMTP servers.
_TELLTALE = re.compile(rb"auth|pass|login|token|cookie|secret|bearer|api-?key", re.IGNORECASE)


class _Note(NamedTuple):
    at: float
    by: By
    data: bytes


class Tape:
    """What was said so far: the first lines, and the last ones if there are more.

    ``at`` of its lines counts from ``began``, a time of the loop; ``started_at`` is the same in seconds since 1970.
    ``maybe_refusal`` is the first refusal in a sentence, known at any time: nobody has to read the tape for it.
    """

    __slots__ = ("_dropped", "_head", "_maybe_asked", "_octets", "_tail", "began", "maybe_refusal", "started_at")

    def __init__(self, began: float) -> None:
        self.began = began
        self.started_at = time.time()
        self._head: list[_Note] = []
        self._tail: deque[_Note] = deque(maxlen=TAIL_LINES)
        self._octets = 0
        self._dropped = 0
        self._maybe_asked: bytes | None = None
        self.maybe_refusal: str | None = None

    def note(self, at: float, by: By, data: bytes) -> None:
        """Write down one line, or several replies with their CRLFs."""
        if by == "C":
            self._maybe_asked = data
        elif by == "S" and self.maybe_refusal is None and (match := _REFUSAL.search(data)):
            self.maybe_refusal = f"{_verb_of(self._maybe_asked)} was refused: {_text(match[0][:LINE_OCTETS])}"
        if len(data) > LINE_OCTETS and by != "S":
            data = data[:LINE_OCTETS] + f" [and {len(data) - LINE_OCTETS} octets more]".encode()
        if len(self._head) < HEAD_LINES and self._octets < HEAD_OCTETS:
            self._head.append(_Note(at, by, data))
            self._octets += len(data)
            return
        self._dropped += len(self._tail) == TAIL_LINES
        self._tail.append(_Note(at, by, data))

    def lines(self) -> tuple[Line, ...]:
        """The dialogue, line by line."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[Line]:
        yield from self._split(self._head)
        tail = list(self._tail)  # at once: a session that goes on may be looked at from another thread
        if self._dropped:
            yield Line(round(tail[0].at - self.began, 6), "-", f"{self._dropped} lines are not kept")
        yield from self._split(tail)

    def _split(self, notes: list[_Note]) -> Iterator[Line]:
        for at, by, data in notes.copy():
            since = round(at - self.began, 6)
            if by == "S":
                for line in data.removesuffix(b"\r\n").split(b"\r\n"):
                    yield Line(since, by, _text(line[:LINE_OCTETS]))
            else:
                yield Line(since, by, _text(data))


def without_credentials(line: bytes, *, is_answer: bool, is_command: bool, follows_auth: bool) -> bytes:
    """A client's line as it may be kept.

    ``is_answer``: it answers a challenge.  ``is_command``: its verb is one that the server knows.  ``follows_auth``:
    the client has said AUTH before.
    """
    if is_answer:
        return line if line in {b"", b"*"} else _mark(line)
    start = line.lstrip()
    if start[:4].upper() == b"AUTH":
        words = line.split()
        mechanism = words[1].decode("latin-1").upper() if len(words) > 1 else ""
        if words[0].upper() != b"AUTH" or (mechanism and mechanism not in _NAMED):
            return b"AUTH " + _mark(start[4:].strip())
        rest = b" ".join(words[2:])
        if not rest:
            return line
        return b" ".join([*words[:2], rest if rest == b"=" else _mark(rest)])
    if not is_command and line and (follows_auth or _TELLTALE.search(line)):
        return _mark(line)
    return line


def address_text(address: object) -> str:
    """The address of a socket as text; empty for a UNIX socket without a name."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return str(address or "")


def _mark(secret: bytes) -> bytes:
    return f"[{len(secret)} octets, not kept]".encode()


def _verb_of(maybe_line: bytes | None) -> str:
    """What was refused, at the beginning of a sentence; None where the client has said nothing."""
    if maybe_line is None:
        return "The connection"
    verb = _text(maybe_line).partition(" ")[0].upper()[:20]
    return verb if verb.isalpha() else "A line"


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


class RecordingSMTP(SMTP):
    """``SMTP`` with a tape.

    It overrides what every octet of the dialogue passes through; the tests
    would notice if one found another way.
    """

    tape: Tape
    message_ids: list[int]
    inboxes: set[str]
    """What the catcher stored of this session, and where."""
    _arrived = 0.0
    _has_said_auth = False
    _data_octets = 0
    _has_lost_dot = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the tape: TLS may begin in here."""
        self.message_ids = []
        self.inboxes = set()
        self._arrived = time.monotonic()
        self.tape = Tape(self._arrived)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Know when octets arrived."""
        self._arrived = time.monotonic()
        super().data_received(data)

    @property
    def listener(self) -> str:
        """The address that the client connected to."""
        return address_text(self.transport.get_extra_info("sockname"))

    @property
    def listener_port(self) -> int:
        """The port of it; 0 for a UNIX socket."""
        address = self.transport.get_extra_info("sockname")
        return int(address[1]) if isinstance(address, tuple) else 0

    @property
    def has_bare_newline(self) -> bool:
        """Whether the mail data taken last had a CR or LF alone; of a BDAT, which may, never."""
        return self._framer.has_bare_newline

    def transcript(self) -> tuple[Line, ...]:
        """What was said so far."""
        if self._data_octets:
            self._note_data()
        return self.tape.lines()

    def note(self, text: str) -> None:
        """Write down something that nobody said."""
        self.tape.note(time.monotonic(), "-", text.encode("utf-8", "replace"))

    def _write(self, data: bytes) -> None:
        if self._data_octets:
            self._note_data()
        self.tape.note(time.monotonic(), "S", data)
        super()._write(data)

    async def _next_line(self, limit: int, timeout: float) -> bytes:
        if self._data_octets:
            self._note_data()
        is_answer = self._framer.state is Framing.SASL
        try:
            line = await super()._next_line(limit, timeout)
        except LineTooLong:
            self.note(f"a line of more than {limit} octets")
            raise
        except CommandSyntaxError as error:
            self.note(str(error))
            raise
        verb = _verb(line)
        kept = without_credentials(
            line, is_answer=is_answer, is_command=verb in self._verbs, follows_auth=self._has_said_auth
        )
        self._has_said_auth = self._has_said_auth or verb == "AUTH"
        self.tape.note(self._arrived, "C", kept)
        return line

    async def _next_data(self) -> bytes:
        data = await super()._next_data()
        self._data_octets += len(data)
        self._has_lost_dot = self._framer.has_undoubled_dot
        return data

    def _note_data(self) -> None:
        octets, self._data_octets = self._data_octets, 0
        self.note(f"{octets} octets of mail data")
        if self._has_lost_dot:
            self._has_lost_dot = False
            self.note(UNDOUBLED_DOT)

    async def _start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        try:
            await super()._start_tls(context, timeout)
        except TLSFailed as error:
            self.note(f"TLS failed: {error}")
            raise
        info = tls_info(self.transport)
        self.note(f"TLS: {info.version}, {info.cipher}" if info is not None else "TLS")


def _verb(line: bytes) -> str:
    try:
        return parse_command(line)[0]
    except CommandSyntaxError:
        return ""
