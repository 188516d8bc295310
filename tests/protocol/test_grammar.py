"""The patterns of grammar.py, character by character and number by number."""

from __future__ import annotations

import re
import string
import time

import pytest

from ehlo.protocol import grammar

ALPHA_DIGIT = set(string.ascii_letters + string.digits)
ATEXT = ALPHA_DIGIT | set("!#$%&'*+-/=?^_`{|}~")
VISIBLE = {chr(code) for code in range(33, 127)}

LATIN_1 = [chr(code) for code in range(256)]
BEYOND = [
    "\u0100",
    "\u2028",
    "\u3042",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\uffff",
    "\U00010000",
    "\U0001f4e7",
    "\U0010ffff",
]
SURROGATES = ["\ud800", "\udc80", "\udcff", "\udfff"]
CHARACTERS = LATIN_1 + BEYOND + SURROGATES

# RFC 6531's additions less the C1 controls.
UTF8 = {char for char in LATIN_1 if char >= "\xa0"} | set(BEYOND)


def accepted(pattern: re.Pattern[str], template: str) -> set[str]:
    """The characters that may stand where the template has a NUL."""
    return {char for char in CHARACTERS if pattern.fullmatch(template.replace("\0", char))}


@pytest.mark.parametrize(
    ("pattern", "template", "expected"),
    [
        pytest.param(grammar.DOMAIN, "\0", ALPHA_DIGIT | UTF8 | {"_"}, id="Let-dig alone"),
        pytest.param(grammar.DOMAIN, "\0b.c", ALPHA_DIGIT | UTF8 | {"_"}, id="first of a sub-domain"),
        pytest.param(grammar.DOMAIN, "b\0.c", ALPHA_DIGIT | UTF8 | {"_"}, id="last of a sub-domain"),
        pytest.param(grammar.DOMAIN, "b\0c", ALPHA_DIGIT | UTF8 | {"_", "-", "."}, id="within a Domain"),
        pytest.param(grammar.MAILBOX, "\0@b", ATEXT | UTF8, id="Atom"),
        pytest.param(grammar.MAILBOX, "a\0b@c", ATEXT | UTF8 | {"."}, id="within a Dot-string"),
        pytest.param(grammar.MAILBOX, '"\0"@b', (VISIBLE | UTF8 | {" "}) - {'"', "\\"}, id="qtextSMTP"),
        pytest.param(grammar.MAILBOX, '"\\\0"@b', VISIBLE | {" "}, id="quoted-pairSMTP"),
        pytest.param(grammar.ADDRESS_LITERAL, "[x:\0]", VISIBLE - set("[\\]"), id="dcontent"),
        pytest.param(grammar.ADDRESS_LITERAL, "[\0x:y]", ALPHA_DIGIT | {"-"}, id="first of a Standardized-tag"),
        pytest.param(grammar.ADDRESS_LITERAL, "[x\0:y]", ALPHA_DIGIT | {":"}, id="last of a Standardized-tag"),
        pytest.param(grammar.ESMTP_KEYWORD, "\0", ALPHA_DIGIT, id="first of an esmtp-keyword"),
        pytest.param(grammar.ESMTP_KEYWORD, "a\0", ALPHA_DIGIT | {"-"}, id="rest of an esmtp-keyword"),
        pytest.param(grammar.ESMTP_VALUE, "\0", (VISIBLE | UTF8) - {"="}, id="esmtp-value"),
        pytest.param(grammar.EHLO_KEYWORD, "\0", ALPHA_DIGIT, id="first of an ehlo-keyword"),
        pytest.param(grammar.EHLO_KEYWORD, "a\0", ALPHA_DIGIT | {"-"}, id="rest of an ehlo-keyword"),
        pytest.param(grammar.HELO_NAME, "\0", VISIBLE | UTF8, id="HELO name"),
        pytest.param(grammar.AFTER_PATH, " \0", VISIBLE | UTF8 | {" "}, id="after a path"),
        pytest.param(grammar.AFTER_PATH, " a\0b", VISIBLE | UTF8 | {" "}, id="within the parameters"),
        pytest.param(grammar.AFTER_PATH, "\0", {" "}, id="between path and parameters"),
    ],
)
def test_a_rule_takes_exactly_its_characters(pattern: re.Pattern[str], template: str, expected: set[str]) -> None:
    assert accepted(pattern, template) == expected


@pytest.mark.parametrize(
    "pattern",
    [
        grammar.DOMAIN,
        grammar.ADDRESS_LITERAL,
        grammar.MAILBOX,
        grammar.REVERSE_PATH,
        grammar.FORWARD_PATH,
        grammar.ORDINARY_MAIL,
        grammar.ORDINARY_RCPT,
        grammar.ESMTP_KEYWORD,
        grammar.ESMTP_VALUE,
        grammar.HELO_NAME,
    ],
)
def test_nothing_is_empty_but_what_follows_a_path(pattern: re.Pattern[str]) -> None:
    assert not pattern.fullmatch("")
    assert grammar.AFTER_PATH.fullmatch("")


def test_a_label_has_at_most_63_characters() -> None:
    assert grammar.DOMAIN.fullmatch("a" * 63)
    assert grammar.DOMAIN.fullmatch(f"b.{'a' * 63}.c")
    assert not grammar.DOMAIN.fullmatch("a" * 64)
    assert not grammar.DOMAIN.fullmatch(f"b.{'a' * 64}.c")


def test_a_u_label_is_measured_in_characters_since_its_a_label_counts() -> None:
    assert len("ü" * 40) < 63 < len(("ü" * 40).encode())
    assert len(("ü" * 40).encode("idna")) <= 63
    assert grammar.DOMAIN.fullmatch("ü" * 40)
    assert not grammar.DOMAIN.fullmatch("ü" * 64)


@pytest.mark.parametrize("label", ["-", "-a", "a-", "--", "a" * 62 + "-"])
def test_a_label_neither_begins_nor_ends_with_a_hyphen(label: str) -> None:
    assert not grammar.DOMAIN.fullmatch(label)
    assert not grammar.DOMAIN.fullmatch(f"x.{label}")
    assert not grammar.DOMAIN.fullmatch(f"{label}.x")


def test_hyphens_may_stand_together_within_a_label() -> None:
    assert grammar.DOMAIN.fullmatch("xn--bcher-kva.example")


def test_snum_is_0_to_255_in_one_to_three_digits() -> None:
    for width in (1, 2, 3, 4):
        for number in range(10**width):
            snum = f"{number:0{width}}"
            matches = grammar.ADDRESS_LITERAL.fullmatch(f"[{snum}.0.0.{snum}]") is not None
            assert matches == (width <= 3 and number <= 255), snum


@pytest.mark.parametrize(
    ("literal", "ipv6"),
    [
        ("[127.0.0.1]", None),
        ("[IPv6:::1]", "::1"),
        ("[ipv6:2001:db8::192.0.2.1]", "2001:db8::192.0.2.1"),
        ("[x-400:c=de;a=x@y>]", None),
        ("[2001:db8::1]", None),  # by the rules a tag "2001"
        ("[IPv4:1.2.3.4]", None),
        ("[IPv6x:1]", None),
    ],
)
def test_an_address_literal_shows_its_ipv6_address(literal: str, ipv6: str | None) -> None:
    match = grammar.ADDRESS_LITERAL.fullmatch(literal)
    assert match is not None
    assert match["ipv6"] == ipv6


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "[]",
        "[127.0.0]",
        "[127.0.0.1.1]",
        "[127.0.0.256]",
        "[127.0.0.1",
        "127.0.0.1]",
        "[ 127.0.0.1]",
        "[+1.2.3.4]",
        "[\u0661.2.3.4]",  # an Arabic digit one
        "[IPv6:]",
        "[IPv6:junk]",  # not by way of General-address-literal
        "[iPV6:fe80::1%eth0]",
        "[:x]",
        "[x:]",
        "[x-:y]",
        "[x]",
        "[::1]",
    ],
)
def test_anything_else_in_brackets_is_no_address_literal(text: str) -> None:
    assert not grammar.ADDRESS_LITERAL.fullmatch(text)


def test_literals_of_the_grammar_are_ascii_in_either_case() -> None:
    assert grammar.FORWARD_PATH.fullmatch("<pOSTMASTER>")
    assert not grammar.FORWARD_PATH.fullmatch("<po\u017ftmaster>")
    assert grammar.MAIL_OPENING.match("fRoM:<")
    assert grammar.RCPT_OPENING.match("tO:<")


PATTERNS = {name: pattern for name, pattern in vars(grammar).items() if isinstance(pattern, re.Pattern)}

N = 100_000
HOSTILE = {
    "a.a.a.": "a." * (N // 2),
    "a.a.a": "a." * (N // 2) + "a",
    "aaa": "a" * N,
    "a-a-": "a-" * (N // 2),
    "---": "-" * N,
    "...": "." * N,
    "(((": "(" * N,
    "<<<": "<" * N,
    ">>>": ">" * N,
    "@@@": "@" * N,
    "spaces": " " * N,
    "spaces and a control": " " * N + "\x01",
    "a a a and a control": "a " * (N // 2) + "\x01",
    "a   a   a and a control": ("a" + " " * 300) * (N // 300) + "\x01",
    "quotes": '"' * N,
    "open quote": '"' + "a" * N,
    "open quote, pairs": '"' + '\\"' * (N // 2),
    "open quote, backslashes": '"' + "\\" * N,
    "open quote, text and pairs": '"' + 'a\\"' * (N // 3),
    "@a,@a,": "@a," * (N // 3),
    "@a.a,@a.a,": "@a.a," * (N // 5),
    "@a,@a:": "@a," * (N // 3) + "@a:",
    "[[[": "[" * N,
    "[aaa": "[" + "a" * N,
    "[a:a:": "[" + "a:" * (N // 2),
    "[1.1.": "[" + "1." * (N // 2),
    "[IPv6:::::": "[IPv6:" + ":" * N,
    "colons": ":" * N,
    "beyond ASCII": "é" * N,
    "beyond ASCII, dots": "é." * (N // 2),
    "beyond the BMP": "\U0001f4e7." * (N // 2),
    "surrogates": "\udcff" * N,
}
FRAMES = [
    *("{}", "a@{}", "{}>"),
    *("<{}>", "<{}@b>", "<a@{}>", "<@{}:a@b>"),
    *("FROM:{}<", "FROM:<{}@b> x", "FROM:<a@{}> x", "FROM:<a@b> {}"),
]


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", PATTERNS)
def test_hostile_input_takes_linear_time(name: str, hostile: str) -> None:
    pattern = PATTERNS[name]
    start = time.process_time()
    for frame in FRAMES:
        pattern.fullmatch(frame.format(hostile))
    # Linear is a few ms for each; quadratic is 10**10 steps, half a minute at the least.
    assert time.process_time() - start < 1
