"""LIMITS (RFC 9422): what is said beforehand is what is enforced."""

from __future__ import annotations

from typing import Any

import pytest

from ehlo import LMTP, SMTP, Envelope, Session
from tests.extensions.support import codes, hear_many, offer
from tests.support import Nothing, Recorder, talk


class NotC(Nothing):
    """Refuses recipients and senders that begin with a c."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str | None:
        return "550 5.1.1 No" if address.startswith("c") else None

    handle_MAIL = handle_RCPT


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({}, {"RCPTMAX=1000"}),
        ({"recipient_limit": 100}, {"RCPTMAX=100"}),
        ({"mail_limit": 7}, {"RCPTMAX=1000", "MAILMAX=7"}),
        ({"recipient_domain_limit": 3}, {"RCPTMAX=1000", "RCPTDOMAINMAX=3"}),
        (
            {"recipient_limit": 100, "mail_limit": 1, "recipient_domain_limit": 1},
            {"RCPTMAX=100", "MAILMAX=1", "RCPTDOMAINMAX=1"},
        ),
    ],
)
async def test_the_settings_are_offered(server_class: type[SMTP], settings: dict[str, Any], limits: set[str]) -> None:
    async with talk(server_class=server_class, **settings) as client:
        assert set((await offer(client))["LIMITS"].split(" ")) == limits


async def test_rcptmax_is_enforced_and_the_accepted_recipients_get_the_message() -> None:
    handler = Recorder()
    async with talk(handler, recipient_limit=100) as client:
        await client.begin(*(f"r{number}@example.com" for number in range(100)))
        assert await client.ask("RCPT TO:<late@example.com>") == "452 4.5.3 Too many recipients"
        await client.ask("DATA")
        assert (await client.ask("Hello", ".")).startswith("250 ")
        # RFC 5321 §4.5.3.1.10: the rest goes in another transaction.
        assert (await client.send("Hello")).startswith("250 ")
    assert [len(envelope.rcpt_tos) for envelope in handler.envelopes] == [100, 1]


async def test_rcptmax_counts_what_was_accepted() -> None:
    async with talk(NotC(), recipient_limit=100) as client:
        await client.begin(*(f"r{number}@example.com" for number in range(99)))
        assert (await client.ask("RCPT TO:<c@example.com>")).startswith("550 ")
        assert (await client.ask("RCPT TO:<last@example.com>")).startswith("250 ")
        assert (await client.ask("RCPT TO:<late@example.com>")).startswith("452 ")


async def test_too_many_recipients_are_no_errors_of_the_client() -> None:
    async with talk(recipient_limit=100, error_limit=2) as client:
        await client.begin(*(f"r{number}@example.com" for number in range(100)))
        await client.say(*["RCPT TO:<late@example.com>"] * 10)
        assert set(codes(await hear_many(client, 10))) == {"452"}
        assert await client.is_usable()


async def test_mailmax_is_enforced_with_421() -> None:
    handler = Recorder()
    async with talk(handler, mail_limit=2) as client:
        await client.send("one")
        await client.send("two")
        assert await client.ask("MAIL FROM:<a@example.com>") == "421 4.7.0 Too many messages in one session"
        assert await client.is_over()
    assert handler.contents == [b"one\r\n", b"two\r\n"]


@pytest.mark.parametrize("refused", ["MAIL FROM:<c@example.com>", "MAIL FROM:<", "MAIL FROM:<a@example.com> X=Y"])
async def test_mailmax_counts_mail_that_was_refused_too(refused: str) -> None:
    # RFC 9422 §4.1.
    async with talk(NotC(), mail_limit=2) as client:
        assert (await client.ask(refused)).startswith("5")
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("250 ")
        await client.ask("RSET")
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("421 ")


async def test_rcptdomainmax_is_enforced_without_regard_to_case() -> None:
    async with talk(recipient_domain_limit=2) as client:
        await client.begin("a@one.example", "b@ONE.example", "a@two.example")
        assert await client.ask("RCPT TO:<a@three.example>") == "452 4.5.3 Too many recipient domains"
        assert (await client.ask("RCPT TO:<c@Two.Example>")).startswith("250 ")


async def test_rcptdomainmax_is_for_the_whole_session() -> None:
    # RFC 9422 §4.3: for servers that tie a session to the domain of its first recipient.
    handler = Recorder()
    async with talk(handler, recipient_domain_limit=1) as client:
        await client.begin("a@one.example")
        await client.ask("DATA")
        await client.ask(".")
        await client.ask("MAIL FROM:<a@example.com>")
        assert (await client.ask("RCPT TO:<a@two.example>")).startswith("452 4.5.3 ")
        assert (await client.ask("RCPT TO:<b@one.example>")).startswith("250 ")


async def test_without_a_limit_there_is_none() -> None:
    async with talk() as client:
        for number in range(20):
            await client.begin(*(f"x@{number}-{each}.example" for each in range(20)))
            await client.ask("RSET")
