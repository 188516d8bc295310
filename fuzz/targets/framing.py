"""The framer, held against a model that is slow, plain and sees all octets at once.

A seed is a line of letters, the plan, and then what the client sends.  L: a line of 512 octets at most, l: of 16, S: a
SASL line of 32, D: mail data, a digit: a chunk of so many octets, C: one of 100.  When the plan is over, lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ehlo.errors import CommandSyntaxError, LineTooLong
from ehlo.protocol.framing import Framer, Framing
from fuzz.checks import require
from fuzz.choices import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMITS: Final = {"L": 512, "l": 16, "S": 32}
_CHUNKS: Final = {**{str(size): size for size in range(10)}, "C": 100}
_BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# No client that has sent so little is owed more work than this.
_PLAN_LIMIT: Final = 64

Event = tuple[str, bytes, bool]


def fuzz_framing(data: bytes) -> None:
    """The same lines, errors and data come out whatever the cut, and they are those of the model."""
    first, _, stream = data.partition(b"\n")
    plan = "".join(letter for letter in first[1:_PLAN_LIMIT].decode("latin-1") if letter in "LlSDC0123456789")
    expected = list(_model(plan, stream))
    for how in {0, 1, first[0] if first else 0}:
        found = list(_frame(plan, cut(stream, how)))
        require(found == expected, f"cut {how}: {found} instead of {expected}")


def _steps(plan: str) -> Iterator[str]:
    yield from plan
    while True:
        yield "L"


def _model(plan: str, stream: bytes) -> Iterator[Event]:
    """What is to come out."""
    must_skip = is_after_error = False
    for step in _steps(plan):
        if is_after_error and step not in _LIMITS:
            continue  # a server goes on to DATA or BDAT only after a line that was good
        if step in _LIMITS:
            if must_skip:
                _, crlf, stream = stream.partition(b"\r\n")
                if not crlf:
                    return
                must_skip = False
            end = stream.find(b"\n") + 1
            if end == 0 and len(stream) < _LIMITS[step]:
                return
            line, rest = (stream[:end], stream[end:]) if end else (stream, b"")
            is_whole = line.endswith(b"\r\n")
            must_skip = not is_whole
            is_after_error = True
            stream = rest
            if len(line) > _LIMITS[step] or end == 0:
                yield "LineTooLong", b"", False
            elif not is_whole or b"\r" in line[:-2] or b"\0" in line:
                yield "CommandSyntaxError", b"", False
            else:
                is_after_error = False
                yield "line", line[:-2], False
        elif step == "D":
            before, end_of_data, rest = (b"\r\n" + stream).partition(b"\r\n.\r\n")
            if not end_of_data:
                return
            raw = (before + b"\r\n")[2:]
            content = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n")[2:]
            yield "data", content, bool(_BARE.search(raw))
            stream = rest
        else:
            size = _CHUNKS[step]
            if len(stream) < size:
                return
            yield "chunk", stream[:size], False
            stream = stream[size:]


def _frame(plan: str, pieces: list[bytes]) -> Iterator[Event]:
    """What comes out."""
    framer = Framer()
    arriving = iter(pieces)
    is_after_error = False

    def more() -> bool:
        piece = next(arriving, None)
        if piece is None:
            return False
        framer.receive(piece)
        return True

    for step in _steps(plan):
        if step in _LIMITS:
            limit = _LIMITS[step]
            if step == "S":
                framer.expect(Framing.SASL)
            try:
                while (line := framer.next_line(limit)) is None:
                    require(framer.buffered <= limit, f"{framer.buffered} octets wait for the end of a line of {limit}")
                    if not more():
                        return
                yield "line", line, False
                is_after_error = False
            except CommandSyntaxError as error:
                is_after_error = True
                yield ("LineTooLong" if isinstance(error, LineTooLong) else "CommandSyntaxError"), b"", False
            if step == "S":
                framer.expect(Framing.COMMAND)
        elif is_after_error:
            continue
        elif step == "D":
            framer.expect(Framing.DATA)
            taken = []
            while True:
                taken.append(framer.next_data())
                if not framer.expects_data():
                    break
                require(framer.buffered == 0, "mail data wait")
                if not more():
                    return
            yield "data", b"".join(taken), framer.has_bare_newline
        else:
            framer.expect_chunk(_CHUNKS[step])
            taken = []
            while framer.expects_data():
                taken.append(framer.next_data())
                if framer.expects_data() and not more():
                    return
            yield "chunk", b"".join(taken), False
