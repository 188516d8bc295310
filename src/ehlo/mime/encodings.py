"""Bodies without their Content-Transfer-Encoding, as far as they can be decoded.  Knows RFC 2045 §6 and no part."""

from __future__ import annotations

import binascii
import re


def decode_body(data: bytes, encoding: str) -> bytes:
    """A body without its Content-Transfer-Encoding; as it is for one that is not known."""
    if encoding == "base64":
        return decode_base64(data)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    return data


def decode_base64(data: bytes) -> bytes:
    """Whatever digits there are, decoded; what cannot be a digit is skipped, and a group may be incomplete."""
    try:
        return binascii.a2b_base64(data, strict_mode=False)
    except binascii.Error:
        digits = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
        if len(digits) % 4 == 1:
            digits = digits[:-1]
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
