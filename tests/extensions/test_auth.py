"""AUTH (RFC 4954): when it is offered and allowed, how the exchange is framed, and AUTH= of MAIL.

The mechanisms themselves are in test_sasl.py.
"""

from __future__ import annotations

import base64
import logging
import ssl
import threading
from typing import Any

import pytest

from ehlo import LMTP, SMTP, AuthResult, Envelope, LoginPassword, Session
from ehlo.auth import auth_mechanism
from tests.extensions.support import codes, hear_many, offer, on_tls
from tests.support import Client, Nothing, Recorder, talk

PLAIN = base64.b64encode(b"\0ann\0secret").decode()
WRONG = base64.b64encode(b"\0ann\0hunter3").decode()
GRANTED = "235 2.7.0 Authentication successful"
DENIED = "535 5.7.8 Authentication credentials invalid"
SYNTAX = "501 5.5.4 Syntax: AUTH <mechanism> [initial-response]"


async def one_user(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return credentials == LoginPassword(b"ann", b"secret")


IN_CLEAR: dict[str, Any] = {"authenticator": one_user, "auth_require_tls": False}


def starttls_context() -> ssl.SSLContext:
    """Offers STARTTLS; nobody here takes it."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


# Offered only where it can be used


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_where_there_is_somebody_to_ask(server_class: type[SMTP]) -> None:
    async with talk(server_class=server_class, **IN_CLEAR) as client:
        assert (await offer(client))["AUTH"] == "PLAIN LOGIN"


async def test_it_is_offered_on_tls_by_default() -> None:
    async with talk(authenticator=one_user, extra=on_tls()) as client:
        assert (await offer(client))["AUTH"] == "PLAIN LOGIN"
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == GRANTED


async def test_with_nobody_to_ask_it_is_no_command() -> None:
    async with talk(extra=on_tls()) as client:
        assert "AUTH" not in await offer(client)
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == "502 5.5.1 Command not implemented"
        assert (await client.ask("MAIL FROM:<a@example.com> AUTH=<>")).startswith("555 5.5.4 ")


async def test_without_tls_it_says_that_starttls_would_help() -> None:
    async with talk(authenticator=one_user, tls_context=starttls_context()) as client:
        assert "AUTH" not in await offer(client)
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("538 5.7.11 ")


async def test_where_starttls_would_not_help_it_is_no_command() -> None:
    async with talk(authenticator=one_user) as client:
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("502 5.5.1 ")


async def test_mechanisms_can_be_excluded() -> None:
    async with talk(auth_exclude_mechanism=["plain"], **IN_CLEAR) as client:
        assert (await offer(client))["AUTH"] == "LOGIN"
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == "504 5.5.4 Unrecognized authentication type"


async def test_when_all_are_excluded_it_is_not_offered() -> None:
    async with talk(auth_exclude_mechanism=["PLAIN", "LOGIN"], **IN_CLEAR) as client:
        assert "AUTH" not in await offer(client)
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("502 ")


# When


async def test_it_needs_ehlo() -> None:
    async with talk(is_greeted=False, **IN_CLEAR) as client:
        await client.hear()
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("503 5.5.1 ")
        await client.ask("HELO client.example")
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("503 5.5.1 ")


async def test_it_is_not_allowed_inside_a_transaction() -> None:
    # RFC 4954 §4: "An AUTH command issued during a mail transaction MUST be rejected with a 503 reply."
    async with talk(**IN_CLEAR) as client:
        await client.begin()
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("503 5.5.1 ")
        assert not client.server.session.authenticated
        assert client.server.envelope.rcpt_tos == ["to@example.com"]


async def test_it_succeeds_once() -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == GRANTED
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == "503 5.5.1 Already authenticated"


@pytest.mark.parametrize("command", ["EHLO client.example", "RSET", "HELO client.example"])
async def test_who_is_authenticated_stays_so(command: str) -> None:
    async with talk(**IN_CLEAR) as client:
        await client.ask(f"AUTH PLAIN {PLAIN}")
        await client.ask(command)
        assert client.server.session.authenticated
        assert client.server.session.login == "ann"


@pytest.mark.filterwarnings("ignore:auth_required without")
async def test_where_it_is_required_nothing_else_works_before_it() -> None:
    async with talk(auth_required=True, **IN_CLEAR) as client:
        for command in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA", "VRFY a", "EXPN a", "HELP"):
            assert await client.ask(command) == "530 5.7.0 Authentication required"
        for command in ("EHLO client.example", "NOOP", "RSET"):
            assert (await client.ask(command)).startswith("250")
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == GRANTED
        assert (await client.send("Hello")).startswith("250 ")


# The exchange


@pytest.mark.parametrize("command", ["AUTH", "AUTH ", f"AUTH PLAIN {PLAIN} x"])
async def test_it_takes_one_word_or_two(command: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask(command) == SYNTAX


@pytest.mark.parametrize("name", ["PLAIN", "plain", "Plain"])
async def test_names_of_mechanisms_have_no_case(name: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask(f"auth {name} {PLAIN}") == GRANTED


@pytest.mark.parametrize("name", ["XYZZY", "CRAM-MD5", "SCRAM-SHA-256", "EXTERNAL", "PLA\u0131N"])
async def test_what_is_not_offered_cannot_be_used(name: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask(f"AUTH {name}") == "504 5.5.4 Unrecognized authentication type"


async def test_without_an_initial_response_there_is_an_empty_challenge() -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask("AUTH PLAIN") == "334 "
        assert await client.ask(PLAIN) == GRANTED


async def test_an_equals_sign_is_an_empty_response() -> None:
    # RFC 4954 §4.  It is not the same as none: there is no challenge.
    async with talk(**IN_CLEAR) as client:
        assert (await client.ask("AUTH PLAIN =")).startswith("501 ")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_star_cancels(mechanism: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert (await client.ask(f"AUTH {mechanism}")).startswith("334 ")
        assert await client.ask("*") == "501 5.7.0 Authentication cancelled"
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == GRANTED


@pytest.mark.parametrize("response", ["!", "a", "YWI", "YWI==", "YWJj YWJj", "=", "*x", "YW Jj", "ü"])
async def test_what_is_no_base64_ends_the_exchange(response: str) -> None:
    async with talk(**IN_CLEAR) as client:
        await client.ask("AUTH PLAIN")
        assert await client.ask(response) == "501 5.5.2 Cannot decode base64"
        assert await client.is_usable()


@pytest.mark.parametrize("response", ["!", "a", "YWI", "YWI==", "*"])
async def test_the_same_in_an_initial_response(response: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask(f"AUTH PLAIN {response}") == "501 5.5.2 Cannot decode base64"
        assert await client.is_usable()


@pytest.mark.parametrize("octets", [b"\0", b"a\rb", b"a\nb", b"\xff"])
async def test_octets_that_are_no_line_end_the_exchange(octets: bytes) -> None:
    async with talk(**IN_CLEAR) as client:
        await client.ask("AUTH PLAIN")
        await client.feed(octets + b"\r\n")
        assert (await client.hear()).startswith("501" if octets == b"\xff" else "500")
        assert await client.is_usable()


def padded(size: int) -> str:
    """Base64 of so many characters, of what is no message of PLAIN."""
    return "AAAA" * (size // 4)


async def test_a_line_of_an_exchange_may_have_12288_octets() -> None:
    # RFC 4954 §4.
    async with talk(**IN_CLEAR) as client:
        await client.ask("AUTH PLAIN")
        assert await client.ask(padded(12_284)) == "501 5.5.2 Malformed authentication response"
        await client.ask("AUTH PLAIN")
        assert await client.ask(padded(12_288)) == "500 5.5.6 Authentication exchange line is too long"
        assert await client.is_usable()


async def test_so_may_the_command_with_an_initial_response() -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask(f"AUTH PLAIN {padded(12_272)}") == "501 5.5.2 Malformed authentication response"
        assert (await client.ask(f"AUTH PLAIN {padded(12_288)}")).startswith("500 ")
        assert await client.is_usable()


async def test_no_other_command_may_be_so_long() -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask(f"NOOP {padded(600)}") == "500 5.5.2 Line too long"


# Failures


async def test_too_many_failures_end_the_session() -> None:
    async with talk(auth_failure_limit=3, **IN_CLEAR) as client:
        await client.say(*[f"AUTH PLAIN {WRONG}"] * 5)
        assert await client.hear_all() == [
            *[DENIED] * 3,
            "421 4.7.0 Too many authentication failures, closing connection",
        ]


async def test_fewer_than_three_failures_are_never_too_many() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        async with talk(auth_failure_limit=2):
            pass


async def test_cancelled_and_malformed_exchanges_are_errors_but_no_failures() -> None:
    async with talk(auth_failure_limit=3, error_limit=10, **IN_CLEAR) as client:
        await client.say(*["AUTH PLAIN", "*"] * 4)
        assert codes(await hear_many(client, 8)) == ["334", "501"] * 4
        await client.say(*["AUTH PLAIN !"] * 6)
        assert codes(await client.hear_all()) == ["501"] * 6 + ["421"]


async def test_a_failure_leaves_nobody_logged_in() -> None:
    async with talk(**IN_CLEAR) as client:
        assert await client.ask(f"AUTH PLAIN {WRONG}") == DENIED
        session = client.server.session
        assert (session.authenticated, session.login, session.auth_data) == (False, None, None)


# Who is asked


class Answers:
    """Authenticators in all forms that there are."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[str, Any]] = []
        self.threads: list[int] = []

    async def coroutine(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> Any:
        return self.plain(server, session, envelope, mechanism, data)

    def plain(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> Any:
        self.threads.append(threading.get_ident())
        self.calls.append((mechanism, data))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("form", ["coroutine", "plain"])
@pytest.mark.parametrize("answer", [True, False, AuthResult(success=True), AuthResult(success=False)])
async def test_an_authenticator_may_wait_or_block(form: str, answer: bool | AuthResult) -> None:
    answers = Answers(answer)
    async with talk(authenticator=getattr(answers, form), auth_require_tls=False) as client:
        is_granted = answer if isinstance(answer, bool) else answer.success
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == (GRANTED if is_granted else DENIED)
        assert client.server.session.authenticated is is_granted
    assert answers.calls == [("PLAIN", LoginPassword(b"ann", b"secret"))]
    # What may block is not called in the loop.
    assert (answers.threads == [threading.get_ident()]) is (form == "coroutine")


async def test_the_session_keeps_what_the_authenticator_gave() -> None:
    answers = Answers(AuthResult(success=True, auth_data={"uid": 7}, message="235 2.7.0 Hello Ann"))
    async with talk(authenticator=answers.coroutine, auth_require_tls=False) as client:
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == "235 2.7.0 Hello Ann"
        assert client.server.session.auth_data == {"uid": 7}


async def test_an_authenticator_may_say_why_not() -> None:
    answers = Answers(AuthResult(success=False, message="454 4.7.0 The directory is away"))
    async with talk(authenticator=answers.coroutine, auth_require_tls=False) as client:
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == "454 4.7.0 The directory is away"


@pytest.mark.parametrize("answer", [RuntimeError("details"), None, "yes", 1, object()])
async def test_an_authenticator_that_fails_lets_nobody_in(answer: Any) -> None:
    answers = Answers(answer)
    async with talk(authenticator=answers.coroutine, auth_require_tls=False) as client:
        assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("454 4.7.0 ")
        assert not client.server.session.authenticated
        assert await client.is_usable()


class OwnMechanisms(Nothing):
    """Has mechanisms of its own."""

    async def auth_X__OWN(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802
        answer = await server.challenge_auth("What?")
        await server.push("235 2.7.0 Said in person" if answer == b"this" else "535 5.7.8 No")
        return AuthResult(success=answer == b"this", handled=True, auth_data=answer)

    @auth_mechanism("x_other-1")
    async def auth_other(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=len(args) == 2)


async def test_a_handler_may_bring_mechanisms() -> None:
    async with talk(OwnMechanisms(), auth_require_tls=False) as client:
        assert set((await offer(client))["AUTH"].split()) == {"X-OWN", "X_OTHER-1"}
        assert await client.ask("AUTH x-own") == "334 " + base64.b64encode(b"What?").decode()
        assert await client.ask(base64.b64encode(b"that").decode()) == "535 5.7.8 No"
        assert await client.ask("AUTH X_OTHER-1") == DENIED
        await client.ask("AUTH X-OWN")
        assert await client.ask(base64.b64encode(b"this").decode()) == "235 2.7.0 Said in person"
        assert client.server.session.auth_data == b"this"


async def test_a_handler_may_take_the_whole_command() -> None:
    class Simple(Nothing):
        async def handle_AUTH(self, server: SMTP, session: Session, envelope: Envelope, args: list[str]) -> str | None:
            return {"let-me-in": "235 2.7.0 OK", "go-on": None}.get(args[1], "535 5.7.8 No")

    async with talk(Simple(), **IN_CLEAR) as client:
        assert await client.ask("AUTH PLAIN please") == "535 5.7.8 No"
        assert await client.ask("AUTH PLAIN let-me-in") == "235 2.7.0 OK"
        assert client.server.session.authenticated


# AUTH= of MAIL


async def mail(client: Client, option: str) -> str | None:
    """The typed value of an option that must be accepted."""
    assert await client.ask(f"MAIL FROM:<a@example.com> {option}") == "250 2.1.0 OK"
    assert client.server.envelope.mail_options == [option]
    return client.server.envelope.mail_parameters.auth


@pytest.mark.parametrize(
    ("option", "identity"),
    [
        ("AUTH=<>", ""),
        ("auth=ann@example.com", "ann@example.com"),
        ("AUTH=ann+2Btag@example.com", "ann+tag@example.com"),
        ("AUTH=<ann@example.com>", "<ann@example.com>"),
        ("AUTH=e+3Dmc2@example.com", "e=mc2@example.com"),
    ],
)
async def test_the_parameter_is_decoded(option: str, identity: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert await mail(client, option) == identity


async def test_the_parameter_needs_no_authentication() -> None:
    # RFC 4954 §5: a server that does not trust the client parses it and goes on as if it were "<>".
    async with talk(**IN_CLEAR) as client:
        assert await mail(client, "AUTH=boss@example.com") == "boss@example.com"
        assert not client.server.session.authenticated


@pytest.mark.parametrize("value", ["", "=", "=a+b@example.com", "=a+0D+0Ab", "=jörg@example.com", "=<> AUTH=<>"])
async def test_what_is_no_parameter_is_refused(value: str) -> None:
    async with talk(**IN_CLEAR) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> AUTH{value}")).startswith("501 5.5.4 ")


async def test_the_parameter_may_be_500_octets_long() -> None:
    # RFC 4954 §3 (5).
    async with talk(**IN_CLEAR) as client:
        assert await mail(client, f"AUTH={'x' * 490}") == "x" * 490


# What nobody may see


@pytest.mark.parametrize("response", [PLAIN, WRONG, base64.b64encode(b"ann\0secret").decode(), "c2VjcmV0!"])
async def test_credentials_are_not_logged(response: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with talk(Recorder(), **IN_CLEAR) as client:
            await client.ask(f"AUTH PLAIN {response}")
            if not client.server.session.authenticated:
                await client.ask("AUTH LOGIN")
                await client.ask(base64.b64encode(b"ann").decode())
                await client.ask("c2VjcmV0")
            await client.send("Hello")
    assert caplog.records
    for secret in ("secret", "hunter3", response, "c2VjcmV0"):
        assert secret not in caplog.text
