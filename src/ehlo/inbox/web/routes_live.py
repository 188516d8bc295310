"""What does not end at once: waiting for a message, and streams of events.

How clients leave, and what becomes of those who do not read, is in ``ehlo.inbox.web.streaming``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import Response

from ehlo.inbox.criteria import Criteria
from ehlo.inbox.records import Event, EventKind
from ehlo.inbox.web import output
from ehlo.inbox.web.errors import not_found
from ehlo.inbox.web.output import Json
from ehlo.inbox.web.streaming import Stream, disconnected, first_of

if TYPE_CHECKING:
    from ehlo.inbox.events import Listener, Numbered
    from ehlo.inbox.records import Summary
    from ehlo.inbox.waiting import Watch
    from ehlo.inbox.web.call import Call, Routes

KEEP_ALIVE = 15.0
"""Seconds between two signs of life of a stream."""
TOGETHER = 50
"""Events that are sent as one piece when many wait."""
LINGER = 0.05
"""Seconds between two pieces of a stream."""
CATCH_UP_LIMIT = 1000
"""Messages that a stream which begins with ``after`` catches up with."""

T = TypeVar("T")

# "epoch.number" in the stream of everything, "m" and the message's id in a stream with criteria.
_EVENT_ID = re.compile(r"(?P<epoch>[0-9a-f]{8})\.(?P<number>[0-9]{1,15})|m(?P<message>[0-9]{1,15})", re.ASCII)


async def wait(call: Call) -> Response:
    """See ``ehlo.inbox.waiting``."""
    with call.server.watch(_criteria(call), inbox=call.inbox, after=call["after"]) as watch:
        found = await _unless_gone(call, watch.next(call["timeout"]))
        message = None
        if not call.is_still_allowed:
            raise not_found()
        if found is not None:
            parsed = await call.parsed(found.id)
            message = output.waited(await call.run(call.visible, found.id), parsed)
        return Json(
            {"message": message, "cursor": watch.cursor, "arrived": [output.summary(other) for other in watch.seen]}
        )


async def events(call: Call) -> Response:
    """Server-sent events (the EventSource of HTML)."""
    last = _EVENT_ID.fullmatch(call.request.headers.get("last-event-id", ""))
    criteria = _criteria(call)
    if call.request.method == "HEAD":
        return Response(media_type="text/event-stream")
    if not criteria.is_empty:
        after = int(last["message"]) if last is not None and last["message"] else call["after"]
        watch = call.server.watch(criteria, inbox=call.inbox, after=after, is_stream=True)
        return EventStream(_matching(call, watch), watch.__exit__)
    listener = call.server.hub.listen(_visible_to(call), is_stream=True)
    return EventStream(_everything(call, listener, last), listener.__exit__)


ROUTES: Routes = {"wait": wait, "events": events}


class EventStream(Stream):
    """A stream of events; ``release`` is that of a context manager."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], release: Callable[..., None]) -> None:
        super().__init__(
            pieces,
            lambda: release(None, None, None),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )


async def _matching(call: Call, watch: Watch) -> AsyncGenerator[bytes, None]:
    """The messages that match."""
    yield _event("hello", {"cursor": watch.cursor}, None)
    while True:
        found = await watch.next(KEEP_ALIVE)
        if not call.is_still_allowed:
            return
        if found is not None:
            yield _event("message", output.summary(found), f"m{found.id}")
        elif watch.is_over:
            return
        else:
            yield b": alive\n\n"


async def _everything(call: Call, listener: Listener, last: re.Match[str] | None) -> AsyncGenerator[bytes, None]:
    """All that happens and that the token may see; what was missed first, where that is known."""
    hub = call.server.hub
    begin = hub.number
    yield _event("hello", {"cursor": call.store.last_id}, f"{hub.epoch}.{begin}")
    told: set[int] = set()
    if last is not None:
        maybe_missed = hub.since(int(last["number"])) if last["epoch"] == hub.epoch else None
        if maybe_missed is None:
            yield _event("reset", {}, f"{hub.epoch}.{begin}")
        for numbered in maybe_missed or ():
            if numbered.number <= begin and listener.wants(numbered.event):
                yield _numbered(hub.epoch, numbered)
    elif call["after"] is not None:
        summaries = await call.run(_newer, call, call["after"])
        if len(summaries) > CATCH_UP_LIMIT:
            yield _event("reset", {}, None)
        else:
            for summary in summaries:
                told.add(summary.id)
                yield _event("message", output.summary(summary), None)
    while not listener.has_ended:
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                numbered_events = await listener.next()
        except TimeoutError:
            yield b": alive\n\n"
            continue
        if not call.is_still_allowed:
            return
        if listener.has_missed:
            listener.recover()
            yield _event("reset", {}, f"{hub.epoch}.{hub.number}")
        wanted = [
            _numbered(hub.epoch, numbered)
            for numbered in numbered_events
            if numbered.event.kind is not EventKind.MESSAGE or not told.intersection(numbered.event.ids)
        ]
        for start in range(0, len(wanted), TOGETHER):
            yield b"".join(wanted[start : start + TOGETHER])
        # What comes meanwhile goes out together: ninety streams would wake ninety times for each message.
        await asyncio.sleep(LINGER)


def _newer(call: Call, after: int) -> list[Summary]:
    return list(call.store.list(inbox=call.inbox, after=after, limit=CATCH_UP_LIMIT + 1).messages[::-1])


def _criteria(call: Call) -> Criteria:
    return Criteria.from_text(to=call["to"], from_=call["from"], subject=call["subject"], q=call["q"])


def _visible_to(call: Call) -> Callable[[Event], bool]:
    """What a stream tells of: of one inbox, only what is of that inbox and no other."""
    inbox = call.inbox
    return lambda event: inbox is None or event.inbox == inbox


def _numbered(epoch: str, numbered: Numbered) -> bytes:
    """The same to every stream that may tell of it, and made once."""
    if numbered.maybe_octets is None:
        name, data = _describe(numbered.event)
        numbered.maybe_octets = _event(name, data, f"{epoch}.{numbered.number}")
    return numbered.maybe_octets


def _describe(event: Event) -> tuple[str, Any]:
    """An event's name and data on the wire."""
    if event.kind is EventKind.MESSAGE and event.summary is not None:
        return "message", output.summary(event.summary)
    if event.kind is EventKind.INDEXED and event.summary is not None:
        return "changed", {"ids": [event.summary.id], "message": output.summary(event.summary)}
    if event.kind is EventKind.SESSION and event.session is not None:
        return "session", output.session(event.session)
    if event.kind is EventKind.DELETED:
        return "deleted", {"ids": event.ids}
    if event.kind is EventKind.INBOX:
        return "inbox", {"name": event.inbox}
    data: dict[str, Any] = {"ids": event.ids}
    if event.is_read is not None:
        data["is_read"] = event.is_read
    if event.add_tags:
        data["add_tags"] = event.add_tags
    if event.remove_tags:
        data["remove_tags"] = event.remove_tags
    return "changed", data


def _event(name: str, data: Any, maybe_id: str | None) -> bytes:
    head = f"event: {name}\n" + (f"id: {maybe_id}\n" if maybe_id is not None else "")
    return head.encode() + b"data: " + output.encode(data) + b"\n\n"


async def _unless_gone(call: Call, waiting: Awaitable[T]) -> T:
    """The outcome; ``CancelledError`` when the client has gone: nobody is there to be answered."""
    task = asyncio.ensure_future(waiting)
    leaving = asyncio.ensure_future(disconnected(call.request.receive))
    await first_of(task, leaving)
    if not task.done() or task.cancelled():
        raise ClientGone
    return task.result()


class ClientGone(Exception):
    """The client has closed the connection."""
