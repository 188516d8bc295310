"""Which features of HTML and CSS a document uses, by the names of caniemail.com, and who lacks them.

Knows the vendored data and how each feature looks; does not know mail.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from importlib import resources
from typing import NamedTuple

from ehlo.report.markup import Markup


class Feature(NamedTuple):
    """A feature that some clients lack, each as in "Outlook (Windows)"."""

    name: str
    title: str
    lacking: tuple[str, ...]


@functools.cache
def features() -> dict[str, Feature]:
    """Every feature of the data, by its name."""
    path = resources.files("ehlo.report") / "data" / "caniemail.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["features"]
    return {name: Feature(name, row["title"], tuple(row["lacking"])) for name, row in rows.items()}


_Test = Callable[[Markup], bool]


def _has_tag(*names: str) -> _Test:
    return lambda markup: not markup.tag_names.isdisjoint(names)


def _has_attribute(*names: str, tag: str | None = None, value: str | None = None) -> _Test:
    return lambda markup: any(
        tag in {None, found_tag} and value in {None, found.lower()}
        for name in names
        for found_tag, found in markup.attributes.get(name, ())
    )


def _has_property(*names: str) -> _Test:
    return lambda markup: not markup.values.keys().isdisjoint(names)


def _has_value(pattern: str, maybe_name: str | None = None) -> _Test:
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda markup: bool(
        compiled.search(markup.values.get(maybe_name, "") if maybe_name is not None else markup.all_values)
    )


def _has_at_rule(name: str, condition: str = "") -> _Test:
    return lambda markup: any(rule == name and condition in rest for rule, rest in markup.at_rules)


def _has_selector(pattern: str) -> _Test:
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda markup: compiled.search(markup.selectors) is not None


def _has_link(pattern: str) -> _Test:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda markup: any(
        tag == "a" and compiled.match(target) for tag, target in markup.attributes.get("href", ())
    )


def _has_image(*endings: str) -> _Test:
    suffix = re.compile(rf"\.(?:{'|'.join(endings)})(?:[?#]|\Z)|\Adata:image/(?:{'|'.join(endings)})\b", re.IGNORECASE)
    return lambda markup: any(
        tag == "img" and suffix.search(source) for tag, source in markup.attributes.get("src", ())
    )


_SECTIONS = "article aside details figcaption figure footer header main mark nav section summary time".split()  # noqa: SIM905
_SIDES = ("start", "end")
_AXES = ("block", "inline")

# Features whose name does not say how they look. Those in _BY_NAME below are named after a property or a tag.
_TESTS: dict[str, _Test] = {
    "css-at-font-face": _has_at_rule("font-face"),
    "css-at-import": _has_at_rule("import"),
    "css-at-keyframes": _has_at_rule("keyframes"),
    "css-at-media": _has_at_rule("media"),
    "css-at-media-device-pixel-ratio": _has_at_rule("media", "device-pixel-ratio"),
    "css-at-media-hover": _has_at_rule("media", "hover"),
    "css-at-media-orientation": _has_at_rule("media", "orientation"),
    "css-at-media-prefers-color-scheme": _has_at_rule("media", "prefers-color-scheme"),
    "css-at-media-prefers-reduced-motion": _has_at_rule("media", "prefers-reduced-motion"),
    "css-at-supports": _has_at_rule("supports"),
    "css-block-inline-size": _has_property("block-size", "inline-size"),
    "css-border-inline-block": _has_property("border-inline", "border-block"),
    "css-border-inline-block-individual": _has_property(*(f"border-{a}-{b}" for a in _AXES for b in _SIDES)),
    "css-border-radius-logical": _has_property(*(f"border-{a}-{b}-radius" for a in _SIDES for b in _SIDES)),
    "css-column-layout-properties": _has_property("columns", "column-width", "column-gap", "column-rule"),
    "css-conic-gradient": _has_value(r"conic-gradient\("),
    "css-display-flex": _has_value(r"^(?:inline-)?flex\b", "display"),
    "css-display-grid": _has_value(r"^(?:inline-)?grid\b", "display"),
    "css-display-none": _has_value(r"^none\b", "display"),
    "css-function-clamp": _has_value(r"\bclamp\("),
    "css-function-light-dark": _has_value(r"\blight-dark\("),
    "css-function-max": _has_value(r"\bmax\("),
    "css-function-min": _has_value(r"\bmin\("),
    "css-grid-template": _has_property(
        "grid-template", "grid-template-columns", "grid-template-rows", "grid-template-areas"
    ),
    "css-important": _has_value(r"!\s*important"),
    "css-left-right-top-bottom": _has_property("left", "right", "top", "bottom"),
    "css-linear-gradient": _has_value(r"linear-gradient\("),
    "css-margin-block-start-end": _has_property("margin-block-start", "margin-block-end"),
    "css-margin-inline-block": _has_property("margin-inline", "margin-block"),
    "css-margin-inline-start-end": _has_property("margin-inline-start", "margin-inline-end"),
    "css-modern-color": _has_value(r"\b(?:lch|oklch|lab|oklab)\("),
    "css-nesting": _has_selector(r"&"),
    "css-padding-block-start-end": _has_property("padding-block-start", "padding-block-end"),
    "css-padding-inline-block": _has_property("padding-inline", "padding-block"),
    "css-padding-inline-start-end": _has_property("padding-inline-start", "padding-inline-end"),
    "css-radial-gradient": _has_value(r"radial-gradient\("),
    "css-rgba": _has_value(r"\brgba\("),
    "css-scroll-snap": _has_property("scroll-snap-type", "scroll-snap-align"),
    "css-selector-adjacent-sibling": _has_selector(r"\S ?\+ ?\S"),
    "css-selector-attribute": _has_selector(r"\["),
    "css-selector-child": _has_selector(r"\S ?> ?\S"),
    "css-selector-general-sibling": _has_selector(r"\S ?~ ?\S"),
    "css-selector-universal": _has_selector(r"(?:^|[ ,>+~])\*"),
    "css-unit-calc": _has_value(r"\bcalc\("),
    "css-variables": _has_value(r"\bvar\("),
    "html-anchor-links": _has_link("#."),
    "html-background": _has_attribute("background"),
    "html-button-reset": _has_attribute("type", tag="button", value="reset"),
    "html-button-submit": _has_attribute("type", tag="button", value="submit"),
    "html-image-maps": _has_tag("map", "area"),
    "html-input-checkbox": _has_attribute("type", tag="input", value="checkbox"),
    "html-input-hidden": _has_attribute("type", tag="input", value="hidden"),
    "html-input-radio": _has_attribute("type", tag="input", value="radio"),
    "html-input-reset": _has_attribute("type", tag="input", value="reset"),
    "html-input-submit": _has_attribute("type", tag="input", value="submit"),
    "html-input-text": _has_attribute("type", tag="input", value="text"),
    "html-loading-attribute": _has_attribute("loading"),
    "html-mailto-links": _has_link("mailto:"),
    "html-meta-color-scheme": _has_attribute("name", tag="meta", value="color-scheme"),
    "html-semantics": _has_tag(*_SECTIONS),
    "image-apng": _has_image("apng"),
    "image-avif": _has_image("avif"),
    "image-base64": lambda markup: any(
        value.startswith("data:image/") for _, value in markup.attributes.get("src", ())
    ),
    "image-bmp": _has_image("bmp"),
    "image-heif": _has_image("heif", "heic"),
    "image-ico": _has_image("ico", "x-icon", "vnd.microsoft.icon"),
    "image-mp4": _has_image("mp4"),
    "image-svg": _has_image("svg", r"svg\+xml"),
    "image-tiff": _has_image("tiff", "tif"),
    "image-webp": _has_image("webp"),
}

_TAGS = frozenset(
    "abbr acronym address audio base bdi code dfn dialog form link marquee meter object picture progress rp rt ruby "  # noqa: SIM905
    "select small strike style svg textarea video wbr".split()
)
_ATTRIBUTES = frozenset(
    "aria-describedby aria-hidden aria-label aria-labelledby aria-live dir height hidden lang popover required role "  # noqa: SIM905
    "srcset target width".split()
)
_KINDS: tuple[tuple[str, Callable[[str], _Test]], ...] = (
    ("css-pseudo-class-", lambda rest: _has_selector(rf"(?<!:):{re.escape(rest)}\b")),
    ("css-pseudo-element-", lambda rest: _has_selector(rf"::?{re.escape(rest)}\b")),
    ("css-unit-", lambda rest: _has_value(rf"\d{re.escape(rest)}\b")),
    ("css-", _has_property),
)
# Everything has these, or nothing is gained by saying so.
_NOT_LOOKED_FOR = frozenset(
    "amp bimi css-comments css-selector-chaining css-selector-class css-selector-descendant css-selector-grouping "  # noqa: SIM905
    "css-selector-id css-selector-type css-sytem-ui html-body html-comments html-doctype image-hdr css-at-media "
    "css-border-inline-block-longhand css-intrinsic-size css-unit-initial css-display html-lang html-width html-height "
    "html-style html-role html-dir css-important".split()
)


@functools.cache
def tests() -> dict[str, _Test]:
    """How each feature of the data is recognised; without those that are not looked for."""
    found: dict[str, _Test] = {}
    for name in features():
        if name in _NOT_LOOKED_FOR:
            continue
        maybe_test = _TESTS.get(name) or _test_by_name(name)
        if maybe_test is not None:
            found[name] = maybe_test
    return found


def _test_by_name(name: str) -> _Test | None:
    word = name.removeprefix("html-")
    if name.startswith("html-") and word in _TAGS:
        return _has_tag(word)
    if name.startswith("html-") and word in _ATTRIBUTES:
        return _has_attribute(word)
    return next((make(name.removeprefix(prefix)) for prefix, make in _KINDS if name.startswith(prefix)), None)


def used(markup: Markup) -> Iterator[Feature]:
    """The features that a document uses and some client lacks."""
    for name, is_used in tests().items():
        if is_used(markup):
            yield features()[name]
