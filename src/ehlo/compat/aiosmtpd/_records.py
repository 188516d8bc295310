"""What the server knows of a client and of a message, as aiosmtpd's handlers find it. Knows no connection."""

from __future__ import annotations

import asyncio
import enum
import logging
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("mail.log")


class _Missing(enum.Enum):
    MISSING = enum.auto()


MISSING = _Missing.MISSING
"""What ``_call_handler_hook`` gives where there is no hook, and ``challenge_auth`` where there is no answer."""


@dataclass(kw_only=True, repr=False)
class AuthResult:
    """What an authenticator or an ``auth_MECHANISM`` found.

    ``handled``, of a failure: the client has been answered.  ``message``: the reply in place of the usual one.
    ``auth_data`` becomes ``session.auth_data``.
    """

    success: bool
    handled: bool = True
    message: str | None = None
    auth_data: Any = None

    def __repr__(self) -> str:
        return (
            f"AuthResult(success={self.success!r}, handled={self.handled!r}, message={self.message!r}, auth_data=...)"
        )


class Session:
    """A client, from connect to disconnect; STARTTLS makes a new one.

    ``ssl`` is None on a plain connection, else what the transport tells of TLS, by name.  ``authenticated`` is None
    until the client is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.peer: Any = None
        self.ssl: dict[str, Any] | None = None
        self.host_name: str | None = None
        self.extended_smtp = False
        self.loop = loop
        self.proxy_data: Any = None
        self.auth_data: Any = None
        self.authenticated: bool | None = None
        self._login_data: Any = None

    @property
    def login_data(self) -> Any:
        """The user's name as octets: what ``auth_data`` was called before."""
        log.warning("Session.login_data is deprecated and will be removed in version 2.0")
        return self._login_data

    @login_data.setter
    def login_data(self, value: Any) -> None:
        log.warning("Session.login_data is deprecated and will be removed in version 2.0")
        self._login_data = value


class Envelope:
    """One transaction.  ``mail_from`` is None before MAIL, and ``"<>"`` for the null reverse-path."""

    def __init__(self) -> None:
        self.mail_from: str | None = None
        self.mail_options: list[str] = []
        self.smtp_utf8 = False
        self.content: bytes | str | None = None
        self.original_content: bytes | None = None
        self.rcpt_tos: list[str] = []
        self.rcpt_options: list[str] = []
