"""A message's HTML, made fit to be looked at.  Knows HTML and CSS; does not know where a message comes from.

Three walls stand between it and whoever looks: here it is sanitised, by a list of what may stay; the document goes out
with a policy of its own (``document_policy``), which lets it load nothing and run nothing; and it is shown in a frame
without an origin.  Each holds without the others.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

import nh3

from ehlo.inbox.web.addresses import is_public_url
from ehlo.inbox.web.images import identify

TAGS_LIMIT: Final = 20_000
"""Tags of a document.  Some orders of them take a parser of HTML a time that grows with the square of their number."""
EMBEDDED_LIMIT: Final = 5 << 20
"""Octets of all images that are put into the document."""
CSS_LIMIT: Final = 512 * 1024

FindImage = Callable[[str], bytes | None]
"""Gives the octets of the part with this Content-ID."""

_TAGS = nh3.ALLOWED_TAGS | {"font", "big", "section", "main", "address", "tfoot", "picture", "source"}
_ATTRIBUTES = {
    "*": set(
        "align alt background bgcolor border cellpadding cellspacing class color colspan dir face height href"  # noqa: SIM905
        " hspace id lang name nowrap role rowspan scope size span src srcset start style summary title type valign"
        " vspace width".split()
    )
}
# cid and data are for images: ``_Filter`` lets nothing else have them.
_SCHEMES = {"http", "https", "mailto", "tel", "cid", "data"}
_LINKS = ("http:", "https:", "mailto:", "tel:")

_TAG = re.compile(r"<[a-zA-Z/]")
_BODY = re.compile(r"<(/?)body\b", re.IGNORECASE)
_IMPORT = re.compile(r"@(import|charset|namespace)\b[^;{}]*;?", re.IGNORECASE)
_LOADERS = re.compile(r"\b(image-set|image|src|expression|element|paint)\s*\(", re.IGNORECASE)
_URL = re.compile(r"\burl\s*\(", re.IGNORECASE)
_SPACES = re.compile(r"[\x00-\x20]+")

_TOO_MUCH = "<p>This HTML has too many elements to be shown. Its source is as it came.</p>"


@dataclass(slots=True)
class Rendered:
    """A body of HTML, its style sheets in front.  ``blocked``: remote things that it asked for in vain."""

    html: str
    blocked: int


def render(source: str, find_image: FindImage, *, with_remote: bool = False) -> Rendered:
    """Sanitise a document.  ``with_remote``: images and fonts may be loaded by http and https, from public addresses.

    ``find_image`` is called for images that the message has in itself; they are put into the document, because a frame
    without an origin gets nothing that a cookie guards.
    """
    if sum(1 for _ in _TAG.finditer(source)) > TAGS_LIMIT:
        return Rendered(_TOO_MUCH, 0)
    work = _Filter(find_image, with_remote=with_remote)
    styles = [work.css(text) for text in _style_sheets(source)]
    # A fragment has no body; what it says of colours and margins is kept.
    body = nh3.clean(
        _BODY.sub(r"<\1div", source),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=work.attribute,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        clean_content_tags={"script", "style", "title", "noscript", "template", "svg", "math"},
    )
    sheets = "".join(f"<style>{text}</style>" for text in styles if text.strip())
    return Rendered(sheets + body, work.blocked)


def document(rendered: Rendered) -> str:
    """The whole document."""
    return (
        '<!doctype html><html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">'
        f"<title>Message</title></head><body>{rendered.html}</body></html>"
    )


def document_policy(*, with_remote: bool) -> str:
    """The Content-Security-Policy of the document: a sandbox without scripts and without an origin.

    It stands in the document's own header, so that it holds too when somebody opens its address.
    """
    remote = " http: https:" if with_remote else ""
    return (
        f"default-src 'none'; img-src data:{remote}; font-src data:{remote}; style-src 'unsafe-inline'; "
        "script-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox"
    )


@dataclass(slots=True)
class _Filter:
    """Decides about each attribute and each address.  ``blocked`` counts."""

    find_image: FindImage
    with_remote: bool
    blocked: int = 0
    _room: int = EMBEDDED_LIMIT
    _embedded: dict[str, str | None] = field(default_factory=dict)

    def attribute(self, tag: str, name: str, value: str) -> str | None:
        """What an attribute becomes; None: nothing."""
        if name == "style":
            return self.css(value)
        if name in {"src", "background"}:
            return self.image(value)
        if name == "srcset":
            return self._source_set(value)
        if name == "href":
            return value if tag in {"a", "area"} and _SPACES.sub("", value).lower().startswith((*_LINKS, "#")) else None
        return value

    def image(self, url: str) -> str | None:
        """The address that an image has in the end."""
        url = _SPACES.sub("", url)
        lowered = url[:20].lower()
        if lowered.startswith("cid:"):
            name = unquote_to_bytes(url[4:]).decode("utf-8", "replace")
            if name not in self._embedded:
                self._embedded[name] = self._embed(self.find_image(name))
            return self._embedded[name]
        if lowered.startswith("data:"):
            return self._embed(_data_of(url))
        if not lowered.startswith(("http:", "https:", "//")):
            return None
        absolute = f"https:{url}" if url.startswith("//") else url
        # A message must not make its reader's browser ask around in his own network.
        if self.with_remote and is_public_url(absolute):
            return absolute
        self.blocked += 1
        return None

    def css(self, text: str) -> str:
        """CSS without what loads or runs something."""
        text = _without_comments(text[:CSS_LIMIT])
        # Escapes could spell "url" in other letters; "<" could end the element that it stands in.
        text = text.replace("\\", "").replace("<", "")
        if "@import" in text.lower():
            self.blocked += 1
        text = _LOADERS.sub("none(", _IMPORT.sub("", text))
        pieces = []
        position = 0
        while (match := _URL.search(text, position)) is not None:
            pieces.append(text[position : match.start()])
            end = text.find(")", match.end())
            if end < 0:
                return "".join(pieces)
            maybe_url = self.image(text[match.end() : end].strip().strip("\"'"))
            pieces.append("none" if maybe_url is None else f"url({_quoted(maybe_url)})")
            position = end + 1
        return "".join(pieces) + text[position:]

    def _source_set(self, value: str) -> str | None:
        kept = []
        for candidate in value.split(","):
            url, _, size = candidate.strip().partition(" ")
            maybe_url = self.image(url) if not url.lower().startswith("data:") else None
            if maybe_url is not None:
                kept.append(f"{maybe_url} {size}".strip())
        return ", ".join(kept) or None

    def _embed(self, maybe_data: bytes | None) -> str | None:
        if maybe_data is None or len(maybe_data) > self._room:
            return None
        image = identify(maybe_data)
        if image is None or not image.is_harmless:
            return None
        self._room -= len(maybe_data)
        return f"data:{image.media_type};base64,{base64.b64encode(maybe_data).decode()}"


def _data_of(url: str) -> bytes | None:
    """The octets of a data address (RFC 2397)."""
    head, comma, data = url.partition(",")
    if not comma or len(data) > 2 * EMBEDDED_LIMIT:
        return None
    octets = unquote_to_bytes(data)
    if not head.lower().endswith(";base64"):
        return octets
    try:
        return base64.b64decode(octets)
    except binascii.Error:
        return None


def _quoted(url: str) -> str:
    return '"' + re.sub(r"[\"'()<>\s]", lambda match: f"%{ord(match[0]):02X}", url) + '"'


def _without_comments(text: str) -> str:
    pieces = []
    position = 0
    while (begin := text.find("/*", position)) >= 0:
        pieces.append(text[position:begin])
        end = text.find("*/", begin + 2)
        if end < 0:
            return "".join(pieces)
        position = end + 2
    return "".join(pieces) + text[position:]


def _style_sheets(source: str) -> list[str]:
    """The text of the style elements, outside comments: each search goes on where the last one ended."""
    lowered = source.lower() if source.isascii() else re.sub("[A-Z]", lambda match: match[0].lower(), source)
    sheets = []
    position = 0
    room = CSS_LIMIT
    while (begin := lowered.find("<style", position)) >= 0 and room > 0:
        comment = lowered.find("<!--", position)
        if 0 <= comment < begin:
            end = lowered.find("-->", comment + 4)
            if end < 0:
                break
            position = end + 3
            continue
        start = lowered.find(">", begin)
        end = lowered.find("</style", start)
        if start < 0 or end < 0:
            break
        sheets.append(source[start + 1 : end][:room])
        room -= end - start
        position = end
    return sheets
