from __future__ import annotations

import pytest

from ehlo.protocol.sasl import Authorize, CheckPassword, Context
from tests.protocol.sasl.driver import Answers, Record, converse, says

INVALID = "535 5.7.8 Authentication credentials invalid"
MALFORMED = "501 5.5.2 Malformed authentication response"


def knows(user: str, password: str) -> Answers:
    return {CheckPassword: lambda question: (question.user, question.password) == (user, password)}


TIM = knows("tim", "tanstaaftanstaaf")


def plain(response: bytes, answers: Answers = TIM) -> Record:
    return converse("PLAIN", response, says(), answers)


def login(*responses: bytes, answers: Answers = TIM, context: Context | None = None) -> Record:
    return converse("LOGIN", None, says(*responses), answers, context)


def test_plain_with_the_message_of_rfc_4616_section_4() -> None:
    assert plain(b"\0tim\0tanstaaftanstaaf").identity == ("tim", "tim", "PLAIN")


def test_plain_without_an_initial_response_gets_an_empty_challenge() -> None:
    record = converse("PLAIN", None, says(b"\0tim\0tanstaaftanstaaf"), TIM)
    assert record.challenges == [b""]
    assert record.identity.authcid == "tim"


def test_plain_with_the_authorization_identity_of_the_user_asks_nobody_else() -> None:
    record = plain(b"tim\0tim\0tanstaaftanstaaf")
    assert record.identity.authzid == "tim"
    assert len(record.questions) == 1


def test_plain_with_the_second_message_of_rfc_4616_section_4_asks_whether_kurt_may_act_as_ursel() -> None:
    answers: Answers = {**knows("Kurt", "xipj3plmq"), Authorize: lambda question: question.authzid == "Ursel"}
    assert plain(b"Ursel\0Kurt\0xipj3plmq", answers).identity == ("Kurt", "Ursel", "PLAIN")


def test_a_wrong_password_is_refused() -> None:
    assert plain(b"\0tim\0other").status == INVALID


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"tim",
        b"\0tim",
        b"\0tim\0pass\0word",
        b"\0\0\0",
        b"\0tim\0\xff",
        b"\0\xff\0password",
        b"\xff\0tim\0password",
        b"\0" + b"u" * 1025 + b"\0password",
        b"\0tim\0" + b"p" * 1025,
        b"u" * 1025 + b"\0tim\0password",
    ],
)
def test_plain_that_is_no_message_is_malformed_and_nobody_is_asked(response: bytes) -> None:
    record = plain(response)
    assert record.status == MALFORMED
    assert record.questions == []


@pytest.mark.parametrize(
    "response",
    [
        b"\0\0password",
        b"\0tim\0",  # an LDAP server would take it for an anonymous bind, and agree
        b"\0t\x07im\0password",
        b"\0tim\0pass\tword",
        b"t\x7fim\0tim\0password",
        "\0tim\0\ufffd".encode(),
        "\0\u06271\0password".encode(),
        "\0\u00ad\0password".encode(),
        "\0tim\0\u00ad".encode(),
    ],
)
def test_what_saslprep_refuses_or_empties_is_refused_and_nobody_is_asked(response: bytes) -> None:
    record = plain(response)
    assert record.status == INVALID
    assert record.questions == []


def test_names_of_255_octets_and_somewhat_more_are_accepted() -> None:
    user, password = "u" * 1024, "p" * 1024
    assert plain(f"\0{user}\0{password}".encode(), knows(user, password)).identity.authcid == user


def test_whoever_is_checked_is_whoever_is_let_in() -> None:
    record = plain("\0t\u00adim\0tanstaaftanstaaf".encode())
    assert record.identity.authcid == "tim"


def test_the_password_is_handed_on_as_it_was_sent() -> None:
    password = "pass\u00b4word\u2168"
    assert plain(f"\0tim\0{password}".encode(), knows("tim", password)).identity.authcid == "tim"


def test_login_asks_for_user_name_and_password() -> None:
    record = login(b"tim", b"tanstaaftanstaaf")
    assert record.challenges == [b"Username:", b"Password:"]
    assert record.identity == ("tim", "tim", "LOGIN")


def test_login_accepts_the_user_name_as_initial_response() -> None:
    record = converse("LOGIN", b"tim", says(b"tanstaaftanstaaf"), TIM)
    assert record.challenges == [b"Password:"]
    assert record.identity.authcid == "tim"


def test_the_prompts_of_login_can_be_chosen() -> None:
    context = Context(username_prompt=b"User Name\0", password_prompt=b"Password\0")
    assert login(b"tim", b"tanstaaftanstaaf", context=context).challenges == [b"User Name\0", b"Password\0"]


def test_login_with_a_wrong_password_is_refused() -> None:
    assert login(b"tim", b"other").status == INVALID


@pytest.mark.parametrize(
    ("responses", "status"),
    [
        ((b"", b"password"), INVALID),
        ((b"tim", b""), INVALID),
        ((b"tim\0", b"password"), MALFORMED),
        ((b"tim", b"pass\0word"), MALFORMED),
        ((b"\xff", b"password"), MALFORMED),
        ((b"t" * 1025, b"password"), MALFORMED),
    ],
)
def test_login_checks_what_plain_checks(responses: tuple[bytes, bytes], status: str) -> None:
    record = login(*responses)
    assert record.status == status
    assert record.questions == []
