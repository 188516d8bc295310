"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): each side proves to the other that it knows the password.

The server has keys only.  With -PLUS the proof covers a channel binding too, so it is worth nothing to a man in the
middle of the TLS connection (RFC 5056; which data bind is the caller's knowledge: RFC 5929, RFC 9266).

A failure ends with 535 and without a server-final-message, which RFC 5802 §7 leaves to the server.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from ehlo.protocol.credentials import KEY_OCTETS, fake_keys
from ehlo.protocol.sasl.exchange import (
    AuthenticationFailed,
    Challenge,
    Context,
    FindKeys,
    MalformedResponse,
    Mechanism,
    authorize,
)
from ehlo.protocol.sasl.gs2 import SASLNAME, GS2Header, read_gs2_header, read_saslname

if TYPE_CHECKING:
    from ehlo.protocol.credentials import ScramKeys
    from ehlo.protocol.sasl.exchange import Script

NONCE_OCTETS: Final = 18

# RFC 5802 §7:
#   client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]
#   client-final-message      = channel-binding "," nonce ["," extensions] "," proof
#   username                  = "n=" saslname
#   nonce                     = "r=" c-nonce [s-nonce]        ;; 1*(%x21-2B / %x2D-7E)
#   channel-binding           = "c=" base64
#   proof                     = "p=" base64
#   extensions                = attr-val *("," attr-val)      ;; ALPHA "=" 1*value-char
# reserved-mext is "m=", whose presence must fail the exchange (§5.1), so no pattern has a place for it.  Other
# extensions are ignored.  A client's nonce has no limit there; ours keeps our own message within a line.
_NONCE = rb"r=(?P<nonce>[\x21-\x2b\x2d-\x7e]{1,1024})"
_EXTENSIONS = rb"(?:,[A-Za-ln-z]=[^\0,]+)*"
_CLIENT_FIRST_BARE = re.compile(rb"n=(?P<user>" + SASLNAME + rb")," + _NONCE + _EXTENSIONS)
_CLIENT_FINAL = re.compile(
    rb"(?P<without_proof>c=(?P<binding>[A-Za-z0-9+/=]+)," + _NONCE + _EXTENSIONS + rb"),p=(?P<proof>[A-Za-z0-9+/=]+)"
)


def _scram_sha_256(context: Context, response: bytes | None) -> Script:
    if response is None:
        response = yield Challenge(b"")
    header = read_gs2_header(response)
    if header.flag == "p":
        raise MalformedResponse("channel binding without -PLUS")
    if header.flag == "y" and context.channel_bindings:
        # RFC 5802 §6: the client could have bound the channel and believes that we could not.
        raise AuthenticationFailed("downgrade: the client did not see that -PLUS is offered")
    return (yield from _scram(context, response, header, b""))


def _scram_sha_256_plus(context: Context, response: bytes | None) -> Script:
    if response is None:
        response = yield Challenge(b"")
    header = read_gs2_header(response)
    if header.flag != "p":
        raise MalformedResponse("-PLUS without channel binding")
    binding = context.channel_bindings.get(header.binding)
    if not binding:
        raise AuthenticationFailed("no such channel binding here")
    return (yield from _scram(context, response, header, binding))


def _scram(context: Context, client_first: bytes, header: GS2Header, binding: bytes) -> Script:
    client_first_bare = client_first[len(header.octets) :]
    match = _CLIENT_FIRST_BARE.fullmatch(client_first_bare)
    if match is None:
        raise MalformedResponse("no client-first-message")
    user = read_saslname(match["user"])
    maybe_keys: ScramKeys | None = yield FindKeys(user)
    keys = maybe_keys or fake_keys(user, context.fake_secret, context.scram_iterations)

    nonce = match["nonce"] + context.random_text(NONCE_OCTETS).encode()
    server_first = b"r=%b,s=%b,i=%d" % (nonce, _encode(keys.salt), keys.iterations)
    client_final: bytes = yield Challenge(server_first)
    match = _CLIENT_FINAL.fullmatch(client_final)
    if match is None:
        raise MalformedResponse("no client-final-message")

    # Everything is computed and compared before any of it is refused, so how long it took says nothing.
    auth_message = b",".join((client_first_bare, server_first, match["without_proof"]))
    is_right_nonce = hmac.compare_digest(match["nonce"], nonce)
    is_right_binding = hmac.compare_digest(_decode(match["binding"]), header.octets + binding)
    is_right_proof = _is_proof(_decode(match["proof"]), keys, auth_message)
    if not is_right_nonce:
        raise AuthenticationFailed("wrong nonce")
    if not is_right_binding:
        raise AuthenticationFailed("channel bindings do not match")
    if maybe_keys is None or not is_right_proof:
        raise AuthenticationFailed("wrong user name or password")
    identities = yield from authorize(user, header.authzid)

    # The server's proof goes in a challenge that the client answers with nothing: SMTP's 235 carries no data
    # (RFC 4954 §4, RFC 4422 §3.6).
    signature = hmac.digest(keys.server_key, auth_message, "sha256")
    if (yield Challenge(b"v=" + _encode(signature))):
        raise MalformedResponse("response to server-final-message is not empty")
    return identities


def _is_proof(proof: bytes, keys: ScramKeys, auth_message: bytes) -> bool:
    """Whether the client knows ClientKey.

    RFC 5802 §3:
        ClientSignature := HMAC(StoredKey, AuthMessage)
        ClientProof     := ClientKey XOR ClientSignature
    and StoredKey is H(ClientKey).
    """
    if len(proof) != KEY_OCTETS:
        raise MalformedResponse("proof of the wrong length")
    signature = hmac.digest(keys.stored_key, auth_message, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)


def _encode(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _decode(data: bytes) -> bytes:
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise MalformedResponse("bad base64") from None


SCRAM_SHA_256 = Mechanism("SCRAM-SHA-256", FindKeys, _scram_sha_256)
SCRAM_SHA_256_PLUS = Mechanism("SCRAM-SHA-256-PLUS", FindKeys, _scram_sha_256_plus, binds_channel=True)
