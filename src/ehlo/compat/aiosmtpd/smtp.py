"""``SMTP`` as programs know it from aiosmtpd: its attributes, its hooks, its verbs and every word that it says.

The dialogue is written here, since nearly all of it is worded, checked and recorded otherwise than in ``ehlo.smtp``:
a hook that is present does what the server would have done, bookkeeping included.  What octets mean, time, TLS and
flow control are those of ``ehlo.net.connection``.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from ehlo.compat.aiosmtpd import __version__, _get_or_new_eventloop
from ehlo.compat.aiosmtpd._address import split_path
from ehlo.compat.aiosmtpd._auth import VALID_AUTHMECH, Authentication, auth_mechanism
from ehlo.compat.aiosmtpd._content import MailData
from ehlo.compat.aiosmtpd._dialogue import (
    ALLOWED_BEFORE_STARTTLS,
    BOGUS_LIMIT,
    CALL_LIMIT_DEFAULT,
    CLIENT_AUTH_B,
    TLSSetupException,
    sanitize,
    sanitized_log,
    warn,
    warn_deprecated,
)
from ehlo.compat.aiosmtpd._records import MISSING, AuthResult, Envelope, Session, _Missing
from ehlo.content import ContentLineTooLong
from ehlo.dispatch import syntax
from ehlo.errors import MessageTooBig, TLSFailed
from ehlo.protocol.credentials import LoginPassword

__all__ = [
    "ALLOWED_BEFORE_STARTTLS",
    "BOGUS_LIMIT",
    "CALL_LIMIT_DEFAULT",
    "CLIENT_AUTH_B",
    "DATA_SIZE_DEFAULT",
    "EMPTYBYTES",
    "EMPTY_BARR",
    "MISSING",
    "SMTP",
    "VALID_AUTHMECH",
    "AuthCallbackType",
    "AuthMechanismType",
    "AuthResult",
    "AuthenticatorType",
    "DecoratorType",
    "Envelope",
    "LoginPassword",
    "PeerType",
    "Session",
    "TLSSetupException",
    "_Missing",
    "__version__",
    "auth_mechanism",
    "sanitize",
    "sanitized_log",
    "syntax",
]

__ident__ = f"Python SMTP {__version__}"

log = logging.getLogger("mail.log")

DATA_SIZE_DEFAULT = 32 * 1024 * 1024
EMPTY_BARR = bytearray()
EMPTYBYTES = b""

AuthCallbackType = Callable[[str, bytes, bytes], bool]
AuthenticatorType = Callable[["SMTP", Session, Envelope, str, Any], "AuthResult | Awaitable[AuthResult]"]
AuthMechanismType = Callable[["SMTP", list[str]], Awaitable[Any]]
PeerType = Any

_Function = TypeVar("_Function", bound=Callable[..., Any])
DecoratorType = Callable[[_Function], _Function]

SIZE_PARAMETER = len(" SIZE=") + 20
SMTPUTF8_PARAMETER = len(" SMTPUTF8") + 1


def make_loop() -> asyncio.AbstractEventLoop:
    """The loop of an ``SMTP`` that is given none."""
    return _get_or_new_eventloop()


def login_always_fail(mechanism: str, login: bytes, password: bytes) -> bool:
    """Let nobody in."""
    return False


@functools.lru_cache(maxsize=4)
def _host_name(look_up: Callable[[], str]) -> str:
    """This host's name, asked for once: it may take seconds."""
    return look_up()


class SMTP(Authentication):
    """One session; see the module's text.  ``docs/migrating.md`` has what differs from aiosmtpd's.

    The argument of a verb is None where nothing follows it, although the types say ``str``: as they do there, so that
    subclasses that repeat them are right.
    """

    local_part_limit: int = 0
    """Longest local part; 0: any."""

    def __init__(
        self,
        handler: Any,
        *,
        data_size_limit: int | None = DATA_SIZE_DEFAULT,
        enable_SMTPUTF8: bool = False,  # noqa: N803 - the name that the field knows
        decode_data: bool = False,
        hostname: str | None = None,
        ident: str | None = None,
        tls_context: ssl.SSLContext | None = None,
        require_starttls: bool = False,
        timeout: float = 300,
        auth_required: bool = False,
        auth_require_tls: bool = True,
        auth_exclude_mechanism: Iterable[str] | None = None,
        auth_callback: AuthCallbackType | None = None,
        command_call_limit: int | dict[str, int] | None = None,
        authenticator: AuthenticatorType | None = None,
        proxy_protocol_timeout: float | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__()
        if data_size_limit is not None and not isinstance(data_size_limit, int):
            raise AssertionError("data_size_limit must be int or None")
        self.__ident__ = ident or __ident__
        self.loop = loop or make_loop()
        self.event_handler = handler
        self.data_size_limit = data_size_limit
        self.enable_SMTPUTF8 = enable_SMTPUTF8
        self.hostname = hostname or _host_name(socket.getfqdn)
        self.tls_context = tls_context
        self.require_starttls = bool(tls_context and require_starttls)
        self._decode_data = decode_data
        self._timeout_duration = self._client_timeout = self._data_timeout = timeout
        self._auth_required = auth_required
        self._auth_require_tls = auth_require_tls
        self._auth_excluded = frozenset(auth_exclude_mechanism or ())
        self._authenticator = authenticator
        self._auth_callback = None if authenticator is not None else auth_callback or login_always_fail
        self._proxy_timeout = proxy_protocol_timeout
        self._mail_allowance = 0
        names = [name for name in dir(handler) if name.startswith(("handle_", "auth_"))]
        self._auth_names = [name for name in names if name.startswith("auth_")]
        self._check_settings()
        self._handle_hooks = {
            name.removeprefix("handle_"): getattr(handler, name) for name in names if name.startswith("handle_")
        }
        self._ehlo_hook_ver = self._find_ehlo_hook()
        self._limit_calls(command_call_limit)

    # What a subclass overrides

    def _create_session(self) -> Session:
        return Session(self.loop)

    def _create_envelope(self) -> Envelope:
        return Envelope()

    def _set_post_data_state(self) -> None:
        self.envelope = self._create_envelope()

    def _set_rset_state(self) -> None:
        self._set_post_data_state()

    # Greeting

    @syntax("HELO hostname")
    async def smtp_HELO(self, hostname: str) -> None:
        """RFC 5321 §4.1.1.1."""
        if not hostname:
            await self.push("501 Syntax: HELO hostname")
            return
        self._set_rset_state()
        self.session.extended_smtp = False
        status = await self._call_handler_hook("HELO", hostname)
        if status is MISSING:
            self.session.host_name = hostname
            status = f"250 {self.hostname}"
        await self.push(status)

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, hostname: str) -> None:
        """RFC 5321 §4.1.1.1."""
        if not hostname:
            await self.push("501 Syntax: EHLO hostname")
            return
        self._set_rset_state()
        self.session.extended_smtp = True
        lines = self._offer()
        if hasattr(self, "ehlo_hook"):
            warn_deprecated("Use handler.handle_EHLO() instead of .ehlo_hook()")
            await self.ehlo_hook()
        if self._ehlo_hook_ver == "old":
            for line in lines:
                await self.push(line)
            lines = [await self._call_handler_hook("EHLO", hostname)]
        else:
            lines.append("250 HELP")
            answer = await self._call_handler_hook("EHLO", hostname, lines)
            if answer is MISSING:
                self.session.host_name = hostname
            else:
                lines = answer
        for line in lines:
            await self.push(line)

    def _offer(self) -> list[str]:
        """The lines of the reply to EHLO, but the last."""
        lines = [f"250-{self.hostname}"]
        allowance = 0
        if self.data_size_limit:
            lines.append(f"250-SIZE {self.data_size_limit}")
            allowance += SIZE_PARAMETER
        if not self._decode_data:
            lines.append("250-8BITMIME")
        if self.enable_SMTPUTF8:
            lines.append("250-SMTPUTF8")
            allowance += SMTPUTF8_PARAMETER
        if self.tls_context and not self._tls_protocol:
            lines.append("250-STARTTLS")
        if not self._auth_require_tls or self._tls_protocol:
            lines.append("250-AUTH " + " ".join(sorted(self._auth_methods)))
        self._allow_mail(allowance)
        return lines

    def _allow_mail(self, octets: int) -> None:
        """Let MAIL be so much longer than it could be before EHLO, however often that comes."""
        self.command_size_limits["MAIL"] = self._limit_after_ehlo("MAIL") + octets - self._mail_allowance
        self._mail_allowance = octets

    # Transaction

    @syntax("MAIL FROM: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.2."""
        if await self.check_helo_needed() or await self.check_auth_needed("MAIL"):
            return
        syntax_error = self._syntax_error("MAIL")
        path = await self._parse_path("FROM:", arg, syntax_error)
        if path is None:
            return
        address, rest = path
        if self.envelope.mail_from:
            await self.push("503 Error: nested MAIL command")
            return
        options = rest.upper().split()
        params = self._getparams(options)
        complaint = syntax_error if params is None else self._mail_complaint(params, syntax_error)
        if complaint is not None:
            await self.push(complaint)
            return
        status = await self._call_handler_hook("MAIL", address, options)
        if status is MISSING:
            self.envelope.mail_from = address
            self.envelope.mail_options.extend(options)
            status = "250 OK"
        log.info("%r sender: %s", self.session.peer, address)
        await self.push(status)

    def _mail_complaint(self, params: dict[str, str | bool], syntax_error: str) -> str | None:
        """What is wrong with the parameters of MAIL."""
        if not self._decode_data and params.pop("BODY", "7BIT") not in {"7BIT", "8BITMIME"}:
            return "501 Error: BODY can only be one of 7BIT, 8BITMIME"
        smtputf8 = params.pop("SMTPUTF8", False)
        if not isinstance(smtputf8, bool):
            return "501 Error: SMTPUTF8 takes no arguments"
        if smtputf8 and not self.enable_SMTPUTF8:
            return "501 Error: SMTPUTF8 disabled"
        self.envelope.smtp_utf8 = smtputf8
        size = params.pop("SIZE", None)
        if size:
            if isinstance(size, bool) or not size.isdigit():
                return syntax_error
            if self.data_size_limit and int(size) > self.data_size_limit:
                return "552 Error: message size exceeds fixed maximum message size"
        return "555 MAIL FROM parameters not recognized or not implemented" if params else None

    @syntax("RCPT TO: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.3."""
        if await self.check_helo_needed() or await self.check_auth_needed("RCPT"):
            return
        if not self.envelope.mail_from:
            await self.push("503 Error: need MAIL command")
            return
        syntax_error = self._syntax_error("RCPT")
        path = await self._parse_path("TO:", arg, syntax_error)
        if path is None:
            return
        address, rest = path
        options = rest.upper().split()
        params = self._getparams(options)
        if params is None:
            await self.push(syntax_error)
            return
        if params:
            await self.push("555 RCPT TO parameters not recognized or not implemented")
            return
        status = await self._call_handler_hook("RCPT", address, options)
        if status is MISSING:
            self.envelope.rcpt_tos.append(address)
            self.envelope.rcpt_options.extend(options)
            status = "250 OK"
        log.info("%r recip: %s", self.session.peer, address)
        await self.push(status)

    def _syntax_error(self, verb: str) -> str:
        direction = {"MAIL": "FROM", "RCPT": "TO"}[verb]
        parameters = " [SP <mail-parameters>]" if self.session.extended_smtp else ""
        return f"501 Syntax: {verb} {direction}: <address>{parameters}"

    async def _parse_path(self, keyword: str, arg: str | None, syntax_error: str) -> tuple[str, str] | None:
        """The address of MAIL or RCPT and what follows it; None when the client has been told what is wrong."""
        rest = None if arg is None else self._strip_command_keyword(keyword, arg)
        if rest is None:
            await self.push(syntax_error)
            return None
        address, parameters = self._getaddr(rest)
        if address is None:
            await self.push("553 5.1.3 Error: malformed address")
            return None
        if not address or (parameters and not self.session.extended_smtp):
            await self.push(syntax_error)
            return None
        return address, parameters or ""

    def _strip_command_keyword(self, keyword: str, arg: str) -> str | None:
        """What follows ``FROM:`` or ``TO:``; None when that is not there."""
        if arg[: len(keyword)].upper() != keyword:
            return None
        return arg[len(keyword) :].strip()

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """The address and what follows it: empty when there is nothing, None when it is no address."""
        if not arg:
            return "", ""
        address, rest = split_path(arg)
        if address is not None and self.local_part_limit and len(address.rpartition("@")[0]) > self.local_part_limit:
            return None, None
        return address, rest

    def _getparams(self, params: Sequence[str]) -> dict[str, str | bool] | None:
        """Parameters by keyword, True where there is no value; None when one is malformed."""
        found: dict[str, str | bool] = {}
        for param in params:
            keyword, equals, value = param.partition("=")
            if not keyword.isalnum() or (equals and not value):
                return None
            found[keyword] = value if equals else True
        return found

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:
        """RFC 5321 §4.1.1.4.  Whatever becomes of the message, its transaction is over."""
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        if not self.envelope.rcpt_tos:
            await self.push("503 Error: need RCPT command")
            return
        if arg:
            await self.push("501 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        self._give_back()
        self._expect_data()
        data = MailData(
            self._next_data,
            self._drop_data,
            self._framer,
            size_limit=self.data_size_limit,
            line_limit=self.line_length_limit,
        )
        try:
            status = await self._take_message(data)
        except MessageTooBig:
            status = "552 Error: Too much mail data"
        except ContentLineTooLong:
            status = "500 Line too long (see RFC5321 4.5.3.1.6)"
        finally:
            self._set_post_data_state()
        await self.push("250 OK" if status is MISSING else status)

    async def _take_message(self, data: MailData) -> Any:
        envelope = self.envelope
        envelope.content = envelope.original_content = content = await data.read_all()
        if self._decode_data:
            try:
                envelope.content = content.decode(*self._charset)
            except UnicodeDecodeError:
                return "500 Error: strict ASCII mode"
        return await self._call_data_hook()

    async def _call_data_hook(self) -> Any:
        if "DATA" in self._handle_hooks or not hasattr(self.event_handler, "process_message"):
            return await self._call_handler_hook("DATA")
        warn_deprecated("Use handler.handle_DATA() instead of .process_message()")
        envelope = self.envelope
        status = self.event_handler.process_message(
            self.session.peer, envelope.mail_from, envelope.rcpt_tos, envelope.content
        )
        if inspect.isawaitable(status):
            status = await status
        return MISSING if status is None else status

    @syntax("RSET")
    async def smtp_RSET(self, arg: str) -> None:
        """RFC 5321 §4.1.1.5."""
        if arg:
            await self.push("501 Syntax: RSET")
            return
        self._set_rset_state()
        if hasattr(self, "rset_hook"):
            warn_deprecated("Use handler.handle_RSET() instead of .rset_hook()")
            await self.rset_hook()
        status = await self._call_handler_hook("RSET")
        await self.push("250 OK" if status is MISSING else status)

    # Others

    @syntax("NOOP [ignored]")
    async def smtp_NOOP(self, arg: str) -> None:
        """RFC 5321 §4.1.1.9."""
        status = await self._call_handler_hook("NOOP", arg)
        await self.push("250 OK" if status is MISSING else status)

    @syntax("QUIT")
    async def smtp_QUIT(self, arg: str) -> None:
        """RFC 5321 §4.1.1.10."""
        if arg:
            await self.push("501 Syntax: QUIT")
            return
        status = await self._call_handler_hook("QUIT")
        await self.push("221 Bye" if status is MISSING else status)
        self.transport.close()

    @syntax("HELP [command]")
    async def smtp_HELP(self, arg: str) -> None:
        """RFC 5321 §4.1.1.8."""
        if await self.check_auth_needed("HELP"):
            return
        shown = {command: method for command, method in self._smtp_methods.items() if self._syntax_available(method)}
        method = shown.get(arg.upper() if arg else "")
        if method is None:
            await self.push(f"{501 if arg else 250} Supported commands: {' '.join(sorted(shown))}")
            return
        extended = method.__smtp_syntax_extended__ if self.session.extended_smtp else None
        await self.push(f"250 Syntax: {method.__smtp_syntax__}{extended or ''}")

    def _syntax_available(self, method: Any) -> bool:
        if not hasattr(method, "__smtp_syntax__"):
            return False
        when = method.__smtp_syntax_when__
        return not when or bool(getattr(self, when))

    @syntax("VRFY <address>")
    async def smtp_VRFY(self, arg: str) -> None:
        """RFC 5321 §4.1.1.6."""
        if await self.check_auth_needed("VRFY"):
            return
        if not arg:
            await self.push("501 Syntax: VRFY <address>")
            return
        address, _ = self._getaddr(arg)
        if address is None:
            await self.push(f"502 Could not VRFY {arg}")
            return
        status = await self._call_handler_hook("VRFY", address)
        await self.push(
            "252 Cannot VRFY user, but will accept message and attempt delivery" if status is MISSING else status
        )

    async def smtp_EXPN(self, arg: str) -> None:
        """RFC 5321 §4.1.1.7: not done."""
        await self.push("502 EXPN not implemented")

    # TLS

    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:
        """RFC 3207."""
        if arg:
            await self.push("501 Syntax: STARTTLS")
            return
        if not self.tls_context:
            await self.push("454 TLS not available")
            return
        if self._tls_protocol:
            await self.push("503 Error: TLS already active")
            return
        await self.push("220 Ready to start TLS")
        self._original_transport = self.transport
        try:
            await self._start_tls(self.tls_context, self._tls_timeout)
        except TLSFailed as error:
            raise TLSSetupException from error.__cause__ or error
        self.connection_made(self.transport)
        if inspect.isawaitable(self._tls_handshake_okay):
            await self._await_judgement(self._tls_handshake_okay)

    async def _await_judgement(self, judgement: Awaitable[Any]) -> None:
        self._tls_handshake_okay = False
        try:
            self._tls_handshake_okay = await judgement
        except BaseException as error:
            log.exception("%r Exception in handle_STARTTLS()", self.session.peer)
            self._transport.abort()
            if not isinstance(error, Exception):
                raise

    # Looked at once for each connection

    def _find_ehlo_hook(self) -> str | None:
        """Which of the two kinds of ``handle_EHLO`` the handler has; ``RuntimeError`` when it is neither."""
        hook = self._handle_hooks.get("EHLO")
        if hook is None:
            return None
        count = _count_parameters(hook)
        if count == 5:
            return "new"
        if count != 4:
            raise RuntimeError("Unsupported EHLO Hook")
        warn_deprecated(
            "Use the 5-argument handle_EHLO() hook instead of the 4-argument handle_EHLO() hook; "
            "support for the 4-argument handle_EHLO() hook will be removed in version 2.0"
        )
        return "old"

    def _check_settings(self) -> None:
        """Say what is not wise; ``ValueError`` for what cannot be."""
        context = self.tls_context
        if context:
            if context.verify_mode not in {ssl.CERT_NONE, ssl.CERT_OPTIONAL}:
                log.warning(
                    "tls_context.verify_mode not in {CERT_NONE, CERT_OPTIONAL}; "
                    "this might cause client connection problems"
                )
            elif context.check_hostname:
                log.warning("tls_context.check_hostname == True; this might cause client connection problems")
        if self._auth_required and not self._auth_require_tls:
            warn("Requiring AUTH while not requiring TLS can lead to security vulnerabilities!")
            log.warning("auth_required == True but auth_require_tls == False")
        if self._proxy_timeout is not None:
            if self._proxy_timeout <= 0:
                raise ValueError("proxy_protocol_timeout must be > 0")
            if self._proxy_timeout < 3.0:
                log.warning("proxy_protocol_timeout < 3.0")
        if log.isEnabledFor(logging.INFO):
            names = [
                f"{name}(builtin)" if method.is_builtin else name for name, method in sorted(self._auth_methods.items())
            ]
            log.info("Available AUTH mechanisms: %s", " ".join(names))


def _count_parameters(hook: Callable[..., Any]) -> int:
    """How many arguments a hook takes.  Looked up once for a method of a class, not for each of its objects."""
    function = getattr(hook, "__func__", None)
    if function is None:
        return len(inspect.signature(hook).parameters)
    return _count_parameters_of_function(function) - 1


@functools.lru_cache(maxsize=64)
def _count_parameters_of_function(function: Callable[..., Any]) -> int:
    return len(inspect.signature(function).parameters)
