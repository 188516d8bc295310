"""Clients that are slow, rude or many: a session ends as it should, and nothing of it is left."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from ehlo import SMTP, LimitSettings, Settings
from ehlo.net.networks import Networks
from ehlo.shared import Shared
from ehlo.testing import MemoryTransport
from tests.support import Nothing, Recorder, be_quiet, pass_time, talk, with_fake_clock

DIALOGUE = (
    b"EHLO client.example\r\n",
    b"MAIL FROM:<a@example.com>\r\n",
    b"RCPT TO:<b@example.com>\r\n",
    b"BDAT 6\r\nabc\r\nd",
    b"BDAT 0 LAST\r\n",
    b"MAIL FROM:<a@example.com>\r\n",
    b"RCPT TO:<b@example.com>\r\n",
    b"DATA\r\n",
    b"..a dot\r\n.\r\n",
    b"QUIT\r\n",
)
OCTETS = b"".join(DIALOGUE)
SETTINGS = Settings(hostname="mx.test")


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")], ids=["closed", "reset"])
async def test_a_client_may_go_at_every_octet(error: Exception | None) -> None:
    # Whole messages are kept and halves are not; the hook of the end comes once; no task is left.
    for count in range(len(OCTETS) + 1):
        handler = Recorder()
        server = SMTP(handler, settings=SETTINGS)
        transport = MemoryTransport(server)
        left = count
        for step in DIALOGUE:
            asyncio.get_running_loop().call_soon(transport.feed, step[:left])
            await be_quiet()
            left -= len(step)
            if left <= 0:
                break
        transport.lose(error)
        await asyncio.wait_for(asyncio.wait([server.task]), 10)
        assert not server.task.cancelled()
        assert server.task.exception() is None
        assert len(handler.reasons) == 1
        assert handler.contents in ([], [b"abc\r\nd"], [b"abc\r\nd", b".a dot\r\n"])


@with_fake_clock
async def test_an_octet_per_second_is_enough_where_a_command_fits_into_its_time() -> None:
    async with talk(handler := Recorder(), is_greeted=False) as client:
        await client.hear()
        for octet in OCTETS:
            await client.feed(bytes([octet]))
            await pass_time(1)
        assert client.said()[-1] == "221 2.0.0 Bye"
    assert handler.contents == [b"abc\r\nd", b".a dot\r\n"]


@pytest.mark.parametrize("stage", range(len(DIALOGUE)))
@with_fake_clock
async def test_an_octet_now_and_then_is_cut_off_at_every_stage(stage: int) -> None:
    async with talk(handler := Recorder(), is_greeted=False, timeout=100, data_timeout=50) as client:
        await client.hear()
        for step in DIALOGUE[:stage]:
            await client.feed(step)
        await be_quiet()
        before = len(handler.contents)
        await client.feed(DIALOGUE[stage][:1])
        await pass_time(101)
        assert client.said()[-1] == "421 4.4.2 Timeout, closing connection"
        assert len(handler.contents) == before


async def test_a_hundred_thousand_pipelined_commands_are_answered_and_others_have_their_turn() -> None:
    count = 100_000
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(others())
    async with talk() as client:
        for _ in range(count // 1000):
            await client.feed(b"NOOP\r\n" * 1000)
        await client.say("QUIT")
        await client.server.task
        assert bytes(client.transport.sent) == b"250 2.0.0 OK\r\n" * count + b"221 2.0.0 Bye\r\n"
        client.transport.sent.clear()
    other.cancel()
    assert turns > count // 1000


async def test_a_flood_of_connections_is_refused_above_the_limit_and_leaves_nothing() -> None:
    handler = Nothing()
    shared = Shared(
        handler, Settings(hostname="mx.test", limits=LimitSettings(connections=50, exempt=Networks([]))), ()
    )
    servers = [SMTP(handler, shared=shared) for _ in range(500)]
    transports = [MemoryTransport(server) for server in servers]
    await be_quiet()
    greetings = [bytes(transport.sent)[:10] for transport in transports]
    assert greetings.count(b"220 mx.tes") == 50
    assert greetings.count(b"421 4.3.2 ") == 450
    for transport in transports:
        transport.lose()
    await asyncio.wait([server.task for server in servers])
    assert shared.clients.connections == 0
    references = [weakref.ref(server) for server in servers]
    servers.clear()
    transports.clear()
    del transport
    await be_quiet()
    gc.collect()
    assert not any(reference() for reference in references)
