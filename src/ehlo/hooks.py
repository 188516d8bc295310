"""Hooks. Knows how to find them on a handler and what they may answer; does not know what they are for.

A handler is any object.  Its hooks are its attributes ``handle_VERB``; they are looked up once, when the server is
configured, with ``dir(handler)``, so methods, instance attributes, a NamedTuple's fields and a class used as a
handler all work.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ehlo.errors import HandlerError
from ehlo.protocol.extensions import check_declaration
from ehlo.protocol.replies import EncodedReply, Reply, encode_status

Status = str | bytes | Reply
"""What a hook answers: ``"250 OK"``, or a ``Reply`` for several lines.  None, elsewhere, means "do the default"."""

_PREFIX = "handle_"
_COROUTINES_ONLY = ("DATA_STREAM",)


class Hook(NamedTuple):
    """One hook: the attribute's name, and whether it is a coroutine function (others run in a thread)."""

    name: str
    is_coroutine: bool


def find_hooks(handler: object) -> Mapping[str, Hook]:
    """All hooks of a handler by what follows ``handle_``.

    ``TypeError`` when one cannot work as it is: it is the handler's author who should see it, at the start.
    """
    hooks = {}
    for name in dir(handler):
        if not name.startswith(_PREFIX):
            continue
        function = getattr(handler, name)
        if not callable(function):
            continue
        verb = name.removeprefix(_PREFIX)
        hooks[verb] = Hook(name, is_coroutine_function(function))
        if verb in _COROUTINES_ONLY and not hooks[verb].is_coroutine:
            raise TypeError(f"{name} reads from the connection and must be a coroutine function")
    return MappingProxyType(hooks)


def is_coroutine_function(function: object) -> bool:
    """Whether calling it gives a coroutine: also for an instance with ``async def __call__`` and for a partial."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def encode_answer(status: Status, *, utf8: bool = False) -> EncodedReply:
    """Code and octets of what a hook answered; ``HandlerError`` when it is no final reply (2yz, 4yz, 5yz).

    Several lines only as a ``Reply``: a CR or LF in a string is more often somebody else's text than an intention.
    """
    if isinstance(status, str):
        try:
            encoded = encode_status(status, utf8=utf8)
        except ValueError as error:
            raise HandlerError(f"{error}: {status!r}") from error
    else:
        reply = as_reply(status)
        try:
            encoded = EncodedReply(reply.code, reply.encode(utf8=utf8))
        except UnicodeEncodeError as error:
            raise HandlerError(f"lone surrogates: {reply!r}") from error
    if 300 <= encoded.code < 400:
        raise HandlerError(f"a hook answered {encoded.code}")
    return encoded


def as_reply(status: Status) -> Reply:
    """The same as a ``Reply``."""
    if isinstance(status, Reply):
        return status
    if not isinstance(status, str | bytes):
        raise HandlerError(f"a hook returned no status but {type(status).__name__}")
    try:
        return Reply.parse(status.decode() if isinstance(status, bytes) else status)
    except ValueError as error:
        raise HandlerError(f"{error}: {status!r}") from error


def honoured(handler: object) -> dict[str, object]:
    """What a handler declares to honour: see ``ehlo.protocol.extensions``.  ``ValueError`` for what nobody can."""
    return check_declaration(getattr(handler, "honours", ()))
