"""A rule and a scenario, as they are when they have been read. Knows neither TOML nor what happens in a session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ehlo.net.limits import Rate
    from ehlo.net.networks import Networks

Per = Literal["all", "session", "sender", "recipient", "peer", "triplet"]
Ending = Literal["before", "after", "reset", "unanswered"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A glob, or ``/re/``; the case of letters does not count."""

    text: str
    expression: re.Pattern[str]
    is_expression: bool

    def matches(self, value: str) -> bool:
        """Whether it does; of ``/re/``, which may take for ever, not to be asked in the loop."""
        return self.expression.search(value) is not None


Patterns = tuple[Pattern, ...]


class Words(NamedTuple):
    """What a rule does, in words; "" for what it does not do."""

    delay: str
    drip: str
    stall: str
    tls: str
    hide: str
    reply: str
    ending: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Fires when all that is not None or empty applies; of several patterns, one will do.

    ``first``, ``last`` are the attempts at which it fires, ``last`` None: all later ones too.  Times are in seconds,
    ``drip`` in octets a second.
    """

    name: str
    verbs: frozenset[str]
    sender: Patterns = ()
    recipient: Patterns = ()
    login: Patterns = ()
    helo: Patterns = ()
    maybe_peers: Networks | None = None
    first: int = 1
    last: int | None = None
    per: Per = "all"
    maybe_age: float | None = None
    maybe_rate: Rate | None = None
    maybe_size_over: int | None = None
    probability: float = 1.0
    maybe_times: int | None = None
    maybe_reply: str | None = None
    delay: float = 0.0
    maybe_stall_after: int | None = None
    stall: float = 0.0
    maybe_drip: float | None = None
    maybe_ending: Ending | None = None
    breaks_tls: bool = False
    hidden: frozenset[str] = frozenset()

    @property
    def is_about_content(self) -> bool:
        """Whether it lets the command pass and does something amid the mail data."""
        return self.maybe_stall_after is not None or self.maybe_drip is not None

    @property
    def is_unconditional(self) -> bool:
        """Whether it fires at every command that it is about."""
        whens = (self.maybe_peers, self.last, self.maybe_age, self.maybe_rate, self.maybe_size_over, self.maybe_times)
        return not self.patterns and self.first == 1 and set(whens) == {None} and self.probability == 1

    @property
    def patterns(self) -> dict[str, Patterns]:
        """Those that there are."""
        every = {"sender": self.sender, "recipient": self.recipient, "login": self.login, "helo": self.helo}
        return {key: patterns for key, patterns in every.items() if patterns}

    @property
    def words(self) -> Words:
        """What it does, for the record."""
        behind = "" if self.maybe_stall_after is None else f" after {self.maybe_stall_after} octets"
        is_amid = self.maybe_ending in {"before", "reset"}
        return Words(
            delay=f"delay {self.delay:g} s" if self.delay else "",
            drip="" if self.maybe_drip is None else f"drip {self.maybe_drip:g} octets/s",
            stall=f"stall {self.stall:g} s{behind}" if self.stall else "",
            tls="break TLS" if self.breaks_tls else "",
            hide=f"hide {' '.join(sorted(self.hidden))}" if self.hidden else "",
            reply="" if self.maybe_reply is None else f"reply {self.maybe_reply}",
            ending="" if self.maybe_ending is None else f"disconnect {self.maybe_ending}{behind * is_amid}",
        )

    def describe(self) -> str:
        """The same in one piece."""
        return ", ".join(filter(None, self.words))


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rules in their order: the first that fires wins.  ``text`` is the TOML it was made of, "" if it was a dict."""

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    seed: int = 0
    text: str = ""
