r"""Dialogues as scripts, to be read at a glance and played against a server in memory.

    # A comment.
    S: 220 mx.test ESMTP ehlo
    C: EHLO client.example
    S: 250-mx.test
    S: ...
    C: NOOP
    C: QUIT
    S: 250 2.0.0 OK
    S: 221 2.0.0 Bye
    X: closed

``C:`` is a line that the client sends; lines of the client that follow each other are sent together, as by a
pipelining client.  ``C+`` is sent as it stands, with Python's escapes and without a CRLF.  ``S:`` is a line that the
server must say, to the letter; a ``...`` at its end stands for anything, and ``S: ...`` alone for the rest of a reply.
``T: 300`` lets 300 seconds pass (with ``FakeClockLoop``).  ``E: eof`` says that the client sends no more.
``X: closed`` says that the server must have closed the connection without saying anything more; ``X: open`` that it
says nothing and has not.  ``@name value`` are options that the script's player knows, such as settings.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ehlo.testing.clock import FakeClockLoop
from ehlo.testing.memory import MemoryTransport

if TYPE_CHECKING:
    from ehlo.net.connection import Connection

_PATIENCE = 10.0
# Passes of the loop after which a server that has nothing to wait for has said what it wanted to say.
_QUIET_PASSES = 20


class DialogueError(AssertionError):
    """The server said something else."""


class Step(NamedTuple):
    """One line of a script: its number, its mark, its text."""

    number: int
    mark: str
    text: str

    @property
    def octets(self) -> bytes:
        """What the client sends at ``C:`` and ``C+``."""
        if self.mark == "C:":
            return self.text.encode() + b"\r\n"
        return self.text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1")


@dataclass
class Script:
    """A script, taken apart.  ``ValueError`` for a line that is none."""

    steps: list[Step]
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Script:
        """Read a script."""
        steps = []
        options = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            mark, rest = line[:2], line[3:]
            if mark[0] == "@":
                name, _, value = line[1:].strip().partition(" ")
                options[name] = value.strip()
            elif mark in {"C:", "C+", "S:", "T:", "E:", "X:"}:
                steps.append(Step(number, mark, rest))
            else:
                raise ValueError(f"line {number} is no line of a dialogue: {line!r}")
        return cls(steps, options)

    async def play(self, connection: Connection, *, octet_by_octet: bool = False) -> MemoryTransport:
        """Play it against a server that has not been connected yet; ``DialogueError`` where the server differs.

        ``octet_by_octet`` delivers what the client says one octet at a time.
        """
        transport = MemoryTransport(connection)
        said = bytearray()
        try:
            for step in self.steps:
                if step.mark in {"C:", "C+"}:
                    said += step.octets
                    continue
                await _deliver(transport, said, octet_by_octet=octet_by_octet)
                await _ACTIONS[step.mark](transport, step)
            await _deliver(transport, said, octet_by_octet=octet_by_octet)
        finally:
            transport.lose()
            await asyncio.wait([connection.task], timeout=_PATIENCE)
        connection.task.result()
        return transport


async def _deliver(transport: MemoryTransport, said: bytearray, *, octet_by_octet: bool) -> None:
    """Deliver in callbacks of the loop, as sockets do: between two of them the server may answer."""
    loop = asyncio.get_running_loop()
    size = 1 if octet_by_octet else max(len(said), 1)
    for start in range(0, len(said), size):
        loop.call_soon(transport.feed, bytes(said[start : start + size]))
        await asyncio.sleep(0)
    said.clear()


async def _listen(transport: MemoryTransport, step: Step) -> None:
    while True:
        heard = await _take(transport, step)
        line = heard.removesuffix(b"\r\n").decode(errors="backslashreplace")
        if step.text == "...":
            if line[3:4] == "-":
                continue
            return
        expected = step.text.removesuffix("...")
        if line != expected and not (step.text.endswith("...") and line.startswith(expected)):
            raise DialogueError(f"line {step.number}: expected {step.text!r}, heard {line!r}")
        return


async def _take(transport: MemoryTransport, step: Step) -> bytes:
    try:
        heard = await asyncio.wait_for(transport.take_line(), _PATIENCE)
    except TimeoutError:
        raise DialogueError(f"line {step.number}: expected {step.text!r}, heard nothing") from None
    if not heard:
        raise DialogueError(f"line {step.number}: expected {step.text!r}, but the server has closed")
    return heard


async def _let_time_pass(_transport: MemoryTransport, step: Step) -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, FakeClockLoop):
        raise TypeError("T: needs a FakeClockLoop")
    await _be_quiet()
    loop.advance(float(step.text))
    await _be_quiet()


async def _end_input(transport: MemoryTransport, _step: Step) -> None:
    transport.feed_eof()


async def _look(transport: MemoryTransport, step: Step) -> None:
    if step.text == "closed":
        rest = await asyncio.wait_for(transport.take_line(), _PATIENCE)
        if rest:
            raise DialogueError(f"line {step.number}: expected an end, heard {rest!r}")
        return
    await _be_quiet()
    if transport.sent or transport.is_closing():
        raise DialogueError(f"line {step.number}: expected silence, heard {bytes(transport.sent)!r}")


async def _be_quiet() -> None:
    for _ in range(_QUIET_PASSES):
        await asyncio.sleep(0)


_ACTIONS = {"S:": _listen, "T:": _let_time_pass, "E:": _end_input, "X:": _look}
