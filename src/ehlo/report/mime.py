"""Rules about MIME: the tree of parts, their types, encodings and names. Does not know what HTML says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from ehlo.mime.charsets import is_known, maybe_codec
from ehlo.report.examples import HTML_PART, TEXT_PART, html, mail, multipart
from ehlo.report.finding import Found, Rule, Severity, quoted
from ehlo.report.mail import Mail
from ehlo.report.parts import DEPTH_LIMIT, PART_LIMIT, Part

# RFC 2045 §6.1; x-tokens are private agreements that no reader knows.
_ENCODINGS = frozenset({"7bit", "8bit", "binary", "quoted-printable", "base64"})
_ENCODED = frozenset({"quoted-printable", "base64"})
# What a reader shows rather than text/plain, if it comes last.
_RICHER = frozenset({"text/html", "multipart/related"})
# HTML Standard, 4.2.5.4; it stands in the first 1024 octets.
_META = re.compile(rb"<meta\b[^>]*\bcharset\s*+=", re.IGNORECASE)
_META_LIMIT = 1024
_ENCODED_LINE = 76
"""Characters in a line of quoted-printable (RFC 2045 §6.7 rule 5) and of base64 (§6.8)."""
# RFC 2046 §5.1.1: boundary := 0*69<bchars> bcharsnospace
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]")
# RFC 2045 §6.7: "=" and two hexadecimal digits, or "=" at the end of a line.
_BAD_QUOTED = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*\r?\n|[ \t]*\Z)")
# RFC 2047 §2: encoded-word = "=?" charset "?" encoding "?" encoded-text "?="
_ENCODED_WORD = re.compile(r"\s*=\?[^?\s]+\?[bq]\?", re.IGNORECASE)
# RFC 2045 §5.1, in lower case
_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_INCOMPLETE = "is not a multiple of four characters of base64: its end is missing, or the = there"
_LARGE = 25 * 1000 * 1000


def _no_mime_version(mail: Mail) -> Iterator[Found]:
    if mail.first("Content-Type") and mail.first("MIME-Version") is None:
        yield Found(
            "header",
            "has Content-Type and no MIME-Version: add MIME-Version: 1.0, or some readers take it for plain text",
        )


def _bad_content_type(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        if "content-type" in part.header and not _TYPE.fullmatch(part.content.text):
            yield Found(
                part.place, "has a Content-Type that is not type/subtype: write it as in text/plain; charset=utf-8"
            )


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


def _nameless_attachment(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        if part.is_attachment and not part.maybe_filename:
            yield Found(part.place, "is an attachment without a file name: add filename= to its Content-Disposition")


def _bad_file_name(mail: Mail) -> Iterator[Found]:
    for part in mail.leaves:
        name = part.maybe_filename
        if not name:
            continue
        if PurePosixPath(name).name != name or PureWindowsPath(name).name != name:
            yield Found(
                part.place, "has a file name with a folder, which readers cut off or refuse: give the name alone"
            )
        is_disposition = part.disposition.get("filename") is not None
        written = (part.disposition.plain("filename") if is_disposition else part.content.plain("name")) or ""
        if _ENCODED_WORD.match(written):
            yield Found(part.place, "has its file name as an encoded word: write it as filename*=utf-8''...")
        elif not written.isascii() and not mail.has_option("SMTPUTF8"):
            yield Found(
                part.place, "has a file name that is not ASCII and not encoded: write it as filename*=utf-8''..."
            )


def _missing_cid(mail: Mail) -> Iterator[Found]:
    there = {part.header.get("content-id", "").strip().strip("<>") for part in mail.parts}
    for part in mail.shown("text/html"):
        for name in dict.fromkeys(_content_ids(part)):
            if name not in there:
                yield Found(
                    part.place,
                    f"shows cid:{quoted(name)}, and no part has this Content-ID: attach it, in multipart/related",
                )


def _content_ids(part: Part) -> Iterator[str]:
    for tag in part.markup.tags:
        for name in ("src", "background", "href"):
            scheme, _, rest = tag.attributes.get(name, "").partition(":")
            if scheme.lower() == "cid":
                yield unquote(rest)


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
        f"There are fewer than {PART_LIMIT} parts, and at most {DEPTH_LIMIT} levels of them",
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
        "RFC 2046 §4.1.2, RFC 6657 §3, §4",
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
