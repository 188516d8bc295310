"""What a session must have said and done, worked out anew from the octets that the client sent.

It walks along what was sent and what was answered, in step.  A command line gets one reply; 354 makes mail data of what
follows, up to CRLF "." CRLF; 334 makes a SASL line of it; BDAT makes so many octets a chunk, whatever the reply.  It
shares no code with the server: CRLF is looked for in all octets at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from ehlo import BareNewlines
from fuzz.checks import Violation, require
from fuzz.targets.commands import BDAT

if TYPE_CHECKING:
    from fuzz.conversation import Conversation

_REPLY_LINE: Final = re.compile(rb"([2-5][0-5][0-9])([ -])([^\r\n\0]*)\r\n")
_ENHANCED: Final = re.compile(rb"([245])\.[0-9]{1,3}\.[0-9]{1,3} ")
_ANY_NEWLINE: Final = re.compile(rb"\r\n|\r|\n")
_REPLY_LINE_LIMIT: Final = 512
_COMMAND_LIMIT: Final = 512
_LINE_LIMIT: Final = 12288
_GREETINGS: Final = {"HELO", "EHLO", "LHLO"}


class Reply(NamedTuple):
    """A code, and the text of each line."""

    code: int
    texts: tuple[bytes, ...]


class Line(NamedTuple):
    """A command line that was sent; ``begins_data``: a message, or the next chunk of one, came behind it."""

    verb: str
    line: bytes
    begins_data: bool = False


class Message(NamedTuple):
    """A message that was sent whole, and how it was answered; ``begins_at``: the index of its DATA or first BDAT."""

    content: bytes
    is_chunked: bool
    begins_at: int
    codes: tuple[int, ...]

    @property
    def is_accepted(self) -> bool:
        return any(code < 300 for code in self.codes)


def account(conversation: Conversation) -> list[Line | Message]:
    """What was sent, taken apart; ``Violation`` if what was answered does not fit it."""
    walk = _Walk(conversation)
    try:
        walk.run()
    except _Over:
        require(conversation.was_closed_by_server, "an answer is missing")
        require(not walk.replies, "replies after the end")
        walk.add_unanswered()
    return walk.items


def check_events(conversation: Conversation, items: list[Line | Message]) -> None:
    """Require that every call of a hook is for something that was sent, in this order, and none for mail data.

    And that every message which was accepted has reached the handler, as it was sent.
    """
    left = iter(enumerate(items))
    arrived: dict[int, tuple[str, object]] = {}
    for verb, arg in conversation.notes.events:
        index = next((index for index, item in left if _fits(conversation, item, verb, arg)), None)
        if index is None:
            raise Violation(f"{verb} with {arg!r} was called, and is not what was sent")
        arrived[index] = verb, arg
    for index, item in enumerate(items):
        if isinstance(item, Line):
            continue
        verb, arg = arrived.get(item.begins_at, ("", None))
        if verb == "DATA_BEGUN":  # all that the handler wanted of it
            require(isinstance(arg, bytes) and _as_handled(conversation, item).startswith(arg), "another message")
        else:
            require(index in arrived or not item.is_accepted, f"accepted, and nobody has got it: {item.content!r}")


def _fits(conversation: Conversation, item: Line | Message, verb: str, arg: object) -> bool:
    if isinstance(item, Line):
        if verb == "DATA_BEGUN":
            return item.begins_data
        said = item.verb if item.verb != "LHLO" else "EHLO"
        return said == verb and (arg is None or str(arg).encode() in item.line)
    has_bare = _ANY_NEWLINE.sub(b"\r\n", item.content) != item.content and not item.is_chunked
    is_refused = has_bare and conversation.config.bare_newlines is BareNewlines.REFUSE
    limit = conversation.config.data_size_limit
    is_too_big = limit is not None and len(item.content) > limit
    return verb == "DATA" and arg == _as_handled(conversation, item) and not is_refused and not is_too_big


def _as_handled(conversation: Conversation, message: Message) -> bytes:
    if conversation.config.bare_newlines is BareNewlines.NORMALIZE and not message.is_chunked:
        return _ANY_NEWLINE.sub(b"\r\n", message.content)
    return message.content


def parse_replies(wire: bytes) -> list[Reply]:
    """The replies that were said; ``Violation`` if a line is none."""
    replies = []
    texts: list[bytes] = []
    position = 0
    maybe_code = b""
    while position < len(wire):
        match = _REPLY_LINE.match(wire, position)
        if match is None:
            raise Violation(f"no reply line: {wire[position : position + 80]!r}")
        require(len(match[0]) <= _REPLY_LINE_LIMIT, f"a reply line of {len(match[0])} octets")
        require(not texts or maybe_code == match[1], "a reply of two codes")
        maybe_code = match[1]
        texts.append(match[3])
        position = match.end()
        if match[2] == b" ":
            replies.append(Reply(int(match[1]), tuple(texts)))
            texts = []
    require(not texts, "the last reply does not end")
    return replies


class _Over(Exception):
    """The server has closed."""


@dataclass
class _Transaction:
    """What decides how many replies a message gets."""

    is_begun: bool = False
    recipients: int = 0
    chunks: bytes = b""
    begins_at: int | None = None


class _Walk:
    """See the module's text."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._sent = b"".join(conversation.pieces)
        self._ends = list(accumulate(map(len, conversation.pieces)))
        self._position = 0
        self._is_extended = False
        self._has_chunking = False
        self._transaction = _Transaction()
        self.replies = parse_replies(conversation.wire)
        self.items: list[Line | Message] = []

    def run(self) -> None:
        greeting = self._reply("a greeting")
        require(greeting.code in {220, 421, 554}, f"greeted with {greeting.code}")
        while (line := self._line()) is not None:
            self._command(line)
        self._end()

    def add_unanswered(self) -> None:
        """A connection that was cut is noticed at a reply, and the greeting after XCLIENT does not wait."""
        last = self.items[-1] if self.items else None
        if isinstance(last, Line) and last.verb == "XCLIENT" and (line := self._line()) is not None:
            self.items.append(Line(_verb(line), line))

    def _line(self) -> bytes | None:
        """The next line without CRLF; None when there is no whole one."""
        end = self._sent.find(b"\r\n", self._position)
        if end < 0:
            return None
        line = self._sent[self._position : end]
        self._position = end + 2
        return line

    def _reply(self, to: object) -> Reply:
        if not self.replies:
            if self._conversation.was_closed_by_server:
                raise _Over
            raise Violation(f"no answer to {to!r}")
        reply = self.replies.pop(0)
        if reply.code == 421 and not self.replies and self._conversation.was_closed_by_server:
            raise _Over
        return reply

    def _end(self) -> None:
        """See whether anything is left, when all whole lines are answered: of what was sent, or of what was said."""
        rest = self._sent[self._position :]
        if b"\n" in rest or len(rest) >= _LINE_LIMIT:
            self._reply(rest[:80])  # it is wrong already, wherever it ends
        self._nothing_more()

    def _nothing_more(self) -> None:
        if [reply.code for reply in self.replies] == [421] and self._conversation.was_closed_by_server:
            self.replies.clear()
        require(not self.replies, f"nobody asked for {self.replies}")

    def _command(self, line: bytes) -> None:
        verb = _verb(line)
        if verb == "BDAT":
            self._chunk(line)
            return
        self.items.append(Line(verb, line))
        reply = self._reply(line[:80])
        self._check_enhanced(verb, reply)
        if verb == "DATA" and reply.code == 354:
            self.items[-1] = Line(verb, line, begins_data=True)
            self._transaction.begins_at = len(self.items) - 1
            self._data()
        elif verb == "AUTH":
            while reply.code == 334:
                answer = self._line()
                if answer is None:
                    return
                reply = self._reply("a SASL line")
        elif verb == "QUIT" and reply.code == 221:
            self._nothing_more()
            raise _Over
        self._change_state(verb, line, reply)

    def _change_state(self, verb: str, line: bytes, reply: Reply) -> None:
        transaction = self._transaction
        is_done = reply.code < 300
        if verb in _GREETINGS and is_done:
            self._is_extended = verb != "HELO"
            self._has_chunking = self._is_extended and b"CHUNKING" in (text.upper() for text in reply.texts[1:])
            self._transaction = _Transaction()
        elif verb == "MAIL" and is_done:
            self._transaction = _Transaction(is_begun=True)
        elif verb == "RCPT" and is_done:
            require(transaction.is_begun, "RCPT without MAIL")
            transaction.recipients += 1
        elif verb == "RSET" and reply.code != 503 and not line[4:].strip() and len(line) + 2 <= _COMMAND_LIMIT:
            self._transaction = _Transaction()
        elif verb in {"STARTTLS", "XCLIENT"} and reply.code == 220:
            self._is_extended = self._has_chunking = False
            self._transaction = _Transaction()
            if verb == "STARTTLS":
                # What came with it was in plain text, and must be forgotten.
                self._position = next(end for end in self._ends if end >= self._position)

    def _data(self) -> None:
        # The CRLF of the command line is before the first line of mail data.
        end = self._sent.find(b"\r\n.\r\n", self._position - 2)
        if end < 0:
            self._position = len(self._sent)
            return
        raw = self._sent[self._position - 2 : end + 2]
        self._position = end + 5
        self._finish(raw.replace(b"\r\n.", b"\r\n")[2:], is_chunked=False)

    def _chunk(self, line: bytes) -> None:
        match = BDAT.fullmatch(line)
        if match is None:
            reply = self._reply(line[:80])
            is_utf8 = _is_utf8(line)
            require(reply.code == (501 if is_utf8 else 500), f"{reply.code} to a BDAT that makes no sense")
            if is_utf8:
                self._nothing_more()
                raise _Over
            return
        size = int(match[1])
        chunk = self._sent[self._position : self._position + size]
        self._position += len(chunk)
        if len(chunk) < size:
            return  # RFC 3030 §2: a refusal too comes after the chunk
        transaction = self._transaction
        is_expected = self._has_chunking and transaction.recipients > 0 and len(line) + 2 <= _COMMAND_LIMIT
        if not is_expected:
            reply = self._reply(line[:80])
            require(reply.code >= 400, f"{reply.code} to a BDAT out of place")
            self._check_enhanced("BDAT", reply)
            return
        self.items.append(Line("BDAT", line, begins_data=True))
        if transaction.begins_at is None:
            transaction.begins_at = len(self.items) - 1
        transaction.chunks += chunk
        if match[2]:
            self._finish(transaction.chunks, is_chunked=True)
            return
        reply = self._reply(line[:80])
        self._check_enhanced("BDAT", reply)
        if reply.code != 250:
            self._transaction = _Transaction()

    def _finish(self, content: bytes, *, is_chunked: bool) -> None:
        """The end of a message: LMTP has a reply for each recipient (RFC 2033 §4.2)."""
        transaction, self._transaction = self._transaction, _Transaction()
        count = transaction.recipients if self._conversation.config.is_lmtp else 1
        assert transaction.begins_at is not None
        codes: list[int] = []
        # It is there before it is answered: a hook may have had it when the connection was lost.
        try:
            for _ in range(count):
                reply = self._reply("the end of data")
                self._check_enhanced("DATA", reply)
                codes.append(reply.code)
        finally:
            self.items.append(Message(content, is_chunked, transaction.begins_at, tuple(codes)))

    def _check_enhanced(self, verb: str, reply: Reply) -> None:
        """RFC 2034 §4: one on every line of 2yz, 4yz and 5yz, but not after HELO and EHLO, nor on a greeting."""
        if verb in _GREETINGS or verb == "XCLIENT" or reply.code // 100 == 3:
            return
        for text in reply.texts:
            match = _ENHANCED.match(text)
            require(
                match is not None and int(match[1]) == reply.code // 100,
                f"no enhanced status code, or a wrong one: {reply}",
            )


def _verb(line: bytes) -> str:
    """The verb; "" for a line that is none."""
    if b"\r" in line or b"\n" in line or b"\0" in line or len(line) + 2 > _LINE_LIMIT:
        return ""
    verb = re.split(rb"[ \t]", line, maxsplit=1)[0]
    return verb.decode().upper() if verb.isascii() else ""


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
