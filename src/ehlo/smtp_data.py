"""DATA and BDAT: how a message comes in, and how it is handed to the handler. Does not know what a message is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ehlo.content import LARGE, Chunks, ContentReader, give_back, read_all
from ehlo.dispatch import Dispatcher, syntax
from ehlo.errors import (
    ArgumentError,
    BadSequence,
    CommandNotImplemented,
    DataAborted,
    Goodbye,
    HandlerError,
    ProtocolError,
    SessionEnded,
    TransactionAborted,
)
from ehlo.protocol.parameters import Body

if TYPE_CHECKING:
    from ehlo.protocol.replies import EncodedReply
    from ehlo.session import Envelope

log = logging.getLogger("ehlo.smtp")

_BINARYMIME = Body.BINARYMIME


class Reception(Dispatcher):
    """The verbs DATA and BDAT."""

    __slots__ = ()

    @syntax("DATA")
    async def smtp_DATA(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.4."""
        if arg:
            raise ArgumentError("argument of DATA", text="Syntax: DATA")
        if self.envelope.mail_parameters.body is _BINARYMIME:
            raise BadSequence("BINARYMIME with DATA", text="BINARYMIME needs BDAT")  # RFC 3030 §3
        self._write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        self._expect_data()
        await self._receive(self._next_data)

    @syntax("BDAT <size> [LAST]")
    async def smtp_BDAT(self, arg: str | None) -> None:
        """RFC 3030 §2.  The chunk itself was announced to the framer when the line was read.

        The first BDAT of a message stays here until the last one, and runs what the client says in between: so a
        streaming hook is one coroutine, in one task, whether the message came by DATA or in chunks.
        """
        if "CHUNKING" not in self._offered:
            raise CommandNotImplemented
        self._chunk = self._announced_chunk
        if not self.envelope.is_chunked:
            self.envelope.is_chunked = True
            await self._receive(self._next_of_chunks)

    async def _next_of_chunks(self) -> bytes:
        """As ``_next_data``, across the chunks of a message; acknowledges each but the last."""
        while True:
            if self._chunk is not None:
                data = await self._next_data()
                if data or self._chunk.is_last:
                    return data
                # Whoever reads may be cancelled in what follows and come again: the chunk is acknowledged once.
                size, self._chunk = self._chunk.size, None
                await self.push(f"250 2.0.0 {size} octets received")
            while self._chunk is None:
                envelope = self.envelope
                await self._next_command()
                if self.envelope is not envelope or self._farewell is not None:
                    raise TransactionAborted("given up between two chunks")

    async def _receive(self, next_data: Callable[[], Awaitable[bytes]]) -> None:
        """Read a message to its end, give it to the handler, say what became of it; forget the transaction."""
        envelope = self.envelope
        # A subclass's own RCPT may not count.
        self._accepted_recipients = envelope.accepted_recipients or len(envelope.rcpt_tos)
        reader = ContentReader(next_data, self._drop_data, self._framer, self.settings, is_chunked=envelope.is_chunked)
        stats, replies = self._stats, []
        try:
            replies = await self._deliver(envelope, reader)
            self._log_message(envelope, reader, replies)
        except TransactionAborted:
            log.info("session %s: message %s: given up by the client", self.session.id, envelope.id)
            return
        finally:
            self._set_rset_state()
            stats.data_octets += reader.size
            if not replies:
                stats.messages_aborted += 1
            elif replies[0].code < 400 or any(reply.code < 400 for reply in replies):  # LMTP has several
                stats.messages_accepted += 1
                self._client.message_accepted()
            else:
                stats.messages_refused += 1
        for reply in replies:
            self._write(reply.data)
        if reader.size >= LARGE:
            give_back(envelope, self.loop)

    async def _deliver(self, envelope: Envelope, reader: ContentReader) -> list[EncodedReply]:
        outcome: Any
        try:
            outcome = await (self._stream(reader) if "DATA_STREAM" in self.shared.hooks else self._buffer(reader))
            return self._encode_outcome(envelope, outcome)
        except (Goodbye, SessionEnded, TransactionAborted):
            raise
        except ProtocolError as error:
            try:
                return self._encode_outcome(envelope, error.status)
            except HandlerError as mistake:  # a hook raised it with a text of its own
                outcome = await self._apology("DATA", mistake)
        except Exception as error:  # noqa: BLE001 - whatever a hook raises must not end the session
            outcome = await self._apology("DATA", error)
        return self._encode_outcome(envelope, outcome)

    async def _buffer(self, reader: ContentReader) -> Any:
        """``handle_DATA``: the whole content at once."""
        try:
            self.envelope.content = await read_all(reader)
        except Goodbye:
            raise
        except ProtocolError:
            await reader.give_up()
            raise
        return await self._call_handler_hook("DATA")

    async def _stream(self, reader: ContentReader) -> Any:
        """``handle_DATA_STREAM``: the content as it comes.  What the hook leaves unread is read before the reply."""
        chunks = Chunks(reader)
        answer = None
        try:
            answer = await self._call_handler_hook("DATA_STREAM", chunks)
        except Exception as error:
            if chunks.failure is None:
                await reader.skip()
                raise
            if not isinstance(error, DataAborted):
                log.exception("session %s: handle_DATA_STREAM failed when its data were aborted", self.session.id)
        finally:
            chunks.close()
        if chunks.failure is None:
            await reader.skip()
            return answer
        failure, chunks.failure = chunks.failure, None
        try:
            if isinstance(failure, ProtocolError) and not isinstance(failure, Goodbye):
                await reader.give_up()
            raise failure
        finally:
            del failure  # its traceback leads back here

    def _encode_outcome(self, envelope: Envelope, outcome: Any) -> list[EncodedReply]:
        """The replies to the end of data: one (RFC 5321); LMTP has one for each recipient."""
        return [self._settle(outcome, f"250 2.0.0 OK queued as {envelope.id}")]

    def _log_message(self, envelope: Envelope, reader: ContentReader, replies: list[EncodedReply]) -> None:
        if log.isEnabledFor(logging.INFO):
            log.info(
                "session %s: message %s: from=<%s> to=%d first=<%s> size=%d tls=%s login=%s reply=%s",
                self.session.id,
                envelope.id,
                envelope.mail_from,
                len(envelope.rcpt_tos),
                envelope.rcpt_tos[0] if envelope.rcpt_tos else "",
                reader.size,
                self.session.ssl.version if self.session.ssl else "no",
                self.session.login or "no",
                " / ".join(reply.data.rstrip().decode(errors="replace").replace("\r\n", " / ") for reply in replies),
            )
