from __future__ import annotations

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
    assert only(spoken("S: 220 mx", "C: NOOP", "-: fault x, y: reply", "S: 450 No")).is_fault
    assert not only(spoken("S: 220 mx", "C: NOOP", "S: 450 No")).is_fault


def test_a_handshake_is_tls() -> None:
    assert spoken("S: 220 mx", "C: STARTTLS", "S: 220 Go", "-: TLS: TLSv1.3").has_tls
    assert not RIGHT.has_tls
