"""The other side of every exchange: a caller that answers from a table, and a client of SCRAM."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ehlo.protocol.sasl import MECHANISMS, Challenge, Context, Exchange, Failure, Identity, Question, Success

Answers: TypeAlias = Mapping[type[Question], Callable[[Any], object]]


@dataclass
class Record:
    """What happened: what was asked of the client and of the caller, and how it ended."""

    outcome: Success | Failure
    challenges: list[bytes] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    @property
    def identity(self) -> Identity:
        assert isinstance(self.outcome, Success), self.outcome
        return self.outcome.identity

    @property
    def status(self) -> str:
        assert isinstance(self.outcome, Failure), self.outcome
        return self.outcome.error.status

    @property
    def detail(self) -> str:
        assert isinstance(self.outcome, Failure), self.outcome
        return str(self.outcome.error)


def converse(
    name: str,
    initial_response: bytes | None,
    respond: Callable[[bytes], bytes],
    answers: Answers,
    context: Context | None = None,
) -> Record:
    """Run one exchange to its end: ``respond`` is the client, ``answers`` the caller."""
    exchange = Exchange(MECHANISMS[name], context or Context())
    step = exchange.begin(initial_response)
    challenges: list[bytes] = []
    questions: list[Question] = []
    while isinstance(step, Question):
        if isinstance(step, Challenge):
            challenges.append(step.data)
            step = exchange.answer(respond(step.data))
        else:
            questions.append(step)
            step = exchange.answer(answers[type(step)](step))
    return Record(step, challenges, questions)


def says(*responses: bytes) -> Callable[[bytes], bytes]:
    """A client that says these, one for each challenge."""
    remaining = iter(responses)
    return lambda _challenge: next(remaining)


class ScramClient:
    """A client of SCRAM-SHA-256 (RFC 5802), with a place to lie at every step."""

    def __init__(
        self,
        user: str,
        password: str,
        *,
        gs2: str = "n,,",
        binding: bytes = b"",
        nonce: str = "rOprNGfwEbeRWgbNEkqO",
    ) -> None:
        self.password = password
        self.gs2 = gs2
        self.binding = binding
        self.first_bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self.server_first = ""
        self.server_key = b""
        self.auth_message = b""
        self.is_server_proven = False

    @property
    def first(self) -> bytes:
        return (self.gs2 + self.first_bare).encode()

    def respond(self, challenge: bytes) -> bytes:
        if challenge.startswith(b"r="):
            return self.final(challenge)
        if challenge.startswith(b"v="):
            signature = hmac.digest(self.server_key, self.auth_message, "sha256")
            self.is_server_proven = base64.b64decode(challenge[2:]) == signature
            return b""
        assert challenge == b""
        return self.first

    def final(self, server_first: bytes) -> bytes:
        self.server_first = server_first.decode()
        attributes = dict(part.split("=", 1) for part in self.server_first.split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password.encode(), base64.b64decode(attributes["s"]), int(attributes["i"])
        )
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        self.server_key = hmac.digest(salted, b"Server Key", "sha256")
        bound = base64.b64encode(self.gs2.encode() + self.binding).decode()
        without_proof = f"c={bound},r={attributes['r']}"
        self.auth_message = f"{self.first_bare},{self.server_first},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), self.auth_message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
