"""The file of users of a catcher: passwords as they are, or keys of them.  Knows lines; does not know sessions.

A line is ``user:password``, or one of a password file (``ehlo.credentials``), which has keys instead; ``#`` begins a
comment.  A password that begins with a brace is taken for keys, and refused if it is none.  Passwords that are only for
tests may be read by whoever owns the file, need no tool to be written down, and let CRAM-MD5 be checked, which no key
can.
"""

from __future__ import annotations

import hmac
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ehlo.credentials import fake_secret
from ehlo.protocol.credentials import (
    ITERATIONS_DEFAULT,
    ScramKeys,
    derive_scram_keys,
    fake_keys,
    parse_scram_keys,
    verify_password,
)
from ehlo.protocol.saslprep import saslprep

if TYPE_CHECKING:
    from typing import Any

    from ehlo.protocol.sasl import CheckPassword, FindKeys

log = logging.getLogger("ehlo.inbox")

# What a line of keys has behind the name: Dovecot's form, and that of RFC 5803 §3.
_KEYS = ("{", "SCRAM-SHA-256$")


class UserFile:
    """Users and their passwords or keys, read once, now.  ``OSError``; ``ValueError`` with path and line."""

    scram_iterations = ITERATIONS_DEFAULT

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._passwords: dict[str, str] = {}
        self._keys: dict[str, ScramKeys] = {}
        for number, line in enumerate(self.path.read_bytes().splitlines(), start=1):
            try:
                self._read(line.decode("utf-8-sig").strip())
            except ValueError as error:
                # The text of a UnicodeDecodeError, and its context, quote what is on the line.
                reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
                raise ValueError(f"{self.path}:{number}: {reason}") from None
        if self._passwords and os.name == "posix" and self.path.stat().st_mode & 0o077:
            log.warning("%s: others can read the passwords in it; `chmod 600` keeps them out", self.path)
        self.scram_iterations = next((keys.iterations for keys in self._keys.values()), ITERATIONS_DEFAULT)

    def _read(self, text: str) -> None:
        if not text or text.startswith("#"):
            return
        user, colon, secret = text.partition(":")
        if not colon or not secret:
            raise ValueError("a line is user:password")
        name = saslprep(user.strip(), is_stored=True)
        if not name or name in self._passwords or name in self._keys:
            raise ValueError("the same user again" if name else "no user name")
        if secret.startswith(_KEYS):
            self._keys[name] = parse_scram_keys(secret)
        else:
            self._passwords[name] = secret

    def password_of(self, user: str) -> str | None:
        """The password of a user, None if there is none, or only keys."""
        return self._passwords.get(_prepared(user))

    def check_password(self, question: CheckPassword, _session: Any) -> bool:
        """Plain on purpose: it computes for some 25 ms, in a thread."""
        maybe_password = self.password_of(question.user)
        if maybe_password is not None:
            return hmac.compare_digest(question.password.encode("utf-8", "surrogateescape"), maybe_password.encode())
        maybe_keys = self._keys.get(_prepared(question.user))
        keys = maybe_keys or fake_keys(question.user, fake_secret(), self.scram_iterations)
        return verify_password(keys, question.password) and maybe_keys is not None

    def find_keys(self, question: FindKeys, _session: Any) -> ScramKeys | None:
        """Plain on purpose, as above."""
        maybe_password = self.password_of(question.user)
        if maybe_password is not None:
            return derive_scram_keys(maybe_password, iterations=self.scram_iterations)
        return self._keys.get(_prepared(question.user))


def _prepared(user: str) -> str:
    """The name as it is in the table; one that SASLprep refuses is nobody's, as is the empty one."""
    try:
        return saslprep(user)
    except ValueError:
        return ""
