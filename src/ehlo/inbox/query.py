"""The search language: what a user types, as terms, and as a condition of SQL.

Knows the columns of ``messages`` and the full-text index; does not know connections.  What the user typed never becomes
part of the SQL: it is a parameter, or a string of FTS5's own language, quoted.

    query   = *( WSP / term )
    term    = [ "-" ] ( key ":" value / value )
    value   = word / DQUOTE *( any but DQUOTE ) DQUOTE
    key     = "from" / "to" / "cc" / "subject" / "message-id" / "tag" / "has" / "is" /
              "before" / "after" / "larger" / "smaller"

A word finds words that begin with it, a phrase these words in this order; all terms must hold.
"""

from __future__ import annotations

import re
import time
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from ehlo.inbox.errors import InboxError

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH_LIMIT: Final = 1000
TERM_LIMIT: Final = 40

_TERM = re.compile(
    r"""(?P<minus> -? )
        (?: (?P<key> [A-Za-z][A-Za-z-]* ) : (?!//) )?
        (?: " (?P<phrase> [^"]* ) (?P<end> "? ) | (?P<word> [^\s"]* ) )
    """,
    re.VERBOSE,
)
_AGO = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SIZE = re.compile(r"([0-9]{1,12})([kmg]?)i?b?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# Scripts without spaces between words: each character is a word of its own, here and in the index.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

Value = str | int | float | None


class QuerySyntaxError(InboxError, ValueError):
    """What the user typed is no query.  ``str`` is for the user; ``position`` counts characters from 0."""

    def __init__(self, text: str, position: int) -> None:
        super().__init__(text)
        self.position = position


class Condition(NamedTuple):
    """A condition on a row ``m`` of ``messages``, and its parameters."""

    sql: str
    parameters: tuple[Value, ...]


_EVERYTHING = Condition("1", ())


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that must hold, or must not.  An empty ``key``: a word or phrase anywhere in the message."""

    key: str
    value: str
    is_phrase: bool = False
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Terms, and what they mean in SQL; no terms find everything."""

    terms: tuple[Term, ...] = ()
    condition: Condition = _EVERYTHING


ALL: Final = Query()


def parse_query(text: str, now: float | None = None) -> Query:
    """The query that a user typed.  ``QuerySyntaxError``.  ``now`` (time.time()) is what ``after:2h`` counts from."""
    if len(text) > LENGTH_LIMIT:
        raise QuerySyntaxError(f"the search is longer than {LENGTH_LIMIT} characters", LENGTH_LIMIT)
    terms: list[Term] = []
    words: list[Term] = []
    conditions: list[Condition] = []
    position = _skip_space(text, 0)
    while position < len(text):
        match = _TERM.match(text, position)
        assert match is not None  # every part of it may be empty
        if len(terms) == TERM_LIMIT:
            raise QuerySyntaxError(f"there are more than {TERM_LIMIT} terms", position)
        term = _term(match)
        terms.append(term)
        if term.key or term.is_negated or not _has_words(term.value):
            conditions.append(_condition(term, match, time.time() if now is None else now))
        else:
            words.append(term)
        position = _skip_space(text, match.end())
    if words:
        conditions.insert(0, _has_all(words))
    if not conditions:
        return ALL
    parameters = tuple(parameter for condition in conditions for parameter in condition.parameters)
    return Query(tuple(terms), Condition(" AND ".join(condition.sql for condition in conditions), parameters))


def words_apart(text: str) -> str:
    """The text as the index wants it: what has no spaces between words gets them."""
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _term(match: re.Match[str]) -> Term:
    key = (match["key"] or "").lower()
    is_phrase = match["phrase"] is not None
    value = (match["phrase"] if is_phrase else match["word"]).strip()
    if key and key not in _KEYS:
        known = ", ".join(f"{name}:" for name in _KEYS)
        raise QuerySyntaxError(
            f'there is no "{key}:", only {known}; put it in quotes to search for the text', match.start("key")
        )
    if is_phrase and not match["end"]:
        raise QuerySyntaxError("a quotation mark is missing at the end", match.start("phrase") - 1)
    if not value:
        if key:
            raise QuerySyntaxError(f'"{key}:" needs a value right behind it', match.start("key"))
        if is_phrase:
            raise QuerySyntaxError("there is nothing between the quotation marks", match.start("phrase"))
        raise QuerySyntaxError('"-" needs a word right behind it', match.start())
    return Term(key, value, is_phrase, bool(match["minus"]))


def _condition(term: Term, match: re.Match[str], now: float) -> Condition:
    try:
        made = _KEYS[term.key](term.value, now) if term.key else _has_all([term])
    except _BadValueError as error:
        raise QuerySyntaxError(f'"{term.key}:" {error}', match.end("key") + 1) from None
    return made._replace(sql=f"NOT ({made.sql})") if term.is_negated else made


# Words


def _has_words(text: str) -> bool:
    return any(unicodedata.category(character)[0] in "LN" for character in text)


def _has_all(terms: list[Term]) -> Condition:
    """All of the words, in what is indexed, or in what is known of a message before it is."""
    known = [_contains(("m.subject", "m.header_from", "m.header_to", "m.snippet"), _plain(term)) for term in terms]
    not_indexed = " AND ".join(condition.sql for condition in known)
    parameters = tuple(parameter for condition in known for parameter in condition.parameters)
    if not _has_words(terms[0].value):
        return Condition(f"({not_indexed})", parameters)
    match = " AND ".join(map(_full_text, terms))
    return Condition(
        f"(m.id IN (SELECT rowid FROM search WHERE search MATCH ?) OR m.is_indexed = 0 AND {not_indexed})",  # noqa: S608
        (_storable(match), *parameters),
    )


def _plain(term: Term) -> str:
    return term.value if term.is_phrase else term.value.rstrip("*") or term.value


def _full_text(term: Term) -> str:
    """A string of FTS5 (https://sqlite.org/fts5.html#fts5_strings): only the quotation mark has a meaning in it."""
    text = words_apart("".join(" " if ord(char) < 32 else char for char in _plain(term))).replace('"', '""')
    return f'"{text}"' if term.is_phrase else f'"{text}"*'


# Keys


class _BadValueError(Exception):
    """The end of a sentence that begins with the key."""


def _contains(columns: tuple[str, ...], needle: str) -> Condition:
    """The needle is somewhere in one of the columns, in upper or lower case."""
    if needle.isascii():
        escaped = re.sub(r"([\\%_])", r"\\\1", needle)
        sql = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns)
        return Condition(f"({sql})", (f"%{escaped}%",) * len(columns))
    sql = " OR ".join(f"instr(casefold({column}), ?)" for column in columns)
    return Condition(f"({sql})", (_storable(needle.casefold()),) * len(columns))


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _key_contains(*columns: str) -> Callable[[str, float], Condition]:
    return lambda value, _now: _contains(columns, value)


def _key_choice(**choices: str) -> Callable[[str, float], Condition]:
    def make(value: str, _now: float) -> Condition:
        sql = choices.get(value.lower())
        if sql is None:
            raise _BadValueError(f"may be followed by {' or '.join(choices)}")
        return Condition(sql, ())

    return make


def _key_time(operator: str) -> Callable[[str, float], Condition]:
    return lambda value, now: Condition(f"m.received_at {operator} ?", (_parse_time(value, now),))


def _parse_time(value: str, now: float) -> float:
    ago = _AGO.fullmatch(value.lower())
    if ago:
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _BadValueError(
            "needs a date (2026-01-31), a time (2026-01-31T18:30, of UTC) or how long ago (90s, 15m, 2h, 7d, 4w)"
        ) from None


def _key_size(operator: str) -> Callable[[str, float], Condition]:
    def make(value: str, _now: float) -> Condition:
        match = _SIZE.fullmatch(value)
        if match is None:
            raise _BadValueError("needs a size in octets, or as in 10k or 5M")
        return Condition(f"m.size {operator} ?", (min(int(match[1]) * _UNITS[match[2].lower()], (1 << 63) - 1),))

    return make


def _key_tag(value: str, _now: float) -> Condition:
    return _contains(("m.tags",), f"\n{value}\n")


def _key_message_id(value: str, _now: float) -> Condition:
    return _contains(("m.message_id",), value.removeprefix("<").removesuffix(">"))


_KEYS: dict[str, Callable[[str, float], Condition]] = {
    "from": _key_contains("m.header_from", "m.mail_from"),
    "to": _key_contains("m.header_to", "m.rcpt_tos"),
    "cc": _key_contains("m.header_cc"),
    "subject": _key_contains("m.subject"),
    "message-id": _key_message_id,
    "tag": _key_tag,
    "has": _key_choice(attachment="m.attachments > 0", html="m.has_html = 1"),
    "is": _key_choice(read="m.is_read = 1", unread="m.is_read = 0"),
    "before": _key_time("<"),
    "after": _key_time(">="),
    "larger": _key_size(">"),
    "smaller": _key_size("<"),
}
