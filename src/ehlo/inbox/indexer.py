"""Has messages looked into by another process, and writes what it finds.  Knows processes; does not know MIME.

What is not indexed is found in the store itself: nothing waits in memory, and after a crash it goes on where it was.
To the process go batches, and from it come answers, in the order of the messages.  Four octets 0 say that it is ready.

    batch   = count(4) *( size(8) sent(8) sent*OCTET )      ; count messages; size of the whole, and what is sent of it
    answer  = length(4) length*OCTET                        ; JSON, a rows.ParsedRow

A message that kills the process, or keeps it silent for too long, and the next process as well, gets a problem in place
of an answer.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from ehlo.inbox import rows
from ehlo.inbox.errors import NoSuchMessage, StoreClosed, StoreError
from ehlo.inbox.parse import DEFAULT_LIMITS, Limits, unreadable
from ehlo.inbox.records import EventKind
from ehlo.inbox.worker import COUNT, READY, SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ehlo.inbox.records import Event
    from ehlo.inbox.store import Store

log = logging.getLogger("ehlo.inbox")

BATCH = 64
BATCH_OCTETS = 1 << 20
SMALL = BATCH_OCTETS // BATCH
"""Octets of a message that is read together with others."""
_SCRIPT = Path(__file__).with_name("worker.py")
_PAUSE = 1.0
_START = 60.0
"""Seconds that a process may take to start: what a message may take is counted after that."""
_START_PAUSE = 10.0
_LINGER = 0.01
"""Seconds for which more may come after a batch that was not full: few large batches cost less than many small ones."""


class Indexer:
    """Keeps the index up to date from ``start`` to ``close``, in a thread, with a process that it starts.

    ``script`` is what the process runs.
    """

    def __init__(self, store: Store, limits: Limits = DEFAULT_LIMITS, *, script: Path = _SCRIPT) -> None:
        self._store = store
        self._limits = limits
        self._script = script
        self._batch = BATCH
        self._suspect = 0  # the message that the last process was at when it ended
        self._maybe_process: WorkerProcess | None = None
        self._closing = threading.Event()
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._unsubscribe = store.subscribe(self._hear)
        self._thread = threading.Thread(target=self._run, name="ehlo-inbox-indexer", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin, with what is there already."""
        self._thread.start()

    def close(self) -> None:
        """End the process and the thread; what is not indexed then will be next time."""
        self._unsubscribe()
        with self._lock:
            self._closing.set()
            if self._maybe_process is not None:
                self._maybe_process.kill()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def pid(self) -> int | None:
        """The number of the process, None while there is none."""
        process = self._maybe_process
        return process.pid if process else None

    def _hear(self, events: Sequence[Event]) -> None:
        if any(event.kind is EventKind.MESSAGE for event in events):
            self._news.set()

    # The thread

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._news.clear()
                if (count := self._try_to_index()) == 0:
                    self._news.wait()
                elif count < self._batch:
                    self._closing.wait(_LINGER)
        except StoreClosed:
            pass
        except Exception:
            log.exception("messages are no longer indexed")
        finally:
            self._drop_process()

    def _try_to_index(self) -> int:
        """Index a batch; how many waited for it, or at least one if that is not known."""
        try:
            return self._index_some()
        except StoreClosed:
            raise
        except (StoreError, OSError) as error:  # no descriptors or memory left, or the disk fails: perhaps not for long
            log.error("messages cannot be looked into now: %s", error)  # noqa: TRY400
            self._drop_process()  # it may have got half of a batch
            self._closing.wait(_START_PAUSE)
            return 1

    def _index_some(self) -> int:
        """Index a batch; how many waited for it."""
        process = self._process()
        waiting = self._store.not_indexed(self._batch, SMALL)
        if not waiting or process is None:
            return 0
        if not process.is_ready():
            if not self._closing.is_set():  # else it was we who ended it
                log.error("the process that looks into messages does not start")
            self._drop_process()
            self._closing.wait(_START_PAUSE)
            return len(waiting)
        found = list(self._ask(process, self._collect(waiting)))
        try:
            if found:
                self._store.add_parsed(found).result()
        except StoreClosed:
            raise
        except StoreError as error:
            log.warning("the index cannot be written: %s", error)
            self._closing.wait(_PAUSE)
        return len(waiting)

    def _collect(self, waiting: Sequence[tuple[int, int, bytes | None]]) -> list[_Task]:
        """A batch of those: as many as are small together, or a large one alone.  What is deleted is left out."""
        batch: list[_Task] = []
        octets = 0
        for id_, size, maybe_raw in waiting:
            octets += size
            if batch and octets > BATCH_OCTETS:
                break
            with suppress(NoSuchMessage):
                has_to_read = maybe_raw is None and size <= BATCH_OCTETS
                batch.append(_Task(id_, size, self._store.raw(id_) if has_to_read else maybe_raw))
        return batch

    def _process(self) -> WorkerProcess | None:
        """The process; None if there can be none, or it is over."""
        with self._lock:
            if self._closing.is_set():
                return None
            if self._maybe_process is None:
                self._maybe_process = WorkerProcess(self._script, self._limits)
            return self._maybe_process

    def _drop_process(self) -> None:
        with self._lock:
            process, self._maybe_process = self._maybe_process, None
        if process is not None:
            process.close()

    def _ask(self, process: WorkerProcess, batch: list[_Task]) -> Iterator[tuple[int, rows.ParsedRow]]:
        """What is found in the messages of a batch, as far as the process gets."""
        answered = 0
        try:
            self._send(process, batch)
            for task in batch:
                yield task.id, process.receive()
                answered += 1
            process.expect_nothing()
            self._batch = min(BATCH, 2 * self._batch)
        except NoSuchMessage:  # deleted while it was sent: the process waits for the rest of it
            self._drop_process()
        except (OSError, EOFError, ValueError) as error:
            reason = process.why_ended()
            self._drop_process()
            if self._closing.is_set():
                return
            # It may not have been the message, or another one: it gets a second try, alone.
            task = batch[answered]
            self._batch = 1
            if task.id == self._suspect:
                log.warning("message %d of %d octets was not looked into: %s (%s)", task.id, task.size, reason, error)
                yield task.id, rows.parsed_row(unreadable(f"the message could not be looked into: {reason}"))
            self._suspect = task.id

    def _send(self, process: WorkerProcess, batch: list[_Task]) -> None:
        process.write(COUNT.pack(len(batch)))
        for task in batch:
            sent = min(task.size, self._limits.octets)
            process.write(SIZES.pack(task.size, sent))
            chunks = self._store.raw_chunks(task.id, 0, sent) if task.maybe_raw is None else [task.maybe_raw[:sent]]
            for chunk in chunks:
                process.write(chunk)
        process.flush()


class _Task(NamedTuple):
    """A message to be looked into; ``maybe_raw`` is None for a large one, which is sent piece by piece."""

    id: int
    size: int
    maybe_raw: bytes | None


class WorkerProcess:
    """A process that looks into messages, and what keeps it from taking forever."""

    def __init__(self, script: Path, limits: Limits) -> None:
        # No site module and no folder of the script in the path: it needs the standard library alone.
        command = [sys.executable, "-S", "-s", "-P", str(script), str(limits.text), str(limits.memory)]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a file of this package
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._seconds = limits.seconds
        self._condition = threading.Condition()
        self._maybe_deadline: float | None = None
        self._is_ready = False
        self._is_late = False
        self._is_closed = False
        self._watch = threading.Thread(target=self._watch_over, name="ehlo-inbox-watch", daemon=True)
        self._watch.start()
        self.pid = self._process.pid

    def is_ready(self) -> bool:
        """Whether it has started; waits until it has, or has ended."""
        if not self._is_ready:
            self._expect_something(_START)
            self._is_ready = self._stdout.read(len(READY)) == READY
        return self._is_ready

    def write(self, data: bytes) -> None:
        """OSError if it does not read any more."""
        self._expect_something(self._seconds)
        self._stdin.write(data)

    def flush(self) -> None:
        """Have it all sent.  OSError."""
        self._expect_something(self._seconds)
        self._stdin.flush()

    def receive(self) -> rows.ParsedRow:
        """The next answer.  EOFError if none comes; ValueError if it is none."""
        self._expect_something(self._seconds)
        (length,) = COUNT.unpack(self._read(COUNT.size))
        return rows.ParsedRow(*json.loads(self._read(length)))

    def _read(self, size: int) -> bytes:
        data = self._stdout.read(size)
        if len(data) < size:
            raise EOFError("no answer")
        return data

    def why_ended(self) -> str:
        """For the user: what became of it."""
        self.kill()
        status = self._process.wait()
        if self._is_late:
            return f"it took longer than {self._seconds:g} s"
        return f"the process that did it ended (status {status})"

    def kill(self) -> None:
        """End it at once; whoever waits for an answer gets an EOFError."""
        self._process.kill()

    def close(self) -> None:
        """End it, and all that belongs to it."""
        self.kill()
        with self._condition:
            self._is_closed = True
            self._condition.notify()
        self._watch.join()
        self._process.wait()
        self._stdout.close()
        with suppress(OSError):  # there may be something that was not sent yet
            self._stdin.close()

    def expect_nothing(self) -> None:
        """It has been asked nothing, and may be silent."""
        with self._condition:
            self._maybe_deadline = None

    def _expect_something(self, seconds: float) -> None:
        with self._condition:
            maybe_before, self._maybe_deadline = self._maybe_deadline, time.monotonic() + seconds
            # Whoever watches has not to wake for a later one than the one that he waits for.
            if maybe_before is None or self._maybe_deadline < maybe_before:
                self._condition.notify()

    def _watch_over(self) -> None:
        with self._condition:
            while not self._is_closed:
                if self._maybe_deadline is None:
                    self._condition.wait()
                    continue
                left = self._maybe_deadline - time.monotonic()
                if left > 0:
                    self._condition.wait(left)
                    continue
                self._is_late = True
                self._maybe_deadline = None
                self.kill()
