"""What the writer says to SQLite.  Functions of a connection, in a transaction that somebody else begins and ends."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from ehlo.inbox import rows
from ehlo.inbox.errors import InboxTaken
from ehlo.inbox.schema import CHUNK, CHUNK_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ehlo.inbox.records import InboxRecord, Summary

FREED_CHUNKS: Final = 32
_PAGES_AT_ONCE: Final = 256
_FREE_PAGES: Final = 4096

_ByInbox = dict[str, list[int]]


def chunk_id(content: int, number: int) -> int:
    """The key of a piece of a content."""
    return content << CHUNK_BITS | number


def _marks(count: int) -> str:
    return ",".join("?" * count)


def _rows(count: int, width: int) -> str:
    return ",".join([f"({_marks(width)})"] * count)


def _one(connection: sqlite3.Connection, sql: str, *parameters: Any) -> Any:
    row = connection.execute(sql, parameters).fetchone()
    return None if row is None else row[0]


# What there is


def last_id(connection: sqlite3.Connection) -> int:
    """The highest id that a message ever had; 0 at first."""
    return _one(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'messages'") or 0


def last_content(connection: sqlite3.Connection) -> int:
    """The highest number of a content."""
    chunk = _one(connection, "SELECT max(id) FROM chunks") or 0
    return max(chunk >> CHUNK_BITS, _one(connection, "SELECT max(content) FROM garbage") or 0)


def usage(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many messages, and how many octets."""
    count, octets = connection.execute("SELECT count(*), coalesce(sum(size), 0) FROM messages").fetchone()
    return count, octets


def count_garbage(connection: sqlite3.Connection) -> int:
    """How many contents are to be freed."""
    count: int = _one(connection, "SELECT count(*) FROM garbage")
    return count


def oldest(connection: sqlite3.Connection) -> float:
    """When the oldest message came; infinity if there is none."""
    time: float | None = _one(connection, "SELECT min(received_at) FROM messages")
    return math.inf if time is None else time


def inboxes(connection: sqlite3.Connection) -> dict[str, InboxRecord]:
    """Those made on purpose, by name."""
    found = map(rows.inbox_of, connection.execute(f"SELECT {rows.INBOX} FROM inboxes"))  # noqa: S608
    return {record.name: record for record in found}


# Messages


def insert_messages(connection: sqlite3.Connection, messages: Sequence[tuple[Any, ...]]) -> None:
    """Rows of the columns MESSAGE."""
    values = _rows(len(messages), rows.MESSAGE_WIDTH)
    connection.execute(
        f"INSERT INTO messages ({rows.MESSAGE}) VALUES {values}",  # noqa: S608
        [value for row in messages for value in row],
    )


def insert_chunks(connection: sqlite3.Connection, chunks: Sequence[tuple[int, bytes | memoryview]]) -> None:
    """Pieces of contents."""
    connection.execute(
        f"INSERT INTO chunks (id, data) VALUES {_rows(len(chunks), 2)}",  # noqa: S608
        [value for chunk in chunks for value in chunk],
    )


def mark(connection: sqlite3.Connection, ids: Sequence[int], *, is_read: bool) -> _ByInbox:
    """Mark those that are not; these, by inbox."""
    by_inbox = _by_inbox(
        connection.execute(
            f"SELECT id, inbox FROM messages WHERE is_read <> ? AND id IN ({_marks(len(ids))})",  # noqa: S608
            (is_read, *ids),
        )
    )
    connection.execute(
        f"UPDATE messages SET is_read = ? WHERE id IN ({_marks(len(ids))})",  # noqa: S608
        (is_read, *ids),
    )
    return by_inbox


def tag(connection: sqlite3.Connection, ids: Sequence[int], add: Sequence[str], remove: Sequence[str]) -> _ByInbox:
    """Give and take tags; the messages that have others now, by inbox."""
    changed = []
    for id_, inbox, text in connection.execute(
        f"SELECT id, inbox, tags FROM messages WHERE id IN ({_marks(len(ids))})",  # noqa: S608
        ids,
    ).fetchall():
        tags = dict.fromkeys((*rows.tags_of(text), *add))
        new = rows.tags_to_text(it for it in tags if it not in remove)
        if new != text:
            changed.append((id_, inbox))
            connection.execute("UPDATE messages SET tags = ? WHERE id = ?", (new, id_))
    return _by_inbox(changed)


def delete(connection: sqlite3.Connection, ids: Sequence[int]) -> tuple[_ByInbox, int]:
    """Take messages away, leaving what they consist of as garbage; the messages by inbox, and their octets."""
    where = f"id IN ({_marks(len(ids))})"
    found = connection.execute(f"SELECT id, inbox, size FROM messages WHERE {where}", ids).fetchall()  # noqa: S608
    connection.execute(
        f"INSERT INTO garbage (content, message, size) SELECT content, id, size FROM messages WHERE {where}",  # noqa: S608
        ids,
    )
    connection.execute(f"DELETE FROM messages WHERE {where}", ids)  # noqa: S608
    return _by_inbox((id_, inbox) for id_, inbox, _ in found), sum(size for _, _, size in found)


def _by_inbox(found: Iterable[tuple[int, str]]) -> _ByInbox:
    by_inbox: _ByInbox = defaultdict(list)
    for id_, inbox in found:
        by_inbox[inbox].append(id_)
    return by_inbox


def oldest_messages(connection: sqlite3.Connection, limit: int) -> list[tuple[int, int]]:
    """Ids and sizes of those that came first."""
    return connection.execute("SELECT id, size FROM messages ORDER BY id LIMIT ?", (limit,)).fetchall()


def ids_before(connection: sqlite3.Connection, time: float, limit: int) -> list[int]:
    """Messages older than that."""
    found = connection.execute("SELECT id FROM messages WHERE received_at <= ? LIMIT ?", (time, limit))
    return [id_ for (id_,) in found]


def ids_in_inbox(connection: sqlite3.Connection, name: str, limit: int) -> list[int]:
    """Messages of an inbox."""
    found = connection.execute("SELECT id FROM messages WHERE inbox = ? LIMIT ?", (name, limit))
    return [id_ for (id_,) in found]


# The index


def index(connection: sqlite3.Connection, found: Sequence[tuple[int, rows.ParsedRow]]) -> list[Summary]:
    """Write what was found in messages that are still there, and not yet indexed; their summaries."""
    ids = [id_ for id_, _ in found]
    where = f"id IN ({_marks(len(ids))})"
    wanted = {
        id_
        for (id_,) in connection.execute(f"SELECT id FROM messages WHERE is_indexed = 0 AND {where}", ids)  # noqa: S608
    }
    kept = [(id_, row) for id_, row in found if id_ in wanted]
    if not kept:
        return []
    connection.execute(
        f"INSERT OR REPLACE INTO parsed (id, {rows.PARSED}) VALUES {_rows(len(kept), 9)}",  # noqa: S608
        [value for id_, row in kept for value in (id_, *row[:8])],
    )
    connection.execute(
        f"INSERT INTO search (rowid, subject, addresses, body) VALUES {_rows(len(kept), 4)}",  # noqa: S608
        [value for id_, row in kept for value in (id_, row.subject, row.addresses, row.body)],
    )
    connection.execute(
        f"WITH found (id, snippet, attachments, has_html) AS (VALUES {_rows(len(kept), 4)})"  # noqa: S608
        " UPDATE messages SET (snippet, attachments, has_html, is_indexed) ="
        " (SELECT snippet, attachments, has_html, 1 FROM found WHERE found.id = messages.id)"
        " WHERE id IN (SELECT id FROM found)",
        [value for id_, row in kept for value in (id_, row.snippet, row.attachments, row.has_html)],
    )
    ids = [id_ for id_, _ in kept]
    return [
        rows.summary_of(row)
        for row in connection.execute(
            f"SELECT {rows.SUMMARY} FROM messages m WHERE m.id IN ({_marks(len(ids))}) ORDER BY m.id",  # noqa: S608
            ids,
        )
    ]


# Garbage


def add_garbage(connection: sqlite3.Connection, content: int, size: int) -> None:
    """A content that nobody refers to, yet."""
    connection.execute("INSERT INTO garbage (content, message, size) VALUES (?, NULL, ?)", (content, size))


def forget_garbage(connection: sqlite3.Connection, contents: Sequence[int]) -> int:
    """They are none any more; how many were."""
    return connection.execute(
        f"DELETE FROM garbage WHERE content IN ({_marks(len(contents))})",  # noqa: S608
        contents,
    ).rowcount


def free(connection: sqlite3.Connection, busy: Sequence[int], limit: int) -> int:
    """Free what some garbage takes, not much at once; how much of it is no more."""
    found = connection.execute(
        f"SELECT content, message, size FROM garbage WHERE content NOT IN ({_marks(len(busy))}) LIMIT ?",  # noqa: S608
        (*busy, limit),
    ).fetchall()
    messages = [message for _, message, _ in found if message is not None]
    if messages:
        connection.execute(f"DELETE FROM search WHERE rowid IN ({_marks(len(messages))})", messages)  # noqa: S608
        connection.execute(f"DELETE FROM parsed WHERE id IN ({_marks(len(messages))})", messages)  # noqa: S608
    done = []
    budget = FREED_CHUNKS  # large ones
    small = [content for content, _, size in found if size <= CHUNK]
    for content in (content for content, _, size in found if size > CHUNK):
        freed = connection.execute(
            "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE id BETWEEN ? AND ? LIMIT ?)",
            (chunk_id(content, 0), chunk_id(content + 1, 0) - 1, budget),
        ).rowcount
        if freed == budget:
            break
        budget -= freed
        done.append(content)
    if small:
        ids = [chunk_id(content, 0) for content in small]
        connection.execute(f"DELETE FROM chunks WHERE id IN ({_marks(len(ids))})", ids)  # noqa: S608
        done += small
    return forget_garbage(connection, done) if done else 0


def shrink(connection: sqlite3.Connection) -> bool:
    """Give some of the file back where a good part of it is empty (less is soon used again); whether it was."""
    free_pages = _one(connection, "PRAGMA freelist_count")
    if free_pages <= max(_FREE_PAGES, _one(connection, "PRAGMA page_count") // 4):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
    return True


# Sessions and inboxes


def put_sessions(connection: sqlite3.Connection, records: Sequence[tuple[Any, ...]]) -> None:
    """Rows of the columns SESSION and the transcript; a later one of the same id replaces the earlier."""
    names = rows.SESSION + ", transcript"
    values = _rows(1, len(records[0]))
    updates = ", ".join(f"{name} = excluded.{name}" for name in names.split(", ")[1:])
    connection.executemany(
        f"INSERT INTO sessions ({names}) VALUES {values} ON CONFLICT (id) DO UPDATE SET {updates}",  # noqa: S608
        records,
    )


def keep_sessions(connection: sqlite3.Connection, count: int) -> None:
    """Keep the newest only."""
    connection.execute("DELETE FROM sessions WHERE number <= (SELECT max(number) FROM sessions) - ?", (count,))


def delete_sessions_before(connection: sqlite3.Connection, time: float) -> None:
    """Keep those that began later."""
    connection.execute("DELETE FROM sessions WHERE started_at <= ?", (time,))


def put_inbox(connection: sqlite3.Connection, record: InboxRecord) -> None:
    """A new one.  ``InboxTaken`` if its name or login is another's, or if there is mail that its token would open."""
    if ids_in_inbox(connection, record.name, 1):
        raise InboxTaken("there is mail in an inbox of that name already")
    row = (
        record.name,
        record.login,
        record.password,
        record.token_hash,
        record.rule,
        record.created_at,
        record.expires_at,
    )
    try:
        connection.execute(f"INSERT INTO inboxes ({rows.INBOX}) VALUES ({_marks(len(row))})", row)  # noqa: S608
    except sqlite3.IntegrityError:
        raise InboxTaken("there is an inbox of that name or login already") from None


def delete_inbox(connection: sqlite3.Connection, name: str) -> None:
    """Its record; not its mail."""
    connection.execute("DELETE FROM inboxes WHERE name = ?", (name,))
