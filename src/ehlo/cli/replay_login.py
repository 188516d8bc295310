"""Credentials in place of those that a recording does not have.  Knows mechanisms, and where a password comes from."""

from __future__ import annotations

import getpass
import hmac
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from ehlo.cli.compose import read_file
from ehlo.cli.recording import CannotReplay
from ehlo.cli.send import PASSWORD_VARIABLE

if TYPE_CHECKING:
    import argparse

    from ehlo.cli.recording import Recording


class Login(NamedTuple):
    """Credentials."""

    user: str
    password: str


def find_login(recording: Recording, options: argparse.Namespace) -> Login:
    """Credentials in place of those that were not kept; ``CannotReplay`` where there are none."""
    unknown = sorted(recording.mechanisms - MECHANISMS.keys())
    if unknown:
        raise CannotReplay(f"cannot log in by {unknown[0]}: by {', '.join(MECHANISMS)} only")
    user = options.user or recording.login
    if not user:
        raise CannotReplay("the session logged in: say by --user as whom")
    try:
        login = Login(user, _password(user, options))
        "".join(login).encode()
    except UnicodeError:
        raise CannotReplay("a user or a password that is not in UTF-8") from None
    return login


def _password(user: str, options: argparse.Namespace) -> str:
    if options.password_file is not None:
        return read_file(options.password_file).decode().partition("\n")[0].rstrip("\r")
    if (maybe_password := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return maybe_password
    if not sys.stdin.isatty():
        raise CannotReplay(f"no password for {user}: set {PASSWORD_VARIABLE}, or use --password-file")
    return getpass.getpass(f"Password of {user}: ")


def _cram_md5(login: Login, challenge: bytes) -> bytes:
    """RFC 2195 §2."""
    return f"{login.user} {hmac.new(login.password.encode(), challenge, 'md5').hexdigest()}".encode()


# What is said in answer: of a login, its first or second answer, and the challenge.
MECHANISMS: Final[dict[str, Callable[[Login, int, bytes], bytes]]] = {
    "PLAIN": lambda login, _, __: f"\0{login.user}\0{login.password}".encode(),  # RFC 4616 §2
    "LOGIN": lambda login, number, _: (login.password if number else login.user).encode(),
    "CRAM-MD5": lambda login, _, challenge: _cram_md5(login, challenge),
    # The token is given as the password.
    "XOAUTH2": lambda login, _, __: f"user={login.user}\1auth=Bearer {login.password}\1\1".encode(),
    "OAUTHBEARER": lambda login, _, __: (
        f"n,a={login.user},\1auth=Bearer {login.password}\1\1".encode()
    ),  # RFC 7628 §3.1
}
