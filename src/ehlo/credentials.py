"""A file of users and the keys of their passwords; PLAIN, LOGIN and SCRAM-SHA-256 can be checked against it.

Knows the file and its lines; does not know sessions, mechanisms or event loops.

A line is ``user:{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey`` (Dovecot's form; that of RFC 5803, as PostgreSQL
has it, is read too), ``#`` begins a comment.  There are no plain passwords in it, and so nothing for CRAM-MD5.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ehlo.protocol.credentials import (
    ITERATIONS_DEFAULT,
    ScramKeys,
    derive_scram_keys,
    fake_keys,
    format_scram_keys,
    parse_scram_keys,
    verify_password,
)
from ehlo.protocol.saslprep import saslprep

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

_fake_secret = secrets.token_bytes(32)


def fake_secret() -> bytes:
    """What the keys are derived from that users seem to have who do not exist: the same for all mechanisms."""
    return _fake_secret


def share_fake_secret(secret: bytes) -> None:
    """Take the secret that other processes of the same server have: who does not exist looks the same in all of them.

    To be called before there are connections.
    """
    global _fake_secret  # noqa: PLW0603 - it is the process's
    _fake_secret = secret


class _Version(NamedTuple):
    """What tells one state of a file from the next without reading it; a file renamed into place has a new inode."""

    inode: int
    size: int
    modified: int  # nanoseconds
    changed: int  # nanoseconds


class _Contents(NamedTuple):
    """What was read; replaced as a whole, because lookups come from several threads."""

    maybe_version: _Version | None
    keys: Mapping[str, ScramKeys]
    iterations: int


class PasswordFile:
    """Users and keys from a file, read again when it has changed.

    It is read when this is made: OSError if it cannot be, ValueError with path and line number if it is wrong.  Later
    on, such an error is logged, once, and what was read last stays in force: a slip in an editor locks nobody out.
    Replace the file by renaming a new one into its place, so that half a file is never read.

    Safe to use from several threads.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._contents = _read(self.path)
        self._complaint = ""

    def find_keys(self, user: str) -> ScramKeys | None:
        """The keys of a user, None if there is no such user.  Costs a ``stat`` and at times a read of the file."""
        return self._fresh().keys.get(_prepared(user))

    def check_password(self, user: str, password: str) -> bool:
        """Whether this is the password of this user.

        Blocks for about 25 ms (PBKDF2 with the iterations of the keys), and as long for a user who does not exist: call
        it in a thread.
        """
        contents = self._fresh()
        maybe_keys = contents.keys.get(_prepared(user))
        keys = maybe_keys or fake_keys(user, _fake_secret, contents.iterations)
        return verify_password(keys, password) and maybe_keys is not None

    @property
    def iterations(self) -> int:
        """The most common number of iterations, for ``Context.scram_iterations``: unknown users should look alike."""
        return self._fresh().iterations

    def _fresh(self) -> _Contents:
        version = _version(self.path)
        if version == self._contents.maybe_version:
            return self._contents
        complaint = ""
        try:
            self._contents = _read(self.path)
        except ValueError as error:
            # Not looked at again before it changes.  An OSError may pass by itself (no descriptor left, no right yet).
            self._contents = self._contents._replace(maybe_version=version)
            complaint = str(error)
        except OSError as error:
            complaint = str(error)
        if complaint and complaint != self._complaint:
            log.error("password file not taken over, what was read before stays in force: %s", complaint)
        self._complaint = complaint
        return self._contents


def password_line(user: str, password: str, *, iterations: int = ITERATIONS_DEFAULT) -> str:
    """A line for a password file, without line end.

    ValueError if the name cannot be in such a file (empty, ``:``, ``#`` in front, spaces around it), or if SASLprep
    refuses the name or the password.  Blocks as derive_scram_keys does.
    """
    return f"{_checked_name(user)}:{format_scram_keys(derive_scram_keys(password, iterations=iterations))}"


def _checked_name(user: str) -> str:
    """The name as it is stored.  ValueError if a line of the file could not say it."""
    name = saslprep(user, is_stored=True)
    if not name or ":" in name or name.startswith("#") or name != name.strip():
        raise ValueError("no user name for a password file")
    return name


def _prepared(user: str) -> str:
    """The name as it is in the table; one that SASLprep refuses is nobody's, as is the empty one."""
    try:
        return saslprep(user)
    except ValueError:
        return ""


def _version(path: Path) -> _Version | None:
    """None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _Version(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _read(path: Path) -> _Contents:
    # Looked at before it is read: a change in between is then seen at the next lookup.
    version = _version(path)
    keys: dict[str, ScramKeys] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            _read_line(line.decode("utf-8-sig"), keys)
        except ValueError as error:
            # UnicodeDecodeError is one, and its text and context quote what is on the line.
            reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            raise ValueError(f"{path}:{number}: {reason}") from None
    counts = Counter(entry.iterations for entry in keys.values()).most_common(1)
    return _Contents(version, keys, counts[0][0] if counts else ITERATIONS_DEFAULT)


def _read_line(line: str, keys: dict[str, ScramKeys]) -> None:
    text = line.strip()
    if not text or text.startswith("#"):
        return
    user, colon, encoded = text.partition(":")
    if not colon:
        raise ValueError("no ':' after the user name")
    name = _checked_name(user)
    if name in keys:
        raise ValueError("the same user again")
    keys[name] = parse_scram_keys(encoded)
