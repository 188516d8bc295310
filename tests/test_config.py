from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from ehlo import BareNewlines, FileAuthenticator, LimitSettings, Rate, Settings, Tarpit
from ehlo import config as module
from ehlo.config import ConfigError, read_parameters
from ehlo.credentials import password_line
from ehlo.net.networks import Networks

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, text: str) -> dict[str, Any]:
    file = folder / "ehlo.toml"
    file.write_text(text, encoding="utf-8")
    return read_parameters(file)


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "") == {}


def test_every_kind_of_value_is_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        hostname = "mx.example.com"
        data_size_limit = 50_000_000
        auth_required = true
        timeout = 60
        hook_timeout = 2.5
        auth_exclude_mechanism = ["LOGIN"]
        command_call_limit = { NOOP = 5, "*" = 20 }
        bare_newlines = "keep"
        """,
    )
    assert found == {
        "hostname": "mx.example.com",
        "data_size_limit": 50_000_000,
        "auth_required": True,
        "timeout": 60,
        "hook_timeout": 2.5,
        "auth_exclude_mechanism": ["LOGIN"],
        "command_call_limit": {"NOOP": 5, "*": 20},
        "bare_newlines": BareNewlines.KEEP,
    }
    Settings(**found)


def test_limits_are_a_table(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        [limits]
        connections_per_client = 20
        message_rate = "60/minute"
        tarpit = { after = 3, maximum = 10 }
        exempt = ["192.0.2.0/24", "unix"]
        """,
    )
    assert found["limits"] == LimitSettings(
        connections_per_client=20,
        message_rate=Rate(60, 60),
        tarpit=Tarpit(after=3, maximum=10),
        exempt=Networks(["192.0.2.0/24", "unix"]),
    )


def test_an_authenticator_is_a_file_of_users_beside_this_one(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(password_line("ann", "secret", iterations=4096))
    authenticator = read(tmp_path, 'authenticator = "users"')["authenticator"]
    assert isinstance(authenticator, FileAuthenticator)
    assert authenticator.file.check_password("ann", "secret")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("recipient_limits = 100", "recipient_limits: there is no such setting for a file"),
        ('tls_context = "x"', "tls_context: there is no such setting for a file"),
        ("call_limits = {}", "call_limits: there is no such setting for a file"),
        ("[limits]\nconnection = 1", "limits.connection: there is no such setting for a file"),
        ("[limits.tarpit]\nafter = 1\nsize = 2", "limits.tarpit.size: there is no such setting for a file"),
        ('timeout = "60"', "timeout: a number is expected, and not '60'"),
        ("timeout = true", "timeout: a number is expected, and not True"),
        ("hook_threads = 1.5", "hook_threads: a whole number is expected, and not 1.5"),
        ("auth_required = 1", "auth_required: true or false is expected, and not 1"),
        ("hostname = 5", "hostname: a text is expected, and not 5"),
        ('ignore_parameters = "RET"', "ignore_parameters: a list of texts is expected, and not 'RET'"),
        ("ignore_parameters = [1]", r"ignore_parameters: a list of texts is expected, and not \[1\]"),
        ('command_call_limit = "many"', "command_call_limit: a whole number or a table of whole numbers is expected"),
        ('bare_newlines = "maybe"', "bare_newlines: 'maybe' is not a valid BareNewlines"),
        ("limits = 5", "limits: a table is expected, and not 5"),
        ('[limits]\nmessage_rate = "often"', "limits.message_rate: no rate, such as 60/minute"),
        ("[limits]\nmessage_rate = 5", 'limits.message_rate: a rate, such as "60/minute", is expected, and not 5'),
        ("[limits]\nconnections = 0", "limits: connections must be at least 1"),
        ("[limits]\ntarpit = {}", "limits.tarpit: .*missing 1 required positional argument: 'after'"),
        ('[limits]\nexempt = ["everybody"]', "limits.exempt: no network: 'everybody'"),
        ('authenticator = "no-such-file"', "authenticator: .*No such file"),
        ("authenticator = 5", "authenticator: the name of a file is expected, and not 5"),
        ("hostname = ", r"Invalid value \("),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=rf"^.*ehlo\.toml: {complaint}"):
        read(tmp_path, text)


def test_what_is_no_text_is_no_file(tmp_path: Path) -> None:
    file = tmp_path / "ehlo.toml"
    file.write_bytes(b'hostname = "\xff"')
    with pytest.raises(ConfigError, match="utf-8"):
        read_parameters(file)


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_parameters(tmp_path / "ehlo.toml")


def kinds(hints: dict[str, Any]) -> set[Any]:
    return {
        kind
        for name, hint in hints.items()
        if name not in {"tls_context", "authenticator"}
        for kind in module._alternatives(hint)
        if kind is not type(None)
    }


@pytest.mark.parametrize("record", [LimitSettings, Tarpit])
def test_every_limit_can_be_said(record: type[Any]) -> None:
    assert kinds(get_type_hints(record)) <= module._WORDS.keys()


def test_every_setting_can_be_said_and_is_one_of_settings() -> None:
    assert kinds(module._HINTS) <= module._WORDS.keys()
    assert module._HINTS.keys() == {name for name, field in Settings.__dataclass_fields__.items() if field.init}
