"""What is too much, and what is said then. Knows numbers and replies; does not count: ``ehlo.net.clients`` does."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import ClassVar, Self

from ehlo.errors import Goodbye, ProtocolError
from ehlo.net.networks import LOOPBACK, Networks

PATIENCE = 300.0
"""Seconds that every client waits for the greeting and for the reply to MAIL or RCPT (RFC 5321 §4.5.3.2.1 to 3)."""

# rate   = count "/" [ number ] unit
# count  = 1*DIGIT
# number = 1*DIGIT [ "." 1*DIGIT ]        ; 1 if absent
# unit   = "s" / "m" / "h" / "d" / "second" / "minute" / "hour" / "day"
_RATE = re.compile(r"(?P<count>[0-9]+)/(?P<number>[0-9]+(?:\.[0-9]+)?)?(?P<unit>[smhd]|second|minute|hour|day)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` events in ``seconds`` seconds, at once or spread in any way.  See ``ehlo.net.clients``."""

    count: int
    seconds: float

    def __post_init__(self) -> None:
        """Check."""
        if self.count < 1 or not 0 < self.seconds < math.inf:
            raise ValueError(f"a rate needs a count of at least 1 and a time > 0: {self}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """``"60/minute"``, ``"60/60s"``, ``"5/1.5h"``; ``ValueError`` for what is no such thing."""
        match = _RATE.fullmatch(text)
        if match is None:
            raise ValueError(f"no rate, such as 60/minute or 5/30s: {text!r}")
        return cls(int(match["count"]), float(match["number"] or 1) * _UNITS[match["unit"][0]])

    def __str__(self) -> str:
        return f"{self.count}/{self.seconds:g}s"


@dataclass(frozen=True, slots=True)
class Tarpit:
    """Delays the replies to errors: when a session has made ``after`` of them, that to the next by ``delay`` seconds,
    to the one after it by twice as long and so on, but never by more than ``maximum``.
    """  # noqa: D205

    after: int
    delay: float = 1.0
    maximum: float = 20.0

    def __post_init__(self) -> None:
        """Check."""
        if self.after < 0 or not 0 < self.delay <= self.maximum < PATIENCE:
            raise ValueError(f"a tarpit needs after >= 0 and 0 < delay <= maximum < {PATIENCE:g}: {self}")

    def delay_of(self, error: int) -> float:
        """Seconds for the reply to an error, the first of a session being 1."""
        return min(self.maximum, self.delay * max(0, error - self.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What is too much.  None is no limit; ``ValueError`` for a number that makes no sense.

    A client is a network: all addresses with the same first ``ipv4_prefix`` or ``ipv6_prefix`` bits.  Nothing here
    concerns those in ``exempt``, and they do not count for ``connections`` either.
    """

    connections: int | None = None
    """Open at the same time, of all clients; more get 421."""
    connections_per_client: int | None = None
    """Open at the same time; more get 421."""
    connection_rate: Rate | None = None
    """New connections of a client; more get 421."""
    message_rate: Rate | None = None
    """MAIL commands of a client; more get 451."""
    recipient_rate: Rate | None = None
    """RCPT commands of a client, accepted or not (harvesters try many); more get 450."""
    auth_failure_rate: Rate | None = None
    """AUTH commands of a client that fail; after that every AUTH gets 454, the right password or not."""
    error_rate: Rate | None = None
    """Commands of a client that break the protocol; at the next one a session gets 421 and is closed."""
    commands_per_session: int | None = None
    """421 and close at the next one."""
    junk_commands_per_session: int | None = None
    """Commands that bring no mail forward, since the last message that was accepted; 421 and close at the next one."""
    tarpit: Tarpit | None = None
    greet_delay: float | None = None
    """Seconds to listen before the greeting; who speaks within them is no SMTP client and gets 554."""
    ipv4_prefix: int = 32
    ipv6_prefix: int = 64
    exempt: Networks = LOOPBACK
    remembered_networks: int = 100_000
    """Networks without a session whose rates are remembered, each in about 300 octets."""

    def __post_init__(self) -> None:
        """Check; rates and tarpits have checked themselves."""
        for name in _COUNTS:
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.greet_delay is not None and not 0 < self.greet_delay < PATIENCE:
            raise ValueError(f"greet_delay must be > 0 and < {PATIENCE:g}: clients wait no longer")
        if not (1 <= self.ipv4_prefix <= 32 and 1 <= self.ipv6_prefix <= 128):
            raise ValueError("ipv4_prefix must be 1 to 32 and ipv6_prefix 1 to 128")

    @property
    def limits_nothing(self) -> bool:
        """Whether everything is off."""
        return all(getattr(self, name) is None for name in _SWITCHES)


_COUNTS = (
    "connections",
    "connections_per_client",
    "commands_per_session",
    "junk_commands_per_session",
    "remembered_networks",
)
_SWITCHES = tuple(field.name for field in fields(LimitSettings) if field.default is None)

NO_LIMITS = LimitSettings()


class LimitReached(ProtocolError):
    """A client may do no more of something.  ``setting`` is the field of ``LimitSettings`` that says so.

    The enhanced status code is X.7.0, other security status (RFC 3463 §3.8), where none says it better.  It is not
    X.7.1, though that is seen a lot: §3.8 calls it "useful only as a permanent error".
    """

    enhanced = "4.7.0"
    setting: ClassVar[str]


class ConnectionRefused(LimitReached, Goodbye):
    """In place of the greeting.  421 and not 554, because the client is to come back (RFC 5321 §3.8)."""

    why = "refused"


class TooManyConnections(ConnectionRefused):
    """Of all clients: X.3.2, a host that accepts no messages now, "excessive load" being an example (RFC 3463 §3.4)."""

    enhanced = "4.3.2"
    text = "Too many connections, try again later"
    setting = "connections"


class TooManyClientConnections(ConnectionRefused):
    """Of one network."""

    text = "Too many connections from your network"
    setting = "connections_per_client"


class ConnectionRateExceeded(ConnectionRefused):
    """Of one network."""

    text = "Too many new connections from your network, try again later"
    setting = "connection_rate"


class MessageRateExceeded(LimitReached):
    """451: of the transient replies to MAIL in RFC 5321 §4.3.2, 452 is about storage and 455 about parameters."""

    code = 451
    text = "Too many messages from your network, try again later"
    setting = "message_rate"
    is_counted = False


class RecipientRateExceeded(LimitReached):
    """450, which RFC 5321 §4.2.2 has for a mailbox that is "temporarily blocked for policy reasons".

    Not 452 4.5.3, which invites the client to send the rest in another transaction at once (§4.5.3.1.10).
    """

    code = 450
    text = "Too many recipients from your network, try again later"
    setting = "recipient_rate"
    is_counted = False


class AuthFailureRateExceeded(LimitReached):
    """454, a temporary failure (RFC 4954 §6); for 535 programs ask their user for another password."""

    code = 454
    text = "Too many authentication failures from your network, try again later"
    setting = "auth_failure_rate"


class ErrorRateExceeded(LimitReached, Goodbye):
    """Of one network."""

    text = "Too many errors from your network, closing connection"
    setting = "error_rate"


class TooManyCommands(LimitReached, Goodbye):
    """Of one session."""

    text = "Too many commands in one session, closing connection"
    setting = "commands_per_session"


class TooManyJunkCommands(LimitReached, Goodbye):
    """Of one session."""

    text = "Too many commands without a message, closing connection"
    setting = "junk_commands_per_session"


class EarlyTalker(Goodbye):
    """The client did not wait for the greeting (RFC 5321 §4.3.1): no mail server, so a refusal for good (§3.1)."""

    code = 554
    enhanced = "5.5.1"
    text = "You spoke before the greeting"
    why = "refused"
