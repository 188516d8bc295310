"""Many messages at once, out and in."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ehlo.inbox.errors import NoSuchMessage
from ehlo.inbox.records import DEFAULT_INBOX
from ehlo.inbox.web.archive import Found, TooBig, Unreadable, arrival, from_mbox, from_tar, to_maildir, to_mbox
from ehlo.inbox.web.errors import ApiError, invalid
from ehlo.inbox.web.names import attachment
from ehlo.inbox.web.openapi import IMPORT_LIMIT, MESSAGE
from ehlo.inbox.web.output import Json
from ehlo.inbox.web.streaming import Stream, in_threads

if TYPE_CHECKING:
    from typing import IO

    from starlette.responses import Response

    from ehlo.inbox.query import Query
    from ehlo.inbox.records import Summary
    from ehlo.inbox.web.call import Call, Routes

PENDING_LIMIT = 64
"""Messages that wait to be committed while more are read."""
PENDING_OCTETS = 8 << 20
"""Octets of these; a larger message waits alone."""


async def export(call: Call) -> Response:
    """One message after the other is read, when the client has taken the one before."""
    messages = _messages(call, call.query, call.inbox)
    if call["format"] == "mbox":
        pieces, name, media_type = to_mbox(messages), "inbox.mbox", "application/mbox"
    else:
        pieces, name, media_type = to_maildir(messages), "inbox.tar", "application/x-tar"
    headers = {"content-disposition": attachment(name)}
    exports = call.shared.exports
    exports.take()
    return Stream(in_threads(call, pieces), exports.give_back, media_type=media_type, headers=headers)


async def import_(call: Call) -> Response:
    """What is in a file, as far as it can be read: what was imported before a mistake stays."""
    call.shared.imports.take()
    try:
        count = await call.run(_import, call, call.inbox or DEFAULT_INBOX)
    finally:
        call.shared.imports.give_back()
    return Json({"imported": count})


ROUTES: Routes = {"export": export, "import": import_}


def _import(call: Call, inbox: str) -> int:
    assert call.file is not None
    limit = call.server.settings.data_size_limit
    pending: deque[tuple[Future[int], int]] = deque()
    count = octets = 0
    try:
        for found in _read(call.file, call.media_type, limit):
            if count >= IMPORT_LIMIT:
                raise TooBig(f"It has more than {IMPORT_LIMIT} messages")
            pending.append((call.store.add(arrival(found, inbox)), len(found.raw)))
            octets += len(found.raw)
            count += 1
            while len(pending) >= PENDING_LIMIT or octets > PENDING_OCTETS:
                future, size = pending.popleft()
                future.result()
                octets -= size
    except TooBig as error:
        raise ApiError(413, "too_big", f"{error}; {count} messages were imported before it") from None
    except Unreadable as error:
        raise invalid(str(error)) from None
    for future, _ in pending:
        future.result()
    return count


def _messages(call: Call, query: Query, inbox: str | None) -> Iterator[tuple[Summary, Iterator[bytes]]]:
    """The messages, oldest first, without those deleted meanwhile; their octets are read when they are asked for."""
    for id_ in call.store.find(query, inbox=inbox):
        try:
            summary, chunks = call.store.summary(id_), call.store.raw_chunks(id_)
            first = next(chunks, b"")
        except NoSuchMessage:
            continue
        yield summary, itertools.chain([first], chunks)


def _read(file: IO[bytes], media_type: str, limit: int | None) -> Iterator[Found]:
    if media_type == "application/mbox":
        return from_mbox(file, limit)
    if media_type == "application/x-tar":
        return from_tar(file, limit)
    assert media_type == MESSAGE
    raw = file.read() if limit is None else file.read(limit + 1)
    if limit is not None and len(raw) > limit:
        raise TooBig("The message is larger than messages may be")
    return iter([Found(raw)] if raw else [])
