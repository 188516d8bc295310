"""Finding hooks, and what they may answer."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import pytest

from ehlo import HandlerError, Reply
from ehlo.hooks import Hook, as_reply, encode_answer, find_hooks, honoured, is_coroutine_function
from ehlo.protocol.replies import EncodedReply


class Methods:
    handle_NUMBER = 5

    async def handle_MAIL(self, *args: object) -> None:
        """A coroutine function."""

    def handle_RCPT(self, *args: object) -> None:
        """A plain one."""

    @staticmethod
    async def handle_STATIC(*args: object) -> None:
        """Static."""

    @classmethod
    def handle_CLASS(cls, *args: object) -> None:
        """Of the class."""

    def handled(self) -> None:
        """No hook."""

    @property
    def other(self) -> object:
        raise AssertionError("nobody asked for this")


METHODS = {
    "MAIL": Hook("handle_MAIL", is_coroutine=True),
    "RCPT": Hook("handle_RCPT", is_coroutine=False),
    "STATIC": Hook("handle_STATIC", is_coroutine=True),
    "CLASS": Hook("handle_CLASS", is_coroutine=False),
}


class Inherited(Methods):
    async def handle_RCPT(self, *args: object) -> None:  # type: ignore[override]
        """Now it is one."""


class Tuple(NamedTuple):
    handle_MAIL: Any
    handle_NUMBER: int


class Callable:
    async def __call__(self, *args: object) -> None:
        """A coroutine function in disguise."""


async def _coroutine(*args: object) -> None:
    """A coroutine function."""


def _plain(*args: object) -> None:
    """A plain one."""


def test_methods_are_hooks_by_their_names() -> None:
    assert find_hooks(Methods()) == METHODS


def test_a_class_is_a_handler_too() -> None:
    assert find_hooks(Methods) == METHODS


def test_a_subclass_has_the_hooks_of_its_base_and_its_own() -> None:
    assert find_hooks(Inherited()) == {**METHODS, "RCPT": Hook("handle_RCPT", is_coroutine=True)}


def test_attributes_of_an_instance_are_hooks() -> None:
    handler = Methods()
    handler.handle_DATA = _plain  # type: ignore[attr-defined]
    assert find_hooks(handler) == {**METHODS, "DATA": Hook("handle_DATA", is_coroutine=False)}


def test_the_fields_of_a_named_tuple_are_hooks() -> None:
    assert find_hooks(Tuple(_coroutine, 5)) == {"MAIL": Hook("handle_MAIL", is_coroutine=True)}


@pytest.mark.parametrize("handler", [None, object(), 5, "handle_MAIL"])
def test_a_handler_need_not_have_any(handler: object) -> None:
    assert find_hooks(handler) == {}


def test_what_was_found_does_not_change() -> None:
    with pytest.raises(TypeError):
        find_hooks(Methods())["NEW"] = Hook("handle_NEW", is_coroutine=True)  # type: ignore[index]


def test_a_streaming_hook_must_be_a_coroutine_function() -> None:
    class Wrong:
        def handle_DATA_STREAM(self, *args: object) -> None:
            """It could not read."""

    with pytest.raises(TypeError, match="handle_DATA_STREAM"):
        find_hooks(Wrong())


@pytest.mark.parametrize(
    ("function", "is_one"),
    [
        (_coroutine, True),
        (_plain, False),
        (functools.partial(_coroutine, 1), True),
        (functools.partial(_plain, 1), False),
        (functools.partial(functools.partial(_coroutine, 1), 2), True),
        (Callable(), True),
        (Methods().handle_MAIL, True),
        (Methods().handle_RCPT, False),
        (print, False),
        (Methods, False),
        (5, False),
    ],
)
def test_what_is_a_coroutine_function(function: object, is_one: bool) -> None:
    assert is_coroutine_function(function) is is_one


@pytest.mark.parametrize(
    ("status", "encoded"),
    [
        ("250 OK", EncodedReply(250, b"250 2.0.0 OK\r\n")),
        (b"250 OK", EncodedReply(250, b"250 2.0.0 OK\r\n")),
        ("550 5.7.1 No", EncodedReply(550, b"550 5.7.1 No\r\n")),
        (b"550 5.7.1 No", EncodedReply(550, b"550 5.7.1 No\r\n")),
        (Reply(450, None, ("one", "two")), EncodedReply(450, b"450-4.0.0 one\r\n450 4.0.0 two\r\n")),
        ("221 Bye", EncodedReply(221, b"221 2.0.0 Bye\r\n")),
    ],
)
def test_a_status_is_text_octets_or_a_reply(status: Any, encoded: EncodedReply) -> None:
    assert encode_answer(status) == encoded
    assert as_reply(status).encode() == encoded.data


def test_utf8_is_for_those_who_asked_for_it() -> None:
    for status in ("250 Grüße", "250 Grüße".encode(), Reply(250, None, ("Grüße",))):
        assert encode_answer(status).data == b"250 2.0.0 Gr??e\r\n"
        assert encode_answer(status, utf8=True).data == "250 2.0.0 Grüße\r\n".encode()


@pytest.mark.parametrize(
    "status",
    [
        "",
        "OK",
        "250",
        "250 a\r\n250 b",
        "250 a\nb",
        "250 a\0",
        "354 Go on",
        b"354 Go on",
        Reply(354, None, ("Go on",)),
        b"\xff",
        b"250 a\r\n250 b",
        250,
        None,
        True,
        ["250 OK"],
        ("250 OK",),
        object(),
        bytearray(b"250 OK"),
    ],
)
def test_anything_else_is_the_handlers_mistake(status: Any) -> None:
    if status == "250":
        assert encode_answer(status).code == 250  # RFC 5321 §4.2: the text may be absent
        return
    with pytest.raises(HandlerError):
        encode_answer(status)


@pytest.mark.parametrize("status", ["250 \udcff", Reply(250, None, ("\udcff",))])
def test_what_cannot_be_said_in_utf8_is_the_handlers_mistake(status: Any) -> None:
    with pytest.raises(HandlerError):
        encode_answer(status, utf8=True)


class Declaring:
    def __init__(self, honours: Any) -> None:
        self.honours = honours


def test_a_handler_declares_what_it_honours() -> None:
    assert honoured(object()) == {}
    assert honoured(Declaring(["dsn", "Rrvs"])) == {"DSN": None, "RRVS": None}
    assert honoured(Declaring({"DELIVERBY": 5})) == {"DELIVERBY": 5}


@pytest.mark.parametrize("honours", ["DSN", ["SIZE"], {"DSN": 5}, {"FUTURERELEASE": None}])
def test_a_handler_cannot_declare_anything(honours: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        honoured(Declaring(honours))
