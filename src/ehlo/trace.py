"""Trace fields: what a server writes at the top of a message that it took (RFC 5321 §4.4), and how often others did.

Whoever stores or relays a message must write a Received field; whoever delivers it finally, a Return-Path field too.
Knows sessions and envelopes; does not know replies, or where the message goes.

A client says what it likes in HELO, and what it says must not become another field, another clause or a comment that
swallows the rest.  So nothing is written that its grammar does not allow: the doubtful character becomes "?".
"""

from __future__ import annotations

import ipaddress
import re
from email.utils import format_datetime, localtime
from typing import TYPE_CHECKING

from ehlo.protocol.address import is_address_literal, is_domain, is_mailbox

if TYPE_CHECKING:
    from datetime import datetime

    from ehlo.session import Envelope, Session

_FOLD = "\r\n\t"

# RFC 5321 §4.5.3.1.2 for a domain; a name that is none is cut there too, so that no line gets long.
_NAME_LIMIT = 255

# What an atom may hold and what is no domain either: RFC 5322 §3.6.7 has words in a Received field beside domains.
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# RFC 5321 §4.4:
#   Time-stamp-line = "Received:" FWS Stamp <CRLF>
_RECEIVED = re.compile(rb"\r\nReceived:", re.IGNORECASE)
_END_OF_HEADER = b"\r\n\r\n"


def received_field(
    session: Session, envelope: Envelope, *, by: str, protocol: str = "SMTP", now: datetime | None = None
) -> str:
    """Make the Received field for a message that is coming in, folded, with the CRLF at its end.

    ``by`` is the server's name, ``server.hostname``; ``protocol`` is what it speaks, ``server.protocol_name``.  ``now``
    is aware; None is the time it is, with this host's offset (RFC 5321 §4.4 prefers that to UTC).

    The name of the client is what it said in HELO; the address beside it is what the connection says.  Nobody was asked
    for the name of that address.  "for" is there only if there is a single recipient: more of them would tell each who
    the others are (§7.2).
    """
    # RFC 5321 §4.4:
    #   Stamp           = From-domain By-domain Opt-info [CFWS] ";" FWS date-time
    #   From-domain     = "FROM" FWS Extended-Domain
    #   By-domain       = CFWS "BY" FWS Extended-Domain
    #   Opt-info        = [Via] [With] [ID] [For] [Additional-Registered-Clauses]
    #   Extended-Domain = Domain / ( Domain FWS "(" TCP-info ")" ) / ( address-literal FWS "(" TCP-info ")" )
    #   TCP-info        = address-literal / ( Domain FWS address-literal )
    utf8 = envelope.smtp_utf8
    maybe_literal = _address_literal(session.peer)
    helo = _name(session.host_name or maybe_literal or "unknown", utf8=utf8)
    clauses = [
        f"from {helo} ({maybe_literal})" if maybe_literal else f"from {helo}",
        f"by {_name(by, utf8=utf8)} with {_with(session, envelope, protocol)} id {envelope.id}",
    ]
    paths = [path for path in envelope.rcpt_tos[:2] if _is_path(path) and _may_be_written(path, utf8=utf8)]
    if len(paths) == len(envelope.rcpt_tos) == 1:
        clauses.append(f"for <{paths[0]}>")
    date = format_datetime(localtime() if now is None else now)
    return f"Received: {_FOLD.join(clauses)};{_FOLD}{date}\r\n"


def return_path_field(envelope: Envelope) -> str:
    """Make the Return-Path field of a final delivery, with its CRLF: ``<>`` for the null reverse-path."""
    return f"Return-Path: <{without_control(envelope.mail_from or '')}>\r\n"


def without_control(text: str) -> str:
    """Make text fit for a line of a header: whatever might end the line becomes "?"."""
    return _CONTROL.sub("?", text)


def count_received(content: bytes) -> int:
    """How many Received fields a header has; what comes behind the header is not looked at."""
    return ReceivedCounter().feed(content)


class ReceivedCounter:
    """The same for content that comes in pieces, of any cut.

    *Search* what is held back plus the new piece.  *Hold back* what may be the beginning of a field or of the end of
    the header, and is too short to be counted twice.  It starts as if it held back a CRLF, because the first line has
    none before it.
    """

    __slots__ = ("_held", "count", "is_complete")

    _HELD_BACK = len(b"\r\nReceived:") - 1

    def __init__(self) -> None:
        self.count = 0
        self.is_complete = False
        self._held = b"\r\n"

    def feed(self, piece: bytes) -> int:
        """Take the next octets; give the ``count`` so far."""
        if self.is_complete:
            return self.count
        data = self._held + piece
        end = data.find(_END_OF_HEADER)
        header = data if end < 0 else data[:end]
        self.count += len(_RECEIVED.findall(header))
        self._held = header[-self._HELD_BACK :]
        self.is_complete = end >= 0
        return self.count


def _with(session: Session, envelope: Envelope, protocol: str) -> str:
    """The protocol's name in the registry that RFC 3848 §2 and RFC 6531 §4.3 fill (RFC 4954 §7 asks for the A).

    There is no name for SMTP without extensions on TLS: it is ``SMTP``.
    """
    if not session.extended_smtp:
        return protocol
    prefix = "UTF8" if envelope.smtp_utf8 else "E" if protocol == "SMTP" else ""
    return prefix + protocol + ("S" if session.ssl is not None else "") + ("A" if session.authenticated else "")


def _name(name: str, *, utf8: bool) -> str:
    """A host's name, as it is if it is a domain or an address literal, otherwise made harmless."""
    if is_address_literal(name) or (is_domain(name) and _may_be_written(name, utf8=utf8)):
        return name
    return _NO_NAME.sub("?", name[:_NAME_LIMIT]) or "unknown"


def _is_path(recipient: str) -> bool:
    """Whether it is a forward-path, which an entry that a hook made need not be."""
    return is_mailbox(recipient) or recipient.lower() == "postmaster"


def _may_be_written(text: str, *, utf8: bool) -> bool:
    """Whether it may stand in this message: UTF-8 only where SMTPUTF8 was asked for (RFC 6531 §3.7.3)."""
    return text.isascii() or (utf8 and not _CONTROL.search(text))


def _address_literal(peer: object) -> str | None:
    """The address literal of RFC 5321 §4.1.3; None for a UNIX socket and for what is no address."""
    if not isinstance(peer, tuple) or not peer:
        return None
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return None
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
