"""How a caught message looks in a terminal.  Knows columns and colours; does not know MIME or sockets.

Everything that a peer sent passes through ``visible`` on its way: nothing in here prints it raw.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from ehlo.cli.summary import Person, Summary
from ehlo.net.foreground import visible
from ehlo.protocol.sasl import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ehlo.session import Envelope, Session

TEXT_ROWS = 15
"""Rows of the text that are shown."""
SUBJECT_ROWS = 3
VALUE_ROWS = 8
"""Rows of any other value."""
WORD_LIMIT = 2000
"""Characters of a word: a link has fewer."""
LIST_LIMIT = 10
"""Recipients, attachments and problems that are shown."""
_NARROWEST, _WIDEST = 40, 120
_LABEL = 13
_SGR = {"rule": "36", "title": "1", "label": "2", "bad": "1;33", "faint": "2"}


@dataclass(frozen=True, slots=True)
class Style:
    """What the terminal can do.  ``has_colour``: escape sequences; ``has_lines``: characters beyond ASCII."""

    width: int
    has_colour: bool
    has_lines: bool

    def paint(self, role: str, text: str) -> str:
        """Text, in the colour of its role."""
        return f"\x1b[{_SGR[role]}m{text}\x1b[0m" if self.has_colour and text else text

    @property
    def dots(self) -> str:
        """What stands for more."""
        return "…" if self.has_lines else "..."


def style_of(stream: TextIO, colour: str) -> Style:
    """The style for a stream: ``colour`` is auto, always or never.

    Auto is for terminals, unless NO_COLOR (https://no-color.org) is set, or TERM is dumb.  On Windows only the newer
    Terminal is known to understand.
    """
    understands = os.environ.get("TERM") != "dumb" and (os.name != "nt" or "WT_SESSION" in os.environ)
    wants = stream.isatty() and understands and not os.environ.get("NO_COLOR")
    try:
        "─…".encode(stream.encoding or "ascii")
        has_lines = True
    except (UnicodeError, LookupError):
        has_lines = False
    width = min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
    return Style(width, has_colour={"always": True, "never": False}.get(colour, wants), has_lines=has_lines)


def never_fail_to_encode(stream: TextIO) -> None:
    """Let what the terminal's encoding lacks become an escape, where it would be an exception."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def full(style: Style, title: str, session: Session, envelope: Envelope, summary: Summary) -> str:
    """A message on as many lines as it takes, the last one empty.  ``title`` goes in front: a number and a time."""
    attachments = [
        f"{item.name or 'no name'} ({item.content_type}, {size_text(item.size)})" for item in summary.attachments
    ]
    rows = [
        ("From", _sender(envelope, summary)),
        ("To", _recipients(envelope, summary)),
        *_differing_rows(envelope, summary),
        ("Client", " ".join(_client_facts(session))),
        *labelled("Attached", attachments),
        *labelled("Problem", summary.problems),
    ]
    more = "more than " if summary.text_is_cut else ""
    text = _text_rows(style, summary.text, TEXT_ROWS, more)
    return sheet(style, title, summary.size, summary.maybe_subject, rows=rows, text=text)


def sheet(
    style: Style,
    title: str,
    size: int,
    maybe_subject: str | None,
    *,
    rows: Iterable[tuple[str, str]],
    text: Iterable[str],
) -> str:
    """A message as rows of labels and values between a rule and its text, of which ``text_rows`` makes lines."""
    shown = [
        _rule(style, title, size_text(size)),
        *_title(style, maybe_subject),
        *(line for label, value in rows for line in _rows(style, label, value)),
    ]
    text = list(text)
    return "\n".join([*shown, *([""] if text else []), *text, "", ""])


def text_rows(style: Style, text: str) -> Iterator[str]:
    """The whole of a text, indented and wrapped."""
    return _text_rows(style, text, sys.maxsize, "")


def labelled(label: str, items: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Rows for a list, the first of which has the label."""
    for number, item in enumerate(_limited(items)):
        yield "" if number else label, item


def brief(style: Style, when: str, envelope: Envelope, summary: Summary) -> str:
    """A message on one line."""
    more = f" (+{len(envelope.rcpt_tos) - 1})" if len(envelope.rcpt_tos) > 1 else ""
    return one_line(
        style,
        f"{when} {size_text(summary.size):>8} {envelope.mail_from or '<>'} > {''.join(envelope.rcpt_tos[:1])}{more}  "
        f"{summary.maybe_subject or ''}",
    )


def one_line(style: Style, text: str) -> str:
    """Text that may be anybody's, on one line and no wider than the terminal."""
    return _cut(visible(text), style.width, style.dots) + "\n"


def size_text(octets: int) -> str:
    """A size as people say it."""
    if octets < 1000:
        return f"{octets} B"
    size = octets / 1000
    for unit in ("kB", "MB"):
        if size < 999.95:
            return f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


# Rows


def _rule(style: Style, title: str, size: str) -> str:
    line = "─" if style.has_lines else "-"
    filling = style.width - len(title) - len(size) - 7
    return style.paint("rule", f"{line * 2} {title} {line * max(2, filling)} {size} {line}")


def _title(style: Style, maybe_subject: str | None) -> Iterator[str]:
    if not maybe_subject:
        yield style.paint("faint", "(no subject)")
        return
    for row in _first(_wrap(visible(" ".join(maybe_subject.split())), style.width), SUBJECT_ROWS, style.dots):
        yield style.paint("title", row)


def _rows(style: Style, label: str, text: str) -> Iterator[str]:
    role = "bad" if label == "Problem" else "label"
    head = style.paint(role, label.ljust(_LABEL))
    for row in _first(_wrap(visible(text), style.width - _LABEL), VALUE_ROWS, style.dots):
        yield head + row
        head = " " * _LABEL


def _text_rows(style: Style, text: str, limit: int, more: str) -> Iterator[str]:
    if not text.strip():
        return
    width = style.width - 2
    lines = text.expandtabs(4).replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
    shown = 0
    for number, line in enumerate(lines):
        for row in _wrap(visible(line.rstrip()), width):
            if shown >= limit:
                left = len(lines) - number
                yield style.paint("faint", f"  {style.dots} {more}{left} more line{'s' * (left != 1)}")
                return
            yield f"  {row}".rstrip()
            shown += 1 + _width(row) // width


def _limited(items: Iterable[str]) -> list[str]:
    items = list(items)
    left = len(items) - LIST_LIMIT
    return items if left <= 0 else [*items[:LIST_LIMIT], f"and {left} more"]


def _first(rows: Iterable[str], limit: int, dots: str) -> Iterator[str]:
    for number, row in enumerate(rows):
        if number == limit:
            yield dots
            return
        yield row


# Facts


def _sender(envelope: Envelope, summary: Summary) -> str:
    if not envelope.mail_from:
        return "<> (the null reverse-path, as in bounces)"
    return _named([envelope.mail_from], summary.senders)[0]


def _recipients(envelope: Envelope, summary: Summary) -> str:
    return ", ".join(_limited(_named(envelope.rcpt_tos, summary.recipients)))


def _differing_rows(envelope: Envelope, summary: Summary) -> Iterator[tuple[str, str]]:
    """The header's people, where they are not the envelope's."""
    for label, addresses, maybe_people in (
        ("header From", [envelope.mail_from or ""], summary.senders),
        ("header To", envelope.rcpt_tos, summary.recipients),
    ):
        if maybe_people is not None and {_key(one.address) for one in maybe_people} != {_key(one) for one in addresses}:
            yield label, ", ".join(_limited(map(_full_name, maybe_people)))


def _named(addresses: Iterable[str], maybe_people: list[Person] | None) -> list[str]:
    """Addresses of the envelope, with the names that the header gives them."""
    people = {_key(person.address): person for person in maybe_people or ()}
    return [_full_name(people.get(_key(address), Person("", address))) for address in addresses]


def _key(address: str) -> str:
    return address.casefold()


def _full_name(person: Person) -> str:
    return f"{person.name} <{person.address}>" if person.name else person.address


def _client_facts(session: Session) -> Iterator[str]:
    yield place(session.peer)
    yield f"{'EHLO' if session.extended_smtp else 'HELO'} {session.host_name},"
    tls = session.ssl
    yield f"{tls.version} {tls.cipher}," if tls else "no TLS,"
    if not session.authenticated:
        yield "no login"
        return
    identity = session.auth_data
    mechanism = f" by {identity.mechanism}" if isinstance(identity, Identity) else ""
    yield f"login {session.login}{mechanism}"


def place(address: Any) -> str:
    """A socket's address, as people write it."""
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "UNIX socket"


# Columns


def _columns(character: str) -> int:
    """How many columns a character takes."""
    if unicodedata.combining(character) or character in "\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _width(text: str) -> int:
    return sum(map(_columns, text))


def _wrap(text: str, width: int) -> Iterator[str]:
    """Rows of at most ``width`` columns, broken at spaces; one empty row for an empty text.

    A longer word is left to the terminal, which breaks it without breaking the link that it mostly is.
    """
    row, taken = "", 0
    for number, word in enumerate(text.split(" ")):
        shown = word if len(word) <= WORD_LIMIT else word[:WORD_LIMIT] + "..."
        needed = _width(shown)
        if row.strip() and taken + 1 + needed > width:
            yield row.rstrip()
            row, taken = "", 0
        elif number:
            row += " "
            taken += 1
        row += shown
        taken += needed
    yield row


def _cut(text: str, width: int, dots: str) -> str:
    """The beginning of a text, with dots if that is not all."""
    if _width(text) <= width:
        return text
    end = width - len(dots)
    while _width(text[:end]) > width - len(dots):
        end -= 1
    return text[:end] + dots
