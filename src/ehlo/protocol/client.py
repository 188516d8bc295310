"""The other side of SMTP: replies in, commands and mail data out. Knows octets; does not know connections or time.

A client is steered by what a server says, and a server may be hostile, so nothing here is guessed: a reply that does
not parse is an error and never "probably 250", because a sender that takes a wrong line for the answer to its mail
data loses mail.

    UpstreamError       the server did not do its part; ``reply`` is its reply, or None when there is none to pass on
    ├── BadReply        what it sent is no reply, or no reply to what it was asked
    └── UpstreamTimeout it said nothing in time (``ehlo.net.client``, which owns time)

An argument that must not be put on the wire is the caller's mistake and raises ``ValueError``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ehlo.errors import BareNewline, EhloError
from ehlo.protocol.data import has_bare_newline, normalize_newlines
from ehlo.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 5321 §4.5.3.1.5 says 512, and real servers write more.  RFC 4954 §4 lets the longest reply, a 334, have 12288.
REPLY_LINE_LIMIT = 12_288

# No RFC has one.  HELP and EHLO come with some dozens of lines; a server that goes on for ever must be stopped.
REPLY_LINES_LIMIT = 256

# RFC 5321 §4.2:
#   Reply-line  = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
#   Reply-code  = %x32-35 %x30-35 %x30-39
# The second digit may be any here: Exchange says 571, and §4.3.2 bids a client to go by the first digit then.
# The text may be any octets but CR and LF: what is no text in it is made harmless, not refused.
_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n]*))?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# RFC 2034 §4, RFC 3463 §2:
#   status-code = class "." subject "." detail
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)")

# A code outside RFC 5321's grammar is replaced by the plainest of its class: 571 means 554.
_PLAINEST = {2: 250, 3: 354, 4: 451, 5: 554}

# RFC 5321 §4.1.1.1:
#   ehlo-line    = ehlo-keyword *( SP ehlo-param )
#   ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
# "=" for the first SP is written by smtp4dev ("SIZE=n") and by servers that kept the draft's "AUTH=LOGIN".
_EHLO_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:[ =](.*))?")

# RFC 5321 §4.1.2, RFC 6531 §3.3: not the grammar of Mailbox (the server judges that), only what cannot end a path
# early or begin a parameter: SP and "<" ">" stand in a Quoted-string, the latter in an address literal too, control
# characters nowhere.
#   Quoted-string = DQUOTE *( qtextSMTP / "\" %d32-126 ) DQUOTE
#   dcontent      = %d33-90 / %d94-126                                (§4.1.3)
_ADDRESS = re.compile(r"""(?:"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"|[^"<>\x00-\x20\x7f])*(?:@\[[!-Z^-~]*\])?""")

# RFC 5321 §4.1.2, RFC 6531 §3.3:
#   esmtp-param   = esmtp-keyword ["=" esmtp-value]
#   esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
#   esmtp-value   = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)
# "=" in a value is let through, as some send it and it harms nothing.
_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:=[^\x00-\x20\x7f]+)?")

_LINE_BREAKERS = re.compile(r"[\r\n\x00]")


class UpstreamError(EhloError):
    """The server did not do its part.

    ``reply`` is its reply where that is the reason (a 554 greeting, a 421, a refusal amid the mail data), fit to be
    passed on.  None means that there is no reply: not reached, lost, late or broken, all of it temporary for whoever
    waits (RFC 5321 §3.8: as if 451 had been said).  ``str(error)`` is for the log.
    """

    def __init__(self, detail: str, *, reply: Reply | None = None) -> None:
        self.reply = reply
        super().__init__(detail)


class BadReply(UpstreamError):
    """What came is no reply of RFC 5321 §4.2, or no possible reply to what was asked."""


class ReplyParser:
    """Octets in, replies out.

    The octets are pulled: ``receive`` takes them in any cut, and ``next_reply`` parses only as much as it gives out.
    So what follows a reply is not looked at before somebody wants it: after a 220 to STARTTLS it is no reply at all.
    ``_buffer`` holds the octets of lines not yet parsed, of which the first ``_searched`` hold no LF; ``_texts`` holds
    the lines of an unfinished reply.
    """

    __slots__ = ("_buffer", "_code", "_line_limit", "_lines_limit", "_searched", "_texts")

    def __init__(self, *, line_limit: int = REPLY_LINE_LIMIT, lines_limit: int = REPLY_LINES_LIMIT) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._code = 0
        self._texts: list[str] = []
        self._line_limit = line_limit
        self._lines_limit = lines_limit

    @property
    def buffered(self) -> int:
        """How many octets wait to be parsed."""
        return len(self._buffer)

    @property
    def has_unread(self) -> bool:
        """Whether anything came that was not given out, be it half a reply."""
        return bool(self._buffer or self._texts)

    def receive(self, data: bytes) -> None:
        """Take octets as they came."""
        self._buffer += data

    def next_reply(self) -> Reply | None:
        """Give the next whole reply, or None when more octets are needed.

        Raises ``BadReply`` when what came is none; nothing that follows can be trusted then, nor this parser.
        """
        while (line := self._next_line()) is not None:
            match = _REPLY_LINE.fullmatch(line)
            if match is None:
                raise BadReply(f"no reply line: {line[:80]!r}")
            code = int(match[1])
            if self._texts and code != self._code:
                # RFC 5321 §4.2.1: the code on each of the lines MUST be the same.
                raise BadReply(f"{self._code} goes on as {code} in one reply")
            if len(self._texts) == self._lines_limit:
                raise BadReply(f"a reply of more than {self._lines_limit} lines")
            self._code = code
            self._texts.append(_CONTROL.sub("?", (match[3] or b"").decode("utf-8", "backslashreplace")))
            if match[2] != b"-":
                texts, self._texts = self._texts, []
                return _make_reply(code, texts)
        return None

    def _next_line(self) -> bytes | None:
        """Take one line off the buffer, without its CRLF."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
        if max(end + 1, self._searched) > self._line_limit:
            raise BadReply(f"a reply line of more than {self._line_limit} octets")
        if end < 0:
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._searched = 0
        if not line.endswith(b"\r\n"):
            # As strict as with a client (RFC 5321 §2.3.8): whoever can put a LF into a text could else write replies.
            raise BadReply(f"a reply line that ends in a bare LF: {line[:80]!r}")
        return line[:-2]


class MailDataEncoder:
    """Message content in, mail data out: transparency (RFC 5321 §4.5.2) and the end, in chunks of any cut.

    A CR at the end of a chunk is held back until it is known whether a LF follows.  A CR or LF that stands alone must
    not be sent (§2.3.8): to some servers it ends a line, and "LF . LF" a message.  It raises ``BareNewline``, the fault
    of whoever made the message, or becomes CRLF if the encoder ``normalizes``.  No octets given before ``finish``
    end the mail data, so a message that cannot be completed is abandoned by never calling it.
    """

    __slots__ = ("_at_line_start", "_held", "_normalizes")

    def __init__(self, *, normalizes: bool = False) -> None:
        self._at_line_start = True
        self._held = b""
        self._normalizes = normalizes

    def feed(self, content: bytes) -> bytes:
        """Take the next octets of the content and give what to send (perhaps b"")."""
        if self._held:
            content = self._held + content
            self._held = b""
        if content.endswith(b"\r"):
            content, self._held = content[:-1], b"\r"
        if not content:
            return b""
        if has_bare_newline(content):
            self._need_normalizing()
            content = normalize_newlines(content)
        hides_first_dot = self._at_line_start and content.startswith(b".")
        self._at_line_start = content.endswith(b"\r\n")
        data = content.replace(b"\r\n.", b"\r\n..")
        return b"." + data if hides_first_dot else data

    def finish(self) -> bytes:
        """Give the end-of-data; a last line without CRLF gets one (RFC 5321 §4.1.1.4)."""
        if self._held:
            self._need_normalizing()
            self._at_line_start = False
        return b".\r\n" if self._at_line_start else b"\r\n.\r\n"

    def _need_normalizing(self) -> None:
        if not self._normalizes:
            raise BareNewline("bare CR or LF in the content to be sent")


def parse_extensions(reply: Reply) -> dict[str, tuple[str, ...]]:
    """Make a table of a reply to EHLO or LHLO: keyword in upper case to its parameters, as they came.

    The first line is the server's name and no keyword.  A keyword on two lines has the parameters of both; a line that
    is no ehlo-line is passed over, since not to use an extension is always right.
    """
    extensions: dict[str, tuple[str, ...]] = {}
    for line in reply.lines[1:]:
        if match := _EHLO_LINE.fullmatch(line.rstrip()):
            keyword, parameters = match[1].upper(), (match[2] or "").split()
            extensions[keyword] = tuple(dict.fromkeys([*extensions.get(keyword, ()), *parameters]))
    return extensions


def command_line(verb: str, *arguments: str) -> bytes:
    """Make a command line, in UTF-8, with its CRLF; ``ValueError`` if an argument would end the line early."""
    line = " ".join((verb, *arguments))
    if _LINE_BREAKERS.search(line):
        raise ValueError("CR, LF or NUL in a command")
    return line.encode() + b"\r\n"


def mail_command(address: str, parameters: Iterable[str] = ()) -> bytes:
    """Make ``MAIL FROM:<address> parameters``; ``""`` is the null reverse-path.  ``ValueError`` as ``rcpt_command``."""
    return _path_command("MAIL FROM:", address, parameters)


def rcpt_command(address: str, parameters: Iterable[str] = ()) -> bytes:
    """Make ``RCPT TO:<address> parameters``.  ``ValueError`` for an address or parameter that is more than one."""
    return _path_command("RCPT TO:", address, parameters)


def _path_command(verb: str, address: str, parameters: Iterable[str]) -> bytes:
    if not _ADDRESS.fullmatch(address):
        raise ValueError("an address that would not stay inside its angle brackets")
    parameters = tuple(parameters)
    if not all(map(_PARAMETER.fullmatch, parameters)):
        raise ValueError("a parameter that is no KEYWORD or KEYWORD=value")
    return command_line(f"{verb}<{address}>", *parameters)


def _make_reply(code: int, texts: list[str]) -> Reply:
    """Set the enhanced status code apart, on the first line and on every line that repeats it."""
    reply_class = code // 100
    if code % 100 >= 60:
        code = _PLAINEST[reply_class]
    match = _ENHANCED.match(texts[0])
    if match is None or int(match[1][0]) != reply_class:
        return Reply(code, None, tuple(texts))
    enhanced = match[1]
    return Reply(code, enhanced, tuple(_without(enhanced, text) for text in texts))


def _without(enhanced: str, text: str) -> str:
    if text == enhanced:
        return ""
    return text.removeprefix(enhanced + " ")
