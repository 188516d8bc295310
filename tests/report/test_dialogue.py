from __future__ import annotations

import pytest

from ehlo.report.dialogue import RIGHT, Dialogue, Exchange, spoken


def only(dialogue: Dialogue) -> Exchange:
    (exchange,) = dialogue.exchanges
    return exchange


def test_the_first_line_of_the_server_is_the_greeting() -> None:
    greeting = RIGHT.greeting

    assert greeting is not None
    assert greeting.text == "220 mx.receiver.example ESMTP"


def test_a_session_without_a_line_has_neither_greeting_nor_exchanges() -> None:
    assert Dialogue(()).greeting is None
    assert Dialogue(()).exchanges == ()


def test_an_exchange_is_a_command_with_every_line_of_its_reply() -> None:
    exchange = only(spoken("S: 220 mx", "C: ehlo client.example", "S: 250-mx", "S: 250 PIPELINING"))

    assert (exchange.verb, exchange.arg) == ("EHLO", "client.example")
    assert exchange.replies == ("250-mx", "250 PIPELINING")
    assert exchange.code == "250"
    assert exchange.place == "command 1, EHLO"


def test_answers_to_a_challenge_are_no_commands() -> None:
    exchange = only(spoken("S: 220 mx", "C: AUTH LOGIN", "S: 334 ", "C: QUIT", "S: 334 ", "C: x", "S: 235 OK"))

    assert exchange.verb == "AUTH"
    assert exchange.code == "235"


def test_what_nobody_said_is_a_note_of_the_command_before_it() -> None:
    data = RIGHT.of("DATA")

    assert [one.notes for one in data] == [("100 octets of mail data",)]


def test_a_command_that_came_before_the_reply_to_the_one_before_it_is_ahead() -> None:
    first, second = spoken("S: 220 mx", "C: NOOP", "S: 250 OK", "C! NOOP", "S: 250 OK").exchanges

    assert not first.is_ahead
    assert second.is_ahead


def test_a_reply_is_refused_temporarily_or_for_good() -> None:
    commands = spoken("S: 220 mx", "C: A", "S: 250 OK", "C: B", "S: 450 No", "C: D", "S: 550 No", "C: E").exchanges

    assert [one.is_refused for one in commands] == [False, True, True, False]


def test_a_reply_that_the_server_was_told_to_give_is_a_fault() -> None:
    assert only(spoken("S: 220 mx", "C: NOOP", "-: fault x, y: reply 450 No", "S: 450 No")).is_fault
    assert not only(spoken("S: 220 mx", "C: NOOP", "S: 450 No")).is_fault


def test_a_fault_that_only_delays_excuses_no_reply() -> None:
    assert not only(spoken("S: 220 mx", "C: DATA", "-: fault x, y: delay 1 s", "S: 503 No")).is_fault


def test_an_exchange_knows_whether_it_was_under_tls() -> None:
    handshake = ("C: STARTTLS", "S: 220 Go", "-: TLS: TLSv1.3")

    assert [one.has_tls for one in spoken("S: 220 mx", *handshake, "C: NOOP").exchanges] == [False, True]
    assert only(spoken("-: TLS: TLSv1.3", "S: 220 mx", "C: NOOP")).has_tls
    assert not any(one.has_tls for one in RIGHT.exchanges)


def test_an_asterisk_cancels_a_challenge() -> None:
    login = ("S: 220 mx", "C: AUTH LOGIN", "S: 334 ")

    assert only(spoken(*login, "C: *", "S: 501 Cancelled")).is_cancelled
    assert not only(spoken(*login, "C: x", "S: 501 What")).is_cancelled


@pytest.mark.parametrize("note", ["bare LF in a line", "bare CR or NUL in a line", "a line of more than 512 octets"])
def test_a_line_that_could_not_be_read_has_a_reply_of_its_own(note: str) -> None:
    before, unread = spoken("S: 220 mx", "C: NOOP", "S: 250 OK", f"-: {note}", "S: 500 What").exchanges

    assert before.code == "250"
    assert (unread.command, unread.verb, unread.code, unread.place) == (note, "", "500", "command 2")
