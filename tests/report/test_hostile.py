"""Mail that is made to hurt.  What is quadratic takes minutes for it; what is linear, less than a second."""

from __future__ import annotations

import time

import pytest

from ehlo.report import Mail, check
from ehlo.report.examples import HEAD, crlf

_SIZE = 400_000
_SECONDS = 3

_TOP = crlf(HEAD.partition("Content-Type")[0])


def _many(piece: str) -> str:
    return (piece * (_SIZE // len(piece) + 1))[:_SIZE]


def _html(before: str, piece: str, after: str = "") -> bytes:
    return _TOP + crlf(f"Content-Type: text/html; charset=utf-8\n\n{before}{_many(piece)}{after}\n")


def _field(name: str, before: str, piece: str, after: str = "") -> bytes:
    return _TOP + crlf(f"{name}: {before}{_many(piece)}{after}\n\nAt one?\n")


def _body(encoding: str, piece: str) -> bytes:
    return _TOP + crlf(f"Content-Type: text/plain\nContent-Transfer-Encoding: {encoding}\n\n{_many(piece)}x\n")


def _parts(piece: str, boundary: str = "b") -> bytes:
    return _TOP + crlf(f"Content-Type: multipart/mixed; boundary={boundary}\n\n{_many(piece)}")


_NEST = "".join(f"--{n}\nContent-Type: multipart/mixed; boundary={n + 1}\n\n" for n in range(2000))

HOSTILE = {
    "commas between addresses": _field("To", "", ","),
    "addresses": _field("From", "", "a@b.example, "),
    "starts of encoded words": _field("Subject", "", "=?utf-8?q?"),
    "encoded words": _field("Subject", "", "=?utf-8?q?x?="),
    "marks of encoded words": _field("Subject", "=?utf-8?q?", "=?"),
    "ids": _field("References", "", "<a@b> "),
    "starts of ids": _field("References", "", "<a@"),
    "names of files": _field("Content-Type", "text/plain", "; name=a b"),
    "lines of the header of a part": _parts("--b\n" + "x\n" * 1000),
    "comments before a document": _body("7bit", "<!-- -->"),
    "places of Mailchimp": _body("7bit", "*|A"),
    "semicolons in quotes": _field("Content-Type", 'text/plain; a="', ";", '"'),
    "semicolons": _field("Content-Type", "text/plain; a=", ";"),
    "parameters": _field("Content-Type", "text/plain", "; a=b"),
    "pieces of a parameter": _TOP
    + crlf(f"Content-Type: text/plain; {'; '.join(f'name*{n}*=%41' for n in range(_SIZE // 15))}\n\nx\n"),
    "folded parameters": _field("Content-Type", "text/plain;", "\n a=b;"),
    "parentheses": _field("Content-Type", "text/plain", "("),
    "parentheses in the encoding": _field("Content-Transfer-Encoding", "", "("),
    "back slashes": _field("Content-Type", 'text/plain; a="', "\\"),
    "fields": _TOP + crlf(_many("Content-Type: a\n") + "\n\nx\n"),
    "nesting": _parts(_NEST, "0"),
    "nesting and lines": _TOP + crlf(f"Content-Type: multipart/mixed; boundary=0\n\n{_NEST[:10_000]}{_many('x')}"),
    "parts": _parts("--b\n\n"),
    "parts of HTML": _parts("--b\nContent-Type: text/html\n\n<a href=x>x</a><style>a{b:c}</style>\n"),
    "no delimiters": _parts("--bx\n"),
    "padding of a delimiter": _parts("--b" + " " * 1000),
    "line ends": _TOP + b"\r\n" + b"\n" * _SIZE,
    "equals signs": _body("quoted-printable", "="),
    "spaces": _body("quoted-printable", " "),
    "padding": _body("base64", "="),
    "places for values": _body("7bit", "{{a"),
    "start of a tag": _html("", "<a "),
    "tags": _html("", "<a>"),
    "start of an attribute": _html("", '<a b="'),
    "start of attributes": _html("", "<a b='<a b=\""),
    "links": _html("", "<a href='https://a.example'>https://b.example</a>"),
    "links without end": _html("", "<a href=x>"),
    "comments": _html("", "<!--"),
    "ends of comments": _html("<!--", "--"),
    "sheets": _html("", "<style>"),
    "closed sheets": _html("", "<style></style>"),
    "starts of sheets": _html("", "<style "),
    "ends of sheets": _html("<style>", "</styl"),
    "references": _html("<a title='", "&#1;", "'>"),
    "names of references": _html("<a title='", "&" + "a" * 33, "'>"),
    "attributes": _html("<a ", "a=", ">"),
    "spaces in a tag": _html("<a x", " ", "y>"),
    "a long host": _html("<a href='https://", "ü", "'>https://x</a>"),
    "long labels": _html("<a href='https://", "a.", "'>https://x</a>"),
    "a long name in CSS": _html("<style>", "a", "</style>"),
    "names in CSS": _html("<style>", "a ", "</style>"),
    "spaces in CSS": _html("<style>", " ", "</style>"),
    "at-rules": _html("<style>", "@media x{", "</style>"),
    "imports": _html("<style>", "@import url(x);", "</style>"),
    "at signs": _html("<style>", "@", "</style>"),
    "selectors": _html("<style>", "a > b + c{d:e}", "</style>"),
    "combinators": _html("<style>", "a + ", "</style>"),
    "comments in CSS": _html("<style>", "/*", "</style>"),
    "declarations": _html("<p style='", "a:b;", "'>"),
    "hyphens in CSS": _html("<style>", "--a", "</style>"),
}


@pytest.mark.parametrize("title", HOSTILE)
def test_mail_made_to_hurt_takes_no_time(title: str) -> None:
    began = time.process_time()
    check(Mail(HOSTILE[title]))

    # The worst of them takes a sixth of this.
    assert time.process_time() - began < _SECONDS
