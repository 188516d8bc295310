"""SIZE (RFC 1870): what is declared, what really comes, and which of the two is too much."""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP, Envelope, Session
from tests.extensions.support import codes, hear_many, offer
from tests.support import Client, Recorder, talk

LIMIT = 100
TOO_BIG = "552 5.3.4 Message size exceeds fixed maximum message size"


class Full(Recorder):
    """Has room for what is declared to be small."""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str | None:
        return "452 4.3.1 No room now" if (envelope.mail_parameters.size or 0) > 10 else None


def line_of(size: int) -> str:
    """A line that has ``size`` octets with its CRLF."""
    return "x" * (size - 2)


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_the_limit_is_offered(server_class: type[SMTP]) -> None:
    async with talk(server_class=server_class, data_size_limit=LIMIT) as client:
        assert (await offer(client))["SIZE"] == "100"


@pytest.mark.parametrize("limit", [None, 0])
async def test_without_a_limit_it_is_not_offered(limit: int | None) -> None:
    async with talk(data_size_limit=limit) as client:
        assert "SIZE" not in await offer(client)
        assert (await client.ask("MAIL FROM:<a@example.com> SIZE=1")).startswith("555 5.5.4 ")
        assert (await client.send(line_of(1_000_000))).startswith("250 ")


async def test_it_is_not_offered_by_helo() -> None:
    async with talk(is_greeted=False) as client:
        await client.hear()
        await client.ask("HELO client.example")
        assert (await client.ask("MAIL FROM:<a@example.com> SIZE=1")).startswith("555 5.5.4 ")


async def test_a_declared_size_up_to_the_limit_is_taken() -> None:
    async with talk(data_size_limit=LIMIT) as client:
        assert await client.ask("MAIL FROM:<a@example.com> SIZE=100") == "250 2.1.0 OK"
        assert client.server.envelope.mail_parameters.size == 100


@pytest.mark.parametrize("size", ["101", "99999999999999999999"])
async def test_a_declared_size_over_the_limit_is_refused_at_mail(size: str) -> None:
    async with talk(data_size_limit=LIMIT) as client:
        assert await client.ask(f"MAIL FROM:<a@example.com> SIZE={size}") == TOO_BIG
        assert (await client.ask("RCPT TO:<b@example.com>")).startswith("503 ")
        assert await client.ask("MAIL FROM:<a@example.com>") == "250 2.1.0 OK"


@pytest.mark.parametrize("value", ["", "=", "=x", "=-1", "=+1", "=1.0", "=0x1", "=100000000000000000000", "=1 SIZE=1"])
async def test_what_is_no_size_is_refused(value: str) -> None:
    async with talk(data_size_limit=LIMIT) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> SIZE{value}")).startswith("501 5.5.4 ")


async def test_zero_is_a_size() -> None:
    async with talk(data_size_limit=LIMIT) as client:
        assert await client.ask("MAIL FROM:<a@example.com> SIZE=0") == "250 2.1.0 OK"
        assert client.server.envelope.mail_parameters.size == 0


async def test_a_hook_tells_what_does_not_fit_now_from_what_never_fits() -> None:
    # RFC 1870 §6.1: 452 where there is no room at the moment, 552 where it is over the limit.
    async with talk(Full(), data_size_limit=LIMIT) as client:
        assert await client.ask("MAIL FROM:<a@example.com> SIZE=11") == "452 4.3.1 No room now"
        assert await client.ask("MAIL FROM:<a@example.com> SIZE=101") == TOO_BIG
        assert await client.ask("MAIL FROM:<a@example.com> SIZE=10") == "250 2.1.0 OK"


async def test_a_message_of_just_the_limit_is_taken_and_one_octet_more_is_not() -> None:
    handler = Recorder()
    async with talk(handler, data_size_limit=LIMIT) as client:
        assert (await client.send(line_of(100))).startswith("250 ")
        assert await client.send(line_of(101)) == TOO_BIG
        assert (await client.send(line_of(99))).startswith("250 ")
    assert [len(content or b"") for content in handler.contents] == [100, 99]


async def test_the_real_size_counts_and_not_the_declared_one() -> None:
    async with talk(data_size_limit=LIMIT) as client:
        await client.ask("MAIL FROM:<a@example.com> SIZE=1")
        await client.ask("RCPT TO:<b@example.com>")
        await client.ask("DATA")
        assert await client.ask(line_of(101), ".") == TOO_BIG
        await client.ask("MAIL FROM:<a@example.com> SIZE=1")
        await client.ask("RCPT TO:<b@example.com>")
        await client.ask("DATA")
        assert (await client.ask(line_of(100), ".")).startswith("250 ")


async def test_dots_that_hide_dots_do_not_count() -> None:
    # RFC 1870 §5: without "the SMTP DATA command's terminating dot or doubled quoting dots".
    handler = Recorder()
    async with talk(handler, data_size_limit=9) as client:
        assert (await client.send("..", "..", "..")).startswith("250 ")
    assert handler.contents == [b".\r\n.\r\n.\r\n"]


async def test_it_is_refused_after_the_end_of_data_and_not_before() -> None:
    # RFC 5321 §4.2.5, and a client that is still sending would not see it.
    async with talk(data_size_limit=LIMIT) as client:
        await client.begin()
        await client.ask("DATA")
        await client.say(*[line_of(50)] * 10)
        assert client.said() == []
        assert await client.ask(".") == TOO_BIG
        assert await client.is_usable()


@pytest.mark.parametrize("sizes", [(101,), (100, 1), (50, 50, 1), (99, 2)])
async def test_chunks_count_together(sizes: tuple[int, ...]) -> None:
    handler = Recorder()
    async with talk(handler, data_size_limit=LIMIT) as client:
        await client.begin()
        *first, last = sizes
        for size in first:
            await client.feed(b"BDAT %d\r\n" % size + b"x" * size)
            assert (await client.hear()).startswith("250 ")
        await client.feed(b"BDAT %d LAST\r\n" % last + b"x" * last)
        assert await client.hear() == TOO_BIG
        assert await client.is_usable()
    assert handler.contents == []


async def test_chunks_up_to_the_limit_are_taken() -> None:
    handler = Recorder()
    async with talk(handler, data_size_limit=LIMIT) as client:
        await client.begin()
        await client.feed(b"BDAT 60\r\n" + b"x" * 60 + b"BDAT 40 LAST\r\n" + b"x" * 40)
        assert codes(await hear_many(client, 2)) == ["250", "250"]
    assert handler.contents == [b"x" * 100]


async def test_a_client_that_pays_no_attention_is_told_of_every_recipient_in_lmtp() -> None:
    async with talk(server_class=LMTP, data_size_limit=LIMIT) as client:
        await client.begin("b@example.com", "c@example.com")
        await client.ask("DATA")
        assert await client.ask(line_of(101), ".") == TOO_BIG
        assert await client.hear() == TOO_BIG
        assert await client.is_usable()


async def test_hooks_can_ask_for_the_declared_size_in_every_case() -> None:
    async with talk(data_size_limit=LIMIT) as client:
        await client.ask("MAIL FROM:<a@example.com> Size=42")
        envelope = client.server.envelope
        assert envelope.mail_parameters.size == 42
        assert envelope.mail_options == ["Size=42"]


async def test_nothing_over_the_limit_is_kept() -> None:
    async with talk(data_size_limit=LIMIT) as client:
        await client.begin()
        await client.ask("DATA")
        for _ in range(100):
            await client.say(line_of(10_000))
            assert held(client) < 1000
        assert await client.ask(".") == TOO_BIG


def held(client: Client) -> int:
    """Octets that wait to be looked at."""
    return client.server._framer.buffered
