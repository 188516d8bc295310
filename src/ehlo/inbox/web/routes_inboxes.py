"""What the server is, its inboxes, and its sessions."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from ehlo import __version__
from ehlo.inbox.errors import InboxTaken, NoSuchMessage, TooManyInboxes
from ehlo.inbox.records import DEFAULT_INBOX, SessionRecord
from ehlo.inbox.web import output
from ehlo.inbox.web.errors import ApiError, invalid, not_found
from ehlo.inbox.web.names import attachment
from ehlo.inbox.web.output import Json

if TYPE_CHECKING:
    from ehlo.inbox.web.call import Call, Routes


RECORDING_OCTETS = 64 << 20
"""Octets of messages that go into the file of a session."""

_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


async def info(call: Call) -> Response:
    """What a client needs to know at first."""
    server, store = call.server, call.store
    retention = store.retention
    return Json(
        {
            "version": __version__,
            "smtp": server.smtp_addresses,
            "smtps": server.smtps_addresses,
            "tls": server.settings.tls_context is not None,
            "auth": server.auth,
            "is_persistent": store.is_persistent,
            "retention": {"count": retention.count, "octets": retention.octets, "age": retention.age},
            "inboxes": [
                {"name": count.name, "messages": count.total, "unread": count.unread}
                for count in await call.run(_visible_inboxes, call)
            ],
            "inbox": call.principal.inbox,
            "can_create_inboxes": call.principal.inbox is None,
            "release": list(call.targets.rules) if call.principal.inbox is None else [],
            "can_authenticate": server.resolver is not None,
            "max_size": server.settings.data_size_limit,
        }
    )


async def list_inboxes(call: Call) -> Response:
    """Those that the token may see."""
    return Json({"inboxes": [output.inbox(count) for count in await call.run(_visible_inboxes, call)]})


async def create_inbox(call: Call) -> Response:
    """Its password and token are told here, and never again."""
    body: dict[str, Any] = call.body or {}
    if body.get("name") == DEFAULT_INBOX:
        raise ApiError(409, "taken", "There is an inbox of that name")
    try:
        made = call.server.accounts.create(body.get("name"), ttl=body.get("ttl"))
        await asyncio.wrap_future(made.done)
    except ValueError as error:
        raise invalid(str(error)) from None
    except InboxTaken:
        raise ApiError(409, "taken", "There is an inbox of that name") from None
    except TooManyInboxes as error:
        raise ApiError(429, "too_many", str(error)) from None
    record = made.record
    host, port, *_ = next(iter(call.server.addresses), ("127.0.0.1", 0))
    if host in _EVERYWHERE:
        host = call.request.url.hostname or host
    return Json(
        {
            "name": record.name,
            "smtp": {"host": host, "port": port, "login": record.login, "password": record.password},
            "token": made.token,
            "link": f"{_base(call)}?token={made.token}",
            "expires_at": output.maybe_time_text(record.expires_at),
        },
        201,
    )


async def delete_inbox(call: Call) -> Response:
    """The owner may delete any; the token of one, that one."""
    name = call["name"]
    if all(count.name != name for count in await call.run(_visible_inboxes, call)):
        raise not_found()
    await asyncio.wrap_future(call.server.accounts.delete(name))
    return Response(status_code=204)


async def list_sessions(call: Call) -> Response:
    """Newest first: those that go on, then those that are over."""
    limit, before = call["limit"], call["before"]
    going_on = [record for record in call.server.open_sessions() if _is_visible(call, record)] if not before else []
    if call["refused"]:
        going_on = [record for record in going_on if record.is_refused]

    def read() -> tuple[SessionRecord, ...]:
        return call.store.sessions(limit=limit, before=before, inbox=call.inbox, refused=call["refused"])

    stored = await call.run(read)
    shown = [*going_on, *(record for record in stored if _is_visible(call, record))]
    cursor = stored[-1].id if len(stored) == limit else None
    return Json(
        {"sessions": [output.session(record) for record in shown[: max(limit, len(going_on))]], "cursor": cursor}
    )


async def read_session(call: Call) -> Response:
    """With all that was said."""
    record = await call.run(call.server.session, call["id"])
    if record is None or not _is_visible(call, record):
        raise not_found()
    return Json(output.session_with_transcript(record))


async def record_session(call: Call) -> Response:
    """The same with its messages, as a file."""
    record = await call.run(call.server.session, call["id"])
    if record is None or not _is_visible(call, record):
        raise not_found()
    recording = {
        "format": "ehlo-session-1",
        "session": output.session_with_transcript(record),
        "messages": await call.run(_messages_of, call, record),
    }
    return Json(recording, headers={"content-disposition": attachment(f"session-{record.id}.json")})


ROUTES: Routes = {
    function.__name__: function
    for function in (info, list_inboxes, create_inbox, delete_inbox, list_sessions, read_session, record_session)
}


def _is_visible(call: Call, record: SessionRecord) -> bool:
    """A session that concerns several inboxes is the owner's only: its dialogue names the recipients of all."""
    own = call.principal.inbox
    if own is not None:
        return record.inbox == own
    return call.parameters.get("inbox") is None or record.inbox in {None, call.parameters["inbox"]}


def _visible_inboxes(call: Call) -> list[Any]:
    own = call.principal.inbox
    return [count for count in call.store.inboxes() if own in {None, count.name}]


def _base(call: Call) -> str:
    """The page, as the client of this call reaches the server."""
    host = call.request.headers.get("host")
    return f"{call.request.url.scheme}://{host}/" if host else call.server.web_url or "/"


def _messages_of(call: Call, record: SessionRecord) -> list[dict[str, str]]:
    """What it brought, each once, however many inboxes it went to; as many octets as go into one file."""
    found: dict[str, bytes] = {}
    octets = 0
    for id_ in record.messages:
        try:
            summary, envelope = call.visible(id_), call.store.envelope(id_)
            if envelope.id not in found and octets + summary.size <= RECORDING_OCTETS:
                found[envelope.id] = call.store.raw(id_)
                octets += summary.size
        except (NoSuchMessage, ApiError):  # deleted, or another's
            continue
    return [{"raw": base64.b64encode(raw).decode()} for raw in found.values()]
