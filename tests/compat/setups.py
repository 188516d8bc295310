"""The servers that dialogues are held with: handlers, subclasses and settings.

A program like any other for aiosmtpd: ``roots.load`` runs it with this import and with the other.
"""

# ruff: noqa: N802 - mechanisms are upper case in the names of their methods

from __future__ import annotations

import asyncio
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session, auth_mechanism, syntax

HOSTNAME = "mx.test"

# Put in the place of ``tls_context``.
TLS = "the server's context"


class Setup(NamedTuple):
    """One server.  ``handler`` makes the handler, ``server`` is the class; ``is_wrapped`` is TLS from the start."""

    handler: Callable[[], Any]
    settings: dict[str, Any]
    server: Callable[..., Any] = SMTP
    is_wrapped: bool = False


class Nothing:
    """No hooks at all."""


class Keeper:
    """Only ``handle_DATA``; keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def note(self, hook: str, session: Any, envelope: Any, *args: Any) -> None:
        self.seen.append((hook, args, show_session(session), show_envelope(envelope)))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.note("DATA", session, envelope)
        return "250 Kept"


def show_session(session: Any) -> dict[str, Any]:
    shown = {
        name: getattr(session, name)
        for name in ("host_name", "extended_smtp", "authenticated", "auth_data", "proxy_data")
    }
    shown["auth_data"] = repr(shown["auth_data"])
    shown["proxy_data"] = repr(shown["proxy_data"])
    shown["_login_data"] = repr(session._login_data)
    shown["ssl"] = session.ssl is not None
    shown["peer"] = (type(session.peer).__name__, session.peer[0])
    return shown


def show_envelope(envelope: Any) -> dict[str, Any]:
    names = ("mail_from", "mail_options", "smtp_utf8", "content", "original_content", "rcpt_tos", "rcpt_options")
    shown = {name: getattr(envelope, name) for name in names}
    return {name: list(value) if isinstance(value, list) else value for name, value in shown.items()}


class Slow(Keeper):
    """Needs some turns of the loop for each message."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        for _ in range(6):
            await asyncio.sleep(0)
        return await super().handle_DATA(server, session, envelope)


class Watcher(Keeper):
    """Every hook, doing what the default does."""

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> str:
        self.note("HELO", session, envelope, hostname)
        session.host_name = hostname
        return f"250 {server.hostname} at your service"

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.note("EHLO", session, envelope, hostname, list(responses))
        session.host_name = hostname
        return responses

    async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
        self.note("NOOP", session, envelope, arg)
        return "250 Nothing done"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.note("QUIT", session, envelope)
        return "221 So long"

    async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, address: str) -> str:
        self.note("VRFY", session, envelope, address)
        return "252 Perhaps"

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.note("MAIL", session, envelope, address, list(options))
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 Sender taken"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.note("RCPT", session, envelope, address, list(options))
        if address.startswith("unknown"):
            return "550 5.1.1 No such user"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 Recipient taken"

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.note("RSET", session, envelope)
        return "250 All forgotten"


class Literal(Keeper):
    """Answers each verb as it is told, and keeps no books: what then happens is the server's affair."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        for verb, answer in answers.items():
            setattr(self, f"handle_{verb}", functools.partial(self.answer, verb, answer))

    async def answer(
        self, verb: str, answer: Any, server: SMTP, session: Session, envelope: Envelope, *args: Any
    ) -> Any:
        self.note(verb, session, envelope, *args)
        if isinstance(answer, Exception):
            raise answer
        if verb == "MAIL":
            envelope.mail_from = args[0]
        if verb == "RCPT":
            envelope.rcpt_tos.append(args[0])
        return answer


class Replacing(Keeper):
    """Replaces the lines of EHLO."""

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.lines = list(lines)

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return self.lines or [*responses[:-1], "250-XMINE", responses[-1]]


class OldEhlo(Keeper):
    """The 4-argument hook."""

    async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> str:
        session.host_name = hostname
        await server.push("250-XOLD")
        return "250 LAST"


class Excepting(Literal):
    """Says what its exceptions mean."""

    async def handle_exception(self, error: Exception) -> str:
        return f"451 4.3.0 {type(error).__name__}"


class FailingTwice(Literal):
    async def handle_exception(self, error: Exception) -> str:
        raise KeyError("second")


class Indescribable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("third")


class FailingThrice(Literal):
    async def handle_exception(self, error: Exception) -> str:
        raise Indescribable


class Legacy:
    """``process_message`` of smtpd's time."""

    def __init__(self, answer: str | None) -> None:
        self.answer = answer
        self.seen: list[Any] = []

    def process_message(self, peer: Any, mail_from: str, rcpt_tos: list[str], data: Any) -> str | None:
        self.seen.append((peer[0], mail_from, list(rcpt_tos), data))
        return self.answer


class AsyncLegacy(Legacy):
    async def process_message(self, peer: Any, mail_from: str, rcpt_tos: list[str], data: Any) -> str | None:  # type: ignore[override]
        return Legacy.process_message(self, peer, mail_from, rcpt_tos, data)


class Proxied(Keeper):
    """Accepts or refuses what is proxied."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    async def handle_PROXY(self, server: SMTP, session: Session, envelope: Envelope, proxy_data: Any) -> Any:
        self.note("PROXY", session, envelope, repr_proxy(proxy_data))
        return self.answer


def repr_proxy(data: Any) -> dict[str, Any]:
    names = (
        "version",
        "command",
        "family",
        "protocol",
        "src_addr",
        "dst_addr",
        "src_port",
        "dst_port",
        "rest",
        "tlv_start",
        "error",
        "valid",
    )
    shown = {name: getattr(data, name) for name in names}
    try:
        shown["tlv"] = None if data.tlv is None else (dict(data.tlv), data.tlv.tlv_loc)
    except Exception as error:  # noqa: BLE001 - that it raises is what is seen
        shown["tlv"] = type(error).__name__
    return shown | {"whole_raw": bytes(data.whole_raw)}


class Secured(Keeper):
    """Judges the TLS session."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        self.note("STARTTLS", session, envelope)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class SecuredLater(Secured):
    """With a coroutine function."""

    async def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        return super().handle_STARTTLS(server, session, envelope)


# -- Authentication ------------------------------------------------------------------------------------------


def callback(mechanism: str, login: bytes, password: bytes) -> bool:
    return (login, password) == (b"goodlogin", b"goodpasswd")


def authenticator(server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any) -> AuthResult:
    if not isinstance(auth_data, LoginPassword) or auth_data.login == b"odd":
        return AuthResult(success=False, handled=False, message="454 4.7.0 Try that another time")
    if auth_data == LoginPassword(b"goodlogin", b"goodpasswd"):
        return AuthResult(success=True, auth_data=auth_data)
    if auth_data.login == b"special":
        return AuthResult(success=True, message="235 2.7.0 Come in", auth_data={"any": "thing"})
    return AuthResult(success=False, handled=False)


def silent_authenticator(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
) -> AuthResult:
    return AuthResult(success=False)


async def async_authenticator(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
) -> AuthResult:
    return authenticator(server, session, envelope, mechanism, auth_data)


def failing_authenticator(*args: Any) -> AuthResult:
    raise ValueError("the database is away")


class Mechanisms(Keeper):
    """Mechanisms on the handler, in the old manner and in the new."""

    async def auth_NONE(self, server: SMTP, args: list[str]) -> None:
        await server.push("535 5.7.8 Handled here")

    async def auth_MISSING(self, server: SMTP, args: list[str]) -> Any:
        return MISSING

    async def auth_FALSE(self, server: SMTP, args: list[str]) -> bool:
        return False

    async def auth_NAME(self, server: SMTP, args: list[str]) -> bytes:
        return b"somebody"

    async def auth_RESULT(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=True, auth_data=args[1:])

    async def auth_NEVER(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=False, handled=False, message="530 5.7.9 Never")

    async def auth_WITH_UNDERSCORE(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=True)

    async def auth_WITH__DASH(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=True)

    @auth_mechanism("other-name")
    async def auth_something(self, server: SMTP, args: list[str]) -> AuthResult:
        answer = await server.challenge_auth("who?")
        if answer is MISSING:
            return AuthResult(success=False)
        return AuthResult(success=True, auth_data=answer)

    async def auth_RAW(self, server: SMTP, args: list[str]) -> AuthResult:
        answer = await server.challenge_auth(b"raw", encode_to_b64=False)
        return AuthResult(success=answer == b"yes", handled=False)

    async def auth_FAILING(self, server: SMTP, args: list[str]) -> AuthResult:
        raise ValueError("broken")


class AuthHook(Keeper):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    async def handle_AUTH(self, server: SMTP, session: Session, envelope: Envelope, args: list[str]) -> Any:
        self.note("AUTH", session, envelope, list(args))
        if self.answer == "235 In":
            session.authenticated = True
            session.auth_data = "by hook"  # type: ignore[assignment]
        return self.answer


class OwnMechanisms(SMTP):
    async def auth_OWN(self, _: Any, args: list[str]) -> AuthResult:
        return AuthResult(success=True, auth_data="own")

    async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:
        return AuthResult(success=False, handled=False, message="535 Not here")


# -- Subclasses ----------------------------------------------------------------------------------------------


class Verbs(SMTP):
    """New verbs, changed verbs, help for them."""

    is_special = True
    is_hidden = False

    @syntax("XPING [word]", extended=" and more")
    async def smtp_XPING(self, arg: str | None) -> None:
        await self.push(f"250 {arg!r}")

    @syntax("XSPECIAL", when="is_special")
    async def smtp_XSPECIAL(self, arg: str | None) -> None:
        await self.push(b"250 octets")

    @syntax("XHIDDEN", when="is_hidden")
    async def smtp_XHIDDEN(self, arg: str | None) -> None:
        await self.push("250-one\r\n250 two")

    async def smtp_XNOHELP(self, arg: str | None) -> None:
        raise ValueError("no help")

    async def smtp_NOOP(self, arg: str | None) -> None:
        await self.push("250 mine")

    async def smtp_EXPN(self, arg: str | None) -> None:
        status = await self._call_handler_hook("EXPN", arg)
        await self.push("502 nobody expands" if status is MISSING else status)


class Hooked(SMTP):
    """The hooks of the oldest days."""

    async def ehlo_hook(self) -> None:
        await self.push("250-XEHLOHOOK")

    async def rset_hook(self) -> None:
        assert self.session is not None
        self.session.host_name = "reset.example"


class Tolerant(SMTP):
    """Like the filter of chatmail: ignores the parameters of RCPT."""

    def _getparams(self, params: Any) -> dict[str, Any] | None:
        return {name: value for name, value in (super()._getparams(params) or {}).items() if name == "SIZE"}


class Addressed(SMTP):
    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        address, rest = super()._getaddr(arg)
        if address is not None and address.endswith("@refuse.example"):
            return None, None
        return (address.lower() if address else address), rest


class ShortLocal(SMTP):
    local_part_limit = 10


class LongLines(SMTP):
    line_length_limit = 2**16


class ShortLines(SMTP):
    line_length_limit = 100


class ShortCommands(SMTP):
    command_size_limit = 64


class Challenges(SMTP):
    AuthLoginUsernameChallenge = "Who?"
    AuthLoginPasswordChallenge = "And how?"


class Described(SMTP):
    async def handle_exception(self, error: Exception) -> str:
        return f"451 {type(error).__name__} in the server"


class OwnSession(Session):
    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self.colour = "blue"


class OwnEnvelope(Envelope):
    def __init__(self) -> None:
        super().__init__()
        self.weight = 7


class Owner(SMTP):
    def _create_session(self) -> Session:
        return OwnSession(self.loop)

    def _create_envelope(self) -> Envelope:
        return OwnEnvelope()

    async def smtp_XOWN(self, arg: str | None) -> None:
        await self.push(f"250 {self.session.colour} {self.envelope.weight}")  # type: ignore[union-attr]


class Refusing(SMTP):
    """Sends EHLO lines by itself, and closes after some commands."""

    async def push(self, status: Any) -> None:
        if isinstance(status, str) and status.startswith("250-8BITMIME"):
            status = "250-XNINEBITMIME"
        await super().push(status)


_OPEN = {"auth_require_tls": False}
_LMTP_ANSWER = "250 alice\r\n550 5.1.1 bob\r\n250 carol"

SETUPS: dict[str, Setup] = {
    "nothing": Setup(Nothing, {}),
    "keeper": Setup(Keeper, {}),
    "slow": Setup(Slow, {}),
    "watcher": Setup(Watcher, {}),
    "watcher utf8": Setup(Watcher, {"enable_SMTPUTF8": True}),
    "utf8": Setup(Keeper, {"enable_SMTPUTF8": True}),
    "decode": Setup(Keeper, {"decode_data": True}),
    "decode utf8": Setup(Keeper, {"decode_data": True, "enable_SMTPUTF8": True}),
    "no size": Setup(Keeper, {"data_size_limit": None}),
    "size 1000": Setup(Keeper, {"data_size_limit": 1000}),
    "size 0": Setup(Keeper, {"data_size_limit": 0}),
    "ident": Setup(Nothing, {"ident": "Another Server 9"}),
    "class": Setup(lambda: Nothing, {}),
    # Subclasses
    "verbs": Setup(Keeper, {}, Verbs),
    "verbs hook": Setup(lambda: Literal(EXPN="250 everybody"), {}, Verbs),
    "hooked": Setup(Keeper, {}, Hooked),
    "tolerant": Setup(Keeper, {}, Tolerant),
    "addressed": Setup(Keeper, {}, Addressed),
    "short local": Setup(Keeper, {}, ShortLocal),
    "long lines": Setup(Keeper, {}, LongLines),
    "short lines": Setup(Keeper, {}, ShortLines),
    "short commands": Setup(Keeper, {}, ShortCommands),
    "described": Setup(lambda: Literal(NOOP=ValueError("x")), {}, Described),
    "owner": Setup(Keeper, {}, Owner),
    "refusing": Setup(Keeper, {}, Refusing),
    # Hooks
    "ehlo replaced": Setup(lambda: Replacing("250-only", "250 this"), {}),
    "ehlo extended": Setup(Replacing, {}),
    "old ehlo": Setup(OldEhlo, {}),
    "legacy": Setup(lambda: Legacy("250 processed"), {}),
    "legacy none": Setup(lambda: Legacy(None), {}),
    "legacy async": Setup(lambda: AsyncLegacy("451 later"), {}),
    "legacy decode": Setup(lambda: Legacy(None), {"decode_data": True}),
    **{
        f"{verb} says {answer}": Setup(functools.partial(Literal, **{verb: answer}), {})
        for verb in ("HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "VRFY")
        for answer in ("250 Fine", "451 Later", "554 Never", "250-One\r\n250 Two", "no code at all", "421 Going")
    },
    **{
        f"{verb} raises": Setup(functools.partial(Literal, **{verb: ValueError("secret")}), {})
        for verb in ("HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "VRFY")
        if verb != "EHLO"
    },
    "returns None": Setup(lambda: Literal(NOOP=None, MAIL=None, RCPT=None, DATA=None, RSET=None, VRFY=None), {}),
    "returns MISSING": Setup(lambda: Literal(NOOP=MISSING, RSET=MISSING, VRFY=MISSING, DATA=MISSING), {}),
    "returns octets": Setup(lambda: Literal(NOOP=b"250 octets \xff", DATA=b"250 taken"), {}),
    "returns unicode": Setup(lambda: Literal(NOOP="250 f\u00fcnf"), {}),
    "returns unicode utf8": Setup(lambda: Literal(NOOP="250 f\u00fcnf"), {"enable_SMTPUTF8": True}),
    "handles exceptions": Setup(lambda: Excepting(NOOP=ValueError("x"), DATA=KeyError("y")), {}),
    "fails twice": Setup(lambda: FailingTwice(NOOP=ValueError("x")), {}),
    "fails thrice": Setup(lambda: FailingThrice(NOOP=ValueError("x")), {}),
    # Limits
    "call limit": Setup(Nothing, {"command_call_limit": 3}),
    "call limits": Setup(Nothing, {"command_call_limit": {"NOOP": 2, "RSET": 1, "*": 4}}),
    "call limits without default": Setup(Nothing, {"command_call_limit": {"NOOP": 2}}),
    # LMTP
    "lmtp": Setup(Keeper, {}, LMTP),
    "lmtp watcher": Setup(Watcher, {"enable_SMTPUTF8": True}, LMTP),
    "lmtp many": Setup(lambda: Literal(DATA=_LMTP_ANSWER), {}, LMTP),
    "lmtp auth": Setup(Keeper, {"auth_callback": callback, "auth_required": True, **_OPEN}, LMTP),
    "lmtp partial": Setup(Keeper, {}, functools.partial(LMTP, ident="Partial LMTP")),
    # TLS
    "tls": Setup(Keeper, {"tls_context": TLS}),
    "tls watcher": Setup(Watcher, {"tls_context": TLS}),
    "tls required": Setup(Keeper, {"tls_context": TLS, "require_starttls": True}),
    "tls accepted": Setup(lambda: Secured(True), {"tls_context": TLS}),
    "tls refused": Setup(lambda: Secured(False), {"tls_context": TLS}),
    "tls raises": Setup(lambda: Secured(ValueError("x")), {"tls_context": TLS}),
    "tls accepted later": Setup(lambda: SecuredLater(True), {"tls_context": TLS}),
    "tls refused later": Setup(lambda: SecuredLater(False), {"tls_context": TLS}),
    "tls raises later": Setup(lambda: SecuredLater(ValueError("x")), {"tls_context": TLS}),
    "tls auth": Setup(Keeper, {"tls_context": TLS, "auth_callback": callback}),
    "tls auth required": Setup(Keeper, {"tls_context": TLS, "auth_callback": callback, "auth_required": True}),
    "tls only required": Setup(Keeper, {"require_starttls": True}),
    "lmtp tls": Setup(Keeper, {"tls_context": TLS}, LMTP),
    "wrapped": Setup(Keeper, {"auth_callback": callback}, is_wrapped=True),
    "wrapped open": Setup(Keeper, {"auth_callback": callback, **_OPEN}, is_wrapped=True),
    # AUTH
    "auth closed": Setup(Keeper, {"auth_callback": callback}),
    "auth callback": Setup(Keeper, {"auth_callback": callback, **_OPEN}),
    "auth default": Setup(Keeper, dict(_OPEN)),
    "authenticator": Setup(Keeper, {"authenticator": authenticator, **_OPEN}),
    "auth required": Setup(Keeper, {"authenticator": authenticator, "auth_required": True, **_OPEN}),
    "auth required closed": Setup(Keeper, {"authenticator": authenticator, "auth_required": True}),
    "auth silent": Setup(Keeper, {"authenticator": silent_authenticator, **_OPEN}),
    "auth async": Setup(Keeper, {"authenticator": async_authenticator, "auth_required": True, **_OPEN}),
    "auth failing": Setup(Keeper, {"authenticator": failing_authenticator, **_OPEN}),
    "auth without PLAIN": Setup(Keeper, {"authenticator": authenticator, "auth_exclude_mechanism": ["PLAIN"], **_OPEN}),
    "auth without any": Setup(Keeper, {"auth_exclude_mechanism": {"PLAIN", "LOGIN"}, **_OPEN}),
    "auth mechanisms": Setup(Mechanisms, dict(_OPEN)),
    "auth own": Setup(Keeper, dict(_OPEN), OwnMechanisms),
    "auth challenges": Setup(Keeper, {"auth_callback": callback, **_OPEN}, Challenges),
    "auth hook": Setup(lambda: AuthHook("235 In"), dict(_OPEN)),
    "auth hook falls through": Setup(lambda: AuthHook(MISSING), {"auth_callback": callback, **_OPEN}),
    "auth hook handles": Setup(lambda: AuthHook("535 Out"), dict(_OPEN)),
    # PROXY
    "proxy": Setup(lambda: Proxied(True), {"proxy_protocol_timeout": 30}),
    "proxy falsy": Setup(lambda: Proxied(False), {"proxy_protocol_timeout": 30}),
    "proxy missing": Setup(Keeper, {"proxy_protocol_timeout": 30}),
    "proxy tls": Setup(lambda: Proxied(True), {"proxy_protocol_timeout": 30, "tls_context": TLS}),
}


def make_factory(setup: Setup, handler: Any, context: Any, loop: Any) -> Callable[[], Any]:
    """Make servers for ``loop.create_server``; all with the one handler."""
    settings = {name: context if value is TLS else value for name, value in setup.settings.items()}

    def factory() -> Any:
        with warnings.catch_warnings():
            # Of AUTH without TLS, of hooks of the oldest days.
            warnings.simplefilter("ignore")
            return setup.server(handler, hostname=HOSTNAME, loop=loop, **settings)

    return factory
