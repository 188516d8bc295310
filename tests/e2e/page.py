"""A running inbox and the mail for it: what the tests of the page share with the script that takes its pictures.

Knows the server and messages; does not know browsers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import smtplib
import struct
import threading
import zlib
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, NamedTuple

from ehlo.inbox.server import InboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PATIENCE = 20.0
"""Seconds for what takes milliseconds, unless it is broken."""


class Served(NamedTuple):
    """An inbox that runs in a thread, as its clients see it."""

    server: InboxServer
    url: str
    port: int

    @contextlib.contextmanager
    def client(self, *, login: str | None = None, name: str = "web-1.internal") -> Iterator[smtplib.SMTP]:
        """A session that has said EHLO."""
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname=name) as smtp:
            smtp.ehlo()
            if login is not None:
                smtp.login(login, "any password")
            yield smtp

    def send(self, message: EmailMessage, *, login: str | None = None, recipients: Sequence[str] | None = None) -> None:
        """By SMTP; ``recipients`` None are those of the header."""
        with self.client(login=login) as smtp:
            smtp.send_message(message, to_addrs=recipients)


@contextlib.contextmanager
def serving(**options: Any) -> Iterator[Served]:
    """An inbox on two ports that are free."""
    started = threading.Event()
    found: dict[str, Any] = {}

    async def run() -> None:
        found["loop"], found["end"] = asyncio.get_running_loop(), asyncio.Event()
        try:
            options.setdefault("smtp", ("127.0.0.1", 0))
            options.setdefault("web", ("127.0.0.1", 0))
            async with InboxServer(**options) as server:
                found["server"] = server
                started.set()
                await found["end"].wait()
        except BaseException as error:
            found["error"] = error
            raise
        finally:
            started.set()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="inbox")
    thread.start()
    started.wait(PATIENCE)
    if "error" in found:
        raise found["error"]
    server: InboxServer = found["server"]
    assert server.web_url is not None
    try:
        yield Served(server, server.web_url, int(server.smtp_addresses[0].rpartition(":")[2]))
    finally:
        found["loop"].call_soon_threadsafe(found["end"].set)
        thread.join(PATIENCE)


def mail(
    subject: str,
    text: str | None = "A text.",
    *,
    html: str | None = None,
    sender: str = "Acme <noreply@acme.test>",
    to: str = "Priya Raman <priya@example.com>",
    files: Sequence[tuple[str, bytes, str]] = (),
    pictures: Sequence[tuple[str, bytes]] = (),
    **fields: str,
) -> EmailMessage:
    """A message.  ``files`` are (name, octets, type); ``pictures`` are (Content-ID, PNG), for the HTML."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    if text is not None:
        message.set_content(text)
    if html is not None and text is None:
        message.set_content(html, subtype="html")
    elif html is not None:
        message.add_alternative(html, subtype="html")
        for cid, octets in pictures:
            # Named by its Content-ID alone: a name of its own would make it an attachment.
            message.get_payload()[1].add_related(octets, "image", "png", cid=f"<{cid}>", disposition="inline")  # type: ignore[union-attr, index]
    for name, octets, kind in files:
        maintype, _, subtype = kind.partition("/")
        message.add_attachment(octets, maintype, subtype, filename=name)
    return message


def png(width: int, height: int, colour: Callable[[float, float], tuple[float, float, float]]) -> bytes:
    """A picture whose colour, 0 to 255 thrice, is a function of x and y, 0 to 1."""
    rows = b"".join(
        b"\0" + b"".join(bytes(map(int, colour(x / width, y / height))) for x in range(width)) for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
