# ruff: noqa: N802, N815 - methods are named as their mechanisms are
"""AUTH: who is asked, what the client is told, what is recorded, and that no password is ever in the log."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import SMTP, AuthResult, Disconnect, Envelope, LoginPassword, Reply, Session, Settings, auth_mechanism
from ehlo.errors import ProtocolError
from tests.support import Nothing, Recorder, in_callback, pass_time, talk, with_fake_clock

if TYPE_CHECKING:
    from ehlo.protocol import sasl
    from tests.support import Client

SUCCESS = "235 2.7.0 Authentication successful"
FAILURE = "535 5.7.8 Authentication credentials invalid"
INTERNAL_ERROR = "454 4.7.0 Temporary authentication failure"
SECRET = "correct horse battery staple"


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def plain_response(login: str = "ann", password: str = SECRET, authzid: str = "") -> str:
    return b64(f"{authzid}\0{login}\0{password}")


def is_right(credentials: LoginPassword) -> bool:
    return credentials == LoginPassword(b"ann", SECRET.encode())


async def by_coroutine(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> AuthResult:
    assert threading.current_thread() is threading.main_thread()
    return AuthResult(success=is_right(credentials), auth_data=("ann's data", mechanism))


def by_function(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> AuthResult:
    assert threading.current_thread().name.startswith("ehlo-hook")
    return AuthResult(success=is_right(credentials), auth_data=("ann's data", mechanism))


async def by_bool(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return is_right(credentials)


class ByObject:
    async def check_password(self, question: sasl.CheckPassword, session: Session) -> bool:
        return question.user == "ann" and question.password == SECRET


class ByObjectInThread:
    def check_password(self, question: sasl.CheckPassword, session: Session) -> AuthResult:
        assert threading.current_thread().name.startswith("ehlo-hook")
        return AuthResult(success=is_right(question.credentials), auth_data=("ann's data", "?"))


class ByCallable:
    async def __call__(self, *args: Any) -> bool:
        return is_right(args[-1])


AUTHENTICATORS = [by_coroutine, by_function, by_bool, ByObject(), ByObjectInThread(), ByCallable()]


def open_to(authenticator: Any, **more: Any) -> Any:
    """Parameters for ``talk``: AUTH on plain connections."""
    return {"authenticator": authenticator, "auth_require_tls": False, **more}


async def login(client: Client, mechanism: str, password: str = SECRET, *, has_initial: bool = False) -> str:
    """One exchange; the reply to it."""
    if mechanism == "PLAIN":
        if has_initial:
            return await client.ask(f"AUTH PLAIN {plain_response(password=password)}")
        assert await client.ask("AUTH PLAIN") == "334 "
        return await client.ask(plain_response(password=password))
    if has_initial:
        assert await client.ask(f"AUTH LOGIN {b64('ann')}") == f"334 {b64('Password:')}"
    else:
        assert await client.ask("AUTH LOGIN") == f"334 {b64('Username:')}"
        assert await client.ask(b64("ann")) == f"334 {b64('Password:')}"
    return await client.ask(b64(password))


each_mechanism = pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
each_way = pytest.mark.parametrize("has_initial", [False, True], ids=["asked", "initial"])
each_authenticator = pytest.mark.parametrize(
    "authenticator", AUTHENTICATORS, ids=lambda one: getattr(one, "__name__", type(one).__name__)
)


@each_mechanism
@each_way
@each_authenticator
async def test_whoever_knows_the_password_is_let_in(authenticator: Any, mechanism: str, has_initial: bool) -> None:
    async with talk(**open_to(authenticator)) as client:
        session = client.server.session
        assert await login(client, mechanism, "wrong", has_initial=has_initial) == FAILURE
        assert (session.authenticated, session.login, session.auth_data) == (False, None, None)
        assert await login(client, mechanism, has_initial=has_initial) == SUCCESS
        assert (session.authenticated, session.login) == (True, "ann")
        assert session.auth_data is not None
        if authenticator in {by_coroutine, by_function}:
            assert session.auth_data == ("ann's data", mechanism)
        assert await client.ask("AUTH PLAIN") == "503 5.5.1 Already authenticated"
        assert (await client.send("Hello")).startswith("250")


@each_mechanism
@each_way
async def test_no_password_is_in_the_log(mechanism: str, has_initial: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Not in clear, not in base64; also not when it is wrong, or when the exchange goes wrong, or the server."""

    async def fails(*args: Any) -> bool:
        raise ConnectionError("no database")

    async def returns_nothing(*args: Any) -> None:
        return None

    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    wrong = "not the password"
    for authenticator in (by_coroutine, by_function, fails, returns_nothing):
        async with talk(**open_to(authenticator)) as client:
            await login(client, mechanism, wrong, has_initial=has_initial)
            await login(client, mechanism, has_initial=has_initial)
            await client.ask(f"AUTH XYZZY {plain_response()}")
            await client.ask(f"AUTH PLAIN {plain_response()} again")
            await client.ask(f"AUTH PLAIN {plain_response()}!")
            await client.ask(f"AUTH PLAIN {b64('too' + SECRET)}")
            await client.ask(b64(SECRET))
            await client.ask("MAIL FROM:<a@example.com>")
            await client.ask(f"AUTH PLAIN {plain_response()}")
            await client.ask("QUIT")
    text = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records) + caplog.text
    assert client.server.session.id in text
    for secret in (SECRET, wrong):
        for spelling in (secret, b64(secret), plain_response(password=secret), b64(f"\0ann\0{secret}")[8:-4]):
            assert spelling not in text
    assert repr(LoginPassword(b"ann", SECRET.encode())) == "LoginPassword(login='ann', password=...)"


@pytest.mark.parametrize("answer", ["*", "* "])
@each_mechanism
async def test_a_client_may_cancel(mechanism: str, answer: str) -> None:
    async with talk(**open_to(by_coroutine)) as client:
        assert (await client.ask(f"AUTH {mechanism}")).startswith("334")
        reply = await client.ask(answer)
        assert reply == ("501 5.7.0 Authentication cancelled" if answer == "*" else "501 5.5.2 Cannot decode base64")
        assert await client.is_usable()
        assert await login(client, mechanism) == SUCCESS


@pytest.mark.parametrize("text", ["!", "YQ", "YQ=", "Y Q=", "YQ==\t", "ä", "=", "YQ==YQ=="])
async def test_what_is_no_base64_ends_the_exchange(text: str) -> None:
    async with talk(**open_to(by_coroutine)) as client:
        assert await client.ask("AUTH PLAIN") == "334 "
        assert (await client.ask(text))[:9] == "501 5.5.2"
        assert await client.is_usable()
        if " " not in text:
            assert (await client.ask(f"AUTH PLAIN {text}"))[:9] == "501 5.5.2"
        assert await login(client, "PLAIN") == SUCCESS


async def test_bad_lines_end_the_exchange_too() -> None:
    async with talk(**open_to(by_coroutine)) as client:
        for line in (b"YQ\0==\r\n", b"YQ\n==\r\n", b"YQ\r==\r\n"):
            assert await client.ask("AUTH PLAIN") == "334 "
            await client.feed(line)
            assert (await client.hear()).startswith("500 5.5.2")
            assert await client.is_usable()


async def test_an_answer_that_is_too_long_ends_the_exchange() -> None:
    """RFC 4954 §4: 12288 octets, with CRLF here."""
    async with talk(**open_to(by_coroutine)) as client:
        assert await client.ask("AUTH PLAIN") == "334 "
        assert await client.ask("A" * 12_287) == "500 5.5.6 Authentication exchange line is too long"
        assert await client.is_usable()
        assert await client.ask("AUTH PLAIN") == "334 "
        await client.feed(b"A" * 100_000)
        assert await client.hear() == "500 5.5.6 Authentication exchange line is too long"
        await client.feed(b"A" * 100_000 + b"\r\n")
        assert await client.is_usable()
        assert await client.ask("AUTH PLAIN") == "334 "
        assert await client.ask("A" * 12_284) == "501 5.5.2 Malformed authentication response"
        assert await client.ask("AUTH PLAIN " + "A" * 12_300) == "500 5.5.2 Line too long"
        assert await login(client, "PLAIN") == SUCCESS


async def test_an_empty_initial_response_is_an_equals_sign() -> None:
    async with talk(**open_to(by_coroutine)) as client:
        assert await client.ask("AUTH PLAIN =") == "501 5.5.2 Malformed authentication response"
        assert await client.ask("AUTH LOGIN =") == f"334 {b64('Password:')}"
        assert await client.ask(b64(SECRET)) == FAILURE


async def test_nobody_acts_as_another_unless_the_authenticator_says_so() -> None:
    async with talk(**open_to(by_coroutine)) as client:
        assert await client.ask(f"AUTH PLAIN {plain_response(authzid='bob')}") == FAILURE
        assert not client.server.session.authenticated
        assert await client.ask(f"AUTH PLAIN {plain_response(authzid='ann')}") == SUCCESS

    class Steward(ByObject):
        async def authorize(self, question: sasl.Authorize, session: Session) -> bool:
            return True

    async with talk(**open_to(Steward())) as client:
        assert await client.ask(f"AUTH PLAIN {plain_response(authzid='bob')}") == SUCCESS
        assert client.server.session.login == "bob"


# -- Limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [3, 5])
async def test_too_many_wrong_passwords_end_the_session(limit: int) -> None:
    async with talk(handler := Recorder(), **open_to(by_coroutine, auth_failure_limit=limit)) as client:
        for _ in range(limit):
            assert await login(client, "PLAIN", "wrong") == FAILURE
        assert await client.hear_all() == ["421 4.7.0 Too many authentication failures, closing connection"]
    assert handler.reasons == [Disconnect.ERRORS]


async def test_failures_are_counted_over_greetings() -> None:
    async with talk(**open_to(by_coroutine, auth_failure_limit=3)) as client:
        for _ in range(3):
            await client.ask("EHLO client.example")
            assert await login(client, "LOGIN", "wrong") == FAILURE
        assert (await client.hear()).startswith("421 ")


async def test_exchanges_that_break_the_rules_count_as_errors() -> None:
    async with talk(**open_to(by_coroutine, error_limit=3)) as client:
        for _ in range(3):
            await client.ask("AUTH PLAIN")
            assert (await client.ask("*")).startswith("501")
        assert await client.hear() == "421 4.7.0 Too many errors, closing connection"


# -- When there is no AUTH ----------------------------------------------------------------------------------


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@pytest.mark.parametrize(
    ("parameters", "code", "is_offered"),
    [
        ({}, "502", False),
        ({"auth_require_tls": False}, "502", False),
        ({"tls_context": True}, "502", False),
        ({"authenticator": by_bool}, "502", False),
        ({"authenticator": by_bool, "tls_context": True}, "538", False),
        ({"authenticator": by_bool, "tls_context": True, "auth_require_tls": False}, "334", True),
        ({"authenticator": by_bool, "auth_require_tls": False}, "334", True),
        ({"authenticator": by_bool, "auth_require_tls": False, "auth_exclude_mechanism": ["PLAIN"]}, "504", True),
        (
            {"authenticator": by_bool, "auth_require_tls": False, "auth_exclude_mechanism": ["plain", "LOGIN"]},
            "502",
            False,
        ),
    ],
)
async def test_what_auth_is_told_where_it_is_not_offered(
    parameters: dict[str, Any], code: str, is_offered: bool
) -> None:
    """502 where there is none, 538 only where STARTTLS would help, 504 for one that is not among those offered."""
    if parameters.get("tls_context"):
        parameters = {**parameters, "tls_context": context()}
    async with talk(is_greeted=False, **parameters) as client:
        await client.hear()
        assert ("AUTH" in await client.ask("EHLO client.example")) is is_offered
        assert (await client.ask("AUTH PLAIN"))[:3] == code


async def test_auth_needs_ehlo() -> None:
    async with talk(is_greeted=False, **open_to(by_bool)) as client:
        await client.hear()
        assert (await client.ask("AUTH PLAIN")).startswith("503 ")
        await client.ask("HELO client.example")
        assert await client.ask("AUTH PLAIN") == "503 5.5.1 Say EHLO first"


async def test_auth_has_no_place_in_a_transaction() -> None:
    async with talk(**open_to(by_bool)) as client:
        await client.begin()
        assert await client.ask("AUTH PLAIN") == "503 5.5.1 Not allowed inside a transaction"
        assert client.server.envelope.rcpt_tos == ["to@example.com"]


@pytest.mark.parametrize("line", ["AUTH", "AUTH PLAIN a b", "AUTH  "])
async def test_auth_has_one_word_or_two(line: str) -> None:
    async with talk(**open_to(by_bool)) as client:
        assert await client.ask(line) == "501 5.5.4 Syntax: AUTH <mechanism> [initial-response]"


@pytest.mark.parametrize("name", ["XYZZY", "PLAINER", "methods", "MECHANISM", "CRAM-MD5", "Ä"])
async def test_other_mechanisms_are_not_known(name: str) -> None:
    async with talk(**open_to(by_bool)) as client:
        assert await client.ask(f"AUTH {name}") == "504 5.5.4 Unrecognized authentication type"


async def test_what_comes_in_a_group_is_answered_in_order() -> None:
    """RFC 4954 §4: AUTH with an initial response need not be the last of its group."""
    async with talk(**open_to(by_bool)) as client:
        await client.say(f"AUTH PLAIN {plain_response()}", "MAIL FROM:<a@example.com>")
        assert await client.hear() == SUCCESS
        assert await client.hear() == "250 2.1.0 OK"


# -- What the authenticator answers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "reply", "is_in"),
    [
        (AuthResult(success=True, message="235 2.7.0 Welcome, Ann"), "235 2.7.0 Welcome, Ann", True),
        (AuthResult(success=False, message="454 4.7.0 Try later"), "454 4.7.0 Try later", False),
        (AuthResult(success=True), SUCCESS, True),
        (AuthResult(success=False), FAILURE, False),
        (True, SUCCESS, True),
        (False, FAILURE, False),
        (None, INTERNAL_ERROR, False),
        ("yes", INTERNAL_ERROR, False),
        (1, INTERNAL_ERROR, False),
    ],
)
async def test_the_authenticator_decides_with_a_result_or_a_bool(result: Any, reply: str, is_in: bool) -> None:
    async def authenticator(*args: Any) -> Any:
        return result

    async with talk(**open_to(authenticator)) as client:
        assert await login(client, "PLAIN") == reply
        assert client.server.session.authenticated is is_in
        assert (client.server.session.login == "ann") is is_in
        assert await client.is_usable()


async def test_an_authenticator_that_forgets_to_wait_lets_nobody_in() -> None:
    def authenticator(*args: Any) -> Any:
        return [by_bool(*args).close()]

    async with talk(**open_to(authenticator)) as client:
        assert await login(client, "PLAIN") == INTERNAL_ERROR
        assert not client.server.session.authenticated


async def test_a_success_with_a_message_that_is_none_lets_nobody_in() -> None:
    """The client is told 454, so it must not be logged in."""

    async def authenticator(*args: Any) -> AuthResult:
        return AuthResult(success=True, message="welcome\r\n250 x")

    async with talk(**open_to(authenticator)) as client:
        assert await login(client, "PLAIN") == INTERNAL_ERROR
        session = client.server.session
        assert (session.authenticated, session.login, session.auth_data) == (False, None, None)


async def test_an_authenticator_may_say_the_reply_itself() -> None:
    async def authenticator(server: SMTP, *args: Any) -> AuthResult:
        await server.push("235 2.7.0 You again")
        return AuthResult(success=True, handled=True)

    async with talk(**open_to(authenticator)) as client:
        assert await login(client, "PLAIN") == "235 2.7.0 You again"
        assert client.said() == []
        assert client.server.session.authenticated


async def test_an_authenticator_that_fails_lets_nobody_in() -> None:
    async def authenticator(*args: Any) -> bool:
        raise ConnectionError("no database")

    async with talk(**open_to(authenticator)) as client:
        assert await login(client, "LOGIN") == INTERNAL_ERROR
        assert not client.server.session.authenticated
        assert await client.is_usable()


@with_fake_clock
async def test_an_authenticator_that_takes_too_long_lets_nobody_in() -> None:
    async def authenticator(*args: Any) -> bool:
        await asyncio.sleep(10_000)
        return True

    async with talk(**open_to(authenticator)) as client:
        await client.say(f"AUTH PLAIN {plain_response()}")
        await pass_time(541)
        assert await client.hear() == INTERNAL_ERROR
        assert not client.server.session.authenticated
        assert await client.is_usable()


async def test_an_authenticator_gets_what_hooks_get_and_the_credentials() -> None:
    calls: list[tuple[Any, ...]] = []

    async def authenticator(*args: Any) -> bool:
        calls.append(args)
        return True

    async with talk(**open_to(authenticator)) as client:
        await login(client, "LOGIN")
        server = client.server
        assert calls == [(server, server.session, server.envelope, "LOGIN", LoginPassword(b"ann", SECRET.encode()))]


def test_an_authenticator_is_a_function_or_answers_questions() -> None:
    with pytest.raises(TypeError, match="authenticator"):
        SMTP(Nothing(), authenticator=5)


async def test_the_client_may_go_amid_the_exchange() -> None:
    async with talk(handler := Recorder(), **open_to(by_bool)) as client:
        await client.ask("AUTH LOGIN")
        await in_callback(client.transport.feed_eof)
        assert await client.is_over()
    assert handler.reasons == [Disconnect.CLOSED]


async def test_the_server_may_stop_amid_the_exchange() -> None:
    async with talk(handler := Recorder(), **open_to(by_bool)) as client:
        await client.ask("AUTH LOGIN")
        await in_callback(client.server.stop)
        assert await client.hear_all() == ["421 4.3.2 Service shutting down, closing connection"]
    assert handler.reasons == [Disconnect.SHUTDOWN]


# -- handle_AUTH --------------------------------------------------------------------------------------------


class AuthHook:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.args: list[list[str]] = []

    async def handle_AUTH(self, server: SMTP, session: Session, envelope: Envelope, args: list[str]) -> Any:
        self.args.append(args)
        return self.answer


@pytest.mark.parametrize(
    ("answer", "reply", "is_in"),
    [
        ("235 2.7.0 Welcome", "235 2.7.0 Welcome", True),
        (Reply(235, "2.7.0", ("Welcome",)), "235 2.7.0 Welcome", True),
        ("535 5.7.8 No", "535 5.7.8 No", False),
        ("250 2.0.0 What?", "250 2.0.0 What?", False),
        ("fine", INTERNAL_ERROR, False),
    ],
)
async def test_handle_auth_may_do_it_all(answer: Any, reply: str, is_in: bool) -> None:
    async with talk(handler := AuthHook(answer), auth_require_tls=False, is_greeted=False) as client:
        await client.hear()
        assert "250-AUTH PLAIN LOGIN" in await client.ask("EHLO client.example")
        assert await client.ask("AUTH plain YQ==") == reply
        assert client.server.session.authenticated is is_in
        assert await client.is_usable()
    assert handler.args == [["plain", "YQ=="]]


async def test_handle_auth_may_decline() -> None:
    async with talk(AuthHook(None), **open_to(by_bool)) as client:
        assert await login(client, "PLAIN") == SUCCESS


# -- Mechanisms of one's own --------------------------------------------------------------------------------


class WithMechanisms(SMTP):
    async def auth_ECHO(self, _: Any, args: list[str]) -> AuthResult:
        first = await self.challenge_auth("say something")
        second = await self.challenge_auth(first)
        return AuthResult(success=first == second, auth_data=second)

    async def auth_WITH__DASH(self, _: Any, args: list[str]) -> AuthResult:
        return AuthResult(success=True, auth_data=args)

    @auth_mechanism("x-renamed")
    async def auth_other(self, _: Any, args: list[str]) -> AuthResult:
        return AuthResult(success=True, auth_data=args)

    def auth_INTHREAD(self, _: Any, args: list[str]) -> AuthResult:
        assert threading.current_thread().name.startswith("ehlo-hook")
        return AuthResult(success=True, auth_data=args)

    async def auth_RAW(self, _: Any, args: list[str]) -> AuthResult:
        await self.challenge_auth(b"as it is", False)
        return AuthResult(success=False, message="535 5.7.8 No, never")

    async def auth_NOTHING(self, _: Any, args: list[str]) -> None:
        return None

    async def auth_LOUD(self, _: Any, args: list[str]) -> AuthResult:
        return AuthResult(success=bool(await self.challenge_auth("?", log_client_response=True)))

    auth_NUMBER = 5

    async def auth_lowercase(self, _: Any, args: list[str]) -> None:
        raise AssertionError


async def test_a_method_of_a_subclass_is_a_mechanism() -> None:
    async with talk(server_class=WithMechanisms, auth_require_tls=False, is_greeted=False) as client:
        await client.hear()
        assert "250-AUTH ECHO INTHREAD LOUD NOTHING RAW WITH-DASH X-RENAMED\n" in await client.ask("EHLO x.example")
        assert await client.ask("AUTH echo") == f"334 {b64('say something')}"
        assert await client.ask(b64("abc")) == f"334 {b64('abc')}"
        assert await client.ask(b64("abc")) == SUCCESS
        assert client.server.session.auth_data == b"abc"


@pytest.mark.parametrize("name", ["WITH-DASH", "X-RENAMED", "INTHREAD"])
async def test_a_mechanism_gets_its_words(name: str) -> None:
    async with talk(server_class=WithMechanisms, auth_require_tls=False) as client:
        assert await client.ask(f"AUTH {name.lower()} YQ==") == SUCCESS
        assert client.server.session.auth_data == [name, "YQ=="]


async def test_a_challenge_may_be_sent_as_it_is() -> None:
    async with talk(server_class=WithMechanisms, auth_require_tls=False) as client:
        assert await client.ask("AUTH RAW") == "334 as it is"
        assert await client.ask("YQ==") == "535 5.7.8 No, never"


async def test_a_mechanism_that_returns_no_result_lets_nobody_in() -> None:
    async with talk(server_class=WithMechanisms, auth_require_tls=False) as client:
        assert await client.ask("AUTH NOTHING") == INTERNAL_ERROR
        assert not client.server.session.authenticated


async def test_a_response_is_not_in_the_log_even_if_that_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with talk(server_class=WithMechanisms, auth_require_tls=False) as client:
        assert await client.ask("AUTH LOUD") == f"334 {b64('?')}"
        assert await client.ask(b64(SECRET)) == SUCCESS
    assert SECRET not in caplog.text
    assert b64(SECRET) not in caplog.text


async def test_a_mechanism_may_be_excluded() -> None:
    parameters: Any = {"auth_require_tls": False, "auth_exclude_mechanism": ["ECHO"]}
    async with talk(server_class=WithMechanisms, is_greeted=False, **parameters) as client:
        await client.hear()
        assert "ECHO" not in await client.ask("EHLO client.example")
        assert (await client.ask("AUTH ECHO")).startswith("504 ")


class HandlerWithMechanisms:
    async def auth_MINE(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=await server.challenge_auth("?") == b"!", auth_data="mine")

    async def auth_PLAIN(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=True, auth_data="the handler's")


async def test_a_method_of_a_handler_is_a_mechanism_and_goes_before_the_servers() -> None:
    async with talk(HandlerWithMechanisms(), auth_require_tls=False, is_greeted=False) as client:
        await client.hear()
        assert "250-AUTH PLAIN MINE\n" in await client.ask("EHLO client.example")
        assert await client.ask("AUTH MINE") == f"334 {b64('?')}"
        assert await client.ask(b64("?")) == FAILURE
        assert await client.ask("AUTH PLAIN") == SUCCESS
        assert client.server.session.auth_data == "the handler's"


async def test_a_subclass_may_override_a_built_in_mechanism_and_needs_no_authenticator_then() -> None:
    class Mine(SMTP):
        async def auth_PLAIN(self, _: Any, args: list[str]) -> AuthResult:
            return AuthResult(success=args == ["PLAIN", "YQ=="])

    async with talk(server_class=Mine, auth_require_tls=False, is_greeted=False) as client:
        await client.hear()
        assert "250-AUTH PLAIN\n" in await client.ask("EHLO client.example")
        assert await client.ask("AUTH PLAIN YQ==") == SUCCESS


async def test_the_prompts_of_login_may_be_changed() -> None:
    class Prompting(SMTP):
        AuthLoginUsernameChallenge = "User Name\0"
        AuthLoginPasswordChallenge = "Password\0"

    async with talk(server_class=Prompting, **open_to(by_bool)) as client:
        assert await client.ask("AUTH LOGIN") == f"334 {b64('User Name' + chr(0))}"
        assert await client.ask(b64("ann")) == f"334 {b64('Password' + chr(0))}"
        assert await client.ask(b64(SECRET)) == SUCCESS


async def test_a_mechanism_may_raise_what_the_client_is_to_be_told() -> None:
    class Weak(ProtocolError):
        code = 534
        enhanced = "5.7.9"
        text = "Authentication mechanism is too weak"

    class Mine(SMTP):
        async def auth_WEAK(self, _: Any, args: list[str]) -> AuthResult:
            raise Weak

    async with talk(server_class=Mine, auth_require_tls=False) as client:
        assert await client.ask("AUTH WEAK") == "534 5.7.9 Authentication mechanism is too weak"


# -- What depends on whom -----------------------------------------------------------------------------------


async def test_what_is_forgotten_can_be_said_again() -> None:
    async with talk(**open_to(by_bool)) as client:
        assert await login(client, "PLAIN") == SUCCESS
        client.server.session.forget()
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("503 ")
        await client.ask("EHLO client.example")
        assert await login(client, "PLAIN") == SUCCESS


def test_passwords_in_clear_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="in clear"):
        Settings(auth_required=True, auth_require_tls=False, authenticator=by_coroutine)


async def test_a_login_that_somebody_refuses_later_is_forgotten() -> None:
    class Strict(HandlerWithMechanisms):
        async def auth_PLAIN(self, server: SMTP, args: list[str]) -> AuthResult:
            result = await server.auth_PLAIN(None, args)
            assert result.success
            return AuthResult(success=False)

    async with talk(Strict(), **open_to(by_bool)) as client:
        assert await login(client, "PLAIN") == FAILURE
        assert client.server.session.login is None
