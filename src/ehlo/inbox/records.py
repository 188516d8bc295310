"""What passes between the parts of the inbox: frozen records.  They know nothing, not even how they are stored.

Times are seconds since 1970 (``time.time``), sizes octets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

DEFAULT_INBOX: Final = "default"
"""Where mail goes that belongs to no other inbox."""


# Messages


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message on its way into the store: the octets as received, and the envelope.

    ``rcpt_options`` has one tuple for each recipient.  ``bare_newlines``: CR or LF stood alone in the mail data.
    """

    raw: bytes
    mail_from: str
    rcpt_tos: tuple[str, ...]
    inbox: str = DEFAULT_INBOX
    mail_options: tuple[str, ...] = ()
    rcpt_options: tuple[tuple[str, ...], ...] = ()
    session_id: str = ""
    envelope_id: str = ""
    received_at: float = 0.0
    bare_newlines: bool = False
    smtp_utf8: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list.

    ``header_*``, ``subject`` and ``message_id`` are decoded, without line breaks, and empty where the field is missing.
    Until ``is_indexed``, ``snippet`` is empty, ``attachments`` 0 and ``has_html`` False.
    """

    id: int
    inbox: str
    received_at: float
    size: int
    mail_from: str
    rcpt_tos: tuple[str, ...]
    header_from: str
    header_to: str
    subject: str
    message_id: str
    snippet: str
    attachments: int
    has_html: bool
    is_read: bool
    is_indexed: bool
    tags: tuple[str, ...]
    session_id: str


@dataclass(frozen=True, slots=True)
class EnvelopeRecord:
    """The rest of what SMTP said about a message."""

    id: str
    mail_from: str
    rcpt_tos: tuple[str, ...]
    mail_options: tuple[str, ...]
    rcpt_options: tuple[tuple[str, ...], ...]
    bare_newlines: bool
    smtp_utf8: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the list, newest first.  ``total`` and ``unread`` count all that the query finds."""

    messages: tuple[Summary, ...]
    total: int
    unread: int


# What is in a message


@dataclass(frozen=True, slots=True)
class Part:
    """A node of the MIME tree.  ``index`` counts in the order of the message, the message itself is 0.

    ``filename`` is as the sender wrote it: no path to be used.  ``size`` is that of the decoded body, by estimate where
    it is large.  ``start`` and ``end`` say where in the raw message the body is, still in its ``encoding``.
    """

    index: int
    parent: int | None
    depth: int
    content_type: str
    charset: str | None
    filename: str | None
    disposition: str | None
    content_id: str | None
    size: int
    encoding: str
    start: int
    end: int
    is_attachment: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A link, with the text that it is shown with; ``origin`` tells where it was found."""

    url: str
    text: str
    origin: Literal["text", "html"]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What is in a message, as far as the limits allow.

    ``text`` is that of the text part, or what the HTML says (``is_text_from_html``); None if there is neither.
    ``codes`` are what looks like a verification code, the likeliest first.  ``problem`` is a sentence for the user,
    about what could not be read; None if all could.
    """

    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    links: tuple[Link, ...]
    codes: tuple[str, ...]
    snippet: str
    problem: str | None = None
    is_text_from_html: bool = False


# Sessions


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a dialogue, ``at`` seconds after its begin; "-" is what nobody says: TLS, a pause, mail data."""

    at: float
    by: Literal["C", "S", "-"]
    text: str


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """An SMTP session.  ``ended_at`` is None while it goes on; ``messages`` are the ids of what it brought.

    ``outcome`` is a word for the list, ``problem`` a sentence; ``is_refused``: something in it was refused, or it broke
    off.  ``inbox`` is None while no inbox is known to be concerned.
    """

    id: str
    peer: str
    listener: str
    started_at: float
    ended_at: float | None = None
    helo: str = ""
    tls: str | None = None
    login: str | None = None
    outcome: str = ""
    problem: str | None = None
    is_refused: bool = False
    inbox: str | None = None
    messages: tuple[int, ...] = ()
    transcript: tuple[Line, ...] = ()


# Inboxes


@dataclass(frozen=True, slots=True)
class InboxRecord:
    """An inbox that was made on purpose.  ``expires_at`` None: never.

    ``rule`` is a pattern for recipients whose mail goes there (``*@team.example``).  The password is kept as it is: it
    is made here and good for nothing but sending mail to the file that it stands in, and CRAM-MD5 needs it.  Of the
    token, which opens the mail of a running server, there is only a hash.
    """

    name: str
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    token_hash: bytes | None = field(default=None, repr=False)
    rule: str | None = None
    created_at: float = 0.0
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class InboxCount:
    """An inbox in the list of inboxes; ``maybe_record`` is None for one that came into being by mail alone."""

    name: str
    total: int
    unread: int
    last_at: float | None
    maybe_record: InboxRecord | None


# The store


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept: at most so many messages, octets and sessions, for so many seconds.  None is no limit.

    The newest message stays, however large it is.
    """

    count: int | None = 20_000
    octets: int | None = 1_000_000_000
    age: float | None = None
    sessions: int | None = 20_000


class EventKind(StrEnum):
    """What happened."""

    MESSAGE = "message"  # arrived
    INDEXED = "indexed"  # looked into: text, codes, links and search have it now
    CHANGED = "changed"  # read, unread, tags
    DELETED = "deleted"
    SESSION = "session"
    INBOX = "inbox"  # made, or gone


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is committed.

    MESSAGE and INDEXED have a ``summary``; CHANGED and DELETED concern all ``ids``, of one inbox; SESSION has
    ``session``, and its inbox or none; INBOX has its name.  ``is_read`` None and no tags: not what has changed.
    """

    kind: EventKind
    inbox: str
    ids: tuple[int, ...] = ()
    summary: Summary | None = None
    session: SessionRecord | None = None
    is_read: bool | None = None
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
