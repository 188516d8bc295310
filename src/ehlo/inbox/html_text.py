"""What an HTML document says, as text.  Knows tags; does not render, and does not know mail.

Not ``html.parser``: on a few ten KiB of ``<a <a <a`` it runs for most of a minute.  Here every search goes on where the
last one ended, and one that finds nothing is the last.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKS = frozenset(
    "address article aside blockquote center dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr li "  # noqa: SIM905
    "main nav ol p pre section table tr ul".split()
)
_LINES = frozenset({"br", "dd", "div", "dt", "li", "tr"})
_HIDDEN = frozenset({"script", "style", "title"})
_INVISIBLE = str.maketrans("", "", "\xad\u034f\u200b\u200c\u200d\u2060\ufeff")
_TAG_LIMIT = 4096
_LINK_TEXT_LIMIT = 500
_TAG_NAME = re.compile(r"/?[a-z][a-z0-9]*", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(href|alt)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)


def html_to_text(source: str) -> str:
    """The text of an HTML document: no rendering, but blocks on lines of their own, and links with where they lead."""
    pieces: list[str] = []
    maybe_link: tuple[str, int] | None = None  # where it leads, and where in ``pieces`` its text begins
    for name, inside, text in _html_tokens(source):
        if name in _BLOCKS or name == "br":
            pieces.append("\n" if name in _LINES else "\n\n")
            if name == "li":
                pieces.append("- ")
        elif name.removeprefix("/") in _BLOCKS:
            pieces.append("\n")
        elif name in {"td", "th"}:
            pieces.append(" ")
        elif name == "img" and (alternative := _attribute(inside, "alt")):
            pieces.append(f"[{alternative}]")
        elif name == "a":
            maybe_link = _attribute(inside, "href"), len(pieces)
        elif name == "/a" and maybe_link is not None:
            target, begin = maybe_link
            if target.startswith(("http:", "https:")) and target != "".join(pieces[begin:]).strip():
                pieces.append(f" <{target}>")
            maybe_link = None
        pieces.append(html.unescape(text).replace("\n", " "))
    lines = "".join(pieces).translate(_INVISIBLE).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(" ".join(line.split()) for line in lines)).strip("\n")


def html_links(source: str) -> Iterator[tuple[str, str]]:
    """Where each link leads, and the text that it is shown with, or the alternative text of its image."""
    maybe_target: str | None = None
    pieces: list[str] = []
    size = 0
    for name, inside, text in _html_tokens(source):
        if name in {"a", "/a", "area"}:
            if maybe_target:
                yield maybe_target, _link_text(pieces)
            maybe_target = None if name == "/a" else _attribute(inside, "href")
            pieces, size = [_attribute(inside, "alt") if name == "area" else ""], 0
        if maybe_target and size < _LINK_TEXT_LIMIT:
            space = " " if name in _BLOCKS or name in {"br", "img"} else ""
            alternative = _attribute(inside, "alt") if name == "img" else ""
            piece = space + alternative + html.unescape(text[:_LINK_TEXT_LIMIT])
            pieces.append(piece)
            size += len(piece) + 1
    if maybe_target:
        yield maybe_target, _link_text(pieces)


def _link_text(pieces: list[str]) -> str:
    return " ".join("".join(pieces).translate(_INVISIBLE).split())[:_LINK_TEXT_LIMIT]


def _html_tokens(source: str) -> Iterator[tuple[str, str, str]]:
    """Each tag by its name in lower case (``/p`` for an end), what else is in it, and the text behind it.

    Comments, declarations and what nobody sees are left out.  A ``>`` within an attribute ends the tag too early.
    """
    lowered = source.lower() if source.isascii() else source.translate(_LOWER)
    name = inside = ""
    position = 0
    while True:
        begin = source.find("<", position)
        yield name, inside, source[position:] if begin < 0 else source[position:begin]
        if begin < 0:
            return
        name = inside = ""
        match = _TAG_NAME.match(source, begin + 1)
        if match is not None:
            end = source.find(">", match.end())
            name = match[0].lower()
            inside = source[match.end() : min(end, match.end() + _TAG_LIMIT)]
            position = end + 1
            if name in _HIDDEN and end >= 0:
                end = position = lowered.find(f"</{name}", position)
        elif source[begin + 1 : begin + 2] in {"!", "?"}:
            mark = "-->" if source.startswith("!--", begin + 1) else ">"
            end = source.find(mark, begin + 1)
            position = end + len(mark)
        else:
            yield "", "", "<"
            end = position = begin + 1
        if end < 0:
            return


_LOWER = {upper: upper + 32 for upper in range(0x41, 0x5B)}  # str.lower would change lengths


def _attribute(inside: str, wanted: str) -> str:
    for match in _ATTRIBUTE.finditer(inside):
        if match[1].lower() == wanted:
            return html.unescape(match[2] or match[3] or match[4] or "").strip()
    return ""
