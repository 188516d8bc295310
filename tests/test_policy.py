"""Limits in a session: who is refused with what, what waits, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from ehlo import LMTP, SMTP, AuthResult, Disconnect
from ehlo.net.clients import UNLIMITED
from ehlo.net.limits import LimitSettings, Rate, Tarpit
from ehlo.net.networks import Networks
from tests.support import Client, Recorder, be_quiet, in_callback, pass_time, talk, with_fake_clock

UNIX = {"peername": ""}


def another(client: Client, extra: dict[str, Any] | None = None) -> Client:
    """Another client of the same server."""
    return Client(SMTP(client.server.event_handler, shared=client.server.shared), extra=extra)


# -- Early talkers -------------------------------------------------------------------------------------------


@with_fake_clock
async def test_a_client_that_speaks_before_the_greeting_is_refused() -> None:
    handler = Recorder()
    async with talk(handler, is_greeted=False, limits=LimitSettings(greet_delay=5)) as client:
        await client.say("EHLO client.example", "MAIL FROM:<a@example.com>")
        assert await client.hear() == "554 5.5.1 You spoke before the greeting"
        assert await client.is_over()
    assert handler.reasons == [Disconnect.REFUSED]
    assert client.server.shared.stats.refused_early_talkers == 1


@with_fake_clock
async def test_octets_that_are_no_line_are_early_too() -> None:
    async with talk(is_greeted=False, limits=LimitSettings(greet_delay=5)) as client:
        await pass_time(4)
        await client.feed(b"\x16")
        assert (await client.hear()).startswith("554 ")


@with_fake_clock
async def test_a_client_that_waits_is_greeted_after_the_delay() -> None:
    async with talk(is_greeted=False, limits=LimitSettings(greet_delay=5)) as client:
        await pass_time(4.9)
        assert client.said() == []
        await pass_time(0.2)
        assert (await client.hear()).startswith("220 ")
        assert await client.ask("EHLO client.example") != ""
        assert await client.is_usable()


@with_fake_clock
async def test_a_client_that_leaves_before_the_greeting_is_not_refused() -> None:
    handler = Recorder()
    async with talk(handler, is_greeted=False, limits=LimitSettings(greet_delay=5)) as client:
        await be_quiet()
        await in_callback(client.transport.feed_eof)
        assert await client.is_over()
    assert handler.reasons == [Disconnect.CLOSED]


async def test_whoever_is_exempt_is_greeted_at_once() -> None:
    async with talk(extra=UNIX, limits=LimitSettings(greet_delay=5)) as client:
        assert await client.is_usable()


@with_fake_clock
async def test_stopping_before_the_greeting_is_told() -> None:
    async with talk(is_greeted=False, limits=LimitSettings(greet_delay=5)) as client:
        await be_quiet()
        client.server.stop()
        assert (await client.hear()).startswith("421 4.3.2 ")


# -- Tarpit --------------------------------------------------------------------------------------------------


@with_fake_clock
async def test_the_reply_to_an_error_is_delayed_and_only_that_session_waits() -> None:
    async with talk(limits=LimitSettings(tarpit=Tarpit(after=1, delay=2, maximum=10))) as client:
        assert (await client.ask("XYZZY")).startswith("500 ")
        await client.say("XYZZY", "NOOP")
        other = another(client)
        await other.greet()
        await pass_time(1.9)
        assert client.said() == []
        assert await other.is_usable()
        await pass_time(0.2)
        assert [line[:3] for line in client.said()] == ["500", "250"]
        await other.leave()


@with_fake_clock
async def test_no_timer_runs_in_the_tarpit() -> None:
    parameters: dict[str, Any] = {"timeout": 3, "hook_timeout": 4}
    async with talk(limits=LimitSettings(tarpit=Tarpit(after=0, delay=50, maximum=50)), **parameters) as client:
        await client.say("XYZZY")
        await pass_time(49)
        assert client.said() == []
        await pass_time(2)
        assert (await client.hear()).startswith("500 ")
        assert await client.is_usable()
        await pass_time(3.5)
        assert (await client.hear()).startswith("421 4.4.2 ")


@with_fake_clock
async def test_what_arrives_in_the_tarpit_is_bounded() -> None:
    async with talk(limits=LimitSettings(tarpit=Tarpit(after=0, delay=5))) as client:
        await client.say("XYZZY")
        for _ in range(100):
            if client.transport.is_reading():
                await client.feed(b"NOOP\r\n" * 1000)
        assert not client.transport.is_reading()
        assert client.server._framer.buffered < 128 * 1024


@with_fake_clock
async def test_the_tarpit_lets_go_of_a_client_that_is_gone() -> None:
    handler = Recorder()
    async with talk(handler, limits=LimitSettings(tarpit=Tarpit(after=0, delay=50, maximum=50))) as client:
        await client.say("XYZZY")
        await be_quiet()
        await client.leave()
        assert handler.reasons == [Disconnect.CLOSED]


@with_fake_clock
async def test_stopping_does_not_wait_for_the_tarpit() -> None:
    async with talk(limits=LimitSettings(tarpit=Tarpit(after=0, delay=50, maximum=50))) as client:
        await client.say("XYZZY")
        await be_quiet()
        client.server.stop()
        assert [reply[:9] for reply in await client.hear_all()] == ["500 5.5.1", "421 4.3.2"]


# -- Limits --------------------------------------------------------------------------------------------------


async def test_too_many_connections() -> None:
    handler = Recorder()
    async with talk(handler, limits=LimitSettings(connections_per_client=1)) as client:
        refused = another(client)
        assert (await refused.hear()) == "421 4.7.0 Too many connections from your network"
        assert await refused.is_over()
        exempt = another(client, UNIX)
        await exempt.greet()
        await exempt.leave()
        assert await client.is_usable()
        assert client.server.shared.clients.connections == 1
    assert client.server.shared.clients.connections == 0
    assert handler.reasons == ["refused", "closed", "closed"]
    assert client.server.shared.stats.sessions_ended_refused == 1


async def test_too_many_messages_and_recipients() -> None:
    async with talk(Recorder(), limits=LimitSettings(message_rate=Rate(2, 60), recipient_rate=Rate(3, 60))) as client:
        await client.begin("a@example.com", "b@example.com")
        assert (await client.ask("RCPT TO:<c@example.com>")).startswith("250 ")
        assert (await client.ask("RCPT TO:<d@example.com>")).startswith("450 4.7.0 ")
        assert (await client.ask("DATA")).startswith("354")
        assert (await client.ask("hi", ".")).startswith("250 ")
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("250 ")
        await client.ask("RSET")
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("451 4.7.0 ")
        assert await client.is_usable()
        stats = client.server.shared.stats
        assert (stats.limit_message_rate, stats.limit_recipient_rate) == (1, 1)
        assert (stats.messages_accepted, stats.recipients_accepted, stats.data_octets) == (1, 3, 4)


async def test_too_many_auth_failures() -> None:
    async def check(*args: Any) -> AuthResult:
        return AuthResult(success=False)

    parameters: dict[str, Any] = {"authenticator": check, "auth_require_tls": False}
    async with talk(limits=LimitSettings(auth_failure_rate=Rate(2, 60)), **parameters) as client:
        for _ in range(2):
            assert (await client.ask("AUTH PLAIN AGEAYg==")).startswith("535 ")
        assert (await client.ask("AUTH PLAIN AGEAYg==")).startswith("454 4.7.0 ")
        assert await client.is_usable()
        assert client.server.shared.stats.auth_failures == 2


async def test_too_many_errors_of_a_network() -> None:
    async with talk(limits=LimitSettings(error_rate=Rate(1, 60))) as client:
        assert (await client.ask("XYZZY")).startswith("500 ")
        other = another(client)
        await other.greet()
        assert (await other.ask("XYZZY")).startswith("421 4.7.0 ")
        assert await other.is_over()
        assert await client.is_usable()


async def test_too_many_commands() -> None:
    async with talk(limits=LimitSettings(commands_per_session=3)) as client:
        await client.ask("NOOP")
        await client.ask("NOOP")
        assert (await client.ask("NOOP")).startswith("421 4.7.0 ")
        assert await client.is_over()


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_too_much_junk(server_class: type[SMTP]) -> None:
    async with talk(server_class=server_class, limits=LimitSettings(junk_commands_per_session=2)) as client:
        await client.ask("NOOP")
        await client.ask("XYZZY")
        assert (await client.send("hi")).startswith("250 ")
        await client.ask("RSET")
        await client.ask("HELP")
        assert (await client.ask("NOOP")).startswith("421 4.7.0 ")


async def test_a_client_that_xclient_names_is_counted_as_itself() -> None:
    async with talk(
        extra=UNIX,
        xclient_networks=("unix",),
        limits=LimitSettings(connections_per_client=1, exempt=Networks(["unix"])),
    ) as client:
        assert (await client.ask("XCLIENT ADDR=192.0.2.9")).startswith("220 ")
        other = another(client, UNIX)
        await other.greet()
        assert (await other.ask("XCLIENT ADDR=192.0.2.9")).startswith("421 4.7.0 ")
        assert client.server.shared.clients.connections == 1
    assert client.server.shared.clients.connections == 0


async def test_without_limits_nothing_is_counted_for_each_command() -> None:
    async with talk() as client:
        assert client.server._client is UNLIMITED
        assert not client.server._counts_commands
