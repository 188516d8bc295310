"""What all connections of one handler have in common, worked out once.

A connection costs little because everything that is the same for the next one is in here: the hooks, the mechanisms,
the limits of lines, the encoded greeting and EHLO lists, the threads for plain hooks.  Knows classes, settings and
handlers; does not know any connection.
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ehlo.auth import find_answers, mechanism_name
from ehlo.hooks import Hook, find_hooks, honoured
from ehlo.net.clients import ClientTable
from ehlo.net.networks import Networks
from ehlo.net.tls import note_server_names
from ehlo.protocol import sasl
from ehlo.protocol.commands import COMMAND_LINE_LIMIT
from ehlo.protocol.extensions import Capabilities, offer
from ehlo.protocol.parameters import MAIL_PARAMETERS, RCPT_PARAMETERS, line_allowance
from ehlo.protocol.replies import Reply
from ehlo.stats import Stats

if TYPE_CHECKING:
    from ehlo.protocol.tlsinfo import TLSInfo
    from ehlo.settings import Settings


class Offer:
    """What EHLO offers in one state of a connection, and what follows from it.

    ``lines`` are those of the reply after the host name; ``keywords`` are what MAIL and RCPT parameters are held
    against; ``path_line_limit`` is how long the lines of MAIL, RCPT and VRFY may be.
    """

    __slots__ = ("data", "keywords", "lines", "path_line_limit")

    def __init__(self, hostname: str, capabilities: Capabilities) -> None:
        extensions = offer(capabilities)
        self.lines = [f"{keyword} {rest}".rstrip() for keyword, rest in extensions.items()]
        self.keywords = frozenset(extensions)
        allowance = max(line_allowance(table, self.keywords) for table in (MAIL_PARAMETERS, RCPT_PARAMETERS))
        self.path_line_limit = COMMAND_LINE_LIMIT + allowance
        self.data = Reply(250, None, (hostname, *self.lines)).encode(with_enhanced=False)


class Shared:
    """See the module's text.  One per handler, settings and class of the server."""

    def __init__(self, handler: object, settings: Settings, own_mechanisms: Collection[str]) -> None:
        self.settings = settings
        self.stats = Stats()
        self.clients = ClientTable(settings.limits, _now, self.stats)
        self.hooks: Mapping[str, Hook] = find_hooks(handler)
        self.honoured = honoured(handler)
        self.hostname = settings.hostname
        self.answers = find_answers(settings.authenticator)
        self.handler_mechanisms = {
            name: attribute
            for attribute in dir(handler)
            if attribute.startswith("auth_")
            and (name := mechanism_name(attribute, getattr(handler, attribute))) is not None
        }
        self._own_mechanisms = own_mechanisms
        self._mechanisms = self._find_mechanisms()
        self._offers: dict[tuple[object, ...], Offer] = {}
        self.proxy_networks = Networks(settings.proxy_networks)
        self.xclient_networks = Networks(settings.xclient_networks)
        self.xforward_networks = Networks(settings.xforward_networks)
        self._threads: ThreadPoolExecutor | None = None
        if settings.tls_context is not None:
            note_server_names(settings.tls_context)

    @property
    def can_authenticate(self) -> bool:
        """Whether there is anything to authenticate against, perhaps only on TLS."""
        return bool(self._mechanisms)

    def mechanisms(self, tls: TLSInfo | None) -> tuple[str, ...]:
        """The mechanisms that may be used on this connection, strongest first."""
        if tls is None:
            return () if self.settings.auth_require_tls else self._without({"EXTERNAL", "SCRAM-SHA-256-PLUS"})
        missing = set()
        if tls.peer_certificate is None:
            missing.add("EXTERNAL")
        # A client chooses the binding, and takes the one of its TLS version.
        if not tls.channel_bindings.keys() & {"tls-unique", "tls-exporter"}:
            missing.add("SCRAM-SHA-256-PLUS")
        return self._without(missing) if missing else self._mechanisms

    def offer(self, tls: TLSInfo | None, *, xclient: tuple[str, ...] = (), xforward: tuple[str, ...] = ()) -> Offer:
        """What EHLO offers on this connection.  ``xclient``, ``xforward``: the attributes that the client may give."""
        assert self.hostname is not None
        settings = self.settings
        mechanisms = self.mechanisms(tls)
        has_date = "FUTURERELEASE" in self.honoured
        key = (tls is not None, mechanisms, xclient, xforward)
        found = None if has_date else self._offers.get(key)
        if found is None:
            capabilities = Capabilities(
                size_limit=settings.data_size_limit,
                does_utf8=settings.enable_SMTPUTF8,
                is_tls=tls is not None,
                can_start_tls=settings.tls_context is not None,
                mechanisms=mechanisms,
                honoured=self.honoured,
                limits=self._limits,
                has_etrn="ETRN" in self.hooks,
                xclient=xclient,
                xforward=xforward,
                now=datetime.now(UTC),
            )
            found = self._offers[key] = Offer(self.hostname, capabilities)
        return found

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Where hooks run that are no coroutine functions.  Not the loop's own pool, which others need too."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.settings.hook_threads, thread_name_prefix="ehlo-hook")
        return self._threads

    def look_up_hostname(self) -> None:
        """Find this host's name.  Blocks, perhaps for seconds: never in the loop."""
        if self.hostname is None:
            self.hostname = socket.getfqdn()

    def close(self) -> None:
        """Let the threads end when they have nothing to do any more; nobody waits for them."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    @property
    def _limits(self) -> dict[str, int]:
        """RFC 9422 §3: what is enforced anyway."""
        settings = self.settings
        limits = {
            "RCPTMAX": settings.recipient_limit,
            "MAILMAX": settings.mail_limit,
            "RCPTDOMAINMAX": settings.recipient_domain_limit,
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    def _without(self, missing: Collection[str]) -> tuple[str, ...]:
        return tuple(name for name in self._mechanisms if name not in missing)

    def _find_mechanisms(self) -> tuple[str, ...]:
        settings = self.settings
        excluded = settings.auth_exclude_mechanism or ()
        own = {*self._own_mechanisms, *self.handler_mechanisms}
        if settings.authenticator is None and "AUTH" not in self.hooks and not own:
            return ()  # and no SASL to be imported
        answerable = set(self.answers)
        if callable(settings.authenticator) and not self.answers:
            answerable.add(sasl.CheckPassword)
        built_in = sasl.offered(answerable, sasl.Context(channel_bindings={"tls-unique": b""}))
        if "AUTH" in self.hooks and not built_in:
            built_in = ["PLAIN", "LOGIN"]
        known = own.union(built_in)
        names = [*(name for name in sasl.MECHANISMS if name in known), *sorted(known.difference(sasl.MECHANISMS))]
        return tuple(name for name in names if name not in excluded)


def _now() -> float:
    """The loop's time: that of the timeouts, in tests too."""
    return asyncio.get_running_loop().time()


_cache: dict[tuple[int, type, Settings], tuple[weakref.ref[Any], Shared]] = {}


def shared_by(cls: type, handler: object, settings: Settings, own_mechanisms: Collection[str]) -> Shared:
    """The one ``Shared`` of a class, a handler and settings, for as long as the handler lives.

    A handler that cannot be referred to weakly, such as a tuple, has a new one made each time: give ``serve`` or
    ``SMTP(handler, shared=...)`` one to avoid that.
    """
    key = (id(handler), cls, settings)
    entry = _cache.get(key)
    if entry is not None and entry[0]() is handler:
        return entry[1]
    shared = Shared(handler, settings, own_mechanisms)
    try:
        reference = weakref.ref(handler, lambda _: _cache.pop(key, None))
    except TypeError:
        return shared
    _cache[key] = (reference, shared)
    return shared
