"""What all connections of one handler have in common, worked out once.

A connection costs little because everything that is the same for the next one is in here: the hooks, the mechanisms,
the limits of lines, the encoded greeting and EHLO lists, the threads for plain hooks.  Knows classes, settings and
handlers; does not know any connection.
"""

from __future__ import annotations

import socket
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ehlo.auth import find_answers, mechanism_name
from ehlo.hooks import Hook, find_hooks, honoured
from ehlo.net.tls import note_server_names
from ehlo.protocol import sasl
from ehlo.protocol.commands import COMMAND_LINE_LIMIT
from ehlo.protocol.extensions import Capabilities, offer
from ehlo.protocol.parameters import MAIL_PARAMETERS, RCPT_PARAMETERS, line_allowance
from ehlo.protocol.replies import Reply

if TYPE_CHECKING:
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

    def __init__(self, handler: object, settings: Settings, methods: Mapping[str, str]) -> None:
        self.settings = settings
        self.hooks: Mapping[str, Hook] = find_hooks(handler)
        self.honoured = honoured(handler)
        self.hostname = settings.hostname
        self.answers = find_answers(settings.authenticator)
        self.handler_mechanisms = {
            name: attribute
            for attribute in dir(handler)
            if (name := mechanism_name(attribute, getattr(handler, attribute))) is not None
        }
        self._methods = methods
        self._plain_mechanisms = self._find_mechanisms(is_tls=False)
        self._tls_mechanisms = self._find_mechanisms(is_tls=True)
        self._offers: dict[tuple[bool, tuple[str, ...]], Offer] = {}
        self._threads: ThreadPoolExecutor | None = None
        if settings.tls_context is not None:
            note_server_names(settings.tls_context)

    @property
    def can_authenticate(self) -> bool:
        """Whether there is anything to authenticate against, perhaps only on TLS."""
        return bool(self._tls_mechanisms)

    def mechanisms(self, *, is_tls: bool) -> tuple[str, ...]:
        """The mechanisms that may be used now, strongest first."""
        return self._tls_mechanisms if is_tls else self._plain_mechanisms

    def offer(self, *, is_tls: bool, can_identify_peer: bool) -> Offer:
        """What EHLO offers now.  ``can_identify_peer``: the client has shown a certificate, for EXTERNAL."""
        assert self.hostname is not None
        mechanisms = self.mechanisms(is_tls=is_tls)
        if not can_identify_peer:
            mechanisms = tuple(name for name in mechanisms if name != "EXTERNAL")
        key = (is_tls, mechanisms)
        found = self._offers.get(key)
        if found is None:
            capabilities = Capabilities(
                size_limit=self.settings.data_size_limit,
                does_utf8=self.settings.enable_SMTPUTF8,
                is_tls=is_tls,
                can_start_tls=self.settings.tls_context is not None,
                mechanisms=mechanisms,
                honoured=self.honoured,
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

    def _find_mechanisms(self, *, is_tls: bool) -> tuple[str, ...]:
        settings = self.settings
        if settings.auth_require_tls and not is_tls:
            return ()
        excluded = settings.auth_exclude_mechanism or ()
        own = {name for name in (*self._methods, *self.handler_mechanisms) if name not in sasl.MECHANISMS}
        overridden = self.handler_mechanisms.keys() & sasl.MECHANISMS.keys()
        answerable = set(self.answers)
        if callable(settings.authenticator) and not self.answers:
            answerable.add(sasl.CheckPassword)
        built_in = sasl.offered(answerable, sasl.Context())
        if "AUTH" in self.hooks and not built_in:
            built_in = ["PLAIN", "LOGIN"]
        names = [*built_in, *sorted(overridden - set(built_in)), *sorted(own)]
        return tuple(name for name in names if name not in excluded)


_cache: dict[tuple[int, type, Settings], tuple[weakref.ref[Any], Shared]] = {}


def shared_by(cls: type, handler: object, settings: Settings, methods: Mapping[str, str]) -> Shared:
    """The one ``Shared`` of a class, a handler and settings, for as long as the handler lives.

    A handler that cannot be referred to weakly, such as a tuple, has a new one made each time: give ``serve`` or
    ``SMTP(handler, shared=...)`` one to avoid that.
    """
    key = (id(handler), cls, settings)
    entry = _cache.get(key)
    if entry is not None and entry[0]() is handler:
        return entry[1]
    shared = Shared(handler, settings, methods)
    try:
        reference = weakref.ref(handler, lambda _: _cache.pop(key, None))
    except TypeError:
        return shared
    _cache[key] = (reference, shared)
    return shared
