"""Messages as objects: handlers to be subclassed by whoever wants an ``email.message.Message`` and no octets.

Parsing is kept away from the event loop: a thread does it, and above ``process_threshold`` a process of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from email.message import Message as EmailMessage
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ehlo.errors import HandlerError
from ehlo.handlers import parser_process
from ehlo.handlers.fields import envelope_fields

if TYPE_CHECKING:
    from ehlo.hooks import Status
    from ehlo.session import Envelope, Session
    from ehlo.smtp import SMTP

log = logging.getLogger("ehlo.handlers")

_SCRIPT = Path(parser_process.__file__)
# So many take some milliseconds; 200,000 take 20 seconds.
_SEMICOLONS = 5_000
_MEGABYTE = 1_000_000


class ParserFailed(HandlerError):
    """The process that parsed a message did not end well: 451 for the client, the reason in the log."""


class ClassNotImportable(Exception):
    """The other process cannot find the message class by its name."""


class MessageBase:
    """Makes a message of an envelope, with X-Peer, X-MailFrom and X-RcptTo.

    ``message_class`` is what to make; None is ``email.message.Message``.  One that another process cannot import (it is
    in the program's main file, say, or inside a function) is always made in a thread.  ``process_threshold`` is in
    octets, ``process_timeout`` in seconds.
    """

    process_threshold = _MEGABYTE
    process_timeout = 60.0

    def __init__(self, message_class: type[EmailMessage] | None = None) -> None:
        self.message_class = EmailMessage if message_class is None else message_class
        self.uses_process = can_use_process(self.message_class)

    def prepare_message(self, session: Session, envelope: Envelope) -> EmailMessage:
        """Make the message.  Runs in a thread.  Fields of these names that the client sent are dropped."""
        if not isinstance(envelope.content, bytes):
            raise TypeError(f"Expected bytes, got {type(envelope.content)}")
        message = self.parse(envelope.content)
        for name, value in envelope_fields(session, envelope).items():
            del message[name]
            message[name] = value
        return message

    def parse(self, content: bytes) -> EmailMessage:
        """Make the message of the content alone, here or in another process."""
        # The standard library's parser of parameters is quadratic in their number.
        is_dear = len(content) > self.process_threshold or content.count(b";") > _SEMICOLONS
        if self.uses_process and is_dear:
            try:
                return parse_in_process(content, self.message_class, self.process_timeout)
            except ClassNotImportable:
                log.warning("%r is not importable elsewhere: large messages are parsed in a thread", self.message_class)
                self.uses_process = False
        return parser_process.parse(content, self.message_class)


class Message(MessageBase, ABC):
    """A handler that gets messages: subclass it and write ``handle_message``, which runs in a thread."""

    def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Status | None:
        """Parse the message and hand it over."""
        return self.handle_message(self.prepare_message(session, envelope))

    @abstractmethod
    def handle_message(self, message: EmailMessage) -> Status | None:
        """Do something with the message; may return a status for the client."""


class AsyncMessage(MessageBase, ABC):
    """The same for a coroutine ``handle_message``; the message is parsed in a thread before it."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Status | None:
        """Parse the message and hand it over."""
        loop = asyncio.get_running_loop()
        message = await loop.run_in_executor(server.shared.threads, self.prepare_message, session, envelope)
        return await self.handle_message(message)

    @abstractmethod
    async def handle_message(self, message: EmailMessage) -> Status | None:
        """Do something with the message; may return a status for the client."""


def can_use_process(message_class: type) -> bool:
    """Whether there is an interpreter to start, and hope that it will find the class."""
    if message_class.__module__ == "__main__" or "<locals>" in message_class.__qualname__:
        return False
    # A frozen program's executable is that program, and inside a zip there is no file to run.
    return bool(sys.executable) and not getattr(sys, "frozen", False) and _SCRIPT.is_file()


def parse_in_process(content: bytes, message_class: type[EmailMessage], timeout: float) -> EmailMessage:
    """Parse in another process, waiting for it: for a thread.  ``ParserFailed`` or ``ClassNotImportable``.

    Not ``multiprocessing``, which would run the user's main file a second time.
    """
    output_limit = 2 * len(content) + _MEGABYTE
    memory_limit = 64 * len(content) + 512 * _MEGABYTE
    arguments = [message_class.__module__, message_class.__qualname__, str(output_limit), str(memory_limit)]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and a file of this package
            # No site module and no folder of the script in the path: what can be imported is what can be here.
            [sys.executable, "-S", "-s", "-P", str(_SCRIPT), *arguments],
            input=content,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
        )
    except subprocess.TimeoutExpired:
        raise ParserFailed(f"a message of {len(content)} octets was not parsed within {timeout:g} s") from None
    if done.returncode == parser_process.NOT_IMPORTABLE:
        raise ClassNotImportable
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").rpartition("\n")[2] or "no reason given"
        raise ParserFailed(f"a message of {len(content)} octets was not parsed: exit {done.returncode}, {reason}")
    message: EmailMessage = parser_process.Reader(BytesIO(done.stdout)).load()
    return message
