from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from pathlib import Path

import pytest

import ehlo
from examples import embedder


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[ehlo.SMTPServer]]:
    made: list[weakref.ref[ehlo.SMTPServer]] = []

    def remember(*args: object, **kwargs: object) -> ehlo.SMTPServer:
        server = ehlo.serve(*args, **kwargs)  # type: ignore[arg-type]
        made.append(weakref.ref(server))
        return server

    monkeypatch.setattr(embedder, "serve", remember)
    return made


def descriptors() -> int:
    """How many files and sockets are open; 0 where nobody tells."""
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


def threads() -> set[threading.Thread]:
    """Those that run, without the loop's own, of which it makes a few at its leisure."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def test_a_hundred_servers_leave_nothing_behind(servers: list[weakref.ref[ehlo.SMTPServer]]) -> None:
    await embedder.main(1)  # what is made once, is made
    before = asyncio.all_tasks(), threads(), descriptors()

    received = await embedder.main(100)

    assert received == [f"report {number}\r\n".encode() for number in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert (asyncio.all_tasks(), threads(), descriptors()) == before
    assert len(servers) == 101
    assert [server for server in servers if server() is not None] == []


async def test_a_second_message_is_refused() -> None:
    handler = embedder.OneMessage()
    envelope = ehlo.Envelope()
    arguments = (None, ehlo.Session(), envelope)
    assert await handler.handle_DATA(*arguments) is None  # type: ignore[arg-type]
    assert (await handler.handle_DATA(*arguments) or "").startswith("452 ")  # type: ignore[arg-type]
    assert handler.arrived.result() == b""
