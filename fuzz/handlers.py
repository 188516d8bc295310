"""Handlers that note everything, and misbehave as they are told.

A behaviour is what a hook does when it is called.  Those below ``GOOD`` are what a hook may do; each of the others is a
fault of the handler's, which the server has to survive and may write one traceback about.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ehlo import LMTP, AuthResult, DataAborted, Reply
from ehlo.errors import MessageTooBig
from ehlo.protocol.credentials import derive_scram_keys
from ehlo.trace import received_field, return_path_field
from fuzz.checks import require, require_harmless

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ehlo import Disconnect, Envelope, Session

HOSTNAME: Final = "mx.test"
_KEYS: Final = derive_scram_keys("secret", salt=b"salt", iterations=4096)
_LATER: Final = "451 4.7.1 Later"


@dataclass
class Notes:
    """What a handler is to do in one session, and what it saw: calls with their main argument, its faults, the end."""

    behaviours: tuple[int, ...] = (0,)
    greeting: int = 0
    events: list[tuple[str, Any]] = field(default_factory=list)
    calls: int = 0
    faults: int = 0
    whys: list[Disconnect] = field(default_factory=list)

    @property
    def next_behaviour(self) -> int:
        return self.behaviours[self.calls % len(self.behaviours)]


class DeliberateError(Exception):
    """What a hook raises."""


async def _decline() -> None:
    return None


async def _decline_later() -> None:
    await asyncio.sleep(0)


async def _accept() -> str:
    return "250 Taken"


async def _refuse() -> str:
    return "550 5.7.1 Not taken"


async def _put_off() -> str:
    return _LATER


async def _say_two_lines() -> Reply:
    return Reply(250, "2.0.0", ("One", "Two"))


async def _blame_the_client() -> None:
    raise MessageTooBig


async def _fail() -> None:
    raise DeliberateError("details that are nobody else's business")


async def _fail_after_a_while() -> None:
    await asyncio.sleep(0)
    raise TimeoutError


async def _say_nonsense() -> str:
    return "no status"


async def _split_a_reply() -> str:
    return "250 One\r\n250 Two"


async def _go_on() -> str:
    return "354 Go on"


async def _return_a_number() -> int:
    return 42


async def _return_bytes() -> bytes:
    return b"250 \xff"


async def _cancel() -> None:
    raise asyncio.CancelledError


async def _stop_iteration() -> None:
    raise StopIteration


BEHAVIOURS: Final[tuple[Callable[[], Awaitable[Any]], ...]] = (
    _decline,
    _decline_later,
    _accept,
    _refuse,
    _put_off,
    _say_two_lines,
    _blame_the_client,
    # Faults.
    _fail,
    _fail_after_a_while,
    _say_nonsense,
    _split_a_reply,
    _go_on,
    _return_a_number,
    _return_bytes,
    _cancel,
    _stop_iteration,
)
GOOD: Final = 7

GREETINGS: Final = (None, None, None, "220 mx.test ESMTP", "554 No service", "421 Busy")


class NotingHandler:
    """Notes every call, and behaves."""

    honours: Final = {"DSN": None, "BINARYMIME": None, "MT-PRIORITY": None, "RRVS": None, "DELIVERBY": 10}

    async def _behave(self, server: Any, verb: str, arg: Any) -> Any:
        notes: Notes = server.notes
        notes.events.append((verb, arg))
        number = notes.next_behaviour
        notes.calls += 1
        # What answers nothing cannot blame the client.
        notes.faults += number >= GOOD or (verb == "STARTTLS" and number == GOOD - 1)
        return await BEHAVIOURS[number]()

    async def handle_CONNECT(self, server: Any, session: Session, envelope: Envelope) -> str | None:
        return GREETINGS[server.notes.greeting]

    async def handle_HELO(self, server: Any, session: Session, envelope: Envelope, hostname: str) -> Any:
        return await self._behave(server, "HELO", hostname)

    async def handle_EHLO(
        self, server: Any, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> Any:
        answer = await self._behave(server, "EHLO", hostname)
        return lines if answer is None and server.notes.calls % 2 else answer

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> Any:
        if server.notes.calls % 2:
            envelope.mail_from = address
        return await self._behave(server, "MAIL", address)

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> Any:
        if server.notes.calls % 2:
            envelope.rcpt_tos.append(address)
        return await self._behave(server, "RCPT", address)

    async def handle_RSET(self, server: Any, session: Session, envelope: Envelope) -> Any:
        return await self._behave(server, "RSET", None)

    async def handle_NOOP(self, server: Any, session: Session, envelope: Envelope, arg: str | None) -> Any:
        return await self._behave(server, "NOOP", arg)

    async def handle_VRFY(self, server: Any, session: Session, envelope: Envelope, arg: str) -> Any:
        return await self._behave(server, "VRFY", arg)

    async def handle_EXPN(self, server: Any, session: Session, envelope: Envelope, arg: str) -> Any:
        return await self._behave(server, "EXPN", arg)

    async def handle_ETRN(self, server: Any, session: Session, envelope: Envelope, arg: str) -> Any:
        return await self._behave(server, "ETRN", arg)

    async def handle_HELP(self, server: Any, session: Session, envelope: Envelope, arg: str | None) -> Any:
        return await self._behave(server, "HELP", arg)

    async def handle_QUIT(self, server: Any, session: Session, envelope: Envelope) -> Any:
        return await self._behave(server, "QUIT", None)

    async def handle_STARTTLS(self, server: Any, session: Session, envelope: Envelope) -> Any:
        return await self._behave(server, "STARTTLS", None)

    async def handle_DISCONNECT(self, server: Any, session: Session, envelope: Envelope, why: Disconnect) -> None:
        server.notes.whys.append(why)

    async def auth_FUZZ(self, server: Any, args: list[str]) -> AuthResult:  # noqa: N802 - the mechanism's name
        first = await server.challenge_auth("one")
        second = await server.challenge_auth(b"two")
        return AuthResult(success=first == second)

    def _look_at(self, server: Any, session: Session, envelope: Envelope) -> None:
        """Require that what is written on top of a message cannot become another field."""
        received = received_field(session, envelope, by=HOSTNAME, protocol=server.protocol_name)
        require_harmless(received.replace("\r\n\t", "").removesuffix("\r\n"), "a Received field")
        require_harmless(return_path_field(envelope).removesuffix("\r\n"), "a Return-Path field")
        require(envelope.smtp_utf8 or received.isascii(), "a Received field in UTF-8 without SMTPUTF8")
        require(len(envelope.recipients) == len(envelope.rcpt_tos) > 0, "nobody to send it to")


class BufferingHandler(NotingHandler):
    """Takes a message whole."""

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> Any:
        self._look_at(server, session, envelope)
        answer = await self._behave(server, "DATA", envelope.content)
        if answer == _LATER and isinstance(server, LMTP):
            return [_LATER, *[None] * (len(envelope.rcpt_tos) - 1)]
        return answer


class StreamingHandler(NotingHandler):
    """Takes a message as it comes: to its end, or its first piece, or nothing of it; or denies that it was cut off."""

    async def handle_DATA_STREAM(
        self, server: Any, session: Session, envelope: Envelope, chunks: AsyncIterator[bytes]
    ) -> Any:
        self._look_at(server, session, envelope)
        habit = server.notes.next_behaviour % 4
        taken = b""
        try:
            if habit != 3:
                async for piece in chunks:
                    taken += piece
                    if habit == 2:
                        break
        except DataAborted:
            if habit == 1:
                return "250 2.0.0 Never to be said"
            raise
        return await self._behave(server, "DATA_BEGUN" if habit in {2, 3} else "DATA", taken)


class Users:
    """Ann, whose password is "secret"; she may act as bob."""

    async def check_password(self, question: Any, _session: Session) -> bool:
        return bool(question.user == "ann" and question.password == "secret")

    async def check_digest(self, question: Any, _session: Session) -> bool:
        return bool(question.proves("secret"))

    async def find_keys(self, question: Any, _session: Session) -> Any:
        return _KEYS if question.user == "ann" else None

    async def check_token(self, question: Any, _session: Session) -> bool:
        return bool(question.token == "token")

    async def authorize(self, question: Any, _session: Session) -> bool:
        return bool(question.authzid == "bob")
