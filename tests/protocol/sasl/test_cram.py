from __future__ import annotations

import hmac

import pytest

from ehlo.protocol.sasl import CheckDigest, Context
from tests.protocol.sasl.driver import Answers, converse, says

INVALID = "535 5.7.8 Authentication credentials invalid"
MALFORMED = "501 5.5.2 Malformed authentication response"
PASSWORDS = {"tim": "tanstaaftanstaaf", "tim o'shea": "p", "jürgen": "süß"}
ANSWERS: Answers = {CheckDigest: lambda question: question.proves(PASSWORDS.get(question.user))}


def digest(challenge: bytes, password: str) -> bytes:
    return hmac.digest(password.encode(), challenge, "md5").hex().encode()


def test_the_example_of_rfc_2195() -> None:
    context = Context(hostname="postoffice.reston.mci.net", random_text=lambda _size: "1896.697170952")
    record = converse("CRAM-MD5", None, says(b"tim b913a602c7eda7a495b4e6e7334d3890"), ANSWERS, context)
    assert record.challenges == [b"<1896.697170952@postoffice.reston.mci.net>"]
    assert record.identity == ("tim", "tim", "CRAM-MD5")


@pytest.mark.parametrize("user", list(PASSWORDS))
def test_every_user_gets_in_with_the_right_password(user: str) -> None:
    record = converse("CRAM-MD5", None, lambda data: user.encode() + b" " + digest(data, PASSWORDS[user]), ANSWERS)
    assert record.identity.authcid == user


def test_no_challenge_comes_twice() -> None:
    challenges = {converse("CRAM-MD5", None, says(b"?"), ANSWERS).challenges[0] for _ in range(10)}
    assert len(challenges) == 10


def test_a_response_to_another_challenge_is_refused() -> None:
    replayed = b"tim " + digest(b"<yesterday@localhost>", PASSWORDS["tim"])
    assert converse("CRAM-MD5", None, says(replayed), ANSWERS).status == INVALID


def test_a_wrong_password_and_an_unknown_user_look_alike() -> None:
    wrong = converse("CRAM-MD5", None, lambda data: b"tim " + digest(data, "x"), ANSWERS)
    unknown = converse("CRAM-MD5", None, lambda data: b"tom " + digest(data, "x"), ANSWERS)
    assert (wrong.status, wrong.detail) == (unknown.status, unknown.detail) == (INVALID, "wrong user name or password")


@pytest.mark.parametrize("no_password", [None, ""])
def test_no_digest_proves_a_password_that_does_not_exist(no_password: str | None) -> None:
    assert not CheckDigest("tom", b"<c>", digest(b"<c>", "")).proves(no_password)


def test_a_caller_may_accept_any_digest() -> None:
    record = converse("CRAM-MD5", None, says(b"anybody " + b"0" * 32), {CheckDigest: lambda _question: True})
    assert record.identity.authcid == "anybody"


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"tim",
        b"tim " + b"0" * 31,
        b"tim " + b"0" * 33,
        b"tim " + b"A" * 32,
        b"tim " + b"0" * 32 + b"\n",
        b"\xff " + b"0" * 32,
        b"t\0m " + b"0" * 32,
        b"t" * 1025 + b" " + b"0" * 32,
    ],
)
def test_what_is_no_response_is_malformed(response: bytes) -> None:
    assert converse("CRAM-MD5", None, says(response), ANSWERS).status == MALFORMED


@pytest.mark.parametrize("user", [b"", b"t\nm", "\u00ad".encode()])
def test_a_name_that_saslprep_refuses_is_refused(user: bytes) -> None:
    assert converse("CRAM-MD5", None, says(user + b" " + b"0" * 32), ANSWERS).status == INVALID


@pytest.mark.parametrize("initial_response", [b"", b"tim"])
def test_an_initial_response_is_an_error(initial_response: bytes) -> None:
    record = converse("CRAM-MD5", initial_response, says(), ANSWERS)
    assert record.status == "501 5.7.0 Malformed authentication response"
    assert record.challenges == []
