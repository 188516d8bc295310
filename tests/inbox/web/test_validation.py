from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.web.errors import ApiError
from ehlo.inbox.web.openapi import OPERATIONS, Operation, document
from ehlo.inbox.web.schemas import SCHEMAS
from ehlo.inbox.web.validation import parse_json, path_parameters, problem_with, query_parameters

BY_NAME = {operation.name: operation for operation in OPERATIONS}
SENT = ("Changes", "Change", "NewInbox", "ReleaseTo")


def query(name: str, *given: tuple[str, str]) -> dict[str, Any]:
    return query_parameters(BY_NAME[name], list(given))


def test_what_is_left_out_is_none_or_the_default() -> None:
    assert query("list_messages") == {"inbox": None, "q": None, "limit": 50, "before": None, "after": None}


@pytest.mark.parametrize(
    ("name", "given_text", "value"),
    [("limit", "7", 7), ("before", "0", 0), ("q", " a b ", " a b "), ("inbox", "team", "team")],
)
def test_values_have_the_type_of_their_schema(name: str, given_text: str, value: object) -> None:
    assert query("list_messages", (name, given_text))[name] == value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_flags(text: str, *, value: bool) -> None:
    assert query("raw_message", ("download", text))["download"] is value


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("2.5", 2.5), ("300", 300.0)])
def test_numbers(text: str, value: float) -> None:
    assert query("wait", ("timeout", text))["timeout"] == value


@pytest.mark.parametrize(
    ("operation", "name", "text"),
    [
        ("list_messages", "limit", "0"),
        ("list_messages", "limit", "201"),
        ("list_messages", "limit", "ten"),
        ("list_messages", "limit", ""),
        ("list_messages", "limit", "1.5"),
        ("list_messages", "limit", "٣"),
        ("list_messages", "limit", "9" * 5000),
        ("list_messages", "before", "-1"),
        ("list_messages", "before", str(2**53)),
        ("list_messages", "q", "x" * 1001),
        ("list_messages", "inbox", ""),
        ("wait", "timeout", "301"),
        ("wait", "timeout", "-1"),
        ("wait", "timeout", "nan"),
        ("wait", "timeout", "1e2"),
        ("raw_message", "download", "yes"),
        ("export", "format", "zip"),
        ("delete_messages", "ids", ""),
        ("delete_messages", "ids", "1,,2"),
        ("delete_messages", "ids", ",".join(["1"] * 1001)),
        ("list_messages", "limti", "1"),
        ("list_messages", "token", "x"),
    ],
)
def test_what_is_not_as_described_is_422(operation: str, name: str, text: str) -> None:
    with pytest.raises(ApiError) as caught:
        query(operation, (name, text))
    assert caught.value.status == 422


def test_a_parameter_comes_once() -> None:
    with pytest.raises(ApiError):
        query("list_messages", ("limit", "1"), ("limit", "1"))


def test_ids_are_separated_by_commas() -> None:
    assert query("delete_messages", ("ids", "3,1,2"))["ids"] == [3, 1, 2]


@pytest.mark.parametrize("text", ["x", "-1", "1.0", "", "9" * 30, "1e3", " 1"])
def test_what_cannot_be_an_id_is_not_there(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        path_parameters(BY_NAME["read_message"], {"id": text})
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "data", [b"", b"{", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b"\xff", b"1" * 10_000, b'"\xed\xa0\x80"']
)
def test_what_is_no_json_is_422(data: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(data)
    assert caught.value.status == 422


def test_a_lone_surrogate_is_no_text() -> None:
    assert problem_with({"q": parse_json(b'"\\ud800"')}, SCHEMAS["Changes"]) is not None


def test_a_line_feed_does_not_slip_behind_a_pattern() -> None:
    assert problem_with({"name": "team\n"}, SCHEMAS["NewInbox"]) is not None
    assert problem_with({"name": "team"}, SCHEMAS["NewInbox"]) is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["team", "a@b", "tag"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ids", "q", "all", "is_read", "add_tags", "name", "ttl", "host", "port", "recipients", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(SENT), JSON)
def test_the_checks_agree_with_json_schema(name: str, value: Any) -> None:
    if isinstance(value, dict) and any(isinstance(item, float) and item.is_integer() for item in _leaves(value)):
        return  # 1.0 is an integer to JSON Schema; nobody sends one
    described = {"components": {"schemas": SCHEMAS}, **SCHEMAS[name]}
    expected = jsonschema_rs.Draft202012Validator(described).is_valid(value)
    assert (problem_with(value, SCHEMAS[name]) is None) is expected


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


# The table


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_described_as_openapi_has_it(operation: Operation) -> None:
    described = document()["paths"][operation.path][operation.method.lower()]
    assert described["operationId"] == operation.name
    in_path = {part.strip("{}") for part in operation.path.split("/") if part.startswith("{")}
    assert {parameter.name for parameter in operation.parameters if parameter.place == "path"} == in_path
    assert {"401", "403"} <= described["responses"].keys()
    assert all(answer["description"] for answer in described["responses"].values())


def test_every_schema_is_one_and_is_used() -> None:
    text = str(document())
    for name, schema in SCHEMAS.items():
        assert jsonschema_rs.meta.is_valid(schema)
        assert f"#/components/schemas/{name}'" in text, name


def test_no_parameter_is_named_twice() -> None:
    for operation in OPERATIONS:
        names = [parameter.name for parameter in operation.parameters]
        assert len(names) == len(set(names)), operation.name


def test_a_number_that_is_too_large_is_said_to_be() -> None:
    with pytest.raises(ApiError, match="limit: must be from 1 to 200"):
        query_parameters(BY_NAME["list_messages"], [("limit", "9" * 30)])
