"""Faults for any handler. ``FaultHandler`` stands before it, and uses nothing but hooks that every handler may have."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ehlo.errors import Disconnected, ProtocolError
from ehlo.hooks import as_reply, find_hooks
from ehlo.inbox.faults.acting import Flow, IsWanted, Refused, act_at_command, closes_after, disconnect_now, pause
from ehlo.inbox.faults.matching import Matcher, Situation
from ehlo.inbox.faults.record import FaultLog, Fired
from ehlo.inbox.faults.scenario import CONNECT, END, Rule, Scenario, scenario_of
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
    command on, and whoever a rule keeps waiting that is no longer in force waits no more.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = FaultLog()
        self._clock = clock
        # Of each listener, the one in force last.
        self._matchers: dict[int | None, list[Matcher]] = {}

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

    def scenario(self, port: int | None = None) -> Scenario | None:
        """What is in force there."""
        matchers = self._matchers.get(port)
        return matchers[-1].scenario if matchers else None

    def matcher(self, port: int | None) -> Matcher | None:
        """Who decides for a listener."""
        matchers = self._matchers.get(port) or self._matchers.get(None)
        return matchers[-1] if matchers else None

    def decide(self, matcher: Matcher, situation: Situation, port: int | None = None) -> Rule | None:
        """The rule that fires, which is recorded."""
        rule = matcher.decide(situation, self._clock())
        if rule is not None:
            entry = Fired(
                at=time.time(),
                scenario=matcher.scenario.name,
                rule=rule.name,
                act=rule.describe(),
                verb=situation.verb,
                session_id=situation.session_id,
                port=port,
                sender=situation.sender,
                recipients=situation.recipients,
            )
            self.log.add(entry)
        return rule


class FaultHandler:
    """A handler before another, ``inner``.  ``note`` is told what fired, in a line, with the server of the session.

    Rules about a command are asked before the server looks at it; of a message in chunks, at its first BDAT only.
    """

    def __init__(self, inner: object, faults: Faults, *, note: Note | None = None) -> None:
        self._inner = inner
        self._faults = faults
        self._note = note
        self._inner_hooks = find_hooks(inner)
        self._content_rules: dict[str, tuple[Rule, IsWanted]] = {}
        self._hidden: dict[str, frozenset[str]] = {}
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
        if self._faults.matcher(port_of(server)) is not None and not (verb == "BDAT" and envelope.is_chunked):
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
        hidden = self._hidden.pop(session.id, None)
        if hidden is None or not (answer is None or isinstance(answer, list)):
            return answer  # type: ignore[no-any-return]
        name, *offer = lines if answer is None else answer
        return [name, *(line for line in offer if line.partition(" ")[0].upper() not in hidden)]

    async def handle_DATA_STREAM(
        self, server: SMTP, session: Session, envelope: Envelope, chunks: Any
    ) -> Status | list[Status | None] | None:
        """Faults amid the mail data and at their end."""
        maybe_end: Rule | None = None

        async def at_end() -> None:
            nonlocal maybe_end
            maybe_end = await self._end(server, session, envelope, int(chunks.size))

        maybe_rule, is_wanted = self._content_rules.pop(session.id, (None, _always))
        flow = Flow(chunks, maybe_rule, server, is_wanted, at_end)
        try:
            answer = await self._deliver(server, session, envelope, flow)
        except Refused as refusal:
            return str(refusal)
        if maybe_end is None:
            return answer  # type: ignore[no-any-return]
        if maybe_end.maybe_ending == "unanswered":
            server.disconnect()
            raise Disconnected("a fault")
        is_fine = answer is None or (not isinstance(answer, list) and as_reply(answer).is_positive)
        return maybe_end.maybe_reply if is_fine and maybe_end.maybe_reply is not None else answer

    async def handle_DISCONNECT(self, server: SMTP, session: Session, envelope: Envelope, why: Disconnect) -> None:
        """Forget the session."""
        self._content_rules.pop(session.id, None)
        self._hidden.pop(session.id, None)
        await self._call("DISCONNECT", server, session, envelope, why)

    # Inside

    async def _act(self, server: SMTP, situation: Situation) -> str | None:
        decided = self._decide(server, situation)
        if decided is None:
            return None
        rule, is_wanted = decided
        if rule.is_about_content:
            self._content_rules[situation.session_id] = decided
        if rule.hidden:
            self._hidden[situation.session_id] = rule.hidden
        return await act_at_command(rule, server, situation.verb, is_wanted)

    async def _end(self, server: SMTP, session: Session, envelope: Envelope, size: int) -> Rule | None:
        """The rule for the end of the data, if one fires that lets the message pass; else raises."""
        decided = self._decide(server, situation_of(session, envelope, END, None, size))
        if decided is None:
            return None
        rule, is_wanted = decided
        await pause(rule.delay, server, is_wanted)
        if disconnect_now(rule, server):
            raise Disconnected("a fault")
        if closes_after(rule):
            server.end_session()
        if rule.maybe_reply is not None and rule.maybe_reply[0] in "45":
            raise Refused(rule.maybe_reply)
        return rule

    def _decide(self, server: SMTP, situation: Situation) -> tuple[Rule, IsWanted] | None:
        self._content_rules.pop(situation.session_id, None)
        port = port_of(server)
        matcher = self._faults.matcher(port)
        maybe_rule = None if matcher is None else self._faults.decide(matcher, situation, port)
        if matcher is None or maybe_rule is None:
            return None
        if self._note is not None:
            self._note(server, f"fault {matcher.scenario.name}, {maybe_rule.name}: {maybe_rule.describe()}")
        return maybe_rule, lambda: self._faults.matcher(port) is matcher

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
    return Situation(verb, session.id, session.peer, helo, session.login or "", sender, recipients, size)


def _path(parse: Callable[[str], Path], text: str) -> Path | None:
    try:
        return parse(text)
    except ProtocolError:
        return None


def _always() -> bool:
    return True
