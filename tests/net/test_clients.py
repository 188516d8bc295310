"""Who may do how much: rates, counts, and what is remembered of whom."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.net.clients import UNLIMITED, Bucket, Client, ClientTable, _LimitedClient
from ehlo.net.limits import (
    AuthFailureRateExceeded,
    ConnectionRateExceeded,
    ErrorRateExceeded,
    LimitReached,
    LimitSettings,
    MessageRateExceeded,
    Rate,
    RecipientRateExceeded,
    Tarpit,
    TooManyClientConnections,
    TooManyCommands,
    TooManyConnections,
    TooManyJunkCommands,
)
from ehlo.net.networks import Networks
from ehlo.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = ("192.0.2.1", 49152)
OTHER = ("192.0.2.2", 49152)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def table_of(**settings: Any) -> tuple[ClientTable, Clock]:
    clock = Clock()
    return ClientTable(LimitSettings(**settings), clock), clock


def is_refused(error: type[LimitReached], act: Callable[..., object], *args: object) -> bool:
    try:
        act(*args)
    except error:
        return True
    return False


def passes(error: type[LimitReached], act: Callable[[], object]) -> int:
    """How often something passes before it is refused."""
    return next(number for number in range(100) if is_refused(error, act))


# -- Buckets ------------------------------------------------------------------------------------------------


class Log:
    """A rate limiter that anybody can check: it keeps all that has passed, and looks at every stretch of time.

    In no stretch may more pass than the count and what comes back in it.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.passed: list[int] = []

    def has_room(self, now: int, reserved: int = 0) -> bool:
        interval, period = self.bucket
        events = [*self.passed, *[now] * (reserved + 1)]
        return all((len(events) - i) * interval <= period + now - since for i, since in enumerate(events))

    def take(self, now: int) -> bool:
        if not self.has_room(now):
            return False
        self.passed.append(now)
        return True


@given(
    st.integers(1, 6),
    st.integers(1, 10),
    st.lists(st.one_of(st.just(0), st.integers(0, 12), st.integers(0, 100)), max_size=60),
)
def test_a_bucket_lets_pass_what_a_log_of_all_events_lets_pass(count: int, interval: int, waits: list[int]) -> None:
    bucket = Bucket(interval, interval * count)
    log, now, full_at = Log(bucket), 0, 0
    for wait in waits:
        now += wait
        taken = bucket.take(full_at, now)
        assert (taken is not None) is log.take(now)
        full_at = full_at if taken is None else taken


@given(st.integers(1, 10_000), st.floats(0.01, 1e6), st.integers(0, 2**62))
def test_a_full_bucket_has_exactly_its_count(count: int, seconds: float, now: int) -> None:
    bucket = Bucket.of(Rate(count, seconds))
    full_at = now + bucket.period - bucket.interval  # one token
    taken = bucket.take(full_at, now)
    assert taken is not None
    assert bucket.take(taken, now) is None
    assert bucket.period == count * bucket.interval
    assert bucket.period == pytest.approx(seconds * 1e9, abs=count)


def test_a_rate_beyond_the_clock_does_not_divide_by_nothing() -> None:
    assert Bucket.of(Rate(10**9, 0.001)) == (1, 10**9)


# -- Rates --------------------------------------------------------------------------------------------------


class Spending(NamedTuple):
    """A rate, the method of a client that spends it, and what is said in the end."""

    setting: str
    method: str
    error: type[LimitReached]

    def of(self, client: Client) -> Callable[[], object]:
        method: Callable[[], object] = getattr(client, self.method)
        return method


SPENDINGS = [
    Spending("message_rate", "message", MessageRateExceeded),
    Spending("recipient_rate", "recipient", RecipientRateExceeded),
    Spending("error_rate", "error", ErrorRateExceeded),
]


@pytest.mark.parametrize("spending", SPENDINGS, ids=lambda spending: spending.setting)
def test_a_rate_is_that_of_all_sessions_of_a_network(spending: Spending) -> None:
    table, clock = table_of(**{spending.setting: Rate(6, 60)})
    one, another, foreign = table.connect(PEER), table.connect(PEER), table.connect(OTHER)
    assert passes(spending.error, spending.of(one)) == 6
    assert passes(spending.error, spending.of(another)) == 0
    assert passes(spending.error, spending.of(foreign)) == 6
    clock.now += 9.99
    assert passes(spending.error, spending.of(another)) == 0
    clock.now += 0.02
    assert passes(spending.error, spending.of(another)) == 1
    clock.now += 3600
    assert passes(spending.error, spending.of(one)) == 6


def test_the_rate_of_connections_outlives_the_connections() -> None:
    table, clock = table_of(connection_rate=Rate(3, 30))
    assert passes(ConnectionRateExceeded, lambda: table.connect(PEER).disconnect()) == 3
    assert passes(ConnectionRateExceeded, lambda: table.connect(OTHER).disconnect()) == 3
    clock.now += 10
    assert passes(ConnectionRateExceeded, lambda: table.connect(PEER).disconnect()) == 1


def test_one_rate_does_not_spend_another() -> None:
    table, _ = table_of(**{spending.setting: Rate(2, 60) for spending in SPENDINGS})
    client = table.connect(PEER)
    for spending in SPENDINGS:
        assert passes(spending.error, spending.of(client)) == 2


@pytest.mark.parametrize(
    ("ipv6_prefix", "passed"),
    [(64, 2), (128, 4), (48, 1)],
)
def test_a_client_is_a_network(ipv6_prefix: int, passed: int) -> None:
    table, _ = table_of(connection_rate=Rate(1, 60), ipv6_prefix=ipv6_prefix)
    hosts = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8:0:1::2"]
    assert sum(not is_refused(ConnectionRateExceeded, table.connect, (host, 1, 0, 0)) for host in hosts) == passed


# -- AUTH ---------------------------------------------------------------------------------------------------


def test_auth_that_succeeds_is_not_limited() -> None:
    table, _ = table_of(auth_failure_rate=Rate(2, 60))
    client = table.connect(PEER)
    for _ in range(10):
        client.auth_began()
        client.auth_ended(is_failure=False)


def test_auth_that_fails_is_not_limited_by_other_limits() -> None:
    table, _ = table_of(error_rate=Rate(1, 60))
    client = table.connect(PEER)
    for _ in range(10):
        client.auth_began()
        client.auth_ended(is_failure=True)


def test_auth_that_fails_is_limited_and_then_every_auth_is_refused() -> None:
    table, clock = table_of(auth_failure_rate=Rate(2, 60))
    client = table.connect(PEER)
    for _ in range(2):
        client.auth_began()
        client.auth_ended(is_failure=True)
    for victim in (client, table.connect(PEER)):
        assert is_refused(AuthFailureRateExceeded, victim.auth_began)
    table.connect(OTHER).auth_began()
    clock.now += 30
    client.auth_began()


def test_attempts_at_the_same_time_are_no_more_guesses_than_the_rate() -> None:
    table, _ = table_of(auth_failure_rate=Rate(3, 60))
    clients = [table.connect(PEER) for _ in range(5)]
    assert [is_refused(AuthFailureRateExceeded, client.auth_began) for client in clients] == [False] * 3 + [True] * 2
    clients[0].auth_ended(is_failure=False)
    clients[1].auth_ended(is_failure=True)
    clients[3].auth_began()
    assert is_refused(AuthFailureRateExceeded, clients[4].auth_began)
    clients[2].auth_ended(is_failure=True)
    clients[3].auth_ended(is_failure=True)
    assert is_refused(AuthFailureRateExceeded, clients[4].auth_began)


# -- Counts -------------------------------------------------------------------------------------------------


def test_the_connections_of_all_clients_are_counted() -> None:
    table, _ = table_of(connections=2)
    one, _ = table.connect(PEER), table.connect(OTHER)
    for peer in (PEER, OTHER, ("192.0.2.3", 1)):
        assert is_refused(TooManyConnections, table.connect, peer)
    assert table.connections == 2
    one.disconnect()
    table.connect(("192.0.2.3", 1))
    assert is_refused(TooManyConnections, table.connect, PEER)


def test_the_connections_of_one_client_are_counted() -> None:
    table, _ = table_of(connections_per_client=2)
    one, _ = table.connect(PEER), table.connect(PEER)
    assert is_refused(TooManyClientConnections, table.connect, PEER)
    table.connect(OTHER)
    one.disconnect()
    table.connect(PEER)
    assert is_refused(TooManyClientConnections, table.connect, PEER)


def test_a_connection_that_is_refused_costs_nothing() -> None:
    table, clock = table_of(connections=1, connections_per_client=1, connection_rate=Rate(2, 60))
    client = table.connect(PEER)
    for _ in range(10):
        assert is_refused(TooManyConnections, table.connect, PEER)
        assert is_refused(TooManyConnections, table.connect, OTHER)
    assert (len(table), table.connections) == (1, 1)
    client.disconnect()
    table.connect(PEER).disconnect()  # no token went with those that were refused
    assert is_refused(ConnectionRateExceeded, table.connect, PEER)
    clock.now += 30
    assert not is_refused(ConnectionRateExceeded, table.connect, PEER)


def test_peers_that_nobody_knows_are_one_client() -> None:
    table, _ = table_of(connections_per_client=1)
    table.connect(None)
    assert is_refused(TooManyClientConnections, table.connect, ("nonsense", 1))


def test_the_commands_of_a_session_are_counted() -> None:
    table, _ = table_of(commands_per_session=3)
    client = table.connect(PEER)
    assert passes(TooManyCommands, lambda: client.command(is_junk=False)) == 3
    another = table.connect(PEER)
    assert passes(TooManyCommands, lambda: another.command(is_junk=True)) == 3


def test_junk_is_counted_until_there_is_a_message() -> None:
    table, _ = table_of(junk_commands_per_session=3)
    client = table.connect(PEER)
    for _ in range(5):
        client.command(is_junk=False)
    for _ in range(3):
        client.command(is_junk=True)
    client.command(is_junk=False)
    client.message_accepted()
    assert passes(TooManyJunkCommands, lambda: client.command(is_junk=True)) == 3
    client.command(is_junk=False)
    assert (table.stats.junk_commands, table.stats.limit_junk_commands_per_session) == (7, 1)


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({"commands_per_session": 1}, True),
        ({"junk_commands_per_session": 1}, True),
        ({"message_rate": Rate(1, 1)}, False),
    ],
)
def test_a_client_says_whether_its_commands_matter(settings: dict[str, Any], counts: bool) -> None:
    table, _ = table_of(**settings)
    assert table.connect(PEER).counts_commands is counts


# -- Tarpit and greeting ------------------------------------------------------------------------------------


def test_errors_are_answered_later_and_later() -> None:
    table, _ = table_of(tarpit=Tarpit(after=2, delay=2, maximum=5))
    client = table.connect(PEER)
    assert [client.error() for _ in range(6)] == [0, 0, 2, 4, 5, 5]
    assert table.connect(PEER).error() == 0
    assert table.stats.tarpits == 4


def test_errors_are_answered_at_once_without_a_tarpit() -> None:
    table, _ = table_of(connections=1)
    client = table.connect(PEER)
    assert [client.error() for _ in range(100)] == [0] * 100
    assert table.stats.tarpits == 0


def test_the_greeting_waits_for_those_that_are_not_exempt() -> None:
    table, _ = table_of(greet_delay=2.5)
    assert table.connect(PEER).greet_delay == 2.5
    assert table.connect(("127.0.0.1", 1)).greet_delay is None


# -- Those without limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", [PEER, ("2001:db8::1", 1, 0, 0), "", None, ("127.0.0.1", 1)])
def test_without_limits_everybody_is_the_same_client(peer: Any) -> None:
    table, _ = table_of(ipv4_prefix=24, exempt=Networks([]))
    assert table.connect(peer) is UNLIMITED
    assert (len(table), table.connections) == (0, 0)


EVERYTHING: dict[str, Any] = {
    "connections": 1,
    "connections_per_client": 1,
    "commands_per_session": 1,
    "junk_commands_per_session": 1,
    **dict.fromkeys(
        ["connection_rate", "message_rate", "recipient_rate", "auth_failure_rate", "error_rate"], Rate(1, 3600)
    ),
    "tarpit": Tarpit(0),
    "greet_delay": 1,
}


@pytest.mark.parametrize("peer", ["", "/run/client.sock", ("127.0.0.1", 1), ("::1", 1, 0, 0), ("::ffff:127.0.0.1", 1)])
def test_whoever_is_exempt_may_do_everything(peer: Any) -> None:
    table, _ = table_of(**EVERYTHING)
    table.connect(PEER)
    for _ in range(3):
        client = table.connect(peer)
        assert client is UNLIMITED
        for _ in range(3):
            client.command(is_junk=True)
            client.message()
            client.message_accepted()
            client.recipient()
            client.auth_began()
            client.auth_ended(is_failure=True)
            assert client.error() == 0
        assert not client.counts_commands
        client.disconnect()
    assert (len(table), table.connections) == (1, 1)
    assert table.stats == Stats()


def test_the_exempt_networks_are_a_setting() -> None:
    table, _ = table_of(connections=1, exempt=Networks(["198.51.100.0/24"]))
    assert table.connect(("198.51.100.7", 1)) is UNLIMITED
    assert table.connect(("127.0.0.1", 1)) is not UNLIMITED


def test_a_client_with_limits_does_all_that_one_without_does() -> None:
    names = {name for name in vars(Client) if not name.startswith("__")}
    assert names == {name for name in vars(_LimitedClient) if not name.startswith("_")}


# -- What is counted ----------------------------------------------------------------------------------------


def test_each_limit_that_is_met_is_counted_by_its_name() -> None:
    stats = Stats()
    clock = Clock()
    table = ClientTable(LimitSettings(**(EVERYTHING | {"connections": 3, "connections_per_client": 2})), clock, stats)
    client = table.connect(PEER)
    assert is_refused(ConnectionRateExceeded, table.connect, PEER)
    for spending in SPENDINGS:
        assert passes(spending.error, spending.of(client)) == 1
    client.auth_began()
    client.auth_ended(is_failure=True)
    assert is_refused(AuthFailureRateExceeded, client.auth_began)
    assert passes(TooManyCommands, lambda: client.command(is_junk=True)) == 1
    clock.now += 3600
    table.connect(PEER)
    assert is_refused(TooManyClientConnections, table.connect, PEER)
    table.connect(OTHER)
    assert is_refused(TooManyConnections, table.connect, OTHER)
    counted = {name: count for name, count in stats.as_dict().items() if name.startswith("limit_") and count}
    assert counted == dict.fromkeys(
        [
            "limit_connections",
            "limit_connections_per_client",
            "limit_connection_rate",
            "limit_message_rate",
            "limit_recipient_rate",
            "limit_auth_failure_rate",
            "limit_error_rate",
            "limit_commands_per_session",
        ],
        1,
    )


def test_the_log_learns_who_met_what() -> None:
    table, _ = table_of(message_rate=Rate(1, 60))
    client = table.connect(("2001:db8::1", 1, 0, 0))
    client.message()
    with pytest.raises(MessageRateExceeded) as caught:
        client.message()
    assert str(caught.value) == "message_rate of 1/60s: 2001:db8::/64"


# -- Memory -------------------------------------------------------------------------------------------------


def host(number: int) -> tuple[str, int, int, int]:
    """An address in a network of its own."""
    return (f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1", 1, 0, 0)


def test_a_network_without_a_session_or_a_debt_is_forgotten() -> None:
    table, _ = table_of(connections_per_client=1, message_rate=Rate(1, 60))
    for number in range(100):
        table.connect(host(number)).disconnect()
    assert len(table) == 0


def test_debts_are_forgotten_when_they_are_paid() -> None:
    table, clock = table_of(connection_rate=Rate(2, 60), error_rate=Rate(2, 3600))
    for number in range(100):
        table.connect(host(number)).disconnect()
    table.connect(PEER).error()
    assert len(table) == 101
    clock.now += 30  # one token came back
    for _ in range(60):
        table.connect(OTHER).disconnect()
        clock.now += 30
    assert len(table) <= 2


def test_many_networks_are_not_remembered_beyond_the_cap() -> None:
    table, _ = table_of(connection_rate=Rate(1, 3600), remembered_networks=50)
    staying = [table.connect(host(number)) for number in range(20)]
    for number in range(100, 1000):
        table.connect(host(number)).disconnect()
        assert len(table) <= 20 + 50
    assert len(table) == 20 + 50
    for number in (*range(20), *range(950, 1000)):
        assert is_refused(ConnectionRateExceeded, table.connect, host(number))
    for number in range(100, 950):
        table.connect(host(number)).disconnect()  # forgotten: they may connect again
    for client in staying:
        client.disconnect()
    assert (len(table), table.connections) == (50, 0)


def test_who_comes_back_is_remembered_longer() -> None:
    table, _ = table_of(connection_rate=Rate(2, 3600), remembered_networks=2)
    for number in (1, 2, 1, 3):
        table.connect(host(number)).disconnect()
    assert is_refused(ConnectionRateExceeded, table.connect, host(1))
    table.connect(host(2)).disconnect()
    table.connect(host(2)).disconnect()


def test_a_remembered_network_costs_a_few_hundred_octets() -> None:
    table, _ = table_of(connection_rate=Rate(5, 60), message_rate=Rate(5, 60))
    tracemalloc.start()
    try:
        for number in range(5000):
            client = table.connect(host(number))
            client.message()
            client.disconnect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == 5000
    assert used / len(table) < 450


# -- Against a table that forgets nothing -------------------------------------------------------------------

MODEL = LimitSettings(
    connections=5,
    connections_per_client=3,
    connection_rate=Rate(4, 4),
    message_rate=Rate(2, 1),
    recipient_rate=Rate(3, 6),
    auth_failure_rate=Rate(2, 8),
    error_rate=Rate(1, 3),
)
RATES = ("connection_rate", "message_rate", "recipient_rate", "auth_failure_rate", "error_rate")


OPERATIONS = [
    "connect",
    "connect",
    "disconnect",
    "message",
    "recipient",
    "error",
    "auth",
    "auth",
    "fail",
    "succeed",
    "wait",
]


class ModelNetwork:
    """What the model knows of a network: everything."""

    def __init__(self) -> None:
        self.sessions = 0
        self.auths = 0
        self.logs = {name: Log(Bucket.of(getattr(MODEL, name))) for name in RATES}


class Session:
    """A session in both."""

    def __init__(self, client: Client, network: ModelNetwork) -> None:
        self.client = client
        self.network = network
        self.is_authenticating = False


class Model:
    """``ClientTable`` beside a model that forgets nothing and looks at all that ever happened."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.table = ClientTable(MODEL, self.clock)
        self.networks = [ModelNetwork() for _ in range(4)]
        self.sessions: list[Session] = []

    @property
    def now(self) -> int:
        return int(self.clock.now * 1e9)

    def connect(self, number: int) -> None:
        network = self.networks[number % 4]
        expected: type[LimitReached] | None = None
        if len(self.sessions) >= 5:
            expected = TooManyConnections
        elif network.sessions >= 3:
            expected = TooManyClientConnections
        elif not network.logs["connection_rate"].take(self.now):
            expected = ConnectionRateExceeded
        if expected is not None:
            assert is_refused(expected, self.table.connect, host(number % 4))
            return
        network.sessions += 1
        self.sessions.append(Session(self.table.connect(host(number % 4)), network))

    def wait(self, number: int) -> None:
        self.clock.now += number / 4

    def disconnect(self, session: Session) -> None:
        if session.is_authenticating:
            self.end_auth(session, is_failure=True)
        self.sessions.remove(session)
        session.network.sessions -= 1
        session.client.disconnect()

    def spend(self, session: Session, spending: Spending) -> None:
        has_passed = session.network.logs[spending.setting].take(self.now)
        assert is_refused(spending.error, spending.of(session.client)) is not has_passed

    def begin_auth(self, session: Session) -> None:
        if session.is_authenticating:
            return
        log = session.network.logs["auth_failure_rate"]
        session.is_authenticating = log.has_room(self.now, session.network.auths)
        assert is_refused(AuthFailureRateExceeded, session.client.auth_began) is not session.is_authenticating
        session.network.auths += session.is_authenticating

    def end_auth(self, session: Session, *, is_failure: bool) -> None:
        if not session.is_authenticating:
            return
        session.is_authenticating = False
        session.network.auths -= 1
        if is_failure:
            assert session.network.logs["auth_failure_rate"].take(self.now)
        session.client.auth_ended(is_failure=is_failure)

    def do(self, operation: str, number: int) -> None:
        if operation in {"connect", "wait"} or not self.sessions:
            (self.wait if operation == "wait" else self.connect)(number)
            return
        session = self.sessions[number % len(self.sessions)]
        match operation:
            case "disconnect":
                self.disconnect(session)
            case "auth":
                self.begin_auth(session)
            case "fail" | "succeed":
                self.end_auth(session, is_failure=operation == "fail")
            case _:
                self.spend(session, next(each for each in SPENDINGS if each.method == operation))


@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 20)), max_size=80))
def test_what_is_forgotten_makes_no_difference(steps: list[tuple[str, int]]) -> None:
    model = Model()
    for operation, number in steps:
        model.do(operation, number)
        assert model.table.connections == len(model.sessions)
        assert len(model.table) >= sum(network.sessions > 0 for network in model.networks)
