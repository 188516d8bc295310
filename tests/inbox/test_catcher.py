from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox.accounts import Accounts, Rule
from ehlo.inbox.catcher import NO_ROOM, Catcher
from ehlo.inbox.errors import StoreFull
from ehlo.inbox.store import Store
from ehlo.inbox.transcript import RecordingSMTP
from ehlo.settings import BareNewlines
from tests.support import Client, talk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ehlo.inbox.records import SessionRecord


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as store:
        yield store


def talking(store: Any, accounts: Any = None, catcher: Catcher | None = None, **parameters: Any) -> Any:
    handler = catcher or Catcher(store, accounts or Accounts(store))
    given: dict[str, Any] = {"bare_newlines": BareNewlines.KEEP}
    return talk(handler, server_class=RecordingSMTP, **given | parameters)


def last_session(store: Store) -> SessionRecord:
    (record,) = store.sessions(limit=1)
    found = store.session(record.id)
    assert found is not None
    return found


async def settled(store: Store) -> None:
    """What was asked for until now is written."""
    await asyncio.wrap_future(store.maintain())


async def test_a_message_is_in_the_store_when_250_is_said(store: Store) -> None:
    async with talking(store) as client:
        await client.ask("MAIL FROM:<from@example.com> SIZE=10 BODY=8BITMIME")
        await client.ask("RCPT TO:<a@example.com>")
        await client.ask("RCPT TO:<b@example.com>")
        await client.ask("DATA")
        assert (await client.ask("Subject: a", "", "b", ".")).startswith("250 2.0.0 OK queued as ")
        (summary,) = store.list().messages
        envelope = store.envelope(summary.id)
        assert store.raw(summary.id) == b"Subject: a\r\n\r\nb\r\n"
        assert (summary.mail_from, summary.rcpt_tos) == ("from@example.com", ("a@example.com", "b@example.com"))
        assert envelope.mail_options == ("SIZE=10", "BODY=8BITMIME")
        assert summary.session_id == client.server.session.id
        assert not envelope.bare_newlines


async def test_250_waits_for_the_commit(store: Store) -> None:
    future: Future[int] = Future()
    store.add = lambda arrival: future  # type: ignore[method-assign]
    async with talking(store) as client:
        await client.begin()
        await client.ask("DATA")
        await client.say("Subject: a", "", ".")
        await asyncio.sleep(0.02)
        assert client.said() == []
        future.set_result(1)
        assert (await client.hear()).startswith("250")


@pytest.mark.parametrize("error", [StoreFull("disk full"), OSError("broken"), RuntimeError("bug")])
async def test_a_message_that_cannot_be_stored_is_452_and_the_session_goes_on(store: Store, error: Exception) -> None:
    def add(arrival: object) -> Future[int]:
        raise error

    real, store.add = store.add, add  # type: ignore[method-assign]
    async with talking(store) as client:
        assert await client.send("Subject: a", "") == NO_ROOM
        store.add = real  # type: ignore[method-assign]
        assert (await client.send("Subject: a", "")).startswith("250")


async def test_bare_newlines_are_kept_and_flagged(store: Store) -> None:
    async with talking(store) as client:
        await client.begin()
        await client.ask("DATA")
        await client.feed(b"Subject: a\n\nb\r\n.\r\n")
        await client.hear()
        assert store.raw(1) == b"Subject: a\n\nb\r\n"
        assert store.envelope(1).bare_newlines
        await client.send("Subject: b")
        assert not store.envelope(2).bare_newlines


async def test_each_inbox_gets_a_copy_that_does_not_tell_of_the_others(store: Store) -> None:
    accounts = Accounts(store, rules=[Rule("*@a.example", "a"), Rule("*@b.example", "b")])
    async with talking(store, accounts) as client:
        await client.ask("MAIL FROM:<x@example.com>")
        for recipient in ("1@a.example", "2@b.example", "3@a.example"):
            await client.ask(f"RCPT TO:<{recipient}> NOTIFY=NEVER" if recipient[0] == "9" else f"RCPT TO:<{recipient}>")
        await client.ask("DATA")
        await client.ask("Subject: a", "", ".")
        found = {summary.inbox: summary.rcpt_tos for summary in store.list().messages}
        assert found == {"a": ("1@a.example", "3@a.example"), "b": ("2@b.example",)}
    await settled(store)
    assert last_session(store).inbox is None


async def test_a_listener_of_an_inbox_decides_before_login_and_recipient(store: Store) -> None:
    accounts = Accounts(store, rules=[Rule("*@a.example", "a")])
    catcher = Catcher(store, accounts)
    catcher.listeners[2525] = "mine"
    async with talking(store, catcher=catcher, extra={"sockname": ("127.0.0.1", 2525)}) as client:
        await client.begin("x@a.example")
        await client.ask("DATA")
        await client.ask("Subject: a", "", ".")
    await settled(store)
    assert store.summary(1).inbox == "mine"
    record = last_session(store)
    assert (record.inbox, record.listener) == ("mine", "127.0.0.1:2525")


async def test_whoever_observes_is_told_and_not_waited_for(store: Store) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    seen: list[Any] = []

    def observe(session: Any, envelope: Any) -> None:
        seen.append((session.id, envelope.content))
        loop.call_soon_threadsafe(told.set)

    catcher = Catcher(store, Accounts(store), observer=observe)
    async with talking(store, catcher=catcher) as client:
        session_id = client.server.session.id
        await client.send("Subject: a")
        async with asyncio.timeout(5):
            await told.wait()
    assert seen == [(session_id, b"Subject: a\r\n")]
    assert catcher.count == 1


async def test_who_observes_is_told_one_at_a_time_and_in_order_also_after_a_failure(store: Store) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    count = 20
    seen: list[bytes] = []
    turn = threading.Lock()

    def observe(_session: Any, envelope: Any) -> None:
        assert turn.acquire(blocking=False)
        seen.append(envelope.content)
        turn.release()
        if len(seen) == count:
            loop.call_soon_threadsafe(told.set)
        if len(seen) == 2:
            raise RuntimeError("for a test")

    async with talking(store, catcher=Catcher(store, Accounts(store), observer=observe)) as client:
        for number in range(count):
            await client.send(f"Subject: {number}")
        async with asyncio.timeout(5):
            await told.wait()
    assert seen == [b"Subject: %d\r\n" % number for number in range(count)]


# Sessions


async def session_after(store: Store, *lines: str, quits: bool = True) -> SessionRecord:
    async with talking(store) as client:
        for line in lines:
            await client.ask(line)
        if quits:
            await client.ask("QUIT")
            await asyncio.wait([client.server.task])
    await settled(store)
    return last_session(store)


async def test_a_session_that_brought_a_message(store: Store) -> None:
    async with talking(store) as client:
        await client.send("Subject: a")
        open_record = Catcher(store, Accounts(store)).record(
            client.server, client.server.session, client.server.envelope
        )
        assert (open_record.outcome, open_record.ended_at, open_record.messages) == ("open", None, (1,))
        await client.ask("QUIT")
    await settled(store)
    record = last_session(store)
    assert (record.outcome, record.problem, record.messages) == ("delivered", None, (1,))
    assert not record.is_refused
    assert record.helo == "client.example"
    assert record.ended_at is not None
    assert record.transcript[-1].text == "221 2.0.0 Bye"


@pytest.mark.parametrize(
    ("lines", "quits", "outcome", "problem"),
    [
        ((), True, "idle", None),
        (("NOOP",), False, "idle", None),
        (("RCPT TO:<a@b>",), True, "refused", "RCPT was refused: 503 5.5.1"),
        (("MAIL FROM:<a",), False, "refused", "MAIL was refused: 501 5.5.4"),
        (("GET / HTTP/1.1",), True, "refused", "GET was refused: 500 5.5.1"),
        (("@@@",), True, "refused", "A line was refused: 500"),
        (("MAIL FROM:<a@b.example>",), False, "broken", "The client left amid a transaction"),
    ],
)
async def test_what_became_of_a_session_without_a_message(
    store: Store, lines: tuple[str, ...], quits: bool, outcome: str, problem: str | None
) -> None:
    record = await session_after(store, *lines, quits=quits)
    assert record.outcome == outcome
    assert (record.problem or "").startswith(problem or "")
    assert record.is_refused is (problem is not None)
    assert record.messages == ()


async def test_a_session_that_is_refused_before_its_first_command_is_recorded(store: Store) -> None:
    from ehlo.net.limits import LimitSettings

    async with talking(store, limits=LimitSettings(connections=1)) as first:
        handler = first.server.event_handler
        other = RecordingSMTP(handler, shared=first.server.shared)
        client = Client(other)
        assert (await client.hear()).startswith("421")
        await client.leave()
    await settled(store)
    records = store.sessions()
    assert sorted(record.outcome for record in records) == ["idle", "refused"]


async def test_a_session_by_login_is_that_inboxs(store: Store) -> None:
    class Anybody:
        async def check_password(self, *_: object) -> bool:
            return True

    async with talking(store, authenticator=Anybody(), auth_require_tls=False) as client:
        await client.ask("AUTH PLAIN AHVzZXIAcGFzcw==")
        await client.ask("NOOP")
    await settled(store)
    record = last_session(store)
    assert (record.login, record.inbox) == ("user", "user")
