"""TLS: after STARTTLS and from the start, what is known of it, and what it must not let through."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from ehlo import SMTP, AuthResult, Envelope, Session
from ehlo.errors import Disconnected, TLSFailed
from ehlo.net import serve as serve_module
from ehlo.net.flow import UNREAD_LIMIT
from ehlo.net.serve import Server
from ehlo.net.tls import end_point, load_cert_chain, note_server_names, set_tickets, tls_info
from ehlo.testing import MemoryTransport
from tests.net.support import (
    HOST,
    PATIENCE,
    Caller,
    Speaker,
    authority,
    calling,
    certificate,
    client_context,
    echo,
    ended,
    server_context,
    smtp,
    until,
)
from tests.support import Recorder, be_quiet

if TYPE_CHECKING:
    from ehlo.controller import SMTPServer
    from ehlo.protocol.tlsinfo import TLSInfo

both_ways = pytest.mark.parametrize("is_implicit", [False, True], ids=["starttls", "implicit"])


class Witness(Recorder):
    """A handler that keeps the sessions and counts what it should not see."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: list[Session] = []
        self.seen: list[str] = []

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, name: str, lines: list[str]
    ) -> list[str]:
        self.sessions.append(session)
        self.seen.append(f"EHLO {name}")
        return lines

    async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> None:
        self.seen.append("NOOP")

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.seen.append("RSET")

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, *_: object) -> None:
        self.seen.append("MAIL")

    async def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self.seen.append(f"STARTTLS {session.ssl is not None}")


def tls_server(
    handler: object, context: ssl.SSLContext | None = None, *, is_implicit: bool = False, **parameters: Any
) -> SMTPServer:
    key = "ssl_context" if is_implicit else "tls_context"
    return smtp(handler, **{key: context or server_context(), **parameters})


async def enter(
    caller: Caller, context: ssl.SSLContext | None = None, name: str | None = HOST, *, is_implicit: bool = False
) -> str:
    """Come to the EHLO on TLS; give its reply."""
    if not is_implicit:
        reply = await caller.greet()
        assert "250-STARTTLS" in reply
        assert await caller.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
        await caller.start_tls(context or client_context(), name)
        return await caller.ask("EHLO client.example")
    return await caller.greet()


def calling_over_tls(
    server: SMTPServer, context: ssl.SSLContext | None = None, name: str = HOST, *, is_implicit: bool = False
) -> Any:
    return calling(server, (context or client_context()) if is_implicit else None, name)


async def facts(
    context: ssl.SSLContext | None = None,
    client: ssl.SSLContext | None = None,
    name: str = HOST,
    *,
    is_implicit: bool = False,
) -> TLSInfo:
    """What a server knows of the TLS of a session."""
    handler = Witness()
    server = tls_server(handler, context, is_implicit=is_implicit)
    async with server, calling_over_tls(server, client, name, is_implicit=is_implicit) as caller:
        await enter(caller, client, name, is_implicit=is_implicit)
    known = handler.sessions[-1].ssl
    assert known is not None
    return known


# It works


@both_ways
async def test_a_message_arrives(is_implicit: bool) -> None:
    handler = Witness()
    server = tls_server(handler, is_implicit=is_implicit)
    async with server, calling_over_tls(server, is_implicit=is_implicit) as caller:
        reply = await enter(caller, is_implicit=is_implicit)
        assert reply.startswith("250")
        assert "STARTTLS" not in reply
        assert (await caller.mail("text")).startswith("250 ")
        assert (await caller.ask("QUIT")).startswith("221 ")
        assert await caller.has_ended()
        await until(lambda: not server.connections)
    assert handler.contents == [b"text\r\n"]
    assert handler.reasons == ["quit"]


async def test_what_the_client_said_before_the_handshake_is_forgotten() -> None:
    handler = Witness()
    server = tls_server(handler)
    async with server, calling(server) as caller:
        await caller.greet()
        await caller.ask("STARTTLS")
        await caller.start_tls(client_context(), HOST)
        assert (await caller.ask("MAIL FROM:<from@example.com>")).startswith("503 ")
    assert handler.sessions[0].host_name is None


@both_ways
async def test_a_long_message_arrives_whole(is_implicit: bool) -> None:
    handler = Witness()
    server = tls_server(handler, is_implicit=is_implicit)
    text = (b"0123456789" * 7 + b"\r\n") * 100_000
    async with server, calling_over_tls(server, is_implicit=is_implicit) as caller:
        await enter(caller, is_implicit=is_implicit)
        await caller.begin()
        assert (await caller.ask("DATA")).startswith("354 ")
        caller.send(text + b".\r\n")
        assert (await caller.hear()).startswith("250 ")
    assert handler.contents == [text]


@both_ways
async def test_a_client_can_authenticate(is_implicit: bool) -> None:
    async def authenticate(*arguments: Any) -> AuthResult:
        return AuthResult(success=arguments[-1].password == b"secret")

    server = tls_server(Recorder(), is_implicit=is_implicit, authenticator=authenticate)
    async with server, calling_over_tls(server, is_implicit=is_implicit) as caller:
        assert "AUTH PLAIN LOGIN" in await enter(caller, is_implicit=is_implicit)
        bad, good = (base64.b64encode(f"\0user\0{word}".encode()).decode() for word in ("wrong", "secret"))
        assert (await caller.ask(f"AUTH PLAIN {bad}")).startswith("535 ")
        assert (await caller.ask("AUTH LOGIN")) == "334 VXNlcm5hbWU6"
        assert (await caller.ask(base64.b64encode(b"user").decode())).startswith("334 ")
        assert (await caller.ask(base64.b64encode(b"secret").decode())).startswith("235 ")
        assert (await caller.ask(f"AUTH PLAIN {good}")).startswith("503 ")


async def test_the_hook_runs_after_the_handshake() -> None:
    handler = Witness()
    server = tls_server(handler)
    async with server, calling(server) as caller:
        await enter(caller)
    assert handler.seen == ["EHLO client.example", "STARTTLS True", "EHLO client.example"]


# Facts


@both_ways
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_version_and_cipher_are_known(version: ssl.TLSVersion, is_implicit: bool) -> None:
    client = client_context()
    client.minimum_version = client.maximum_version = version
    known = await facts(client=client, is_implicit=is_implicit)
    assert known.version == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    assert known.cipher in {cipher["name"] for cipher in client.get_ciphers()}
    assert known.bits in {128, 256}
    assert known.alpn is None
    assert known.peer_certificate is None
    assert known.peer_certificate_der is None
    # RFC 9266 §1: TLS 1.3 has no tls-unique.
    assert ("tls-unique" in known.channel_bindings) == (version is ssl.TLSVersion.TLSv1_2)


async def test_what_was_agreed_on_as_the_protocol_is_known() -> None:
    context, client = server_context(), client_context()
    context.set_alpn_protocols(["smtp"])
    client.set_alpn_protocols(["smtp"])
    assert (await facts(context, client, is_implicit=True)).alpn == "smtp"


async def test_a_plain_connection_has_no_facts() -> None:
    assert tls_info(MemoryTransport(asyncio.Protocol())) is None


@both_ways
async def test_the_name_that_the_client_asked_for_is_known(is_implicit: bool) -> None:
    assert (await facts(name="mx.example", is_implicit=is_implicit)).server_name == "mx.example"


async def test_a_client_that_asks_for_no_name_has_none() -> None:
    client = client_context()
    client.check_hostname = False
    assert (await facts(client=client, name="")).server_name is None


async def test_a_callback_for_names_goes_on_to_work() -> None:
    def choose(connection: ssl.SSLObject, name: str | None, initial: ssl.SSLContext) -> None:
        asked.append((name, initial is context))
        connection.context = other

    asked: list[object] = []
    context, other = server_context("mx.example"), server_context("other.example")
    context.sni_callback = choose
    known = await facts(context, name="other.example")  # the client would not accept the certificate of mx.example
    assert known.server_name == "other.example"
    assert asked == [("other.example", True)]


async def test_the_answer_of_a_callback_for_names_counts() -> None:
    context = server_context()
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    handler = Witness()
    server = tls_server(handler, context)
    async with server, calling(server) as caller:
        await caller.greet()
        await caller.ask("STARTTLS")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):  # asyncio does not send the alert
            await caller.start_tls(client_context(), HOST)
        await until(lambda: handler.reasons)
    assert handler.reasons == ["tls"]


def test_names_are_noted_once_however_often_a_server_starts() -> None:
    context = server_context()
    note_server_names(context)
    callback = context.sni_callback
    note_server_names(context)
    assert context.sni_callback is callback


@both_ways
@pytest.mark.parametrize("has_certificate", [False, True])
async def test_a_certificate_of_the_client_is_known(has_certificate: bool, is_implicit: bool) -> None:
    context, client = server_context(), client_context()
    context.verify_mode = ssl.CERT_OPTIONAL
    authority().configure_trust(context)
    if has_certificate:
        certificate("client@example.com").configure_cert(client)
    known = await facts(context, client, is_implicit=is_implicit)
    if has_certificate:
        pem = certificate("client@example.com").cert_chain_pems[0].bytes().decode()
        assert known.peer_certificate_der == ssl.PEM_cert_to_DER_cert(pem)
        assert known.peer_certificate is not None
        assert known.peer_certificate["subjectAltName"] == (("email", "client@example.com"),)
    else:
        assert known.peer_certificate is None
        assert known.peer_certificate_der is None


# Certificates


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A file with a key and a certificate for other.example."""
    path = tmp_path / "other.pem"
    certificate("other.example").private_key_and_cert_chain_pem.write_to_path(path)
    return path


async def names_shown(server: SMTPServer, *, is_implicit: bool) -> object:
    client = client_context()
    client.check_hostname = False
    async with calling_over_tls(server, client, is_implicit=is_implicit) as caller:
        await enter(caller, client, is_implicit=is_implicit)
        shown = caller.writer.get_extra_info("peercert")
        await caller.ask("QUIT")
        return shown["subjectAltName"]


@both_ways
async def test_a_certificate_can_be_exchanged_while_the_server_runs(chain: Path, is_implicit: bool) -> None:
    async with tls_server(Witness(), server_context("mx.example"), is_implicit=is_implicit) as server:
        client = client_context()
        async with calling_over_tls(server, client, "mx.example", is_implicit=is_implicit) as earlier:
            await enter(earlier, client, "mx.example", is_implicit=is_implicit)
            assert await names_shown(server, is_implicit=is_implicit) == (("DNS", "mx.example"),)
            server.load_cert_chain(chain)
            assert await names_shown(server, is_implicit=is_implicit) == (("DNS", "other.example"),)
            assert await earlier.ask("NOOP") == "250 2.0.0 OK"


async def test_a_server_without_tls_has_no_certificate_to_exchange(chain: Path) -> None:
    async with smtp() as server:
        with pytest.raises(RuntimeError, match="no TLS context"):
            server.load_cert_chain(chain)


async def test_a_certificate_that_was_loaded_by_us_can_be_bound_to(chain: Path) -> None:
    context = server_context()
    assert "tls-server-end-point" not in (await facts(context)).channel_bindings
    load_cert_chain(context, chain)
    known = await facts(context, name="other.example")
    pem = certificate("other.example").cert_chain_pems[0].bytes().decode()
    shown = ssl.PEM_cert_to_DER_cert(pem)
    assert known.channel_bindings["tls-server-end-point"] == hashlib.sha256(shown).digest()


def test_a_file_without_a_certificate_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nothing.pem"
    path.write_text("nothing")
    with pytest.raises(ssl.SSLError):
        load_cert_chain(server_context(), path)


def _certificate(key: Any, algorithm: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.example" + "x" * 40)])
    day = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + dt.timedelta(days=9000))
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (hashes.SHA256(), "sha256"),
        (hashes.SHA384(), "sha384"),
        (hashes.SHA512(), "sha512"),
        (hashes.SHA224(), "sha256"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_hash_of_an_end_point_is_that_of_the_signature(algorithm: hashes.HashAlgorithm, expected: str) -> None:
    keys: list[Any] = [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)]
    for key in keys:
        der = _certificate(key, algorithm)
        assert end_point(der) == hashlib.new(expected, der).digest()


def test_the_hash_of_an_end_point_is_sha_256_where_the_signature_has_none() -> None:
    der = _certificate(ed25519.Ed25519PrivateKey.generate(), None)
    assert end_point(der) == hashlib.sha256(der).digest()


@pytest.mark.parametrize("are_given", [False, True])
async def test_tickets_are_given_or_not(are_given: bool) -> None:
    context, client = server_context(), client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # its ticket comes with the handshake
    set_tickets(context, are_given=not are_given)
    set_tickets(context, are_given=are_given)
    assert context.num_tickets == (2 if are_given else 0)
    server = tls_server(Witness(), context, is_implicit=True)
    async with server, calling(server, client, HOST) as caller:
        await caller.greet()
        connection = caller.writer.get_extra_info("ssl_object")
        assert connection.session.has_ticket == are_given


@pytest.mark.parametrize("are_given", [False, True])
def test_a_server_may_be_told_about_tickets(are_given: bool) -> None:
    context = server_context()
    smtp(tls_context=context, tls_tickets=are_given)
    assert bool(context.options & ssl.OP_NO_TICKET) is not are_given


# Injection


@pytest.mark.parametrize("injected", ["NOOP", "RSET", "MAIL FROM:<a@b>", "EHLO mallory.example", "NO"])
async def test_what_came_with_starttls_is_never_executed(injected: str) -> None:
    handler = Witness()
    server = tls_server(handler)
    async with server, calling(server) as caller:
        await caller.greet()
        ending = "" if injected == "NO" else "\r\n"
        caller.send(f"STARTTLS\r\n{injected}{ending}".encode())
        assert await caller.hear() == "220 2.0.0 Ready to start TLS"
        await caller.start_tls(client_context(), HOST)
        # With "NO" before it, this would be NOOP; after an EHLO and MAIL, RCPT would be in its place.
        assert (await caller.ask("OP" if injected == "NO" else "RCPT TO:<a@b>")).startswith(("500 ", "503 "))
        assert (await caller.ask("EHLO client.example")).startswith("250")
        assert (await caller.ask("QUIT")).startswith("221 ")
        assert await caller.has_ended()
    assert handler.seen == ["EHLO client.example", "STARTTLS True", "EHLO client.example"]


@pytest.mark.parametrize("injected", ["NOOP", "RSET", "MAIL FROM:<a@b>"])
async def test_what_came_after_starttls_in_plain_text_is_never_executed(injected: str) -> None:
    handler = Witness()
    server = tls_server(handler)
    async with server, calling(server) as caller:
        await caller.greet()
        assert (await caller.ask("STARTTLS")).startswith("220 ")
        caller.send(f"{injected}\r\n".encode())
        await until(lambda: handler.reasons)
    assert handler.seen == ["EHLO client.example"]
    assert handler.reasons == ["tls"]


async def test_what_came_octet_by_octet_before_the_handshake_is_never_executed() -> None:
    handler = Witness()
    server = tls_server(handler)
    async with server, calling(server) as caller:
        await caller.greet()
        for octet in b"STARTTLS\r\nNOOP\r\n":
            caller.send(bytes([octet]))
            await asyncio.sleep(0)
        await until(lambda: handler.reasons)
    assert "NOOP" not in handler.seen
    assert handler.reasons == ["tls"]


# Handshakes that fail


@both_ways
async def test_a_handshake_that_makes_no_sense_ends_the_session(is_implicit: bool) -> None:
    handler = Witness()
    server = tls_server(handler, is_implicit=is_implicit)
    async with server, calling(server) as caller:
        if not is_implicit:
            await caller.greet()
            await caller.ask("STARTTLS")
        caller.send(b"this is no handshake\r\n")
        await until(lambda: handler.reasons)
        assert handler.reasons == ["tls"]
        await until(lambda: not server.connections)


@both_ways
async def test_a_client_that_does_not_trust_us_ends_the_session(is_implicit: bool) -> None:
    handler = Witness()
    stranger = ssl.create_default_context()
    server = tls_server(handler, is_implicit=is_implicit)
    async with server:
        if is_implicit:
            with pytest.raises(ssl.SSLCertVerificationError):
                async with calling(server, stranger, HOST):
                    pass
        else:
            async with calling(server) as caller:
                await caller.greet()
                await caller.ask("STARTTLS")
                with pytest.raises(ssl.SSLCertVerificationError):
                    await caller.start_tls(stranger, HOST)
        await until(lambda: not server.connections)
    assert len(handler.reasons) == 1
    # TLS 1.3: the server may believe that all is well before it hears of the client's refusal.
    assert handler.reasons[0] in {"tls", "closed"}


@both_ways
@pytest.mark.parametrize("is_hard", [False, True])
async def test_a_client_that_goes_amid_the_handshake_ends_the_session(is_hard: bool, is_implicit: bool) -> None:
    handler = Witness()
    server = tls_server(handler, is_implicit=is_implicit)
    async with server:
        async with calling(server) as caller:
            if not is_implicit:
                await caller.greet()
                await caller.ask("STARTTLS")
            caller.send(b"\x16\x03\x01")
            await asyncio.sleep(0.01)
            if is_hard:
                caller.reset()
        await until(lambda: handler.reasons)
        await until(lambda: not server.connections)
    assert handler.reasons == ["tls"]


@both_ways
@pytest.mark.parametrize("hook_timeout", [60, 0.01])
async def test_a_handshake_that_does_not_get_on_ends_in_time(hook_timeout: float, is_implicit: bool) -> None:
    handler = Witness()
    server = tls_server(handler, is_implicit=is_implicit, tls_handshake_timeout=0.05, hook_timeout=hook_timeout)
    async with server, calling(server) as caller:
        if not is_implicit:
            await caller.greet()
            await caller.ask("STARTTLS")
        assert await caller.has_ended()
        await until(lambda: not server.connections)
        assert handler.reasons == ["tls"]


async def test_a_session_whose_handshake_failed_says_nothing_more() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        try:
            await speaker._start_tls(server_context(), 0.02)
        finally:
            speaker._write(b"secret\r\n")

    speaker = Speaker(script)
    server = Server(lambda: speaker, host=HOST, stall_threshold=None)
    async with server, calling(server) as caller:
        caller.send(b"STARTTLS\r\n")
        assert await caller.has_ended()
        await ended(speaker)
        assert isinstance(speaker.ended_by, TLSFailed)
        assert speaker.is_gone


async def test_a_handshake_that_nobody_waits_for_any_more_is_given_up() -> None:
    async def script(speaker: Speaker) -> None:
        """It ends before the handshake does."""

    speaker = Speaker(script)
    server = Server(lambda: speaker, host=HOST, ssl_context=server_context(), stall_threshold=None)
    async with server, calling(server) as caller:
        await until(lambda: server.connections or speaker.is_gone)
        assert await caller.has_ended()
        await ended(speaker)
        assert speaker.is_gone


async def test_a_transport_that_is_lost_at_the_last_moment_is_a_failed_handshake() -> None:
    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        await speaker._start_tls(server_context(), 1)

    class Loop:
        """Stands for one whose transport went before ``start_tls`` could return it."""

        async def start_tls(self, *_: object, **__: object) -> None:
            return None

    speaker = Speaker(script)
    transport = MemoryTransport(speaker)
    await be_quiet()
    speaker.loop = Loop()  # type: ignore[assignment]
    asyncio.get_running_loop().call_soon(transport.feed, b"go\r\n")
    await ended(speaker)
    assert isinstance(speaker.ended_by, TLSFailed)


# Flow and end


async def hello_and_echo(speaker: Speaker) -> None:
    await speaker.hear()
    speaker._write(b"go\r\n")
    await speaker._start_tls(server_context(), 5)
    await echo(speaker)


async def echo_over_tls(speaker: Speaker) -> None:
    await speaker._pass_tls()
    await echo(speaker)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_that_says_much_right_after_its_handshake_is_heard(version: ssl.TLSVersion) -> None:
    speakers: list[Speaker] = []

    def make() -> Speaker:
        speakers.append(Speaker(hello_and_echo))
        return speakers[-1]

    lines = b"x" * 98 + b"\r\n"
    said = lines * (2 * UNREAD_LIMIT // len(lines))
    server = Server(make, host=HOST, stall_threshold=None)
    async with server:
        async with calling(server) as caller:
            caller.send(b"STARTTLS\r\n")
            assert await caller.reader.readline() == b"go\r\n"
            await finish_and_say(caller, version, said)
        await until(lambda: not server.connections)
    assert len(speakers[0].did) * len(lines) == len(said)


class ManualTLS:
    """The client's side of TLS, where what is said goes out when the test says so."""

    def __init__(self, caller: Caller, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        client = client_context()
        client.minimum_version = client.maximum_version = version
        self.caller = caller
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client.wrap_bio(self.incoming, self.outgoing, server_hostname=HOST)

    def send(self) -> None:
        self.caller.send(self.outgoing.read())

    async def hear(self) -> None:
        piece = await asyncio.wait_for(self.caller.reader.read(100_000), PATIENCE)
        assert piece, "the server closed"
        self.incoming.write(piece)

    async def handshake(self) -> None:
        """All but to send what ends it."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send()
                await self.hear()
            else:
                return


async def finish_and_say(caller: Caller, version: ssl.TLSVersion, said: bytes) -> None:
    """Send the end of the handshake and ``said`` in one piece, and hear it all back."""
    manual = ManualTLS(caller, version)
    await manual.handshake()
    manual.tls.write(said)
    manual.send()
    heard = 0
    while heard < len(said):
        try:
            heard += len(manual.tls.read(100_000))
        except ssl.SSLWantReadError:
            await manual.hear()


@both_ways
@pytest.mark.parametrize("ending", ["closed", "torn", "reset"])
async def test_a_client_that_goes_with_the_last_octet_of_its_handshake_is_left(ending: str, is_implicit: bool) -> None:
    handler = Witness()
    server = tls_server(handler, is_implicit=is_implicit)
    async with server:
        async with calling(server) as caller:
            if not is_implicit:
                await caller.greet()
                assert (await caller.ask("STARTTLS")).startswith("220 ")
            manual = ManualTLS(caller)
            await manual.handshake()
            if ending == "closed":
                with pytest.raises(ssl.SSLWantReadError):
                    manual.tls.unwrap()
            manual.send()
            if ending == "reset":
                caller.reset()
            elif ending == "torn":
                caller.writer.write_eof()
            else:
                caller.writer.close()
        await until(lambda: handler.reasons)
        await until(lambda: not server.connections and not server._leaving)
    assert len(handler.reasons) == 1
    assert handler.reasons[0] in {"closed", "tls"}


async def test_reading_goes_on_that_was_paused_while_the_handshake_ended() -> None:
    class Plain(MemoryTransport):
        """Becomes TLS by decree."""

    async def script(speaker: Speaker) -> None:
        await speaker.hear()
        await speaker._start_tls(server_context(), 1)
        await echo(speaker)

    speaker = Speaker(script)
    plain = Plain(speaker)
    real = asyncio.get_running_loop()

    class Loop:
        """Delivers what was decrypted before it says that the handshake is over, as asyncio may."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        async def start_tls(self, *_: object, **__: object) -> MemoryTransport:
            speaker.data_received(b"x" * UNREAD_LIMIT + b"\r\n")
            assert not plain.is_reading()
            return plain

    await be_quiet()
    speaker.loop = Loop()  # type: ignore[assignment]
    real.call_soon(plain.feed, b"go\r\n")
    await be_quiet()
    assert plain.is_reading()
    assert speaker.did == [b"x" * UNREAD_LIMIT]
    plain.lose()
    await ended(speaker)


@both_ways
async def test_a_client_that_closes_tls_is_left(is_implicit: bool) -> None:
    handler = Witness()
    server = tls_server(handler, is_implicit=is_implicit)
    async with server:
        async with calling_over_tls(server, is_implicit=is_implicit) as caller:
            await enter(caller, is_implicit=is_implicit)
            assert await caller.ask("NOOP") == "250 2.0.0 OK"
        await until(lambda: handler.reasons)
        await until(lambda: not server.connections and not server._leaving)
    assert handler.reasons == ["closed"]


@both_ways
async def test_a_client_that_resets_tls_is_left(is_implicit: bool) -> None:
    handler = Witness()
    server = tls_server(handler, is_implicit=is_implicit)
    async with server:
        async with calling_over_tls(server, is_implicit=is_implicit) as caller:
            await enter(caller, is_implicit=is_implicit)
            caller.reset()
        await until(lambda: handler.reasons)
        await until(lambda: not server.connections and not server._leaving)
    assert handler.reasons == ["closed"]


async def test_reading_and_writing_pause_on_tls_too() -> None:
    async def talk(speaker: Speaker) -> None:
        await speaker._pass_tls()
        await speaker.hear()
        while True:
            await speaker.say(bytes(10_000))

    speaker = Speaker(talk)
    speaker._client_timeout = 0.2
    server = Server(lambda: speaker, host=HOST, ssl_context=server_context(), stall_threshold=None)
    async with server, calling(server, client_context(), HOST) as caller:
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        caller.send(b"go\r\n")
        await until(lambda: speaker._drained is not None)
        caller.send(bytes(4 * 1024 * 1024))
        await until(lambda: speaker._reading_is_paused)
        assert speaker._framer.buffered <= UNREAD_LIMIT + 512 * 1024
        await ended(speaker)
        assert isinstance(speaker.ended_by, Disconnected)


async def test_a_client_that_does_not_close_tls_does_not_hold_up_the_end_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve_module, "PARTING", 0.05)
    handler = Witness()
    loop = asyncio.get_running_loop()
    server = tls_server(handler, is_implicit=True)
    await server.start()

    def call() -> ssl.SSLSocket:
        plain = socket.create_connection((HOST, server.port))
        return client_context().wrap_socket(plain, server_hostname=HOST)

    silent = await loop.run_in_executor(None, call)
    try:
        await loop.run_in_executor(None, silent.recv, 1000)
        await asyncio.wait_for(server.stop(grace=60), 2)
        assert server._leaving == set()
        assert handler.reasons == ["shutdown"]
        assert await loop.run_in_executor(None, silent.recv, 1000) == (
            b"421 4.3.2 Service shutting down, closing connection\r\n"
        )
    finally:
        silent.close()
