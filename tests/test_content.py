"""Reading a message within its limits, whole or as a stream, from any pieces."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo import BareNewlines, Chunks, DataAborted, Settings
from ehlo.content import LARGE, ContentLineTooLong, ContentReader, give_back, read_all
from ehlo.errors import BareNewline, Disconnected, EhloError, IdleTimeout, MessageTooBig, ProtocolError
from ehlo.protocol.framing import Framer, Framing
from ehlo.session import Envelope
from tests.support import be_quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Source:
    """A connection that delivers these pieces, through a framer; then its end, or an error."""

    def __init__(self, pieces: Iterable[bytes], *, error: EhloError | None = None) -> None:
        self.framer = Framer()
        self.framer.expect(Framing.DATA)
        self.pieces = list(pieces)
        self.error = error
        self.dropped = 0

    async def next_data(self) -> bytes:
        while self.framer.expects_data():
            if data := self.framer.next_data():
                return data
            if not self.framer.expects_data():
                break
            if not self.pieces:
                assert self.error is not None
                raise self.error
            self.framer.receive(self.pieces.pop(0))
        return b""

    async def drop_data(self) -> None:
        self.dropped += 1
        while await self.next_data():
            pass

    def reader(self, **parameters: object) -> ContentReader:
        settings = Settings(**parameters)  # type: ignore[arg-type]
        return ContentReader(self.next_data, self.drop_data, self.framer, settings)


async def test_the_whole_is_all_pieces_in_order() -> None:
    reader = Source([b"one\r\n", b"two\r\n", b"three\r\n.\r\n"]).reader()
    assert await read_all(reader) == b"one\r\ntwo\r\nthree\r\n"
    assert reader.size == 17


async def test_one_piece_is_given_as_it_is_and_none_is_nothing() -> None:
    assert await read_all(Source([b"one\r\n.\r\n"]).reader()) == b"one\r\n"
    assert await read_all(Source([b".\r\n"]).reader()) == b""


async def test_after_the_end_there_is_nothing_more() -> None:
    reader = Source([b"one\r\n.\r\n", b"QUIT\r\n"]).reader()
    assert await reader.read() == b"one\r\n"
    assert [await reader.read(), await reader.read()] == [b"", b""]


async def test_the_size_counts_octets_with_transparency_undone() -> None:
    reader = Source([b"..\r\n..\r\n.\r\n"]).reader(data_size_limit=6)
    assert await read_all(reader) == b".\r\n.\r\n"
    assert reader.size == 6


@pytest.mark.parametrize("pieces", [[b"1234567\r\n.\r\n"], [b"123", b"456", b"7\r\n.", b"\r\n"]])
async def test_one_octet_too_many_is_too_many(pieces: list[bytes]) -> None:
    assert await read_all(Source(pieces).reader(data_size_limit=9)) == b"1234567\r\n"
    source = Source(pieces)
    reader = source.reader(data_size_limit=8)
    with pytest.raises(MessageTooBig):
        await read_all(reader)
    await reader.give_up()
    assert source.dropped == 1
    assert not source.framer.expects_data()


async def test_skip_reads_what_is_left_for_nobody() -> None:
    source = Source([b"one\r\n", b"x" * 100, b"\r\n.\r\n"])
    reader = source.reader(data_size_limit=10)
    await reader.skip()
    assert not source.framer.expects_data()
    assert await reader.read() == b""


@pytest.mark.parametrize("bare", [b"\n", b"\r"])
async def test_bare_newlines_are_refused_kept_or_mended(bare: bytes) -> None:
    pieces = [b"one" + bare + b"two\r\n", b"three\r\n", b"fo" + bare + b"ur\r\n.\r\n"]
    kept = b"".join(pieces)[:-3]
    with pytest.raises(BareNewline):
        await read_all(Source(pieces).reader())
    assert await read_all(Source(pieces).reader(bare_newlines=BareNewlines.KEEP)) == kept
    mended = await read_all(Source(pieces).reader(bare_newlines=BareNewlines.NORMALIZE))
    assert mended == b"one\r\ntwo\r\nthree\r\nfo\r\nur\r\n"


@pytest.mark.parametrize("octets_at_once", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("content", "longest"),
    [
        (b"", 0),
        (b"\r\n", 2),
        (b"12345\r\n", 7),
        (b"1\r\n12345\r\n1\r\n", 7),
        (b"12345\r\n1\r\n", 7),
        (b"1\r\n" * 50, 3),
    ],
)
async def test_the_longest_line_counts_with_its_crlf(content: bytes, longest: int, octets_at_once: int) -> None:
    octets = content + b".\r\n"
    pieces = [octets[start : start + octets_at_once] for start in range(0, len(octets), octets_at_once)]
    if longest:
        assert await read_all(Source(pieces).reader(line_length_limit=longest)) == content
    if longest > 1:
        with pytest.raises(ContentLineTooLong):
            await read_all(Source(pieces).reader(line_length_limit=longest - 1))


def test_a_line_that_is_too_long_is_told_500() -> None:
    assert ContentLineTooLong().status == "500 5.6.0 Line too long"


contents = st.lists(st.sampled_from([b"a", b".", b"\r\n", b"\r", b"\n", b"..", b"x" * 30]), max_size=20).map(b"".join)


@given(contents, st.lists(st.integers(0, 600), max_size=6), st.integers(1, 40), st.sampled_from(BareNewlines))
def test_the_cut_of_the_pieces_does_not_matter(
    content: bytes, places: list[int], limit: int, choice: BareNewlines
) -> None:
    stuffed = (b"\r\n" + content + b"\r\n").replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"

    def outcome(pieces: list[bytes]) -> bytes | type[ProtocolError]:
        reader = Source(pieces).reader(line_length_limit=limit, bare_newlines=choice)
        try:
            read_all(reader).send(None)  # it never has to wait
        except StopIteration as end:
            content: bytes = end.value
            return content
        except ProtocolError as error:
            return type(error)
        raise AssertionError

    edges = [0, *sorted(place % len(stuffed) for place in places), len(stuffed)]
    pieces = [stuffed[start:end] for start, end in pairwise(edges)]
    whole, cut = outcome([stuffed]), outcome(pieces)
    if isinstance(whole, bytes):
        assert cut == whole
        assert choice is BareNewlines.NORMALIZE or whole == content + b"\r\n"
    else:
        # Which of two violations is met first may depend on the cut; that there is one does not.
        assert cut in {BareNewline, ContentLineTooLong}


# -- Chunks -------------------------------------------------------------------------------------------------


async def test_a_stream_ends_after_the_last_piece() -> None:
    chunks = Chunks(Source([b"one\r\n", b"two\r\n.\r\n"]).reader())
    assert [piece async for piece in chunks] == [b"one", b"\r\ntwo\r\n"]
    assert chunks.is_complete
    assert chunks.size == 10
    assert [piece async for piece in chunks] == []


@pytest.mark.parametrize("error", [Disconnected("gone"), IdleTimeout()])
async def test_a_stream_that_is_cut_says_so_every_time(error: EhloError) -> None:
    chunks = Chunks(Source([b"one\r\n"], error=error).reader())
    assert await anext(chunks) == b"one"
    with pytest.raises(DataAborted) as caught:
        await anext(chunks)
    assert caught.value.__cause__ is error
    assert chunks.failure is error
    assert not chunks.is_complete
    with pytest.raises(DataAborted):
        await anext(chunks)


@pytest.mark.parametrize(("piece", "error"), [(b"x" * 20, MessageTooBig), (b"x\ny", BareNewline)])
async def test_a_stream_that_breaks_a_limit_is_cut(piece: bytes, error: type[EhloError]) -> None:
    chunks = Chunks(Source([b"one\r\n", piece, b"\r\n.\r\n"]).reader(data_size_limit=15))
    assert await anext(chunks) == b"one"
    with pytest.raises(DataAborted):
        await anext(chunks)
    assert isinstance(chunks.failure, error)
    assert not chunks.is_complete


async def test_a_stream_that_was_closed_gives_nothing_more() -> None:
    chunks = Chunks(Source([b"one\r\n", b"two\r\n.\r\n"]).reader())
    assert await anext(chunks) == b"one"
    chunks.close()
    with pytest.raises(DataAborted):
        await anext(chunks)
    assert chunks.failure is None
    assert not chunks.is_complete


@pytest.mark.parametrize("error", [None, Disconnected("gone")])
async def test_what_a_task_reads_when_its_stream_is_closed_is_not_its(error: EhloError | None) -> None:
    class Closing(Source):
        async def next_data(self) -> bytes:
            data = await super().next_data()
            chunks.close()
            return data

    chunks = Chunks(Closing([b"one\r\n.\r\n"] if error is None else [], error=error).reader())
    if error is not None:
        chunks.close()
    with pytest.raises(DataAborted):
        await anext(chunks)
    assert not chunks.is_complete
    assert chunks.failure is None


async def test_a_complete_stream_stays_complete_when_it_is_closed() -> None:
    chunks = Chunks(Source([b".\r\n"]).reader())
    assert [piece async for piece in chunks] == []
    chunks.close()
    assert [piece async for piece in chunks] == []


async def test_a_large_content_is_gathered_without_a_second_copy() -> None:
    piece = b"x" * 62 + b"\r\n"
    gc.collect()
    content = await read_all(Source([piece * 1000] * 100 + [b".\r\n"]).reader(data_size_limit=None))
    assert len(content) == 6_400_000
    assert content == piece * 100_000


# Memory of what is over


def envelope_of(size: int) -> Envelope:
    envelope = Envelope()
    envelope.content = bytes(size)
    return envelope


async def test_a_large_content_that_nobody_keeps_is_let_go_in_steps() -> None:
    envelope = envelope_of(2 * LARGE)
    give_back(envelope, asyncio.get_running_loop())
    assert envelope.content is None
    await be_quiet()


@pytest.mark.parametrize("keep", [lambda envelope: envelope, lambda envelope: envelope.content])
async def test_what_a_handler_keeps_stays(keep: Callable[[Envelope], object]) -> None:
    envelope = envelope_of(2 * LARGE)
    kept = keep(envelope)
    give_back(envelope, asyncio.get_running_loop())
    await be_quiet()
    assert envelope.content == bytes(2 * LARGE)
    del kept


async def test_a_small_content_is_left_to_its_envelope() -> None:
    envelope = envelope_of(LARGE - 1)
    give_back(envelope, asyncio.get_running_loop())
    assert envelope.content is not None
