"""In the manner of a fixture that brought its own STARTTLS, since the library's broke on a new Python."""

# ruff: noqa: N802 - mechanisms are upper case in the names of their methods

from __future__ import annotations

from email.message import Message as EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword, TLSSetupException, auth_mechanism, syntax


class FixtureSMTP(SMTP):
    @syntax("STARTTLS", when="tls_context")
    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            await self.push("501 Syntax: STARTTLS")
            return
        await self.push("220 Ready to start TLS")
        try:
            self._original_transport = self.transport
            upgraded: Any = await self.loop.start_tls(
                transport=self.transport,  # type: ignore[arg-type]
                protocol=self,
                sslcontext=self.tls_context,  # type: ignore[arg-type]
                server_side=True,
                ssl_handshake_timeout=5.0,
            )
            self._reader._transport = upgraded  # type: ignore[attr-defined]
            self._writer._transport = upgraded  # type: ignore[attr-defined]
            self._tls_protocol = upgraded.get_protocol()
        except Exception as error:
            raise TLSSetupException from error


class FixtureHandler(Message):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[EmailMessage] = []

    def handle_message(self, message: EmailMessage) -> None:
        self.messages.append(message)

    @auth_mechanism("CRAM-LIKE")
    async def auth_CRAM_LIKE(self, server: Any, args: list[str]) -> AuthResult:
        challenge = f"<1@{server.hostname}>"
        response = await server.challenge_auth(challenge)
        user, _, proof = response.partition(b" ")
        if proof == challenge.encode()[::-1]:
            return AuthResult(success=True, handled=True, auth_data=user)
        return AuthResult(success=False, handled=False)

    async def auth_LOGIN(self, server: Any, args: list[str]) -> AuthResult:
        user = await server.challenge_auth("")
        password = await server.challenge_auth("Password")
        accepted = server._authenticator.validate(user, password)
        return AuthResult(success=accepted, handled=False, auth_data=LoginPassword(user, password))


class Authenticator:
    """Called by some mechanisms, and asked by others."""

    def validate(self, user: bytes, password: bytes) -> bool:
        return (user, password) == (b"user", b"password")

    def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, auth_data: Any) -> AuthResult:
        return AuthResult(success=self.validate(*auth_data), handled=False, auth_data=auth_data)


class FixtureController(Controller):
    def __init__(self, handler: Any, tls_context: Any) -> None:
        super().__init__(handler, hostname="127.0.0.1", port=0, authenticator=Authenticator())
        self._tls_context = tls_context

    def factory(self) -> SMTP:
        return FixtureSMTP(
            handler=self.handler,
            tls_context=self._tls_context,
            require_starttls=True,
            authenticator=self.SMTP_kwargs["authenticator"],
        )

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        super()._trigger_server()  # type: ignore[no-untyped-call]
