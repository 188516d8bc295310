"""The handlers, beside those of aiosmtpd; and Proxy, which must not lose what was accepted."""

from __future__ import annotations

import argparse
import asyncio
import email.message
import importlib
import io
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiosmtpd.handlers as theirs
import pytest

from ehlo.compat.aiosmtpd import handlers
from tests.compat.roots import OURS
from tests.handlers.upstream import FAILURES, UnreliableSMTP, Upstream
from tests.handlers.upstream import running as running_upstream

CONTENTS = (
    b"",
    b"\r\n",
    b"Subject: x\r\n\r\nText\r\n",
    b"Subject: x\r\n\r\nText",
    b"Subject: x\n\nText\n\n\nmore\n",
    b"Subject: x\r\rText\r",
    b"Subject: x\r\n",
    b"no newline",
    b"\r\nno header\r\n",
    b"Subject: \xc3\xbc\r\n\r\n\xff\xfe\r\n",
    b"Subject: x\r\nTo: y\r\n\n\r\nmixed\r",
    b"a\x0bb\x0cc\x1cd\r\n\r\nfeeds\r\n",
    b" \r\n\r\nspaces\r\n",
)
PEERS = (("192.0.2.1", 1234), ("2001:db8::1", 1234, 0, 0))


def envelope(**fields: Any) -> Any:
    defaults = {
        "content": b"Subject: x\r\n\r\nText\r\n",
        "original_content": None,
        "mail_from": "alice@example.org",
        "rcpt_tos": ["bob@example.com", "carol@example.com"],
        "mail_options": [],
        "rcpt_options": [],
    }
    return SimpleNamespace(**(defaults | fields))


SESSION: Any = SimpleNamespace(peer=PEERS[0])
SERVER: Any = SimpleNamespace(hostname="mx.example")


# -- Debugging, Sink, Message ------------------------------------------------------------------------------


async def printed(module: Any, session: Any, sent: Any) -> str:
    stream = io.StringIO()
    assert await module.Debugging(stream).handle_DATA(SERVER, session, sent) == "250 OK"
    return stream.getvalue()


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("is_text", [False, True])
@pytest.mark.parametrize("peer", PEERS)
async def test_debugging_prints_the_same(content: bytes, is_text: bool, peer: Any) -> None:
    sent = envelope(content=content.decode("latin-1") if is_text else content)
    session = SimpleNamespace(peer=peer)
    assert await printed(handlers, session, sent) == await printed(theirs, session, sent)


@pytest.mark.parametrize("options", [{"mail_options": ["SIZE=1"]}, {"rcpt_options": ["X"]}, {"rcpt_options": [""]}])
async def test_debugging_prints_options_alike(options: dict[str, list[str]]) -> None:
    sent = envelope(**options)
    assert await printed(handlers, SESSION, sent) == await printed(theirs, SESSION, sent)


def from_cli(module: Any, name: str, *args: str) -> str:
    parser = argparse.ArgumentParser(prog="x", exit_on_error=False)

    def fail(message: str) -> None:
        raise RuntimeError(message)

    parser.error = fail  # type: ignore[assignment,method-assign]
    try:
        made = getattr(module, name).from_cli(parser, *args)
    except RuntimeError as error:
        return str(error)
    return f"{type(made).__name__} {getattr(getattr(made, 'stream', None), 'name', '')}"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Debugging", ()),
        ("Debugging", ("stdout",)),
        ("Debugging", ("stderr",)),
        ("Debugging", ("stdin",)),
        ("Debugging", ("stdout", "stderr")),
        ("Sink", ()),
        ("Sink", ("x",)),
        ("Mailbox", ()),
        ("Mailbox", ("a", "b")),
    ],
)
def test_handlers_are_made_alike_from_the_command_line(name: str, args: tuple[str, ...]) -> None:
    assert from_cli(handlers, name, *args) == from_cli(theirs, name, *args)


def test_proxy_is_not_made_from_the_command_line() -> None:
    assert not hasattr(handlers.Proxy, "from_cli")
    assert not hasattr(theirs.Proxy, "from_cli")


def prepared(module: Any, sent: Any, message_class: Any) -> Any:
    class Handler(module.Message):  # type: ignore[misc]
        def handle_message(self, message: Any) -> None:
            """Nothing."""

    message = Handler(message_class).prepare_message(SESSION, sent)
    return type(message), message.items(), message.as_bytes()


@pytest.mark.parametrize("message_class", [None, email.message.Message, email.message.EmailMessage])
@pytest.mark.parametrize("content", [*CONTENTS[:10], bytearray(CONTENTS[2]), CONTENTS[2].decode()])
def test_messages_are_prepared_alike(content: Any, message_class: Any) -> None:
    sent = envelope(content=content)
    assert prepared(handlers, sent, message_class) == prepared(theirs, sent, message_class)


@pytest.mark.parametrize("content", [None, 1])
def test_a_message_of_something_else_is_refused_alike(content: Any) -> None:
    for module in (handlers, theirs):
        with pytest.raises(TypeError, match=f"Expected str or bytes, got <class '{type(content).__name__}'>"):
            prepared(module, envelope(content=content), None)


def test_a_handler_without_its_method_is_abstract() -> None:
    for module in (handlers, theirs):
        for name in ("MessageBase", "Message", "AsyncMessage"):
            with pytest.raises(TypeError, match="abstract"):
                getattr(module, name)()


def test_line_ends_are_known_alike() -> None:
    assert handlers.NLCRE.pattern == theirs.NLCRE.pattern
    assert (handlers.CRLF, handlers.COMMASPACE, handlers.EMPTYBYTES) == (b"\r\n", ", ", b"")
    assert handlers.message_from_string("a: b\n\nc")["a"] == "b"


# -- Proxy -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def proxied(upstream: Upstream | None = None, **settings: Any) -> AsyncIterator[tuple[handlers.Proxy, Upstream]]:
    """A proxy, and the server behind it."""
    upstream = upstream or Upstream()
    async with running_upstream(upstream, protocol=UnreliableSMTP, **settings) as server:
        yield handlers.Proxy("127.0.0.1", server.port), upstream


@pytest.mark.parametrize("content", [one for one in CONTENTS if b"\xff" not in one])
async def test_proxy_puts_its_field_where_the_original_does(content: bytes) -> None:
    delivered = []

    class Theirs(theirs.Proxy):
        def _deliver(self, mail_from: str, rcpt_tos: list[str], data: Any) -> dict[str, Any]:
            delivered.append(data)
            return {}

    await Theirs("localhost", 25).handle_DATA(SERVER, SESSION, envelope(content=content))
    assert handlers._with_peer(content, SESSION.peer) == delivered[0]


async def test_proxy_gives_the_reply_of_the_next_server() -> None:
    async with proxied() as (proxy, upstream):
        upstream.status = "250 2.0.0 Queued as 42"
        assert await proxy.handle_DATA(SERVER, SESSION, envelope()) == "250 2.0.0 Queued as 42"
    [(sender, recipients, content)] = upstream.messages
    assert (sender, recipients) == ("alice@example.org", ["bob@example.com", "carol@example.com"])
    assert content == b"Subject: x\r\nX-Peer: 192.0.2.1\r\n\r\nText\r\n"


async def test_proxy_relays_the_original_of_decoded_data_and_the_null_reverse_path() -> None:
    async with proxied() as (proxy, upstream):
        sent = envelope(content="ü\r\n\r\n", original_content="ü\r\n\r\n".encode(), mail_from="<>")
        assert (await proxy.handle_DATA(SERVER, SESSION, sent)).startswith("250 ")
    [(sender, _, content)] = upstream.messages
    assert sender == ""
    assert content == "ü\r\nX-Peer: 192.0.2.1\r\n\r\n".encode()
    assert upstream.envelopes[0].mail_options == ["BODY=8BITMIME"]


async def test_proxy_asks_for_smtputf8_where_it_is_needed() -> None:
    async with proxied() as (proxy, upstream):
        sent = envelope(rcpt_tos=["jürgen@example.com"])
        assert (await proxy.handle_DATA(SERVER, SESSION, sent)).startswith("250 ")
    assert upstream.envelopes[0].smtp_utf8


async def test_proxy_sends_no_internationalized_address_to_who_does_not_take_it() -> None:
    upstream = Upstream()
    upstream.missing = {"SMTPUTF8"}
    async with proxied(upstream) as (proxy, _):
        answer = await proxy.handle_DATA(SERVER, SESSION, envelope(mail_from="jürgen@example.org"))
    assert answer == "550 5.6.7 Internationalized address, which the next server does not take"
    assert upstream.verbs == ["EHLO", "QUIT"]


async def test_proxy_sends_no_bare_newlines() -> None:
    async with proxied() as (proxy, upstream):
        sent = envelope(content=b"a\n.\r\nMAIL FROM:<x@y>\r\n\rb\n")
        assert (await proxy.handle_DATA(SERVER, SESSION, sent)).startswith("250 ")
    [(_, _, content)] = upstream.messages
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r\n.\r\nMAIL FROM" in content


async def test_proxy_says_so_when_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    answer = await handlers.Proxy("127.0.0.1", port).handle_DATA(SERVER, SESSION, envelope())
    assert answer == "451 4.4.1 Next server not available, try again later"


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("failure", [name for name in FAILURES if name not in {"is silent", "goes on"}])
async def test_proxy_never_says_250_without_the_next_server(stage: str, failure: str) -> None:
    upstream = Upstream()
    upstream.fails_at, upstream.failure = stage, failure
    async with proxied(upstream, error_limit=100) as (proxy, _):
        answer = await proxy.handle_DATA(SERVER, SESSION, envelope())
    assert upstream.failed.is_set()
    assert upstream.messages == []
    assert answer[:3] in {"450", "451", "554"}
    assert (answer[0] == "5") == (failure == "refuses for ever")


class Refusing(Upstream):
    """Knows some recipients only."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> Any:
        return {
            "nobody@example.com": "550 5.1.1 No such user",
            "full@example.com": "452 4.2.2 Mailbox full",
        }.get(address)


@pytest.mark.parametrize(
    ("recipients", "answer"),
    [
        (["nobody@example.com"], "550 5.1.1 No such user"),
        (["bob@example.com", "nobody@example.com"], "550 5.1.1 No such user"),
        (["full@example.com", "bob@example.com"], "452 4.2.2 Mailbox full"),
        (["nobody@example.com", "full@example.com"], "452 4.2.2 Mailbox full"),
    ],
)
async def test_proxy_relays_to_all_recipients_or_none(
    recipients: list[str], answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mail.debug"):
        async with proxied(Refusing()) as (proxy, upstream):
            assert await proxy.handle_DATA(SERVER, SESSION, envelope(rcpt_tos=recipients)) == answer
    assert upstream.messages == []
    lines = [record.getMessage() for record in caplog.records if record.name == "mail.debug"]
    assert ("got SMTPRecipientsRefused" in lines) == ("bob@example.com" not in recipients)
    assert lines[-1].startswith("we got some refusals: {'")


async def test_a_client_of_a_proxy_hears_of_the_refusal() -> None:
    smtp = importlib.import_module(f"{OURS}.smtp")
    async with proxied(Refusing()) as (proxy, upstream):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: smtp.SMTP(proxy, hostname="mx.example"), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await reader.readline()
        answers = []
        for line in ("HELO x", "MAIL FROM:<a@x.example>", "RCPT TO:<nobody@example.com>", "DATA", "x\r\n.", "QUIT"):
            writer.write(line.encode() + b"\r\n")
            answers.append((await reader.readline())[:3].decode())
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
    assert answers == ["250", "250", "250", "354", "550", "221"]
    assert upstream.messages == []
