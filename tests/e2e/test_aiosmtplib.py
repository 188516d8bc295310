"""The client of the asyncio world."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from typing import TYPE_CHECKING

import aiosmtplib
import pytest

from tests.e2e.support import (
    EIGHT_BIT_MESSAGE,
    LOGIN,
    MESSAGE,
    PASSWORD,
    RECIPIENT,
    SENDER,
    TOKEN,
    Authenticator,
    receiving,
)

if TYPE_CHECKING:
    from tests.e2e.support import Certificates, Receiver


def client_of(receiver: Receiver) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(hostname=receiver.host, port=receiver.port, local_hostname="client.example.org", timeout=10)


async def test_a_message_arrives_to_the_octet() -> None:
    async with receiving() as receiver, client_of(receiver) as client:
        refused, answer = await client.sendmail(SENDER, [RECIPIENT, "carol@example.com"], MESSAGE)
    assert refused == {}
    assert answer.startswith("2.0.0 OK queued as ")
    assert receiver.mail.mail_from == SENDER
    assert receiver.mail.rcpt_tos == [RECIPIENT, "carol@example.com"]
    assert receiver.mail.content == MESSAGE
    assert receiver.mail.host_name == "client.example.org"


async def test_twenty_clients_at_once() -> None:
    async def send(number: int) -> None:
        async with client_of(receiver) as client:
            for _ in range(5):
                refused, _ = await client.sendmail(SENDER, f"{number}@example.com", MESSAGE)
                assert refused == {}

    async with receiving() as receiver:
        await asyncio.gather(*map(send, range(20)))
    assert len(receiver.mails) == 100
    assert {mail.content for mail in receiver.mails} == {MESSAGE}
    assert {mail.rcpt_tos[0] for mail in receiver.mails} == {f"{number}@example.com" for number in range(20)}
    assert len(receiver.recorder.endings) == 20


async def test_starttls_is_used_when_it_is_offered(certificates: Certificates) -> None:
    async with receiving(tls_context=certificates.server_context(), require_starttls=True) as receiver:
        refused, _ = await aiosmtplib.send(
            MESSAGE,
            sender=SENDER,
            recipients=[RECIPIENT],
            hostname=receiver.host,
            port=receiver.port,
            tls_context=certificates.client_context(),
        )
    assert refused == {}
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"])
async def test_login_on_implicit_tls(certificates: Certificates, mechanism: str) -> None:
    context = certificates.server_context()
    async with receiving(ssl_context=context, authenticator=Authenticator(), auth_required=True) as receiver:
        client = aiosmtplib.SMTP(
            hostname=receiver.host, port=receiver.port, use_tls=True, tls_context=certificates.client_context()
        )
        async with client:
            await client.ehlo()
            method = getattr(client, f"auth_{mechanism.lower().replace('-', '')}")
            answer = await method(LOGIN, TOKEN if mechanism == "XOAUTH2" else PASSWORD)
            await client.sendmail(SENDER, [RECIPIENT], MESSAGE)
    assert answer.code == 235
    assert receiver.mail.mechanism == mechanism
    assert receiver.mail.tls == "TLSv1.3"


async def test_send_message_with_internationalised_addresses() -> None:
    message = EmailMessage()
    message["From"] = "zoë@münchen.example"
    message["To"] = "用户@例子.example"
    message["Subject"] = "Grüße"
    message.set_content("Привет\n")
    async with receiving() as receiver, client_of(receiver) as client:
        refused, _ = await client.send_message(message)
    assert refused == {}
    assert receiver.mail.mail_from == "zoë@münchen.example"
    assert receiver.mail.rcpt_tos == ["用户@例子.example"]
    assert "SMTPUTF8" in [option.upper() for option in receiver.mail.options]
    assert receiver.mail.parsed["Subject"] == "Grüße"


async def test_octets_above_127_arrive_as_sent() -> None:
    async with receiving() as receiver, client_of(receiver) as client:
        await client.sendmail(SENDER, [RECIPIENT], EIGHT_BIT_MESSAGE, mail_options=["BODY=8BITMIME"])
    assert receiver.mail.content == EIGHT_BIT_MESSAGE


async def test_the_client_learns_who_was_refused() -> None:
    async with receiving(refused=["nobody@example.com"]) as receiver, client_of(receiver) as client:
        refused, _ = await client.sendmail(SENDER, ["nobody@example.com", RECIPIENT], MESSAGE)
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await client.sendmail(SENDER, ["nobody@example.com"], MESSAGE)
        await client.sendmail(SENDER, [RECIPIENT], MESSAGE)
    assert {address: tuple(answer) for address, answer in refused.items()} == {
        "nobody@example.com": (550, "5.1.1 No such mailbox")
    }
    assert [mail.rcpt_tos for mail in receiver.mails] == [[RECIPIENT], [RECIPIENT]]


async def test_commands_outside_of_a_transaction() -> None:
    async with receiving() as receiver, client_of(receiver) as client:
        assert (await client.noop()).code == 250
        assert (await client.vrfy(RECIPIENT)).code == 252
        assert "Supported commands" in await client.help()
        assert (await client.rset()).code == 250
