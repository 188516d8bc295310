"""One connection. Knows transports, waiting and TLS; does not know verbs, sessions or handlers.

``Connection`` is an ``asyncio.Protocol`` that runs one coroutine, ``_converse``, which a subclass provides and which
reads like a dialogue.  What the coroutine may count on:

* ``_next_line`` and ``_next_data`` wait for the client.  They raise ``Disconnected`` when it is gone and has sent no
  more, and a ``Goodbye`` when it took too long or the server stops.
* ``_write`` never waits.  What is written leaves when the coroutine next waits for anything, so the replies to a
  pipelined group go out together (RFC 2920 §3.2), and in one system call.
* ``_drain`` waits while the client does not read.

Reading is paused while more than ``UNREAD_LIMIT`` octets wait to be taken, so a client that is ahead of us fills its
own buffers, not ours.  Time runs against the client only while we wait for it; while a hook runs, the hook's own time
runs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, cast

from ehlo.errors import (
    Disconnected,
    GateClosed,
    Goodbye,
    HookTimeout,
    IdleTimeout,
    ProtocolError,
    ShuttingDown,
    TLSFailed,
)
from ehlo.net.gate import ProxyGate
from ehlo.net.stepper import Stepper
from ehlo.net.timer import Deadline
from ehlo.protocol.framing import Framer, Framing

if TYPE_CHECKING:
    from ehlo.protocol.proxy import ProxyHeader

UNREAD_LIMIT = 64 * 1024
"""Reading pauses above this; one read of the loop (up to 256 KiB) may overshoot it."""
UNSENT_LIMIT = 16 * 1024
"""Replies are handed to the transport at the latest when there are so many octets of them."""
BURST = 100
"""Commands that one session may run on end before others have a turn: about a millisecond of work."""
CLOSING_TIME = 10.0
"""Seconds that a client has to take what we still have for it after we closed."""
RATE_GRACE = 60.0
"""Seconds of waiting for mail data before its rate is looked at."""


class Owner(Protocol):
    """Who keeps the set of connections: a server."""

    def opened(self, connection: Connection) -> None:
        """The transport is there."""

    def closed(self, connection: Connection) -> None:
        """The coroutine has ended; nothing of it is left."""


class Connection(asyncio.Protocol):
    """One client; see the module's text."""

    owner: Owner | None = None
    tls_from_start: ssl.SSLContext | None = None
    """TLS that begins behind a PROXY header, and so with us, not with the listening socket."""
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop

    _stepper: Stepper
    _deadline: Deadline

    # Times in seconds; SMTP sets them from its settings.
    _client_timeout: float = 300.0
    _data_timeout: float = 180.0
    _data_rate_floor: int = 100
    _hook_timeout: float = 540.0

    def __init__(self) -> None:
        self._framer = Framer()
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._verdict: Goodbye | None = None
        self._has_eof = False
        self._is_lost = False
        self._is_stopping = False
        self._reading_is_paused = False
        self._writing_is_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._is_busy = False
        self._hook_expired = False
        self._burst = 0
        self._data_wait = 0.0
        self._data_size = 0
        self._gate: ProxyGate | None = None

    def _converse(self) -> Coroutine[Any, Any, None]:
        """The dialogue: runs once, from connect to close."""
        raise NotImplementedError

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the dialogue."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's do not derive from it
        self.loop = asyncio.get_running_loop()
        if self._expects_proxy_header():
            self._gate = ProxyGate(self, self.transport)
            self.transport.set_protocol(self._gate)
        elif self.tls_from_start is not None:
            self.transport.pause_reading()  # what comes is a handshake
        self._deadline = Deadline(self.loop, self._expired)
        self._stepper = Stepper(self.loop, self._run(), self._suspended)
        if self.owner is not None:
            self.owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take octets, and let the dialogue go on if it waited for them."""
        self._framer.receive(data)
        self._stepper.input_arrived()
        if self._framer.buffered > UNREAD_LIMIT and not self._reading_is_paused and not self._is_lost:
            self._reading_is_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more: answer what came whole, then close.

        A plain connection stays open for the answers.  TLS cannot (asyncio closes it), so only what was answered
        before its close_notify arrives.
        """
        self._has_eof = True
        self._stepper.input_arrived()
        return self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone.  A hook that runs is not disturbed: it may be storing a message that came whole."""
        self._is_lost = self._has_eof = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._stepper.input_arrived()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._writing_is_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writing_is_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _expects_proxy_header(self) -> bool:
        """Whether this client begins with a PROXY header."""
        return False

    # For the server

    @property
    def task(self) -> asyncio.Task[None]:
        """The task of this connection."""
        return self._stepper.task

    def stop(self) -> None:
        """Say 421 and close as soon as no transaction is open; at once between transactions."""
        self._is_stopping = True
        if self._stepper.awaits_input and self._is_between_transactions():
            self._end(ShuttingDown())

    def describe(self) -> str:
        """Who this is and what it does, for the log."""
        return repr(self)

    def _is_between_transactions(self) -> bool:
        """Whether the client would lose nothing that it began."""
        return True

    # For the dialogue

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

    def _expect_data(self) -> None:
        """Mail data begin: 354 is written."""
        self._framer.expect(Framing.DATA)
        self._data_wait = 0.0
        self._data_size = 0

    def _expect_chunk(self, size: int) -> None:
        """The chunk of a BDAT command begins."""
        self._framer.expect_chunk(size)
        self._data_wait = 0.0
        self._data_size = 0

    async def _drop_data(self) -> None:
        """Drop what is left of mail data or of a chunk."""
        while await self._next_data():
            pass

    async def _next_data(self) -> bytes:
        """The next octets of mail data or of a chunk; b"" at the end.  Every octet extends the time: see RATE_GRACE."""
        framer = self._framer
        while framer.expects_data():
            data = framer.next_data()
            if data:
                self._data_size += len(data)
                return data
            if not framer.expects_data():
                break
            self._deadline.set(self._data_timeout)
            began = self.loop.time()
            await self._wait_for_input()
            self._data_wait += self.loop.time() - began
            if self._data_wait > RATE_GRACE and self._data_size < self._data_rate_floor * self._data_wait:
                raise IdleTimeout("mail data comes too slowly")
        return b""

    async def _wait_for_input(self) -> None:
        if self._has_eof:
            raise Disconnected("end of input")
        if self._reading_is_paused:
            self._reading_is_paused = False
            self.transport.resume_reading()
        await self._stepper.wait_for_input()
        if self._verdict is not None:
            raise self._take_verdict()

    def _take_verdict(self) -> Goodbye:
        """Give the verdict and forget it: an exception whose traceback leads to its owner is a reference cycle."""
        verdict, self._verdict = self._verdict, None
        assert verdict is not None
        return verdict

    def _write(self, data: bytes) -> None:
        """Send, when the dialogue next waits."""
        self._unsent.append(data)
        self._unsent_size += len(data)
        if self._unsent_size > UNSENT_LIMIT:
            self._flush()

    async def _drain(self) -> None:
        """Wait while the client does not read what we write; ``Disconnected`` when it is gone."""
        while self._writing_is_paused and not self._is_lost:
            self._drained = self.loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None
        if self._is_lost:
            raise Disconnected("connection lost")

    async def _pass_gate(self, proxy_timeout: float, tls_timeout: float) -> ProxyHeader | None:
        """Read the PROXY header, if one is expected, then begin TLS, if it begins here.

        Raises ``GateClosed`` when the header is malformed or late.
        """
        header = None
        if self._gate is not None:
            gate, self._gate = self._gate, None
            try:
                header = await asyncio.wait_for(gate.header, proxy_timeout)
            except TimeoutError:
                raise GateClosed("no PROXY header in time") from None
            except ProtocolError as error:
                raise GateClosed(str(error)) from error
            self.transport.set_protocol(self)
            if self.tls_from_start is None:
                self.transport.resume_reading()
        if self.tls_from_start is not None:
            await self._start_tls(self.tls_from_start, tls_timeout)
        return header

    async def _start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        """Change to TLS; plain octets that came before the handshake are dropped.  ``TLSFailed`` ends the session."""
        self._flush()
        plain = self.transport
        self._framer.expect(Framing.TLS)
        # From here to the first suspension inside start_tls nothing can arrive; after it, only what was decrypted.
        try:
            transport = await self.loop.start_tls(plain, self, context, server_side=True, ssl_handshake_timeout=timeout)
        except (OSError, EOFError) as error:  # ssl.SSLError, ConnectionError and TimeoutError are OSError
            plain.abort()
            raise TLSFailed(str(error)) from error
        except asyncio.CancelledError:
            plain.abort()
            raise
        if transport is None:
            raise TLSFailed("connection lost")
        self.transport = transport
        self._reading_is_paused = False
        self._framer.expect(Framing.COMMAND)

    def _expired_hook(self) -> HookTimeout | None:
        """Whether a cancellation that arrived is that of a hook's time; then the task goes on."""
        if not self._hook_expired:
            return None
        self._hook_expired = False
        self.task.uncancel()
        return HookTimeout(f"longer than {self._hook_timeout:g} s")

    # Inside

    async def _run(self) -> None:
        try:
            await self._converse()
        finally:
            self._close()
            if self.owner is not None:
                self.owner.closed(self)

    def _close(self) -> None:
        self._framer.expect(Framing.CLOSED)
        self._flush()
        self._deadline.close()
        transport = self.transport
        transport.close()
        if not self._is_lost and transport.get_write_buffer_size():
            self.loop.call_later(CLOSING_TIME, transport.abort)

    def _flush(self) -> None:
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            self._unsent_size = 0
            if not self._is_lost:
                self.transport.write(data)

    def _end(self, verdict: Goodbye) -> None:
        """Let the wait for input end with ``verdict``."""
        if self._verdict is None:
            self._verdict = verdict
            self._stepper.input_arrived()

    def _suspended(self, *, awaits_input: bool) -> None:
        """The dialogue waits: send what there is to send, and let somebody's time run."""
        self._flush()
        if awaits_input:
            self._is_busy = False
        elif self._drained is not None:
            self._deadline.set(self._client_timeout)
        elif not self._is_busy:
            self._is_busy = True
            self._deadline.set(self._hook_timeout)

    def _expired(self) -> None:
        """Time is over, for whoever we wait for."""
        if self._drained is not None:
            self.transport.abort()
        elif self._stepper.awaits_input:
            self._end(IdleTimeout())
        elif self._is_busy:
            self._hook_expired = True
            self.task.cancel()
