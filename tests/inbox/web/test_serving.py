from __future__ import annotations

import asyncio
import types
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from ehlo.inbox.server import InboxServer
from ehlo.inbox.web import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def connected(count: int = 1) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """Connections to the page of a server."""
    async with InboxServer(smtp=None, web=("127.0.0.1", 0), is_indexed=False) as server, asyncio.timeout(10):
        assert server.web_url is not None
        port = int(server.web_url.rstrip("/").rpartition(":")[2])
        found = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
        try:
            yield found
        finally:
            for _, writer in found:
                writer.close()


@pytest.mark.parametrize("begun", [b"", HEAD])
async def test_a_client_that_says_nothing_or_never_ends_is_closed(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.05)
    async with connected() as [(reader, writer)]:
        writer.write(begun)
        assert await reader.read() == b""


async def test_a_second_request_has_no_more_time_than_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.05)
    async with connected() as [(reader, writer)]:
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        writer.write(HEAD)
        assert await reader.read() == b""


async def test_an_answer_that_takes_long_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.05)
    async with connected() as [(reader, writer)]:
        writer.write(b"GET /api/v1/wait?timeout=0.2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")


async def test_there_are_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "connections_limit", lambda: 2)
    monkeypatch.setattr(serving, "SPARE_CONNECTIONS", 1)
    async with connected(4) as clients:
        with pytest.raises((ConnectionError, EOFError, asyncio.IncompleteReadError)):
            await clients[3][0].readexactly(1)
        clients[0][1].write(HEAD + b"\r\n")
        assert (await clients[0][0].readline()).startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize(("files", "limit"), [(256, 85), (1024, 341), (1 << 20, 1000), (10, 16), (-1, 1000)])
def test_there_are_fewer_connections_than_files(files: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(getrlimit=lambda _: (files, files), RLIMIT_NOFILE=7, RLIM_INFINITY=-1)
    monkeypatch.setattr(serving, "resource", fake)
    assert serving.connections_limit() == limit


def test_where_files_are_not_limited_connections_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "resource", None)
    assert serving.connections_limit() == serving.CONNECTIONS_LIMIT
