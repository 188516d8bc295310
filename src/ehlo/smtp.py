"""The SMTP server: one verb, one coroutine.

``SMTP`` is an ``asyncio.Protocol``.  Program it by a handler, whose ``handle_VERB`` coroutines answer or decline, or by
a subclass: ``async def smtp_NOW(self, arg)`` is a NOW command.

Here is what the verbs do and say.  When each is allowed is a table in ``ehlo.protocol.commands``; what octets mean is
``ehlo.protocol.framing``'s; waiting, time and TLS are ``ehlo.net.connection``'s.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import inspect
import logging
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar, Unpack

from ehlo.auth import AuthResult, mechanism_name
from ehlo.content import Chunks, ContentReader, read_all
from ehlo.errors import (
    AddressNeedsUTF8,
    ArgumentError,
    BadSequence,
    CommandNotImplemented,
    DataAborted,
    Disconnected,
    Goodbye,
    HandlerError,
    LineTooLong,
    MessageTooBig,
    ParameterNotImplemented,
    ProtocolError,
    SessionEnded,
    ShuttingDown,
    TooManyRecipients,
    UnknownCommand,
)
from ehlo.hooks import Status, as_reply, encode_answer, is_coroutine_function
from ehlo.net.connection import Connection
from ehlo.net.tls import tls_info
from ehlo.protocol import sasl
from ehlo.protocol.address import is_helo_name, parse_forward_path, parse_reverse_path
from ehlo.protocol.commands import AUTH_LINE_LIMIT, COMMAND_LINE_LIMIT, COMMANDS, Command, Stage, parse_command, refusal
from ehlo.protocol.framing import Framing
from ehlo.protocol.parameters import parse_mail_parameters, parse_rcpt_parameters, split_parameters
from ehlo.protocol.replies import EncodedReply, Reply, encode_status
from ehlo.session import Disconnect, Envelope, Recipient, Session, stage_of
from ehlo.settings import Parameters, Settings
from ehlo.shared import Offer, Shared, shared_by

log = logging.getLogger("ehlo.smtp")

_Verb = Callable[[Any, str | None], Coroutine[Any, Any, None]]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_DEFAULTS = Settings()

INTERNAL_ERROR = "451 4.3.0 Internal error, try again later"


class VerbEntry(NamedTuple):
    """A verb of a class: what runs, and the row that says when."""

    function: _Verb
    command: Command


class AuthenticationRequired(ProtocolError):
    """RFC 4954 §6."""

    code = 530
    enhanced = "5.7.0"
    text = "Authentication required"


class TLSRequired(ProtocolError):
    """RFC 3207 §4."""

    code = 530
    enhanced = "5.7.0"
    text = "Must issue a STARTTLS command first"


class EncryptionRequired(ProtocolError):
    """RFC 4954 §6: this mechanism would work on TLS."""

    code = 538
    enhanced = "5.7.11"
    text = "Encryption required for requested authentication mechanism"


class UnknownMechanism(ProtocolError):
    """RFC 4954 §4."""

    code = 504
    enhanced = "5.5.4"
    text = "Unrecognized authentication type"


class AuthenticationCancelled(ProtocolError):
    """The client answered a challenge with ``*`` (RFC 4954 §4)."""

    code = 501
    enhanced = "5.7.0"
    text = "Authentication cancelled"


class AuthenticationSyntaxError(ProtocolError):
    """Bad base64 (RFC 4954 §4)."""

    code = 501
    enhanced = "5.5.2"
    text = "Cannot decode base64"


class AuthenticationLineTooLong(ProtocolError):
    """RFC 4954 §4 and §6."""

    code = 500
    enhanced = "5.5.6"
    text = "Authentication exchange line is too long"


def syntax(text: str, extended: str | None = None, when: str | None = None) -> Callable[[_Function], _Function]:
    """Say how a verb is written, for HELP and for 501.

    ``extended`` is added after EHLO; ``when`` names an attribute of the server that must be true for HELP to list it.
    """

    def decorate(function: _Function) -> _Function:
        function.__smtp_syntax__ = text  # type: ignore[attr-defined]
        function.__smtp_syntax_extended__ = extended  # type: ignore[attr-defined]
        function.__smtp_syntax_when__ = when  # type: ignore[attr-defined]
        return function

    return decorate


def allow(**row: Any) -> Callable[[_Function], _Function]:
    """Say when a verb of a subclass is allowed: the fields of ``ehlo.protocol.commands.Command`` but its verb.

    Without it a new verb is allowed at every stage, and only after the TLS and the authentication that the settings
    require.
    """

    def decorate(function: _Function) -> _Function:
        function.__smtp_row__ = row  # type: ignore[attr-defined]
        return function

    return decorate


class SMTP(Connection):
    """One SMTP session (RFC 5321).

    ``SMTP(handler, **parameters)`` takes the fields of ``Settings`` as keywords; ``shared``, which ``serve`` gives,
    saves each connection the work of looking at them again.
    """

    protocol_name: ClassVar[str] = "SMTP"
    greeting_keyword: ClassVar[str] = "ESMTP"
    command_size_limit: ClassVar[int] = 512
    AuthLoginUsernameChallenge: ClassVar[str] = "Username:"
    AuthLoginPasswordChallenge: ClassVar[str] = "Password:"

    _verbs: ClassVar[Mapping[str, VerbEntry]] = {}
    auth_methods: ClassVar[Mapping[str, str]] = {}
    _longest_line: ClassVar[int] = AUTH_LINE_LIMIT

    session: Session
    envelope: Envelope
    _offer: Offer
    _offered: frozenset[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the verbs and mechanisms of the class, once."""
        super().__init_subclass__(**kwargs)
        _collect(cls)

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
            shared = shared_by(type(self), handler, settings, self.auth_methods)
        self.event_handler = handler
        self.shared = shared
        self.settings = settings = shared.settings
        self._client_timeout = settings.timeout
        self._data_timeout = settings.data_timeout
        self._data_rate_floor = settings.data_rate_floor
        self._hook_timeout = settings.hook_timeout
        self._farewell: Disconnect | None = None
        self._refusal: Status | None = None
        self._verb = ""
        self._errors = 0
        self._auth_failures = 0
        self._calls: dict[str, int] | None = {} if settings.call_limits else None

    @property
    def hostname(self) -> str:
        """The name in the greeting."""
        return self.shared.hostname or ""

    @property
    def tls_context(self) -> Any:
        """The context for STARTTLS, or None; ``@syntax(when="tls_context")`` looks here."""
        return self.settings.tls_context

    # For subclasses and hooks

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

    async def challenge_auth(
        self,
        challenge: str | bytes,
        encode_to_b64: bool = True,  # noqa: FBT001, FBT002 - the signature that the field knows
        log_client_response: bool = False,  # noqa: FBT001, FBT002
    ) -> bytes:
        """Send ``334`` with a challenge, give the client's answer decoded.

        Raises ``AuthenticationCancelled`` when the client answers ``*``, and another ``ProtocolError`` for what is no
        base64: let them pass, the client is told.
        """
        data = challenge.encode() if isinstance(challenge, str) else challenge
        self._write(b"334 " + (base64.b64encode(data) if encode_to_b64 else data) + b"\r\n")
        self._framer.expect(Framing.SASL)
        try:
            line = await self._next_line(AUTH_LINE_LIMIT, self.settings.timeout)
        except LineTooLong:
            raise AuthenticationLineTooLong from None
        finally:
            if self._framer.state is Framing.SASL:
                self._framer.expect(Framing.COMMAND)
        if log_client_response:
            log.warning("session %s: client's answer: %r", self.session.id, line)
        if line == b"*":
            raise AuthenticationCancelled
        return _decode_base64(line)

    def _create_session(self) -> Session:
        return Session(self.transport.get_extra_info("peername"))

    def _create_envelope(self) -> Envelope:
        return Envelope()

    def _set_rset_state(self) -> None:
        """Forget the transaction: a new envelope takes the place of the old."""
        self.envelope = self._create_envelope()

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        """What the handler's hook says; None when it has no such hook, or when the hook declines."""
        hook = self.shared.hooks.get(command)
        if hook is None:
            return None
        self._is_busy = False
        return await self._call(
            getattr(self.event_handler, hook.name), hook.is_coroutine, self, self.session, self.envelope, *args
        )

    async def _call(self, function: Callable[..., Any], is_coroutine: bool, *args: Any) -> Any:  # noqa: FBT001
        """Call what somebody else wrote: a coroutine function here, a plain one in a thread."""
        try:
            if is_coroutine:
                return await function(*args)
            result = await self.loop.run_in_executor(self.shared.threads, functools.partial(function, *args))
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError:
            expired = self._expired_hook()
            if expired is None:
                raise
            raise expired from None
        finally:
            if self._hook_expired:
                self._expired_hook()  # the hook caught the cancellation and went on

    async def handle_exception(self, error: Exception) -> Status:
        """What the client is told when a hook or a verb fails: the handler's ``handle_exception``, or 451."""
        hook = self.shared.hooks.get("exception")
        if hook is not None:
            status = await self._call(getattr(self.event_handler, hook.name), hook.is_coroutine, error)
            if status is not None:
                return status  # type: ignore[no-any-return]
        return INTERNAL_ERROR

    # The session

    async def _converse(self) -> None:
        why = Disconnect.FAILURE
        self.session = self._create_session()
        self.envelope = self._create_envelope()
        try:
            self.session.ssl = tls_info(self.transport)
            await self._welcome()
            while self._farewell is None:
                await self._next_command()
            why = self._farewell
        except Goodbye as goodbye:
            why = Disconnect(goodbye.why)
            log.info("session %s: %s", self.session.id, goodbye)
            if goodbye.why != "tls":
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
            await self._say_disconnected(why)

    async def _say_disconnected(self, why: Disconnect) -> None:
        log.debug("session %s: ended: %s", self.session.id, why)
        try:
            await self._call_handler_hook("DISCONNECT", why)
        except Exception:
            log.exception("session %s: handle_DISCONNECT failed", self.session.id)

    async def _welcome(self) -> None:
        if self.shared.hostname is None:
            await self.loop.run_in_executor(self.shared.threads, self.shared.look_up_hostname)
        self._forget_offer()
        greeting = await self._greeting()
        self._write(greeting.encode(with_enhanced=False))
        if greeting.is_positive:
            return
        log.info("session %s: refused: %s", self.session.id, greeting)
        # RFC 5321 §3.1: after a 554 greeting the client says QUIT, and anything else gets 503.
        if greeting.is_transient or greeting.code == 521:
            self.end_session(Disconnect.REFUSED)
        self._refusal = BadSequence(text="No service here").status

    async def _greeting(self) -> Reply:
        try:
            status = await self._call_handler_hook("CONNECT")
            if status is None:
                ident = self.settings.ident or "ehlo"
                return Reply(220, None, (f"{self.hostname} {self.greeting_keyword} {ident}",))
            encode_answer(status)
            return as_reply(status)
        except Exception:
            log.exception("session %s: handle_CONNECT failed", self.session.id)
            return Reply(421, None, (f"{self.hostname} Internal error, try again later",))

    async def _next_command(self) -> None:
        if self._is_stopping and self._is_between_transactions():
            raise ShuttingDown
        self._is_busy = False
        self._verb = verb = ""
        try:
            line = await self._next_line(self._longest_line, self.settings.timeout)
            verb, arg = parse_command(line)
            self._verb = verb
            if self._refusal is not None and verb != "QUIT":
                await self.push(self._refusal)
                self._count_error()
                return
            await self._admit(verb, len(line) + 2)(self, arg)
        except (Goodbye, SessionEnded):
            raise
        except ProtocolError as error:
            await self._refuse(verb, error)
        except Exception as error:  # noqa: BLE001 - whatever a hook raises must not end the session
            await self.push(await self._apology(verb, error))
        except asyncio.CancelledError:
            expired = self._expired_hook()
            if expired is None:
                raise
            await self.push(await self._apology(verb, expired))

    def _admit(self, verb: str, length: int) -> _Verb:
        """The coroutine function of a verb that is known, short enough and allowed now."""
        entry = self._verbs.get(verb)
        if self._calls is not None:
            self._count_call(verb if entry is not None else "")
        if entry is None:
            raise UnknownCommand
        command = entry.command
        if length > self._line_limit(command):
            raise LineTooLong
        settings, session = self.settings, self.session
        if settings.require_starttls and session.ssl is None and not command.before_tls:
            raise TLSRequired
        stage = stage_of(session, self.envelope)
        is_out_of_place = stage not in command.stages
        if is_out_of_place and stage is Stage.CONNECTED:
            raise refusal(command, stage)
        if settings.auth_required and not session.authenticated and not command.before_auth:
            raise AuthenticationRequired
        if is_out_of_place:
            raise refusal(command, stage)
        return entry.function

    def _line_limit(self, command: Command) -> int:
        if command.line_limit == COMMAND_LINE_LIMIT:
            return self.command_size_limit
        return command.line_limit or self._offer.path_line_limit

    def _count_call(self, verb: str) -> None:
        limits, calls = self.settings.call_limits, self._calls
        assert limits is not None
        assert calls is not None
        calls[verb] = calls.get(verb, 0) + 1
        if calls[verb] > limits.get(verb, limits["*"]):
            raise Goodbye(f"{verb or 'unknown commands'} too often", text=f"{verb or 'Command'} sent too many times")

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors >= self.settings.error_limit:
            raise Goodbye("too many errors")

    async def _refuse(self, verb: str, error: ProtocolError) -> None:
        log.info("session %s: %s refused: %s: %s", self.session.id, verb or "line", error.status, error)
        # RFC 2034 §4: a reply to HELO or EHLO has no enhanced status code.
        reply = Reply.parse(error.status)
        self._write(reply.encode(with_enhanced=verb not in {"HELO", "EHLO", "LHLO"}))
        await self._drain()
        if verb == "DATA" and self._framer.buffered:
            # They are mail data that the client sent without waiting for 354: to run them would be smuggling.
            raise Goodbye("octets behind a refused DATA", text="Mail data without permission, closing connection")
        if error.is_counted:
            self._count_error()

    async def _apology(self, verb: str, error: Exception) -> Status:
        """Log a failure of ours or of the handler's; give what the client is told of it."""
        log.error("session %s: %s failed", self.session.id, verb or "command", exc_info=error)
        try:
            status = await self.handle_exception(error)
            encode_answer(status)
        except Exception:
            log.exception("session %s: handle_exception failed", self.session.id)
            return INTERNAL_ERROR
        return status

    def _is_between_transactions(self) -> bool:
        return self.envelope.mail_from is None

    def _settle(self, answer: Any, default: str) -> EncodedReply:
        """Code and octets of what a hook answered, or of the default."""
        return encode_answer(default if answer is None else answer, utf8=self.envelope.smtp_utf8)

    async def _send(self, reply: EncodedReply) -> None:
        self._write(reply.data)
        if self._writing_is_paused or self._is_lost:
            await self._drain()

    # Greeting

    @syntax("HELO hostname")
    async def smtp_HELO(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.1."""
        hostname = self._helo_name("HELO", arg)
        before = self.session.host_name
        reply = self._settle_greeting(await self._call_handler_hook("HELO", hostname), [self.hostname])
        self._greeted(hostname, before, reply, keywords=None)
        await self._send(reply)

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.1: the offer, which the hook may change."""
        hostname = self._helo_name("EHLO", arg)
        before = self.session.host_name
        offer = self._offer = self._current_offer()
        if "EHLO" not in self.shared.hooks:
            self._greeted(hostname, before, EncodedReply(250, offer.data), offer.keywords)
            await self._send(EncodedReply(250, offer.data))
            return
        lines = [self.hostname, *offer.lines]
        answer = await self._call_handler_hook("EHLO", hostname, lines)
        if isinstance(answer, list):
            lines, answer = answer, None
        reply = self._settle_greeting(answer, lines)
        self._greeted(hostname, before, reply, frozenset(line.partition(" ")[0].upper() for line in lines[1:]))
        await self._send(reply)

    def _settle_greeting(self, answer: Any, lines: list[str]) -> EncodedReply:
        """What HELO and EHLO are answered: no enhanced status codes (RFC 2034 §4)."""
        reply = Reply(250, None, tuple(lines)) if answer is None else as_reply(answer)
        if reply.is_intermediate:
            raise HandlerError(f"a hook answered {reply.code}")
        return EncodedReply(reply.code, reply.encode(with_enhanced=False))

    def _helo_name(self, verb: str, arg: str | None) -> str:
        if arg is None or not is_helo_name(arg):
            raise ArgumentError("no host name", text=f"Syntax: {verb} hostname")
        return arg

    def _greeted(self, hostname: str, before: str | None, reply: EncodedReply, keywords: frozenset[str] | None) -> None:
        """Record a greeting that was accepted as far as the hook did not; undo what it recorded of another."""
        session = self.session
        if reply.code >= 400:
            session.host_name = before
            return
        if session.host_name == before:
            session.host_name = hostname
        session.extended_smtp = keywords is not None
        self._offered = keywords or frozenset()
        self._set_rset_state()

    def _current_offer(self) -> Offer:
        tls = self.session.ssl
        has_certificate = tls is not None and tls.peer_certificate is not None
        return self.shared.offer(is_tls=tls is not None, can_identify_peer=has_certificate)

    def _forget_offer(self) -> None:
        self._offer = self._current_offer()
        self._offered = frozenset()

    # Transaction

    @syntax("MAIL FROM:<address>", extended=" [SP <mail-parameters>]")
    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.2."""
        settings = self.settings
        path = parse_reverse_path(arg or "", local_part_limit=settings.local_part_limit)
        options = split_parameters(path.parameters) if path.parameters else []
        parameters = parse_mail_parameters(
            options, offered=self._offered, ignored=settings.ignore_parameters, passed=settings.pass_parameters
        )
        if (parameters.size or 0) > (settings.data_size_limit or math.inf):
            raise MessageTooBig
        if not path.mailbox.isascii() and not parameters.smtputf8:
            raise AddressNeedsUTF8
        envelope = self.envelope
        envelope.smtp_utf8 = parameters.smtputf8
        envelope.mail_parameters = parameters
        try:
            answer = await self._call_handler_hook("MAIL", path.mailbox, options)
            reply = self._settle(answer, "250 2.1.0 OK")
        except BaseException:
            self._set_rset_state()
            raise
        envelope = self.envelope
        if reply.code >= 400:
            self._set_rset_state()
        else:
            if envelope.mail_from is None:
                envelope.mail_from = path.mailbox
            if options and not envelope.mail_options:
                envelope.mail_options = options
        await self._send(reply)

    @syntax("RCPT TO:<address>", extended=" [SP <rcpt-parameters>]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.3."""
        settings, envelope = self.settings, self.envelope
        before = len(envelope.rcpt_tos)
        if before >= settings.recipient_limit:
            raise TooManyRecipients
        path = parse_forward_path(arg or "", local_part_limit=settings.local_part_limit)
        options = split_parameters(path.parameters) if path.parameters else []
        parameters = parse_rcpt_parameters(
            options, offered=self._offered, ignored=settings.ignore_parameters, passed=settings.pass_parameters
        )
        if not path.mailbox.isascii() and not envelope.smtp_utf8:
            raise AddressNeedsUTF8
        recipient = Recipient(path.mailbox, tuple(options), parameters)
        try:
            answer = await self._call_handler_hook("RCPT", recipient, options)
            reply = self._settle(answer, "250 2.1.5 OK")
        except BaseException:
            del envelope.rcpt_tos[before:]
            raise
        if reply.code >= 400:
            del envelope.rcpt_tos[before:]
        else:
            added = envelope.rcpt_tos[before:] or [recipient]
            envelope.rcpt_tos[before:] = [
                each if isinstance(each, Recipient) else Recipient(each, tuple(options), parameters) for each in added
            ]
            envelope.rcpt_options.extend(options)
        await self._send(reply)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.4."""
        if arg:
            raise ArgumentError("argument of DATA", text="Syntax: DATA")
        self._write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        self._expect_data()
        await self._receive_message()

    async def _receive_message(self) -> None:
        """Read mail data to their end, give them to the handler, say what became of them; forget the transaction."""
        envelope = self.envelope
        reader = ContentReader(self._next_data, self._framer, self.settings)
        try:
            replies = await self._deliver(envelope, reader)
            self._log_message(envelope, reader, replies[0].data)
        finally:
            self._set_rset_state()
        for reply in replies:
            await self._send(reply)

    async def _deliver(self, envelope: Envelope, reader: ContentReader) -> list[EncodedReply]:
        outcome: Any
        try:
            outcome = await (self._stream(reader) if "DATA_STREAM" in self.shared.hooks else self._buffer(reader))
            return self._encode_outcome(envelope, outcome)
        except (Goodbye, SessionEnded):
            raise
        except ProtocolError as error:
            outcome = error.status
        except Exception as error:  # noqa: BLE001 - whatever a hook raises must not end the session
            outcome = await self._apology("DATA", error)
        return self._encode_outcome(envelope, outcome)

    async def _buffer(self, reader: ContentReader) -> Any:
        """``handle_DATA``: the whole content at once."""
        try:
            self.envelope.content = await read_all(reader)
        except Goodbye:
            raise
        except ProtocolError:
            await reader.skip()
            raise
        return await self._call_handler_hook("DATA")

    async def _stream(self, reader: ContentReader) -> Any:
        """``handle_DATA_STREAM``: the content as it comes.  What the hook leaves unread is read before the reply."""
        chunks = Chunks(reader)
        answer = None
        try:
            answer = await self._call_handler_hook("DATA_STREAM", chunks)
        except DataAborted:
            if chunks.failure is None:
                raise
        except Exception:
            if chunks.failure is None:
                await reader.skip()
            log.debug("session %s: handle_DATA_STREAM failed", self.session.id)
            raise
        if chunks.failure is None:
            await reader.skip()
            return answer
        failure, chunks.failure = chunks.failure, None
        try:
            if isinstance(failure, ProtocolError) and not isinstance(failure, Goodbye):
                await reader.skip()
            raise failure
        finally:
            del failure  # its traceback leads back here

    def _encode_outcome(self, envelope: Envelope, outcome: Any) -> list[EncodedReply]:
        """The replies to the end of data: one (RFC 5321); LMTP has one for each recipient."""
        return [self._settle(outcome, f"250 2.0.0 OK queued as {envelope.id}")]

    def _log_message(self, envelope: Envelope, reader: ContentReader, reply: bytes) -> None:
        if log.isEnabledFor(logging.INFO):
            log.info(
                "session %s: message %s: from=<%s> to=%d first=<%s> size=%d tls=%s login=%s reply=%s",
                self.session.id,
                envelope.id,
                envelope.mail_from,
                len(envelope.rcpt_tos),
                envelope.rcpt_tos[0] if envelope.rcpt_tos else "",
                reader.size,
                self.session.ssl.version if self.session.ssl else "no",
                self.session.login or "no",
                reply.rstrip().decode(errors="replace"),
            )

    @syntax("RSET")
    async def smtp_RSET(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.5."""
        if arg:
            raise ArgumentError("argument of RSET", text="Syntax: RSET")
        self._set_rset_state()
        await self._send(self._settle(await self._call_handler_hook("RSET"), "250 2.0.0 OK"))

    # Others

    @syntax("NOOP [ignored]")
    async def smtp_NOOP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.9."""
        await self._send(self._settle(await self._call_handler_hook("NOOP", arg), "250 2.0.0 OK"))

    @syntax("QUIT")
    async def smtp_QUIT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.10."""
        if arg:
            raise ArgumentError("argument of QUIT", text="Syntax: QUIT")
        reply = self._settle(await self._call_handler_hook("QUIT"), "221 2.0.0 Bye")
        self.end_session(Disconnect.QUIT)
        await self._send(reply)

    @syntax("VRFY <address>")
    async def smtp_VRFY(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.6; 252 is the answer of a server that does not tell who lives there (§7.3)."""
        if arg is None:
            raise ArgumentError("VRFY of nobody", text="Syntax: VRFY <address>")
        default = "252 2.5.2 Cannot VRFY user, but will accept message and attempt delivery"
        await self._send(self._settle(await self._call_handler_hook("VRFY", arg), default))

    @syntax("EXPN <list>")
    async def smtp_EXPN(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.7: nothing by itself."""
        if arg is None:
            raise ArgumentError("EXPN of nothing", text="Syntax: EXPN <list>")
        default = CommandNotImplemented().status
        await self._send(self._settle(await self._call_handler_hook("EXPN", arg), default))

    @syntax("HELP [command]")
    async def smtp_HELP(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.8."""
        answer = await self._call_handler_hook("HELP", arg)
        if answer is not None:
            await self._send(self._settle(answer, ""))
            return
        shown = {
            verb: entry.function
            for verb, entry in sorted(self._verbs.items())
            if (when := getattr(entry.function, "__smtp_syntax_when__", None)) is None or getattr(self, when, None)
        }
        if arg is None:
            await self.push("214 2.0.0 Supported commands: " + " ".join(shown))
            return
        function = shown.get(arg.upper())
        if function is None:
            raise ParameterNotImplemented("HELP on nothing known", text="No help on that")
        text = getattr(function, "__smtp_syntax__", arg.upper())
        if self.session.extended_smtp:
            text += getattr(function, "__smtp_syntax_extended__", None) or ""
        await self.push(f"214 2.0.0 Syntax: {text}")

    # TLS and authentication

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """RFC 3207."""
        if arg:
            raise ArgumentError("argument of STARTTLS", text="Syntax: STARTTLS")
        context = self.settings.tls_context
        if context is None:
            raise CommandNotImplemented
        if self.session.ssl is not None:
            raise BadSequence("STARTTLS on TLS", text="TLS is already active")
        if not self.session.extended_smtp:
            raise BadSequence("STARTTLS after HELO", text="Say EHLO first")
        if self._framer.buffered:
            log.warning("session %s: octets sent before the TLS handshake were dropped", self.session.id)
        self._write(b"220 2.0.0 Ready to start TLS\r\n")
        await self._start_tls(context, self.settings.tls_handshake_timeout)
        self.session.forget()
        self.session.ssl = tls_info(self.transport)
        self._set_rset_state()
        self._forget_offer()
        answer = await self._call_handler_hook("STARTTLS")
        if answer is not None and encode_answer(answer)[0] >= 400:
            self._refusal = answer

    @syntax("AUTH <mechanism> [initial-response]")
    async def smtp_AUTH(self, arg: str | None) -> None:
        """RFC 4954 §4."""
        self._check_auth_is_possible()
        name, *rest = (arg or "").split() if arg else [""]
        if not name or len(rest) > 1:
            raise ArgumentError("AUTH with 1 or 2 words", text="Syntax: AUTH <mechanism> [initial-response]")
        answer = await self._call_handler_hook("AUTH", [name, *rest])
        if answer is not None:
            reply = self._settle(answer, "")
            self.session.authenticated = self.session.authenticated or reply.code == 235
            await self._send(reply)
            return
        name = name.upper()
        if name not in self.shared.mechanisms(is_tls=self.session.ssl is not None):
            raise UnknownMechanism
        result = await self._authenticate(name, [name, *rest])
        if result.success:
            self.session.authenticated = True
            if result.auth_data is not None:
                self.session.auth_data = result.auth_data
        if not result.handled:
            default = "235 2.7.0 Authentication successful" if result.success else sasl.AuthenticationFailed().status
            await self._send(self._settle(result.message, default))
        if not result.success:
            self._auth_failures += 1
            log.warning("session %s: AUTH %s failed, %d so far", self.session.id, name, self._auth_failures)
            if self._auth_failures >= self.settings.auth_failure_limit:
                raise Goodbye("too many AUTH failures", text="Too many authentication failures, closing connection")

    def _check_auth_is_possible(self) -> None:
        if not self.session.extended_smtp:
            raise BadSequence("AUTH without EHLO", text="Say EHLO first")
        if self.session.authenticated:
            raise BadSequence("AUTH twice", text="Already authenticated")
        if not self.shared.mechanisms(is_tls=self.session.ssl is not None):
            if self.shared.can_authenticate and self.settings.tls_context is not None:
                raise EncryptionRequired
            raise CommandNotImplemented

    async def _authenticate(self, name: str, args: list[str]) -> AuthResult:
        attribute = self.shared.handler_mechanisms.get(name)
        if attribute is not None:
            function = getattr(self.event_handler, attribute)
        else:
            function = getattr(self, self.auth_methods[name])
        result = await self._call(function, is_coroutine_function(function), self, args)
        if not isinstance(result, AuthResult):
            raise HandlerError(f"the method for AUTH {name} returned {type(result).__name__}, not AuthResult")
        return result

    async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802 - the mechanism's name
        """RFC 4616."""
        return await self._exchange(args)

    async def auth_LOGIN(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """The user's name and password, each in answer to a challenge."""
        return await self._exchange(args)

    async def _exchange(self, args: list[str]) -> AuthResult:
        """Run one of the mechanisms of ``ehlo.protocol.sasl``: ask the client, or the authenticator, until it knows."""
        name, *rest = args
        # RFC 4954 §4: "=" is an initial response of no octets.
        initial = None if not rest else b"" if rest[0] == "=" else _decode_base64(rest[0].encode())
        context = sasl.Context(
            hostname=self.hostname,
            username_prompt=self.AuthLoginUsernameChallenge.encode(),
            password_prompt=self.AuthLoginPasswordChallenge.encode(),
        )
        exchange = sasl.Exchange(sasl.MECHANISMS[name], context)
        maybe_result: AuthResult | None = None
        step = exchange.begin(initial)
        while isinstance(step, sasl.Question):
            if isinstance(step, sasl.Challenge):
                answer: Any = await self.challenge_auth(step.data)
            else:
                answer = await self._ask_authenticator(step, name)
            if isinstance(answer, AuthResult):
                maybe_result, answer = answer, answer.success
            step = exchange.answer(answer)
        if isinstance(step, sasl.Failure):
            if not isinstance(step.error, sasl.AuthenticationFailed):
                raise step.error
            log.info("session %s: AUTH %s: %s", self.session.id, name, step.error)
            return maybe_result or AuthResult(success=False)
        self.session.login = step.identity.authzid
        return maybe_result or AuthResult(success=True, auth_data=step.identity)

    async def _ask_authenticator(self, question: sasl.Question, mechanism: str) -> Any:
        """The answer of whoever owns the users."""
        method = self.shared.answers.get(type(question))
        if method is not None:
            return await self._call(method, is_coroutine_function(method), question, self.session)
        if isinstance(question, sasl.CheckPassword):
            function = self.settings.authenticator
            assert function is not None
            return await self._call(
                function,
                is_coroutine_function(function),
                self,
                self.session,
                self.envelope,
                mechanism,
                question.credentials,
            )
        return False  # an Authorize that nobody answers


def _decode_base64(line: bytes) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise AuthenticationSyntaxError from None


def _collect(cls: type[SMTP]) -> None:
    """Find the verbs and mechanisms of a class: its methods ``smtp_VERB`` and ``auth_MECHANISM``."""
    verbs = {}
    mechanisms = {}
    for attribute in dir(cls):
        function = getattr(cls, attribute)
        if attribute.startswith("smtp_") and callable(function):
            verb = attribute.removeprefix("smtp_").upper()
            if not is_coroutine_function(function):
                raise TypeError(f"{cls.__name__}.{attribute} must be a coroutine function")
            command = _row(verb, function)
            if command.only in {None, cls.protocol_name}:
                verbs[verb] = VerbEntry(function, command)
        name = mechanism_name(attribute, function)
        if name is not None:
            mechanisms[name] = attribute
    cls._verbs = verbs
    cls.auth_methods = mechanisms
    cls._longest_line = max(*(entry.command.line_limit for entry in verbs.values()), cls.command_size_limit)


def _row(verb: str, function: object) -> Command:
    own: dict[str, Any] | None = getattr(function, "__smtp_row__", None)
    if own is not None:
        return Command(verb, **own)
    return COMMANDS.get(verb) or Command(verb)


_collect(SMTP)
