"""RRVS (RFC 7293): only if the mailbox has had its owner since a moment."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ehlo import LMTP, SMTP
from ehlo.protocol.parameters import NoSupport, RequireValidSince
from tests.extensions.support import Declares, offer
from tests.support import talk

SINCE = datetime(2014, 4, 3, 23, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_where_it_is_declared(server_class: type[SMTP]) -> None:
    async with talk(Declares({"RRVS"}), server_class=server_class) as client:
        assert (await offer(client))["RRVS"] == ""


async def test_without_a_declaration_there_is_none() -> None:
    async with talk() as client:
        assert "RRVS" not in await offer(client)
        await client.begin()
        assert (await client.ask("RCPT TO:<b@example.com> RRVS=2014-04-03T23:01:00Z")).startswith("555 5.5.4 ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2014-04-03T23:01:00Z", RequireValidSince(SINCE, NoSupport.REJECT)),
        ("2014-04-03T23:01:00Z;C", RequireValidSince(SINCE, NoSupport.CONTINUE)),
        ("2014-04-04t01:01:00+02:00;r", RequireValidSince(SINCE, NoSupport.REJECT)),
    ],
)
async def test_it_arrives_as_a_moment_and_as_it_was_sent(value: str, expected: RequireValidSince) -> None:
    async with talk(Declares({"RRVS"})) as client:
        await client.begin()
        assert await client.ask(f"RCPT TO:<b@example.com> rrvs={value}") == "250 2.1.5 OK"
        first, second = client.server.envelope.recipients
        assert first.parameters.rrvs is None
        assert second.parameters.rrvs == expected
        assert second.options == (f"rrvs={value}",)


@pytest.mark.parametrize(
    "value",
    ["", "=", "=2014-04-03", "=2014-04-03T23:01:00", "=2014-04-03T23:01:00.5Z", "=2014-04-03T23:01:00Z;X",
     "=2014-04-03T23:01:00Z;", "=2014-13-03T23:01:00Z", "=2014-04-03T23:01:00Z RRVS=2014-04-03T23:01:00Z"],
)  # fmt: skip
async def test_what_is_no_moment_is_refused(value: str) -> None:
    async with talk(Declares({"RRVS"})) as client:
        await client.begin()
        assert (await client.ask(f"RCPT TO:<b@example.com> RRVS{value}")).startswith("501 5.5.4 ")


async def test_it_belongs_to_recipients() -> None:
    async with talk(Declares({"RRVS"})) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> RRVS=2014-04-03T23:01:00Z")).startswith("555 5.5.4 ")
