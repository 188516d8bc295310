"""Settings from a file of TOML. Knows their types; does not know what they are used for.

    hostname = "mx.example.com"
    data_size_limit = 50_000_000
    authenticator = "users"             # a file for ``FileAuthenticator``, beside this one

    [limits]
    connections_per_client = 20
    message_rate = "60/minute"
    tarpit = { after = 3, maximum = 10.0 }
    exempt = ["127.0.0.0/8", "::1", "unix", "10.0.0.0/8"]

The keys are the fields of ``Settings``, and those in ``[limits]`` of ``LimitSettings``.  A TLS context cannot be said.
"""

from __future__ import annotations

import os
import tomllib
import types
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from ehlo.auth import AuthResult, FileAuthenticator
from ehlo.net.limits import LimitSettings, Rate, Tarpit
from ehlo.net.networks import Networks
from ehlo.settings import BareNewlines, Parameters


class ConfigError(ValueError):
    """What is wrong with a file: its name, the key, and why."""


def read_parameters(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file says, as keywords for ``Settings`` and ``serve``.

    ``OSError`` when it cannot be read, ``ConfigError`` for what is no TOML, for keys that are unknown, for values of
    the wrong type, and for limits that make no sense; what else makes none, ``Settings`` finds.
    """
    try:
        with Path(path).open("rb") as file:
            table = tomllib.load(file)
        return _Reader(Path(path).parent).fields(table, _HINTS)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None


class _Reader:
    """Makes of a table what the types of its fields ask for.  ``folder`` is where the files stand that are named."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fields(self, table: dict[str, Any], hints: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """The values of a table, for keywords."""
        found = {}
        for key, value in table.items():
            name = prefix + key
            if key not in hints or key in _UNSAYABLE:
                raise ConfigError(f"{name}: there is no such setting for a file")
            try:
                found[key] = self._value(name, value, hints[key])
            except (TypeError, ValueError, OSError) as error:
                raise error if isinstance(error, ConfigError) else ConfigError(f"{name}: {error}") from None
        return found

    def _value(self, name: str, value: Any, hint: Any) -> Any:
        if name == "authenticator":
            return FileAuthenticator(self._folder / _text(value))
        kinds = [kind for kind in _alternatives(hint) if kind is not type(None)]
        for kind in kinds:
            if kind in _PLAIN and _PLAIN[kind](value):
                return value
            if kind in _OF_TEXT and isinstance(value, str):
                return _OF_TEXT[kind](value)
            if kind in _OF_TABLE and isinstance(value, dict):
                return kind(**self.fields(value, get_type_hints(kind), f"{name}."))
            if kind is Networks and _are_texts(value):
                return Networks(value)
        raise ConfigError(f"{name}: {' or '.join(_WORDS[kind] for kind in kinds)} is expected, and not {value!r}")


_HINTS = get_type_hints(Parameters, localns={"AuthResult": AuthResult})
_UNSAYABLE = {"tls_context"}
_TEXTS, _NUMBERS = Collection[str], Mapping[str, int]


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_number(value: Any, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


_PLAIN: dict[Any, Callable[[Any], bool]] = {
    bool: lambda value: isinstance(value, bool),
    int: lambda value: _is_number(value, int),
    float: lambda value: _is_number(value, int, float),
    str: lambda value: isinstance(value, str),
    _TEXTS: _are_texts,
    _NUMBERS: lambda value: isinstance(value, dict) and all(_is_number(each, int) for each in value.values()),
}
_OF_TEXT: dict[Any, Callable[[str], Any]] = {Rate: Rate.parse, BareNewlines: BareNewlines}
_OF_TABLE: set[Any] = {LimitSettings, Tarpit}
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    _TEXTS: "a list of texts",
    _NUMBERS: "a table of whole numbers",
    Rate: 'a rate, such as "60/minute",',
    BareNewlines: "a text",
    LimitSettings: "a table",
    Tarpit: "a table",
    Networks: "a list of texts",
}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the name of a file is expected, and not {value!r}")
    return value
