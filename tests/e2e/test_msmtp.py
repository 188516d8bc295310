"""msmtp, the sendmail replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    unix_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.support import Certificates, Receiver

    Msmtp = Callable[..., tuple[str, ...]]

NAME = "client.example.org"


@pytest.fixture
def msmtp(program: Callable[[str], str], tmp_path: Path) -> Msmtp:
    """A function from where to send to, and further settings, to a command; add the recipients."""

    def command(receiver: Receiver, **settings: str) -> tuple[str, ...]:
        everything = {
            "account": "default",
            "host": receiver.host,
            # What has no effect on a UNIX socket must be a number all the same.
            "port": "25" if "socket" in settings else str(receiver.port),
            "from": SENDER,
            "domain": NAME,
            "timeout": "20",
            "logfile": str(tmp_path / "log"),
            **settings,
        }
        configuration = tmp_path / "msmtprc"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in everything.items()))
        configuration.chmod(0o600)  # msmtp refuses to read a password that others could read, too
        return program("msmtp"), "--file", str(configuration)

    return command


def tls(certificates: Certificates) -> dict[str, str]:
    return {"tls": "on", "tls_trust_file": str(certificates.authority_file)}


async def test_a_message_arrives_to_the_octet(msmtp: Msmtp, tmp_path: Path) -> None:
    async with receiving() as receiver:
        told = await run(*msmtp(receiver), RECIPIENT, "carol@example.com", sent=unix_lines(MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.mail_from == SENDER
    assert receiver.mail.rcpt_tos == [RECIPIENT, "carol@example.com"]
    assert receiver.mail.content == MESSAGE
    assert receiver.mail.host_name == NAME
    assert "smtpstatus=250 smtpmsg='250 2.0.0 OK queued as " in (tmp_path / "log").read_text()


async def test_octets_above_127_arrive_as_sent(msmtp: Msmtp) -> None:
    async with receiving() as receiver:
        told = await run(*msmtp(receiver), RECIPIENT, sent=unix_lines(EIGHT_BIT_MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.content == EIGHT_BIT_MESSAGE


async def test_starttls_with_a_verified_certificate(msmtp: Msmtp, certificates: Certificates) -> None:
    async with receiving(tls_context=certificates.server_context(), require_starttls=True) as receiver:
        told = await run(*msmtp(receiver, **tls(certificates)), RECIPIENT, sent=unix_lines(MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


async def test_tls_from_the_first_octet(msmtp: Msmtp, certificates: Certificates) -> None:
    async with receiving(ssl_context=certificates.server_context()) as receiver:
        command = msmtp(receiver, **tls(certificates), tls_starttls="off")
        told = await run(*command, RECIPIENT, sent=unix_lines(MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"])
async def test_login(msmtp: Msmtp, certificates: Certificates, mechanism: str) -> None:
    password = TOKEN if "OAUTH" in mechanism else PASSWORD
    login = {"auth": mechanism.lower(), "user": LOGIN, "password": f'"{password}"'}
    context = certificates.server_context()
    async with receiving(tls_context=context, authenticator=Authenticator(), auth_required=True) as receiver:
        told = await run(*msmtp(receiver, **tls(certificates), **login), RECIPIENT, sent=unix_lines(MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.mechanism == mechanism


async def test_login_by_certificate(msmtp: Msmtp, certificates: Certificates) -> None:
    # The file holds the key, too.
    certificate = {"tls_key_file": str(certificates.client_file), "tls_cert_file": str(certificates.client_file)}
    context = certificates.server_context(asks_client=True)
    async with receiving(tls_context=context, authenticator=Authenticator(), auth_required=True) as receiver:
        command = msmtp(receiver, **tls(certificates), **certificate, auth="external", user=LOGIN)
        told = await run(*command, RECIPIENT, sent=unix_lines(MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.mechanism == "EXTERNAL"


@pytest.mark.parametrize(("chosen", "mechanism"), [("plain", "PLAIN"), ("on", "SCRAM-SHA-256")])
async def test_login_in_clear(msmtp: Msmtp, chosen: str, mechanism: str) -> None:
    # Left to itself, msmtp sends no password in clear.
    login = {"auth": chosen, "user": LOGIN, "password": f'"{PASSWORD}"'}
    async with receiving(authenticator=Authenticator(), auth_require_tls=False) as receiver:
        told = await run(*msmtp(receiver, **login), RECIPIENT, sent=unix_lines(MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.mechanism == mechanism
    assert receiver.mail.tls is None


async def test_delivery_status_notifications(msmtp: Msmtp) -> None:
    async with receiving(honours=["DSN"]) as receiver:
        command = msmtp(receiver, dsn_notify="failure,delay", dsn_return="headers")
        told = await run(*command, RECIPIENT, sent=unix_lines(MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.options == ["RET=HDRS"]
    [recipient] = receiver.mail.envelope.recipients
    assert recipient.options == ("NOTIFY=FAILURE,DELAY",)


@pytest.mark.parametrize("on_unix_socket", [False, True])
async def test_lmtp(msmtp: Msmtp, tmp_path: Path, on_unix_socket: bool) -> None:
    unix_path = tmp_path / "lmtp" if on_unix_socket else None
    settings = {"protocol": "lmtp"} | ({"socket": str(unix_path)} if unix_path else {})
    async with receiving(protocol=LMTP, unix_path=unix_path) as receiver:
        told = await run(*msmtp(receiver, **settings), RECIPIENT, "carol@example.com", sent=unix_lines(MESSAGE))
    assert told == (0, "", "")
    assert receiver.mail.rcpt_tos == [RECIPIENT, "carol@example.com"]
    assert receiver.mail.content == MESSAGE


async def test_lmtp_tells_for_whom_it_failed(msmtp: Msmtp) -> None:
    verdict = ["250 2.0.0 Stored", "452 4.2.2 Mailbox full"]
    # After a failure msmtp goes without a word.
    async with receiving(protocol=LMTP, verdict=verdict, expected_endings=[Disconnect.CLOSED]) as receiver:
        command = msmtp(receiver, protocol="lmtp")
        told = await run(*command, RECIPIENT, "carol@example.com", sent=unix_lines(MESSAGE))
    assert told.status != 0
    assert "carol@example.com" in told.errors
    assert "452 4.2.2 Mailbox full" in told.errors
    assert RECIPIENT not in told.errors


async def test_serverinfo_shows_what_is_offered(msmtp: Msmtp) -> None:
    async with receiving(authenticator=Authenticator(), auth_require_tls=False) as receiver:
        told = await run(*msmtp(receiver), "--serverinfo")
    assert told.is_content
    assert "mx.example.com ESMTP" in told.output
    for offered in ("PIPELINING", "SIZE", "AUTH", "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"):
        assert offered in told.output
