from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.protocol.saslprep import saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013 §3.
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        # Spaces, letters in one or two characters, what is mapped to nothing.
        ("a\u00a0b", "a b"),
        ("a\u3000b", "a b"),
        ("a\u200bb", "a b"),
        ("u\u0308", "ü"),
        ("\u00ad", ""),
        ("", ""),
        ("süß €", "süß €"),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
    ],
)
def test_text_is_prepared(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared
    assert saslprep(text, is_stored=True) == prepared


@pytest.mark.parametrize(
    "text",
    [
        # RFC 4013 §3.
        "\x07",
        "\u0627\u0031",
        # One of each table that RFC 4013 §2.3 prohibits.
        "\t",
        "\x7f",
        "\u0085",
        "\u2028",
        "\ue000",
        "\ufdd0",
        chr(0xD800),
        "\ufffd",
        "\u2ff0",
        "\u200e",
        "\U000e0001",
        # Right-to-left text with others around or in it.
        "\u0627a\u0628",
        "1\u0627",
    ],
)
def test_what_is_prohibited_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="character") as caught:
        saslprep("secret" + text if text.isascii() else text)
    assert "secret" not in str(caught.value)


def test_what_unicode_3_2_does_not_know_is_refused_in_stored_text_only() -> None:
    assert saslprep("pass\U0001f600") == "pass\U0001f600"
    with pytest.raises(ValueError, match=r"Unicode 3\.2"):
        saslprep("pass\U0001f600", is_stored=True)


@given(text=st.text())
def test_text_that_is_prepared_stays_as_it_is(text: str) -> None:
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    assert saslprep(prepared) == prepared


@given(text=st.text(st.characters(codec="ascii")))
def test_ascii_is_kept_or_refused(text: str) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        with pytest.raises(ValueError, match="control"):
            saslprep(text)
    else:
        assert saslprep(text) == text
