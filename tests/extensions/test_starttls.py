"""STARTTLS (RFC 3207): what was said before is forgotten, what the connection knows is not, and nothing slips in."""

from __future__ import annotations

import base64
import contextlib
import logging
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import LMTP, SMTP, Disconnect, Envelope, LoginPassword, Session
from tests.extensions.support import (
    HOST,
    Authority,
    NetClient,
    TLSWire,
    connected,
    ended,
    hear_many,
    offer,
    on_tls,
    serving,
)
from tests.support import Nothing, Recorder, talk, wire

if TYPE_CHECKING:
    from ehlo import SMTPServer

PLAIN = base64.b64encode(b"\0ann\0secret").decode()
READY = b"220 2.0.0 Ready to start TLS\r\n"


async def one_user(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return credentials == LoginPassword(b"ann", b"secret")


def some_context() -> ssl.SSLContext:
    """For servers whose STARTTLS nobody takes."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


class Witness(Recorder):
    """Keeps what it is asked, and what was known then."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.answer: str | None = None

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        session.note = "from the start"  # type: ignore[attr-defined]

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> None:
        self.heard.append(f"EHLO {hostname}")

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> None:
        self.heard.append(f"MAIL {address}")

    async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str | None) -> None:
        self.heard.append("NOOP")

    async def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> str | None:
        assert session.ssl is not None
        self.heard.append(f"TLS {session.ssl.version}")
        return self.answer


# Offered, and allowed


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_with_a_context(server_class: type[SMTP]) -> None:
    async with talk(server_class=server_class, tls_context=some_context()) as client:
        assert (await offer(client))["STARTTLS"] == ""


async def test_without_a_context_it_is_no_command() -> None:
    async with talk() as client:
        assert "STARTTLS" not in await offer(client)
        assert await client.ask("STARTTLS") == "502 5.5.1 Command not implemented"


async def test_it_is_not_offered_on_tls_and_refused_there(authority: Authority) -> None:
    async with serving(tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        await client.start_tls(authority.client_context())
        assert await client.ask("STARTTLS") == "503 5.5.1 Say HELO or EHLO first"
        assert "STARTTLS" not in await offer(client)
        # RFC 3207 §4.2: a client must not, and a server need not.
        assert await client.ask("STARTTLS") == "503 5.5.1 TLS is already active"
        assert await client.is_usable()


async def test_it_needs_ehlo() -> None:
    async with talk(is_greeted=False, tls_context=some_context()) as client:
        await client.hear()
        assert (await client.ask("STARTTLS")).startswith("503 ")
        await client.ask("HELO client.example")
        assert await client.ask("STARTTLS") == "503 5.5.1 Say EHLO first"


async def test_it_is_not_allowed_inside_a_transaction() -> None:
    async with talk(tls_context=some_context()) as client:
        await client.begin()
        assert (await client.ask("STARTTLS")).startswith("503 5.5.1 ")
        assert client.server.envelope.rcpt_tos == ["to@example.com"]


async def test_it_takes_no_argument() -> None:
    # RFC 3207 §4: 501.
    async with talk(tls_context=some_context()) as client:
        assert await client.ask("STARTTLS now") == "501 5.5.4 Syntax: STARTTLS"


async def test_where_it_is_required_nothing_else_works_before_it(authority: Authority) -> None:
    # RFC 3207 §4: "530 Must issue a STARTTLS command first" to all but NOOP, EHLO, STARTTLS and QUIT.
    async with (
        serving(tls_context=authority.server_context(), require_starttls=True) as server,
        connected(server) as client,
    ):
        await client.hear()
        assert await client.ask("HELO x") == "530 Must issue a STARTTLS command first"
        for command in ("MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "RSET", "VRFY a", "EXPN a", "HELP", "AUTH PLAIN"):
            assert await client.ask(command) == "530 5.7.0 Must issue a STARTTLS command first"
        assert (await client.ask("NOOP")).startswith("250 ")
        assert (await client.ask("EHLO client.example")).startswith("250")
        await client.start_tls(authority.client_context())
        assert (await client.ask("EHLO client.example")).startswith("250")
        assert (await client.send("Hello")).startswith("250 ")


# What is forgotten, and what is not


async def test_what_the_client_said_is_forgotten(authority: Authority) -> None:
    # RFC 3207 §4.2: "The server MUST discard any knowledge obtained from the client".
    async with (
        serving(tls_context=authority.server_context(), authenticator=one_user, auth_require_tls=False) as server,
        connected(server) as client,
    ):
        await client.greet()
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("235 ")
        await client.start_tls(authority.client_context())
        session = client.server.session
        assert (session.host_name, session.extended_smtp) == (None, False)
        assert (session.authenticated, session.login, session.auth_data) == (False, None, None)
        assert await client.ask("MAIL FROM:<a@example.com>") == "503 5.5.1 Say HELO or EHLO first"
        await client.ask("EHLO client.example")
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("235 ")


async def test_what_the_connection_knows_stays(authority: Authority) -> None:
    handler = Witness()
    async with serving(handler, tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        session = client.server.session
        before = (session.id, session.peer, session.note)  # type: ignore[attr-defined]
        await client.start_tls(authority.client_context())
        assert client.server.session is session
        assert (session.id, session.peer, session.note) == before  # type: ignore[attr-defined]
        assert session.ssl is not None


async def test_parameters_need_a_new_offer(authority: Authority) -> None:
    async with serving(tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        await client.start_tls(authority.client_context())
        await client.ask("HELO client.example")
        assert (await client.ask("MAIL FROM:<a@example.com> SIZE=1")).startswith("555 ")


async def test_authentication_failures_are_not_forgotten(authority: Authority) -> None:
    async with (
        serving(
            tls_context=authority.server_context(), authenticator=one_user, auth_require_tls=False, auth_failure_limit=3
        ) as server,
        connected(server) as client,
    ):
        await client.greet()
        for _ in range(2):
            assert (await client.ask("AUTH PLAIN AGEAYg==")).startswith("535 ")
        await client.start_tls(authority.client_context())
        await client.ask("EHLO client.example")
        await client.say("AUTH PLAIN AGEAYg==")
        assert [reply[:3] for reply in await client.hear_all()] == ["535", "421"]


# Injection


INJECTED = wire("EHLO injected", "NOOP", "MAIL FROM:<injected@example.com>", "RCPT TO:<x@example.com>", "DATA", ".")


@pytest.mark.parametrize("octets", [INJECTED, b"\r\n", b"\0", b"NOOP", b"NOOP\r", b"\n.\r\n", INJECTED * 50])
async def test_what_comes_with_the_command_is_never_executed(authority: Authority, octets: bytes) -> None:
    # CVE-2011-0411 and what followed.
    handler = Witness()
    async with serving(handler, tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        await client.feed(b"STARTTLS\r\n" + octets)
        assert await client.reader.readline() == READY
        await client.shake_hands(authority.client_context())
        # Nothing is answered but what comes by TLS, and nothing is put before it.
        assert (await client.ask("EHLO after")).startswith("250-mx.test")
        assert await client.ask("QUIT") == "221 2.0.0 Bye"
    assert [heard for heard in handler.heard if not heard.startswith("TLS")] == ["EHLO client.example", "EHLO after"]


async def test_what_comes_before_the_handshake_breaks_it(authority: Authority) -> None:
    handler = Witness()
    async with serving(handler, tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        assert await client.ask("STARTTLS") == READY.decode().strip()
        client.writer.write(INJECTED + TLSWire(authority.client_context(), client.reader, client.writer).hello())
        with contextlib.suppress(ConnectionError):
            assert (await client.reader.read())[:1] in {b"", b"\x15"}  # at most an alert
        await ended(server)
    assert handler.heard == ["EHLO client.example"]
    assert handler.reasons == [Disconnect.TLS]


async def test_a_group_that_goes_on_behind_the_command_is_cut_off(authority: Authority) -> None:
    # RFC 3207 §4 wants STARTTLS last in its group; RFC 2920 §3.1 lets what is before it be answered.
    handler = Witness()
    async with serving(handler, tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        await client.say("NOOP", "NOOP", "STARTTLS", "NOOP")
        assert await hear_many(client, 3) == ["250 2.0.0 OK", "250 2.0.0 OK", READY.decode().strip()]
        await client.shake_hands(authority.client_context())
        assert await client.is_usable()
    assert handler.heard[:3] == ["EHLO client.example", "NOOP", "NOOP"]
    assert handler.heard[3:] == [f"TLS {client.tls.version()}", "NOOP"]


# Handshakes that come to nothing


@pytest.mark.parametrize(
    "octets", [b"EHLO again\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 100, b"\x16\x03\x01\xff\xff"]
)
async def test_a_handshake_that_fails_ends_the_session(
    authority: Authority, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Witness()
    with caplog.at_level(logging.INFO):
        async with serving(handler, tls_context=authority.server_context()) as server, connected(server) as client:
            await client.greet()
            await client.ask("STARTTLS")
            client.writer.write(octets)
            client.writer.write_eof()
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await client.reader.read()
            # At most an alert: nobody would understand a reply.
            assert answer[:1] in {b"", b"\x15"}
            await ended(server)
    assert handler.reasons == [Disconnect.TLS]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_handshake_that_hangs_ends_within_its_time(authority: Authority) -> None:
    handler = Witness()
    async with (
        serving(handler, tls_context=authority.server_context(), tls_handshake_timeout=0.05) as server,
        connected(server) as client,
    ):
        await client.greet()
        await client.ask("STARTTLS")
        client.writer.write(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionError):
            assert await client.reader.read() == b""
        await ended(server)
    assert handler.reasons == [Disconnect.TLS]


async def test_a_client_that_goes_away_amid_the_handshake_is_gone(authority: Authority) -> None:
    handler = Witness()
    async with serving(handler, tls_context=authority.server_context()) as server:
        async with connected(server) as client:
            await client.greet()
            await client.ask("STARTTLS")
        await ended(server)
    assert len(handler.reasons) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_that_leaves_with_the_end_of_the_handshake_is_gone(
    authority: Authority, version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    # In TLS 1.3 its close_notify comes with its last octet of the handshake, before start_tls() returns here.
    handler = Witness()
    with caplog.at_level(logging.INFO):
        async with serving(handler, tls_context=authority.server_context(version=version)) as server:
            async with connected(server) as client:
                await client.greet()
                await client.ask("STARTTLS")
                await client.shake_hands(authority.client_context())
            await ended(server)
    assert handler.reasons == [Disconnect.CLOSED]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# What is known of TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_session_knows_its_tls(authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.server_context(version=version)
    async with serving(tls_context=context) as server, connected(server) as client:
        await client.greet()
        await client.start_tls(authority.client_context())
        tls = client.server.session.ssl
        assert tls is not None
        cipher = client.tls.cipher()
        assert cipher is not None
        assert (tls.version, tls.cipher, tls.bits) == (client.tls.version(), cipher[0], cipher[2])
        assert tls.server_name == HOST
        assert tls.peer_certificate is None
        assert tls.peer_certificate_der is None


async def test_a_clients_certificate_is_known(authority: Authority) -> None:
    context = authority.server_context(asks_for_certificate=True)
    async with serving(tls_context=context) as server:
        for certificate in (authority.issue("ann@example.com"), None):
            async with connected(server) as client:
                await client.greet()
                await client.start_tls(authority.client_context(certificate=certificate))
                await client.ask("EHLO client.example")
                tls = client.server.session.ssl
                assert tls is not None
                if certificate is None:
                    assert tls.peer_certificate is None
                else:
                    assert tls.peer_certificate is not None
                    assert tls.peer_certificate["subjectAltName"] == (("email", "ann@example.com"),)
                    der = tls.peer_certificate_der
                    assert der is not None
                    assert ssl.DER_cert_to_PEM_cert(der).strip() in certificate.read_text()


async def test_a_certificate_of_somebody_elses_authority_is_refused(authority: Authority, tmp_path: Any) -> None:
    stranger = Authority(tmp_path).issue("ann@example.com")
    handler = Witness()
    context = authority.server_context(asks_for_certificate=True, version=ssl.TLSVersion.TLSv1_2)
    async with serving(handler, tls_context=context) as server, connected(server) as client:
        await client.greet()
        await client.ask("STARTTLS")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await client.shake_hands(authority.client_context(certificate=stranger))
        await ended(server)
    assert handler.reasons == [Disconnect.TLS]


async def test_a_callback_for_server_names_chooses_the_certificate(authority: Authority) -> None:
    others = {
        "one.test": authority.server_context(name="one.test"),
        "two.test": authority.server_context(name="two.test"),
    }
    asked = []

    def choose(connection: Any, name: str, initial: ssl.SSLContext) -> None:
        asked.append(name)
        connection.context = others.get(name, initial)

    context = authority.server_context()
    context.sni_callback = choose
    async with serving(tls_context=context) as server:
        for name in ("one.test", "two.test", HOST):
            async with connected(server) as client:
                await client.greet()
                # The client checks that the certificate is for this name.
                await client.start_tls(authority.client_context(), name)
                tls = client.server.session.ssl
                assert tls is not None
                assert tls.server_name == name
    assert asked == ["one.test", "two.test", HOST]


async def test_a_client_may_ask_for_no_name(authority: Authority) -> None:
    trust = authority.client_context()
    trust.check_hostname = False
    async with serving(tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        await client.start_tls(trust, None)
        await client.ask("EHLO client.example")
        tls = client.server.session.ssl
        assert tls is not None
        assert tls.server_name is None


async def test_the_certificate_can_be_changed_while_the_server_runs(authority: Authority) -> None:
    async def shown(server: SMTPServer) -> Any:
        async with connected(server) as client:
            await client.greet()
            await client.start_tls(authority.client_context())
            return client.tls.getpeercert(binary_form=True)

    async with serving(tls_context=authority.server_context()) as server:
        first = await shown(server)
        assert await shown(server) == first
        server.load_cert_chain(authority.issue(HOST))
        assert await shown(server) != first


async def has_ticket(client: NetClient) -> bool:
    """Whether the server gave a session ticket.  In TLS 1.3 it comes with what is said next."""
    await client.ask("EHLO client.example")
    session = getattr(client.tls, "session", None)
    return session is not None and session.has_ticket


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("setting", "is_given"), [(None, True), (True, True), (False, False)])
async def test_session_tickets_can_be_switched(
    authority: Authority, version: ssl.TLSVersion, setting: bool | None, is_given: bool
) -> None:
    context = authority.server_context(version=version)
    async with serving(tls_context=context, tls_tickets=setting) as server, connected(server) as client:
        await client.greet()
        await client.start_tls(authority.client_context())
        assert await has_ticket(client) is is_given


# The hook


async def test_the_hook_is_called_after_the_handshake(authority: Authority) -> None:
    handler = Witness()
    async with serving(handler, tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        await client.start_tls(authority.client_context())
        assert await client.is_usable()
        assert handler.heard == ["EHLO client.example", f"TLS {client.tls.version()}", "NOOP"]


@pytest.mark.parametrize("answer", ["554 5.7.1 Not with this certificate", "454 4.7.0 Not now"])
async def test_what_the_hook_refuses_stays_refused(authority: Authority, answer: str) -> None:
    # RFC 3207 §4.1: a server that wants better TLS answers 554 to all but QUIT.
    handler = Witness()
    handler.answer = answer
    async with serving(handler, tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        await client.start_tls(authority.client_context())
        # RFC 2034 §4: no enhanced status code in a reply to EHLO.
        assert await client.ask("EHLO client.example") == answer[:4] + answer[10:]
        assert await client.ask("MAIL FROM:<a@example.com>") == answer
        assert await client.ask("NOOP") == answer
        assert await client.ask("QUIT") == "221 2.0.0 Bye"


async def test_a_hook_that_fails_stays_refused_too(authority: Authority) -> None:
    class Failing(Nothing):
        async def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> None:
            raise RuntimeError("details")

    async with serving(Failing(), tls_context=authority.server_context()) as server, connected(server) as client:
        await client.greet()
        await client.start_tls(authority.client_context())
        assert (await client.ask("NOOP")).startswith("451 4.3.0 ")


# LMTP, and what is said to be there


async def test_it_works_in_lmtp(authority: Authority) -> None:
    handler = Recorder()
    async with (
        serving(handler, protocol=LMTP, tls_context=authority.server_context()) as server,
        connected(server) as client,
    ):
        await client.greet()
        await client.start_tls(authority.client_context())
        assert "STARTTLS" not in await offer(client)
        assert (await client.send("Hello")).startswith("250 ")
    assert handler.contents == [b"Hello\r\n"]


async def test_tls_in_memory_is_what_it_is_said_to_be() -> None:
    async with talk(extra=on_tls(), tls_context=some_context()) as client:
        assert "STARTTLS" not in await offer(client)
        assert await client.ask("STARTTLS") == "503 5.5.1 TLS is already active"
