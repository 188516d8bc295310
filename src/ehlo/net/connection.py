"""One connection, as a dialogue sees it: lines, mail data, TLS. Does not know verbs, sessions or handlers.

``Connection`` is a protocol of asyncio that runs one coroutine, ``_converse``, which a subclass provides and which
reads like a dialogue.  What the coroutine may count on:

* ``_next_line`` and ``_next_data`` wait for the client.  They raise ``Disconnected`` when it is gone and has sent no
  more, and a ``Goodbye`` when it took too long or the server stops.
* ``_write`` never waits.  What is written leaves when the coroutine next waits for anything, so the replies to a
  pipelined group go out together (RFC 2920 §3.2), and in one system call.
* ``_drain`` waits while the client does not read.

It is the last of three, each of which knows those before it:

    Flow        octets from and to the transport, and where they are held back    ehlo.net.flow
    Waiting     the coroutine, what it waits for, and whose time runs meanwhile   ehlo.net.waiting
    Connection  what the octets are, what stands before them, and the beginning and the end of all
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from ehlo.errors import Disconnected, IdleTimeout, ShuttingDown
from ehlo.net.flow import UNREAD_LIMIT
from ehlo.net.gate import ProxyGate
from ehlo.net.stepper import Begun
from ehlo.net.tls import shake_hands
from ehlo.net.waiting import Waiting
from ehlo.protocol.framing import Framer, Framing

if TYPE_CHECKING:
    from ehlo.protocol.proxy import ProxyHeader

_COMMAND, _TLS, _CLOSED = Framing.COMMAND, Framing.TLS, Framing.CLOSED

BURST = 100
"""Commands that one session may run on end before others have a turn: about a millisecond of work."""
RATE_GRACE = 60.0
"""Seconds of waiting for mail data before its rate is looked at."""


class Owner(Protocol):
    """Who keeps the set of connections: a server."""

    def opened(self, connection: Connection) -> None:
        """The transport is there."""

    def closed(self, connection: Connection) -> None:
        """The coroutine has ended; nothing of it is left, but the transport may still have something to send."""

    def gone(self, connection: Connection) -> None:
        """The transport is closed."""


class Connection(Waiting):
    """One client; see the module's text."""

    __slots__ = (
        "_burst",
        "_data_size",
        "_data_turn",
        "_data_wait",
        "_framer",
        "_gate",
        "_handshake",
        "_silence",
        "owner",
        "tls_from_start",
    )

    # Times in seconds, the rate in octets a second; SMTP sets them from its settings.
    _data_timeout: float = 180.0
    _data_rate_floor: int = 100
    _tls_timeout: float = 30.0

    def __init__(self) -> None:
        super().__init__()
        self.owner: Owner | None = None
        self.tls_from_start: ssl.SSLContext | None = None
        """TLS that begins with the connection, or behind its PROXY header (RFC 8314)."""
        self._framer = Framer()
        self._burst = 0
        self._data_wait = 0.0
        self._data_size = 0
        self._data_turn = 0
        self._silence = 0.0
        self._gate: ProxyGate | None = None
        self._handshake: Begun | None = None

    # For the subclass to say

    def _converse(self) -> Coroutine[Any, Any, None]:
        """The dialogue: runs once, from connect to close."""
        raise NotImplementedError

    def _expects_proxy_header(self) -> bool:
        """Whether this client begins with a PROXY header."""
        return False

    def _is_between_transactions(self) -> bool:
        """Whether the client would lose nothing that it began."""
        return True

    def describe(self) -> str:
        """Who this is and what it does, for the log."""
        return repr(self)

    # From the beginning to the end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the dialogue."""
        super().connection_made(transport)
        if self._expects_proxy_header():
            self._gate = ProxyGate(self, self.transport)
            self.transport.set_protocol(self._gate)
        self._begin(self._run())
        if self._gate is None and self.tls_from_start is not None:
            # What comes is a handshake, and it may come at once: uvloop begins to read when this method returns, and
            # pausing here does not keep it from that.  So TLS takes the transport over before our task has its turn.
            self._handshake = Begun(self._start_tls(self.tls_from_start, self._tls_timeout))
        if self.owner is not None:
            self.owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take octets, and let the dialogue go on if it waited for them."""
        self._framer.receive(data)
        stepper = self._stepper
        stepper.input_arrived()
        # What waits for more has taken what was there, but for the piece of a line.
        if not stepper.is_parked and self._framer.buffered > UNREAD_LIMIT:
            self._pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more: answer what came whole, then close.

        A plain connection stays open for the answers.  TLS cannot (asyncio closes it), so only what was answered
        before its close_notify arrives.
        """
        # While start_tls() is about to return, ``transport`` is the plain one still.  It is asked before anybody can
        # close it: asyncio's TLS transport does not answer after a second close().
        is_plain = self._framer.state is not _TLS and self.transport.get_extra_info("ssl_object") is None
        return super().eof_received() and is_plain

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        if self.owner is not None:
            self.owner.gone(self)

    def stop(self) -> None:
        """Say 421 and close as soon as no transaction is open; at once between transactions."""
        self._is_stopping = True
        self._end_pause()
        if self._gate is not None:
            self._gate.close()
        if self._stepper.awaits_input and self._is_between_transactions():
            self._end(ShuttingDown())
        elif self._framer.state is _TLS:
            self.task.cancel()  # there is no language in which to tell a client amid its handshake

    async def _run(self) -> None:
        try:
            await self._converse()
        finally:
            try:
                self._close()
            finally:
                if self.owner is not None:
                    self.owner.closed(self)

    def _close(self) -> None:
        if self._handshake is not None:
            self._handshake.drop()
            self._handshake = None
        self._framer.expect(_CLOSED)
        self._stepper.input_arrived()  # a hook's own task that still waits for some learns that there is none
        self._deadline.close()
        self._hang_up()

    # Lines

    async def _next_line(self, limit: int, timeout: float) -> bytes:
        """The next line, without CRLF.  ``timeout``: until it is complete, from now; octets do not extend it."""
        line = self._framer.next_line(limit)
        if line is not None:
            # The client is ahead of us.
            self._burst += 1
            if self._burst >= BURST:
                self._burst = 0
                await asyncio.sleep(0)
            return line
        self._burst = 0
        self._deadline.set(timeout)
        while line is None:
            await self._wait_for_input()
            line = self._framer.next_line(limit)
        return line

    async def _is_silent(self, seconds: float) -> bool:
        """Whether the client sends nothing for so long."""
        self._deadline.set(seconds)
        try:
            while not self._framer.buffered:
                await self._wait_for_input()
        except IdleTimeout:
            return True
        return False

    # Mail data

    def _expect_data(self) -> None:
        """Mail data begin: 354 is written."""
        self._framer.expect(Framing.DATA)
        self._data_turn += 1
        self._data_wait = 0.0
        self._data_size = 0

    def _expect_chunk(self, size: int) -> None:
        """The chunk of a BDAT command begins."""
        self._framer.expect_chunk(size)
        self._data_turn += 1
        self._data_wait = 0.0
        self._data_size = 0

    async def _drop_data(self) -> None:
        """Drop what is left of mail data or of a chunk."""
        while await self._next_data():
            pass

    async def _next_data(self) -> bytes:
        """The next octets of mail data or of a chunk; b"" at the end.  Every octet extends the time: see RATE_GRACE."""
        framer = self._framer
        turn = self._data_turn
        while framer.expects_data():
            data = framer.next_data()
            if data:
                self._data_size += len(data)
                return data
            if not framer.expects_data():
                break
            # A hook may give up waiting and come again: the client's silence goes on meanwhile.
            began = self._deadline.set(max(0.0, self._data_timeout - self._silence))
            try:
                await self._wait_for_input()
            except asyncio.CancelledError:
                waited = self.loop.time() - began
                self._silence += waited
                self._data_wait += waited
                raise
            self._silence = 0.0
            if turn != self._data_turn:
                # A hook's own task has outlived its message: these octets are those of another one.
                raise Disconnected("the message is over")
            self._data_wait += self.loop.time() - began
            if self._data_wait > RATE_GRACE:
                self._look_at_the_rate()
        if framer.state is _CLOSED:
            # A hook's own task has outlived the session: what it has is not the whole.
            raise Disconnected("the session is over")
        return b""

    def _look_at_the_rate(self) -> None:
        if self._data_size + self._framer.buffered < self._data_rate_floor * self._data_wait:
            raise IdleTimeout("mail data comes too slowly")

    # What stands before, and TLS

    async def _pass_gate(self, timeout: float) -> ProxyHeader | None:
        """Read the PROXY header, if one is expected.  ``GateClosed`` when it is malformed or late."""
        if self._gate is None:
            return None
        try:
            header = await self._gate.wait_for_header(timeout)
        finally:
            self._gate = None
        self.transport.set_protocol(self)
        if self.tls_from_start is None:
            self.transport.resume_reading()
        return header

    async def _pass_tls(self) -> None:
        """Do the handshake, if TLS begins here.  ``TLSFailed`` ends the session."""
        if self._handshake is not None:
            handshake, self._handshake = self._handshake, None
            await handshake
        elif self.tls_from_start is not None:
            await self._start_tls(self.tls_from_start, self._tls_timeout)

    async def _start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        """Change to TLS; plain octets that came before the handshake are dropped.  ``TLSFailed`` ends the session."""
        self._flush()
        plain = self.transport
        self._framer.expect(_TLS)
        # The handshake has a time of its own; that of hooks does not run.
        self._deadline.clear()
        self._is_busy = True
        self._reading_is_paused = False
        # From here to the first suspension inside, nothing can arrive; after it, only what was decrypted.
        try:
            transport = await shake_hands(self.loop, plain, self, context, timeout)
        except BaseException:
            self._is_lost = self._has_eof = True  # asyncio does not always say so
            raise
        if self._reading_is_paused:
            # More was decrypted than we take, while there was only the plain transport to be paused.
            self._reading_is_paused = False
            plain.resume_reading()
        self.transport = transport
        self._framer.expect(_COMMAND)
