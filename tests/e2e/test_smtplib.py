"""Python's own client."""

from __future__ import annotations

import asyncio
import smtplib
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest

from ehlo import LMTP
from tests.e2e.support import (
    EIGHT_BIT_MESSAGE,
    LOGIN,
    MESSAGE,
    PASSWORD,
    RECIPIENT,
    SENDER,
    Authenticator,
    receiving,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.support import Certificates, Receiver

NAME = "client.example.org"


def connect(receiver: Receiver) -> smtplib.SMTP:
    return smtplib.SMTP(receiver.host, receiver.port, NAME, timeout=10)


async def test_a_message_arrives_to_the_octet() -> None:
    def talk() -> None:
        with connect(receiver) as client:
            assert client.sendmail(SENDER, [RECIPIENT, "carol@example.com"], MESSAGE) == {}

    async with receiving() as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.mail_from == SENDER
    assert receiver.mail.rcpt_tos == [RECIPIENT, "carol@example.com"]
    assert receiver.mail.content == MESSAGE
    assert receiver.mail.host_name == NAME
    assert receiver.mail.tls is None


async def test_one_connection_carries_many_messages() -> None:
    def talk() -> None:
        with connect(receiver) as client:
            for number in range(50):
                client.sendmail(SENDER, f"{number}@example.com", MESSAGE)

    async with receiving() as receiver:
        await asyncio.to_thread(talk)
    assert [mail.rcpt_tos for mail in receiver.mails] == [[f"{number}@example.com"] for number in range(50)]
    assert len(receiver.recorder.endings) == 1


async def test_a_message_of_ten_megabytes_arrives_whole() -> None:
    message = MESSAGE + b"." * 70 + b"\r\n"
    message += (b"." + b"x" * 75 + b"\r\n") * 130_000

    def talk() -> None:
        with connect(receiver) as client:
            assert client.sendmail(SENDER, RECIPIENT, message) == {}

    async with receiving() as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.content == message


async def test_starttls_changes_to_tls(certificates: Certificates) -> None:
    def talk() -> None:
        with connect(receiver) as client:
            code, _ = client.starttls(context=certificates.client_context())
            assert code == 220
            client.ehlo()
            assert not client.has_extn("starttls")
            assert client.sendmail(SENDER, RECIPIENT, MESSAGE) == {}

    async with receiving(tls_context=certificates.server_context(), require_starttls=True) as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


async def test_tls_from_the_first_octet(certificates: Certificates) -> None:
    def talk() -> None:
        context = certificates.client_context()
        with smtplib.SMTP_SSL(receiver.host, receiver.port, NAME, timeout=10, context=context) as client:
            assert client.sendmail(SENDER, RECIPIENT, MESSAGE) == {}

    async with receiving(ssl_context=certificates.server_context()) as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("initial_response_ok", [True, False])
async def test_login(certificates: Certificates, mechanism: str, initial_response_ok: bool) -> None:
    def talk() -> None:
        with connect(receiver) as client:
            client.starttls(context=certificates.client_context())
            client.ehlo()
            client.user, client.password = LOGIN, PASSWORD
            method = getattr(client, f"auth_{mechanism.lower().replace('-', '_')}")
            code, _ = client.auth(mechanism, method, initial_response_ok=initial_response_ok)
            assert code == 235
            assert client.sendmail(SENDER, RECIPIENT, MESSAGE) == {}

    context = certificates.server_context()
    async with receiving(tls_context=context, authenticator=Authenticator(), auth_required=True) as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.mechanism == mechanism


async def test_login_chooses_a_mechanism_by_itself(certificates: Certificates) -> None:
    def talk() -> None:
        context = certificates.client_context()
        with smtplib.SMTP_SSL(receiver.host, receiver.port, NAME, timeout=10, context=context) as client:
            assert client.login(LOGIN, PASSWORD)[0] == 235
            assert client.sendmail(SENDER, RECIPIENT, MESSAGE) == {}

    context = certificates.server_context()
    async with receiving(ssl_context=context, authenticator=Authenticator(), auth_required=True) as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.mechanism == "CRAM-MD5"


async def test_send_message_with_internationalised_addresses() -> None:
    message = EmailMessage()
    message["From"] = "Zoë <zoë@münchen.example>"
    message["To"] = "用户@例子.example"
    message["Subject"] = "Grüße"
    message.set_content("Привет\n")

    def talk() -> None:
        with connect(receiver) as client:
            assert client.send_message(message) == {}

    async with receiving() as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.mail_from == "zoë@münchen.example"
    assert receiver.mail.rcpt_tos == ["用户@例子.example"]
    assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(receiver.mail.options)
    assert "Zoë <zoë@münchen.example>".encode() in receiver.mail.content
    assert receiver.mail.parsed["To"] == "用户@例子.example"
    assert receiver.mail.parsed.get_content().strip() == "Привет"


async def test_octets_above_127_arrive_as_sent() -> None:
    def talk() -> None:
        with connect(receiver) as client:
            assert client.sendmail(SENDER, RECIPIENT, EIGHT_BIT_MESSAGE, mail_options=["BODY=8BITMIME"]) == {}

    async with receiving() as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.content == EIGHT_BIT_MESSAGE
    assert "BODY=8BITMIME" in receiver.mail.options


async def test_the_client_learns_who_was_refused() -> None:
    def talk() -> None:
        with connect(receiver) as client:
            assert client.sendmail(SENDER, [RECIPIENT, "nobody@example.com"], MESSAGE) == {
                "nobody@example.com": (550, b"5.1.1 No such mailbox")
            }
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                client.sendmail(SENDER, "nobody@example.com", MESSAGE)
            assert client.sendmail(SENDER, RECIPIENT, MESSAGE) == {}

    async with receiving(refused=["nobody@example.com"]) as receiver:
        await asyncio.to_thread(talk)
    assert [mail.rcpt_tos for mail in receiver.mails] == [[RECIPIENT], [RECIPIENT]]


async def test_commands_outside_of_a_transaction() -> None:
    def talk() -> None:
        with connect(receiver) as client:
            assert client.noop() == (250, b"2.0.0 OK")
            assert client.helo() == (250, b"mx.example.com")
            assert client.verify(RECIPIENT)[0] == 252
            assert client.expn("list")[0] == 502
            assert b"STARTTLS" not in client.help()
            assert client.rset()[0] == 250
            assert client.quit()[0] == 221

    async with receiving() as receiver:
        await asyncio.to_thread(talk)


@pytest.mark.parametrize("on_unix_socket", [False, True])
async def test_lmtp(tmp_path: Path, on_unix_socket: bool) -> None:
    unix_path = tmp_path / "lmtp" if on_unix_socket else None

    def talk() -> None:
        host, port = (str(unix_path), 0) if unix_path else (receiver.host, receiver.port)
        with smtplib.LMTP(host, port, NAME) as client:
            # One recipient: this client reads one reply after the end of data, however many there were.
            assert client.sendmail(SENDER, RECIPIENT, MESSAGE) == {}

    async with receiving(protocol=LMTP, unix_path=unix_path) as receiver:
        await asyncio.to_thread(talk)
    assert receiver.mail.content == MESSAGE
    assert receiver.mail.rcpt_tos == [RECIPIENT]
