"""Addresses as MAIL and RCPT carry them: paths taken apart, mailboxes judged and split.

Knows the limits of RFC 5321 §4.5.3.1 and which error a malformed address is.  Does not know parameters beyond where
they begin, whether SMTPUTF8 was asked for (the caller looks at ``mailbox.isascii()``), or whether anybody lives there.

A mailbox stays exactly as it was sent: quotes, case and Unicode normalisation form are the business of the host
that the domain names (RFC 5321 §2.4, RFC 6531 §3.1).  Only a source route is dropped.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from ehlo.errors import ArgumentError, BadAddress, BadSenderAddress
from ehlo.protocol import grammar

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

# RFC 5321 §4.5.3.1.2, in octets.  The limits on local parts (64) and on paths (256) are not enforced unless asked for:
# receivers should impose none where they can (§4.5.3.1), and VERP, SRS and BATV make longer local parts every day.
_DOMAIN_LIMIT = 255

# How much of a malformed argument the log gets to see, in characters.
_EXCERPT = 200


class Path(NamedTuple):
    """The argument of MAIL or RCPT, taken apart.

    ``mailbox`` is ``''`` for the null reverse-path ``<>``; for ``<Postmaster>`` it is that word in the client's case.
    ``parameters`` is the text after the path without the spaces around it, None when there is none.
    """

    mailbox: str
    parameters: str | None


# What the constructor of a NamedTuple does, without its call of a Python function.
_record = tuple.__new__


class _Command(NamedTuple):
    """What differs between MAIL and RCPT."""

    ordinary: re.Pattern[str]
    opening: re.Pattern[str]
    path: Callable[[], re.Pattern[str]]  # compiled when it is needed
    syntax: str
    bad_address: type[BadAddress]


_MAIL = _Command(
    ordinary=grammar.ORDINARY_MAIL,
    opening=grammar.MAIL_OPENING,
    path=lambda: grammar.REVERSE_PATH,
    syntax="Syntax: MAIL FROM:<address>",
    bad_address=BadSenderAddress,
)
_RCPT = _Command(
    ordinary=grammar.ORDINARY_RCPT,
    opening=grammar.RCPT_OPENING,
    path=lambda: grammar.FORWARD_PATH,
    syntax="Syntax: RCPT TO:<address>",
    bad_address=BadAddress,
)


def parse_reverse_path(arg: str, *, local_part_limit: int = 0) -> Path:
    """Take apart what follows the verb MAIL, such as ``FROM:<a@b.example> SIZE=10`` (RFC 5321 §4.1.1.2).

    ``local_part_limit`` is in octets of UTF-8; 0 is no limit.  The peer's faults: ``ArgumentError`` when FROM: or the
    angle brackets are missing or something other than a space follows them, ``BadSenderAddress`` when there is
    no reverse-path between them.
    """
    return _parse(arg, _MAIL, local_part_limit)


def parse_forward_path(arg: str, *, local_part_limit: int = 0) -> Path:
    """Take apart what follows the verb RCPT, such as ``TO:<a@b.example> NOTIFY=NEVER`` (RFC 5321 §4.1.1.3).

    ``<Postmaster>`` needs no domain; ``<>`` is refused.  Otherwise like ``parse_reverse_path``, with ``BadAddress``.
    """
    return _parse(arg, _RCPT, local_part_limit)


def split_mailbox(mailbox: str) -> tuple[str, str]:
    """Local part and domain of a mailbox that a parser gave; the domain of ``Postmaster`` and of ``''`` is ``''``.

    The domain follows the rightmost ``@`` outside of quotes and brackets, for both may hold an ``@`` themselves.
    """
    # No domain has an "@", and no literal a "[" other than its first character.
    local_part, at_sign, domain = mailbox.rpartition("@[" if mailbox.endswith("]") else "@")
    return (local_part, at_sign[1:] + domain) if at_sign else (mailbox, "")


def is_mailbox(text: str) -> bool:
    """Whether the text is a Mailbox of RFC 5321 §4.1.2 or RFC 6531 §3.3: local part, ``@``, domain or literal."""
    match = grammar.MAILBOX.fullmatch(text)
    return match is not None and not _objection(match, local_part_limit=0)


def is_domain(text: str) -> bool:
    """Whether the text is a Domain of RFC 5321 §4.1.2 or RFC 6531 §3.3; underscores pass."""
    return grammar.DOMAIN.fullmatch(text) is not None and _octets(text) <= _DOMAIN_LIMIT


def is_address_literal(text: str) -> bool:
    """Whether the text is an address literal of RFC 5321 §4.1.3, brackets included."""
    match = grammar.ADDRESS_LITERAL.fullmatch(text)
    return match is not None and _octets(text) <= _DOMAIN_LIMIT and _is_ipv6_or_absent(match["ipv6"])


def is_helo_name(text: str) -> bool:
    """Whether the text will do as the argument of HELO, EHLO or LHLO: one word without control characters.

    Much more than the Domain or address literal of RFC 5321 §4.1.1.1, see ``grammar.HELO_NAME``.
    """
    pattern = grammar.ORDINARY_HELO_NAME if text.isascii() else grammar.HELO_NAME
    return pattern.fullmatch(text) is not None


def _parse(arg: str, command: _Command, local_part_limit: int) -> Path:
    """The ordinary argument in one match; whatever is remarkable about it, the slow way decides."""
    match = command.ordinary.fullmatch(arg)
    if match is not None:
        mailbox, parameters = match.groups()
        # ASCII, so characters are octets; "<>" has no "@" and its index is -1.
        if len(mailbox) <= _DOMAIN_LIMIT and (not local_part_limit or mailbox.find("@") <= local_part_limit):
            return _record(Path, (mailbox, parameters))
    return _parse_slowly(arg, command, local_part_limit)


def _parse_slowly(arg: str, command: _Command, local_part_limit: int) -> Path:
    """The whole grammar, step by step, so that a refusal can say what is wrong."""
    opening = command.opening.match(arg)
    if opening is None or ">" not in arg:
        raise ArgumentError(f"no path in angle brackets: {arg[:_EXCERPT]!r}", text=command.syntax)
    path = command.path().match(arg, opening.end())
    if path is None:
        raise command.bad_address(f"malformed path: {arg[:_EXCERPT]!r}")
    mailbox = path["mailbox"]
    if mailbox is None:  # "<>" or "<Postmaster>"
        mailbox = path[0][1:-1]
    elif objection := _objection(path, local_part_limit):
        raise command.bad_address(f"{objection}: {arg[:_EXCERPT]!r}")
    after = grammar.AFTER_PATH.fullmatch(arg, path.end())
    if after is None:
        raise ArgumentError(f"neither a space nor the end after the path: {arg[:_EXCERPT]!r}", text=command.syntax)
    return Path(mailbox, after["parameters"])


def _objection(match: re.Match[str], local_part_limit: int) -> str:
    """What is wrong with a mailbox that matches the grammar, ``''`` if nothing is."""
    if _octets(match["domain"]) > _DOMAIN_LIMIT:
        return f"domain over {_DOMAIN_LIMIT} octets"
    if not _is_ipv6_or_absent(match["ipv6"]):
        return "no IPv6 address"
    if local_part_limit and _octets(match["local_part"]) > local_part_limit:
        return f"local part over {local_part_limit} octets"
    return ""


def _is_ipv6_or_absent(ipv6: str | None) -> bool:
    if ipv6 is None:
        return True
    try:
        ipaddress.IPv6Address(ipv6)
    except ValueError:
        return False
    return True


def _octets(text: str) -> int:
    return len(text.encode())
