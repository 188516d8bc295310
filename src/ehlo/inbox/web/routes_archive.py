"""Many messages at once, out and in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from ehlo.inbox.records import DEFAULT_INBOX
from ehlo.inbox.web.archive import Found, TooBig, Unreadable, arrival, from_mbox, from_tar, to_maildir, to_mbox
from ehlo.inbox.web.errors import ApiError, invalid
from ehlo.inbox.web.names import attachment
from ehlo.inbox.web.openapi import MESSAGE
from ehlo.inbox.web.output import Json

if TYPE_CHECKING:
    from typing import IO

    from ehlo.inbox.web.call import Call, Routes

PENDING_LIMIT = 64
"""Messages that wait to be committed while more are read."""


async def export(call: Call) -> Response:
    """One message after the other is read, when the client has taken the one before."""
    messages = call.store.export(call.query, inbox=call.inbox)
    if call["format"] == "mbox":
        pieces, name, media_type = to_mbox(messages), "inbox.mbox", "application/mbox"
    else:
        pieces, name, media_type = to_maildir(messages), "inbox.tar", "application/x-tar"
    return StreamingResponse(pieces, headers={"content-disposition": attachment(name)}, media_type=media_type)


async def import_(call: Call) -> Response:
    """What is in a file, as far as it can be read: what was imported before a mistake stays."""
    count = await call.run(_import, call, call.inbox or DEFAULT_INBOX)
    return Json({"imported": count})


ROUTES: Routes = {"export": export, "import": import_}


def _import(call: Call, inbox: str) -> int:
    assert call.file is not None
    limit = call.server.settings.data_size_limit
    pending: list[Future[int]] = []
    count = 0
    try:
        for found in _read(call.file, call.media_type, limit):
            pending.append(call.store.add(arrival(found, inbox)))
            count += 1
            if len(pending) >= PENDING_LIMIT:
                pending.pop(0).result()
    except TooBig as error:
        raise ApiError(413, "too_big", f"{error}; {count} messages were imported before it") from None
    except Unreadable as error:
        raise invalid(str(error)) from None
    for future in pending:
        future.result()
    return count


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
