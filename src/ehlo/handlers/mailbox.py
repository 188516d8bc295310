"""A handler that stores: one file for each message, in a Maildir.

When the client reads 250, the message is on the disk, and it was never half there for a reader to see
(https://cr.yp.to/proto/maildir.html): written to ``tmp`` under a name that nobody else has, synced, renamed into
``new``, and the folder synced too, because a name that only memory knows is no file after a power cut.
"""

from __future__ import annotations

import errno
import itertools
import logging
import mailbox
import os
import secrets
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ehlo.handlers.fields import envelope_fields
from ehlo.trace import received_field, return_path_field

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterable, Iterator

    from ehlo.hooks import Status
    from ehlo.session import Envelope, Session
    from ehlo.smtp import SMTP

log = logging.getLogger("ehlo.handlers")

STORAGE_FULL = "452 4.3.1 Insufficient system storage, try again later"
STORAGE_FAILED = "451 4.3.0 Cannot store the message, try again later"

# EDQUOT is no name on Windows.
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}

# Line ends are changed in pieces of this size: between them other threads, the event loop's too, have their turn.
_PIECE_SIZE = 1_048_576

_deliveries = itertools.count(1)


class Mailbox:
    """Stores every message in the Maildir ``mail_dir``, which is made if it is not there.

    The file is the content with LF line ends, as is the custom, and in front of it Return-Path, X-Peer, X-MailFrom,
    X-RcptTo and Received.  The content is not parsed and not changed otherwise.  ``mailbox`` is the standard library's
    view of the same folder, for reading.
    """

    def __init__(self, mail_dir: str | os.PathLike[str]) -> None:
        self.mail_dir = mail_dir
        folder = Path(mail_dir)
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(folder)
        _sync_folder(folder.absolute().parent)
        self.mailbox = mailbox.Maildir(mail_dir)

    @classmethod
    def from_cli(cls, parser: ArgumentParser, *args: str) -> Self:
        """Take the path of the Maildir."""
        if not args:
            parser.error("The directory for the maildir is required")
        if len(args) > 1:
            parser.error("Too many arguments for Mailbox handler")
        return cls(args[0])

    def reset(self) -> None:
        """Delete every message."""
        self.mailbox.clear()

    def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Status | None:
        """Store it.  What goes wrong with the disk is temporary: the client keeps the message."""
        header = return_path_field(envelope)
        for name, value in envelope_fields(session, envelope, separator=",\r\n\t").items():
            header += f"{name}: {value}\r\n"
        header += received_field(session, envelope, by=server.hostname, protocol=server.protocol_name)
        try:
            deliver(Path(self.mail_dir), _pieces(header.encode(), envelope.content or b""))
        except OSError as error:
            log.exception("session %s: message %s was not stored", session.id, envelope.id)
            return STORAGE_FULL if error.errno in _FULL else STORAGE_FAILED
        return None


def deliver(maildir: Path, pieces: Iterable[bytes]) -> Path:
    """Make a new message of the pieces, durably; give its path.  If it raises, there is no message."""
    name = unique_name()
    temporary, final = maildir / "tmp" / name, maildir / "new" / name
    with open(temporary, "xb", opener=_open_private) as file, _removed_on_failure(temporary):
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
    with _removed_on_failure(temporary, final):
        temporary.rename(final)
        _sync_folder(final.parent)
    return final


@contextmanager
def _removed_on_failure(*paths: Path) -> Iterator[None]:
    """Nothing that was refused is kept."""
    try:
        yield
    except BaseException:
        for path in paths:
            with suppress(OSError):
                path.unlink()
        raise


def unique_name() -> str:
    """Make a name that no other delivery has: time, process, count and random bits, host."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    host = socket.gethostname().replace("/", r"\057").replace(":", r"\072")
    delivery = f"R{secrets.token_hex(8)}M{nanoseconds // 1000:06}P{os.getpid()}Q{next(_deliveries)}"
    return f"{seconds}.{delivery}.{host}"


def _pieces(header: bytes, content: bytes) -> Iterator[bytes]:
    """Header and content with LF line ends, never cut inside a CRLF."""
    yield header.replace(b"\r\n", b"\n")
    start = 0
    while start < len(content):
        end = start + _PIECE_SIZE
        if content[end - 1 : end + 1] == b"\r\n":
            end += 1
        yield content[start:end].replace(b"\r\n", b"\n")
        start = end


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(path: Path) -> None:
    """Make the names in a folder durable.  Windows opens no folders, and keeps names durable by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
