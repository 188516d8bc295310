"""Rules about MIME: the tree of parts, their types, encodings and names. Does not know what HTML says."""

from __future__ import annotations

import email.errors
import re
from collections.abc import Iterator
from email.message import Message
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from ehlo.report.examples import HTML_PART, TEXT_PART, html, mail, multipart
from ehlo.report.finding import Found, Rule, Severity
from ehlo.report.mail import PART_LIMIT, Mail, Part

# RFC 2045 §6.1; x-tokens are private agreements that no reader knows.
_ENCODINGS = frozenset({"7bit", "8bit", "binary", "quoted-printable", "base64"})
# RFC 2045 §6.4: what is made of parts has no encoding of its own.
_ENCODINGS_OF_MULTIPART = frozenset({"7bit", "8bit", "binary"})
_ENCODED_LINE = 76
"""Characters in a line of quoted-printable (RFC 2045 §6.7 rule 5) and of base64 (§6.8)."""
# RFC 2046 §5.1.1: boundary := 0*69<bchars> bcharsnospace
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
# RFC 2045 §6.7: "=" and two hexadecimal digits, or "=" at the end of a line.
_BAD_QUOTED = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\Z)")
_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_COMMENT = re.compile(r"\([^()]*\)")
_LARGE = 25 * 1000 * 1000
_CID = re.compile(r"""\b(?:src|background|href)\s*=\s*["']?cid:([^"'\s>]+)""", re.IGNORECASE)


def _field(message: Message, name: str) -> str:
    return str(message.get(name, ""))


def _no_mime_version(mail: Mail) -> Iterator[Found]:
    if mail.first("Content-Type") and mail.first("MIME-Version") is None:
        yield Found("header", "has Content-Type and no MIME-Version: some readers then take it for plain text")


def _bad_content_type(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        value = part.message.get("content-type")
        if value is not None and not _TYPE.fullmatch(_COMMENT.sub("", str(value)).partition(";")[0].strip()):
            yield Found(part.place, "has a Content-Type that is not type/subtype")


def _boundary(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if part.message.get_content_maintype() != "multipart":
            continue
        boundary = part.message.get_boundary()
        if boundary is None:
            yield Found(part.place, "is multipart without a boundary")
        elif not _BOUNDARY.fullmatch(boundary):
            yield Found(part.place, "has a boundary with characters that are not allowed, or more than 70 of them")
        elif any(isinstance(defect, email.errors.StartBoundaryNotFoundDefect) for defect in part.message.defects):
            yield Found(part.place, "has a boundary that stands nowhere in it")


def _not_closed(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if any(isinstance(defect, email.errors.CloseBoundaryNotFoundDefect) for defect in part.message.defects):
            yield Found(part.place, "does not end with its boundary and two hyphens")


def _unknown_encoding(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if part.encoding not in _ENCODINGS:
            yield Found(part.place, "has a Content-Transfer-Encoding that is not registered")


def _encoded_multipart(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if part.message.is_multipart() and part.encoding in _ENCODINGS - _ENCODINGS_OF_MULTIPART:
            yield Found(part.place, f"has parts and is {part.encoding}: only what has no parts is encoded")


def _bad_base64(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.encoding != "base64":
            continue
        octets = b"".join(part.octets.split())
        if not _BASE64.fullmatch(octets) or len(octets) % 4:
            yield Found(part.place, "is not base64: it has other characters, or not a multiple of four")


def _bad_quoted(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.encoding == "quoted-printable" and _BAD_QUOTED.search(part.octets):
            yield Found(part.place, "has a = that is not followed by two hexadecimal digits or the end of the line")


def _long_encoded_lines(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.encoding in {"base64", "quoted-printable"}:
            longest = max((len(line) for line in part.octets.splitlines()), default=0)
            if longest > _ENCODED_LINE:
                yield Found(part.place, f"is {part.encoding} with a line of {longest} characters; 76 are allowed")


def _eight_bit_in_7bit(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.encoding in {"7bit", "quoted-printable", "base64"} and not part.octets.isascii():
            yield Found(part.place, f"is said to be {part.encoding} and has octets above 127")


def _unknown_charset(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        charset = part.message.get_content_charset()
        if charset is not None and not _is_charset(charset):
            yield Found(part.place, "has a character set that is not known")


def _is_charset(name: str) -> bool:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return False
    return True


def _undecodable(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.message.get_content_maintype() != "text":
            continue
        charset = part.message.get_content_charset("us-ascii")
        if not _is_charset(charset):
            continue  # the rule above has said so
        try:
            part.decoded.decode(charset)
        except UnicodeError as error:
            position = getattr(error, "start", 0)
            yield Found(part.place, f"is not {charset}, as it says: octet {position} of its text cannot be decoded")


def _html_before_text(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if part.message.get_content_type() != "multipart/alternative":
            continue
        types = [str(one.get_content_type()) for one in _children(part)]
        if "text/plain" in types and types.index("text/plain") > 0:
            yield Found(
                part.place, "has text/plain behind another part: readers show the last that they know, so the text"
            )


def _lonely_alternative(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if part.message.get_content_type() == "multipart/alternative" and len(_children(part)) == 1:
            yield Found(part.place, "offers alternatives and has one part")


def _children(part: Part) -> list[Message]:
    payload = part.message.get_payload()
    return [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []


def _no_text(mail: Mail) -> Iterator[Found]:
    if mail.shown("text/html") and not mail.shown("text/plain"):
        yield Found("", "has HTML and no text/plain part beside it")


def _empty_text(mail: Mail) -> Iterator[Found]:
    if not mail.shown("text/html"):
        return
    for part in mail.shown("text/plain"):
        if not part.text.strip():
            yield Found(part.place, "is an empty text beside the HTML")


def _nameless_attachment(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.is_attachment and not part.message.get_filename():
            yield Found(part.place, "is an attachment without a file name")


def _bad_file_name(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        name = part.message.get_filename()
        if not name:
            continue
        if PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
            yield Found(part.place, "has a file name with a folder in it, which readers cut off or refuse")
        disposition = _field(part.message, "content-disposition") + _field(part.message, "content-type")
        if re.search(r"name\s*=\s*\"?=\?", disposition):
            yield Found(part.place, "has its file name as an encoded word; filename*=utf-8'' is the right form")
        elif not disposition.isascii():
            yield Found(
                part.place, "has a file name that is not ASCII and not encoded; filename*=utf-8'' is the right form"
            )


def _missing_cid(mail: Mail) -> Iterator[Found]:
    there = {_field(part.message, "content-id").strip().strip("<>") for part in mail.parts}
    for part in mail.shown("text/html"):
        for name in dict.fromkeys(_CID.findall(part.text)):
            if unquote(name) not in there:
                yield Found(part.place, f"shows cid:{ascii(name)[1:-1][:60]}, and no part has this Content-ID")


def _too_many_parts(mail: Mail) -> Iterator[Found]:
    if len(mail.parts) >= PART_LIMIT:
        yield Found("", f"has {PART_LIMIT} parts or more; those behind them were not checked")


def _large(mail: Mail) -> Iterator[Found]:
    if mail.size > _LARGE:
        yield Found("", f"has {mail.size / 1e6:.1f} MB; many servers refuse more than 25")


def _attachment(*lines: str) -> Mail:
    head = "".join(f"{line}\n" for line in lines)
    return multipart("mixed", TEXT_PART, f"{head}\naGVsbG8=\n")


_PDF = "Content-Type: application/pdf"
_BASE64_LINE = "Content-Transfer-Encoding: base64"
_NAMED = 'Content-Disposition: attachment; filename="offer.pdf"'
_RIGHT_ATTACHMENT = _attachment(_PDF, _BASE64_LINE, _NAMED)
_RIGHT_HTML = multipart("alternative", TEXT_PART, HTML_PART)
_PICTURE = "Content-Type: image/png\nContent-ID: <logo>\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n"
_WITH_PICTURE = 'Content-Type: text/html\n\n<img src="cid:logo" alt="us">\n'


def _encoded(encoding: str, body: str) -> Mail:
    return mail(body, content_transfer_encoding=encoding)


def _in_latin_1(text: str, charset: str) -> Mail:
    right = mail("X\n", content_type=f"text/plain; charset={charset}", content_transfer_encoding="8bit")
    return Mail(right.raw.replace(b"X\r\n", text.encode("latin-1") + b"\r\n"))


RULES: tuple[Rule[Mail], ...] = (
    Rule(
        "no-mime-version",
        Severity.ERROR,
        "What has a Content-Type has a MIME-Version",
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
        f"There are fewer than {PART_LIMIT} parts",
        "OWASP: Denial of Service Cheat Sheet, limits on input",
        _too_many_parts,
        _RIGHT_HTML,
        multipart("mixed", *(["\n\n"] * PART_LIMIT)),
    ),
    Rule(
        "unknown-encoding",
        Severity.ERROR,
        "The transfer encoding is one of the five",
        "RFC 2045 §6.1",
        _unknown_encoding,
        _encoded("8bit", "At one?\n"),
        _encoded("utf-8", "At one?\n"),
    ),
    Rule(
        "encoded-multipart",
        Severity.ERROR,
        "What has parts is not encoded itself",
        "RFC 2045 §6.4",
        _encoded_multipart,
        _RIGHT_HTML,
        Mail(
            _RIGHT_HTML.raw.replace(
                b"\r\nContent-Type: multipart", b"\r\nContent-Transfer-Encoding: base64\r\nContent-Type: multipart", 1
            )
        ),
    ),
    Rule(
        "bad-base64",
        Severity.ERROR,
        "Base64 is base64",
        "RFC 2045 §6.8",
        _bad_base64,
        _encoded("base64", "QXQgb25lPw==\n"),
        _encoded("base64", "At one?\n"),
    ),
    Rule(
        "bad-quoted-printable",
        Severity.ERROR,
        "Quoted-printable is quoted-printable",
        "RFC 2045 §6.7",
        _bad_quoted,
        _encoded("quoted-printable", "Gr=C3=BC=C3=9Fe, =\nAnna\n"),
        _encoded("quoted-printable", "1 + 1 = 2\n"),
    ),
    Rule(
        "long-encoded-line",
        Severity.WARNING,
        "Encoded lines have at most 76 characters",
        "RFC 2045 §6.7 (5), §6.8",
        _long_encoded_lines,
        _encoded("base64", "QUFB" * 19 + "\n"),
        _encoded("base64", "QUFB" * 20 + "\n"),
    ),
    Rule(
        "8bit-in-7bit",
        Severity.ERROR,
        "A part has octets above 127 only if its transfer encoding says so",
        "RFC 2045 §6.2",
        _eight_bit_in_7bit,
        _encoded("8bit", "Grüße\n"),
        mail("Grüße\n"),
    ),
    Rule(
        "unknown-charset",
        Severity.ERROR,
        "The character set is known",
        "RFC 2046 §4.1.2",
        _unknown_charset,
        mail(),
        mail(content_type="text/plain; charset=utf-8-sig-x"),
    ),
    Rule(
        "wrong-charset",
        Severity.ERROR,
        "Text is in the character set that it names",
        "RFC 2046 §4.1.2",
        _undecodable,
        _in_latin_1("Grüße", "iso-8859-1"),
        _in_latin_1("Grüße", "utf-8"),
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
        "nameless-attachment",
        Severity.WARNING,
        "An attachment has a file name",
        "RFC 2183 §2.3",
        _nameless_attachment,
        _RIGHT_ATTACHMENT,
        _attachment(_PDF, _BASE64_LINE, "Content-Disposition: attachment"),
    ),
    Rule(
        "bad-file-name",
        Severity.WARNING,
        "A file name has no folders, and is encoded as parameters are",
        "RFC 2183 §2.3, RFC 2231 §4, RFC 2047 §5 (3)",
        _bad_file_name,
        _attachment(
            _PDF, _BASE64_LINE, "Content-Disposition: attachment; filename*=utf-8''Angebot%20f%C3%BCr%20Bob.pdf"
        ),
        _attachment(_PDF, _BASE64_LINE, 'Content-Disposition: attachment; filename="=?utf-8?q?f=C3=BCr_Bob?="'),
    ),
    Rule(
        "missing-inline-image",
        Severity.ERROR,
        "What HTML shows by cid: is in the message",
        "RFC 2392 §2",
        _missing_cid,
        multipart("related", _WITH_PICTURE, _PICTURE),
        multipart("related", _WITH_PICTURE, _PICTURE.replace("<logo>", "<other>")),
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
