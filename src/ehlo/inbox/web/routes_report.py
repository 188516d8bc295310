"""What is wrong with a message.  Knows who may see what, and what may be asked for; the rules are ``ehlo.report``'s."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING

from ehlo.inbox.checking import OCTETS, CheckFailed, Sending, Subject
from ehlo.inbox.web import output
from ehlo.inbox.web.errors import ApiError, invalid
from ehlo.inbox.web.output import Json

if TYPE_CHECKING:
    from starlette.responses import Response

    from ehlo.inbox.records import SessionRecord, Summary
    from ehlo.inbox.web.call import Call, Routes


async def report_message(call: Call) -> Response:
    """By the rules about mail, and about the session that brought it where the token may see that."""
    maybe_sending = _sending(call)
    summary: Summary = await call.run(call.visible, call["id"])
    checker = call.server.checker if maybe_sending is None else call.server.voucher
    key = (summary.id, call.principal.inbox)
    try:
        asked = checker.check(key, lambda: _subject(call, summary)._replace(maybe_sending=maybe_sending))
        report = await asyncio.wrap_future(asked)
    except CheckFailed as error:
        raise ApiError(503, "not_checked", str(error)) from None
    return Json(output.report(report))


ROUTES: Routes = {"report_message": report_message}


def _sending(call: Call) -> Sending | None:
    address, helo = call["address"], call["helo"]
    if address is None:
        if helo is not None:
            raise invalid("helo: goes with address only")
        return None
    resolver = call.server.resolver
    if resolver is None:
        raise ApiError(409, "no_resolver", "This server asks no name servers: start it with --dns or --zone FILE")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise invalid("address: an IP address expected") from None
    return Sending(address, helo or "", resolver)


def _subject(call: Call, summary: Summary) -> Subject:
    raw = b"".join(call.store.raw_chunks(summary.id, 0, min(summary.size, OCTETS)))
    maybe_session = call.server.session(summary.session_id) if summary.session_id else None
    if maybe_session is not None and not _is_visible(call, maybe_session):
        maybe_session = None
    maybe_envelope = call.store.envelope(summary.id) if summary.session_id else None
    return Subject(raw, summary.size, maybe_envelope, maybe_session)


def _is_visible(call: Call, session: SessionRecord) -> bool:
    return call.principal.inbox in {None, session.inbox}
