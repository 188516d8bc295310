"""The client against scripted servers on loopback, and against aiosmtpd."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import aiosmtpd.smtp
import pytest
import trustme

from ehlo.errors import BareNewline, EhloError
from ehlo.net.client import BadReply, Client, ClientTimeouts, UpstreamError, UpstreamTimeout
from ehlo.net.wire import Wire
from ehlo.protocol.data import MailDataDecoder
from ehlo.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = "127.0.0.1"
OK = Reply(250, None, ("OK",))
TINY = 0.02


class Peer:
    """The server's side of a dialogue."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, *lines: str) -> None:
        self.writer.write("".join(line + "\r\n" for line in lines).encode())

    async def hear(self, line: str) -> None:
        assert (await self.reader.readline()).decode() == line + "\r\n"

    async def answer(self, line: str, *reply: str) -> None:
        await self.hear(line)
        self.say(*reply)

    async def transaction(self, recipients: int = 1) -> None:
        """Up to 354."""
        self.say("220 mx")
        await self.answer("MAIL FROM:<a@b>", "250 OK")
        for _ in range(recipients):
            await self.answer("RCPT TO:<c@d>", "250 OK")
        await self.answer("DATA", "354 go")

    async def message(self) -> bytes:
        """The content, up to the end of the mail data."""
        decoder = MailDataDecoder()
        content = b""
        while decoder.rest is None:
            data = await self.reader.read(100_000)
            assert data, "the client closed amid the mail data"
            content += decoder.feed(data)
        assert decoder.rest == b""
        return content

    async def rest(self) -> bytes:
        """All that comes until the client closes."""
        return await self.reader.read()


Play = Callable[[Peer], Awaitable[object]]


@contextlib.asynccontextmanager
async def server(
    play: Play, *, unix_path: str | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Play one dialogue with one client, and check at the end that it was played to its end."""
    played: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            played.set_result(await play(Peer(reader, writer)))
        except Exception as error:  # noqa: BLE001 - raised again below, in the test
            played.set_exception(error)
        finally:
            writer.close()

    if unix_path is not None:
        listener: asyncio.Server = await asyncio.start_unix_server(serve, unix_path)
        port = 0
    else:
        listener = await asyncio.start_server(serve, HOST, 0, ssl=context)
        port = listener.sockets[0].getsockname()[1]
    try:
        yield port
        async with asyncio.timeout(10):
            await played
    finally:
        listener.close()


async def begin(client: Client, recipients: int = 1) -> None:
    assert (await client.mail("a@b")).is_positive
    for _ in range(recipients):
        assert (await client.rcpt("c@d")).is_positive


async def given(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.example", HOST).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# Commands and replies


async def test_a_message_is_sent_and_every_reply_is_handed_over() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx ESMTP")
        await peer.answer("EHLO client.example", "250-mx", "250-SIZE 100", "250 DSN")
        await peer.answer("MAIL FROM:<a@b> SIZE=9", "250 2.1.0 sender")
        await peer.answer("RCPT TO:<c@d> NOTIFY=NEVER", "550-5.1.1 no", "550 5.1.1 such user")
        await peer.answer("RCPT TO:<e@f>", "251 2.1.5 will forward")
        await peer.answer("DATA", "354 go")
        assert await peer.reader.readuntil(b"\r\n.\r\n") == b"Subject: x\r\n\r\n..\r\n.\r\n"
        peer.say("250 2.0.0 queued")
        await peer.answer("NOOP", "250 OK")
        await peer.answer("RSET", "250 OK")
        await peer.answer("VRFY c", "252 perhaps")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port, local_hostname="client.example") as client:
        assert client.greeting == Reply(220, None, ("mx ESMTP",))
        assert client.extensions == {}
        assert (await client.ehlo()).lines == ("mx", "SIZE 100", "DSN")
        assert client.extensions == {"SIZE": ("100",), "DSN": ()}
        assert await client.mail("a@b", ["SIZE=9"]) == Reply(250, "2.1.0", ("sender",))
        assert await client.rcpt("c@d", ["NOTIFY=NEVER"]) == Reply(550, "5.1.1", ("no", "such user"))
        assert await client.rcpt("e@f") == Reply(251, "2.1.5", ("will forward",))
        assert await client.data(b"Subject: x\r\n\r\n.\r\n") == Reply(250, "2.0.0", ("queued",))
        assert await client.noop() == OK
        assert await client.rset() == OK
        assert await client.command("VRFY", "c") == Reply(252, None, ("perhaps",))


async def test_a_client_may_be_awaited_and_closed_by_quit() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("QUIT", "221 2.0.0 bye")
        assert await peer.rest() == b""

    async with server(play) as port:
        client = await Client.connect(HOST, port)
        assert await client.quit() == Reply(221, "2.0.0", ("bye",))
        assert client.is_closed
        client.close()
        await client.wait_closed()


async def test_without_a_name_the_client_says_its_address() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("EHLO [127.0.0.1]", "250 mx")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await client.ehlo()
        assert client.get_extra_info("peername") == (HOST, port)


async def test_a_server_without_ehlo_gets_helo() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 old")
        await peer.answer("EHLO me", "500 what?")
        await peer.answer("HELO me", "250-old", "250 SIZE")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port, local_hostname="me") as client:
        assert (await client.ehlo()).code == 250
        assert client.extensions == {}


async def test_a_refused_ehlo_is_a_reply_and_forgets_nothing() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("EHLO me", "250-mx", "250 DSN")
        await peer.answer("EHLO me", "550 no")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port, local_hostname="me") as client:
        await client.ehlo()
        assert (await client.ehlo()).code == 550
        assert client.extensions == {"DSN": ()}


async def test_command_may_be_answered_by_334() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("AUTH LOGIN", "334 VXNlcm5hbWU6")
        await peer.answer("dXNlcg==", "235 2.7.0 welcome")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        assert (await client.command("AUTH", "LOGIN")).text == "VXNlcm5hbWU6"
        assert (await client.command("dXNlcg==")).code == 235


async def test_a_bad_argument_is_refused_and_the_connection_goes_on() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("NOOP", "250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        with pytest.raises(ValueError, match="angle brackets"):
            await client.mail("a@b>\r\nRSET")
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            await client.command("NOOP", "\r\nQUIT")
        assert await client.noop() == OK


async def test_a_second_command_before_the_reply_is_refused_and_harms_nothing() -> None:
    heard = asyncio.Event()
    may_answer = asyncio.Event()

    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear("NOOP")
        heard.set()
        await may_answer.wait()
        peer.say("250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        first = asyncio.create_task(client.noop())
        await heard.wait()
        with pytest.raises(RuntimeError, match="waiting"):
            await client.rset()
        may_answer.set()
        assert await first == OK


async def test_host_and_unix_path_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="either"):
        Client.connect()
    with pytest.raises(ValueError, match="either"):
        Client.connect(HOST, 25, unix_path="/x")


# Connecting


async def test_no_server_is_an_upstream_error_without_reply() -> None:
    with socket.socket() as nobody:
        nobody.bind((HOST, 0))  # bound and not listening: nobody else can have the port
        with pytest.raises(UpstreamError, match="connecting") as caught:
            await Client.connect(HOST, nobody.getsockname()[1])
    assert caught.value.reply is None
    assert isinstance(caught.value, EhloError)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("code", [554, 521, 421, 250])
async def test_a_greeting_that_is_no_220_is_an_upstream_error_with_the_reply(code: int) -> None:
    async def play(peer: Peer) -> None:
        peer.say(f"{code} 5.7.1 go away")
        # After a 421 the server is the one who closes; after others it waits for QUIT (RFC 5321 §3.1).
        assert await peer.reader.readline() == (b"" if code == 421 else b"QUIT\r\n")
        peer.say("221 bye")
        assert await peer.rest() == b""

    async with server(play) as port:
        with pytest.raises(UpstreamError) as caught:
            await Client.connect(HOST, port)
        assert caught.value.reply is not None
        assert caught.value.reply.code == code


async def test_a_server_that_is_no_smtp_server_is_a_bad_reply() -> None:
    async def play(peer: Peer) -> None:
        peer.say("SSH-2.0-OpenSSH_9.2")
        assert await peer.rest() == b""

    async with server(play) as port:
        with pytest.raises(BadReply):
            await Client.connect(HOST, port)


async def test_a_server_that_closes_at_once_is_an_upstream_error() -> None:
    async def play(peer: Peer) -> None:
        pass

    async with server(play) as port:
        with pytest.raises(UpstreamError, match="greeting") as caught:
            await Client.connect(HOST, port)
    assert caught.value.reply is None


# Leaving


async def test_an_exception_in_the_block_closes_without_quit() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        assert await peer.rest() == b""

    async with server(play) as port:
        with pytest.raises(ZeroDivisionError):
            async with Client.connect(HOST, port):
                raise ZeroDivisionError


async def test_leaving_the_block_does_not_fail_when_quit_does() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("QUIT", "nonsense")
        assert await peer.rest() == b""

    async with server(play) as port:
        async with Client.connect(HOST, port) as client:
            pass
        assert client.is_closed


async def test_quit_closes_when_the_server_does_not() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear("QUIT")
        assert await peer.rest() == b""

    async with server(play) as port:
        client = await Client.connect(HOST, port, timeout=ClientTimeouts(quit=TINY))
        with pytest.raises(UpstreamTimeout, match="QUIT"):
            await client.quit()
        assert client.is_closed


async def test_a_closed_client_takes_no_commands() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        assert await peer.rest() == b""

    async with server(play) as port:
        client = await Client.connect(HOST, port)
        client.close()
        with pytest.raises(UpstreamError, match="closed"):
            await client.noop()


async def test_quit_does_not_wait_for_a_server_that_never_ends_tls(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("QUIT", "221 bye")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await finished.wait()
        peer.writer.transport.abort()

    finished = asyncio.Event()
    async with server(play, context=server_context) as port:
        client = await Client.connect(HOST, port, ssl=client_context, timeout=ClientTimeouts(quit=0.2))
        assert (await client.quit()).code == 221
        await client._wire.lost()
        finished.set()


# Hostile and broken servers


async def test_a_lost_connection_is_an_upstream_error_and_the_end() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear("NOOP")

    async with server(play) as port, Client.connect(HOST, port) as client:
        with pytest.raises(UpstreamError, match="NOOP") as caught:
            await client.noop()
        assert caught.value.reply is None
        assert client.is_closed


@pytest.mark.parametrize("reply", ["nonsense", "250-a\r\n251 b", "250 a\n250 b", "354 go", "250 " + "x" * 20_000])
async def test_a_reply_that_makes_no_sense_ends_the_connection(reply: str) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("MAIL FROM:<a@b>", reply)
        assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port) as client:
        with pytest.raises(BadReply):
            await client.mail("a@b")
        assert client.is_closed


@pytest.mark.parametrize("extra", ["250 one too many", "250-", "2"])
async def test_a_reply_too_many_is_never_taken_for_the_next_one(extra: str) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear("MAIL FROM:<a@b>")
        peer.writer.write(b"250 OK\r\n" + extra.encode())
        assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port) as client:
        assert await client.mail("a@b") == OK
        with pytest.raises(BadReply, match="unasked"):
            await client.rcpt("c@d")
        assert client.is_closed


async def test_a_cancelled_command_ends_the_connection() -> None:
    heard = asyncio.Event()

    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear("RCPT TO:<a@b>")
        heard.set()
        assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port) as client:
        command = asyncio.create_task(client.rcpt("a@b"))
        await heard.wait()
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
        # Or the late reply to RCPT would be taken for the one to this.
        with pytest.raises(UpstreamError, match="closed"):
            await client.rcpt("c@d")


async def test_a_421_is_a_reply_and_the_end() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("NOOP", "421 4.3.2 stopping")
        assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port) as client:
        farewell = Reply(421, "4.3.2", ("stopping",))
        assert await client.noop() == farewell
        assert client.is_closed
        with pytest.raises(UpstreamError) as caught:
            await client.noop()
        assert caught.value.reply == farewell


async def test_a_421_said_between_commands_answers_the_next_one() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear("NOOP")
        peer.say("250 OK", "421 4.4.2 too slow")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await client.noop()
        await client._wire.lost()
        assert await client.mail("a@b") == Reply(421, "4.4.2", ("too slow",))
        assert client.is_closed


async def test_a_server_that_closed_between_commands_is_an_upstream_error() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await client._wire.lost()
        with pytest.raises(UpstreamError, match="MAIL: the server has closed"):
            await client.mail("a@b")


async def test_a_server_that_talks_without_end_is_not_listened_to() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        with contextlib.suppress(ConnectionError):
            while True:
                peer.writer.write(b"250 OK\r\n" * 1000)
                await peer.writer.drain()

    async with server(play) as port, Client.connect(HOST, port) as client:
        while not client._wire._is_reading_paused:
            await client._wire._something_changed()
        assert client._wire.parser.buffered < 1_000_000
        with pytest.raises(BadReply, match="unasked"):
            await client.noop()


async def test_a_long_reply_is_read_although_reading_was_paused() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear("HELP")
        peer.say(*[f"214-{'x' * 1000}"] * 200, "214 end")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        assert len((await client.command("HELP")).lines) == 201


# Mail data


async def test_chunks_of_any_cut_are_one_message() -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        assert await peer.reader.readuntil(b"\r\n.\r\n") == b"a\r\n..b\r\n...\r\n.\r\n"
        peer.say("250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        assert await client.data(given(b"a\r", b"", b"\n", b".b", b"\r\n.", b".")) == OK


async def test_a_message_larger_than_every_buffer_arrives_as_it_was_sent() -> None:
    content = b"".join(b".%d\r\n" % number for number in range(700_000))

    async def play(peer: Peer) -> None:
        await peer.transaction()
        assert await peer.message() == content
        peer.say("250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        assert await client.data(content) == OK


async def test_chunks_are_taken_no_faster_than_the_server_reads() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 65_534 + b"\r\n"

    async def play(peer: Peer) -> None:
        await peer.transaction()
        await finished.wait()

    finished = asyncio.Event()
    async with server(play) as port, Client.connect(HOST, port, timeout=ClientTimeouts(block=0.1)) as client:
        await begin(client)
        with pytest.raises(UpstreamTimeout, match="mail data"):
            await client.data(endless())
        finished.set()
    assert taken < 500  # the system's buffers, and not one message


@pytest.mark.parametrize("reply", ["554 5.5.1 no valid recipients", "451 4.3.0 later", "503 what?"])
async def test_a_refused_data_sends_nothing_and_goes_on(reply: str) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("MAIL FROM:<a@b>", "250 OK")
        await peer.answer("RCPT TO:<c@d>", "250 OK")
        await peer.answer("DATA", reply)
        await peer.answer("QUIT", "221 bye")

    asked = []

    async def chunks() -> AsyncIterator[bytes]:
        asked.append("for content")
        yield b"x"

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        assert await client.data(chunks()) == Reply.parse(reply)
    assert not asked


@pytest.mark.parametrize("reply", ["250 OK", "334 go"])
async def test_only_354_asks_for_mail_data(reply: str) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("MAIL FROM:<a@b>", "250 OK")
        await peer.answer("RCPT TO:<c@d>", "250 OK")
        await peer.answer("DATA", reply)
        assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        with pytest.raises(BadReply, match="DATA"):
            await client.data(b"x")
        assert client.is_closed


async def test_a_refused_message_is_a_reply_and_the_connection_goes_on() -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        await peer.answer("x")
        await peer.answer(".", "550 5.7.1 spam")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        assert await client.data(b"x") == Reply(550, "5.7.1", ("spam",))


@pytest.mark.parametrize("last", ["354 go on", "nonsense"])
async def test_a_message_is_not_taken_unless_the_reply_says_so(last: str) -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        await peer.answer("x")
        await peer.answer(".", last)
        assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        with pytest.raises(BadReply):
            await client.data(b"x")
        assert client.is_closed


class SourceBrokeError(Exception):
    """The client's own source of content fails."""


@pytest.mark.parametrize("sent", [b"", b"half", b"half\r\n", b"half\r\n.", b"half\r"])
async def test_a_source_that_fails_never_ends_the_message(sent: bytes) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield sent
        raise SourceBrokeError

    async def play(peer: Peer) -> bytes:
        await peer.transaction()
        received = await peer.rest()
        assert received == sent.removesuffix(b"\r").replace(b"\n.", b"\n..")
        return received

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        with pytest.raises(SourceBrokeError):
            await client.data(broken())
        assert client.is_closed


async def test_a_cancelled_message_is_never_ended() -> None:
    sent = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"half\r\n"
        sent.set()
        await asyncio.Event().wait()

    async def play(peer: Peer) -> None:
        await peer.transaction()
        assert await peer.rest() == b"half\r\n"

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        message = asyncio.create_task(client.data(stalled()))
        await sent.wait()
        message.cancel()
        with pytest.raises(asyncio.CancelledError):
            await message
        assert client.is_closed


async def test_a_bare_newline_is_not_sent_and_never_ends_the_message() -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        assert await peer.rest() == b"a\r\n"

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        with pytest.raises(BareNewline):
            await client.data(given(b"a\r\n", b"b\n.\nc\r\n"))
        assert client.is_closed


async def test_a_bare_newline_may_be_normalized() -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        assert await peer.reader.readuntil(b"\r\n.\r\n") == b"a\r\n..\r\nb\r\n.\r\n"
        peer.say("250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        assert await client.data(b"a\n.\rb", normalizes=True) == OK


@pytest.mark.parametrize("reply", ["552 5.3.4 too much", "451 4.3.1 disk full", "421 4.3.2 stopping"])
async def test_a_refusal_amid_the_mail_data_is_an_upstream_error_with_the_reply(reply: str) -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        await peer.hear("half")
        peer.say(reply)
        assert b"\r\n.\r\n" not in await peer.rest()

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        with pytest.raises(UpstreamError) as caught:
            await client.data(until_unread(client))
        assert caught.value.reply == Reply.parse(reply)
        assert client.is_closed


@pytest.mark.parametrize("reply", ["552 5.3.4 too much", None])
async def test_a_client_that_waits_for_a_server_that_does_not_read_sees_its_refusal_or_its_end(
    reply: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = asyncio.Event()
    finished = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.transaction()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await waits.wait()
        if reply is None:
            peer.writer.write_eof()
        else:
            peer.say(reply)
        await finished.wait()

    def pause_writing() -> None:
        Wire.pause_writing(client._wire)
        waits.set()

    async with server(play) as port, Client.connect(HOST, port) as client:
        monkeypatch.setattr(client._wire, "pause_writing", pause_writing)
        await begin(client)
        with pytest.raises(UpstreamError, match="amid the mail data") as caught:
            await client.data(b"x" * 50_000_000)
        assert caught.value.reply == (None if reply is None else Reply.parse(reply))
        finished.set()


async def test_a_250_amid_the_mail_data_is_no_acceptance() -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        await peer.hear("half")
        peer.say("250 2.0.0 queued")
        assert b"\r\n.\r\n" not in await peer.rest()

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        with pytest.raises(BadReply, match="amid"):
            await client.data(until_unread(client))
        assert client.is_closed


async def until_unread(client: Client) -> AsyncIterator[bytes]:
    """Content that ends once the server has said something."""
    yield b"half\r\n"
    while not client._wire.parser.has_unread:
        await client._wire._something_changed()
    yield b"other half\r\n"


async def test_a_connection_lost_amid_the_mail_data_is_an_upstream_error() -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        await peer.hear("half")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"half\r\n"
        await client._wire.lost()
        yield b"other half\r\n"

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        with pytest.raises(UpstreamError, match="amid the mail data") as caught:
            await client.data(chunks())
        assert caught.value.reply is None


async def test_data_without_an_accepted_recipient_is_the_callers_mistake() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("EHLO me", "250 mx")
        for _ in range(2):
            await peer.answer("MAIL FROM:<a@b>", "250 OK")
            await peer.answer("RCPT TO:<c@d>", "250 OK")
            await peer.answer("RSET", "250 OK")
        await peer.answer("MAIL FROM:<a@b>", "250 OK")
        await peer.answer("RCPT TO:<c@d>", "550 no")
        await peer.answer("RCPT TO:<c@d>", "250 OK")
        await peer.answer("EHLO me", "250 mx")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port, local_hostname="me") as client:
        await client.ehlo()
        for _ in range(2):
            await begin(client)
            await client.rset()
            await no_data(client)
        await client.mail("a@b")
        await client.rcpt("c@d")
        await no_data(client)
        await client.rcpt("c@d")
        await client.ehlo()
        await no_data(client)


async def test_a_refused_mail_or_rset_leaves_the_transaction_as_it_is() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("MAIL FROM:<a@b>", "250 OK")
        await peer.answer("RCPT TO:<c@d>", "250 OK")
        await peer.answer("MAIL FROM:<a@b>", "503 one at a time")
        await peer.answer("RSET", "500 what?")
        await peer.answer("DATA", "354 go")
        assert await peer.message() == b"x\r\n"
        peer.say("250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        assert (await client.mail("a@b")).code == 503
        assert (await client.rset()).code == 500
        assert await client.data(b"x") == OK


async def no_data(client: Client) -> None:
    with pytest.raises(RuntimeError, match="recipient"):
        await client.data(b"x")


async def test_a_message_ends_the_transaction() -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        await peer.answer("x")
        await peer.answer(".", "250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        await begin(client)
        await client.data(b"x")
        await no_data(client)


# LMTP


async def lmtp(play: Play, tmp_path: Path, recipients: int) -> Reply | list[Reply]:
    path = str(tmp_path / "lmtp")
    async with server(play, unix_path=path), Client.connect(unix_path=path, lmtp=True) as client:
        await begin(client, recipients)
        return await client.data(b"x\r\n")


async def test_lmtp_says_lhlo_on_a_unix_socket(tmp_path: Path) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 lda")
        await peer.answer("LHLO localhost", "250-lda", "250 PIPELINING")
        await peer.answer("LHLO localhost", "500 what?")  # no HELO in LMTP
        await peer.answer("QUIT", "221 bye")

    path = str(tmp_path / "lmtp")
    async with server(play, unix_path=path), Client.connect(unix_path=path, lmtp=True) as client:
        await client.ehlo()
        assert client.extensions == {"PIPELINING": ()}
        assert (await client.ehlo()).code == 500


async def test_lmtp_gives_a_reply_for_each_accepted_recipient(tmp_path: Path) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 lda")
        await peer.answer("MAIL FROM:<a@b>", "250 OK")
        await peer.answer("RCPT TO:<1@d>", "250 OK")
        await peer.answer("RCPT TO:<2@d>", "550 no")
        await peer.answer("RCPT TO:<3@d>", "250 OK")
        await peer.answer("DATA", "354 go")
        await peer.answer("x")
        await peer.answer(".", "250 2.0.0 first", "452-4.2.2 third", "452 4.2.2 is full")
        await peer.answer("QUIT", "221 bye")

    path = str(tmp_path / "lmtp")
    async with server(play, unix_path=path), Client.connect(unix_path=path, lmtp=True) as client:
        await client.mail("a@b")
        for number in (1, 2, 3):
            await client.rcpt(f"{number}@d")
        replies = await client.data(b"x")
        assert replies == [Reply(250, "2.0.0", ("first",)), Reply(452, "4.2.2", ("third", "is full"))]


async def test_lmtp_gives_a_refused_data_to_each_recipient(tmp_path: Path) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 lda")
        await peer.answer("MAIL FROM:<a@b>", "250 OK")
        await peer.answer("RCPT TO:<c@d>", "250 OK")
        await peer.answer("RCPT TO:<c@d>", "250 OK")
        await peer.answer("DATA", "451 4.3.0 later")
        await peer.answer("QUIT", "221 bye")

    assert await lmtp(play, tmp_path, recipients=2) == [Reply(451, "4.3.0", ("later",))] * 2


@pytest.mark.parametrize(
    ("said", "rest"),
    [
        ("", Reply(451, "4.4.2", ("No reply came for this recipient",))),
        ("nonsense\r\n", Reply(451, "4.4.2", ("No reply came for this recipient",))),
        ("354 go\r\n", Reply(451, "4.4.2", ("No reply came for this recipient",))),
        ("421 4.3.2 stopping\r\n", Reply(421, "4.3.2", ("stopping",))),
    ],
)
async def test_lmtp_keeps_the_replies_that_came_when_others_do_not(said: str, rest: Reply, tmp_path: Path) -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction(recipients=3)
        await peer.answer("x")
        await peer.answer(".", "250 OK")
        peer.writer.write(said.encode())

    assert await lmtp(play, tmp_path, recipients=3) == [OK, rest, rest]


async def test_lmtp_without_any_reply_is_an_upstream_error(tmp_path: Path) -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction(recipients=2)
        await peer.answer("x")
        await peer.hear(".")

    with pytest.raises(UpstreamError) as caught:
        await lmtp(play, tmp_path, recipients=2)
    assert caught.value.reply is None


# Time


def test_the_times_are_those_of_the_rfc() -> None:
    times = ClientTimeouts()
    minutes = [times.greeting, times.mail, times.rcpt, times.data, times.block, times.end]
    assert minutes == [5 * 60, 5 * 60, 5 * 60, 2 * 60, 3 * 60, 10 * 60]


def test_one_time_may_stand_for_all() -> None:
    times = ClientTimeouts.uniform(7)
    assert {getattr(times, field.name) for field in fields(times)} == {7}


Step = Callable[[Client], Awaitable[object]]


@pytest.mark.parametrize(
    ("stage", "heard", "step"),
    [
        ("command", "EHLO me", lambda client: client.ehlo()),
        ("command", "NOOP", lambda client: client.noop()),
        ("command", "RSET", lambda client: client.rset()),
        ("command", "HELP", lambda client: client.command("HELP")),
        ("command", "STARTTLS", lambda client: client.starttls(ssl.create_default_context())),
        ("mail", "MAIL FROM:<a@b>", lambda client: client.mail("a@b")),
        ("rcpt", "RCPT TO:<a@b>", lambda client: client.rcpt("a@b")),
        ("quit", "QUIT", lambda client: client.quit()),
    ],
)
async def test_each_command_has_its_own_time(stage: str, heard: str, step: Step) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear(heard)
        assert await peer.rest() == b""

    timeouts = ClientTimeouts(**{stage: TINY})
    async with server(play) as port, Client.connect(HOST, port, timeout=timeouts, local_hostname="me") as client:
        with pytest.raises(UpstreamTimeout) as caught:
            await step(client)
        assert caught.value.reply is None
        assert client.is_closed


async def test_the_greeting_has_its_own_time() -> None:
    async def play(peer: Peer) -> None:
        peer.writer.write(b"220-mx\r\n")
        assert await peer.rest() == b""

    async with server(play) as port:
        with pytest.raises(UpstreamTimeout, match="greeting"):
            await Client.connect(HOST, port, timeout=ClientTimeouts(greeting=TINY))


async def test_the_reply_to_data_has_its_own_time() -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("MAIL FROM:<a@b>", "250 OK")
        await peer.answer("RCPT TO:<c@d>", "250 OK")
        await peer.hear("DATA")
        assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port, timeout=ClientTimeouts(data=TINY)) as client:
        await begin(client)
        with pytest.raises(UpstreamTimeout, match="DATA"):
            await client.data(b"x")


async def test_the_reply_to_the_message_has_its_own_time() -> None:
    async def play(peer: Peer) -> None:
        await peer.transaction()
        assert await peer.rest() == b"x\r\n.\r\n"

    async with server(play) as port, Client.connect(HOST, port, timeout=ClientTimeouts(end=TINY)) as client:
        await begin(client)
        with pytest.raises(UpstreamTimeout, match="end of the mail data"):
            await client.data(b"x")
        assert client.is_closed


async def test_a_slow_source_is_not_the_servers_fault() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * TINY):
                await asyncio.Event().wait()
        yield b"y"

    async def play(peer: Peer) -> None:
        await peer.transaction()
        await peer.answer("xy")
        await peer.answer(".", "250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port, timeout=ClientTimeouts(block=TINY)) as client:
        await begin(client)
        assert await client.data(slow()) == OK


# TLS


async def test_starttls_encrypts_and_forgets_the_extensions(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    content = b".x\r\n" * 500_000

    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("EHLO me", "250-mx", "250 STARTTLS")
        await peer.answer("STARTTLS", "220 2.0.0 go")
        await peer.writer.start_tls(server_context)
        await peer.answer("EHLO me", "250-mx", "250 AUTH PLAIN")
        await peer.answer("MAIL FROM:<a@b>", "250 OK")
        await peer.answer("RCPT TO:<c@d>", "250 OK")
        await peer.answer("DATA", "354 go")
        assert await peer.message() == content
        peer.say("250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port, local_hostname="me") as client:
        await client.ehlo()
        assert client.get_extra_info("ssl_object") is None
        assert (await client.starttls(client_context)).code == 220
        assert client.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert client.extensions == {}
        await client.ehlo()
        assert client.extensions == {"AUTH": ("PLAIN",)}
        with pytest.raises(RuntimeError, match="already"):
            await client.starttls(client_context)
        await begin(client)
        assert await client.data(content) == OK


async def test_tls_may_be_on_from_the_start(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("NOOP", "250 OK")
        await peer.answer("QUIT", "221 bye")

    async with (
        server(play, context=server_context) as port,
        Client.connect(HOST, port, ssl=client_context, server_hostname="mx.example") as client,
    ):
        assert client.greeting.text == "mx"
        assert client.get_extra_info("ssl_object") is not None
        assert await client.noop() == OK


async def test_a_refused_starttls_is_an_error_with_the_reply_and_the_connection_goes_on(
    client_context: ssl.SSLContext,
) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("STARTTLS", "454 4.7.0 no TLS today")
        await peer.answer("NOOP", "250 OK")
        await peer.answer("QUIT", "221 bye")

    async with server(play) as port, Client.connect(HOST, port) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.starttls(client_context)
        assert caught.value.reply == Reply(454, "4.7.0", ("no TLS today",))
        assert await client.noop() == OK


@pytest.mark.parametrize("injected", ["250 OK\r\n", "250-AUTH PLAIN\r\n", "2", "\x16\x03"])
async def test_what_comes_in_plain_text_after_the_220_is_never_read_over_tls(
    injected: str, client_context: ssl.SSLContext
) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.hear("STARTTLS")
        peer.writer.write(b"220 go\r\n" + injected.encode())
        assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port) as client:
        with pytest.raises(BadReply, match="plain text"):
            await client.starttls(client_context)
        assert client.is_closed


async def test_a_certificate_of_another_name_is_an_upstream_error(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("STARTTLS", "220 go")
        with contextlib.suppress(OSError):
            await peer.writer.start_tls(server_context)
            assert await peer.rest() == b""

    async with server(play) as port, Client.connect(HOST, port, server_hostname="other.example") as client:
        with pytest.raises(UpstreamError, match="handshake") as caught:
            await client.starttls(client_context)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert client.is_closed


async def test_a_server_that_does_not_speak_tls_is_an_upstream_error(client_context: ssl.SSLContext) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("STARTTLS", "220 go")
        await peer.reader.read(1)
        peer.say("500 5.5.2 what?")
        await peer.rest()

    async with server(play) as port, Client.connect(HOST, port) as client:
        with pytest.raises(UpstreamError, match="handshake"):
            await client.starttls(client_context)
        assert client.is_closed


async def test_a_server_that_closes_in_the_handshake_is_an_upstream_error(client_context: ssl.SSLContext) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("STARTTLS", "220 go")
        await peer.reader.read(1)

    async with server(play) as port, Client.connect(HOST, port) as client:
        with pytest.raises(UpstreamError, match="handshake"):
            await client.starttls(client_context)


async def test_a_server_that_closes_before_the_handshake_is_an_upstream_error(client_context: ssl.SSLContext) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("STARTTLS", "220 go")

    async with server(play) as port, Client.connect(HOST, port) as client:
        with pytest.raises(UpstreamError, match="handshake"):
            await client.starttls(client_context)
        assert client.is_closed


async def test_a_connection_that_is_gone_when_the_handshake_is_done_is_an_error(
    client_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loop:
        """``start_tls`` gives None then (CPython #105993)."""

        async def start_tls(self, *args: object, **kwargs: object) -> None:
            pass

    wire = Wire()
    wire.connection_made(asyncio.Transport())
    monkeypatch.setattr(asyncio.Transport, "abort", lambda _: None)
    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    with pytest.raises(ConnectionError):
        await wire.start_tls(client_context, None)
    assert wire.has_ended


async def test_a_handshake_has_its_own_time(client_context: ssl.SSLContext) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 mx")
        await peer.answer("STARTTLS", "220 go")
        await peer.rest()

    async with server(play) as port, Client.connect(HOST, port, timeout=ClientTimeouts(tls=TINY)) as client:
        with pytest.raises(UpstreamTimeout, match="handshake"):
            await client.starttls(client_context)
        assert client.is_closed


# Interoperation


class Collector:
    """A handler of aiosmtpd."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []

    async def handle_RCPT(
        self, _server: object, _session: object, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address == "nobody@b.example":
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        self.envelopes.append(envelope)
        return "250 2.0.0 queued"


async def test_aiosmtpd_takes_a_message() -> None:
    collector = Collector()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: aiosmtpd.smtp.SMTP(collector, hostname="peer.example"), HOST, 0)
    content = b"Subject: dots\r\n\r\n.\r\n..\r\nend"
    try:
        async with Client.connect(HOST, listener.sockets[0].getsockname()[1], timeout=5) as client:
            assert (await client.ehlo()).lines[0] == "peer.example"
            assert client.extensions["SIZE"] == ("33554432",)
            assert (await client.mail("a@b.example", ["SIZE=40", "BODY=8BITMIME"])).code == 250
            assert (await client.rcpt("nobody@b.example")) == Reply(550, "5.1.1", ("no such user",))
            assert (await client.rcpt("somebody@b.example")).enhanced == "2.1.5"
            assert await client.data(given(content[:20], content[20:])) == Reply(250, "2.0.0", ("queued",))
            assert (await client.rset()).is_positive
            assert (await client.command("VRFY", "a")).code == 252
            assert (await client.noop()).is_positive
    finally:
        listener.close()
    (envelope,) = collector.envelopes
    assert envelope.mail_from == "a@b.example"
    assert envelope.rcpt_tos == ["somebody@b.example"]
    assert envelope.content == content + b"\r\n"
