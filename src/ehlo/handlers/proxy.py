"""A handler that relays each message to another server, live: while it arrives, and nothing of it is kept here.

So it never takes responsibility for a message.  Each command is forwarded, the next server's reply is the reply, and
the 250 for the mail data is the one that the next server gave.  Whatever keeps that reply from being known is a 451:
the client has the message still, and tries again.

    client    MAIL RCPT ... DATA chunk chunk ... end        250
                |    |   |          |     |       |          ^
    upstream  MAIL RCPT ... DATA Received: chunk ... end -> 250

The final dot goes out only when the client's own end of data has come.  Mail data that breaks off, is too big, loops or
would be damaged on the way ends the upstream connection without it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Container, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Self

from ehlo.errors import AddressNeedsUTF8, ProtocolError, UnknownParameter
from ehlo.net.client import Client, ClientTimeouts
from ehlo.protocol.client import UpstreamError
from ehlo.protocol.parameters import MAIL_PARAMETERS, RCPT_PARAMETERS, Body, Parameter
from ehlo.protocol.replies import Reply
from ehlo.session import Disconnect
from ehlo.trace import ReceivedCounter, received_field

if TYPE_CHECKING:
    import os
    from argparse import ArgumentParser
    from ssl import SSLContext

    from ehlo.hooks import Status
    from ehlo.session import Envelope, Session
    from ehlo.smtp import SMTP

log = logging.getLogger("ehlo.handlers")

HOP_LIMIT = 100
"""RFC 5321 §6.3: "a large rejection threshold, normally at least 100 Received entries"."""

UNREACHABLE = "451 4.4.1 Next server not available, try again later"
LOST = "451 4.4.2 Connection to the next server lost, try again later"
MIXED = "451 4.2.0 Not accepted for all recipients, try again later"

# Our client waits 5 minutes for its reply to MAIL (RFC 5321 §4.5.3.2.2), for which we connect, greet (twice, around
# STARTTLS) and say MAIL: together less.  And `end` is less than the server's hook_timeout, so that the log says why.
PROXY_TIMEOUTS = ClientTimeouts(connect=30, tls=30, greeting=60, command=30, mail=60, rcpt=240, data=120, end=520)

# Parameters that may be left out where the next server does not know them: they inform or they ask for a favour.  BODY
# and SMTPUTF8 are among them because it is the addresses and the content themselves that are held against what it
# can take: most mail that says BODY=8BITMIME is ASCII.
_DISPENSABLE = frozenset({"BODY", "SMTPUTF8", "SIZE", "RET", "ENVID", "NOTIFY", "ORCPT", "MT-PRIORITY"})

# RFC 4954 §5: whose word on the author's identity a server passes on is a matter of trust, and this one trusts nobody.
_NEVER_RELAYED = frozenset({"AUTH"})

# Extensions that we cannot offer where the next server does not, and one that needs BDAT, where we say DATA.
_BORROWED = frozenset({"8BITMIME", "SMTPUTF8"})
_NEVER_OFFERED = frozenset({"BINARYMIME"})


class TooManyHops(ProtocolError):
    """The message has been through too many servers, perhaps through this one before (RFC 5321 §6.3)."""

    code = 554
    enhanced = "5.4.6"
    text = "Too many hops, the message may be looping"
    is_counted = False


class ConversionNeeded(ProtocolError):
    """The content is not ASCII, and the next server takes nothing else (RFC 6152 §3)."""

    code = 554
    enhanced = "5.6.3"
    text = "8-bit content, which the next server does not take"
    is_counted = False


class HeaderNeedsUTF8(ProtocolError):
    """Perhaps an internationalised header, and the next server knows no SMTPUTF8 (RFC 6531 §3.5, ``5.6.9``)."""

    code = 550
    enhanced = "5.6.9"
    text = "Internationalized message, which the next server does not take"
    is_counted = False


class UpstreamNeedsASCII(AddressNeedsUTF8):
    """An internationalised address, and the next server knows no SMTPUTF8 (RFC 6531 §3.5)."""

    text = "Internationalized address, which the next server does not take"
    is_counted = False


class Proxy:
    """Relays to the server at ``remote_hostname`` and ``remote_port``, or at ``unix_path``.

    Each session has at most one upstream connection, opened by its first MAIL and used again for the next.

    ``lmtp``: the next server speaks LMTP.  ``ssl_context`` is for TLS from the first octet; with ``tls_context`` it
    must do STARTTLS, and nothing is relayed in plain text if it does not.  ``local_hostname`` is what we say in EHLO;
    None is the name in our own greeting.  ``timeout`` is a table, or seconds for every stage.  ``hop_limit``: a message
    with that many Received fields is refused.

    An LMTP server answers for each recipient.  If our own client speaks LMTP it gets those replies; a client that
    speaks SMTP can be told only one.  That is the first of them if all are of one class, and a 451 if they are not:
    then the client sends the message again, and who has it already gets it once more.  A duplicate is better than a
    loss, but where clients speak SMTP, a next server that speaks SMTP is the better choice.
    """

    def __init__(
        self,
        remote_hostname: str | None = None,
        remote_port: int = 25,
        *,
        unix_path: str | os.PathLike[str] | None = None,
        lmtp: bool = False,
        ssl_context: SSLContext | None = None,
        tls_context: SSLContext | None = None,
        local_hostname: str | None = None,
        timeout: ClientTimeouts | float = PROXY_TIMEOUTS,
        hop_limit: int = HOP_LIMIT,
    ) -> None:
        if (remote_hostname is None) == (unix_path is None):
            raise ValueError("either a remote_hostname or a unix_path")
        if ssl_context is not None and tls_context is not None:
            raise ValueError("either ssl_context, for TLS at once, or tls_context, for STARTTLS")
        self.remote_hostname = remote_hostname
        self.remote_port = remote_port
        self.unix_path = None if unix_path is None else str(unix_path)
        self.lmtp = lmtp
        self.ssl_context = ssl_context
        self.tls_context = tls_context
        self.local_hostname = local_hostname
        self.timeout = timeout
        self.hop_limit = hop_limit
        self.clients: dict[str, Client] = {}
        """The upstream connections by ``session.id``."""
        self.extensions: Mapping[str, Sequence[str]] | None = None
        """What the next server offered last; None before the first connection."""

    @classmethod
    def from_cli(cls, parser: ArgumentParser, *args: str) -> Self:
        """Take the host of the next server, and its port if it is not 25."""
        if not 1 <= len(args) <= 2 or not all(port.isdecimal() for port in args[1:]):
            parser.error("Proxy usage: host [port]")
        return cls(args[0], *map(int, args[1:]))

    async def connect(self, server: SMTP) -> Client:
        """Open an upstream connection, ready for MAIL.  ``UpstreamError`` if that cannot be done.

        Extend it to authenticate.
        """
        client = await Client.connect(
            self.remote_hostname,
            self.remote_port,
            unix_path=self.unix_path,
            ssl=self.ssl_context,
            local_hostname=self.local_hostname or server.hostname,
            timeout=self.timeout,
            lmtp=self.lmtp,
        )
        try:
            await _greet(client)
            if self.tls_context is not None:
                await client.starttls(self.tls_context)
                await _greet(client)
        except BaseException:
            client.close()
            raise
        self.extensions = client.extensions
        return client

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        """Offer nothing that the next server did not offer when we last asked it; end the transaction."""
        await self.reset(session)
        missing = _NEVER_OFFERED if self.extensions is None else _NEVER_OFFERED | (_BORROWED - self.extensions.keys())
        return [line for line in lines if line.partition(" ")[0] not in missing]

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> None:
        """End the transaction."""
        await self.reset(session)

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        """End the transaction."""
        await self.reset(session)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> Status:
        """Connect if need be, and forward it."""
        if envelope.mail_parameters.body is Body.BINARYMIME:
            raise ConversionNeeded
        try:
            client = await self._client_for_mail(server, session)
        except UpstreamError as error:
            log.warning("session %s: the next server is not available: %s", session.id, error)
            return UNREACHABLE
        _check_address(address, client)
        parameters = _parameters(options, MAIL_PARAMETERS, client.extensions, server.settings.ignore_parameters)
        try:
            return _passed_on(await client.mail(address, parameters))
        except UpstreamError as error:
            return _lost(session, "MAIL", error)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> Status:
        """Forward it."""
        client = self.clients.get(session.id)
        if client is None:
            return LOST
        _check_address(address, client)
        parameters = _parameters(options, RCPT_PARAMETERS, client.extensions, server.settings.ignore_parameters)
        try:
            return _passed_on(await client.rcpt(address, parameters))
        except UpstreamError as error:
            return _lost(session, "RCPT", error)

    async def handle_DATA_STREAM(
        self, server: SMTP, session: Session, envelope: Envelope, chunks: AsyncIterator[bytes]
    ) -> Status | list[Status]:
        """Forward the content as it comes, a Received field in front, and answer what the next server answers."""
        # Not to be found while it is busy: between two BDAT commands the client may say RSET, and is to give up the
        # message by that, not to talk into it.
        client = self.clients.pop(session.id, None)
        if client is None:
            return LOST
        field = received_field(session, envelope, by=server.hostname, protocol=server.protocol_name)
        try:
            async with aclosing(self._content(field, envelope, chunks, client)) as content:
                outcome = await client.data(content)
        except UpstreamError as error:
            return _lost(session, "DATA", error)
        finally:
            if not client.is_closed:
                self.clients[session.id] = client
        if isinstance(outcome, Reply):
            return _passed_on(outcome)
        replies = [_passed_on(reply) for reply in outcome]
        return [*replies] if server.protocol_name == "LMTP" else _one_of(replies)

    async def handle_DISCONNECT(self, server: SMTP, session: Session, envelope: Envelope, why: Disconnect) -> None:
        """Close the upstream connection, politely if the client was polite."""
        client = self.clients.pop(session.id, None)
        if client is None:
            return
        if why is Disconnect.QUIT and not client.is_closed:
            with suppress(UpstreamError):
                await client.quit()
        client.close()

    async def reset(self, session: Session) -> bool:
        """End the upstream transaction of a session; False if there is no connection that could begin another."""
        client = self.clients.get(session.id)
        if client is None:
            return False
        with suppress(UpstreamError):
            if not client.is_closed and (await client.rset()).is_positive:
                return True
        client.close()
        self.clients.pop(session.id, None)
        return False

    async def _client_for_mail(self, server: SMTP, session: Session) -> Client:
        # The RSET also tells whether the next server is still there: it may have tired of waiting for another message.
        if not await self.reset(session):
            self.clients[session.id] = await self.connect(server)
        return self.clients[session.id]

    async def _content(
        self, field: str, envelope: Envelope, chunks: AsyncIterator[bytes], client: Client
    ) -> AsyncGenerator[bytes, None]:
        """What to send.  Raises for a message that must not go on; then it has not been sent whole."""
        objection = _objection_to_octets(envelope, client)
        received = ReceivedCounter()
        yield field.encode()
        async for chunk in chunks:
            if received.feed(chunk) >= self.hop_limit:
                raise TooManyHops
            if objection is not None and not chunk.isascii():
                raise objection
            yield chunk


async def _greet(client: Client) -> None:
    reply = await client.ehlo()
    if not reply.is_positive:
        raise UpstreamError(f"the greeting was refused: {reply}", reply=reply)


def _check_address(address: str, client: Client) -> None:
    if not address.isascii() and "SMTPUTF8" not in client.extensions:
        raise UpstreamNeedsASCII


def _objection_to_octets(envelope: Envelope, client: Client) -> type[ProtocolError] | None:
    """What is wrong with content that is not ASCII, None if nothing is."""
    if "8BITMIME" not in client.extensions:
        return ConversionNeeded
    # Whether the octets stand in a header, of the message or of some part, only a parser could tell.
    if envelope.smtp_utf8 and "SMTPUTF8" not in client.extensions:
        return HeaderNeedsUTF8
    return None


def _parameters(
    options: Iterable[str], table: Mapping[str, Parameter], offered: Container[str], ignored: Container[str]
) -> list[str]:
    """The parameters to forward: as they were sent, those that the next server offers.

    ``UnknownParameter`` for one that it does not and that must not get lost.
    """
    relayed = []
    for option in options:
        keyword = option.partition("=")[0].upper()
        row = table.get(keyword)
        if keyword in _NEVER_RELAYED:
            continue
        if (row.extension if row else keyword) in offered:
            relayed.append(option)
        elif keyword not in _DISPENSABLE and keyword not in ignored:
            raise UnknownParameter(f"the next server does not know {option!r}")
    return relayed


def _passed_on(reply: Reply) -> Reply:
    """The next server's reply as ours.  A 421 is about the connection that it comes on (RFC 5321 §3.8): ours stays."""
    return Reply(451, reply.enhanced or "4.4.2", reply.lines) if reply.code == 421 else reply


def _lost(session: Session, verb: str, error: UpstreamError) -> Status:
    """What the client is told when no reply came to the verb: what the server said instead, or that it is lost."""
    log.warning("session %s: the next server did not do %s: %s", session.id, verb, error)
    return LOST if error.reply is None or error.reply.code < 400 else _passed_on(error.reply)


def _one_of(replies: list[Reply]) -> Status:
    """One reply for many: see ``Proxy``."""
    first = replies[0]
    return first if all(reply.code // 100 == first.code // 100 for reply in replies) else MIXED
