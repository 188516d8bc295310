"""PLAIN (RFC 4616) and LOGIN: the client sends its password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehlo.protocol.sasl.exchange import (
    AuthenticationFailed,
    Challenge,
    CheckPassword,
    Context,
    MalformedResponse,
    Mechanism,
    authorize,
    read_login_password,
    read_name,
)

if TYPE_CHECKING:
    from ehlo.protocol.credentials import LoginPassword
    from ehlo.protocol.sasl.exchange import Script


def _plain(_context: Context, response: bytes | None) -> Script:
    if response is None:
        response = yield Challenge(b"")
    # RFC 4616 §2:
    #   message = [authzid] UTF8NUL authcid UTF8NUL passwd
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise MalformedResponse("PLAIN wants two NULs")
    authzid, authcid, password = parts
    return (yield from _check(read_login_password(authcid, password), read_name(authzid) if authzid else ""))


def _login(context: Context, response: bytes | None) -> Script:
    # draft-murchison-sasl-login knows no initial response; Outlook and others send the user name as one.
    login: bytes = (yield Challenge(context.username_prompt)) if response is None else response
    password: bytes = yield Challenge(context.password_prompt)
    return (yield from _check(read_login_password(login, password), ""))


def _check(credentials: LoginPassword, authzid: str) -> Script:
    is_right: bool = yield CheckPassword(credentials)
    if not is_right:
        raise AuthenticationFailed("wrong user name or password")
    return (yield from authorize(credentials.login.decode(), authzid))


PLAIN = Mechanism("PLAIN", CheckPassword, _plain, is_plaintext=True)
LOGIN = Mechanism("LOGIN", CheckPassword, _login, is_plaintext=True)
