"""An inbox server in a thread with a loop of its own.  Knows threads; what it is good for is ``ehlo.inbox.inbox``'s.

Everything here may be called in any thread but the loop's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ehlo.inbox.indexer import Indexer
from ehlo.inbox.server import InboxServer
from ehlo.inbox.store import Store
from ehlo.net.foreground import parse_address

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Coroutine

    from ehlo.inbox.faults import Faults
    from ehlo.inbox.records import SessionRecord, Summary
    from ehlo.report.dns import Resolver

    T = TypeVar("T")

READY_TIMEOUT = 10.0
"""Seconds that anything may take that the loop is asked for."""
WEB_PORT = 8026
_BATCH = 500


class Running:
    """See ``Inbox`` for what it is told."""

    store: Store

    def __init__(
        self,
        *,
        web: bool | str,
        store: str | os.PathLike[str] | None,
        tls: bool | ssl.SSLContext,
        **options: Any,
    ) -> None:
        self.authority_file: Path | None = None
        self._tls = tls
        self._maybe_path = None if store is None else Path(store)
        # The page finds mail by its text, so that everything is indexed then.
        self._is_indexed = bool(web)
        self._options = {"web": _web_address(web), **options}
        self._server: InboxServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._indexer: Indexer | None = None
        self._end: asyncio.Event | None = None
        self._failure: BaseException | None = None

    @property
    def maybe_resolver(self) -> Resolver | None:
        """Who is asked about DKIM, SPF and DMARC."""
        maybe_resolver: Resolver | None = self._options.get("resolver")
        return maybe_resolver

    @property
    def web_url(self) -> str | None:
        """Where the page is."""
        return None if self._server is None else self._server.web_url

    def start(self) -> None:
        """Open the store and start; raises what keeps it from that."""
        context = self._context()
        ready = threading.Event()
        self.store = Store(self._maybe_path)
        self._thread = threading.Thread(target=self._run, args=(ready, context), name="ehlo-inbox", daemon=True)
        self._thread.start()
        ready.wait()
        failure = self._take_failure()
        if failure is not None:
            self._thread.join()
            self._thread = None
            self.store.close()
            raise failure

    def stop(self) -> None:
        """Stop, and return when the thread has ended and the store is closed."""
        thread, loop, end = self._thread, self._loop, self._end
        if thread is None or loop is None or end is None:
            return
        loop.call_soon_threadsafe(end.set)
        thread.join()
        self._thread = None
        if self._indexer is not None:
            self._indexer.close()
            self._indexer = None
        self.store.close()

    def open_listener(self, inbox: str, host: str | None, port: int) -> int:
        """Listen for mail to an inbox; the port.  ``OSError``."""
        return self._call(self._running.open_listener(inbox, host, port))

    def close_listener(self, port: int) -> None:
        """Listen there no more."""
        self._call(self._running.close_listener(port))

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose."""
        return self._running.faults

    def session(self, session_id: str) -> SessionRecord | None:
        """A session, which may still be open."""
        return self._running.session(session_id)

    def kept(self, inbox: str) -> list[Summary]:
        """What the store had when it was opened."""
        found: list[Summary] = []
        before = None
        while page := self.store.list(inbox=inbox, limit=_BATCH, before=before).messages:
            found += page
            before = page[-1].id
        return found

    def start_indexer(self) -> None:
        """Have messages looked into, from now on and those that are there: what the search needs."""
        if self._indexer is None and not self._is_indexed:
            self._indexer = Indexer(self.store)
            self._indexer.start()

    @property
    def _running(self) -> InboxServer:
        if self._server is None:
            raise RuntimeError("the inbox's server is not running")
        return self._server

    def _take_failure(self) -> BaseException | None:
        failure, self._failure = self._failure, None
        return failure

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(READY_TIMEOUT)

    def _context(self) -> ssl.SSLContext | None:
        if self._tls is True:
            from ehlo.inbox.certificate import own_certificate  # noqa: PLC0415 - needs cryptography

            certificate = own_certificate()
            self.authority_file = certificate.authority
            return certificate.context()
        return self._tls or None

    def _run(self, ready: threading.Event, context: ssl.SSLContext | None) -> None:
        try:
            asyncio.run(self._main(ready, context))
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            self._failure = error
        finally:
            self._server = self._loop = None
            ready.set()

    async def _main(self, ready: threading.Event, context: ssl.SSLContext | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = InboxServer(self.store, smtp=None, is_indexed=self._is_indexed, tls_context=context, **self._options)
        await server.start()
        try:
            self._server = server
            ready.set()
            await self._end.wait()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await server.stop()


def _web_address(web: bool | str) -> tuple[str | None, int] | None:  # noqa: FBT001 - it is what the user gave
    if web is False:
        return None
    return (None, 0) if web is True else parse_address(web, WEB_PORT)
