"""OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's): the client sends a token that somebody else issued.

Whether the token is good is for the caller to find out; here it is octets between octets.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ehlo.protocol.sasl.exchange import (
    AuthenticationFailed,
    Challenge,
    CheckToken,
    Context,
    MalformedResponse,
    Mechanism,
    authorize,
    read_name,
)
from ehlo.protocol.sasl.gs2 import read_gs2_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ehlo.protocol.sasl.exchange import Script

# RFC 7628 §3.1:
#   kvsep       = %x01
#   key         = 1*(ALPHA)
#   value       = *(VCHAR / SP / HTAB / CR / LF )
#   kvpair      = key "=" value kvsep
#   client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep
_KVPAIRS = re.compile(rb"\x01(?:[A-Za-z]+=[\x20-\x7e\t\r\n]*\x01)*\x01")
# Google's description: "user=" {User} "^Aauth=Bearer " {Access Token} "^A^A"
_XOAUTH2 = re.compile(rb"user=(?P<user>[^\x01]+)\x01auth=(?P<auth>[\x20-\x7e]+)\x01\x01")
# RFC 6750 §2.1:
#   b64token    = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
#   credentials = "Bearer" 1*SP b64token
# The scheme is matched in any case (RFC 7628 §3.1); issuers are not held to b64token.
_BEARER = re.compile(rb"(?i:Bearer) +(?P<token>[\x21-\x7e]+)")


def _oauthbearer(context: Context, response: bytes | None) -> Script:
    if response is None:
        response = yield Challenge(b"")
    header = read_gs2_header(response)
    if header.flag == "p":
        raise MalformedResponse("channel binding without -PLUS")
    pairs = response[len(header.octets) :]
    if not _KVPAIRS.fullmatch(pairs):
        raise MalformedResponse("no key/value pairs")
    # "host", "port" and the rest are for OAuth 1.0a's signatures.
    auths = [pair[len(b"auth=") :] for pair in pairs.split(b"\x01") if pair.startswith(b"auth=")]
    if len(auths) != 1:
        raise MalformedResponse("not one auth")
    complaint = {
        "status": "invalid_token",
        "scope": context.oauth_scope,
        "openid-configuration": context.openid_configuration,
    }
    return (yield from _check(header.authzid, auths[0], complaint))


def _xoauth2(context: Context, response: bytes | None) -> Script:
    if response is None:
        response = yield Challenge(b"")
    match = _XOAUTH2.fullmatch(response)
    if match is None:
        raise MalformedResponse("no user and auth")
    complaint = {"status": "401", "schemes": "bearer", "scope": context.oauth_scope}
    return (yield from _check(read_name(match["user"]), match["auth"], complaint))


def _check(user: str, auth: bytes, complaint: Mapping[str, str]) -> Script:
    answer: bool | str = False
    # RFC 7628 §4.3: a client may send an empty auth to be told where to get a token.
    if match := _BEARER.fullmatch(auth):
        answer = yield CheckToken(user, match["token"].decode())
    authcid = user if answer is True else answer
    if not authcid:
        yield _refusal(complaint)
        raise AuthenticationFailed("token refused")
    return (yield from authorize(authcid, user))


def _refusal(complaint: Mapping[str, str]) -> Challenge:
    """Why, in JSON; the client answers %x01 (RFC 7628 §3.2.3) or nothing (XOAUTH2), and anything else will do too."""
    return Challenge(json.dumps({key: value for key, value in complaint.items() if value}).encode())


OAUTHBEARER = Mechanism("OAUTHBEARER", CheckToken, _oauthbearer, is_plaintext=True)
XOAUTH2 = Mechanism("XOAUTH2", CheckToken, _xoauth2, is_plaintext=True)
