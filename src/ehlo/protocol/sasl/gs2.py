"""The GS2 header (RFC 5801 §4), which opens SCRAM's and OAUTHBEARER's first message, and the names in it."""

from __future__ import annotations

import re
from typing import NamedTuple

from ehlo.protocol.sasl.exchange import MalformedResponse, read_name

# RFC 5802 §7:
#   saslname       = 1*(value-safe-char / "=2C" / "=3D")
#   value-safe-char = %x01-2B / %x2D-3C / %x3E-7F / UTF8-2 / UTF8-3 / UTF8-4
#                     ;; UTF8-char except NUL, "=", and ",".
#   authzid        = "a=" saslname
#   cb-name        = 1*(ALPHA / DIGIT / "." / "-")
#   gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
#   gs2-header     = gs2-cbind-flag "," [ authzid ] ","
# Whether the octets are UTF-8 is seen when the name is decoded.
SASLNAME = rb"(?:[^\0,=]|=2C|=3D)+"
GS2_HEADER = re.compile(rb"(?P<flag>[ny]|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>" + SASLNAME + rb"))?,")


class GS2Header(NamedTuple):
    """``octets`` as sent; flag ``n``, ``y`` or ``p``; with ``p`` the name of a channel binding; authzid or empty."""

    octets: bytes
    flag: str
    binding: str
    authzid: str


def read_gs2_header(message: bytes) -> GS2Header:
    """The header at the start of a message.  MalformedResponse if there is none; for the authzid see read_name."""
    match = GS2_HEADER.match(message)
    if match is None:
        raise MalformedResponse("no GS2 header")
    authzid = read_saslname(match["authzid"]) if match["authzid"] else ""
    return GS2Header(match[0], match["flag"][:1].decode(), (match["binding"] or b"").decode(), authzid)


def read_saslname(data: bytes) -> str:
    """The name that a ``saslname`` stands for, prepared; errors as in read_name."""
    return read_name(data.replace(b"=2C", b",").replace(b"=3D", b"="))
