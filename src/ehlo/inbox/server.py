"""The inbox as a whole: SMTP and the web in one loop, with the store between them.

Knows how the parts are joined; what each does is theirs.  What reads the store for a web request runs in a thread, so
that nobody who looks at mail keeps anybody from sending some.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from ehlo.controller import SMTPServer, serve
from ehlo.inbox.accounts import Accounts
from ehlo.inbox.catcher import Catcher, Observer
from ehlo.inbox.checking import VOUCHING_LIMIT, VOUCHING_SECONDS, Checker
from ehlo.inbox.events import Hub
from ehlo.inbox.faults import FaultHandler, Faults, Scenario
from ehlo.inbox.indexer import Indexer
from ehlo.inbox.logins import AnyLogin, KnownLogins
from ehlo.inbox.searching import Searches
from ehlo.inbox.store import Store
from ehlo.inbox.transcript import RecordingSMTP, address_text
from ehlo.inbox.waiting import Waited, Watch
from ehlo.net.serve import GRACE
from ehlo.settings import DATA_SIZE_DEFAULT, BareNewlines, Settings
from ehlo.stats import Stats

if TYPE_CHECKING:
    import ssl

    from ehlo.auth import FileAuthenticator
    from ehlo.inbox.criteria import Criteria
    from ehlo.inbox.records import SessionRecord
    from ehlo.inbox.users import UserFile
    from ehlo.inbox.web.serving import WebServer
    from ehlo.net.connection import Connection
    from ehlo.report.dns import SystemResolver, Zone

Address = tuple[str | None, int]
"""A host, None for the loopback and "" for every address, and a port, 0 for any that is free."""

SMTP_PORT = 8025
WEB_PORT = 8026
THREADS = 8
"""That read the store for the web."""

# RFC 3986 §2.3: unreserved
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
_EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound


class MissingExtra(ImportError):
    """The packages of the extra ``inbox`` are not installed; the text says how to get them."""


class InboxServer:
    """Catches mail, keeps it, and shows it.  An async context manager, or ``start`` and ``stop``.

    ``store`` None makes a private one.  ``smtp``, ``smtps`` (TLS at once) and ``web`` are where to listen, None: not at
    all.  ``tls_context`` is for STARTTLS and ``smtps``; ``web_tls`` for https.  ``auth`` is ``any``, for which every
    login will do, or ``users``: those of ``users`` and of inboxes that were made.  ``token`` is the owner's; without
    one, a token is made where the web is to be reached from elsewhere, and is in ``token`` then.  ``hosts`` are names
    that the web server goes by; ``release`` the servers that messages may be released to.  ``max_size`` in octets,
    None for any.  ``is_indexed``: whether messages are looked into, by a process; else that is done when one is opened.
    ``observer`` is called in a thread with each message.  ``wrap`` makes the handler of SMTP from the one that stores.
    ``faults`` are in force from the beginning.  ``resolver`` is asked about DKIM, SPF and DMARC when a report asks for
    them; None: it may not.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        smtp: Address | None = (None, SMTP_PORT),
        smtps: Address | None = None,
        web: Address | None = (None, WEB_PORT),
        tls_context: ssl.SSLContext | None = None,
        web_tls: ssl.SSLContext | None = None,
        auth: Literal["any", "users"] = "any",
        users: FileAuthenticator | UserFile | None = None,
        accounts: Accounts | None = None,
        token: str | None = None,
        hosts: Sequence[str] = (),
        release: Sequence[str] = (),
        max_size: int | None = DATA_SIZE_DEFAULT,
        is_indexed: bool = True,
        observer: Observer | None = None,
        wrap: Callable[[Catcher], object] | None = None,
        faults: Scenario | None = None,
        resolver: Zone | SystemResolver | None = None,
    ) -> None:
        if smtps is not None and tls_context is None:
            raise ValueError("smtps needs a tls_context")
        if token is not None and not _TOKEN.fullmatch(token):
            raise ValueError("a token is made of letters, digits and . _ ~ - (it stands in links and cookies)")
        self._owns_store = store is None
        self.store = Store() if store is None else store
        self.accounts = Accounts(self.store) if accounts is None else accounts
        self.catcher = Catcher(self.store, self.accounts, observer=observer)
        self.patterns = Searches()
        self.checker = Checker()
        self.resolver = resolver
        # Apart: who waits for name servers keeps nobody waiting who does not.
        self.voucher = Checker(seconds=VOUCHING_SECONDS, limit=VOUCHING_LIMIT)
        self.auth: Literal["any", "users"] = auth
        self.release = tuple(release)
        self.is_indexed = is_indexed
        self.hosts = (*hosts, *(address[0] for address in (smtp, web) if address is not None and address[0]))
        self.token = token
        if token is None and web is not None and not is_loopback(web[0]):
            self.token = secrets.token_urlsafe(24)
        self.settings = Settings(
            hostname="localhost",  # no name server is asked, and nobody is to be impressed
            data_size_limit=max_size,
            authenticator=cast("Any", AnyLogin(self.accounts) if auth == "any" else KnownLogins(self.accounts, users)),
            auth_require_tls=False,
            tls_context=tls_context,
            bare_newlines=BareNewlines.KEEP,
        )
        self.faults = Faults()
        self._maybe_faults = faults
        self._handler = FaultHandler(self.catcher if wrap is None else wrap(self.catcher), self.faults, note=_note)
        self._smtp, self._smtps, self._web_address = smtp, smtps, web
        self._web_tls = web_tls
        self._servers: list[SMTPServer] = []
        self._implicit_tls: list[SMTPServer] = []
        self._inbox_listeners: dict[int, SMTPServer] = {}
        self._past = Stats()
        self._threads: ThreadPoolExecutor | None = None
        self._stack = AsyncExitStack()
        self._maybe_hub: Hub | None = None
        self._maybe_web: WebServer | None = None
        self._stopped: asyncio.Event | None = None
        self._is_stopping = False

    # Facts

    @property
    def hub(self) -> Hub:
        """Who tells of what happens; there while it runs."""
        assert self._maybe_hub is not None, "the server is not running"
        return self._maybe_hub

    @property
    def is_serving(self) -> bool:
        """Whether it takes mail."""
        return any(server.is_serving for server in self._all_servers())

    @property
    def addresses(self) -> list[Any]:
        """Where SMTP is spoken, as sockets tell it; the listeners of single inboxes are not among them."""
        return [address for server in self._servers for address in server.addresses]

    @property
    def smtp_addresses(self) -> list[str]:
        """The same as text."""
        return [address_text(address) for address in self.addresses]

    @property
    def smtps_addresses(self) -> list[str]:
        """Where TLS begins at once."""
        return [address_text(address) for server in self._implicit_tls for address in server.addresses]

    @property
    def web_url(self) -> str | None:
        """Where the page is, for a browser on this machine; None without a web part."""
        return None if self._maybe_web is None else self._maybe_web.url

    @property
    def web_link(self) -> str | None:
        """The same with the token, where one is needed."""
        return self.link_for(self.token) if self.token is not None else self.web_url

    @property
    def connections(self) -> frozenset[Connection]:
        """The SMTP sessions that are open now."""
        return frozenset().union(*(server.connections for server in self._all_servers()))

    @property
    def stats(self) -> Stats:
        """What has happened on all listeners."""
        return sum((server.stats for server in self._all_servers()), self._past)

    def link_for(self, token: str) -> str | None:
        """The address of the page that lets in whoever has this token."""
        return None if self.web_url is None else f"{self.web_url}?token={token}"

    def session(self, session_id: str) -> SessionRecord | None:
        """A session, which may go on still.  In any thread; it may read the store."""
        server = self.catcher.open_sessions.get(session_id)
        if server is not None:
            return self.catcher.record(server, server.session, server.envelope)
        return self.store.session(session_id)

    def open_sessions(self) -> list[SessionRecord]:
        """Those that go on, newest first, without their transcripts."""
        servers = list(self.catcher.open_sessions.values())[::-1]
        return [self.catcher.outline(server, server.session, server.envelope) for server in servers]

    def run(self, function: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        """Call a function that reads the store, in a thread."""
        assert self._threads is not None, "the server is not running"
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def watch(
        self,
        criteria: Criteria,
        *,
        inbox: str | None = None,
        after: int | None = None,
        is_stream: bool = False,
        is_ours: bool = False,
    ) -> Watch:
        """Look for messages; see ``Watch``.  ``is_ours``: the patterns are this program's own."""
        return Watch(
            self.store,
            self.hub,
            self.run,
            criteria,
            inbox=inbox,
            after=after,
            patterns=None if is_ours else self.patterns,
            is_indexed=self.is_indexed,
            is_stream=is_stream,
        )

    async def wait(
        self, criteria: Criteria, *, inbox: str | None = None, after: int | None = None, timeout: float = 30.0
    ) -> Waited:
        """Wait for a message: what ``GET /api/v1/wait`` does."""
        with self.watch(criteria, inbox=inbox, after=after, is_ours=True) as watch:
            found = await watch.next(timeout)
            return Waited(found, watch.cursor, tuple(watch.seen))

    # Life

    async def start(self) -> None:
        """Listen.  ``OSError`` when an address cannot be had, ``MissingExtra``; then nothing is left open."""
        if self._stopped is not None and not self._stopped.is_set():
            raise RuntimeError("the server is running")
        self._stopped = asyncio.Event()
        self._is_stopping = False
        if self._maybe_faults is not None:
            self.faults.set(self._maybe_faults)
        try:
            await self._start()
        except BaseException:
            await self.stop(grace=0)
            raise

    async def _start(self) -> None:
        stack = self._stack
        if self._owns_store:
            stack.push_async_callback(self._in_default_thread, self.store.close)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ehlo-inbox")
        stack.push_async_callback(self._in_default_thread, partial(self._threads.shutdown, cancel_futures=True))
        stack.push_async_callback(self._in_default_thread, self.patterns.close)
        stack.push_async_callback(self._in_default_thread, self.faults.close)
        stack.push_async_callback(self._in_default_thread, self.checker.close)
        stack.push_async_callback(self._in_default_thread, self.voucher.close)
        if self.is_indexed:
            indexer = Indexer(self.store)
            indexer.start()
            stack.push_async_callback(self._in_default_thread, indexer.close)
        self._maybe_hub = Hub(asyncio.get_running_loop())
        stack.callback(self.store.subscribe(self._maybe_hub.publish))
        if self._web_address is not None:
            self._maybe_web = await _import_web().start_web(self, self._web_address, self._web_tls)
            stack.push_async_callback(self._maybe_web.stop)
        # After the web, and so stopped before it.
        stack.push_async_callback(self._stop_listeners)
        if self._smtp is not None:
            self._servers.append(await self._listen(*self._smtp))
        if self._smtps is not None:
            self._implicit_tls.append(await self._listen(*self._smtps, context=self.settings.tls_context))
        stack.callback(self._maybe_hub.close)

    async def stop(self, grace: float = GRACE) -> None:
        """Let who waits go, stop listening, let open transactions finish within ``grace`` seconds, close everything."""
        if self._stopped is None or self._stopped.is_set():
            return
        if self._is_stopping:
            await self._stopped.wait()
            return
        self._is_stopping = True
        self._grace = grace
        self.faults.clear_all()
        try:
            await self._stack.aclose()
        finally:
            self._maybe_web = None
            self._stopped.set()

    def hurry(self) -> None:
        """While it stops: wait no longer for open transactions."""
        for server in self._all_servers():
            server.hurry()

    async def serve_forever(self) -> None:
        """Wait until somebody stops it; a cancellation stops it too."""
        if self._stopped is None:
            raise RuntimeError("the server has not been started")
        try:
            await self._stopped.wait()
        finally:
            await self.stop()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    # Listeners of single inboxes

    async def open_listener(self, inbox: str, host: str | None = None, port: int = 0) -> int:
        """Listen for mail that goes to this inbox, whatever its login and recipients; the port."""
        server = await self._listen(host, port)
        self._inbox_listeners[server.port] = server
        self.catcher.listeners[server.port] = inbox
        return server.port

    async def close_listener(self, port: int, grace: float = 1.0) -> None:
        """Listen there no more.  ``KeyError`` if nobody does."""
        server = self._inbox_listeners.pop(port)
        await server.stop(grace)
        self._past += server.stats
        del self.catcher.listeners[port]

    # Inside

    async def _listen(self, host: str | None, port: int, *, context: ssl.SSLContext | None = None) -> SMTPServer:
        server = serve(self._handler, host, port, protocol=RecordingSMTP, settings=self.settings, ssl_context=context)
        await server.start()
        return server

    def _all_servers(self) -> list[SMTPServer]:
        return [*self._servers, *self._implicit_tls, *self._inbox_listeners.values()]

    async def _stop_listeners(self) -> None:
        servers = self._all_servers()
        await asyncio.gather(*(server.stop(self._grace) for server in servers))
        self._past = self.stats
        self._servers, self._implicit_tls, self._inbox_listeners = [], [], {}
        self.catcher.listeners.clear()

    async def _in_default_thread(self, function: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(None, function)

    _grace = GRACE


def _note(server: RecordingSMTP, text: str) -> None:
    server.note(text)


def is_loopback(host: str | None) -> bool:
    """Whether nobody but this machine can reach it."""
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def known_names(hosts: Sequence[str]) -> list[str]:
    """Names for the web server: those given, and this machine's own."""
    return [*(host for host in hosts if host not in _EVERYWHERE), socket.gethostname()]


def _import_web() -> Any:
    try:
        return importlib.import_module("ehlo.inbox.web.serving")
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] == "ehlo":
            raise
        raise MissingExtra(f"the page of the inbox needs {error.name}: pip install 'ehlo[inbox]'") from error
