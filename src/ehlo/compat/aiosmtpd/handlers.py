"""aiosmtpd's handlers: Debugging, Proxy, Sink, Message, AsyncMessage, Mailbox, with its names, output and log.

As there, ``handle_message`` is called in the event loop: what it waits for, everybody waits for.  ``Proxy`` alone is
another inside: it answers what the next server answered, and waits for it without holding up the loop
(docs/migrating.md, ``proxy-loss``).  ``ehlo.handlers`` has better ones of each.
"""

from __future__ import annotations

import asyncio
import logging
import mailbox
import re
import sys
from abc import ABC, abstractmethod
from email.message import Message as Em_Message
from email.parser import BytesParser, Parser
from typing import TYPE_CHECKING, Any, Self, TextIO

from ehlo.compat.aiosmtpd import _get_or_new_eventloop
from ehlo.handlers.proxy import PROXY_TIMEOUTS
from ehlo.net.client import Client, UpstreamError
from ehlo.protocol.replies import Reply

if TYPE_CHECKING:
    import os
    from argparse import ArgumentParser
    from collections.abc import Sequence

    from ehlo.compat.aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["AsyncMessage", "Debugging", "Mailbox", "Message", "Proxy", "Sink"]

EMPTYBYTES = b""
COMMASPACE = ", "
CRLF = b"\r\n"
NLCRE = re.compile(rb"\r\n|\r|\n")

log = logging.getLogger("mail.debug")

# The first empty line, which ends the header: a line end at the beginning, or behind another one.
_EMPTY_LINE = re.compile(rb"(?:\A|\r\n|\n|\r(?!\n))(?P<ending>\r\n|\r|\n)")

UNREACHABLE = "451 4.4.1 Next server not available, try again later"
# RFC 6531 §3.5.
NEEDS_ASCII = Reply(550, "5.6.7", ("Internationalized address, which the next server does not take",))


def message_from_bytes(s: bytes, *args: Any, **kws: Any) -> Em_Message:
    """Parse a message; the further arguments are those of ``BytesParser``."""
    message: Em_Message = BytesParser(*args, **kws).parsebytes(s)
    return message


def message_from_string(s: str, *args: Any, **kws: Any) -> Em_Message:
    """Parse a message; the further arguments are those of ``Parser``."""
    message: Em_Message = Parser(*args, **kws).parsestr(s)
    return message


class Debugging:
    """Prints each message, with an X-Peer field at the end of its header.

    ``stream`` is where to; None is what ``sys.stdout`` is now.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream

    @classmethod
    def from_cli(cls, parser: ArgumentParser, *args: str) -> Self:
        """Take ``stdout``, ``stderr`` or nothing."""
        if args not in {(), ("stdout",), ("stderr",)}:
            parser.error("Debugging usage: [stdout|stderr]")
        return cls(sys.stderr if args == ("stderr",) else sys.stdout)

    def _print_message_content(self, peer: object, data: str | bytes) -> None:
        """Print the lines of a message."""
        lines = [line.decode("utf-8", "replace") if isinstance(line, bytes) else line for line in data.splitlines()]
        if "" in lines:
            lines.insert(lines.index(""), f"X-Peer: {peer!r}")
        self.stream.write("".join(f"{line}\n" for line in lines))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Print it."""
        print("---------- MESSAGE FOLLOWS ----------", file=self.stream)
        named = {"mail options:": envelope.mail_options, "rcpt options:": envelope.rcpt_options}
        options = {name: values for name, values in named.items() if any(values)}
        for name, values in options.items():
            print(name, values, file=self.stream)
        if options:
            print(file=self.stream)
        assert envelope.content is not None
        self._print_message_content(session.peer, envelope.content)
        print("------------ END MESSAGE ------------", file=self.stream)
        return "250 OK"


class Proxy:
    """Relays each message to the SMTP server at ``remote_hostname`` and ``remote_port``, with an X-Peer field.

    The client gets the reply of that server: its 250 only when it has the message.  A message goes to all of its
    recipients or to none, for the client can be given only one reply: a refusal of one recipient refuses the message.
    What keeps the reply from being known is a 451, so the client tries again.
    """

    def __init__(self, remote_hostname: str, remote_port: int) -> None:
        self._hostname = remote_hostname
        self._port = remote_port

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Relay it, and pass the reply on."""
        content = envelope.original_content if isinstance(envelope.content, str) else envelope.content
        assert content is not None
        assert envelope.mail_from is not None
        data = _with_peer(content, session.peer)
        try:
            reply = await self._relay(server.hostname, envelope.mail_from, envelope.rcpt_tos, data)
        except UpstreamError as error:
            log.warning("the next server did not take a message: %s", error)
            if error.reply is None or error.reply.code < 400:
                return UNREACHABLE
            reply = error.reply
        return _status(reply)

    async def _relay(self, hostname: str, mail_from: str, rcpt_tos: Sequence[str], data: bytes) -> Reply:
        """Give the last word of the next server.  ``UpstreamError`` if there is none, ``ValueError`` for addresses."""
        connecting = Client.connect(self._hostname, self._port, local_hostname=hostname, timeout=PROXY_TIMEOUTS)
        async with connecting as client:
            reply = await client.ehlo()
            needs_utf8 = not "".join([mail_from, *rcpt_tos]).isascii()
            if needs_utf8 and reply.is_positive and "SMTPUTF8" not in client.extensions:
                return NEEDS_ASCII
            if reply.is_positive:
                parameters = ["SMTPUTF8"] if needs_utf8 else []
                if "8BITMIME" in client.extensions and not data.isascii():
                    parameters.append("BODY=8BITMIME")
                reply = await client.mail("" if mail_from == "<>" else mail_from, parameters)
            if not reply.is_positive:
                return reply
            refused = {}
            for address in rcpt_tos:
                reply = await client.rcpt(address)
                if not reply.is_positive:
                    refused[address] = reply
            if len(refused) == len(rcpt_tos):
                log.info("got SMTPRecipientsRefused")
            told = {address: (reply.code, str(reply)[4:].encode()) for address, reply in refused.items()}
            log.info("we got some refusals: %s", told)
            if refused:
                # A temporary one counts more: when the client tries again, that one may be taken.
                return min(refused.values(), key=lambda reply: reply.code // 100)
            # A bare CR or LF would let the next server see another message in this one (SMTP smuggling).
            answer = await client.data(data, normalizes=True)
            assert not isinstance(answer, list)
            return answer


def _with_peer(content: bytes, peer: object) -> bytes:
    """Add an X-Peer field to the end of the header; without an empty line, in front of the last line."""
    host = peer[0] if isinstance(peer, tuple) else peer
    match = _EMPTY_LINE.search(content)
    if match is not None:
        position, ending = match.start("ending"), match["ending"]
    else:
        position, ending = len(content) - len(b"".join(content.splitlines(keepends=True)[-1:])), CRLF
    return content[:position] + f"X-Peer: {host}".encode("ascii", "replace") + ending + content[position:]


def _status(reply: Reply) -> str:
    # A 421 is about the connection that it comes on (RFC 5321 §3.8), and ours stays.
    status = str(reply)
    if reply.code == 421:
        status = "451" + status[3:]
    return status.encode("ascii", "replace").decode()


class Sink:
    """Accepts everything and keeps nothing."""

    @classmethod
    def from_cli(cls, parser: ArgumentParser, *args: str) -> Self:
        """Take nothing."""
        if args:
            parser.error("Sink handler does not accept arguments")
        return cls()


class MessageBase(ABC):
    """Makes a message of an envelope; ``message_class`` is of what class, None is the parser's own."""

    def __init__(self, message_class: type[Em_Message] | None = None) -> None:
        self.message_class = message_class

    def prepare_message(self, session: Session, envelope: Envelope) -> Em_Message:
        """Parse the content, and add X-Peer, X-MailFrom and X-RcptTo."""
        data: Any = envelope.content
        if isinstance(data, bytes | bytearray):
            message = message_from_bytes(bytes(data), self.message_class)
        elif isinstance(data, str):
            message = message_from_string(data, self.message_class)
        else:
            raise TypeError(f"Expected str or bytes, got {type(data)}")
        message["X-Peer"] = str(session.peer)
        message["X-MailFrom"] = envelope.mail_from  # type: ignore[assignment]
        message["X-RcptTo"] = COMMASPACE.join(envelope.rcpt_tos)
        return message

    @abstractmethod
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Give the status for the client."""


class Message(MessageBase, ABC):
    """A handler that gets messages: subclass it and write ``handle_message``."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Parse the message and hand it over."""
        self.handle_message(self.prepare_message(session, envelope))
        return "250 OK"

    @abstractmethod
    def handle_message(self, message: Em_Message) -> None:
        """Do something with the message, at once."""


class AsyncMessage(MessageBase, ABC):
    """The same for a coroutine ``handle_message``."""

    def __init__(
        self, message_class: type[Em_Message] | None = None, *, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(message_class)
        self.loop = loop or _get_or_new_eventloop()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Parse the message and hand it over."""
        await self.handle_message(self.prepare_message(session, envelope))
        return "250 OK"

    @abstractmethod
    async def handle_message(self, message: Em_Message) -> None:
        """Do something with the message."""


class Mailbox(Message):
    """Stores every message in the Maildir ``mail_dir``, which is made if it is not there."""

    def __init__(self, mail_dir: str | os.PathLike[str], message_class: type[Em_Message] | None = None) -> None:
        super().__init__(message_class)
        self.mailbox = mailbox.Maildir(mail_dir)
        self.mail_dir = mail_dir

    @classmethod
    def from_cli(cls, parser: ArgumentParser, *args: str) -> Self:
        """Take the path of the Maildir."""
        if not args:
            parser.error("The directory for the maildir is required")
        if len(args) > 1:
            parser.error("Too many arguments for Mailbox handler")
        return cls(args[0])

    def handle_message(self, message: Em_Message) -> None:
        """Store it."""
        self.mailbox.add(message)

    def reset(self) -> None:
        """Delete every message."""
        self.mailbox.clear()
