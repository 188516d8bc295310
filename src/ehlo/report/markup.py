"""HTML and CSS as the rules look at them: tags with attributes, links, declarations, at-rules. Knows syntax; judges
nothing.

Not a parser but a reader of tags: it builds no tree, and each pattern goes on where it stopped and tries nothing twice,
so that hostile input costs time in proportion to its length.
"""  # noqa: D205

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

LIMIT = 1_000_000
"""Characters of one HTML part that are looked at."""
_TEXT_LIMIT = 2000

# HTML Standard, 13.2.5:  a comment; a tag, whose attributes may have ">" in quotation marks; "<!", "<?" and the like.
_TOKEN = re.compile(
    r"""<!--(?:-?>|.*?(?:--!?>|\Z))|"""
    r"""<(?P<name>/?[a-zA-Z][^\s/>]*+)(?P<rest>(?:[^>="']++|=\s*+(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))?+|["'])*+)(?:>|\Z)|"""
    r"""<[!?/][^>]*+(?:>|\Z)""",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(
    r"""(?P<name>[^\s"'>/=]++)(?:\s*+=\s*+(?:"(?P<a>[^"]*+)"?|'(?P<b>[^']*+)'?|(?P<c>[^\s"'>][^\s>]*+)))?"""
)
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
# CSS Syntax, 5.4:  at-rules, the selector of a rule before its block, and declarations
_STATEMENT = re.compile(r"(?P<text>[^{};]++)(?P<end>[{};]|\Z)")
_AT_RULE = re.compile(r"@(?P<name>[a-z-]++)(?P<rest>.*)", re.DOTALL)
_DECLARATION = re.compile(r"(?P<name>-{0,2}+[a-z][a-z0-9-]*+)\s*+:(?P<value>.*)", re.DOTALL)


class Tag(NamedTuple):
    """A start tag. Names are in lower case; an attribute without a value has ``""``."""

    name: str
    attributes: dict[str, str]


class Link(NamedTuple):
    """Where it leads, and what is shown of it."""

    target: str
    text: str


class _Token(NamedTuple):
    """A start tag, or an end tag with its slash; ``raw`` is what stands in <style> and <script>."""

    name: str
    rest: str
    start: int
    end: int
    raw: str


@dataclass(frozen=True)
class Markup:
    """An HTML document."""

    source: str

    @cached_property
    def _tokens(self) -> tuple[_Token, ...]:
        return tuple(_tokens(self.source[:LIMIT]))

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """Every start tag, in order."""
        return tuple(Tag(token.name, _attributes(token.rest)) for token in self._tokens if token.name[0] != "/")

    @cached_property
    def tag_names(self) -> frozenset[str]:
        """The names of the tags."""
        return frozenset(tag.name for tag in self.tags)

    @cached_property
    def attributes(self) -> dict[str, set[tuple[str, str]]]:
        """By the name of each attribute the tags that have it, and its values there."""
        found: dict[str, set[tuple[str, str]]] = {}
        for tag in self.tags:
            for name, value in tag.attributes.items():
                found.setdefault(name, set()).add((tag.name, value))
        return found

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Every <a> and <area> that has a target, in order."""
        return tuple(self._links())

    def _links(self) -> Iterator[Link]:
        maybe_open: tuple[str, int] | None = None
        for token in (one for one in self._tokens if one.name in {"a", "/a", "area"}):
            if maybe_open is not None:
                target, start = maybe_open
                yield Link(target, _text(self.source[start : min(token.start, start + _TEXT_LIMIT)]))
                maybe_open = None
            maybe_target = _attributes(token.rest).get("href") if token.name != "/a" else None
            if maybe_target is not None and token.name == "area":
                yield Link(maybe_target, "")
            elif maybe_target is not None:
                maybe_open = maybe_target, token.end
        if maybe_open is not None:
            yield Link(maybe_open[0], _text(self.source[maybe_open[1] :][:_TEXT_LIMIT]))

    @cached_property
    def written(self) -> str:
        """The source without what stands in <style> and <script>."""
        pieces, position = [], 0
        for token in self._tokens:
            if token.raw:
                pieces.append(self.source[position : token.end])
                position = token.end + len(token.raw)
        return "".join([*pieces, self.source[position:LIMIT]])

    @cached_property
    def sheets(self) -> str:
        """What stands in <style> elements."""
        return _CSS_COMMENT.sub("", "\n".join(token.raw for token in self._tokens if token.name == "style"))

    @cached_property
    def _rules(self) -> tuple[tuple[str, str], ...]:
        """The statements of the sheets, on one line and in lower case, and what ends each."""
        return tuple((_line(match["text"]), match["end"]) for match in _STATEMENT.finditer(self.sheets))

    @cached_property
    def values(self) -> dict[str, str]:
        """By the name of each property its values, one a line, of style attributes and of sheets; in lower case."""
        inline = (_line(text) for _, value in self.attributes.get("style", ()) for text in value.split(";"))
        found: dict[str, dict[str, None]] = {}
        for text in (*inline, *(text for text, end in self._rules if end != "{")):
            if (match := _DECLARATION.match(text)) is not None:
                found.setdefault(match["name"], {})[match["value"].strip()] = None
        return {name: "\n".join(values) for name, values in found.items()}

    @cached_property
    def all_values(self) -> str:
        """The same of all properties."""
        return "\n".join(self.values.values())

    @cached_property
    def at_rules(self) -> frozenset[tuple[str, str]]:
        """Name and condition of each, in lower case."""
        found = (_AT_RULE.match(text) for text, _ in self._rules)
        return frozenset((match["name"], match["rest"].strip()) for match in found if match is not None)

    @cached_property
    def selectors(self) -> str:
        """The selectors of the sheets, one a line, in lower case."""
        return "\n".join(dict.fromkeys(text for text, end in self._rules if end == "{" and not text.startswith("@")))


def _tokens(source: str) -> Iterator[_Token]:
    position = 0
    while (match := _TOKEN.search(source, position)) is not None:
        position = end = match.end()
        if match["name"] is None:
            continue
        name = match["name"].lower()
        if name in {"style", "script"}:
            position = _end_of(name, source, end)
        yield _Token(name, match["rest"], match.start(), end, source[end:position])


def _end_of(name: str, source: str, start: int) -> int:
    """Where the text of an element ends in which a "<" begins nothing but its end tag."""
    found = re.compile(rf"</{name}\b", re.IGNORECASE).search(source, start)
    return found.start() if found is not None else len(source)


def _attributes(rest: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(rest):
        value = match["a"] or match["b"] or match["c"] or ""
        found.setdefault(match["name"].lower(), html.unescape(value).strip() if value else "")
    return found


def _text(source: str) -> str:
    return " ".join(html.unescape(_TOKEN.sub(" ", source)).split())


def _line(text: str) -> str:
    return " ".join(text.lower().split())
