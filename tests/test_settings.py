"""What a server can be told, and what is nonsense."""

from __future__ import annotations

import dataclasses
import ssl
from typing import Any

import pytest

from ehlo import SMTP, BareNewlines, Settings
from ehlo.settings import CALL_LIMIT_DEFAULT, DATA_SIZE_DEFAULT, ControllerParameters, Parameters
from tests.support import Nothing


def test_the_keywords_of_the_typed_dictionaries_are_the_fields() -> None:
    names = {one.name for one in dataclasses.fields(Settings) if one.init}
    assert set(Parameters.__annotations__) == names
    assert set(ControllerParameters.__annotations__) == names - {"hostname"}
    fields = Settings.__annotations__
    assert all(hint.__forward_arg__ == fields[name] for name, hint in Parameters.__annotations__.items())


def test_the_defaults_are_those_of_the_field_and_of_the_rfc() -> None:
    settings = Settings()
    assert settings.data_size_limit == DATA_SIZE_DEFAULT == 33_554_432
    assert settings.enable_SMTPUTF8
    assert settings.timeout == 300  # RFC 5321 §4.5.3.2.7
    assert settings.data_timeout == 180  # RFC 5321 §4.5.3.2.5
    assert settings.hook_timeout == 540  # below the 10 minutes of RFC 5321 §4.5.3.2.6
    assert settings.recipient_limit == 1000
    assert settings.auth_require_tls
    assert not settings.auth_required
    assert settings.bare_newlines is BareNewlines.REFUSE
    assert settings.call_limits is None


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().timeout = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ({"data_size_limit": "10"}, TypeError, "data_size_limit"),
        ({"data_size_limit": 1.5}, TypeError, "data_size_limit"),
        ({"data_size_limit": -1}, ValueError, "data_size_limit"),
        ({"timeout": 0}, ValueError, "timeout must be > 0"),
        ({"timeout": -1}, ValueError, "timeout must be > 0"),
        ({"data_timeout": 0}, ValueError, "data_timeout must be > 0"),
        ({"tls_handshake_timeout": 0}, ValueError, "tls_handshake_timeout must be > 0"),
        ({"hook_timeout": 0}, ValueError, "hook_timeout must be > 0"),
        ({"hook_threads": 0}, ValueError, "hook_threads must be > 0"),
        ({"error_limit": 0}, ValueError, "error_limit must be > 0"),
        ({"mail_limit": 0}, ValueError, "mail_limit must be > 0"),
        ({"recipient_domain_limit": 0}, ValueError, "recipient_domain_limit must be > 0"),
        ({"line_length_limit": 0}, ValueError, "line_length_limit must be > 0"),
        ({"proxy_protocol_timeout": 0, "proxy_networks": ["unix"]}, ValueError, "proxy_protocol_timeout must be > 0"),
        ({"proxy_protocol_timeout": 5}, ValueError, "proxy_networks"),
        ({"recipient_limit": 99}, ValueError, "at least 100"),
        ({"auth_failure_limit": 2}, ValueError, "at least 3"),
        ({"require_starttls": True}, ValueError, "tls_context"),
        ({"bare_newlines": "whatever"}, ValueError, "whatever"),
        ({"command_call_limit": "5"}, TypeError, r"command_call_limit must be int or Dict\[str, int\]"),
        ({"command_call_limit": 1.5}, TypeError, r"command_call_limit must be int or Dict\[str, int\]"),
        ({"command_call_limit": {"NOOP": "5"}}, TypeError, "All command_call_limit values must be int"),
        ({"auth_exclude_mechanism": "PLAIN"}, TypeError, "auth_exclude_mechanism"),
        ({"ignore_parameters": "XVERP"}, TypeError, "ignore_parameters"),
        ({"pass_parameters": "XVERP"}, TypeError, "pass_parameters"),
        ({"xclient_networks": "127.0.0.0/8"}, TypeError, "xclient_networks"),
    ],
)
def test_what_is_nonsense_is_refused(parameters: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        Settings(**parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"data_size_limit": None},
        {"timeout": 0.001},
        {"data_rate_floor": 0},
        {"recipient_limit": 100},
        {"auth_failure_limit": 3},
        {"hook_threads": 1},
        {"error_limit": 1},
        {"mail_limit": 1},
        {"line_length_limit": 1},
        {"require_starttls": True, "tls_context": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)},
        {"proxy_protocol_timeout": 0.1, "proxy_networks": {"127.0.0.0/8"}},
    ],
)
def test_what_is_at_the_edge_is_taken(parameters: dict[str, Any]) -> None:
    settings = Settings(**parameters)
    assert {name: getattr(settings, name) for name in parameters} == parameters


def test_no_size_and_a_size_of_nothing_mean_no_limit() -> None:
    assert Settings(data_size_limit=None).data_size_limit is None
    assert Settings(data_size_limit=0).data_size_limit is None


def test_names_may_be_in_any_case_and_in_any_collection() -> None:
    settings = Settings(
        auth_exclude_mechanism=["plain"], ignore_parameters=("xverp",), pass_parameters={"Xkeep": "a dict is one too"}
    )
    assert settings.auth_exclude_mechanism == {"PLAIN"}
    assert settings.ignore_parameters == {"XVERP"}
    assert settings.pass_parameters == {"XKEEP"}
    assert Settings(bare_newlines="keep").bare_newlines is BareNewlines.KEEP  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "limits"),
    [
        (None, None),
        (7, {"*": 7}),
        ({}, {"*": CALL_LIMIT_DEFAULT}),
        ({"noop": 5}, {"NOOP": 5, "*": CALL_LIMIT_DEFAULT}),
        ({"NOOP": 5, "*": 3}, {"NOOP": 5, "*": 3}),
    ],
)
def test_limits_of_calls_are_one_number_or_one_for_each_verb(limit: Any, limits: dict[str, int] | None) -> None:
    assert Settings(command_call_limit=limit).call_limits == limits


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"command_call_limit": 5},
        {"command_call_limit": {"NOOP": 5}},
        {"authenticator": len},
        {"auth_exclude_mechanism": ["PLAIN"]},
        {"ignore_parameters": ["X"]},
        {"proxy_protocol_timeout": 5, "proxy_networks": ["127.0.0.0/8"]},
        {"xclient_networks": ["127.0.0.0/8"], "xforward_networks": ["127.0.0.0/8"]},
    ],
)
def test_equal_settings_are_one_key(parameters: dict[str, Any]) -> None:
    """What connections share is looked up by them."""
    one, two = Settings(**parameters), Settings(**parameters)
    assert one == two
    assert hash(one) == hash(two)
    handler = Nothing()
    assert SMTP(handler, settings=one).shared is SMTP(handler, **parameters).shared


def test_different_settings_differ() -> None:
    assert Settings(command_call_limit={"NOOP": 5}) != Settings(command_call_limit={"NOOP": 6})
    assert Settings(timeout=5) != Settings()


@pytest.mark.parametrize("auth_require_tls", [True, False])
def test_passwords_in_clear_are_warned_of(recwarn: pytest.WarningsRecorder, auth_require_tls: bool) -> None:
    Settings(auth_required=True, auth_require_tls=auth_require_tls)
    assert len(recwarn) == (0 if auth_require_tls else 1)
    if not auth_require_tls:
        assert recwarn[0].filename == __file__
