"""MAIL and RCPT parameters.

A seed is a line whose octets choose what is offered, ignored and passed on, and then the parameters of MAIL on one line
and those of RCPT on the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ehlo.errors import ArgumentError, ProtocolError, UnknownParameter
from ehlo.protocol.client import mail_command
from ehlo.protocol.parameters import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    parse_mail_parameters,
    parse_rcpt_parameters,
    split_parameters,
)
from fuzz.checks import as_text, require, require_harmless
from fuzz.choices import take_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ehlo.protocol.parameters import MailParameters, Parameter, RecipientParameters

_EVERYTHING: Final = frozenset(
    {parameter.extension for table in (MAIL_PARAMETERS, RCPT_PARAMETERS) for parameter in table.values()}
    | {"BINARYMIME"}
)
_OFFERS: Final = (_EVERYTHING, frozenset({"SIZE", "8BITMIME"}), frozenset[str](), _EVERYTHING - {"SMTPUTF8"})
_OTHERS: Final = (frozenset[str](), frozenset({"X-ONE", "AUTH"}), frozenset({"X-TWO", "NOTIFY"}))


def fuzz_parameters(data: bytes) -> None:
    """Typed values or a reply with 501, 553 or 555; nothing else."""
    choices, lines = take_line(data)
    offered, ignored, passed = choices.pick(_OFFERS), choices.pick(_OTHERS), choices.pick(_OTHERS)
    first, _, second = lines.partition(b"\n")
    for line, table in ((first, MAIL_PARAMETERS), (second, RCPT_PARAMETERS)):
        text = as_text(line)
        if text is None:
            continue
        try:
            options = split_parameters(text)
        except ArgumentError:
            continue
        require("".join(options) == text.replace(" ", ""), "parameters from nowhere")
        mail_command("a@b.example", options)  # what was accepted can be passed on
        parse = parse_mail_parameters if table is MAIL_PARAMETERS else parse_rcpt_parameters
        try:
            values = parse(options, offered=offered, ignored=ignored, passed=passed)
        except (ArgumentError, UnknownParameter):
            continue
        except ProtocolError as error:
            raise AssertionError(f"not a refusal for parameters: {error.status}") from error
        require(values == parse(options, offered=offered, ignored=ignored, passed=passed), "not the same again")
        _look_at(values, options, table, offered, passed)


def _look_at(
    values: MailParameters | RecipientParameters,
    options: list[str],
    table: Mapping[str, Parameter],
    offered: frozenset[str],
    passed: frozenset[str],
) -> None:
    given = {option.partition("=")[0].upper() for option in options}
    for parameter in table.values():
        value = getattr(values, parameter.attribute)
        if value is None or value is False:
            continue
        require(parameter.keyword in given, f"{parameter.keyword} from nowhere")
        needs = {parameter.extension, *parameter.value_extensions.values()}
        require(needs & offered, f"{parameter.keyword} without an offer")
        # Decoded values end up in headers and in commands.  Of a Notify or a date this says nothing, nor need it.
        require_harmless(str(value), parameter.keyword)
    require({option.partition("=")[0].upper() for option in values.unknown} <= passed, "passed on and not known")
