from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from ehlo.errors import ProtocolError
from ehlo.protocol.credentials import LoginPassword
from ehlo.protocol.sasl import (
    MECHANISMS,
    Authorize,
    Challenge,
    CheckPassword,
    CheckToken,
    Context,
    Exchange,
    Failure,
    FindKeys,
    Identity,
    Success,
)

SECRET = b"\0user\0correct horse"


def exchange_with(name: str) -> Exchange:
    return Exchange(MECHANISMS[name], Context())


def test_an_exchange_is_driven_by_one_loop_that_knows_no_mechanism() -> None:
    exchange = exchange_with("PLAIN")
    assert exchange.begin(None) == Challenge(b"")
    assert exchange.answer(SECRET) == CheckPassword(LoginPassword(b"user", b"correct horse"))
    assert exchange.answer(True) == Success(Identity("user", "user", "PLAIN"))


def test_an_answer_that_nobody_awaited_is_refused_and_lets_nobody_in() -> None:
    async def check() -> bool:
        return await asyncio.sleep(0, result=False)

    exchange = exchange_with("PLAIN")
    exchange.begin(SECRET)
    coroutine = check()
    with pytest.raises(TypeError, match="CheckPassword wants bool, not coroutine"):
        exchange.answer(coroutine)
    coroutine.close()
    assert isinstance(exchange.answer(False), Failure)


@pytest.mark.parametrize("answer", [1, "yes", None, b"", [True]])
def test_truth_is_not_enough_for_an_answer(answer: object) -> None:
    exchange = exchange_with("PLAIN")
    exchange.begin(SECRET)
    with pytest.raises(TypeError):
        exchange.answer(answer)


def test_a_wrong_answer_is_not_quoted() -> None:
    exchange = exchange_with("PLAIN")
    exchange.begin(None)
    with pytest.raises(TypeError) as caught:
        exchange.answer("correct horse")
    assert "horse" not in str(caught.value)


def test_an_exchange_begins_once() -> None:
    exchange = exchange_with("PLAIN")
    exchange.begin(None)
    with pytest.raises(RuntimeError):
        exchange.begin(None)


def test_nothing_can_be_answered_before_the_beginning() -> None:
    with pytest.raises(RuntimeError):
        exchange_with("PLAIN").answer(b"")


@pytest.mark.parametrize("is_right", [True, False])
def test_nothing_can_be_answered_after_the_end(is_right: bool) -> None:
    exchange = exchange_with("PLAIN")
    exchange.begin(SECRET)
    exchange.answer(is_right)
    with pytest.raises(RuntimeError):
        exchange.answer(True)


def test_an_error_of_the_caller_is_passed_on_and_ends_the_exchange() -> None:
    def broken(_size: int) -> str:
        raise OSError("no entropy")

    exchange = Exchange(MECHANISMS["CRAM-MD5"], Context(random_text=broken))
    with pytest.raises(OSError, match="no entropy"):
        exchange.begin(None)
    with pytest.raises(RuntimeError):
        exchange.answer(b"")


def test_an_exchange_that_is_dropped_half_way_leaves_no_cycle() -> None:
    class Marker:
        def __call__(self, _size: int) -> str:
            return "x"

    marker = Marker()
    exchange = Exchange(MECHANISMS["CRAM-MD5"], Context(random_text=marker))
    exchange.begin(None)
    gone = weakref.ref(marker)
    gc.disable()
    try:
        del exchange, marker
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("response", [b"\0user\xff\0correct horse", SECRET + b"\xff", b"\0user\0\x07correct horse"])
def test_a_failure_holds_on_to_no_credentials(response: bytes) -> None:
    step = exchange_with("PLAIN").begin(response)
    assert isinstance(step, Failure)
    error: BaseException = step.error
    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)
    assert "horse" not in f"{error} {error!r} {step!r} {step.error.status}"


def test_a_failure_is_the_fault_of_the_peer() -> None:
    step = exchange_with("PLAIN").begin(b"no NUL")
    assert isinstance(step, Failure)
    assert isinstance(step.error, ProtocolError)
    assert step.error.status == "501 5.5.2 Malformed authentication response"


def test_no_question_shows_a_secret() -> None:
    shown = repr([CheckPassword(LoginPassword(b"user", b"horse")), CheckToken("user", "horse"), FindKeys("user")])
    assert "horse" not in shown
    assert "user" in shown


def test_a_context_shows_no_secret() -> None:
    context = Context(channel_bindings={"tls-exporter": b"horse"}, fake_secret=b"battery")
    assert "horse" not in repr(context)
    assert "battery" not in repr(context)


def test_an_exchange_shows_no_secret() -> None:
    exchange = exchange_with("PLAIN")
    exchange.begin(SECRET)
    assert "horse" not in repr(exchange)


def test_a_password_is_there_as_octets_and_as_text() -> None:
    question = CheckPassword(LoginPassword("jürgen".encode(), "süß".encode()))
    assert (question.user, question.password) == ("jürgen", "süß")


def test_another_identity_is_asked_for_and_granted() -> None:
    exchange = exchange_with("PLAIN")
    exchange.begin(b"boss\0user\0correct horse")
    assert exchange.answer(True) == Authorize("user", "boss")
    assert exchange.answer(True) == Success(Identity("user", "boss", "PLAIN"))


def test_another_identity_is_asked_for_and_refused() -> None:
    exchange = exchange_with("PLAIN")
    exchange.begin(b"boss\0user\0correct horse")
    exchange.answer(True)
    step = exchange.answer(False)
    assert isinstance(step, Failure)
    assert step.error.status == "535 5.7.8 Authentication credentials invalid"


def test_nobody_is_asked_about_another_identity_before_the_password_is_right() -> None:
    exchange = exchange_with("PLAIN")
    exchange.begin(b"boss\0user\0wrong")
    assert isinstance(exchange.answer(False), Failure)
