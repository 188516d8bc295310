from __future__ import annotations

import re
from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.protocol import data as data_module
from ehlo.protocol.data import MailDataDecoder, has_bare_newline, normalize_newlines

# Octets that matter to the decoder, and one that does not.
octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\n.\n"])).map(b"".join)
contents = st.lists(st.sampled_from([b"", b".", b"..", b"x", b".x", b"x.", b"\t"])).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


def stuff(content: bytes) -> bytes:
    """What a client sends for a content that is empty or ends with CRLF (RFC 5321 §4.5.2)."""
    lines = content.split(b"\r\n")[:-1]
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def decode(pieces: list[bytes]) -> tuple[bytes, bytes | None, bool]:
    decoder = MailDataDecoder()
    content = b""
    rest: bytes | None = None
    for piece in pieces:
        if rest is None:
            content += decoder.feed(piece)
            rest = decoder.rest
        else:
            rest += piece
    return content, rest, decoder.has_bare_newline


@given(contents, st.binary(max_size=5))
def test_what_a_client_stuffs_comes_out_as_it_was(content: bytes, behind: bytes) -> None:
    assert decode([stuff(content) + behind]) == (content, behind, False)


@given(octets, st.lists(st.integers(0, 10_000), max_size=6))
def test_the_cut_does_not_matter(data: bytes, places: list[int]) -> None:
    assert decode(cut(data, places)) == decode([data])


@given(octets)
def test_one_octet_at_a_time_is_the_same(data: bytes) -> None:
    assert decode([data[i : i + 1] for i in range(len(data))]) == decode([data])


@given(octets, st.lists(st.integers(0, 10_000), max_size=3), st.integers(2, 4))
def test_many_dots_are_undone_as_a_few_are(data: bytes, places: list[int], few: int) -> None:
    pieces = cut(data, places)
    as_few = decode(pieces)
    with mock.patch.object(data_module, "_FEW", few):
        assert decode(pieces) == as_few


@given(octets)
def test_only_crlf_dot_crlf_ends_the_data(data: bytes) -> None:
    _, rest, _ = decode([data])
    end = re.search(rb"(\A|\r\n)\.\r\n", data)
    assert rest == (None if end is None else data[end.end() :])


@given(octets)
def test_nothing_is_lost_but_hidden_dots_and_the_end(data: bytes) -> None:
    content, rest, _ = decode([data + b"\r\n.\r\n"])
    assert rest is not None
    consumed = (data + b"\r\n.\r\n").removesuffix(rest) if rest else data + b"\r\n.\r\n"
    assert content == re.sub(rb"(\A|(?<=\r\n))\.", b"", consumed[: -len(b".\r\n")])


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n.\r\n", b"..\r\n"),
        (b".x\r\n.\r\n", b"x\r\n"),
        (b"x\r\n..\r\n.\r\n", b"x\r\n.\r\n"),
        (b"x.\r\n.\r\n", b"x.\r\n"),
        (b"\r\r\n.\r\n", b"\r\r\n"),
    ],
)
def test_small_messages(data: bytes, content: bytes) -> None:
    assert decode([data])[0] == content


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x"])).map(b"".join))
def test_a_bare_newline_is_one_without_its_other_half(piece: bytes) -> None:
    assert has_bare_newline(piece) == bool(re.search(rb"\r(?!\n)|(?<!\r)\n", piece))


@given(octets)
def test_normalized_content_has_no_bare_newline(piece: bytes) -> None:
    assert not has_bare_newline(normalize_newlines(piece))


def test_normalizing_leaves_the_other_octets_alone() -> None:
    assert normalize_newlines(b"a\rb\nc\r\nd\n\re") == b"a\r\nb\r\nc\r\nd\r\n\r\ne"


@given(octets, st.lists(st.integers(0, 10_000), max_size=6))
def test_a_bare_newline_is_seen_wherever_the_data_is_cut(data: bytes, places: list[int]) -> None:
    whole = data + b"\r\n.\r\n"
    _, rest, seen = decode(cut(whole, places))
    assert rest is not None
    assert seen == has_bare_newline(whole[: len(whole) - len(rest)])


# A client that doubles no dots


@given(contents, st.lists(st.integers(min_value=0)))
def test_a_dot_that_was_not_doubled_is_noticed_however_the_data_are_cut(content: bytes, places: list[int]) -> None:
    lines = [*content.split(b"\r\n")[:-1], b"."]
    before_end = lines[: lines.index(b".")]
    decoder = MailDataDecoder()
    for piece in cut(b"\r\n".join(lines) + b"\r\n", places):
        if decoder.rest is None:
            decoder.feed(piece)
    assert decoder.has_undoubled_dot is any(line[:1] == b"." != line[1:2] for line in before_end)


@pytest.mark.parametrize("data", [b"x\n.y\r\n.\r\n", b"x\r\n.\r\nNOOP\r\n.x\r\n", b".\r\n\n.x", b"..\r\n.\r\n"])
def test_other_dots_are_not_taken_for_one(data: bytes) -> None:
    decoder = MailDataDecoder()
    decoder.feed(data)
    assert decoder.rest is not None
    assert not decoder.has_undoubled_dot
