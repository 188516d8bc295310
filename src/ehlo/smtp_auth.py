"""AUTH (RFC 4954): the exchange with the client, and the built-in mechanisms. Does not know how any of them works."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from ehlo.auth import AuthResult
from ehlo.credentials import fake_secret
from ehlo.dispatch import Dispatcher, syntax
from ehlo.errors import (
    ArgumentError,
    AuthenticationCancelled,
    AuthenticationLineTooLong,
    AuthenticationSyntaxError,
    BadSequence,
    CommandNotImplemented,
    EncryptionRequired,
    Goodbye,
    HandlerError,
    LineTooLong,
    ProtocolError,
    UnknownMechanism,
)
from ehlo.hooks import is_coroutine_function
from ehlo.protocol import sasl
from ehlo.protocol.commands import AUTH_LINE_LIMIT
from ehlo.protocol.framing import Framing

log = logging.getLogger("ehlo.smtp")

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _built_in(function: _Function) -> _Function:
    """Mark a mechanism that is offered only if the authenticator answers its questions; an override always is."""
    function.is_built_in = True  # type: ignore[attr-defined]
    return function


class Authentication(Dispatcher):
    """The AUTH verb, ``auth_MECHANISM`` for each built-in mechanism, and ``challenge_auth`` for your own."""

    __slots__ = ()

    AuthLoginUsernameChallenge: ClassVar[str] = "Username:"
    AuthLoginPasswordChallenge: ClassVar[str] = "Password:"

    @syntax("AUTH <mechanism> [initial-response]")
    async def smtp_AUTH(self, arg: str | None) -> None:
        """RFC 4954 §4."""
        self._check_auth_is_possible()
        name, *rest = (arg or "").split() if arg else [""]
        if not name or len(rest) > 1:
            raise ArgumentError("AUTH with 1 or 2 words", text="Syntax: AUTH <mechanism> [initial-response]")
        self._client.auth_began()
        is_failure = True
        try:
            is_failure = not await self._try(name, rest)
        except Exception as error:
            is_failure = isinstance(error, ProtocolError)  # and not a fault of ours, or of the line
            raise
        finally:
            self._client.auth_ended(is_failure=is_failure)
        if not is_failure:
            self._stats.auth_successes += 1
            return
        self._stats.auth_failures += 1
        self._auth_failures += 1
        log.warning("session %s: AUTH %s failed, %d so far", self.session.id, name, self._auth_failures)
        if self._auth_failures >= self.settings.auth_failure_limit:
            self._stats.limit_auth_failure += 1
            raise Goodbye("too many AUTH failures", text="Too many authentication failures, closing connection")

    async def _try(self, name: str, rest: list[str]) -> bool:
        """Let the client authenticate, and answer it; whether it succeeded."""
        answer = await self._call_handler_hook("AUTH", [name, *rest])
        if answer is not None:
            reply = self._settle(answer, "")
            self.session.authenticated = self.session.authenticated or reply.code == 235
            self._write(reply.data)
            return reply.code < 400
        # Not upper() alone, which makes ASCII of what is none, such as U+0131.
        name = name.upper() if name.isascii() else name
        if name not in self._mechanisms():
            raise UnknownMechanism
        is_in = False
        try:
            result = await self._authenticate(name, [name, *rest])
            default = "235 2.7.0 Authentication successful" if result.success else sasl.AuthenticationFailed().status
            maybe_reply = None if result.handled else self._settle(result.message, default)
            is_in = result.success
        finally:
            if not is_in:
                self.session.login = None  # whatever the exchange found before somebody else said no
        if result.success:
            self.session.authenticated = True
            if result.auth_data is not None:
                self.session.auth_data = result.auth_data
        if not result.success:
            await self._pause(self._client.error())
        if maybe_reply is not None:
            self._write(maybe_reply.data)
        return result.success

    def _check_auth_is_possible(self) -> None:
        if not self.session.extended_smtp:
            raise BadSequence("AUTH without EHLO", text="Say EHLO first")
        if self.session.authenticated:
            raise BadSequence("AUTH twice", text="Already authenticated")
        if not self._mechanisms():
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

    @_built_in
    async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802 - the mechanism's name
        """RFC 4616."""
        return await self._exchange(args)

    @_built_in
    async def auth_LOGIN(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """The user's name and password, each in answer to a challenge."""
        return await self._exchange(args)

    @_built_in
    async def auth_CRAM__MD5(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """RFC 2195."""
        return await self._exchange(args)

    @_built_in
    async def auth_SCRAM__SHA__256(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """RFC 5802 and RFC 7677."""
        return await self._exchange(args)

    @_built_in
    async def auth_SCRAM__SHA__256__PLUS(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """The same, bound to the TLS connection."""
        return await self._exchange(args)

    @_built_in
    async def auth_OAUTHBEARER(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """RFC 7628."""
        return await self._exchange(args)

    @_built_in
    async def auth_XOAUTH2(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """What Google and Microsoft had before it."""
        return await self._exchange(args)

    @_built_in
    async def auth_EXTERNAL(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """RFC 4422 Appendix A: who the client is, its certificate says."""
        return await self._exchange(args)

    async def _exchange(self, args: list[str]) -> AuthResult:
        """Run one of the mechanisms of ``ehlo.protocol.sasl``: ask the client, or the authenticator, until it knows."""
        name, *rest = args
        # RFC 4954 §4: "=" is an initial response of no octets.
        initial = None if not rest else b"" if rest[0] == "=" else _decode_base64(rest[0].encode())
        exchange = sasl.Exchange(sasl.MECHANISMS[name.upper()], self._sasl_context())
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
            # The right password does not help who asks to be somebody else.
            return maybe_result if maybe_result and not maybe_result.success else AuthResult(success=False)
        self.session.login = step.identity.authzid
        return maybe_result or AuthResult(success=True, auth_data=step.identity)

    def _sasl_context(self) -> sasl.Context:
        settings, tls = self.settings, self.session.ssl
        bindings = (
            tls.channel_bindings if tls is not None and sasl.SCRAM_SHA_256_PLUS.name in self._mechanisms() else {}
        )
        return sasl.Context(
            hostname=self.hostname,
            username_prompt=self.AuthLoginUsernameChallenge.encode(),
            password_prompt=self.AuthLoginPasswordChallenge.encode(),
            channel_bindings=bindings,
            scram_iterations=getattr(settings.authenticator, "scram_iterations", sasl.ITERATIONS_DEFAULT),
            fake_secret=fake_secret(),
        )

    async def _ask_authenticator(self, question: sasl.Question, mechanism: str) -> Any:
        """The answer of whoever owns the users."""
        method = self.shared.answers.get(type(question))
        if method is not None:
            return await self._call(method, is_coroutine_function(method), question, self.session)
        if isinstance(question, sasl.CheckPassword):
            function: Any = self.settings.authenticator
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
        if log_client_response:  # not the answer itself: it may hold a password
            log.info("session %s: the client answered %d octets", self.session.id, len(line))
        if line == b"*":
            raise AuthenticationCancelled
        return _decode_base64(line)


def _decode_base64(line: bytes) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise AuthenticationSyntaxError from None
