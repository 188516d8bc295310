"""The store: messages, sessions and inboxes in one SQLite file.  The face of writer and reader; what it does is there.

Writing is asked for, and done by one thread; each such method gives a ``concurrent.futures.Future`` that is done when
the change is committed: it survives the end of the process then.  ``asyncio.wrap_future`` makes it awaitable.  Reading
is done in the thread that asks, and takes milliseconds.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
import weakref
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from ehlo.inbox import rows
from ehlo.inbox.errors import StoreUnusable
from ehlo.inbox.lock import FileLock
from ehlo.inbox.reader import Reader
from ehlo.inbox.records import EventKind, Retention
from ehlo.inbox.schema import open_to_write
from ehlo.inbox.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ehlo.inbox.records import Arrival, Event, InboxCount, InboxRecord, SessionRecord, Summary

log = logging.getLogger("ehlo.inbox")

_PREFIX = "ehlo-inbox-"
_PRIVATE_NAME = "inbox.db"
_LEFT_SECONDS = 60.0


class Usage(NamedTuple):
    """What there is."""

    messages: int
    octets: int


class Store(Reader):
    """A store in a file, or in a private one that goes with it (``path`` None).

    ``StoreUnusable`` if it cannot be opened: it is no store, damaged, of a newer version, or in use.  Its text is for
    the user.  ``retention`` is what it keeps; ``clock`` gives the time of day.  Safe to use from several threads.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        retention: Retention | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.is_persistent = path is not None
        self.retention = retention or Retention()
        self._callbacks: tuple[Callable[[Sequence[Event]], None], ...] = ()
        self._indexed = threading.Condition()
        self._changes = 0  # commits that may end a wait_indexed
        self.clock = clock
        if path is None:
            remove_left_folders(Path(tempfile.gettempdir()))
            folder = tempfile.mkdtemp(prefix=_PREFIX)
            self._clean_up = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self.path = Path(folder) / _PRIVATE_NAME
        else:
            self.path = Path(path).absolute()
        super().__init__(self.path)
        try:
            self._file_lock = FileLock(_lock_of(self.path))
        except StoreUnusable as error:
            raise StoreUnusable(f"{path} {error}") from None
        except OSError as error:
            raise StoreUnusable(f"{path} cannot be opened: {error.strerror}") from error
        try:
            connection = open_to_write(self.path, is_durable=self.is_persistent)
            self._writer = Writer(connection, self.retention, clock, self._tell)
        except BaseException as error:
            self._file_lock.release()
            if isinstance(error, StoreUnusable):
                raise StoreUnusable(f"{path} {error}") from error.__cause__
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do what was asked for, then close the file; a private one is removed.  May be called again."""
        self._writer.close()
        super().close()
        with self._indexed:
            self._changes += 1
            self._indexed.notify_all()
        self._file_lock.release()
        if not self.is_persistent:
            self._clean_up()

    # Messages

    @property
    def last_id(self) -> int:
        """The id of the newest message that there ever was; 0 at first."""
        return self._writer.last_id

    @property
    def usage(self) -> Usage:
        """How much is in it."""
        return Usage(self._writer.count, self._writer.octets)

    def add(self, arrival: Arrival) -> Future[int]:
        """Store a message; its id, once it is committed.  ``StoreFull`` and other ``StoreError``: it is not there."""
        return self._writer.add(arrival)

    def mark(self, ids: Iterable[int], *, is_read: bool) -> Future[int]:
        """Mark messages as read or unread; how many were not.  Those that are not there are left out."""
        return self._writer.do(self._writer.mark(_ids(ids), is_read=is_read))

    def tag(self, ids: Iterable[int], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Future[int]:
        """Add and remove tags; how many messages have others now."""
        return self._writer.do(self._writer.tag(_ids(ids), _tags(add), _tags(remove)))

    def delete(self, ids: Iterable[int]) -> Future[int]:
        """Delete messages, some at a time; how many there were.  For what a query finds: ``delete(find(query))``."""
        return self._writer.do(self._writer.delete(_ids(ids)))

    def add_parsed(self, found: Sequence[tuple[int, rows.ParsedRow]]) -> Future[tuple[Summary, ...]]:
        """Write what was found in messages; the summaries of those that are still there."""
        return self._writer.do(self._writer.index(found))

    def wait_indexed(self, id_: int, timeout: float) -> bool:
        """Wait until a message is looked into, ``timeout`` seconds at most; whether it is.  ``NoSuchMessage``."""
        end = time.monotonic() + timeout
        seen = self._changes
        while not self.summary(id_).is_indexed:
            with self._indexed:  # not while reading: the writer takes it, too
                while self._changes == seen:
                    if not self._indexed.wait(max(0.0, end - time.monotonic())):
                        return False
                seen = self._changes
        return True

    # Sessions and inboxes

    def put_session(self, record: SessionRecord) -> Future[None]:
        """Store a session that has begun, or what has become of it."""
        return self._writer.put_session(record)

    @property
    def inbox_records(self) -> Mapping[str, InboxRecord]:
        """The inboxes made on purpose that are still valid, by name.  Reads no file."""
        records = self._writer.inboxes
        now = self.clock()
        if self._writer.first_expiry <= now:
            return {
                name: record for name, record in records.items() if record.expires_at is None or record.expires_at > now
            }
        return records

    def inboxes(self) -> tuple[InboxCount, ...]:
        """All inboxes, by name."""
        return self.count_by_inbox(self.inbox_records)

    def put_inbox(self, record: InboxRecord) -> Future[None]:
        """Make an inbox.  ``InboxTaken``."""
        return self._writer.do(self._writer.put_inbox(record))

    def delete_inbox(self, name: str) -> Future[int]:
        """Delete an inbox and its mail; how many messages there were."""
        return self._writer.do(self._writer.delete_inbox(name))

    # What happens

    def subscribe(self, callback: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        """Call this in the writer's thread after each commit, with what it changed; it must not wait for anything.

        Futures are set after it.  Returns a function that ends the subscription.
        """
        with self._lock:
            self._callbacks = (*self._callbacks, callback)

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks = tuple(other for other in self._callbacks if other is not callback)

        return unsubscribe

    def _tell(self, events: Sequence[Event]) -> None:
        if any(event.kind in {EventKind.INDEXED, EventKind.DELETED} for event in events):
            with self._indexed:
                self._changes += 1
                self._indexed.notify_all()
        for callback in self._callbacks:
            try:
                callback(events)
            except Exception:
                log.exception("who was told of new mail failed")

    def maintain(self) -> Future[None]:
        """Do now what retention, expiry and deletion have left to do.  It happens without being asked, too."""
        return self._writer.do(self._writer.maintain())


def remove_left_folders(parent: Path) -> None:
    """Remove the private stores of processes that were killed: theirs is a lock that nobody holds any more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        lock = _lock_of(folder / _PRIVATE_NAME)
        try:
            # One that is new may be between its making and its locking.
            if not _is_ours(folder) or time.time() - lock.stat().st_mtime < _LEFT_SECONDS:
                continue
            FileLock(lock).release()
        except (StoreUnusable, OSError):  # in use; never locked; or removed by another just now
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have put into it what is there: a lock could be a link to a file of value."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return False
    return sys.platform == "win32" or (status.st_uid == os.getuid() and not status.st_mode & 0o077)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _ids(ids: Iterable[int]) -> list[int]:
    return [id_ for id_ in dict.fromkeys(ids) if 0 < id_ < 1 << 63]


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(tag for tag in dict.fromkeys(rows.split(rows.join(tag.strip() for tag in tags))) if tag)
