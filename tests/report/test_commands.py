from __future__ import annotations

import pytest

from ehlo.report import Severity, check
from ehlo.report.dialogue import Dialogue, spoken
from ehlo.report.examples import mail

GREETING = "S: 220 mx.receiver.example ESMTP"
HELLO = (GREETING, "C: EHLO client.sender.example", "S: 250 mx.receiver.example")
QUIT = ("C: QUIT", "S: 221 2.0.0 Bye")


OFFER = ("C: EHLO mx.sender.example", "S: 250-mx.receiver.example", "S: 250-PIPELINING", "S: 250 STARTTLS")
TLS = (
    "C: STARTTLS",
    "S: 220 2.0.0 Go ahead",
    "-: TLS: TLSv1.3, TLS_AES_256_GCM_SHA384",
    *OFFER[:-1],
    "S: 250 AUTH PLAIN",
)
GROUP = (
    "C: MAIL FROM:<> SIZE=100 BODY=8BITMIME",
    "S: 250 2.1.0 OK",
    "C! RCPT TO:<postmaster>",
    "S: 250 2.1.5 OK",
    "C! DATA",
)
CONTENT = ("S: 354 Go ahead", "-: 100 octets of mail data", "S: 250 2.0.0 OK")
RIGHT = {
    "Postfix": (GREETING, *OFFER, *TLS, *GROUP, *CONTENT, "C! QUIT", "S: 221 2.0.0 Bye"),
    "two messages": (GREETING, *OFFER, *TLS, *GROUP, *CONTENT, *GROUP, *CONTENT, *QUIT),
    "TLS from the beginning": ("-: TLS: TLSv1.3", GREETING, *OFFER[:-1], "S: 250 SIZE", *GROUP, *CONTENT, *QUIT),
    "chunks": (
        *(GREETING, *OFFER, *TLS, *GROUP[:-1], "C! BDAT 50", "-: 50 octets of mail data", "S: 250 2.0.0 OK"),
        *("C! BDAT 50 LAST", "-: 50 octets of mail data", "S: 250 2.0.0 OK", *QUIT),
    ),
    "a login in one line": (
        GREETING,
        *OFFER,
        *TLS,
        "C: AUTH PLAIN AGEAYg==",
        "S: 235 2.7.0 OK",
        *GROUP,
        *CONTENT,
        *QUIT,
    ),
    "a login that fails": (
        *(GREETING, *OFFER, *TLS, "C: AUTH XOAUTH2 eA==", "S: 334 eyJz", "C: ", "S: 535 5.7.8 No"),
        *(
            "C: AUTH LOGIN",
            "S: 334 VXNlcm5hbWU6",
            "C: YQ==",
            "S: 334 UGFzc3dvcmQ6",
            "C: Yg==",
            "S: 235 2.7.0 OK",
            *QUIT,
        ),
    ),
    "a server that knows no EHLO": (
        GREETING,
        "C: EHLO mx.sender.example",
        "S: 502 5.5.1 What",
        "C: HELO mx.sender.example",
        "S: 250 mx",
        *QUIT,
    ),
    "a recipient that is refused": (
        *(
            GREETING,
            *OFFER,
            *TLS,
            *GROUP[:3],
            "S: 450 4.2.1 Later",
            "C! RCPT TO:<bob@receiver.example>",
            "S: 250 2.1.5 OK",
        ),
        *("C! DATA", *CONTENT, *QUIT),
    ),
    "greylisting": (GREETING, *OFFER, *TLS, *GROUP[:3], "S: 450 4.2.1 Later", "C: RSET", "S: 250 2.0.0 OK", *QUIT),
    "a name of one's own": (GREETING, "C: EHLO [IPv6:2001:db8::1]", "S: 250 mx", "C: NOOP", "S: 250 2.0.0 OK", *QUIT),
    "a login that is cancelled": (
        *(GREETING, *OFFER, *TLS, "C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: *", "S: 501 5.7.0 Cancelled"),
        *(*GROUP, *CONTENT, *QUIT),
    ),
    "an address with quotation marks": (
        *(GREETING, *OFFER, *TLS, 'C: MAIL FROM:<"a>\\"b"@sender.example> SIZE=1', "S: 250 2.1.0 OK", *QUIT),
    ),
    "a greeting that says no": ("S: 554 No mail here", *QUIT),
    "LMTP": (
        *(
            GREETING,
            "C: LHLO mx.sender.example",
            "S: 250-mx",
            "S: 250 PIPELINING",
            *GROUP,
            *CONTENT,
            "S: 550 5.1.1 No",
            *QUIT,
        ),
    ),
}


@pytest.mark.parametrize("title", RIGHT)
def test_a_right_client_has_no_error_and_no_warning(title: str) -> None:
    findings = check(mail(), spoken(*RIGHT[title])).findings

    assert [str(one) for one in findings if one.severity is not Severity.NOTICE] == []


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


def rules(*lines: str) -> set[str]:
    return {one.rule for one in check(mail(), spoken(*lines)).findings if one.severity is not Severity.NOTICE}


MAIL = ("C: MAIL FROM:<anna@sender.example>", "S: 250 OK")
RCPT = ("C: RCPT TO:<bob@receiver.example>", "S: 250 OK")


@pytest.mark.parametrize("greeting", ["S: 554 No mail here", "S: 421 Later"])
def test_a_greeting_that_says_no_is_a_reply_too(greeting: str) -> None:
    assert "reply-ignored" in rules(greeting, "C: EHLO mx.sender.example", "S: 503 No")


def test_a_second_mail_does_not_refuse_the_first() -> None:
    found = rules(*HELLO, *MAIL, *MAIL[:1], "S: 503 5.5.1 Not now", *RCPT, "C: DATA", *CONTENT, *QUIT)

    assert found == {"out-of-order"}


def test_data_without_any_recipient_is_out_of_order_and_ignores_nothing() -> None:
    assert rules(*HELLO, *MAIL, "C: DATA", "S: 503 5.5.1 Say RCPT", *QUIT) == {"out-of-order"}


def test_the_size_of_a_message_in_chunks_is_that_of_all_of_them() -> None:
    chunks = [
        *("C: BDAT 50", "-: 50 octets of mail data", "S: 250 OK"),
        *("C: BDAT 50 LAST", "-: 50 octets of mail data", "S: 250 OK"),
    ]
    (text,) = texts(
        spoken(*HELLO, "C: MAIL FROM:<a@sender.example> SIZE=99", "S: 250 OK", *RCPT, *chunks, *QUIT), "wrong-size"
    )

    assert "brought 100 octets" in text


def test_a_password_before_starttls_was_in_the_clear() -> None:
    assert "clear-password" in rules(GREETING, *OFFER, "C: AUTH PLAIN x", "S: 235 OK", *TLS, *QUIT)


def test_a_command_with_a_bare_lf_is_found_and_blames_no_other() -> None:
    session = spoken(*HELLO, *MAIL, "-: bare LF in a line", "S: 500 5.5.2 Lines must end with CRLF", *QUIT)

    (found,) = check(mail(), session).findings
    assert (found.rule, found.place) == ("not-understood", "command 3")
    assert "Lines must end with CRLF" in found.text


def test_a_fault_that_only_delays_does_not_excuse_what_the_server_says_by_itself() -> None:
    assert "out-of-order" in rules(*HELLO, "C: DATA", "-: fault slow, one: delay 1 s", "S: 503 Say MAIL", *QUIT)


def test_who_got_no_tls_cannot_take_leave() -> None:
    session = spoken(GREETING, *OFFER, "C: STARTTLS", "S: 220 Go", "-: TLS failed: no shared cipher")

    assert texts(session, "no-quit") == []
