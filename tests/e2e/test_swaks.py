"""swaks, the Swiss Army knife of SMTP: it shows the whole dialogue and marks each reply that it did not want."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

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
    run,
    unix_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.support import Certificates, Receiver, Told

NAME = "client.example.org"
CREDENTIALS = ("--auth-user", LOGIN, "--auth-password", PASSWORD)
# What swaks ends a message with; it adds the same to one that it is given.
EXTRA = b"\r\n"


@pytest.fixture
def swaks(program: Callable[[str], str]) -> tuple[str, ...]:
    return program("swaks"), "--helo", NAME, "--from", SENDER


def at(receiver: Receiver) -> tuple[str, ...]:
    return "--server", receiver.host, "--port", str(receiver.port)


def went_through(told: Told) -> bool:
    """Whether it came to QUIT, without an unwanted reply (``<**`` or ``<~*``) or a complaint (``***``)."""
    lines = told.output.splitlines()
    return told.is_content and not any(line.startswith(("<**", "<~*", "***")) for line in lines)


async def test_a_message_arrives_to_the_octet(swaks: tuple[str, ...]) -> None:
    async with receiving() as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, "--data", "-", sent=unix_lines(MESSAGE))
    assert went_through(told)
    assert receiver.mail.mail_from == SENDER
    assert receiver.mail.rcpt_tos == [RECIPIENT]
    assert receiver.mail.content == MESSAGE + EXTRA
    assert receiver.mail.host_name == NAME


async def test_octets_above_127_arrive_as_sent(swaks: tuple[str, ...]) -> None:
    async with receiving() as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, "--data", "-", sent=unix_lines(EIGHT_BIT_MESSAGE))
    assert went_through(told)
    assert receiver.mail.content == EIGHT_BIT_MESSAGE + EXTRA


async def test_a_pipelined_transaction_for_several_recipients(swaks: tuple[str, ...]) -> None:
    recipients = [f"{number}@example.com" for number in range(20)]
    async with receiving() as receiver:
        told = await run(*swaks, *at(receiver), "--to", ",".join(recipients), "--pipeline")
    assert went_through(told)
    # The commands went out before the first reply came in.
    assert " -> RCPT TO:<19@example.com>\n -> DATA\n<-  250 2.1.0 OK\n" in told.output
    assert receiver.mail.rcpt_tos == recipients


async def test_an_attachment_arrives_whole(swaks: tuple[str, ...], tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    attachment = tmp_path / "all octets.bin"
    attachment.write_bytes(data)
    async with receiving() as receiver:
        told = await run(
            *swaks,
            *at(receiver),
            *("--to", RECIPIENT, "--body", "See the attachment.", "--attach-type", "application/octet-stream"),
            *("--attach-name", attachment.name, "--attach", f"@{attachment}", "--suppress-data"),
        )
    assert went_through(told)
    [attached] = receiver.mail.parsed.iter_attachments()
    assert attached.get_filename() == attachment.name
    assert attached.get_content() == data


async def test_starttls_with_a_verified_certificate(swaks: tuple[str, ...], certificates: Certificates) -> None:
    verify = ("--tls-verify", "--tls-ca-path", str(certificates.authority_file))
    async with receiving(tls_context=certificates.server_context(), require_starttls=True) as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, "--tls", *verify)
    assert went_through(told)
    assert " ~> MAIL FROM" in told.output
    assert receiver.mail.tls == "TLSv1.3"


@pytest.mark.parametrize("version", ["tlsv1_2", "tlsv1_3"])
async def test_tls_from_the_first_octet(swaks: tuple[str, ...], certificates: Certificates, version: str) -> None:
    verify = ("--tls-verify", "--tls-ca-path", str(certificates.authority_file))
    async with receiving(ssl_context=certificates.server_context()) as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, "--tlsc", "--tls-protocol", version, *verify)
    assert went_through(told)
    assert "<~  220 " in told.output
    assert receiver.mail.tls == version.replace("tlsv", "TLSv").replace("_", ".")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_login_in_clear(swaks: tuple[str, ...], mechanism: str) -> None:
    async with receiving(authenticator=Authenticator(), auth_require_tls=False) as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, "--auth", mechanism, *CREDENTIALS)
    assert went_through(told)
    assert "<-  235 2.7.0 " in told.output
    assert receiver.mail.mechanism == mechanism


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_login_after_starttls(swaks: tuple[str, ...], certificates: Certificates, mechanism: str) -> None:
    context = certificates.server_context()
    async with receiving(tls_context=context, authenticator=Authenticator(), auth_required=True) as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, "--tls", "--auth", mechanism, *CREDENTIALS)
    assert went_through(told)
    assert receiver.mail.mechanism == mechanism


async def test_helo_without_extensions(swaks: tuple[str, ...]) -> None:
    async with receiving() as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, "--protocol", "SMTP")
    assert went_through(told)
    assert f" -> HELO {NAME}\n<-  250 mx.example.com\n" in told.output
    assert receiver.mail.rcpt_tos == [RECIPIENT]


@pytest.mark.parametrize("on_unix_socket", [False, True])
async def test_lmtp_has_a_reply_for_each_recipient(
    swaks: tuple[str, ...], tmp_path: Path, on_unix_socket: bool
) -> None:
    unix_path = tmp_path / "lmtp" if on_unix_socket else None
    verdict = ["250 2.0.0 Stored", "452 4.2.2 Mailbox full", "250 2.0.0 Stored too"]
    async with receiving(protocol=LMTP, unix_path=unix_path, verdict=verdict) as receiver:
        where = ("--socket", str(unix_path)) if unix_path else at(receiver)
        told = await run(*swaks, *where, "--protocol", "LMTP", "--to", "a@example.com,b@example.com,c@example.com")
    assert told.is_content
    assert "<-  250 2.0.0 Stored\n<** 452 4.2.2 Mailbox full\n<-  250 2.0.0 Stored too\n -> QUIT\n" in told.output
    assert receiver.mail.rcpt_tos == ["a@example.com", "b@example.com", "c@example.com"]


async def test_pipelined_lmtp(swaks: tuple[str, ...]) -> None:
    async with receiving(protocol=LMTP) as receiver:
        told = await run(
            *swaks, *at(receiver), "--protocol", "LMTP", "--pipeline", "--to", f"{RECIPIENT},carol@example.com"
        )
    assert went_through(told)
    assert told.output.count("<-  250 2.0.0 OK queued as ") == 2
    assert receiver.mail.rcpt_tos == [RECIPIENT, "carol@example.com"]


async def test_a_refused_recipient_does_not_stop_the_others(swaks: tuple[str, ...]) -> None:
    async with receiving(refused=["nobody@example.com"]) as receiver:
        told = await run(*swaks, *at(receiver), "--pipeline", "--to", f"nobody@example.com,{RECIPIENT}")
    assert told.is_content
    assert "<** 550 5.1.1 No such mailbox" in told.output
    assert receiver.mail.rcpt_tos == [RECIPIENT]


async def test_xclient_makes_it_another_client(swaks: tuple[str, ...]) -> None:
    said = {"addr": "192.0.2.1", "port": "4711", "name": "mail.example.net", "helo": "helo.example.net", "login": "eve"}
    options = [word for name, value in said.items() for word in (f"--xclient-{name}", value)]
    async with receiving(xclient_networks=["127.0.0.0/8", "::1/128"]) as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, *options)
    assert went_through(told)
    # The session begins anew, with a greeting.
    assert re.search(r"^ -> XCLIENT .*\n<-  220 mx\.example\.com .*\n -> EHLO", told.output, re.MULTILINE)
    session = receiver.mail.session
    assert session.peer == ("192.0.2.1", 4711)
    assert session.login == "eve"
    assert session.xclient is not None
    assert session.xclient.name == "mail.example.net"
    assert session.xclient.helo == "helo.example.net"


class Proxied(NamedTuple):
    """What a PROXY header says, from ``source`` to ``destination``."""

    version: int
    family: str
    source: str
    destination: str

    @property
    def options(self) -> tuple[str, ...]:
        return (
            *("--proxy-version", str(self.version), "--proxy-family", self.family),
            *("--proxy-source", self.source, "--proxy-source-port", "4711"),
            *("--proxy-dest", self.destination, "--proxy-dest-port", "25"),
        )


@pytest.mark.parametrize("tls", [None, "--tls", "--tlsc"])
@pytest.mark.parametrize(
    "proxied",
    [
        Proxied(1, "TCP4", "192.0.2.1", "198.51.100.1"),
        Proxied(1, "TCP6", "2001:db8::1", "2001:db8::2"),
        Proxied(2, "AF_INET", "192.0.2.1", "198.51.100.1"),
        Proxied(2, "AF_INET6", "2001:db8::1", "2001:db8::2"),
    ],
    ids=lambda proxied: f"v{proxied.version} {proxied.family}",
)
async def test_a_proxy_header_names_the_client(
    swaks: tuple[str, ...], certificates: Certificates, proxied: Proxied, tls: str | None
) -> None:
    settings: dict[str, Any] = {"proxy_protocol_timeout": 5, "proxy_networks": ["127.0.0.0/8", "::1/128"]}
    if tls is not None:
        settings["ssl_context" if tls == "--tlsc" else "tls_context"] = certificates.server_context()
    async with receiving(**settings) as receiver:
        told = await run(*swaks, *at(receiver), "--to", RECIPIENT, *proxied.options, *filter(None, [tls]))
    assert went_through(told)
    session = receiver.mail.session
    assert session.peer == (proxied.source, 4711)
    assert session.proxy_data is not None
    assert session.proxy_data.version == proxied.version
    assert session.proxy_data.destination == (proxied.destination, 25)
    assert receiver.mail.tls == (None if tls is None else "TLSv1.3")
