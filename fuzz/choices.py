"""Decisions made from octets, so that every engine steers every target in the same way."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_Option = TypeVar("_Option")

# Octet by octet is the hardest cut, and costs most; so a long text is cut into some hundreds of pieces only.
_MOST_PIECES = 600


class Choices:
    """Takes decisions off octets, from the front; when they are used up, every decision is the first one.

    ``"0"`` decides for the first option, ``"1"`` for the second, and so on, so that seeds can be written by hand.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to decide by."""
        return self._position >= len(self._data)

    def octet(self) -> int:
        """The next octet, 0 at the end."""
        if self.is_over:
            return 0
        self._position += 1
        return self._data[self._position - 1]

    def number(self, count: int) -> int:
        """0 to ``count - 1``; from two octets where one would not do."""
        if self.is_over:
            return 0
        value = self.octet() - ord("0")
        if count > 256:
            value = value * 256 + self.octet()
        return value % count

    def pick(self, options: Sequence[_Option]) -> _Option:
        """One of the options."""
        return options[self.number(len(options))]

    def octets(self, most: int) -> bytes:
        """Up to ``most`` octets as they are; the first one says how many."""
        count = self.number(most + 1)
        taken = self._data[self._position : self._position + count]
        self._position += len(taken)
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        taken = self._data[self._position :]
        self._position = len(self._data)
        return taken


def take_line(data: bytes) -> tuple[Choices, bytes]:
    """Decisions from the first line, and all that is behind it: the form of seeds that hold octets of the wire."""
    head, _, rest = data.partition(b"\n")
    return Choices(head), rest


def cut(data: bytes, how: int) -> list[bytes]:
    """Cut octets as a network might.  0: not at all; 1: octet by octet; another number: at random, by that seed."""
    if how == 0 or len(data) < 2:
        return [data] if data else []
    if how == 1 and len(data) <= _MOST_PIECES:
        return [data[at : at + 1] for at in range(len(data))]
    numbers = random.Random(how)
    longest = max(numbers.choice((3, 20, 200)), 2 * len(data) // _MOST_PIECES)
    pieces = []
    start = 0
    while start < len(data):
        end = start + 1 + int(numbers.random() * longest)
        pieces.append(data[start:end])
        start = end
    return pieces
