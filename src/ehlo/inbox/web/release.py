"""Sending a caught message on to a real server: only to those that were named when the inbox was started.

Whoever can talk to the API could otherwise make this machine connect to anything that it can reach (server-side request
forgery).  A server that is named may be anywhere, also in this network: its owner said so.  A rule with ``*`` for the
host is not that: it is good for public addresses only, and the connection goes to the very address that was looked at.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from dataclasses import dataclass
from email.utils import format_datetime, localtime
from typing import TYPE_CHECKING

from ehlo.inbox.web.addresses import is_public
from ehlo.inbox.web.errors import ApiError, forbidden, invalid
from ehlo.net.client import Client, ClientTimeouts
from ehlo.protocol.client import UpstreamError, mail_command, rcpt_command
from ehlo.protocol.replies import Reply
from ehlo.trace import count_received

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

log = logging.getLogger("ehlo.inbox")

MARK = b"X-Ehlo-Released"
"""The field that says that a message has been here: it is not released once more."""
HOP_LIMIT = 100

_MARKED = re.compile(rb"(?:\A|\n)X-Ehlo-Released:", re.IGNORECASE)
_TIMEOUTS = ClientTimeouts(connect=10, tls=10, greeting=30, command=30, mail=30, rcpt=30, data=30, block=60, end=120)
# Host names and addresses, nothing that could be more than one word anywhere.
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,255}")


@dataclass(frozen=True, slots=True)
class Target:
    """A server; ``address`` is what to connect to in its stead, if it had to be looked at first."""

    host: str
    port: int
    address: str


class Targets:
    """The servers that may be sent to: ``host:port``, ``[address]:port``, ``*:port``.  ``ValueError`` for others."""

    def __init__(self, rules: Iterable[str]) -> None:
        self.rules = tuple(rules)
        self._allowed = {_rule(rule) for rule in self.rules}

    async def find(self, host: str, port: int) -> Target:
        """The target, if it may be sent to.  403, 422 or 502."""
        name = host.strip("[]").lower().rstrip(".")
        if not _HOST.fullmatch(name):
            raise invalid("host: not the name or address of a host")
        if (name, port) in self._allowed:
            return Target(name, port, name)
        if ("*", port) not in self._allowed:
            raise forbidden("Releasing to that server is not allowed; --release HOST:PORT does", "forbidden_target")
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(name, port, type=1)
        except (OSError, UnicodeError):
            raise ApiError(502, "unreachable", "That host has no address") from None
        addresses = [str(info[4][0]).partition("%")[0] for info in infos]
        if not addresses or not all(is_public(address) for address in addresses):
            raise forbidden("That host is not on the public Internet", "forbidden_target")
        return Target(name, port, addresses[0])


def check_envelope(sender: str, recipients: Sequence[str]) -> None:
    """422 for an address that would be more than one: nothing may end the line that it stands in."""
    try:
        mail_command(sender)
        for recipient in recipients:
            rcpt_command(recipient)
            if not recipient:
                raise ValueError
    except ValueError:
        raise invalid("A sender or recipient is no mail address") from None


def check_content(raw: bytes) -> None:
    """409 for a message that has been released before: it would go in circles."""
    header, _, _ = raw.partition(b"\r\n\r\n")
    if _MARKED.search(header) or count_received(raw) >= HOP_LIMIT:
        raise ApiError(409, "loop", "This message has been released before, and came back")


async def release(target: Target, sender: str, recipients: Sequence[str], raw: bytes) -> tuple[str, list[str]]:
    """Send it; the server's reply, and who it was accepted for.  502 with what went wrong there."""
    try:
        async with Client.connect(
            target.address, target.port, server_hostname=target.host, local_hostname="localhost", timeout=_TIMEOUTS
        ) as client:
            return await _send(client, sender, recipients, raw)
    except UpstreamError as error:
        if error.reply is not None:
            raise ApiError(502, "not_released", f"The server did not take it: {error.reply}") from None
        # What went wrong on the way says how this network is made: that is for the log.
        log.warning("a message was not released to %s:%d: %s", target.host, target.port, error)
        raise ApiError(502, "not_released", "The server was not reached, or broke off; the log says why") from None


async def _send(client: Client, sender: str, recipients: Sequence[str], raw: bytes) -> tuple[str, list[str]]:
    _expect(await client.ehlo())
    if "STARTTLS" in client.extensions:
        await client.starttls(_opportunistic_tls())
        _expect(await client.ehlo())
    needs_utf8 = not all(map(str.isascii, (sender, *recipients)))
    if needs_utf8 and "SMTPUTF8" not in client.extensions:
        raise ApiError(502, "not_released", "That server takes no addresses beyond ASCII")
    parameters = ["SMTPUTF8"] if needs_utf8 else []
    if not raw.isascii() and "8BITMIME" in client.extensions:
        parameters.append("BODY=8BITMIME")
    _expect(await client.mail(sender, parameters))
    replies = [(recipient, await client.rcpt(recipient)) for recipient in recipients]
    accepted = [recipient for recipient, reply in replies if reply.is_positive]
    if not accepted:
        _expect(replies[0][1])
    field = MARK + b": " + format_datetime(localtime()).encode() + b"\r\n"
    reply = await client.data(field + raw, normalizes=True)
    assert isinstance(reply, Reply)
    _expect(reply)
    return str(reply), accepted


def _expect(reply: Reply) -> None:
    if not reply.is_positive:
        raise ApiError(502, "not_released", f"The server did not take it: {reply}")


def _opportunistic_tls() -> ssl.SSLContext:
    """TLS against those who only listen (RFC 7435): a test server's certificate is seldom one that can be checked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _rule(rule: str) -> tuple[str, int]:
    host, _, port = rule.rpartition(":")
    name = host.strip("[]").lower().rstrip(".")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536) or not (name == "*" or _HOST.fullmatch(name)):
        raise ValueError(f"not a server to release to: {rule} (as in mail.example.com:25, or *:25)")
    return name, int(port)
