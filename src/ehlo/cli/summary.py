"""What a person wants to know of a message.  Knows MIME and charsets; does not know sessions or terminals.

Written for mail of any kind and size: it runs through the octets with ``find``, decodes only what it shows, and its
limits bound what a message made to hurt can cost.  Where mail breaks the rules it shows what can be made out.
"""

from __future__ import annotations

import email.errors
import email.header
import email.utils
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ehlo.inbox.html_text import html_to_text
from ehlo.mime.charsets import decode_text
from ehlo.mime.encodings import decode_body
from ehlo.mime.multipart import spans
from ehlo.mime.parameters import read_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TEXT_LIMIT = 64 * 1024
"""Octets of text that are decoded."""
HEADER_LIMIT = 64 * 1024
"""Octets of the header of one part that are looked at."""
FIELD_LIMIT = 8 * 1024
"""Characters of one field that are looked at."""
PART_LIMIT = 200
DEPTH_LIMIT = 10

# RFC 5322 §3.6.8, §4.5.8:  field-name = 1*ftext ; ftext = %d33-57 / %d59-126 ; obs-optional = field-name *WSP ":"
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_BLANK_LINE = re.compile(rb"\n\r?\n")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not the text.  ``size`` in octets, decoded, estimated from what is there."""

    name: str
    content_type: str
    size: int


class Person(NamedTuple):
    """A mailbox in a header field; ``name`` may be empty."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Summary:
    """See the module's text.  All ``str`` is as the sender wrote it, control characters and all.

    ``maybe_subject`` and the lists of people are None where there is no such field.  ``text_is_cut``: there is more
    than was decoded.
    """

    size: int
    maybe_subject: str | None = None
    senders: list[Person] | None = None
    recipients: list[Person] | None = None
    text: str = ""
    text_is_cut: bool = False
    attachments: list[Attachment] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def summarize(content: bytes) -> Summary:
    """A summary of any octets; one with the raw text where the message cannot be read."""
    problems = _newline_problems(content)
    try:
        return _summarize(content, problems)
    except Exception as error:  # noqa: BLE001 - mail can be wrong in more ways than `email` foresees
        problems.append(f"the message cannot be read as MIME ({type(error).__name__})")
        text = decode_text(content[:TEXT_LIMIT], None, is_cut=len(content) > TEXT_LIMIT)
        return Summary(len(content), text=text, text_is_cut=len(content) > TEXT_LIMIT, problems=problems)


def glance(content: bytes) -> Summary:
    """Size and subject alone, in a fraction of the time."""
    try:
        values = _read_header(content, 0, len(content)).fields.get("subject")
        return Summary(len(content), _decode_words(values[0]) if values else None)
    except Exception:  # noqa: BLE001 - as above
        return Summary(len(content))


def _summarize(content: bytes, problems: list[str]) -> Summary:
    parts = _parts(content, 0, len(content), DEPTH_LIMIT)
    maybe_plain: _Part | None = None
    maybe_html: _Part | None = None
    attachments = []
    top = _read_header(content, 0, len(content))
    for number, part in enumerate(parts):
        if number == PART_LIMIT:
            problems.append(f"more than {PART_LIMIT} parts: the others are not shown")
            break
        if part.maybe_problem is not None:
            problems.append(part.maybe_problem)
        if maybe_plain is None and part.is_text("text/plain"):
            maybe_plain = part
        elif maybe_html is None and part.is_text("text/html"):
            maybe_html = part
        else:
            attachments.append(Attachment(part.name, part.content_type, part.decoded_size(content)))
    text, is_cut = "", False
    if maybe_plain is not None:
        text, is_cut = maybe_plain.text(content)
    if maybe_html is not None and not text.strip():
        source, is_cut = maybe_html.text(content)
        text = html_to_text(source)
    return Summary(
        len(content),
        _decode_words(top.fields["subject"][0]) if "subject" in top.fields else None,
        _people(top, "from"),
        _people(top, "to", "cc", "bcc"),
        text,
        is_cut,
        attachments,
        problems,
    )


# Lines and fields


def _newline_problems(content: bytes) -> list[str]:
    pairs = content.count(b"\r\n")
    found = [("LF", content.count(b"\n") - pairs), ("CR", content.count(b"\r") - pairs)]
    return [f"{count} bare {name}: other servers may refuse this mail" for name, count in found if count]


class _Header(NamedTuple):
    """Fields by lower-case name, values unfolded and in order; ``end`` is where the body begins."""

    fields: dict[str, list[str]]
    end: int


def _read_header(content: bytes, start: int, end: int) -> _Header:
    """The header at ``start``.  It ends at the first line that cannot be of a header, if no empty line comes before."""
    fields: dict[str, list[str]] = {}
    maybe_value: list[bytes] | None = None
    position = start
    last = min(end, start + HEADER_LIMIT)
    found: list[tuple[str, list[bytes]]] = []
    while position < last:
        newline = content.find(b"\n", position, last)
        after = last if newline < 0 else newline + 1
        line = content[position:after].rstrip(b"\r\n")
        match = _FIELD.match(line)
        if line[:1] in {b" ", b"\t"} and maybe_value is not None:
            maybe_value.append(line)
        elif match is not None:
            maybe_value = [line[match.end() :]]
            found.append((match[1].decode().lower(), maybe_value))
        else:
            break
        position = after
    if position == last < end:  # longer than we look
        match = _BLANK_LINE.search(content, position, end)
        position = match.end() if match else end
    elif content[position : position + 2] == b"\r\n":
        position += 2
    elif content[position : position + 1] == b"\n":
        position += 1
    for name, value in found:
        fields.setdefault(name, []).append(decode_text(b"".join(value)[:FIELD_LIMIT], None, is_cut=True).strip())
    return _Header(fields, min(position, end))


def _people(header: _Header, *names: str) -> list[Person] | None:
    values = [value for name in names for value in header.fields.get(name, ())]
    if not values:
        return None
    people = [Person(_decode_words(name), address) for name, address in email.utils.getaddresses(values) if address]
    return people or [Person("", _decode_words(", ".join(values)))]


def _decode_words(value: str) -> str:
    """Encoded words (RFC 2047) decoded, as far as they can be."""
    if "=?" not in value:
        return value
    try:
        chunks = email.header.decode_header(value)
    except (ValueError, email.errors.HeaderParseError):
        return value
    return "".join(
        chunk if isinstance(chunk, str) else decode_text(chunk, charset or "latin-1", is_cut=False)
        for chunk, charset in chunks
    )


# Parts


class _Part(NamedTuple):
    """A leaf of the tree: its fields, and where its body is."""

    content_type: str
    charset: str | None
    encoding: str
    name: str
    is_attached: bool
    start: int
    end: int
    maybe_problem: str | None = None

    def is_text(self, content_type: str) -> bool:
        return self.content_type == content_type and not self.is_attached

    def text(self, content: bytes) -> tuple[str, bool]:
        """The decoded text, and whether it goes on."""
        end = min(self.end, self.start + TEXT_LIMIT)
        data = decode_body(content[self.start : end], self.encoding)
        is_cut = end < self.end
        return decode_text(data, self.charset, is_cut=is_cut), is_cut

    def decoded_size(self, content: bytes) -> int:
        size = self.end - self.start
        if self.encoding != "base64":
            return size
        # Counted within a sample: the rest has lines as long.
        sample = content[self.start : min(self.end, self.start + TEXT_LIMIT)]
        digits = len(sample) - sample.count(b"\r") - sample.count(b"\n")
        padding = content.count(b"=", max(self.start, self.end - 4), self.end)
        return max(0, round(size * digits / max(1, len(sample))) * 3 // 4 - padding)


def _parts(content: bytes, start: int, end: int, depth: int) -> Iterator[_Part]:
    header = _read_header(content, start, end)
    media, disposition = (read_value(header.fields.get(f"content-{name}", [""])[0]) for name in ("type", "disposition"))
    content_type = media.text if media.text.count("/") == 1 else "text/plain"
    maybe_boundary = media.get("boundary")
    maybe_problem = None
    if content_type.startswith("multipart/"):
        places: Iterable[tuple[int, int]] = ()
        if maybe_boundary and depth:
            places = spans(content, header.end, end, maybe_boundary.encode())
        has_parts = False
        for inner_start, inner_end in places:
            has_parts = True
            yield from _parts(content, inner_start, inner_end, depth - 1)
        if has_parts:
            return
        maybe_problem = (
            f"{content_type} without its parts" if depth else f"parts within parts, {DEPTH_LIMIT} levels deep"
        )
        content_type = "text/plain"
    name = disposition.get("filename") or media.get("name") or ""
    encoding = header.fields.get("content-transfer-encoding", [""])[0].lower()
    yield _Part(
        content_type,
        media.get("charset"),
        encoding,
        _decode_words(name),
        bool(name) or disposition.text == "attachment",
        header.end,
        end,
        maybe_problem,
    )
