"""Records as rows of the tables, and back.  Knows columns and JSON; does not know connections."""

from __future__ import annotations

import dataclasses
import json
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ehlo.inbox.query import words_apart
from ehlo.inbox.records import (
    EnvelopeRecord,
    InboxRecord,
    Line,
    Link,
    Parsed,
    Part,
    SessionRecord,
    Summary,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ehlo.inbox.records import Arrival

# Lists of addresses and tags are text with line ends between: LIKE can look into them, and none has a line end itself.
SUMMARY: Final = (
    "m.id, m.inbox, m.received_at, m.size, m.mail_from, m.rcpt_tos, m.header_from, m.header_to, m.subject,"
    " m.message_id, m.snippet, m.attachments, m.has_html, m.is_read, m.is_indexed, m.tags, m.session_id"
)
ENVELOPE: Final = "m.envelope_id, m.mail_from, m.rcpt_tos, m.options, m.bare_newlines, m.smtp_utf8"
MESSAGE: Final = (
    "id, content, inbox, received_at, size, mail_from, rcpt_tos, header_from, header_to, header_cc, subject,"
    " message_id, session_id, envelope_id, options, bare_newlines, smtp_utf8"
)
MESSAGE_WIDTH: Final = 17
SESSION: Final = (
    "id, peer, listener, started_at, ended_at, helo, tls, login, outcome, problem, is_refused, inbox, messages"
)
INBOX: Final = "name, login, password, token_hash, rule, created_at, expires_at"
PARSED: Final = "text, html, is_text_from_html, headers, parts, links, codes, problem"


def clean(text: str) -> str:
    """Text that SQLite takes: without lone surrogates, which stand for octets that were no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def join(texts: Iterable[str]) -> str:
    """One text of several."""
    return "\n".join(clean(text.replace("\n", " ")) for text in texts)


def split(text: str) -> tuple[str, ...]:
    """Several of one."""
    return tuple(text.split("\n")) if text else ()


def tags_to_text(tags: Iterable[str]) -> str:
    """Tags, each between two line ends; the empty text for none."""
    joined = join(tags)
    return f"\n{joined}\n" if joined else ""


def tags_of(text: str) -> tuple[str, ...]:
    """The tags of such a text."""
    return split(text[1:-1])


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


# Messages


def message_row(id_: int, content: int, arrival: Arrival, fields: dict[str, str]) -> tuple[tuple[Any, ...], Summary]:
    """The row, and the summary that it will give."""
    field = fields.get
    summary = Summary(
        id_,
        clean(arrival.inbox),
        arrival.received_at,
        len(arrival.raw),
        clean(arrival.mail_from),
        split(join(arrival.rcpt_tos)),
        clean(field("from", "")),
        clean(field("to", "")),
        clean(field("subject", "")),
        clean(field("message-id", "")),
        "",
        0,
        False,  # noqa: FBT003 - as in the table
        False,  # noqa: FBT003
        False,  # noqa: FBT003
        (),
        clean(arrival.session_id),
    )
    options = (
        _json([arrival.mail_options, arrival.rcpt_options]) if arrival.mail_options or any(arrival.rcpt_options) else ""
    )
    row = (
        id_,
        content,
        summary.inbox,
        arrival.received_at,
        summary.size,
        summary.mail_from,
        "\n".join(summary.rcpt_tos),
        summary.header_from,
        summary.header_to,
        clean(field("cc", "")),
        summary.subject,
        summary.message_id,
        summary.session_id,
        clean(arrival.envelope_id),
        options,
        arrival.bare_newlines,
        arrival.smtp_utf8,
    )
    return row, summary


def summary_of(row: Sequence[Any]) -> Summary:
    """A row of the columns SUMMARY."""
    values = list(row)
    values[5] = split(row[5])
    values[12:15] = map(bool, row[12:15])
    values[15] = tags_of(row[15])
    return Summary(*values)


def envelope_of(row: Sequence[Any]) -> EnvelopeRecord:
    """A row of the columns ENVELOPE."""
    id_, mail_from, rcpt_tos, options, bare_newlines, smtp_utf8 = row
    recipients = split(rcpt_tos)
    mail_options, rcpt_options = json.loads(options) if options else ((), [()] * len(recipients))
    return EnvelopeRecord(
        id_,
        mail_from,
        recipients,
        tuple(mail_options),
        tuple(map(tuple, rcpt_options)),
        bool(bare_newlines),
        bool(smtp_utf8),
    )


# What is in a message


class ParsedRow(NamedTuple):
    """What the worker finds in a message, ready to be written: columns of ``parsed``, ``messages`` and ``search``."""

    text: str | None
    html: str | None
    is_text_from_html: bool
    headers: str
    parts: str
    links: str
    codes: str
    problem: str | None
    snippet: str
    attachments: int
    has_html: bool
    subject: str
    addresses: str
    body: str


_ADDRESSES = frozenset({"from", "to", "cc", "bcc", "reply-to", "sender"})
_BODY_LIMIT = 256 * 1024
# ``dataclasses.astuple`` copies what is in them, and takes as long as all the rest.
_PART_VALUES = attrgetter(*(field.name for field in dataclasses.fields(Part)))
_LINK_VALUES = attrgetter(*(field.name for field in dataclasses.fields(Link)))


def parsed_row(parsed: Parsed) -> ParsedRow:
    """The row of what was found."""
    names = [(name.lower(), value) for name, value in parsed.headers]
    files = [part.filename for part in parsed.parts if part.filename]
    return ParsedRow(
        parsed.text,
        parsed.html,
        parsed.is_text_from_html,
        _json(parsed.headers),
        _json([_PART_VALUES(part) for part in parsed.parts]),
        _json([_LINK_VALUES(link) for link in parsed.links]),
        _json(parsed.codes),
        parsed.problem,
        parsed.snippet,
        sum(part.is_attachment for part in parsed.parts),
        parsed.html is not None,
        words_apart(" ".join(value for name, value in names if name == "subject")),
        words_apart(" ".join(value for name, value in names if name in _ADDRESSES)),
        words_apart(" ".join([(parsed.text or "")[:_BODY_LIMIT], *files])),
    )


def parsed_of(row: Sequence[Any], snippet: str) -> Parsed:
    """A row of the columns PARSED."""
    text, html, is_text_from_html, headers, parts, links, codes, problem = row
    return Parsed(
        text,
        html,
        tuple((name, value) for name, value in json.loads(headers)),
        parts_of(parts),
        tuple(Link(*link) for link in json.loads(links)),
        tuple(json.loads(codes)),
        snippet,
        problem,
        bool(is_text_from_html),
    )


def parts_of(text: str) -> tuple[Part, ...]:
    """The column ``parts``."""
    return tuple(Part(*part) for part in json.loads(text))


# Sessions and inboxes


def session_row(record: SessionRecord) -> tuple[Any, ...]:
    """Columns SESSION and the transcript."""
    texts = (record.id, record.peer, record.listener)
    others = (record.helo, record.tls, record.login, record.outcome, record.problem)
    helo, tls, login, outcome, problem = (None if text is None else clean(text) for text in others)
    return (
        *map(clean, texts),
        record.started_at,
        record.ended_at,
        helo,
        tls,
        login,
        outcome,
        problem,
        record.is_refused,
        None if record.inbox is None else clean(record.inbox),
        _json(record.messages),
        _json([(line.at, line.by, line.text) for line in record.transcript]),
    )


def session_of(row: Sequence[Any], transcript: str = "[]") -> SessionRecord:
    """A row of the columns SESSION."""
    id_, peer, listener, started_at, ended_at, helo, tls, login, outcome, problem, is_refused, inbox, messages = row
    return SessionRecord(
        id_,
        peer,
        listener,
        started_at,
        ended_at,
        helo,
        tls,
        login,
        outcome,
        problem,
        bool(is_refused),
        inbox,
        tuple(json.loads(messages)),
        tuple(Line(*line) for line in json.loads(transcript)),
    )


def inbox_of(row: Sequence[Any]) -> InboxRecord:
    """A row of the columns INBOX."""
    return InboxRecord(*row)
