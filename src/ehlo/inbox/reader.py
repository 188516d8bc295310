"""What any thread reads from the store, by connections that the writer does not wait for, nor they for it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ehlo.inbox import rows
from ehlo.inbox.errors import NoSuchMessage, NoSuchPart, StoreClosed, StoreError
from ehlo.inbox.query import ALL
from ehlo.inbox.records import InboxCount, Page
from ehlo.inbox.schema import CHUNK, CHUNK_BITS, open_to_read
from ehlo.mime.encodings import decode_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ehlo.inbox.query import Query
    from ehlo.inbox.records import EnvelopeRecord, InboxRecord, Parsed, Part, SessionRecord, Summary

CONNECTIONS_KEPT: Final = 8
PAGE_LIMIT: Final = 1000


class Reader:
    """Reads.  Safe to use from several threads.

    Methods that take the id of a message raise ``NoSuchMessage``; all raise ``StoreError`` where the file cannot be
    read, and ``StoreClosed`` after ``close``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Close what is not in use now, and the rest when it is given back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread for a while."""
        with self._lock:
            if self._is_closed:
                raise StoreClosed("the store is closed")
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection = open_to_read(self._path)
            yield connection
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}") from error
        finally:
            if connection is not None:
                self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.rollback()
        with self._lock:
            if not self._is_closed and len(self._idle) < CONNECTIONS_KEPT:
                self._idle.append(connection)
                return
        connection.close()

    # The list

    def list(
        self,
        query: Query = ALL,
        *,
        inbox: str | None = None,
        limit: int = 50,
        before: int | None = None,
        after: int | None = None,
    ) -> Page:
        """The newest messages that the query finds, of one inbox or all, with ids below and above these."""
        where, parameters = _where(query, inbox)
        page, page_parameters = _where(ALL, None, before, after)
        limit = max(0, min(limit, PAGE_LIMIT))
        with self.connection() as connection:
            connection.execute("BEGIN")  # what is counted is what is listed
            if query.terms:  # the whole table is looked through, and that once
                total, unread, ids = connection.execute(
                    f"WITH m AS (SELECT m.id, m.is_read FROM messages m WHERE {where})"  # noqa: S608
                    " SELECT (SELECT count(*) FROM m), (SELECT coalesce(sum(is_read = 0), 0) FROM m),"
                    f" (SELECT group_concat(id) FROM (SELECT id FROM m WHERE {page} ORDER BY id DESC LIMIT ?))",
                    (*parameters, *page_parameters, limit),
                ).fetchone()
                where, parameters = f"m.id IN ({ids or ''})", ()
            else:  # the index on inboxes knows
                total, unread = connection.execute(
                    f"SELECT count(*), coalesce(sum(m.is_read = 0), 0) FROM messages m WHERE {where}",  # noqa: S608
                    parameters,
                ).fetchone()
                where, parameters = f"{where} AND {page}", (*parameters, *page_parameters)
            found = connection.execute(
                f"SELECT {rows.SUMMARY} FROM messages m WHERE {where} ORDER BY m.id DESC LIMIT ?",  # noqa: S608
                (*parameters, limit),
            ).fetchall()
            connection.execute("COMMIT")
        return Page(tuple(map(rows.summary_of, found)), total, unread)

    def find(
        self,
        query: Query = ALL,
        *,
        inbox: str | None = None,
        before: int | None = None,
        after: int | None = None,
    ) -> tuple[int, ...]:
        """The ids of all messages that the query finds, oldest first."""
        where, parameters = _where(query, inbox, before, after)
        with self.connection() as connection:
            found = connection.execute(f"SELECT m.id FROM messages m WHERE {where} ORDER BY m.id", parameters)  # noqa: S608
            return tuple(id_ for (id_,) in found)

    def export(self, query: Query = ALL, *, inbox: str | None = None) -> Iterator[tuple[Summary, bytes]]:
        """The messages that the query finds, oldest first, with their octets; without those deleted meanwhile."""
        for id_ in self.find(query, inbox=inbox):
            try:
                yield self.summary(id_), self.raw(id_)
            except NoSuchMessage:
                continue

    # A message

    def summary(self, id_: int) -> Summary:
        """Its line in the list."""
        return rows.summary_of(self._message(id_, rows.SUMMARY))

    def envelope(self, id_: int) -> EnvelopeRecord:
        """What SMTP said of it."""
        return rows.envelope_of(self._message(id_, rows.ENVELOPE))

    def parsed(self, id_: int) -> Parsed | None:
        """What is in it; None: it is not looked into yet."""
        with self.connection() as connection:
            snippet, is_indexed = _only(connection, id_, "m.snippet, m.is_indexed")
            row = connection.execute(f"SELECT {rows.PARSED} FROM parsed WHERE id = ?", (id_,)).fetchone()  # noqa: S608
        return rows.parsed_of(row, snippet) if is_indexed and row else None

    def raw(self, id_: int) -> bytes:
        """Its octets as they came."""
        pieces = list(self.raw_chunks(id_))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def raw_chunks(self, id_: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Its octets from ``start`` to ``end``, 256 KiB at most at once, each read when it is asked for."""
        content, size = self._message(id_, "m.content, m.size")
        end = size if end is None else min(end, size)
        if start >= end:
            return
        for number in range(start // CHUNK, (end - 1) // CHUNK + 1):
            with self.connection() as connection:
                row = connection.execute(
                    "SELECT data FROM chunks WHERE id = ?", (content << CHUNK_BITS | number,)
                ).fetchone()
            if row is None:
                raise NoSuchMessage(f"message {id_} has been deleted")
            at = number * CHUNK
            data: bytes = row[0]
            yield data if start <= at and end >= at + len(data) else data[max(0, start - at) : end - at]

    def parts(self, id_: int) -> tuple[Part, ...]:
        """Its MIME tree; nothing before it is looked into."""
        with self.connection() as connection:
            _only(connection, id_, "1")
            row = connection.execute("SELECT parts FROM parsed WHERE id = ?", (id_,)).fetchone()
        return rows.parts_of(row[0]) if row else ()

    def part(self, id_: int, index: int) -> bytes:
        """The body of a part, decoded.  ``NoSuchPart``, also while the message is not looked into."""
        parts = self.parts(id_)
        if not 0 <= index < len(parts):
            raise NoSuchPart(f"message {id_} has no part {index}")
        part = parts[index]
        body = b"".join(self.raw_chunks(id_, part.start, part.end))
        # RFC 2045 §6.4: a container has no encoding of its own, whatever it says.
        is_container = any(other.parent == index for other in parts)
        return body if is_container else decode_body(body, part.encoding)

    def not_indexed(self, limit: int, small: int) -> tuple[tuple[int, int, bytes | None], ...]:
        """Ids and sizes of the first messages that are to be looked into, and the octets of those up to ``small``."""
        octets = f"(SELECT data FROM chunks WHERE chunks.id = content << {CHUNK_BITS})"  # noqa: S608
        with self.connection() as connection:
            found = connection.execute(
                f"SELECT id, size, CASE WHEN size <= ? THEN {octets} END"  # noqa: S608
                " FROM messages WHERE is_indexed = 0 ORDER BY id LIMIT ?",
                (min(small, CHUNK), limit),
            )
            return tuple(found)

    def _message(self, id_: int, columns: str) -> Any:
        with self.connection() as connection:
            return _only(connection, id_, columns)

    # Sessions

    def sessions(
        self, *, limit: int = 50, before: str | None = None, inbox: str | None = None, refused: bool = False
    ) -> tuple[SessionRecord, ...]:
        """The newest sessions, without their transcripts; those that began before ``before``, of an inbox, refused."""
        conditions, parameters = ["1"], []
        if before is not None:
            conditions.append("number < (SELECT number FROM sessions WHERE id = ?)")
            parameters.append(before)
        if inbox is not None:
            conditions.append("(s.inbox = ? OR s.id IN (SELECT session_id FROM messages WHERE inbox = ?))")
            parameters += [inbox, inbox]
        if refused:
            conditions.append("is_refused = 1")
        with self.connection() as connection:
            found = connection.execute(
                f"SELECT {rows.SESSION} FROM sessions s WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?",  # noqa: S608
                (*parameters, max(0, min(limit, PAGE_LIMIT))),
            ).fetchall()
        return tuple(map(rows.session_of, found))

    def session(self, id_: str) -> SessionRecord | None:
        """A session with its transcript; None if there is none of that id."""
        with self.connection() as connection:
            row = connection.execute(
                f"SELECT {rows.SESSION}, transcript FROM sessions WHERE id = ?",  # noqa: S608
                (rows.clean(id_),),
            ).fetchone()
        return rows.session_of(row[:-1], row[-1]) if row else None

    # Inboxes

    def count_by_inbox(self, records: Mapping[str, InboxRecord]) -> tuple[InboxCount, ...]:
        """The inboxes that have mail, and those of the records, by name."""
        with self.connection() as connection:
            found = connection.execute(
                "SELECT inbox, count(*), sum(is_read = 0), max(received_at) FROM messages GROUP BY inbox"
            ).fetchall()
        counts = {name: InboxCount(name, total, unread, last, records.get(name)) for name, total, unread, last in found}
        empty = {name: InboxCount(name, 0, 0, None, record) for name, record in records.items()}
        return tuple(count for _, count in sorted((empty | counts).items()))


def _where(
    query: Query, inbox: str | None, before: int | None = None, after: int | None = None
) -> tuple[str, tuple[Any, ...]]:
    sql, parameters = query.condition
    for condition, value in (
        ("m.inbox = ?", None if inbox is None else rows.clean(inbox)),
        ("m.id < ?", before),
        ("m.id > ?", after),
    ):
        if value is not None:
            sql += f" AND {condition}"
            parameters = (*parameters, value)
    return sql, parameters


def _only(connection: sqlite3.Connection, id_: int, columns: str) -> Any:
    row = None
    if -(1 << 63) <= id_ < 1 << 63:
        row = connection.execute(f"SELECT {columns} FROM messages m WHERE m.id = ?", (id_,)).fetchone()  # noqa: S608
    if row is None:
        raise NoSuchMessage(f"there is no message {id_}")
    return row
