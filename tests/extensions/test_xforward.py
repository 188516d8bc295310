"""XFORWARD (Postfix's XFORWARD_README): a trusted host says, for the log, where the next message came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ehlo import LMTP, SMTP, Envelope, Session
from tests.extensions.support import offer
from tests.support import Recorder, talk

if TYPE_CHECKING:
    from ehlo.protocol.xclient import XforwardAttributes

ATTRIBUTES = "NAME ADDR PORT PROTO HELO IDENT SOURCE"
TRUSTED: dict[str, Any] = {"xforward_networks": ["192.0.2.0/24"]}
OK = "250 2.0.0 OK"


class Log(Recorder):
    """Keeps what was known of the origin of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.origins: list[XforwardAttributes | None] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.origins.append(session.xforward)


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_to_trusted_hosts(server_class: type[SMTP]) -> None:
    async with talk(server_class=server_class, **TRUSTED) as client:
        assert (await offer(client))["XFORWARD"] == ATTRIBUTES


@pytest.mark.parametrize("networks", [[], ["192.0.2.2"]])
async def test_nobody_else_may_use_it(networks: list[str]) -> None:
    async with talk(xforward_networks=networks) as client:
        assert "XFORWARD" not in await offer(client)
        assert await client.ask("XFORWARD ADDR=203.0.113.7") == "550 5.7.0 Insufficient authorization"
        assert client.server.session.xforward is None


async def test_the_two_kinds_of_trust_are_apart() -> None:
    async with talk(**TRUSTED) as client:
        assert (await client.ask("XCLIENT ADDR=203.0.113.7")).startswith("550 ")
    async with talk(xclient_networks=["192.0.2.1"]) as client:
        assert (await client.ask("XFORWARD ADDR=203.0.113.7")).startswith("550 ")


async def test_everything_that_it_says_is_visible_and_changes_nothing() -> None:
    handler = Log()
    async with talk(handler, **TRUSTED) as client:
        assert await client.ask("XFORWARD NAME=client.example ADDR=203.0.113.7 PORT=77 PROTO=ESMTP") == OK
        assert await client.ask("XFORWARD HELO=helo.example IDENT=4F2A SOURCE=remote") == OK
        session = client.server.session
        assert session.peer == ("192.0.2.1", 49152)
        assert session.host_name == "client.example"
        await client.send("Hello")
    (origin,) = handler.origins
    assert origin is not None
    assert (origin.name, origin.addr, origin.port, origin.proto) == ("client.example", "203.0.113.7", 77, "ESMTP")
    assert (origin.helo, origin.ident, origin.source) == ("helo.example", "4F2A", "REMOTE")


async def test_it_is_for_one_transaction() -> None:
    handler = Log()
    async with talk(handler, **TRUSTED) as client:
        await client.ask("XFORWARD ADDR=203.0.113.7")
        await client.send("one")
        await client.send("two")
        await client.ask("XFORWARD ADDR=203.0.113.8")
        await client.ask("RSET")
        await client.send("three")
    assert [origin and origin.addr for origin in handler.origins] == ["203.0.113.7", None, None]


async def test_it_needs_a_greeting_and_no_transaction() -> None:
    async with talk(is_greeted=False, **TRUSTED) as client:
        await client.hear()
        assert (await client.ask("XFORWARD ADDR=203.0.113.7")).startswith("503 5.5.1 ")
        await client.ask("EHLO client.example")
        await client.begin()
        assert (await client.ask("XFORWARD ADDR=203.0.113.7")).startswith("503 5.5.1 ")


@pytest.mark.parametrize("arg", ["", " ADDR", " ADDR=", " ADDR=x", " LOGIN=ann", " SOURCE=ELSEWHERE", " HELO=a+20b",
                                 " NAME=a+0D+0Ab", " IDENT=x IDENT=y", f" PROTO={'x' * 65}"])  # fmt: skip
async def test_what_is_wrong_with_any_of_it_is_refused_as_a_whole(arg: str) -> None:
    async with talk(**TRUSTED) as client:
        assert (await client.ask(f"XFORWARD{arg}")).startswith("501 5.5.4 ")
        assert client.server.session.xforward is None


async def test_what_is_unavailable_is_none() -> None:
    async with talk(**TRUSTED) as client:
        assert await client.ask("XFORWARD ADDR=[UNAVAILABLE] NAME=[unavailable]") == OK
        said = client.server.session.xforward
        assert said is not None
        assert (said.addr, said.name) == (None, None)
        assert said.given == {"addr", "name"}
