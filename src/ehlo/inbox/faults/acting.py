"""What a rule does when it fires. Knows the server's public face; does not know why the rule fired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ehlo.errors import DataAborted, Disconnected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ehlo.inbox.faults.scenario import Rule
    from ehlo.smtp import SMTP

SLICE = 0.1
"""Seconds after which somebody who pauses looks whether there is a reason to go on."""

IsWanted = Callable[[], bool]


async def pause(seconds: float, server: SMTP, is_wanted: IsWanted) -> None:
    """Wait; no longer when the client is gone or the faults have been taken away."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0 and is_wanted() and not server.is_gone:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(min(left, SLICE))


async def act_at_command(rule: Rule, server: SMTP, verb: str, is_wanted: IsWanted) -> str | None:
    """What a rule does before a verb, or before the greeting; the status that answers it, None to go on."""
    await pause(rule.delay, server, is_wanted)
    if rule.breaks_tls:
        await server.push("220 2.0.0 Ready to start TLS")
        server.disconnect()
        return None
    if rule.is_about_content or disconnect_now(rule, server):
        return None
    if closes_after(rule) or (verb == "QUIT" and rule.maybe_reply is not None):
        server.end_session()
    return rule.maybe_reply


def disconnect_now(rule: Rule, server: SMTP) -> bool:
    """Close without a reply, if that is what the rule says."""
    if rule.maybe_ending not in {"before", "reset"}:
        return False
    server.disconnect(abort=rule.maybe_ending == "reset")
    return True


def closes_after(rule: Rule) -> bool:
    """Whether the connection ends with the reply.  RFC 5321 §3.8: a server that says 421 closes."""
    return rule.maybe_ending == "after" or (rule.maybe_reply or "").startswith("421")


class Refused(DataAborted):
    """The message is refused when all of it is there: whoever reads it must not keep it."""


class Flow:
    """Mail data that come as a rule says, for a handler that reads them; ``size`` as that of the server's own.

    ``at_end`` is called when all are there, and may raise.
    """

    def __init__(
        self,
        chunks: Any,
        maybe_rule: Rule | None,
        server: SMTP,
        is_wanted: IsWanted,
        at_end: Callable[[], Awaitable[None]],
    ) -> None:
        self._chunks = chunks
        self._maybe_rule = maybe_rule
        self._server = server
        self._is_wanted = is_wanted
        self._at_end = at_end

    @property
    def size(self) -> int:
        """How many octets came so far."""
        return int(self._chunks.size)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The data."""
        rule = self._maybe_rule
        if rule is None:
            async for chunk in self._chunks:
                yield chunk
        else:
            async for chunk in self._slowly(rule):
                yield chunk
        await self._at_end()

    async def _slowly(self, rule: Rule) -> AsyncIterator[bytes]:
        maybe_stall_at = rule.maybe_stall_after
        taken = 0
        if maybe_stall_at == 0:
            await self._stall(rule)
        async for chunk in self._chunks:
            if rule.maybe_drip is not None:
                await pause(len(chunk) / rule.maybe_drip, self._server, self._is_wanted)
            if maybe_stall_at is not None and taken < maybe_stall_at <= taken + len(chunk):
                await self._stall(rule)
            taken += len(chunk)
            yield chunk
        if closes_after(rule):
            self._server.end_session()

    async def _stall(self, rule: Rule) -> None:
        await pause(rule.stall, self._server, self._is_wanted)
        if disconnect_now(rule, self._server):
            raise Disconnected("a fault")
