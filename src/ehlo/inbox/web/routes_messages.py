"""Messages: list, read, mark, delete, send on.  Knows the store; what its records look like as JSON is ``output``'s."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from ehlo.inbox.query import ALL, parse_query
from ehlo.inbox.records import DEFAULT_INBOX
from ehlo.inbox.web import output
from ehlo.inbox.web.archive import Found, arrival
from ehlo.inbox.web.errors import invalid, not_found
from ehlo.inbox.web.html import Rendered, document, document_policy, render
from ehlo.inbox.web.images import identify
from ehlo.inbox.web.names import attachment, safe_name
from ehlo.inbox.web.output import Json
from ehlo.inbox.web.release import check_content, check_envelope, release
from ehlo.inbox.web.streaming import Stream, in_threads
from ehlo.mime.encodings import decode_body

if TYPE_CHECKING:
    from ehlo.inbox.records import Parsed, Part
    from ehlo.inbox.web.call import Call, Routes

EMBEDDED_OCTETS = 5 << 20
"""A larger part is not put into a page."""
PART_PIECE = 256 * 1024
"""Octets of a part that are in memory for a client; a smaller part is sent at once."""
_ENCODINGS = {"base64", "quoted-printable"}
_FILE_POLICY = "default-src 'none'; sandbox"


async def list_messages(call: Call) -> Response:
    """Newest first; ``cursor`` is taken before: what arrives meanwhile is not skipped."""

    def read() -> Json:
        cursor = call.store.last_id
        page = call.store.list(
            call.query, inbox=call.inbox, limit=call["limit"], before=call["before"], after=call["after"]
        )
        return Json(
            {
                "messages": [output.summary(summary) for summary in page.messages],
                "total": page.total,
                "unread": page.unread,
                "cursor": cursor,
            }
        )

    return await call.run(read)  # type: ignore[no-any-return]


async def upload_message(call: Call) -> Response:
    """The envelope is what the header suggests."""
    assert call.file is not None
    raw = await call.run(call.file.read)
    if not raw:
        raise invalid("The body is empty")
    arrived = await call.run(arrival, Found(raw), call.inbox or DEFAULT_INBOX)
    id_ = await asyncio.wrap_future(call.store.add(arrived))
    return Json(output.summary(await call.run(call.store.summary, id_)), 201)


async def change_messages(call: Call) -> Response:
    """Mark and tag what ``ids``, ``q`` or ``all`` say."""
    ids = await call.run(_chosen, call, call.body)
    return Json({"changed": await _change(call, ids, call.body)})


async def delete_messages(call: Call) -> Response:
    """Delete what ``ids``, ``q`` or ``all`` say."""
    ids = await call.run(_chosen, call, call.parameters)
    return Json({"deleted": await asyncio.wrap_future(call.store.delete(ids))})


async def read_message(call: Call) -> Response:
    """Everything but its octets."""
    summary = await call.run(call.visible, call["id"])
    parsed = await call.parsed(summary.id)
    has_remote = parsed.html is not None and (await _rendered(call, summary.id, parsed)).blocked > 0

    def read() -> Json:
        envelope = call.store.envelope(summary.id)
        return Json(output.message(call.store.summary(summary.id), envelope, parsed, has_remote=has_remote))

    return await call.run(read)  # type: ignore[no-any-return]


async def change_message(call: Call) -> Response:
    """Mark and tag one."""
    summary = await call.run(call.visible, call["id"])
    await _change(call, [summary.id], call.body)
    return Json(output.summary(await call.run(call.store.summary, summary.id)))


async def delete_message(call: Call) -> Response:
    """Delete one."""
    summary = await call.run(call.visible, call["id"])
    if not await asyncio.wrap_future(call.store.delete([summary.id])):
        raise not_found()
    return Response(status_code=204)


async def raw_message(call: Call) -> Response:
    """Its octets.  Text and nothing else to a browser, whatever they are."""
    summary = await call.run(call.visible, call["id"])
    headers = {"content-length": str(summary.size), "content-security-policy": _FILE_POLICY}
    media_type = "text/plain; charset=utf-8"
    if call["download"]:
        headers["content-disposition"] = attachment(f"message-{summary.id}.eml")
        media_type = "message/rfc822"
    return _stream(call, call.store.raw_chunks(summary.id), headers, media_type)


async def message_html(call: Call) -> Response:
    """Its HTML, behind three walls: see ``ehlo.inbox.web.html``."""
    summary = await call.run(call.visible, call["id"])
    parsed = await call.parsed(summary.id)
    if parsed.html is None:
        raise not_found("The message has no HTML")
    rendered = await _rendered(call, summary.id, parsed, with_remote=call["remote"])
    page = await call.run(document, rendered)
    headers = {
        "content-security-policy": document_policy(with_remote=call["remote"]),
        "x-frame-options": "SAMEORIGIN",
    }
    return Response(page, headers=headers, media_type="text/html")


async def message_text(call: Call) -> Response:
    """Its text."""
    summary = await call.run(call.visible, call["id"])
    parsed = await call.parsed(summary.id)
    if parsed.text is None:
        raise not_found("The message has no text")
    return Response(parsed.text.encode("utf-8", "replace"), media_type="text/plain")


async def message_headers(call: Call) -> Response:
    """Its header."""
    summary = await call.run(call.visible, call["id"])
    return Json((await call.parsed(summary.id)).headers)


async def message_part(call: Call) -> Response:
    """A part, as a file.  Its type is what its octets say, if they are an image, and never what the sender says."""
    summary = await call.run(call.visible, call["id"])
    parsed = await call.parsed(summary.id)
    index = call["index"]
    if index >= len(parsed.parts):
        raise not_found()
    part = parsed.parts[index]
    headers = {
        "content-disposition": attachment(safe_name(part.filename, f"part-{index}{_ending(part)}")),
        "content-security-policy": _FILE_POLICY,
    }
    is_coded = part.encoding in _ENCODINGS and all(other.parent != index for other in parsed.parts)
    if part.end - part.start <= PART_PIECE:
        data = await call.run(_part_octets, call, summary.id, part)
        return Response(data, headers=headers, media_type=_media_type(data))
    if is_coded:
        return await _large_part(call, summary.id, part, headers)
    chunks = call.store.raw_chunks(summary.id, part.start, part.end)
    first = await call.run(next, chunks, b"")
    headers["content-length"] = str(part.end - part.start)
    return _stream(call, itertools.chain([first], chunks), headers, _media_type(first))


async def release_message(call: Call) -> Response:
    """Send it to a real server that is allowed."""
    body = call.body
    summary = await call.run(call.visible, call["id"])
    sender = body.get("sender", summary.mail_from)
    recipients = body.get("recipients") or list(summary.rcpt_tos)
    if not recipients:
        raise invalid("The message has no recipients")
    check_envelope(sender, recipients)
    target = await call.targets.find(body["host"], body["port"])
    raw = await call.run(call.store.raw, summary.id)
    check_content(raw)
    reply, accepted = await release(target, sender, recipients, raw)
    return Json({"reply": reply, "recipients": accepted})


ROUTES: Routes = {
    function.__name__: function
    for function in (
        list_messages,
        upload_message,
        change_messages,
        delete_messages,
        read_message,
        change_message,
        delete_message,
        raw_message,
        message_html,
        message_text,
        message_headers,
        message_part,
        release_message,
    )
}


def _chosen(call: Call, which: dict[str, Any]) -> list[int]:
    """The messages that one of ``ids``, ``q`` and ``all`` names; 422 for none of them or several."""
    given = [name for name in ("ids", "q", "all") if which.get(name) not in (None, False)]
    if len(given) != 1:
        raise invalid("Give one of ids, q and all")
    if given == ["ids"]:
        return call.visible_ids(which["ids"])
    query = parse_query(which["q"]) if given == ["q"] else ALL
    if given == ["q"] and not query.terms:
        raise invalid("q is empty, and would mean every message: all says so")
    return list(call.store.find(query, inbox=call.inbox))


async def _change(call: Call, ids: list[int], change: dict[str, Any]) -> int:
    add, remove = change.get("add_tags", []), change.get("remove_tags", [])
    changed = 0
    if "is_read" in change:
        changed = await asyncio.wrap_future(call.store.mark(ids, is_read=change["is_read"]))
    if add or remove:
        changed = max(changed, await asyncio.wrap_future(call.store.tag(ids, add=add, remove=remove)))
    return changed


def _stream(call: Call, pieces: Iterator[bytes], headers: dict[str, str], media_type: str) -> Stream:
    return Stream(in_threads(call, pieces), lambda: None, media_type=media_type, headers=headers)


async def _large_part(call: Call, id_: int, part: Part, headers: dict[str, str]) -> Response:
    """A part that is decoded as a whole, by way of a file: who reads slowly, or never, holds no memory."""
    call.shared.parts.take()
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been sent

    def release() -> None:
        file.close()
        call.shared.parts.give_back()

    def decode() -> bytes:
        size = file.write(_part_octets(call, id_, part))
        file.seek(0)
        first = file.read(PART_PIECE)
        headers["content-length"] = str(size)
        return first

    try:
        async with call.shared.decoding:
            first = await call.run(decode)
    except BaseException:
        release()
        raise
    pieces = itertools.chain([first], iter(lambda: file.read(PART_PIECE), b""))
    return Stream(in_threads(call, pieces), release, media_type=_media_type(first), headers=headers)


def _media_type(first: bytes) -> str:
    image = identify(first)
    return image.media_type if image is not None and image.is_harmless else "application/octet-stream"


async def _rendered(call: Call, id_: int, parsed: Parsed, *, with_remote: bool = False) -> Rendered:
    async def make() -> Rendered:
        return await call.run(_render, call, id_, parsed, with_remote)  # type: ignore[no-any-return]

    return await call.shared.renderings.get((id_, with_remote), make)


def _render(call: Call, id_: int, parsed: Parsed, with_remote: bool) -> Rendered:  # noqa: FBT001 - by ``run``
    by_id = {part.content_id.strip("<> "): part for part in parsed.parts if part.content_id}

    def find_image(content_id: str) -> bytes | None:
        part = by_id.get(content_id)
        if part is None or part.end - part.start > 2 * EMBEDDED_OCTETS:
            return None
        return _part_octets(call, id_, part)

    assert parsed.html is not None
    return render(parsed.html, find_image, with_remote=with_remote)


def _part_octets(call: Call, id_: int, part: Part) -> bytes:
    if call.server.is_indexed:
        return call.store.part(id_, part.index)
    return decode_body(b"".join(call.store.raw_chunks(id_, part.start, part.end)), part.encoding)


def _ending(part: Part) -> str:
    return {"text/plain": ".txt", "text/html": ".html", "message/rfc822": ".eml"}.get(part.content_type, ".bin")
