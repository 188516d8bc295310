"""xtext (RFC 3461 §4) and unitext (RFC 6533 §3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.protocol.xtext import (
    decode_utf8_addr,
    decode_xtext,
    encode_utf8_addr_unitext,
    encode_utf8_addr_xtext,
    encode_xtext,
)

# What RFC 6533 §3 has no HEXPOINT for.
UNWRITABLE = [0x00, *range(0x0A, 0x10), *range(0x1A, 0x20)]
MUST_BE_EMBEDDED = [*range(0x01, 0x0A), *range(0x10, 0x1A), 0x20, 0x2B, 0x3D, 0x5C, 0x7F]

any_text = st.text(st.characters(codec="utf-8"), max_size=60)
address_text = st.text(
    st.characters(codec="utf-8", exclude_characters=[chr(n) for n in UNWRITABLE]), min_size=1, max_size=60
)


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        ("", ""),
        ("QQ314159", "QQ314159"),
        ("e+3Dmc2@example.com", "e=mc2@example.com"),  # RFC 4954 §5.1
        ("a+20b", "a b"),
        ("+2B", "+"),
        ("+41", "A"),  # "A CHAR in this range MAY instead be encoded as a hexchar"
        ("user+2btag@a.example", "user+tag@a.example"),  # as Exim 4.96 writes it
        ("+C3+A9", "é"),
        ("+00", "\0"),
        ("!~", "!~"),
    ],
)
def test_xtext_decodes(encoded: str, text: str) -> None:
    assert decode_xtext(encoded) == text


@pytest.mark.parametrize(
    "bad",
    ["+", "+4", "a+4", "+4G", "+G4", "+ 4", "++2B", "=", "a=b", " ", "a b", "\t", "\0", "\x7f", "a\n", "é", "+٤١"],
)
def test_what_is_no_xtext_is_a_value_error(bad: str) -> None:
    with pytest.raises(ValueError, match="no xtext"):
        decode_xtext(bad)


@pytest.mark.parametrize("bad", ["+C3", "+FF", "+C0+80", "+ED+A0+80", "+C3A9"])
def test_xtext_whose_octets_are_not_utf8_is_a_value_error(bad: str) -> None:
    with pytest.raises(ValueError, match="utf-8"):
        decode_xtext(bad)


@pytest.mark.parametrize("code", range(0x80))
def test_every_ascii_character_that_is_no_xchar_is_encoded(code: int) -> None:
    is_xchar = 33 <= code <= 126 and code not in b"+="
    assert encode_xtext(chr(code)) == (chr(code) if is_xchar else f"+{code:02X}")


@given(any_text)
def test_xtext_round_trips(text: str) -> None:
    encoded = encode_xtext(text)
    assert encoded.isascii()
    assert decode_xtext(encoded) == text


@given(st.text(max_size=60))
def test_decoding_raises_nothing_but_value_error(text: str) -> None:
    for decode in (decode_xtext, decode_utf8_addr):
        try:
            decode(text)
        except ValueError:
            continue


def test_encoding_a_surrogate_is_a_value_error() -> None:
    for encode in (encode_xtext, encode_utf8_addr_xtext, encode_utf8_addr_unitext):
        with pytest.raises(ValueError, match=r"surrogate|unitext"):
            encode("a\udc80")


@pytest.mark.parametrize(
    ("encoded", "address"),
    [
        ("bob@example.com", "bob@example.com"),
        (r"user\x{2B}tag@example.com", "user+tag@example.com"),
        (r"user\x{2b}tag@example.com", "user+tag@example.com"),  # ABNF strings match in either case
        (r"\x{5C}", "\\"),
        (r"\x{20}\x{3D}\x{7F}", " =\x7f"),
        (r"\x{01}\x{09}\x{10}\x{11}\x{19}", "\x01\x09\x10\x11\x19"),
        (r"\x{80}\x{FF}", "\x80\xff"),
        (r"\x{E9}@\x{4E2D}\x{6587}", "é@中文"),
        (r"\x{100}\x{FFF}\x{1000}\x{D7FF}\x{E000}\x{FFFF}", "\u0100\u0fff\u1000\ud7ff\ue000\uffff"),
        (r"\x{10000}\x{FFFFF}\x{100000}\x{10FFFF}", "\U00010000\U000fffff\U00100000\U0010ffff"),
        ("é@中文", "é@中文"),
        (r"é\x{E9}", "éé"),
    ],
)
def test_unitext_decodes(encoded: str, address: str) -> None:
    assert decode_utf8_addr(encoded) == address


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a+b",
        "a=b",
        "a b",
        "a\\b",
        "a\n",
        "\x7f",
        "a\udc80",
        r"\x{}",
        r"\x{2}",
        r"\x{41}",  # ASCII that needs no escape has none
        r"\x{00}",
        r"\x{0A}",
        r"\x{0D}",
        r"\x{1F}",
        r"\x{02B}",
        r"\x{0E9}",
        r"\x{D800}",
        r"\x{DFFF}",
        r"\x{110000}",
        r"\x{10FFFFF}",
        r"\x{ E9}",
        r"\X{E9}",
        r"\x{E9",
        r"\xE9",
        r"\u00E9",
    ],
)
def test_what_is_no_unitext_is_a_value_error(bad: str) -> None:
    with pytest.raises(ValueError, match="no unitext"):
        decode_utf8_addr(bad)


@pytest.mark.parametrize("code", range(0x80))
def test_every_ascii_character_that_must_be_embedded_is(code: int) -> None:
    character = chr(code)
    for encode in (encode_utf8_addr_xtext, encode_utf8_addr_unitext):
        if code in UNWRITABLE:
            with pytest.raises(ValueError, match="unitext"):
                encode(character)
        else:
            assert encode(character) == (f"\\x{{{code:02X}}}" if code in MUST_BE_EMBEDDED else character)


def test_an_empty_address_has_no_unitext() -> None:
    for encode in (encode_utf8_addr_xtext, encode_utf8_addr_unitext):
        with pytest.raises(ValueError, match="unitext"):
            encode("")


@given(address_text)
def test_both_forms_of_unitext_round_trip_and_one_is_ascii(address: str) -> None:
    seven_bit = encode_utf8_addr_xtext(address)
    assert seven_bit.isascii()
    assert decode_utf8_addr(seven_bit) == address
    assert decode_utf8_addr(encode_utf8_addr_unitext(address)) == address
