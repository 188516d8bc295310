from __future__ import annotations

import concurrent.futures
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ehlo.inbox.errors import InboxTaken, NoSuchMessage, NoSuchPart, StoreClosed
from ehlo.inbox.parse import parse
from ehlo.inbox.query import parse_query
from ehlo.inbox.records import (
    EnvelopeRecord,
    EventKind,
    InboxRecord,
    Line,
    Retention,
    SessionRecord,
)
from ehlo.inbox.rows import parsed_row
from ehlo.inbox.schema import CHUNK
from ehlo.inbox.store import Store, Usage
from tests.inbox.support import PATIENCE, Clock, Listener, arrival, mail, put

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Iterator[Store]:
    with Store(clock=clock) as store:
        yield store


def index(store: Store, *ids: int) -> None:
    """Do what the indexer does, here."""
    store.add_parsed([(id_, parsed_row(parse(store.raw(id_)))) for id_ in ids]).result(PATIENCE)


# Messages


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"no header",
        bytes(range(256)) * 5,
        mail(),
        b"x" * CHUNK,
        b"x" * (CHUNK + 1),
        mail() + b"y" * (5 * CHUNK),
        mail() + bytes(range(256)) * (4 * CHUNK // 256),
    ],
    ids=len,
)
def test_a_message_is_kept_to_the_octet(store: Store, raw: bytes) -> None:
    id_ = put(store, raw)
    assert store.raw(id_) == raw
    assert b"".join(store.raw_chunks(id_)) == raw
    assert store.summary(id_).size == len(raw)
    assert store.usage == Usage(1, len(raw))


def test_a_piece_of_a_message_is_read_alone(store: Store) -> None:
    raw = bytes(range(251)) * (4 * CHUNK // 251)
    id_ = put(store, raw)
    for start, end in [(0, 5), (CHUNK - 3, CHUNK + 3), (CHUNK, 2 * CHUNK), (5, 3 * CHUNK + 1), (7, 7), (9, 3)]:
        assert b"".join(store.raw_chunks(id_, start, end)) == raw[start:end]
    assert b"".join(store.raw_chunks(id_, len(raw) - 2, len(raw) + 100)) == raw[-2:]


def test_ids_are_in_the_order_of_commit_and_never_used_again(store: Store) -> None:
    assert store.last_id == 0
    assert [put(store) for _ in range(3)] == [1, 2, 3]
    assert store.delete([2, 3]).result(PATIENCE) == 2
    assert put(store) == 4
    assert store.last_id == 4


def test_the_list_has_what_is_known_before_a_message_is_looked_into(store: Store, clock: Clock) -> None:
    raw = mail("=?utf-8?q?H=C3=A9llo?=", sender="Ann <ann@example.com>")
    (summary,) = store.list(inbox="default").messages if put(store, raw, session_id="s1") else ()
    assert (summary.subject, summary.header_from, summary.header_to) == (
        "Héllo",
        "Ann <ann@example.com>",
        "bob@example.org",
    )
    assert (summary.message_id, summary.mail_from, summary.rcpt_tos) == (
        "<1@example.com>",
        "ann@example.com",
        ("bob@example.org",),
    )
    assert (summary.received_at, summary.session_id, summary.inbox) == (clock.now, "s1", "default")
    assert not summary.is_indexed
    assert not summary.is_read
    assert store.parsed(summary.id) is None


def test_the_list_is_newest_first_and_goes_on_where_it_ended(store: Store) -> None:
    for number in range(7):
        put(store, mail(str(number)))
    page = store.list(limit=3)
    assert [it.id for it in page.messages] == [7, 6, 5]
    assert (page.total, page.unread) == (7, 7)
    assert [it.id for it in store.list(limit=3, before=5).messages] == [4, 3, 2]
    assert [it.id for it in store.list(after=5).messages] == [7, 6]
    assert store.list(limit=0).messages == ()
    assert store.find(after=2, before=6) == (3, 4, 5)


def test_the_envelope_is_kept_with_the_options_of_each_recipient(store: Store) -> None:
    id_ = put(
        store,
        mail_from="",
        rcpt_tos=("a@example.com", '"b c"@example.com', "d\udcff@example.com"),
        mail_options=("BODY=8BITMIME", "SIZE=3"),
        rcpt_options=((), ("NOTIFY=NEVER",), ()),
        envelope_id="e1",
        bare_newlines=True,
        smtp_utf8=True,
    )
    assert store.envelope(id_) == EnvelopeRecord(
        "e1",
        "",
        ("a@example.com", '"b c"@example.com', "d\\udcff@example.com"),
        ("BODY=8BITMIME", "SIZE=3"),
        ((), ("NOTIFY=NEVER",), ()),
        bare_newlines=True,
        smtp_utf8=True,
    )
    assert store.envelope(put(store)).rcpt_options == ((),)


def test_inboxes_do_not_see_each_other(store: Store) -> None:
    first, second = put(store, inbox="one"), put(store, inbox="two")
    assert [it.id for it in store.list(inbox="one").messages] == [first]
    assert store.list(inbox="two").total == 1
    assert store.find(inbox="three") == ()
    assert store.find() == (first, second)


def test_a_message_that_is_not_there_is_said_to_be(store: Store) -> None:
    for id_ in (0, 1, -5, 1 << 63, 1 << 200):
        for method in (store.summary, store.envelope, store.parsed, store.raw, store.parts):
            with pytest.raises(NoSuchMessage):
                method(id_)
    assert store.mark([1, 1 << 70], is_read=True).result(PATIENCE) == 0
    assert store.delete([]).result(PATIENCE) == 0


def test_messages_are_marked_and_tagged(store: Store) -> None:
    first, second = put(store), put(store)
    assert store.mark([first, 99], is_read=True).result(PATIENCE) == 1
    assert store.mark([first, second], is_read=True).result(PATIENCE) == 1
    assert store.list().unread == 0
    assert store.mark([first], is_read=False).result(PATIENCE) == 1
    assert store.tag([first, second], add=["urgent", " new\nline ", ""]).result(PATIENCE) == 2
    assert store.tag([first], add=["x"], remove=["urgent"]).result(PATIENCE) == 1
    assert store.tag([first], add=["x"]).result(PATIENCE) == 0
    assert store.summary(first).tags == ("new line", "x")
    assert store.summary(second).tags == ("urgent", "new line")


def test_thousands_are_deleted_in_steps_and_others_are_stored_between(store: Store) -> None:
    futures = [store.add(arrival()) for _ in range(1000)]
    concurrent.futures.wait(futures, PATIENCE)
    listener = Listener(store)
    deletion = store.delete(store.find())
    late = store.add(arrival())
    assert late.result(PATIENCE) == 1001
    assert deletion.result(PATIENCE) == 1000
    assert store.find() == (1001,)
    kinds = [event.kind for event in listener.events]
    assert EventKind.MESSAGE in kinds[:-1], "the message waited for the whole deletion"
    deleted = [id_ for event in listener.events if event.kind is EventKind.DELETED for id_ in event.ids]
    assert sorted(deleted) == list(range(1, 1001))


def test_the_space_of_what_is_deleted_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        for _ in range(6):
            ids = [put(store, mail() + b"z" * 3_000_000) for _ in range(2)]
            store.delete(ids).result(PATIENCE)
            store.maintain().result(PATIENCE)
    assert path.stat().st_size < 3 * 6_000_000


def test_a_large_part_of_the_file_that_is_empty_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        ids = [put(store, b"z" * 20_000_000) for _ in range(3)]
        store.delete(ids).result(PATIENCE)
        store.maintain().result(PATIENCE)
    assert path.stat().st_size < 20_000_000


def test_everything_is_exported_oldest_first(store: Store) -> None:
    raws = [mail(str(number)) for number in range(5)]
    for raw in raws:
        put(store, raw)
    export = store.export()
    assert next(export)[1] == raws[0]
    store.delete([3]).result(PATIENCE)
    assert [raw for _, raw in export] == [raws[1], raws[3], raws[4]]
    assert [summary.id for summary, _ in store.export(parse_query("subject:4"))] == [5]


def test_parts_are_read_by_their_number(store: Store) -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n"
        b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n--b--\r\n"
    )
    id_ = put(store, raw)
    with pytest.raises(NoSuchPart):
        store.part(id_, 0)
    index(store, id_)
    assert store.part(id_, 1) == b"text"
    assert store.part(id_, 2) == b"\x89PNG"
    assert store.part(id_, 0).startswith(b"--b\r\n")
    for number in (-1, 3):
        with pytest.raises(NoSuchPart):
            store.part(id_, number)


def test_what_is_found_in_a_message_is_read_as_it_was_written(store: Store) -> None:
    raw = mail("Your code", "The code is 123456, see https://example.com/x")
    id_ = put(store, raw)
    index(store, id_)
    assert store.parsed(id_) == parse(raw)
    summary = store.summary(id_)
    assert summary.is_indexed
    assert summary.snippet == "The code is 123456, see https://example.com/x"


def test_nothing_is_indexed_that_is_gone_or_indexed_already(store: Store) -> None:
    first, second = put(store), put(store)
    found = [(id_, parsed_row(parse(mail()))) for id_ in (first, second)]
    store.delete([first]).result(PATIENCE)
    assert [it.id for it in store.add_parsed(found).result(PATIENCE)] == [second]
    assert list(store.add_parsed(found).result(PATIENCE)) == []
    assert store.list(parse_query("body")).total == 1


def test_what_is_deleted_is_not_found_any_more(store: Store) -> None:
    ids = [put(store, mail(body=f"needle{number}")) for number in range(3)]
    index(store, *ids)
    assert store.list(parse_query("needle*")).total == 3
    store.delete(ids[:2]).result(PATIENCE)
    assert store.find(parse_query("needle")) == (ids[2],)
    store.maintain().result(PATIENCE)
    assert store.find(parse_query("needle")) == (ids[2],)


# Who hears of it


def test_who_subscribes_hears_of_everything_after_it_is_committed(store: Store) -> None:
    listener = Listener(store)
    id_ = put(store, inbox="one")
    (event,) = listener.take()
    assert (event.kind, event.inbox, event.ids) == (EventKind.MESSAGE, "one", (id_,))
    assert event.summary == store.summary(id_)
    index(store, id_)
    (event,) = listener.take()
    assert event.kind is EventKind.INDEXED
    assert event.summary == store.summary(id_)
    store.mark([id_], is_read=True).result(PATIENCE)
    store.tag([id_], add=["a"], remove=["b"]).result(PATIENCE)
    read, tagged = listener.take()
    assert (read.kind, read.ids, read.is_read) == (EventKind.CHANGED, (id_,), True)
    assert (tagged.add_tags, tagged.remove_tags, tagged.is_read) == (("a",), ("b",), None)
    store.delete([id_]).result(PATIENCE)
    (event,) = listener.take()
    assert (event.kind, event.inbox, event.ids) == (EventKind.DELETED, "one", (id_,))
    listener.stop()
    put(store)
    assert listener.take() == []


def test_a_future_is_set_after_the_subscribers_were_called(store: Store) -> None:
    heard: list[int] = []
    store.subscribe(lambda events: heard.append(store.last_id))
    assert put(store) == heard[0]


def test_a_subscriber_that_fails_harms_nobody(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def fail(events: object) -> None:
        raise RuntimeError

    store.subscribe(fail)
    listener = Listener(store)
    put(store)
    assert len(listener.events) == 1
    assert "who was told" in caplog.text


# Threads


def test_a_reader_does_not_wait_for_the_writer(store: Store) -> None:
    put(store)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> Iterator[None]:
        store._writer.connection.execute("UPDATE messages SET subject = 'changed'")
        entered.set()
        assert leave.wait(PATIENCE)
        yield

    held = store._writer.do(hold())  # type: ignore[arg-type]
    assert entered.wait(PATIENCE)
    try:
        assert store.list().messages[0].subject == "Hello"
    finally:
        leave.set()
    held.result(PATIENCE)
    assert store.list().messages[0].subject == "changed"


def test_a_small_message_does_not_wait_for_a_large_one(store: Store) -> None:
    order: list[int] = []
    store.subscribe(lambda events: order.extend(event.summary.size for event in events if event.summary))
    large = store.add(arrival(b"x" * 40 * CHUNK))
    small = store.add(arrival(b"y"))
    assert small.result(PATIENCE) == 1
    assert large.result(PATIENCE) == 2
    assert order == [1, 40 * CHUNK]


def test_messages_that_wait_together_are_committed_together(store: Store) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> Iterator[None]:
        entered.set()
        assert leave.wait(PATIENCE)
        yield

    store._writer.do(hold())  # type: ignore[arg-type]
    assert entered.wait(PATIENCE)
    batches: list[int] = []
    store.subscribe(lambda events: batches.append(len(events)))
    futures = [store.add(arrival()) for _ in range(20)]
    leave.set()
    concurrent.futures.wait(futures, PATIENCE)
    assert batches == [20]


def test_a_message_whose_sender_has_given_up_before_its_turn_is_not_stored(store: Store) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> Iterator[None]:
        entered.set()
        assert leave.wait(PATIENCE)
        yield

    store._writer.do(hold())  # type: ignore[arg-type]
    assert entered.wait(PATIENCE)
    given_up, waiting = store.add(arrival()), store.add(arrival())
    assert given_up.cancel()
    leave.set()
    assert waiting.result(PATIENCE) == 1
    assert store.find() == (1,)


def test_many_threads_write_and_read_at_once(store: Store) -> None:
    def work(number: int) -> list[int]:
        ids = [put(store, mail(f"{number}.{step}")) for step in range(20)]
        assert [store.summary(id_).subject for id_ in ids] == [f"{number}.{step}" for step in range(20)]
        return ids

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = [id_ for found in pool.map(work, range(8)) for id_ in found]
    assert sorted(ids) == list(range(1, 161))


def test_what_was_asked_for_before_close_is_done_and_nothing_after() -> None:
    store = Store()
    futures = [store.add(arrival()) for _ in range(100)]
    large = store.add(arrival(b"x" * 10 * CHUNK))
    store.close()
    assert all(future.done() for future in [*futures, large])
    store.close()
    with pytest.raises(StoreClosed):
        put(store)
    with pytest.raises(StoreClosed):
        store.list()


# Retention


def deleted_in(listener: Listener) -> list[int]:
    return [id_ for event in listener.events if event.kind is EventKind.DELETED for id_ in event.ids]


def test_the_oldest_go_when_there_are_too_many() -> None:
    with Store(retention=Retention(count=10)) as store:
        listener = Listener(store)
        concurrent.futures.wait([store.add(arrival()) for _ in range(35)], PATIENCE)
        store.maintain().result(PATIENCE)
        assert store.find() == tuple(range(26, 36))
        assert deleted_in(listener) == list(range(1, 26))
        assert store.usage.messages == 10


def test_the_oldest_go_when_there_is_too_much_but_the_newest_stays() -> None:
    with Store(retention=Retention(octets=1000)) as store:
        for _ in range(4):
            put(store, b"x" * 400)
        store.maintain().result(PATIENCE)
        assert store.find() == (3, 4)
        put(store, b"x" * 5000)
        store.maintain().result(PATIENCE)
        assert store.find() == (5,)
        assert store.usage == Usage(1, 5000)


def test_what_is_too_old_goes_with_its_sessions() -> None:
    clock = Clock()
    with Store(retention=Retention(age=60), clock=clock) as store:
        listener = Listener(store)
        put(store)
        store.put_session(SessionRecord("s1", "", "", clock.now)).result(PATIENCE)
        clock.now += 59
        put(store)
        store.maintain().result(PATIENCE)
        assert store.find() == (1, 2)
        clock.now += 1
        store.maintain().result(PATIENCE)
        assert store.find() == (2,)
        assert deleted_in(listener) == [1]
        assert store.sessions() == ()


def test_nothing_is_deleted_without_limits(clock: Clock) -> None:
    with Store(retention=Retention(None, None, None, None), clock=clock) as store:
        for _ in range(5):
            put(store)
        clock.now += 1e9
        store.maintain().result(PATIENCE)
        assert store.usage.messages == 5


def test_old_sessions_go_when_there_are_too_many() -> None:
    with Store(retention=Retention(sessions=3)) as store:
        for number in range(105):
            store.put_session(SessionRecord(f"s{number}", "", "", 0.0)).result(PATIENCE)
        store.maintain().result(PATIENCE)
        assert [record.id for record in store.sessions()][:3] == ["s104", "s103", "s102"]
        assert len(store.sessions(limit=1000)) <= 103


# Sessions


def test_a_session_is_kept_and_replaced_by_what_has_become_of_it(store: Store) -> None:
    listener = Listener(store)
    begun = SessionRecord("s1", "192.0.2.1:5", "127.0.0.1:25", 5.0)
    store.put_session(begun).result(PATIENCE)
    assert store.session("s1") == begun
    lines = (Line(0.0, "S", "220 x"), Line(0.5, "C", "EHLO \udcff"), Line(1.0, "-", "TLS"))
    ended = SessionRecord(
        "s1", "192.0.2.1:5", "127.0.0.1:25", 5.0, 6.0, "h\u00e9", "TLSv1.3", "ann", "refused", "why",
        is_refused=True, inbox="one", messages=(1, 2), transcript=lines,
    )  # fmt: skip
    store.put_session(ended).result(PATIENCE)
    assert store.session("s1") == ended
    assert store.session("s2") is None
    (listed,) = store.sessions()
    assert listed.transcript == ()
    assert listed.messages == (1, 2)
    assert [event.session.id for event in listener.events if event.session] == ["s1", "s1"]


def test_sessions_are_listed_newest_first_by_inbox_and_refused(store: Store) -> None:
    for number in range(5):
        record = SessionRecord(f"s{number}", "", "", 0.0, is_refused=number == 1, inbox="one" if number == 2 else None)
        store.put_session(record).result(PATIENCE)
    put(store, inbox="one", session_id="s4")
    assert [it.id for it in store.sessions(limit=2)] == ["s4", "s3"]
    assert [it.id for it in store.sessions(before="s2")] == ["s1", "s0"]
    assert [it.id for it in store.sessions(refused=True)] == ["s1"]
    assert [it.id for it in store.sessions(inbox="one")] == ["s4", "s2"]
    assert store.sessions(before="none") == ()


# Inboxes


def test_inboxes_are_counted_with_those_that_have_no_mail(store: Store, clock: Clock) -> None:
    record = InboxRecord("empty", created_at=clock.now)
    store.put_inbox(record).result(PATIENCE)
    store.mark([put(store, inbox="one"), put(store, inbox="two")][:1], is_read=True).result(PATIENCE)
    assert [(it.name, it.total, it.unread, it.last_at) for it in store.inboxes()] == [
        ("empty", 0, 0, None),
        ("one", 1, 0, clock.now),
        ("two", 1, 1, clock.now),
    ]
    assert store.inboxes()[0].maybe_record == record


def test_an_inbox_is_made_once_and_not_over_mail(store: Store) -> None:
    store.put_inbox(InboxRecord("a", login="ann")).result(PATIENCE)
    for record in (InboxRecord("a"), InboxRecord("b", login="ann")):
        with pytest.raises(InboxTaken):
            store.put_inbox(record).result(PATIENCE)
    put(store, inbox="c")
    with pytest.raises(InboxTaken):
        store.put_inbox(InboxRecord("c")).result(PATIENCE)
    assert set(store.inbox_records) == {"a"}


def test_an_inbox_goes_with_its_mail(store: Store) -> None:
    store.put_inbox(InboxRecord("a")).result(PATIENCE)
    put(store, inbox="a")
    put(store, inbox="b")
    assert store.delete_inbox("a").result(PATIENCE) == 1
    assert store.inbox_records == {}
    assert [it.name for it in store.inboxes()] == ["b"]


def test_an_inbox_that_expires_is_gone_at_once_and_its_mail_soon(store: Store, clock: Clock) -> None:
    listener = Listener(store)
    store.put_inbox(InboxRecord("a", expires_at=clock.now + 10)).result(PATIENCE)
    ids = [put(store, inbox="a") for _ in range(600)]
    put(store)
    clock.now += 10
    assert store.inbox_records == {}
    store.maintain().result(PATIENCE)
    assert store.find() == (601,)
    assert deleted_in(listener) == ids
    assert listener.events[-1].kind is EventKind.INBOX
    store.put_inbox(InboxRecord("a")).result(PATIENCE)


def test_inboxes_are_there_again_when_the_file_is_opened_again(tmp_path: Path) -> None:
    record = InboxRecord("a", "login", "password", b"hash", "*@a.example", 5.0, 5e10)
    with Store(tmp_path / "store.db") as store:
        store.put_inbox(record).result(PATIENCE)
    with Store(tmp_path / "store.db") as store:
        assert store.inbox_records == {"a": record}
    assert "password'" not in repr(record)
