"""XCLIENT and XFORWARD: what a trusted host says about the client behind it. Does not know whom to trust.

The sources are https://www.postfix.org/XCLIENT_README.html and https://www.postfix.org/XFORWARD_README.html.  They give
one syntax for both:

    xclient-command  = "XCLIENT" 1*( SP attribute-name "=" attribute-value )
    xforward-command = "XFORWARD" 1*( SP attribute-name "=" attribute-value )
    attribute-value  = xtext                                    ; at most 255 characters

XCLIENT replaces what the server knows of its client: who may do what hangs on it, and LOGIN is a login without a
password.  XFORWARD is for the log, and for one transaction.  Each command has a table of its attributes; a command
with anything that is not in it, twice in it or malformed is refused as a whole (501), because half of the truth about
a client is worse than none.

Postfix takes a value that is no xtext as it stands, for senders older than its 2.3 (2006).  Here it is refused:
``LOGIN=user+41`` already is somebody else's login, and ``LOGIN=user+tag`` would be a guess too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, NamedTuple

from ehlo.errors import ArgumentError
from ehlo.protocol.address import is_domain, is_helo_name
from ehlo.protocol.xtext import decode_xtext

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

# Note 1 of both: before decoding.
VALUE_LIMIT = 255

# XFORWARD_README: "a protocol name of up to 64 characters".
_PROTO_LIMIT = 64

_PORT_LIMIT = 65535
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")

# Note 1 of XFORWARD_README: no "control characters, non-ASCII characters, whitespace, or other characters that are
# special in message headers".  The last are those that Postfix replaces: ( ) < > \ " ; @
_WORD = re.compile(r"[!#-'*-:=?A-\[\]-~]+")
_NO_HOST_NAME = re.compile(r"[0-9.]+")

# Written in any case.  The second is for the NAME of XCLIENT only.
_UNAVAILABLE = "[UNAVAILABLE]"
_TEMPUNAVAIL = "[TEMPUNAVAIL]"


@dataclass(frozen=True, slots=True, kw_only=True)
class XclientAttributes:
    """What XCLIENT said about the client.

    ``given`` has the names of the fields that were given; of these, None means that the value is unavailable.
    The server keeps its own idea of a field that was not given.

    ``name`` is the client's host name, which could not be looked up if it is unavailable: for the moment if
    ``name_is_unavailable_for_now``, else it has none.  ``addr`` and ``port`` are the client's, ``destaddr`` and
    ``destport`` the server's that it connected to; addresses are in canonical form, without ``IPV6:``, and IPv4-mapped
    ones are IPv4.  ``proto`` is ``SMTP`` or ``ESMTP``, ``helo`` the argument of HELO or EHLO, ``login`` a SASL login
    name, or None for a client that has not logged in.
    """

    given: frozenset[str] = frozenset()
    name: str | None = None
    name_is_unavailable_for_now: bool = False
    addr: str | None = None
    port: int | None = None
    proto: str | None = None
    helo: str | None = None
    login: str | None = None
    destaddr: str | None = None
    destport: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class XforwardAttributes:
    """What XFORWARD said about the client that a message came from, for the log; None is unavailable.

    ``given`` has the names of the fields that were given.  XFORWARD and the session are never mixed: once one
    attribute was given, the others are unavailable until they are given, and are not the session's.

    With ``name`` and ``addr`` both unavailable the message was submitted on the upstream host itself, and ``port``,
    ``proto`` and ``helo`` mean nothing.  ``proto`` may be any protocol's name.  ``ident`` is the id of the message
    upstream, ``source`` is ``LOCAL`` or ``REMOTE``.  The rest as in ``XclientAttributes``.
    """

    given: frozenset[str] = frozenset()
    name: str | None = None
    addr: str | None = None
    port: int | None = None
    proto: str | None = None
    helo: str | None = None
    ident: str | None = None
    source: str | None = None


_NO_XCLIENT = XclientAttributes()
_NO_XFORWARD = XforwardAttributes()


def _fold(text: str) -> str:
    # Not upper() alone, which makes an "S" of U+017F and an "I" of U+0131.
    return text.upper() if text.isascii() else text


def _word(value: str) -> str | None:
    return value if _WORD.fullmatch(value) else None


def _host_name(value: str) -> str | None:
    # "Not an SMTP client address", and Postfix takes no name of digits alone either.
    is_name = value.isascii() and is_domain(value) and not _NO_HOST_NAME.fullmatch(value)
    return value if is_name else None


def _client_host_name(value: str) -> str | None:
    return _TEMPUNAVAIL if _fold(value) == _TEMPUNAVAIL else _host_name(value)


def _helo_name(value: str) -> str | None:
    # What EHLO takes, XCLIENT takes: a proxy hands on whatever its client said.
    return value if is_helo_name(value) else None


def _address(value: str) -> str | None:
    try:
        if _fold(value[:5]) != "IPV6:":
            return str(IPv4Address(value))
        address = IPv6Address(value[5:])
    except ValueError:
        return None
    # A scope ("%eth0") is no part of an address that comes from another host.
    return None if address.scope_id else str(address.ipv4_mapped or address)


def _port(value: str) -> int | None:
    return int(value) if _PORT.fullmatch(value) and int(value) <= _PORT_LIMIT else None


def _smtp_or_esmtp(value: str) -> str | None:
    return _fold(value) if _fold(value) in {"SMTP", "ESMTP"} else None


def _protocol_name(value: str) -> str | None:
    return _word(value) if len(value) <= _PROTO_LIMIT else None


def _login(value: str) -> str | None:
    return value if value.isprintable() else None


def _local_or_remote(value: str) -> str | None:
    return _fold(value) if _fold(value) in {"LOCAL", "REMOTE"} else None


class _Attribute(NamedTuple):
    """``read`` makes the field of a decoded value, or None if the value is malformed."""

    read: Callable[[str], str | int | None]
    can_be_unavailable: bool = True


# The field of an attribute is its name in lower case.
_XCLIENT = {
    "NAME": _Attribute(_client_host_name),
    "ADDR": _Attribute(_address),
    "PORT": _Attribute(_port),
    "PROTO": _Attribute(_smtp_or_esmtp, can_be_unavailable=False),
    "HELO": _Attribute(_helo_name),
    "LOGIN": _Attribute(_login),
    "DESTADDR": _Attribute(_address),
    "DESTPORT": _Attribute(_port),
}
_XFORWARD = {
    "NAME": _Attribute(_host_name),
    "ADDR": _Attribute(_address),
    "PORT": _Attribute(_port),
    "PROTO": _Attribute(_protocol_name),
    "HELO": _Attribute(_word),
    "IDENT": _Attribute(_word),
    "SOURCE": _Attribute(_local_or_remote),
}

# What follows the keyword in the reply to EHLO.
XCLIENT_ATTRIBUTES = tuple(_XCLIENT)
XFORWARD_ATTRIBUTES = tuple(_XFORWARD)

# What Postfix forgets at the next XCLIENT that does not say it again; addresses and names stay for the session.
_OF_ONE_XCLIENT = {"proto": None, "helo": None, "login": None}


def parse_xclient(
    arg: str, *, earlier: XclientAttributes = _NO_XCLIENT, offered: Collection[str] = XCLIENT_ATTRIBUTES
) -> XclientAttributes:
    """Read the argument of XCLIENT; ``ArgumentError`` (501) when anything about it is wrong.

    ``earlier`` is what this session's XCLIENT commands said before.  It holds unless said anew, but for PROTO, HELO
    and LOGIN: the next XCLIENT is a new client's until it says who is logged in.

    ``offered`` are the names after XCLIENT in the reply to EHLO; others are unknown.
    """
    fields = _parse(arg, {name: attribute for name, attribute in _XCLIENT.items() if name in offered})
    given = earlier.given.difference(_OF_ONE_XCLIENT).union(fields)
    if "name" in fields:
        is_for_now = fields["name"] == _TEMPUNAVAIL
        fields |= {"name": None if is_for_now else fields["name"], "name_is_unavailable_for_now": is_for_now}
    return replace(earlier, given=given, **(_OF_ONE_XCLIENT | fields))


def parse_xforward(arg: str, *, earlier: XforwardAttributes = _NO_XFORWARD) -> XforwardAttributes:
    """Read the argument of XFORWARD; ``ArgumentError`` (501) when anything about it is wrong.

    ``earlier`` is what the XFORWARD commands before this one said for the same transaction: it holds unless said anew.
    """
    fields = _parse(arg, _XFORWARD)
    return replace(earlier, given=earlier.given.union(fields), **fields)


def _parse(arg: str, attributes: Mapping[str, _Attribute]) -> dict[str, Any]:
    """The fields that ``arg`` gives."""
    fields: dict[str, Any] = {}
    for pair in arg.split(" "):
        name, _, value = pair.partition("=")
        attribute = attributes.get(_fold(name))
        if attribute is None:
            raise ArgumentError(f"no attribute here: {name[:_PROTO_LIMIT]!r}", text="Unknown attribute")
        field = name.lower()
        if field in fields:
            raise ArgumentError(f"{field} comes twice", text="Attribute given twice")
        fields[field] = _read(field, value, attribute)
    return fields


def _read(field: str, value: str, attribute: _Attribute) -> str | int | None:
    if not value:
        raise ArgumentError(f"{field} has no value", text="Attribute without a value")
    if len(value) > VALUE_LIMIT:
        raise ArgumentError(f"{field} has {len(value)} characters", text="Attribute value too long")
    try:
        decoded = decode_xtext(value)
    except ValueError:
        raise ArgumentError(f"{field} is no xtext: {value!r}") from None
    if attribute.can_be_unavailable and _fold(decoded) == _UNAVAILABLE:
        return None
    read = attribute.read(decoded)
    if read is None:
        raise ArgumentError(f"{field} is malformed: {decoded!r}")
    return read
