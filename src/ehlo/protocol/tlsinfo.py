"""What a session may know of its TLS. A plain record: does not know sockets or contexts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """Facts of one TLS connection, fixed at the end of its handshake.

    ``version`` is ``"TLSv1.3"``; ``cipher`` the name of the suite; ``bits`` its secret bits.  ``server_name`` is the
    name that the client asked for (SNI, RFC 6066 §3), None if it did not.  ``peer_certificate`` is the client's
    verified certificate in the shape of ``ssl.SSLSocket.getpeercert()``, None if it sent none;
    ``peer_certificate_der`` the same in DER.  ``channel_bindings`` maps names of RFC 5929 to their octets.
    """

    version: str
    cipher: str
    bits: int
    server_name: str | None = None
    alpn: str | None = None
    peer_certificate: Mapping[str, Any] | None = None
    peer_certificate_der: bytes | None = field(default=None, repr=False)
    channel_bindings: Mapping[str, bytes] = field(default_factory=dict, repr=False)
