"""The arguments of XCLIENT and XFORWARD."""

from __future__ import annotations

from dataclasses import fields

from ehlo.errors import ArgumentError
from ehlo.protocol.xclient import XclientAttributes, XforwardAttributes, parse_xclient, parse_xforward
from fuzz.checks import as_text, require, require_harmless


def fuzz_xclient(data: bytes) -> None:
    """Each line is the argument of both; what earlier lines said is remembered."""
    said, forwarded = XclientAttributes(), XforwardAttributes()
    for line in data.split(b"\n"):
        text = as_text(line)
        if text is None:
            continue
        # Of any type for mypy only: they are two records with the same use.
        try:
            said = parse_xclient(text, earlier=said)
            _look_at(said)
        except ArgumentError as error:
            require_harmless(error.status, "a reply")
        try:
            forwarded = parse_xforward(text, earlier=forwarded)
            _look_at(forwarded)
        except ArgumentError as error:
            require_harmless(error.status, "a reply")


def _look_at(said: XclientAttributes | XforwardAttributes) -> None:
    for field in fields(said):
        value = getattr(said, field.name)
        if isinstance(value, str):
            require(value, f"{field.name} is empty")
            require_harmless(value, field.name)
        if field.name not in {"given", "name_is_unavailable_for_now"} and value is not None:
            require(field.name in said.given, f"{field.name} is there and was not given")
