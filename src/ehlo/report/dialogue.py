"""A session as the rules look at it. Knows commands and their replies; does not know what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

# Notes: of a rule that made the server say no, as ``ehlo.inbox.faults`` writes them; one that only waits says no reply.
_FAULT_REPLY = re.compile(r"fault .*: reply ", re.DOTALL)
# Notes: of what came instead of a command.
_UNREAD = re.compile(r"bare (?:LF|CR or NUL) in a line|a line of more than [0-9]+ octets")


class Spoken(Protocol):
    """A line of a transcript."""

    @property
    def at(self) -> float:
        """Seconds since the session began."""

    @property
    def by(self) -> str:
        """Who said it: "C", "S", or "-" for what nobody said, such as a TLS handshake."""

    @property
    def text(self) -> str:
        """Without its line end."""


class Line(NamedTuple):
    """The simplest ``Spoken``."""

    at: float
    by: str
    text: str


class Exchange(NamedTuple):
    """A command and the lines of its reply; ``number`` counts from 1.  Answers to a challenge belong to AUTH.

    ``is_ahead``: the client sent it before it had the reply to the one before.  ``notes`` are what happened in between:
    TLS, mail data.  ``has_tls``: TLS was on when it came.  ``is_cancelled``: the client gave up an AUTH.  A line that
    the server could not read has no ``verb``; its ``command`` says why.
    """

    number: int
    command: str
    verb: str
    arg: str
    replies: tuple[str, ...]
    notes: tuple[str, ...]
    is_ahead: bool
    has_tls: bool
    is_cancelled: bool

    @property
    def place(self) -> str:
        """For a finding."""
        return f"command {self.number}, {self.verb[:20]}" if self.verb else f"command {self.number}"

    @property
    def code(self) -> str:
        """The last reply's code, "" if there was none."""
        return self.replies[-1][:3] if self.replies else ""

    @property
    def is_fault(self) -> bool:
        """Whether the server was told to answer so: then it says nothing of the client."""
        return any(map(_FAULT_REPLY.match, self.notes))

    @property
    def is_refused(self) -> bool:
        """Whether the last reply was a no."""
        return self.code[:1] in {"4", "5"}


@dataclass(frozen=True)
class Dialogue:
    """A session, as its transcript has it."""

    lines: Sequence[Spoken]

    @cached_property
    def greeting(self) -> Spoken | None:
        """The first line of the server."""
        return next((line for line in self.lines if line.by == "S"), None)

    @cached_property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The dialogue as commands with their replies."""
        groups: list[_Group] = []
        replied_at = 0.0 if self.greeting is None else self.greeting.at
        is_challenge = has_tls = False
        for line in self.lines:
            is_unread = line.by == "-" and _UNREAD.match(line.text) is not None
            has_tls = has_tls or (line.by == "-" and line.text.startswith("TLS:"))
            if is_unread or (line.by == "C" and not is_challenge):
                groups.append(_Group(line, line.at < replied_at, has_tls, is_unread))
                is_challenge = False
            elif line.by == "S":
                replied_at = line.at
                is_challenge = bool(groups) and line.text.startswith("334")
                if groups:
                    groups[-1].replies.append(line.text)
            elif line.by == "C":
                is_challenge = False
                groups[-1].answers.append(line.text)
            elif groups:
                groups[-1].notes.append(line.text)
        return tuple(group.exchange(number) for number, group in enumerate(groups, 1))

    def of(self, *verbs: str) -> list[Exchange]:
        """The exchanges of some verbs."""
        return [one for one in self.exchanges if one.verb in verbs]


@dataclass
class _Group:
    """An exchange in the making."""

    first: Spoken
    is_ahead: bool
    has_tls: bool
    is_unread: bool
    replies: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def exchange(self, number: int) -> Exchange:
        verb, _, arg = ("", "", "") if self.is_unread else self.first.text.partition(" ")
        return Exchange(
            number,
            self.first.text,
            verb.upper(),
            arg,
            tuple(self.replies),
            tuple(self.notes),
            self.is_ahead,
            self.has_tls,
            is_cancelled="*" in self.answers,
        )


def spoken(*lines: str) -> Dialogue:
    """A dialogue for an example: ``C: line``, ``S: line``, ``-: note``; ``C! line`` came before what is above it."""
    clock = 0.0
    result = []
    for line in lines:
        clock += 1
        result.append(Line(clock - (1.5 if line[1] == "!" else 0), line[0], line[3:]))
    return Dialogue(tuple(result))


# What a right client and its server say, for examples.
HELLO = ("S: 220 mx.receiver.example ESMTP", "C: EHLO client.sender.example")
OFFER = (*HELLO, "S: 250-mx.receiver.example", "S: 250 PIPELINING")
MAIL = ("C: MAIL FROM:<anna@sender.example> SIZE=100", "S: 250 2.1.0 OK")
RCPT = ("C: RCPT TO:<bob@receiver.example>", "S: 250 2.1.5 OK")
DATA = ("C: DATA", "S: 354 Go ahead", "-: 100 octets of mail data", "S: 250 2.0.0 OK")
QUIT = ("C: QUIT", "S: 221 2.0.0 Bye")

RIGHT = spoken(*OFFER, *MAIL, *RCPT, *DATA, *QUIT)
"""A session without any fault."""
