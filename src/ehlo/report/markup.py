"""HTML and CSS as the rules look at them: tags with attributes, declarations, at-rules. Knows syntax; judges nothing.

Not a parser but a reader of tags: it builds no tree, and each pattern goes on where it stopped, so that hostile input
costs time in proportion to its length.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

LIMIT = 1_000_000
"""Characters of one HTML part that are looked at."""

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TAG = re.compile(r"<(?P<name>/?[a-zA-Z][a-zA-Z0-9-]{0,40})(?P<rest>[^<>]{0,20000})>")
_ATTRIBUTE = re.compile(r"""(?P<name>[^\s"'>/=]{1,60})(?:\s*=\s*(?:"(?P<a>[^"]*)"|'(?P<b>[^']*)'|(?P<c>[^\s"'>]+)))?""")
_STYLE = re.compile(r"<style\b[^<>]{0,2000}>(?P<css>.*?)(?:</style\b|\Z)", re.DOTALL | re.IGNORECASE)
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_DECLARATION = re.compile(r"(?P<name>-{0,2}[a-zA-Z][a-zA-Z0-9-]{0,60})\s*:\s*(?P<value>[^;{}]{0,2000})")
_AT_RULE = re.compile(r"@(?P<name>[a-z-]{1,40})(?P<rest>[^{};]{0,500})", re.IGNORECASE)
_SELECTOR = re.compile(r"(?P<selector>[^{}@;]{1,500})\{")


class Tag(NamedTuple):
    """A start tag. Names are in lower case; an attribute without a value has ``""``."""

    name: str
    attributes: dict[str, str]
    end: int


class Declaration(NamedTuple):
    """A property and its value, both in lower case."""

    name: str
    value: str


@dataclass(frozen=True)
class Markup:
    """An HTML document."""

    source: str

    @cached_property
    def _plain(self) -> str:
        return _COMMENT.sub("", self.source[:LIMIT])

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """Every start tag, in order."""
        return tuple(
            Tag(match["name"].lower(), _attributes(match["rest"]), match.end())
            for match in _TAG.finditer(self._plain)
            if match["name"][0] != "/"
        )

    @cached_property
    def sheets(self) -> str:
        """What stands in <style> elements."""
        return _CSS_COMMENT.sub("", "\n".join(match["css"] for match in _STYLE.finditer(self._plain)))

    @cached_property
    def declarations(self) -> frozenset[Declaration]:
        """Every declaration, of style attributes and of sheets."""
        inline = (tag.attributes["style"] for tag in self.tags if "style" in tag.attributes)
        blocks = (block for block in re.split(r"[{}]", self.sheets))
        return frozenset(
            Declaration(match["name"].lower(), match["value"].strip().lower())
            for source in (*inline, *blocks)
            for match in _DECLARATION.finditer(source)
        )

    @cached_property
    def at_rules(self) -> tuple[tuple[str, str], ...]:
        """Name and condition of each."""
        return tuple((match["name"].lower(), match["rest"].strip().lower()) for match in _AT_RULE.finditer(self.sheets))

    @cached_property
    def selectors(self) -> tuple[str, ...]:
        """The selectors of the sheets."""
        return tuple(match["selector"].strip() for match in _SELECTOR.finditer(self.sheets))

    def text_after(self, tag: Tag) -> str:
        """What is shown between a tag and its end."""
        end = re.compile(rf"</{re.escape(tag.name)}\b", re.IGNORECASE).search(self._plain, tag.end, tag.end + 2000)
        inside = self._plain[tag.end : end.start()] if end is not None else ""
        return html.unescape(re.sub(r"<[^<>]*>", " ", inside)).strip()


def _attributes(rest: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(rest):
        value = match["a"] or match["b"] or match["c"] or ""
        found.setdefault(match["name"].lower(), html.unescape(value).strip())
    return found
