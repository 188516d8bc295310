"""Rules about MIME: the tree of parts, their types, and text beside HTML. Does not know octets, nor what HTML says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehlo.report.examples import HTML_PART, TEXT_PART, html, mail, multipart
from ehlo.report.finding import Found, Rule, Severity, quoted
from ehlo.report.mail import Mail
from ehlo.report.parts import DEPTH_LIMIT, PART_LIMIT

# What a reader shows rather than text/plain, if it comes last.
_RICHER = frozenset({"text/html", "multipart/related"})
# RFC 2046 §5.1.1: boundary := 0*69<bchars> bcharsnospace
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
# RFC 2045 §5.1, in lower case
_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# HTML Standard, 13.1: what a document begins with, after white space and comments
_HTML_DOCUMENT = re.compile(r"\s*+(?:<!--.*?-->\s*+)*+<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_LARGE = 25 * 1000 * 1000


def _no_mime_version(mail: Mail) -> Iterator[Found]:
    one = mail.first("MIME-Version")
    first = mail.first("Content-Type") or mail.first("Content-Transfer-Encoding")
    if first is not None and one is None:
        yield Found(
            "header",
            f"has {first.name} and no MIME-Version: add MIME-Version: 1.0, or some readers take it for plain text",
        )
    if one is not None and one.value.partition("(")[0].strip() not in {"1.0", ""}:  # a comment may be there (§4)
        yield Found(one.place, f"is {quoted(one.value)}: write MIME-Version: 1.0")


def _bad_content_type(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if "content-type" in part.header and not _TYPE.fullmatch(part.content.text):
            yield Found(
                part.place, "has a Content-Type that is not type/subtype: write it as in text/plain; charset=utf-8"
            )


def _bad_part_header(mail: Mail) -> Iterator[Found]:
    for part in mail.parts[1:]:
        if part.maybe_stray is not None:
            line = quoted(part.maybe_stray.decode("utf-8", "replace").strip())
            yield Found(part.place, f"has {line} in its header: put an empty line before the body, as after any header")


def _boundary(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if not part.is_multipart:
            continue
        if not part.maybe_boundary:
            yield Found(part.place, "is multipart without a boundary: add the parameter to its Content-Type")
        elif not _BOUNDARY.fullmatch(part.maybe_boundary):
            yield Found(part.place, "has a boundary that is not allowed: make it of at most 70 letters and digits")
        elif not part.is_opened:
            yield Found(
                part.place,
                "has a boundary that stands nowhere in it: begin each part with a line of -- and the boundary",
            )


def _not_closed(mail: Mail) -> Iterator[Found]:
    if mail.size > len(mail.raw):
        return  # the end is not here
    for part in mail.parts:
        if part.is_multipart and part.is_opened and not part.is_closed:
            yield Found(part.place, "is not closed: end it with a line of --, the boundary, and -- again")


def _html_before_text(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        types = [child.content_type for child in part.children]
        if part.content_type != "multipart/alternative" or "text/plain" not in types:
            continue
        if _RICHER & set(types[: types.index("text/plain")]):
            yield Found(
                part.place, "has text/plain behind HTML, and readers show the last that they know: put text/plain first"
            )


def _lonely_alternative(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if part.content_type == "multipart/alternative" and len(part.children) == 1:
            yield Found(part.place, "offers alternatives and has one part: add another, or send the part without it")


def _no_text(mail: Mail) -> Iterator[Found]:
    if mail.shown("text/html") and not mail.shown("text/plain"):
        yield Found("", "has HTML and no text/plain part: put both into a multipart/alternative, the text first")


def _empty_text(mail: Mail) -> Iterator[Found]:
    if not mail.shown("text/html"):
        return
    texts = mail.shown("text/plain")
    if texts and not any(part.text.strip() for part in texts):
        yield Found(texts[0].place, "is an empty text beside the HTML: say in it what the HTML says")


def _html_as_text(mail: Mail) -> Iterator[Found]:
    for part in mail.shown("text/plain"):
        if _HTML_DOCUMENT.match(part.text):
            yield Found(part.place, "is HTML by its look and text/plain by its header, so that readers show the tags")


def _too_many_parts(mail: Mail) -> Iterator[Found]:
    if len(mail.parts) >= PART_LIMIT:
        yield Found("", f"has {PART_LIMIT} parts or more, and those behind them were not checked: send fewer")
    for part in mail.parts:
        if part.is_multipart and part.depth >= DEPTH_LIMIT:
            yield Found(
                part.place, f"has parts within parts, {DEPTH_LIMIT} levels deep, and was not looked into: send fewer"
            )


def _large(mail: Mail) -> Iterator[Found]:
    if mail.size > _LARGE:
        yield Found(
            "", f"has {mail.size / 1e6:.1f} MB, and many servers refuse more than 25: send links instead of files"
        )


_RIGHT_HTML = multipart("alternative", TEXT_PART, HTML_PART)

RULES: tuple[Rule[Mail], ...] = (
    Rule(
        "no-mime-version",
        Severity.ERROR,
        "What has a Content-Type or an encoding has a MIME-Version, 1.0",
        "RFC 2045 §4",
        _no_mime_version,
        mail(),
        mail(mime_version=None),
    ),
    Rule(
        "bad-content-type",
        Severity.ERROR,
        "A Content-Type is type/subtype",
        "RFC 2045 §5.1",
        _bad_content_type,
        mail(),
        mail(content_type="text"),
    ),
    Rule(
        "bad-part-header",
        Severity.ERROR,
        "A part has a header of fields, or none, and an empty line",
        "RFC 2046 §5.1",
        _bad_part_header,
        multipart("mixed", TEXT_PART, "\nAt one?\n"),
        multipart("mixed", TEXT_PART, "At one?\n"),
    ),
    Rule(
        "bad-boundary",
        Severity.ERROR,
        "A multipart has a boundary, which stands in it",
        "RFC 2046 §5.1.1",
        _boundary,
        _RIGHT_HTML,
        mail(content_type="multipart/mixed"),
    ),
    Rule(
        "multipart-not-closed",
        Severity.ERROR,
        "A multipart ends with its closing boundary",
        "RFC 2046 §5.1.1",
        _not_closed,
        _RIGHT_HTML,
        multipart("alternative", TEXT_PART, HTML_PART, end=""),
    ),
    Rule(
        "too-many-parts",
        Severity.WARNING,
        f"There are fewer than {PART_LIMIT} parts, and at most {DEPTH_LIMIT} levels of them",
        "OWASP: Denial of Service Cheat Sheet, limits on input",
        _too_many_parts,
        _RIGHT_HTML,
        multipart("mixed", *(["\n\n"] * PART_LIMIT)),
    ),
    Rule(
        "html-before-text",
        Severity.ERROR,
        "Alternatives come with the best one last",
        "RFC 2046 §5.1.4",
        _html_before_text,
        _RIGHT_HTML,
        multipart("alternative", HTML_PART, TEXT_PART),
    ),
    Rule(
        "lonely-alternative",
        Severity.NOTICE,
        "Alternatives are two or more",
        "RFC 2046 §5.1.4",
        _lonely_alternative,
        _RIGHT_HTML,
        multipart("alternative", HTML_PART),
    ),
    Rule(
        "no-text-part",
        Severity.WARNING,
        "HTML has a text beside it",
        "RFC 2046 §5.1.4; SpamAssassin rule MIME_HTML_ONLY",
        _no_text,
        _RIGHT_HTML,
        mail("<p>At one?</p>\n", content_type="text/html; charset=utf-8"),
    ),
    Rule(
        "empty-text-part",
        Severity.WARNING,
        "The text beside HTML says something",
        "RFC 2046 §5.1.4",
        _empty_text,
        _RIGHT_HTML,
        multipart("alternative", "Content-Type: text/plain\n\n\n", HTML_PART),
    ),
    Rule(
        "html-as-text",
        Severity.WARNING,
        "What is HTML says so",
        "RFC 2046 §4.1.3, RFC 2854 §2",
        _html_as_text,
        mail("In <html> all is tags.\n"),
        mail("<!DOCTYPE html>\n<html><p>At one?</p></html>\n"),
    ),
    Rule(
        "large",
        Severity.WARNING,
        "A message has no more than 25 MB",
        "Gmail and others: limit of 25 MB, support.google.com/mail/answer/6584",
        _large,
        html("<p>At one?</p>"),
        Mail(mail().raw, maybe_size=26_000_000),
    ),
)
