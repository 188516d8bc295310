"""Rules about mail to many: how to leave the list. Knows RFC 2369 and RFC 8058; does not know signatures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ehlo.report.examples import mail
from ehlo.report.finding import Found, Rule, Severity, quoted

if TYPE_CHECKING:
    from ehlo.report.mail import Mail

_BULK_FIELDS = ("List-Id", "List-Post", "List-Help")
_URI = re.compile(r"<([^<>]*)>")
# RFC 3986 §3.1
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_ONE_CLICK = "List-Unsubscribe=One-Click"


def _uris(mail: Mail) -> list[str]:
    return [uri.strip() for one in mail.all("List-Unsubscribe") for uri in _URI.findall(one.value)]


def _value(mail: Mail, name: str) -> str:
    one = mail.first(name)
    return "" if one is None else one.value.lower()


def _is_bulk(mail: Mail) -> bool:
    # Answers of machines are marked so that no machine answers them, and go to one (RFC 3834 §3.1.8, §5).
    is_marked = _value(mail, "Precedence") in {"bulk", "list"} and not _value(mail, "Auto-Submitted").startswith(
        "auto-"
    )
    return is_marked or any(mail.first(name) for name in _BULK_FIELDS)


def _is_discussion(mail: Mail) -> bool:
    """Whether everybody may write, so that RFC 8058 is not for it; RFC 2369 §3.4: "NO" is where they may not."""
    return mail.first("List-Post") is not None and not _value(mail, "List-Post").startswith("no")


def _no_unsubscribe(mail: Mail) -> Iterator[Found]:
    if _is_bulk(mail) and mail.first("List-Unsubscribe") is None:
        yield Found(
            "header",
            "is mail to many and has no List-Unsubscribe field: add <https://...> and <mailto:...> that end it",
        )


def _bad_unsubscribe(mail: Mail) -> Iterator[Found]:
    for one in mail.all("List-Unsubscribe"):
        uris = _URI.findall(one.value)
        if not uris:
            yield Found(one.place, "has no URI in angle brackets: write <https://...>, <mailto:...>")
        elif not all(_SCHEME.fullmatch(uri.strip()) for uri in uris):
            yield Found(one.place, "has something in angle brackets that is no URI: write <https://...>, <mailto:...>")


def _no_one_click(mail: Mail) -> Iterator[Found]:
    one = mail.first("List-Unsubscribe")
    if one is not None and mail.first("List-Unsubscribe-Post") is None and not _is_discussion(mail):
        yield Found(
            one.place,
            f"has no List-Unsubscribe-Post beside it: add {_ONE_CLICK}, for a button that does it at once",
        )


def _bad_one_click(mail: Mail) -> Iterator[Found]:
    for one in mail.all("List-Unsubscribe-Post"):
        if "".join(one.value.split()) != _ONE_CLICK:
            yield Found(one.place, f"is {quoted(one.value)}: write {_ONE_CLICK}")
        elif not any(uri.lower().startswith("https:") for uri in _uris(mail)):
            yield Found(one.place, "has no https URI in List-Unsubscribe to send it to: add one there")


_URL = "<https://sender.example/leave?id=1>, <mailto:leave@sender.example>"
_RIGHT = mail(list_id="<news.sender.example>", list_unsubscribe=_URL, list_unsubscribe_post=_ONE_CLICK)

RULES: tuple[Rule[Mail], ...] = (
    Rule(
        "no-list-unsubscribe",
        Severity.WARNING,
        "Mail to many says how to leave",
        "RFC 2369 §3.2; Gmail and Yahoo ask it of bulk senders since 2024",
        _no_unsubscribe,
        _RIGHT,
        mail(list_id="<news.sender.example>"),
    ),
    Rule(
        "bad-list-unsubscribe",
        Severity.ERROR,
        "List-Unsubscribe has URIs in angle brackets",
        "RFC 2369 §2, §3.2",
        _bad_unsubscribe,
        _RIGHT,
        mail(list_unsubscribe="https://sender.example/leave"),
    ),
    Rule(
        "no-one-click",
        Severity.WARNING,
        "Leaving takes one click",
        "RFC 8058 §3.1; Gmail and Yahoo ask it of bulk senders since 2024",
        _no_one_click,
        _RIGHT,
        mail(list_unsubscribe=_URL),
    ),
    Rule(
        "bad-one-click",
        Severity.ERROR,
        "List-Unsubscribe-Post is One-Click, and there is an https URI",
        "RFC 8058 §3.1",
        _bad_one_click,
        _RIGHT,
        mail(list_unsubscribe="<mailto:leave@sender.example>", list_unsubscribe_post=_ONE_CLICK),
    ),
)
