"""curl, with its smtp:// and smtps://."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    run,
    unix_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.support import Certificates

NAME = "client.example.org"
UPLOAD = ("--mail-from", SENDER, "--mail-rcpt", RECIPIENT, "--upload-file", "-")


@pytest.fixture
def curl(program: Callable[[str], str]) -> tuple[str, ...]:
    return program("curl"), "--disable", "--silent", "--show-error", "--max-time", "20"


async def test_a_message_arrives_to_the_octet(curl: tuple[str, ...]) -> None:
    async with receiving() as receiver:
        told = await run(*curl, f"smtp://{receiver.address}/{NAME}", *UPLOAD, sent=MESSAGE)
    assert told.is_content
    assert receiver.mail.mail_from == SENDER
    assert receiver.mail.rcpt_tos == [RECIPIENT]
    assert receiver.mail.content == MESSAGE
    assert receiver.mail.host_name == NAME


async def test_octets_above_127_arrive_as_sent(curl: tuple[str, ...]) -> None:
    async with receiving() as receiver:
        told = await run(*curl, f"smtp://{receiver.address}", *UPLOAD, sent=EIGHT_BIT_MESSAGE)
    assert told.is_content
    assert receiver.mail.content == EIGHT_BIT_MESSAGE


async def test_a_file_with_lines_of_the_unix_kind(curl: tuple[str, ...]) -> None:
    # curl sends a file as it is, unless it is told that it is a text.
    async with receiving() as receiver:
        url, sent = f"smtp://{receiver.address}", unix_lines(MESSAGE)
        told_refused = await run(*curl, url, *UPLOAD, sent=sent)
        told = await run(*curl, url, *UPLOAD, "--crlf", sent=sent)
    assert told_refused.status != 0
    assert told.is_content
    assert receiver.mail.content == MESSAGE


async def test_several_recipients_one_of_them_refused(curl: tuple[str, ...]) -> None:
    more = ("--mail-rcpt", "nobody@example.com", "--mail-rcpt", "carol@example.com", "--mail-rcpt-allowfails")
    async with receiving(refused=["nobody@example.com"]) as receiver:
        told = await run(*curl, f"smtp://{receiver.address}", *UPLOAD, *more, sent=MESSAGE)
    assert told.is_content
    assert receiver.mail.rcpt_tos == [RECIPIENT, "carol@example.com"]


async def test_internationalised_addresses(curl: tuple[str, ...]) -> None:
    addresses = ("--mail-from", "zoë@example.org", "--mail-rcpt", "用户@example.com", "--upload-file", "-")
    async with receiving() as receiver:
        told = await run(*curl, f"smtp://{receiver.address}", *addresses, sent=MESSAGE)
    assert told.is_content
    assert receiver.mail.mail_from == "zoë@example.org"
    assert receiver.mail.rcpt_tos == ["用户@example.com"]
    assert "SMTPUTF8" in receiver.mail.options


async def test_starttls_with_a_verified_certificate(curl: tuple[str, ...], certificates: Certificates) -> None:
    tls = ("--ssl-reqd", "--cacert", str(certificates.authority_file))
    async with receiving(tls_context=certificates.server_context(), require_starttls=True) as receiver:
        told = await run(*curl, f"smtp://{receiver.address}", *tls, *UPLOAD, sent=MESSAGE)
    assert told.is_content
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


async def test_tls_from_the_first_octet(curl: tuple[str, ...], certificates: Certificates) -> None:
    tls = ("--cacert", str(certificates.authority_file))
    async with receiving(ssl_context=certificates.server_context()) as receiver:
        told = await run(*curl, f"smtps://{receiver.address}", *tls, *UPLOAD, sent=MESSAGE)
    assert told.is_content
    assert receiver.mail.tls == "TLSv1.3"
    assert receiver.mail.content == MESSAGE


@pytest.mark.parametrize("initial_response", [(), ("--sasl-ir",)], ids=["challenge", "initial response"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"])
async def test_login(
    curl: tuple[str, ...], certificates: Certificates, mechanism: str, initial_response: tuple[str, ...]
) -> None:
    tls = ("--ssl-reqd", "--cacert", str(certificates.authority_file))
    secret = ("--oauth2-bearer", TOKEN) if "OAUTH" in mechanism else ()
    user = ("--user", LOGIN if secret else f"{LOGIN}:{PASSWORD}", "--login-options", f"AUTH={mechanism}")
    # Whatever it is told, curl takes OAUTHBEARER where it may.
    excluded = ["OAUTHBEARER"] if mechanism == "XOAUTH2" else []
    context = certificates.server_context()
    async with receiving(
        tls_context=context, authenticator=Authenticator(), auth_required=True, auth_exclude_mechanism=excluded
    ) as receiver:
        url = f"smtp://{receiver.address}"
        told = await run(*curl, url, *tls, *user, *secret, *initial_response, *UPLOAD, sent=MESSAGE)
    assert told.is_content
    assert receiver.mail.mechanism == mechanism


async def test_login_by_certificate(curl: tuple[str, ...], certificates: Certificates) -> None:
    tls = ("--cacert", str(certificates.authority_file), "--cert", str(certificates.client_file))
    user = ("--user", f"{LOGIN}:", "--login-options", "AUTH=EXTERNAL")
    context = certificates.server_context(asks_client=True)
    async with receiving(ssl_context=context, authenticator=Authenticator(), auth_required=True) as receiver:
        told = await run(*curl, f"smtps://{receiver.address}", *tls, *user, *UPLOAD, sent=MESSAGE)
    assert told.is_content
    assert receiver.mail.mechanism == "EXTERNAL"


async def test_two_messages_on_one_connection(curl: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "second"
    file.write_bytes(EIGHT_BIT_MESSAGE)
    async with receiving() as receiver:
        url = f"smtp://{receiver.address}"
        told = await run(*curl, "--fail-early", url, *UPLOAD, "--next", url, *UPLOAD[:-1], file, sent=MESSAGE)
    assert told.is_content
    assert [mail.content for mail in receiver.mails] == [MESSAGE, EIGHT_BIT_MESSAGE]
    assert len(receiver.recorder.endings) == 1


async def test_commands_outside_of_a_transaction(curl: tuple[str, ...]) -> None:
    async with receiving() as receiver:
        url = f"smtp://{receiver.address}"
        told_vrfy = await run(*curl, url, "--mail-rcpt", RECIPIENT)
        told_help = await run(*curl, url, "--request", "HELP")
        told_noop = await run(*curl, url, "--request", "NOOP")
    assert told_vrfy == (0, "252 2.5.2 Cannot VRFY user, but will accept message and attempt delivery\r\n", "")
    assert told_help.is_content
    assert told_help.output.startswith("214 2.0.0 Supported commands: ")
    assert told_noop == (0, "250 2.0.0 OK\r\n", "")
