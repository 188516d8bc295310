"""XCLIENT (Postfix's XCLIENT_README): a trusted host says who its client is, and the session begins anew."""

from __future__ import annotations

from typing import Any

import pytest

from ehlo import LMTP, SMTP, Envelope, LoginPassword, Session
from tests.extensions.support import Authority, codes, connected, hear_many, offer, serving
from tests.support import Recorder, talk

ATTRIBUTES = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
# The client in memory comes from there.
TRUSTED: dict[str, Any] = {"xclient_networks": ["192.0.2.0/24"]}
GREETING = "220 mx.test ESMTP ehlo"


class Doorman(Recorder):
    """Greets, or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[object] = []

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> str | None:
        self.peers.append(session.peer)
        return "554 5.7.1 Not you" if session.peer == ("203.0.113.66", 0) else None


async def nobody(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return False


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_to_trusted_hosts(server_class: type[SMTP]) -> None:
    async with talk(server_class=server_class, **TRUSTED) as client:
        assert (await offer(client))["XCLIENT"] == ATTRIBUTES


@pytest.mark.parametrize("networks", [[], ["192.0.2.2"], ["10.0.0.0/8", "unix", "::1"]])
async def test_nobody_else_may_use_it(networks: list[str]) -> None:
    async with talk(xclient_networks=networks) as client:
        assert "XCLIENT" not in await offer(client)
        assert await client.ask("XCLIENT ADDR=203.0.113.7") == "550 5.7.0 Insufficient authorization"
        assert client.server.session.peer == ("192.0.2.1", 49152)
        assert client.server.session.xclient is None


async def test_a_client_that_nobody_knows_is_not_trusted() -> None:
    # A TCP connection that was reset before it was looked at has no peer name.
    async with talk(xclient_networks=["unix", "0.0.0.0/0", "::/0"], extra={"peername": None}) as client:
        assert "XCLIENT" not in await offer(client)


async def test_a_unix_socket_can_be_trusted() -> None:
    async with talk(xclient_networks=["unix"], extra={"peername": ""}) as client:
        assert await client.ask("XCLIENT ADDR=203.0.113.7") == GREETING


async def test_everything_that_it_says_is_visible() -> None:
    async with talk(**TRUSTED) as client:
        who = "NAME=client.example ADDR=203.0.113.7 PORT=25025 PROTO=ESMTP"
        assert await client.ask(f"XCLIENT {who} HELO=helo.example LOGIN=ann+40example.com") == GREETING
        session = client.server.session
        assert session.peer == ("203.0.113.7", 25025)
        said = session.xclient
        assert said is not None
        assert (said.name, said.addr, said.port) == ("client.example", "203.0.113.7", 25025)
        assert (said.proto, said.helo, said.login) == ("ESMTP", "helo.example", "ann@example.com")
        assert (session.authenticated, session.login) == (True, "ann@example.com")
        await client.ask("XCLIENT DESTADDR=IPV6:2001:DB8::25 DESTPORT=587")
        said = session.xclient
        assert said is not None
        assert (said.destaddr, said.destport) == ("2001:db8::25", 587)


@pytest.mark.parametrize(
    ("address", "host"),
    [("203.0.113.7", "203.0.113.7"), ("IPV6:2001:DB8::7", "2001:db8::7"), ("ipv6:::ffff:203.0.113.7", "203.0.113.7")],
)
async def test_addresses_are_in_one_form(address: str, host: str) -> None:
    async with talk(**TRUSTED) as client:
        assert await client.ask(f"XCLIENT ADDR={address}") == GREETING
        assert client.server.session.peer == (host, 0)


async def test_the_session_begins_anew() -> None:
    # The README: the server replies with its greeting, and the client must say EHLO or HELO again.
    handler = Doorman()
    async with talk(handler, **TRUSTED) as client:
        assert await client.ask("XCLIENT ADDR=203.0.113.7 PORT=99") == GREETING
        assert await client.ask("MAIL FROM:<a@example.com>") == "503 5.5.1 Say HELO or EHLO first"
        assert (await offer(client))["XCLIENT"] == ATTRIBUTES
        assert (await client.send("Hello")).startswith("250 ")
    assert handler.peers == [("192.0.2.1", 49152), ("203.0.113.7", 99)]


async def test_it_may_come_before_the_first_ehlo() -> None:
    async with talk(is_greeted=False, **TRUSTED) as client:
        await client.hear()
        assert await client.ask("XCLIENT ADDR=203.0.113.7") == GREETING


async def test_who_is_not_welcome_is_told_so() -> None:
    handler = Doorman()
    async with talk(handler, **TRUSTED) as client:
        assert await client.ask("XCLIENT ADDR=203.0.113.66") == "554 Not you"
        assert await client.ask("EHLO client.example") == "503 No service here"
        assert await client.ask("QUIT") == "221 2.0.0 Bye"


async def test_the_next_client_is_welcomed_for_itself() -> None:
    handler = Doorman()
    async with talk(handler, **TRUSTED) as client:
        await client.ask("XCLIENT ADDR=203.0.113.7")
        await client.ask("EHLO client.example")
        assert await client.ask("XCLIENT ADDR=203.0.113.8") == GREETING
        assert client.server.session.peer == ("203.0.113.8", 0)


async def test_it_is_not_allowed_inside_a_transaction() -> None:
    async with talk(**TRUSTED) as client:
        await client.begin()
        assert (await client.ask("XCLIENT ADDR=203.0.113.7")).startswith("503 5.5.1 ")
        assert client.server.session.peer == ("192.0.2.1", 49152)
        assert client.server.envelope.rcpt_tos == ["to@example.com"]


@pytest.mark.parametrize("arg", ["", " ", " ADDR", " ADDR=", " ADDR=x", " FOO=bar", " PORT=65536", " PROTO=LMTP",
                                 " ADDR=203.0.113.7 ADDR=203.0.113.7", " LOGIN=a+b", " NAME=client.example FOO=x",
                                 " ADDR=fe80::1", " HELO=+0D+0A", f" LOGIN={'x' * 256}"])  # fmt: skip
async def test_what_is_wrong_with_any_of_it_is_refused_as_a_whole(arg: str) -> None:
    async with talk(**TRUSTED) as client:
        assert (await client.ask(f"XCLIENT{arg}")).startswith("501 5.5.4 ")
        assert client.server.session.xclient is None
        assert client.server.session.host_name == "client.example"


async def test_the_name_that_it_gives_counts_and_not_that_of_ehlo() -> None:
    async with talk(**TRUSTED) as client:
        await client.ask("XCLIENT HELO=real.example")
        await client.ask("EHLO proxy.example")
        assert client.server.session.host_name == "real.example"


async def test_a_login_is_one() -> None:
    async with talk(authenticator=nobody, auth_require_tls=False, **TRUSTED) as client:
        await client.ask("XCLIENT LOGIN=ann")
        await client.ask("EHLO client.example")
        assert (await client.ask("AUTH PLAIN AGFubgBzZWNyZXQ=")).startswith("503 ")


@pytest.mark.parametrize(
    "line", ["XCLIENT ADDR=203.0.113.8", "XCLIENT LOGIN=[UNAVAILABLE]", "XCLIENT LOGIN=[unavailable]"]
)
async def test_the_next_client_has_to_log_in_itself(line: str) -> None:
    async with talk(**TRUSTED) as client:
        await client.ask("XCLIENT LOGIN=ann ADDR=203.0.113.7")
        await client.ask(line)
        assert (client.server.session.authenticated, client.server.session.login) == (False, None)


async def test_what_is_unavailable_is_not_the_trusted_hosts_own() -> None:
    async with talk(**TRUSTED) as client:
        await client.ask("XCLIENT ADDR=203.0.113.7 NAME=client.example")
        await client.ask("XCLIENT ADDR=[UNAVAILABLE] NAME=[TEMPUNAVAIL]")
        session = client.server.session
        assert session.peer is None
        assert session.xclient is not None
        assert (session.xclient.name, session.xclient.name_is_unavailable_for_now) == (None, True)


async def test_a_part_of_it_may_be_said_later() -> None:
    async with talk(**TRUSTED) as client:
        await client.ask("XCLIENT ADDR=203.0.113.7")
        await client.ask("XCLIENT PORT=77")
        assert client.server.session.peer == ("203.0.113.7", 77)


async def test_trust_is_in_the_host_that_connected() -> None:
    # Not in who it says that its client is: that one could not say anything.
    async with talk(xclient_networks=["203.0.113.7"]) as client:
        assert (await client.ask("XCLIENT ADDR=203.0.113.7")).startswith("550 ")
    async with talk(**TRUSTED) as client:
        await client.ask("XCLIENT ADDR=203.0.113.7")
        assert await client.ask("XCLIENT ADDR=203.0.113.8") == GREETING


async def test_commands_may_follow_it_in_its_group() -> None:
    handler = Recorder()
    async with talk(handler, **TRUSTED) as client:
        await client.say("XCLIENT ADDR=203.0.113.7", "EHLO client.example", "MAIL FROM:<a@example.com>")
        assert codes(await hear_many(client, 3)) == ["220", "250", "250"]


async def test_starttls_forgets_the_login_and_not_the_client(authority: Authority) -> None:
    # RFC 3207 §4.2 for what the client said; who it is, the connection says.
    async with (
        serving(tls_context=authority.server_context(), xclient_networks=["127.0.0.1"]) as server,
        connected(server) as client,
    ):
        await client.greet()
        assert await client.ask("XCLIENT ADDR=203.0.113.7 PORT=77 HELO=real.example LOGIN=ann") == GREETING
        await client.ask("EHLO proxy.example")
        await client.start_tls(authority.client_context())
        session = client.server.session
        assert session.peer == ("203.0.113.7", 77)
        assert session.xclient is not None
        assert not session.authenticated
        assert (await offer(client))["XCLIENT"] == ATTRIBUTES
        assert session.host_name == "real.example"
