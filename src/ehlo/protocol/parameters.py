"""MAIL and RCPT parameters. Knows keywords, values and their RFCs; does not know sessions, limits or policy.

    split_parameters            the text after the path -> raw strings, which hooks see too
    parse_mail_parameters       raw strings -> MailParameters
    parse_rcpt_parameters       raw strings -> RecipientParameters

A keyword is a row of MAIL_PARAMETERS or RCPT_PARAMETERS.  The order of judgement: syntax (501), a keyword given twice
(501), a keyword that was not offered (555), its value (501).  What a value asks for is the caller's matter: SIZE
against the limit (RFC 1870 §6), BY against the advertised minimum (RFC 2852 §4), HOLDFOR and HOLDUNTIL against the
advertised maximum and against BY (RFC 4865 §4.2, §5.2.2), MT-PRIORITY against who asks (RFC 6710 §4.1), AUTH against
trust (RFC 4954 §5), non-ASCII in ORCPT against SMTPUTF8 in MAIL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Flag, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ehlo.errors import ArgumentError, UnknownParameter
from ehlo.protocol import grammar
from ehlo.protocol.xtext import decode_utf8_addr, decode_xtext

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence


class Body(StrEnum):
    """What octets the content is made of (RFC 6152 §2, RFC 3030 §3)."""

    SEVENBIT = "7BIT"
    EIGHTBITMIME = "8BITMIME"
    BINARYMIME = "BINARYMIME"


class Ret(StrEnum):
    """What a "failed" notification returns of the message (RFC 3461 §4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class Notify(Flag):
    """When to send a notification for a recipient (RFC 3461 §4.1).

    NEVER is a bit of its own and never comes with another one, so ``Notify.NEVER in notify`` means what it says.
    """

    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


class ByMode(StrEnum):
    """What to do with a message that is late (RFC 2852 §4.1)."""

    NOTIFY = "N"
    RETURN = "R"


class NoSupport(StrEnum):
    """What to do where the next server does not know RRVS (RFC 7293 §3.1)."""

    CONTINUE = "C"
    REJECT = "R"


class DeliverBy(NamedTuple):
    """BY= (RFC 2852 §4): deliver within ``seconds`` of now, zero or less only with ``ByMode.NOTIFY``."""

    seconds: int
    mode: ByMode
    trace: bool


class OriginalRecipient(NamedTuple):
    """ORCPT= (RFC 3461 §4.2).

    ``address_type`` is as sent (``rfc822``, ``utf-8``; compare without case).  ``address`` is decoded and need not be
    an address of that type.  ``encoded`` is the whole value as sent: a relay passes it on unchanged (§5.2.1 d).
    """

    address_type: str
    address: str
    encoded: str


class RequireValidSince(NamedTuple):
    """RRVS= (RFC 7293 §3.1): the mailbox must have had its owner ``since`` then (aware, in UTC)."""

    since: datetime
    no_support: NoSupport


@dataclass(frozen=True, slots=True)
class MailParameters:
    """The parameters of one MAIL command.  None and False mean: not given.

    ``size`` in octets.  ``auth`` is decoded, ``""`` for ``AUTH=<>``, and not checked to be a mailbox.  ``envid`` is
    decoded.  ``hold_for`` in seconds; ``hold_until`` aware, in UTC; never both.  ``mt_priority`` from -9 to 9.
    ``unknown`` are the raw parameters that were passed on without being understood, in order.
    """

    size: int | None = None
    body: Body | None = None
    smtputf8: bool = False
    requiretls: bool = False
    auth: str | None = None
    ret: Ret | None = None
    envid: str | None = None
    deliver_by: DeliverBy | None = None
    hold_for: int | None = None
    hold_until: datetime | None = None
    mt_priority: int | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipientParameters:
    """The parameters of one RCPT command.  None means: not given.  ``unknown`` as in ``MailParameters``."""

    notify: Notify | None = None
    orcpt: OriginalRecipient | None = None
    rrvs: RequireValidSince | None = None
    unknown: tuple[str, ...] = ()


NO_MAIL_PARAMETERS: Final = MailParameters()
NO_RECIPIENT_PARAMETERS: Final = RecipientParameters()


class Parameter(NamedTuple):
    """One row: a keyword, where its value goes, what brings it.

    ``attribute`` of MailParameters or RecipientParameters.  ``extension`` is the EHLO keyword that offers the
    parameter; ``value_extensions`` are the values, in upper case, that another one offers.  ``line_allowance`` is how
    many octets longer the command line may be for it.  ``parse`` makes a value of the text after "=" or raises
    ValueError; None means that the parameter takes no value.  Only with ``takes_utf8`` may the text hold non-ASCII,
    and then only where SMTPUTF8 is offered.
    """

    keyword: str
    attribute: str
    extension: str
    line_allowance: int
    parse: Callable[[str], object] | None = None
    takes_utf8: bool = False
    value_extensions: Mapping[str, str] = MappingProxyType({})


def split_parameters(text: str) -> list[str]:
    """Raw parameters, in order and as written, of the text that follows a path.

    Any number of spaces may stand before, between and behind them (the grammar has one).  Raises ArgumentError.
    """
    options = [option for option in text.split(" ") if option]
    for option in options:
        pattern = grammar.ORDINARY_ESMTP_PARAM if option.isascii() else grammar.ESMTP_PARAM
        if not pattern.fullmatch(option):
            raise ArgumentError(f"no esmtp-param: {option!r}", text="Syntax error in parameters")
    return options


def parse_mail_parameters(
    options: Sequence[str],
    *,
    offered: Container[str],
    ignored: Container[str] = (),
    passed: Container[str] = (),
) -> MailParameters:
    """What ``split_parameters`` made of a MAIL command, as typed values.

    ``offered`` are the EHLO keywords that the client was offered.  A parameter that none of them brings is put into
    ``unknown`` if its keyword is in ``passed``, dropped if it is in ``ignored``, and otherwise raises
    UnknownParameter (RFC 5321 §4.1.1.11).  All keywords in upper case.  Raises ArgumentError for a bad value.
    """
    if not options:
        return NO_MAIL_PARAMETERS
    values = _parse(options, MAIL_PARAMETERS, offered, ignored, passed)
    # RFC 4865 §4.2 (9), (10): "MUST reject a MAIL command containing more than one hold-param", with 501 5.5.4.
    if "hold_for" in values and "hold_until" in values:
        raise ArgumentError("HOLDFOR and HOLDUNTIL", text="HOLDFOR and HOLDUNTIL exclude each other")
    return MailParameters(**values)


def parse_rcpt_parameters(
    options: Sequence[str],
    *,
    offered: Container[str],
    ignored: Container[str] = (),
    passed: Container[str] = (),
) -> RecipientParameters:
    """The same for a RCPT command."""
    if not options:
        return NO_RECIPIENT_PARAMETERS
    return RecipientParameters(**_parse(options, RCPT_PARAMETERS, offered, ignored, passed))


def line_allowance(table: Mapping[str, Parameter], offered: Container[str]) -> int:
    """How many octets the offered extensions add to the limit of a command line (RFC 5321 §4.5.3.1.4)."""
    return sum(
        parameter.line_allowance
        for parameter in table.values()
        if parameter.extension in offered or any(name in offered for name in parameter.value_extensions.values())
    )


def _parse(
    options: Iterable[str],
    table: Mapping[str, Parameter],
    offered: Container[str],
    ignored: Container[str],
    passed: Container[str],
) -> dict[str, Any]:
    """Attribute -> value."""
    values: dict[str, Any] = {}
    unknown: list[str] = []
    seen: set[str] = set()
    for option in options:
        keyword, equals, text = option.partition("=")
        keyword = keyword.upper()
        if keyword in seen:
            raise ArgumentError(f"{keyword!r} twice", text="Duplicate parameter")
        seen.add(keyword)
        parameter = table.get(keyword)
        if parameter and parameter.value_extensions.get(text.upper(), parameter.extension) in offered:
            values[parameter.attribute] = _value(parameter, text if equals else None, offered)
        elif keyword in passed:
            unknown.append(option)
        elif keyword not in ignored:
            raise UnknownParameter(f"not offered: {option!r}")
    if unknown:
        values["unknown"] = tuple(unknown)
    return values


def _value(parameter: Parameter, text: str | None, offered: Container[str]) -> object:
    """The typed value; ``text`` is None where there was no "="."""
    if parameter.parse is None:
        if text is not None:
            raise _bad_value(parameter, text, "takes no value")
        return True
    if text is None:
        raise _bad_value(parameter, text, "needs a value")
    # This also keeps str.upper() below from making ASCII of what is none, such as U+017F, the long s.
    if not text.isascii() and not (parameter.takes_utf8 and "SMTPUTF8" in offered):
        raise _bad_value(parameter, text, "not ASCII")
    try:
        return parameter.parse(text)
    except ValueError as error:
        raise _bad_value(parameter, text, error) from error


def _bad_value(parameter: Parameter, text: str | None, reason: object) -> ArgumentError:
    keyword = parameter.keyword
    return ArgumentError(f"{keyword} with value {text!r}: {reason}", text=f"Syntax error in {keyword} parameter")


# The values.  Each function makes a typed value of the text after "=", or raises ValueError.


def _fullmatch(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError("bad syntax")
    return match


# RFC 1870 §3 (4):  size-value = 1*20DIGIT
_SIZE = re.compile(r"[0-9]{1,20}")


def _size(text: str) -> int:
    return int(_fullmatch(_SIZE, text)[0])


def _body(text: str) -> Body:
    return Body(text.upper())


# RFC 3461 §4.2, §4.4: "entirely of printable (graphic and white space) characters from the US-ASCII repertoire"
_PRINTABLE = re.compile(r"[\t -~]*")
# Decoded values end up in headers and in the commands of a relay: an encoded CR LF must not split either.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def _decode_printable(xtext: str) -> str:
    return _fullmatch(_PRINTABLE, decode_xtext(xtext))[0]


def _without_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control character")
    return text


def _auth(text: str) -> str:
    """RFC 4954 §5: a mailbox in xtext, or ``<>`` for an unknown one.

    It need not be a mailbox, since clients send other things (``AUTH=<username>``, go-smtp #95), and a server that
    trusts nobody "does nothing more than parse and discard" it.
    """
    mailbox = _without_control(decode_xtext(text))
    return "" if mailbox == "<>" else mailbox


def _ret(text: str) -> Ret:
    return Ret(text.upper())


# RFC 3461 §5.4: at least 100 characters for ENVID and 500 for ORCPT, which count the keyword; ours do not.
ENVID_LIMIT: Final = 100
ORCPT_LIMIT: Final = 500


def _envid(text: str) -> str:
    if len(text) > ENVID_LIMIT:
        raise ValueError("too long")
    return _decode_printable(text)


# RFC 2852 §4:
#   by-value = by-time ";" by-mode [by-trace]
#   by-time  = ["-" / "+"] 1*9digit               ; a negative or zero value is not allowed with a by-mode of "R"
#   by-mode  = "N" / "R"
#   by-trace = "T"
_BY = re.compile(r"([+-]?[0-9]{1,9});([NR])(T?)")


def _deliver_by(text: str) -> DeliverBy:
    match = _fullmatch(_BY, text.upper())
    seconds, mode = int(match[1]), ByMode(match[2])
    # "In the case of a by-mode of "R", a zero or negative by-time is a syntax error": 501 5.5.4.
    if seconds <= 0 and mode is ByMode.RETURN:
        raise ValueError("by-time is not positive")
    return DeliverBy(seconds, mode, trace=bool(match[3]))


# RFC 4865 §3:  future-release-integer = %x31-39 *8DIGIT
_HOLD_FOR = re.compile(r"[1-9][0-9]{0,8}")


def _hold_for(text: str) -> int:
    return int(_fullmatch(_HOLD_FOR, text)[0])


# RFC 3339 §5.6; "T" and "Z" in either case:
#   date-time = full-date "T" partial-time time-offset
# RFC 4865 §3 means this by Internet-style-date-time-UTC (erratum 2040).
_DATE_TIME = re.compile(
    r"""(?P<minute> [0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]: )
        (?P<second> [0-5][0-9] | 60 )
        (?P<rest>   (?:\.[0-9]+)? (?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]) )""",
    re.VERBOSE,
)


def _date_time(text: str) -> datetime:
    """The same moment in UTC."""
    minute, second, rest = _fullmatch(_DATE_TIME, text.upper()).groups()
    # A leap second is a valid time-second.  datetime has none: it becomes the second after.
    leap = second == "60"
    try:
        moment = datetime.fromisoformat(f"{minute}{'59' if leap else second}{rest}")
        return moment.astimezone(UTC) + timedelta(seconds=leap)
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error


# RFC 6710 §7:  priority-value = (["-"] NZDIGIT) / "0"
_PRIORITY = re.compile(r"-?[1-9]|0")


def _mt_priority(text: str) -> int:
    return int(_fullmatch(_PRIORITY, text)[0])


_NOTIFY_ELEMENTS = {"SUCCESS": Notify.SUCCESS, "FAILURE": Notify.FAILURE, "DELAY": Notify.DELAY}


def _notify(text: str) -> Notify:
    """RFC 3461 §4.1: ``"NEVER" / 1#("SUCCESS" / "FAILURE" / "DELAY")``, where RFC 822 §2.7 allows null elements."""
    text = text.upper()
    if text == "NEVER":
        return Notify.NEVER
    notify = Notify(0)
    for element in text.split(","):
        if element:
            if element not in _NOTIFY_ELEMENTS:
                raise ValueError("no notify-list-element")
            notify |= _NOTIFY_ELEMENTS[element]
    if not notify:
        raise ValueError("empty list")
    return notify


# RFC 3461 §4.2:
#   original-recipient-address = addr-type ";" xtext
#   addr-type                  = atom             ; RFC 822 §3.3: no specials, SP or CTLs
_ORCPT = re.compile(r"([!#-'*+/0-9=?A-Z^-~-]+);(.*)")


def _orcpt(text: str) -> OriginalRecipient:
    if len(text.encode()) > ORCPT_LIMIT:
        raise ValueError("too long")
    address_type, encoded = _fullmatch(_ORCPT, text).groups()
    is_utf8 = address_type.lower() == "utf-8"
    address = _without_control(decode_utf8_addr(encoded)) if is_utf8 else _decode_printable(encoded)
    return OriginalRecipient(address_type, address, text)


# RFC 7293 §3.1, "with the added restriction that a "time-secfrac" MUST NOT be used":
#   rrvs-param = "RRVS=" date-time [ ";" ( "C" / "R" ) ]
_RRVS = re.compile(r"([^.;]*)(?:;([CR]))?")


def _rrvs(text: str) -> RequireValidSince:
    since, no_support = _fullmatch(_RRVS, text.upper()).groups()
    return RequireValidSince(_date_time(since), NoSupport(no_support or "R"))


MAIL_PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType(
    {
        row.keyword: row
        for row in (
            Parameter("SIZE", "size", "SIZE", 26, _size),  # RFC 1870 §3 (5)
            # RFC 3030 §3 (8): 16.  RFC 6152 adds nothing for the shorter values.
            Parameter("BODY", "body", "8BITMIME", 16, _body, value_extensions={"BINARYMIME": "BINARYMIME"}),
            Parameter("SMTPUTF8", "smtputf8", "SMTPUTF8", 10),  # RFC 6531 §3.1 (5)
            Parameter("REQUIRETLS", "requiretls", "REQUIRETLS", 11),  # RFC 8689 §2 (5)
            Parameter("AUTH", "auth", "AUTH", 500, _auth),  # RFC 4954 §3 (5)
            Parameter("RET", "ret", "DSN", 9, _ret),  # RFC 3461 §5.4: 8, and a space
            Parameter("ENVID", "envid", "DSN", 107, _envid),  # RFC 3461 §5.4, with what ENVID_LIMIT adds
            Parameter("BY", "deliver_by", "DELIVERBY", 17, _deliver_by),  # RFC 2852 §2 (5)
            # RFC 4865 §3 (5): 34 for a hold-param, and there is only ever one: it stands at the longer.
            Parameter("HOLDFOR", "hold_for", "FUTURERELEASE", 0, _hold_for),
            Parameter("HOLDUNTIL", "hold_until", "FUTURERELEASE", 34, _date_time),
            Parameter("MT-PRIORITY", "mt_priority", "MT-PRIORITY", 15, _mt_priority),  # RFC 6710 §3 (6)
        )
    }
)
RCPT_PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType(
    {
        row.keyword: row
        for row in (
            Parameter("NOTIFY", "notify", "DSN", 29, _notify),  # RFC 3461 §5.4: 28, and a space
            # RFC 3461 §5.4, with what ORCPT_LIMIT adds.
            Parameter("ORCPT", "orcpt", "DSN", 507, _orcpt, takes_utf8=True),
            Parameter("RRVS", "rrvs", "RRVS", 33, _rrvs),  # RFC 7293 §3.1
        )
    }
)
