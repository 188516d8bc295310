from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.web.images import Image, identify
from tests.inbox.web.support import PNG

JPEG = b"\xff\xd8" + b"\xff\xe0\x00\x04xx" + b"\xff\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 30, 40) + bytes(4)
SAMPLES = {
    "png": (PNG, Image("image/png", 1, 1)),
    "gif": (b"GIF89a" + struct.pack("<HH", 3, 4), Image("image/gif", 3, 4)),
    "jpeg": (JPEG, Image("image/jpeg", 40, 30)),
    "bmp": (b"BM" + bytes(16) + struct.pack("<ii", 5, -6), Image("image/bmp", 5, 6)),
    "webp": (b"RIFF....WEBPVP8 " + bytes(10) + struct.pack("<HH", 7, 8), Image("image/webp", 7, 8)),
    "webp lossless": (b"RIFF....WEBPVP8L" + bytes(5) + struct.pack("<I", 8 | 9 << 14), Image("image/webp", 9, 10)),
    "webp extended": (b"RIFF....WEBPVP8X" + bytes(8) + b"\x0a\0\0\x0b\0\0", Image("image/webp", 11, 12)),
}


@pytest.mark.parametrize(("data", "image"), SAMPLES.values(), ids=SAMPLES)
def test_an_image_is_known_by_its_first_octets(data: bytes, image: Image) -> None:
    assert identify(data) == image


@pytest.mark.parametrize("data", [data for data, _ in SAMPLES.values()], ids=SAMPLES)
def test_one_that_is_cut_short_is_none(data: bytes) -> None:
    assert identify(data[:12]) is None or len(data) < 12 or data.startswith(b"GIF")
    for end in range(len(data)):
        identify(data[:end])


@pytest.mark.parametrize(
    "data",
    [b"", b"<svg xmlns=''>", b"%PDF-1.7", b"\xff\xd8\xff\xd9", b"RIFF....WAVE", b"\xff\xd8" + b"\xff\xe0\x00\x00" * 9],
)
def test_what_is_no_image_or_none_of_these_is_none(data: bytes) -> None:
    assert identify(data) is None


@given(st.sampled_from([data for data, _ in SAMPLES.values()]), st.binary(max_size=40), st.integers(0, 30))
def test_octets_are_never_too_strange(sample: bytes, noise: bytes, at: int) -> None:
    identify(sample[:at] + noise)


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(5000, 5000, True), (20_001, 1, False), (10_000, 10_000, False), (0, 0, True)]
)
def test_measures_decide_whether_it_is_harmless(width: int, height: int, *, expected: bool) -> None:
    assert Image("image/png", width, height).is_harmless is expected
