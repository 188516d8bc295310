"""TLS from the first octet (RFC 8314): the same service, without a plain word."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import Any

import pytest

from ehlo import LMTP, SMTP, Disconnect, Envelope, LoginPassword, Session
from tests.extensions.support import HOST, Authority, connected, ended, offer, serving
from tests.support import Recorder

PLAIN = "AGFubgBzZWNyZXQ="  # NUL ann NUL secret


async def one_user(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return credentials == LoginPassword(b"ann", b"secret")


@pytest.mark.parametrize("protocol", [SMTP, LMTP])
async def test_a_message_comes_through(authority: Authority, protocol: type[SMTP]) -> None:
    handler = Recorder()
    async with (
        serving(handler, protocol=protocol, ssl_context=authority.server_context()) as server,
        connected(server, tls=authority.client_context()) as client,
    ):
        await client.greet()
        assert (await client.send("Hello")).startswith("250 ")
        assert await client.ask("QUIT") == "221 2.0.0 Bye"
    assert handler.contents == [b"Hello\r\n"]
    assert handler.reasons == [Disconnect.QUIT]


async def test_starttls_is_neither_offered_nor_done(authority: Authority) -> None:
    context = authority.server_context()
    for settings in ({}, {"tls_context": context}):
        async with (
            serving(ssl_context=context, **settings) as server,
            connected(server, tls=authority.client_context()) as client,
        ):
            await client.greet()
            assert "STARTTLS" not in await offer(client)
            assert (await client.ask("STARTTLS"))[:3] in {"502", "503"}
            assert await client.is_usable()


async def test_what_needs_tls_is_offered(authority: Authority) -> None:
    class Insists(Recorder):
        honours = frozenset({"REQUIRETLS"})

    async with (
        serving(Insists(), ssl_context=authority.server_context(), authenticator=one_user) as server,
        connected(server, tls=authority.client_context()) as client,
    ):
        await client.greet()
        offered = await offer(client)
        assert (offered["AUTH"], offered["REQUIRETLS"]) == ("PLAIN LOGIN", "")
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("235 ")


async def test_requiring_starttls_is_satisfied(authority: Authority) -> None:
    context = authority.server_context()
    async with (
        serving(ssl_context=context, tls_context=context, require_starttls=True) as server,
        connected(server, tls=authority.client_context()) as client,
    ):
        await client.greet()
        assert (await client.send("Hello")).startswith("250 ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_first_hook_knows_the_tls(authority: Authority, version: ssl.TLSVersion) -> None:
    seen: list[Any] = []

    class Witness(Recorder):
        async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> None:
            seen.append(session.ssl)

    context = authority.server_context(version=version, asks_for_certificate=True)
    trust = authority.client_context(certificate=authority.issue("ann@example.com"))
    async with serving(Witness(), ssl_context=context) as server, connected(server, tls=trust) as client:
        await client.greet()
        assert client.tls.version() == seen[0].version
    assert seen[0].server_name == HOST
    assert seen[0].peer_certificate["subjectAltName"] == (("email", "ann@example.com"),)


async def test_a_callback_for_server_names_chooses_the_certificate(authority: Authority) -> None:
    other = authority.server_context(name="other.test")

    def choose(connection: Any, name: str, initial: ssl.SSLContext) -> None:
        if name == "other.test":
            connection.context = other

    context = authority.server_context()
    context.sni_callback = choose
    async with serving(ssl_context=context) as server:
        for name in ("other.test", HOST):
            async with connected(server, tls=authority.client_context(), name=name) as client:
                await client.greet()
                tls = client.server.session.ssl
                assert tls is not None
                assert tls.server_name == name


@pytest.mark.parametrize("octets", [b"EHLO client.example\r\n", b"\r\n", b"\x16\x03\x01\x00\x05hello"])
async def test_a_plain_client_hears_no_smtp(
    authority: Authority, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with serving(ssl_context=authority.server_context()) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(octets)
            writer.write_eof()
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await reader.read()
            assert answer[:1] in {b"", b"\x15"}  # at most an alert
            writer.close()
            await ended(server)
    assert [
        record for record in caplog.records if record.name.startswith("ehlo") and record.levelno > logging.INFO
    ] == []


async def test_a_handshake_that_hangs_ends_within_its_time(authority: Authority) -> None:
    async with serving(ssl_context=authority.server_context(), tls_handshake_timeout=0.05) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        await ended(server)


async def test_a_client_that_leaves_with_the_end_of_the_handshake_is_gone(authority: Authority) -> None:
    handler = Recorder()
    async with serving(handler, ssl_context=authority.server_context()) as server:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=authority.client_context(), server_hostname=HOST
        )
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        async with connected(server, tls=authority.client_context()) as client:
            await client.greet()  # the server goes on
        await ended(server)
    assert set(handler.reasons) == {Disconnect.CLOSED}
