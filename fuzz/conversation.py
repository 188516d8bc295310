"""One session in memory: a server, a handler that may misbehave, and a client that sends whatever it was given.

``Config`` is what may differ, ``converse`` plays it and gives back everything that could be seen of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from ehlo import LMTP, SMTP, BareNewlines, Disconnect, Settings
from ehlo.net.flow import UNREAD_LIMIT
from ehlo.protocol.framing import Framing
from ehlo.testing import MemoryTransport
from fuzz.checks import Violation, require, require_harmless
from fuzz.handlers import BEHAVIOURS, GREETINGS, HOSTNAME, BufferingHandler, Notes, StreamingHandler, Users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.choices import Choices

# Passes of the loop after which a server that has everything it needs must have answered.
_PATIENCE: Final = 20_000


@dataclass(frozen=True)
class Config:
    """What may differ between two sessions.

    ``is_patient``: the client waits for the answers to each piece.  ``behaviours``: indices of BEHAVIOURS, one for each
    call of a hook, over and over.
    """

    is_lmtp: bool = False
    bare_newlines: BareNewlines = BareNewlines.REFUSE
    data_size_limit: int | None = None
    has_auth: bool = False
    has_tls: bool = False
    trusts_client: bool = False
    streams: bool = False
    greeting: int = 0
    is_patient: bool = True
    feeds_in_callbacks: bool = True
    ends_abruptly: bool = False
    behaviours: tuple[int, ...] = (0,)


def read_config(choices: Choices) -> tuple[Config, int]:
    """A configuration and a cut, from the first line of a seed.

    Its octets: LMTP?  bare newlines, SIZE, offers (1 AUTH, 2 TLS, 4 trust), streaming? greeting, delivery, the end, the
    cut, and up to eight behaviours of hooks.
    """
    is_lmtp = choices.pick((False, True))
    bare_newlines = choices.pick((BareNewlines.REFUSE, BareNewlines.NORMALIZE, BareNewlines.KEEP))
    data_size_limit = choices.pick((None, 40, 10_000))
    offers = choices.number(8)
    streams = choices.pick((False, True))
    greeting = choices.number(len(GREETINGS))
    delivery = choices.number(4)
    ends_abruptly = choices.number(8) == 7
    how = choices.number(48)
    behaviours: list[int] = []
    while not choices.is_over and len(behaviours) < 8:
        behaviours.append(choices.number(len(BEHAVIOURS)))
    config = Config(
        is_lmtp=is_lmtp,
        bare_newlines=bare_newlines,
        data_size_limit=data_size_limit,
        has_auth=bool(offers & 1),
        # What arrives behind STARTTLS in the same piece is dropped, so the oracle must know the pieces.
        has_tls=bool(offers & 2) and delivery < 2,
        trusts_client=bool(offers & 4),
        streams=streams,
        greeting=greeting,
        is_patient=delivery < 2,
        feeds_in_callbacks=delivery % 2 == 0,
        ends_abruptly=ends_abruptly,
        behaviours=tuple(behaviours) or (0,),
    )
    return config, how


@dataclass
class Conversation:
    """All that could be seen: what the client sent, what the server said, what the handler saw."""

    config: Config
    pieces: list[bytes]
    wire: bytes
    notes: Notes

    @property
    def was_closed_by_server(self) -> bool:
        """Whether the server ended it, so that it may owe an answer to what was sent after that."""
        return self.config.ends_abruptly or self.notes.whys[0] is not Disconnect.CLOSED


async def converse(config: Config, pieces: Sequence[bytes]) -> Conversation:
    """Play a session to its end; ``Violation`` for what is wrong whatever was said."""
    notes = Notes(config.behaviours, config.greeting)
    with _Log() as log:
        server = _make_server(config, notes)
        transport = MemoryTransport(server, extra={"peername": ("192.0.2.1", 49152)})
        fed = await _feed(server, transport, config, pieces)
    server.task.result()
    require(len(notes.whys) == 1, f"handle_DISCONNECT was called {len(notes.whys)} times")
    require(notes.whys[0] is not Disconnect.FAILURE, "the session failed")
    log.judge(notes.faults)
    return Conversation(config, fed, bytes(transport.sent), notes)


async def _feed(server: Any, transport: MemoryTransport, config: Config, pieces: Sequence[bytes]) -> list[bytes]:
    """Deliver the pieces and the end; give those that were taken."""
    loop = asyncio.get_running_loop()
    await _settle(server)
    fed = []
    for piece in pieces:
        if transport.is_closing():
            break
        fed.append(piece)
        if config.feeds_in_callbacks:
            loop.call_soon(transport.feed, piece)
            await asyncio.sleep(0)
        else:
            transport.feed(piece)
        if config.is_patient or not transport.is_reading():
            await _settle(server)
        waiting = server._framer.buffered
        require(waiting <= UNREAD_LIMIT + len(piece), f"{waiting} octets wait to be taken")
    (transport.lose if config.ends_abruptly else transport.feed_eof)()
    for _ in range(_PATIENCE):
        if server.task.done():
            await asyncio.sleep(0)
            return fed
        await asyncio.sleep(0)
    raise Violation("the session does not end")


async def _settle(server: Any) -> None:
    for _ in range(_PATIENCE):
        if server.task.done() or server._stepper.awaits_input:
            return
        await asyncio.sleep(0)
    raise Violation("the server does not come to rest")


# The server


class _SaidTLS:
    """What ``ssl_object`` is to a server, without TLS."""

    def __init__(self) -> None:
        self.context = _tls_context()

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)

    def selected_alpn_protocol(self) -> None:
        return None

    def getpeercert(self, *, binary_form: bool = False) -> None:
        return None


class _WithoutTLS:
    """A handshake that takes a moment and changes nothing but what the server believes."""

    notes: Notes

    async def _start_tls(self: Any, _context: ssl.SSLContext, _timeout: float) -> None:
        self._flush()
        self._framer.expect(Framing.TLS)
        self.transport._extra["ssl_object"] = _SaidTLS()
        await asyncio.sleep(0)
        self._framer.expect(Framing.COMMAND)


class _SMTP(_WithoutTLS, SMTP):
    pass


class _LMTP(_WithoutTLS, LMTP):
    pass


@functools.cache
def _tls_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _make_server(config: Config, notes: Notes) -> Any:
    settings = _settings(dataclasses.replace(config, **_OF_ONE_SESSION))
    server = (_LMTP if config.is_lmtp else _SMTP)(_HANDLERS[config.streams], settings=settings)
    server.notes = notes
    return server


# One of each for ever: what is found out about a handler and settings is then found out once.
_HANDLERS: Final = (BufferingHandler(), StreamingHandler())
_OF_ONE_SESSION: Final[dict[str, Any]] = {
    "is_lmtp": False,
    "streams": False,
    "greeting": 0,
    "is_patient": True,
    "feeds_in_callbacks": True,
    "ends_abruptly": False,
    "behaviours": (),
}


@functools.cache
def _settings(config: Config) -> Settings:
    return Settings(
        hostname=HOSTNAME,
        bare_newlines=config.bare_newlines,
        data_size_limit=config.data_size_limit,
        authenticator=Users() if config.has_auth else None,
        auth_require_tls=False,
        tls_context=_tls_context() if config.has_tls else None,
        xclient_networks=("192.0.2.0/24", "198.51.100.0/24") if config.trusts_client else (),
        xforward_networks=("192.0.2.0/24",) if config.trusts_client else (),
        pass_parameters=("X-PASSED",),
        ignore_parameters=("X-IGNORED",),
    )


# What is logged


class _Log(logging.Handler):
    """Takes what ehlo and asyncio log, and lets nobody else see it."""

    _NAMES: Final = ("ehlo", "asyncio")

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._texts: list[str] = []
        self._tracebacks: list[str] = []
        self._before: list[tuple[int, bool]] = []

    def __enter__(self) -> Self:
        for name in self._NAMES:
            logger = logging.getLogger(name)
            self._before.append((logger.level, logger.propagate))
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
            logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for name, (level, propagates) in zip(self._NAMES, self._before, strict=True):
            logger = logging.getLogger(name)
            logger.removeHandler(self)
            logger.propagate = propagates
            logger.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.name}: {record.getMessage()}"
        if record.exc_info or record.name == "asyncio":
            self._tracebacks.append(f"{text}: {record.exc_info and record.exc_info[1]!r}")
        else:
            self._texts.append(text)

    def judge(self, faults: int) -> None:
        """Require that there is no traceback but for a fault of the handler's, and that no text splits a line."""
        require(len(self._tracebacks) <= faults, f"{faults} faults of the handler, and {self._tracebacks}")
        for text in self._texts:
            require_harmless(text, "a line of the log")
