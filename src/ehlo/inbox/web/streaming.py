"""Answers that go out piece by piece.  Knows how clients leave and get stuck; does not know what the pieces hold.

A client that goes away is noticed, and what was kept for it is let go.  One that stays and does not read is given up:
one piece waits for it, and that for a bounded time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from ehlo.inbox.errors import NoSuchMessage, StoreError
from ehlo.inbox.web.errors import ApiError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from ehlo.inbox.web.call import Call

STUCK_SECONDS = 60.0
"""How long a client may not read before it is given up."""


class Slots:
    """So many at once; 429 for more."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self) -> None:
        """One more; give it back."""
        if self.taken >= self.limit:
            raise ApiError(429, "too_many", f"{self.limit} of these at once", headers={"retry-after": "5"})
        self.taken += 1

    def give_back(self) -> None:
        """One less."""
        self.taken -= 1


class Stream(Response):
    """Goes on until the pieces end, or the client goes or does not read any more.

    ``release`` is called in the end, whatever happened.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        release: Callable[[], object],
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(headers=headers, media_type=media_type)
        if "content-length" not in (headers or {}):
            del self.headers["content-length"]
        self._pieces = pieces
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            sending = asyncio.ensure_future(self._send_all(send))
            leaving = asyncio.ensure_future(disconnected(receive))
            await first_of(sending, leaving)
        finally:
            self._release()
            await self._pieces.aclose()

    async def _send_all(self, send: Send) -> None:
        try:
            async for piece in self._pieces:
                # uvicorn waits here while the client does not read.
                async with asyncio.timeout(STUCK_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except (TimeoutError, NoSuchMessage, StoreError):
            return  # without an end, so that nobody takes it for the whole: the connection is closed
        await send({"type": "http.response.body", "body": b""})


async def in_threads(call: Call, pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Pieces that are made in a thread, each when the one before has been taken."""
    while (piece := await call.run(next, pieces, None)) is not None:
        yield piece


async def first_of(task: asyncio.Future[Any], other: asyncio.Future[Any]) -> None:
    """Wait until one of two is done, and cancel the other; what the first one raised is raised."""
    try:
        await asyncio.wait({task, other}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in (task, other):
            if not future.done():
                future.cancel()
        await asyncio.gather(task, other, return_exceptions=True)
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def disconnected(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
