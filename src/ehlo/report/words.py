"""Rules about encoded words: what is not ASCII in a header. Knows RFC 2047; does not know what a field means."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ehlo.mime.charsets import is_known, maybe_codec
from ehlo.report.examples import mail
from ehlo.report.finding import Found, Rule, Severity, quoted

if TYPE_CHECKING:
    from ehlo.report.mail import Mail

# RFC 2047 §2: encoded-word = "=?" charset "?" encoding "?" encoded-text "?="
# Here there may be white space in the text, to be told so.
_ENCODED_WORD = re.compile(r"=\?(?P<charset>[^?\s]*)\?(?P<encoding>[^?\s]*)\?(?P<text>[^?]*)\?=")
_ENCODED_WORD_LIMIT = 75
_LOOKS_ENCODED = re.compile(r"=\?[^?\s]+\?[bqBQ]\?")
# RFC 2047 §5: what may stand beside an encoded word; without the quotation marks of another rule
_MARKS_BEFORE, _MARKS_BEHIND = frozenset(' \t(,;<"'), frozenset(' \t),;<>"')
# RFC 2047 §4.2 (1)
_BAD_QUOTED = re.compile(r"=(?![0-9A-Fa-f]{2})")


def _bad_encoded_word(mail: Mail) -> Iterator[Found]:
    for one in mail.fields:
        for word in _ENCODED_WORD.finditer(one.value):
            maybe_problem = _problem_of_word(word)
            if maybe_problem is not None:
                yield Found(one.place, f"has {quoted(word.group())}, {maybe_problem}")
        if _LOOKS_ENCODED.search(_ENCODED_WORD.sub("", one.value)):
            yield Found(one.place, "begins an encoded word and does not end it: end it with ?=, and write =3F for a ?")


def _problem_of_word(word: re.Match[str]) -> str | None:
    if word["encoding"].upper() not in {"B", "Q"}:
        return "whose encoding nobody knows: write B or Q"
    if any(map(str.isspace, word["text"])):
        return "with white space in it: write _ for it in Q, and fold between words only"
    maybe_data = _data_of(word)
    if maybe_data is None or not is_known(_charset_of(word)):
        return "which cannot be decoded: encode it anew, in UTF-8"
    try:
        maybe_data.decode(maybe_codec(_charset_of(word)) or "latin-1")
    except UnicodeDecodeError:
        return "with octets that are no character: name the right character set, and part no character in two words"
    if len(word.group()) > _ENCODED_WORD_LIMIT:
        return f"of {len(word.group())} characters: part it into words of at most {_ENCODED_WORD_LIMIT}"
    before, behind = word.string[: word.start()][-1:], word.string[word.end() : word.end() + 1]
    if (before and before not in _MARKS_BEFORE) or (behind and behind not in _MARKS_BEHIND):
        return "which touches what is beside it: put spaces around an encoded word"
    return None


def _charset_of(word: re.Match[str]) -> str:
    """Without the language of RFC 2231 §5."""
    return word["charset"].partition("*")[0]


def _data_of(word: re.Match[str]) -> bytes | None:
    """RFC 2047 §4; None if it breaks its encoding."""
    try:
        if word["encoding"].upper() == "B":
            return binascii.a2b_base64(word["text"].encode("ascii"), strict_mode=True)
        return None if _BAD_QUOTED.search(word["text"]) else binascii.a2b_qp(word["text"].encode(), header=True)
    except ValueError:
        return None


def _encoded_word_in_quotes(mail: Mail) -> Iterator[Found]:
    for one in mail.fields:
        for string in re.findall(r'"[^"]*"', one.value):
            if _LOOKS_ENCODED.search(string):
                yield Found(one.place, f"has {quoted(string)}, which nobody decodes: take the quotation marks away")


RULES: tuple[Rule[Mail], ...] = (
    Rule(
        "bad-encoded-word",
        Severity.ERROR,
        "Encoded words can be read",
        "RFC 2047 §2, §5",
        _bad_encoded_word,
        mail(subject="=?utf-8?b?R3LDvMOfZQ==?="),
        mail(subject="=?no-such-charset?q?Gr=FC=DFe?="),
    ),
    Rule(
        "encoded-word-in-quotes",
        Severity.ERROR,
        "Encoded words do not stand in quotation marks",
        "RFC 2047 §5 (3)",
        _encoded_word_in_quotes,
        mail(to="=?utf-8?q?B=C3=B6b?= <bob@receiver.example>"),
        mail(to='"=?utf-8?q?B=C3=B6b?=" <bob@receiver.example>'),
    ),
)
