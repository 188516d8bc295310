"""The store's file: its tables, its versions, and how it is opened.  Knows SQLite; does not know what is in a message.

messages   a row for each message: what the list shows, and the envelope
chunks     the octets, in pieces of CHUNK; the id is that of the content, shifted, plus the number of the piece
parsed     what was found in a message
search     the full-text index, by the id of the message
garbage    contents that nobody refers to: deleted, or not yet complete.  Freed bit by bit
sessions   SMTP sessions
inboxes    those made on purpose
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ehlo.inbox.errors import StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

APPLICATION_ID: Final = 0x65686C6F  # "ehlo"
VERSION: Final = 1
CHUNK: Final = 256 * 1024
CHUNK_BITS: Final = 20

# An id is never used again (AUTOINCREMENT): it is the cursor of whoever waits for mail.
_TABLES = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    content INTEGER NOT NULL,
    inbox TEXT NOT NULL,
    received_at REAL NOT NULL,
    size INTEGER NOT NULL,
    mail_from TEXT NOT NULL,
    rcpt_tos TEXT NOT NULL,
    header_from TEXT NOT NULL,
    header_to TEXT NOT NULL,
    header_cc TEXT NOT NULL,
    subject TEXT NOT NULL,
    message_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    envelope_id TEXT NOT NULL,
    options TEXT NOT NULL,
    bare_newlines INTEGER NOT NULL,
    smtp_utf8 INTEGER NOT NULL,
    snippet TEXT NOT NULL DEFAULT '',
    attachments INTEGER NOT NULL DEFAULT 0,
    has_html INTEGER NOT NULL DEFAULT 0,
    is_read INTEGER NOT NULL DEFAULT 0,
    is_indexed INTEGER NOT NULL DEFAULT 0,
    tags TEXT NOT NULL DEFAULT ''
);
CREATE INDEX messages_by_inbox ON messages (inbox, id, is_read);
CREATE INDEX messages_by_session ON messages (session_id);
CREATE INDEX messages_to_index ON messages (id) WHERE is_indexed = 0;

CREATE TABLE chunks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);

CREATE TABLE parsed (
    id INTEGER PRIMARY KEY,
    text TEXT,
    html TEXT,
    is_text_from_html INTEGER NOT NULL,
    headers TEXT NOT NULL,
    parts TEXT NOT NULL,
    links TEXT NOT NULL,
    codes TEXT NOT NULL,
    problem TEXT
);

CREATE VIRTUAL TABLE search USING fts5 (
    subject, addresses, body, tokenize = "unicode61 remove_diacritics 2"
);

CREATE TABLE garbage (content INTEGER PRIMARY KEY, message INTEGER, size INTEGER NOT NULL);

CREATE TABLE sessions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    peer TEXT NOT NULL,
    listener TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    helo TEXT NOT NULL,
    tls TEXT,
    login TEXT,
    outcome TEXT NOT NULL,
    problem TEXT,
    is_refused INTEGER NOT NULL,
    inbox TEXT,
    messages TEXT NOT NULL,
    transcript TEXT NOT NULL
);

CREATE TABLE inboxes (
    name TEXT PRIMARY KEY,
    login TEXT UNIQUE,
    password TEXT,
    token_hash BLOB,
    rule TEXT,
    created_at REAL NOT NULL,
    expires_at REAL
);
"""

_DAMAGED = "is damaged; move it away, or repair it with `sqlite3 FILE .recover`"
# 100 MB or so: a larger file would be read for seconds.  What is wrong in it is found when it is read.
_PAGES_TO_CHECK = 25_000

# What makes version n + 1 of version n stands at n.  Version 0 is an empty file.
_MIGRATIONS: Sequence[str] = [_TABLES]


def connect(path: Path) -> sqlite3.Connection:
    """A connection that begins and ends transactions only when told, for one thread at a time."""
    # Statements of one kind are kept prepared; inserts of several rows are many kinds.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def open_to_write(path: Path, *, is_durable: bool) -> sqlite3.Connection:
    """Open the store, make it if there is none, bring it to this version.  ``StoreUnusable`` if that cannot be.

    ``is_durable``: what is committed survives the end of the process, and all but the last moments a power cut.
    """
    if sqlite3.sqlite_version_info < (3, 24):
        raise StoreUnusable(f"needs SQLite 3.24 or newer; this Python has {sqlite3.sqlite_version}")
    connection = None
    _make_for_us(path)
    try:
        connection = connect(path)
        _check_full_text_search(connection)
        _prepare(connection, is_durable=is_durable)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise StoreUnusable(_what_is_wrong(error)) from error
    except StoreUnusable:
        if connection is not None:
            connection.close()
        raise
    return connection


def _make_for_us(path: Path) -> None:
    """Make the file, if there is none: mail is nobody else's business.  SQLite gives its other files the same mode."""
    with suppress(OSError):  # it is there, or SQLite says why it cannot be
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection of a reader; it sees what was committed when its statement began."""
    connection = connect(path)
    connection.execute("PRAGMA query_only = 1")
    # For needles that are not ASCII, where LIKE distinguishes upper and lower case.
    connection.create_function("casefold", 1, str.casefold, deterministic=True)
    return connection


def _check_full_text_search(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.try_fts5 USING fts5 (x)")
        connection.execute("DROP TABLE temp.try_fts5")
    except sqlite3.OperationalError as error:
        if "fts5" not in str(error):
            raise
        raise StoreUnusable("needs SQLite with FTS5, which this Python's SQLite was built without") from None


def _prepare(connection: sqlite3.Connection, *, is_durable: bool) -> None:
    application_id, version, pages = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version", "page_count")
    )
    if application_id != APPLICATION_ID and (application_id or version or pages):
        raise StoreUnusable("is not a store of ehlo")
    if version > VERSION:
        raise StoreUnusable(f"was written by a newer ehlo (version {version} of the file; this one knows {VERSION})")
    if not pages:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if is_durable else 'OFF'}")
    # The default of 1000 pages would mean a sync for each few hundred messages.
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA secure_delete = 0")
    connection.execute("PRAGMA cache_size = -16000")
    migrate(connection, version, _MIGRATIONS)
    if pages > _PAGES_TO_CHECK:
        return
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise StoreUnusable(_DAMAGED)


def migrate(connection: sqlite3.Connection, version: int, migrations: Sequence[str]) -> None:
    """Do the steps that are missing, each in a transaction with the new version's number."""
    for number, script in enumerate(migrations[version:], start=version + 1):
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number};"
        connection.executescript(f"BEGIN IMMEDIATE; {script} {marks} COMMIT;")


def _what_is_wrong(error: sqlite3.Error) -> str:
    text = str(error)
    if "not a database" in text:
        return "is not a store of ehlo"
    if "malformed" in text or "corrupt" in text:
        return _DAMAGED
    if "readonly" in text:
        return "cannot be written"
    if "unable to open" in text:
        return "cannot be opened; does the folder exist, and may it be written?"
    if "full" in text:
        return "cannot be prepared: there is no room on the disk"
    return f"cannot be used: {text}"
