"""VRFY, EXPN, HELP, NOOP (RFC 5321 §4.1.1) and ETRN (RFC 1985): sensible answers, and hooks for better ones."""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP, Envelope, Reply, Session
from tests.extensions.support import offer
from tests.support import Nothing, talk

CANNOT = "252 2.5.2 Cannot VRFY user, but will accept message and attempt delivery"
NOT_IMPLEMENTED = "502 5.5.1 Command not implemented"


class Helpful(Nothing):
    """Answers everything."""

    def __init__(self) -> None:
        self.args: list[str | None] = []

    async def _answer(self, server: SMTP, session: Session, envelope: Envelope, arg: str | None) -> Reply | str:
        self.args.append(arg)
        return Reply(250, "2.1.5", ("Ann <ann@example.com>", "Bob <bob@example.com>"))

    handle_VRFY = handle_EXPN = handle_HELP = handle_NOOP = _answer

    async def handle_ETRN(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str | None:
        self.args.append(arg)
        return {"example.com": "253 2.0.0 OK, 3 pending messages", "@decline": None}.get(arg, "459 4.0.0 Not allowed")


class Queues(Nothing):
    """Has a queue that nothing is in."""

    async def handle_ETRN(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
        return "251 2.0.0 OK, no messages waiting for node"


class Declines(Nothing):
    """Has hooks that answer nothing."""

    async def _answer(self, server: SMTP, session: Session, envelope: Envelope, arg: str | None) -> None:
        return None

    handle_VRFY = handle_EXPN = handle_HELP = handle_NOOP = handle_ETRN = _answer


TWO_LINES = "250-2.1.5 Ann <ann@example.com>\n250 2.1.5 Bob <bob@example.com>"


@pytest.mark.parametrize("handler", [Nothing(), Declines()])
@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("VRFY ann", CANNOT),
        ("vrfy Ann Smith <ann@example.com>", CANNOT),
        ("EXPN staff", NOT_IMPLEMENTED),
        ("NOOP", "250 2.0.0 OK"),
        ("NOOP whatever it is", "250 2.0.0 OK"),
        ("VRFY", "501 5.5.4 Syntax: VRFY <address>"),
        ("VRFY ", "501 5.5.4 Syntax: VRFY <address>"),
        ("EXPN", "501 5.5.4 Syntax: EXPN <list>"),
        ("HELP MAIL", "214 2.0.0 Syntax: MAIL FROM:<address> [SP <mail-parameters>]"),
        ("HELP mail", "214 2.0.0 Syntax: MAIL FROM:<address> [SP <mail-parameters>]"),
        ("HELP NONSENSE", "504 5.5.4 No help on that"),
        ("HELP MAIL RCPT", "504 5.5.4 No help on that"),
    ],
)
async def test_there_is_an_answer_without_a_hook(handler: object, command: str, reply: str) -> None:
    async with talk(handler) as client:
        assert await client.ask(command) == reply


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_help_lists_what_can_be_used(server_class: type[SMTP]) -> None:
    async with talk(server_class=server_class) as client:
        reply = await client.ask("HELP")
        assert reply.startswith("214 2.0.0 ")
        listed = set(reply.split())
        assert {"MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP"} <= listed
        # What only some servers, or some clients, can use.
        assert not {"STARTTLS", "ETRN", "XCLIENT", "XFORWARD"} & listed


async def test_help_lists_what_this_client_can_use_too() -> None:
    async with talk(Queues(), xclient_networks=["192.0.2.1"], xforward_networks=["192.0.2.1"]) as client:
        assert {"ETRN", "XCLIENT", "XFORWARD"} <= set((await client.ask("HELP")).split())


async def test_help_before_ehlo_knows_no_parameters() -> None:
    async with talk(is_greeted=False) as client:
        await client.hear()
        assert await client.ask("HELP MAIL") == "214 2.0.0 Syntax: MAIL FROM:<address>"


async def test_every_verb_that_help_lists_has_help() -> None:
    async with talk() as client:
        for verb in (await client.ask("HELP")).partition(": ")[2].split():
            assert (await client.ask(f"HELP {verb}")).startswith(f"214 2.0.0 Syntax: {verb}")


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_hooks_answer_instead(server_class: type[SMTP]) -> None:
    handler = Helpful()
    async with talk(handler, server_class=server_class) as client:
        for command in ("VRFY  ann ", "EXPN staff", "HELP me", "HELP", "NOOP x", "NOOP"):
            assert await client.ask(command) == TWO_LINES
    assert handler.args == ["ann", "staff", "me", None, "x", None]


@pytest.mark.parametrize("command", ["VRFY ann", "EXPN staff", "HELP", "NOOP", "RSET"])
async def test_they_can_be_used_at_any_time(command: str) -> None:
    # RFC 5321 §4.1.4: "can be used at any time during a session, or without previously initializing a session".
    async with talk(is_greeted=False) as client:
        await client.hear()
        before = await client.ask(command)
        assert before[:3] in {"214", "250", "252", "502"}
        await client.ask("EHLO client.example")
        assert await client.ask(command) == before
        await client.begin()
        assert await client.ask(command) == before


@pytest.mark.parametrize("command", ["VRFY ann", "EXPN staff", "HELP", "NOOP"])
async def test_they_leave_the_transaction_alone(command: str) -> None:
    async with talk() as client:
        await client.begin()
        await client.ask(command)
        assert client.server.envelope.rcpt_tos == ["to@example.com"]


async def test_a_line_of_vrfy_may_be_as_long_as_one_of_mail() -> None:
    async with talk() as client:
        assert await client.ask(f"VRFY {'x' * 520}") == CANNOT
        assert (await client.ask(f"NOOP {'x' * 520}")).startswith("500 5.5.2 ")


# ETRN


async def test_etrn_is_offered_where_a_hook_does_it() -> None:
    async with talk(Helpful()) as client:
        assert (await offer(client))["ETRN"] == ""
        assert await client.ask("ETRN example.com") == "253 2.0.0 OK, 3 pending messages"
        assert await client.ask("etrn @elsewhere.example") == "459 4.0.0 Not allowed"
        assert await client.ask("ETRN @decline") == NOT_IMPLEMENTED
        assert await client.ask("ETRN") == "501 5.5.4 Syntax: ETRN <node>"


async def test_without_a_hook_there_is_no_etrn() -> None:
    async with talk() as client:
        assert "ETRN" not in await offer(client)
        assert await client.ask("ETRN example.com") == NOT_IMPLEMENTED


async def test_etrn_is_for_between_transactions() -> None:
    async with talk(Helpful(), is_greeted=False) as client:
        await client.hear()
        assert (await client.ask("ETRN example.com")).startswith("503 5.5.1 ")
        await client.ask("EHLO client.example")
        await client.begin()
        assert (await client.ask("ETRN example.com")).startswith("503 5.5.1 ")
