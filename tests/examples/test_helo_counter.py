from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ehlo import SMTP
from examples.helo_counter import HeloCounter
from tests.support import Client

if TYPE_CHECKING:
    import pytest


async def test_greetings_are_counted_and_answered_as_always(capsys: pytest.CaptureFixture[str]) -> None:
    counter = HeloCounter()
    client = Client(SMTP(counter, hostname="mx.test"))
    await client.hear()
    assert await client.ask("HELO one.example") == "250 mx.test"
    assert (await client.ask("EHLO two.example")).endswith("250 XCOUNT 1")
    assert (await client.ask("EHLO two.example")).endswith("250 XCOUNT 2")
    assert (await client.ask("HELO")).startswith("501 ")
    assert (await client.ask("QUIT")).startswith("221 ")
    await asyncio.wait([client.server.task])
    assert counter.names == {"one.example": 1, "two.example": 2}
    assert capsys.readouterr().out == "two.example (quit): 3 greetings by 2 names so far\n"
