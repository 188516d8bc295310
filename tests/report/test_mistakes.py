"""Mistakes that programs really make: what is wrong is found, and what only looks like it is left alone."""

from __future__ import annotations

import base64
import quopri

import pytest

from ehlo.report import Mail, check
from ehlo.report.examples import crlf

_FROM = """\
From: Shop <shop@shop.example.com>
To: Bob <bob@receiver.example>
Subject: Your order
Date: Mon, 2 Nov 2026 12:00:00 +0100
Message-ID: <1@shop.example.com>
MIME-Version: 1.0
"""
_HI = "Content-Type: text/plain; charset=utf-8\n\nHello Bob\n"
_HI_HTML = 'Content-Type: text/html; charset=utf-8\n\n<html lang="en"><p>Hello Bob</p></html>\n'
_B64 = "Content-Transfer-Encoding: base64\n"
_QP = "Content-Transfer-Encoding: quoted-printable\n"


def _mail(head: str, body: bytes | str = "Hello Bob\n", options: tuple[str, ...] = ()) -> Mail:
    octets = body if isinstance(body, bytes) else crlf(body)
    return Mail(crlf(f"{_FROM}{head}\n") + octets, "shop@shop.example.com", ("bob@receiver.example",), options)


def _multipart(subtype: str, *parts: str, parameters: str = "", options: tuple[str, ...] = ()) -> Mail:
    return _mail(f"Content-Type: multipart/{subtype}; boundary=b1{parameters}\n", _of(*parts), options)


def _of(*parts: str, boundary: str = "b1") -> str:
    return "".join(f"--{boundary}\n{part}\n" for part in parts) + f"--{boundary}--\n"


def _inner(subtype: str, *parts: str, boundary: str = "b2", parameters: str = "") -> str:
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"{parameters}\n\n'
    return head + _of(*parts, boundary=boundary)


def _base64(data: bytes) -> str:
    return base64.encodebytes(data).decode()


def _in(charset: str, text: str, codec: str = "", head: str = "text/plain") -> Mail:
    body = _base64(text.encode(codec or charset))
    return _mail(f"Content-Type: {head}; charset={charset}\n{_B64}", body)


def _html(source: str) -> Mail:
    written = quopri.encodestring(source.encode()).decode()
    return _multipart("alternative", _HI, f"Content-Type: text/html; charset=UTF-8\n{_QP}\n{written}\n")


def _file(kind: str, *lines: str, data: bytes = b"%PDF-1.7 ...") -> str:
    return f"Content-Type: {kind}\n" + "".join(f"{line}\n" for line in lines) + f"{_B64}\n{_base64(data)}"


_NEWSLETTER = """\
<!DOCTYPE html><html lang="en" xmlns="http://www.w3.org/1999/xhtml" xmlns:v="urn:schemas-microsoft-com:vml"><head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>News</title>
<!--[if mso]><noscript><xml><o:OfficeDocumentSettings><o:PixelsPerInch>96</o:PixelsPerInch></o:OfficeDocumentSettings>
</xml></noscript><![endif]-->
<style>@import url(https://fonts.shop.example.com/css?family=Inter);
@media only screen and (max-width: 600px) { .col > a[href*="@"] { width: 100% !important } }
a:hover { color: red }</style>
<style data-embed>{}</style></head>
<body><div style="display:none">Preview &zwnj;&nbsp;</div>
<!--[if mso | IE]><table role="presentation"><tr><td><![endif]-->
<table role="presentation"><tr><td style="background:url('https://cdn.shop.example.com/a.png')">
<!--[if mso]><v:rect fill="true"><v:fill src="cid:nothing" /></v:rect><![endif]-->
<!--[if !mso]><!--><a href="https://click.shop.example.com/x?u=1">https://www.shop.example.com/news</a><!--<![endif]-->
<img src="https://cdn.shop.example.com/open.gif" width="1" height="1" alt="" title="1 > 0">
<a href="https://t.mailer.example.net/1"><img alt="Offer > 50 %" src="https://cdn.shop.example.com/b.png"></a>
<a href="tel:+4930123">Call</a> <a href="https://shop.example.com/leave">Leave</a></td></tr></table></body></html>"""

_GMAIL_ORDER = """\
<html lang="en"><head>
<script type="application/ld+json">{"@context": "https://schema.org", "@type": "Order"}</script></head>
<body><div dir="ltr">Hi <a href="https://xn--bcher-kva.example/">https://bücher.example/</a></div></body></html>"""

_INVITATION = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nSUMMARY:Mittagessen für zwei\r\nEND:VCALENDAR\r\n"
_NAME = "=?UTF-8?B?UmVjaG51bmcgZsO8ciBCb2IucGRm?="
_RECEIPT = _file("application/pdf", 'Content-Disposition: attachment; filename="receipt.pdf"')
_LOGO = _file("image/png", "Content-ID: <logo@shop>", "Content-Disposition: inline")

_RIGHT_TEXT = crlf(f"{_FROM}{_HI}")


def _with(line: str, body: bytes | str = "Hello Bob\n", options: tuple[str, ...] = ()) -> Mail:
    return _mail(f"{line}\n", body, options)


def _attached(*lines: str) -> Mail:
    return _multipart("mixed", _HI, _file("application/pdf", *lines))


_LATIN_1 = "Grüße\r\n".encode("latin-1")
_TO_LATIN_1 = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit"

WRONG = {
    "Latin-1 that says UTF-8": ("wrong-charset", _with(_TO_LATIN_1, _LATIN_1, ("BODY=8BITMIME",))),
    "UTF-8 that says nothing": ("wrong-charset", _with("Content-Type: text/plain", "Grüße\n", ("BODY=8BITMIME",))),
    "UTF-8 without an encoding": ("8bit-in-7bit", _with("Content-Type: text/plain; charset=utf-8", "Grüße\n")),
    "the character set of MySQL": ("unknown-charset", _with("Content-Type: text/plain; charset=utf8mb4")),
    "the name of an encoding for another": ("unknown-encoding", _with("Content-Transfer-Encoding: utf-8")),
    "base64 that is not encoded": ("bad-base64", _with(_B64.strip(), "Hello, Bob\n")),
    "a footer behind base64": ("bad-base64", _with(_B64.strip(), "SGVsbG8=\n-- \nSent by the list\n")),
    "base64 in pieces": ("bad-base64", _with(_B64.strip(), "SGVsbG8=SGVsbG8=\n")),
    "base64 cut off": ("bad-base64", _with(_B64.strip(), "SGVsbG8gQm9\n")),
    "base64 in one line": ("long-encoded-line", _with(_B64.strip(), _base64(b"x" * 300).replace("\n", "") + "\n")),
    "a URL in quoted-printable that is not": (
        "bad-quoted-printable",
        _with(_QP.strip(), "https://a.example/?id=\tx\n"),
    ),
    "a boundary of the header before": (
        "bad-boundary",
        _with("Content-Type: multipart/mixed; boundary=other", _of(_HI)),
    ),
    "a boundary with an at sign": (
        "bad-boundary",
        _with('Content-Type: multipart/mixed; boundary="a@b"', _of(_HI, boundary="a@b")),
    ),
    "a multipart whose end is missing": (
        "multipart-not-closed",
        _with("Content-Type: multipart/mixed; boundary=b1", _of(_HI).replace("--b1--", "")),
    ),
    "a multipart in base64": (
        "encoded-multipart",
        _with(f"Content-Type: multipart/mixed; boundary=b1\n{_B64.strip()}", _of(_HI)),
    ),
    "a type without a semicolon": ("bad-content-type", _with("Content-Type: text/plain charset=utf-8")),
    "the text behind the HTML": ("html-before-text", _multipart("alternative", _HI_HTML, _HI)),
    "HTML alone": ("no-text-part", _mail(_HI_HTML.partition("\n\n")[0] + "\n", "<html lang=en><p>Hello</p></html>\n")),
    "an empty text": ("empty-text-part", _multipart("alternative", _HI.replace("Hello Bob", ""), _HI_HTML)),
    "a path as the file's name": ("bad-file-name", _attached('Content-Disposition: attachment; filename="/tmp/a.pdf"')),
    "a path of Windows": ("bad-file-name", _attached("Content-Disposition: attachment; filename=C:\\\\temp\\\\a.pdf")),
    "an encoded word as the file's name": (
        "bad-file-name",
        _attached(f'Content-Disposition: attachment; filename="{_NAME}"'),
    ),
    "no file name": ("nameless-attachment", _attached("Content-Disposition: attachment")),
    "a picture that is not attached": (
        "missing-inline-image",
        _multipart(
            "related", _HI_HTML.replace("<p>", "<img src='cid:other' alt=''>"), _file("image/png", "Content-ID: <logo>")
        ),
    ),
    "a template without its value": (
        "template-left",
        _html('<html lang="en"><a href="https://a.example/{{ token }}">x</a></html>'),
    ),
    "a template of another kind": ("template-left", _with("Content-Type: text/plain", "Hello undefined,\n")),
    "a path of the site": ("html-relative-url", _html('<html lang="en"><a href="/confirm?x=1">Confirm</a></html>')),
    "a host left out": ("html-relative-url", _html('<html lang="en"><img alt="" src="//cdn.example/x.png"></html>')),
    "the developer's machine": (
        "html-local-url",
        _html('<html lang="en"><a href="http://[::1]:8000/x">Confirm</a></html>'),
    ),
    "an image without a text": ("html-image-alt", _html('<html lang="en"><img src="https://a.example/x.png"></html>')),
    "a handler": ("html-active", _html('<html lang="en"><a href="https://a.example/" onclick="go()">Go</a></html>')),
    "another domain": (
        "html-disguised-link",
        _html('<html lang="en"><a href="https://click.mailer.example/1">https://bank.example/</a></html>'),
    ),
    "HTML sent as text": ("html-as-text", _with("Content-Type: text/plain", "<!-- x -->\n<html><p>Hi</p></html>\n")),
    "a version of MIME that there is not": (
        "no-mime-version",
        Mail(_RIGHT_TEXT.replace(b"MIME-Version: 1.0", b"MIME-Version: 1")),
    ),
    "an encoding without a version of MIME": (
        "no-mime-version",
        Mail(crlf(_FROM.replace("MIME-Version: 1.0\n", _B64) + "\nSGVsbG8=\n")),
    ),
    "quotation marks of another kind": ("unknown-charset", _with("Content-Type: text/plain; charset='utf-8'")),
    "a part without an empty line": ("bad-part-header", _multipart("mixed", _HI, "Content-Type text/plain\n\nHi\n")),
    "a text where the header of a part should be": ("bad-part-header", _multipart("mixed", "Hello Ann\n")),
    "a file name without quotation marks": (
        "bad-file-name",
        _attached("Content-Disposition: attachment; filename=offer (1).pdf"),
    ),
    "a picture whose id has no brackets": (
        "bad-content-id",
        _multipart("related", _HI_HTML, _file("image/png", "Content-ID: logo", "Content-Disposition: inline")),
    ),
    "a text that is attached": ("no-text-part", _multipart("mixed", _HI_HTML, _file('text/plain; name="log.txt"'))),
    "8-bit that says 7BIT": ("8bit-without-8bitmime", _with(_TO_LATIN_1, _LATIN_1, ("BODY=7BIT",))),
    "a template of Mailchimp": ("template-left", _with("Content-Type: text/plain", "Dear *|FNAME|*,\n")),
    "a template of Mailgun": ("template-left", _with("Content-Type: text/plain", "Dear %recipient.name%,\n")),
    "a template of Ruby": ("template-left", _with("Content-Type: text/plain", "Dear #{user.name},\n")),
    "an image on the developer's machine": (
        "html-local-url",
        _html('<html lang="en"><img alt="" src="http://localhost:3000/logo.png"></html>'),
    ),
    "a machine of the network": (
        "html-local-url",
        _html('<html lang="en"><a href="http://10.0.0.7/x">Confirm</a></html>'),
    ),
    "a container": ("html-local-url", _html('<html lang="en"><a href="http://web:8000/x">Confirm</a></html>')),
    "a domain for tests": ("html-local-url", _html('<html lang="en"><a href="https://app.test/x">Confirm</a></html>')),
}


@pytest.mark.parametrize("title", WRONG)
def test_wrong_mail_is_found(title: str) -> None:
    rule, wrong = WRONG[title]

    assert rule in {one.rule for one in check(wrong).findings}


@pytest.mark.parametrize("title", WRONG)
def test_a_finding_is_a_sentence_without_python_in_it(title: str) -> None:
    rule, wrong = WRONG[title]

    for finding in (one for one in check(wrong).findings if one.rule == rule):
        assert 20 < len(finding.text) < 200
        assert not any(word in finding.text for word in ("b'", "Error", "None", "object at"))


@pytest.mark.parametrize(
    ("shown", "target"),
    [
        ("https://shop.example", "https://click.shop.example/1"),
        ("www.shop.co.uk", "https://t.mail.shop.co.uk/1"),
        ("https://shop.com.au/x", "https://shop.com.au/"),
        ("https://bücher.example", "https://xn--bcher-kva.example/"),
        ("https://XN--BCHER-KVA.example", "https://www.bücher.example/"),
        ("https://straße.example", "https://xn--strae-oqa.example/"),
        ("https://bank.example:8443", "https://bank.example/"),
        ("https://bank.example.", "https://bank.example/"),
    ],
)
def test_a_link_within_one_domain_is_not_disguised(shown: str, target: str) -> None:
    found = check(_html(f'<html lang="en"><a href="{target}">{shown}</a></html>')).findings

    assert "html-disguised-link" not in {one.rule for one in found}


@pytest.mark.parametrize(
    ("shown", "target"),
    [
        ("https://bank.co.uk", "https://evil.co.uk/"),
        ("https://bank.com.au", "https://evil.com.au/"),
        ("https://bücher.example", "https://bucher.example/"),
        ("https://straße.example", "https://strasse.example/"),
        ("https://xn--\xff.example", "https://xn--.example/"),
        ("https://bank.example", "https://bank.example.evil.example/"),
        ("https://bank.example", "https://bank.example@evil.example/"),
    ],
)
def test_a_link_to_another_domain_is(shown: str, target: str) -> None:
    found = check(_html(f'<html lang="en"><a href="{target}">{shown}</a></html>')).findings

    assert "html-disguised-link" in {one.rule for one in found}


@pytest.mark.parametrize(
    ("subject", "is_wide"), [("ü" * 60, False), ("ü" * 70, True), ("x" * 60, False), ("x" * 70, True)]
)
def test_the_width_of_a_line_is_counted_in_characters(subject: str, is_wide: bool) -> None:
    found = check(Mail(_RIGHT_TEXT.replace(b"Your order", subject.encode()), options=("SMTPUTF8",))).findings

    assert ("wide-header-line" in {one.rule for one in found}) is is_wide


def test_what_cannot_be_decoded_is_not_blamed_for_its_character_set() -> None:
    for title in ("base64 that is not encoded", "the name of an encoding for another"):
        assert "wrong-charset" not in {one.rule for one in check(WRONG[title][1]).findings}


def test_what_only_the_end_could_show_is_not_said_of_a_beginning() -> None:
    whole = _attached('Content-Disposition: attachment; filename="a.pdf"')
    beginning = Mail(whole.raw[:-15], maybe_size=whole.size)

    assert not {"multipart-not-closed", "bad-base64"} & {one.rule for one in check(beginning).findings}
