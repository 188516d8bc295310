"""The handler of the inbox: a message that came whole goes into the store, and the client hears 250 when it is there.

Knows envelopes, sessions and the store; does not know who looks at the messages, and never looks into one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ehlo.inbox.errors import StoreError
from ehlo.inbox.records import Arrival, SessionRecord
from ehlo.inbox.transcript import address_text
from ehlo.session import Disconnect

if TYPE_CHECKING:
    from ehlo.inbox.accounts import Accounts
    from ehlo.inbox.store import Store
    from ehlo.inbox.transcript import RecordingSMTP
    from ehlo.session import Envelope, Session

log = logging.getLogger("ehlo.inbox")

# RFC 3463 §3.4: X.3.1 Mail system full
NO_ROOM = "452 4.3.1 Cannot store the message, try again later"

OPEN_SESSIONS_LIMIT = 500
"""Sessions that are shown while they go on."""

Observer = Callable[["Session", "Envelope"], None]
OBSERVER_PAUSE = 0.02
"""Seconds until the observer is told what came meanwhile: a thread that wakes for each message holds up the loop."""

_ENDINGS: Mapping[Disconnect, str] = {
    Disconnect.TIMEOUT: "The client took too long",
    Disconnect.REFUSED: "The connection was refused",
    Disconnect.ERRORS: "The client broke too many rules",
    Disconnect.TLS: "The TLS handshake failed",
    Disconnect.PROXY: "The PROXY header was malformed, late or missing",
    Disconnect.SHUTDOWN: "The server was stopped",
    Disconnect.FAILURE: "The server failed: its log says how",
}


class Catcher:
    """See the module's text.

    ``observer`` is called with each message that is stored, in a thread, one after the other; nobody waits for it.
    """

    def __init__(self, store: Store, accounts: Accounts, *, observer: Observer | None = None) -> None:
        self.count = 0
        self.open_sessions: dict[str, RecordingSMTP] = {}
        self.listeners: dict[int, str] = {}
        """Inboxes that have a listener of their own, by its port."""
        self._store = store
        self._accounts = accounts
        self._maybe_telling = None if observer is None else _Telling(observer)

    async def handle_CONNECT(self, server: RecordingSMTP, session: Session, envelope: Envelope) -> None:
        """Show the session from now on."""
        if len(self.open_sessions) < OPEN_SESSIONS_LIMIT:
            self.open_sessions[session.id] = server

    async def handle_DATA(self, server: RecordingSMTP, session: Session, envelope: Envelope) -> str | None:
        """Store it, one copy for each inbox, and wait until that is committed."""
        arrivals = list(self._arrivals(server, session, envelope))
        try:
            # All are handed over before any is waited for: so they are committed together.
            stored = [asyncio.wrap_future(self._store.add(arrival)) for arrival in arrivals]
            ids = await asyncio.gather(*stored)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being stored is not its fault
            log.error("session %s: message %s: cannot be stored: %s", session.id, envelope.id, error)  # noqa: TRY400
            return NO_ROOM
        self.count += 1
        server.message_ids += ids
        if self._maybe_telling is not None and self._maybe_telling.has_to_start(session, envelope):
            server.loop.run_in_executor(server.shared.threads, self._maybe_telling.run)
        return None

    async def handle_DISCONNECT(
        self, server: RecordingSMTP, session: Session, envelope: Envelope, why: Disconnect
    ) -> None:
        """Keep what was said."""
        try:
            await asyncio.wrap_future(self._store.put_session(self.record(server, session, envelope, why)))
        except StoreError as error:
            log.warning("session %s: cannot be kept: %s", session.id, error)
        finally:
            # Not before it is in the store: somebody may look for it at any time.
            self.open_sessions.pop(session.id, None)

    def record(
        self, server: RecordingSMTP, session: Session, envelope: Envelope, maybe_why: Disconnect | None = None
    ) -> SessionRecord:
        """The session as it is now; ``maybe_why`` None while it goes on."""
        return replace(self.outline(server, session, envelope, maybe_why), transcript=server.transcript())

    def outline(
        self, server: RecordingSMTP, session: Session, envelope: Envelope, maybe_why: Disconnect | None = None
    ) -> SessionRecord:
        """The same without the transcript, which takes its time in a long session."""
        tape = server.tape
        problem = tape.maybe_refusal or _ending(envelope, maybe_why)
        return SessionRecord(
            id=session.id,
            peer=address_text(session.peer),
            listener=server.listener,
            started_at=tape.started_at,
            ended_at=None if maybe_why is None else time.time(),
            helo=session.host_name or "",
            tls=None if session.ssl is None else session.ssl.version,
            login=session.login,
            outcome=_outcome(server.message_ids, problem, envelope, maybe_why),
            problem=problem,
            is_refused=problem is not None,
            inbox=self._inbox_of_session(server, session),
            messages=tuple(server.message_ids),
        )

    def _arrivals(self, server: RecordingSMTP, session: Session, envelope: Envelope) -> list[Arrival]:
        recipients = envelope.recipients
        names = [str(recipient) for recipient in recipients]
        maybe_inbox = self.listeners.get(server.listener_port)
        if maybe_inbox is not None:
            routes = {maybe_inbox: tuple(range(len(names)))}
        else:
            routes = {to.inbox: to.indexes for to in self._accounts.route(session.login, names)}
        server.inboxes.update(routes)
        now = time.time()
        return [
            Arrival(
                raw=envelope.content or b"",
                mail_from=envelope.mail_from or "",
                # Who else got it, in another inbox, is nobody's business in this one.
                rcpt_tos=tuple(names[index] for index in indexes),
                inbox=inbox,
                mail_options=tuple(envelope.mail_options),
                rcpt_options=tuple(recipients[index].options for index in indexes),
                session_id=session.id,
                envelope_id=envelope.id,
                received_at=now,
                bare_newlines=server.has_bare_newline,
                smtp_utf8=envelope.smtp_utf8,
            )
            for inbox, indexes in routes.items()
        ]

    def _inbox_of_session(self, server: RecordingSMTP, session: Session) -> str | None:
        """The one inbox that a session concerns.  None for one that concerns several: no inbox may see it whole."""
        inboxes = set(server.inboxes)
        maybe_inbox = self.listeners.get(server.listener_port)
        if maybe_inbox is None:
            maybe_inbox = self._accounts.inbox_of_login(session.login)
        if maybe_inbox is not None:
            inboxes.add(maybe_inbox)
        return inboxes.pop() if len(inboxes) == 1 else None


class _Telling:
    """Tells an observer of messages: the first one at once, then together what has come in the pause after it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lock = threading.Lock()
        self._waiting: list[tuple[Session, Envelope]] = []
        self._is_running = False

    def has_to_start(self, session: Session, envelope: Envelope) -> bool:
        """Take a message; whether somebody has to call ``run``, in a thread."""
        with self._lock:
            self._waiting.append((session, envelope))
            was_running, self._is_running = self._is_running, True
        return not was_running

    def run(self) -> None:
        """Tell until there is nothing to tell any more."""
        while messages := self._take():
            for session, envelope in messages:
                try:
                    self._observer(session, envelope)
                except Exception:
                    log.exception("who is told of messages failed")
            time.sleep(OBSERVER_PAUSE)

    def _take(self) -> list[tuple[Session, Envelope]]:
        with self._lock:
            taken, self._waiting = self._waiting, []
            self._is_running = bool(taken)
        return taken


def _ending(envelope: Envelope, maybe_why: Disconnect | None) -> str | None:
    """How a session went wrong in the end, in a sentence."""
    if maybe_why is None or maybe_why is Disconnect.QUIT:
        return None
    if maybe_why is Disconnect.CLOSED:
        return "The client left amid a transaction" if envelope.mail_from is not None else None
    return _ENDINGS.get(maybe_why)


def _outcome(ids: list[int], problem: str | None, envelope: Envelope, maybe_why: Disconnect | None) -> str:
    if maybe_why is None:
        return "open"
    if ids:
        return "delivered"
    if maybe_why not in {Disconnect.QUIT, Disconnect.CLOSED, Disconnect.REFUSED, Disconnect.ERRORS}:
        return "broken"
    if maybe_why is Disconnect.CLOSED and envelope.mail_from is not None:
        return "broken"
    return "idle" if problem is None else "refused"
