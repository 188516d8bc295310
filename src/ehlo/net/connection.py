"""One connection. Knows transports, waiting and TLS; does not know verbs, sessions or handlers.

``Connection`` is a protocol of asyncio that runs one coroutine, ``_converse``, which a subclass provides and which
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
from weakref import WeakKeyDictionary

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
from ehlo.net.stepper import Begun, Stepper
from ehlo.net.timer import Deadline
from ehlo.protocol.framing import Framer, Framing

if TYPE_CHECKING:
    from ehlo.protocol.proxy import ProxyHeader

_COMMAND, _TLS, _CLOSED = Framing.COMMAND, Framing.TLS, Framing.CLOSED

UNREAD_LIMIT = 64 * 1024
"""Reading pauses above this; one read of the loop may overshoot it."""
READ_SIZE = 64 * 1024
"""Most octets that one read takes."""
READS_ON_END = 8
"""Reads of so many octets, after which others have a turn: uvloop reads a fast client's socket up to 32 times."""
UNSENT_LIMIT = 16 * 1024
"""Replies are handed to the transport at the latest when there are so many octets of them."""
BURST = 100
"""Commands that one session may run on end before others have a turn: about a millisecond of work."""
LAST_WORDS = 5.0
"""Seconds that a cancelled hook has before its session is cut off."""
CLOSING_TIME = 10.0
"""Seconds that a client has to take what we still have for it after we closed."""
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


# Where the connections of a loop read to.  One buffer is enough for all, as each has taken what was read before the
# loop does anything else.  Reading into fresh memory each time costs a system call or two, and a page fault for every
# 4 KiB: for a MB of BDAT on uvloop, which takes 256 KiB at once then, three times of what all the rest costs.
_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _buffer_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    buffer = _buffers.get(loop)
    if buffer is None:
        buffer = _buffers[loop] = memoryview(bytearray(READ_SIZE))
    return buffer


class Connection(asyncio.BufferedProtocol):
    """One client; see the module's text.

    An ``asyncio.BufferedProtocol``; what is not a transport may call ``data_received`` all the same.
    """

    # A kilobyte and a half less for each session than a dict of so many names, and faster.
    __slots__ = (
        "__weakref__",
        "_burst",
        "_data_size",
        "_data_turn",
        "_data_wait",
        "_deadline",
        "_drained",
        "_framer",
        "_full_reads",
        "_gate",
        "_handshake",
        "_has_eof",
        "_hook_expired",
        "_is_busy",
        "_is_lost",
        "_is_stopping",
        "_pause_over",
        "_reading_is_paused",
        "_receive_buffer",
        "_silence",
        "_stepper",
        "_unsent",
        "_verdict",
        "_writing_is_paused",
        "loop",
        "owner",
        "tls_from_start",
        "transport",
    )

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop

    _receive_buffer: memoryview
    _stepper: Stepper
    _deadline: Deadline

    # Times in seconds; SMTP sets them from its settings.
    _client_timeout: float = 300.0
    _data_timeout: float = 180.0
    _data_rate_floor: int = 100
    _hook_timeout: float = 540.0
    _tls_timeout: float = 30.0

    def __init__(self) -> None:
        self.owner: Owner | None = None
        self.tls_from_start: ssl.SSLContext | None = None
        """TLS that begins with the connection, or behind its PROXY header (RFC 8314)."""
        self._framer = Framer()
        self._unsent = b""
        self._verdict: Goodbye | None = None
        self._has_eof = False
        self._is_lost = False
        self._is_stopping = False
        self._reading_is_paused = False
        self._writing_is_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._pause_over: asyncio.Future[None] | None = None
        self._is_busy = False
        self._hook_expired = False
        self._burst = 0
        self._full_reads = 0
        self._data_wait = 0.0
        self._data_size = 0
        self._data_turn = 0
        self._silence = 0.0
        self._gate: ProxyGate | None = None
        self._handshake: Begun | None = None

    def _converse(self) -> Coroutine[Any, Any, None]:
        """The dialogue: runs once, from connect to close."""
        raise NotImplementedError

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the dialogue."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's do not derive from it
        self.loop = asyncio.get_running_loop()
        self._receive_buffer = _buffer_of(self.loop)
        if self._expects_proxy_header():
            self._gate = ProxyGate(self, self.transport)
            self.transport.set_protocol(self._gate)
        self._deadline = Deadline(self.loop, self._expired)
        self._stepper = Stepper(self.loop, self._run(), self._suspended)
        if self._gate is None and self.tls_from_start is not None:
            # What comes is a handshake, and it may come at once: uvloop begins to read when this method returns, and
            # pausing here does not keep it from that.  So TLS takes the transport over before our task has its turn.
            self._handshake = Begun(self._start_tls(self.tls_from_start, self._tls_timeout))
        if self.owner is not None:
            self.owner.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport may put what comes next."""
        return self._receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take octets that are there now."""
        self.data_received(self._receive_buffer[:nbytes].tobytes())
        if nbytes == READ_SIZE:
            self._full_reads += 1
            if self._full_reads >= READS_ON_END:
                self._give_others_a_turn()
        else:
            self._full_reads = 0

    def data_received(self, data: bytes) -> None:
        """Take octets, and let the dialogue go on if it waited for them."""
        self._framer.receive(data)
        stepper = self._stepper
        stepper.input_arrived()
        # What waits for more has taken what was there, but for the piece of a line.
        if not stepper.is_parked and self._framer.buffered > UNREAD_LIMIT:
            self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._reading_is_paused and not self._is_lost:
            self._reading_is_paused = True
            self.transport.pause_reading()

    def _give_others_a_turn(self) -> None:
        self._full_reads = 0
        if not (self._reading_is_paused or self._is_lost or self.transport.is_closing()):
            self.transport.pause_reading()
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if not (self._reading_is_paused or self._is_lost or self.transport.is_closing()):
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        """The client sends no more: answer what came whole, then close.

        A plain connection stays open for the answers.  TLS cannot (asyncio closes it), so only what was answered
        before its close_notify arrives.
        """
        self._has_eof = True
        # While start_tls() is about to return, ``transport`` is the plain one still.  It is asked before anybody can
        # close it: asyncio's TLS transport does not answer after a second close().
        is_plain = self._framer.state is not _TLS and self.transport.get_extra_info("ssl_object") is None
        self._stepper.input_arrived()
        return is_plain

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone.  A hook that runs is not disturbed: it may be storing a message that came whole."""
        self._is_lost = self._has_eof = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._end_pause()
        self._stepper.input_arrived()
        if self.owner is not None:
            self.owner.gone(self)

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

    @property
    def is_gone(self) -> bool:
        """Whether the transport is closed."""
        return self._is_lost

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

    async def _wait_for_input(self) -> None:
        if self._has_eof:
            raise Disconnected("end of input")
        if self._reading_is_paused:
            self._reading_is_paused = False
            self.transport.resume_reading()
        if self._unsent:
            self._flush()  # nobody notices when it is a hook's own task that waits
        if self._is_busy and asyncio.current_task() is self.task:
            self._is_busy = False
        await self._stepper.wait_for_input()
        if self._is_busy:
            # It was a task of the hook's own that waited: now it is the hook's time again.
            self._deadline.set(self._hook_timeout)
        if self._verdict is not None:
            raise self._take_verdict()

    def _take_verdict(self) -> Goodbye:
        """Give the verdict and forget it: an exception whose traceback leads to its owner is a reference cycle."""
        verdict, self._verdict = self._verdict, None
        assert verdict is not None
        return verdict

    def _write(self, data: bytes) -> None:
        """Send, when the dialogue next waits."""
        self._unsent += data
        if len(self._unsent) > UNSENT_LIMIT:
            self._flush()

    async def _drain(self) -> None:
        """Wait while the client does not read what we write; ``Disconnected`` when it is gone."""
        while self._writing_is_paused and not self._is_lost:
            self._drained = self.loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None
                self._is_busy = False  # the client's time is over; a hook that waited for it has its own again
        if self._is_lost:
            raise Disconnected("connection lost")

    async def _pass_gate(self, timeout: float) -> ProxyHeader | None:
        """Read the PROXY header, if one is expected.  ``GateClosed`` when it is malformed or late."""
        if self._gate is None:
            return None
        gate = self._gate
        try:
            header = await asyncio.wait_for(gate.header, timeout)
        except TimeoutError:
            raise GateClosed("no PROXY header in time") from None
        except ProtocolError as error:
            raise GateClosed(str(error)) from error
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

    async def _is_silent(self, seconds: float) -> bool:
        """Whether the client sends nothing for so long."""
        self._deadline.set(seconds)
        try:
            while not self._framer.buffered:
                await self._wait_for_input()
        except IdleTimeout:
            return True
        return False

    async def _pause(self, seconds: float) -> None:
        """Let the client wait, while nobody's time runs.  It is over at once when the client is gone or we stop."""
        if not seconds or self._is_lost or self._is_stopping:
            return
        self._pause_over = self.loop.create_future()
        timer = self.loop.call_later(seconds, self._end_pause)
        try:
            await self._pause_over
        finally:
            timer.cancel()
            self._pause_over = None

    def _end_pause(self) -> None:
        if self._pause_over is not None and not self._pause_over.done():
            self._pause_over.set_result(None)

    async def _start_tls(self, context: ssl.SSLContext, timeout: float) -> None:
        """Change to TLS; plain octets that came before the handshake are dropped.  ``TLSFailed`` ends the session."""
        self._flush()
        plain = self.transport
        self._framer.expect(_TLS)
        # The handshake has a time of its own; that of hooks does not run.
        self._deadline.clear()
        self._is_busy = True
        self._reading_is_paused = False
        # From here to the first suspension inside start_tls nothing can arrive; after it, only what was decrypted.
        maybe_transport = None
        try:
            maybe_transport = await self.loop.start_tls(
                plain, self, context, server_side=True, ssl_handshake_timeout=timeout
            )
        except (OSError, EOFError) as error:  # ssl.SSLError, ConnectionError and TimeoutError are OSError
            raise TLSFailed(str(error)) from error
        finally:
            if maybe_transport is None:
                plain.abort()
                self._is_lost = self._has_eof = True  # asyncio does not always say so
        if maybe_transport is None:
            raise TLSFailed("connection lost")
        if self._reading_is_paused:
            # More was decrypted than we take, while there was only the plain transport to be paused.
            self._reading_is_paused = False
            plain.resume_reading()
        self.transport = maybe_transport
        self._framer.expect(_COMMAND)

    def _expired_hook(self) -> HookTimeout | None:
        """Whether a cancellation that arrived is that of a hook's time; then the task goes on."""
        if not self._hook_expired:
            return None
        self._hook_expired = False
        while self.task.cancelling():
            self.task.uncancel()
        return HookTimeout(f"longer than {self._hook_timeout:g} s")

    # Inside

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
        self._flush()
        self._deadline.close()
        transport = self.transport
        # Asked before close(): asyncio's TLS transport fails here afterwards, if its connection is lost already and
        # nobody has told us yet (a client that leaves with the last octet of its handshake).
        unsent = 0 if self._is_lost else transport.get_write_buffer_size()
        if not transport.is_closing():
            transport.close()
        if unsent:
            self.loop.call_later(CLOSING_TIME, transport.abort)

    def _flush(self) -> None:
        data = self._unsent
        if data:
            self._unsent = b""
            if self._is_lost:
                return
            try:
                self.transport.write(data)
            except Exception:
                self._is_lost = self._has_eof = True  # else to say that it failed would fail, and so on for ever
                raise

    def _end(self, verdict: Goodbye) -> None:
        """Let the wait for input end with ``verdict``."""
        if self._verdict is None:
            self._verdict = verdict
            del verdict  # it is about to be raised, and the traceback of that leads back to this frame
            self._stepper.input_arrived()

    def _suspended(self) -> None:
        """The dialogue waits, not for input: send what there is to send, and let somebody's time run."""
        self._flush()
        if self._pause_over is not None:
            self._deadline.clear()
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
            if self._hook_expired:
                self.transport.abort()  # the hook caught the first cancellation, and waits for something else
            self._hook_expired = True
            self.task.cancel()
            self._deadline.set(LAST_WORDS)
