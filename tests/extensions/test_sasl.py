"""Every mechanism of SASL, through a server, against a client that does its own part of it.

How each mechanism judges what is wrong with a response is in tests/protocol/sasl; here it is that the right questions
reach the authenticator, that 334 carries the right octets, and that who gets in is who should.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import FileAuthenticator
from ehlo.credentials import password_line
from ehlo.protocol import sasl
from ehlo.protocol.credentials import ITERATIONS_MIN, LoginPassword, ScramKeys, derive_scram_keys
from tests.extensions.support import Authority, connected, offer, on_tls, serving
from tests.protocol.sasl.driver import ScramClient
from tests.support import Client, talk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ehlo import Session

GRANTED = "235 2.7.0 Authentication successful"
DENIED = "535 5.7.8 Authentication credentials invalid"
MALFORMED = "501 5.5.2 Malformed authentication response"

USER, PASSWORD, TOKEN = "ann", "pencil, sharp", "ya29.token"
KEYS = derive_scram_keys(PASSWORD, iterations=ITERATIONS_MIN)


class Directory:
    """Knows everything about Ann, and lets her act as Bob."""

    scram_iterations = ITERATIONS_MIN

    async def check_password(self, question: sasl.CheckPassword, session: Session) -> bool:
        return question.credentials == LoginPassword(USER.encode(), PASSWORD.encode())

    def check_digest(self, question: sasl.CheckDigest, session: Session) -> bool:
        return question.proves(PASSWORD if question.user == USER else None)

    async def find_keys(self, question: sasl.FindKeys, session: Session) -> ScramKeys | None:
        return KEYS if question.user == USER else None

    async def check_token(self, question: sasl.CheckToken, session: Session) -> bool | str:
        return USER if question.token == TOKEN else False

    async def identify_peer(self, question: sasl.IdentifyPeer, session: Session) -> str | None:
        assert session.ssl is not None
        assert session.ssl.peer_certificate is not None
        ((_, name),) = session.ssl.peer_certificate["subjectAltName"]
        return USER if name == "ann@example.com" else None

    async def authorize(self, question: sasl.Authorize, session: Session) -> bool:
        return (question.authcid, question.authzid) == (USER, "bob")


IN_CLEAR: dict[str, Any] = {"authenticator": Directory(), "auth_require_tls": False}


def b64(octets: bytes | str) -> str:
    return base64.b64encode(octets.encode() if isinstance(octets, str) else octets).decode()


async def converse(
    client: Client, mechanism: str, respond: Callable[[bytes], bytes], initial: bytes | None = None
) -> str:
    """One exchange, with ``respond`` as the client; the reply that ends it."""
    extra = "" if initial is None else f" {b64(initial) or '='}"
    reply = await client.ask(f"AUTH {mechanism}{extra}")
    while reply.startswith("334 "):
        reply = await client.ask(b64(respond(base64.b64decode(reply[4:], validate=True))))
    return reply


def once(answer: bytes) -> Callable[[bytes], bytes]:
    """A client that says one thing, to an empty challenge."""

    def respond(challenge: bytes) -> bytes:
        assert challenge == b""
        return answer

    return respond


def who(client: Client) -> tuple[str | None, Any]:
    """Who the session acts as, and what its authenticator said."""
    session = client.server.session
    assert session.authenticated
    return session.login, session.auth_data


def identity(authzid: str, mechanism: str) -> tuple[str, sasl.Identity]:
    return authzid, sasl.Identity(USER, authzid, mechanism)


# What is offered


@pytest.mark.parametrize(
    ("methods", "offered"),
    [
        ({"check_password"}, "PLAIN LOGIN"),
        ({"find_keys"}, "SCRAM-SHA-256"),
        ({"check_digest"}, "CRAM-MD5"),
        ({"check_token"}, "OAUTHBEARER XOAUTH2"),
        (
            {"check_password", "find_keys", "check_digest", "check_token", "identify_peer", "authorize"},
            "SCRAM-SHA-256 OAUTHBEARER XOAUTH2 CRAM-MD5 PLAIN LOGIN",
        ),
    ],
)
async def test_what_can_be_answered_is_offered_strongest_first(methods: set[str], offered: str) -> None:
    authenticator = type("Some", (), {name: getattr(Directory, name) for name in methods})()
    async with talk(authenticator=authenticator, auth_require_tls=False) as client:
        assert (await offer(client))["AUTH"] == offered


async def test_a_function_that_checks_passwords_serves_plain_and_login_only() -> None:
    async def check(*_: object) -> bool:
        return True

    async with talk(authenticator=check, auth_require_tls=False) as client:
        assert (await offer(client))["AUTH"] == "PLAIN LOGIN"


@pytest.mark.parametrize(("version", "has_plus"), [("TLSv1.2", True), ("TLSv1.3", False)])
async def test_channel_binding_is_offered_where_the_version_of_tls_has_one(version: str, has_plus: bool) -> None:
    async with talk(authenticator=Directory(), extra=on_tls(version)) as client:
        assert ("SCRAM-SHA-256-PLUS" in (await offer(client))["AUTH"].split(" ")) is has_plus


async def test_neither_plus_nor_external_is_offered_without_tls() -> None:
    async with talk(**IN_CLEAR) as client:
        assert not {"SCRAM-SHA-256-PLUS", "EXTERNAL"} & set((await offer(client))["AUTH"].split(" "))
        for name in ("SCRAM-SHA-256-PLUS", "EXTERNAL"):
            assert (await client.ask(f"AUTH {name}")).startswith("504 ")


# PLAIN and LOGIN


@pytest.mark.parametrize("is_initial", [True, False])
async def test_plain(is_initial: bool) -> None:
    message = f"\0{USER}\0{PASSWORD}".encode()
    async with talk(**IN_CLEAR) as client:
        if is_initial:
            assert await client.ask(f"AUTH PLAIN {b64(message)}") == GRANTED
        else:
            assert await converse(client, "PLAIN", once(message)) == GRANTED
        assert who(client) == identity(USER, "PLAIN")


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        (f"\0{USER}\0wrong", DENIED),
        (f"\0nobody\0{PASSWORD}", DENIED),
        (f"root\0{USER}\0{PASSWORD}", DENIED),
        (f"\0{USER}\0", DENIED),
        (f"\0\0{PASSWORD}", DENIED),
        (f"{USER}\0{PASSWORD}", MALFORMED),
        (f"\0{USER}\0{PASSWORD}\0", MALFORMED),
        ("", MALFORMED),
    ],
)
async def test_plain_refused(message: str, reply: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, "PLAIN", once(b""), message.encode()) == reply
        assert client.server.session.login is None


async def test_who_may_act_as_another_does() -> None:
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, "PLAIN", once(b""), f"bob\0{USER}\0{PASSWORD}".encode()) == GRANTED
        assert who(client) == identity("bob", "PLAIN")


async def test_names_are_prepared() -> None:
    # RFC 4616 §2: SASLprep makes one name of the ways to write it.
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, "PLAIN", once(b""), f"\0a\u00adnn\0{PASSWORD}".encode()) == GRANTED
        assert who(client) == identity(USER, "PLAIN")


@pytest.mark.parametrize("is_initial", [True, False])
async def test_login(is_initial: bool) -> None:
    async with talk(**IN_CLEAR) as client:
        if is_initial:
            reply = await client.ask(f"AUTH LOGIN {b64(USER)}")
        else:
            assert await client.ask("AUTH LOGIN") == "334 " + b64("Username:")
            reply = await client.ask(b64(USER))
        assert reply == "334 " + b64("Password:")
        assert await client.ask(b64(PASSWORD)) == GRANTED
        assert who(client) == identity(USER, "LOGIN")


async def test_login_refused() -> None:
    async with talk(**IN_CLEAR) as client:
        await client.say("AUTH LOGIN", b64(USER), b64("wrong"))
        assert [await client.hear() for _ in range(3)][-1] == DENIED


# A file of passwords


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    line = password_line(USER, PASSWORD, iterations=ITERATIONS_MIN)
    assert PASSWORD not in line
    path.write_text(line + "\n")
    return path


async def test_a_password_file_serves_plain_login_and_scram(password_file: Path) -> None:
    authenticator = FileAuthenticator(password_file)
    async with talk(authenticator=authenticator, auth_require_tls=False) as client:
        assert (await offer(client))["AUTH"] == "SCRAM-SHA-256 PLAIN LOGIN"
        assert await converse(client, "PLAIN", once(b""), f"\0{USER}\0wrong".encode()) == DENIED
        assert await converse(client, "PLAIN", once(b""), f"\0nobody\0{PASSWORD}".encode()) == DENIED
        scram = ScramClient(USER, PASSWORD)
        assert await converse(client, "SCRAM-SHA-256", scram.respond, scram.first) == GRANTED
        assert who(client) == identity(USER, "SCRAM-SHA-256")
    async with talk(authenticator=authenticator, auth_require_tls=False) as client:
        assert await converse(client, "PLAIN", once(b""), f"\0{USER}\0{PASSWORD}".encode()) == GRANTED


# CRAM-MD5


def cram(user: str, password: str) -> Callable[[bytes], bytes]:
    """A client of RFC 2195."""
    return lambda challenge: f"{user} {hmac.digest(password.encode(), challenge, 'md5').hex()}".encode()


async def test_cram_md5() -> None:
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, "CRAM-MD5", cram(USER, PASSWORD)) == GRANTED
        assert who(client) == identity(USER, "CRAM-MD5")


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("nobody", PASSWORD), ("nobody", "")])
async def test_cram_md5_refused(user: str, password: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, "CRAM-MD5", cram(user, password)) == DENIED


async def test_cram_md5_never_asks_the_same_twice() -> None:
    challenges = []
    async with talk(**IN_CLEAR) as client:
        for _ in range(3):
            reply = await client.ask("AUTH CRAM-MD5")
            challenges.append(base64.b64decode(reply[4:]))
            await client.ask("*")
    assert len(set(challenges)) == 3
    # RFC 2195 §2: in the form of a msg-id, with our name.
    assert all(challenge.startswith(b"<") and challenge.endswith(b"@mx.test>") for challenge in challenges)


async def test_cram_md5_takes_no_initial_response() -> None:
    # RFC 4954 §4: where the server speaks first, "the server MUST reject the AUTH command with a 501 reply".
    async with talk(**IN_CLEAR) as client:
        assert (await client.ask(f"AUTH CRAM-MD5 {b64('ann x')}")).startswith("501 ")
        assert (await client.ask("AUTH CRAM-MD5 =")).startswith("501 ")


# SCRAM-SHA-256


@pytest.mark.parametrize("is_initial", [True, False])
async def test_scram(is_initial: bool) -> None:
    scram = ScramClient(USER, PASSWORD)
    async with talk(**IN_CLEAR) as client:
        initial = scram.first if is_initial else None
        assert await converse(client, "SCRAM-SHA-256", scram.respond, initial) == GRANTED
        assert who(client) == identity(USER, "SCRAM-SHA-256")
    assert scram.is_server_proven


async def test_the_last_word_of_scrams_server_is_a_challenge_that_the_client_answers_with_nothing() -> None:
    # RFC 4954 §4: 235 carries no data.
    scram = ScramClient(USER, PASSWORD)
    async with talk(**IN_CLEAR) as client:
        first = await client.ask(f"AUTH SCRAM-SHA-256 {b64(scram.first)}")
        final = await client.ask(b64(scram.respond(base64.b64decode(first[4:]))))
        assert base64.b64decode(final[4:]).startswith(b"v=")
        assert not client.server.session.authenticated
        assert await client.ask("") == GRANTED


async def test_a_client_that_does_not_believe_scrams_server_is_not_let_in() -> None:
    scram = ScramClient(USER, PASSWORD)
    async with talk(**IN_CLEAR) as client:
        first = await client.ask(f"AUTH SCRAM-SHA-256 {b64(scram.first)}")
        await client.ask(b64(scram.respond(base64.b64decode(first[4:]))))
        assert await client.ask("*") == "501 5.7.0 Authentication cancelled"
        assert not client.server.session.authenticated


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("nobody", PASSWORD)])
async def test_scram_refused(user: str, password: str) -> None:
    scram = ScramClient(user, password)
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, "SCRAM-SHA-256", scram.respond, scram.first) == DENIED
        assert not scram.is_server_proven


async def test_scram_does_not_tell_who_exists() -> None:
    salts = []
    async with talk(**IN_CLEAR) as client:
        for user in (USER, "nobody", "nobody"):
            scram = ScramClient(user, "wrong")
            assert await converse(client, "SCRAM-SHA-256", scram.respond, scram.first) == DENIED
            attributes = dict(part.split("=", 1) for part in scram.server_first.split(","))
            assert attributes["i"] == str(ITERATIONS_MIN)
            salts.append(attributes["s"])
    assert len(salts[0]) == len(salts[1])


async def test_scram_for_somebody_else() -> None:
    for authzid, reply in (("bob", GRANTED), ("root", DENIED)):
        scram = ScramClient(USER, PASSWORD, gs2=f"n,a={authzid},")
        async with talk(**IN_CLEAR) as client:
            assert await converse(client, "SCRAM-SHA-256", scram.respond, scram.first) == reply


async def test_scram_with_y_is_taken_where_there_is_no_plus() -> None:
    # RFC 5802 §6: the client could bind the channel, and saw that we cannot.
    scram = ScramClient(USER, PASSWORD, gs2="y,,")
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, "SCRAM-SHA-256", scram.respond, scram.first) == GRANTED


# SCRAM-SHA-256-PLUS, on TLS that is real


def binding_of(kind: str, tls: ssl.SSLObject) -> bytes:
    """A channel binding as a client works it out (RFC 5929)."""
    if kind == "tls-unique":
        unique = tls.get_channel_binding("tls-unique")
        assert unique
        return unique
    certificate = tls.getpeercert(binary_form=True)
    assert certificate
    return hashlib.sha256(certificate).digest()


@pytest.mark.parametrize("kind", ["tls-unique", "tls-server-end-point"])
@pytest.mark.parametrize("by_starttls", [True, False])
async def test_plus_binds_tls_1_2(authority: Authority, kind: str, by_starttls: bool) -> None:
    context = authority.server_context(version=ssl.TLSVersion.TLSv1_2)
    where = {"tls_context" if by_starttls else "ssl_context": context}
    trust = authority.client_context()
    async with (
        serving(authenticator=Directory(), **where) as server,
        connected(server, tls=None if by_starttls else trust) as client,
    ):
        await client.greet()
        if by_starttls:
            await client.start_tls(trust)
        assert "SCRAM-SHA-256-PLUS" in (await offer(client))["AUTH"].split(" ")
        scram = ScramClient(USER, PASSWORD, gs2=f"p={kind},,", binding=binding_of(kind, client.tls))
        assert await converse(client, "SCRAM-SHA-256-PLUS", scram.respond, scram.first) == GRANTED
        assert scram.is_server_proven
        assert who(client) == identity(USER, "SCRAM-SHA-256-PLUS")


@pytest.mark.parametrize("kind", ["tls-unique", "tls-server-end-point"])
async def test_plus_notices_a_man_in_the_middle(authority: Authority, kind: str) -> None:
    context = authority.server_context(version=ssl.TLSVersion.TLSv1_2)
    async with (
        serving(authenticator=Directory(), ssl_context=context) as server,
        connected(server, tls=authority.client_context()) as client,
    ):
        await client.greet()
        scram = ScramClient(USER, PASSWORD, gs2=f"p={kind},,", binding=b"of another connection")
        assert await converse(client, "SCRAM-SHA-256-PLUS", scram.respond, scram.first) == DENIED


async def test_plus_knows_no_other_binding(authority: Authority) -> None:
    context = authority.server_context(version=ssl.TLSVersion.TLSv1_2)
    async with (
        serving(authenticator=Directory(), ssl_context=context) as server,
        connected(server, tls=authority.client_context()) as client,
    ):
        await client.greet()
        scram = ScramClient(USER, PASSWORD, gs2="p=tls-exporter,,", binding=b"?")
        assert await converse(client, "SCRAM-SHA-256-PLUS", scram.respond, scram.first) == DENIED
        scram = ScramClient(USER, PASSWORD)
        assert await converse(client, "SCRAM-SHA-256-PLUS", scram.respond, scram.first) == MALFORMED


async def test_scram_with_y_is_refused_where_there_is_plus(authority: Authority) -> None:
    # RFC 5802 §6: somebody has taken -PLUS away from our list.
    context = authority.server_context(version=ssl.TLSVersion.TLSv1_2)
    async with (
        serving(authenticator=Directory(), ssl_context=context) as server,
        connected(server, tls=authority.client_context()) as client,
    ):
        await client.greet()
        scram = ScramClient(USER, PASSWORD, gs2="y,,")
        assert await converse(client, "SCRAM-SHA-256", scram.respond, scram.first) == DENIED
        scram = ScramClient(USER, PASSWORD, gs2="n,,")
        assert await converse(client, "SCRAM-SHA-256", scram.respond, scram.first) == GRANTED


async def test_plus_is_not_offered_on_tls_1_3(authority: Authority) -> None:
    # Its binding is tls-exporter (RFC 9266), which Python's ssl does not give.
    context = authority.server_context(version=ssl.TLSVersion.TLSv1_3)
    async with (
        serving(authenticator=Directory(), ssl_context=context) as server,
        connected(server, tls=authority.client_context()) as client,
    ):
        await client.greet()
        offered = (await offer(client))["AUTH"].split(" ")
        assert "SCRAM-SHA-256" in offered
        assert "SCRAM-SHA-256-PLUS" not in offered
        scram = ScramClient(USER, PASSWORD, gs2="y,,")
        assert await converse(client, "SCRAM-SHA-256", scram.respond, scram.first) == GRANTED


# OAUTHBEARER and XOAUTH2


def bearer(user: str, token: str) -> bytes:
    """A client of RFC 7628."""
    authzid = f"a={user}" if user else ""
    return f"n,{authzid},\x01host=mx.test\x01port=587\x01auth=Bearer {token}\x01\x01".encode()


def xoauth2(user: str, token: str) -> bytes:
    return f"user={user}\x01auth=Bearer {token}\x01\x01".encode()


@pytest.mark.parametrize("is_initial", [True, False])
@pytest.mark.parametrize(
    ("mechanism", "message"),
    [("OAUTHBEARER", bearer(USER, TOKEN)), ("OAUTHBEARER", bearer("", TOKEN)), ("XOAUTH2", xoauth2(USER, TOKEN))],
)
async def test_a_token(mechanism: str, message: bytes, is_initial: bool) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, mechanism, once(message), message if is_initial else None) == GRANTED
        assert who(client) == identity(USER, mechanism)


@pytest.mark.parametrize(
    ("mechanism", "message"), [("OAUTHBEARER", bearer("bob", TOKEN)), ("XOAUTH2", xoauth2("bob", TOKEN))]
)
async def test_a_token_for_somebody_else(mechanism: str, message: bytes) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, mechanism, once(b""), message) == GRANTED
        assert who(client) == identity("bob", mechanism)


@pytest.mark.parametrize(
    ("mechanism", "message", "answer"),
    [("OAUTHBEARER", bearer(USER, "expired"), b"\x01"), ("XOAUTH2", xoauth2(USER, "expired"), b"")],
)
async def test_a_refused_token_is_explained_first(mechanism: str, message: bytes, answer: bytes) -> None:
    # RFC 7628 §3.2.3: the client answers the explanation with %x01, and then comes the failure.
    complaints = []

    def respond(challenge: bytes) -> bytes:
        complaints.append(json.loads(challenge))
        return answer

    async with talk(**IN_CLEAR) as client:
        assert await converse(client, mechanism, respond, message) == DENIED
        assert await client.is_usable()
    assert [complaint["status"] for complaint in complaints] == ["invalid_token" if answer else "401"]


@pytest.mark.parametrize(
    ("mechanism", "message"), [("OAUTHBEARER", bearer("root", TOKEN)), ("XOAUTH2", xoauth2("root", TOKEN))]
)
async def test_a_token_of_somebody_else_is_refused(mechanism: str, message: bytes) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await converse(client, mechanism, once(b""), message) == DENIED


# EXTERNAL


async def external(authority: Authority, maybe_mailbox: str | None, initial: bytes | None) -> tuple[str, str | None]:
    """The list of mechanisms, and the reply to EXTERNAL if it is among them, with a certificate for a mailbox."""
    certificate = None if maybe_mailbox is None else authority.issue(maybe_mailbox)
    context = authority.server_context(asks_for_certificate=True)
    async with (
        serving(authenticator=Directory(), ssl_context=context) as server,
        connected(server, tls=authority.client_context(certificate=certificate)) as client,
    ):
        await client.greet()
        offered = (await offer(client))["AUTH"].split(" ")
        if "EXTERNAL" not in offered:
            return (await client.ask("AUTH EXTERNAL ="))[:3], None
        reply = await converse(client, "EXTERNAL", once(b""), initial)
        return reply, client.server.session.login


@pytest.mark.parametrize("initial", [None, b"", USER.encode()])
async def test_external(authority: Authority, initial: bytes | None) -> None:
    assert await external(authority, "ann@example.com", initial) == (GRANTED, USER)


async def test_external_for_somebody_else(authority: Authority) -> None:
    assert await external(authority, "ann@example.com", b"bob") == (GRANTED, "bob")
    assert await external(authority, "ann@example.com", b"root") == (DENIED, None)


async def test_external_for_nobody_that_we_know(authority: Authority) -> None:
    assert await external(authority, "eve@example.com", b"") == (DENIED, None)


async def test_external_is_not_offered_without_a_certificate(authority: Authority) -> None:
    assert await external(authority, None, b"") == ("504", None)
