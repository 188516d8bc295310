"""CRAM-MD5 (RFC 2195): the client proves that it knows the password by a digest of our challenge.

The password does not cross the wire, but the server needs it as the client has it, so it cannot be stored as keys.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ehlo.protocol.sasl.exchange import (
    AuthenticationFailed,
    Challenge,
    CheckDigest,
    Context,
    MalformedResponse,
    Mechanism,
    authorize,
    read_name,
)

if TYPE_CHECKING:
    from ehlo.protocol.sasl.exchange import Script

RANDOM_OCTETS: Final = 18

# RFC 2195 §2: the user name, a space, and the digest in lower-case hexadecimal.  A name may hold spaces itself.
_RESPONSE = re.compile(rb"(?P<user>.*) (?P<digest>[0-9a-f]{32})", re.DOTALL)


class UnexpectedInitialResponse(MalformedResponse):
    """An initial response to a mechanism in which the server speaks first: 501, "SHOULD" 5.7.0 (RFC 4954 §4)."""

    enhanced = "5.7.0"


def _cram_md5(context: Context, response: bytes | None) -> Script:
    if response is not None:
        raise UnexpectedInitialResponse("CRAM-MD5 has no initial response")
    # RFC 2195 §2 wants the syntax of a msg-id, from random digits, a time stamp and our name.  That it never comes
    # again is the point, and random octets see to it without a clock.
    challenge = f"<{context.random_text(RANDOM_OCTETS)}@{context.hostname}>".encode()
    answer: bytes = yield Challenge(challenge)
    match = _RESPONSE.fullmatch(answer)
    if match is None:
        raise MalformedResponse("no user name and digest")
    user = read_name(match["user"])
    is_proof: bool = yield CheckDigest(user, challenge, match["digest"])
    if not is_proof:
        raise AuthenticationFailed("wrong user name or password")
    return (yield from authorize(user, ""))


CRAM_MD5 = Mechanism("CRAM-MD5", CheckDigest, _cram_md5)
