"""What an image is by its first octets.  Nothing is decoded here: that is the browser's work, and in its sandbox.

A picture of 200 octets may ask a browser for gigabytes, so its measures are looked at before it is put into a page.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

PIXELS_LIMIT = 50_000_000
SIDE_LIMIT = 20_000


class Image(NamedTuple):
    """Its media type, and its measures in pixels."""

    media_type: str
    width: int
    height: int

    @property
    def is_harmless(self) -> bool:
        """Whether it takes no more memory than pictures do."""
        return max(self.width, self.height) <= SIDE_LIMIT and self.width * self.height <= PIXELS_LIMIT


def identify(data: bytes) -> Image | None:
    """A PNG, GIF, JPEG, WebP or BMP; None for anything else, SVG among it, which is a program."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return Image("image/png", *struct.unpack_from(">II", data, 16))
        if data[:6] in {b"GIF87a", b"GIF89a"}:
            return Image("image/gif", *struct.unpack_from("<HH", data, 6))
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            return Image("image/bmp", abs(width), abs(height))
    except struct.error:
        return None
    return None


def _jpeg(data: bytes) -> Image | None:
    """ITU T.81 Annex B: segments, each with its length, up to the first frame header."""
    position = 2
    while data[position] == 0xFF if position < len(data) else False:
        marker = data[position + 1] if position + 1 < len(data) else 0
        if marker == 0xFF:
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return Image("image/jpeg", width, height)
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return None


def _webp(data: bytes) -> Image | None:
    """The WebP container: lossy, lossless or extended (RFC 9649 §2.5 to §2.7)."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return Image("image/webp", width, height)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Image("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Image("image/webp", width & 0x3FFF, height & 0x3FFF)
    return None
