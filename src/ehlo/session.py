"""What a server knows: about its client (``Session``), and about the mail that is being handed over (``Envelope``).

Plain records.  The server, hooks and subclasses all read and assign them, and the stage of the transaction is derived
from them, so there is no second copy that could disagree.  Handlers may add attributes of their own to both.
"""

from __future__ import annotations

import itertools
import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from ehlo.protocol.commands import Stage
from ehlo.protocol.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RECIPIENT_PARAMETERS,
    MailParameters,
    RecipientParameters,
)

if TYPE_CHECKING:
    from ehlo.protocol.proxy import ProxyHeader
    from ehlo.protocol.tlsinfo import TLSInfo
    from ehlo.protocol.xclient import XclientAttributes, XforwardAttributes

# Unique across restarts and processes of one host: start time in hexadecimal and process id, then a count.
_ID_PREFIX = f"{int(time.time()):x}{os.getpid():05x}"
_ids = itertools.count(1)


def new_id() -> str:
    """A name for a session or an envelope, for logs and for ``queued as``: short, unique, and it sorts by age."""
    return f"{_ID_PREFIX}-{next(_ids):x}"


class Disconnect(StrEnum):
    """Why a session ended, as ``handle_DISCONNECT`` gets it."""

    QUIT = "quit"
    """The client said QUIT."""
    CLOSED = "closed"
    """The client closed the connection, or it was reset, without QUIT."""
    TIMEOUT = "timeout"
    """The client took too long; it was told 421."""
    REFUSED = "refused"
    """``handle_CONNECT`` or the server refused it."""
    ERRORS = "errors"
    """The client broke too many rules; it was told 421."""
    TLS = "tls"
    """The TLS handshake failed."""
    PROXY = "proxy"
    """The PROXY header was malformed, late or missing."""
    SHUTDOWN = "shutdown"
    """The server stops; the client was told 421 where it could be."""
    FAILURE = "failure"
    """Our own fault; the log has the details."""


class Session:
    """A client and what is known of it, from connect to disconnect.

    ``peer`` is what the transport calls the other side: ``(host, port, ...)`` for TCP, ``""`` or a path for a UNIX
    socket; behind a trusted proxy, the real client.  ``ssl`` is None on a plain connection.  ``host_name`` is None
    before HELO or EHLO.  ``auth_data`` is what the authenticator gave.  ``proxy_data`` and ``xclient`` are what a
    trusted host said about the client; ``xforward`` what it said for the log about the next transaction.
    """

    def __init__(self, peer: Any = None) -> None:
        self.peer = peer
        self.ssl: TLSInfo | None = None
        self.host_name: str | None = None
        self.extended_smtp = False
        self.authenticated = False
        self.auth_data: Any = None
        self.login: str | None = None
        self.proxy_data: ProxyHeader | None = None
        self.xclient: XclientAttributes | None = None
        self.xforward: XforwardAttributes | None = None
        self._id: str | None = None

    @property
    def id(self) -> str:
        """Names this session in every line of the log."""
        if self._id is None:
            self._id = new_id()
        return self._id

    def forget(self) -> None:
        """Forget what the client said, as after STARTTLS (RFC 3207 §4.2); what the connection itself says stays."""
        self.host_name = None
        self.extended_smtp = False
        self.authenticated = False
        self.auth_data = None
        self.login = None


class Recipient(str):
    """A forward-path as it was accepted, with what RCPT said about it.

    It is a ``str``, so a list of recipients cannot get out of step with the parameters of each: filter, sort or copy
    ``envelope.rcpt_tos`` and they come along.
    """

    __slots__ = ("options", "parameters")

    options: tuple[str, ...]
    """The parameters as they were sent, case kept."""
    parameters: RecipientParameters
    """The same as typed values."""

    def __new__(
        cls,
        mailbox: str,
        options: tuple[str, ...] = (),
        parameters: RecipientParameters = NO_RECIPIENT_PARAMETERS,
    ) -> Self:
        """Make one; a recipient that a hook adds by itself has no parameters."""
        self = super().__new__(cls, mailbox)
        self.options = options
        self.parameters = parameters
        return self

    def __reduce__(self) -> tuple[type[Recipient], tuple[str, tuple[str, ...], RecipientParameters]]:
        """For pickle and copy."""
        return Recipient, (str(self), self.options, self.parameters)


class Envelope:
    """One mail transaction (RFC 5321 §3.3): who sends, to whom, and the content.

    ``mail_from`` is None before MAIL and ``""`` for the null reverse-path.  ``content`` is None before the end of
    data, and stays None where the content is streamed.  ``is_chunked``: a BDAT command has brought some of it.
    ``accepted_recipients`` is how many RCPT commands were accepted, however many recipients a hook made of them: LMTP
    owes so many replies (RFC 2033 §4.2).

    A transaction is one object: RSET, EHLO, the end of data and a failed data phase all put a new one in its place.
    """

    def __init__(self) -> None:
        self.mail_from: str | None = None
        self.mail_options: list[str] = []
        self.mail_parameters: MailParameters = NO_MAIL_PARAMETERS
        self.smtp_utf8 = False
        self.rcpt_tos: list[str] = []
        self.rcpt_options: list[str] = []
        self.accepted_recipients = 0
        self.content: bytes | None = None
        self.is_chunked = False
        self._id: str | None = None

    @property
    def id(self) -> str:
        """Names this transaction in every line of the log and in ``250 2.0.0 OK queued as``."""
        if self._id is None:
            self._id = new_id()
        return self._id

    @property
    def original_content(self) -> bytes | None:
        """The same as ``content``; programs written for other servers look for it here."""
        return self.content

    @property
    def recipients(self) -> list[Recipient]:
        """``rcpt_tos`` with what RCPT said about each; those that a hook put there itself have no parameters."""
        return [rcpt if isinstance(rcpt, Recipient) else Recipient(rcpt) for rcpt in self.rcpt_tos]


# A member of an enumeration takes ten times as long to get from its class, and each command asks for one.
_CONNECTED, _GREETED, _MAIL, _RCPT, _CHUNKS = Stage


def stage_of(session: Session, envelope: Envelope) -> Stage:
    """How far the session is, from the records alone."""
    if envelope.mail_from is None:
        return _CONNECTED if session.host_name is None else _GREETED
    if envelope.is_chunked:
        return _CHUNKS
    return _RCPT if envelope.rcpt_tos else _MAIL
