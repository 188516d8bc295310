"""What a rule does when it fires, and the record of it. Knows the server's public face; not why the rule fired."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ehlo.errors import DataAborted, Disconnected
from ehlo.inbox.faults.record import Act

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ehlo.inbox.faults.record import FaultLog, Fired
    from ehlo.inbox.faults.rule import Rule
    from ehlo.smtp import SMTP

SLICE = 0.1
"""Seconds after which somebody who pauses looks whether there is a reason to go on."""


class Refused(DataAborted):
    """The message is refused when all of it is there: whoever reads it must not keep it."""


@dataclass(slots=True)
class Firing:
    """A rule that fired in the session of ``server``.

    ``is_wanted``: whether it is in force still.  What it does is told to ``logs`` and to ``note`` when it does it; what
    did not come about, to ``note`` only.
    """

    rule: Rule
    server: SMTP
    entry: Fired
    logs: tuple[FaultLog, ...]
    is_wanted: Callable[[], bool]
    note: Callable[[str], None]

    def tell(self, text: str) -> None:
        """Something happens now; nothing does to a client that has gone."""
        if text and not self.server.is_gone:
            self._add(text)

    def miss(self, why: str) -> None:
        """Something did not come about."""
        self.note(missed(self.entry.scenario, self.entry.rule, why))

    def is_about_content(self, verb: str) -> bool:
        """Whether it lets the command pass, and does something when the mail data come."""
        rule = self.rule
        return rule.is_about_content or (verb in {"DATA", "BDAT"} and rule.maybe_reply is None and self._is_last)

    async def at_command(self, verb: str) -> str | None:
        """What it does before a verb, or before the greeting; the status that answers it, None to go on."""
        rule, words = self.rule, self.rule.words
        await self.pause(rule.delay, words.delay)
        if rule.breaks_tls:
            self.tell(words.tls)
            await self.server.push("220 2.0.0 Ready to start TLS")
            self.server.disconnect()
            return None
        if self.is_about_content(verb) or self.hung_up():
            return None
        self.tell(words.reply)
        if self._is_last or (verb == "QUIT" and rule.maybe_reply is not None):
            self.end_session()
        return rule.maybe_reply

    async def at_end(self) -> None:
        """What it does when a message has come and nobody has it yet; ``Refused``, ``Disconnected``."""
        rule, words = self.rule, self.rule.words
        await self.pause(rule.delay, words.delay)
        if self.hung_up():
            raise Disconnected("a fault")
        is_refused = (rule.maybe_reply or "")[:1] in {"4", "5"}
        if is_refused:
            self.tell(words.reply)
        if self._is_last and (is_refused or rule.maybe_reply is None):
            self.end_session()
        if is_refused:
            raise Refused(rule.maybe_reply)

    def instead_of(self, answer: Any, *, is_fine: bool) -> Any:
        """What is said of a message that somebody has taken, or not; ``Disconnected``."""
        rule, words = self.rule, self.rule.words
        if rule.maybe_ending == "unanswered":
            self.tell(words.ending)
            self.server.disconnect()
            raise Disconnected("a fault")
        if rule.maybe_reply is None:
            return answer
        if is_fine:
            self.tell(words.reply)
        else:
            self.miss("the message was refused")
        if self._is_last:
            self.end_session()
        return rule.maybe_reply if is_fine else answer

    async def pause(self, seconds: float, words: str) -> None:
        """Wait; no longer when the client is gone or the faults have been taken away."""
        if not seconds:
            return
        self.tell(words)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.wait(seconds)
        waited = loop.time() - began
        if waited < seconds - SLICE:
            why = "the client had gone" if self.server.is_gone else "the faults ended"
            self._add(f"ended after {waited:.1f} s: {why}")

    async def wait(self, seconds: float) -> None:
        """The same, without a word."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        # Nobody tells when there is no reason to go on.
        while (left := end - loop.time()) > 0 and self.is_wanted() and not self.server.is_gone:  # noqa: ASYNC110
            await asyncio.sleep(min(left, SLICE))

    def hung_up(self) -> bool:
        """Close without a reply, if that is what the rule says."""
        ending = self.rule.maybe_ending
        if ending not in {"before", "reset"}:
            return False
        self.tell(self.rule.words.ending)
        self.server.disconnect(abort=ending == "reset")
        return True

    def end_session(self) -> None:
        """Close behind the reply."""
        self.tell(self.rule.words.ending)
        self.server.end_session()

    def _add(self, text: str) -> None:
        is_first = not self.entry.acts
        self.entry.acts = (*self.entry.acts, Act(time.time(), text))
        if is_first:
            for log in self.logs:
                log.add(self.entry)
        self.note(f"fault {self.entry.scenario}, {self.entry.rule}: {text}")

    @property
    def _is_last(self) -> bool:
        """Whether the connection ends with the reply.  RFC 5321 §3.8: a server that says 421 closes."""
        return self.rule.maybe_ending == "after" or (self.rule.maybe_reply or "").startswith("421")


def missed(scenario: str, rule: str, why: str) -> str:
    """A note of a fault that did not come about; it does not begin as that of one that did."""
    return f"no fault {scenario}, {rule}: {why}"


class Flow:
    """Mail data that come as a rule says, for a handler that reads them; ``size`` as that of the server's own.

    ``at_end`` is called when all are there, and may raise.
    """

    def __init__(self, chunks: Any, maybe_firing: Firing | None, at_end: Callable[[], Awaitable[None]]) -> None:
        self._chunks = chunks
        self._maybe_firing = maybe_firing
        self._at_end = at_end

    @property
    def size(self) -> int:
        """How many octets came so far."""
        return int(self._chunks.size)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The data."""
        chunks = self._chunks if self._maybe_firing is None else self._slowly(self._maybe_firing)
        async for chunk in chunks:
            yield chunk
        await self._at_end()

    async def _slowly(self, firing: Firing) -> AsyncIterator[bytes]:
        rule, taken = firing.rule, 0
        maybe_stall_at = rule.maybe_stall_after
        if maybe_stall_at == 0:
            await _stall(firing)
        async for chunk in self._chunks:
            if rule.maybe_drip is not None:
                firing.tell(rule.words.drip if not taken else "")
                await firing.wait(len(chunk) / rule.maybe_drip)
            if maybe_stall_at is not None and taken < maybe_stall_at <= taken + len(chunk):
                await _stall(firing)
            taken += len(chunk)
            yield chunk
        if maybe_stall_at is not None and taken < maybe_stall_at:
            firing.miss(f"the mail data ended after {taken} octets")
        elif rule.maybe_ending == "after":
            firing.end_session()


async def _stall(firing: Firing) -> None:
    await firing.pause(firing.rule.stall, firing.rule.words.stall)
    if firing.hung_up():
        raise Disconnected("a fault")
