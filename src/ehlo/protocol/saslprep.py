"""SASLprep (RFC 4013): user names and passwords in the one form in which they are compared.

Knows Unicode characters; does not know octets, mechanisms or who presents the text.

RFC 8265 has replaced SASLprep, but PLAIN (RFC 4616), SCRAM (RFC 5802, 7677) and SMTP's AUTH (RFC 4954 §4) name it,
so this is the form that clients compute their proofs with.  Everything is that of Unicode 3.2, as RFC 3454 wants it,
so a password has the same form under every version of Python.
"""

from __future__ import annotations

import stringprep
import unicodedata

# RFC 4013 §2.3, without C.1.2: the mapping leaves none of it over, and nothing normalises to it.
_PROHIBITED = (
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str, *, is_stored: bool = False) -> str:
    """Prepare a user name or a password for comparison; what comes out may be empty.

    ``is_stored`` is for text that goes into a database: characters that Unicode 3.2 does not know (emoji, most scripts
    added since 2002) are refused there and allowed in what a client presents (RFC 3454 §7).

    ValueError if the text holds what RFC 4013 prohibits: control and private characters, for instance, or
    right-to-left text that is not right-to-left at both ends.  The message never quotes the text.
    """
    if text.isascii():
        # The common case: nothing to map, and only the control characters are prohibited.
        if not text.isprintable():
            raise ValueError("control character")
        return text
    mapped = "".join(map(_map, text))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)  # RFC 4013 §2.2
    # One U+FDFA becomes eighteen characters, and a client may send hundreds: each is looked up once.
    characters = set(prepared)
    if any(is_in_table(character) for is_in_table in _PROHIBITED for character in characters):
        raise ValueError("prohibited character")
    if is_stored and any(map(stringprep.in_table_a1, characters)):
        raise ValueError("character that Unicode 3.2 does not assign")
    _check_direction(prepared)
    return prepared


def _map(character: str) -> str:
    """The mapping of RFC 4013 §2.1: strange spaces to SPACE, soft hyphens and their like to nothing.

    U+200B is in both tables; GNU libidn and PostgreSQL make a SPACE of it too.
    """
    if stringprep.in_table_c12(character):
        return " "
    return "" if stringprep.in_table_b1(character) else character


def _check_direction(prepared: str) -> None:
    """Raise ValueError for text that RFC 3454 §6 calls ambiguous: right-to-left mixed with left-to-right."""
    characters = set(prepared)
    if not any(map(stringprep.in_table_d1, characters)):
        return
    is_right_to_left_at_both_ends = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
    if any(map(stringprep.in_table_d2, characters)) or not is_right_to_left_at_both_ends:
        raise ValueError("right-to-left characters among others")
