"""Most paths are taken apart without the header parser, and come out as it would have them."""

from __future__ import annotations

from email._header_value_parser import get_angle_addr
from email.errors import HeaderParseError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ehlo.compat.aiosmtpd._address import split_path


def by_the_header_parser(arg: str) -> tuple[str | None, str | None]:
    try:
        address, rest = get_angle_addr(arg)
    except HeaderParseError:
        return None, None
    return str(address.addr_spec), str(rest)


WORDS = st.text(st.sampled_from("ab1.-_=?+@!'{}"), max_size=8)


@given(WORDS, WORDS, st.sampled_from(["", " ", "  ", " SIZE=10", " A=(b) C", "SIZE=1", " (c) A=1", "\t"]))
@example("=?utf-8?q?x?=", "b", "")
@example("a", "b", " BODY=8BITMIME SIZE=10")
def test_a_plain_path_is_split_as_by_the_header_parser(local_part: str, domain: str, rest: str) -> None:
    path = f"<{local_part}@{domain}>{rest}"
    assert split_path(path) == by_the_header_parser(path)


@pytest.mark.parametrize(
    ("arg", "address"),
    [
        ("<>", "<>"),
        ("a@b", "a@b"),
        ("<a>", "a"),
        ("<a@b", "a@b"),
        ("<a b@c>", '"a b"@c'),
        ('<"a"@b>', "a@b"),
        ("<@x,@y:a@b>", "a@b"),
        ("(comment)a@b", "a@b"),
        ("<a@[127.0.0.1]>", "a@[127.0.0.1]"),
    ],
)
def test_what_headers_allow_is_an_address(arg: str, address: str) -> None:
    assert split_path(arg) == (address, "")


@pytest.mark.parametrize("arg", ["<@x>", "<a@>", "<a@b.>", "@"])
def test_what_headers_do_not_allow_is_none(arg: str) -> None:
    assert split_path(arg) == (None, None)
