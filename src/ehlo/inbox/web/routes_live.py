"""What does not end at once: waiting for a message, and streams of events.

How clients leave, and what becomes of those who do not read, is in ``ehlo.inbox.web.streaming``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import Response

from ehlo.inbox.criteria import Criteria
from ehlo.inbox.events import Numbered
from ehlo.inbox.records import Event, EventKind
from ehlo.inbox.web import output
from ehlo.inbox.web.errors import not_found
from ehlo.inbox.web.output import Json
from ehlo.inbox.web.streaming import Stream, disconnected, first_of

if TYPE_CHECKING:
    from ehlo.inbox.events import Listener
    from ehlo.inbox.waiting import Watch
    from ehlo.inbox.web.call import Call, Routes

KEEP_ALIVE = 15.0
"""Seconds between two signs of life of a stream."""
TOGETHER = 50
"""Events that are sent as one piece when many wait."""
LINGER = 0.05
"""Seconds between two pieces of a stream."""
BUSY = 20
"""Events in a piece that is told together from which on the next one waits for more."""
BUSY_LINGER = 0.25
"""For so many seconds: a browser takes some milliseconds for each piece."""
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
    tell = _together if call["together"] else _one_by_one
    return EventStream(_everything(call, listener, last, tell), listener.__exit__)


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


Tell = Callable[[str, Sequence[Numbered]], Iterator[bytes]]
"""Makes pieces of a stream of what has happened in this epoch."""


async def _everything(
    call: Call, listener: Listener, last: re.Match[str] | None, tell: Tell
) -> AsyncGenerator[bytes, None]:
    """All that happens and that the token may see; what was missed first, where that is known."""
    hub = call.server.hub
    begin = hub.number
    yield _event("hello", {"cursor": call.store.last_id}, f"{hub.epoch}.{begin}")
    told: set[int] = set()
    maybe_missed: Sequence[Numbered] | None = ()
    if last is not None:
        maybe_missed = hub.since(int(last["number"])) if last["epoch"] == hub.epoch else None
    elif call["after"] is not None:
        maybe_missed = await call.run(_newer, call, call["after"], begin)
        told = {id_ for numbered in maybe_missed or () for id_ in numbered.event.ids}
    if maybe_missed is None:
        yield _event("reset", {}, f"{hub.epoch}.{begin}")
    missed = [it for it in maybe_missed or () if it.number <= begin and listener.wants(it.event)]
    for piece in tell(hub.epoch, missed):
        yield piece
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
            numbered
            for numbered in numbered_events
            if numbered.event.kind is not EventKind.MESSAGE or not told.intersection(numbered.event.ids)
        ]
        for piece in tell(hub.epoch, wanted):
            yield piece
        # What comes meanwhile goes out together: ninety streams would wake ninety times for each message.
        await asyncio.sleep(BUSY_LINGER if tell is _together and len(wanted) >= BUSY else LINGER)


def _newer(call: Call, after: int, number: int) -> list[Numbered] | None:
    """The messages after this one as events, None if there are too many."""
    found = call.store.list(inbox=call.inbox, after=after, limit=CATCH_UP_LIMIT + 1).messages[::-1]
    if len(found) > CATCH_UP_LIMIT:
        return None
    return [Numbered(number, Event(EventKind.MESSAGE, it.inbox, (it.id,), it)) for it in found]


def _criteria(call: Call) -> Criteria:
    return Criteria.from_text(to=call["to"], from_=call["from"], subject=call["subject"], q=call["q"])


def _visible_to(call: Call) -> Callable[[Event], bool]:
    """What a stream tells of: of one inbox, only what is of that inbox and no other."""
    inbox = call.inbox
    return lambda event: inbox is None or event.inbox == inbox


def _one_by_one(epoch: str, found: Sequence[Numbered]) -> Iterator[bytes]:
    """Each as an event."""
    events = [_framed(_name(it.event), _data(it), f"{epoch}.{it.number}") for it in found]
    for start in range(0, len(events), TOGETHER):
        yield b"".join(events[start : start + TOGETHER])


def _together(epoch: str, found: Sequence[Numbered]) -> Iterator[bytes]:
    """All as one event.  Of what came there are the ids: who wants this has a list, and asks for the newest of it."""
    if not found:
        return
    came = [it.event for it in found if it.event.kind is EventKind.MESSAGE]
    parts = [b'["message",%b]' % output.encode({"ids": [id_ for event in came for id_ in event.ids]})] if came else []
    parts += [
        b'["%b",%b]' % (_name(it.event).encode(), _data(it)) for it in found if it.event.kind is not EventKind.MESSAGE
    ]
    yield _framed("together", b"[%b]" % b",".join(parts), f"{epoch}.{found[-1].number}")


def _data(numbered: Numbered) -> bytes:
    """The same to every stream that may tell of it, and made once."""
    if numbered.maybe_octets is None:
        numbered.maybe_octets = output.encode(_describe(numbered.event))
    return numbered.maybe_octets


def _name(event: Event) -> str:
    """An event's name on the wire."""
    return "changed" if event.kind is EventKind.INDEXED else event.kind.value


def _describe(event: Event) -> Any:
    """An event's data on the wire."""
    if event.kind is EventKind.MESSAGE and event.summary is not None:
        return output.summary(event.summary)
    if event.kind is EventKind.INDEXED and event.summary is not None:
        return {"ids": [event.summary.id], "message": output.summary(event.summary)}
    if event.kind is EventKind.SESSION and event.session is not None:
        return output.session(event.session)
    if event.kind is EventKind.DELETED:
        return {"ids": event.ids}
    if event.kind is EventKind.INBOX:
        return {"name": event.inbox}
    data: dict[str, Any] = {"ids": event.ids}
    if event.is_read is not None:
        data["is_read"] = event.is_read
    if event.add_tags:
        data["add_tags"] = event.add_tags
    if event.remove_tags:
        data["remove_tags"] = event.remove_tags
    return data


def _event(name: str, data: Any, maybe_id: str | None) -> bytes:
    return _framed(name, output.encode(data), maybe_id)


def _framed(name: str, data: bytes, maybe_id: str | None) -> bytes:
    """An event in its frame."""
    head = f"event: {name}\n" + (f"id: {maybe_id}\n" if maybe_id is not None else "")
    return b"%bdata: %b\n\n" % (head.encode(), data)


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
