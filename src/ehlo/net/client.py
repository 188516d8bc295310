"""An SMTP and LMTP client on asyncio. Owns one connection and its time; does not know what a reply means for a message.

    async with Client.connect("mail.example.com", 25) as client:
        await client.ehlo()
        await client.mail("from@example.com")
        await client.rcpt("to@example.com")
        reply = await client.data(content)

A refusal is a ``Reply``, to be looked at.  Whatever keeps the server's reply from being known is an ``UpstreamError``,
and then the connection is closed: replies come in the order of the commands and carry no number, so after a command
whose reply was not read (it broke, came late, the caller was cancelled) each later one would be taken for another's.
In the same way mail data that was not sent whole is followed by nothing, never by the final dot.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from ehlo.net.wire import Destination, Wire
from ehlo.protocol.client import (
    BadReply,
    MailDataEncoder,
    UpstreamError,
    command_line,
    mail_command,
    parse_extensions,
    rcpt_command,
)
from ehlo.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
    from ssl import SSLContext

__all__ = ["BadReply", "Client", "ClientTimeouts", "UpstreamError", "UpstreamTimeout"]

# Content is encoded and written in pieces of this size, so that a message of 100 MB is not in memory once more.
PIECE_SIZE = 65_536

# What the last recipients of an LMTP message get when the connection ends amid the replies (RFC 5321 §3.8).
_NO_REPLY = Reply(451, "4.4.2", ("No reply came for this recipient",))


class UpstreamTimeout(UpstreamError):
    """The server did not answer, or did not take what it was sent, in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTimeouts:
    """How long to wait at each stage, in seconds.  The paragraphs are those of RFC 5321 §4.5.3.2."""

    connect: float = 30.0  # no RFC; the default of Postfix
    tls: float = 30.0  # no RFC; a handshake is some round trips and no thought
    greeting: float = 300.0  # .1 initial 220 message
    command: float = 300.0  # EHLO, STARTTLS, RSET and others have no paragraph; as long as MAIL
    mail: float = 300.0  # .2 MAIL command
    rcpt: float = 300.0  # .3 RCPT command
    data: float = 120.0  # .4 DATA initiation
    block: float = 180.0  # .5 data block: for each piece until the server has taken enough of it
    end: float = 600.0  # .6 DATA termination: a shorter one makes duplicates
    quit: float = 10.0  # no RFC; nothing hangs on its reply

    @classmethod
    def uniform(cls, seconds: float) -> ClientTimeouts:
        """Make a table with the same time everywhere."""
        return cls(**{field.name: seconds for field in fields(cls)})


RFC_TIMEOUTS = ClientTimeouts()


class Client:
    """One connection to an SMTP or LMTP server.  ``connect`` makes one.

    One coroutine at a time: a command given while another waits for its reply raises ``RuntimeError``.

    ``greeting`` is the 220.  ``extensions`` is what the last EHLO or LHLO offered, keyword in upper case to parameters;
    empty before it, after HELO and after STARTTLS (RFC 3207 §4.2).  ``is_closed`` says that no command can be given.
    """

    greeting: Reply

    def __init__(
        self,
        *,
        local_hostname: str | None = None,
        server_hostname: str | None = None,
        timeouts: ClientTimeouts = RFC_TIMEOUTS,
        lmtp: bool = False,
    ) -> None:
        self.local_hostname = local_hostname or ""
        self.timeouts = timeouts
        self.lmtp = lmtp
        self.extensions: dict[str, tuple[str, ...]] = {}
        self.is_closed = False
        self._server_hostname = server_hostname
        self._wire = Wire()
        self._accepted = 0
        self._is_busy = False
        self._maybe_farewell: Reply | None = None

    @classmethod
    def connect(
        cls,
        host: str | None = None,
        port: int = 25,
        *,
        unix_path: str | None = None,
        ssl: SSLContext | None = None,
        server_hostname: str | None = None,
        local_hostname: str | None = None,
        timeout: ClientTimeouts | float = RFC_TIMEOUTS,
        lmtp: bool = False,
    ) -> Connecting:
        """Connect to ``host`` and ``port`` or to the UNIX socket ``unix_path``, and read the greeting.

        Use it as ``async with Client.connect(...) as client``, which says QUIT at the end, or as ``client = await
        Client.connect(...)``, to be closed by ``quit`` or ``close``.  Nothing happens before that.

        ``ssl`` is for TLS from the start (RFC 8314); None is plain, until ``starttls``.  ``server_hostname`` is the
        name that the certificate must have, ``host`` if None.  ``local_hostname`` is for EHLO; None is the address
        literal of our end, without asking DNS.  ``timeout`` is a table, or seconds for every stage.  ``lmtp``: LHLO,
        and one reply for each recipient after the mail data (RFC 2033).

        Raises ``UpstreamError``, with the greeting in ``reply`` if the server greeted with something other than 220.
        """
        if (host is None) == (unix_path is None):
            raise ValueError("either a host or a unix_path")
        client = cls(
            local_hostname=local_hostname,
            server_hostname=server_hostname or host,
            timeouts=timeout if isinstance(timeout, ClientTimeouts) else ClientTimeouts.uniform(timeout),
            lmtp=lmtp,
        )
        return Connecting(partial(client._open, Destination(host=host or "", port=port, unix_path=unix_path, ssl=ssl)))

    async def ehlo(self) -> Reply:
        """Say EHLO, or HELO to a server that does not know EHLO (RFC 5321 §3.2), or LHLO."""
        verb = "LHLO" if self.lmtp else "EHLO"
        reply = await self._command(command_line(verb, self.local_hostname), self.timeouts.command, verb)
        if reply.code in {500, 502} and not self.lmtp:
            verb = "HELO"
            reply = await self._command(command_line(verb, self.local_hostname), self.timeouts.command, verb)
        if reply.is_positive:
            self._accepted = 0
            self.extensions = {} if verb == "HELO" else parse_extensions(reply)
        return reply

    async def starttls(self, context: SSLContext) -> Reply:
        """Say STARTTLS and shake hands; say ``ehlo`` again afterwards (RFC 3207 §4.2).

        Returns only when TLS is on, since a caller that overlooks a refusal would go on in plain text: a refusal is an
        ``UpstreamError`` with the ``reply``, after which the connection is as it was.
        """
        if self.get_extra_info("ssl_object") is not None:
            raise RuntimeError("TLS is on already")
        reply = await self._command(b"STARTTLS\r\n", self.timeouts.command, "STARTTLS")
        if reply.code != 220:
            raise UpstreamError(f"STARTTLS was refused: {reply}", reply=reply)
        with self._exchange():
            await self._handshake(context)
        self.extensions = {}
        self._accepted = 0
        return reply

    async def mail(self, address: str, parameters: Iterable[str] = ()) -> Reply:
        """Begin a transaction; ``""`` is the null reverse-path.  ``parameters`` are raw, such as ``"SIZE=1000"``.

        ``ValueError`` if an argument would be more than one address or parameter; nothing is sent then.
        """
        reply = await self._command(mail_command(address, parameters), self.timeouts.mail, "MAIL")
        if reply.is_positive:
            self._accepted = 0
        return reply

    async def rcpt(self, address: str, parameters: Iterable[str] = ()) -> Reply:
        """Add a recipient.  ``ValueError`` as in ``mail``."""
        reply = await self._command(rcpt_command(address, parameters), self.timeouts.rcpt, "RCPT")
        if reply.is_positive:
            self._accepted += 1
        return reply

    async def data(self, chunks: bytes | AsyncIterable[bytes], *, normalizes: bool = False) -> Reply | list[Reply]:
        """Send a message: content with CRLF line ends, whole or in chunks of any cut, no faster than it is taken.

        Returns the reply to DATA if it is a refusal, or else the one to the end of data.  From an LMTP server it is a
        list, one for each accepted recipient, in their order; one that never came is a 451 if others came.

        A bare CR or LF raises ``BareNewline``, or is sent as CRLF if it ``normalizes``.  That, or whatever ``chunks``
        itself raises, closes the connection without the final dot, and goes on to the caller.  ``UpstreamError`` may
        have a ``reply``, of a server that refuses amid the mail data.
        """
        if not self._accepted:
            raise RuntimeError("DATA without an accepted recipient")
        with self._exchange():
            reply = await self._ask(b"DATA\r\n", self.timeouts.data, "DATA")
            if reply.code == 354:
                await self._send(chunks, MailDataEncoder(normalizes=normalizes))
                return await self._replies_to_message()
            if reply.code < 400:
                raise BadReply(f"DATA was answered by {reply}")
        return [reply] * self._accepted if self.lmtp else reply

    async def rset(self) -> Reply:
        """End the transaction, if there is one."""
        reply = await self._command(b"RSET\r\n", self.timeouts.command, "RSET")
        if reply.is_positive:
            self._accepted = 0
        return reply

    async def noop(self) -> Reply:
        """Ask whether the server is there."""
        return await self._command(b"NOOP\r\n", self.timeouts.command, "NOOP")

    async def command(self, verb: str, *arguments: str) -> Reply:
        """Give any other command, or answer a 334 of AUTH; the reply may be 3yz.  ``ValueError`` for CR, LF or NUL."""
        line = command_line(verb, *arguments)
        with self._exchange():
            return await self._ask(line, self.timeouts.command, "a command")

    async def quit(self) -> Reply:
        """Say QUIT and close, also when that fails."""
        try:
            return await self._command(b"QUIT\r\n", self.timeouts.quit, "QUIT")
        finally:
            self.is_closed = True
            self._wire.close()
            await self.wait_closed()

    def close(self) -> None:
        """Close at once, without QUIT; what was not sent yet is not sent any more.  May be called at any time."""
        self.is_closed = True
        self._wire.abort()

    async def wait_closed(self) -> None:
        """Wait until the transport is gone, the time of ``quit`` at most."""
        try:
            async with asyncio.timeout(self.timeouts.quit):
                await self._wire.lost()
        except TimeoutError:
            self._wire.abort()

    def get_extra_info(self, name: str) -> Any:
        """Ask the transport, for ``peername`` or ``ssl_object`` for example; None if it does not know."""
        return self._wire.transport.get_extra_info(name)

    async def _open(self, to: Destination) -> Client:
        async with _limit(self.timeouts.connect, "connecting"):
            await self._wire.connect(to)
        try:
            if to.ssl is not None:
                await self._handshake(to.ssl)
            self.greeting = await self._reply(self.timeouts.greeting, "the greeting")
            if self.greeting.code != 220:
                # RFC 5321 §3.1: after a 554 the server waits for QUIT.
                with suppress(UpstreamError):
                    await self.quit()
                raise UpstreamError(f"greeted with {self.greeting}", reply=self.greeting)
        except BaseException:
            self.close()
            raise
        self.local_hostname = self.local_hostname or _address_literal(self.get_extra_info("sockname"))
        return self

    async def _handshake(self, context: SSLContext) -> None:
        if self._wire.parser.has_unread:
            # Put there in plain text by somebody on the way, to be read as the server's words over TLS.
            raise BadReply("octets in plain text before the TLS handshake")
        if self._wire.is_closing:
            raise UpstreamError("the server closed the connection before the TLS handshake")
        async with _limit(self.timeouts.tls, "the TLS handshake"):
            await self._wire.start_tls(context, self._server_hostname)

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Guard commands and their replies: whatever breaks in ends the connection."""
        if self._is_busy:
            raise RuntimeError("a command is waiting for its reply")
        self._is_busy = True
        try:
            yield
        except BaseException:
            self.close()
            raise
        finally:
            self._is_busy = False

    async def _command(self, line: bytes, seconds: float, stage: str) -> Reply:
        with self._exchange():
            reply = await self._ask(line, seconds, stage)
            if reply.is_intermediate:
                raise BadReply(f"{stage} was answered by {reply}")
            return reply

    async def _ask(self, line: bytes, seconds: float, stage: str) -> Reply:
        if self.is_closed:
            raise UpstreamError(f"{stage}: the connection is closed", reply=self._maybe_farewell)
        if self._wire.parser.has_unread:
            return self._farewell()
        if self._wire.is_closing:
            raise UpstreamError(f"{stage}: the server has closed the connection")
        self._wire.write(line)
        return await self._reply(seconds, stage)

    async def _reply(self, seconds: float, stage: str) -> Reply:
        async with _limit(seconds, stage):
            reply = await self._wire.reply()
        if reply.code == 421:
            # RFC 5321 §3.8: the server closes, whatever was asked.
            self._maybe_farewell = reply
            self.close()
        return reply

    def _farewell(self) -> Reply:
        """Take what a server said unasked: a 421 (RFC 5321 §3.8), which then answers the next command too."""
        reply = self._wire.parser.next_reply()
        if reply is None or reply.code != 421:
            raise BadReply(f"unasked, the server said {reply or 'something'}")
        self._maybe_farewell = reply
        self.close()
        return reply

    async def _send(self, chunks: bytes | AsyncIterable[bytes], encoder: MailDataEncoder) -> None:
        if isinstance(chunks, bytes):
            for piece in _pieces(chunks):
                await self._write(encoder.feed(piece))
        else:
            async for chunk in chunks:
                for piece in _pieces(chunk):
                    await self._write(encoder.feed(piece))
        await self._write(encoder.finish())

    async def _write(self, data: bytes) -> None:
        """Write mail data, and wait while the server is behind.  Nothing is written once it has answered."""
        if self._wire.parser.has_unread:
            reply = await self._reply(self.timeouts.block, "a reply amid the mail data")
            if reply.code < 400:
                raise BadReply(f"amid the mail data, the server said {reply}")
            raise UpstreamError(f"refused amid the mail data: {reply}", reply=reply)
        if self._wire.is_closing:
            raise UpstreamError("the server closed the connection amid the mail data")
        self._wire.write(data)
        if self._wire.is_writing_paused:
            async with _limit(self.timeouts.block, "mail data"):
                await self._wire.drain()

    async def _replies_to_message(self) -> Reply | list[Reply]:
        recipients, self._accepted = self._accepted, 0
        reply = await self._reply_to_message()
        if not self.lmtp:
            return reply
        replies = [reply]
        # From here on nothing is raised: some recipients may have the message, and would get it once more.
        while len(replies) < recipients and not self.is_closed:
            try:
                replies.append(await self._reply_to_message())
            except UpstreamError:
                self.close()
        return replies + [self._maybe_farewell or _NO_REPLY] * (recipients - len(replies))

    async def _reply_to_message(self) -> Reply:
        reply = await self._reply(self.timeouts.end, "the end of the mail data")
        if reply.is_intermediate:
            raise BadReply(f"the end of the mail data was answered by {reply}")
        return reply


class Connecting:
    """What ``Client.connect`` gives: to be awaited, or to be entered by ``async with``."""

    def __init__(self, open_client: Callable[[], Coroutine[Any, Any, Client]]) -> None:
        self._open_client = open_client

    def __await__(self) -> Generator[Any, None, Client]:
        """Connect and read the greeting."""
        return self._open_client().__await__()

    async def __aenter__(self) -> Client:
        """Connect and read the greeting."""
        self._client = await self
        return self._client

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """Say QUIT if all went well, and close."""
        if kind is None and not self._client.is_closed:
            with suppress(UpstreamError):
                await self._client.quit()
        self._client.close()
        await self._client.wait_closed()


@asynccontextmanager
async def _limit(seconds: float, stage: str) -> AsyncIterator[None]:
    """Bound a stage in time, and make what goes wrong in it an ``UpstreamError`` that names it."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise UpstreamTimeout(f"{stage}: nothing within {seconds:g} s") from error
    except OSError as error:
        raise UpstreamError(f"{stage}: {error}") from error


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), PIECE_SIZE):
        yield content[start : start + PIECE_SIZE]


def _address_literal(sockname: object) -> str:
    """Make what a host without a name says in EHLO (RFC 5321 §4.1.1.1, §4.1.3)."""
    if not isinstance(sockname, tuple):
        return "localhost"
    address = str(sockname[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
