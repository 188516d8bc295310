"""PIPELINING (RFC 2920): replies in the order of the commands, and nothing lost between them."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest

from ehlo import LMTP, SMTP, LoginPassword
from tests.extensions.support import codes, hear_many, offer, on_tls
from tests.support import Nothing, Recorder, talk, wire

if TYPE_CHECKING:
    from ehlo import Envelope, Session

GROUP = ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "RCPT TO:<no address>", "RCPT TO:<c@example.com>")


async def one_user(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return credentials == LoginPassword(b"ann", b"secret")


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
@pytest.mark.parametrize("extra", [{}, on_tls()], ids=["plain", "tls"])
async def test_it_is_always_offered(server_class: type[SMTP], extra: dict[str, object]) -> None:
    async with talk(server_class=server_class, extra=extra) as client:
        assert (await offer(client))["PIPELINING"] == ""


async def test_the_replies_to_a_group_come_in_order_and_together() -> None:
    async with talk() as client:
        client.transport.writes.clear()
        await client.say(*GROUP, "NOOP", "VRFY c", "DATA")
        replies = await hear_many(client, 7)
        assert codes(replies) == ["250", "250", "553", "250", "250", "252", "354"]
        # RFC 2920 §3.2: responses should be sent together.
        assert len(client.transport.writes) == 1


async def test_a_group_cut_anywhere_gets_the_same_replies() -> None:
    data = wire(*GROUP, "DATA", "Hello", ".", "QUIT")
    handler = Recorder()
    async with talk() as client:
        await client.feed(data)
        whole = await hear_many(client, 7)
    for cut in range(1, len(data)):
        async with talk(handler) as client:
            await client.feed(data[:cut], data[cut:])
            pieces = await client.hear_all()
            assert [reply.partition(" queued")[0] for reply in pieces] == [
                reply.partition(" queued")[0] for reply in whole
            ]
    assert set(handler.contents) == {b"Hello\r\n"}


async def test_replies_wait_for_slow_hooks_and_keep_their_order() -> None:
    class Reluctant(Nothing):
        def __init__(self) -> None:
            self.may_answer = asyncio.Event()

        async def handle_RCPT(
            self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
        ) -> str:
            if address == "slow@example.com":
                await self.may_answer.wait()
            return f"250 2.1.5 {address.partition('@')[0]}"

    handler = Reluctant()
    async with talk(handler) as client:
        await client.say(
            "MAIL FROM:<a@example.com>", "RCPT TO:<slow@example.com>", "RCPT TO:<fast@example.com>", "NOOP"
        )
        assert await client.hear() == "250 2.1.0 OK"
        handler.may_answer.set()
        assert await hear_many(client, 3) == ["250 2.1.5 slow", "250 2.1.5 fast", "250 2.0.0 OK"]


async def test_what_follows_an_accepted_data_is_mail_data() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.say(*GROUP, "DATA", "RSET", "QUIT", "..", ".", "NOOP", "QUIT")
        assert codes(await client.hear_all()) == ["250", "250", "553", "250", "354", "250", "250", "221"]
    assert handler.contents == [b"RSET\r\nQUIT\r\n.\r\n"]


async def test_a_group_may_end_with_a_data_that_is_refused() -> None:
    # RFC 2920 §3.1: if no recipient was accepted, DATA may get 503 and the client goes on.
    async with talk() as client:
        await client.say("MAIL FROM:<a@example.com>", "RCPT TO:<no address>", "DATA")
        assert codes(await hear_many(client, 3)) == ["250", "553", "503"]
        assert await client.is_usable()


async def test_mail_data_behind_a_refused_data_are_never_executed() -> None:
    async with talk() as client:
        await client.say("MAIL FROM:<a@example.com>", "RCPT TO:<no address>", "DATA", "RSET", "MAIL FROM:<>", ".")
        assert codes(await client.hear_all()) == ["250", "553", "503", "421"]


async def test_ehlo_amid_a_group_begins_anew() -> None:
    # RFC 5321 §4.1.4: EHLO does what RSET does; RFC 2920 §3.1 wants it last, but nothing is lost if it is not.
    async with talk() as client:
        await client.say("MAIL FROM:<a@example.com>", "EHLO client.example", "RCPT TO:<b@example.com>", "NOOP")
        assert codes(await hear_many(client, 4)) == ["250", "250", "503", "250"]


async def test_quit_amid_a_group_is_the_end() -> None:
    handler = Recorder()
    async with talk(handler) as client:
        await client.say("QUIT", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA", "Hello", ".")
        assert codes(await client.hear_all()) == ["221"]
    assert handler.contents == []


async def test_commands_may_follow_auth_with_an_initial_response() -> None:
    response = base64.b64encode(b"\0ann\0secret").decode()
    async with talk(authenticator=one_user, auth_require_tls=False) as client:
        await client.say(f"AUTH PLAIN {response}", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>")
        assert codes(await hear_many(client, 3)) == ["235", "250", "250"]


async def test_the_line_behind_auth_without_one_is_the_answer_and_no_command() -> None:
    async with talk(authenticator=one_user, auth_require_tls=False) as client:
        await client.say("AUTH PLAIN", "QUIT", "NOOP")
        # "QUIT" is base64, of three octets that are no message of PLAIN.
        assert await hear_many(client, 3) == ["334 ", "501 5.5.2 Malformed authentication response", "250 2.0.0 OK"]


async def test_auth_out_of_place_does_not_take_the_next_line() -> None:
    async with talk(authenticator=one_user, auth_require_tls=False) as client:
        await client.say("MAIL FROM:<a@example.com>", "AUTH PLAIN", "RSET")
        assert codes(await hear_many(client, 3)) == ["250", "503", "250"]


async def test_starttls_out_of_place_starts_nothing() -> None:
    async with talk() as client:
        await client.say("MAIL FROM:<a@example.com>", "STARTTLS", "RCPT TO:<b@example.com>")
        assert codes(await hear_many(client, 3)) == ["250", "503", "250"]


async def test_no_reply_of_a_long_group_is_lost() -> None:
    count = 5000
    async with talk() as client:
        await client.feed(wire(*["NOOP"] * count, "QUIT"))
        assert await client.hear_all() == ["250 2.0.0 OK"] * count + ["221 2.0.0 Bye"]
