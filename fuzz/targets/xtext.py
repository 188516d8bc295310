"""xtext and unitext: what is encoded comes back, and what is no encoding is a ValueError."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehlo.protocol.xtext import (
    decode_utf8_addr,
    decode_xtext,
    encode_utf8_addr_unitext,
    encode_utf8_addr_xtext,
    encode_xtext,
)
from fuzz.checks import as_text, require

if TYPE_CHECKING:
    from collections.abc import Callable


def fuzz_xtext(data: bytes) -> None:
    """As an encoding, and as what is to be encoded."""
    text = as_text(data)
    if text is None:
        return
    for encode, decode in (
        (encode_xtext, decode_xtext),
        (encode_utf8_addr_xtext, decode_utf8_addr),
        (encode_utf8_addr_unitext, decode_utf8_addr),
    ):
        _there_and_back(encode, decode, text)
        try:
            decoded = decode(text)
        except ValueError:
            continue
        _there_and_back(encode, decode, decoded)


def _there_and_back(encode: Callable[[str], str], decode: Callable[[str], str], text: str) -> None:
    try:
        encoded = encode(text)
    except ValueError:
        return
    require(not set(encoded) & set(" =\r\n\0"), f"no esmtp-value: {encoded!r}")
    require(encode is encode_utf8_addr_unitext or encoded.isascii(), "not ASCII")
    require(decode(encoded) == text, f"{text!r} does not come back")
