"""The thread that writes: group commit, long work in steps, retention.  Knows tables; does not know who asks.

A turn of the thread is one transaction for all messages that wait (group commit: their senders wait for the same
commit), then one step of each job, then a bounded piece of tidying.  So a message waits for others' steps only, never
for the whole of a large message, or for the deletion of a thousand.

Python gives up its lock at each statement, and a busy event loop is slow to give it back: what concerns many rows is
one statement with many rows.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from ehlo.inbox import rows, statements
from ehlo.inbox.errors import InboxError, StoreClosed, StoreError, StoreFull
from ehlo.inbox.mime import quick_fields
from ehlo.inbox.records import Event, EventKind
from ehlo.inbox.schema import CHUNK

if TYPE_CHECKING:
    from ehlo.inbox.records import Arrival, InboxRecord, Retention, SessionRecord, Summary

log = logging.getLogger("ehlo.inbox")

Job = Generator[None, None, Any]
"""Something to be done with the connection.  Each ``yield`` ends a transaction; what it returns is its result."""

BATCH: Final = 48
"""Messages in a transaction; SQLite before 3.32 takes 999 parameters in a statement."""
BATCH_OCTETS: Final = 4 << 20
CHUNKS_IN_A_STEP: Final = 4
DELETED_IN_A_STEP: Final = 256
FREED_IN_A_STEP: Final = 32
FREED_WHEN_IDLE: Final = 256
GARBAGE_LIMIT: Final = 10_000
"""Above this, as much is freed in a busy turn as in an idle one."""
SESSIONS_SLACK: Final = 100
TIMER_LIMIT: Final = 60.0


_T = TypeVar("_T")


class _Failed(NamedTuple):
    """The result of a transaction that was rolled back."""

    error: Exception


@dataclass(slots=True)
class _Pending:
    """A message that waits.  ``maybe_content``: its octets are in the store already, under this number."""

    arrival: Arrival
    future: Future[int]
    maybe_content: int | None = None


@dataclass(slots=True)
class _Upload:
    """A large message on its way: ``done`` pieces are written."""

    pending: _Pending
    content: int
    done: int = 0


class Writer:
    """Owns the connection that writes, from when it is made until ``close``.

    ``notify`` gets what happened after each commit, in this thread, and before the futures are set.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        retention: Retention,
        clock: Callable[[], float],
        notify: Callable[[Sequence[Event]], None],
    ) -> None:
        self.connection = connection
        self.retention = retention
        self.clock = clock
        self.last_id = statements.last_id(connection)
        self.count, self.octets = statements.usage(connection)
        self._keep_inboxes(statements.inboxes(connection))
        self._notify = notify
        self._content = statements.last_content(connection)
        self._garbage = statements.count_garbage(connection)
        self._oldest = statements.oldest(connection)
        self._sessions_since = SESSIONS_SLACK
        self._is_shrinking = False
        self._tidy_not_before = 0.0
        self._events: list[Event] = []
        self._condition = threading.Condition(threading.RLock())
        self._arrivals: deque[_Pending] = deque()
        self._new_jobs: deque[tuple[Job, Future[Any]]] = deque()
        self._sessions: deque[tuple[SessionRecord, Future[None]]] = deque()
        self._is_closing = False
        # Of the thread alone:
        self._uploads: deque[_Upload] = deque()
        self._jobs: deque[tuple[Job, Future[Any]]] = deque()
        self._thread = threading.Thread(target=self._run, name="ehlo-inbox-writer", daemon=True)
        self._thread.start()

    # From other threads

    def add(self, arrival: Arrival) -> Future[int]:
        """Store a message; the result is its id, once it is committed."""
        return self._submit(self._arrivals, lambda future: _Pending(arrival, future))

    def put_session(self, record: SessionRecord) -> Future[None]:
        """Store a session, or what has become of it."""
        return self._submit(self._sessions, lambda future: (record, future))

    def do(self, job: Job) -> Future[Any]:
        """Do something, in as many steps as it wants."""
        return self._submit(self._new_jobs, lambda future: (job, future))

    def close(self) -> None:
        """Finish what was asked for, and end the thread."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        self._thread.join()

    def _submit(self, queue: deque[Any], make: Callable[[Future[Any]], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._condition:
            if self._is_closing:
                future.set_exception(StoreClosed("the store is closed"))
                return future
            queue.append(make(future))
            self._condition.notify()
        return future

    # The thread

    def _run(self) -> None:
        while self._wait():
            self._turn()
        self.connection.close()

    def _wait(self) -> bool:
        """Wait until there is something to do; False when all is done and the store is being closed."""
        with self._condition:
            while True:
                if self._is_closing or self._is_asked() or self._uploads or self._jobs or self._has_to_tidy():
                    break
                self._condition.wait(self._pause())
            return not (self._is_closing and not self._is_asked() and not self._uploads and not self._jobs)

    def _is_asked(self) -> bool:
        return bool(self._arrivals or self._new_jobs or self._sessions)

    def _turn(self) -> None:
        with self._condition:
            arrivals = self._take_arrivals()
            sessions = [self._sessions.popleft() for _ in range(min(len(self._sessions), BATCH))]
            while self._new_jobs:
                self._jobs.append(self._new_jobs.popleft())
        arrivals = [it for it in arrivals if it.maybe_content is not None or it.future.set_running_or_notify_cancel()]
        sessions = [it for it in sessions if it[1].set_running_or_notify_cancel()]
        self._start_uploads(arrivals)
        self._store([it for it in arrivals if not _is_large(it)], sessions)
        if self._uploads:
            self._upload(self._uploads.popleft())
        for _ in range(len(self._jobs)):
            self._step(*self._jobs.popleft())
        if self._has_to_tidy():
            result = self._transaction(self._tidy)
            if isinstance(result, _Failed):
                log.error("tidying the inbox's store failed: %s", result.error)
                self._tidy_not_before = time.monotonic() + _PAUSE

    def _take_arrivals(self) -> list[_Pending]:
        taken: list[_Pending] = []
        octets = 0
        while self._arrivals and len(taken) < BATCH and octets < BATCH_OCTETS:
            pending = self._arrivals.popleft()
            taken.append(pending)
            octets += min(len(pending.arrival.raw), CHUNK)
        return taken

    def _transaction(self, work: Callable[[], _T]) -> _T | _Failed:
        """Do it whole, and tell what happened; or not at all.  What ``work`` returns, or why it failed."""
        before = [getattr(self, name) for name in _STATE]
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            result = work()
            self.connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on and the caller is told
            self._roll_back()
            for name, value in zip(_STATE, before, strict=True):
                setattr(self, name, value)
            self._events.clear()
            return _Failed(_failure(error))
        self._tell()
        return result

    def _roll_back(self) -> None:
        try:
            if self.connection.in_transaction:  # SQLite does it itself for some errors
                self.connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("the inbox's store failed to roll back")

    def _tell(self) -> None:
        events, self._events = self._events, []
        if not events:
            return
        try:
            self._notify(events)
        except Exception:
            log.exception("who was told of new mail failed")

    # Messages

    def _store(self, pending: list[_Pending], sessions: list[tuple[SessionRecord, Future[None]]]) -> None:
        if not pending and not sessions:
            return

        def work() -> list[int | None]:
            ids: list[int | None] = [*self._insert(pending)] if pending else []
            if sessions:
                self._insert_sessions([record for record, _ in sessions])
            return ids + [None] * len(sessions)

        result = self._transaction(work)
        futures: list[Future[Any]] = [it.future for it in pending] + [future for _, future in sessions]
        if not isinstance(result, _Failed):
            for future, value in zip(futures, result, strict=True):
                future.set_result(value)
        elif len(futures) == 1 or isinstance(result.error, StoreFull):
            _fail(futures, result)
        else:  # one of them is at fault, and the others are not to suffer for it
            for it in pending:
                self._store([it], [])
            for session in sessions:
                self._store([], [session])

    def _insert(self, pending: list[_Pending]) -> list[int]:
        now = self.clock()
        messages, chunks, complete, ids = [], [], [], []
        for it in pending:
            arrival = it.arrival if it.arrival.received_at else replace(it.arrival, received_at=now)
            content = it.maybe_content
            if content is None:
                self._content += 1
                content = self._content
                chunks.append((statements.chunk_id(content, 0), arrival.raw))
            else:
                complete.append(content)
            self.last_id += 1
            row, summary = rows.message_row(self.last_id, content, arrival, quick_fields(arrival.raw[:_HEADER]))
            messages.append(row)
            ids.append(summary.id)
            self._events.append(Event(EventKind.MESSAGE, summary.inbox, (summary.id,), summary))
            self.octets += summary.size
            self._oldest = min(self._oldest, arrival.received_at)
        self.count += len(messages)
        statements.insert_messages(self.connection, messages)
        if chunks:
            statements.insert_chunks(self.connection, chunks)
        if complete:
            self._garbage -= statements.forget_garbage(self.connection, complete)
        return ids

    def _insert_sessions(self, records: list[SessionRecord]) -> None:
        statements.put_sessions(self.connection, [rows.session_row(record) for record in records])
        self._sessions_since += len(records)
        self._events += [
            Event(EventKind.SESSION, record.inbox or "", session=replace(record, transcript=())) for record in records
        ]

    def _start_uploads(self, pending: list[_Pending]) -> None:
        for it in filter(_is_large, pending):
            self._content += 1
            self._uploads.append(_Upload(it, self._content))

    def _upload(self, upload: _Upload) -> None:
        """Write some more of a large message; then it waits as small ones do, its octets being there."""
        raw = memoryview(upload.pending.arrival.raw)
        pieces = range(upload.done, min(upload.done + CHUNKS_IN_A_STEP, -(-len(raw) // CHUNK)))

        def work() -> None:
            if not upload.done:  # garbage, as long as it is not complete
                statements.add_garbage(self.connection, upload.content, len(raw))
                self._garbage += 1
            chunks = [(statements.chunk_id(upload.content, n), raw[n * CHUNK : (n + 1) * CHUNK]) for n in pieces]
            statements.insert_chunks(self.connection, chunks)

        result = self._transaction(work)
        if isinstance(result, _Failed):
            _fail([upload.pending.future], result)
            return
        upload.done = pieces.stop
        if upload.done * CHUNK < len(raw):
            self._uploads.append(upload)
            return
        upload.pending.maybe_content = upload.content
        with self._condition:
            self._arrivals.append(upload.pending)

    # Jobs

    def _step(self, job: Job, future: Future[Any]) -> None:
        if future.cancelled() or (not future.running() and not future.set_running_or_notify_cancel()):
            job.close()
            return

        def work() -> tuple[bool, Any]:
            try:
                next(job)
            except StopIteration as stop:
                return True, stop.value
            return False, None

        result = self._transaction(work)
        if isinstance(result, _Failed):
            job.close()
            _fail([future], result)
            return
        is_done, value = result
        if is_done:
            future.set_result(value)
        else:
            self._jobs.append((job, future))

    def mark(self, ids: Sequence[int], *, is_read: bool) -> Job:
        """Mark as read or unread; how many were not."""
        changed = 0
        for some in _groups(ids):
            by_inbox = statements.mark(self.connection, some, is_read=is_read)
            changed += sum(map(len, by_inbox.values()))
            self._events += [
                Event(EventKind.CHANGED, inbox, tuple(found), is_read=is_read) for inbox, found in by_inbox.items()
            ]
            yield
        return changed

    def tag(self, ids: Sequence[int], add: tuple[str, ...], remove: tuple[str, ...]) -> Job:
        """Add and remove tags; how many messages have others now."""
        changed = 0
        for some in _groups(ids):
            by_inbox = statements.tag(self.connection, some, add, remove)
            changed += sum(map(len, by_inbox.values()))
            self._events += [
                Event(EventKind.CHANGED, inbox, tuple(found), add_tags=add, remove_tags=remove)
                for inbox, found in by_inbox.items()
            ]
            yield
        return changed

    def delete(self, ids: Sequence[int]) -> Job:
        """Delete messages; how many there were."""
        deleted = 0
        for some in _groups(ids):
            deleted += self._delete(some)
            yield
        return deleted

    def _delete(self, ids: Sequence[int]) -> int:
        """They are gone at once; what they take is freed later."""
        by_inbox, octets = statements.delete(self.connection, ids)
        count = sum(map(len, by_inbox.values()))
        self.count -= count
        self.octets -= octets
        self._garbage += count
        self._events += [Event(EventKind.DELETED, inbox, tuple(found)) for inbox, found in by_inbox.items()]
        return count

    def index(self, found: Sequence[tuple[int, rows.ParsedRow]]) -> Job:
        """Write what was found in messages; the summaries that this gives."""
        summaries: list[Summary] = statements.index(self.connection, found)
        self._events += [Event(EventKind.INDEXED, it.inbox, (it.id,), it) for it in summaries]
        yield
        return summaries

    def put_inbox(self, record: InboxRecord) -> Job:
        """Make an inbox."""
        statements.put_inbox(self.connection, record)
        self._keep_inboxes({**self.inboxes, record.name: record})
        self._events.append(Event(EventKind.INBOX, record.name))
        yield

    def delete_inbox(self, name: str) -> Job:
        """Delete an inbox with its mail; how many messages there were."""
        self._forget_inbox(name)
        deleted = 0
        while ids := statements.ids_in_inbox(self.connection, name, DELETED_IN_A_STEP):
            deleted += self._delete(ids)
            yield
        return deleted

    def _forget_inbox(self, name: str) -> None:
        statements.delete_inbox(self.connection, name)
        self._keep_inboxes({key: record for key, record in self.inboxes.items() if key != name})
        self._events.append(Event(EventKind.INBOX, name))

    def _keep_inboxes(self, inboxes: dict[str, InboxRecord]) -> None:
        self.inboxes = inboxes
        times = (record.expires_at for record in inboxes.values() if record.expires_at is not None)
        self.first_expiry = min(times, default=math.inf)

    def maintain(self) -> Job:
        """All the tidying that there is."""
        self._tidy_not_before = 0.0
        while self._has_to_tidy():
            self._tidy(is_idle=True)
            yield

    # Tidying

    def _has_to_tidy(self) -> bool:
        if self._tidy_not_before:
            if time.monotonic() < self._tidy_not_before:
                return False
            self._tidy_not_before = 0.0
        return (
            self._garbage_to_free() > 0
            or self._is_shrinking
            or self._excess()
            or self._time_to_next() == 0
            or self._has_old_sessions()
        )

    def _garbage_to_free(self) -> int:
        return self._garbage - len(self._unfinished()) if self._garbage else 0

    def _unfinished(self) -> list[int]:
        """Contents that are to be: garbage for now."""
        with self._condition:
            complete = [it.maybe_content for it in self._arrivals if it.maybe_content is not None]
        return [upload.content for upload in self._uploads if upload.done] + complete

    def _excess(self) -> bool:
        limits = self.retention
        too_many = limits.count is not None and self.count > max(1, limits.count)
        return too_many or (limits.octets is not None and self.octets > limits.octets and self.count > 1)

    def _has_old_sessions(self) -> bool:
        return self.retention.sessions is not None and self._sessions_since > SESSIONS_SLACK

    def _time_to_next(self) -> float | None:
        """Seconds until something gets too old, None: nothing does."""
        first = self.first_expiry
        if self.retention.age is not None:
            first = min(first, self._oldest + self.retention.age)
        # Not longer at once: the clock may be set.
        return None if first == math.inf else min(max(0.0, first - self.clock()), TIMER_LIMIT)

    def _pause(self) -> float | None:
        """How long to wait for something to do."""
        if self._tidy_not_before:
            return max(0.0, self._tidy_not_before - time.monotonic())
        return self._time_to_next()

    def _tidy(self, *, is_idle: bool | None = None) -> None:
        """A bounded piece of work."""
        if is_idle is None:
            is_idle = not self._is_asked() or self._garbage > GARBAGE_LIMIT
        if self._excess():
            self._delete_excess()
        elif self._time_to_next() == 0:
            self._delete_old()
        if self._has_old_sessions():
            statements.keep_sessions(self.connection, self.retention.sessions or 0)
            self._sessions_since = 0
        if self._garbage_to_free() > 0:
            limit = FREED_WHEN_IDLE if is_idle else FREED_IN_A_STEP
            self._garbage -= statements.free(self.connection, self._unfinished(), limit)
            self._is_shrinking = True
        elif self._is_shrinking:
            self._is_shrinking = is_idle and statements.shrink(self.connection)

    def _delete_excess(self) -> None:
        limits = self.retention
        too_many = 0 if limits.count is None else self.count - max(1, limits.count)
        too_much = 0 if limits.octets is None else self.octets - limits.octets
        ids = []
        for id_, size in statements.oldest_messages(self.connection, DELETED_IN_A_STEP):
            if (too_many <= 0 and too_much <= 0) or id_ == self.last_id:
                break
            ids.append(id_)
            too_many -= 1
            too_much -= size
        self._delete(ids)

    def _delete_old(self) -> None:
        now = self.clock()
        expired = [it.name for it in self.inboxes.values() if it.expires_at is not None and it.expires_at <= now]
        for name in expired:
            ids = statements.ids_in_inbox(self.connection, name, DELETED_IN_A_STEP)
            self._delete(ids)
            if len(ids) < DELETED_IN_A_STEP:
                self._forget_inbox(name)
            return
        age = self.retention.age
        if age is not None:
            self._delete(statements.ids_before(self.connection, now - age, DELETED_IN_A_STEP))
            statements.delete_sessions_before(self.connection, now - age)
            self._oldest = statements.oldest(self.connection)


_HEADER = 64 * 1024
_PAUSE = 1.0
"""Seconds until tidying is tried again after it failed."""
_STATE = ("count", "octets", "last_id", "inboxes", "first_expiry", "_content", "_garbage", "_oldest", "_sessions_since")
"""What goes back with a transaction that is rolled back."""


def _fail(futures: Sequence[Future[Any]], result: _Failed) -> None:
    for future in futures:
        future.set_exception(result.error)


def _is_large(pending: _Pending) -> bool:
    return pending.maybe_content is None and len(pending.arrival.raw) > CHUNK


def _groups(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + DELETED_IN_A_STEP] for start in range(0, len(ids), DELETED_IN_A_STEP)]


def _failure(error: Exception) -> Exception:
    if isinstance(error, InboxError):
        return error
    if isinstance(error, sqlite3.Error):
        # "database or disk is full"; an IO error while writing is what a full disk gives, too.
        is_full = getattr(error, "sqlite_errorname", "") in {"SQLITE_FULL", "SQLITE_IOERR_WRITE"}
        made: StoreError = StoreFull(str(error)) if is_full else StoreError(f"{type(error).__name__}: {error}")
    else:
        made = StoreError(f"{type(error).__name__}: {error}")
    made.__cause__ = error
    return made
