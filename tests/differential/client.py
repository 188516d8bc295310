"""A client that plays a dialogue against a server and writes down the codes of what it hears."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tests.differential.dialogues import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.differential.dialogues import Dialogue, Step

CLOSED: Final = "closed"
SKIPPED: Final = ""
_PATIENCE: Final = 20.0
_LAST_WORDS: Final = {"221", "421", "521"}


async def play(port: int, dialogue: Dialogue, *, has_chunking: bool = True) -> list[str]:
    """The codes that were heard at each step, as in "354 250"; less than steps if the server closed.

    Without CHUNKING its steps are skipped: a client that saw no such offer must not say BDAT.
    """
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            heard = [await _hear(reader)]
            for step in dialogue.steps:
                codes = await _take(reader, writer, step, has_chunking=has_chunking)
                heard.append(" ".join(codes))
                if codes[-1:] == [CLOSED]:
                    break
            return heard
        finally:
            writer.close()


async def _take(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, step: Step, *, has_chunking: bool
) -> Sequence[str]:
    if step.kind in {Kind.CHUNKS, Kind.LAST_CHUNK} and not has_chunking:
        return []
    writer.write(step.sent)
    codes: list[str] = []
    if step.kind is Kind.LAST_CHUNK:
        return await _hear_all(reader)
    for _ in range(step.replies):
        codes.append(await _hear(reader))
        if codes[-1] == CLOSED:
            return codes
    if codes == ["354"] and step.body:
        writer.write(step.body)
        codes += await _hear_all(reader) if step.kind is Kind.LAST_DATA else [await _hear(reader)]
    if codes[-1] in _LAST_WORDS:
        codes.append(await _hear(reader))
    return codes


async def _hear_all(reader: asyncio.StreamReader) -> list[str]:
    """The codes of all replies up to the end of the connection."""
    codes = [await _hear(reader)]
    while codes[-1] != CLOSED:
        codes.append(await _hear(reader))
    return codes


async def _hear(reader: asyncio.StreamReader) -> str:
    """The code of one reply, whose lines must agree."""
    codes = set()
    while True:
        try:
            line = await reader.readline()
        except ConnectionError:
            return CLOSED
        if not line:
            return CLOSED
        codes.add(line[:3].decode())
        if line[3:4] != b"-":
            (code,) = codes
            return code
