"""nodemailer, with which programs on Node send their mail."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import LMTP, Disconnect
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
    run,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.e2e.support import Certificates, Receiver

    Report = dict[str, Any]
    Nodemailer = Callable[..., Awaitable[list[Report]]]

NAME = "client.example.org"
ENVELOPE = {"from": SENDER, "to": [RECIPIENT]}
# nodemailer closes a connection after its message without QUIT.
ENDINGS = (Disconnect.QUIT, Disconnect.CLOSED)


@pytest.fixture
def nodemailer(program: Callable[[str], str], node_folder: Path) -> Nodemailer:
    """A function from a server, mails and settings of the transport to nodemailer's report on each mail."""

    async def send(receiver: Receiver, *mails: dict[str, Any], verify: bool = False, **settings: Any) -> list[Report]:
        transport = {"host": receiver.host, "port": receiver.port, "name": NAME, **settings}
        job = {"transport": transport, "mails": mails, "verify": verify}
        client = node_folder / "nodemailer_client.js"
        told = await run(program("node"), "--throw-deprecation", client, sent=json.dumps(job).encode())
        assert told.is_content
        reports: list[Report] = json.loads(told.output)
        return reports

    return send


def raw(message: bytes) -> dict[str, Any]:
    return {"envelope": ENVELOPE, "raw": base64.b64encode(message).decode()}


async def test_a_message_arrives_to_the_octet(nodemailer: Nodemailer) -> None:
    async with receiving(expected_endings=ENDINGS) as receiver:
        [report] = await nodemailer(receiver, raw(MESSAGE), verify=True)
    assert report["response"].startswith("250 2.0.0 OK queued as ")
    assert report["accepted"] == [RECIPIENT]
    assert receiver.mail.mail_from == SENDER
    assert receiver.mail.rcpt_tos == [RECIPIENT]
    assert receiver.mail.content == MESSAGE
    assert receiver.mail.host_name == NAME


async def test_octets_above_127_arrive_as_sent(nodemailer: Nodemailer) -> None:
    mail = raw(EIGHT_BIT_MESSAGE) | {"envelope": {**ENVELOPE, "use8BitMime": True}}
    async with receiving(expected_endings=ENDINGS) as receiver:
        await nodemailer(receiver, mail)
    assert receiver.mail.content == EIGHT_BIT_MESSAGE
    assert receiver.mail.options == ["BODY=8BITMIME"]


async def test_a_composed_message_with_attachments(nodemailer: Nodemailer) -> None:
    data = bytes(range(256)) * 1000
    mail = {
        "from": f"Alice <{SENDER}>",
        "to": [RECIPIENT, "Carol <carol@example.com>"],
        "subject": "Grüße",
        "text": "Привет\n.\n",
        "html": "<p>Привет</p>",
        "attachments": [
            {"filename": "Überblick.bin", "content": base64.b64encode(data).decode(), "encoding": "base64"},
            {"filename": "notes.txt", "content": "a note"},
        ],
    }
    async with receiving(expected_endings=ENDINGS) as receiver:
        [report] = await nodemailer(receiver, mail)
    assert report["rejected"] == []
    assert receiver.mail.rcpt_tos == [RECIPIENT, "carol@example.com"]
    message = receiver.mail.parsed
    assert message["Subject"] == "Grüße"
    attachments = list(message.iter_attachments())
    assert [attached.get_filename() for attached in attachments] == ["Überblick.bin", "notes.txt"]
    assert attachments[0].get_content() == data
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().split() == ["Привет", "."]


async def test_internationalised_addresses(nodemailer: Nodemailer) -> None:
    mail = raw(MESSAGE) | {"envelope": {"from": "zoë@example.org", "to": ["用户@example.com"]}}
    async with receiving(expected_endings=ENDINGS) as receiver:
        await nodemailer(receiver, mail)
    assert receiver.mail.mail_from == "zoë@example.org"
    assert receiver.mail.rcpt_tos == ["用户@example.com"]
    assert "SMTPUTF8" in receiver.mail.options


async def test_a_pool_sends_many_messages_over_few_connections(nodemailer: Nodemailer) -> None:
    mails = [raw(MESSAGE) | {"envelope": {"from": SENDER, "to": [f"{number}@example.com"]}} for number in range(100)]
    async with receiving(expected_endings=ENDINGS) as receiver:
        reports = await nodemailer(receiver, *mails, pool=True, maxConnections=4)
    assert all(report["response"].startswith("250 2.0.0 ") for report in reports)
    assert sorted(mail.rcpt_tos[0] for mail in receiver.mails) == sorted(f"{n}@example.com" for n in range(100))
    assert {mail.content for mail in receiver.mails} == {MESSAGE}
    assert len(receiver.recorder.endings) == 4


async def test_a_pipelined_envelope_that_is_refused_spoils_nothing(nodemailer: Nodemailer) -> None:
    # DATA leaves with MAIL and RCPT, before the client knows that nobody is left to get the message.
    mails = [
        raw(MESSAGE) | {"envelope": {"from": SENDER, "to": to}}
        for to in (["nobody@example.com"], ["nobody@example.com", RECIPIENT], [RECIPIENT])
    ]
    async with receiving(
        refused=["nobody@example.com"], expected_endings=ENDINGS, expected_refusals=["DATA refused: 503 5.5.1 "]
    ) as receiver:
        reports = await nodemailer(receiver, *mails, pool=True, maxConnections=1)
    assert [report.get("responseCode") for report in reports] == [550, None, None]
    assert [report.get("rejected") for report in reports] == [None, ["nobody@example.com"], []]
    assert [mail.rcpt_tos for mail in receiver.mails] == [[RECIPIENT], [RECIPIENT]]


async def test_starttls_with_a_verified_certificate(nodemailer: Nodemailer, certificates: Certificates) -> None:
    tls = {"requireTLS": True, "tls": {"ca": certificates.authority_file.read_text()}}
    async with receiving(tls_context=certificates.server_context(), expected_endings=ENDINGS) as receiver:
        await nodemailer(receiver, raw(MESSAGE), **tls)
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


async def test_tls_from_the_first_octet(nodemailer: Nodemailer, certificates: Certificates) -> None:
    tls = {"secure": True, "tls": {"ca": certificates.authority_file.read_text()}}
    async with receiving(ssl_context=certificates.server_context(), expected_endings=ENDINGS) as receiver:
        await nodemailer(receiver, raw(MESSAGE), **tls)
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"])
async def test_login(nodemailer: Nodemailer, certificates: Certificates, mechanism: str) -> None:
    tls = {"requireTLS": True, "tls": {"ca": certificates.authority_file.read_text()}}
    login: dict[str, Any] = {"auth": {"user": LOGIN, "pass": PASSWORD}, "authMethod": mechanism}
    if mechanism == "XOAUTH2":
        login = {"auth": {"type": "OAuth2", "user": LOGIN, "accessToken": TOKEN}}
    context = certificates.server_context()
    async with receiving(
        tls_context=context, authenticator=Authenticator(), auth_required=True, expected_endings=ENDINGS
    ) as receiver:
        await nodemailer(receiver, raw(MESSAGE), **tls, **login)
    assert receiver.mail.mechanism == mechanism


async def test_delivery_status_notifications(nodemailer: Nodemailer) -> None:
    dsn = {"id": "an id=+", "return": "headers", "notify": ["success", "failure"], "recipient": "bob+x@example.net"}
    async with receiving(honours=["DSN"], expected_endings=ENDINGS) as receiver:
        await nodemailer(receiver, raw(MESSAGE) | {"dsn": dsn})
    assert receiver.mail.options == ["RET=HDRS", "ENVID=an+20id+3D+2B"]
    assert receiver.mail.envelope.mail_parameters.envid == "an id=+"
    [recipient] = receiver.mail.envelope.recipients
    assert recipient.options == ("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;bob+2Bx@example.net")
    assert recipient.parameters.orcpt is not None
    assert recipient.parameters.orcpt.address == "bob+x@example.net"


async def test_requiretls(nodemailer: Nodemailer, certificates: Certificates) -> None:
    tls = {"requireTLS": True, "tls": {"ca": certificates.authority_file.read_text()}}
    context = certificates.server_context()
    async with receiving(tls_context=context, honours=["REQUIRETLS"], expected_endings=ENDINGS) as receiver:
        await nodemailer(receiver, raw(MESSAGE) | {"requireTLSExtensionEnabled": True}, **tls)
    assert receiver.mail.options == ["REQUIRETLS"]
    assert receiver.mail.envelope.mail_parameters.requiretls


async def test_lmtp_tells_for_whom_it_failed(nodemailer: Nodemailer) -> None:
    verdict = ["250 2.0.0 Stored", "452 4.2.2 Mailbox full"]
    mail = raw(MESSAGE) | {"envelope": {"from": SENDER, "to": [RECIPIENT, "carol@example.com"]}}
    async with receiving(protocol=LMTP, verdict=verdict, expected_endings=ENDINGS) as receiver:
        [report] = await nodemailer(receiver, mail, lmtp=True)
    assert report["accepted"] == [RECIPIENT]
    assert report["rejected"] == ["carol@example.com"]
    assert receiver.mail.content == MESSAGE
