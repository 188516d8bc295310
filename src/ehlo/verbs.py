"""The verbs of a class of servers, and its AUTH mechanisms. Knows their names and rows; does not know what they do.

A verb is a method ``smtp_VERB``, a mechanism a method ``auth_MECHANISM``.  Both are looked for once for each class.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

from ehlo.auth import mechanism_name
from ehlo.hooks import is_coroutine_function
from ehlo.protocol.commands import COMMAND_LINE_LIMIT, COMMANDS, Command

Verb = Callable[[Any, str | None], Coroutine[Any, Any, None]]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class VerbEntry(NamedTuple):
    """A verb of a class: what runs, the row that says when, and the octets of its line; 0: as many as EHLO allows."""

    function: Verb
    command: Command
    line_limit: int


class Verbs(NamedTuple):
    """What a class has: its verbs, the attribute of each mechanism, and which of these are no built-in ones."""

    entries: Mapping[str, VerbEntry]
    mechanisms: Mapping[str, str]
    own_mechanisms: frozenset[str]


def syntax(text: str, extended: str | None = None, when: str | None = None) -> Callable[[_Function], _Function]:
    """Say how a verb is written, for HELP and for 501.

    ``extended`` is added after EHLO; ``when`` names an attribute of the server that must be true for HELP to list it.
    """

    def decorate(function: _Function) -> _Function:
        function.__smtp_syntax__ = text  # type: ignore[attr-defined]
        function.__smtp_syntax_extended__ = extended  # type: ignore[attr-defined]
        function.__smtp_syntax_when__ = when  # type: ignore[attr-defined]
        return function

    return decorate


def allow(**row: Any) -> Callable[[_Function], _Function]:
    """Say when a verb of a subclass is allowed: the fields of ``ehlo.protocol.commands.Command`` but its verb.

    Without it a new verb is allowed at every stage, and only after the TLS and the authentication that the settings
    require.
    """

    def decorate(function: _Function) -> _Function:
        function.__smtp_row__ = row  # type: ignore[attr-defined]
        return function

    return decorate


def collect(cls: type, protocol_name: str, command_size_limit: int) -> Verbs:
    """Find the verbs and mechanisms of a class: its methods ``smtp_VERB`` and ``auth_MECHANISM``.

    ``command_size_limit``: the octets of a line where the row of its verb says nothing else.
    """
    verbs = {}
    mechanisms = {}
    own_mechanisms = set()
    for attribute in dir(cls):
        if not attribute.startswith(("smtp_", "auth_")):
            continue
        function = getattr(cls, attribute)
        if attribute.startswith("smtp_") and callable(function):
            verb = attribute.removeprefix("smtp_").upper()
            if not is_coroutine_function(function):
                raise TypeError(f"{cls.__name__}.{attribute} must be a coroutine function")
            command = _row(verb, function)
            if command.only in {None, protocol_name}:
                is_ordinary = command.line_limit == COMMAND_LINE_LIMIT
                verbs[verb] = VerbEntry(function, command, command_size_limit if is_ordinary else command.line_limit)
        name = mechanism_name(attribute, function)
        if name is not None:
            mechanisms[name] = attribute
            if not getattr(function, "is_built_in", False):
                own_mechanisms.add(name)
    return Verbs(verbs, mechanisms, frozenset(own_mechanisms))


def _row(verb: str, function: object) -> Command:
    own: dict[str, Any] | None = getattr(function, "__smtp_row__", None)
    if own is not None:
        return Command(verb, **own)
    return COMMANDS.get(verb) or Command(verb)
