"""Rules about HTML in mail: what readers take out, lack or flag. Knows tags and links; does not know MIME."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from unicodedata import normalize
from urllib.parse import urlsplit

from ehlo.report.examples import html, mail
from ehlo.report.features import used
from ehlo.report.finding import Found, Rule, Severity, quoted

if TYPE_CHECKING:
    from ehlo.report.mail import Mail
    from ehlo.report.markup import Markup, Tag
    from ehlo.report.parts import Part

_CLIPPED = 102 * 1024
_MAJOR = ("Apple Mail", "Gmail", "Outlook", "Yahoo! Mail")
_ACTIVE = frozenset({"script", "iframe", "object", "embed", "applet", "frame", "frameset"})
_HANDLER = re.compile(r"on[a-z]{3,20}")
_EXAMPLES = frozenset({"example.com", "example.net", "example.org"})  # RFC 2606 §3
# The last labels of names that are not in the public DNS: RFC 6761 §6.2 to §6.4, RFC 6762 §3, and ICANN's of 2024
_LOCAL = frozenset({"test", "localhost", "invalid", "local", "internal"})
# Longer than two letters, and under which countries give out names.
_SECOND_LEVEL = frozenset({"com", "net", "org", "edu", "gov", "mil", "ltd", "plc", "info", "biz"})
_HOST_LIMIT = 253
"""Characters of a host's name (RFC 1035 §2.3.4, written with dots)."""
_TEMPLATE_LIMIT = 200_000
_LOOKS_LIKE_URL = re.compile(r"(?:https?://|www\.)(?P<host>[^\s/<>?#]+)", re.IGNORECASE)
# RFC 3986 §3.1, or a place in the document itself
_WHOLE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|#")
# Django, Jinja, Handlebars; ERB and EJS; ${} of JavaScript and #{} of Ruby; Python's %; Mailchimp; Mailgun; what is
# shown of an object or of nothing.
_TEMPLATE = re.compile(
    r"(?<!\$)\{\{[^{}\n]{1,80}\}\}|\{%[^{}\n]{1,80}%\}|<%=?[^<>\n]{1,80}%>|[$#]\{[a-z_][^{}\n]{0,60}\}|%\([a-z_]{1,40}\)[sd]|"
    r"\*\|[A-Z][A-Z0-9_:]{0,60}\|\*|%recipient(?:\.[a-z_]{1,40})?%|"
    r"\[object Object\]|\b(?:Dear|Hello|Hi|Hey|Hallo|Bonjour|Hola) (?:undefined|NaN|None|null)\b",
)


def _markups(mail: Mail) -> Iterator[tuple[Part, Markup]]:
    for part in mail.shown("text/html"):
        yield part, part.markup


def _urls(markup: Markup) -> Iterator[tuple[str, str]]:
    """The name of an attribute, and the URL in it."""
    for tag in markup.tags:
        for name in ("href", "src", "background"):
            if name in tag.attributes:
                yield name, tag.attributes[name]


def _lacking(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for feature in used(markup):
            major = [client for client in feature.lacking if client.startswith(_MAJOR)]
            others = len(feature.lacking) - len(major)
            if major:
                more = f" and {others} other{'s' * (others > 1)}" if others else ""
                yield Found(
                    part.place,
                    f"uses {feature.title}, which is missing in {', '.join(major)}{more}: see that it is not needed",
                )


def _active(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        running = (tag.name for tag in markup.tags if tag.name in _ACTIVE and not _is_data(tag))
        for name in dict.fromkeys(running):
            yield Found(part.place, f"has <{name}>, which mail clients take out and some filters refuse: leave it out")
        for name in sorted(filter(_HANDLER.fullmatch, markup.attributes)):
            yield Found(part.place, f"has {name}=, which mail clients take out: leave it out")


def _is_data(tag: Tag) -> bool:
    """Whether it is a script that does not run: what Gmail reads of orders and journeys."""
    return tag.name == "script" and tag.attributes.get("type", "").lower() == "application/ld+json"


def _no_alt(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for tag in markup.tags:
            if tag.name == "img" and "alt" not in tag.attributes:
                source = quoted(tag.attributes.get("src", ""))
                yield Found(
                    part.place, f'has an image without alt, {source}: say what it shows, or alt="" for ornament'
                )


def _no_language(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        if "lang" not in markup.attributes:
            yield Found(part.place, "does not say its language, by which it is read aloud: begin with <html lang=...>")


def _relative(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        if "base" in markup.tag_names:
            continue
        for name, url in _urls(markup):
            if url and not _WHOLE.match(url) and not _TEMPLATE.search(url[:_TEMPLATE_LIMIT]):
                yield Found(
                    part.place, f"has a {name} that leads nowhere from a mail, {quoted(url)}: begin with https://"
                )


def _empty_link(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for target, text in markup.links:
            if target in {"", "#"} or target.lower().startswith("javascript:"):
                yield Found(part.place, f"has a link that does nothing, {quoted(text)}: give it a target")


def _insecure(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for name, url in _urls(markup):
            if url.lower().startswith("http:"):
                yield Found(part.place, f"has a {name} without TLS, {quoted(url)}: use https")


def _local(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for name, url in _urls(markup):
            if url.lower().startswith(("http:", "https:")) and _is_local(_host(url)):
                yield Found(
                    part.place,
                    f"has a {name} that leads to this machine, its network or an example, {quoted(url)}: set the host",
                )


def _is_local(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host in _EXAMPLES or host.rpartition(".")[2] in _LOCAL or (host != "" and "." not in host)


def _host(url: str) -> str:
    """In lower case, an IDN in its own letters (RFC 5890 §2.3.2.1); "" if there is none."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return ".".join(map(_label, host[:_HOST_LIMIT].rstrip(".").split(".")))


def _label(label: str) -> str:
    try:
        # Not by the codec "idna", whose version of 2003 takes "ß" for "ss".
        return label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else normalize("NFC", label)
    except UnicodeError:
        return label


def _disguised(mail: Mail) -> Iterator[Found]:
    for part, markup in _markups(mail):
        for target, text in markup.links:
            shown = _LOOKS_LIKE_URL.match(text)
            if shown is None:
                continue
            named, real = _host(f"https://{shown['host'].rstrip('.,;:!?)')}"), _host(target)
            if named and real and _organisation(named) != _organisation(real):
                yield Found(
                    part.place,
                    f"shows a link to {quoted(named)} that leads to {quoted(real)}, as in phishing: show words instead",
                )


def _organisation(host: str) -> str:
    """The end of a host's name that one organisation has, as far as names tell it: example.co.uk, example.org."""
    labels = host.split(".")
    is_of_country = len(labels) > 2 and len(labels[-1]) == 2 and (len(labels[-2]) <= 2 or labels[-2] in _SECOND_LEVEL)
    return ".".join(labels[-3 if is_of_country else -2 :])


def _clipped(mail: Mail) -> Iterator[Found]:
    for part in mail.shown("text/html"):
        size = len(part.decoded)
        if size > _CLIPPED:
            yield Found(
                part.place, f"has {size // 1024} KB of HTML, of which Gmail shows the first 102: make it smaller"
            )


def _template(mail: Mail) -> Iterator[Found]:
    subject = mail.first("Subject")
    shown = [(part.place, part.text) for part in mail.shown("text/plain")]
    shown += [(part.place, markup.written) for part, markup in _markups(mail)]
    if subject is not None:
        shown.append((subject.place, subject.value))
    for place, text in shown:
        for match in _TEMPLATE.finditer(text[:_TEMPLATE_LIMIT]):
            yield Found(place, f"has what looks like a place for a value, {quoted(match.group())}: put the value there")


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
        "RFC 6761 §6.2, §6.3, RFC 6762 §3, RFC 1918 §3, RFC 2606 §3",
        _local,
        _RIGHT,
        html('<a href="http://localhost:3000/confirm">Confirm</a>'),
    ),
    Rule(
        "html-disguised-link",
        Severity.NOTICE,
        "A link that shows a URL leads to its domain",
        "RFC 3986 §7.6; SpamAssassin rule T_SPOOFED_URL",
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
        "what Django, Jinja, Handlebars, ERB, JavaScript, Mailchimp and Mailgun leave when a value is missing",
        _template,
        mail("Dear Bob, 100 % of us like {this}.\n"),
        mail("Dear {{ name }}, welcome.\n"),
    ),
)
