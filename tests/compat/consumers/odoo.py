"""In the manner of an application's tests: a patched Session, and an authenticator that knows two users."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import aiosmtpd.smtp
from aiosmtpd.controller import Controller, get_localhost
from aiosmtpd.handlers import Debugging
from aiosmtpd.smtp import AuthResult, LoginPassword, Session


class QuietSession(Session):
    """Without the warning that the library would log against itself."""

    @property
    def login_data(self) -> Any:
        return self._login_data

    @login_data.setter
    def login_data(self, value: Any) -> None:
        self._login_data = value
        self.has_quiet_data = True


class KeepingHandler(Debugging):
    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.logins: list[tuple[Any, Any]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.logins.append((type(session).__name__, session._login_data))
        return await super().handle_DATA(server, session, envelope)


def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
    result = AuthResult(success=data.login == b"user" and data.password == b"secret", handled=False)
    if result.success:
        result.auth_data = data
    return result


def patched_session() -> Any:
    return patch.object(aiosmtpd.smtp, "Session", QuietSession)


def make_controller(stream: Any, port: int, **settings: Any) -> Controller:
    return Controller(
        KeepingHandler(stream),
        hostname=get_localhost(),
        port=port,
        server_hostname="localhost",
        authenticator=authenticate,
        auth_required=True,
        **settings,
    )
