"""FUTURERELEASE (RFC 4865): hold a message for a time, or until one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ehlo import LMTP, SMTP
from tests.extensions.support import Declares, offer
from tests.support import Client, talk

WEEK = 604_800


def stamp(seconds: float) -> str:
    """The moment so many seconds from now."""
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


async def mail(client: Client, options: str) -> str:
    return (await client.ask(f"MAIL FROM:<a@example.com> {options}"))[:9]


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_with_the_longest_time_and_its_end(server_class: type[SMTP]) -> None:
    async with talk(Declares({"FUTURERELEASE": WEEK}), server_class=server_class) as client:
        seconds, until = (await offer(client))["FUTURERELEASE"].split(" ")
        assert seconds == str(WEEK)
        ahead = datetime.fromisoformat(until) - datetime.now(UTC)
        assert abs(ahead.total_seconds() - WEEK) < 60


async def test_the_end_is_that_of_the_offer_and_not_of_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Later:
            return cls(2040, 1, 1, tzinfo=UTC)

    async with talk(Declares({"FUTURERELEASE": 60})) as client:
        await offer(client)
        monkeypatch.setattr("ehlo.shared.datetime", Later)
        assert (await offer(client))["FUTURERELEASE"] == "60 2040-01-01T00:01:00Z"


async def test_without_a_declaration_there_is_none() -> None:
    async with talk() as client:
        assert "FUTURERELEASE" not in await offer(client)
        assert await mail(client, "HOLDFOR=60") == "555 5.5.4"
        assert await mail(client, f"HOLDUNTIL={stamp(60)}") == "555 5.5.4"


async def test_it_cannot_be_declared_without_the_longest_time() -> None:
    with pytest.raises(TypeError, match="FUTURERELEASE is declared with int"):
        async with talk(Declares({"FUTURERELEASE"})):
            pass


async def test_holdfor_arrives_as_seconds() -> None:
    async with talk(Declares({"FUTURERELEASE": WEEK})) as client:
        assert await mail(client, "HoldFor=3600") == "250 2.1.0"
        envelope = client.server.envelope
        assert (envelope.mail_parameters.hold_for, envelope.mail_parameters.hold_until) == (3600, None)
        assert envelope.mail_options == ["HoldFor=3600"]


async def test_holduntil_arrives_as_a_moment_in_utc() -> None:
    moment = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    for text in (f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment + timedelta(hours=2):%Y-%m-%dT%H:%M:%S+02:00}"):
        async with talk(Declares({"FUTURERELEASE": WEEK})) as client:
            assert await mail(client, f"HOLDUNTIL={text}") == "250 2.1.0"
            parameters = client.server.envelope.mail_parameters
            assert (parameters.hold_for, parameters.hold_until) == (None, moment)


async def test_no_message_is_held_longer_than_was_offered() -> None:
    async with talk(Declares({"FUTURERELEASE": WEEK})) as client:
        assert await mail(client, f"HOLDFOR={WEEK + 1}") == "501 5.5.4"
        assert await mail(client, f"HOLDUNTIL={stamp(WEEK + 60)}") == "501 5.5.4"
        assert await mail(client, f"HOLDFOR={WEEK}") == "250 2.1.0"
        await client.ask("RSET")
        assert await mail(client, f"HOLDUNTIL={stamp(WEEK - 60)}") == "250 2.1.0"


async def test_only_one_of_the_two_may_come() -> None:
    # RFC 4865 §4.2 (9).
    async with talk(Declares({"FUTURERELEASE": WEEK})) as client:
        assert await mail(client, f"HOLDFOR=60 HOLDUNTIL={stamp(60)}") == "501 5.5.4"
        assert await mail(client, "HOLDFOR=60 HOLDFOR=60") == "501 5.5.4"


@pytest.mark.parametrize(
    "option",
    [
        "HOLDFOR", "HOLDFOR=", "HOLDFOR=0", "HOLDFOR=-1", "HOLDFOR=01", "HOLDFOR=1234567890", "HOLDFOR=1.5",
        "HOLDUNTIL", "HOLDUNTIL=", "HOLDUNTIL=tomorrow", "HOLDUNTIL=2030-01-01", "HOLDUNTIL=2030-01-01T00:00:00",
        "HOLDUNTIL=2030-02-30T00:00:00Z", "HOLDUNTIL=2030-01-01T24:00:00Z", "HOLDUNTIL=0000-01-01T00:00:00Z",
    ],
)  # fmt: skip
async def test_what_is_no_time_is_refused(option: str) -> None:
    async with talk(Declares({"FUTURERELEASE": WEEK})) as client:
        assert await mail(client, option) == "501 5.5.4"


async def test_a_moment_that_is_past_does_no_harm() -> None:
    # RFC 4865 §4.2 lets a server release it at once.
    async with talk(Declares({"FUTURERELEASE": WEEK})) as client:
        assert await mail(client, "HOLDUNTIL=2001-01-01T00:00:00Z") == "250 2.1.0"
