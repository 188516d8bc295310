"""The two smallest handlers: one shows every message, one throws it away."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import AsyncIterator

    from ehlo.session import Envelope, Session
    from ehlo.smtp import SMTP

_ABOVE = "---------- MESSAGE FOLLOWS ----------"
_BELOW = "------------ END MESSAGE ------------"

# C0 without HTAB and LF, DEL, and C1: what a terminal obeys instead of showing it.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Debugging:
    """Prints each message, with an X-Peer field at the end of its header.

    ``stream`` is where to; None is ``sys.stdout``, as it is when the message comes.  A plain hook, so a terminal that
    was stopped holds up one message and not the server.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    @classmethod
    def from_cli(cls, parser: ArgumentParser, *args: str) -> Self:
        """Take ``stdout``, ``stderr`` or nothing."""
        if args == ("stderr",):
            return cls(sys.stderr)
        if args not in {(), ("stdout",)}:
            parser.error("Debugging usage: [stdout|stderr]")
        return cls()

    def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        """Print it, in one write, so that two messages at once do not mix."""
        stream = sys.stdout if self.stream is None else self.stream
        text = _show(session, envelope)
        if stream.isatty():
            text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()


def _show(session: Session, envelope: Envelope) -> str:
    options = [
        f"{name} options: {values}\n"
        for name, values in (("mail", envelope.mail_options), ("rcpt", envelope.rcpt_options))
        if values
    ]
    if options:
        options.append("\n")
    content = (envelope.content or b"").replace(b"\r\n", b"\n").decode(errors="replace")
    # A LF in front, so that an empty first line is the end of an empty header too.
    header, blank, body = f"\n{content}".partition("\n\n")
    if blank:
        header += f"\nX-Peer: {session.peer!r}"
    message = f"{header}{blank}{body}"[1:]
    end = "\n" if message and not message.endswith("\n") else ""
    return "".join([f"{_ABOVE}\n", *options, message, end, f"{_BELOW}\n"])


class Sink:
    """Accepts everything and keeps nothing, in constant memory: the mail data is never put together."""

    @classmethod
    def from_cli(cls, parser: ArgumentParser, *args: str) -> Self:
        """Take nothing."""
        if args:
            parser.error("Sink handler does not accept arguments")
        return cls()

    async def handle_DATA_STREAM(
        self, server: SMTP, session: Session, envelope: Envelope, chunks: AsyncIterator[bytes]
    ) -> None:
        """Leave it unread: the server drops it, and answers when it has seen the end."""
