"""SASL (RFC 4422), the server's side, without I/O.  ``exchange`` says how it is driven.

    exchange   questions, answers, outcomes: what all mechanisms share
    plain      PLAIN, LOGIN
    cram       CRAM-MD5
    scram      SCRAM-SHA-256, SCRAM-SHA-256-PLUS
    oauth      OAUTHBEARER, XOAUTH2
    external   EXTERNAL
    gs2        the header that SCRAM and OAUTHBEARER share
    suite      all of them, in order

Owns the octets of each mechanism.  Refuses to know base64 (but within SCRAM), replies and lines, who the users are,
and how long anything takes: what may have to wait is a question to the caller.

The names of the package are there when one is first asked for: a server without users starts the sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ehlo.protocol.sasl.suite import (
        ITERATIONS_DEFAULT,
        MECHANISMS,
        SCRAM_SHA_256_PLUS,
        AuthenticationFailed,
        Authorize,
        Challenge,
        CheckDigest,
        CheckPassword,
        CheckToken,
        Context,
        Exchange,
        Failure,
        FindKeys,
        IdentifyPeer,
        Identity,
        MalformedResponse,
        Mechanism,
        Question,
        Step,
        Success,
        offered,
    )

__all__ = [
    "ITERATIONS_DEFAULT",
    "MECHANISMS",
    "SCRAM_SHA_256_PLUS",
    "AuthenticationFailed",
    "Authorize",
    "Challenge",
    "CheckDigest",
    "CheckPassword",
    "CheckToken",
    "Context",
    "Exchange",
    "Failure",
    "FindKeys",
    "IdentifyPeer",
    "Identity",
    "MalformedResponse",
    "Mechanism",
    "Question",
    "Step",
    "Success",
    "offered",
]


def __getattr__(name: str) -> Any:
    """Take a name from ``suite`` (PEP 562: called for one that is not there yet)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ehlo.protocol.sasl import suite  # noqa: PLC0415 - see the module's text

    globals().update({each: getattr(suite, each) for each in __all__})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
