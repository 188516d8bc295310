from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.mime.charsets import decode_text, is_charset, is_known, maybe_codec


def test_text_is_decoded_by_what_it_says_or_what_it_is() -> None:
    assert decode_text(b"caf\xe9", "iso-8859-1") == "café"
    assert decode_text(b"caf\xe9", "no-such-charset") == "café"
    assert decode_text(b"caf\xc3\xa9", "ascii") == "café"
    assert decode_text(b"caf\xc3\xa9", "us-ascii") == "café"
    assert decode_text(b"\xff\xfe", "utf-8") == "ÿþ"
    assert decode_text(b"caf\xc3", "utf-8", is_cut=True) == "caf"
    assert decode_text(b"\x81\xff", None) == "\x81ÿ"
    assert decode_text(b"a", "base64") == decode_text(b"a", "punycode") == decode_text(b"a", "a\0b") == "a"
    assert decode_text("é".encode("utf-16"), "utf-16") == "é"


@given(
    st.binary(max_size=100),
    st.sampled_from(["utf-8", "utf-16", "cp1252", "iso-2022-jp", "gb18030", "x", "hz", "utf-32"]),
)
def test_any_octets_are_text_that_can_be_stored(data: bytes, charset: str) -> None:
    decode_text(data, charset).encode("utf-8")


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("iso-8859-8-i", b"\xf9\xec\xe5\xed", "שלום"),
        ("ISO_8859-8-E", b"\xf9\xec\xe5\xed", "שלום"),
        ("windows-31j", b"\x87\x40", "①"),
        ("Shift_JIS", b"\x87\x40", "①"),  # of NEC: the register has it not, senders do
        ("windows-874", b"\xa1", "ก"),
        ("x-mac-cyrillic", b"\x80", "А"),
        ("x-mac-ce", b"\x8a", "ä"),
        ("ks_c_5601-1987", b"\x8c\x63", "똠"),
        ("gb2312", b"\x95\x79", "晊"),
        ("unicode-1-1-utf-8", "é".encode(), "é"),
        ("iso88591", b"\xe9", "é"),
        ("cp51932", b"\xa4\xa2", "あ"),
    ],
)
def test_a_name_that_python_lacks_is_decoded_by_the_nearest_codec(name: str, data: bytes, text: str) -> None:
    assert decode_text(data, name) == text
    assert is_known(name)


@pytest.mark.parametrize(
    "name",
    [
        "utf-8",
        "us-ascii",
        "ansi_x3.110-1983",
        "UTF-7",
        "iso-2022-cn",
        "IBM290",
        "EBCDIC-US",
        "csISO99NAPLPS",
        "CCSID01140",
    ],
)
def test_a_registered_name_is_known(name: str) -> None:
    assert is_known(name)


@pytest.mark.parametrize("name", ["utf-8-sig-x", "utf8mb4", "unicode-escape", "zlib", "", "a\0b", "x" * 500, "none"])
def test_a_name_that_nobody_registered_is_not(name: str) -> None:
    assert not is_known(name)
    assert not is_charset(name)


def test_what_has_no_codec_is_known_and_not_decoded() -> None:
    assert maybe_codec("viscii") is None
    assert maybe_codec("utf-7") is None
