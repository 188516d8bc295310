"""Rules about the fields with addresses. Knows how an address and a name are written; does not know who they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ehlo.report.examples import added, mail
from ehlo.report.finding import Found, Rule, Severity, quoted
from ehlo.report.mailboxes import Mailboxes, read_mailboxes

if TYPE_CHECKING:
    from ehlo.report.mail import Field, Mail

_FIELDS = (
    *("From", "Sender", "Reply-To", "To", "Cc"),
    *("Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc"),
)
_BLIND_FIELDS = ("Bcc", "Resent-Bcc")

_QUOTED = r'"(?:[^"\\]|\\.)*"'
# RFC 5322 §3.2.3: dot-atom-text = 1*atext *("." 1*atext); RFC 6532 §3.2 adds what is not ASCII to atext
_DOT_ATOM = r'[^\s()<>\[\]:;@\\,."]+(?:\.[^\s()<>\[\]:;@\\,."]+)*'
# RFC 5322 §3.4.1: addr-spec = local-part "@" domain; local-part = dot-atom / quoted-string;
# domain = dot-atom / domain-literal. White space around "@" is discouraged there, and not forbidden.
_ADDR_SPEC = re.compile(rf"(?:{_DOT_ATOM}|{_QUOTED})\s*@\s*(?:{_DOT_ATOM}|\[[^\[\]\\]*\])", re.DOTALL)
# RFC 5322 §3.2.4, and RFC 2047 §2, whose words stand for other characters than their own
_SET_APART = re.compile(rf"{_QUOTED}|=\?[^?\s]*\?[^?\s]*\?[^?]*\?=", re.DOTALL)
# RFC 5322 §3.2.3: specials, without the dot
_SPECIAL = re.compile(r'[()<>\[\]:;@\\,"]')


def _lists(mail: Mail, names: tuple[str, ...] = _FIELDS) -> Iterator[tuple[Field, Mailboxes]]:
    for name in names:
        for one in mail.all(name):
            yield one, read_mailboxes(one.value)


def _is_half(mailboxes: Mailboxes, number: int) -> bool:
    """Whether a member is the part of a name before a comma: ``Bob, Inc. <bob@receiver.example>``."""
    one, then = mailboxes.members[number], mailboxes.members[number + 1 : number + 2]
    return not one.has_brackets and "@" not in one.address and bool(then) and then[0].has_brackets


def _bad_address(mail: Mail) -> Iterator[Found]:
    for one, mailboxes in _lists(mail):
        if mailboxes.semicolons:
            yield Found(one.place, "has a semicolon behind an address: put commas between them")
        elif not mailboxes.members and not mailboxes.has_groups:
            yield Found(one.place, "has no address: give it one, or leave the field out")
        else:
            yield from (Found(one.place, text) for text in _wrong_addresses(mailboxes))


def _wrong_addresses(mailboxes: Mailboxes) -> Iterator[str]:
    for number, mailbox in enumerate(mailboxes.members):
        if mailbox.rest:
            yield f"has {quoted(mailbox.rest)} behind {quoted(mailbox.address)}: put a comma between two addresses"
        elif not _ADDR_SPEC.fullmatch(mailbox.address) and not _is_half(mailboxes, number):
            yield f"has {quoted(mailbox.address)}, which is no address: write it as local@domain"


def _unquoted_name(mail: Mail) -> Iterator[Found]:
    for one, mailboxes in _lists(mail):
        if mailboxes.is_group_open:
            yield Found(
                one.place, "begins a group with a colon and does not end it: put a name with a colon in quotation marks"
            )
        for number, mailbox in enumerate(mailboxes.members):
            special = _SPECIAL.search(_SET_APART.sub("", mailbox.name))
            if _is_half(mailboxes, number):
                yield Found(
                    one.place,
                    f"has {quoted(mailbox.address)} before a comma: put a name with a comma in quotation marks",
                )
            elif special is not None:
                yield Found(
                    one.place,
                    f"has the name {quoted(mailbox.name)}: put a name with {special.group()} in quotation marks",
                )


def _dot_in_name(mail: Mail) -> Iterator[Found]:
    for one, mailboxes in _lists(mail):
        for number, mailbox in enumerate(mailboxes.members):
            name = _SET_APART.sub("", mailbox.name)
            has_advice = _SPECIAL.search(name) or (number and _is_half(mailboxes, number - 1))  # of unquoted-name
            if "." in name and not has_advice:
                yield Found(one.place, f"has the name {quoted(mailbox.name)}: put a name with a dot in quotation marks")


def _gap(mail: Mail) -> Iterator[Found]:
    for one, mailboxes in _lists(mail):
        if mailboxes.gaps and not mailboxes.semicolons:
            yield Found(
                one.place,
                "has a comma with no address before or behind it: leave out the comma, or add what is missing",
            )


def _several_authors(mail: Mail) -> Iterator[Found]:
    for author, sender in (("From", "Sender"), ("Resent-From", "Resent-Sender")):
        one = mail.first(author)
        if one is not None and len(read_mailboxes(one.value).members) > 1 and mail.first(sender) is None:
            yield Found(one.place, f"names several authors: name in a {sender} field the one who sends it")


def _several_senders(mail: Mail) -> Iterator[Found]:
    for one, mailboxes in _lists(mail, ("Sender", "Resent-Sender")):
        if len(mailboxes.members) > 1:
            yield Found(one.place, "names several, and one sent it: name that one")


def _bcc(mail: Mail) -> Iterator[Found]:
    for one, mailboxes in _lists(mail, _BLIND_FIELDS):
        # The second way of RFC 5322 §3.6.3: a copy of their own for blind recipients, which names them.
        is_own_copy = [mailbox.address for mailbox in mailboxes.members] == list(mail.rcpt_tos)
        if one.value and not (is_own_copy and len(mail.rcpt_tos) == 1):
            yield Found(one.place, "tells every recipient who got a blind copy: take the field out before you send")


def _empty_bcc(mail: Mail) -> Iterator[Found]:
    for name in _BLIND_FIELDS:
        for one in mail.all(name):
            if not one.value:
                yield Found(one.place, "is empty, and tells every recipient that others got blind copies: leave it out")


RULES: tuple[Rule[Mail], ...] = (
    Rule(
        "bad-address",
        Severity.ERROR,
        "Address fields have addresses",
        "RFC 5322 §3.4, §3.4.1",
        _bad_address,
        mail(to="undisclosed-recipients:;", cc='"B, C" <b@receiver.example>, c@receiver.example'),
        mail(to="bo..b@receiver.example"),
    ),
    Rule(
        "unquoted-name",
        Severity.ERROR,
        "A name with special characters stands in quotation marks",
        "RFC 5322 §3.4, §3.2.3",
        _unquoted_name,
        mail(to='"Dr. Bob, Inc." <bob@receiver.example>'),
        mail(to="Dr. Bob, Inc. <bob@receiver.example>"),
    ),
    Rule(
        "dot-in-name",
        Severity.NOTICE,
        "A name with a dot stands in quotation marks",
        "RFC 5322 §4.1",
        _dot_in_name,
        mail(to='"Dr. Bob" <bob@receiver.example>'),
        mail(to="Dr. Bob <bob@receiver.example>"),
    ),
    Rule(
        "address-gap",
        Severity.WARNING,
        "There is an address on both sides of a comma",
        "RFC 5322 §4.4",
        _gap,
        mail(to="bob@receiver.example, carl@receiver.example"),
        mail(to="bob@receiver.example, "),
    ),
    Rule(
        "no-sender",
        Severity.ERROR,
        "Several authors have a Sender",
        "RFC 5322 §3.6.2, §3.6.6",
        _several_authors,
        mail(),
        mail(**{"from": "a@sender.example, b@sender.example"}),
    ),
    Rule(
        "several-senders",
        Severity.ERROR,
        "A Sender is one",
        "RFC 5322 §3.6.2, §3.6.6",
        _several_senders,
        added("Sender: carl@sender.example"),
        added("Sender: carl@sender.example, dora@sender.example"),
    ),
    Rule(
        "bcc-left-in",
        Severity.ERROR,
        "Bcc is taken out before a message is sent",
        "RFC 5322 §3.6.3, §5",
        _bcc,
        mail(),
        added("Bcc: carl@receiver.example"),
    ),
    Rule(
        "empty-bcc",
        Severity.NOTICE,
        "Bcc is taken out, also when it is empty",
        "RFC 5322 §3.6.3, which allows it",
        _empty_bcc,
        mail(),
        added("Bcc:"),
    ),
)
