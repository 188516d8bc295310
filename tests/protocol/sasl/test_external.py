from __future__ import annotations

import pytest

from ehlo.protocol.sasl import Authorize, IdentifyPeer
from tests.protocol.sasl.driver import Answers, Record, converse, says

INVALID = "535 5.7.8 Authentication credentials invalid"
MALFORMED = "501 5.5.2 Malformed authentication response"


def external(response: bytes, certificate: str | None = "fred@example.com", *, is_allowed: bool = False) -> Record:
    answers: Answers = {IdentifyPeer: lambda _question: certificate, Authorize: lambda _question: is_allowed}
    return converse("EXTERNAL", response, says(), answers)


def test_an_empty_response_asks_for_the_identity_of_the_certificate() -> None:
    record = external(b"")
    assert record.identity == ("fred@example.com", "fred@example.com", "EXTERNAL")
    assert record.questions == [IdentifyPeer("")]


def test_without_initial_response_there_is_an_empty_challenge() -> None:
    answers: Answers = {IdentifyPeer: lambda _question: "fred"}
    record = converse("EXTERNAL", None, says(b""), answers)
    assert record.challenges == [b""]
    assert record.identity.authcid == "fred"


def test_the_name_of_the_certificate_may_be_asked_for() -> None:
    record = external(b"fred@example.com")
    assert record.questions == [IdentifyPeer("fred@example.com")]
    assert record.identity.authzid == "fred@example.com"


@pytest.mark.parametrize("is_allowed", [True, False])
def test_another_name_needs_a_right_to_it(is_allowed: bool) -> None:
    record = external(b"boss", is_allowed=is_allowed)
    assert record.questions[1:] == [Authorize("fred@example.com", "boss")]
    if is_allowed:
        assert record.identity == ("fred@example.com", "boss", "EXTERNAL")
    else:
        assert record.status == INVALID


@pytest.mark.parametrize("nobody", [None, ""])
def test_a_peer_without_identity_is_refused(nobody: str | None) -> None:
    assert external(b"", nobody).status == INVALID
    assert external(b"boss", nobody, is_allowed=True).status == INVALID


@pytest.mark.parametrize(
    ("response", "status"),
    [(b"\xff", MALFORMED), (b"a\0b", MALFORMED), (b"x" * 1025, MALFORMED), (b"a\nb", INVALID)],
)
def test_what_is_no_name_is_refused_and_nobody_is_asked(response: bytes, status: str) -> None:
    record = external(response)
    assert record.status == status
    assert record.questions == []
