"""All of the package: every mechanism, in the order in which it is offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ehlo.protocol.credentials import ITERATIONS_DEFAULT
from ehlo.protocol.sasl.cram import CRAM_MD5
from ehlo.protocol.sasl.exchange import (
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
)
from ehlo.protocol.sasl.external import EXTERNAL
from ehlo.protocol.sasl.oauth import OAUTHBEARER, XOAUTH2
from ehlo.protocol.sasl.plain import LOGIN, PLAIN
from ehlo.protocol.sasl.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS

if TYPE_CHECKING:
    from collections.abc import Container

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

# By name, strongest first: some clients take the first that they know.
MECHANISMS: Final = {
    mechanism.name: mechanism
    for mechanism in (
        EXTERNAL,
        SCRAM_SHA_256_PLUS,
        SCRAM_SHA_256,
        OAUTHBEARER,
        XOAUTH2,
        CRAM_MD5,
        PLAIN,
        LOGIN,
    )
}


def offered(answerable: Container[type[Question]], context: Context) -> list[str]:
    """The names of the mechanisms that can be honoured: the question each needs is answerable, -PLUS has a binding.

    EXTERNAL is among them if IdentifyPeer is answerable, which the caller knows by connection.  Whether mechanisms that
    are ``is_plaintext`` may be used here is the caller's decision too.
    """
    return [
        mechanism.name
        for mechanism in MECHANISMS.values()
        if mechanism.needs in answerable and (context.channel_bindings or not mechanism.binds_channel)
    ]
