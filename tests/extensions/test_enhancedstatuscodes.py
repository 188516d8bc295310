"""ENHANCEDSTATUSCODES (RFC 2034, RFC 3463): a code of the right class on every line of 2yz, 4yz and 5yz after EHLO.

Never on the greeting, the replies to HELO, EHLO and LHLO, and 3yz.
"""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP, Envelope, LoginPassword, Reply, Session
from tests.extensions.support import ENHANCED, offer, on_tls
from tests.support import Client, Nothing, pass_time, talk, wire, with_fake_clock

# All of what a client can say, well and badly; the session survives it.
LINES = (
    "NOOP", "HELP", "HELP MAIL", "HELP NONSENSE", "VRFY a", "VRFY", "EXPN a", "EXPN", "RSET", "RSET x", "QUIT x",
    "NONSENSE", "", "ETRN x", "STARTTLS", "STARTTLS x", "AUTH", "AUTH XYZZY", "AUTH PLAIN !", "AUTH PLAIN AGEAYg==",
    "AUTH PLAIN", "*", "AUTH LOGIN", "!", "XCLIENT NAME=x", "XFORWARD NAME=x",
    "RCPT TO:<b@example.com>", "DATA", "BDAT 0 LAST", "MAIL FROM:<", "MAIL FROM:<a@example.com> X=Y",
    "MAIL FROM:<a@example.com> SIZE=x", "MAIL FROM:<ü@example.com>", "MAIL FROM:<a@example.com> SIZE=1000000",
    "MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", "DATA", "RCPT TO:<", "RCPT TO:<b@example.com> X=Y",
    "RCPT TO:<b@example.com>", "DATA x", "DATA", "Hello", ".",
    "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA", *["Hello"] * 20, ".",
    "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "BDAT 1", "XBDAT 1 LAST", "X",
)  # fmt: skip
CODES = {"214", "250", "252", "334", "354", "500", "501", "502", "503", "504", "535", "550", "552", "553", "555"}


async def nobody(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return False


def check(line: str) -> None:
    """A line of a reply has a code of its class, or is a 3yz and has none."""
    code, _, text = line[:3], line[3], line[4:]
    word = text.partition(" ")[0]
    if code.startswith("3"):
        assert not ENHANCED.fullmatch(word), line
    else:
        assert ENHANCED.fullmatch(word), line
        assert word[0] == code[0], line


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
@pytest.mark.parametrize("extra", [{}, on_tls()], ids=["plain", "tls"])
async def test_it_is_always_offered(server_class: type[SMTP], extra: dict[str, object]) -> None:
    async with talk(server_class=server_class, extra=extra) as client:
        assert (await offer(client))["ENHANCEDSTATUSCODES"] == ""


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_every_reply_after_the_greetings_has_one(server_class: type[SMTP]) -> None:
    lines: list[str] = []
    async with talk(
        server_class=server_class,
        authenticator=nobody,
        auth_require_tls=False,
        data_size_limit=100,
        auth_failure_limit=100,
    ) as client:
        # One by one: what is pipelined behind a DATA that is refused ends the session.
        for line in LINES:
            await client.say(line)
            lines += client.said()
        lines += (await client.ask("QUIT")).splitlines()
    assert {line[:3] for line in lines} >= CODES
    for line in lines:
        check(line)


async def test_a_farewell_has_one_too() -> None:
    async with talk(error_limit=1) as client:
        await client.say("NONSENSE")
        assert await client.hear_all() == [
            "500 5.5.1 Command not recognized",
            "421 4.7.0 Too many errors, closing connection",
        ]


@with_fake_clock
async def test_a_time_out_has_one_too() -> None:
    async with talk(timeout=10) as client:
        await pass_time(11)
        assert await client.hear() == "421 4.4.2 Timeout, closing connection"


async def test_greetings_have_none() -> None:
    async with talk(is_greeted=False) as client:
        assert await client.hear() == "220 mx.test ESMTP ehlo"
        assert await client.ask("HELO client.example") == "250 mx.test"
        for line in (await client.ask("EHLO client.example")).splitlines():
            assert not ENHANCED.match(line[4:])


class Unwelcoming(Nothing):
    """Refuses to greet, with the statuses that it is given."""

    def __init__(self, connect: str | None = None, helo: str | None = None) -> None:
        self.connect = connect
        self.helo = helo

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> str | None:
        return self.connect

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> str | None:
        return self.helo

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> str | None:
        return self.helo


@pytest.mark.parametrize("status", ["550 Not you", "550 5.7.1 Not you"])
@pytest.mark.parametrize("verb", ["HELO", "EHLO"])
async def test_a_refused_greeting_has_none_either(verb: str, status: str) -> None:
    # RFC 2034 §4: all but "the initial greeting and any response to HELO or EHLO".
    async with talk(Unwelcoming(helo=status), is_greeted=False) as client:
        await client.hear()
        assert await client.ask(f"{verb} client.example") == "550 Not you"


async def test_nor_has_what_is_wrong_with_helo_and_ehlo() -> None:
    async with talk(is_greeted=False) as client:
        await client.hear()
        assert await client.ask("HELO") == "501 Syntax: HELO hostname"
        assert await client.ask("EHLO") == "501 Syntax: EHLO hostname"


@pytest.mark.parametrize("status", ["554 Not you", "554 5.7.1 Not you"])
async def test_a_refusal_to_serve_has_none_and_what_stands_has_one(status: str) -> None:
    async with talk(Unwelcoming(connect=status), is_greeted=False) as client:
        assert await client.hear() == "554 Not you"
        assert await client.ask("NOOP") == "503 5.5.1 No service here"
        assert await client.ask("EHLO client.example") == "503 No service here"


class Says(Nothing):
    """Answers everything with the same status."""

    def __init__(self, status: str | Reply) -> None:
        self.status = status

    async def _say(self, *_: object) -> str | Reply:
        return self.status

    handle_MAIL = handle_RCPT = handle_DATA = handle_VRFY = handle_EXPN = handle_NOOP = _say
    handle_HELP = handle_RSET = handle_ETRN = handle_AUTH = handle_QUIT = _say


async def replies(client: Client) -> list[str]:
    """To one of each verb that a hook answers."""
    await client.feed(
        wire("NOOP", "HELP", "VRFY a", "EXPN a", "RSET", "ETRN a", "AUTH PLAIN AGEAYg==", "MAIL FROM:<a@example.com>")
    )
    said = client.said()
    # What a hook refuses did not happen: these need no more than a beginning.
    client.server.envelope.mail_from = "a@example.com"
    await client.feed(wire("RCPT TO:<b@example.com>"))
    said += client.said()
    client.server.envelope.rcpt_tos = ["b@example.com"]
    await client.feed(wire("BDAT 0 LAST", "QUIT"))
    return said + client.said()


@pytest.mark.parametrize("code", ["250", "451", "550"])
async def test_a_hooks_status_without_one_gets_the_class(code: str) -> None:
    async with talk(Says(f"{code} Because"), authenticator=nobody, auth_require_tls=False) as client:
        said = await replies(client)
        assert said == [f"{code} {code[0]}.0.0 Because"] * 11


@pytest.mark.parametrize("status", ["250 2.7.3 Because", "451 4.7.3 Because", "550 5.7.3 Because"])
async def test_a_hooks_status_with_one_keeps_it(status: str) -> None:
    async with talk(Says(status), authenticator=nobody, auth_require_tls=False) as client:
        assert await replies(client) == [status] * 11


async def test_it_is_on_every_line_of_a_reply() -> None:
    async with talk(Says(Reply(550, "5.7.1", ("One", "Two", "Three")))) as client:
        assert await client.ask("NOOP") == "550-5.7.1 One\n550-5.7.1 Two\n550 5.7.1 Three"


async def test_a_code_of_another_class_is_the_hooks_mistake() -> None:
    async with talk(Says("550 2.0.0 Because")) as client:
        assert await client.ask("NOOP") == "451 4.3.0 Internal error, try again later"


async def test_what_only_looks_like_one_is_text() -> None:
    async with talk(Says("250 2.0 is the version")) as client:
        assert await client.ask("NOOP") == "250 2.0.0 2.0 is the version"
