"""What holds for every command: when it is allowed, how its hook is called and answered, how the session ends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import ssl
import threading
import weakref
from abc import ABC
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo import LMTP, SMTP, Disconnect, Envelope, ProtocolError, Reply, Session, Settings, allow, serve, syntax
from ehlo.net.connection import BURST
from ehlo.net.flow import UNREAD_LIMIT
from ehlo.protocol.commands import Stage
from ehlo.session import stage_of
from ehlo.testing import FakeClockLoop
from tests.support import (
    Client,
    Nothing,
    Recorder,
    be_quiet,
    in_callback,
    pass_time,
    talk,
    wire,
    with_fake_clock,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ehlo.hooks import Status

INTERNAL_ERROR = "451 4.3.0 Internal error, try again later"

# -- Stage and verb -----------------------------------------------------------------------------------------

# The replies at the stages CONNECTED, GREETED, MAIL, RCPT and CHUNKS, where nothing is required and nothing offered
# but what always is.
ALWAYS_250 = (250, 250, 250, 250, 250)
TABLE: dict[str, tuple[str, tuple[int, int, int, int, int]]] = {
    "HELO": ("HELO client.example", ALWAYS_250),
    "EHLO": ("EHLO client.example", ALWAYS_250),
    "LHLO": ("LHLO client.example", (500, 500, 500, 500, 500)),
    "MAIL": ("MAIL FROM:<a@example.com>", (503, 250, 503, 503, 503)),
    "RCPT": ("RCPT TO:<b@example.com>", (503, 503, 250, 250, 503)),
    "DATA": ("DATA", (503, 503, 503, 354, 503)),
    "BDAT": ("BDAT 2 LAST\r\nhi", (503, 503, 503, 250, 250)),
    "RSET": ("RSET", ALWAYS_250),
    "NOOP": ("NOOP", ALWAYS_250),
    "QUIT": ("QUIT", (221, 221, 221, 221, 221)),
    "HELP": ("HELP", (214, 214, 214, 214, 214)),
    "VRFY": ("VRFY somebody", (252, 252, 252, 252, 252)),
    "EXPN": ("EXPN some-list", (502, 502, 502, 502, 502)),
    "STARTTLS": ("STARTTLS", (503, 502, 503, 503, 503)),
    "AUTH": ("AUTH PLAIN", (503, 502, 503, 503, 503)),
    "ETRN": ("ETRN example.com", (503, 502, 503, 503, 503)),
    "XCLIENT": ("XCLIENT NAME=client.example", (550, 550, 503, 503, 503)),
    "XFORWARD": ("XFORWARD NAME=client.example", (503, 550, 503, 503, 503)),
    "XYZZY": ("XYZZY", (500, 500, 500, 500, 500)),
}
NEXT_STAGE = {
    "HELO": Stage.GREETED,
    "EHLO": Stage.GREETED,
    "LHLO": Stage.GREETED,
    "MAIL": Stage.MAIL,
    "RCPT": Stage.RCPT,
}
ENDS_TRANSACTION = {"RSET", "DATA", "BDAT"}

PAIRS = [(verb, stage) for verb in TABLE for stage in Stage]
PAIR_IDS = [f"{verb}-{stage.name}" for verb, stage in PAIRS]


def test_the_table_has_a_row_for_every_verb() -> None:
    assert SMTP._verbs.keys() == TABLE.keys() - {"LHLO", "XYZZY"}
    assert LMTP._verbs.keys() == TABLE.keys() - {"HELO", "EHLO", "XYZZY"}


async def by_commands(client: Client, stage: Stage) -> None:
    assert (await client.hear()).startswith("220 ")
    hello = "LHLO" if isinstance(client.server, LMTP) else "EHLO"
    lines = [f"{hello} client.example", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "BDAT 2\r\nhi"]
    for line in lines[:stage]:
        await client.feed(line.encode() + (b"" if line.startswith("BDAT") else b"\r\n"))
        assert (await client.hear()).startswith("250")


async def by_assignment(client: Client, stage: Stage) -> None:
    assert (await client.hear()).startswith("220 ")
    session, envelope = client.server.session, client.server.envelope
    if stage >= Stage.GREETED:
        session.host_name = "client.example"
        session.extended_smtp = True
    if stage >= Stage.MAIL:
        envelope.mail_from = "a@example.com"
    if stage >= Stage.RCPT:
        envelope.rcpt_tos.append("b@example.com")


async def expect(client: Client, verb: str, stage: Stage, code: int) -> None:
    """Say the verb; look at the reply's code, and at the stage afterwards."""
    assert stage_of(client.server.session, client.server.envelope) is stage
    line = TABLE[verb][0]
    await client.feed(line.encode() + (b"" if verb == "BDAT" else b"\r\n"))
    reply = await client.hear()
    assert int(reply[:3]) == code, reply
    if code == 354:
        assert (await client.ask("Hello", ".")).startswith("250 ")
    elif code == 221:
        assert await client.is_over()
        return
    expected = stage
    if code in {250, 354}:
        expected = min(stage, Stage.GREETED) if verb in ENDS_TRANSACTION else NEXT_STAGE.get(verb, stage)
    assert stage_of(client.server.session, client.server.envelope) is expected
    assert await client.is_usable()


@pytest.mark.parametrize(("verb", "stage"), PAIRS, ids=PAIR_IDS)
async def test_a_verb_at_a_stage(verb: str, stage: Stage) -> None:
    async with talk(is_greeted=False) as client:
        await by_commands(client, stage)
        await expect(client, verb, stage, TABLE[verb][1][stage])


@pytest.mark.parametrize(("verb", "stage"), PAIRS, ids=PAIR_IDS)
async def test_a_verb_at_a_stage_in_lmtp(verb: str, stage: Stage) -> None:
    swapped = {"HELO": 500, "EHLO": 500, "LHLO": 250}
    async with talk(server_class=LMTP, is_greeted=False) as client:
        await by_commands(client, stage)
        await expect(client, verb, stage, swapped.get(verb) or TABLE[verb][1][stage])


ASSIGNED = [(verb, stage) for verb, stage in PAIRS if stage is not Stage.CHUNKS]


@pytest.mark.parametrize(("verb", "stage"), ASSIGNED, ids=[f"{verb}-{stage.name}" for verb, stage in ASSIGNED])
async def test_a_verb_at_a_stage_that_was_assigned(verb: str, stage: Stage) -> None:
    """The stage has no second copy: hooks and subclasses may put a session anywhere."""
    async with talk(is_greeted=False) as client:
        await by_assignment(client, stage)
        code = TABLE[verb][1][stage]
        # Nothing has been offered to a client that never said EHLO.
        await expect(client, verb, stage, 502 if verb == "BDAT" and code == 250 else code)


@pytest.mark.parametrize(("verb", "stage"), PAIRS, ids=PAIR_IDS)
@pytest.mark.filterwarnings("ignore:auth_required without")
async def test_a_verb_at_a_stage_before_the_authentication_that_is_required(verb: str, stage: Stage) -> None:
    """503 where it is too early anyway, then 530; some verbs need no authentication (RFC 4954 §6)."""
    code = TABLE[verb][1][stage]
    needs_none = {"AUTH", "EHLO", "HELO", "LHLO", "NOOP", "RSET", "QUIT", "STARTTLS", "XCLIENT", "XFORWARD", "XYZZY"}
    if verb not in needs_none and not (stage is Stage.CONNECTED and code == 503):
        code = 530
    async with talk(is_greeted=False, auth_required=True, auth_require_tls=False) as client:
        # By assignment: without authentication no command leads there.
        if stage is Stage.CHUNKS:
            await by_assignment(client, Stage.RCPT)
            client.server.envelope.is_chunked = True
        else:
            await by_assignment(client, stage)
        await expect(client, verb, stage, code)


# A STARTTLS that is in its place is followed by a handshake, and tested elsewhere.
BEFORE_TLS = [pair for pair in ASSIGNED if pair != ("STARTTLS", Stage.GREETED)]


@pytest.mark.parametrize(("verb", "stage"), BEFORE_TLS, ids=[f"{verb}-{stage.name}" for verb, stage in BEFORE_TLS])
async def test_a_verb_at_a_stage_before_the_tls_that_is_required(verb: str, stage: Stage) -> None:
    """530 but for NOOP, EHLO, STARTTLS and QUIT (RFC 3207 §4)."""
    code = TABLE[verb][1][stage]
    if verb not in {"NOOP", "EHLO", "STARTTLS", "QUIT", "LHLO", "XYZZY"}:
        code = 530
    tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with talk(is_greeted=False, tls_context=tls_context, require_starttls=True) as client:
        await by_assignment(client, stage)
        await expect(client, verb, stage, code)


# -- Hooks: answer, decline, refuse, fail -------------------------------------------------------------------

# For each hook what provokes it and the reply where it declines.  CONNECT, AUTH, DATA_STREAM and DISCONNECT have
# tests of their own.
HOOKS: dict[str, tuple[str, str]] = {
    "HELO": ("HELO client.example", "250 mx.test"),
    "EHLO": ("EHLO client.example", "250-mx.test"),
    "MAIL": ("MAIL FROM:<a@example.com>", "250 2.1.0 OK"),
    "RCPT": ("RCPT TO:<b@example.com>", "250 2.1.5 OK"),
    "DATA": ("DATA", "250 2.0.0 OK queued as "),
    "RSET": ("RSET", "250 2.0.0 OK"),
    "NOOP": ("NOOP", "250 2.0.0 OK"),
    "QUIT": ("QUIT", "221 2.0.0 Bye"),
    "VRFY": ("VRFY somebody", "252 2.5.2 Cannot VRFY user"),
    "EXPN": ("EXPN some-list", "502 5.5.1 Command not implemented"),
    "HELP": ("HELP", "214 2.0.0 Supported commands: "),
    "ETRN": ("ETRN example.com", "502 5.5.1 Command not implemented"),
}
GREETINGS = {"HELO", "EHLO"}


async def provoke(client: Client, verb: str) -> str:
    """Say the verb, where it is allowed, to a server that has said nothing yet; its reply."""
    assert (await client.hear()).startswith("220")
    if verb not in GREETINGS:
        assert (await client.ask("EHLO client.example")).startswith("250")
    if verb in {"RCPT", "DATA"}:
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("250")
    if verb == "DATA":
        assert (await client.ask("RCPT TO:<b@example.com>")).startswith("250")
        assert (await client.ask("DATA")).startswith("354")
        return await client.ask("Hello", ".")
    return await client.ask(HOOKS[verb][0])


class Handler:
    """A handler with hooks as attributes of the instance."""

    def __init__(self, **hooks: object) -> None:
        for verb, hook in hooks.items():
            setattr(self, f"handle_{verb}", hook)


def coroutine(action: Callable[[], Any]) -> object:
    async def hook(*args: object) -> Any:
        assert threading.current_thread() is threading.main_thread()
        return action()

    return hook


def coroutine_that_waits(action: Callable[[], Any]) -> object:
    async def hook(*args: object) -> Any:
        await asyncio.sleep(0.001)
        return action()

    return hook


def coroutine_object(action: Callable[[], Any]) -> object:
    class Hook:
        async def __call__(self, *args: object) -> Any:
            assert threading.current_thread() is threading.main_thread()
            return action()

    return Hook()


def plain(action: Callable[[], Any]) -> object:
    def hook(*args: object) -> Any:
        assert threading.current_thread().name.startswith("ehlo-hook")
        return action()

    return hook


def plain_with_awaitable(action: Callable[[], Any]) -> object:
    async def later() -> Any:
        await asyncio.sleep(0)
        assert threading.current_thread() is threading.main_thread()
        return action()

    def hook(*args: object) -> Any:
        assert threading.current_thread().name.startswith("ehlo-hook")
        return later()

    return hook


FLAVOURS = [coroutine, coroutine_that_waits, coroutine_object, plain, plain_with_awaitable]
every_flavour = pytest.mark.parametrize("flavour", FLAVOURS)
every_hook = pytest.mark.parametrize("verb", HOOKS)


@every_flavour
@every_hook
async def test_a_hook_that_returns_none_declines(verb: str, flavour: Callable[..., object]) -> None:
    async with talk(Handler(**{verb: flavour(lambda: None)}), is_greeted=False) as client:
        assert (await provoke(client, verb)).startswith(HOOKS[verb][1])


ANSWERS: list[Status] = [
    "250 2.3.4 Said by the hook",
    b"250 2.3.4 Said by the hook",
    Reply(250, "2.3.4", ("Said by the hook",)),
]


@every_flavour
@every_hook
async def test_a_hook_that_returns_a_status_answers(verb: str, flavour: Callable[..., object]) -> None:
    for answer in ANSWERS:
        hook = flavour(partial(_same, answer))
        async with talk(Handler(**{verb: hook}), is_greeted=False) as client:
            expected = "250 Said by the hook" if verb in GREETINGS else "250 2.3.4 Said by the hook"
            assert await provoke(client, verb) == expected


@every_hook
async def test_a_hook_may_answer_with_several_lines(verb: str) -> None:
    hook = coroutine(lambda: Reply(250, "2.3.4", ("one", "two")))
    async with talk(Handler(**{verb: hook}), is_greeted=False) as client:
        reply = await provoke(client, verb)
        assert reply == ("250-one\n250 two" if verb in GREETINGS else "250-2.3.4 one\n250 2.3.4 two")


@every_hook
@pytest.mark.parametrize("status", ["450 4.3.4 Not now", "550 5.3.4 Never"])
async def test_a_hook_may_refuse(verb: str, status: str) -> None:
    async with talk(Handler(**{verb: coroutine(lambda: status)}), is_greeted=False) as client:
        expected = status if verb not in GREETINGS else f"{status[:3]} {status[10:]}"
        assert await provoke(client, verb) == expected
        if verb == "QUIT":
            assert await client.is_over()
        else:
            assert verb == "NOOP" or await client.is_usable()


def _same(value: Any) -> Any:
    return value


def fail() -> None:
    raise ValueError("details that are nobody else's business")


@every_flavour
@every_hook
async def test_a_hook_that_fails_costs_451_and_no_more(
    verb: str, flavour: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    async with talk(Handler(**{verb: flavour(fail)}), is_greeted=False) as client:
        reply = await provoke(client, verb)
        assert reply == (INTERNAL_ERROR if verb not in GREETINGS else "451 Internal error, try again later")
        assert verb == "NOOP" or await client.is_usable()
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert client.server.session.id in record.getMessage()
    assert verb in record.getMessage()


BAD_STATUSES: list[Any] = [
    "",
    "OK",
    "250OK",
    "250-OK",
    "199 OK",
    "600 OK",
    "250 one\r\n250 two",
    "250 one\ntwo",
    "250 one\rtwo",
    "250 one\0two",
    "550 2.0.0 Contradiction",
    "354 Go on",
    b"250 one\r\n250 two",
    b"250 \xff",
    b"334 ",
    Reply(354, None, ("Go on",)),
    250,
    True,
    False,
    0,
    {"250": "OK"},
    ("250 OK",),
]


@every_hook
async def test_what_is_no_status_becomes_451(verb: str) -> None:
    for status in BAD_STATUSES:
        hook = coroutine(partial(_same, status))
        async with talk(Handler(**{verb: hook}), is_greeted=False) as client:
            reply = await provoke(client, verb)
            assert reply in {INTERNAL_ERROR, INTERNAL_ERROR.replace("4.3.0 ", "")}, status
            assert verb == "NOOP" or await client.is_usable()


@every_hook
async def test_a_list_is_a_status_of_no_hook_but_ehlo(verb: str) -> None:
    async with talk(Handler(**{verb: coroutine(lambda: ["250 OK"])}), is_greeted=False) as client:
        assert (await provoke(client, verb)).startswith("250 250 OK" if verb == "EHLO" else "451 ")


class Greylisted(ProtocolError):
    code = 450
    enhanced = "4.7.1"
    text = "Come back later"


@every_hook
async def test_a_hook_may_raise_what_the_client_is_to_be_told(verb: str) -> None:
    def refuse() -> None:
        raise Greylisted("the log knows more")

    async with talk(Handler(**{verb: coroutine(refuse)}), is_greeted=False) as client:
        expected = "450 Come back later" if verb in GREETINGS else "450 4.7.1 Come back later"
        assert await provoke(client, verb) == expected
        assert verb == "NOOP" or await client.is_usable()


@every_hook
async def test_an_error_whose_text_is_no_text_becomes_451(verb: str) -> None:
    def refuse() -> None:
        raise Greylisted("the log knows more", text="one\r\n250 two")

    async with talk(Handler(**{verb: coroutine(refuse)}), is_greeted=False) as client:
        assert (await provoke(client, verb)).startswith("451 ")
        assert verb == "NOOP" or await client.is_usable()


@every_flavour
async def test_a_stop_iteration_is_a_failure_as_any_other(flavour: Callable[..., object]) -> None:
    async with talk(Handler(VRFY=flavour(lambda: next(iter(())))), hook_timeout=5) as client:
        assert await client.ask("VRFY somebody") == INTERNAL_ERROR
        assert await client.is_usable()


async def test_a_hook_that_waits_for_something_cancelled_fails_and_the_session_goes_on() -> None:
    """Nobody cancelled the session: a pool of connections, say, was closed."""

    async def handle_VRFY(*args: object) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        assert await client.ask("VRFY somebody") == INTERNAL_ERROR
        assert await client.is_usable()


async def test_hooks_get_the_server_the_session_the_envelope_and_what_was_said() -> None:
    calls: dict[str, tuple[object, ...]] = {}

    def note(verb: str) -> object:
        async def hook(server: SMTP, session: Session, envelope: Envelope, *args: object) -> None:
            assert session is server.session
            assert envelope is server.envelope
            assert asyncio.current_task() is server.task
            calls[verb] = args

        return hook

    verbs = [*HOOKS, "CONNECT", "DISCONNECT"]
    async with talk(Handler(**{verb: note(verb) for verb in verbs})) as client:
        for verb in ("HELO", "EHLO", "NOOP", "VRFY", "EXPN", "HELP", "ETRN"):
            await client.ask(HOOKS[verb][0])
        await client.ask("MAIL FROM:<a@example.com> SIZE=10 BODY=7bit")
        await client.ask("RCPT TO:<b@example.com>")
        await client.ask("DATA")
        await client.ask(".")
        await client.ask("RSET")
        await client.ask("QUIT")
    assert calls.pop("EHLO")[0] == "client.example"
    assert calls == {
        "CONNECT": (),
        "HELO": ("client.example",),
        "NOOP": (None,),
        "VRFY": ("somebody",),
        "EXPN": ("some-list",),
        "HELP": (None,),
        "ETRN": ("example.com",),
        "MAIL": ("a@example.com", ["SIZE=10", "BODY=7bit"]),
        "RCPT": ("b@example.com", []),
        "DATA": (),
        "RSET": (),
        "QUIT": (),
        "DISCONNECT": (Disconnect.QUIT,),
    }


# -- Handlers of all kinds ----------------------------------------------------------------------------------


class AsTuple(NamedTuple):
    suffix: str

    async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
        return f"250 2.0.0 {arg}{self.suffix}"


class AsClass:
    @staticmethod
    async def handle_VRFY(server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
        return f"250 2.0.0 {arg}!"


class WithClassMethod:
    @classmethod
    def handle_VRFY(cls, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
        return f"250 2.0.0 {arg}!"


class Slotted:
    __slots__ = ("handle_VRFY",)

    def __init__(self) -> None:
        self.handle_VRFY = _exclaim


async def _exclaim(server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
    return f"250 2.0.0 {arg}!"


@pytest.mark.parametrize(
    "handler",
    [AsTuple("!"), AsClass, AsClass(), WithClassMethod, WithClassMethod(), Slotted(), Handler(VRFY=_exclaim)],
    ids=lambda handler: getattr(handler, "__name__", type(handler).__name__),
)
async def test_any_object_is_a_handler(handler: object) -> None:
    async with talk(handler) as client:
        assert await client.ask("VRFY ann") == "250 2.0.0 ann!"


async def test_the_attributes_of_a_handler_that_are_no_hooks_are_left_alone() -> None:
    class Lazy:
        @property
        def database(self) -> object:
            raise RuntimeError("not connected yet")

    async with talk(Lazy()) as client:
        assert await client.is_usable()


# -- handle_CONNECT -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["421 4.3.2 Busy", "521 5.3.2 No mail here", "450 4.3.2 Not you", Reply(421, None, ("one", "two"))]
)
async def test_connect_may_send_a_client_away(status: Status) -> None:
    handler = ConnectRecorder(status)
    async with talk(handler, is_greeted=False) as client:
        replies = await client.hear_all()
    assert len(replies) == 1
    assert replies[0].startswith(str(status)[:3])
    assert " 4.3.2 " not in replies[0]
    assert handler.reasons == [Disconnect.REFUSED]


class ConnectRecorder(Recorder):
    def __init__(self, status: Any) -> None:
        super().__init__()
        self.status = status

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        if isinstance(self.status, Exception):
            raise self.status
        return self.status


@pytest.mark.parametrize("code", [554, 550])
@pytest.mark.parametrize("farewell", ["QUIT", "eof"])
async def test_connect_may_leave_a_client_only_quit(code: int, farewell: str) -> None:
    handler = ConnectRecorder(f"{code} 5.7.1 Not you")
    async with talk(handler, is_greeted=False) as client:
        assert await client.hear() == f"{code} Not you"
        assert await client.ask("EHLO client.example") == "503 No service here"
        assert await client.ask("NOOP") == "503 5.5.1 No service here"
        assert await client.ask("XYZZY") == "503 5.5.1 No service here"
        if farewell == "QUIT":
            assert await client.ask("QUIT") == "221 2.0.0 Bye"
        else:
            await in_callback(client.transport.feed_eof)
        assert await client.is_over()
    assert handler.reasons == [Disconnect.QUIT if farewell == "QUIT" else Disconnect.CLOSED]


async def test_a_client_that_was_refused_and_does_not_understand_is_cut() -> None:
    async with talk(ConnectRecorder("554 Not you"), is_greeted=False, error_limit=3) as client:
        await client.say(*["NOOP"] * 10)
        replies = await client.hear_all()
    assert [reply[:3] for reply in replies] == ["554", "503", "503", "503", "421"]


@pytest.mark.parametrize(
    ("status", "greeting"),
    [
        (None, "220 mx.test ESMTP ehlo"),
        ("220 mx.test at your service", "220 mx.test at your service"),
        (b"220 mx.test at your service", "220 mx.test at your service"),
        (Reply(220, "2.0.0", ("mx.test", "at your service")), "220-mx.test\n220 at your service"),
    ],
)
async def test_connect_may_choose_the_greeting(status: Any, greeting: str) -> None:
    async with talk(ConnectRecorder(status), is_greeted=False) as client:
        assert await client.hear() == greeting
        assert await client.is_usable()


@pytest.mark.parametrize("status", [RuntimeError("details"), "fine", "354 Go on", 5, ["220 x"], "220 a\r\n220 b"])
async def test_a_connect_that_fails_sends_the_client_away_for_now(status: Any) -> None:
    handler = ConnectRecorder(status)
    async with talk(handler, is_greeted=False) as client:
        assert await client.hear_all() == ["421 mx.test Internal error, try again later"]
    assert handler.reasons == [Disconnect.REFUSED]


async def test_octets_before_the_greeting_wait_for_connect() -> None:
    is_open = asyncio.Event()

    async def handle_CONNECT(*args: object) -> None:
        await is_open.wait()

    async with talk(Handler(CONNECT=handle_CONNECT), is_greeted=False) as client:
        await client.say("NOOP")
        await be_quiet()
        assert client.said() == []
        is_open.set()
        assert (await client.hear()).startswith("220 ")
        assert await client.hear() == "250 2.0.0 OK"


# -- handle_DISCONNECT --------------------------------------------------------------------------------------


async def test_disconnect_after_quit() -> None:
    async with talk(handler := Recorder()) as client:
        assert await client.ask("QUIT") == "221 2.0.0 Bye"
        assert await client.is_over()
    assert handler.reasons == [Disconnect.QUIT]


@pytest.mark.parametrize("end", ["eof", "lost", "reset"])
@pytest.mark.parametrize("stage", [Stage.CONNECTED, Stage.GREETED, Stage.RCPT, Stage.CHUNKS])
async def test_disconnect_when_the_client_goes(stage: Stage, end: str) -> None:
    async with talk(handler := Recorder(), is_greeted=False) as client:
        await by_commands(client, stage)
        if end == "eof":
            await in_callback(client.transport.feed_eof)
        else:
            error = ConnectionResetError() if end == "reset" else None
            await in_callback(lambda: client.transport.lose(error))
        assert await client.is_over()
    assert handler.reasons == [Disconnect.CLOSED]


async def test_disconnect_when_the_client_goes_amid_mail_data() -> None:
    async with talk(handler := Recorder()) as client:
        await client.begin()
        await client.ask("DATA", "Hello")
        await in_callback(client.transport.lose)
    assert handler.reasons == [Disconnect.CLOSED]
    assert handler.envelopes == []


@with_fake_clock
async def test_disconnect_after_a_timeout() -> None:
    async with talk(handler := Recorder()) as client:
        await pass_time(301)
        assert await client.hear() == "421 4.4.2 Timeout, closing connection"
    assert handler.reasons == [Disconnect.TIMEOUT]


async def test_disconnect_after_too_many_errors() -> None:
    async with talk(handler := Recorder(), error_limit=1) as client:
        assert await client.ask("XYZZY") == "500 5.5.1 Command not recognized"
        assert await client.hear() == "421 4.7.0 Too many errors, closing connection"
    assert handler.reasons == [Disconnect.ERRORS]


async def test_disconnect_when_the_server_stops() -> None:
    async with talk(handler := Recorder()) as client:
        await in_callback(client.server.stop)
        assert await client.hear_all() == ["421 4.3.2 Service shutting down, closing connection"]
    assert handler.reasons == [Disconnect.SHUTDOWN]


async def test_disconnect_when_the_task_is_cancelled() -> None:
    async with talk(handler := Recorder()) as client:
        client.server.task.cancel()
        assert await client.hear_all() == ["421 4.3.2 Service shutting down, closing connection"]
    assert handler.reasons == [Disconnect.SHUTDOWN]
    assert client.server.task.cancelled()


async def test_disconnect_after_a_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SMTP):
        async def _next_command(self) -> None:
            raise RuntimeError("details")

    async with talk(handler := Recorder(), server_class=Broken, is_greeted=False) as client:
        assert await client.hear_all() == [
            "220 mx.test ESMTP ehlo",
            "421 4.3.0 Internal error, closing connection",
        ]
    assert handler.reasons == [Disconnect.FAILURE]
    assert "details" in caplog.text


async def test_disconnect_comes_after_a_hook_that_still_runs() -> None:
    """A message that came whole is finished by its hook, whether the client waits or not."""
    events = []
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    class Storing(Recorder):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
            has_begun.set()
            await may_end.wait()
            events.append("stored")

        async def handle_DISCONNECT(self, server: SMTP, session: Session, envelope: Envelope, why: str) -> None:
            events.append(f"disconnected: {why}")

    async with talk(Storing()) as client:
        await client.begin()
        await client.ask("DATA", "Hello", ".")
        await has_begun.wait()
        await in_callback(client.transport.lose)
        await be_quiet()
        assert events == []
        may_end.set()
    assert events == ["stored", "disconnected: closed"]


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_a_disconnect_that_fails_harms_nobody(
    flavour: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    async with talk(Handler(DISCONNECT=flavour(fail))) as client:
        assert await client.ask("QUIT") == "221 2.0.0 Bye"
        assert await client.is_over()
    assert "handle_DISCONNECT failed" in caplog.text


async def test_the_farewell_does_not_wait_for_disconnect() -> None:
    may_end = asyncio.Event()

    async def handle_DISCONNECT(*args: object) -> None:
        await may_end.wait()

    async with talk(Handler(DISCONNECT=handle_DISCONNECT)) as client:
        assert await client.ask("QUIT") == "221 2.0.0 Bye"
        may_end.set()


# -- handle_exception ---------------------------------------------------------------------------------------


class Excusing:
    def __init__(self, status: Any) -> None:
        self.status = status
        self.errors: list[Exception] = []

    async def handle_VRFY(self, *args: object) -> None:
        raise ValueError("details")

    async def handle_DATA(self, *args: object) -> None:
        raise ValueError("details")

    async def handle_exception(self, error: Exception) -> Any:
        self.errors.append(error)
        if isinstance(self.status, Exception):
            raise self.status
        return self.status


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        ("554 5.3.0 Never again", "554 5.3.0 Never again"),
        (b"554 5.3.0 Never again", "554 5.3.0 Never again"),
        (Reply(454, None, ("one", "two")), "454-4.0.0 one\n454 4.0.0 two"),
        (None, INTERNAL_ERROR),
        ("fine", INTERNAL_ERROR),
        ("354 Go on", INTERNAL_ERROR),
        ("554 one\r\n250 two", INTERNAL_ERROR),
        (["554 x"], INTERNAL_ERROR),
        (RuntimeError("and again"), INTERNAL_ERROR),
    ],
)
async def test_handle_exception_says_what_the_client_is_told(status: Any, reply: str) -> None:
    async with talk(handler := Excusing(status)) as client:
        assert await client.ask("VRFY somebody") == reply
        assert await client.send("Hello") == reply
        assert await client.is_usable()
    assert [type(error) for error in handler.errors] == [ValueError, ValueError]


async def test_handle_exception_of_the_server_may_be_overridden() -> None:
    class Mine(SMTP):
        async def handle_exception(self, error: Exception) -> Status:
            return f"454 4.3.0 {type(error).__name__}"

    async with talk(Excusing(None), server_class=Mine) as client:
        assert await client.ask("VRFY somebody") == "454 4.3.0 ValueError"


async def test_handle_exception_may_be_a_plain_function() -> None:
    handler = Handler(VRFY=plain(fail), exception=lambda error: f"454 4.3.0 {error.__class__.__name__}")
    async with talk(handler) as client:
        assert await client.ask("VRFY somebody") == "454 4.3.0 ValueError"


async def test_handle_exception_is_not_for_the_faults_of_clients() -> None:
    async with talk(handler := Excusing(None)) as client:
        await client.ask("XYZZY")
        await client.ask("MAIL FROM:<nobody>")
    assert handler.errors == []


# -- Time ---------------------------------------------------------------------------------------------------


@with_fake_clock
async def test_a_plain_hook_that_takes_too_long_is_given_up() -> None:
    may_end = threading.Event()

    def handle_VRFY(*args: object) -> str:
        may_end.wait(10)
        return "250 Too late"

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        await client.say("VRFY somebody")
        await pass_time(530)
        assert client.said() == []
        await pass_time(20)
        assert await client.hear() == INTERNAL_ERROR
        assert await client.is_usable()
        may_end.set()
        assert await client.is_usable()


@with_fake_clock
async def test_a_hook_may_still_answer_when_its_time_is_over() -> None:
    async def handle_VRFY(*args: object) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "252 2.5.2 Nobody knows"
        return "250 Found"

    async def handle_NOOP(*args: object) -> str:
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(3600)
        except TimeoutError:
            return "250 2.0.0 The timeout was mine"
        return "250 2.0.0 No timeout"

    async with talk(Handler(VRFY=handle_VRFY, NOOP=handle_NOOP)) as client:
        await client.say("VRFY somebody")
        await pass_time(541)
        assert await client.hear() == "252 2.5.2 Nobody knows"
        # And the cancellation is forgotten.
        assert client.server.task.cancelling() == 0
        await client.say("NOOP")
        await pass_time(20)
        assert await client.hear() == "250 2.0.0 The timeout was mine"


@with_fake_clock
async def test_handle_exception_has_a_time_of_its_own() -> None:
    async def forever(*args: object) -> None:
        await asyncio.sleep(1_000_000)

    async with talk(Handler(VRFY=forever, exception=forever)) as client:
        await client.say("VRFY somebody")
        await pass_time(541)
        assert client.said() == []
        await pass_time(530)
        assert client.said() == []
        await pass_time(20)
        assert await client.hear() == INTERNAL_ERROR
        assert await client.is_usable()


@with_fake_clock
async def test_disconnect_and_connect_have_their_time_too() -> None:
    async def forever(*args: object) -> None:
        await asyncio.sleep(1_000_000)

    async with talk(Handler(CONNECT=forever, DISCONNECT=forever), is_greeted=False) as client:
        await pass_time(541)
        assert await client.hear() == "421 mx.test Internal error, try again later"
        await pass_time(541)
        assert await client.is_over()


@with_fake_clock
async def test_a_verb_that_takes_too_long_is_given_up() -> None:
    class Slow(SMTP):
        async def smtp_SLOW(self, arg: str | None) -> None:
            await asyncio.sleep(1_000_000)

    async with talk(server_class=Slow) as client:
        await client.say("SLOW")
        await pass_time(541)
        assert await client.hear() == INTERNAL_ERROR
        assert await client.is_usable()


@with_fake_clock
async def test_each_command_has_its_own_time_also_behind_hooks_that_took_long() -> None:
    async def handle_VRFY(*args: object) -> None:
        await asyncio.sleep(400)

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        await client.say("VRFY somebody")
        await pass_time(401)
        assert (await client.hear()).startswith("252")
        await pass_time(290)
        assert client.said() == []
        await pass_time(20)
        assert await client.hear() == "421 4.4.2 Timeout, closing connection"


@with_fake_clock
async def test_a_hook_has_its_whole_time_for_each_command() -> None:
    async def handle_VRFY(*args: object) -> None:
        await asyncio.sleep(500)

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        await client.say("VRFY one", "VRFY two", "VRFY three")
        for _ in range(3):
            await pass_time(501)
            assert (await client.hear()).startswith("252")


# -- What asyncio offers, inside hooks ----------------------------------------------------------------------


async def with_timeout() -> str:
    try:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(10)
    except TimeoutError:
        return "timeout"
    return "none"


async def with_timeout_of_nothing() -> str:
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(10)
    except TimeoutError:
        return "timeout"
    return "none"


async def with_wait_for() -> str:
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.001)
    except TimeoutError:
        return "timeout"
    return "none"


async def with_task() -> str:
    return await asyncio.create_task(_give("task"))


async def with_group() -> str:
    async with asyncio.TaskGroup() as group:
        one, two = group.create_task(_give("one")), group.create_task(_give("two"))
    return f"{one.result()}{two.result()}"


async def with_failing_group() -> str:
    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail_later())
            await asyncio.sleep(10)
    except* ValueError:
        pass
    return "group"


async def with_gather() -> str:
    return "".join(await asyncio.gather(_give("a"), _give("b")))


async def with_thread() -> str:
    return await asyncio.to_thread(lambda: "thread")


async def with_sleep_zero() -> str:
    for _ in range(5):
        await asyncio.sleep(0)
    return "slept"


async def with_event() -> str:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    await event.wait()
    return "event"


async def with_shield() -> str:
    return await asyncio.shield(_give("shielded"))


async def with_self_cancel_and_uncancel() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        task.uncancel()
        return "uncancelled"
    return "none"


async def _give(value: str) -> str:
    await asyncio.sleep(0)
    return value


@pytest.mark.parametrize(
    ("ways", "result"),
    [
        (with_timeout, "timeout"),
        (with_timeout_of_nothing, "timeout"),
        (with_wait_for, "timeout"),
        (with_task, "task"),
        (with_group, "onetwo"),
        (with_failing_group, "group"),
        (with_gather, "ab"),
        (with_thread, "thread"),
        (with_sleep_zero, "slept"),
        (with_event, "event"),
        (with_shield, "shielded"),
        (with_self_cancel_and_uncancel, "uncancelled"),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
@pytest.mark.parametrize("is_first_step", [True, False], ids=["first", "later"])
async def test_what_asyncio_offers_works_in_a_hook(
    ways: Callable[[], Awaitable[str]], result: str, is_first_step: bool
) -> None:
    """Also in the first step, which runs straight from the transport's callback, outside of the task."""

    async def handle_VRFY(server: SMTP, *args: object) -> str:
        if not is_first_step:
            await asyncio.sleep(0.001)
        assert asyncio.current_task() is server.task
        found = await ways()
        assert asyncio.current_task() is server.task
        return f"250 2.0.0 {found}"

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        assert await client.ask("VRFY somebody") == f"250 2.0.0 {result}"
        # And twice in one group, the second without a wait for input in between.
        await client.say("VRFY somebody", "VRFY somebody", "NOOP")
        assert await client.hear() == f"250 2.0.0 {result}"
        assert await client.hear() == f"250 2.0.0 {result}"
        assert await client.hear() == "250 2.0.0 OK"
        assert client.server.task.cancelling() == 0


name_of_sender: contextvars.ContextVar[str] = contextvars.ContextVar("name_of_sender", default="nobody")


async def test_a_context_variable_that_a_hook_sets_is_there_in_the_next_and_in_no_other_session() -> None:
    class InContext:
        async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, *args: str) -> None:
            name_of_sender.set(args[0])

        async def handle_RCPT(self, *args: object) -> str:
            await asyncio.sleep(0.001)
            return f"250 2.1.5 From {name_of_sender.get()}"

        def handle_VRFY(self, *args: object) -> str:
            return f"250 2.1.5 From {name_of_sender.get()}"

    handler = InContext()
    async with talk(handler) as one, talk(handler) as two, talk(handler) as three:
        await one.ask("MAIL FROM:<one@example.com>")
        await two.ask("MAIL FROM:<two@example.com>")
        assert await one.ask("RCPT TO:<x@example.com>") == "250 2.1.5 From one@example.com"
        assert await two.ask("RCPT TO:<x@example.com>") == "250 2.1.5 From two@example.com"
        assert await one.ask("VRFY x") == "250 2.1.5 From one@example.com"
        assert await three.ask("VRFY x") == "250 2.1.5 From nobody"
    assert name_of_sender.get() == "nobody"


# -- Pipelining, and clients that want too much -------------------------------------------------------------


async def test_the_replies_to_a_group_leave_in_order_and_in_one_write() -> None:
    async with talk() as client:
        before = len(client.transport.writes)
        await client.say("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "RCPT TO:<nobody>", "NOOP", "DATA")
        replies = [
            b"250 2.1.0 OK",
            b"250 2.1.5 OK",
            b"553 5.1.3 Malformed address",
            b"250 2.0.0 OK",
            b"354 End data with <CR><LF>.<CR><LF>",
        ]
        assert client.transport.writes[before:] == [b"".join(reply + b"\r\n" for reply in replies)]


async def test_a_reply_does_not_wait_for_the_hook_of_the_next_command() -> None:
    may_end = asyncio.Event()

    async def handle_VRFY(*args: object) -> None:
        await may_end.wait()

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        await client.say("NOOP", "VRFY somebody")
        assert await client.hear() == "250 2.0.0 OK"
        assert client.said() == []
        may_end.set()
        assert (await client.hear()).startswith("252")


async def test_ten_thousand_recipients_at_once() -> None:
    async with talk(handler := Recorder()) as client:
        await client.say("MAIL FROM:<a@example.com>")
        for start in range(0, 10_000, 1000):
            await client.say(*[f"RCPT TO:<r{number}@example.com>" for number in range(start, start + 1000)])
        await client.say("DATA")
        replies = [await client.hear() for _ in range(10_002)]
        assert replies[:1001] == ["250 2.1.0 OK"] + ["250 2.1.5 OK"] * 1000
        assert set(replies[1001:-1]) == {"452 4.5.3 Too many recipients"}
        assert replies[-1].startswith("354")
        assert (await client.ask("Hello", ".")).startswith("250")
    assert [len(envelope.rcpt_tos) for envelope in handler.envelopes] == [1000]


async def test_a_flood_of_unknown_commands_ends_at_the_limit() -> None:
    async with talk() as client:
        await client.say(*["XYZZY"] * 10_000)
        replies = await client.hear_all()
    assert replies == ["500 5.5.1 Command not recognized"] * 50 + ["421 4.7.0 Too many errors, closing connection"]


async def test_a_line_without_end_takes_no_memory_and_one_reply() -> None:
    async with talk() as client:
        for _ in range(200):
            await client.feed(b"x" * 50_000)
            assert client.server._framer.buffered <= 12_288
            assert client.transport.is_reading()
        assert await client.hear() == "500 5.5.2 Line too long"
        assert client.said() == []
        await client.feed(b"\r\n")
        assert await client.is_usable()


async def test_many_commands_of_one_client_let_another_one_in() -> None:
    async with talk() as greedy, talk() as modest:
        await greedy.say(*["NOOP"] * 10_000)
        await modest.say("NOOP")
        assert await modest.hear() == "250 2.0.0 OK"
        answered = len(greedy.said())
        assert 0 < answered < 10_000
        assert answered <= 10 * BURST
        for _ in range(10_000 - answered):
            assert await greedy.hear() == "250 2.0.0 OK"
        assert await greedy.is_usable()


async def test_many_bad_commands_of_one_client_let_another_one_in() -> None:
    async with talk(error_limit=100_000) as greedy, talk() as modest:
        await greedy.say(*["XYZZY"] * 8_000)
        await modest.say("NOOP")
        assert await modest.hear() == "250 2.0.0 OK"
        assert 0 < len(greedy.said()) <= 10 * BURST


async def test_reading_pauses_while_a_client_is_far_ahead() -> None:
    may_end = asyncio.Event()

    async def handle_VRFY(*args: object) -> None:
        await may_end.wait()

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        await client.say("VRFY somebody")
        count = UNREAD_LIMIT // len(b"NOOP\r\n")
        await client.say(*["NOOP"] * count)
        assert client.transport.is_reading()
        await client.say("NOOP")
        assert not client.transport.is_reading()
        may_end.set()
        assert (await client.hear()).startswith("252")
        for _ in range(count + 1):
            assert await client.hear() == "250 2.0.0 OK"
        assert client.transport.is_reading()


async def test_a_client_that_does_not_read_is_waited_for() -> None:
    async with talk() as deaf, talk() as other:
        deaf.transport.takes_output = False
        await deaf.say(*["HELP"] * 5000)
        await be_quiet()
        assert len(deaf.transport.sent) < 64 * 1024
        assert await other.is_usable()
        written = len(deaf.transport.writes)
        await deaf.feed(wire(*["NOOP"] * 20_000))
        assert not deaf.transport.is_reading()
        await be_quiet()
        assert len(deaf.transport.writes) == written
        deaf.transport.resume()
        for _ in range(5000):
            assert (await deaf.hear()).startswith("214")
        for _ in range(20_000):
            assert await deaf.hear() == "250 2.0.0 OK"
        assert await deaf.is_usable()


@with_fake_clock
async def test_a_client_that_never_reads_is_cut() -> None:
    async with talk(handler := Recorder()) as client:
        client.transport.takes_output = False
        await client.say(*["HELP"] * 5000)
        await pass_time(290)
        assert not client.transport.is_closing()
        await pass_time(20)
        assert client.transport.is_closing()
    assert handler.reasons == [Disconnect.CLOSED]


async def test_a_client_that_goes_while_it_does_not_read_is_forgotten() -> None:
    async with talk(handler := Recorder()) as client:
        client.transport.takes_output = False
        await client.say(*["HELP"] * 5000)
        await be_quiet()
        await in_callback(client.transport.lose)
    assert handler.reasons == [Disconnect.CLOSED]


# -- stop() -------------------------------------------------------------------------------------------------


async def test_stop_lets_a_transaction_end() -> None:
    async with talk(handler := Recorder()) as client:
        await client.begin()
        await in_callback(client.server.stop)
        assert client.said() == []
        assert (await client.ask("DATA")).startswith("354")
        assert (await client.ask("Hello", ".")).startswith("250")
        assert await client.hear_all() == ["421 4.3.2 Service shutting down, closing connection"]
    assert handler.contents == [b"Hello\r\n"]
    assert handler.reasons == [Disconnect.SHUTDOWN]


async def test_stop_while_a_hook_runs_comes_after_its_reply() -> None:
    may_end = asyncio.Event()

    async def handle_VRFY(*args: object) -> None:
        await may_end.wait()

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        await client.say("VRFY somebody", "NOOP")
        await in_callback(client.server.stop)
        may_end.set()
        assert (await client.hear()).startswith("252")
        assert await client.hear_all() == ["421 4.3.2 Service shutting down, closing connection"]


async def test_stop_before_the_greeting() -> None:
    server = SMTP(Nothing(), hostname="mx.test")
    client = Client(server)
    server.stop()
    assert await client.hear_all() == [
        "220 mx.test ESMTP ehlo",
        "421 4.3.2 Service shutting down, closing connection",
    ]
    await client.leave()


# -- Subclasses ---------------------------------------------------------------------------------------------


class Clock(SMTP):
    @syntax("NOW [zone]", extended=" [SP <extras>]")
    async def smtp_NOW(self, arg: str | None) -> None:
        await self.push(f"250 2.0.0 It is now, {arg}")

    @syntax("SECRET", when="is_open")
    @allow(stages=frozenset({Stage.MAIL}), before_auth=True)
    async def smtp_SECRET(self, arg: str | None) -> None:
        self.end_session()
        await self.push(Reply(250, None, ("one", "two")))

    async def smtp_hooked(self, arg: str | None) -> None:
        await self.push(await self._call_handler_hook("HOOKED", arg) or b"250 2.0.0 Nobody")

    is_open = False


async def test_a_method_of_a_subclass_is_a_verb() -> None:
    async with talk(server_class=Clock, is_greeted=False) as client:
        await client.hear()
        assert await client.ask("NOW") == "250 2.0.0 It is now, None"
        assert await client.ask("now  here ") == "250 2.0.0 It is now, here"


async def test_syntax_is_what_help_says() -> None:
    async with talk(server_class=Clock) as client:
        assert await client.ask("HELP now") == "214 2.0.0 Syntax: NOW [zone] [SP <extras>]"
        assert " NOW " in await client.ask("HELP")
        assert " SECRET" not in await client.ask("HELP")
        assert await client.ask("HELP SECRET") == "504 5.5.4 No help on that"
        client.server.is_open = True  # type: ignore[attr-defined]
        assert " SECRET" in await client.ask("HELP")
        assert await client.ask("HELP SECRET") == "214 2.0.0 Syntax: SECRET"
        assert await client.ask("HELP HOOKED") == "214 2.0.0 Syntax: HOOKED"


async def test_allow_says_when() -> None:
    async with talk(server_class=Clock) as client:
        assert await client.ask("SECRET") == "503 5.5.1 Need MAIL command"
        assert await client.ask("MAIL FROM:<a@example.com>") == "250 2.1.0 OK"
        assert await client.ask("SECRET") == "250-2.0.0 one\n250 2.0.0 two"
        assert await client.is_over()


@pytest.mark.filterwarnings("ignore:auth_required without")
async def test_a_verb_without_allow_needs_the_authentication_that_is_required() -> None:
    async with talk(server_class=Clock, auth_required=True, auth_require_tls=False) as client:
        assert await client.ask("NOW") == "530 5.7.0 Authentication required"
        client.server.envelope.mail_from = ""
        assert (await client.ask("SECRET")).startswith("250")


async def test_a_handler_may_have_a_hook_for_the_verb_of_a_subclass() -> None:
    async def handle_HOOKED(server: SMTP, session: Session, envelope: Envelope, arg: str | None) -> str:
        return f"250 2.0.0 {arg}"

    async with talk(server_class=Clock) as client:
        assert await client.ask("HOOKED x") == "250 2.0.0 Nobody"
    async with talk(Handler(HOOKED=handle_HOOKED), server_class=Clock) as client:
        assert await client.ask("HOOKED x") == "250 2.0.0 x"


async def test_a_verb_may_be_taken_away_by_a_subclass_of_none() -> None:
    class Quiet(SMTP):
        smtp_EXPN = None  # type: ignore[assignment]

    async with talk(server_class=Quiet) as client:
        assert await client.ask("EXPN some-list") == "500 5.5.1 Command not recognized"


def test_a_verb_is_a_coroutine_function() -> None:
    with pytest.raises(TypeError, match="smtp_NOW must be a coroutine function"):
        type("Wrong", (SMTP,), {"smtp_NOW": lambda self, arg: None})


def test_a_row_has_no_other_fields_than_rows_have() -> None:
    async def smtp_NOW(self: SMTP, arg: str | None) -> None:
        """Nothing."""

    with pytest.raises(TypeError, match="whenever"):
        type("Wrong", (SMTP,), {"smtp_NOW": allow(whenever=True)(smtp_NOW)})


def test_a_subclass_may_be_abstract() -> None:
    class Base(SMTP, ABC):
        async def smtp_NOW(self, arg: str | None) -> None:
            """Nothing."""

    assert "NOW" in Base._verbs


async def test_a_verb_may_have_longer_lines() -> None:
    class Long(SMTP):
        @allow(line_limit=20_000)
        async def smtp_LONG(self, arg: str | None) -> None:
            await self.push(f"250 2.0.0 {len(arg or '')}")

    async with talk(server_class=Long) as client:
        assert await client.ask("LONG " + "x" * 19_993) == "250 2.0.0 19993"
        assert await client.ask("LONG " + "x" * 19_994) == "500 5.5.2 Line too long"
        assert await client.ask("NOOP " + "x" * 506) == "500 5.5.2 Line too long"


async def test_the_general_limit_of_lines_may_be_changed() -> None:
    class Wide(SMTP):
        command_size_limit = 1000

    async with talk(server_class=Wide) as client:
        assert await client.ask("NOOP " + "x" * 993) == "250 2.0.0 OK"
        assert await client.ask("NOOP " + "x" * 994) == "500 5.5.2 Line too long"


async def test_sessions_and_envelopes_may_be_of_ones_own_classes() -> None:
    class MySession(Session):
        pass

    class MyEnvelope(Envelope):
        pass

    class Mine(SMTP):
        def _create_session(self) -> Session:
            return MySession(self.transport.get_extra_info("peername"))

        def _create_envelope(self) -> Envelope:
            return MyEnvelope()

    async with talk(handler := Recorder(), server_class=Mine) as client:
        await client.send("Hello")
        assert isinstance(client.server.session, MySession)
        assert client.server.session.peer == ("192.0.2.1", 49152)
        assert isinstance(client.server.envelope, MyEnvelope)
    assert isinstance(handler.envelopes[0], MyEnvelope)
    assert handler.envelopes[0] is not client.server.envelope


async def test_the_calls_of_hooks_may_be_watched() -> None:
    class Watching(SMTP):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.calls: list[str] = []

        async def _call_handler_hook(self, command: str, *args: Any) -> Any:
            self.calls.append(command)
            answer = await super()._call_handler_hook(command, *args)
            return "550 5.7.1 Not him" if command == "RCPT" and answer is None else answer

    async with talk(server_class=Watching) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        assert await client.ask("RCPT TO:<b@example.com>") == "550 5.7.1 Not him"
        assert await client.ask("DATA") == "503 5.5.1 Need RCPT command"
        await client.ask("QUIT")
        await client.is_over()
    assert client.server.calls == ["CONNECT", "EHLO", "MAIL", "RCPT", "QUIT", "DISCONNECT"]  # type: ignore[attr-defined]


async def test_push_may_be_called_by_hooks_and_overridden() -> None:
    class Loud(SMTP):
        async def push(self, status: Status) -> None:
            await super().push(status.upper() if isinstance(status, str) else status)

        async def smtp_NOW(self, arg: str | None) -> None:
            await self.push("250 2.0.0 now")

    async def handle_VRFY(server: SMTP, *args: object) -> str:
        await server.push("250-2.0.0 first".replace("-", " "))
        await server.push(b"250 second")
        return "250 2.0.0 third"

    async with talk(Handler(VRFY=handle_VRFY), server_class=Loud) as client:
        assert await client.ask("NOW") == "250 2.0.0 NOW"
        assert await client.ask("VRFY x") == "250 2.0.0 FIRST"
        assert await client.hear() == "250 second"
        assert await client.hear() == "250 2.0.0 third"


async def test_push_of_what_is_no_status_is_a_failure_of_the_verb() -> None:
    class Wrong(SMTP):
        async def smtp_NOW(self, arg: str | None) -> None:
            await self.push("250 one\r\n250 two")

    async with talk(server_class=Wrong) as client:
        assert await client.ask("NOW") == INTERNAL_ERROR
        assert await client.is_usable()


async def test_push_says_when_the_client_is_gone() -> None:
    outcome: list[str] = []
    is_gone = asyncio.Event()

    async def handle_VRFY(server: SMTP, *args: object) -> None:
        await is_gone.wait()
        try:
            await server.push("250 Anybody there?")
        except Exception as error:
            outcome.append(type(error).__name__)
            raise

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        await client.say("VRFY x")
        await in_callback(client.transport.lose)
        is_gone.set()
    assert outcome == ["Disconnected"]


async def test_utf8_goes_to_those_who_asked_for_it() -> None:
    handler = Handler(VRFY=coroutine(lambda: "252 2.5.2 Grüße"), RCPT=coroutine(lambda: "250 2.1.5 Grüße"))
    async with talk(handler) as client:
        assert await client.ask("VRFY x") == "252 2.5.2 Gr??e"
        await client.ask("MAIL FROM:<a@example.com> SMTPUTF8")
        assert await client.ask("RCPT TO:<b@example.com>") == "250 2.1.5 Grüße"
        await client.ask("RSET")
        assert await client.ask("VRFY x") == "252 2.5.2 Gr??e"


class Checking(SMTP):
    async def smtp_HELOED(self, arg: str | None) -> None:
        if not await self.check_helo_needed(*([arg] if arg else [])):
            await self.push("250 2.0.0 Hello")

    @allow(before_auth=True)
    async def smtp_AUTHED(self, arg: str | None) -> None:
        if not await self.check_auth_needed("AUTHED"):
            await self.push("250 2.0.0 I know you")


async def test_check_helo_needed_tells_the_client() -> None:
    async with talk(server_class=Checking, is_greeted=False) as client:
        await client.hear()
        assert await client.ask("HELOED") == "503 5.5.1 Say HELO first"
        assert await client.ask("HELOED EHLO") == "503 5.5.1 Say EHLO first"
        await client.ask("HELO client.example")
        assert await client.ask("HELOED") == "250 2.0.0 Hello"


@pytest.mark.filterwarnings("ignore:auth_required without")
async def test_check_auth_needed_tells_the_client() -> None:
    async with talk(server_class=Checking) as client:
        assert await client.ask("AUTHED") == "250 2.0.0 I know you"
    async with talk(server_class=Checking, auth_required=True, auth_require_tls=False) as client:
        assert await client.ask("AUTHED") == "530 5.7.0 Authentication required"
        client.server.session.authenticated = True
        assert await client.ask("AUTHED") == "250 2.0.0 I know you"


async def test_a_hook_may_end_the_session() -> None:
    async def handle_VRFY(server: SMTP, *args: object) -> str:
        server.end_session(Disconnect.ERRORS)
        return "421 4.7.0 That is enough"

    async with talk(handler := _with_recorder(Handler(VRFY=handle_VRFY))) as client:
        await client.say("VRFY x", "NOOP")
        assert await client.hear_all() == ["421 4.7.0 That is enough"]
    assert handler.reasons == ["errors"]  # type: ignore[attr-defined]


def _with_recorder(handler: Handler) -> Handler:
    reasons: list[str] = []

    async def handle_DISCONNECT(server: SMTP, session: Session, envelope: Envelope, why: str) -> None:
        reasons.append(why)

    handler.handle_DISCONNECT = handle_DISCONNECT  # type: ignore[attr-defined]
    handler.reasons = reasons  # type: ignore[attr-defined]
    return handler


def test_settings_come_whole_or_by_keyword() -> None:
    settings = Settings(timeout=5)
    assert SMTP(Nothing(), settings=settings).settings is settings
    assert SMTP(Nothing(), timeout=5).settings == settings
    assert SMTP(Nothing()).settings == Settings()
    with pytest.raises(TypeError, match="not both"):
        SMTP(Nothing(), settings=settings, timeout=5)
    with pytest.raises(TypeError, match="bogus"):
        SMTP(Nothing(), bogus=1)  # type: ignore[call-arg]


async def test_without_a_host_name_the_server_finds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def getfqdn() -> str:
        threads.append(threading.current_thread())
        return "found.example"

    monkeypatch.setattr("socket.getfqdn", getfqdn)
    async with talk(hostname=None, is_greeted=False) as client:
        assert await client.hear() == "220 found.example ESMTP ehlo"
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_the_words_of_the_greeting_may_be_chosen() -> None:
    async with talk(ident="at your service", is_greeted=False) as client:
        assert await client.hear() == "220 mx.test ESMTP at your service"


async def test_a_session_describes_itself_for_the_log() -> None:
    descriptions = []

    async def handle_VRFY(server: SMTP, *args: object) -> None:
        descriptions.append(server.describe())

    async with talk(Handler(VRFY=handle_VRFY)) as client:
        await client.ask("VRFY x")
        name = f"session {client.server.session.id}"
        assert descriptions == [f"{name}, VRFY"]
        assert client.server.describe() == f"{name}, between commands"


async def test_every_line_of_the_log_names_its_session(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with talk(Excusing(None)) as client:
        await client.ask("XYZZY")
        await client.ask("VRFY x")
        await client.ask("MAIL FROM:<nobody>")
        await client.send("Hello")
        await client.ask("QUIT")
    records = [record for record in caplog.records if record.name.startswith("ehlo")]
    assert len(records) >= 5
    assert all(client.server.session.id in record.getMessage() for record in records)


# -- What is left of a session ------------------------------------------------------------------------------


async def _by_quit(client: Client) -> None:
    await client.ask("QUIT")


async def _by_loss(client: Client) -> None:
    await in_callback(client.transport.lose)


async def _by_errors(client: Client) -> None:
    await client.say(*["XYZZY"] * 100)
    await client.hear_all()


async def _by_stop(client: Client) -> None:
    await in_callback(client.server.stop)
    await client.hear_all()


async def _by_timeout(client: Client) -> None:
    await pass_time(301)
    await client.hear_all()


async def _after_mail(client: Client) -> None:
    assert (await client.send("Hello")).startswith("250")
    await client.ask("QUIT")


async def _after_failure(client: Client) -> None:
    assert await client.ask("VRFY x") == INTERNAL_ERROR
    await client.ask("QUIT")


async def _amid_data(client: Client) -> None:
    await client.begin()
    await client.ask("DATA", "Hello")
    await in_callback(client.transport.lose)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "ending",
    [_by_quit, _by_loss, _by_errors, _by_stop, _by_timeout, _after_mail, _after_failure, _amid_data],
)
def test_a_finished_session_leaves_no_reference_cycle(
    ending: Callable[[Client], Awaitable[None]], is_streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory is given back when a session ends, and not when the collector next runs."""

    class Sink:
        async def handle_VRFY(self, *args: object) -> None:
            raise ValueError

        async def handle_DATA(self, *args: object) -> None:
            await asyncio.sleep(0)

    class Stream(Sink):
        async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Any) -> None:
            async for _ in chunks:
                await asyncio.sleep(0)

    handler = Stream() if is_streamed else Sink()
    settings = Settings(hostname="mx.test")

    async def session() -> list[weakref.ref[Any]]:
        client = Client(SMTP(handler, settings=settings))
        server = client.server
        await client.greet()
        await ending(client)
        await client.leave()
        assert server.task.done()
        caplog.clear()  # records hold tracebacks
        # What real transports do when the connection is lost.
        client.transport.protocol = None  # type: ignore[assignment]
        return [weakref.ref(thing) for thing in (server, server.session, server.envelope)]

    async def run() -> list[object]:
        references = await session()
        await be_quiet()
        return [reference() for reference in references]

    logging.getLogger("ehlo").setLevel(logging.CRITICAL)
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
            assert runner.run(run()) == [None] * 3
    finally:
        gc.enable()
        logging.getLogger("ehlo").setLevel(logging.NOTSET)


# -- Any cut gives the same octets --------------------------------------------------------------------------

BLOCKS = [
    b"NOOP\r\n",
    b"XYZZY\r\n",
    b"\r\n",
    b"NOOP bare\nLF\r\n",
    b"RSET\r\n",
    b"EHLO client.example\r\n",
    b"HELO client.example\r\n",
    b"VRFY somebody\r\n",
    b"MAIL FROM:<a@example.com>\r\n",
    b"RCPT TO:<b@example.com>\r\n",
    b"RCPT TO:<nobody>\r\n",
    b"NOOP " + b"x" * 600 + b"\r\n",
    b"NOOP " + b"x" * 13_000 + b"\r\n",
    b"RSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nHello\r\n..\r\n.x\r\n\r\n.\r\n",
    b"RSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n.\r\n",
    b"RSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nbare\n.\n\r.\rQUIT\r\n.\r\n",
    b"RSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT 6\r\nQUIT\r\nNOOP\r\nBDAT 3 LAST\r\n.\r\n",
    b"RSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT 2\r\nhiRSET\r\n",
    b"BDAT 6 LAST\r\nQUIT\r\n",
]
dialogues = st.lists(st.sampled_from(BLOCKS), max_size=8).map(lambda blocks: b"".join(blocks) + b"QUIT\r\n")


async def play(pieces: list[bytes]) -> tuple[bytes, list[bytes | None]]:
    """Octets that the server says, and the contents that it took."""

    class Anonymous(Envelope):
        id = "same"

    class Mine(SMTP):
        def _create_envelope(self) -> Envelope:
            return Anonymous()

    async with talk(handler := Recorder(), server_class=Mine) as client:
        await client.feed(*pieces)
        async with asyncio.timeout(5):
            await asyncio.wait([client.server.task])
        return bytes(client.transport.sent), handler.contents


@given(dialogues, st.lists(st.integers(0, 30_000), max_size=10))
async def test_the_cut_does_not_matter(dialogue: bytes, places: list[int]) -> None:
    edges = [0, *sorted(place % len(dialogue) for place in places), len(dialogue)]
    pieces = [dialogue[start:end] for start, end in pairwise(edges)]
    assert await play(pieces) == await play([dialogue])


@pytest.mark.parametrize("block", BLOCKS)
async def test_octet_by_octet_is_the_same(block: bytes) -> None:
    dialogue = block[:2000] + block[2000:][-2:] + b"QUIT\r\n"
    assert await play([bytes([octet]) for octet in dialogue]) == await play([dialogue])


async def test_what_is_sent_where_a_command_belongs_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "U0VDUkVUc2VjcmV0"
    async with talk() as client:
        assert (await client.ask("AUTH LOGIN")).startswith("502 ")
        assert await client.ask(secret) == "500 5.5.1 Command not recognized"
    assert "AUTH refused" in caplog.text
    assert secret.lower() not in caplog.text.lower()


async def test_a_verb_that_waits_for_something_cancelled_costs_451_and_no_more() -> None:
    class Broken(SMTP):
        async def smtp_NOW(self, arg: str | None) -> None:
            gone: asyncio.Future[None] = self.loop.create_future()
            gone.cancel()
            await gone

    async with talk(server_class=Broken) as client:
        assert await client.ask("NOW") == INTERNAL_ERROR
        assert await client.is_usable()


@with_fake_clock
async def test_a_hook_that_catches_its_cancellation_and_hangs_again_is_cut_off() -> None:
    class Stubborn:
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str | None) -> None:
            try:
                await asyncio.sleep(10_000)
            finally:
                await asyncio.sleep(10_000)

    async with talk(Stubborn()) as client:
        await client.say("NOOP")
        await pass_time(541)
        assert not client.transport.is_closing()
        await pass_time(6)
        assert await client.is_over()


# -- handle_COMMAND, and closing from a hook ----------------------------------------------------------------


class Answering(Recorder):
    """Answers commands by a table of verbs; what is an exception is raised."""

    def __init__(self, **answers: Status | Exception) -> None:
        super().__init__()
        self.answers = answers
        self.seen: list[tuple[str, str | None]] = []

    async def handle_COMMAND(
        self, server: SMTP, session: Session, envelope: Envelope, verb: str, arg: str | None
    ) -> Status | None:
        self.seen.append((verb, arg))
        answer = self.answers.get(verb)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(("verb", "stage"), PAIRS, ids=PAIR_IDS)
async def test_every_command_at_every_stage_is_shown_to_handle_command_first(verb: str, stage: Stage) -> None:
    handler = Answering()
    async with talk(handler, is_greeted=False) as client:
        await by_commands(client, stage)
        handler.answers = {verb: "450 4.2.0 Not this"}
        line = TABLE[verb][0]
        await client.feed(line.encode() + (b"" if verb == "BDAT" else b"\r\n"))
        # RFC 2034 §4: no enhanced status code for a greeting.
        assert await client.hear() == f"450 {'' if verb[1:] in {'ELO', 'HLO'} else '4.2.0 '}Not this"

        word, _, rest = line.partition("\r\n")[0].partition(" ")
        assert handler.seen[-1] == (word, rest or None)
        if verb != "BDAT":
            assert stage_of(client.server.session, client.server.envelope) is stage
        assert await client.ask("RSET" if verb != "RSET" else "HELP")


async def test_what_handle_command_lets_pass_is_run() -> None:
    handler = Answering()
    async with talk(handler) as client:
        assert (await client.send("Hello")).startswith("250 2.0.0 OK queued")
    assert handler.contents == [b"Hello\r\n"]
    assert [verb for verb, _ in handler.seen] == ["EHLO", "MAIL", "RCPT", "DATA"]


async def test_a_plain_function_may_be_handle_command() -> None:
    class Plain:
        def handle_COMMAND(self, server: SMTP, session: Session, envelope: Envelope, verb: str, arg: str | None) -> str:
            return f"250 2.0.0 {threading.current_thread() is not threading.main_thread()}"

    async with talk(Plain(), is_greeted=False) as client:
        await client.hear()
        assert await client.ask("XYZZY") == "250 2.0.0 True"


async def test_a_line_that_is_no_command_is_not_shown() -> None:
    handler = Answering()
    async with talk(handler) as client:
        assert (await client.ask("")).startswith("500 ")
    assert [verb for verb, _ in handler.seen] == ["EHLO"]


async def test_a_refused_session_stays_refused() -> None:
    class Closed(Answering):
        async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            return "554 No"

    handler = Closed(NOOP="250 2.0.0 Yes", QUIT="221 2.0.0 Well")
    async with talk(handler, is_greeted=False) as client:
        assert await client.ask() == "554 No"
        assert (await client.ask("NOOP")).startswith("503 ")
        assert await client.ask("QUIT") == "221 2.0.0 Well"
    assert handler.seen == [("QUIT", None)]


async def test_what_handle_command_answers_counts_as_a_command() -> None:
    async with talk(Answering(NOOP="250 2.0.0 Yes"), command_call_limit=2) as client:
        assert await client.ask("NOOP") == await client.ask("NOOP") == "250 2.0.0 Yes"
        assert (await client.ask("NOOP")).startswith("421 ")


async def test_what_handle_command_raises_is_an_error_of_the_client() -> None:
    async with talk(Answering(NOOP=ProtocolError("a secret", text="Not here")), error_limit=2) as client:
        assert "Not here" in await client.ask("NOOP")
        assert "Not here" in await client.ask("NOOP")
        assert (await client.hear()).startswith("421 ")


@pytest.mark.parametrize("mistake", [RuntimeError("oops"), "354 Go on", "no status"])
async def test_a_handle_command_that_fails_is_the_servers_fault(mistake: Status | Exception) -> None:
    async with talk(Answering(NOOP=mistake)) as client:
        assert await client.ask("NOOP") == INTERNAL_ERROR
        assert await client.ask("RSET") == "250 2.0.0 OK"
        assert client.server._stats.hook_exceptions == 1


@with_fake_clock
async def test_a_handle_command_that_takes_too_long_is_cancelled() -> None:
    class Slow:
        async def handle_COMMAND(
            self, server: SMTP, session: Session, envelope: Envelope, verb: str, arg: str | None
        ) -> None:
            if verb == "NOOP":
                await asyncio.sleep(1000)

    async with talk(Slow(), hook_timeout=10) as client:
        await client.say("NOOP")
        await pass_time(11)
        assert await client.hear() == INTERNAL_ERROR
        assert await client.ask("RSET") == "250 2.0.0 OK"


async def test_a_refusal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with talk(Answering(NOOP="450 4.2.0 Not this", XYZZY="450 4.2.0 Nor this")) as client:
        with caplog.at_level(logging.INFO, "ehlo.smtp"):
            await client.ask("NOOP")
            await client.ask("XYZZY")
    assert [record.getMessage().partition(": ")[2] for record in caplog.records[:2]] == [
        "NOOP refused by handle_COMMAND: 450 4.2.0 Not this",
        "? refused by handle_COMMAND: 450 4.2.0 Nor this",
    ]


async def test_mail_data_behind_a_data_that_handle_command_answered_are_not_run() -> None:
    handler = Answering(DATA="451 4.3.0 Later")
    async with talk(handler) as client:
        await client.begin()
        assert await client.ask("DATA", "NOOP", ".") == "451 4.3.0 Later"
        assert (await client.hear()).startswith("421 ")
    assert ("NOOP", None) not in handler.seen


async def test_a_failure_at_data_keeps_what_follows_from_being_run() -> None:
    handler = Answering(DATA=RuntimeError("oops"))
    async with talk(handler) as client:
        await client.begin()
        assert await client.ask("DATA", "NOOP", ".") == INTERNAL_ERROR
        assert (await client.hear()).startswith("421 ")
    assert ("NOOP", None) not in handler.seen


@pytest.mark.parametrize("answer", ["452 4.3.1 Full", RuntimeError("oops"), ProtocolError(text="No")])
async def test_the_chunks_behind_a_refused_one_make_no_message(answer: Status | Exception) -> None:
    handler = Answering()
    async with talk(handler) as client:
        await client.begin()
        await client.feed(b"BDAT 4\r\nNOOP")
        assert (await client.hear()).startswith("250 ")
        handler.answers["BDAT"] = answer
        await client.feed(b"BDAT 6\r\nQUIT\r\n")
        assert (await client.hear())[0] in "45"
        handler.answers.clear()
        await client.feed(b"BDAT 6 LAST\r\nRSET\r\n")
        assert (await client.hear()).startswith("503 ")
        assert await client.is_usable()
    assert handler.envelopes == []


async def test_the_chunks_behind_a_refused_first_one_make_no_message() -> None:
    handler = Answering(BDAT="452 4.3.1 Full")
    async with talk(handler) as client:
        await client.begin()
        await client.feed(b"BDAT 4\r\nNOOP")
        assert await client.hear() == "452 4.3.1 Full"
        handler.answers.clear()
        await client.feed(b"BDAT 6 LAST\r\nRSET\r\n")
        assert (await client.hear()).startswith("503 ")
    assert handler.envelopes == []


class Closing(Recorder):
    """Disconnects at one hook."""

    def __init__(self, at: str, *, abort: bool = False) -> None:
        super().__init__()
        self.at = at
        self.abort = abort
        self.verbs: list[str] = []

    def _look(self, server: SMTP, where: str) -> None:
        if where == self.at:
            server.disconnect(abort=self.abort)

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        self._look(server, "CONNECT")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> None:
        self._look(server, "RCPT")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        await super().handle_DATA(server, session, envelope)
        self._look(server, "DATA")

    async def handle_COMMAND(
        self, server: SMTP, session: Session, envelope: Envelope, verb: str, arg: str | None
    ) -> None:
        self.verbs.append(verb)
        self._look(server, f"COMMAND {verb}")


DIALOGUE = ("EHLO client.example", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA", "Hello", ".")


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("CONNECT", []),
        ("COMMAND EHLO", ["220"]),
        ("COMMAND RCPT", ["220", "250", "250"]),
        ("RCPT", ["220", "250", "250"]),
        ("COMMAND DATA", ["220", "250", "250", "250"]),
        ("DATA", ["220", "250", "250", "250", "354"]),
    ],
)
async def test_a_hook_may_disconnect_without_a_reply(at: str, said: list[str]) -> None:
    handler = Closing(at)
    async with talk(handler, is_greeted=False) as client:
        await client.say(*DIALOGUE, "NOOP")
        assert [reply[:3] for reply in await client.hear_all()] == said
        assert client.transport.is_closing()
    assert handler.reasons == [Disconnect.CLOSED]
    assert "NOOP" not in handler.verbs


async def test_a_hook_may_disconnect_twice() -> None:
    class Twice(Recorder):
        async def handle_COMMAND(self, server: SMTP, *args: Any) -> None:
            server.disconnect()
            server.disconnect(abort=True)

    handler = Twice()
    async with talk(handler, is_greeted=False) as client:
        assert (await client.ask("NOOP")).startswith("220 ")
        assert await client.is_over()
    assert handler.reasons == [Disconnect.CLOSED]


@pytest.mark.parametrize("abort", [False, True])
async def test_a_real_client_sees_an_end_or_a_reset(abort: bool) -> None:
    async with serve(Closing("COMMAND NOOP", abort=abort), "127.0.0.1", 0, hostname="mx.test") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert (await reader.readline()).startswith(b"220 ")
        writer.write(b"NOOP\r\n")
        if abort:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            assert await reader.read() == b""
        writer.close()
