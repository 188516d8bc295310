"""What tests ask for most, with the rules that the page gives, as an application with smtplib meets it."""

from __future__ import annotations

import re
import smtplib
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ehlo.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[3] / "docs" / "faults.md").read_text()
TABLE = PAGE.partition("What tests ask for most:")[2].partition("In a dict")[0]
# A first column, and the keys in the second one.
RECIPES = {
    row[1].strip(): re.findall(r"`([a-z_0-9]+ = [^`]+)`", row[2])
    for line in TABLE.splitlines()
    if len(row := line.split("|")) == 4 and "`" in line
}


def recipe(words: str, **top: int) -> str:
    """The scenario of the row with these words."""
    [keys] = [keys for what, keys in RECIPES.items() if words in what]
    return "\n".join([*(f"{key} = {value}" for key, value in top.items()), "[[rule]]", *keys])


@pytest.fixture(scope="module")
def server() -> Iterator[Inbox]:
    with Inbox() as server:
        yield server


@pytest.fixture
def inbox(server: Inbox) -> Iterator[Inbox]:
    with server.new() as inbox:
        yield inbox


def connect(inbox: Inbox, seconds: float = 10) -> smtplib.SMTP:
    return smtplib.SMTP(inbox.host, inbox.port, "app.example", timeout=seconds)


def send(client: smtplib.SMTP, *recipients: str) -> dict[str, tuple[int, bytes]]:
    return client.sendmail("app@example.org", recipients or ["you@example.com"], "Subject: Hello\r\n\r\nHello\r\n")


def code(inbox: Inbox) -> int:
    """Of what a message is answered, in a session of its own."""
    with connect(inbox) as client:
        try:
            send(client)
        except smtplib.SMTPRecipientsRefused as error:
            return next(iter(error.recipients.values()))[0]
        except smtplib.SMTPResponseException as error:
            return error.smtp_code
    return 250


def test_greylisting_then_success_on_the_second_attempt(inbox: Inbox) -> None:
    with inbox.faults(recipe("refuses first")) as faults:
        assert [code(inbox), code(inbox)] == [451, 250]
    assert [entry.act for entry in faults.fired] == ["reply 451 4.7.1 Greylisted"]
    inbox.wait(to="you@example.com")


def test_a_full_mailbox_for_one_recipient_of_three(inbox: Inbox) -> None:
    with inbox.faults(recipe("no room")), connect(inbox) as client:
        refused = send(client, "ann@example.com", "bob@example.com", "eve@example.com")
    assert {who: said[0] for who, said in refused.items()} == {"bob@example.com": 452}
    inbox.wait(to="eve@example.com")


def test_a_server_that_goes_down_between_two_messages(inbox: Inbox) -> None:
    with inbox.faults(recipe("goes down")), connect(inbox) as client:
        send(client)
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            send(client)
    assert caught.value.smtp_code == 421
    assert len(inbox.messages) == 1


def test_a_server_that_stalls_for_longer_than_the_client_waits(inbox: Inbox) -> None:
    began = time.monotonic()
    with inbox.faults(recipe("stalls")) as faults:
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)), connect(inbox, seconds=0.3) as client:
            send(client)
        assert [entry.act for entry in faults.fired] == ["stall 60 s after 1 octets"]
    inbox.assert_none(within=0.3)
    assert time.monotonic() - began < 10


def test_tls_that_fails() -> None:
    with Inbox(tls=True) as inbox, inbox.faults(recipe("broken TLS")) as faults, connect(inbox) as client:
        with pytest.raises((ssl.SSLError, OSError)):
            client.starttls()
        client.close()
        assert [entry.act for entry in faults.fired] == ["break TLS"]


def test_one_message_in_twenty_is_refused_and_the_same_ones_again(inbox: Inbox) -> None:
    outcomes = []
    for _ in range(2):
        with inbox.faults(recipe("5 %", seed=7)):
            outcomes.append([code(inbox) for _ in range(60)])
    assert outcomes[0] == outcomes[1]
    assert 1 <= outcomes[0].count(451) <= 8


def test_more_than_three_messages_in_ten_seconds(inbox: Inbox) -> None:
    with inbox.faults(recipe("three messages in ten")):
        assert [code(inbox) for _ in range(5)] == [250, 250, 250, 450, 450]


def test_every_recipe_was_tried() -> None:
    assert len(RECIPES) == 7
