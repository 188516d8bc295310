"""Credentials at rest and in flight: what a password becomes before it is stored, and how it is checked.

Knows passwords, salts and keys; does not know mechanisms, users' databases or files (``ehlo.credentials`` reads them).

A password is stored as the keys of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677).  They serve SCRAM, where the server never
sees the password, and PLAIN and LOGIN, where it does.  They do not serve CRAM-MD5, which needs the password itself, or
the two states of MD5 that stand for it; hashlib cannot go on from a stored state, and who steals such a state can log
in with it.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ehlo.protocol.saslprep import saslprep

# RFC 7677 §3 asks for 4096 at least.  OWASP's Password Storage Cheat Sheet asks PBKDF2 with HMAC-SHA-256 for 600,000,
# but in SCRAM the client has to count along, and 100,000 is the most that careful ones take from a server: MongoDB's
# drivers (mongodb/specifications #1959) and node-postgres (#3677), for example.  It costs 25 ms or so.
ITERATIONS_MIN: Final = 4096
ITERATIONS_DEFAULT: Final = 100_000
# Beyond this a slip of the finger in a password file would stop logins for minutes each.
ITERATIONS_MAX: Final = 10_000_000
SALT_OCTETS: Final = 16
KEY_OCTETS: Final = hashlib.sha256().digest_size

# The form of Dovecot's passdb:        {SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey
# The form of RFC 5803 §2 (PostgreSQL): SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey
#   iter-count = %x31-39 *DIGIT
#   salt       = <base64-encoded value>
_KEYS = re.compile(
    r"""\{SCRAM-SHA-256\} ([1-9][0-9]{0,8}) , ([^,$:]+) ,  ([^,$:]+) , ([^,$:]+)
      | SCRAM-SHA-256 \$  ([1-9][0-9]{0,8}) : ([^,$:]+) \$ ([^,$:]+) : ([^,$:]+)
    """,
    re.VERBOSE,
)


class LoginPassword(NamedTuple):
    """What PLAIN or LOGIN brought: octets in UTF-8, the login prepared by SASLprep, the password as it was sent.

    Not shown by ``repr``, ``str`` or formatting: the password.
    """

    login: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"LoginPassword(login={self.login.decode(errors='backslashreplace')!r}, password=...)"


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps of a password (RFC 5802 §3): enough to check a proof, not enough to make one.

    Still a secret: who has it can guess passwords without asking us, and can pose as this server.
    ValueError if a salt is empty, a key has not 32 octets, or the iterations are not 4096 to 10,000,000.
    """

    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.salt:
            raise ValueError("empty salt")
        _check_iterations(self.iterations)
        if len(self.stored_key) != KEY_OCTETS or len(self.server_key) != KEY_OCTETS:
            raise ValueError(f"StoredKey and ServerKey have {KEY_OCTETS} octets each")


def derive_scram_keys(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS_DEFAULT) -> ScramKeys:
    """The keys to store for a password.  ``salt`` None makes a new one.

    Blocks for the time of the iterations (25 ms or so by default): run it in a thread, it lets go of the GIL.
    ValueError if SASLprep refuses the password as a stored string or leaves nothing of it (RFC 5802 §2.2).
    """
    _check_iterations(iterations)
    prepared = saslprep(password, is_stored=True)
    if not prepared:
        raise ValueError("empty password")
    if salt is None:
        salt = secrets.token_bytes(SALT_OCTETS)
    stored_key, server_key = _derive(prepared, salt, iterations)
    return ScramKeys(salt, iterations, stored_key, server_key)


def verify_password(keys: ScramKeys, password: str) -> bool:
    """Whether the keys were derived from this password; compared in constant time.

    Blocks as derive_scram_keys does.  A password that SASLprep refuses matches nothing.
    """
    try:
        prepared = saslprep(password)
    except ValueError:
        return False
    stored_key, _ = _derive(prepared, keys.salt, keys.iterations)
    return hmac.compare_digest(stored_key, keys.stored_key)


def fake_keys(user: str, secret: bytes, iterations: int = ITERATIONS_DEFAULT) -> ScramKeys:
    """Keys that no password opens, for a user who does not exist.

    The same user gets the same salt as long as ``secret`` is the same, as a real one would; a salt that changes from
    one attempt to the next would tell that there is no such user.
    """
    salt, stored_key, server_key = (
        hmac.digest(secret, label + b"\0" + user.encode(errors="surrogatepass"), "sha256")
        for label in (b"salt", b"stored key", b"server key")
    )
    return ScramKeys(salt[:SALT_OCTETS], iterations, stored_key, server_key)


def format_scram_keys(keys: ScramKeys) -> str:
    """The keys as text in Dovecot's form, which parse_scram_keys reads."""
    salt, stored_key, server_key = (
        binascii.b2a_base64(data, newline=False).decode() for data in (keys.salt, keys.stored_key, keys.server_key)
    )
    return f"{{SCRAM-SHA-256}}{keys.iterations},{salt},{stored_key},{server_key}"


def parse_scram_keys(text: str) -> ScramKeys:
    """Keys from text, in Dovecot's form or that of RFC 5803.  ValueError, which never quotes the text."""
    match = _KEYS.fullmatch(text)
    if match is None:
        raise ValueError("neither {SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey nor the form of RFC 5803")
    iterations, *encoded = (part for part in match.groups() if part is not None)
    try:
        salt, stored_key, server_key = (binascii.a2b_base64(part, strict_mode=True) for part in encoded)
    except ValueError:
        raise ValueError("bad base64") from None
    return ScramKeys(salt, int(iterations), stored_key, server_key)


def _check_iterations(iterations: int) -> None:
    if not ITERATIONS_MIN <= iterations <= ITERATIONS_MAX:
        raise ValueError(f"iterations must be {ITERATIONS_MIN} to {ITERATIONS_MAX}")


def _derive(prepared: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """StoredKey and ServerKey.

    RFC 5802 §3:
        SaltedPassword  := Hi(Normalize(password), salt, i)
        ClientKey       := HMAC(SaltedPassword, "Client Key")
        StoredKey       := H(ClientKey)
        ServerKey       := HMAC(SaltedPassword, "Server Key")
    """
    salted_password = hashlib.pbkdf2_hmac("sha256", prepared.encode(), salt, iterations)
    client_key = hmac.digest(salted_password, b"Client Key", "sha256")
    return hashlib.sha256(client_key).digest(), hmac.digest(salted_password, b"Server Key", "sha256")
