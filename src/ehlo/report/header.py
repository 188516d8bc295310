"""Rules about header fields. Knows RFC 5322 and who adds which field; does not know dates, addresses and bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehlo.report.examples import HEAD, added, crlf, mail
from ehlo.report.finding import Found, Rule, Severity, quoted
from ehlo.report.mail import Mail

# RFC 5322 §3.6: the fields of which there is one at most.
_ONCE = (
    *("Date", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject"),
    # RFC 2045 §3, RFC 2369 §2 and RFC 8058 §3.1 say it of theirs.
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post"),
)

# RFC 5322 §3.6.4: msg-id = [CFWS] "<" id-left "@" id-right ">" [CFWS]
_MESSAGE_ID = re.compile(r"<[^\s<>@]+@(?:\[[^\[\]\s]+\]|[^\s<>@]+)>")
# RFC 5322 §3.2.2, without nesting
_COMMENT = re.compile(r"\([^()]*\)")


def _no_date(mail: Mail) -> Iterator[Found]:
    if mail.first("Date") is None:
        yield Found("header", "there is no Date field: write when the message was made")


def _no_from(mail: Mail) -> Iterator[Found]:
    if mail.first("From") is None:
        yield Found("header", "there is no From field: write who wrote the message")


def _no_message_id(mail: Mail) -> Iterator[Found]:
    if mail.first("Message-ID") is None:
        yield Found("header", "there is no Message-ID field: add one, or some take it for spam")


def _no_subject(mail: Mail) -> Iterator[Found]:
    subject = mail.first("Subject")
    if subject is None:
        yield Found("header", "there is no Subject field: say in it what the message is about")
    elif not subject.value:
        yield Found(subject.place, "is empty: say in it what the message is about")


def _no_recipient(mail: Mail) -> Iterator[Found]:
    if not any(mail.all(name) for name in ("To", "Cc", "Bcc")):
        yield Found("header", "there is neither To nor Cc: name a recipient, or write To: undisclosed-recipients:;")


def _resent(mail: Mail) -> Iterator[Found]:
    resent = [one for one in mail.fields if one.name.lower().startswith("resent-")]
    for name in ("Resent-From", "Resent-Date"):
        if resent and mail.first(name) is None:
            yield Found(resent[0].place, f"is of a message that was sent again, without {name}: add that")


def _doubled(mail: Mail) -> Iterator[Found]:
    for name in _ONCE:
        for again in mail.all(name)[1:]:
            yield Found(again.place, f"is the second {name} field, and one is allowed: join them, or leave one out")


def _bad_message_id(mail: Mail) -> Iterator[Found]:
    for one in mail.all("Message-ID"):
        if not _MESSAGE_ID.fullmatch(_COMMENT.sub("", one.value).strip()):
            yield Found(one.place, f"is {quoted(one.value)}: write it as <unique@your.domain>")


def _bad_reference(mail: Mail) -> Iterator[Found]:
    for one in (*mail.all("In-Reply-To"), *mail.all("References")):
        if _MESSAGE_ID.sub("", _COMMENT.sub("", one.value)).strip() or "<" not in one.value:
            yield Found(
                one.place, f"is {quoted(one.value)}: write Message-IDs with spaces between, or it is in no conversation"
            )


def _stray_lines(mail: Mail) -> Iterator[Found]:
    for number, line in mail.strays:
        is_indented = line[:1] in {b" ", b"\t"}
        what = "is indented, and no field is before it" if is_indented else "has no field name with a colon"
        yield Found(f"line {number}", f"{what}: take it out, or put an empty line before the body")


def _space_before_colon(mail: Mail) -> Iterator[Found]:
    for one in mail.fields:
        if one.has_space:
            yield Found(one.place, "has white space before its colon: take that out")


def _blank_continuation(mail: Mail) -> Iterator[Found]:
    for one in mail.fields:
        if any(not line.strip() for line in one.raw_lines[1:]):
            yield Found(
                one.place, "has a blank line folded into it, which some take for the end of the header: take that out"
            )


def _trace_of_the_future(mail: Mail) -> Iterator[Found]:
    if mail.mail_from is None and mail.first("Received") is not None:
        return  # a file of what was delivered
    for one in mail.all("Return-Path"):
        yield Found(one.place, "is added by the server that delivers the message: leave it out")


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
        "incomplete-resent",
        Severity.ERROR,
        "Resent fields have Resent-From and Resent-Date beside them",
        "RFC 5322 §3.6.6",
        _resent,
        added("Resent-From: carl@sender.example", "Resent-Date: Mon, 2 Nov 2026 13:00:00 +0100"),
        added("Resent-To: dora@receiver.example"),
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
        "bad-message-id",
        Severity.ERROR,
        "The Message-ID is one",
        "RFC 5322 §3.6.4",
        _bad_message_id,
        mail(),
        mail(message_id="1@sender.example"),
    ),
    Rule(
        "bad-reference",
        Severity.WARNING,
        "What a message answers is named by Message-IDs",
        "RFC 5322 §3.6.4",
        _bad_reference,
        added("References: <0@receiver.example> <1@receiver.example>"),
        added("References: <0@receiver.example>, <1@receiver.example>"),
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
        "return-path",
        Severity.WARNING,
        "Return-Path is not there yet",
        "RFC 5321 §4.4",
        _trace_of_the_future,
        mail(),
        added("Return-Path: <anna@sender.example>"),
    ),
)
