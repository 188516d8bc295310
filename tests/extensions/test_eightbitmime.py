"""8BITMIME (RFC 6152): octets above 127 are let through, whatever is said of them."""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP
from ehlo.protocol.parameters import Body
from tests.extensions.support import offer
from tests.support import Recorder, talk

OCTETS = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_always_offered(server_class: type[SMTP]) -> None:
    async with talk(server_class=server_class) as client:
        assert (await offer(client))["8BITMIME"] == ""


@pytest.mark.parametrize(
    ("option", "body"),
    [("BODY=8BITMIME", Body.EIGHTBITMIME), ("BODY=7BIT", Body.SEVENBIT), ("body=8bitMime", Body.EIGHTBITMIME)],
)
async def test_body_arrives_as_a_typed_value_and_as_it_was_sent(option: str, body: Body) -> None:
    async with talk() as client:
        assert await client.ask(f"MAIL FROM:<a@example.com> {option}") == "250 2.1.0 OK"
        envelope = client.server.envelope
        assert envelope.mail_parameters.body is body
        assert envelope.mail_options == [option]


async def test_no_body_is_none() -> None:
    async with talk() as client:
        await client.ask("MAIL FROM:<a@example.com> SIZE=1")
        assert client.server.envelope.mail_parameters.body is None


@pytest.mark.parametrize("value", ["", "=", "=9BIT", "=8BITMIME,7BIT", "=8BITMIME BODY=7BIT", "=8\u0131TMIME"])
async def test_what_is_no_body_is_refused(value: str) -> None:
    async with talk() as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> BODY{value}")).startswith("501 5.5.4 ")


async def test_it_is_refused_of_recipients() -> None:
    async with talk() as client:
        await client.begin()
        assert (await client.ask("RCPT TO:<b@example.com> BODY=8BITMIME")).startswith("555 5.5.4 ")


async def test_it_is_refused_after_helo() -> None:
    async with talk(is_greeted=False) as client:
        await client.hear()
        await client.ask("HELO client.example")
        assert (await client.ask("MAIL FROM:<a@example.com> BODY=8BITMIME")).startswith("555 5.5.4 ")


@pytest.mark.parametrize("options", ["", " BODY=8BITMIME", " BODY=7BIT"])
async def test_octets_pass_as_they_are(options: str) -> None:
    # RFC 6152 §3: a server must not lose the high bit, and what a client says of its message does not change it.
    handler = Recorder()
    async with talk(handler) as client:
        await client.ask(f"MAIL FROM:<a@example.com>{options}")
        await client.ask("RCPT TO:<b@example.com>")
        await client.ask("DATA")
        await client.feed(OCTETS + b"\r\n.\r\n")
        assert (await client.hear()).startswith("250 ")
    assert handler.contents == [OCTETS + b"\r\n"]
