"""A call of an operation: what was asked, by whom, and what may be seen by him."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from ehlo.inbox.errors import NoSuchMessage
from ehlo.inbox.parse import parse
from ehlo.inbox.query import ALL, Query, parse_query
from ehlo.inbox.records import Event, EventKind, Parsed, Summary
from ehlo.inbox.web.errors import not_found
from ehlo.inbox.web.rendering import Renderings
from ehlo.inbox.web.streaming import Slots

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ehlo.inbox.server import InboxServer
    from ehlo.inbox.store import Store
    from ehlo.inbox.web.release import Targets
    from ehlo.inbox.web.security import Principal

EXPORTS_LIMIT = 4
IMPORTS_LIMIT = 2
PARTS_LIMIT = 16
"""Large parts that are given at once: each is a file for that while."""
DECODING_LIMIT = 2
"""Large parts that are in memory as a whole at once."""
PARSE_SECONDS = 10.0
"""How long a message that was just received may take until it can be opened."""

Handler = Callable[["Call"], Awaitable["Response"]]
Routes = Mapping[str, Handler]


@dataclass(slots=True)
class Shared:
    """What all calls have in common: where messages may go, and how much is done at once."""

    targets: Targets
    exports: Slots = field(default_factory=lambda: Slots(EXPORTS_LIMIT))
    imports: Slots = field(default_factory=lambda: Slots(IMPORTS_LIMIT))
    parts: Slots = field(default_factory=lambda: Slots(PARTS_LIMIT))
    decoding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DECODING_LIMIT))
    renderings: Renderings = field(default_factory=Renderings)


@dataclass(slots=True)
class Call:
    """``parameters`` and ``body`` are as the table says, ``file`` is a body that is no JSON."""

    server: InboxServer
    shared: Shared
    request: Request
    principal: Principal
    parameters: dict[str, Any]
    body: Any = None
    media_type: str = ""
    file: IO[bytes] | None = field(default=None, repr=False)
    _token_hash: bytes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Remember whose inbox it was at the beginning."""
        self._token_hash = self._hash_now()

    @property
    def targets(self) -> Targets:
        """The servers that may be released to."""
        return self.shared.targets

    @property
    def store(self) -> Store:
        """What there is."""
        return self.server.store

    def __getitem__(self, name: str) -> Any:
        """A parameter."""
        return self.parameters[name]

    @property
    def inbox(self) -> str | None:
        """The inbox that the call is about, None for all; 404 for one that the token is not for."""
        maybe_asked: str | None = self.parameters.get("inbox")
        maybe_own = self.principal.inbox
        if maybe_own is not None and maybe_asked not in {None, maybe_own}:
            raise not_found()
        return maybe_own or maybe_asked

    @property
    def query(self) -> Query:
        """What is searched for; 400 if it cannot be understood."""
        text = self.parameters.get("q")
        return parse_query(text) if text else ALL

    @property
    def is_still_allowed(self) -> bool:
        """Whether the inbox is the one that the token was made for: it may have been deleted and made anew since."""
        return self._hash_now() == self._token_hash

    def _hash_now(self) -> bytes | None:
        record = None if self.principal.inbox is None else self.store.inbox_records.get(self.principal.inbox)
        return None if record is None else record.token_hash

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what reads the store, in a thread."""
        return await self.server.run(function, *args)

    def visible(self, id_: int) -> Summary:
        """A message that this token may see; 404 for others.  In a thread."""
        summary = self.store.summary(id_)
        if self.principal.inbox not in {None, summary.inbox}:
            raise not_found()
        return summary

    def visible_ids(self, ids: list[int]) -> list[int]:
        """Those of them that are there, and that this call may touch.  In a thread."""
        inbox = self.inbox
        if inbox is None:
            return ids
        found = []
        for id_ in ids:
            try:
                if self.store.summary(id_).inbox == inbox:
                    found.append(id_)
            except NoSuchMessage:
                continue
        return found

    async def parsed(self, id_: int) -> Parsed:
        """What is in a message, which may just have arrived."""

        def is_it(event: Event) -> bool:
            return event.kind is EventKind.INDEXED and event.summary is not None and event.summary.id == id_

        if not self.server.is_indexed:
            return await self.run(self._parse_now, id_)  # type: ignore[no-any-return]
        with self.server.hub.listen(is_it) as listener:
            parsed: Parsed | None = await self.run(self.store.parsed, id_)
            if parsed is None:
                try:
                    async with asyncio.timeout(PARSE_SECONDS):
                        await listener.next()
                except TimeoutError:
                    return _UNREAD
                parsed = await self.run(self.store.parsed, id_)
        return parsed or _UNREAD

    def _parse_now(self, id_: int) -> Parsed:
        return self.store.parsed(id_) or parse(self.store.raw(id_))


_UNREAD = Parsed(None, None, (), (), (), (), "", "The message has not been looked into yet")
