"""One session of the compatibility server: what comes in, when, and who answers it. Does not know what a verb does.

Octets, waiting, time and TLS are those of ``ehlo.net.connection``.  Here is the order in which aiosmtpd looks at a
command, what it says of one that it does not run, and the attributes by which programs get at its transport.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import copy
import functools
import logging
import re
import ssl
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, AnyStr, NamedTuple

from ehlo.compat.aiosmtpd._records import MISSING, Envelope, Session
from ehlo.compat.aiosmtpd._streams import Reader, Writer
from ehlo.compat.aiosmtpd.proxy_protocol import get_proxy
from ehlo.errors import (
    CommandSyntaxError,
    Disconnected,
    Goodbye,
    HookTimeout,
    IdleTimeout,
    LineTooLong,
    SessionEnded,
)
from ehlo.net.connection import Connection
from ehlo.net.flow import READ_SIZE
from ehlo.net.timer import Deadline
from ehlo.protocol.commands import AUTH_LINE_LIMIT
from ehlo.protocol.framing import Framing

log = logging.getLogger("mail.log")

BOGUS_LIMIT = 5
CALL_LIMIT_DEFAULT = 20
ALLOWED_BEFORE_STARTTLS = {"NOOP", "EHLO", "STARTTLS", "QUIT"}
CLIENT_AUTH_B = re.compile(rb"(?P<authm>\s*AUTH\s+\S+[^\S\r\n]+)(\S+)(?P<crlf>(?:\r\n)?)", re.IGNORECASE)

# What holds methods of the session, kept by the session: to be let go when it is over.
_CYCLES = ("_smtp_methods", "_auth_methods", "_timeout_handle")

# What a transport tells of its TLS.
_TLS_FACTS = ("sslcontext", "ssl_object", "peercert", "cipher", "compression")


class TLSSetupException(Exception):
    """A handshake failed; ``__cause__`` says how.  ``handle_exception`` gets it."""


def sanitize(text: bytes) -> bytes:
    """A command line without the credentials that AUTH may have."""
    match = CLIENT_AUTH_B.match(text)
    return text if match is None else match["authm"] + b"********" + match["crlf"]


def sanitized_log(func: Callable[..., None], msg: str | bytes, *args: Any, **kwargs: Any) -> None:
    """Call a function that logs, credentials taken out of octets among the arguments."""
    func(msg, *(sanitize(arg) if isinstance(arg, bytes) else arg for arg in args), **kwargs)


class TimeoutHandle(NamedTuple):
    """What ``loop.call_later`` gave for the connection's timeout, as far as programs use it."""

    connection: Any

    def cancel(self) -> None:
        """Let the client have all the time, until the server waits for something else."""
        self.connection._deadline.clear()


class Dialogue(Connection):
    """See the module's text."""

    command_size_limit: int = 512
    command_size_limits: MutableMapping[str, int] = collections.defaultdict(  # noqa: RUF012 - subclasses assign it
        lambda: Dialogue.command_size_limit
    )
    """By verb, once EHLO was said; of others, what the ``defaultdict`` says.  Each session has a copy."""
    line_length_limit: int = 1001
    """Longest line of mail data, with its CRLF."""

    session: Session
    envelope: Envelope
    event_handler: Any
    hostname: str
    __ident__: str
    tls_context: ssl.SSLContext | None
    require_starttls: bool
    enable_SMTPUTF8: bool  # noqa: N815 - the name that the field knows
    _timeout_duration: float
    _proxy_timeout: float | None
    _auth_required: bool
    _enforce_call_limit: bool
    _call_limit_base: dict[str, int]
    _call_limit_default: int
    _handle_hooks: dict[str, Callable[..., Any]]

    # One of ``Connection``'s names, which a program may well give to something of its own; nothing here uses it.
    is_gone: Any = None

    def __init__(self) -> None:
        super().__init__()
        # Until somebody connects, as the one that a controller makes when it starts.
        self.session = None  # type: ignore[assignment]
        self.envelope = None  # type: ignore[assignment]
        self.command_size_limits = self._copy_of_the_limits()
        self._transport: Any = None
        self._original_transport: Any = None
        self._tls_protocol: Any = None
        self._tls_handshake_okay: Any = True
        """What ``handle_STARTTLS`` said: True where there is none or no TLS, False until it has answered."""
        self._handler_coroutine: asyncio.Task[None] | None = None
        self._streams: tuple[Reader, Writer] | None = None
        self._is_cut = False
        self._is_over = False
        self._is_answered = False
        self._pushes_at_once = False
        self._given_reader: asyncio.StreamReader | None = None
        self._given_writer: asyncio.StreamWriter | None = None
        self._bogus_budget = BOGUS_LIMIT
        self._call_budgets: collections.defaultdict[str, int] | None = None

    def _copy_of_the_limits(self) -> MutableMapping[str, int]:
        limits = type(self).command_size_limits
        if limits is Dialogue.command_size_limits:
            return collections.defaultdict(functools.partial(int, self.command_size_limit), limits)
        return copy.copy(limits)

    def _create_session(self) -> Session:
        raise NotImplementedError

    def _set_rset_state(self) -> None:
        """Forget the transaction."""
        raise NotImplementedError

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        hook = self._handle_hooks.get(command)
        if hook is None:
            return MISSING
        before, self._pushes_at_once = self._pushes_at_once, True
        try:
            return await hook(self, self.session, self.envelope, *args)
        finally:
            self._pushes_at_once = before

    async def push(self, status: AnyStr) -> None:
        """Say a reply as it is, with CRLF put behind: several lines may be joined by CRLF in it.

        It leaves at once when a hook or a verb of a program's own says it; else when the session next waits for
        anything, or when somebody looks at ``transport``.
        """
        response: Any = status
        if isinstance(response, str):
            response = response.encode("utf-8" if self.enable_SMTPUTF8 else "ascii")
        elif not isinstance(response, bytes):
            raise AssertionError  # noqa: TRY004 - what a hook that forgets to return is told
        self._is_answered = not response.startswith(b"3")
        self._write(response + b"\r\n")
        log.debug("%r << %r", self.session.peer, response)
        if self._pushes_at_once:
            self._flush()
        if self._writing_is_paused or self._is_lost or self._given_writer is not None:
            try:
                await self._drain()
            except Disconnected:
                raise ConnectionResetError("Connection lost") from None

    async def handle_exception(self, error: Exception) -> Any:
        """What the client is told when a verb or a hook fails."""
        if "exception" in self._handle_hooks:
            return await self.event_handler.handle_exception(error)
        log.error("%r SMTP session exception", self.session.peer, exc_info=error)
        if isinstance(error, HookTimeout):
            return "451 Error: took too long, try again later"
        return f"500 Error: ({type(error).__name__}) {error}"

    async def check_helo_needed(self, helo: str = "HELO") -> bool:
        """Whether the client has not said HELO or EHLO; if so it is told."""
        if self.session.host_name:
            return False
        await self.push(f"503 Error: send {helo} first")
        return True

    async def check_auth_needed(self, caller_method: str) -> bool:
        """Whether the client must authenticate before ``caller_method``; if so it is told."""
        if not self._auth_required or self.session.authenticated:
            return False
        log.info("%s: Authentication required", caller_method)
        await self.push("530 5.7.0 Authentication required")
        return True

    # The transport, and streams for those who want them

    @property
    def transport(self) -> Any:
        """None before and after the connection.  What was pushed has gone to it when somebody gets hold of it."""
        if self._unsent:
            self._flush()
        return None if self._is_over and self._is_lost else self._transport

    @transport.setter
    def transport(self, transport: Any) -> None:
        self._transport = transport

    @property
    def _reader(self) -> Reader:
        reader, _ = self._open_streams()
        reader.push(self._take_octets())
        return reader

    @_reader.setter
    def _reader(self, reader: asyncio.StreamReader | None) -> None:
        self._given_reader = reader
        if self._handler_coroutine is None:
            self._deadline = Deadline(self.loop, self._timeout_cb)

    @property
    def _writer(self) -> Any:
        return self._given_writer or self._open_streams()[1]

    @_writer.setter
    def _writer(self, writer: asyncio.StreamWriter | None) -> None:
        self._given_writer = writer
        if self._transport is None:
            self._transport = writer

    async def _wait_for_input(self) -> None:
        if self._given_reader is None:
            await super()._wait_for_input()
            return
        await self._drain()
        data = await self._given_reader.read(READ_SIZE)
        if not data:
            self._deadline.close()
            raise ConnectionResetError("Connection lost")
        self._framer.receive(data)

    async def _drain(self) -> None:
        if self._given_writer is None:
            await super()._drain()
            return
        self._flush()
        await self._given_writer.drain()

    @functools.cached_property
    def _timeout_handle(self) -> TimeoutHandle:
        return TimeoutHandle(self)

    @functools.cached_property
    def _smtp_methods(self) -> dict[str, Any]:
        """The methods ``smtp_VERB`` by verb; once somebody has asked for them, what is in it counts."""
        return {name.removeprefix("smtp_"): getattr(self, name) for name in dir(self) if name.startswith("smtp_")}

    @property
    def max_command_size_limit(self) -> int:
        """The highest limit of command lines."""
        return max(self.command_size_limits.values(), default=self.command_size_limit)

    def _open_streams(self) -> tuple[Reader, Writer]:
        if self._streams is None:
            self._streams = Reader(self, self.line_length_limit), Writer(self)
        return self._streams

    async def _next_octets(self) -> bytes:
        while not self._framer.buffered:
            self._reset_timeout()
            try:
                await self._wait_for_input()
            except (Disconnected, ConnectionResetError):
                return b""
        return self._take_octets()

    def _take_octets(self) -> bytes:
        """What has come, as it is."""
        waiting = self._framer.buffered
        if not waiting or self._framer.state is not Framing.COMMAND:
            return b""
        self._framer.expect_chunk(waiting)
        return self._framer.next_data()

    def _give_back(self) -> None:
        """Let what a program has not read be commands again."""
        if self._streams is not None:
            unread = self._streams[0].take()
            if unread:
                self._framer.receive(unread + self._take_octets())

    # asyncio.Protocol.  Connection's own part is left out: it is about ``owner`` and ``tls_from_start``, and a program
    # may well call something of its own so.

    async def _run(self) -> None:
        try:
            await self._converse()
        finally:
            self._close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session; and again, with the new transport, when STARTTLS has succeeded (RFC 3207 §4.2)."""
        maybe_proxy_data = None if self._handler_coroutine is None else self.session.proxy_data
        self._set_rset_state()
        self.session = self._create_session()
        self.session.peer = transport.get_extra_info("peername")
        if self._handler_coroutine is None:
            with _running(self.loop):
                super(Connection, self).connection_made(transport)
                self._begin(self._run())
            self._handler_coroutine = self.task
            if transport.get_extra_info("ssl_object") is not None:
                self._note_tls()
            log.info("Peer: %r", self.session.peer)
            return
        # Who the client is, the proxy has said, not the client.
        self.session.proxy_data = maybe_proxy_data
        if self._transport is not transport:
            # Somebody else's STARTTLS: what is still there came before the handshake.
            self._framer.discard()
            self._transport = transport
        self._note_tls()
        hook = self._handle_hooks.get("STARTTLS")
        if hook is None:
            self._tls_handshake_okay = True
            return
        self._tls_handshake_okay = False
        try:
            self._tls_handshake_okay = hook(self, self.session, self.envelope)
        except Exception:
            # Whom nobody has judged has not been let in; and the client awaits no reply that could say so.
            log.exception("%r Exception in handle_STARTTLS()", self.session.peer)
            transport.abort()  # type: ignore[attr-defined]

    def eof_received(self) -> bool:
        """The client sends no more: what it has sent is answered."""
        log.info("%r EOF received", self.session.peer)
        if self._transport.is_closing():
            return False  # asyncio's TLS transport could tell no more: closed twice, it is empty
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone.  A hook that runs is not disturbed."""
        log.info("%r connection lost", self.session.peer)
        super(Connection, self).connection_lost(error)
        if self._original_transport is not None:
            self._original_transport.close()

    def _note_tls(self) -> None:
        transport = self._transport
        if self._tls_protocol is None:
            self._tls_protocol = getattr(transport, "_ssl_protocol", transport)
        self.session.ssl = {name: transport.get_extra_info(name) for name in _TLS_FACTS}

    def _close(self) -> None:
        super()._close()
        self._is_over = True
        if self._is_cut and self._tls_protocol is not None:
            self._transport.abort()  # its close_notify is sent; nobody waits for the client's
        if self._streams is not None:
            _, writer = self._streams
            writer.close()
            self._streams = None
        for name in _CYCLES:
            vars(self).pop(name, None)

    # The dialogue

    async def _converse(self) -> None:
        peer = self.session.peer
        try:
            await self._handle_client()
        except IdleTimeout:
            self._timeout_cb()
            log.info("%r Connection lost during _handle_client()", peer)
        except (SessionEnded, Goodbye, ConnectionResetError):
            log.info("%r Connection lost during _handle_client()", peer)
        except asyncio.CancelledError:
            log.info("%r Connection lost during _handle_client()", peer)
            self._is_cut = True
            raise
        except Exception:
            log.exception("%r SMTP session exception", peer)

    async def _handle_client(self) -> None:
        log.info("%r handling connection", self.session.peer)
        if self._proxy_timeout is not None and not await self._is_proxied(self._proxy_timeout):
            log.info("%r rejected by handle_PROXY", self.session.peer)
            return
        await self.push(f"220 {self.hostname} {self.__ident__}")
        self._call_budgets = self._full_call_budgets()
        while not self._transport.is_closing():
            self._is_busy = False
            self._expired_hook()  # one that took too long, and did not mind that it was cancelled
            try:
                # What fails here would fail again, so it ends the session.
                line = await self._next_command()
                if line is not None:
                    await self._answer(line)
            except asyncio.CancelledError:
                expired = self._expired_hook()
                if expired is None:
                    raise
                await self.push(await self._describe(expired))
        log.info("%r Connection lost during _handle_client()", self.session.peer)

    async def _answer(self, line: bytes) -> None:
        """Run a command.  Whatever a hook raises does not end the session."""
        try:
            await self._run_command(line)
        except (SessionEnded, Goodbye, ConnectionResetError):
            raise
        except TLSSetupException as error:
            await self._describe(error)
            self._transport.close()
        except Exception as error:  # noqa: BLE001 - the client is told, by whoever describes it
            await self.push(await self._describe(error))
        finally:
            self._pushes_at_once = False

    async def _is_proxied(self, timeout: float) -> bool:
        """Read the PROXY header, and ask ``handle_PROXY`` about it."""
        session = self.session
        log.debug("%r waiting PROXY handshake", session.peer)
        try:
            async with asyncio.timeout(timeout):
                session.proxy_data = await get_proxy(self._reader)
        except (TimeoutError, asyncio.IncompleteReadError):
            return False
        if not session.proxy_data:
            log.warning("%r invalid PROXY handshake", session.peer)
            return False
        log.info("%r valid PROXY handshake", session.peer)
        status = await self._call_handler_hook("PROXY", session.proxy_data)
        log.debug("%r handle_PROXY returned %r", session.peer, status)
        return status is not MISSING and bool(status)

    async def _describe(self, error: Exception) -> Any:
        """What the client is told of an exception."""
        try:
            return await self.handle_exception(error)
        except Exception as inner_error:  # noqa: BLE001 - it is logged and told
            try:
                log.exception("%r Exception in handle_exception()", self.session.peer)
                return f"500 Error: ({type(inner_error).__name__}) {inner_error}"
            except Exception:  # noqa: BLE001 - it cannot even be written down
                return "500 Error: Cannot describe error"

    async def _next_command(self) -> bytes | None:
        """Read a line; None when the client has been told that it is none."""
        self._give_back()
        if self._framer.state is not Framing.COMMAND:
            await self._drop_data()
        try:
            return await self._next_line(AUTH_LINE_LIMIT, self._timeout_duration)
        except LineTooLong:
            await self.push("500 Command line too long")
        except CommandSyntaxError:
            await self.push("500 Error: bad syntax")
        return None

    async def _run_command(self, line: bytes) -> None:
        """Run a command, or say what is wrong with it."""
        verb, _, octets = line.partition(b" ")
        command = verb.upper().decode("latin-1")
        is_long = len(line) > self._line_limit(command)
        if is_long and len(line) >= self.line_length_limit:
            await self.push("500 Command line too long")
            return
        if log.isEnabledFor(logging.INFO):
            sanitized_log(log.debug, "_handle_client readline: %r", line + b"\r\n")
            sanitized_log(log.info, "%r >> %r", self.session.peer, line)
        if not line or not verb.isascii():
            await self.push("500 Error: bad syntax")
            return
        arg = None
        if octets:
            try:
                arg = octets.strip().decode(*self._charset)
            except UnicodeDecodeError:
                await self.push("500 Error: strict ASCII mode")
                return
        if is_long:
            await self.push("500 Command line too long")
            return
        method = await self._admit(command)
        if method is not None:
            self._pushes_at_once = not (getattr(method, "__module__", None) or "").startswith(__package__)
            await method(arg)

    @property
    def _charset(self) -> tuple[str, str]:
        """Of arguments: octets that are no UTF-8 can be had back from what is made of them."""
        return ("utf-8", "surrogateescape") if self.enable_SMTPUTF8 else ("ascii", "strict")

    def _line_limit(self, command: str) -> int:
        if command == "AUTH":
            return AUTH_LINE_LIMIT  # RFC 4954 §4
        if not self.session.extended_smtp:
            return self.command_size_limit
        return self._limit_after_ehlo(command)

    def _limit_after_ehlo(self, command: str) -> int:
        # Not by [], which would keep every verb that a client makes up.
        limit = self.command_size_limits.get(command)
        if limit is not None:
            return limit
        default = getattr(self.command_size_limits, "default_factory", None)
        return self.command_size_limit if default is None else int(default())

    async def _admit(self, command: str) -> Callable[[str | None], Awaitable[None]] | None:
        """What runs a verb that is known and allowed now; None when the client has been told otherwise."""
        if not self._tls_handshake_okay and command != "QUIT":
            await self.push("554 Command refused due to lack of security")
            return None
        if self.require_starttls and not self._tls_protocol and command not in ALLOWED_BEFORE_STARTTLS:
            await self.push("530 Must issue a STARTTLS command first")
            return None
        if self._call_budgets is not None:
            if self._call_budgets[command] < 1:
                log.warning("%r over limit for %s", self.session.peer, command)
                await self.push(f"421 4.7.0 {command} sent too many times")
                self.transport.close()
                return None
            self._call_budgets[command] -= 1
        method = self._find_method(command)
        if method is None:
            log.warning("%r unrecognised: %s", self.session.peer, command)
            self._bogus_budget -= 1
            if self._bogus_budget < 1:
                log.warning("%r too many bogus commands", self.session.peer)
                await self.push("502 5.5.1 Too many unrecognized commands, goodbye.")
                self.transport.close()
            else:
                await self.push(f'500 Error: command "{command}" not recognized')
        return method

    def _find_method(self, command: str) -> Callable[[str | None], Awaitable[None]] | None:
        methods = vars(self).get("_smtp_methods")
        found: Callable[[str | None], Awaitable[None]] | None = (
            getattr(self, "smtp_" + command, None) if methods is None else methods.get(command)
        )
        return found

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Give whoever we wait for so much time from now."""
        self._deadline.set(duration or self._timeout_duration)

    def _timeout_cb(self) -> None:
        """The client took too long."""
        log.info("%r connection timeout", self.session.peer)
        if self.transport is not None:
            self.transport.close()

    def _limit_calls(self, limit: int | dict[str, int] | None) -> None:
        """Take how often each verb may come; None for any."""
        self._enforce_call_limit = limit is not None
        self._call_limit_base = {}
        self._call_limit_default = CALL_LIMIT_DEFAULT
        if limit is None:
            return
        if isinstance(limit, int):
            self._call_limit_default = limit
            return
        if not isinstance(limit, dict):
            raise TypeError("command_call_limit must be int or Dict[str, int]")
        if not all(isinstance(number, int) for number in limit.values()):
            raise TypeError("All command_call_limit values must be int")
        self._call_limit_base = limit
        self._call_limit_default = limit.get("*", CALL_LIMIT_DEFAULT)

    def _full_call_budgets(self) -> collections.defaultdict[str, int] | None:
        if not self._enforce_call_limit:
            return None
        return collections.defaultdict(functools.partial(int, self._call_limit_default), self._call_limit_base)


@contextlib.contextmanager
def _running(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a loop be the one that runs, as it is when transports call; tests call before they run it.

    The two functions are what asyncio has for event loops, and nothing else tells ``get_running_loop``.
    """
    if asyncio._get_running_loop() is not None:
        yield
        return
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn of what the caller does, as its module: programs have filters for warnings from ``smtp``."""
    frame = sys._getframe(1)
    warnings.warn_explicit(text, category, frame.f_code.co_filename, frame.f_lineno, f"{__package__}.smtp", _warned)


_warned: dict[Any, Any] = {}


def warn_deprecated(text: str) -> None:
    """Tell that a name is old."""
    warn(text, DeprecationWarning)
