"""Rules about HTML in mail: what readers take out, lack or flag. Knows tags and links; does not know MIME."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ehlo.report.examples import html, mail
from ehlo.report.features import used
from ehlo.report.finding import Found, Rule, Severity
from ehlo.report.markup import Markup, Tag

if TYPE_CHECKING:
    from ehlo.report.mail import Mail, Part

_CLIPPED = 102 * 1024
_MAJOR = ("Apple Mail", "Gmail", "Outlook", "Yahoo! Mail")
_ACTIVE = frozenset({"script", "iframe", "object", "embed", "applet", "frame", "frameset"})
_LOOKS_LIKE_URL = re.compile(r"(?:https?://|www\.)(?P<host>[^\s/<>?#]+)", re.IGNORECASE)
# RFC 3986 §3.1, or a place in the document itself
_WHOLE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|#")
# Django, Jinja, Handlebars; ERB and EJS; ${} of JavaScript; Python's %; what is shown of an object or of nothing.
_TEMPLATE = re.compile(
    r"(?<!\$)\{\{[^{}\n]{1,80}\}\}|\{%[^{}\n]{1,80}%\}|<%=?[^<>\n]{1,80}%>|\$\{[a-z_][^{}\n]{0,60}\}|%\([a-z_]{1,40}\)[sd]|"
    r"\[object Object\]|\b(?:Dear|Hello|Hi|Hey|Hallo|Bonjour|Hola) (?:undefined|NaN|None|null)\b",
)


def _markups(mail: Mail) -> Iterator[tuple[Part, Markup]]:
    for part in mail.shown("text/html"):
        yield part, Markup(part.text)


def _links(markup: Markup) -> Iterator[tuple[Tag, str]]:
    for tag in markup.tags:
        if tag.name in {"a", "area"} and "href" in tag.attributes:
            yield tag, tag.attributes["href"]


def _lacking(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for feature in used(markup):
            major = [client for client in feature.lacking if client.startswith(_MAJOR)]
            others = len(feature.lacking) - len(major)
            if major:
                more = f" and {others} others" if others else ""
                yield Found(part.place, f"uses {feature.title}, which is missing in {', '.join(major)}{more}")


def _active(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for name in dict.fromkeys(tag.name for tag in markup.tags if tag.name in _ACTIVE):
            yield Found(part.place, f"has <{name}>, which mail clients take out, and some filters refuse")
        handlers = {name for tag in markup.tags for name in tag.attributes if re.fullmatch(r"on[a-z]{3,20}", name)}
        for name in sorted(handlers):
            yield Found(part.place, f"has {name}=, which mail clients take out")


def _no_alt(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for tag in markup.tags:
            if tag.name == "img" and "alt" not in tag.attributes:
                yield Found(part.place, f"has an image without alt: {_short(tag.attributes.get('src', ''))}")


def _no_language(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        if not any("lang" in tag.attributes for tag in markup.tags):
            yield Found(part.place, "does not say its language: <html lang=...>")


def _relative(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        if any(tag.name == "base" for tag in markup.tags):
            continue
        for tag in markup.tags:
            for name in ("href", "src", "background"):
                value = tag.attributes.get(name, "")
                if value and not _WHOLE.match(value) and "{" not in value:
                    yield Found(part.place, f"has a {name} that leads nowhere from a mail: {_short(value)}")


def _empty_link(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for tag, target in _links(markup):
            if target in {"", "#"} or target.lower().startswith("javascript:"):
                yield Found(part.place, f"has a link that does nothing: {_short(markup.text_after(tag))}")


def _insecure(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for tag in markup.tags:
            for name in ("href", "src", "background"):
                value = tag.attributes.get(name, "")
                if value.lower().startswith("http:"):
                    yield Found(part.place, f"has a {name} without TLS: {_short(value)}")


def _local(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for _, target in _links(markup):
            if _host(target) in {"localhost", "127.0.0.1", "[::1]", "0.0.0.0", "example.com"}:  # noqa: S104
                yield Found(part.place, f"has a link to this machine or to an example: {_short(target)}")


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].partition(":")[0].lower()
    except ValueError:
        return ""


def _disguised(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for tag, target in _links(markup):
            shown = _LOOKS_LIKE_URL.match(markup.text_after(tag))
            if shown is None:
                continue
            named = shown["host"].lower().rpartition("@")[2].rstrip(".,;:!?)")
            host, real = (name.removeprefix("www.") for name in (named, _host(target)))
            if real and host.partition(":")[0] != real:
                yield Found(part.place, f"shows a link to {_short(host)} that leads to {_short(real)}")


def _clipped(mail: Mail) -> Iterator[Found]:
    for part in mail.shown("text/html"):
        size = len(part.decoded)
        if size > _CLIPPED:
            yield Found(part.place, f"has {size // 1024} KB of HTML; Gmail shows the first 102")


def _template(mail: Mail) -> Iterator[Found]:
    subject = mail.first("Subject")
    shown = [(part.place, part.text) for part in (*mail.shown("text/plain"), *mail.shown("text/html"))]
    if subject is not None:
        shown.append((subject.place, subject.value))
    for place, text in shown:
        for match in _TEMPLATE.finditer(re.sub(r"(?is)<style.*?</style", "", text[:200_000])):
            yield Found(place, f"has what looks like a place for a value: {_short(match.group())}")


def _short(text: str) -> str:
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")


_RIGHT = html(
    '<html lang="en"><p>At one? <a href="https://sender.example/">Yes</a> <img src="cid:x" alt="us"></p></html>'
)

RULES: tuple[Rule[Mail], ...] = (
    Rule(
        "html-feature",
        Severity.NOTICE,
        "HTML and CSS are what mail clients know",
        "caniemail.com",
        _lacking,
        html('<table style="width: 100%"><tr><td>At one?</table>'),
        html('<p style="display: flex">At one?</p>'),
    ),
    Rule(
        "html-active",
        Severity.WARNING,
        "HTML has nothing that runs",
        "RFC 2854 §7; Gmail, Outlook and Apple Mail remove scripts",
        _active,
        _RIGHT,
        html("<script>alert(1)</script>"),
    ),
    Rule(
        "html-image-alt",
        Severity.WARNING,
        "Images have a text instead",
        "WCAG 2.2, 1.1.1",
        _no_alt,
        _RIGHT,
        html('<img src="https://sender.example/a.png">'),
    ),
    Rule(
        "html-language",
        Severity.NOTICE,
        "HTML says its language",
        "WCAG 2.2, 3.1.1",
        _no_language,
        _RIGHT,
        html("<p>Hi</p>"),
    ),
    Rule(
        "html-relative-url",
        Severity.ERROR,
        "URLs in a mail are whole",
        "RFC 3986 §5.1: a mail has no base URI",
        _relative,
        _RIGHT,
        html('<a href="/confirm?id=1">Confirm</a>'),
    ),
    Rule(
        "html-empty-link",
        Severity.WARNING,
        "Links lead somewhere",
        "WCAG 2.2, 2.4.4",
        _empty_link,
        _RIGHT,
        html('<a href="#">Confirm</a>'),
    ),
    Rule(
        "html-insecure-url",
        Severity.NOTICE,
        "URLs are https",
        "RFC 9110 §4.2.2, §17.1",
        _insecure,
        _RIGHT,
        html('<a href="http://sender.example/">Confirm</a>'),
    ),
    Rule(
        "html-local-url",
        Severity.NOTICE,
        "Links lead to a place that the reader can reach",
        "RFC 6761 §6.3, RFC 2606 §3",
        _local,
        _RIGHT,
        html('<a href="http://localhost:3000/confirm">Confirm</a>'),
    ),
    Rule(
        "html-disguised-link",
        Severity.WARNING,
        "A link that shows a URL leads to it",
        "RFC 3986 §7.6; SpamAssassin and Outlook flag it",
        _disguised,
        _RIGHT,
        html('<a href="https://click.mailer.example/1">https://bank.example/</a>'),
    ),
    Rule(
        "html-clipped",
        Severity.WARNING,
        "HTML has no more than 102 KB",
        "Gmail: a message is clipped at 102 KB",
        _clipped,
        _RIGHT,
        html("<p>" + ("At one? " * 9 + "\n") * 1500 + "</p>"),
    ),
    Rule(
        "template-left",
        Severity.WARNING,
        "Every place for a value has one",
        "what Django, Jinja, Handlebars, ERB and JavaScript leave when a value is missing",
        _template,
        mail("Dear Bob, 100 % of us like {this}.\n"),
        mail("Dear {{ name }}, welcome.\n"),
    ),
)
