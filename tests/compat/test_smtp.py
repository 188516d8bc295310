"""The session: what programs may do with it, and where it is better than the one it stands for.

What it says is held against aiosmtpd in test_differential.py.
"""

# ruff: noqa: N802 - the names of mechanisms are in those of their methods

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import gc
import importlib
import logging
import os
import socket
import ssl
import subprocess
import sys
import warnings
import weakref
from typing import Any

import pytest

from ehlo.compat.aiosmtpd import smtp
from ehlo.compat.aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, Session
from ehlo.testing import FakeClockLoop, MemoryTransport, Script


class Recording:
    """Keeps envelopes."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 OK"


def make(handler: object = None, cls: type[SMTP] = SMTP, **parameters: Any) -> SMTP:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # AUTH without TLS
        return cls(handler or Recording(), hostname="mx.test", **parameters)


async def play(text: str, server: SMTP) -> MemoryTransport:
    """Play a dialogue, behind the greeting."""
    return await Script.parse("S: 220 mx.test Python SMTP 1.4.6\n" + text).play(server)


TRANSACTION = """
C: HELO client.test
C: MAIL FROM:<alice@example.com>
C: RCPT TO:<bob@example.com>
S: 250 mx.test
S: 250 OK
S: 250 OK
"""


# -- Replies and the transport -------------------------------------------------------------------------------------


async def test_the_replies_to_a_group_of_commands_go_out_together() -> None:
    transport = await play(TRANSACTION, make())
    assert transport.writes == [b"220 mx.test Python SMTP 1.4.6\r\n", b"250 mx.test\r\n250 OK\r\n250 OK\r\n"]


async def test_what_was_pushed_is_sent_before_a_verb_closes_the_transport() -> None:
    class Leaving(SMTP):
        async def smtp_LEAVE(self, arg: str | None) -> None:
            await self.push("250 done")
            await self.push("221 leaving")
            self.transport.close()

    await play("C: LEAVE\nC: NOOP\nS: 250 done\nS: 221 leaving\nX: closed\n", make(cls=Leaving))


async def test_the_writer_keeps_its_place_among_the_replies() -> None:
    class Mixing(SMTP):
        async def smtp_MIX(self, arg: str | None) -> None:
            writer = self._writer
            await self.push("250-one")
            assert writer.get_extra_info("peername") == ("192.0.2.1", 49152)
            assert not writer.is_closing()
            writer.write(b"250-two\r\n")
            writer.writelines([b"250-", b"three\r\n"])
            await self.push("250 four")
            await writer.drain()

    await play("C: MIX\nC: NOOP\nS: 250-one\nS: 250-two\nS: 250-three\nS: 250 four\nS: 250 OK\n", make(cls=Mixing))


async def test_several_lines_and_octets_are_said_as_they_are() -> None:
    class Lines:
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str | None) -> object:
            return "250-one\r\n250 two" if arg is None else b"250 \xff"

    await play("C: NOOP\nC: NOOP x\nS: 250-one\nS: 250 two\nS: 250 \\xff\n", make(Lines()))


async def test_a_hook_that_returns_nothing_is_an_error() -> None:
    class Forgetful:
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str | None) -> None:
            return None

    await play("C: NOOP\nC: QUIT\nS: 500 Error: (AssertionError) \nS: 221 Bye\nX: closed\n", make(Forgetful()))


async def test_the_transport_is_none_before_the_session_and_after_it() -> None:
    server = make()
    assert server.transport is None
    assert vars(server)["session"] is None
    transport = await play("C: NOOP\nS: 250 OK\n", server)
    assert server.transport is None
    assert server._writer.transport is transport  # as a StreamWriter has it


async def test_a_push_to_a_client_that_is_gone_raises_what_streams_raise() -> None:
    server = make()
    await play("C: NOOP\nS: 250 OK\n", server)
    with pytest.raises(ConnectionResetError):
        await server.push("250 anybody?")


def test_a_connection_may_be_made_before_the_loop_runs() -> None:
    loop = asyncio.new_event_loop()
    try:
        server = make(loop=loop)
        transport = MemoryTransport(server)
        transport.feed(b"QUIT\r\n")
        assert server._handler_coroutine is not None
        loop.run_until_complete(server._handler_coroutine)
        assert transport.writes == [b"220 mx.test Python SMTP 1.4.6\r\n221 Bye\r\n"]
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


async def test_a_finished_session_leaves_no_garbage() -> None:
    references = []

    def factory() -> SMTP:
        server = make(command_call_limit={"NOOP": 5}, auth_require_tls=False)
        references.append(weakref.ref(server))
        return server

    listener = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    gc.collect()
    gc.disable()
    try:
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\nFOO\r\nHELP\r\nQUIT\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        for _ in range(20):
            await asyncio.sleep(0)
        assert [reference() for reference in references] == [None]
    finally:
        gc.enable()
        listener.close()


async def test_what_a_hook_pushes_leaves_before_it_goes_on() -> None:
    class Pushing:
        async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str | None) -> str:
            await server.push("250-wait")
            return f"250 {server._transport.writes[-1][:8]}"

    class Verb(SMTP):
        async def smtp_XWAIT(self, arg: str | None) -> None:
            await self.push("250-wait")
            await self.push(f"250 {self._transport.writes[-1][:8]}")

    said = "S: 250-wait\nS: 250 b'250-wait'\n"
    await play(f"C: NOOP\n{said}C: XWAIT\n{said}", make(Pushing(), Verb))


@pytest.mark.parametrize("last", ["QUIT", "NOOP\nS: 421 4.7.0 NOOP sent too many times"])
async def test_the_log_has_the_end_of_a_session(last: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mail.log"):
        await play(f"C: {last}\nS: ...\nX: closed\n".replace("times\nS: ...", "times"), make(command_call_limit=0))
    assert [message.partition(") ")[2] for message in caplog.messages][-2:] == [
        "Connection lost during _handle_client()",
        "connection lost",
    ]


async def test_a_session_that_cannot_read_ends(caplog: pytest.LogCaptureFixture) -> None:
    await play("X: closed\n", make(timeout=None))
    assert caplog.messages == ["('192.0.2.1', 49152) SMTP session exception"]


# -- Attributes of a program's own -------------------------------------------------------------------------------------

OUR_NAMES = {"buffer_updated", "describe", "get_buffer", "is_gone", "owner", "stop", "task", "tls_from_start"}


def test_no_more_public_names_are_taken_than_documented() -> None:
    """In docs/migrating.md."""
    theirs = {*dir(importlib.import_module("aiosmtpd.smtp").SMTP), "loop", "transport"}  # as its objects have
    ours = set(dir(SMTP))
    assert {name for name in ours - theirs if not name.startswith("_")} == OUR_NAMES
    assert {"_run", "_write", "_flush", "_close", "_drain", "_begin", "_end", "_offer", "_pause", "_expired"} <= ours


@pytest.mark.parametrize("name", sorted(OUR_NAMES - {"buffer_updated", "get_buffer", "task"}))
async def test_a_subclass_may_use_a_name_of_the_connection(name: str) -> None:
    class Naming(SMTP):
        def __init__(self, *args: Any, **parameters: Any) -> None:
            super().__init__(*args, **parameters)
            setattr(self, name, "mine")

        async def smtp_NAME(self, arg: str) -> None:
            await self.push(f"250 {getattr(self, name)}")

    await play("C: NAME\nC: QUIT\nS: 250 mine\nS: 221 Bye\nX: closed\n", make(cls=Naming))


async def test_one_name_of_the_connection_cannot_be_used() -> None:
    with pytest.raises(AttributeError, match="task"):
        make().task = None  # type: ignore[misc, assignment]


async def test_mechanisms_and_verbs_can_be_taken_away() -> None:
    class Less(SMTP):
        def __init__(self, *args: Any, **parameters: Any) -> None:
            super().__init__(*args, **parameters)
            self._auth_methods.pop("LOGIN")
            self._smtp_methods.pop("VRFY")
            self._smtp_methods["XNOOP"] = self.smtp_NOOP

    await play(
        "C: EHLO x\nS: 250-mx.test\nS: 250-SIZE 33554432\nS: 250-8BITMIME\nS: 250-AUTH PLAIN\nS: 250 HELP\n"
        'C: AUTH LOGIN\nS: 504 5.5.4 ...\nC: VRFY x\nS: 500 Error: command "VRFY" not recognized\n'
        "C: XNOOP\nS: 250 OK\n",
        make(cls=Less, auth_require_tls=False),
    )
    server = make(auth_require_tls=False)
    server._auth_methods = {}
    await play("C: EHLO x\nS: ...\nC: AUTH PLAIN\nS: 504 5.5.4 ...\n", server)
    assert "PLAIN" in make()._auth_methods


async def test_the_limit_of_calls_may_be_changed() -> None:
    server = make(command_call_limit=5)
    assert (server._enforce_call_limit, server._call_limit_default) == (True, 5)
    server._call_limit_default = 1
    await play("C: NOOP\nC: NOOP\nS: 250 OK\nS: 421 4.7.0 NOOP sent too many times\nX: closed\n", server)
    server = make(command_call_limit=0)
    server._enforce_call_limit = False
    await play("C: NOOP\nS: 250 OK\n", server)


async def test_the_timeout_may_be_cancelled_and_called() -> None:
    class Waiting(SMTP):
        async def smtp_NOOP(self, arg: str) -> None:
            self._timeout_handle.cancel()
            self._timeout_cb()

    await play("C: NOOP\nX: closed\n", make(cls=Waiting))


@pytest.mark.parametrize("category", [UserWarning, DeprecationWarning])
async def test_warnings_come_from_the_module_smtp(category: type[Warning]) -> None:
    class Old:
        async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> str:
            return "250 x"

    def build() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", category=ignored, module=r"ehlo\.compat\.aiosmtpd\.smtp")
            SMTP(Old() if category is DeprecationWarning else object(), hostname="x", **parameters)

    parameters: Any = {"auth_required": category is UserWarning, "auth_require_tls": False}
    ignored: type[Warning] = category
    build()
    ignored = SyntaxWarning
    with pytest.raises(category):
        build()


# -- Streams of a program's own ------------------------------------------------------------------------------------


class OwnData(SMTP):
    """Reads mail data by itself, line by line."""

    async def smtp_DATA(self, arg: str | None) -> None:
        await self.push("354 go on")
        lines = []
        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line)
        await self.push(f"250 {len(lines)} lines")


@pytest.mark.parametrize("octet_by_octet", [False, True])
async def test_what_a_program_does_not_read_is_commands_again(octet_by_octet: bool) -> None:
    script = Script.parse(
        "S: ...\n" + TRANSACTION + "C: DATA\nC: one\nC: two\nC: .\nC: NOOP\nC: QUIT\n"
        "S: 354 go on\nS: 250 2 lines\nS: 250 OK\nS: 221 Bye\nX: closed\n"
    )
    await script.play(make(cls=OwnData), octet_by_octet=octet_by_octet)


async def test_a_reader_comes_to_its_end_with_the_connection() -> None:
    class Reading(SMTP):
        rest = b""

        async def smtp_READ(self, arg: str | None) -> None:
            await self.push("250 reading")
            Reading.rest = await self._reader.read()

    await play("C: READ\nC+ some\nS: 250 reading\nC+ thing\nE: eof\nX: closed\n", make(cls=Reading))
    assert Reading.rest == b"something"


async def test_a_program_that_reads_waits_no_longer_than_the_timeout() -> None:
    class Reading(SMTP):
        async def smtp_READ(self, arg: str | None) -> None:
            await self._reader.readline()

    await play("C: READ\nX: closed\n", make(cls=Reading, timeout=0.01))


async def test_the_reader_can_be_emptied() -> None:
    class Clearing(SMTP):
        async def smtp_CLEAR(self, arg: str | None) -> None:
            self._reader._buffer.clear()
            await self.push("250 cleared")

    await play("C: CLEAR\nC: NOOP\nS: 250 cleared\nX: open\nC: QUIT\nS: 221 Bye\n", make(cls=Clearing))


async def test_a_command_loop_of_its_own_works() -> None:
    class Echo(SMTP):
        async def _handle_client(self) -> None:
            while line := await self._reader.readline():
                await self.push(line.rstrip())

    await Script.parse("C: one\nC: two\nS: one\nS: two\nE: eof\nX: closed\n").play(make(cls=Echo))


async def test_a_session_can_be_held_over_streams_that_somebody_else_has_opened() -> None:
    class Given(OwnData):
        def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            super().__init__(Recording(), hostname="mx.test", auth_require_tls=False, authenticator=accept)
            self.transport = writer
            self._writer = writer
            self._reader = reader
            self._set_rset_state()
            self.session = self._create_session()
            self.session.peer = writer.get_extra_info("peername")

    ended: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = Given(reader, writer)
        try:
            await server._handle_client()
        except ConnectionResetError:
            ended.append("reset")
        else:
            ended.append("closed")
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        for last, end in (("QUIT", "closed"), ("", "reset")):
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            assert (await reader.readline()).startswith(b"220 mx.test")
            assert (await _say(reader, writer, "EHLO x"))[-1] == "250 HELP"
            assert await _say(reader, writer, "AUTH LOGIN YW5u") == ["334 UGFzc3dvcmQA"]
            assert (await _say(reader, writer, b64("secret")))[0].startswith("235 ")
            assert await _say(reader, writer, "MAIL FROM:<a@b>\r\nRSET") == ["250 OK"]
            assert await reader.readline() == b"250 OK\r\n"
            writer.write(b"DATA\r\none\r\n.\r\nNOOP\r\n" + last.encode() + b"\r\n" * bool(last))
            writer.write_eof()
            assert (await reader.read()).splitlines()[:3] == [b"354 go on", b"250 1 lines", b"250 OK"]
            writer.close()
            await asyncio.sleep(0.01)
            assert ended.pop() == end
    finally:
        listener.close()


# -- Lines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [r"NOOP\n", r"NOOP a\0b\r\n", r"NOOP a\rb\r\n"])
async def test_a_line_that_others_may_cut_differently_is_not_run(line: str) -> None:
    await play(f"C+ {line}\nS: 500 Error: bad syntax\n", make())


async def test_limits_may_be_set_on_the_class() -> None:
    class Narrow(SMTP):
        command_size_limit = 20
        line_length_limit = 30

    handler = Recording()
    long_line = "x" * 29
    await play(
        TRANSACTION.replace("alice@example.com", "a@b").replace("bob@example.com", "b@c")
        + f"C: DATA\nS: 354 ...\nC: {long_line}\nC: .\nS: 500 Line too long (see RFC5321 4.5.3.1.6)\n"
        f"C: NOOP {'x' * 20}\nS: 500 Command line too long\n",
        make(handler, Narrow),
    )
    assert handler.envelopes == []


async def test_the_limit_of_mail_does_not_grow_with_every_ehlo() -> None:
    server = make()
    await play("C: EHLO x\nS: ...\n" * 5, server)
    assert server.max_command_size_limit == 512 + 26
    assert make().max_command_size_limit == 512


class Counting(SMTP):
    async def smtp_EHLO(self, hostname: str) -> None:
        self._set_rset_state()
        self.session.extended_smtp = True
        self.session.host_name = hostname
        self.command_size_limits["MAIL"] += 26
        await self.push("250 x")


class Default(SMTP):
    command_size_limits = collections.defaultdict(lambda: 2000)  # noqa: RUF012 - as programs write it


class Extended(SMTP):
    def __init__(self, *args: Any, **parameters: Any) -> None:
        super().__init__(*args, **parameters)
        self.command_size_limits["NOOP"] = 2000


@pytest.mark.parametrize(
    ("cls", "limits"),
    [
        (SMTP, {"MAIL": 512 + 26, "NOOP": 512}),
        (Counting, {"MAIL": 512 + 26, "NOOP": 512}),
        (Default, {"MAIL": 2000 + 26, "NOOP": 2000}),
        (Extended, {"MAIL": 512 + 26, "NOOP": 2000}),
    ],
)
async def test_limits_of_commands_belong_to_the_session(cls: type[SMTP], limits: dict[str, int]) -> None:
    for _ in range(2):
        server = make(cls=cls)
        script = "C: EHLO x\nS: ...\n"
        for verb, limit in limits.items():
            line = f"{verb} {'x' * (limit - 5)}"
            script += f"C: {line}\nS: {'250 OK' if verb == 'NOOP' else '501 ...'}\n"
            script += f"C: {line}x\nS: 500 Command line too long\n"
        await play(script, server)
        assert server.max_command_size_limit == max(limits.values() if cls is not Default else [2026])
        assert dict(cls.command_size_limits) == {}


# -- Mail data -----------------------------------------------------------------------------------------------------


async def test_a_line_without_an_end_takes_no_memory() -> None:
    server = make(data_size_limit=1000)
    transport = await play(TRANSACTION + "C: DATA\nS: 354 ...\n", server)
    assert transport.is_closing()
    server = make(data_size_limit=1000)
    transport = MemoryTransport(server)
    transport.feed(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n")
    await asyncio.sleep(0)
    for _ in range(200):
        transport.feed(b"x" * 10_000)
        await asyncio.sleep(0)
        assert server._framer.buffered < 20_000
    transport.feed(b"\r\n.\r\n")
    await asyncio.sleep(0)
    assert transport.sent.endswith(b"\r\n500 Line too long (see RFC5321 4.5.3.1.6)\r\n")
    transport.lose()
    assert server._handler_coroutine is not None
    await server._handler_coroutine


async def test_a_transaction_is_over_when_its_hook_has_failed() -> None:
    class Failing:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            raise ValueError("no")

    await play(
        TRANSACTION + "C: DATA\nS: 354 ...\nC: x\nC: .\nS: 500 Error: (ValueError) no\n"
        "C: DATA\nS: 503 Error: need RCPT command\n",
        make(Failing()),
    )


async def test_a_message_that_came_whole_is_handled_when_its_client_has_gone() -> None:
    class Slow(Recording):
        def __init__(self) -> None:
            super().__init__()
            self.go_on = asyncio.Event()

        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            await self.go_on.wait()
            return await super().handle_DATA(server, session, envelope)

    handler = Slow()
    server = make(handler)
    transport = MemoryTransport(server)
    transport.feed(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n")
    await asyncio.sleep(0)
    transport.lose()
    handler.go_on.set()
    assert server._handler_coroutine is not None
    await server._handler_coroutine
    assert [envelope.content for envelope in handler.envelopes] == [b"x\r\n"]


async def test_a_client_that_says_no_more_has_its_answers() -> None:
    await play("C: HELO client.test\nC: NOOP\nE: eof\nS: 250 mx.test\nS: 250 OK\nX: closed\n", make())


@pytest.mark.parametrize("is_coroutine", [True, False])
async def test_process_message_is_called_where_there_is_no_hook(is_coroutine: bool) -> None:
    class Old:
        seen: tuple[object, ...] = ()

        def process_message(self, *args: object) -> object:
            self.seen = args
            return asyncio.sleep(0, "250 old") if is_coroutine else None

    handler = Old()
    with pytest.warns(DeprecationWarning, match=r"handler\.handle_DATA\(\) instead of \.process_message"):
        await play(
            TRANSACTION + f"C: DATA\nS: 354 ...\nC: x\nC: .\nS: 250 {'old' if is_coroutine else 'OK'}\n",
            make(handler, decode_data=True),
        )
    assert handler.seen == (("192.0.2.1", 49152), "alice@example.com", ["bob@example.com"], "x\r\n")


async def test_hooks_of_a_subclass_are_called_and_deprecated() -> None:
    class Old(SMTP):
        async def ehlo_hook(self) -> None:
            await self.push("250-OLD")

        async def rset_hook(self) -> None:
            await self.push("250-reset")

    with pytest.warns(DeprecationWarning, match="_hook"):
        await play(
            "C: EHLO x\nS: 250-OLD\nS: 250-mx.test\nS: ...\nC: RSET\nS: 250-reset\nS: 250 OK\n",
            make(cls=Old, data_size_limit=None),
        )


# -- Authentication ------------------------------------------------------------------------------------------------


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PLAIN = b64("\0ann\0secret")


def refuse(*_: object) -> AuthResult:
    return AuthResult(success=False)


async def refuse_later(*_: object) -> AuthResult:
    return refuse()


def accept(server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any) -> AuthResult:
    return AuthResult(success=auth_data.password == b"secret", auth_data=auth_data)


async def accept_later(*args: Any) -> AuthResult:
    return accept(*args)


async def authenticate(dialogue: str, handler: object = None, **parameters: Any) -> SMTP:
    server = make(handler, auth_require_tls=False, **parameters)
    await play(f"C: EHLO x\nS: ...\n{dialogue}", server)
    return server


@pytest.mark.parametrize("authenticator", [refuse, refuse_later])
async def test_who_is_not_let_in_is_told(authenticator: Any) -> None:
    server = await authenticate(
        f"C: AUTH PLAIN {PLAIN}\nS: 535 5.7.8 Authentication credentials invalid\n", authenticator=authenticator
    )
    assert not server.session.authenticated


@pytest.mark.parametrize("authenticator", [accept, accept_later])
@pytest.mark.parametrize("mechanism", ["PLAIN", "plain"])
async def test_who_is_let_in_is_authenticated(authenticator: Any, mechanism: str) -> None:
    server = await authenticate(
        f"C: AUTH {mechanism} {PLAIN}\nS: 235 2.7.0 Authentication successful\n", authenticator=authenticator
    )
    assert server.session.authenticated
    assert server.session.auth_data.login == b"ann"


class Mechanisms:
    """One of each kind that there has been."""

    async def auth_ANSWERED(self, server: SMTP, args: list[str]) -> AuthResult:
        await server.push("535 my own words")
        return AuthResult(success=False)

    async def auth_CHALLENGED(self, server: SMTP, args: list[str]) -> AuthResult:
        await server.challenge_auth("?")
        return AuthResult(success=False)

    async def auth_MESSAGE(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=False, handled=False, message="454 not now")

    async def auth_NONE(self, server: SMTP, args: list[str]) -> None:
        return None

    async def auth_MISSING(self, server: SMTP, args: list[str]) -> object:
        return MISSING

    async def auth_FALSE(self, server: SMTP, args: list[str]) -> bool:
        return False

    async def auth_NAME(self, server: SMTP, args: list[str]) -> bytes:
        return b"ann"

    @smtp.auth_mechanism("with-dash")
    async def auth_x(self, server: SMTP, args: list[str]) -> AuthResult:
        return AuthResult(success=True, message="235 welcome")

    async def auth_A__B(self, server: SMTP, args: list[str]) -> Any:
        return server._authenticate("A-B", smtp.LoginPassword(b"ann", b"secret"))


@pytest.mark.parametrize(
    ("exchange", "is_in"),
    [
        ("C: AUTH ANSWERED\nS: 535 my own words\n", False),
        (f"C: AUTH CHALLENGED\nS: 334 Pw==\nC: {b64('x')}\nS: 535 5.7.8 ...\n", False),
        ("C: AUTH CHALLENGED\nS: 334 Pw==\nC: *\nS: 501 5.7.0 Auth aborted\n", False),
        ("C: AUTH CHALLENGED\nS: 334 Pw==\nC: !\nS: 501 5.5.2 Can't decode base64\n", False),
        ("C: AUTH CHALLENGED\nS: 334 Pw==\nC+ eA==\\n\nS: 501 5.5.2 Can't decode base64\n", False),
        ("C: AUTH MESSAGE\nS: 454 not now\n", False),
        ("C: AUTH NONE\nS: 535 5.7.8 ...\n", False),
        ("C: AUTH MISSING\nS: 535 5.7.8 ...\n", False),
        ("C: AUTH FALSE\nS: 535 5.7.8 ...\n", False),
        ("C: AUTH NAME\nS: 235 2.7.0 ...\n", True),
        ("C: AUTH WITH-DASH\nS: 235 welcome\n", True),
        ("C: AUTH A-B\nS: 235 2.7.0 ...\n", True),
    ],
)
async def test_every_attempt_has_one_reply(exchange: str, is_in: bool) -> None:
    server = await authenticate(exchange, Mechanisms(), authenticator=accept_later)
    assert bool(server.session.authenticated) is is_in


async def test_a_response_may_have_12288_octets_and_no_more() -> None:
    token = b64("\0ann\0" + "x" * 9000)
    invalid = "S: 535 5.7.8 Authentication credentials invalid\n"
    await authenticate(
        f"C: AUTH PLAIN {token}\n{invalid}C: AUTH PLAIN\nS: 334 \nC: {token}\n{invalid}"
        f"C: AUTH PLAIN\nS: 334 \nC: {token * 2}\nS: 500 5.5.6 Authentication exchange line is too long\n",
        authenticator=accept,
    )


async def test_the_old_name_of_challenge_auth_still_works() -> None:
    class Old:
        async def auth_OLD(self, server: SMTP, args: list[str]) -> object:
            return await server._auth_interact("334 Pw==")

    with pytest.warns(DeprecationWarning, match="use challenge_auth"):
        await authenticate("C: AUTH OLD\nS: 334 Pw==\nC: YW5u\nS: 235 ...\n", Old())


async def test_answers_are_logged_only_on_request(caplog: pytest.LogCaptureFixture) -> None:
    class Curious:
        async def auth_X(self, server: SMTP, args: list[str]) -> object:
            return await server.challenge_auth("?", encode_to_b64=False, log_client_response=True)

    with caplog.at_level(logging.DEBUG, "mail.log"), pytest.warns(UserWarning, match="AUTH interaction|Sensitive"):
        await authenticate(f"C: AUTH PLAIN {PLAIN}\nS: ...\nC: AUTH X\nS: 334 ?\nC: YW5u\nS: 235 ...\n", Curious())
    assert PLAIN not in caplog.text
    assert "('192.0.2.1', 49152) >> b'AUTH PLAIN ********'" in caplog.messages
    assert any(message.endswith(r">> b'YW5u\r\n'") for message in caplog.messages)


def test_a_result_does_not_show_its_data() -> None:
    assert repr(AuthResult(success=True, auth_data="secret")) == (
        "AuthResult(success=True, handled=True, message=None, auth_data=...)"
    )


def test_a_mechanism_needs_a_name() -> None:
    with pytest.raises(ValueError, match="Invalid AUTH mechanism name: NOT A NAME"):
        smtp.auth_mechanism("not a name")


# -- TLS -----------------------------------------------------------------------------------------------------------


async def test_starttls_makes_the_connection_anew(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    made: list[bool] = []

    class Counting(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport.get_extra_info("ssl_object") is not None)
            super().connection_made(transport)
            if len(made) == 1:
                self.session.proxy_data = "of the proxy"

    class Hooks:
        def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> bool:
            assert session.ssl is not None
            assert session.ssl["cipher"][0]
            return session.host_name is None and session.proxy_data == "of the proxy"

    async with _serving(lambda: make(Hooks(), Counting, tls_context=server_context)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _say(reader, writer, "EHLO x")
        assert (await _say(reader, writer, "STARTTLS"))[-1] == "220 Ready to start TLS"
        await writer.start_tls(client_context, server_hostname="localhost")
        assert await _say(reader, writer, "MAIL FROM:<a@b>") == ["503 Error: send HELO first"]
        offer = await _say(reader, writer, "EHLO x")
        assert "250-AUTH LOGIN PLAIN" in offer
        assert "250-STARTTLS" not in offer
        assert await _say(reader, writer, "STARTTLS") == ["503 Error: TLS already active"]
        assert await _say(reader, writer, "QUIT") == ["221 Bye"]
        writer.close()
    assert made == [False, True]


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_a_hook_that_raises_lets_nobody_in(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, is_coroutine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that looks for a certificate in ``session.ssl["peercert"]`` does when there is none."""

    class Plain(Recording):
        def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> bool:
            raise KeyError("subject")

    class Later(Recording):
        async def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> bool:
            raise KeyError("subject")

    servers = []

    def factory() -> SMTP:
        servers.append(make((Later if is_coroutine else Plain)(), tls_context=server_context, require_starttls=True))
        return servers[-1]

    async with _serving(factory) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await _say(reader, writer, "STARTTLS") == ["220 Ready to start TLS"]
        heard = b""
        with contextlib.suppress(ConnectionError):  # depends on who is first
            await writer.start_tls(client_context, server_hostname="localhost")
            writer.write(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n")
            heard = await reader.read()
        writer.close()
    assert heard == b""
    assert not servers[0]._tls_handshake_okay
    assert servers[0].event_handler.envelopes == []
    assert [message for message in caplog.messages if "xception" in message] == [
        f"{servers[0].session.peer!r} Exception in handle_STARTTLS()"
    ]


@pytest.mark.parametrize(
    ("answer", "reply"), [(True, "250 OK"), (False, "554 Command refused due to lack of security")]
)
async def test_a_hook_that_is_a_coroutine_function_is_awaited(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, answer: bool, reply: str
) -> None:
    class Later:
        async def handle_STARTTLS(self, server: SMTP, session: Session, envelope: Envelope) -> bool:
            await asyncio.sleep(0)
            return answer

    async with _serving(lambda: make(Later(), tls_context=server_context)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _say(reader, writer, "STARTTLS")
        await writer.start_tls(client_context, server_hostname="localhost")
        assert await _say(reader, writer, "NOOP") == [reply]
        assert await _say(reader, writer, "QUIT") == ["221 Bye"]
        writer.close()


async def test_a_handshake_of_a_programs_own_drops_what_came_before_it(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    class Own(SMTP):
        async def smtp_STARTTLS(self, arg: str) -> None:
            await self.push("220 go on")
            self._original_transport = self.transport
            assert self.tls_context is not None
            transport = await self.loop.start_tls(self.transport, self, self.tls_context, server_side=True)
            assert transport is not None
            self.connection_made(transport)
            await self.push("250 ready")

    async with _serving(lambda: make(cls=Own, tls_context=server_context)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await _say(reader, writer, "STARTTLS\r\nNOOP injected") == ["220 go on"]
        await writer.start_tls(client_context, server_hostname="localhost")
        assert (await reader.readline()) == b"250 ready\r\n"
        assert await _say(reader, writer, "EXPN") == ["502 EXPN not implemented"]
        writer.close()


async def test_tls_from_the_first_octet_is_tls(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    def factory() -> SMTP:
        return make(tls_context=server_context, require_starttls=True, authenticator=accept)

    async with _serving(factory, ssl=server_context) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
        )
        await _say(reader, writer, "EHLO x")
        assert (await _say(reader, writer, f"AUTH PLAIN {PLAIN}"))[-1] == "235 2.7.0 Authentication successful"
        writer.close()


@contextlib.asynccontextmanager
async def _serving(factory: Any, **parameters: Any) -> Any:
    loop = asyncio.get_running_loop()
    servers: list[SMTP] = []

    def remember() -> SMTP:
        servers.append(factory())
        return servers[-1]

    listener = await loop.create_server(remember, "127.0.0.1", 0, **parameters)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for server in servers:
            if server._handler_coroutine is not None:
                server._handler_coroutine.cancel()
                await asyncio.wait([server._handler_coroutine])
        await asyncio.sleep(0.01)


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> list[str]:
    """The lines of the reply, behind a greeting if that is still to be read."""
    writer.write(text.encode() + b"\r\n")
    lines = []
    while True:
        line = (await reader.readline()).decode().rstrip()
        if line.startswith("220 mx"):
            continue
        lines.append(line)
        if line[3:4] != "-":
            return lines


# -- Time ----------------------------------------------------------------------------------------------------------


def play_by_the_clock(text: str, handler: object = None, **parameters: Any) -> None:
    async def run() -> None:
        await play(text, make(handler, **parameters))

    with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
        runner.run(run())


def test_who_says_nothing_is_let_go_without_a_word() -> None:
    play_by_the_clock("T: 299\nX: open\nT: 2\nX: closed\n")


def test_a_proxy_header_that_does_not_come_ends_the_session() -> None:
    async def run() -> None:
        server = make(proxy_protocol_timeout=5)
        await Script.parse("T: 4\nX: open\nC+ PROXY TCP4\nT: 2\nX: closed\n").play(server)

    with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
        runner.run(run())


async def test_what_is_behind_a_proxy_header_is_commands() -> None:
    class Trusting:
        async def handle_PROXY(self, server: SMTP, session: Session, envelope: Envelope, proxy_data: Any) -> bool:
            return str(proxy_data.src_addr) == "192.0.2.7"

    await Script.parse(
        "C: PROXY TCP4 192.0.2.7 198.51.100.1 49152 25\nC: NOOP\nC: QUIT\n"
        "S: 220 mx.test ...\nS: 250 OK\nS: 221 Bye\nX: closed\n"
    ).play(make(Trusting(), proxy_protocol_timeout=5))


def test_mail_data_that_arrive_have_as_much_time_as_they_need() -> None:
    slowly = "C: " + "x" * 900 + "\nT: 5\n"
    play_by_the_clock(TRANSACTION + "C: DATA\nS: 354 ...\n" + slowly * 10 + "C: .\nS: 250 OK\n", timeout=20)


def test_a_hook_that_takes_too_long_is_a_temporary_error() -> None:
    class Stuck:
        async def handle_NOOP(self, *_: object) -> str:
            await asyncio.Event().wait()
            return "250 never"

    play_by_the_clock("C: NOOP\nT: 541\nS: 451 Error: took too long, try again later\nC: QUIT\nS: 221 Bye\n", Stuck())


def test_a_hook_that_does_not_mind_being_cancelled_harms_nobody_else() -> None:
    class Stubborn:
        async def handle_NOOP(self, *_: object) -> str:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return "250 after all"

        async def handle_RSET(self, server: SMTP, *_: object) -> str:
            assert server._handler_coroutine is not None
            return f"250 {server._handler_coroutine.cancelling()}"

    play_by_the_clock("C: NOOP\nT: 541\nS: 250 after all\nC: RSET\nS: 250 0\n", Stubborn())


async def test_a_hook_that_is_cancelled_ends_the_session() -> None:
    class Suicidal:
        async def handle_NOOP(self, server: SMTP, *_: object) -> str:
            assert server._handler_coroutine is not None
            server._handler_coroutine.cancel()
            await asyncio.sleep(1)
            return "250 never"

    server = make(Suicidal())
    with pytest.raises(asyncio.CancelledError):
        await play("C: NOOP\nX: closed\n", server)


# -- Construction --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "text"),
    [
        ({"proxy_protocol_timeout": 0}, ValueError, "proxy_protocol_timeout must be > 0"),
        ({"command_call_limit": "x"}, TypeError, "command_call_limit must be int or Dict"),
        ({"command_call_limit": {"NOOP": "x"}}, TypeError, "All command_call_limit values must be int"),
        ({"data_size_limit": "x"}, AssertionError, "data_size_limit must be int or None"),
    ],
)
async def test_what_cannot_be_is_refused(parameters: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(**parameters)


@pytest.mark.parametrize(
    ("verify_mode", "check_hostname", "text"),
    [
        (ssl.CERT_REQUIRED, False, "tls_context.verify_mode not in {CERT_NONE, CERT_OPTIONAL}; this might cause"),
        (ssl.CERT_OPTIONAL, True, "tls_context.check_hostname == True; this might cause"),
    ],
)
async def test_what_is_not_wise_is_logged(
    verify_mode: ssl.VerifyMode, check_hostname: bool, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = verify_mode
    context.check_hostname = check_hostname
    make(tls_context=context, proxy_protocol_timeout=1)
    assert caplog.messages[0].startswith(text)
    assert caplog.messages[1] == "proxy_protocol_timeout < 3.0"


async def test_only_who_uses_login_data_is_told(caplog: pytest.LogCaptureFixture) -> None:
    server = await authenticate(f"C: AUTH PLAIN {PLAIN}\nS: 235 ...\n", authenticator=accept)
    assert "deprecated" not in caplog.text
    assert server.session.login_data == b"ann"
    server.session.login_data = b"bob"
    assert caplog.messages[-2:] == ["Session.login_data is deprecated and will be removed in version 2.0"] * 2


async def test_a_hook_for_ehlo_has_four_arguments_or_five() -> None:
    class Wrong:
        async def handle_EHLO(self, *args: object) -> str:
            return "250 x"

    with pytest.raises(RuntimeError, match="Unsupported EHLO Hook"):
        make(Wrong())


async def test_this_host_is_asked_for_its_name_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def look_up() -> str:
        calls.append(1)
        return "here.test"

    monkeypatch.setattr(socket, "getfqdn", look_up)
    assert [SMTP(object()).hostname for _ in range(3)] == ["here.test"] * 3
    assert calls == [1]


def test_ehlo_does_without_it() -> None:
    code = "import sys, ehlo.main; sys.exit(any(name.startswith('ehlo.compat') for name in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
