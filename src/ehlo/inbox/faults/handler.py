"""Faults for any handler. ``FaultHandler`` stands before it, and uses nothing but hooks that every handler may have."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ehlo.errors import ProtocolError
from ehlo.hooks import as_reply, find_hooks
from ehlo.inbox.faults.acting import Firing, Flow, Refused, missed
from ehlo.inbox.faults.combining import CONNECT, END
from ehlo.inbox.faults.matching import Found, Matcher, Situation
from ehlo.inbox.faults.record import FaultLog, Fired
from ehlo.inbox.faults.rule import Rule, Scenario
from ehlo.inbox.faults.scenario import scenario_of
from ehlo.inbox.patterns import TooSlow
from ehlo.inbox.searching import Searches
from ehlo.protocol.address import Path, parse_forward_path, parse_reverse_path

if TYPE_CHECKING:
    from ehlo.hooks import Status
    from ehlo.session import Disconnect, Envelope, Session
    from ehlo.smtp import SMTP

Note = Callable[[Any, str], None]
Given = str | Mapping[str, Any] | Scenario

# RFC 1870 §6.1
_SIZE = re.compile(r"(?:^| )SIZE=([0-9]{1,20})(?= |$)", re.IGNORECASE)
_GREETINGS = frozenset({"HELO", "EHLO", "LHLO"})


class Faults:
    """What goes wrong now, and what went wrong.  ``port`` None is for every listener that has no faults of its own.

    ``clock`` in seconds, not going back.  Its methods may be called in any thread; what is set holds from the next
    command on, and whoever a rule keeps waiting that is no longer in force waits no more.  ``close`` when the server
    has stopped.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = FaultLog()
        self._clock = clock
        # Of each listener, the one in force last.
        self._matchers: dict[int | None, list[Matcher]] = {}
        self._searches = Searches()

    def set(self, scenario: Given, *, port: int | None = None) -> Scenario:
        """Begin with a scenario, from its beginning; ``ScenarioError`` if it cannot be, and then nothing changes."""
        made = scenario_of(scenario)
        self._matchers[port] = [Matcher(made)]
        return made

    def put_before(self, scenario: Given, port: int) -> Matcher:
        """The same, until ``take_away``: then what was in force before goes on where it was; ``ScenarioError``."""
        matcher = Matcher(scenario_of(scenario))
        self._matchers[port] = [*self._matchers.get(port, ()), matcher]
        return matcher

    def take_away(self, matcher: Matcher, port: int) -> None:
        """See ``put_before``; nothing happens if it is gone already."""
        left = [one for one in self._matchers.get(port, ()) if one is not matcher]
        if left:
            self._matchers[port] = left
        else:
            self._matchers.pop(port, None)

    def clear(self, *, port: int | None = None) -> None:
        """No faults any more."""
        self._matchers.pop(port, None)

    def clear_all(self) -> None:
        """None anywhere, as when the server stops: what a rule holds up does not hold it up."""
        self._matchers.clear()

    def scenario(self, port: int | None = None) -> Scenario | None:
        """What is in force there."""
        matchers = self._matchers.get(port)
        return matchers[-1].scenario if matchers else None

    def matcher(self, port: int | None) -> Matcher | None:
        """Who decides for a listener."""
        matchers = self._matchers.get(port) or self._matchers.get(None)
        return matchers[-1] if matchers else None

    def close(self) -> None:
        """End the process that searches for regular expressions, which begins when it is needed.  Blocks."""
        self._searches.close()

    async def decide(self, matcher: Matcher, situation: Situation, miss: Callable[[Rule, str], None]) -> Rule | None:
        """The rule that fires; in the loop.

        ``miss`` is told of one whose regular expression was not found out about in time.
        """
        found: Found = {}
        for rule, question in matcher.questions(situation):
            try:
                found[question], _ = await self._searches.search(question.pattern.expression, list(question.values))
            except TooSlow as slow:
                miss(rule, str(slow))
        return matcher.decide(situation, self._clock(), found)


class FaultHandler:
    """A handler before another, ``inner``.  ``note`` is told what fired, in a line, with the server of the session.

    Rules about a command are asked before the server looks at it; of a message in chunks, at its first BDAT only.
    """

    def __init__(self, inner: object, faults: Faults, *, note: Note | None = None) -> None:
        self._inner = inner
        self._faults = faults
        self._note = note
        self._inner_hooks = find_hooks(inner)
        # What is to come yet, by session: amid the mail data, and of the reply to EHLO.
        self._content: dict[str, Firing] = {}
        self._hiding: dict[str, Firing] = {}
        own = {name for name in dir(type(self)) if name.startswith("handle_")} | {"handle_DATA"}
        for name in dir(inner):
            if name == "honours" or (name.startswith(("handle_", "auth_")) and name not in own):
                setattr(self, name, getattr(inner, name))

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> Status | None:
        """Faults of the connection; ``inner`` hears of it first."""
        status: Status | None = await self._call("CONNECT", server, session, envelope)
        if status is not None:
            return status
        return await self._act(server, Situation(CONNECT, session.id, session.peer))

    async def handle_COMMAND(
        self, server: SMTP, session: Session, envelope: Envelope, verb: str, arg: str | None
    ) -> Status | None:
        """Faults of a command."""
        # What follows a chunk that was refused is without a transaction, and of the same message.
        if not (verb == "BDAT" and (envelope.is_chunked or envelope.mail_from is None)):
            # What an earlier command announced came to nothing, if it is there still.
            self._forget(session.id)
            if self._faults.matcher(port_of(server)) is not None:
                status = await self._act(server, situation_of(session, envelope, verb, arg))
                if status is not None:
                    return status
        inner: Status | None = await self._call("COMMAND", server, session, envelope, verb, arg)
        return inner

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> Status | list[str] | None:
        """The offer, without what a rule hides."""
        answer = await self._call("EHLO", server, session, envelope, hostname, lines)
        maybe_firing = self._hiding.pop(session.id, None)
        if maybe_firing is None or not (answer is None or isinstance(answer, list)):
            return answer  # type: ignore[no-any-return]
        name, *offer = lines if answer is None else answer
        hidden = maybe_firing.rule.hidden
        offered = {line.partition(" ")[0].upper() for line in offer}
        if offered & hidden:
            maybe_firing.tell(f"hide {' '.join(sorted(offered & hidden))}")
        else:
            maybe_firing.miss("none of that was offered")
        return [name, *(line for line in offer if line.partition(" ")[0].upper() not in hidden)]

    async def handle_DATA_STREAM(
        self, server: SMTP, session: Session, envelope: Envelope, chunks: Any
    ) -> Status | list[Status | None] | None:
        """Faults amid the mail data and at their end."""
        maybe_end: Firing | None = None

        async def at_end() -> None:
            nonlocal maybe_end
            maybe_end = await self._decide(server, situation_of(session, envelope, END, None, int(chunks.size)))
            if maybe_end is not None:
                await maybe_end.at_end()

        flow = Flow(chunks, self._content.pop(session.id, None), at_end)
        try:
            answer = await self._deliver(server, session, envelope, flow)
        except Refused as refusal:
            return str(refusal)
        if maybe_end is None:
            return answer  # type: ignore[no-any-return]
        is_fine = answer is None or (not isinstance(answer, list) and as_reply(answer).is_positive)
        return maybe_end.instead_of(answer, is_fine=is_fine)  # type: ignore[no-any-return]

    async def handle_DISCONNECT(self, server: SMTP, session: Session, envelope: Envelope, why: Disconnect) -> None:
        """Forget the session."""
        self._forget(session.id)
        await self._call("DISCONNECT", server, session, envelope, why)

    # Inside

    async def _act(self, server: SMTP, situation: Situation) -> str | None:
        maybe_firing = await self._decide(server, situation)
        if maybe_firing is None:
            return None
        if maybe_firing.is_about_content(situation.verb):
            self._content[situation.session_id] = maybe_firing
        if maybe_firing.rule.hidden:
            self._hiding[situation.session_id] = maybe_firing
        return await maybe_firing.at_command(situation.verb)

    async def _decide(self, server: SMTP, situation: Situation) -> Firing | None:
        """The rule that fires, with what it takes to act on it."""
        port = port_of(server)
        matcher = self._faults.matcher(port)
        if matcher is None:
            return None
        scenario = matcher.scenario.name
        note = functools.partial(self._note or _nothing, server)

        def is_wanted() -> bool:
            return self._faults.matcher(port) is matcher

        rule = await self._faults.decide(matcher, situation, lambda rule, why: note(missed(scenario, rule.name, why)))
        if rule is None or not is_wanted():
            return None
        sender, recipients = situation.sender, situation.recipients
        entry = Fired(scenario, rule.name, situation.verb, situation.session_id, sender, recipients)
        return Firing(rule, server, entry, (self._faults.log, matcher.log), is_wanted, note)

    def _forget(self, session_id: str) -> None:
        self._content.pop(session_id, None)
        self._hiding.pop(session_id, None)

    async def _deliver(self, server: SMTP, session: Session, envelope: Envelope, flow: Flow) -> Any:
        if "DATA_STREAM" in self._inner_hooks:
            return await self._call("DATA_STREAM", server, session, envelope, flow)
        gathered = BytesIO()
        maybe_only: bytes | None = b""
        async for chunk in flow:
            # One piece is given as it is.
            maybe_only = chunk if maybe_only == b"" else None
            gathered.write(chunk)
        envelope.content = gathered.getvalue() if maybe_only is None else maybe_only
        return await self._call("DATA", server, session, envelope)

    async def _call(self, name: str, *args: Any) -> Any:
        hook = self._inner_hooks.get(name)
        if hook is None:
            return None
        function = getattr(self._inner, hook.name)
        return await (function(*args) if hook.is_coroutine else asyncio.to_thread(function, *args))


def port_of(server: SMTP) -> int | None:
    """The port of the listener; None for a UNIX socket."""
    address = server.transport.get_extra_info("sockname")
    return address[1] if isinstance(address, tuple) else None


def situation_of(
    session: Session, envelope: Envelope, verb: str, arg: str | None, size: int | None = None
) -> Situation:
    """What a command, or the end of data, is held against rules as."""
    sender, recipients = envelope.mail_from, tuple(str(recipient) for recipient in envelope.rcpt_tos)
    helo = session.host_name or ""
    text = arg or ""
    if verb in _GREETINGS:
        helo = text
    elif verb == "MAIL":
        maybe_path = _path(parse_reverse_path, text)
        sender, recipients = (None if maybe_path is None else maybe_path.mailbox), ()
        match = _SIZE.search((maybe_path and maybe_path.parameters) or "")
        size = int(match[1]) if match else None
    elif verb == "RCPT":
        maybe_path = _path(parse_forward_path, text)
        recipients = () if maybe_path is None else (maybe_path.mailbox,)
    return Situation(verb, session.id, session.peer, helo or None, session.login, sender, recipients, size)


def _path(parse: Callable[[str], Path], text: str) -> Path | None:
    try:
        return parse(text)
    except ProtocolError:
        return None


def _nothing(server: SMTP, text: str) -> None:
    """What is noted where nobody asks for notes."""
