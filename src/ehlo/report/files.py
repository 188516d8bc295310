"""Rules about what is attached: names of files, and the images that HTML shows. Does not know how it is encoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ehlo.report.examples import TEXT_PART, multipart
from ehlo.report.finding import Found, Rule, Severity, quoted

if TYPE_CHECKING:
    from ehlo.report.mail import Mail
    from ehlo.report.parts import Part

# RFC 2047 §2: encoded-word = "=?" charset "?" encoding "?" encoded-text "?="
_ENCODED_WORD = re.compile(r"\s*=\?[^?\s]+\?[bq]\?", re.IGNORECASE)
# RFC 2045 §5.1: value := token / quoted-string; a token has no space and no tspecials
_UNQUOTED = re.compile(r";\s*+(?:file)?name\s*+=\s*+(?P<value>[^\s\";][^;]*)", re.IGNORECASE)
_NO_TOKEN = re.compile(r'[\s()<>@,;:\\"/\[\]?=]')


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
        elif not written.isascii() and not mail.is_internationalized:
            yield Found(
                part.place, "has a file name that is not ASCII and not encoded: write it as filename*=utf-8''..."
            )
        elif _has_loose_name(part):
            yield Found(part.place, f"has {quoted(name)} as file name, which some cut off: put it in quotation marks")


def _has_loose_name(part: Part) -> bool:
    headers = (part.header.get(name, "") for name in ("content-disposition", "content-type"))
    values = (match["value"].strip() for header in headers for match in _UNQUOTED.finditer(header))
    return any(map(_NO_TOKEN.search, values))


def _bad_content_id(mail: Mail) -> Iterator[Found]:
    for part in mail.parts:
        written = part.header.get("content-id", "<>")
        if not (written.startswith("<") and written.endswith(">")):
            yield Found(
                part.place, f"has the Content-ID {quoted(written)}: put it in angle brackets, or some do not find it"
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


def _attachment(*lines: str) -> Mail:
    head = "".join(f"{line}\n" for line in lines)
    return multipart("mixed", TEXT_PART, f"{head}\naGVsbG8=\n")


_PDF = "Content-Type: application/pdf"
_BASE64_LINE = "Content-Transfer-Encoding: base64"
_NAMED = 'Content-Disposition: attachment; filename="offer.pdf"'
_RIGHT_ATTACHMENT = _attachment(_PDF, _BASE64_LINE, _NAMED)
_PICTURE = "Content-Type: image/png\nContent-ID: <logo>\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n"
_WITH_PICTURE = 'Content-Type: text/html\n\n<img src="cid:logo" alt="us">\n'

RULES: tuple[Rule[Mail], ...] = (
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
        "A file name has no folders, and is written as parameters are",
        "RFC 2183 §2.3, RFC 2231 §4, RFC 2047 §5 (3), RFC 2045 §5.1",
        _bad_file_name,
        _attachment(
            _PDF, _BASE64_LINE, "Content-Disposition: attachment; filename*=utf-8''Angebot%20f%C3%BCr%20Bob.pdf"
        ),
        _attachment(_PDF, _BASE64_LINE, 'Content-Disposition: attachment; filename="=?utf-8?q?f=C3=BCr_Bob?="'),
    ),
    Rule(
        "bad-content-id",
        Severity.ERROR,
        "A Content-ID stands in angle brackets",
        "RFC 2045 §7",
        _bad_content_id,
        multipart("related", _WITH_PICTURE, _PICTURE),
        multipart("related", _WITH_PICTURE, _PICTURE.replace("<logo>", "logo")),
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
)
