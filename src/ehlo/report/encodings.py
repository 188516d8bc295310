"""Rules about the octets of parts: transfer encodings and character sets. Does not know what parts are for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ehlo.mime.charsets import is_known, maybe_codec
from ehlo.report.examples import HTML_PART, TEXT_PART, mail, multipart
from ehlo.report.finding import Found, Rule, Severity, quoted
from ehlo.report.mail import Mail

if TYPE_CHECKING:
    from ehlo.report.parts import Part

# RFC 2045 §6.1; x-tokens are private agreements that no reader knows.
_ENCODINGS = frozenset({"7bit", "8bit", "binary", "quoted-printable", "base64"})
_ENCODED = frozenset({"quoted-printable", "base64"})
# HTML Standard, 4.2.5.4; it stands in the first 1024 octets.
_META = re.compile(rb"<meta\b[^>]*\bcharset\s*+=", re.IGNORECASE)
_META_LIMIT = 1024
_ENCODED_LINE = 76
"""Characters in a line of quoted-printable (RFC 2045 §6.7 rule 5) and of base64 (§6.8)."""
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")
# RFC 2045 §6.7: "=" and two hexadecimal digits, or "=" at the end of a line.
_BAD_QUOTED = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\Z)")
_INCOMPLETE = "is not a multiple of four characters of base64: its end is missing, or the = there"


def _unknown_encoding(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if part.encoding not in _ENCODINGS:
            yield Found(
                part.place,
                f"has the Content-Transfer-Encoding {quoted(part.encoding)}, which nobody can undo: use 7bit, 8bit, "
                "quoted-printable or base64",
            )


def _encoded_multipart(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if (part.is_multipart or part.content_type == "message/rfc822") and part.encoding in _ENCODED:
            yield Found(part.place, f"is {part.encoding}, and only what has no parts may be: encode its parts instead")


def _encoded_leaves(mail: Mail, encoding: str) -> Iterator[Part]:
    return (part for part in mail.leaves if part.encoding == encoding)


def _bad_base64(mail: Mail) -> Iterator[Found]:
    for part in _encoded_leaves(mail, "base64"):
        maybe_problem = _maybe_problem(part.octets)
        is_cut = mail.size > len(mail.raw) and part.end == len(mail.raw)
        if maybe_problem is not None and not (maybe_problem == _INCOMPLETE and is_cut):
            yield Found(part.place, maybe_problem)


def _maybe_problem(base64: bytes) -> str | None:
    octets = b"".join(base64.split())
    if _NO_BASE64.search(octets):
        return "has characters that are not of base64: encode all of it, and add nothing behind it"
    if b"=" in octets.rstrip(b"=") or octets.endswith(b"==="):
        return "goes on behind the = that ends base64: encode it at once, not piece by piece"
    return _INCOMPLETE if len(octets) % 4 else None


def _bad_quoted(mail: Mail) -> Iterator[Found]:
    for part in _encoded_leaves(mail, "quoted-printable"):
        if _BAD_QUOTED.search(part.octets):
            yield Found(
                part.place,
                "has a = that neither two hexadecimal digits nor the end of the line follow: write it as =3D",
            )


def _long_encoded_lines(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.encoding in _ENCODED:
            longest = max((len(line) for line in part.octets.splitlines()), default=0)
            if longest > _ENCODED_LINE:
                yield Found(part.place, f"is {part.encoding} with a line of {longest} characters: break it behind 76")


def _eight_bit_in_7bit(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.encoding in {"7bit", *_ENCODED} and not part.octets.isascii():
            yield Found(
                part.place, f"is {part.encoding} by its header and has octets above 127: encode them, or say 8bit there"
            )


def _unknown_charset(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if not is_known(part.charset):
            yield Found(
                part.place, f"is in the character set {quoted(part.charset)}, which readers do not know: use utf-8"
            )


def _undecodable(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        codec = maybe_codec(part.charset)
        is_named = part.content.get("charset") is not None
        if codec is None or not (part.content_type.startswith("text/") if is_named else _is_ascii_by_default(part)):
            continue
        if part.encoding not in _ENCODINGS or (part.encoding == "base64" and _maybe_problem(part.octets)):
            continue  # another rule says so
        try:
            part.decoded.decode(codec)
        except UnicodeDecodeError as error:
            if is_named:
                where = f"octet {error.start + 1} of its text"
                text = f"says that it is in {quoted(part.charset)}, and {where} is not: name the character set it is in"
            else:
                text = "has octets above 127 and names no character set: add charset=utf-8, or what it is"
            yield Found(part.place, text)


def _is_ascii_by_default(part: Part) -> bool:
    """Types of text other than plain may have a default of their own, or say it in themselves (RFC 6657 §3)."""
    is_html = part.content_type == "text/html"
    return part.content_type == "text/plain" or (is_html and not _META.search(part.decoded[:_META_LIMIT]))


def _encoded(encoding: str, body: str) -> Mail:
    return mail(body, content_transfer_encoding=encoding)


def _in_latin_1(text: str, charset: str) -> Mail:
    right = mail("X\n", content_type=f"text/plain; charset={charset}", content_transfer_encoding="8bit")
    return Mail(right.raw.replace(b"X\r\n", text.encode("latin-1") + b"\r\n"))


_RIGHT_HTML = multipart("alternative", TEXT_PART, HTML_PART)

RULES: tuple[Rule[Mail], ...] = (
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
        Severity.NOTICE,  # Python's EmailMessage writes 78 unless its policy says 76, and everybody reads that
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
        "RFC 2046 §4.1.2, RFC 6657 §3, §4",
        _undecodable,
        _in_latin_1("Grüße", "iso-8859-1"),
        _in_latin_1("Grüße", "utf-8"),
    ),
)
