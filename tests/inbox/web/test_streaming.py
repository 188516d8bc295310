from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox.web import call, rendering, routes_archive, routes_messages, streaming
from ehlo.inbox.web.html import Rendered, render
from ehlo.inbox.web.rendering import Renderings
from tests.inbox.web.support import Running, Web, mail, put, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG = b"Subject: big\r\n\r\n" + b"x" * 62 * 1024 + b"\r\n" + b"y" * (2 << 20) + b"\r\n"


class Sent(list[Any]):
    """What a client takes that reads the head of the answer, and then no more."""

    def __init__(self, reads: asyncio.Event) -> None:
        super().__init__()
        self._reads = reads

    def append(self, message: Any) -> None:
        if not self:
            self._reads.clear()
        super().append(message)


async def stuck(web: Web, target: str) -> Running:
    running = web.begin(target)
    running.request.sent = Sent(running.request.reads)
    await until(lambda: bool(running.request.sent))
    return running


@pytest.mark.parametrize("format_", ["mbox", "maildir"])
async def test_an_export_goes_out_in_pieces_and_waits_for_its_reader(
    format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    async with serving() as web:
        await put(web, BIG)
        await put(web, BIG)
        chunks = web.server.store.raw_chunks

        def raw_chunks(id_: int, *places: int) -> Iterator[bytes]:
            for chunk in chunks(id_, *places):
                read.append(len(chunk))
                yield chunk

        monkeypatch.setattr(web.server.store, "raw_chunks", raw_chunks)
        running = await stuck(web, f"/api/v1/export?format={format_}")
        assert sum(read) <= 2 * 256 * 1024
        running.request.reads.set()
        answer = await running.answer()
    assert max(len(message.get("body", b"")) for message in running.request.sent) <= 300 * 1024
    assert len(answer.body) > 2 * len(BIG) - 100
    assert sum(read) == 2 * len(BIG)


async def test_exports_are_limited_and_a_client_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STUCK_SECONDS", 0.3)
    async with serving() as web:
        await put(web, BIG)
        runnings = [await stuck(web, "/api/v1/export") for _ in range(call.EXPORTS_LIMIT)]
        refused = await web.get("/api/v1/export")
        assert (refused.status, refused.error) == (429, "too_many")
        for running in runnings:
            await running.task
            assert running.request.sent[-1].get("more_body", True), "it is not said to be the whole"
        assert (await web.get("/api/v1/export")).status == 200


async def test_an_import_takes_so_many_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_archive, "IMPORT_LIMIT", 3)
    async with serving() as web:
        mbox = {"content-type": "application/mbox"}
        assert (await web.post("/api/v1/import", b"From a@b\n\nx\n\n" * 3, headers=mbox)).json == {"imported": 3}
        answer = await web.post("/api/v1/import", b"From a@b\n\nx\n\n" * 4, headers=mbox)
        assert (answer.status, answer.error) == (413, "too_big")
        assert "3 messages were imported" in answer.json["error"]["message"]


async def test_an_import_waits_for_the_store_when_much_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_archive, "PENDING_OCTETS", 5)
    async with serving() as web:
        answer = await web.post(
            "/api/v1/import", b"From a@b\n\nlonger than that\n\n" * 5, headers={"content-type": "application/mbox"}
        )
        assert answer.json == {"imported": 5}


@pytest.mark.parametrize("encoding", ["base64", "8bit"])
async def test_a_large_part_comes_in_pieces_to_the_octet(encoding: str) -> None:
    data = os.urandom(900_000) if encoding == "base64" else b"line\r\n" * 100_000
    raw = mail(attachment=("a.bin", data))
    if encoding == "8bit":
        raw = b"Content-Type: application/x-a\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + data
    async with serving() as web:
        id_ = await put(web, raw)
        parts = (await web.get(f"/api/v1/messages/{id_}")).json["parts"]
        running = web.begin(f"/api/v1/messages/{id_}/parts/{len(parts) - 1}")
        answer = await running.answer()
        head = await web.ask("HEAD", f"/api/v1/messages/{id_}/parts/{len(parts) - 1}")
    assert answer.body == data
    assert answer.headers["content-length"] == head.headers["content-length"] == str(len(data))
    assert max(len(message.get("body", b"")) for message in running.request.sent) <= routes_messages.PART_PIECE


async def test_large_parts_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "PARTS_LIMIT", 1)
    async with serving() as web:
        id_ = await put(web, mail(attachment=("a.bin", os.urandom(900_000))))
        target = f"/api/v1/messages/{id_}/parts/2"
        running = await stuck(web, target)
        assert (await web.get(target)).status == 429
        await running.leave()
        assert (await web.get(target)).status == 200


async def test_html_is_rendered_once_for_each_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counting(source: str, *more: object, with_remote: bool) -> Rendered:
        made.append(with_remote)
        return render(source, lambda _: None, with_remote=with_remote)

    monkeypatch.setattr(routes_messages, "render", counting)
    async with serving() as web:
        id_ = await put(web, mail(html='<img src="https://example.com/a.png">'))
        for _ in range(2):
            assert (await web.get(f"/api/v1/messages/{id_}")).json["has_remote"]
            assert b"example.com" not in (await web.get(f"/api/v1/messages/{id_}/html")).body
            assert b"example.com" in (await web.get(f"/api/v1/messages/{id_}/html?remote=true")).body
    assert made == [False, True]


async def test_renderings_are_forgotten_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "KEPT", 2)
    monkeypatch.setattr(rendering, "KEPT_CHARACTERS", 100)
    made = []

    async def get(id_: int, size: int = 10) -> None:
        async def make() -> Rendered:
            made.append(id_)
            return Rendered("x" * size, 0)

        assert len((await renderings.get((id_, False), make)).html) == size

    renderings = Renderings()
    for id_ in (1, 2, 1, 3, 1, 2):
        await get(id_)
    assert made == [1, 2, 3, 2]
    for _ in range(2):
        await get(4, size=60)
    assert made[4:] == [4, 4]
