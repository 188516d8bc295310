from __future__ import annotations

import pytest

from ehlo.report import check
from ehlo.report.dialogue import Dialogue, spoken
from ehlo.report.examples import mail

GREETING = "S: 220 mx.receiver.example ESMTP"
HELLO = (GREETING, "C: EHLO client.sender.example", "S: 250 mx.receiver.example")
QUIT = ("C: QUIT", "S: 221 2.0.0 Bye")


def texts(dialogue: Dialogue, rule: str) -> list[str]:
    return [one.text for one in check(mail(), dialogue).findings if one.rule == rule]


@pytest.mark.parametrize(
    "name",
    [
        "mx.sender.example",
        "a-b.sender.example",
        "xn--mller-kva.example",
        "[192.0.2.1]",
        "[IPv6:2001:db8::1]",
        "[ipv6:::1]",
    ],
)
def test_a_client_is_named_by_its_domain_or_its_address(name: str) -> None:
    assert texts(spoken(GREETING, f"C: EHLO {name}", "S: 250 mx.receiver.example", *QUIT), "helo-name") == []


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("127.0.0.1", "say [127.0.0.1]"),
        ("2001:db8::1", "say [IPv6:2001:db8::1]"),
        ("[::1]", "say [IPv6:::1]"),
        ("[IPv6:192.0.2.1]", "say [192.0.2.1]"),
        ("localhost", "say its full domain name"),
        ("my_host.sender.example", "say its full domain name"),
        ("mx.sender.example.", "say its full domain name"),
        ("[client.sender.example]", "say its full domain name"),
        ("", "say its full domain name"),
    ],
)
def test_another_name_is_told_what_to_say(name: str, advice: str) -> None:
    (text,) = texts(spoken(GREETING, f"C: EHLO {name}", "S: 250 mx.receiver.example", *QUIT), "helo-name")

    assert advice in text


@pytest.mark.parametrize(
    "lines",
    [
        ("C: NOOP", "S: 421 4.3.2 Going down", *QUIT),
        ("C: NOOP", "S: 250 OK", "S: 421 4.4.2 Timed out", "C: MAIL FROM:<a@sender.example>"),
        ("C: NOOP", "S: 250-One", "S: 250 Two", "S: 421 4.4.2 Timed out", "C: NOOP"),
    ],
)
def test_a_client_may_leave_and_may_not_have_read_a_421_of_its_own_accord(lines: tuple[str, ...]) -> None:
    assert texts(spoken(*HELLO, *lines), "goes-on-after-421") == []


@pytest.mark.parametrize(
    "lines",
    [
        ("C: NOOP", "S: 421 4.3.2 Going down", "C: NOOP"),
        ("C: NOOP", "S: 421-4.3.2 Going", "S: 421 4.3.2 down", "C: NOOP"),
        ("C: DATA", "S: 354 Go ahead", "S: 421 4.3.2 Going down", "C: NOOP"),
    ],
)
def test_a_421_that_answers_ends_the_session(lines: tuple[str, ...]) -> None:
    assert texts(spoken(*HELLO, *lines), "goes-on-after-421") != []


def test_a_reply_is_quoted_safely() -> None:
    (text,) = texts(spoken(*HELLO, "C: DATA", "S: 503 \x1b[31m" + "x" * 500, *QUIT), "out-of-order")

    assert "\x1b" not in text
    assert len(text) < 200
