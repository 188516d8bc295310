"""A session as its hooks see it: what it is made of, how a hook is called, and how the handler ends it or speaks.

Knows handlers, threads and the time that a hook has; does not know commands.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import socket
import struct
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from ehlo.errors import AuthenticationRequired, HandlerError
from ehlo.net.clients import UNLIMITED, Client
from ehlo.net.connection import Connection
from ehlo.protocol.replies import Reply, encode_status
from ehlo.session import Disconnect, Envelope, Session
from ehlo.settings import Parameters, Settings
from ehlo.shared import Offer, Shared, shared_by

if TYPE_CHECKING:
    from ehlo.hooks import Status
    from ehlo.protocol.commands import Chunk

log = logging.getLogger("ehlo.smtp")

INTERNAL_ERROR = "451 4.3.0 Internal error, try again later"

_DEFAULTS = Settings()
_LINGER_NOT = struct.pack("ii", 1, 0)  # on Windows two shorts, of which it takes the first four octets


class _EveryHook(Container[str]):
    """The names of all hooks."""

    def __contains__(self, name: object) -> bool:
        return True


class Hooked(Connection):
    """One session; see the module's text.  ``SMTP`` says what its parameters are."""

    own_mechanisms: ClassVar[frozenset[str]] = frozenset()
    _answers_for_handler: ClassVar[bool] = False

    # Those of the classes between here and SMTP too, which have several bases, and only one of these may have slots.
    __slots__ = (
        "_accepted_recipients",
        "_announced_chunk",
        "_asked",
        "_asks_first",
        "_auth_failures",
        "_calls",
        "_chunk",
        "_client",
        "_client_timeout",
        "_counts_commands",
        "_data_rate_floor",
        "_data_timeout",
        "_domains",
        "_errors",
        "_farewell",
        "_hook_timeout",
        "_mails",
        "_offer",
        "_offered",
        "_refusal",
        "_stats",
        "_tls_timeout",
        "_verb",
        "_xclient",
        "_xforward",
        "envelope",
        "event_handler",
        "session",
        "settings",
        "shared",
    )

    session: Session
    envelope: Envelope
    _offer: Offer
    _offered: frozenset[str]
    _announced_chunk: Chunk

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """See whether the class calls hooks in its own way: then it may answer for those that are not there."""
        super().__init_subclass__(**kwargs)
        cls._answers_for_handler = cls._call_handler_hook is not Hooked._call_handler_hook

    def __init__(
        self,
        handler: object,
        *,
        settings: Settings | None = None,
        shared: Shared | None = None,
        **parameters: Unpack[Parameters],
    ) -> None:
        super().__init__()
        if shared is None:
            if settings is None:
                settings = Settings(**parameters) if parameters else _DEFAULTS
            elif parameters:
                raise TypeError("give settings or their fields, not both")
            shared = shared_by(type(self), handler, settings, self.own_mechanisms)
        self.event_handler = handler
        self.shared = shared
        self.settings = settings = shared.settings
        self._client_timeout = settings.timeout
        self._data_timeout = settings.data_timeout
        self._data_rate_floor = settings.data_rate_floor
        self._hook_timeout = settings.hook_timeout
        self._tls_timeout = settings.tls_handshake_timeout
        self._client: Client = UNLIMITED
        # The attributes that this client may give with XCLIENT and XFORWARD.
        self._xclient: tuple[str, ...] = ()
        self._xforward: tuple[str, ...] = ()
        self._auth_failures = 0
        self._mails = 0
        self._domains: frozenset[str] = frozenset()
        self._chunk: Chunk | None = None
        self._accepted_recipients = 0
        self._farewell: Disconnect | None = None
        self._refusal: Reply | None = None
        self._verb = ""
        self._errors = 0
        self._calls: dict[str, int] | None = {} if settings.call_limits else None
        self._counts_commands = self._calls is not None
        # Which hooks are called at all.
        self._asked: Container[str] = _EveryHook() if self._answers_for_handler else shared.hooks
        self._asks_first = "COMMAND" in shared.hooks
        self._stats = shared.stats

    @property
    def hostname(self) -> str:
        """The name in the greeting."""
        return self.shared.hostname or ""

    @property
    def tls_context(self) -> Any:
        """The context for STARTTLS, or None; ``@syntax(when="tls_context")`` looks here."""
        return self.settings.tls_context

    async def push(self, status: Status) -> None:
        """Say a reply: a status as a hook returns one.  Bytes go out as they are, with CRLF put behind.

        It leaves with whatever else is written before the session next waits.  Waits itself only while the client does
        not read; ``Disconnected`` when the client is gone.
        """
        if isinstance(status, bytes):
            self._write(status + b"\r\n")
        elif isinstance(status, str):
            self._write(encode_status(status, utf8=self.envelope.smtp_utf8).data)
        else:
            self._write(status.encode(utf8=self.envelope.smtp_utf8))
        if self._writing_is_paused or self._is_lost:
            await self._drain()

    def describe(self) -> str:
        """The session and what it does, for the log."""
        return f"session {self.session.id}, {self._verb or 'between commands'}"

    def end_session(self, why: Disconnect = Disconnect.QUIT) -> None:
        """Close after the command that runs now."""
        self._farewell = why

    def disconnect(self, *, abort: bool = False) -> None:
        """Close without a further reply; nothing more that the client has sent is taken.

        What was said before still goes out.  ``abort``: it does not, and the connection is reset.  To be called in the
        loop.
        """
        if self._is_lost:
            return
        if abort:
            self._reset_on_close()
            self.transport.abort()
        else:
            self._hang_up()
        self._framer.discard()
        self._farewell = Disconnect.CLOSED
        self._is_lost = self._has_eof = True  # nothing can be written any more, and whoever tries learns that

    def _reset_on_close(self) -> None:
        """Have the system answer the client with RST instead of FIN."""
        maybe_socket = self.transport.get_extra_info("socket")
        if maybe_socket is not None:
            # Zero seconds to linger: drop what is unsent, and reset.
            maybe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)

    async def check_helo_needed(self, helo: str = "HELO") -> bool:
        """Whether the client has not said HELO, EHLO or LHLO; if so it is told."""
        if self.session.host_name is not None:
            return False
        await self.push(f"503 5.5.1 Say {helo} first")
        return True

    async def check_auth_needed(self, caller_method: str) -> bool:
        """Whether the client must authenticate before ``caller_method``; if so it is told."""
        if not self.settings.auth_required or self.session.authenticated:
            return False
        log.info("session %s: %s before authentication", self.session.id, caller_method)
        await self.push(AuthenticationRequired().status)
        return True

    def _create_session(self) -> Session:
        return Session(self.transport.get_extra_info("peername"))

    def _create_envelope(self) -> Envelope:
        return Envelope()

    def _set_rset_state(self) -> None:
        """Forget the transaction: a new envelope takes the place of the old."""
        self.envelope = self._create_envelope()
        self.session.xforward = None

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        """What the handler's hook says; None when it has no such hook, or when the hook declines."""
        hook = self.shared.hooks.get(command)
        if hook is None:
            return None
        self._is_busy = False
        if self.envelope.is_chunked and asyncio.current_task() is not self.task:
            # Between two BDAT commands, in a task that a streaming hook reads with: nobody else starts this time.
            self._is_busy = True
            self._deadline.set(self._hook_timeout)
        return await self._call(
            getattr(self.event_handler, hook.name), hook.is_coroutine, self, self.session, self.envelope, *args
        )

    async def _call(self, function: Callable[..., Any], is_coroutine: bool, *args: Any) -> Any:  # noqa: FBT001
        """Call what somebody else wrote: a coroutine function here, a plain one in a thread."""
        try:
            if is_coroutine:
                return await function(*args)
            call = functools.partial(_call_plain, contextvars.copy_context(), function, *args)
            result = await self.loop.run_in_executor(self.shared.threads, call)
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError as error:
            expired = self._expired_hook()
            if expired is not None:
                raise expired from None
            if self.task.cancelling():
                raise
            raise HandlerError("waited for something that was cancelled") from error
        finally:
            if self._hook_expired:
                self._expired_hook()  # the hook caught the cancellation and went on

    async def handle_exception(self, error: Exception) -> Status:
        """What the client is told when a hook or a verb fails: the handler's ``handle_exception``, or 451."""
        hook = self.shared.hooks.get("exception")
        if hook is not None:
            self._is_busy = False  # it has a time of its own
            status = await self._call(getattr(self.event_handler, hook.name), hook.is_coroutine, error)
            if status is not None:
                return status  # type: ignore[no-any-return]
        return INTERNAL_ERROR


def _call_plain(context: contextvars.Context, function: Callable[..., Any], *args: Any) -> Any:
    """Call a plain function, in its thread.  A StopIteration would not come back from there: no future takes one."""
    try:
        return context.run(function, *args)
    except StopIteration as error:
        raise RuntimeError("StopIteration in a plain function") from error
