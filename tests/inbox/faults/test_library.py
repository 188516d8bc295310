"""The ready scenarios, and faults of an inbox, as smtplib meets them."""

from __future__ import annotations

import smtplib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ehlo.inbox import Inbox
from ehlo.inbox.faults import ScenarioError, ready_text, scenario_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBJECT = "Subject: Hello\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Inbox]:
    with Inbox() as server:
        yield server


@pytest.fixture
def inbox(server: Inbox) -> Iterator[Inbox]:
    with server.new() as inbox:
        yield inbox


def send(
    inbox: Inbox,
    recipient: str = "you@example.com",
    sender: str = "me@example.com",
    size: int = 10,
    name: str = "a.example",
) -> str:
    """What becomes of a message: the code of the reply, or how the connection ended."""
    try:
        with smtplib.SMTP(inbox.host, inbox.port, name, timeout=10) as client:
            client.sendmail(sender, recipient, SUBJECT + "x" * size + "\r\n")
    except smtplib.SMTPRecipientsRefused as error:
        return str(next(iter(error.recipients.values()))[0])
    except smtplib.SMTPResponseException as error:
        return str(error.smtp_code)
    except (smtplib.SMTPServerDisconnected, ConnectionError):
        return "disconnected"
    return "250"


def test_greylisting_takes_who_comes_again(inbox: Inbox) -> None:
    text = ready_text("greylisting").replace("greylist = 5", "greylist = 0.2")
    with inbox.faults(text) as faults:
        assert send(inbox) == "451"
        assert send(inbox, "another@example.com") == "451"
        inbox.assert_none(within=0.2)
        assert send(inbox) == "250"
    inbox.wait(to="you@example.com")
    assert [entry.rule for entry in faults.fired] == ["not known yet", "not known yet"]


def test_an_overloaded_server_takes_five_messages_a_minute(inbox: Inbox) -> None:
    text = ready_text("overloaded").replace("delay = 0.5", "delay = 0.001")
    with inbox.faults(text):
        said = [send(inbox) for _ in range(30)]
    assert said.count("250") == 5
    assert said.count("450") > 15
    assert 1 <= said.count("421") <= 8
    assert set(said) == {"250", "450", "421"}


def test_an_overloaded_server_takes_no_large_message(inbox: Inbox) -> None:
    with inbox.faults("overloaded"):
        assert send(inbox, size=1_100_000) == "452"


def test_a_strict_server_looks_closely(inbox: Inbox) -> None:
    with inbox.faults("strict"):
        assert send(inbox) == "250"
        assert send(inbox, name="localhost") == "550"
        assert send(inbox, name="laptop") == "550"
        assert send(inbox, name="[127.0.0.1]") == "250"
        assert send(inbox, sender="root@localhost") == "550"
        assert send(inbox, sender="root@mail.local") == "550"
        assert send(inbox, "unknown@example.com") == "550"
        assert send(inbox, size=101_000) == "552"
    assert len(inbox.messages) == 2


def test_exchange_refuses_after_the_data(inbox: Inbox) -> None:
    with inbox.faults("exchange-like") as faults:
        assert send(inbox, "unknown@example.com") == "550"
        assert send(inbox, "full@example.com") == "554"
        assert send(inbox, "busy@example.com") == "451"
        assert send(inbox, "busy@example.com") == "250"
    assert [entry.verb for entry in faults.fired] == ["END", "END", "RCPT"]
    assert len(inbox.messages) == 1


def test_exchange_throttles_a_session(inbox: Inbox) -> None:
    with inbox.faults("exchange-like"), smtplib.SMTP(inbox.host, inbox.port, "a.example", timeout=10) as client:
        for _ in range(20):
            client.sendmail("me@example.com", "you@example.com", SUBJECT)
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            client.sendmail("me@example.com", "you@example.com", SUBJECT)
        assert caught.value.smtp_code == 421


def test_a_flaky_network_loses_connections_messages_and_replies(inbox: Inbox) -> None:
    text = ready_text("flaky").replace("stall = 1\n", "stall = 0.001\n")
    with inbox.faults(text) as faults:
        said = [send(inbox) for _ in range(60)]
    fired = [entry.rule for entry in faults.fired]
    assert set(fired) == {"reset", "broken off", "stall", "reply lost"}
    assert set(said) == {"250", "disconnected"}
    # Those whose reply was lost are there: a client that sends them again sends them twice.
    assert len(inbox.messages) == said.count("250") + fired.count("reply lost")
    with inbox.faults(text) as again:
        assert [send(inbox) for _ in range(60)] == said
    assert [entry.rule for entry in again.fired] == fired


def test_faults_end_with_the_block_and_with_stop(inbox: Inbox) -> None:
    table = {"rule": [{"verb": "MAIL", "reply": "450 4.2.0 No"}]}
    with inbox.faults(table):
        assert send(inbox) == "450"
    assert send(inbox) == "250"
    faults = inbox.faults(table)
    assert send(inbox) == "450"
    faults.stop()
    assert send(inbox) == "250"


def test_other_faults_take_the_place_of_those_before(inbox: Inbox) -> None:
    first = inbox.faults({"rule": [{"verb": "MAIL", "reply": "450 4.2.0 No"}]})
    inbox.faults({"rule": [{"verb": "MAIL", "reply": "550 5.2.0 No"}]})
    first.stop()
    assert send(inbox) == "550"


def test_faults_are_of_one_inbox_only_and_end_with_it(server: Inbox) -> None:
    with server.new() as one, server.new() as other:
        one.faults({"rule": [{"verb": "MAIL", "reply": "450 4.2.0 No"}]})
        assert (send(one), send(other)) == ("450", "250")
        port = one.port
    assert server._running.faults.scenario(port) is None


def test_faults_that_cannot_be_are_refused_and_change_nothing(inbox: Inbox) -> None:
    with pytest.raises(ScenarioError, match="rule 1: there is no key 'replly'"):
        inbox.faults({"rule": [{"replly": "450 No"}]})
    assert send(inbox) == "250"


def test_an_inbox_that_does_not_run_has_no_faults() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        Inbox().faults("flaky")


def test_the_transcript_says_what_was_a_fault(inbox: Inbox) -> None:
    with inbox.faults("greylisting"), smtplib.SMTP(inbox.host, inbox.port, "a.example", timeout=10) as client:
        client.ehlo()
        client.mail("me@example.com")
        client.rcpt("you@example.com")
        client.rset()
        client.mail("other@example.com")
        inbox.faults(scenario_of({"rule": [{"verb": "NOOP", "delay": 0.001}]}))
        client.rcpt("you@example.com")
        client.data("Hello")
    record = inbox.wait().session
    assert record is not None
    lines = [(line.by, line.text) for line in record.transcript]
    at = lines.index(("-", "fault greylisting, not known yet: reply 451 4.7.1 Greylisted, try again later"))
    by, text = lines[at - 1]
    assert (by, text.upper()) == ("C", "RCPT TO:<YOU@EXAMPLE.COM>")  # whose case is another in Python 3.13
    assert lines[at + 1] == ("S", "451 4.7.1 Greylisted, try again later")


def test_sessions_at_the_same_time_meet_the_same_faults_again(inbox: Inbox) -> None:
    verbs = ["MAIL", "RCPT", "DATA", "END"]
    scenario = {
        "seed": 3,
        "rule": [{"verb": verb, "probability": 0.3, "reply": f"45{n} 4.2.0 {verb}"} for n, verb in enumerate(verbs)],
    }

    def speak(client: smtplib.SMTP) -> list[str]:
        said = []
        for _ in range(10):
            try:
                client.sendmail("me@example.com", "you@example.com", SUBJECT)
                said.append("250")
            except smtplib.SMTPRecipientsRefused as error:
                said.append(str(next(iter(error.recipients.values()))[0]))
            except smtplib.SMTPResponseException as error:
                said.append(str(error.smtp_code))
        client.quit()
        return said

    def met() -> tuple[list[list[str]], list[list[str]]]:
        with inbox.faults(scenario) as faults, ThreadPoolExecutor(8) as threads:
            clients = [smtplib.SMTP(inbox.host, inbox.port, "a.example", timeout=10) for _ in range(8)]
            said = list(threads.map(speak, clients))
        recorded: dict[str, list[str]] = {}
        for entry in faults.fired:
            recorded.setdefault(entry.session_id, []).append(f"{entry.verb}: {entry.act}")
        return said, sorted(recorded.values())

    first = met()
    assert met() == first
    assert len({tuple(said) for said in first[0]}) > 1  # each session has its own


def rules_broken(inbox: Inbox) -> set[str]:
    return {finding.rule for finding in inbox.wait().report.findings}


def test_the_report_does_not_blame_the_client_for_what_a_fault_said(inbox: Inbox) -> None:
    table = {
        "rule": [
            {"verb": "NOOP", "reply": "503 5.5.1 Not now"},
            {"verb": "RCPT", "recipient": "bob@*", "reply": "501 5.1.3 Bad address"},
        ]
    }
    with inbox.faults(table), smtplib.SMTP(inbox.host, inbox.port, "a.example", timeout=10) as client:
        client.noop()
        client.sendmail("me@example.com", ["ann@example.com", "bob@example.com"], SUBJECT)
    assert not rules_broken(inbox) & {"out-of-order", "not-understood", "reply-ignored"}


def test_the_report_blames_the_client_where_no_fault_spoke(inbox: Inbox) -> None:
    faults = inbox.faults({"rule": [{"stall_after": 1000, "stall": 5}]})
    with smtplib.SMTP(inbox.host, inbox.port, "a.example", timeout=10) as client:
        client.ehlo()
        client.docmd("RCPT", "TO:<ann@example.com>")
        client.docmd("WHAT")
        client.sendmail("me@example.com", "ann@example.com", SUBJECT)
    assert faults.fired == []
    assert rules_broken(inbox) >= {"out-of-order", "not-understood"}
