"""The record of faults: what happened, when it happened, and nothing else."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

from ehlo.inbox.faults import FaultHandler, Faults
from tests.support import Nothing, Recorder, pass_time, talk, with_fake_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from ehlo import SMTP
    from ehlo.session import Envelope, Session
    from tests.support import Client


class Fixture:
    """Faults before a recorder, and their notes."""

    def __init__(self, *rules: dict[str, Any], inner: object | None = None) -> None:
        self.faults = Faults()
        self.faults.set({"name": "test", "rule": list(rules)})
        self.notes: list[str] = []
        handler = Recorder() if inner is None else inner
        self.handler = FaultHandler(handler, self.faults, note=lambda _, text: self.notes.append(text))

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Client]:
        """For rules with regular expressions: the faults are closed in the end."""
        with closing(self.faults):
            async with talk(self.handler) as client:
                yield client

    @property
    def acts(self) -> list[str]:
        return [entry.act for entry in self.faults.log.entries()]


async def test_a_stall_that_was_not_reached_is_not_recorded_and_the_transcript_says_so() -> None:
    fixture = Fixture({"name": "later", "stall_after": 100, "stall": 30, "disconnect": "reset"})
    async with talk(fixture.handler) as client:
        assert (await client.send("12345")).startswith("250 ")
        assert await client.is_usable()
    assert fixture.acts == []
    assert fixture.faults.log.count == 0
    assert fixture.notes == ["no fault test, later: the mail data ended after 7 octets"]


@with_fake_clock
async def test_a_stall_is_recorded_when_it_begins() -> None:
    fixture = Fixture({"stall_after": 5, "stall": 30, "disconnect": "reset"})
    async with talk(fixture.handler) as client:
        await client.begin()
        await client.ask("DATA")
        assert fixture.acts == []
        await client.say("1234567890", ".")
        await pass_time(1)
        assert fixture.acts == ["stall 30 s after 5 octets"]
        await pass_time(30)
        assert fixture.acts == ["stall 30 s after 5 octets, disconnect reset after 5 octets"]
    assert fixture.notes == [
        "fault test, rule 1: stall 30 s after 5 octets",
        "fault test, rule 1: disconnect reset after 5 octets",
    ]


@with_fake_clock
async def test_a_pause_that_the_client_did_not_await_says_how_long_it_was() -> None:
    fixture = Fixture({"verb": "MAIL", "delay": 400, "reply": "450 4.2.0 No"})
    async with talk(fixture.handler) as client:
        await client.say("MAIL FROM:<a@example.com>")
        await pass_time(2)
        await client.leave()
    assert fixture.acts in (
        ["delay 400 s, ended after 2.0 s: the client had gone"],
        ["delay 400 s, ended after 2.1 s: the client had gone"],
    )


@with_fake_clock
async def test_a_pause_that_was_taken_away_says_so() -> None:
    fixture = Fixture({"verb": "MAIL", "delay": 400})
    async with talk(fixture.handler) as client:
        await client.say("MAIL FROM:<a@example.com>")
        await pass_time(1)
        fixture.faults.clear()
        await pass_time(0.2)
    assert fixture.acts[0].endswith(": the faults ended")


async def test_each_act_has_its_time() -> None:
    fixture = Fixture({"verb": "NOOP", "delay": 0.15, "reply": "450 4.2.0 No", "disconnect": "after"})
    before = time.time()
    async with talk(fixture.handler) as client:
        await client.ask("NOOP")
    (entry,) = fixture.faults.log.entries()
    assert [act.text for act in entry.acts] == ["delay 0.15 s", "reply 450 4.2.0 No", "disconnect after"]
    assert before <= entry.at == entry.acts[0].at <= entry.acts[1].at - 0.1 <= time.time()


async def test_what_was_not_offered_is_not_hidden() -> None:
    fixture = Fixture({"hide": ["REQUIRETLS", "SIZE"], "attempt": "1"}, {"hide": "REQUIRETLS"})
    async with talk(fixture.handler) as client:  # which says EHLO
        await client.ask("EHLO again.example")
    assert fixture.acts == ["hide SIZE"]
    assert fixture.notes[1:] == ["no fault test, rule 2: none of that was offered"]


async def test_a_yes_to_what_was_refused_was_not_said() -> None:
    class Full(Nothing):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            return "452 4.3.1 Full"

    fixture = Fixture({"verb": "END", "reply": "250 2.6.0 Mine"}, inner=Full())
    async with talk(fixture.handler) as client:
        assert await client.send("Hello") == "452 4.3.1 Full"
    assert fixture.acts == []
    assert fixture.notes == ["no fault test, rule 1: the message was refused"]


async def test_a_fault_amid_data_that_never_came_is_not_recorded() -> None:
    fixture = Fixture({"drip": 10})
    async with talk(fixture.handler) as client:
        assert (await client.ask("DATA")).startswith("503 ")
        assert await client.is_usable()
    assert fixture.acts == []


async def test_a_connection_that_ends_after_a_message_in_chunks_ends_after_all_of_them() -> None:
    fixture = Fixture({"verb": "BDAT", "disconnect": "after"})
    async with talk(fixture.handler) as client:
        await client.begin()
        await client.feed(b"BDAT 2\r\nhi")
        assert (await client.hear()).startswith("250 ")
        assert fixture.acts == []
        await client.feed(b"BDAT 2 LAST\r\n\r\n")
        assert (await client.hear()).startswith("250 ")
        assert await client.is_over()
    assert fixture.acts == ["disconnect after"]


async def test_the_notes_of_a_session_explain_the_record() -> None:
    rules = [
        {"name": name, "verb": verb, "probability": 0.5, "reply": "450 4.2.0 No"}
        for name, verb in (("mail", "MAIL"), ("rcpt", "RCPT"), ("noop", "NOOP"))
    ]
    fixture = Fixture(*rules)
    async with talk(fixture.handler) as client:
        for _ in range(10):
            for line in ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "NOOP", "RSET"):
                await client.ask(line)
    told = [f"fault test, {entry.rule}: {entry.act}" for entry in fixture.faults.log.entries()]
    assert told == fixture.notes
    assert 5 < len(told) < 25


async def test_what_is_said_of_a_message_that_is_taken_comes_before_the_end() -> None:
    fixture = Fixture({"verb": "END", "reply": "250 2.0.0 Mine", "disconnect": "after"})
    async with talk(fixture.handler) as client:
        assert await client.send("Hello") == "250 2.0.0 Mine"
        assert await client.hear() == ""
    assert fixture.acts == ["reply 250 2.0.0 Mine, disconnect after"]


SLOW = "/^(a+)+$/"
TRAP = "a" * 40 + "!@example.com"


async def test_a_pattern_that_takes_for_ever_holds_up_no_other_session(caplog: pytest.LogCaptureFixture) -> None:
    fixture = Fixture({"name": "trap", "verb": "MAIL", "sender": SLOW, "reply": "450 4.2.0 No"})
    async with fixture.talk() as trapped, talk(fixture.handler) as other:
        await trapped.say(f"MAIL FROM:<{TRAP}>")
        slowest, asked = 0.0, 0
        while not trapped.said():
            began = time.monotonic()
            assert await other.is_usable()
            slowest, asked = max(slowest, time.monotonic() - began), asked + 1
        assert asked > 10
        assert slowest < 0.45  # the search is given up after half a second
    assert fixture.acts == []
    assert fixture.notes == ["no fault test, trap: the search for a regular expression took too long"]


async def test_a_regular_expression_fires_where_it_is_found() -> None:
    fixture = Fixture(
        {"verb": "MAIL", "sender": "/^no-?reply@/", "reply": "450 4.2.0 No"},
        {"verb": "RCPT", "recipient": ["bob@*", "/^x{3}/"], "reply": "450 4.2.0 Nor this"},
    )
    async with fixture.talk() as client:
        assert (await client.ask("MAIL FROM:<NoReply@example.com>")).startswith("450 ")
        assert (await client.ask("MAIL FROM:<reply@example.com>")).startswith("250 ")
        assert (await client.ask("RCPT TO:<xxx@example.com>")).startswith("450 ")
        assert (await client.ask("RCPT TO:<bob@example.com>")).startswith("450 ")
        assert (await client.ask("RCPT TO:<xx@example.com>")).startswith("250 ")


async def test_faults_that_end_while_a_pattern_is_looked_for_do_nothing_more() -> None:
    fixture = Fixture({"verb": "MAIL", "sender": SLOW, "reply": "450 4.2.0 No"}, {"verb": "MAIL", "delay": 0.001})
    async with fixture.talk() as client:
        await client.say(f"MAIL FROM:<{TRAP}>")
        await asyncio.sleep(0)
        fixture.faults.clear()
        assert (await client.hear()).startswith("250 ")
    assert fixture.acts == []
