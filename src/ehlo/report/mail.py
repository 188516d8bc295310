"""A message as the rules look at it. Knows lines and fields, and where its parts are found (``parts``).

Parsed once; does not know what is wrong with it.  Nothing here raises for what a message contains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ehlo.report.mailboxes import read_mailboxes
from ehlo.report.parts import Part, parts_of

# An octet that is no line end, or a CR or LF without the other.
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")

# RFC 5322 §2.2: field-name = 1*ftext, ftext = %d33-57 / %d59-126; the obsolete syntax has spaces before the colon.
_FIELD = re.compile(rb"(?P<name>[\x21-\x39\x3b-\x7e]+)(?P<space>[ \t]*):(?P<value>.*)", re.DOTALL)


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
    def parts(self) -> tuple[Part, ...]:
        """Every part, itself first, in the order in which they come; no more than ``PART_LIMIT``."""
        return parts_of(self.raw)

    @cached_property
    def leaves(self) -> tuple[Part, ...]:
        """The parts that neither have parts nor are messages."""
        return tuple(part for part in self.parts if not part.content_type.startswith(("multipart/", "message/")))

    def shown(self, content_type: str) -> list[Part]:
        """The parts of a type that a reader sees."""
        return [part for part in self.leaves if part.content_type == content_type and not part.is_attachment]

    @cached_property
    def is_internationalized(self) -> bool:
        """Whether MAIL had SMTPUTF8; of a file, whether it would have to, for an address that is not ASCII."""
        if self.mail_from is not None or self.options:
            return "SMTPUTF8" in map(str.upper, self.options)
        fields = (one for name in ("From", "Sender", "Reply-To", "To", "Cc") for one in self.all(name))
        return any(not mailbox.address.isascii() for one in fields for mailbox in read_mailboxes(one.value).members)
