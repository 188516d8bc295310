"""Who is connected, and how much of what they have done. Knows counts, networks and a clock that it is given; does not
know transports or verbs.

``ClientTable.connect`` gives each session a ``Client``, which is told what the session does and raises the error of
``ehlo.net.limits`` that says what is too much.  Without limits all sessions share one that does nothing.

A rate is a *token bucket*: it holds ``count`` tokens, every event takes one, and one comes back each
``seconds / count``.  So in any stretch of t seconds at most ``count + t * count / seconds`` events pass.  Windows that
begin anew let twice the count pass in an instant, where two of them meet; a log of events costs memory for each of
them; and with both, whoever met the limit waits for the rest of a window, here for one token.  An event that is refused
takes none.  All there is to remember is when the bucket will be full again, and after that, nothing.
What is remembered of whom is in ``ehlo.net.registry``.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ehlo.net.limits import (
    AuthFailureRateExceeded,
    ConnectionRateExceeded,
    ErrorRateExceeded,
    LimitReached,
    LimitSettings,
    MessageRateExceeded,
    Rate,
    RecipientRateExceeded,
    TooManyClientConnections,
    TooManyCommands,
    TooManyConnections,
    TooManyJunkCommands,
)
from ehlo.net.networks import network_of
from ehlo.net.registry import BUCKETS, LocalRegistry
from ehlo.stats import Stats

if TYPE_CHECKING:
    from ehlo.net.registry import Network, Registry


class Bucket(NamedTuple):
    """A rate in whole nanoseconds, so that none of its tokens gets lost in rounding.

    A token comes back each ``interval``, all of them in ``period``.  What is in the bucket is the caller's, as the time
    when it is full again; any time that is past means that it is full.
    """

    interval: int
    period: int

    @classmethod
    def of(cls, rate: Rate) -> Self:
        """The bucket of a rate."""
        interval = max(1, round(rate.seconds * 1e9 / rate.count))
        return cls(interval, interval * rate.count)

    def take(self, full_at: int, now: int) -> int | None:
        """Take a token, give the new ``full_at``; None when there is none."""
        full_at = max(full_at, now) + self.interval
        return full_at if full_at <= now + self.period else None


# The buckets of a network, in this order.
_RATES: tuple[type[LimitReached], ...] = (
    ConnectionRateExceeded,
    MessageRateExceeded,
    RecipientRateExceeded,
    AuthFailureRateExceeded,
    ErrorRateExceeded,
)
_CONNECTION, _MESSAGE, _RECIPIENT, _AUTH_FAILURE, _ERROR = range(BUCKETS)


class Client:
    """What the session of one client is told to count.  This one counts nothing: whoever is exempt shares it."""

    __slots__ = ()

    @property
    def greet_delay(self) -> float | None:
        """Seconds to listen before the greeting; None: say it at once.  Who raises ``EarlyTalker`` is the caller."""
        return None

    @property
    def counts_commands(self) -> bool:
        """Whether ``command`` is to be called at all."""
        return False

    def command(self, *, is_junk: bool) -> None:
        """Count a command.  ``TooManyCommands``, ``TooManyJunkCommands``."""

    def message(self) -> None:
        """Count MAIL.  ``MessageRateExceeded``."""

    def message_accepted(self) -> None:
        """Forget the junk: this client brings mail."""

    def recipient(self) -> None:
        """Count RCPT.  ``RecipientRateExceeded``."""

    def error(self) -> float:
        """Count an error, give the seconds by which to delay the reply to it.  ``ErrorRateExceeded``."""
        return 0.0

    def auth_began(self) -> None:
        """Count AUTH; ``auth_ended`` must follow unless it raises.  ``AuthFailureRateExceeded``.

        An attempt that is under way counts as failed: else many sessions at once would have many guesses too much.
        """

    def auth_ended(self, *, is_failure: bool) -> None:
        """Say how the attempt ended."""

    def disconnect(self) -> None:
        """The session is over; to be called once."""


UNLIMITED = Client()


class ClientTable:
    """The clients of one server.  ``clock`` gives monotonic seconds; ``stats`` counts those who meet a limit.

    Servers in several processes have their clients in common when their tables have one ``registry``.
    """

    def __init__(self, settings: LimitSettings, clock: Callable[[], float], stats: Stats | None = None) -> None:
        self.settings = settings
        self.stats = Stats() if stats is None else stats
        self.registry: Registry = LocalRegistry(settings.remembered_networks)
        self._clock = clock
        self._limits_nothing = settings.limits_nothing
        rates: list[Rate | None] = [getattr(settings, error.setting) for error in _RATES]
        self._buckets = [None if rate is None else Bucket.of(rate) for rate in rates]

    def __len__(self) -> int:
        """How many networks it knows."""
        return len(self.registry)

    @property
    def connections(self) -> int:
        """Open now; those that are exempt do not count."""
        return self.registry.sessions

    def connect(self, peer: Any) -> Client:
        """The client of a new session; ``ConnectionRefused``, and then nothing is kept.

        ``peer`` is what ``ehlo.net.networks`` calls one.
        """
        if self._limits_nothing or peer in self.settings.exempt:
            return UNLIMITED
        settings = self.settings
        name = network_of(peer, settings.ipv4_prefix, settings.ipv6_prefix)
        with self.registry as registry:
            if settings.connections is not None and registry.sessions >= settings.connections:
                raise self.met(TooManyConnections, name)
            network: Network = registry.find(name, self._now())
            if settings.connections_per_client is not None and network.connections >= settings.connections_per_client:
                raise self.met(TooManyClientConnections, name)
            self._take(network, _CONNECTION)
            registry.enter(network)
        return _LimitedClient(self, network)

    # For its clients

    def disconnect(self, network: Network) -> None:
        """One session less."""
        with self.registry as registry:
            registry.leave(network, self._now())

    def spend(self, network: Network, kind: int) -> None:
        """Take a token from a bucket of a network, if that rate has a limit."""
        if self._buckets[kind] is not None:
            with self.registry:
                self._take(network, kind)

    def auth_began(self, network: Network) -> None:
        """See ``Client.auth_began``."""
        bucket = self._buckets[_AUTH_FAILURE]
        with self.registry:
            if bucket is not None:
                now = self._now()
                as_if_failed = max(network.full_at[_AUTH_FAILURE], now) + network.auths * bucket.interval
                if bucket.take(as_if_failed, now) is None:
                    raise self.met(AuthFailureRateExceeded, network.name)
            network.count_auths(+1)

    def auth_ended(self, network: Network, *, is_failure: bool) -> None:
        """See ``Client.auth_ended``."""
        with self.registry:
            network.count_auths(-1)
            if is_failure:
                self._take(network, _AUTH_FAILURE)  # auth_began has seen to it that there is a token

    def met(self, error: type[LimitReached], who: str) -> LimitReached:
        """Count that somebody met a limit; give the error to raise."""
        self.stats.count(f"limit_{error.setting}")
        return error(f"{error.setting} of {getattr(self.settings, error.setting)}: {who}")

    # Inside

    def _take(self, network: Network, kind: int) -> None:
        bucket = self._buckets[kind]
        if bucket is None:
            return
        full_at = bucket.take(network.full_at[kind], self._now())
        if full_at is None:
            raise self.met(_RATES[kind], network.name)
        network.full_at[kind] = full_at

    def _now(self) -> int:
        return int(self._clock() * 1e9)


class _LimitedClient(Client):
    """A client whose session and network have limits."""

    __slots__ = ("_commands", "_errors", "_junk", "_network", "_table")

    def __init__(self, table: ClientTable, network: Network) -> None:
        self._table = table
        self._network = network
        self._commands = 0
        self._junk = 0
        self._errors = 0

    @property
    def greet_delay(self) -> float | None:
        return self._table.settings.greet_delay

    @property
    def counts_commands(self) -> bool:
        settings = self._table.settings
        return settings.commands_per_session is not None or settings.junk_commands_per_session is not None

    def command(self, *, is_junk: bool) -> None:
        settings = self._table.settings
        self._commands += 1
        if settings.commands_per_session is not None and self._commands > settings.commands_per_session:
            raise self._met(TooManyCommands)
        if is_junk:
            self._junk += 1
            self._table.stats.junk_commands += 1
            if settings.junk_commands_per_session is not None and self._junk > settings.junk_commands_per_session:
                raise self._met(TooManyJunkCommands)

    def message(self) -> None:
        self._table.spend(self._network, _MESSAGE)

    def message_accepted(self) -> None:
        self._junk = 0

    def recipient(self) -> None:
        self._table.spend(self._network, _RECIPIENT)

    def error(self) -> float:
        self._table.spend(self._network, _ERROR)
        self._errors += 1
        tarpit = self._table.settings.tarpit
        delay = 0.0 if tarpit is None else tarpit.delay_of(self._errors)
        if delay:
            self._table.stats.tarpits += 1
        return delay

    def auth_began(self) -> None:
        self._table.auth_began(self._network)

    def auth_ended(self, *, is_failure: bool) -> None:
        self._table.auth_ended(self._network, is_failure=is_failure)

    def disconnect(self) -> None:
        self._table.disconnect(self._network)

    def _met(self, error: type[LimitReached]) -> LimitReached:
        return self._table.met(error, self._network.name)
