from __future__ import annotations

import base64
import json

import pytest

from ehlo.protocol.sasl import Authorize, CheckToken, Context
from tests.protocol.sasl.driver import Answers, Record, converse, says

INVALID = "535 5.7.8 Authentication credentials invalid"
MALFORMED = "501 5.5.2 Malformed authentication response"
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
USER = "user@example.com"

# RFC 7628 §4.1 and §4.3.
BEARER = base64.b64decode(
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
    "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
REFUSAL = base64.b64decode(
    "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4"
    "YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
)
# Google's description of XOAUTH2.
XOAUTH2 = base64.b64decode(
    "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cB"
    "AQ=="
)
CONTEXT = Context(
    oauth_scope="example_scope", openid_configuration="https://example.com/.well-known/openid-configuration"
)


def answering(answer: bool | str) -> Answers:
    return {CheckToken: lambda _question: answer}


def bearer(response: bytes, answer: bool | str = True, context: Context | None = None) -> Record:
    return converse("OAUTHBEARER", response, says(b"\x01"), answering(answer), context)


def xoauth2(response: bytes, answer: bool | str = True, context: Context | None = None) -> Record:
    return converse("XOAUTH2", response, says(b""), answering(answer), context)


def test_oauthbearer_with_the_example_of_rfc_7628() -> None:
    record = bearer(BEARER)
    assert record.identity == (USER, USER, "OAUTHBEARER")
    assert record.questions == [CheckToken(USER, TOKEN)]
    assert record.challenges == []


def test_oauthbearer_refuses_a_token_with_the_challenge_of_rfc_7628() -> None:
    record = bearer(BEARER, answer=False, context=CONTEXT)
    assert [json.loads(data) for data in record.challenges] == [json.loads(REFUSAL)]
    assert record.status == INVALID


def test_without_hints_a_refusal_has_a_status_alone() -> None:
    assert [json.loads(data) for data in bearer(BEARER, answer=False).challenges] == [{"status": "invalid_token"}]


@pytest.mark.parametrize("acknowledgement", [b"\x01", b"", b"anything"])
def test_whatever_the_client_says_to_a_refusal_it_is_refused(acknowledgement: bytes) -> None:
    record = converse("OAUTHBEARER", BEARER, says(acknowledgement), answering(False))
    assert record.status == INVALID


def test_an_empty_auth_asks_for_the_hints_and_no_token_is_checked() -> None:
    record = bearer(b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=\x01\x01", context=CONTEXT)
    assert [json.loads(data) for data in record.challenges] == [json.loads(REFUSAL)]
    assert record.questions == []
    assert record.status == INVALID


def test_another_scheme_than_bearer_is_refused_and_no_token_is_checked() -> None:
    record = bearer(b"n,a=user@example.com,\x01auth=Basic dXNlcjpwYXNz\x01\x01")
    assert record.status == INVALID
    assert record.questions == []


def test_the_scheme_is_matched_in_any_case() -> None:
    assert bearer(b"n,a=user@example.com,\x01auth=bEARER x\x01\x01").identity.authcid == USER


def test_a_client_may_leave_its_name_to_the_token() -> None:
    record = bearer(b"n,,\x01auth=Bearer x\x01\x01", answer="alice")
    assert record.questions == [CheckToken("", "x")]
    assert record.identity == ("alice", "alice", "OAUTHBEARER")


def test_a_token_that_is_good_for_nobody_in_particular_lets_nobody_in() -> None:
    assert bearer(b"n,,\x01auth=Bearer x\x01\x01", answer=True).status == INVALID
    assert bearer(b"n,,\x01auth=Bearer x\x01\x01", answer="").status == INVALID


@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_token_of_somebody_else_is_good_if_that_somebody_may_act_as_the_user(is_allowed: bool) -> None:
    answers: Answers = {**answering("alice"), Authorize: lambda _question: is_allowed}
    record = converse("OAUTHBEARER", BEARER, says(b"\x01"), answers)
    assert record.questions[1:] == [Authorize("alice", USER)]
    if is_allowed:
        assert record.identity == ("alice", USER, "OAUTHBEARER")
    else:
        assert record.status == INVALID


def test_escaped_names_are_unescaped() -> None:
    assert bearer(b"n,a=a=2Cb=3Dc,\x01auth=Bearer x\x01\x01").identity.authcid == "a,b=c"


def test_oauthbearer_without_initial_response_gets_an_empty_challenge() -> None:
    record = converse("OAUTHBEARER", None, says(BEARER), answering(True))
    assert record.challenges == [b""]
    assert record.identity.authcid == USER


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\x01",
        b"n,,",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer x",
        b"n,,\x01auth=Bearer x\x01",
        b"n,,\x01auth=Bearer x\x01\x01\x01",
        b"n,,auth=Bearer x\x01\x01",
        b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01",
        b"n,,\x01Auth=Bearer x\x01\x01",
        b"n,,\x01auth\x01\x01",
        b"n,,\x01=x\x01auth=Bearer x\x01\x01",
        b"n,,\x01auth=Bearer \xff\x01\x01",
        b"n,,\x01auth=Bearer x\0\x01\x01",
        b"p=tls-unique,,\x01auth=Bearer x\x01\x01",
        b"n,a=\xff,\x01auth=Bearer x\x01\x01",
        b"n,user=user@example.com,\x01auth=Bearer x\x01\x01",
        XOAUTH2,
    ],
)
def test_what_is_no_oauthbearer_is_malformed_and_nobody_is_asked(response: bytes) -> None:
    record = bearer(response)
    assert record.status == MALFORMED
    assert record.questions == []


def test_xoauth2_with_the_example_of_google() -> None:
    record = xoauth2(XOAUTH2)
    assert record.identity == ("someuser@example.com", "someuser@example.com", "XOAUTH2")
    assert record.questions == [CheckToken("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")]


def test_xoauth2_refuses_a_token_with_a_challenge_and_an_empty_answer() -> None:
    record = xoauth2(XOAUTH2, answer=False, context=CONTEXT)
    assert [json.loads(data) for data in record.challenges] == [
        {"status": "401", "schemes": "bearer", "scope": "example_scope"}
    ]
    assert record.status == INVALID


def test_xoauth2_without_initial_response_gets_an_empty_challenge() -> None:
    record = converse("XOAUTH2", None, says(XOAUTH2), answering(True))
    assert record.challenges == [b""]
    assert record.identity.authcid == "someuser@example.com"


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"user=\x01auth=Bearer x\x01\x01",
        b"user=a\x01auth=Bearer x\x01",
        b"user=a\x01auth=Bearer x\x01\x01\x01",
        b"user=a\x01auth=\x01\x01",
        b"auth=Bearer x\x01user=a\x01\x01",
        b"user=a\x01auth=Bearer \xff\x01\x01",
        b"user=\xff\x01auth=Bearer x\x01\x01",
        b"user=a\0\x01auth=Bearer x\x01\x01",
        BEARER,
    ],
)
def test_what_is_no_xoauth2_is_malformed_and_nobody_is_asked(response: bytes) -> None:
    record = xoauth2(response)
    assert record.status == MALFORMED
    assert record.questions == []


@pytest.mark.parametrize("auth", [b"Basic x", b"Bearer", b"Bearer  ", b"Bearer a b"])
def test_xoauth2_without_a_bearer_token_is_refused(auth: bytes) -> None:
    record = xoauth2(b"user=a\x01auth=" + auth + b"\x01\x01")
    assert record.status == INVALID
    assert record.questions == []
