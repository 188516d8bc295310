"""Holds what a client sends against the schemas of the API.  Knows the part of JSON Schema that they are written in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ehlo.inbox.web.errors import invalid, not_found
from ehlo.inbox.web.schemas import SCHEMAS, Schema

if TYPE_CHECKING:
    from ehlo.inbox.web.openapi import Operation, Parameter

# As long as a number is taken for one, if only to say that it is too large.
_INTEGER = re.compile(r"-?[0-9]{1,1000}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,16})?", re.ASCII)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def path_parameters(operation: Operation, given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters in the path; 404 for what cannot be one, because nothing has that address."""
    found = {}
    for parameter in operation.parameters:
        if parameter.place == "path":
            value = _from_text(parameter, given[parameter.name])
            if problem_with(value, parameter.schema):
                raise not_found()
            found[parameter.name] = value
    return found


def query_parameters(operation: Operation, given: list[tuple[str, str]]) -> dict[str, Any]:
    """The parameters in the query, None for those left out that have no default.

    422 for unknown ones too: a criterion that is misspelt must not mean any message.
    """
    known = {parameter.name: parameter for parameter in operation.parameters if parameter.place == "query"}
    found: dict[str, Any] = {name: parameter.default for name, parameter in known.items()}
    seen = set()
    for name, text in given:
        if name not in known:
            raise invalid(f"There is no parameter {name[:50]!r} here; there are: {', '.join(known) or 'none'}")
        if name in seen:
            raise invalid(f"{name}: given twice")
        seen.add(name)
        value = _from_text(known[name], text)
        problem = problem_with(value, known[name].schema, name)
        if problem is not None:
            raise invalid(problem)
        found[name] = value
    return found


def parse_json(data: bytes) -> Any:
    """JSON as RFC 8259 has it: no NaN, and no lone surrogates; 422."""
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON") from None


def problem_with(value: Any, schema: Schema, name: str = "the value") -> str | None:
    """What is wrong with a value, in a sentence; None if nothing is."""
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    wanted = schema.get("type")
    if wanted is not None and not _is_of_type(value, [wanted] if isinstance(wanted, str) else wanted):
        return f"{name}: {wanted if isinstance(wanted, str) else ' or '.join(wanted)} expected"
    if "enum" in schema and value not in schema["enum"]:
        return f"{name}: one of {', '.join(map(str, schema['enum']))} expected"
    if isinstance(value, str):
        return _problem_with_text(value, schema, name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            return f"{name}: must be from {schema.get('minimum', 'any')} to {schema.get('maximum', 'any')}"
    elif isinstance(value, list):
        return _problem_with_list(value, schema, name)
    elif isinstance(value, dict):
        return _problem_with_object(value, schema)
    return None


def _problem_with_text(value: str, schema: Schema, name: str) -> str | None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return f"{name}: too short or too long"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return f"{name}: not Unicode"
    # \Z, because in Python a $ is also before a last line feed.
    pattern = schema.get("pattern")
    if pattern is not None and not re.search(f"{pattern.removesuffix('$')}\\Z", value):
        return f"{name}: must be like {pattern}"
    return None


def _problem_with_list(value: list[Any], schema: Schema, name: str) -> str | None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"{name}: too few or too many"
    problems = (problem_with(item, schema.get("items", {}), f"{name}[{index}]") for index, item in enumerate(value))
    return next(filter(None, problems), None)


def _problem_with_object(value: dict[str, Any], schema: Schema) -> str | None:
    properties = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            return f"{key}: missing"
    for key, item in value.items():
        if key not in properties:
            return f"There is no {key[:50]!r} in here; there are: {', '.join(properties)}"
        problem = problem_with(item, properties[key], key)
        if problem is not None:
            return problem
    return None


def _is_of_type(value: Any, wanted: list[str]) -> bool:
    for name in wanted:
        if isinstance(value, bool):
            if name == "boolean":
                return True
        elif isinstance(value, _TYPES[name]):
            return True
    return False


def _from_text(parameter: Parameter, text: str) -> Any:
    """The value that the text of a URL means, or the text itself if it means none of that type."""
    kind = parameter.schema.get("type")
    if kind == "array":
        items = text.split(",")
        return [int(item) if _INTEGER.fullmatch(item) else item for item in items]
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text):
        return float(text)
    if kind == "boolean":
        return _FLAGS.get(text, text)
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
