"""Rules about lines and octets, before any meaning. Knows what may travel; does not know fields or MIME."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehlo.report.examples import HEAD, crlf, mail
from ehlo.report.finding import Found, Rule, Severity
from ehlo.report.mail import Mail

LINE_LIMIT = 998
"""Octets without CRLF (RFC 5322 §2.1.1; the 1000 of RFC 5321 §4.5.3.1.6 has the CRLF in it)."""
LINE_RECOMMENDED = 78

_BARE_CR = re.compile(rb"\r(?!\n)")
_FOLDABLE = re.compile(rb"(?:subject|to|cc|from|reply-to)[ \t]*:", re.IGNORECASE)
_EIGHT_BIT = re.compile(rb"[\x80-\xff]")


def _bare_lf(mail: Mail) -> Iterator[Found]:
    for number, line in enumerate(mail.lines, 1):
        if line.endswith(b"\n") and not line.endswith(b"\r\n"):
            yield Found(f"line {number}", "ends in LF without CR: end every line in CRLF")


def _bare_cr(mail: Mail) -> Iterator[Found]:
    for number, line in enumerate(mail.lines, 1):
        if _BARE_CR.search(line):
            yield Found(f"line {number}", "has a CR without LF: end every line in CRLF")


def _long_lines(mail: Mail) -> Iterator[Found]:
    for number, line in enumerate(mail.lines, 1):
        size = len(line.rstrip(b"\r\n"))
        if size > LINE_LIMIT:
            yield Found(
                f"line {number}", f"has {size} octets, and {LINE_LIMIT} are allowed: fold a field, encode a body"
            )


def _wide_header_lines(mail: Mail) -> Iterator[Found]:
    for number, line in enumerate(mail.lines[: mail.header_size], 1):
        octets = line.rstrip(b"\r\n")
        # RFC 6532 §3.4: this limit is in characters; the other one is in octets.
        size = len(octets.decode("utf-8", "replace"))
        if size > LINE_RECOMMENDED and len(octets) <= LINE_LIMIT and _FOLDABLE.match(line):
            yield Found(f"line {number}", f"has {size} characters, and {LINE_RECOMMENDED} are recommended: fold it")


def _nul(mail: Mail) -> Iterator[Found]:
    for number, line in enumerate(mail.lines, 1):
        if b"\0" in line:
            yield Found(f"line {number}", "has a NUL octet: leave it out, or encode the body as base64")


def _eight_bit_body(mail: Mail) -> Iterator[Found]:
    bodies = {option.upper() for option in mail.options}
    if mail.mail_from is None or bodies & {"BODY=8BITMIME", "BODY=BINARYMIME"}:
        return
    for number, line in enumerate(mail.lines[mail.header_size :], mail.header_size + 1):
        if _EIGHT_BIT.search(line):
            yield Found(
                f"line {number}", "has octets above 127, and MAIL had no BODY=8BITMIME: add it, or encode the body"
            )
            return


def _eight_bit_header(mail: Mail) -> Iterator[Found]:
    if mail.is_internationalized:
        return
    for number, line in enumerate(mail.lines[: mail.header_size], 1):
        if _EIGHT_BIT.search(line):
            why = "" if mail.mail_from is None else ", and MAIL had no SMTPUTF8"
            yield Found(f"line {number}", f"has octets above 127{why}: write =?utf-8?q?...?= for them")


def _header_not_utf8(mail: Mail) -> Iterator[Found]:
    for number, line in enumerate(mail.lines[: mail.header_size], 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            yield Found(
                f"line {number}",
                "is not UTF-8, and nothing else may be here: write =?utf-8?q?...?= for what is not ASCII",
            )


def _doubled_dots(mail: Mail) -> Iterator[Found]:
    dotted = [
        number
        for number, line in enumerate(mail.lines[mail.header_size :], mail.header_size + 1)
        if line.startswith(b"..") and not line.startswith(b"...")
    ]
    for number in dotted:
        yield Found(
            f"line {number}",
            "begins with two dots: see that nothing doubles a dot but the SMTP client, which does it once",
        )


def _no_body_separator(mail: Mail) -> Iterator[Found]:
    if mail.raw and mail.header_size == len(mail.lines):
        yield Found("", "there is no empty line, so all of it is header: put one behind the header")


_LONG = "x" * (LINE_LIMIT + 1)

RULES: tuple[Rule[Mail], ...] = (
    Rule(
        "bare-lf",
        Severity.ERROR,
        "Lines end in CRLF, and LF stands nowhere else",
        "RFC 5321 §2.3.8",
        _bare_lf,
        mail(),
        Mail(crlf(HEAD + "\nAt") + b"\none?\r\n"),
    ),
    Rule(
        "bare-cr",
        Severity.ERROR,
        "CR stands nowhere but in CRLF",
        "RFC 5321 §2.3.8",
        _bare_cr,
        mail(),
        Mail(crlf(HEAD + "\nAt") + b"\rone?\r\n"),
    ),
    Rule(
        "long-line",
        Severity.ERROR,
        "No line has more than 998 octets",
        "RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6",
        _long_lines,
        mail(f"{_LONG[1:]}\n"),
        mail(f"{_LONG}\n"),
    ),
    Rule(
        "wide-header-line",
        Severity.NOTICE,
        "A header line has at most 78 characters",
        "RFC 5322 §2.1.1",
        _wide_header_lines,
        mail(subject="x" * 60 + "\n " + "x" * 60),
        mail(subject="x " * 60),
    ),
    Rule(
        "nul-octet",
        Severity.ERROR,
        "There is no NUL",
        "RFC 5322 §3.5, §4: it was allowed by the obsolete syntax only",
        _nul,
        mail(),
        mail("At\0one?\n"),
    ),
    Rule(
        "8bit-without-8bitmime",
        Severity.ERROR,
        "A body with octets above 127 is announced by BODY=8BITMIME",
        "RFC 6152 §3, RFC 5321 §2.4",
        _eight_bit_body,
        mail("Grüße\n", "BODY=8BITMIME", mail_from="anna@sender.example"),
        mail("Grüße\n", mail_from="anna@sender.example"),
    ),
    Rule(
        "8bit-header",
        Severity.ERROR,
        "A header with octets above 127 is announced by SMTPUTF8, or encoded",
        "RFC 6531 §3.4, RFC 2047 §2",
        _eight_bit_header,
        mail(subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
        mail(subject="Grüße"),
    ),
    Rule(
        "header-not-utf8",
        Severity.ERROR,
        "What is not ASCII in a header is UTF-8",
        "RFC 6532 §3.1",
        _header_not_utf8,
        mail(subject="Grüße"),
        Mail(b"Subject: Gr\xfc\xdfe\r\n" + crlf(HEAD)),
    ),
    Rule(
        "doubled-dot",
        Severity.NOTICE,
        "No line begins with two dots by mistake",
        "RFC 5321 §4.5.2",
        _doubled_dots,
        mail("...and so on\n.\n"),
        mail("..profile\n"),
    ),
    Rule(
        "no-empty-line",
        Severity.ERROR,
        "An empty line parts header and body",
        "RFC 5322 §2.1",
        _no_body_separator,
        mail(),
        Mail(crlf(HEAD)),
    ),
)
