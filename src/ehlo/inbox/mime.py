"""MIME in octets: header fields, encoded words, parts and where they are.  Knows no records, no HTML, no meaning.

Written for mail of any kind and size: it runs through the octets with ``find``, copies only what it decodes, and takes
time in proportion to the size times the depth.  Where mail breaks the rules it says so and gives what can be made out;
it raises nothing.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from ehlo.mime.charsets import decode_text
from ehlo.mime.encodings import decode_base64
from ehlo.mime.multipart import spans
from ehlo.mime.parameters import read_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ehlo.mime.parameters import Value

FIELD_LIMIT: Final = 16 * 1024
"""Octets of one header field that are decoded."""
PART_HEADER_LIMIT: Final = 64 * 1024
_SAMPLE: Final = 64 * 1024
_NAME_LIMIT: Final = 1024
_WORD_LIMIT: Final = 200

# RFC 5322 §3.6.8, §4.5.8:  field-name = 1*ftext ; ftext = %d33-57 / %d59-126 ; obs-optional = field-name *WSP ":"
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_ENCODED = {"base64", "quoted-printable"}


@dataclass(slots=True)
class Problems:
    """What is wrong with a message, in sentences for the user: each once, and not too many."""

    found: list[str]

    def add(self, text: str) -> None:
        """Note one."""
        if text not in self.found and len(self.found) < 10:
            self.found.append(text)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far the walk goes."""

    parts: int = 1000
    depth: int = 20
    fields: int = 1000
    header: int = 256 * 1024


# Header fields


class Header(NamedTuple):
    """Fields in order, unfolded and not decoded; ``end`` is where the body begins."""

    fields: list[tuple[str, bytes]]
    end: int

    def first(self, name: str) -> bytes | None:
        """The first field of this name, which is in lower case."""
        return next((value for field, value in self.fields if field.lower() == name), None)


def read_header(raw: bytes, start: int, end: int, limit: int = PART_HEADER_LIMIT) -> Header:
    """The header at ``start``.  It ends at the first line that cannot be of a header, if no empty line comes before."""
    fields: list[tuple[str, list[bytes]]] = []
    position = start
    last = min(end, start + limit)
    while position < last:
        newline = raw.find(b"\n", position, last)
        after = last if newline < 0 else newline + 1
        line = raw[position:after].rstrip(b"\r\n")
        if line[:1] in {b" ", b"\t"} and fields:
            fields[-1][1].append(line)
        else:
            match = _FIELD.match(line)
            if match is None:
                if newline < 0 and last < end:  # a line that our limit has cut: no sign of the header's end
                    position = last
                break
            fields.append((match[1].decode("ascii"), [line[match.end() :]]))
        position = after
    if position == last < end:  # longer than we look
        blank = _BLANK_LINE.search(raw, max(start, position - 2), end)
        position = blank.end() if blank else end
    elif raw[position : position + 2] == b"\r\n":
        position += 2
    elif raw[position : position + 1] == b"\n":
        position += 1
    return Header([(name, b"".join(lines).strip()) for name, lines in fields], min(position, end))


_QUICK_LIMIT = 64 * 1024
_QUICK_FIELD_LIMIT = 4096
_QUICK = re.compile(
    rb"^(from|to|cc|subject|message-id)[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE
)


def quick_fields(raw: bytes) -> dict[str, str]:
    """From, To, Cc, Subject and Message-ID, decoded, by lower-case names: what is needed before a message is stored.

    Takes some 20 us for a usual header; for none, whatever it is, more than some milliseconds.
    """
    if raw[:2] in {b"\r\n", b"\n"} or raw[:1] == b"\n":
        return {}
    blank = _BLANK_LINE.search(raw, 0, _QUICK_LIMIT)
    found: dict[str, str] = {}
    for match in _QUICK.finditer(raw, 0, blank.start() + 1 if blank else min(len(raw), _QUICK_LIMIT)):
        name = match[1].decode("ascii").lower()
        if name not in found:
            value = match[2].lstrip()[:_QUICK_FIELD_LIMIT].replace(b"\r", b"").replace(b"\n", b"")
            found[name] = decode_words(value)
    return found


def decode_words(value: bytes) -> str:
    """A field's value as text: encoded words (RFC 2047 §2) decoded, 8-bit text as what it most likely is.

    encoded-word = "=?" charset "?" encoding "?" encoded-text "?="

    Words that follow each other are decoded together if they are of one charset: many a mailer cuts a character in two.
    """
    value = value[:FIELD_LIMIT].strip()
    if b"=?" not in value:
        return _printable(decode_text(value, None))
    pieces: list[str] = []
    waiting: list[bytes] = []
    charset = ""
    position = 0
    for start, end, word_charset, data in _encoded_words(value):
        between = value[position:start]
        if waiting and (between.strip() or word_charset != charset):
            pieces.append(decode_text(b"".join(waiting), charset))
            waiting = []
        if between.strip() or (between and position == 0):
            pieces.append(decode_text(between, None))
        charset = word_charset
        waiting.append(data)
        position = end
    if waiting:
        pieces.append(decode_text(b"".join(waiting), charset))
    pieces.append(decode_text(value[position:], None))
    return _printable("".join(pieces).strip())


def _encoded_words(value: bytes) -> Iterator[tuple[int, int, str, bytes]]:
    """Start, end, charset and decoded octets of each.  Every search goes on where the last one ended."""
    position = 0
    while (start := value.find(b"=?", position)) >= 0:
        position = start + 2
        mark = value.find(b"?", position, position + 80)
        if mark < 0 or value[mark + 2 : mark + 3] != b"?":
            continue
        end = value.find(b"?=", mark + 3)
        if end < 0:
            return
        encoding = value[mark + 1 : mark + 2].lower()
        text = value[mark + 3 : end]
        # RFC 2231 §5: the charset may be followed by "*" and a language.
        charset = value[position:mark].partition(b"*")[0].decode("ascii", "replace").lower()
        if encoding == b"b":
            data = decode_base64(text)
        elif encoding == b"q":
            data = binascii.a2b_qp(text, header=True)
        else:
            continue
        position = end + 2
        yield start, position, charset, data


def _printable(text: str) -> str:
    """On one line, whatever was encoded."""
    if text.isprintable():
        return text
    return "".join(" " if char in "\t\r\n\v\f\0" or "\x1c" <= char <= "\x1f" else char for char in text)


# Parts


@dataclass(slots=True)
class Entity:
    """A node of the tree: what its header says, and where its body is."""

    index: int
    parent: int | None
    depth: int
    header: Header
    content_type: str
    charset: str | None
    encoding: str
    filename: str | None
    disposition: str | None
    content_id: str | None
    start: int
    end: int
    has_children: bool = False

    def decoded_size(self, raw: bytes) -> int:
        """Of the body; counted within a sample where it is base64: the rest has lines as long."""
        size = self.end - self.start
        if self.encoding != "base64" or self.has_children:
            return size
        sample = raw[self.start : min(self.end, self.start + _SAMPLE)]
        digits = len(sample) - sample.count(b"\r") - sample.count(b"\n")
        padding = raw.count(b"=", max(self.start, self.end - 4), self.end)
        return max(0, round(size * digits / max(1, len(sample))) * 3 // 4 - padding)


def walk(raw: bytes, bounds: Bounds, problems: Problems) -> list[Entity]:
    """All nodes in the order of the message, the message itself first."""
    walk = _Walk(raw, bounds, problems)
    walk.visit(0, len(raw), None, "text/plain")
    return walk.entities


@dataclass(slots=True)
class _Walk:
    """A walk through a message, and the nodes that it has come to."""

    raw: bytes
    bounds: Bounds
    problems: Problems
    entities: list[Entity] = field(default_factory=list)

    def visit(self, start: int, end: int, maybe_parent: Entity | None, default: str) -> None:
        """The node from ``start`` to ``end``, whose type is ``default`` if it says none, and those within."""
        header = read_header(self.raw, start, end, PART_HEADER_LIMIT if maybe_parent else self.bounds.header)
        entity, maybe_boundary = self._entity(header, end, maybe_parent, default)
        self.entities.append(entity)
        is_message = entity.content_type == "message/rfc822" and entity.encoding not in _ENCODED
        is_multipart = entity.content_type.startswith("multipart/")
        if not (is_message or is_multipart):
            return
        if entity.depth >= self.bounds.depth:
            depth = self.bounds.depth
            self.problems.add(f"there are parts within parts, more than {depth} levels deep: they are not looked into")
        elif is_message:
            self._visit_all([(entity.start, end)], entity, "text/plain")
        elif not maybe_boundary:
            self.problems.add(f"{entity.content_type} says no boundary: its parts cannot be told apart")
        else:
            # RFC 2046 §5.1.5
            default = "message/rfc822" if entity.content_type == "multipart/digest" else "text/plain"
            self._visit_all(spans(self.raw, entity.start, end, maybe_boundary), entity, default)
            if not entity.has_children:
                self.problems.add(f"{entity.content_type} without its parts: the boundary is nowhere to be found")
        if not entity.has_children:
            entity.content_type = "text/plain"  # what it can be read as

    def _visit_all(self, places: Iterable[tuple[int, int]], parent: Entity, default: str) -> None:
        for start, end in places:
            if len(self.entities) >= self.bounds.parts:
                self.problems.add(f"there are more than {self.bounds.parts} parts: the others are not shown")
                return
            parent.has_children = True
            self.visit(start, end, parent, default)

    def _entity(
        self, header: Header, end: int, maybe_parent: Entity | None, default: str
    ) -> tuple[Entity, bytes | None]:
        """The node for a header; and the boundary, if it says one."""
        content = _value(header, "content-type")
        disposition = _value(header, "content-disposition")
        content_type = content.text if content.text.count("/") == 1 else "text/plain" if content.text else default
        charset = (content.get("charset") or "").lower()
        filename = disposition.get("filename") or content.get("name")
        maybe_boundary = content.get("boundary")
        encoding = (header.first("content-transfer-encoding") or b"").decode("latin-1").strip().lower()
        content_id = (header.first("content-id") or b"").decode("latin-1").strip().strip("<>")
        entity = Entity(
            index=len(self.entities),
            parent=maybe_parent.index if maybe_parent else None,
            depth=maybe_parent.depth + 1 if maybe_parent else 0,
            header=header,
            content_type=_word(content_type),
            charset=_word(charset) or None,
            encoding=_printable(encoding[:40]),
            filename=_file_name(filename) if filename else None,
            disposition=_word(disposition.text) or None,
            content_id=content_id[:500] or None,
            start=header.end,
            end=end,
        )
        return entity, maybe_boundary.rstrip().encode("utf-8", "surrogateescape") if maybe_boundary else None


def _value(header: Header, name: str) -> Value:
    return read_value((header.first(name) or b"").decode("utf-8", "surrogateescape"))


def _word(text: str) -> str:
    return _printable(text[:_WORD_LIMIT].encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _file_name(text: str) -> str:
    return decode_words(text.encode("utf-8", "surrogateescape"))[:_NAME_LIMIT]
