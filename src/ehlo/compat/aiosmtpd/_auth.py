"""AUTH of the compatibility server: PLAIN, LOGIN, and all that a mechanism may return. Does not know who is let in."""

from __future__ import annotations

import base64
import binascii
import functools
import inspect
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

from ehlo.compat.aiosmtpd._dialogue import Dialogue, warn, warn_deprecated
from ehlo.compat.aiosmtpd._records import MISSING, AuthResult, _Missing
from ehlo.dispatch import syntax
from ehlo.errors import CommandSyntaxError, LineTooLong
from ehlo.protocol.commands import AUTH_LINE_LIMIT
from ehlo.protocol.credentials import LoginPassword
from ehlo.protocol.framing import Framing

log = logging.getLogger("mail.log")

VALID_AUTHMECH = re.compile(r"[A-Z0-9_-]+\Z")

AUTHENTICATED = "235 2.7.0 Authentication successful"
INVALID_CREDENTIALS = "535 5.7.8 Authentication credentials invalid"

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _AuthMechAttr(NamedTuple):
    method: Callable[..., Any]
    is_builtin: bool


def auth_mechanism(actual_name: str) -> Callable[[_Function], _Function]:
    """Give an ``auth_`` method the name of a mechanism that no method can have.  ``ValueError`` when it is no name."""
    name = actual_name.upper()
    if not VALID_AUTHMECH.match(name):
        raise ValueError(f"Invalid AUTH mechanism name: {name}")

    def decorate(function: _Function) -> _Function:
        function.__auth_mechanism_name__ = name  # type: ignore[attr-defined]
        return function

    return decorate


class Authentication(Dialogue):
    """The verb AUTH, and what belongs to it."""

    AuthLoginUsernameChallenge: ClassVar[str] = "User Name\x00"
    AuthLoginPasswordChallenge: ClassVar[str] = "Password\x00"

    _auth_require_tls: bool
    _auth_excluded: frozenset[str]
    _authenticator: Callable[..., Any] | None
    _auth_callback: Callable[..., Any] | None

    _auth_names: Sequence[str]
    """The attributes ``auth_MECHANISM`` of the handler."""

    @functools.cached_property
    def _auth_methods(self) -> dict[str, _AuthMechAttr]:
        """The methods ``auth_MECHANISM`` of the server and of the handler, which goes before, by mechanism.

        What a program takes out of it is not offered any more.
        """
        found = {
            getattr(method, "__auth_mechanism_name__", name.removeprefix("auth_").replace("__", "-")): _AuthMechAttr(
                method, owner is self
            )
            for owner, names in ((self, dir(self)), (self.event_handler, self._auth_names))
            for name in names
            if name.startswith("auth_") and callable(method := getattr(owner, name))
        }
        return {name: method for name, method in found.items() if name not in self._auth_excluded}

    @syntax("AUTH <mechanism>")
    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954."""
        if await self.check_helo_needed("EHLO"):
            return
        args = arg.split() if arg else []
        methods = self._auth_methods
        complaint = self._auth_complaint(args)
        if complaint is None:
            name = args[0] if args[0] in methods else args[0].upper()
            if name not in methods:
                complaint = "504 5.5.4 Unrecognized authentication type"
        if complaint is not None:
            await self.push(complaint)
            return
        self._is_answered = False
        status = await self._call_handler_hook("AUTH", args)
        if status is MISSING:
            method, is_builtin = methods[name]
            log.debug("Using %s auth_ hook for %r", "builtin" if is_builtin else "handler", name)
            result = await method(self, args)
            if inspect.isawaitable(result):
                result = await result
            log.debug("auth_%s returned %r", name, result)
            status = self._settle_auth(result)
        if status is not None:
            await self.push(status)

    def _auth_complaint(self, args: list[str]) -> str | None:
        """What is wrong with an AUTH command."""
        if not self.session.extended_smtp:
            return "500 Error: command 'AUTH' not recognized"
        if self._auth_require_tls and not self._tls_protocol:
            return "538 5.7.11 Encryption required for requested authentication mechanism"
        if self.session.authenticated:
            return "503 Already authenticated"
        if not args:
            return "501 Not enough value"
        return "501 Too many values" if len(args) > 2 else None

    def _settle_auth(self, result: Any) -> str | None:
        """Record what a mechanism found; the reply, or None when the client has its own already.

        Beside ``AuthResult`` there is what came before it: None, where the method has answered; MISSING or False;
        anything else is the name of who is in.
        """
        if not isinstance(result, AuthResult):
            is_in = result is not None and result is not MISSING and result is not False
            if is_in:
                self.session.authenticated = True
                self.session._login_data = result
                return AUTHENTICATED
            result = AuthResult(success=False, handled=result is None)
        if result.success:
            self.session.authenticated = True
            self.session.auth_data = result.auth_data
            self.session._login_data = getattr(result.auth_data, "login", None)
            return result.message or AUTHENTICATED
        if result.handled and self._is_answered:
            return None
        return result.message or INVALID_CREDENTIALS

    async def challenge_auth(
        self,
        challenge: str | bytes,
        encode_to_b64: bool = True,  # noqa: FBT001, FBT002 - the signature that the field knows
        log_client_response: bool = False,  # noqa: FBT001, FBT002
    ) -> bytes | _Missing:
        """Send ``334`` with a challenge and give the answer, decoded; MISSING when the client has been told off."""
        octets = challenge.encode() if isinstance(challenge, str) else challenge
        octets = b"334 " + (base64.b64encode(octets) if encode_to_b64 else octets)
        log.debug("%r << challenge: %r", self.session.peer, octets)
        await self.push(octets)
        try:
            line = await self._next_sasl_line()
        except LineTooLong:
            await self.push("500 5.5.6 Authentication exchange line is too long")
            return MISSING
        except CommandSyntaxError:
            line = b"?"  # no base64
        if log_client_response:
            warn("AUTH interaction logging is enabled!")
            warn("Sensitive information might be leaked!")
            log.debug("%r >> %r", self.session.peer, line + b"\r\n")
        blob = line.strip()
        if blob == b"*":
            log.warning("%r aborted AUTH with '*'", self.session.peer)
            await self.push("501 5.7.0 Auth aborted")
            return MISSING
        try:
            return base64.b64decode(blob, validate=True)
        except binascii.Error:
            log.debug("%r can't decode base64", self.session.peer)
            await self.push("501 5.5.2 Can't decode base64")
            return MISSING

    async def _next_sasl_line(self) -> bytes:
        self._give_back()
        self._framer.expect(Framing.SASL)
        try:
            return await self._next_line(AUTH_LINE_LIMIT, self._timeout_duration)
        finally:
            if self._framer.state is Framing.SASL:
                self._framer.expect(Framing.COMMAND)

    async def _auth_interact(self, server_message: str) -> bytes | _Missing:
        warn_deprecated("_auth_interact will be deprecated in version 2.0. Please use challenge_auth() instead.")
        return await self.challenge_auth(server_message.removeprefix("334 "), encode_to_b64=False)

    def _authenticate(self, mechanism: str, auth_data: Any) -> Any:
        """Ask the authenticator; an awaitable if that is what it returns."""
        if self._authenticator is not None:
            return self._authenticator(self, self.session, self.envelope, mechanism, auth_data)
        assert self._auth_callback is not None
        if self._auth_callback(mechanism, *auth_data):
            return AuthResult(success=True, auth_data=auth_data)
        return AuthResult(success=False, handled=False)

    async def _ask(self, mechanism: str, login: bytes, password: bytes) -> AuthResult:
        result: Any = self._authenticate(mechanism, LoginPassword(login, password))
        if inspect.isawaitable(result):
            result = await result
        return result  # type: ignore[no-any-return]

    async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802 - the mechanism's name
        """RFC 4616."""
        octets = await self._initial_response(args) if len(args) > 1 else await self.challenge_auth("")
        if isinstance(octets, _Missing):
            return AuthResult(success=False)
        try:
            _authzid, login, password = octets.split(b"\x00")
        except ValueError:
            await self.push("501 5.5.2 Can't split auth value")
            return AuthResult(success=False)
        return await self._ask("PLAIN", login, password)

    async def auth_LOGIN(self, _: Any, args: list[str]) -> AuthResult:  # noqa: N802
        """The user's name and password, each in answer to a challenge."""
        if len(args) > 1:
            login = await self._initial_response(args)
        else:
            login = await self.challenge_auth(self.AuthLoginUsernameChallenge)
        if isinstance(login, _Missing):
            return AuthResult(success=False)
        password = await self.challenge_auth(self.AuthLoginPasswordChallenge)
        if isinstance(password, _Missing):
            return AuthResult(success=False)
        return await self._ask("LOGIN", login, password)

    async def _initial_response(self, args: list[str]) -> bytes | _Missing:
        try:
            return base64.b64decode(args[1].encode(), validate=True)
        except ValueError:
            await self.push("501 5.5.2 Can't decode base64")
            return MISSING
