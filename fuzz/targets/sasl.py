r"""SASL exchanges, answered by a client that is honest, hostile, or honest but for a few octets.

A seed is a line whose octets choose the mechanism, the answers of the users' owner and what kind of client it is, and
then what the client says: one response on each line, ``-`` for no initial response, ``!`` for what an honest one would
say.  In hostile octets ``\n`` and ``\0`` are written with a backslash.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

from ehlo.errors import ProtocolError
from ehlo.protocol import sasl
from ehlo.protocol.credentials import derive_scram_keys
from fuzz.checks import Violation, require, require_harmless
from fuzz.choices import Choices, take_line

_STEPS_LIMIT: Final = 10
_USER, _PASSWORD, _BINDING = "ann", "secret", b"what is bound"
_KEYS: Final = derive_scram_keys(_PASSWORD, salt=b"salt", iterations=4096)
_SALTED: Final = hashlib.pbkdf2_hmac("sha256", _PASSWORD.encode(), b"salt", 4096)
_CLIENT_KEY: Final = hmac.digest(_SALTED, b"Client Key", "sha256")
# What a client may be told, whatever it said.
_STATUSES: Final = {535, 501, 500}
_MECHANISMS: Final = tuple(sasl.MECHANISMS)


def fuzz_sasl(data: bytes) -> None:
    """An exchange ends, after a few steps, in an identity or in a reply that quotes nothing."""
    choices, responses = take_line(data)
    name = choices.pick(_MECHANISMS)
    context = sasl.Context(
        channel_bindings=choices.pick(({"tls-unique": _BINDING}, {})),
        random_text=lambda octets: "r" * octets,
        fake_secret=b"fake",
    )
    client = _Client(name, responses)
    exchange = sasl.Exchange(sasl.MECHANISMS[name], context)
    step = exchange.begin(client.initial_response())
    for _ in range(_STEPS_LIMIT):
        if not isinstance(step, sasl.Question):
            break
        answer = client.response(step.data) if isinstance(step, sasl.Challenge) else _answer(step, choices)
        step = exchange.answer(answer)
    _look_at(step, client, name)


def _look_at(step: sasl.Step, client: _Client, name: str) -> None:
    if isinstance(step, sasl.Success):
        require(step.identity.mechanism == name, "another mechanism")
        require(step.identity.authcid and step.identity.authzid, "nobody is logged in")
        require_harmless(step.identity.authzid, "a login")
        require("\0" not in step.identity.authcid, "NUL in a name")
        # Every octet of it is in the proof.
        require(client.was_honest or not name.startswith("SCRAM"), "logged in without the password")
    elif isinstance(step, sasl.Failure):
        require(isinstance(step.error, ProtocolError), "not the client's fault")
        require(step.error.code in _STATUSES, f"an unusual reply: {step.error.status}")
        require_harmless(str(step.error), "the detail for the log")
        for said in client.said:
            text = said.decode("utf-8", "replace")
            require(len(text) < 8 or text not in f"{step.error.status} {step.error}", "credentials in a log")
    else:
        raise Violation(f"{name} does not come to an end")


def _answer(question: sasl.Question, choices: Choices) -> object:
    """What the owner of the users says."""
    match question:
        case sasl.CheckPassword():
            # Both are what an authenticator looks at.
            question.credentials.login.decode(), question.credentials.password.decode()
            return choices.pick((True, False))
        case sasl.CheckDigest():
            return choices.pick((question.proves(_PASSWORD), question.proves(None), True))
        case sasl.FindKeys():
            return choices.pick((_KEYS, None))
        case sasl.CheckToken():
            return choices.pick((True, False, "somebody", ""))
        case sasl.IdentifyPeer():
            return choices.pick(("ann", None, ""))
        case _:
            return choices.pick((True, False))


class _Client:
    """Says what the lines say."""

    def __init__(self, name: str, responses: bytes) -> None:
        self._name = name
        self._lines = responses.split(b"\n")
        self._first = b""
        self.said: list[bytes] = []
        self.was_honest = True

    def initial_response(self) -> bytes | None:
        if self._lines[0] == b"-":
            self._lines.pop(0)
            return None
        return self._say(self._honest(b""))

    def response(self, challenge: bytes) -> bytes:
        return self._say(self._honest(challenge))

    def _say(self, honest: bytes) -> bytes:
        line = self._lines.pop(0) if self._lines else b""
        said = line.replace(b"!", honest, 1).replace(b"\\n", b"\n").replace(b"\\0", b"\0")
        self.said.append(said)
        self.was_honest = self.was_honest and said == honest
        return said

    def _honest(self, challenge: bytes) -> bytes:
        user, password = _USER.encode(), _PASSWORD.encode()
        match self._name:
            case "PLAIN":
                return b"\0" + user + b"\0" + password
            case "LOGIN":
                return password if challenge.startswith(b"Pass") else user
            case "CRAM-MD5":
                return user + b" " + hmac.digest(password, challenge, "md5").hex().encode()
            case "OAUTHBEARER":
                return b"n,a=" + user + b",\x01auth=Bearer token\x01\x01"
            case "XOAUTH2":
                return b"user=" + user + b"\x01auth=Bearer token\x01\x01"
            case "EXTERNAL":
                return b""
            case _:
                return self._scram(challenge)

    def _scram(self, challenge: bytes) -> bytes:
        """RFC 5802 §3."""
        header, binding = (b"p=tls-unique,,", _BINDING) if self._name.endswith("PLUS") else (b"n,,", b"")
        if not challenge:
            self._first = b"n=ann,r=nonce"
            return header + self._first
        if challenge.startswith(b"v="):
            return b""
        nonce = challenge[2:].partition(b",")[0]
        without_proof = b"c=" + base64.b64encode(header + binding) + b",r=" + nonce
        signature = hmac.digest(
            hashlib.sha256(_CLIENT_KEY).digest(), b",".join((self._first, challenge, without_proof)), "sha256"
        )
        proof = bytes(a ^ b for a, b in zip(_CLIENT_KEY, signature, strict=True))
        return without_proof + b",p=" + base64.b64encode(proof)
