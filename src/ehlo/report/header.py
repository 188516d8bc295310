"""Rules about header fields. Knows RFC 5322 and who adds which field; does not know bodies."""

from __future__ import annotations

import email.errors
import email.header
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import getaddresses, parsedate_to_datetime

from ehlo.report.examples import HEAD, added, crlf, mail
from ehlo.report.finding import Found, Rule, Severity
from ehlo.report.mail import Field, Mail

# RFC 5322 §3.6: the fields of which there is one at most.
_ONCE = (
    *("Date", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject"),
    # RFC 2045 §3, RFC 2369 §2 and RFC 8058 §3.1 say it of theirs.
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post"),
)
_ADDRESS_FIELDS = ("From", "Sender", "Reply-To", "To", "Cc")

# RFC 5322 §3.6.4: msg-id = [CFWS] "<" id-left "@" id-right ">" [CFWS]
_MESSAGE_ID = re.compile(r"<[^\s<>@]+@(?:\[[^\[\]\s]+\]|[^\s<>@]+)>")
# RFC 5322 §3.2.2, without nesting
_COMMENT = re.compile(r"\([^()]*\)")
# RFC 2047 §2: encoded-word = "=?" charset "?" encoding "?" encoded-text "?="
_ENCODED_WORD = re.compile(r"=\?(?P<charset>[^?\s]*)\?(?P<encoding>[^?\s]*)\?(?P<text>[^?]*)\?=")
_ENCODED_WORD_LIMIT = 75
_LOOKS_ENCODED = re.compile(r"=\?[^?\s]+\?[bqBQ]\?")
# RFC 5322 §3.4: group = display-name ":" [group-list] ";"
_GROUP = re.compile(r"[^:;]+:[^;]*;\s*")
_ADDR_SPEC = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"<>@,;:]+)@(?:\[[^\]\s]+\]|[^\s<>@,;:.]+(?:\.[^\s<>@,;:.]+)*)')

_CLOCK_TOLERANCE = timedelta(days=1)


def _no_date(mail: Mail) -> Iterator[Found]:
    if mail.first("Date") is None:
        yield Found("header", "there is no Date field")


def _no_from(mail: Mail) -> Iterator[Found]:
    if mail.first("From") is None:
        yield Found("header", "there is no From field")


def _no_message_id(mail: Mail) -> Iterator[Found]:
    if mail.first("Message-ID") is None:
        yield Found("header", "there is no Message-ID field; some receivers take such mail for spam")


def _no_subject(mail: Mail) -> Iterator[Found]:
    subject = mail.first("Subject")
    if subject is None:
        yield Found("header", "there is no Subject field")
    elif not subject.value:
        yield Found(subject.place, "is empty")


def _no_recipient(mail: Mail) -> Iterator[Found]:
    if not any(mail.all(name) for name in ("To", "Cc", "Bcc")):
        yield Found("header", "there is neither To nor Cc")


def _doubled(mail: Mail) -> Iterator[Found]:
    for name in _ONCE:
        for again in mail.all(name)[1:]:
            yield Found(again.place, f"there is a {name} field before it, and one is allowed")


def _bcc(mail: Mail) -> Iterator[Found]:
    for one in mail.all("Bcc"):
        if one.value:
            yield Found(one.place, "tells every recipient who got a blind copy")


def _date_of(one: Field) -> datetime | None:
    try:
        return parsedate_to_datetime(one.value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _bad_date(mail: Mail) -> Iterator[Found]:
    for one in mail.all("Date"):
        if _date_of(one) is None:
            yield Found(one.place, f"is no date as in Mon, 2 Nov 2026 12:00:00 +0100: {_short(one.value)}")


def _future_date(mail: Mail) -> Iterator[Found]:
    one = mail.first("Date")
    when = None if one is None else _date_of(one)
    if one is None or when is None:
        return
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    if when > datetime.now(UTC) + _CLOCK_TOLERANCE:
        yield Found(one.place, "is in the future: the clock of the sender is wrong")


def _bad_message_id(mail: Mail) -> Iterator[Found]:
    for one in mail.all("Message-ID"):
        if not _MESSAGE_ID.fullmatch(_COMMENT.sub("", one.value).strip()):
            yield Found(one.place, f"is not of the form <unique@domain>: {_short(one.value)}")


def _addresses(one: Field) -> list[str]:
    return [address for _, address in getaddresses([one.value])]


def _bad_address(mail: Mail) -> Iterator[Found]:
    for name in _ADDRESS_FIELDS:
        for one in mail.all(name):
            if _GROUP.fullmatch(one.value):
                continue  # a group, such as "undisclosed-recipients:;" (RFC 5322 §3.4)
            addresses = _addresses(one)
            wrong = [address for address in addresses if not _ADDR_SPEC.fullmatch(address)]
            if not addresses or wrong:
                yield Found(one.place, f"has no address as in local@domain: {_short((wrong or [one.value])[0])}")


def _several_authors(mail: Mail) -> Iterator[Found]:
    one = mail.first("From")
    if one is not None and len(_addresses(one)) > 1 and mail.first("Sender") is None:
        yield Found(one.place, "names several authors, and no Sender says who sent it")


def _stray_lines(mail: Mail) -> Iterator[Found]:
    for number, line in mail.strays:
        what = "is indented, but there is no field before it" if line[:1] in b" \t" else "has no field name and colon"
        yield Found(f"line {number}", what)


def _space_before_colon(mail: Mail) -> Iterator[Found]:
    for one in mail.fields:
        if one.has_space:
            yield Found(one.place, "has white space before its colon")


def _blank_continuation(mail: Mail) -> Iterator[Found]:
    for one in mail.fields:
        if any(not line.strip() for line in one.raw_lines[1:]):
            yield Found(
                one.place, "has a continuation line of white space only, which some take for the end of the header"
            )


def _bad_encoded_word(mail: Mail) -> Iterator[Found]:
    for one in mail.fields:
        for word in _ENCODED_WORD.finditer(one.value):
            try:
                email.header.decode_header(word.group())
                "".encode(word["charset"].partition("*")[0])
            except (LookupError, email.errors.HeaderParseError, ValueError):
                yield Found(one.place, f"has an encoded word that cannot be read: {_short(word.group())}")
            else:
                if word["encoding"].upper() not in {"B", "Q"}:
                    yield Found(one.place, f"has an encoded word of an unknown encoding: {_short(word.group())}")
                elif len(word.group()) > _ENCODED_WORD_LIMIT:
                    yield Found(one.place, f"has an encoded word of {len(word.group())} characters; 75 are allowed")


def _encoded_word_in_quotes(mail: Mail) -> Iterator[Found]:
    for one in mail.fields:
        for quoted in re.findall(r'"[^"]*"', one.value):
            if _LOOKS_ENCODED.search(quoted):
                yield Found(
                    one.place, f"has an encoded word in quotation marks, where nobody decodes it: {_short(quoted)}"
                )


def _trace_of_the_future(mail: Mail) -> Iterator[Found]:
    for one in mail.all("Return-Path"):
        yield Found(one.place, "is for the server of the recipient to add, when it delivers")


def _short(text: str) -> str:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return ascii(shown)


RULES: tuple[Rule[Mail], ...] = (
    Rule("no-date", Severity.ERROR, "There is a Date", "RFC 5322 §3.6", _no_date, mail(), mail(date=None)),
    Rule(
        "no-from",
        Severity.ERROR,
        "There is a From",
        "RFC 5322 §3.6",
        _no_from,
        mail(),
        Mail(b"To: a@b.example\r\n\r\n"),
    ),
    Rule(
        "no-message-id",
        Severity.WARNING,
        "There is a Message-ID",
        "RFC 5322 §3.6.4",
        _no_message_id,
        mail(),
        mail(message_id=None),
    ),
    Rule(
        "no-subject", Severity.NOTICE, "There is a Subject", "RFC 5322 §3.6.5", _no_subject, mail(), mail(subject=None)
    ),
    Rule(
        "no-recipient-field",
        Severity.NOTICE,
        "There is a To or a Cc",
        "RFC 5322 §3.6.3",
        _no_recipient,
        mail(),
        mail(to=None),
    ),
    Rule(
        "doubled-field",
        Severity.ERROR,
        "Fields that may stand once do not stand twice",
        "RFC 5322 §3.6, RFC 2045 §3",
        _doubled,
        mail(),
        added("Subject: Dinner"),
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
        "bad-date",
        Severity.ERROR,
        "The Date is a date",
        "RFC 5322 §3.3",
        _bad_date,
        mail(),
        mail(date="2026-11-02 12:00"),
    ),
    Rule(
        "future-date",
        Severity.WARNING,
        "The Date is not in the future",
        "RFC 5322 §3.6.1",
        _future_date,
        mail(),
        mail(date="Mon, 2 Nov 2126 12:00:00 +0100"),
    ),
    Rule(
        "bad-message-id",
        Severity.ERROR,
        "The Message-ID is one",
        "RFC 5322 §3.6.4",
        _bad_message_id,
        mail(),
        mail(message_id="1@sender.example"),
    ),
    Rule(
        "bad-address",
        Severity.ERROR,
        "Address fields have addresses",
        "RFC 5322 §3.4",
        _bad_address,
        mail(to="undisclosed-recipients:;", cc='"B, C" <b@receiver.example>, c@receiver.example'),
        mail(to="bob at receiver"),
    ),
    Rule(
        "no-sender",
        Severity.ERROR,
        "Several authors have a Sender",
        "RFC 5322 §3.6.2",
        _several_authors,
        mail(),
        mail(**{"from": "a@sender.example, b@sender.example"}),
    ),
    Rule(
        "bad-header-line",
        Severity.ERROR,
        "Every line of the header is a field or goes on with one",
        "RFC 5322 §2.2",
        _stray_lines,
        mail(subject="Lunch\n at one"),
        Mail(crlf("Hello there\n" + HEAD + "\n")),
    ),
    Rule(
        "space-before-colon",
        Severity.ERROR,
        "A colon follows the field's name",
        "RFC 5322 §2.2, §4.5",
        _space_before_colon,
        mail(),
        Mail(crlf(HEAD.replace("Subject:", "Subject :") + "\n")),
    ),
    Rule(
        "blank-continuation",
        Severity.ERROR,
        "No line of a folded field is blank",
        "RFC 5322 §3.2.2",
        _blank_continuation,
        mail(subject="Lunch\n at one"),
        mail(subject="Lunch\n \n at one"),
    ),
    Rule(
        "bad-encoded-word",
        Severity.ERROR,
        "Encoded words can be read",
        "RFC 2047 §2",
        _bad_encoded_word,
        mail(subject="=?utf-8?b?R3LDvMOfZQ==?="),
        mail(subject="=?no-such-charset?q?Gr=FC=DFe?="),
    ),
    Rule(
        "encoded-word-in-quotes",
        Severity.ERROR,
        "Encoded words do not stand in quotation marks",
        "RFC 2047 §5 (3)",
        _encoded_word_in_quotes,
        mail(to="=?utf-8?q?B=C3=B6b?= <bob@receiver.example>"),
        mail(to='"=?utf-8?q?B=C3=B6b?=" <bob@receiver.example>'),
    ),
    Rule(
        "return-path",
        Severity.WARNING,
        "Return-Path is not there yet",
        "RFC 5321 §4.4",
        _trace_of_the_future,
        mail(),
        added("Return-Path: <anna@sender.example>"),
    ),
)
