"""SMTPUTF8 (RFC 6531): paths in UTF-8, only where the client asks for it."""

from __future__ import annotations

import unicodedata

import pytest

from ehlo import LMTP, SMTP, Envelope, Session
from tests.extensions.support import offer
from tests.support import Nothing, Recorder, talk

NEEDS_IT = "553 5.6.7 Internationalized address needs SMTPUTF8"
ADDRESSES = [
    "jörg@example.com",
    "joerg@exämple.com",
    "用户@例子.公司",
    "δοκιμή@παράδειγμα.δοκιμή",
    '"jö rg"@example.com',
]


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_with_8bitmime(server_class: type[SMTP]) -> None:
    # RFC 6531 §3.1 (2): a server that offers it must offer 8BITMIME.
    async with talk(server_class=server_class) as client:
        offered = await offer(client)
        assert offered["SMTPUTF8"] == offered["8BITMIME"] == ""


async def test_it_can_be_switched_off() -> None:
    async with talk(enable_SMTPUTF8=False) as client:
        assert "SMTPUTF8" not in await offer(client)
        assert (await client.ask("MAIL FROM:<a@example.com> SMTPUTF8")).startswith("555 5.5.4 ")
        assert await client.ask("MAIL FROM:<jörg@example.com>") == NEEDS_IT


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_path_in_utf_8_needs_the_parameter(address: str) -> None:
    async with talk() as client:
        assert await client.ask(f"MAIL FROM:<{address}>") == NEEDS_IT
        await client.begin()
        assert await client.ask(f"RCPT TO:<{address}>") == NEEDS_IT
        assert client.server.envelope.rcpt_tos == ["to@example.com"]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_with_the_parameter_it_is_taken_as_it_is(address: str) -> None:
    handler = Recorder()
    async with talk(handler) as client:
        assert await client.ask(f"MAIL FROM:<{address}> SMTPUTF8") == "250 2.1.0 OK"
        assert await client.ask(f"RCPT TO:<{address}>") == "250 2.1.5 OK"
        await client.ask("DATA")
        await client.ask("Subject: Grüße", "", "Grüße", ".")
    (envelope,) = handler.envelopes
    assert envelope.mail_from == address
    assert envelope.rcpt_tos == [address]
    assert envelope.smtp_utf8
    assert envelope.mail_parameters.smtputf8
    assert envelope.content == "Subject: Grüße\r\n\r\nGrüße\r\n".encode()


async def test_the_parameter_is_taken_with_paths_in_ascii() -> None:
    # The content may need it: RFC 6531 §3.4.
    async with talk() as client:
        assert await client.ask("MAIL FROM:<a@example.com> smtputf8") == "250 2.1.0 OK"
        assert client.server.envelope.mail_options == ["smtputf8"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_normalisation_is_left_alone(form: str) -> None:
    address = f"{unicodedata.normalize(form, 'jörg')}@example.com"  # type: ignore[arg-type]
    async with talk() as client:
        await client.ask(f"MAIL FROM:<{address}> SMTPUTF8")
        await client.ask(f"RCPT TO:<{address}>")
        envelope = client.server.envelope
        assert [envelope.mail_from, *envelope.rcpt_tos] == [address, address]


@pytest.mark.parametrize("value", ["=", "=YES", " SMTPUTF8"])
async def test_it_takes_no_value_and_comes_once(value: str) -> None:
    async with talk() as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> SMTPUTF8{value}")).startswith("501 5.5.4 ")


async def test_it_holds_for_one_transaction() -> None:
    async with talk() as client:
        await client.ask("MAIL FROM:<jörg@example.com> SMTPUTF8")
        await client.ask("RSET")
        assert await client.ask("MAIL FROM:<jörg@example.com>") == NEEDS_IT
        await client.ask("MAIL FROM:<jörg@example.com> SMTPUTF8")
        await client.ask("RCPT TO:<b@example.com>")
        await client.ask("DATA")
        await client.ask(".")
        await client.begin()
        assert await client.ask("RCPT TO:<jörg@example.com>") == NEEDS_IT


@pytest.mark.parametrize("octets", [b"\xfc", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"])
async def test_what_is_no_utf_8_is_refused(octets: bytes) -> None:
    async with talk() as client:
        await client.feed(b"MAIL FROM:<j" + octets + b"rg@example.com> SMTPUTF8\r\n")
        assert (await client.hear()).startswith("500 5.5.2 ")
        assert await client.is_usable()


class Polyglot(Nothing):
    """Answers in its own language."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        return "550 5.1.1 Kein Postfach für Jörg"

    async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
        return f"250 2.1.5 Jörg <{arg}>"

    handle_EXPN = handle_VRFY


async def test_replies_are_in_utf_8_only_for_who_asked_for_it() -> None:
    # RFC 6531 §3.7.4.2.
    async with talk(Polyglot()) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        assert await client.ask("RCPT TO:<b@example.com>") == "550 5.1.1 Kein Postfach f?r J?rg"
        await client.ask("RSET")
        await client.ask("MAIL FROM:<a@example.com> SMTPUTF8")
        assert await client.ask("RCPT TO:<b@example.com>") == "550 5.1.1 Kein Postfach für Jörg"


@pytest.mark.parametrize("verb", ["VRFY", "EXPN"])
async def test_vrfy_and_expn_take_the_parameter(verb: str) -> None:
    # RFC 6531 §3.1 (7) and §3.7.4.2: the client can take UTF-8 in the reply to this command.
    async with talk(Polyglot()) as client:
        assert await client.ask(f"{verb} jorg") == "250 2.1.5 J?rg <jorg>"
        assert await client.ask(f"{verb} jörg smtputf8") == "250 2.1.5 Jörg <jörg>"
        assert await client.ask(f"{verb} jörg SMTPUTF8=x") == "250 2.1.5 J?rg <j?rg SMTPUTF8=x>"
        assert await client.ask(f"{verb} jorg") == "250 2.1.5 J?rg <jorg>"
        # With nothing before it, it is the name of somebody.
        assert await client.ask(f"{verb} SMTPUTF8") == "250 2.1.5 J?rg <SMTPUTF8>"


async def test_where_it_is_not_offered_vrfy_has_no_parameter() -> None:
    async with talk(Polyglot(), enable_SMTPUTF8=False) as client:
        assert await client.ask("VRFY jorg SMTPUTF8") == "250 2.1.5 J?rg <jorg SMTPUTF8>"
