from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.errors import CommandSyntaxError, LineTooLong, ProtocolError
from ehlo.protocol.framing import TRANSITIONS, Framer, Framing

LIMIT = 12
Events = list[bytes | type[ProtocolError]]

stream = st.lists(st.sampled_from([b"\r", b"\n", b"\0", b"x", b"y" * 5, b"\r\n", b"z" * 11 + b"\r\n"])).map(b"".join)


def lines(framer: Framer) -> Events:
    """All lines that are there, and errors by their type."""
    events: Events = []
    while True:
        try:
            line = framer.next_line(LIMIT)
        except ProtocolError as error:
            events.append(type(error))
        else:
            if line is None:
                return events
            events.append(line)


def feed(data: bytes, places: list[int]) -> Events:
    framer = Framer()
    events: Events = []
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    for start, end in pairwise(edges):
        framer.receive(data[start:end])
        events += lines(framer)
    return events


@given(stream, st.lists(st.integers(0, 10_000), max_size=8))
def test_the_cut_does_not_matter(data: bytes, places: list[int]) -> None:
    assert feed(data, places) == feed(data, [])


@given(stream)
def test_one_octet_at_a_time_is_the_same(data: bytes) -> None:
    assert feed(data, list(range(len(data)))) == feed(data, [])


@given(stream)
def test_between_two_crlf_there_is_one_event_at_most(data: bytes) -> None:
    assert len(feed(data, [])) <= data.count(b"\r\n") + 1


@given(stream)
def test_a_line_holds_no_newline_and_no_nul_and_keeps_the_limit(data: bytes) -> None:
    for event in feed(data, []):
        if isinstance(event, bytes):
            assert not set(event) & set(b"\r\n\0")
            assert len(event) + 2 <= LIMIT


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"NOOP\r\n", [b"NOOP"]),
        (b"\r\n", [b""]),
        (b"NOOP\r\nQU", [b"NOOP"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\nb\r\nc\r\n", [CommandSyntaxError, b"c"]),
        (b"a\rb\r\nc\r\n", [CommandSyntaxError, b"c"]),
        (b"a\0b\r\nc\r\n", [CommandSyntaxError, b"c"]),
        (b"\nDATA\r\n", [CommandSyntaxError]),
        (b"0123456789\r\n", [b"0123456789"]),
        (b"0123456789a\r\nb\r\n", [LineTooLong, b"b"]),
        (b"x" * 1000 + b"\r\nb\r\n", [LineTooLong, b"b"]),
        (b"x" * 1000 + b"\nb\r\nc\r\n", [LineTooLong, b"c"]),
    ],
)
def test_lines(data: bytes, events: Events) -> None:
    assert feed(data, []) == events
    assert feed(data, list(range(len(data)))) == events


def test_a_line_without_end_is_told_once_and_costs_no_memory() -> None:
    framer = Framer()
    events: Events = []
    for _ in range(1000):
        framer.receive(b"x" * 1000)
        events += lines(framer)
        assert framer.buffered <= LIMIT
    assert events == [LineTooLong]


def test_behind_a_line_nothing_is_looked_at() -> None:
    framer = Framer()
    framer.receive(b"DATA\r\nx\r\n.\r\nQUIT\r\n")
    assert framer.next_line(LIMIT) == b"DATA"
    framer.expect(Framing.DATA)
    assert framer.next_data() == b"x\r\n"
    assert framer.state is Framing.COMMAND
    assert framer.next_line(LIMIT) == b"QUIT"


@given(st.binary(max_size=40), st.integers(0, 30), st.lists(st.integers(0, 10_000), max_size=6))
def test_a_chunk_has_its_octets_and_not_one_more(data: bytes, size: int, places: list[int]) -> None:
    framer = Framer()
    framer.expect_chunk(size)
    taken = b""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    for start, end in pairwise(edges):
        framer.receive(data[start:end])
        if framer.expects_data():
            taken += framer.next_data()
    assert taken == data[:size]
    assert framer.buffered == len(data[size:])
    assert framer.expects_data() == (len(data) < size)


def test_before_tls_what_came_is_dropped_and_after_it_nothing() -> None:
    framer = Framer()
    framer.receive(b"RSET\r\nQUI")
    framer.expect(Framing.TLS)
    assert framer.buffered == 0
    framer.receive(b"EHLO x\r\n")
    framer.expect(Framing.COMMAND)
    assert framer.next_line(LIMIT) == b"EHLO x"


def test_a_closed_framer_takes_nothing() -> None:
    framer = Framer()
    framer.expect(Framing.CLOSED)
    framer.receive(b"x" * 1000)
    assert framer.buffered == 0


@pytest.mark.parametrize(("before", "after"), list(product(Framing, Framing)))
def test_only_the_table_allows_a_change(before: Framing, after: Framing) -> None:
    framer = Framer()
    framer.state = before
    if after in TRANSITIONS[before]:
        framer.expect(after)
        assert framer.state is after
    else:
        with pytest.raises(RuntimeError):
            framer.expect(after)
        assert framer.state is before


@pytest.mark.parametrize("state", Framing)
def test_octets_are_read_in_the_sense_of_the_state_only(state: Framing) -> None:
    framer = Framer()
    if state is not Framing.COMMAND:
        framer.expect(state) if state is not Framing.CHUNK else framer.expect_chunk(5)
    framer.receive(b"RSET\r\n")
    if state not in {Framing.COMMAND, Framing.SASL}:
        with pytest.raises(RuntimeError):
            framer.next_line(LIMIT)
    if state not in {Framing.DATA, Framing.CHUNK}:
        with pytest.raises(RuntimeError):
            framer.next_data()


def test_bare_newlines_are_reported_of_the_last_data_and_not_of_chunks() -> None:
    framer = Framer()
    framer.expect(Framing.DATA)
    framer.receive(b"a\nb\r\n.\r\n")
    framer.next_data()
    assert framer.has_bare_newline
    framer.expect_chunk(3)
    framer.receive(b"a\nb")
    framer.next_data()
    assert not framer.has_bare_newline
