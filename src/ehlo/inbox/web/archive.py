"""Messages as files: mbox (RFC 4155, with the quoting of mboxrd), and a Maildir in a tar.  Knows the two formats.

Names in an archive are never used: what is in it becomes messages, and no file is written.
"""

from __future__ import annotations

import calendar
import io
import re
import tarfile
import time
from collections.abc import Iterator
from email.header import Header
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate
from typing import IO, TYPE_CHECKING, NamedTuple

from ehlo.inbox.records import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ehlo.inbox.records import Summary

HEADER_LIMIT = 64 * 1024
RECIPIENTS_LIMIT = 100
LINE_PIECE = 64 * 1024
"""Octets of a line that are looked at together."""
EXTENSION_LIMIT = 64 * 1024
"""Octets of what a tar says about a file beside its header."""
MEMBER_LIMIT = 1 << 40

_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_QUOTED_FROM = re.compile(rb">+From ")
# What the next piece may make a line end, or the beginning of a message.
_UNDECIDED = re.compile(rb"(?:\r|F|Fr|Fro|From)\Z")
_EXTENSIONS = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}


class TooBig(ValueError):
    """A message in an archive is larger than one may be."""


class Unreadable(ValueError):
    """It is no such archive."""


class Found(NamedTuple):
    """A message in an archive.  ``sender`` and ``time`` are None where the archive does not say."""

    raw: bytes
    sender: str | None = None
    time: float | None = None


Message = tuple["Summary", Iterator[bytes]]
"""A message, whose octets come in pieces."""


def to_mbox(messages: Iterable[Message]) -> Iterator[bytes]:
    """An mbox, piece by piece."""
    for summary, pieces in messages:
        sender = re.sub(r"[^!-~]", "_", summary.mail_from) or "MAILER-DAEMON"
        yield f"From {sender} {time.asctime(time.gmtime(summary.received_at))}\n".encode()
        last = b""
        for text in filter(None, _quoted(pieces)):
            last = text[-1:]
            yield text
        yield b"\n" if last == b"\n" else b"\n\n"


def to_maildir(messages: Iterable[Message]) -> Iterator[bytes]:
    """A tar with a Maildir in it, piece by piece: the messages to the octet, read ones in ``cur``."""
    for folder in ("cur", "new", "tmp"):
        directory = tarfile.TarInfo(f"Maildir/{folder}")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o700
        yield directory.tobuf(tarfile.PAX_FORMAT)
    for summary, pieces in messages:
        name = f"{int(summary.received_at)}.{summary.id}.ehlo,S={summary.size}"
        file = tarfile.TarInfo(f"Maildir/cur/{name}:2,S" if summary.is_read else f"Maildir/new/{name}")
        file.size, file.mtime, file.mode = summary.size, int(summary.received_at), 0o600
        yield file.tobuf(tarfile.PAX_FORMAT)
        yield from pieces
        yield bytes(-summary.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def from_mbox(file: IO[bytes], size_limit: int | None) -> Iterator[Found]:
    """The messages of an mbox, one in memory at a time; ``TooBig``, ``Unreadable``."""
    maybe_from: bytes | None = None
    raw = bytearray()
    is_after_blank = is_line_start = True
    for line in iter(lambda: file.readline(LINE_PIECE), b""):
        if is_after_blank and line.startswith(b"From "):
            if maybe_from is not None:
                yield _of_mbox(maybe_from, raw, size_limit)
            maybe_from, raw = line, bytearray()
        elif maybe_from is None:
            raise Unreadable("An mbox begins with a line of From and an address")
        else:
            raw += line[1:] if is_line_start and _QUOTED_FROM.match(line) else line
            if raw.endswith(b"\n") and not raw.endswith(b"\r\n"):
                raw[-1:] = b"\r\n"
            _check_size(len(raw) - 2, size_limit)  # the last line end may be that of the empty line behind it
        is_after_blank = is_line_start and line in {b"\n", b"\r\n"}
        is_line_start = line.endswith(b"\n")
    if maybe_from is not None:
        yield _of_mbox(maybe_from, raw, size_limit)


def from_tar(file: IO[bytes], size_limit: int | None) -> Iterator[Found]:
    """The files in a tar, whatever their names; directories, links and devices are passed over.

    A tar of plain files unpacks to no more than it is; a sparse file would, and is refused.  The headers are looked at
    one by one, as ``tarfile`` believes what they say about how much to read.  ``TooBig``, ``Unreadable``.
    """
    is_first = True
    while block := file.read(tarfile.BLOCKSIZE):
        if not is_first and not block.strip(b"\0"):
            return
        is_first = False
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError) as error:
            raise Unreadable(f"It is no tar, or a damaged one: {type(error).__name__}") from None
        if not 0 <= member.size <= MEMBER_LIMIT:
            raise Unreadable("It says that a file has an impossible size")
        if member.type in _EXTENSIONS:
            if member.size > EXTENSION_LIMIT:
                raise Unreadable("It has an extended header that is too large")
            extension = file.read(_blocks(member.size))
            if b" GNU.sparse." in extension or b" size=" in extension:
                raise Unreadable("It has a sparse file, or one of more than 8 GiB")
        elif member.type == tarfile.GNUTYPE_SPARSE:
            raise Unreadable("It has a sparse file")
        elif member.isreg():
            _check_size(member.size, size_limit)
            content = file.read(member.size)
            if len(content) < member.size:
                raise Unreadable("It is cut short")
            file.seek(-member.size % tarfile.BLOCKSIZE, io.SEEK_CUR)
            yield Found(content, None, float(member.mtime) or None)
        elif member.type not in tarfile.SUPPORTED_TYPES:
            file.seek(_blocks(member.size), io.SEEK_CUR)
    if is_first:
        raise Unreadable("It is empty")


def arrival(found: Found, inbox: str) -> Arrival:
    """A message with the envelope that its header suggests."""
    head = io.BytesIO(found.raw[:HEADER_LIMIT])
    header = BytesHeaderParser().parse(head)

    def people(*names: str) -> list[str]:
        values = [_text(value) for name in names for value in header.get_all(name, [])][:RECIPIENTS_LIMIT]
        return [address for _, address in getaddresses(values) if address]

    senders = people("Return-Path") or people("From")
    sender = found.sender if found.sender is not None else (senders or [""])[0]
    return Arrival(
        raw=found.raw,
        mail_from=sender,
        rcpt_tos=tuple(dict.fromkeys(people("Delivered-To") or people("To", "Cc", "Bcc")))[:RECIPIENTS_LIMIT],
        inbox=inbox,
        received_at=found.time or 0.0,
    )


def _text(value: str | Header) -> str:
    """A field as text: what is not ASCII comes as a Header of an unknown charset, and its octets are UTF-8 if any."""
    octets = str(value).encode("utf-8", "surrogateescape") if isinstance(value, str) else str(value).encode()
    return octets.decode("utf-8", "replace").replace("\r", "").replace("\n", "")


def _quoted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Text with LF, and one more ``>`` in front of lines that look like the first one of a message."""
    held = b""
    is_at_start = True  # of a line: nothing but > is before it
    for piece in pieces:
        text = (held + piece).replace(b"\r\n", b"\n")
        end = _UNDECIDED.search(text, max(0, len(text) - 5))
        at = len(text) if end is None else end.start()
        text, held = text[:at], text[at:]
        # Where in a run of > the new one stands makes no difference: it may have begun in the piece before.
        yield _FROM.sub(rb">\1", text) if is_at_start else _FROM.sub(rb">\1", b"x" + text)[1:]
        line = text[text.rfind(b"\n") + 1 :]
        is_at_start = not line.strip(b">") and (is_at_start or b"\n" in text)
    yield held


def _check_size(size: int, maybe_limit: int | None) -> None:
    if maybe_limit is not None and size > maybe_limit:
        raise TooBig("A message in it is larger than messages may be")


def _blocks(size: int) -> int:
    return size + -size % tarfile.BLOCKSIZE


def _of_mbox(first: bytes, raw: bytearray, size_limit: int | None) -> Found:
    """A message without the empty line that ends it in the file."""
    if raw == b"\r\n" or raw.endswith(b"\n\r\n"):
        del raw[-2:]
    _check_size(len(raw), size_limit)
    sender, _, date = first[5:].decode("latin-1").strip().partition(" ")
    parsed = parsedate(date)
    seconds = None
    if parsed is not None:
        try:
            seconds = float(calendar.timegm(parsed))
        except (ValueError, OverflowError):
            seconds = None
    return Found(bytes(raw), "" if sender == "MAILER-DAEMON" else sender[:320], seconds)
