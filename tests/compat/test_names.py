"""Every public name of aiosmtpd is here, with the same signature, value or attributes."""

from __future__ import annotations

import enum
import importlib
import inspect
import logging
import re
import types
from collections.abc import Iterator
from typing import Any, get_origin

import pytest

from tests.compat.roots import OURS, REAL

# What programs import beside what ``__all__`` has: documented, or in use.
EXTRA: dict[str, set[str]] = {
    "": {"__version__", "_get_or_new_eventloop"},
    ".smtp": {
        *("AuthResult", "AuthenticatorType", "DecoratorType", "_Missing", "log", "login_always_fail"),
        *("BOGUS_LIMIT", "CALL_LIMIT_DEFAULT", "DATA_SIZE_DEFAULT", "EMPTYBYTES", "EMPTY_BARR", "VALID_AUTHMECH"),
        *("ALLOWED_BEFORE_STARTTLS", "CLIENT_AUTH_B", "__ident__", "make_loop"),
    },
    ".lmtp": set(),
    ".controller": {"DEFAULT_READY_TIMEOUT"},
    ".handlers": {
        *("MessageBase", "COMMASPACE", "CRLF", "EMPTYBYTES", "NLCRE", "log", "message_from_bytes"),
        "message_from_string",
    },
    ".main": {"parseargs", "_parser", "DEFAULT_HOST", "DEFAULT_PORT", "DEFAULT_CLASS", "PROGRAM"},
    ".proxy_protocol": {"AF", "PROTO", "EndpointAddress", "log"},
    ".testing": set(),
    ".testing.helpers": {
        *("ReceivingHandler", "reset_connection", "catchup_delay", "send_recv", "ASYNCIO_CATCHUP_DELAY"),
    },
    ".testing.statuscodes": {
        *("StatusCode", "SMTP_STATUS_CODES", "SUPPORTED_COMMANDS_NOTLS", "SUPPORTED_COMMANDS_TLS"),
        "SUPPORTED_COMMANDS_LMTP",
    },
}
# In ``__all__`` of aiosmtpd.proxy_protocol by accident: two modules' worth of the standard library.
ACCIDENTS = {(".proxy_protocol", "struct"), (".proxy_protocol", "partial")}

# Private, and in use by programs that are known.
PRIVATE: dict[tuple[str, str], set[str]] = {
    (".smtp", "SMTP"): {
        *("_create_session", "_create_envelope", "_call_handler_hook", "_getaddr", "_getparams", "_set_rset_state"),
        *("_set_post_data_state", "_handle_client", "_auth_interact", "_authenticate", "_syntax_available"),
    },
    (".controller", "BaseController"): {"_factory_invoker", "_create_server", "_cleanup", "_thread_exception"},
    (".controller", "Controller"): {"_run", "_trigger_server", "_thread"},
    (".handlers", "Debugging"): {"_print_message_content"},
}


def names() -> Iterator[tuple[str, str]]:
    for module, extra in EXTRA.items():
        exported = set(getattr(importlib.import_module(REAL + module), "__all__", ()))
        for name in sorted(exported | extra):
            if (module, name) not in ACCIDENTS:
                yield module, name


def both(module: str, name: str) -> tuple[Any, Any]:
    theirs, ours = (getattr(importlib.import_module(root + module), name) for root in (REAL, OURS))
    return theirs, ours


def signature(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults; annotations may say the same in other words."""
    parameters = inspect.signature(function).parameters.values()
    return [(parameter.name, parameter.kind, comparable(parameter.default)) for parameter in parameters]


def comparable(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return type(value).__name__, value.name
    if isinstance(value, re.Pattern):
        return "pattern", value.pattern, value.flags
    if isinstance(value, logging.Logger):
        return "logger", value.name
    if isinstance(value, str):
        return value.replace(OURS, REAL)
    if type(value).__name__ == "_tuplegetter":
        return repr(value)
    return value


def attributes(cls: type, private: set[str]) -> set[str]:
    """The public ones, wherever they are inherited from, and those private ones; not those of asyncio and object."""
    return {
        name
        for base in cls.__mro__
        if base.__module__.startswith((REAL, OURS))
        for name in vars(base)
        if name in private or not name.startswith("_")
    } | (private & set(dir(cls)))


@pytest.mark.parametrize(("module", "name"), list(names()))
def test_a_name_is_there_and_is_the_same(module: str, name: str) -> None:
    theirs, ours = both(module, name)
    if isinstance(theirs, type):
        assert isinstance(ours, type)
        assert ours.__name__ == theirs.__name__
    elif isinstance(theirs, types.FunctionType):
        assert signature(ours) == signature(theirs)
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
    elif get_origin(theirs) is not None or name in {"EndpointAddress", "DecoratorType"}:
        assert ours is not None  # an alias for annotations
    else:
        assert comparable(ours) == comparable(theirs)


def classes() -> Iterator[tuple[str, str]]:
    for module, name in names():
        value = getattr(importlib.import_module(REAL + module), name)
        if isinstance(value, type) and not issubclass(value, enum.Enum) and not getattr(value, "_is_protocol", False):
            yield module, name


@pytest.mark.parametrize(("module", "name"), list(classes()))
def test_a_class_is_made_in_the_same_way(module: str, name: str) -> None:
    theirs, ours = both(module, name)
    if "__init__" in vars(theirs) or "__new__" in vars(theirs):
        assert signature(ours) == signature(theirs)
    assert inspect.isabstract(ours) == inspect.isabstract(theirs)
    assert set(getattr(ours, "__abstractmethods__", ())) == set(getattr(theirs, "__abstractmethods__", ()))


@pytest.mark.parametrize(("module", "name"), list(classes()))
def test_a_class_has_the_same_attributes(module: str, name: str) -> None:
    theirs, ours = both(module, name)
    private = PRIVATE.get((module, name), set())
    missing = [one for one in attributes(theirs, private) if not hasattr(ours, one)]
    assert missing == []
    for one in attributes(theirs, private):
        their_value, our_value = inspect.getattr_static(theirs, one), inspect.getattr_static(ours, one)
        where = f"{name}.{one}"
        if isinstance(their_value, types.FunctionType):
            assert signature(getattr(ours, one)) == signature(their_value), where
            assert inspect.iscoroutinefunction(our_value) == inspect.iscoroutinefunction(their_value), where
        elif isinstance(their_value, classmethod):
            assert isinstance(our_value, classmethod), where
            assert signature(getattr(ours, one)) == signature(getattr(theirs, one)), where
        elif one == "command_size_limits":
            assert isinstance(our_value, dict)  # that of the original fills while it runs
        elif not isinstance(their_value, property | types.MemberDescriptorType) and not callable(their_value):
            assert comparable(getattr(ours, one)) == comparable(getattr(theirs, one)), where


def test_verbs_have_the_same_help() -> None:
    for module, name in ((".smtp", "SMTP"), (".lmtp", "LMTP")):
        theirs, ours = both(module, name)
        for verb in (one for one in dir(theirs) if one.startswith("smtp_")):
            for attribute in ("__smtp_syntax__", "__smtp_syntax_extended__", "__smtp_syntax_when__"):
                expected = getattr(getattr(theirs, verb), attribute, None)
                assert getattr(getattr(ours, verb), attribute, None) == expected, verb


@pytest.mark.parametrize("name", ["V2_CMD", "AF", "PROTO"])
def test_an_enum_has_the_same_members(name: str) -> None:
    theirs, ours = both(".proxy_protocol", name)
    assert {member.name: member.value for member in ours} == {member.name: member.value for member in theirs}
    assert issubclass(ours, int)


def test_an_instance_has_the_same_attributes() -> None:
    loop: Any = object()
    for module, name, arguments in ((".smtp", "Session", (loop,)), (".smtp", "Envelope", ())):
        theirs, ours = both(module, name)
        assert vars(ours(*arguments)) == vars(theirs(*arguments))


def test_results_are_shown_without_secrets() -> None:
    for made in (
        lambda root: root.AuthResult(success=True, auth_data="secret"),
        lambda root: root.AuthResult(success=False, handled=False, message="535 no"),
        lambda root: root.LoginPassword(b"user", b"secret"),
        lambda root: str(root.LoginPassword(b"user", b"secret")),
    ):
        theirs, ours = (made(importlib.import_module(f"{root}.smtp")) for root in (REAL, OURS))
        assert repr(ours) == repr(theirs)
        assert "secret" not in repr(ours)


@pytest.mark.parametrize(
    "line",
    [b"AUTH PLAIN abc\r\n", b"auth login abc", b"AUTH PLAIN", b"AUTH PLAIN  x y", b"NOOP x", b" AUTH X abc\r\n", b""],
)
def test_lines_are_sanitized_alike(line: bytes) -> None:
    theirs, ours = both(".smtp", "sanitize")
    assert ours(line) == theirs(line)


@pytest.mark.parametrize("name", ["plain", "with-dash", "with_underscore", "X1", "not valid", "", "a.b"])
def test_names_of_mechanisms_are_checked_alike(name: str) -> None:
    theirs, ours = both(".smtp", "auth_mechanism")
    assert _outcome(ours, name) == _outcome(theirs, name)


def _outcome(decorate: Any, name: str) -> str:
    def method() -> None:
        """Nothing."""

    try:
        return str(decorate(name)(method).__auth_mechanism_name__)
    except ValueError as error:
        return f"ValueError {error}"


def test_the_version_is_one_object_and_that_of_the_original() -> None:
    package, smtp = importlib.import_module(OURS), importlib.import_module(f"{OURS}.smtp")
    assert package.__version__ is smtp.__version__
    assert smtp.__ident__ == f"Python SMTP {smtp.__version__}"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"command_call_limit": "many"}, TypeError),
        ({"command_call_limit": {"NOOP": "many"}}, TypeError),
        ({"proxy_protocol_timeout": 0}, ValueError),
        ({"proxy_protocol_timeout": -1}, ValueError),
        ({"data_size_limit": "large"}, AssertionError),
    ],
)
@pytest.mark.parametrize("root", [REAL, OURS])
async def test_settings_that_cannot_be_are_refused_alike(
    root: str, settings: dict[str, Any], kind: type[Exception]
) -> None:
    smtp = importlib.import_module(f"{root}.smtp")
    texts = {TypeError: "command_call_limit", ValueError: "proxy_protocol_timeout must be > 0"}
    with pytest.raises(kind, match=texts.get(kind)):
        smtp.SMTP(object(), hostname="x", **settings)
