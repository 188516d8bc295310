"""A caught message for a test: an ``email.message.EmailMessage``, with what SMTP knew and what is in it.

Knows MIME by the standard library and by ``ehlo.inbox.parse``; does not know where the message is kept.  Whatever
somebody sent, a ``Message`` can be made of it and printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from ehlo.inbox.parse import parse
from ehlo.mime.encodings import decode_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from ehlo.inbox.records import EnvelopeRecord, Parsed, SessionRecord
    from ehlo.report import Report
    from ehlo.report.authentication import Authentication
    from ehlo.report.dns import Resolver

    SessionFinder = Callable[[str], SessionRecord | None]


class Link(str):
    """A link's URL.  ``text`` is what it is shown with, ``origin`` where it was found: ``"text"`` or ``"html"``."""

    __slots__ = ("origin", "text")

    text: str
    origin: str

    def __new__(cls, url: str, text: str, origin: str) -> Self:
        """Make one."""
        self = super().__new__(cls, url)
        self.text = text
        self.origin = origin
        return self

    def __reduce__(self) -> tuple[type[Link], tuple[str, str, str]]:
        """For pickle and copy."""
        return Link, (str(self), self.text, self.origin)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is neither the text nor its HTML.

    ``filename`` is as the sender wrote it, perhaps ``"../../x"``, and None where there is none; ``content`` is decoded.
    ``content_id`` is what HTML names it by, without its angle brackets.
    """

    filename: str | None
    content_type: str
    content_id: str | None
    content: bytes = field(repr=False)


class _Lenient(EmailPolicy):
    """``email.policy.default`` for mail that need not be right: a field that cannot be parsed is its text."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        try:
            return super().header_fetch_parse(name, value)  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001 - the parsers of `email` raise whatever they stumble over
            return (
                value.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\r", "").replace("\n", "")
            )


_POLICY = _Lenient()


class Message(EmailMessage):
    """A message as it was caught.  Equal to another if it is the same one.

    ``id`` is its number in the store, ``raw`` what came to the octet, ``envelope`` what MAIL and RCPT said.  ``text``
    and ``html`` are ``""`` where there is none; ``text`` is made of the HTML where that is all.  ``links`` and
    ``codes`` are those found in them, in order and the likeliest first.
    """

    id: int
    raw: bytes
    envelope: EnvelopeRecord
    session_id: str
    _find_session: SessionFinder | None
    _session: SessionRecord | None
    _maybe_resolver: Resolver | None

    @classmethod
    def from_octets(
        cls,
        raw: bytes,
        *,
        id: int,  # noqa: A002 - it is the name of the attribute
        envelope: EnvelopeRecord,
        session_id: str = "",
        find_session: SessionFinder | None = None,
        maybe_resolver: Resolver | None = None,
    ) -> Self:
        """Parse octets.  ``find_session`` is asked for the session when somebody wants to see it.

        ``maybe_resolver`` is whom ``authenticate`` asks; None is the name servers of this machine.
        """
        self = cls(policy=_POLICY)
        # The parser would make every part a Message.  Here only the whole is one.
        vars(self).update(vars(_parsed(raw)))
        self.id = id
        self.raw = raw
        self.envelope = envelope
        self.session_id = session_id
        self._find_session = find_session
        self._session = None
        self._maybe_resolver = maybe_resolver
        return self

    @property
    def session(self) -> SessionRecord | None:
        """The session that brought it, as far as it is known by now; None where nothing is known of it."""
        if self._find_session is not None and (self._session is None or self._session.ended_at is None):
            self._session = self._find_session(self.session_id) or self._session
        return self._session

    @property
    def text(self) -> str:
        """The text, or what the HTML says."""
        return self._content.text or ""

    @property
    def html(self) -> str:
        """The HTML, as it was sent: not made harmless."""
        return self._content.html or ""

    @property
    def links(self) -> list[Link]:
        """Links in the text and in the HTML."""
        return [Link(found.url, found.text, found.origin) for found in self._content.links]

    @property
    def codes(self) -> list[str]:
        """What looks like a code that somebody is to type in, the likeliest first."""
        return list(self._content.codes)

    @property
    def attachments(self) -> list[Attachment]:
        """The other parts, decoded."""
        return [
            Attachment(
                part.filename,
                part.content_type,
                part.content_id,
                decode_body(self.raw[part.start : part.end], part.encoding),
            )
            for part in self._content.parts
            if part.is_attachment
        ]

    @property
    def report(self) -> Report:
        """What is wrong with it, and with how it was sent; print it, or see ``Inbox.assert_clean``."""
        from ehlo.inbox.checking import report_on, subject_of  # noqa: PLC0415 - few tests need it

        return report_on(subject_of(self.raw, self.envelope, self.session_id, self.session))

    def authenticate(self, *, zone: str | None = None, address: str | None = None, helo: str = "") -> Authentication:
        """Who vouches for it: DKIM, DMARC, and SPF if it came from ``address``, an IP address, with ``helo``.

        ``zone`` is a text of DNS records, ``name type data`` a line, and then nobody is asked; None asks the
        ``resolver`` of the inbox, or, if it has none, the name servers of this machine, which takes seconds.
        ``ValueError`` for a line or an address that is none, ``ImportError`` without the extra ``report``.
        """
        from ehlo.inbox.checking import mail_of, subject_of  # noqa: PLC0415 - see above
        from ehlo.report.authentication import authenticate  # noqa: PLC0415
        from ehlo.report.dns import SystemResolver, Zone  # noqa: PLC0415

        mail = mail_of(subject_of(self.raw, self.envelope, self.session_id, None))
        resolver = Zone(zone) if zone is not None else self._maybe_resolver or SystemResolver()
        return authenticate(mail, resolver, maybe_address=address, helo=helo)

    @cached_property
    def _content(self) -> Parsed:
        return parse(self.raw)

    def __bool__(self) -> bool:
        """True, also without a header field, of which ``EmailMessage`` is the length."""
        return True

    def __eq__(self, other: object) -> bool:
        """Whether it is the same message of the same inbox."""
        if not isinstance(other, Message):
            return NotImplemented
        return (self.id, self.envelope.id, self.raw) == (other.id, other.envelope.id, other.raw)

    def __hash__(self) -> int:
        return hash((self.id, self.envelope.id))

    def __repr__(self) -> str:
        recipients = ", ".join(self.envelope.rcpt_tos)
        return (
            f"<Message {self.id} from <{self.envelope.mail_from}> to {recipients}: "
            f"{str(self['Subject'] or '')!r}, {len(self.raw)} octets>"
        )

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: with the session, and without the store that it came from."""
        session = self.session
        return vars(self) | {"_find_session": None, "_session": session}


def _parsed(raw: bytes) -> object:
    """The standard library's message, which is Python's generic ``Message`` to type checkers."""
    parser = BytesParser(EmailMessage, policy=_POLICY)
    try:
        return parser.parsebytes(raw)
    except Exception:  # noqa: BLE001 - a hostile one may be nested deeper than Python goes, or break `email` elsewhere
        return parser.parsebytes(raw, headersonly=True)
