"""Messages as files: mbox (RFC 4155, with the quoting of mboxrd), and a Maildir in a tar.  Knows the two formats.

Names in an archive are never used: what is in it becomes messages, and no file is written.
"""

from __future__ import annotations

import calendar
import io
import re
import tarfile
import time
from email.header import Header
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate
from typing import IO, TYPE_CHECKING, NamedTuple

from ehlo.inbox.records import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ehlo.inbox.records import Summary

HEADER_LIMIT = 64 * 1024
RECIPIENTS_LIMIT = 100

_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


class TooBig(ValueError):
    """A message in an archive is larger than one may be."""


class Unreadable(ValueError):
    """It is no such archive."""


class Found(NamedTuple):
    """A message in an archive.  ``sender`` and ``time`` are None where the archive does not say."""

    raw: bytes
    sender: str | None = None
    time: float | None = None


def to_mbox(messages: Iterable[tuple[Summary, bytes]]) -> Iterator[bytes]:
    """An mbox, piece by piece."""
    for summary, raw in messages:
        sender = re.sub(r"[^!-~]", "_", summary.mail_from) or "MAILER-DAEMON"
        yield f"From {sender} {time.asctime(time.gmtime(summary.received_at))}\n".encode()
        text = _FROM.sub(rb">\1", raw.replace(b"\r\n", b"\n"))
        yield text
        yield b"\n" if text.endswith(b"\n") else b"\n\n"


def to_maildir(messages: Iterable[tuple[Summary, bytes]]) -> Iterator[bytes]:
    """A tar with a Maildir in it, piece by piece: the messages to the octet, read ones in ``cur``."""
    for folder in ("cur", "new", "tmp"):
        directory = tarfile.TarInfo(f"Maildir/{folder}")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o700
        yield directory.tobuf(tarfile.PAX_FORMAT)
    for summary, raw in messages:
        name = f"{int(summary.received_at)}.{summary.id}.ehlo,S={len(raw)}"
        file = tarfile.TarInfo(f"Maildir/cur/{name}:2,S" if summary.is_read else f"Maildir/new/{name}")
        file.size, file.mtime, file.mode = len(raw), int(summary.received_at), 0o600
        yield file.tobuf(tarfile.PAX_FORMAT)
        yield raw
        yield bytes(-len(raw) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def from_mbox(file: IO[bytes], size_limit: int | None) -> Iterator[Found]:
    """The messages of an mbox; ``TooBig``, ``Unreadable``."""
    lines: list[bytes] = []
    size = 0
    maybe_from: bytes | None = None
    is_after_blank = True
    for line in iter(lambda: file.readline(1 << 20), b""):
        if is_after_blank and line.startswith(b"From "):
            if maybe_from is not None:
                yield _of_mbox(maybe_from, lines)
            maybe_from, lines, size = line, [], 0
        elif maybe_from is None:
            raise Unreadable("An mbox begins with a line of From and an address")
        else:
            lines.append(line)
            size += len(line)
            if size_limit is not None and size > size_limit:
                raise TooBig("A message in it is larger than messages may be")
        is_after_blank = line in {b"\n", b"\r\n"}
    if maybe_from is not None:
        yield _of_mbox(maybe_from, lines)


def from_tar(file: IO[bytes], size_limit: int | None) -> Iterator[Found]:
    """The files in a tar, whatever their names; links and devices are passed over.  ``TooBig``, ``Unreadable``."""
    try:
        # "r:" and not "r": a compressed one may be a thousand times what it seems.
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                if size_limit is not None and member.size > size_limit:
                    raise TooBig("A message in it is larger than messages may be")
                content = archive.extractfile(member)
                if content is not None:
                    yield Found(content.read(), None, float(member.mtime) or None)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Unreadable(f"It is no tar, or a damaged one: {type(error).__name__}") from None


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


def _of_mbox(first: bytes, lines: list[bytes]) -> Found:
    """A message with CRLF line ends, without the empty line that ends it in the file."""
    if lines and lines[-1] in {b"\n", b"\r\n"}:
        lines.pop()
    text = _QUOTED_FROM.sub(rb"\1", b"".join(lines))
    raw = re.sub(rb"(?<!\r)\n", b"\r\n", text)
    sender, _, date = first[5:].decode("latin-1").strip().partition(" ")
    parsed = parsedate(date)
    seconds = None
    if parsed is not None:
        try:
            seconds = float(calendar.timegm(parsed))
        except (ValueError, OverflowError):
            seconds = None
    return Found(raw, "" if sender == "MAILER-DAEMON" else sender[:320], seconds)
