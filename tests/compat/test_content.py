"""The limits of mail data: which was broken first, in whatever pieces it comes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.compat.aiosmtpd._content import MailData
from ehlo.content import ContentLineTooLong
from ehlo.errors import MessageTooBig
from ehlo.protocol.framing import Framer, Framing

LINE_LIMIT = 10


class Peer:
    """What a connection does with mail data."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.framer = Framer()
        self.framer.expect(Framing.DATA)
        self._pieces = pieces

    async def next_data(self) -> bytes:
        while self.framer.expects_data():
            if data := self.framer.next_data():
                return data
            if self.framer.expects_data():
                self.framer.receive(self._pieces.pop(0))
        return b""

    async def drop_data(self) -> None:
        while await self.next_data():
            pass


async def read(pieces: list[bytes], *, size_limit: int | None = None) -> bytes | type[Exception]:
    peer = Peer(pieces)
    data = MailData(peer.next_data, peer.drop_data, peer.framer, size_limit=size_limit, line_limit=LINE_LIMIT)
    try:
        return await data.read_all()
    except (MessageTooBig, ContentLineTooLong) as error:
        assert not peer.framer.expects_data()  # nothing is said before the end of data
        return type(error)


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[start:end] for start, end in itertools.pairwise(edges)]


LINES = st.lists(st.one_of(st.integers(0, 12).map(b"x".__mul__), st.sampled_from([b"a\nb", b"a\rb", b"\n" * 9])))


@given(LINES, st.lists(st.integers(0, 1000), max_size=5))
async def test_a_line_is_too_long_in_whatever_pieces_it_comes(lines: list[bytes], places: list[int]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    expected = ContentLineTooLong if any(len(line) + 2 > LINE_LIMIT for line in lines) else content
    assert await read(cut(content + b".\r\n", places)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x\r\n" * 5, None),
        (b"x\r\n" * 6, MessageTooBig),
        (b"x" * 9 + b"\r\n" + b"x\r\n" * 6, ContentLineTooLong),
        (b"x\r\n" * 6 + b"x" * 9 + b"\r\n", MessageTooBig),
        (b"x\r\n" * 4 + b"x" * 10 + b"\r\n", MessageTooBig),  # the line that passes 15 octets may be as long as this
        (b"x\r\n" * 4 + b"x" * 11 + b"\r\n", ContentLineTooLong),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 1000])
async def test_what_the_client_did_first_is_what_it_is_told(
    content: bytes, expected: type[Exception] | None, size: int
) -> None:
    octets = content + b".\r\n"
    pieces = [octets[start : start + size] for start in range(0, len(octets), size)]
    assert await read(pieces, size_limit=15) == (expected or content)
