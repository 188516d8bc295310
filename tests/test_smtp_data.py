"""How a message comes in, by DATA and BDAT, and how it is handed over: whole, or as a stream."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import SMTP, BareNewlines, Chunks, DataAborted, Disconnect, Envelope, Reply, Session
from ehlo.net.flow import UNREAD_LIMIT
from tests.support import Recorder, be_quiet, in_callback, pass_time, talk, with_fake_clock

if TYPE_CHECKING:
    from tests.support import Client

INTERNAL_ERROR = "451 4.3.0 Internal error, try again later"


async def data(client: Client, *recipients: str) -> None:
    """A transaction, up to the 354."""
    await client.begin(*recipients)
    assert await client.ask("DATA") == "354 End data with <CR><LF>.<CR><LF>"


# -- handle_DATA --------------------------------------------------------------------------------------------


async def test_the_whole_content_is_in_the_envelope() -> None:
    async with talk(handler := Recorder()) as client:
        await data(client)
        envelope = client.server.envelope
        assert await client.ask("Subject: x", "", "..dot", ".") == f"250 2.0.0 OK queued as {envelope.id}"
        assert handler.envelopes == [envelope]
        assert envelope.content == envelope.original_content == b"Subject: x\r\n\r\n.dot\r\n"
        assert client.server.envelope is not envelope
        assert client.server.envelope.id != envelope.id


async def test_without_a_hook_a_message_is_taken_and_forgotten() -> None:
    async with talk() as client:
        assert (await client.send("Hello")).startswith("250 2.0.0 OK queued as ")


async def test_an_empty_message_is_a_message() -> None:
    async with talk(handler := Recorder()) as client:
        assert (await client.send()).startswith("250")
    assert handler.contents == [b""]


async def test_a_message_in_many_pieces_is_one() -> None:
    lines = [f"line {number}" for number in range(1000)]
    async with talk(handler := Recorder()) as client:
        await data(client)
        for line in lines:
            await client.say(line)
        assert (await client.ask(".")).startswith("250")
    assert handler.contents == ["".join(line + "\r\n" for line in lines).encode()]


async def test_several_messages_in_one_group() -> None:
    async with talk(handler := Recorder()) as client:
        one = ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA", "Hello", "."]
        await client.say(*one, *one, *one, "QUIT")
        replies = await client.hear_all()
        assert [reply[:3] for reply in replies] == ["250", "250", "354", "250"] * 3 + ["221"]
    assert handler.contents == [b"Hello\r\n"] * 3


async def test_every_envelope_is_one_of_its_own() -> None:
    async with talk(handler := Recorder()) as client:
        await client.send("one")
        await client.send("two")
    one, two = handler.envelopes
    assert one is not two
    assert one.rcpt_tos is not two.rcpt_tos
    assert (one.content, two.content) == (b"one\r\n", b"two\r\n")


async def test_a_transaction_is_one_line_in_the_log_and_its_content_is_in_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with talk(Recorder()) as client:
        await client.begin("one@example.com", "two@example.com")
        await client.ask("DATA")
        envelope = client.server.envelope
        await client.ask("Subject: between you and me", ".")
    (line,) = (record.getMessage() for record in caplog.records if envelope.id in record.getMessage())
    for fact in (client.server.session.id, "from=<from@example.com>", "to=2", "first=<one@example.com>", "size=29"):
        assert fact in line
    assert "between you and me" not in caplog.text


@pytest.mark.parametrize("limit", [1, 5, 100])
async def test_what_is_over_the_size_is_never_handed_over(limit: int) -> None:
    async with talk(handler := Recorder(), data_size_limit=limit) as client:
        await data(client)
        await client.feed(b"x" * (limit - 1))
        await client.feed(b"\r\n")
        assert client.said() == []
        await client.feed(b"QUIT\r\n" * 100)
        assert client.said() == []
        assert await client.ask(".") == "552 5.3.4 Message size exceeds fixed maximum message size"
        assert await client.is_usable()
        assert (await client.ask("DATA")).startswith("503")
    assert handler.envelopes == []


async def test_what_is_over_the_size_takes_no_memory() -> None:
    async with talk(handler := Recorder(), data_size_limit=1000) as client:
        await data(client)
        for _ in range(100):
            await client.feed(b"x" * 50_000)
            assert client.server._framer.buffered < 10
            assert client.transport.is_reading()
        assert (await client.ask("", ".")).startswith("552")
    assert handler.envelopes == []


@pytest.mark.parametrize("bare", [b"\n", b"\r", b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r"])
async def test_bare_newlines_are_refused_at_the_end_or_kept_or_mended(bare: bytes) -> None:
    for choice in BareNewlines:
        async with talk(handler := Recorder(), bare_newlines=choice) as client:
            await data(client)
            await client.feed(b"one" + bare)
            await client.feed(b"two\r\n")
            assert client.said() == []
            reply = await client.ask(".")
            if choice is BareNewlines.REFUSE:
                assert reply == "550 5.6.11 Bare CR or LF in mail data"
                assert handler.contents == []
            else:
                assert reply.startswith("250")
                # The dot of a stuffed line is undone behind CRLF only.
                kept = b"one" + (bare if not bare.startswith(b"\r\n.") else b"\r\n" + bare[3:]) + b"two\r\n"
                mended = kept.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
                assert handler.contents == [kept if choice is BareNewlines.KEEP else mended]
            assert await client.is_usable()


async def test_the_hook_that_takes_a_message_is_not_disturbed_by_the_client_going() -> None:
    is_stored = asyncio.Event()
    has_begun = asyncio.Event()

    class Storing:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
            has_begun.set()
            await asyncio.sleep(0.01)
            is_stored.set()

    async with talk(Storing()) as client:
        await data(client)
        await client.say("Hello", ".")
        await has_begun.wait()
        await in_callback(client.transport.lose)
    assert is_stored.is_set()


# -- handle_DATA_STREAM -------------------------------------------------------------------------------------


class Stream(Recorder):
    """Keeps the pieces; does with each what it is told to."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        self.answer = answer
        self.pieces: list[bytes] = []
        self.ends: list[str] = []

    async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> Any:
        try:
            async for piece in chunks:
                assert piece
                self.pieces.append(piece)
                await self.on_piece(piece)
        except DataAborted:
            self.ends.append("aborted")
            await self.on_abort()
            raise
        self.ends.append("complete")
        self.envelopes.append(envelope)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def on_piece(self, piece: bytes) -> None:
        """Work for a piece."""

    async def on_abort(self) -> None:
        """Clean up."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        raise AssertionError("a handler with both is given the stream")


async def test_a_stream_is_the_content_piece_by_piece() -> None:
    async with talk(handler := Stream()) as client:
        await data(client)
        envelope = client.server.envelope
        await client.feed(b"one\r\n..t")
        await client.feed(b"wo\r\n")
        assert handler.pieces == [b"one\r\n.t", b"wo"]
        assert handler.ends == []
        assert await client.ask(".") == f"250 2.0.0 OK queued as {envelope.id}"
        assert b"".join(handler.pieces) == b"one\r\n.two\r\n"
        assert envelope.content is None
    assert handler.ends == ["complete"]
    assert handler.envelopes == [envelope]


async def test_an_empty_stream_is_complete_at_once() -> None:
    async with talk(handler := Stream()) as client:
        assert (await client.send()).startswith("250")
    assert (handler.pieces, handler.ends) == ([], ["complete"])


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("250 2.6.0 Fine", "250 2.6.0 Fine"),
        (b"250 2.6.0 Fine", "250 2.6.0 Fine"),
        (Reply(250, None, ("one", "two")), "250-2.0.0 one\n250 2.0.0 two"),
        ("550 5.7.1 Spam", "550 5.7.1 Spam"),
        ("fine", INTERNAL_ERROR),
        (["250 OK"], INTERNAL_ERROR),
        (ValueError("details"), INTERNAL_ERROR),
        (DataAborted("invented"), INTERNAL_ERROR),
    ],
)
async def test_a_stream_is_answered_as_a_message_is(answer: Any, reply: str) -> None:
    async with talk(Stream(answer)) as client:
        for _ in range(2):
            assert await client.send("Hello") == reply
            assert await client.is_usable()


@pytest.mark.parametrize("answer", [None, "250 2.6.0 I know enough", "550 5.7.1 Spam", ValueError(), DataAborted()])
@pytest.mark.parametrize("is_reading", [False, True])
async def test_a_hook_may_return_before_the_end_and_the_rest_is_dropped(answer: Any, is_reading: bool) -> None:
    class Hasty:
        async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> Any:
            if is_reading:
                await anext(chunks)
            if isinstance(answer, Exception):
                raise answer
            return answer

    async with talk(Hasty()) as client:
        for _ in range(2):
            await data(client)
            await client.say("Hello")
            await be_quiet()
            await client.say("QUIT", "..")
            await client.feed(b"." * 50_000)
            assert client.said() == []
            assert client.transport.is_reading()
            reply = await client.ask("", ".")
            if answer is None:
                assert reply.startswith("250 2.0.0 OK queued as ")
            else:
                assert reply == (INTERNAL_ERROR if isinstance(answer, Exception) else answer)
            assert await client.is_usable()
            assert (await client.ask("DATA")).startswith("503")


async def cut_by_loss(client: Client) -> list[str]:
    await in_callback(client.transport.lose)
    return []


async def cut_by_eof(client: Client) -> list[str]:
    await in_callback(client.transport.feed_eof)
    return []


async def cut_by_size(client: Client) -> list[str]:
    await client.feed(b"x" * 1000)
    await be_quiet()
    assert client.said() == []
    await client.say("", ".", "QUIT")
    return ["552 5.3.4 Message size exceeds fixed maximum message size", "221 2.0.0 Bye"]


async def cut_by_bare_newline(client: Client) -> list[str]:
    await client.feed(b"x\ny")
    await be_quiet()
    assert client.said() == []
    await client.say("", ".", "QUIT")
    return ["550 5.6.11 Bare CR or LF in mail data", "221 2.0.0 Bye"]


async def cut_by_timeout(client: Client) -> list[str]:
    await pass_time(181)
    return ["421 4.4.2 Timeout, closing connection"]


async def cut_by_stop(client: Client) -> list[str]:
    client.server.task.cancel()
    return ["421 4.3.2 Service shutting down, closing connection"]


CUTS = [cut_by_loss, cut_by_eof, cut_by_size, cut_by_bare_newline, cut_by_timeout]
Cut = Callable[["Client"], Awaitable[list[str]]]
REASONS: dict[Cut, Disconnect] = {
    cut_by_loss: Disconnect.CLOSED,
    cut_by_eof: Disconnect.CLOSED,
    cut_by_size: Disconnect.QUIT,
    cut_by_bare_newline: Disconnect.QUIT,
    cut_by_timeout: Disconnect.TIMEOUT,
}


class Clean(Stream):
    """Cleans up, and lets the exception pass."""


class Swallowing(Stream):
    """Takes no notice, and claims success: a 2xx that must not be heard."""

    async def handle_DATA_STREAM(self, *args: Any) -> Any:
        try:
            return await super().handle_DATA_STREAM(*args)
        except DataAborted:
            return "250 2.0.0 Taken"


class Insisting(Swallowing):
    """Tries to read on."""

    async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> Any:
        await super().handle_DATA_STREAM(server, session, envelope, chunks)
        for _ in range(3):
            with pytest.raises(DataAborted):
                await anext(chunks)
        return "250 2.0.0 Taken"


class Failing(Stream):
    """Fails while it cleans up."""

    async def on_abort(self) -> None:
        raise OSError("no space left")


class SlowToClean(Stream):
    """Waits while it cleans up."""

    async def on_abort(self) -> None:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("handler_class", [Clean, Swallowing, Insisting, Failing, SlowToClean])
@pytest.mark.parametrize("cut", CUTS)
@with_fake_clock
async def test_a_stream_that_is_cut_is_aborted_and_never_taken(cut: Cut, handler_class: type[Stream]) -> None:
    async with talk(handler := handler_class(), data_size_limit=500) as client:
        await data(client)
        await client.feed(b"Hello\r\n")
        assert await cut(client) == await client.hear_all()
    assert handler.ends == ["aborted"]
    assert handler.envelopes == []
    assert handler.reasons == [REASONS[cut]]


@pytest.mark.parametrize("handler_class", [Clean, Swallowing, Failing, SlowToClean])
@pytest.mark.parametrize("cut", [cut_by_size, cut_by_bare_newline])
async def test_after_a_stream_that_broke_a_limit_the_next_one_is_taken(cut: Cut, handler_class: type[Stream]) -> None:
    async with talk(handler := handler_class(), data_size_limit=500) as client:
        await data(client)
        await client.feed(b"x\ny" if cut is cut_by_bare_newline else b"x" * 1000)
        await be_quiet()
        await client.feed(b"." * 1000)
        assert (await client.ask("", "."))[:3] in {"552", "550"}
        handler.pieces.clear()
        assert (await client.send("Hello")).startswith("250")
    assert handler.pieces == [b"Hello\r\n"]
    assert handler.ends == ["aborted", "complete"]


async def test_a_stream_that_the_shutdown_cuts_is_cancelled() -> None:
    ends = []

    class Stopped:
        async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> None:
            try:
                async for _ in chunks:
                    pass
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

    async with talk(Stopped()) as client:
        await data(client)
        await client.feed(b"Hello")
        assert await cut_by_stop(client) == await client.hear_all()
    assert ends == ["cancelled"]


async def test_reading_pauses_while_a_streaming_hook_is_busy() -> None:
    """Back pressure: what the hook has no time for stays with the client, and nothing is gathered here."""
    go_on = asyncio.Event()

    class Slow(Stream):
        async def on_piece(self, piece: bytes) -> None:
            await go_on.wait()
            go_on.clear()

    async with talk(handler := Slow()) as client:
        await data(client)
        await client.feed(b"first")
        sent = 0
        while client.transport.is_reading():
            assert sent <= UNREAD_LIMIT
            await client.feed(b"x" * 8192)
            sent += 8192
        assert len(handler.pieces) == 1
        assert sent == UNREAD_LIMIT + 8192
        assert client.server._framer.buffered == sent
        while not client.transport.is_reading():
            go_on.set()
            await be_quiet()
        assert b"".join(handler.pieces[1:]) == b"x" * sent
        await client.say("", ".")
        while not client.transport.sent:
            go_on.set()
            await be_quiet()
        assert (await client.hear()).startswith("250")


async def test_a_stream_may_be_read_from_a_task_of_its_own() -> None:
    class Piping(Stream):
        async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> str:
            queue: asyncio.Queue[bytes | None] = asyncio.Queue(2)

            async def read() -> None:
                async for piece in chunks:
                    await queue.put(piece)
                await queue.put(None)

            async with asyncio.TaskGroup() as group:
                group.create_task(read())
                while (piece := await queue.get()) is not None:
                    self.pieces.append(piece)
            return f"250 2.0.0 {sum(map(len, self.pieces))} octets"

    async with talk(handler := Piping()) as client:
        for _ in range(2):
            handler.pieces.clear()
            await data(client)
            for _ in range(50):
                await client.feed(b"0123456789")
                await be_quiet()
            assert await client.ask("", ".") == "250 2.0.0 502 octets"
            assert await client.is_usable()


@pytest.mark.parametrize("cut", CUTS)
@with_fake_clock
async def test_a_task_that_reads_a_stream_is_told_when_it_is_cut(
    cut: Cut,
) -> None:
    class Piping(Stream):
        async def handle_DATA_STREAM(self, *args: Any) -> Any:
            return await asyncio.create_task(super().handle_DATA_STREAM(*args))

    async with talk(handler := Piping(), data_size_limit=500) as client:
        await data(client)
        await client.feed(b"Hello\r\n")
        await be_quiet()
        assert await cut(client) == await client.hear_all()
    assert handler.ends == ["aborted"]
    assert handler.envelopes == []
    assert handler.reasons == [REASONS[cut]]


class Leaving(Stream):
    """Leaves a task behind that goes on reading: a mistake, and nobody else may pay for it."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[asyncio.Task[None]] = []
        self.stolen: list[bytes] = []
        self.may_go_on = asyncio.Event()

    async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> Any:
        if self.tasks:
            await self.may_go_on.wait()
            return await super().handle_DATA_STREAM(server, session, envelope, chunks)

        async def read() -> None:
            async for piece in chunks:
                self.stolen.append(piece)

        self.tasks.append(asyncio.create_task(read()))
        await asyncio.sleep(0)
        return "550 5.7.1 I know enough"


async def test_a_task_that_is_left_behind_does_not_read_the_next_message() -> None:
    async with talk(handler := Leaving()) as client:
        await data(client)
        await be_quiet()
        assert await client.ask("one", ".") == "550 5.7.1 I know enough"
        await data(client)
        await client.say("two")
        await be_quiet()
        handler.may_go_on.set()
        await client.say("three", ".")
        assert (await client.hear()).startswith("250")
        await in_callback(client.transport.lose)
        await be_quiet()
        (task,) = handler.tasks
        assert task.done()
        assert isinstance(task.exception(), DataAborted)
    assert b"".join(handler.pieces) == b"two\r\nthree\r\n"
    assert handler.stolen == []


@with_fake_clock
async def test_no_time_runs_against_the_client_while_a_streaming_hook_works() -> None:
    class Slow(Stream):
        async def on_piece(self, piece: bytes) -> None:
            await asyncio.sleep(500)

    async with talk(Slow()) as client:
        await data(client)
        for _ in range(3):
            await client.feed(b"x" * 60_000)
            await pass_time(501)
        await pass_time(170)
        assert client.said() == []
        await client.say("", ".")
        await pass_time(501)
        assert (await client.hear()).startswith("250")


@with_fake_clock
async def test_no_time_runs_against_the_client_while_a_hook_with_a_reading_task_works() -> None:
    class Slow(Stream):
        async def handle_DATA_STREAM(self, *args: Any) -> Any:
            return await asyncio.create_task(super().handle_DATA_STREAM(*args))

        async def on_piece(self, piece: bytes) -> None:
            await asyncio.sleep(250)

    async with talk(Slow()) as client:
        await data(client)
        await client.feed(b"x" * 60_000)
        await pass_time(251)
        assert client.said() == []
        await client.say("", ".")
        await pass_time(251)
        assert (await client.hear()).startswith("250")


@with_fake_clock
async def test_a_streaming_hook_that_takes_too_long_for_a_piece_is_given_up() -> None:
    class Stuck(Stream):
        async def on_piece(self, piece: bytes) -> None:
            await asyncio.sleep(1_000_000)

    async with talk(handler := Stuck()) as client:
        await data(client)
        await client.feed(b"Hello\r\n")
        await pass_time(530)
        assert client.said() == []
        await pass_time(20)
        assert client.said() == []  # the client is still talking
        assert await client.ask("more", ".") == INTERNAL_ERROR
        assert await client.is_usable()
    assert handler.envelopes == []


async def test_a_large_message_is_streamed_in_bounded_memory() -> None:
    class Hashing(Stream):
        def __init__(self) -> None:
            super().__init__()
            self.digest = hashlib.sha256()
            self.size = 0

        async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> str:
            async for piece in chunks:
                self.digest.update(piece)
                self.size = chunks.size
            return f"250 2.0.0 {self.digest.hexdigest()}"

    block = (b"x" * 78 + b"\r\n") * 800
    async with talk(handler := Hashing(), data_size_limit=None) as client:
        await data(client)
        for _ in range(100):
            await client.feed(block)
            assert client.server._framer.buffered <= 2
        assert await client.ask(".") == f"250 2.0.0 {hashlib.sha256(block * 100).hexdigest()}"
    assert handler.size == 100 * len(block)


# -- BDAT ---------------------------------------------------------------------------------------------------


both_hooks = pytest.mark.parametrize("handler_class", [Recorder, Stream])


def taken(handler: Recorder) -> bytes:
    if isinstance(handler, Stream):
        return b"".join(handler.pieces)
    return b"".join(content or b"" for content in handler.contents)


@both_hooks
async def test_a_message_in_chunks_comes_through_the_same_hooks(handler_class: type[Recorder]) -> None:
    async with talk(handler := handler_class()) as client:
        await client.begin()
        envelope = client.server.envelope
        await client.feed(b"BDAT 8\r\n.\r\n..\r\n\n")
        assert await client.hear() == "250 2.0.0 8 octets received"
        await client.feed(b"BDAT 0\r\n")
        assert await client.hear() == "250 2.0.0 0 octets received"
        assert await client.is_usable()
        await client.feed(b"BDAT 6 LAST\r\nQUI")
        assert client.said() == []
        await client.feed(b"T\r\n")
        assert await client.hear() == f"250 2.0.0 OK queued as {envelope.id}"
        assert await client.is_usable()
    assert taken(handler) == b".\r\n..\r\n\nQUIT\r\n"
    assert handler.envelopes == [envelope]


@both_hooks
@pytest.mark.parametrize("end", ["RSET", "EHLO client.example", "HELO client.example"])
async def test_a_message_may_be_given_up_between_two_chunks(handler_class: type[Recorder], end: str) -> None:
    async with talk(handler := handler_class()) as client:
        await client.begin()
        await client.feed(b"BDAT 2\r\nhi")
        assert (await client.hear()).startswith("250")
        assert (await client.ask(end)).startswith("250")
        assert client.said() == []
        await client.feed(b"BDAT 6 LAST\r\nQUIT\r\n")
        assert (await client.hear()).startswith("503 ")
        assert await client.is_usable()
        if isinstance(handler, Stream):
            assert handler.ends == ["aborted"]
    assert handler.envelopes == []


@both_hooks
async def test_quit_between_two_chunks_is_quit(handler_class: type[Recorder]) -> None:
    async with talk(handler := handler_class()) as client:
        await client.begin()
        await client.feed(b"BDAT 2\r\nhiQUIT\r\nNOOP\r\n")
        assert await client.hear_all() == ["250 2.0.0 2 octets received", "221 2.0.0 Bye"]
    assert handler.envelopes == []
    assert handler.reasons == [Disconnect.QUIT]


@pytest.mark.parametrize("handler_class", [Clean, Swallowing, Failing, SlowToClean])
async def test_a_stream_that_the_client_gives_up_has_no_second_reply(handler_class: type[Stream]) -> None:
    async with talk(handler := handler_class()) as client:
        await client.begin()
        await client.feed(b"BDAT 2\r\nhi")
        assert (await client.hear()).startswith("250")
        assert await client.ask("RSET") == "250 2.0.0 OK"
        assert await client.is_usable()
        assert (await client.send("Hello")).startswith("250")
    assert handler.ends == ["aborted", "complete"]


async def test_a_hook_that_returns_before_the_last_chunk_is_answered_with_it() -> None:
    class Hasty:
        async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> str:
            await anext(chunks)
            return "550 5.7.1 Spam"

    async with talk(Hasty()) as client:
        await client.begin()
        await client.feed(b"BDAT 2\r\nhi")
        assert (await client.hear()).startswith("250 2.0.0 2 octets")
        await client.feed(b"BDAT 2\r\nhi")
        assert (await client.hear()).startswith("250 2.0.0 2 octets")
        await client.feed(b"BDAT 2 LAST\r\nhi")
        assert await client.hear() == "550 5.7.1 Spam"
        assert await client.is_usable()


@both_hooks
async def test_a_chunk_over_the_size_is_refused_and_the_later_ones_too(handler_class: type[Recorder]) -> None:
    async with talk(handler := handler_class(), data_size_limit=10) as client:
        await client.begin()
        await client.feed(b"BDAT 6\r\n123456")
        assert (await client.hear()).startswith("250")
        await client.feed(b"BDAT 6\r\nQUIT")
        assert client.said() == []
        await client.feed(b"\r\n")
        assert (await client.hear()).startswith("552 5.3.4")
        await client.feed(b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n")
        assert (await client.hear()).startswith("503 ")
        assert (await client.hear()).startswith("503 ")
        assert await client.is_usable()
        await client.begin()
        await client.feed(b"BDAT 10 LAST\r\n1234567890")
        assert (await client.hear()).startswith("250")
    assert len(handler.envelopes) == 1


async def test_bdat_octets_are_never_changed_or_refused_for_their_newlines() -> None:
    async with talk(handler := Recorder()) as client:
        await client.begin()
        await client.feed(b"BDAT 11 LAST\r\na\nb\rc\r\n.\r\n\0")
        assert (await client.hear()).startswith("250")
    assert handler.contents == [b"a\nb\rc\r\n.\r\n\0"]


async def test_a_message_in_chunks_may_be_read_from_a_task_of_its_own() -> None:
    class Piping(Stream):
        async def handle_DATA_STREAM(self, *args: Any) -> Any:
            return await asyncio.create_task(super().handle_DATA_STREAM(*args))

    async with talk(handler := Piping()) as client:
        for _ in range(2):
            handler.pieces.clear()
            await client.begin()
            await client.feed(b"BDAT 4\r\none")
            await client.feed(b",")
            assert (await client.hear()).startswith("250 2.0.0 4 octets")
            assert (await client.ask("XYZZY")).startswith("500")
            assert await client.is_usable()
            await client.feed(b"BDAT 3\r\ntwo")
            assert (await client.hear()).startswith("250 2.0.0 3 octets")
            await client.feed(b"BDAT 0 LAST\r\n")
            assert (await client.hear()).startswith("250 2.0.0 OK queued")
            assert await client.is_usable()
            assert b"".join(handler.pieces) == b"one,two"
        await client.begin()
        await client.feed(b"BDAT 2\r\nhi")
        assert (await client.hear()).startswith("250")
        assert await client.ask("RSET") == "250 2.0.0 OK"
        assert await client.is_usable()
        await client.begin()
        await client.feed(b"BDAT 2\r\nhiQUIT\r\n")
        assert (await client.hear()).startswith("250")
        assert (await client.hear()).startswith("221")
        assert await client.is_over()
    assert len(handler.envelopes) == 2
    assert handler.ends == ["complete", "complete", "aborted", "aborted"]
    assert handler.reasons == [Disconnect.QUIT]


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 1 FIRST", b"BDAT LAST"])
async def test_a_bdat_that_cannot_be_counted_ends_the_session(line: bytes) -> None:
    async with talk(handler := Recorder()) as client:
        await client.begin()
        await client.feed(line + b"\r\nQUIT\r\n")
        assert await client.hear_all() == ["501 5.5.4 Syntax: BDAT <size> [LAST]; closing connection"]
    assert handler.reasons == [Disconnect.ERRORS]


@both_hooks
async def test_the_client_may_go_amid_a_chunk(handler_class: type[Recorder]) -> None:
    async with talk(handler := handler_class()) as client:
        await client.begin()
        await client.feed(b"BDAT 6 LAST\r\nQUIT")
        await in_callback(client.transport.feed_eof)
        assert await client.is_over()
    assert handler.envelopes == []
    assert handler.reasons == [Disconnect.CLOSED]


@both_hooks
@with_fake_clock
async def test_a_client_may_be_too_slow_amid_a_chunk_and_between_two(handler_class: type[Recorder]) -> None:
    for opening, seconds in ((b"BDAT 6 LAST\r\nQUIT", 181), (b"BDAT 2\r\nhi", 301)):
        async with talk(handler := handler_class()) as client:
            await client.begin()
            await client.feed(opening)
            await be_quiet()
            client.said()
            await pass_time(seconds - 11)
            assert client.said() == []
            await pass_time(20)
            assert await client.hear_all() == ["421 4.4.2 Timeout, closing connection"]
        assert handler.envelopes == []
        assert handler.reasons == [Disconnect.TIMEOUT]


@both_hooks
async def test_errors_between_two_chunks_are_counted(handler_class: type[Recorder]) -> None:
    async with talk(handler := handler_class(), error_limit=3) as client:
        await client.begin()
        await client.feed(b"BDAT 2\r\nhi" + b"XYZZY\r\n" * 5)
        replies = await client.hear_all()
        assert [reply[:3] for reply in replies] == ["250", "500", "500", "500", "421"]
    assert handler.envelopes == []
    assert handler.reasons == [Disconnect.ERRORS]


async def test_binarymime_needs_bdat() -> None:
    async with talk(type("Binary", (Recorder,), {"honours": {"BINARYMIME"}})()) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> BODY=BINARYMIME")).startswith("250")
        assert (await client.ask("RCPT TO:<b@example.com>")).startswith("250")
        assert await client.ask("DATA") == "503 5.5.1 BINARYMIME needs BDAT"
        await client.feed(b"BDAT 1 LAST\r\n\n")
        assert (await client.hear()).startswith("250")


@with_fake_clock
async def test_a_streaming_hook_that_gives_up_between_two_chunks_keeps_the_replies_in_step() -> None:
    class Impatient(Recorder):
        async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> str:
            try:
                async with asyncio.timeout(5):
                    async for _ in chunks:
                        pass
            except TimeoutError:
                return "550 5.6.0 Too slow for me"
            return "250 2.0.0 In time"

    async with talk(Impatient()) as client:
        await client.begin()
        await client.feed(b"BDAT 4\r\nabcd")
        assert await client.hear() == "250 2.0.0 4 octets received"
        await pass_time(6)
        assert client.said() == []
        await client.feed(b"BDAT 4 LAST\r\nefgh")
        assert await client.hear() == "550 5.6.0 Too slow for me"
        assert await client.is_usable()


@with_fake_clock
async def test_a_hook_that_asks_again_and_again_does_not_give_a_silent_client_more_time() -> None:
    class Polling(Recorder):
        async def handle_DATA_STREAM(self, server: SMTP, session: Session, envelope: Envelope, chunks: Chunks) -> None:
            while True:
                try:
                    async with asyncio.timeout(50):
                        await anext(chunks)
                except TimeoutError:
                    continue

    async with talk(Polling()) as client:
        await data(client)
        for _ in range(4):
            await pass_time(51)
        assert client.said() == ["421 4.4.2 Timeout, closing connection"]
