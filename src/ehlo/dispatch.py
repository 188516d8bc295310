"""One session: how it begins and ends, who runs a command, and what is said when that goes wrong.

``Dispatcher`` reads commands, looks in the table whether each is allowed now, and runs the coroutine ``smtp_VERB`` of
its class; it makes replies of what hooks answer, which ``ehlo.hooked`` calls.  It does not know what any verb does:
that is in ``ehlo.smtp`` and ``ehlo.smtp_auth``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from ehlo.errors import (
    AuthenticationRequired,
    BadSequence,
    Disconnected,
    Goodbye,
    HandlerError,
    HookTimeout,
    LineTooLong,
    ProtocolError,
    SessionEnded,
    ShuttingDown,
    TLSRequired,
    UnknownCommand,
)
from ehlo.hooked import INTERNAL_ERROR, Hooked
from ehlo.hooks import Status, as_reply, encode_answer
from ehlo.net.clients import UNLIMITED
from ehlo.net.limits import ConnectionRefused, EarlyTalker
from ehlo.protocol.commands import (
    AUTH_LINE_LIMIT,
    Stage,
    parse_chunk,
    parse_command,
    refusal,
)
from ehlo.protocol.framing import Framing
from ehlo.protocol.replies import EncodedReply, Reply, encode_status
from ehlo.session import Disconnect, stage_of
from ehlo.verbs import Verb, VerbEntry, allow, collect, syntax

if TYPE_CHECKING:
    from ehlo.shared import Offer

__all__ = ["Dispatcher", "StandingRefusal", "allow", "syntax"]

log = logging.getLogger("ehlo.smtp")

UNKNOWN_VERB = "?"
"""What stands for a verb that is none, in the log too: it may be the answer to a challenge, and so a password."""

AUTHENTICATION_FAILURE = "454 4.7.0 Temporary authentication failure"  # RFC 4954 §6

_COMMAND, _CONNECTED = Framing.COMMAND, Stage.CONNECTED

# What most commands are answered, encoded.
_READY = {status: encode_status(status) for status in ("250 2.0.0 OK", "250 2.1.0 OK", "250 2.1.5 OK")}


@lru_cache(maxsize=64)
def _encode_greeting(hostname: str, keyword: str, ident: str) -> bytes:
    return Reply(220, None, (f"{hostname} {keyword} {ident}",)).encode(with_enhanced=False)


class StandingRefusal(ProtocolError):
    """A hook refused the session; this answers every command but QUIT."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Dispatcher(Hooked):
    """Runs the dialogue; see the module's text."""

    __slots__ = ()

    protocol_name: ClassVar[str] = "SMTP"
    greeting_keyword: ClassVar[str] = "ESMTP"
    command_size_limit: ClassVar[int] = 512

    _verbs: ClassVar[Mapping[str, VerbEntry]] = {}
    auth_methods: ClassVar[Mapping[str, str]] = {}
    _longest_line: ClassVar[int] = AUTH_LINE_LIMIT

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the verbs and mechanisms of the class, once."""
        super().__init_subclass__(**kwargs)
        found = collect(cls, cls.protocol_name, cls.command_size_limit)
        cls._verbs, cls.auth_methods, cls.own_mechanisms = found
        cls._longest_line = max(*(entry.line_limit for entry in cls._verbs.values()), cls.command_size_limit)

    # The session

    async def _converse(self) -> None:
        why = Disconnect.FAILURE
        self.session = self._create_session()
        self.envelope = self._create_envelope()
        self._stats.sessions_opened += 1
        try:
            await self._enter()
            await self._welcome()
            while self._farewell is None:
                await self._next_command()
            if self._writing_is_paused or self._is_lost:
                await self._drain()
            why = self._farewell
        except Goodbye as goodbye:
            why = Disconnect(goodbye.why)
            self._stats.tls_failures += why is Disconnect.TLS
            log.info("session %s: %s", self.session.id, goodbye)
            if goodbye.is_told:
                self._write(encode_answer(goodbye.status)[1])
        except Disconnected:
            why = Disconnect.CLOSED
        except asyncio.CancelledError:
            why = Disconnect.SHUTDOWN
            self._write(encode_answer(ShuttingDown().status)[1])
            raise
        except Exception:
            log.exception("session %s: failed", self.session.id)
            self._write(b"421 4.3.0 Internal error, closing connection\r\n")
        finally:
            self._stats.count(f"sessions_ended_{why}")
            try:
                await self._say_disconnected(why)
            finally:
                self._client.disconnect()

    async def _say_disconnected(self, why: Disconnect) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("session %s: ended: %s", self.session.id, why)
        if "DISCONNECT" not in self._asked:
            return
        try:
            await self._call_handler_hook("DISCONNECT", why)
        except Exception:
            log.exception("session %s: handle_DISCONNECT failed", self.session.id)

    async def _enter(self) -> None:
        """Know who is there: through a PROXY header and TLS, where they come first."""
        raise NotImplementedError

    def _admit_client(self) -> None:
        """Count the session as one of its client; ``ConnectionRefused``."""
        client, self._client = self._client, UNLIMITED
        client.disconnect()
        try:
            self._client = client = self.shared.clients.connect(self.session.peer)
        except ConnectionRefused as refusal:
            # What expects a handshake cannot be told.
            refusal.is_told = self.tls_from_start is None or self.session.ssl is not None
            raise
        self._counts_commands = self._calls is not None or client.counts_commands

    async def _welcome(self) -> None:
        if self.shared.hostname is None:
            await self.loop.run_in_executor(self.shared.threads, self.shared.look_up_hostname)
        self._forget_offer()
        delay = self._client.greet_delay
        if delay is not None and not await self._is_silent(delay):
            self._stats.refused_early_talkers += 1
            raise EarlyTalker
        await self._greet()

    async def _greet(self) -> None:
        """Say the greeting, or what ``handle_CONNECT`` says instead."""
        maybe_greeting = await self._ask_for_greeting() if "CONNECT" in self._asked else None
        self._refusal = None
        if maybe_greeting is None:
            self._write(_encode_greeting(self.hostname, self.greeting_keyword, self.settings.ident or "ehlo"))
            return
        greeting = maybe_greeting
        self._write(greeting.encode(with_enhanced=False))
        if greeting.is_positive:
            return
        log.info("session %s: refused: %s", self.session.id, greeting)
        self._stats.refused_by_hook += 1
        # RFC 5321 §3.1: after a 554 greeting the client says QUIT, and anything else gets 503.
        if greeting.is_transient or greeting.code == 521:
            self.end_session(Disconnect.REFUSED)
        self._refusal = Reply.parse(BadSequence(text="No service here").status)

    async def _ask_for_greeting(self) -> Reply | None:
        try:
            status = await self._call_handler_hook("CONNECT")
            if status is None:
                return None
            encode_answer(status)
            return as_reply(status)
        except Exception:
            log.exception("session %s: handle_CONNECT failed", self.session.id)
            return Reply(421, None, (f"{self.hostname} Internal error, try again later",))

    async def _next_command(self) -> None:
        """Read a command, run it, answer what is wrong with it; but only while the client reads the answers."""
        if self._writing_is_paused or self._is_lost:
            await self._drain()
        if self._is_stopping and self._is_between_transactions():
            raise ShuttingDown
        self._is_busy = False
        self._verb = verb = ""
        if self._framer.state is not _COMMAND:
            await self._drop_data()  # the chunk of a BDAT that was answered without a look at it
        try:
            line = await self._next_line(self._longest_line, self.settings.timeout)
            self._stats.commands += 1
            self._framer.refused_line = line  # should it be none
            verb, arg = parse_command(line)
            entry = self._verbs.get(verb)
            if entry is None:
                self._verb = UNKNOWN_VERB
            else:
                self._verb = verb
                if entry.command.has_chunk:
                    self._announced_chunk = parse_chunk(arg)
                    self._expect_chunk(self._announced_chunk.size)
            if self._asks_first and await self._is_answered(verb, entry, arg):
                return
            await self._admit(verb, entry, len(line) + 2)(self, arg)
        except (Goodbye, SessionEnded):
            raise
        except ProtocolError as error:
            await self._refuse(verb, error)
        except Exception as error:  # noqa: BLE001 - whatever a hook raises must not end the session
            await self._say(verb, await self._apology(verb, error))
        except asyncio.CancelledError:
            expired = self._expired_hook()
            if expired is None and (self.task.cancelling() or asyncio.current_task() is not self.task):
                raise
            failure = expired or HandlerError("waited for something that was cancelled")
            await self._say(verb, await self._apology(verb, failure))

    async def _is_answered(self, verb: str, entry: VerbEntry | None, arg: str | None) -> bool:
        """Whether ``handle_COMMAND`` answers this command, so that it is not run."""
        if self._refusal is not None and verb != "QUIT":
            return False  # what answers everything answers this
        status: Status | None = None
        is_fine = False
        try:
            status = await self._call_handler_hook("COMMAND", verb, arg)
            if self._farewell is Disconnect.CLOSED:
                raise Disconnected("by the handler")
            is_fine = status is None or encode_answer(status, utf8=self.envelope.smtp_utf8).code < 400
        except (ProtocolError, SessionEnded):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a hook raises must not end the session
            status = await self._apology(verb, error)
        finally:
            if not is_fine and entry is not None and entry.command.has_chunk:
                # RFC 3030 §2: the chunks that are in the pipeline already are no part of a message any more.
                self._set_rset_state()
        if status is None:
            return False
        if self._counts_commands:
            self._count_command(verb, entry)
        if not is_fine:
            log.info("session %s: %s refused by handle_COMMAND: %s", self.session.id, self._verb, as_reply(status))
        await self._say(verb, status)
        self._check_what_follows(verb)
        return True

    def _admit(self, verb: str, entry: VerbEntry | None, length: int) -> Verb:
        """What runs a verb that is known, short enough and allowed now; raises what is wrong with another."""
        if self._refusal is not None and verb != "QUIT":
            raise StandingRefusal(self._refusal)
        if self._counts_commands:
            self._count_command(verb, entry)
        if entry is None:
            raise UnknownCommand
        function, command, line_limit = entry
        if length > (line_limit or self._offer.path_line_limit):
            raise LineTooLong
        settings, session = self.settings, self.session
        if settings.require_starttls and session.ssl is None and not command.before_tls:
            raise TLSRequired
        stage = stage_of(session, self.envelope)
        is_out_of_place = stage not in command.stages
        if is_out_of_place and stage is _CONNECTED:
            raise refusal(command, stage)
        if settings.auth_required and not session.authenticated and not command.before_auth:
            raise AuthenticationRequired
        if is_out_of_place:
            raise refusal(command, stage)
        return function

    def _count_command(self, verb: str, entry: VerbEntry | None) -> None:
        self._client.command(is_junk=entry is None or entry.command.is_junk)
        limits, calls = self.settings.call_limits, self._calls
        if limits is None or calls is None:
            return
        verb = verb if entry is not None else ""
        calls[verb] = calls.get(verb, 0) + 1
        if calls[verb] > limits.get(verb, limits["*"]):
            self._stats.limit_command_call += 1
            raise Goodbye(f"{verb or 'unknown commands'} too often", text=f"{verb or 'Command'} sent too many times")

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors >= self.settings.error_limit:
            self._stats.limit_error += 1
            raise Goodbye("too many errors")

    async def _refuse(self, verb: str, error: ProtocolError) -> None:
        log.info("session %s: %s refused: %s: %s", self.session.id, self._verb or "line", error.status, error)
        self._stats.errors += 1
        if error.is_counted:
            await self._pause(self._client.error())
        status: Status
        try:
            status = error.reply if isinstance(error, StandingRefusal) else as_reply(error.status)
        except HandlerError as mistake:  # a hook raised it with a text of its own
            status = await self._apology(verb, mistake)
        await self._say(verb, status)
        self._check_what_follows(verb)
        if error.is_counted:
            self._count_error()

    def _check_what_follows(self, verb: str) -> None:
        """Run nothing that may be content: what follows a command that was refused, or a line that was hardly one.

        The octets behind DATA are mail data that the client sent without waiting for 354; those behind a BDAT whose
        line cannot be read are a chunk of unknown length.
        """
        start = verb or self._framer.refused_line.lstrip().decode("latin-1").upper()
        if not verb and start.startswith("BDAT"):
            raise Goodbye("BDAT that cannot be read", text="Cannot find the end of the chunk, closing connection")
        if start.startswith("DATA") and self._framer.buffered:
            raise Goodbye("octets behind a refused DATA", text="Mail data without permission, closing connection")

    async def _apology(self, verb: str, error: Exception) -> Status:
        """Log a failure of ours or of the handler's; give what the client is told of it."""
        log.error("session %s: %s failed", self.session.id, verb or "command", exc_info=error)
        self._stats.hook_exceptions += 1
        self._stats.hook_timeouts += isinstance(error, HookTimeout)
        try:
            status = await self.handle_exception(error)
            if status is INTERNAL_ERROR and verb == "AUTH":
                return AUTHENTICATION_FAILURE
            encode_answer(status)
        except Exception:
            log.exception("session %s: handle_exception failed", self.session.id)
            return INTERNAL_ERROR
        return status

    async def _say(self, verb: str, status: Status) -> None:
        """Answer ``verb`` with what went wrong.  RFC 2034 §4: a reply to HELO or EHLO has no enhanced status code.

        The chunk of a BDAT that is refused is dropped "before sending the appropriate 5XX or 4XX code" (RFC 3030 §2).
        """
        if self._framer.expects_data():
            await self._drop_data()
        with_enhanced = verb not in {"HELO", "EHLO", "LHLO"}
        self._write(as_reply(status).encode(with_enhanced=with_enhanced, utf8=self.envelope.smtp_utf8))

    def _is_between_transactions(self) -> bool:
        return self.envelope.mail_from is None

    def _settle(self, answer: Any, default: str, *, utf8: bool = False) -> EncodedReply:
        """Code and octets of what a hook answered, or of the default.  ``utf8``: this command asked for UTF-8."""
        if answer is None:
            ready = _READY.get(default)
            return encode_status(default) if ready is None else ready
        return encode_answer(answer, utf8=utf8 or self.envelope.smtp_utf8)

    def _current_offer(self) -> Offer:
        return self.shared.offer(self.session.ssl, xclient=self._xclient, xforward=self._xforward)

    def _mechanisms(self) -> tuple[str, ...]:
        return self.shared.mechanisms(self.session.ssl)

    def _forget_offer(self) -> None:
        self._offer = self._current_offer()
        self._offered = frozenset()
