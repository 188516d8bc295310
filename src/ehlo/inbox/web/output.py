"""Records as the JSON of the API.  Knows both shapes; does not know where records come from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from ehlo.inbox.checking import Checked
    from ehlo.inbox.records import EnvelopeRecord, InboxCount, Line, Link, Parsed, Part, SessionRecord, Summary


class Json(Response):
    """JSON, also of text that is not Unicode: lone surrogates stand for octets, and become escapes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The octets."""
        return encode(content)


def encode(content: Any) -> bytes:
    """JSON in UTF-8, on one line."""
    try:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def time_text(seconds: float) -> str:
    """RFC 3339, in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_time_text(seconds: float | None) -> str | None:
    """The same; None for None."""
    return None if seconds is None else time_text(seconds)


def summary(record: Summary) -> dict[str, Any]:
    """``Summary``."""
    return {
        "id": record.id,
        "inbox": record.inbox,
        "received_at": time_text(record.received_at),
        "size": record.size,
        "mail_from": record.mail_from,
        "rcpt_tos": record.rcpt_tos,
        "header_from": record.header_from,
        "header_to": record.header_to,
        "subject": record.subject,
        "message_id": record.message_id,
        "snippet": record.snippet,
        "attachments": record.attachments,
        "has_html": record.has_html,
        "is_read": record.is_read,
        "is_indexed": record.is_indexed,
        "tags": record.tags,
        "session_id": record.session_id,
    }


def message(record: Summary, envelope: EnvelopeRecord, parsed: Parsed, *, has_remote: bool) -> dict[str, Any]:
    """``Message``."""
    return summary(record) | {
        "headers": parsed.headers,
        "text": parsed.text,
        "has_remote": has_remote,
        "parts": [part(one) for one in parsed.parts],
        "links": [link(one) for one in parsed.links],
        "codes": parsed.codes,
        "envelope": {
            "id": envelope.id,
            "mail_from": envelope.mail_from,
            "rcpt_tos": envelope.rcpt_tos,
            "mail_options": envelope.mail_options,
            "rcpt_options": envelope.rcpt_options,
        },
        "bare_newlines": envelope.bare_newlines,
        "problem": parsed.problem,
    }


def waited(record: Summary, parsed: Parsed) -> dict[str, Any]:
    """The message of ``Waited``."""
    return summary(record) | {
        "text": parsed.text,
        "links": [link(one) for one in parsed.links],
        "codes": parsed.codes,
    }


def part(record: Part) -> dict[str, Any]:
    """``Part``."""
    return {
        "index": record.index,
        "parent": record.parent,
        "depth": record.depth,
        "content_type": record.content_type,
        "charset": record.charset,
        "filename": record.filename,
        "disposition": record.disposition,
        "content_id": record.content_id,
        "size": record.size,
        "is_attachment": record.is_attachment,
    }


def link(record: Link) -> dict[str, str]:
    """``Link``."""
    return {"url": record.url, "text": record.text, "origin": record.origin}


def report(record: Checked) -> dict[str, Any]:
    """``Report``."""
    return {
        "is_clean": record.is_clean,
        "findings": [
            {
                "rule": one.rule,
                "severity": one.severity,
                "place": one.place,
                "text": one.text,
                "source": one.source,
            }
            for one in record.findings
        ],
        "authentication": record.maybe_authentication,
    }


def session(record: SessionRecord) -> dict[str, Any]:
    """``Session``."""
    return {
        "id": record.id,
        "peer": record.peer,
        "listener": record.listener,
        "inbox": record.inbox,
        "started_at": time_text(record.started_at),
        "ended_at": maybe_time_text(record.ended_at),
        "helo": record.helo,
        "tls": record.tls,
        "login": record.login,
        "outcome": record.outcome,
        "problem": record.problem,
        "is_refused": record.is_refused,
        "messages": record.messages,
    }


def session_with_transcript(record: SessionRecord) -> dict[str, Any]:
    """``SessionWithTranscript``."""
    return session(record) | {"transcript": [line(one) for one in record.transcript]}


def line(record: Line) -> dict[str, Any]:
    """``Line``."""
    return {"at": record.at, "by": record.by, "text": record.text}


def inbox(count: InboxCount) -> dict[str, Any]:
    """``Inbox``."""
    record = count.maybe_record
    return {
        "name": count.name,
        "messages": count.total,
        "unread": count.unread,
        "login": None if record is None else record.login,
        "expires_at": None if record is None else maybe_time_text(record.expires_at),
    }
