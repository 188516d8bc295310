"""A message from what a command line says.  Knows MIME and files; does not know servers.

Whatever is wrong with the words of a user is a ``ValueError`` or an ``OSError`` with a line for him.
"""

from __future__ import annotations

import email.utils
import mimetypes
import re
import sys
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

from ehlo.protocol.data import normalize_newlines

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Sequence

SENDER = "me@example.com"
RECIPIENT = "you@example.com"
SUBJECT = "Hello from ehlo"
TEXT = "It works.\n"

# RFC 5322 §2.2:  field-name = 1*%d33-57 / %d59-126
_HEADER = re.compile(r"([!-9;-~]+)\s*:\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Post:
    """A message and its envelope.  ``content`` has CRLF line ends."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def needs_utf8(self) -> bool:
        """Whether an address cannot be said without SMTPUTF8 (RFC 6531)."""
        return not all(map(str.isascii, (self.sender, *self.recipients)))


def compose(options: Namespace, number: int) -> Post:
    """The message that the options of ``ehlo send`` describe; ``number`` is which one of ``--count``, from 1."""
    message = _compose(options)
    if options.count > 1:
        subject = f"{message['Subject'] or ''} ({number} of {options.count})".strip()
        del message["Subject"]
        message["Subject"] = subject
    sender = _address(SENDER if options.sender is None else options.sender)
    if "Message-ID" not in message:
        # Given a domain, because make_msgid would else ask a name server who we are.
        message["Message-ID"] = email.utils.make_msgid(domain=sender.rpartition("@")[2] or "localhost")
    recipients = tuple(_given(options.recipients or [RECIPIENT]))
    return Post(sender, recipients, message.as_bytes())


def read_eml(options: Namespace) -> Post:
    """A message in a file, as it is; its own header says from whom and to whom, unless the options do."""
    content = normalize_newlines(read_file(options.eml))
    header = BytesHeaderParser(policy=policy.compat32).parsebytes(content)
    # RFC 5322 §3.6.2, §3.6.3; str() because a field with octets above 127 is no str.
    senders = [str(value) for name in ("Sender", "From") for value in header.get_all(name, ())]
    recipients = [str(value) for name in ("To", "Cc", "Bcc") for value in header.get_all(name, ())]
    found = [address for _, address in email.utils.getaddresses(senders) if address]
    sender = _address(options.sender) if options.sender is not None else (found or [SENDER])[0]
    to = _given(options.recipients) if options.recipients else _addresses(recipients or [RECIPIENT])
    return Post(sender, tuple(to), content)


def read_file(name: str) -> bytes:
    """The octets of a file; "-" is the standard input."""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise OSError(f"cannot read {name}: {error.strerror}") from error


def _compose(options: Namespace) -> EmailMessage:
    addresses = [options.sender or "", *options.recipients]
    # 7bit: whatever the server offers, the message may be sent to it.
    style = policy.SMTP if all(map(str.isascii, addresses)) else policy.SMTPUTF8
    message = EmailMessage(policy=style.clone(cte_type="7bit"))
    headers: dict[str, list[str]] = {
        "From": [options.sender or SENDER],
        "To": [", ".join(options.recipients or [RECIPIENT])],
        "Subject": [SUBJECT if options.subject is None else options.subject],
        "Date": [email.utils.formatdate(localtime=True)],
    }
    # One given by the user replaces ours, whatever its case; of a kind given twice there are two.
    ours = {name.lower(): name for name in headers}
    for text in options.headers:
        match = _HEADER.fullmatch(text)
        if match is None:
            raise ValueError(f"no header field: {text!r} (it is 'Name: value')")
        headers.pop(ours.pop(match[1].lower(), ""), None)
        headers.setdefault(match[1], []).append(match[2])
    for name, values in headers.items():
        for value in values:
            message[name] = value
    _add_content(message, options)
    return message


def _add_content(message: EmailMessage, options: Namespace) -> None:
    text, html = (_text(value) for value in (options.text, options.html))
    if html is not None and text is None:
        message.set_content(html, subtype="html")
    else:
        message.set_content(TEXT if text is None else text)
        if html is not None:
            message.add_alternative(html, subtype="html")
    for name in options.attachments:
        main, sub = _content_type(name)
        message.add_attachment(read_file(name), main, sub, filename=Path(name).name)


def _content_type(name: str) -> Sequence[str]:
    kind, encoding = mimetypes.guess_type(name)
    # RFC 2046 §5.2.1: a message in a message may not be in base64, so .eml goes as a file like any other.
    if kind is None or encoding or kind.startswith(("message/", "multipart/")):
        kind = "application/octet-stream"
    return kind.split("/", 1)


def _text(value: str | None) -> str | None:
    """Text, or that of a file after "@"."""
    if value is None or not value.startswith("@"):
        return value
    return read_file(value[1:]).decode("utf-8", "replace")


def _address(text: str) -> str:
    """The address in ``Name <address>``; "" and "<>" are the null reverse-path."""
    if text.strip() in {"", "<>"}:
        return ""
    return _given([text])[0]


def _given(texts: Sequence[str]) -> list[str]:
    """Addresses of the command line, which must stand there as they are sent: the parser mends what is none."""
    found = _addresses(texts)
    for address in found:
        there = re.escape(address)
        whole = re.compile(rf"(?:^|,)\s*{there}\s*(?:,|$)|<\s*{there}\s*>")
        has_space = not address.startswith('"') and len(address.split()) > 1
        if has_space or not any(map(whole.search, texts)):
            raise ValueError(f"no address: {', '.join(texts)}")
    return found


def _addresses(texts: Iterable[str]) -> list[str]:
    texts = list(texts)
    found = [address for _, address in email.utils.getaddresses(texts) if address]
    if not found:
        raise ValueError(f"no address: {', '.join(texts)}")
    return found
