"""A message as the rules look at it. Knows lines, fields and parts; does not know what is wrong with them.

Parsed once, by hand where a rule needs the octets and the number of their line, and by the standard library where it
needs the tree of MIME parts.  Nothing here raises for what a message contains.
"""

from __future__ import annotations

import email.parser
import email.policy
import re
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from typing import Any, NamedTuple

# An octet that is no line end, or a CR or LF without the other.
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")

# RFC 5322 §2.2: field-name = 1*ftext, ftext = %d33-57 / %d59-126; the obsolete syntax has spaces before the colon.
_FIELD = re.compile(rb"(?P<name>[\x21-\x39\x3b-\x7e]+)(?P<space>[ \t]*):(?P<value>.*)", re.DOTALL)

PART_LIMIT = 1000
"""Most parts that are looked at; a message with more is told so by a rule, and checked up to here."""


class Field(NamedTuple):
    """A header field: ``name`` as it is written, ``value`` unfolded, the numbers of its first line and of its lines."""

    name: str
    value: str
    line: int
    raw_lines: tuple[bytes, ...]
    has_space: bool
    """White space between the name and the colon."""

    @property
    def place(self) -> str:
        """For a finding."""
        return f"line {self.line}, {self.name}"


class _Message(Message):
    """Keeps the octets of its body, which ``get_payload`` would decode."""

    as_sent = ""

    def set_payload(self, payload: Any, charset: Any = None) -> None:
        if isinstance(payload, str):
            self.as_sent = payload
        super().set_payload(payload, charset)


class Part(NamedTuple):
    """A MIME part; ``number`` counts as IMAP does: "1.2" is the second in the first, "" the message itself."""

    number: str
    message: Message
    parent: Message | None

    @property
    def place(self) -> str:
        """For a finding."""
        return f"part {self.number}" if self.number else "the message's body"

    @property
    def encoding(self) -> str:
        """Content-Transfer-Encoding in lower case; 7bit is what a part without it has (RFC 2045 §6.1)."""
        value = str(self.message.get("content-transfer-encoding", "7bit"))
        return re.sub(r"\([^()]*\)", "", value).strip().lower()

    @property
    def octets(self) -> bytes:
        """The body as it was sent, of a part that has no parts."""
        return getattr(self.message, "as_sent", "").encode("ascii", "surrogateescape")

    @property
    def decoded(self) -> bytes:
        """The body without its transfer encoding."""
        payload = self.message.get_payload(decode=True)
        return payload if isinstance(payload, bytes) else b""

    @property
    def text(self) -> str:
        """The body as text; what its character set cannot say becomes U+FFFD."""
        try:
            return self.decoded.decode(self.message.get_content_charset("us-ascii"), "replace")
        except (LookupError, ValueError):  # no such character set, or no name for one
            return self.decoded.decode("ascii", "replace")

    @property
    def is_attachment(self) -> bool:
        """Whether it is meant to be saved and not to be shown; what has a file name is."""
        return self.message.get_content_disposition() == "attachment" or self.message.get_filename() is not None


@dataclass(frozen=True)
class Mail:
    """A message and the envelope it came with.

    ``mail_from`` is None when there was no envelope (a file), ``""`` for the null reverse-path; ``options`` are the
    parameters of MAIL as they were sent.  ``maybe_size`` is given when ``raw`` is only the beginning of a large one.
    """

    raw: bytes
    mail_from: str | None = None
    rcpt_tos: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    maybe_size: int | None = None

    @property
    def size(self) -> int:
        """Octets of the whole message."""
        return len(self.raw) if self.maybe_size is None else self.maybe_size

    @cached_property
    def lines(self) -> tuple[bytes, ...]:
        """Every line with its end."""
        lines = _LINE.findall(self.raw)
        return tuple(lines[:-1])  # the last match is the empty one at the end

    @cached_property
    def header_size(self) -> int:
        """How many lines the header has, without the empty one."""
        for number, line in enumerate(self.lines):
            if not line.strip(b"\r\n"):
                return number
        return len(self.lines)

    @cached_property
    def _split_header(self) -> tuple[tuple[Field, ...], tuple[tuple[int, bytes], ...]]:
        fields: list[Field] = []
        strays: list[tuple[int, bytes]] = []
        group: list[bytes] = []
        started = 0

        def close() -> None:
            if not group:
                return
            match = _FIELD.match(b"".join(group))
            if match is None:
                strays.append((started, group[0]))
                return
            value = re.sub(rb"[\r\n]+", b"", match["value"]).decode("utf-8", "surrogateescape").strip()
            name = match["name"].decode("ascii")
            fields.append(Field(name, value, started, tuple(group), bool(match["space"])))

        for number, line in enumerate(self.lines[: self.header_size], 1):
            if line[:1] in {b" ", b"\t"} and group:
                group.append(line)
                continue
            close()
            group, started = [line], number
        close()
        return tuple(fields), tuple(strays)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The header, in order."""
        return self._split_header[0]

    @property
    def strays(self) -> tuple[tuple[int, bytes], ...]:
        """Lines of the header that are no field, with their numbers."""
        return self._split_header[1]

    def all(self, name: str) -> list[Field]:
        """Every field of that name."""
        return [one for one in self.fields if one.name.lower() == name.lower()]

    def first(self, name: str) -> Field | None:
        """The first field of that name."""
        return next(iter(self.all(name)), None)

    @cached_property
    def message(self) -> Message:
        """The standard library's view of it, which notes defects and never raises."""
        return email.parser.BytesParser(_Message, policy=email.policy.compat32).parsebytes(self.raw)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every part, itself first, in the order in which they come; no more than ``PART_LIMIT``."""
        found: list[Part] = []
        waiting = [Part("", self.message, None)]
        while waiting and len(found) < PART_LIMIT:
            part = waiting.pop()
            found.append(part)
            payload = part.message.get_payload()
            # What is forwarded or returned (message/rfc822) is somebody else's.
            if isinstance(payload, list) and part.message.get_content_maintype() == "multipart":
                prefix = f"{part.number}." if part.number else ""
                inner = [Part(f"{prefix}{number}", one, part.message) for number, one in enumerate(payload, 1)]
                waiting.extend(reversed(inner))
        return tuple(found)

    @cached_property
    def leaves(self) -> tuple[Part, ...]:
        """The parts that have no parts."""
        return tuple(part for part in self.parts if not part.message.is_multipart())

    def shown(self, content_type: str) -> list[Part]:
        """The parts of a type that a reader sees."""
        return [
            part for part in self.leaves if part.message.get_content_type() == content_type and not part.is_attachment
        ]

    def has_option(self, keyword: str) -> bool:
        """Whether MAIL had a parameter, given with its value or without."""
        wanted = keyword.upper()
        return any(option.upper() == wanted or option.upper().startswith(f"{wanted}=") for option in self.options)
