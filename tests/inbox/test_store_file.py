"""What a store makes of its file: a wrong one, a locked one, a full disk, a process that is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ehlo.inbox import schema
from ehlo.inbox.errors import StoreError, StoreFull, StoreUnusable
from ehlo.inbox.lock import FileLock
from ehlo.inbox.records import Arrival, SessionRecord
from ehlo.inbox.schema import CHUNK
from ehlo.inbox.store import Store, Usage, remove_left_folders
from tests.inbox.support import PATIENCE, arrival, mail, put

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# Opening


def test_what_is_in_a_file_is_there_again(path: Path) -> None:
    raw = mail() + b"x" * 3 * CHUNK
    with Store(path) as store:
        assert store.is_persistent
        put(store, raw)
        put(store)
        store.delete([2]).result(PATIENCE)
    with Store(path) as store:
        assert store.raw(1) == raw
        assert store.last_id == 2, "an id that was given once is used again"
        assert store.usage == Usage(1, len(raw))
        assert put(store) == 3


def test_a_store_leaves_nothing_but_its_file(path: Path) -> None:
    with Store(path) as store:
        put(store)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_what_a_store_makes_is_its_owners_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with Store(path) as store:
            put(store)
            store.list()
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm", "store.db.lock"), 0o600)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A private store that an hour ago somebody left who was killed."""
    folder = tmp_path / "ehlo-inbox-left"
    folder.mkdir(0o700)
    (folder / "inbox.db").touch()
    lock = folder / "inbox.db.lock"
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)
    return folder


def test_the_private_store_of_a_process_that_was_killed_is_removed(left: Path) -> None:
    remove_left_folders(left.parent)
    assert list(left.parent.iterdir()) == []


def test_a_private_store_in_use_stays(left: Path) -> None:
    lock = FileLock(left / "inbox.db.lock")
    os.utime(lock.path, (time.time() - 3600,) * 2)
    remove_left_folders(left.parent)
    assert (left / "inbox.db").exists()
    lock.release()


def test_a_private_store_that_is_being_made_stays(left: Path) -> None:
    os.utime(left / "inbox.db.lock")
    remove_left_folders(left.parent)
    (left / "inbox.db.lock").unlink()
    remove_left_folders(left.parent)
    assert (left / "inbox.db").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_a_folder_that_others_can_write_into_is_not_touched(left: Path) -> None:
    left.chmod(0o777)
    remove_left_folders(left.parent)
    assert (left / "inbox.db").exists()
    left.chmod(0o700)
    link = left.parent / "ehlo-inbox-link"
    moved = left.rename(left.parent / "elsewhere")
    link.symlink_to(moved)
    remove_left_folders(moved.parent)
    assert (moved / "inbox.db").exists()


def test_a_private_store_leaves_nothing() -> None:
    with Store() as store:
        folder = store.path.parent
        put(store)
        assert not store.is_persistent
        assert folder.exists()
    assert not folder.exists()


def test_a_private_store_that_is_forgotten_is_removed_when_the_program_ends(tmp_path: Path) -> None:
    program = "from ehlo.inbox.store import Store; store = Store(); print(store.path.parent)"
    done = run(program, check=True)
    assert not Path(done.strip()).exists()


def test_a_store_that_is_in_use_is_refused(path: Path) -> None:
    with Store(path), pytest.raises(StoreUnusable, match=r"store\.db is in use by another process \([0-9]+\)"):
        Store(path)
    Store(path).close()


def test_a_store_that_another_process_uses_is_refused(path: Path) -> None:
    program = f"from ehlo.inbox.store import Store; Store({str(path)!r}); print('opened', flush=True); input()"
    with start(program) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "opened\n"
        with pytest.raises(StoreUnusable, match=f"in use by another process .{process.pid}."):
            Store(path)
        process.kill()
        process.wait(PATIENCE)
        Store(path).close()


def test_a_lock_is_not_fooled_by_a_file_that_its_owner_removes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = FileLock(path)
    first.release()
    first.release()
    second = FileLock(path)
    path.unlink()  # by somebody careless
    third = FileLock(path)
    second.release()
    third.release()
    assert not path.exists() or third.path == path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is a text, and long enough to have a header " * 100, "is not a store of ehlo"),
        (b"SQLite format 3\0" + b"\xff" * 4096, "damaged|is not a store of ehlo|cannot be used"),
    ],
)
def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match=reason):
        Store(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused_and_left_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StoreUnusable, match="is not a store of ehlo"):
        Store(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()


def test_a_store_of_a_newer_version_is_refused(path: Path) -> None:
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    with pytest.raises(StoreUnusable, match="newer ehlo"):
        Store(path)


def test_a_damaged_store_is_refused(path: Path) -> None:
    with Store(path) as store:
        for _ in range(200):
            put(store, mail() + b"x" * 5000)
    with path.open("r+b") as file:
        for page in range(3, 60):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    with pytest.raises(StoreUnusable, match="is damaged"):
        Store(path)


def test_damage_that_is_found_later_is_an_error_of_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_PAGES_TO_CHECK", -1)
    with Store(path) as store:
        put(store, mail() + b"x" * 200_000)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"x" * 1000)
    content[at - 3 * 4096 : at + 4096] = b"\xff" * (4 * 4096)
    path.write_bytes(content)
    with Store(path) as store, pytest.raises(StoreError, match="malformed"):
        store.raw(1)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"none.store\.db cannot be opened"):
        Store(tmp_path / "none" / "store.db")


def test_a_python_without_full_text_search_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutFts5(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
            if "fts5" in sql:
                raise sqlite3.OperationalError("no such module: fts5")
            return super().execute(sql, *args)  # type: ignore[arg-type]

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **named: connect(*args, **named, factory=WithoutFts5))
    with pytest.raises(StoreUnusable, match="FTS5"):
        Store(path)
    monkeypatch.undo()
    Store(path).close()


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 7, 15))
    with pytest.raises(StoreUnusable, match="needs SQLite"):
        Store(path)


def test_versions_are_brought_up_one_after_the_other() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    steps = ["CREATE TABLE a (x);", "ALTER TABLE a ADD COLUMN y;", "CREATE TABLE b (z);"]
    schema.migrate(connection, 0, steps[:1])
    schema.migrate(connection, 1, steps)
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    assert connection.execute("SELECT y FROM a").fetchall() == []
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, 3, [*steps, "CREATE TABLE c (x); CREATE TABLE a (x);"])
    connection.rollback()
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        connection.execute("SELECT * FROM c")
    connection.close()


# A full disk


def fill(store: Store, pages: int) -> None:
    """Let the file grow by so many pages only; 0 for as many as it wants."""

    def job() -> object:
        connection = store._writer.connection
        (count,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {count + pages if pages else 1 << 30}")
        yield

    store._writer.do(job()).result(PATIENCE)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [200_000, 3_000_000])
def test_a_full_disk_fails_what_comes_and_spares_what_is_there(path: Path, size: int) -> None:
    with Store(path) as store:
        first = put(store)
        fill(store, 40)
        with pytest.raises(StoreFull):
            put(store, b"x" * size)
        usage = store.usage
        assert store.find() == (first,)
        assert usage.messages == 1
        fill(store, 0)
        second = put(store, b"y" * size)
        assert second == first + 1, "a message that failed has used up an id"
        assert store.raw(second) == b"y" * size
        store.maintain().result(PATIENCE)
        chunks = -(-size // CHUNK) + 1
        with store.connection() as connection:
            assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (chunks,)
            assert connection.execute("SELECT count(*) FROM garbage").fetchone() == (0,)


def test_one_that_cannot_be_stored_does_not_fail_the_others(path: Path) -> None:
    with Store(path) as store:
        wrong = Arrival(b"x", mail_from="a", rcpt_tos=(5,))  # type: ignore[arg-type]
        entered = store._writer._condition
        with entered:  # so that they come in one batch
            futures = [store.add(it) for it in (arrival(), wrong, arrival())]
            session = store.put_session(SessionRecord("s", "", "", 0.0))
        assert futures[0].result(PATIENCE) == 1
        assert futures[2].result(PATIENCE) == 2
        session.result(PATIENCE)
        with pytest.raises(StoreError, match="AttributeError"):
            futures[1].result(PATIENCE)


def test_tidying_that_fails_is_tried_again_later_and_stops_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(path) as store:
        put(store)

        def fail(*_: object) -> int:
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr("ehlo.inbox.statements.free", fail)
            store.delete([1]).result(PATIENCE)
            put(store)
            with pytest.raises(StoreError):
                store.maintain().result(PATIENCE)
        assert caplog.text.count("tidying") <= 2
        store.maintain().result(PATIENCE)
        with store.connection() as connection:
            assert connection.execute("SELECT count(*) FROM garbage").fetchone() == (0,)


# A process that is killed

_WRITING = """
import sys
from ehlo.inbox.records import Arrival
from ehlo.inbox.store import Store
store = Store(sys.argv[1])
large = None
number = 0
while True:
    if large is None or large.done():
        large = store.add(Arrival(b"large" * 1_000_000, "a@b", ("c@d",)))
    number += 1
    waiting = [store.add(Arrival(b"%d/%d" % (number, copy), "a@b", ("c@d",))) for copy in range(8)]
    for copy, future in enumerate(waiting):
        print(future.result(), f"{number}/{copy}", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("acknowledged", [1, 300, 1111])
def test_what_was_acknowledged_survives_kill_9(path: Path, acknowledged: int) -> None:
    with start(_WRITING, str(path)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait(PATIENCE)
    said = {int(id_): text.encode() for id_, text in (line.split() for line in lines if line.endswith("\n"))}
    assert len(said) >= acknowledged
    with Store(path) as store:
        there = {summary.id: raw for summary, raw in store.export()}
        assert {id_: there.get(id_) for id_ in said} == said
        assert all(raw == b"large" * 1_000_000 for raw in there.values() if raw.startswith(b"l"))
        # What was begun and not acknowledged is whole, or it is nothing.
        store.maintain().result(PATIENCE)
        with store.connection() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            (chunks,) = connection.execute("SELECT count(*) FROM chunks").fetchone()
        assert chunks == sum(-(-len(raw) // CHUNK) for raw in there.values())
        assert put(store) > max(there)


# Memory

_MUCH = """
import resource
from ehlo.inbox.records import Arrival
from ehlo.inbox.store import Store

arrival = Arrival(b"Subject: x" + bytes(1000), "a@b", ("c@d",))

def add(count):
    for _ in range(count // 100):
        for future in [store.add(arrival) for _ in range(100)]:
            future.result()
    store.list()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

with Store() as store:
    print(add(2_000), add(8_000))
"""

_LARGE = """
import resource
from ehlo.inbox.indexer import Indexer
from ehlo.inbox.records import Arrival
from ehlo.inbox.store import Store

def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

with Store() as store, Indexer(store):
    store.wait_indexed(store.add(Arrival(b"x", "a@b", ("c@d",))).result(), 20)
    raw = b"x" * 50_000_000
    before = used()
    id_ = store.add(Arrival(raw, "a@b", ("c@d",))).result()
    store.wait_indexed(id_, 20)
    assert sum(map(len, store.raw_chunks(id_))) == len(raw)
    print(before, used())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is counted in other units elsewhere")
@pytest.mark.parametrize("program", [_MUCH, _LARGE], ids=["ten thousand messages", "a large message"])
def test_memory_does_not_grow_with_what_is_stored(program: str) -> None:
    before, after = map(int, run(program, check=True).split())
    assert after - before < 40_000  # KiB: what SQLite keeps at hand, and less than the large message


# Programs


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(SOURCE)},
    )


def run(program: str, *, check: bool) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=check,
        timeout=PATIENCE,
        env={"PYTHONPATH": str(SOURCE)},
    )
    return done.stdout
