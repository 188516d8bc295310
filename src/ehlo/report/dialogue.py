"""A session as the rules look at it. Knows commands and their replies; does not know what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol


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
    TLS, mail data.
    """

    number: int
    command: str
    verb: str
    arg: str
    replies: tuple[str, ...]
    notes: tuple[str, ...]
    is_ahead: bool

    @property
    def place(self) -> str:
        """For a finding."""
        return f"command {self.number}, {self.verb[:20]}"

    @property
    def code(self) -> str:
        """The last reply's code, "" if there was none."""
        return self.replies[-1][:3] if self.replies else ""

    @property
    def is_fault(self) -> bool:
        """Whether the server was told to answer so: then it says nothing of the client."""
        return any(note.startswith("fault ") for note in self.notes)

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
        groups: list[tuple[Spoken, list[str], list[str], bool]] = []
        replied_at = 0.0 if self.greeting is None else self.greeting.at
        is_challenge = False
        for line in self.lines:
            if line.by == "C" and not is_challenge:
                groups.append((line, [], [], line.at < replied_at))
            elif line.by == "S":
                replied_at = line.at
                is_challenge = line.text.startswith("334")
                if groups:
                    groups[-1][1].append(line.text)
            elif line.by == "C":
                is_challenge = False
            elif groups:
                groups[-1][2].append(line.text)
        return tuple(
            _exchange(number, command.text, replies, notes, is_ahead=is_ahead)
            for number, (command, replies, notes, is_ahead) in enumerate(groups, 1)
        )

    def of(self, *verbs: str) -> list[Exchange]:
        """The exchanges of some verbs."""
        return [one for one in self.exchanges if one.verb in verbs]

    @cached_property
    def has_tls(self) -> bool:
        """Whether TLS was on at some time."""
        return any(line.by == "-" and line.text.startswith("TLS:") for line in self.lines)


def _exchange(number: int, command: str, replies: list[str], notes: list[str], *, is_ahead: bool) -> Exchange:
    verb, _, arg = command.partition(" ")
    return Exchange(number, command, verb.upper(), arg, tuple(replies), tuple(notes), is_ahead)


def spoken(*lines: str) -> Dialogue:
    """A dialogue for an example: ``C: line``, ``S: line``, ``-: note``; ``C! line`` came before what is above it."""
    clock = 0.0
    result = []
    for line in lines:
        clock += 1
        result.append(Line(clock - (1.5 if line[1] == "!" else 0), line[0], line[3:]))
    return Dialogue(tuple(result))


RIGHT = spoken(
    "S: 220 mx.receiver.example ESMTP",
    "C: EHLO client.sender.example",
    "S: 250-mx.receiver.example",
    "S: 250 PIPELINING",
    "C: MAIL FROM:<anna@sender.example> SIZE=100",
    "S: 250 2.1.0 OK",
    "C: RCPT TO:<bob@receiver.example>",
    "S: 250 2.1.5 OK",
    "C: DATA",
    "S: 354 Go ahead",
    "-: 100 octets of mail data",
    "S: 250 2.0.0 OK",
    "C: QUIT",
    "S: 221 2.0.0 Bye",
)
"""A session without any fault."""
