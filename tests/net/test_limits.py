"""The numbers of limits, and what is said to whoever meets one."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo import Disconnect, errors
from ehlo.hooks import encode_answer
from ehlo.net import limits
from ehlo.net.limits import EarlyTalker, LimitReached, LimitSettings, Rate, Tarpit
from ehlo.net.networks import LOOPBACK

# Each limit, and what is said; RFC 5321 §4.3.2 has the codes that are possible for a command.
REPLIES: dict[str, tuple[str, bool, bool]] = {
    # setting: (code and enhanced status, ends the session, counts as an error)
    "connections": ("421 4.3.2", True, True),
    "connections_per_client": ("421 4.7.0", True, True),
    "connection_rate": ("421 4.7.0", True, True),
    "message_rate": ("451 4.7.0", False, False),
    "recipient_rate": ("450 4.7.0", False, False),
    "auth_failure_rate": ("454 4.7.0", False, True),
    "error_rate": ("421 4.7.0", True, True),
    "commands_per_session": ("421 4.7.0", True, True),
    "junk_commands_per_session": ("421 4.7.0", True, True),
}
ERRORS: dict[str, type[LimitReached]] = {
    each.setting: each for each in vars(limits).values() if isinstance(each, type) and hasattr(each, "setting")
}
REFUSE_CONNECTIONS = {"connections", "connections_per_client", "connection_rate"}
RATES = [name for name in ERRORS if name.endswith("_rate")]
COUNTS = [name for name in ERRORS if name not in RATES]


# -- Errors -------------------------------------------------------------------------------------------------


def test_every_limit_has_its_reply() -> None:
    assert ERRORS.keys() == REPLIES.keys()
    assert ERRORS.keys() <= {field.name for field in fields(LimitSettings)}


@pytest.mark.parametrize("setting", REPLIES)
def test_what_is_said_to_whoever_meets_a_limit(setting: str) -> None:
    error = ERRORS[setting]("192.0.2.1")
    status, ends_session, is_counted = REPLIES[setting]
    assert error.status.startswith(f"{status} ")
    assert isinstance(error, errors.Goodbye) is ends_session
    assert error.is_counted is is_counted
    assert "192.0.2.1" in str(error)
    assert "192.0.2.1" not in error.status
    assert encode_answer(error.status).code == int(status[:3])


@pytest.mark.parametrize("setting", [name for name, reply in REPLIES.items() if reply[1]])
def test_the_end_of_a_session_has_its_reason(setting: str) -> None:
    error = ERRORS[setting]
    assert issubclass(error, errors.Goodbye)
    assert Disconnect(error.why) is (Disconnect.REFUSED if setting in REFUSE_CONNECTIONS else Disconnect.ERRORS)


def test_an_early_talker_is_refused_for_good() -> None:
    assert EarlyTalker().status.startswith("554 5.5.1 ")
    assert Disconnect(EarlyTalker.why) is Disconnect.REFUSED


# -- Settings -----------------------------------------------------------------------------------------------


def test_everything_is_off_by_default() -> None:
    settings = LimitSettings()
    assert settings.limits_nothing
    assert settings.exempt is LOOPBACK
    assert (settings.ipv4_prefix, settings.ipv6_prefix) == (32, 64)


@pytest.mark.parametrize(
    "settings",
    [
        *({name: 1} for name in COUNTS),
        *({name: Rate(1, 1)} for name in RATES),
        {"tarpit": Tarpit(0)},
        {"greet_delay": 1},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_each_limit_alone_limits_something(settings: dict[str, Any]) -> None:
    assert not LimitSettings(**settings).limits_nothing


@pytest.mark.parametrize("settings", [{"ipv4_prefix": 24}, {"ipv6_prefix": 48}, {"remembered_networks": 7}])
def test_what_is_no_limit_limits_nothing(settings: dict[str, Any]) -> None:
    assert LimitSettings(**settings).limits_nothing


@pytest.mark.parametrize(
    "settings",
    [
        *({name: number} for name in [*COUNTS, "remembered_networks"] for number in (0, -1)),
        {"greet_delay": 0},
        {"greet_delay": -1},
        {"greet_delay": 300},
        {"greet_delay": math.nan},
        {"ipv4_prefix": 0},
        {"ipv4_prefix": 33},
        {"ipv6_prefix": 0},
        {"ipv6_prefix": 129},
    ],
    ids=str,
)
def test_a_number_that_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        LimitSettings(**settings)


def test_settings_can_be_looked_up() -> None:
    one, same = (LimitSettings(message_rate=Rate.parse("60/minute"), tarpit=Tarpit(3)) for _ in range(2))
    assert {one: 1}[same] == 1
    assert one != LimitSettings()


# -- Rates and tarpits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("60/60s", Rate(60, 60)),
        ("60/minute", Rate(60, 60)),
        ("60/m", Rate(60, 60)),
        ("1/s", Rate(1, 1)),
        ("5/second", Rate(5, 1)),
        ("100/hour", Rate(100, 3600)),
        ("100/1.5h", Rate(100, 5400)),
        ("1000/day", Rate(1000, 86400)),
        ("1000/2d", Rate(1000, 172800)),
        ("5/0.25s", Rate(5, 0.25)),
    ],
)
def test_a_rate_reads_as_it_is_spoken(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


BAD_RATES = ["", "60", "60/", "/60s", "60/60", "0/s", "-1/s", "٥/s", "1e3/s"]
BAD_TIMES = ["5/0s", "5/-1s", "5/.5s", "5/1.s", "5/ms", "5/minutes", "5 / s", " 5/s", "5/s\n"]


@pytest.mark.parametrize("bad", BAD_RATES + BAD_TIMES)
def test_what_is_no_rate_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate.parse(bad)


@given(st.integers(1, 10**6), st.integers(1, 10**5).map(float))
def test_a_rate_is_shown_as_it_is_read(count: int, seconds: float) -> None:
    assert Rate.parse(str(Rate(count, seconds))) == Rate(count, seconds)


@pytest.mark.parametrize(("count", "seconds"), [(0, 1), (-1, 1), (1, 0), (1, -1), (1, math.nan), (1, math.inf)])
def test_a_rate_of_nothing_is_refused(count: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate(count, seconds)


def test_a_tarpit_grows_up_to_its_maximum() -> None:
    tarpit = Tarpit(after=2, delay=1.5, maximum=4)
    assert [tarpit.delay_of(error) for error in range(1, 7)] == [0, 0, 1.5, 3, 4, 4]
    assert tarpit.delay_of(10**9) == 4


@pytest.mark.parametrize(
    "numbers", [(-1,), (0, 0.0), (0, -1.0), (0, 2.0, 1.0), (0, 1.0, 300.0), (0, math.nan), (0, 1.0, math.nan)]
)
def test_a_tarpit_that_makes_no_sense_is_refused(numbers: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="tarpit"):
        Tarpit(*numbers)
