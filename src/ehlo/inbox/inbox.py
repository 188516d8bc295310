"""The inbox as plain Python: a mail catcher in a thread, and waiting for what it catches.

    with Inbox() as inbox:
        application.send_mail_to(inbox.host, inbox.port)
        message = inbox.wait(to="ann@example.com", subject=re.compile("sign in"))

Knows threads and loops; does not know SMTP (``ehlo.inbox.server``), nor what is in a message (``ehlo.inbox.message``).
"""

from __future__ import annotations

import asyncio
import itertools
import re
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ehlo.inbox.criteria import Criteria
from ehlo.inbox.errors import StoreClosed
from ehlo.inbox.explain import describe, explain, list_messages
from ehlo.inbox.faults import FaultsInForce
from ehlo.inbox.message import Message
from ehlo.inbox.records import DEFAULT_INBOX, SessionRecord, Summary
from ehlo.inbox.running import Running
from ehlo.inbox.shelf import Shelf

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Collection
    from pathlib import Path

    from ehlo.inbox.faults.handler import Given

TIMEOUT = 5.0
"""Seconds that ``wait`` waits, unless told otherwise."""
WITHIN = 0.2
"""Seconds that ``assert_none`` waits, unless told otherwise."""

_LOCAL = "127.0.0.1"
# What names of inboxes have in the API, too.
_NO_NAME = re.compile(r"[^a-z0-9._+@-]+")
_counter = itertools.count(1)

Wanted = str | re.Pattern[str]


class Inbox:
    """Catches mail while it runs: between ``start`` and ``stop``, or in a ``with`` statement.

    ``host`` None is the loopback of IPv4 and IPv6; ``port`` 0 is one that is free, which ``port`` tells then.  ``web``
    True or ``"[HOST]:PORT"`` is the page and the API, which need the extra ``inbox``.  ``store`` is a file to keep the
    mail in; None keeps it no longer than this runs.  ``timeout`` is that of ``wait``.  ``tls`` offers STARTTLS: with
    this context, or, if it is True, with a certificate made for it, which needs the extra ``inbox``; clients find in
    ``authority_file`` whom to trust.  ``options`` are further ones of ``InboxServer``.

    Any login will do.  Its methods may be called in any thread.
    """

    def __init__(
        self,
        *,
        host: str | None = None,
        port: int = 0,
        web: bool | str = False,
        store: str | os.PathLike[str] | None = None,
        timeout: float = TIMEOUT,
        tls: bool | ssl.SSLContext = False,
        **options: Any,
    ) -> None:
        running = Running(web=web, store=store, tls=tls, **options)
        self._set_up(running, DEFAULT_INBOX, host, port, timeout, is_owner=True, keeps_mail=True)

    def _set_up(
        self,
        running: Running,
        name: str,
        host: str | None,
        port: int,
        timeout: float,
        *,
        is_owner: bool,
        keeps_mail: bool,
    ) -> None:
        self.name = name
        self.timeout = timeout
        self._running = running
        self._host = host
        self._port = port
        self._is_owner = is_owner
        self._keeps_mail = keeps_mail
        self._maybe_shelf: Shelf | None = None
        self._messages: dict[int, Message] = {}

    def new(self, name: str | None = None, *, keeps_mail: bool = False) -> Inbox:
        """Another inbox, which has a port of its own on the same server: start it, or use it in ``with``.

        ``name`` is for the page, made unique; None makes one up.  ``keeps_mail``: its messages outlive its end, to be
        looked at in the page.
        """
        stem = _NO_NAME.sub("-", (name or "").lower()).strip("._+@-")[:50] or "inbox"
        return _Own(self._running, f"{stem}-{next(_counter)}", self._host, self.timeout, keeps_mail=keeps_mail)

    # Life

    def start(self) -> None:
        """Start, and return when it accepts connections; raises what keeps it from listening (``OSError``)."""
        if self._maybe_shelf is not None:
            raise RuntimeError("the inbox is running")
        if self._is_owner:
            self._running.start()
        try:
            shelf = Shelf(self._running.store, self.name)
            if self._is_owner:
                shelf.put(self._running.kept(self.name))
            self._port = self._running.open_listener(self.name, self._host, self._port)
        except BaseException:
            if self._is_owner:
                self._running.stop()
            raise
        self._maybe_shelf = shelf

    def stop(self) -> None:
        """Stop.  Whoever waits gets a ``RuntimeError``; nothing happens when it does not run."""
        shelf, self._maybe_shelf = self._maybe_shelf, None
        if shelf is None:
            return
        shelf.close()
        self._running.faults.clear(port=self._port)
        if self._is_owner:
            self._running.stop()
            return
        self._running.close_listener(self._port)
        if not self._keeps_mail:
            self._delete(shelf)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    # Where it is

    @property
    def host(self) -> str:
        """What a client on this machine connects to."""
        return self._host or _LOCAL

    @property
    def port(self) -> int:
        """The SMTP port; what it was told while it has not started yet."""
        return self._port

    @property
    def smtp_url(self) -> str:
        """The same as one word: ``smtp://127.0.0.1:40123``."""
        return f"smtp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def web_url(self) -> str | None:
        """The page's address; None without ``web``."""
        return self._running.web_url

    @property
    def authority_file(self) -> Path | None:
        """The certificate that clients of ``tls=True`` are to trust, in PEM; None without it."""
        return self._running.authority_file

    # Waiting

    def wait(
        self,
        *,
        to: Wanted | None = None,
        from_: Wanted | None = None,
        subject: Wanted | None = None,
        q: str | None = None,
        timeout: float | None = None,
        again: bool = False,
    ) -> Message:
        """The first message that is as wanted, as soon as it is there; one that came before the call counts.

        Text must be part of the field, in any case of its letters; a pattern must be found in it.  ``to`` and ``from_``
        are searched in the envelope and in the header.  ``q`` is in the language of the page's search.  ``timeout``
        in seconds, None is that of the inbox.

        Each message is given once, unless ``again`` asks for those that were given already, too.  ``AssertionError``
        when the time is over, which says what did arrive.  ``TypeError`` and ``ValueError`` for criteria that mean
        nothing: lists, octets, empty text.
        """
        criteria = Criteria(to, from_, subject, q)
        seconds = self.timeout if timeout is None else timeout
        found = self._shelf.wait(self._looking_for(criteria, again=again), seconds)
        if found is None:
            raise AssertionError(self._complaint(criteria, seconds, blocks=True, again=again))
        return self._message(found)

    async def wait_async(
        self,
        *,
        to: Wanted | None = None,
        from_: Wanted | None = None,
        subject: Wanted | None = None,
        q: str | None = None,
        timeout: float | None = None,
        again: bool = False,
    ) -> Message:
        """``wait`` for a coroutine: its loop goes on meanwhile, and so does an application that runs in it."""
        criteria = Criteria(to, from_, subject, q)
        seconds = self.timeout if timeout is None else timeout
        found = await self._shelf.wait_async(self._looking_for(criteria, again=again), seconds)
        if found is None:
            raise AssertionError(self._complaint(criteria, seconds, blocks=False, again=again))
        return self._message(found)

    def assert_none(
        self,
        *,
        to: Wanted | None = None,
        from_: Wanted | None = None,
        subject: Wanted | None = None,
        q: str | None = None,
        within: float = WITHIN,
    ) -> None:
        """``AssertionError`` if a message is there that no ``wait`` has given, or comes within so many seconds.

        Only those count that are as described, in the words of ``wait``.
        """
        criteria = Criteria(to, from_, subject, q)
        if self._shelf.wait(lambda: self._first(criteria), within) is not None:
            raise AssertionError(self._objection(criteria))

    async def assert_none_async(
        self,
        *,
        to: Wanted | None = None,
        from_: Wanted | None = None,
        subject: Wanted | None = None,
        q: str | None = None,
        within: float = WITHIN,
    ) -> None:
        """``assert_none`` for a coroutine."""
        criteria = Criteria(to, from_, subject, q)
        if await self._shelf.wait_async(lambda: self._first(criteria), within) is not None:
            raise AssertionError(self._objection(criteria))

    # What is wrong

    def assert_clean(self, message: Message, *, ignore: Collection[str] = ()) -> None:
        """``AssertionError`` that lists what is wrong with a message, or with how it was sent, if anything is.

        Notices do not count.  ``ignore`` names rules that do not matter here; ``ValueError`` for one there is not.
        """
        report = message.report.without(ignore)
        if not report.is_clean:
            raise AssertionError(f"{message!r} is not clean:\n{report}")

    # What goes wrong on purpose

    def faults(self, scenario: Given) -> FaultsInForce:
        """Let delivery to this inbox fail as a scenario says: in a ``with`` block, or until it stops, or to its end.

        ``scenario`` is the name of a ready one, TOML, or a dict of the same shape; ``ScenarioError`` if it cannot be.
        ``fired`` of what is returned says which rules fired.
        """
        self._shelf  # noqa: B018 - raises where there is nothing to fail
        return FaultsInForce(self._running.faults, scenario, self._port)

    # What is there

    @property
    def messages(self) -> list[Message]:
        """All messages, oldest first, whether a ``wait`` has given them or not."""
        return [self._message(summary) for summary in self._shelf.summaries]

    @property
    def sessions(self) -> list[SessionRecord]:
        """The sessions that have ended, oldest first, refused ones too; without what was said in them."""
        return list(self._running.store.sessions(inbox=self.name)[::-1])

    def clear(self) -> None:
        """Delete all messages."""
        self._delete(self._shelf)
        self._messages.clear()

    def describe(self) -> str:
        """The messages, a line each, for whoever reads the report of a test; "" where there is none."""
        return list_messages(self._shelf.summaries)

    def __repr__(self) -> str:
        state = "not running" if self._maybe_shelf is None else f"{len(self._maybe_shelf.summaries)} messages"
        return f"<Inbox {self.name} at {self.smtp_url}: {state}>"

    @property
    def _shelf(self) -> Shelf:
        if self._maybe_shelf is None:
            raise RuntimeError("the inbox is not running: use it in `with`, or call start()")
        return self._maybe_shelf

    def _looking_for(self, criteria: Criteria, *, again: bool) -> Any:
        def look() -> Summary | None:
            for summary in self._matching(criteria, again=again):
                if self._shelf.take(summary) or again:
                    return summary
            return None

        return look

    def _first(self, criteria: Criteria) -> Summary | None:
        return next(iter(self._matching(criteria)), None)

    def _matching(self, criteria: Criteria, *, again: bool = False) -> list[Summary]:
        shelf = self._shelf
        found = [
            summary
            for summary in shelf.summaries
            if (again or summary.id not in shelf.taken) and criteria.matches(summary)
        ]
        if criteria.query is None or not found:
            return found
        self._running.start_indexer()
        ids = set(self._running.store.find(criteria.query, inbox=self.name, after=found[0].id - 1))
        return [summary for summary in found if summary.id in ids]

    def _message(self, summary: Summary) -> Message:
        message = self._messages.get(summary.id)
        if message is None:
            store = self._running.store
            message = self._messages[summary.id] = Message.from_octets(
                store.raw(summary.id),
                id=summary.id,
                envelope=store.envelope(summary.id),
                session_id=summary.session_id,
                find_session=self._find_session,
                maybe_resolver=self._running.maybe_resolver,
            )
        return message

    def _find_session(self, session_id: str) -> SessionRecord | None:
        with suppress(StoreClosed):
            return self._running.session(session_id)
        return None

    def _delete(self, shelf: Shelf) -> None:
        self._running.store.delete([summary.id for summary in shelf.summaries]).result()

    def _complaint(self, criteria: Criteria, seconds: float, *, blocks: bool, again: bool) -> str:
        shelf = self._shelf
        taken = set() if again else shelf.taken
        lines = [
            f"no {describe(criteria)} arrived within {seconds:g} s",
            explain(criteria, self.smtp_url, shelf.summaries, taken, self.sessions[::-1]),
        ]
        if blocks and _is_in_loop():
            lines.append("(This wait has stopped the event loop that it was called in: use `await inbox.wait_async`.)")
        return "\n".join(lines)

    def _objection(self, criteria: Criteria) -> str:
        return f"there is a {describe(criteria)}:\n{list_messages(self._matching(criteria))}"


class _Own(Inbox):
    """An inbox on a server that is another's."""

    def __init__(self, running: Running, name: str, host: str | None, timeout: float, *, keeps_mail: bool) -> None:
        self._set_up(running, name, host, 0, timeout, is_owner=False, keeps_mail=keeps_mail)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
