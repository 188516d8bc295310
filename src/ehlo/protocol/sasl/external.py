"""EXTERNAL (RFC 4422, appendix A): the client is who the layer below says it is, by its certificate for instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehlo.protocol.sasl.exchange import (
    AuthenticationFailed,
    Challenge,
    Context,
    IdentifyPeer,
    Mechanism,
    authorize,
    read_name,
)

if TYPE_CHECKING:
    from ehlo.protocol.sasl.exchange import Script


def _external(_context: Context, response: bytes | None) -> Script:
    if response is None:
        response = yield Challenge(b"")
    # RFC 4422 §A.1:
    #   extern-initial-resp = external-authz-id
    #   external-authz-id   = *( UTF8-char-no-nul )
    # An empty one asks for the identity that goes with the credentials.
    authzid = read_name(response) if response else ""
    maybe_authcid: str | None = yield IdentifyPeer(authzid)
    if not maybe_authcid:
        raise AuthenticationFailed("the peer has no identity")
    return (yield from authorize(maybe_authcid, authzid))


EXTERNAL = Mechanism("EXTERNAL", IdentifyPeer, _external)
