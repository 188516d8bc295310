"""A message as a tree of parts, as the rules look at it. Knows MIME; does not know what is wrong with a part.

Takes time in proportion to the size times the depth, which has a limit; raises nothing for whatever octets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from ehlo.mime.charsets import maybe_codec
from ehlo.mime.encodings import decode_body
from ehlo.mime.multipart import is_closed, spans
from ehlo.mime.parameters import Value, read_value
from ehlo.report.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Iterator

PART_LIMIT = 1000
"""Most parts that are looked at; a message with more is told so by a rule, and checked up to here."""
DEPTH_LIMIT = 20
"""Most levels of parts within parts that are looked into; likewise."""
_HEADER_LIMIT = 64 * 1024
"""Octets of the header of one part that are looked at."""

# The blank line that ends a header (RFC 5322 §2.1), in mail with any line ends; it may be the first.
_BLANK_LINE = re.compile(rb"(?:\A|\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
# RFC 5322 §2.2, §2.2.3; RFC 2045 §9:  MIME-part-headers = entity-headers, whose names begin with "Content-"
_FIELD = re.compile(
    rb"(?:\A|[\r\n])(content-[\x21-\x39\x3b-\x7e]++)[ \t]*+:([^\r\n]*+(?:[\r\n]++[ \t][^\r\n]*+)*+)", re.IGNORECASE
)
# RFC 5322 §2.2, and a line that goes on with a field (§2.2.3)
_FIELD_LINE = re.compile(rb"[\x21-\x39\x3b-\x7e]++[ \t]*+:|[ \t]")
_COMMENT = re.compile(r"\([^()]*\)")


@dataclass(frozen=True, eq=False)
class Part:
    """A MIME part; ``number`` counts as IMAP does: "1.2" is the second in the first, "" the message itself."""

    number: str
    header: dict[str, str]
    """The first field of each name that begins with "Content-": names in lower case, values unfolded."""
    written_header: bytes = field(repr=False)
    """All of it, as far as it is looked at."""
    raw: bytes = field(repr=False)
    """The whole message; the body is ``raw[start:end]``."""
    start: int
    end: int
    default_type: str
    depth: int
    children: list[Part] = field(default_factory=list)

    @property
    def octets(self) -> bytes:
        """The body as it was sent."""
        return self.raw[self.start : self.end]

    @property
    def place(self) -> str:
        """For a finding."""
        return f"part {self.number}" if self.number else "the message's body"

    @cached_property
    def content(self) -> Value:
        """Content-Type, with its parameters."""
        return read_value(self.header.get("content-type", self.default_type))

    @cached_property
    def disposition(self) -> Value:
        """Content-Disposition, with its parameters; its text is "" if there is none."""
        return read_value(self.header.get("content-disposition", ""))

    @property
    def content_type(self) -> str:
        """In lower case; what is not type/subtype is text/plain (RFC 2045 §5.2)."""
        return self.content.text if self.content.text.count("/") == 1 else "text/plain"

    @property
    def is_multipart(self) -> bool:
        """Whether it says so, with a boundary or without."""
        return self.content_type.startswith("multipart/")

    @property
    def encoding(self) -> str:
        """Content-Transfer-Encoding in lower case; 7bit is what a part without it has (RFC 2045 §6.1)."""
        return _COMMENT.sub("", self.header.get("content-transfer-encoding", "7bit")).strip().lower()

    @property
    def charset(self) -> str:
        """In lower case; us-ascii is what a part without it has (RFC 2045 §5.2)."""
        return (self.content.get("charset") or "us-ascii").strip().lower()

    @cached_property
    def decoded(self) -> bytes:
        """The body without its transfer encoding."""
        return decode_body(self.octets, self.encoding)

    @cached_property
    def text(self) -> str:
        """The body as text; what its character set cannot say becomes U+FFFD."""
        return self.decoded.decode(maybe_codec(self.charset) or "ascii", "replace")

    @cached_property
    def markup(self) -> Markup:
        """The text as HTML."""
        return Markup(self.text)

    @property
    def maybe_filename(self) -> str | None:
        """The name of a file, from wherever it stands; None if there is none."""
        return self.disposition.get("filename") or self.content.get("name")

    @property
    def is_attachment(self) -> bool:
        """Whether it is meant to be saved and not to be shown; what has a file name is."""
        return self.disposition.text == "attachment" or self.maybe_filename is not None

    @property
    def maybe_boundary(self) -> str | None:
        """Without the white space that is not part of it (RFC 2046 §5.1.1); None if there is none."""
        boundary = self.content.get("boundary")
        return None if boundary is None else boundary.rstrip()

    @cached_property
    def is_opened(self) -> bool:
        """Whether its boundary stands in a multipart."""
        return next(self.spans(), None) is not None

    @cached_property
    def is_closed(self) -> bool:
        """Whether a multipart has its closing delimiter."""
        return is_closed(self.raw, self.start, self.end, self._delimiter)

    @property
    def _delimiter(self) -> bytes:
        return (self.maybe_boundary or "").encode("utf-8", "surrogateescape")

    @cached_property
    def maybe_stray(self) -> bytes | None:
        """The first line of the header that neither is a field nor goes on with one; None if there is none."""
        lines = self.written_header.split(b"\n")
        strays = (line for line in lines if line.strip() and not _FIELD_LINE.match(line))
        return next(strays, None)

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where the parts of a multipart begin and end in ``raw``."""
        return spans(self.raw, self.start, self.end, self._delimiter) if self.maybe_boundary else iter(())


def parts_of(raw: bytes) -> tuple[Part, ...]:
    """Every part, the message itself first, in the order in which they come."""
    found: list[Part] = []
    waiting = [_part(raw, 0, len(raw), number="", default="text/plain", depth=0)]
    while waiting and len(found) < PART_LIMIT:
        part = waiting.pop()
        found.append(part)
        # What is forwarded or returned (message/rfc822) is somebody else's.
        if part.is_multipart and part.depth < DEPTH_LIMIT:
            part.children.extend(_children(part, PART_LIMIT - len(found)))
            waiting.extend(reversed(part.children))
    return tuple(found)


def _children(part: Part, limit: int) -> list[Part]:
    prefix = f"{part.number}." if part.number else ""
    # RFC 2046 §5.1.5
    default = "message/rfc822" if part.content_type == "multipart/digest" else "text/plain"
    return [
        _part(part.raw, start, end, number=f"{prefix}{number}", default=default, depth=part.depth + 1)
        for number, (start, end) in enumerate(islice(part.spans(), limit), 1)
    ]


def _part(raw: bytes, start: int, end: int, *, number: str, default: str, depth: int) -> Part:
    header = raw[start : min(end, start + _HEADER_LIMIT)]
    blank = _BLANK_LINE.search(header)
    if blank is not None:
        header, body = header[: blank.start()], start + blank.end()
    else:
        far = _BLANK_LINE.search(raw, start + len(header) - 2, end) if start + len(header) < end else None
        body = far.end() if far else end
    fields: dict[str, str] = {}
    for match in _FIELD.finditer(header):
        value = re.sub(rb"[\r\n]+", b"", match[2]).decode("utf-8", "surrogateescape").strip()
        fields.setdefault(match[1].decode("ascii").lower(), value)
    return Part(number, fields, header, raw, body, end, default, depth)
