from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox import indexer as indexer_module
from ehlo.inbox import statements
from ehlo.inbox.errors import StoreError
from ehlo.inbox.indexer import BATCH_OCTETS, Indexer
from ehlo.inbox.parse import Limits, parse
from ehlo.inbox.query import parse_query
from ehlo.inbox.records import EventKind
from ehlo.inbox.store import Store
from tests.inbox.support import PATIENCE, Listener, arrival, mail, put

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as store:
        yield store


# A process that does as the real one, but for what these words make it do.
_ODD_WORKER = """
import os, struct, sys, time
sys.path.insert(0, {source!r})
from ehlo.inbox import worker
real = worker.parse
def parse(raw, *args, **named):
    if b"DIE" in raw:
        os._exit(3)
    if b"STALL" in raw:
        time.sleep(1000)
    if b"LIE" in raw:
        sys.stdout.buffer.write(struct.pack("<I", 3) + b"nay")
        sys.stdout.buffer.flush()
    return real(raw, *args, **named)
worker.parse = parse
sys.exit(worker.main(*sys.argv[1:]))
"""


@pytest.fixture
def odd_script(tmp_path: Path) -> Path:
    path = tmp_path / "odd_worker.py"
    path.write_text(_ODD_WORKER.format(source=str(Path(__file__).parents[2] / "src")))
    return path


def test_a_message_is_looked_into_by_another_process(store: Store) -> None:
    raw = mail("Hello", "Your code is 123456\r\nhttps://example.com")
    listener = Listener(store)
    with Indexer(store) as indexer:
        id_ = put(store, raw)
        assert store.wait_indexed(id_, PATIENCE)
        assert indexer.pid != os.getpid()
    assert store.parsed(id_) == parse(raw)
    assert store.list(parse_query("code")).total == 1
    assert [event.kind for event in listener.events] == [EventKind.MESSAGE, EventKind.INDEXED]


def test_what_was_there_before_is_looked_into(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        ids = [put(store, mail(str(number))) for number in range(100)]
    with Store(tmp_path / "store.db") as store, Indexer(store):
        assert all(store.wait_indexed(id_, PATIENCE) for id_ in ids)
        assert store.summary(ids[-1]).snippet == "A body."


def test_a_large_message_is_looked_into_as_far_as_the_limit(store: Store) -> None:
    raw = mail(body="needle " + "x " * BATCH_OCTETS)
    with Indexer(store, Limits(octets=BATCH_OCTETS + 5, text=1000)):
        first, second = put(store, raw), put(store)
        assert store.wait_indexed(first, PATIENCE)
        assert store.wait_indexed(second, PATIENCE)
    parsed = store.parsed(first)
    assert parsed is not None
    assert parsed.problem is not None
    assert parsed.problem.startswith(f"only the first {BATCH_OCTETS + 5} octets are looked into")
    assert store.find(parse_query("needle")) == (first,)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("DIE", "the message could not be looked into: the process that did it ended (status 3)"),
        ("STALL", "the message could not be looked into: it took longer than 1 s"),
        ("LIE", "the message could not be looked into: the process that did it ended"),
    ],
)
def test_a_message_that_kills_or_stalls_the_process_is_marked_and_the_next_are_looked_into(
    store: Store, odd_script: Path, body: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [put(store, mail(body=text)) for text in ("before", body, "after", body, "last")]
    with Indexer(store, Limits(seconds=1), script=odd_script):
        late = put(store, mail(body="late"))
        assert all(store.wait_indexed(id_, PATIENCE) for id_ in [*ids, late])
    problems = [parsed.problem if (parsed := store.parsed(id_)) else "none" for id_ in [*ids, late]]
    assert [bool(it) for it in problems] == [False, True, False, True, False, False]
    assert str(problems[1]).startswith(problem)
    assert store.raw(ids[1]) == mail(body=body)
    assert "was not looked into" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is not kept everywhere")
def test_a_message_that_takes_too_much_memory_harms_nobody(store: Store) -> None:
    # What Python itself takes, and not much more.
    with Indexer(store, Limits(memory=100 << 20, octets=1 << 30)):
        first = put(store, mail(body="x" * 90_000_000))
        second = put(store)
        assert store.wait_indexed(first, PATIENCE)
        assert store.wait_indexed(second, PATIENCE)
    parsed = store.parsed(first)
    assert parsed is not None
    assert parsed.problem
    assert store.summary(second).snippet == "A body."


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_process_that_is_killed_is_replaced(store: Store) -> None:
    with Indexer(store) as indexer:
        assert store.wait_indexed(put(store), PATIENCE)
        first = indexer.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        second = put(store)
        assert store.wait_indexed(second, PATIENCE)
        assert indexer.pid not in {None, first}
    parsed = store.parsed(second)
    assert parsed is not None
    assert parsed.problem is None, "the message was not at fault"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_a_process_that_is_stopped_is_replaced(store: Store) -> None:
    with Indexer(store, Limits(seconds=1)) as indexer:
        assert store.wait_indexed(put(store), PATIENCE)
        first = indexer.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        assert store.wait_indexed(put(store), PATIENCE)
        assert indexer.pid not in {None, first}


def test_an_index_that_cannot_be_written_is_written_later(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []
    index = statements.index

    def fail_at_first(*arguments: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        return index(*arguments)

    monkeypatch.setattr(statements, "index", fail_at_first)
    monkeypatch.setattr(indexer_module, "_PAUSE", 0.01)
    with Indexer(store):
        assert store.wait_indexed(put(store), PATIENCE)
    assert len(tries) == 2
    assert "the index cannot be written" in caplog.text


def test_a_process_that_does_not_start_is_no_fault_of_the_message(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit(1)")
    monkeypatch.setattr(indexer_module, "_START_PAUSE", 0.01)
    with Indexer(store, script=script):
        id_ = put(store)
        assert not store.wait_indexed(id_, 0.5)
    assert "does not start" in caplog.text
    with Indexer(store):
        assert store.wait_indexed(id_, PATIENCE)
    parsed = store.parsed(id_)
    assert parsed is not None
    assert parsed.problem is None


def test_where_neither_processes_nor_the_store_can_be_had_it_tries_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, read = subprocess.Popen, store.not_indexed
    errors = iter([OSError("Too many open files"), StoreError("the store cannot be read: disk I/O error")])

    def fail_at_first(what: Any) -> Any:
        def doing(*args: Any, **options: Any) -> Any:
            if (error := next(errors, None)) is not None:
                raise error
            return what(*args, **options)

        return doing

    monkeypatch.setattr(subprocess, "Popen", fail_at_first(start))
    monkeypatch.setattr(store, "not_indexed", fail_at_first(read))
    monkeypatch.setattr(indexer_module, "_START_PAUSE", 0.01)
    with Indexer(store):
        assert store.wait_indexed(put(store), PATIENCE)
    assert "Too many open files" in caplog.text
    assert "disk I/O error" in caplog.text


def test_messages_deleted_meanwhile_are_no_trouble(store: Store) -> None:
    with Indexer(store):
        for _ in range(5):
            ids = [store.add(arrival()).result(PATIENCE) for _ in range(20)]
            store.delete(ids).result(PATIENCE)
        assert store.wait_indexed(put(store), PATIENCE)


def test_it_ends_in_the_midst_of_work(store: Store, odd_script: Path) -> None:
    put(store, mail(body="STALL"))
    asked = threading.Event()
    indexer = Indexer(store, script=odd_script)
    read = store.not_indexed

    def noting(limit: int, small: int) -> tuple[tuple[int, int, bytes | None], ...]:
        asked.set()
        return read(limit, small)

    store.not_indexed = noting  # type: ignore[method-assign]
    indexer.start()
    assert asked.wait(PATIENCE)
    indexer.close()
    assert not store.summary(1).is_indexed


def test_it_ends_with_the_store(store: Store) -> None:
    indexer = Indexer(store)
    indexer.start()
    store.wait_indexed(put(store), PATIENCE)
    store.close()
    indexer.close()


def test_it_may_be_closed_without_having_begun(store: Store) -> None:
    Indexer(store).close()


def test_who_waits_for_the_index_is_told_when_it_takes_too_long(store: Store) -> None:
    assert not store.wait_indexed(put(store), 0.01)
