"""Authentication: what a server's owner gives, and what mechanisms are made of it.

Knows answers to the questions of ``ehlo.protocol.sasl``; does not know lines, base64 or replies.

An *authenticator* is one of

* a function ``f(server, session, envelope, mechanism, credentials)`` that checks a login and a password and returns
  an ``AuthResult`` or a bool: it serves PLAIN and LOGIN;
* an object with some of the methods of ``ANSWERS``, each called with ``(question, session)``: ``check_password`` serves
  PLAIN and LOGIN, ``find_keys`` SCRAM-SHA-256 and its -PLUS, ``check_digest`` CRAM-MD5, ``check_token`` OAUTHBEARER and
  XOAUTH2, ``identify_peer`` EXTERNAL.  ``authorize`` may let one user act as another; without it nobody may.

``FileAuthenticator`` is such an object, for a file of users.  Functions and methods are coroutine functions, or plain
ones, which run in a thread.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ehlo.credentials import PasswordFile
from ehlo.protocol import sasl
from ehlo.protocol.credentials import LoginPassword, ScramKeys

__all__ = [
    "ANSWERS",
    "AuthResult",
    "FileAuthenticator",
    "LoginPassword",
    "auth_mechanism",
    "find_answers",
    "mechanism_name",
]

# RFC 4422 §3.1:  sasl-mech = 1*20mech-char ;  mech-char = UPPER-ALPHA / DIGIT / HYPHEN / UNDERSCORE
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}")
_PREFIX = "auth_"

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthResult:
    """What an authenticator or an ``auth_MECH`` method found.

    ``auth_data`` becomes ``session.auth_data``; ``message`` is the status for the client, None for the usual one.
    ``handled`` says that the client has its reply already.
    """

    success: bool
    message: str | None = None
    auth_data: Any = field(default=None, repr=False)
    handled: bool = False


ANSWERS: Mapping[type[sasl.Question], str]
"""The method that answers each question."""


def __getattr__(name: str) -> Any:
    """Make ``ANSWERS`` when it is first asked for (PEP 562), since a server without users needs no SASL."""
    if name != "ANSWERS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    answers = globals()["ANSWERS"] = {
        sasl.CheckPassword: "check_password",
        sasl.CheckDigest: "check_digest",
        sasl.FindKeys: "find_keys",
        sasl.CheckToken: "check_token",
        sasl.IdentifyPeer: "identify_peer",
        sasl.Authorize: "authorize",
    }
    return answers


Answer = Callable[..., Any | Awaitable[Any]]


def find_answers(authenticator: object) -> dict[type[sasl.Question], Answer]:
    """The questions that an authenticator object can answer, with the methods that do; empty for a mere function.

    ``TypeError`` for something that is neither.
    """
    if authenticator is None:
        return {}
    methods: Mapping[type[sasl.Question], str] = sys.modules[__name__].ANSWERS
    answers = {
        question: getattr(authenticator, name) for question, name in methods.items() if hasattr(authenticator, name)
    }
    if not answers and not callable(authenticator):
        raise TypeError("an authenticator is a function or has one of the methods " + ", ".join(methods.values()))
    return answers


class FileAuthenticator:
    """Users and the keys of their passwords from a file (``ehlo.credentials``): PLAIN, LOGIN, SCRAM-SHA-256, -PLUS.

    ``OSError`` and ``ValueError`` when the file cannot be read or is wrong.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.file = PasswordFile(path)

    @property
    def scram_iterations(self) -> int:
        """How many the file's keys have, so that names which are not in it look the same."""
        return self.file.iterations

    def check_password(self, question: sasl.CheckPassword, _session: Any) -> bool:
        """Plain on purpose: it computes for some 25 ms, in a thread."""
        return self.file.check_password(question.user, question.password)

    def find_keys(self, question: sasl.FindKeys, _session: Any) -> ScramKeys | None:
        """Plain on purpose: it may read the file."""
        return self.file.find_keys(question.user)


def auth_mechanism(actual_name: str) -> Callable[[_Function], _Function]:
    """Give an ``auth_`` method the name of a mechanism that no method can have, such as one with a hyphen.

    ``ValueError`` when it is no name of RFC 4422 §3.1.
    """
    name = actual_name.upper()
    if not _MECHANISM.fullmatch(name):
        raise ValueError(f"Invalid AUTH mechanism name: {actual_name}")

    def decorate(function: _Function) -> _Function:
        function.__auth_mechanism_name__ = name  # type: ignore[attr-defined]
        return function

    return decorate


def mechanism_name(method_name: str, function: object) -> str | None:
    """The mechanism that a method serves: the decorator's name, or ``auth_A__B`` for A-B; None when it is none."""
    if not method_name.startswith(_PREFIX) or not callable(function):
        return None
    given: str | None = getattr(function, "__auth_mechanism_name__", None)
    if given is not None:
        return given
    name = method_name.removeprefix(_PREFIX).replace("__", "-")
    return name if _MECHANISM.fullmatch(name) else None
