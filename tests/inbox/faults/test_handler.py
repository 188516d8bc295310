"""What a client meets when a rule fires, and what the handler behind it sees of that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import SMTP, DataAborted, Disconnect
from ehlo.inbox.faults import FaultHandler, Faults
from tests.support import Client, Recorder, pass_time, talk, wire, with_fake_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from ehlo.session import Envelope, Session


class Fixture:
    """A recorder behind faults, and what was noted."""

    def __init__(self, *rules: dict[str, Any], inner: object | None = None) -> None:
        self.faults = Faults(clock=lambda: asyncio.get_running_loop().time())
        if rules:
            self.faults.set({"name": "test", "rule": list(rules)})
        self.recorder = Recorder() if inner is None else inner
        self.notes: list[str] = []
        self.handler = FaultHandler(self.recorder, self.faults, note=lambda _, text: self.notes.append(text))

    def talk(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        return talk(self.handler, **options)

    @property
    def contents(self) -> list[bytes | None]:
        assert isinstance(self.recorder, Recorder)
        return self.recorder.contents


DIALOGUE = ("EHLO client.example", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA")


async def codes(client: Client, *lines: str) -> list[str]:
    """The codes of the replies to the greeting and each line; "" where the connection has ended."""
    said = [(await client.hear())[:3]]
    for line in lines:
        if not said[-1]:
            break
        await client.say(*(("Hello", ".") if line == "END" else (line,)))
        said.append((await client.hear())[:3])
    return said


async def test_without_faults_everything_is_as_without_the_handler() -> None:
    fixture = Fixture()
    async with fixture.talk() as client:
        assert (await client.send("Hello")).startswith("250 2.0.0 OK queued as")
        assert await client.ask("QUIT") == "221 2.0.0 Bye"
    assert fixture.contents == [b"Hello\r\n"]
    assert isinstance(fixture.recorder, Recorder)
    assert fixture.recorder.reasons == [Disconnect.QUIT]


STAGES = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"]
FINE = ["220", "250", "250", "250", "354", "250"]
"""The codes where nothing goes wrong."""


@pytest.mark.parametrize("verb", STAGES)
async def test_a_reply_at_every_stage(verb: str) -> None:
    fixture = Fixture({"verb": verb, "reply": "450 4.2.0 Not now"})
    async with fixture.talk(is_greeted=False) as client:
        said = await codes(client, *DIALOGUE, "END")
    number = STAGES.index(verb)
    assert said[: number + 1] == [*FINE[:number], "450"]
    assert fixture.contents == []
    assert fixture.notes[0] == "fault test, rule 1: reply 450 4.2.0 Not now"


@pytest.mark.parametrize("ending", ["before", "reset"])
@pytest.mark.parametrize("verb", STAGES)
async def test_a_disconnection_at_every_stage(verb: str, ending: str) -> None:
    fixture = Fixture({"verb": verb, "disconnect": ending})
    async with fixture.talk(is_greeted=False) as client:
        said = await codes(client, *DIALOGUE, "END")
    assert said == [*FINE[: STAGES.index(verb)], ""]
    assert fixture.contents == []


@pytest.mark.parametrize("verb", STAGES)
async def test_a_421_is_the_last_word(verb: str) -> None:
    fixture = Fixture({"verb": verb, "close_with_421": True})
    async with fixture.talk(is_greeted=False) as client:
        said = await codes(client, *DIALOGUE, "END")
        assert await client.is_over()
    number = STAGES.index(verb)
    assert said[: number + 1] == [*FINE[:number], "421"]
    assert said[number + 1 :] in ([], [""])


async def test_a_disconnection_after_the_reply() -> None:
    fixture = Fixture({"verb": "END", "disconnect": "after"})
    async with fixture.talk() as client:
        assert (await client.send("Hello")).startswith("250 ")
        assert await client.is_over()
    assert fixture.contents == [b"Hello\r\n"]


async def test_a_message_that_is_taken_without_an_answer() -> None:
    fixture = Fixture({"verb": "END", "disconnect": "unanswered"})
    async with fixture.talk() as client:
        assert await client.send("Hello") == ""
    assert fixture.contents == [b"Hello\r\n"]


async def test_another_250_for_a_message_that_is_taken() -> None:
    fixture = Fixture({"verb": "END", "reply": "250 2.6.0 Mine"})
    async with fixture.talk() as client:
        assert await client.send("Hello") == "250 2.6.0 Mine"
    assert fixture.contents == [b"Hello\r\n"]


async def test_a_handler_that_refuses_is_not_overruled() -> None:
    class Full(Recorder):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # type: ignore[override]
            return "452 4.3.1 Full"

    async with Fixture({"verb": "END", "reply": "250 2.6.0 Mine"}, inner=Full()).talk() as client:
        assert await client.send("Hello") == "452 4.3.1 Full"


@with_fake_clock
async def test_a_delay() -> None:
    fixture = Fixture({"verb": "MAIL", "delay": 10})
    async with fixture.talk() as client:
        await client.say("MAIL FROM:<a@example.com>")
        await pass_time(9.5)
        assert client.said() == []
        await pass_time(1)
        assert client.said() == ["250 2.1.0 OK"]


@with_fake_clock
async def test_a_delay_ends_when_the_faults_do() -> None:
    fixture = Fixture({"verb": "MAIL", "delay": 400})
    async with fixture.talk() as client:
        await client.say("MAIL FROM:<a@example.com>")
        await pass_time(1)
        fixture.faults.clear()
        await pass_time(0.2)
        assert client.said() == ["250 2.1.0 OK"]


@with_fake_clock
async def test_a_stall_amid_the_data() -> None:
    fixture = Fixture({"stall_after": 10, "stall": 30})
    async with fixture.talk() as client:
        await client.begin()
        await client.ask("DATA")
        await client.say("12345", "67890", ".")
        await pass_time(29)
        assert client.said() == []
        await pass_time(2)
        assert client.said()[0].startswith("250 ")
    assert fixture.contents == [b"12345\r\n67890\r\n"]


@with_fake_clock
async def test_a_stall_that_is_not_reached_is_none() -> None:
    fixture = Fixture({"stall_after": 100, "stall": 30})
    async with fixture.talk() as client:
        assert (await client.send("12345")).startswith("250 ")


@pytest.mark.parametrize("stall_after", [0, 1, 7])
async def test_an_end_amid_the_data_leaves_no_message(stall_after: int) -> None:
    fixture = Fixture({"stall_after": stall_after, "disconnect": "before"})
    async with fixture.talk() as client:
        assert await client.send("12345") == ""
    assert fixture.contents == []


@with_fake_clock
async def test_data_that_are_taken_drop_by_drop() -> None:
    fixture = Fixture({"drip": 10})
    async with fixture.talk() as client:
        await client.begin()
        await client.ask("DATA")
        await client.say("12345678", "12345678", ".")
        await pass_time(1.8)
        assert client.said() == []
        await pass_time(0.5)
        assert client.said()[0].startswith("250 ")


async def test_a_fault_of_the_content_is_of_one_message_only() -> None:
    fixture = Fixture({"attempt": "1", "stall_after": 0, "disconnect": "after"}, {"verb": "NOOP", "delay": 0.001})
    async with fixture.talk() as client:
        assert (await client.ask("DATA")).startswith("503 ")
        assert (await client.send("12345")).startswith("250 ")
        assert await client.is_usable()


async def test_a_message_in_chunks_is_asked_about_at_its_first() -> None:
    fixture = Fixture({"verb": "BDAT", "attempt": "2", "reply": "450 4.2.0 Second"})
    async with fixture.talk() as client:
        for expected in ("250 2.0.0 OK", "450 4.2.0 Second"):
            await client.begin()
            await client.feed(b"BDAT 2\r\nhi")
            if expected.startswith("450"):
                assert await client.hear() == expected
                break
            assert (await client.hear()).startswith("250 ")
            await client.feed(b"BDAT 2 LAST\r\n\r\n")
            assert (await client.hear()).startswith(expected)
    assert fixture.contents == [b"hi\r\n"]


async def test_chunks_behind_a_refused_one_are_not_the_first_of_another_message() -> None:
    fixture = Fixture({"verb": "BDAT", "attempt": "1-2", "reply": "451 4.3.0 Come again"})
    async with fixture.talk() as client:
        for expected in ("451", "451", "250"):
            await client.begin()
            await client.feed(b"BDAT 2\r\nhiBDAT 2 LAST\r\n\r\n")
            first, second = await client.hear(), await client.hear()
            assert (first[:3], second[:3]) == (expected, "250" if expected == "250" else "503")
    assert fixture.faults.log.count == 2


async def test_what_a_refused_command_announced_is_not_done_at_a_later_one() -> None:
    fixture = Fixture({"stall_after": 0, "disconnect": "reset"}, {"hide": "SIZE"})
    async with fixture.talk(is_greeted=False) as client:
        await client.hear()
        assert await client.ask("EHLO") == "501 Syntax: EHLO hostname"
        fixture.faults.clear()
        assert "SIZE" in await client.ask("EHLO a.example")
        fixture.faults.set({"rule": [{"stall_after": 0, "disconnect": "reset"}]})
        assert (await client.ask("DATA")).startswith("503 ")
        fixture.faults.clear()
        assert (await client.send("Hello")).startswith("250 ")
    assert fixture.notes == []


async def test_what_ehlo_offers_is_hidden() -> None:
    fixture = Fixture({"hide": ["chunking", "SIZE"], "attempt": "1"})
    async with fixture.talk(is_greeted=False) as client:
        await client.hear()
        hidden, shown = await client.ask("EHLO a.example"), await client.ask("EHLO a.example")
        assert ("CHUNKING" in hidden, "SIZE" in hidden, "PIPELINING" in hidden) == (False, False, True)
        assert ("CHUNKING" in shown, "SIZE" in shown) == (True, True)


async def test_tls_that_is_refused_and_tls_that_breaks() -> None:
    fixture = Fixture({"tls": "refuse", "attempt": "1"}, {"tls": "break"})
    async with fixture.talk() as client:
        assert await client.ask("STARTTLS") == "454 4.7.0 TLS not available"
        assert await client.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
        assert await client.is_over()


async def test_a_quit_that_is_answered_otherwise_ends_the_session_all_the_same() -> None:
    async with Fixture({"verb": "QUIT", "reply": "421 4.3.0 Whatever"}).talk() as client:
        assert await client.ask("QUIT") == "421 4.3.0 Whatever"
        assert await client.is_over()


async def test_what_the_rules_are_held_against() -> None:
    rules: list[dict[str, Any]] = [
        {"verb": "MAIL", "sender": "bad@*", "reply": "450 4.0.1 Sender"},
        {"verb": "MAIL", "size_over": 100, "reply": "450 4.0.2 Size"},
        {"verb": "RCPT", "sender": "ann@*", "recipient": "full@*", "reply": "450 4.0.3 Recipient"},
        {"verb": "RSET", "helo": "client.*", "reply": "450 4.0.4 Helo"},
        {"verb": "END", "recipient": "bob@*", "size_over": 10, "reply": "450 4.0.5 End"},
        {"verb": "NOOP", "peer": "192.0.2.0/24", "reply": "450 4.0.6 Peer"},
    ]
    async with Fixture(*rules).talk(extra={"peername": ("192.0.2.7", 40000)}) as client:
        assert await client.ask("MAIL FROM:<bad@example.com>") == "450 4.0.1 Sender"
        assert await client.ask("MAIL FROM:<ann@example.com> SIZE=101") == "450 4.0.2 Size"
        assert await client.ask("MAIL FROM:<ann@example.com> SIZE=100") == "250 2.1.0 OK"
        assert await client.ask("RCPT TO:<full@example.com>") == "450 4.0.3 Recipient"
        assert await client.ask("RCPT TO:<bob@example.com>") == "250 2.1.5 OK"
        assert await client.ask("RSET") == "450 4.0.4 Helo"
        assert await client.ask("NOOP") == "450 4.0.6 Peer"
        await client.ask("DATA")
        assert await client.ask("123456789", ".") == "450 4.0.5 End"
        assert (await client.send("1234")).startswith("250 ")


async def test_what_fired_is_recorded() -> None:
    fixture = Fixture({"name": "no bob", "verb": "RCPT", "recipient": "bob@*", "reply": "550 5.1.1 No"})
    async with fixture.talk() as client:
        await client.say("MAIL FROM:<ann@example.com>", "RCPT TO:<bob@example.com>", "RCPT TO:<eve@example.com>")
        await client.hear()
        session_id = client.server.session.id
    (entry,) = fixture.faults.log.entries()
    assert (entry.scenario, entry.rule, entry.verb, entry.act) == ("test", "no bob", "RCPT", "reply 550 5.1.1 No")
    assert (entry.session_id, entry.sender, entry.recipients) == (session_id, "ann@example.com", ("bob@example.com",))
    assert fixture.faults.log.count == 1
    fixture.faults.log.clear()
    assert fixture.faults.log.entries() == []


async def test_a_handler_that_streams_learns_that_the_message_is_refused() -> None:
    class Streaming:
        def __init__(self) -> None:
            self.seen: list[bytes] = []

        async def handle_DATA_STREAM(
            self, server: SMTP, session: Session, envelope: Envelope, chunks: AsyncIterator[bytes]
        ) -> str:
            try:
                self.seen += [chunk async for chunk in chunks]
            except DataAborted:
                self.seen.append(b"aborted")
                raise
            return "250 2.0.0 Streamed"

    inner = Streaming()
    async with Fixture({"verb": "END", "attempt": "1", "reply": "450 4.2.0 No"}, inner=inner).talk() as client:
        assert await client.send("Hello") == "450 4.2.0 No"
        assert await client.send("World") == "250 2.0.0 Streamed"
    assert inner.seen == [b"aborted", b"World\r\n"]


async def test_hooks_of_the_handler_behind_it_are_called_plain_ones_too() -> None:
    class Inner:
        honours = frozenset({"DSN"})

        def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            return "220 mine"

        def handle_COMMAND(
            self, server: SMTP, session: Session, envelope: Envelope, verb: str, arg: str | None
        ) -> str | None:
            return "250 2.0.0 mine" if verb == "NOOP" else None

        async def handle_EHLO(
            self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
        ) -> list[str]:
            return [*lines, "X-MINE"]

        async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
            return "250 2.1.5 mine"

    async with Fixture({"hide": "DSN"}, inner=Inner()).talk(is_greeted=False) as client:
        assert await client.hear() == "220 mine"
        offer = await client.ask("EHLO a.example")
        assert "X-MINE" in offer
        assert "DSN" not in offer
        assert await client.ask("NOOP") == "250 2.0.0 mine"
        assert await client.ask("VRFY x") == "250 2.1.5 mine"


async def test_faults_of_one_listener_are_not_those_of_another() -> None:
    fixture = Fixture({"verb": "NOOP", "reply": "450 4.0.0 All"})
    fixture.faults.set({"rule": [{"verb": "NOOP", "reply": "450 4.0.0 One"}]}, port=2525)
    for port, expected in ((25, "450 4.0.0 All"), (2525, "450 4.0.0 One")):
        async with fixture.talk(extra={"sockname": ("127.0.0.1", port)}) as client:
            assert await client.ask("NOOP") == expected
    fixture.faults.clear(port=2525)
    fixture.faults.clear()
    assert fixture.faults.scenario() is None


async def test_pipelined_commands_behind_a_refused_data_are_not_run() -> None:
    fixture = Fixture({"verb": "DATA", "reply": "451 4.3.0 Later"})
    async with fixture.talk() as client:
        await client.feed(wire("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA", "RSET", "."))
        replies = await client.hear_all()
    assert [reply[:3] for reply in replies] == ["250", "250", "451", "421"]
