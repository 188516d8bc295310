"""What a test wants from a mail: links, and codes to type in.  Knows text and HTML; does not know MIME.

Every pattern runs in time in proportion to the text, and what it runs over is cut.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ehlo.inbox.html_text import html_links
from ehlo.inbox.records import Link

if TYPE_CHECKING:
    from collections.abc import Iterator

LINK_LIMIT: Final = 500
CODE_LIMIT: Final = 10
URL_LIMIT: Final = 4096
_TEXT_FOR_CODES: Final = 64 * 1024

_URL = re.compile(r"""\bhttps?://[\w\[][^\s<>"'`\\^{}|]{0,4096}""", re.IGNORECASE)
# RFC 3986 §3.1:  scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30}):", re.IGNORECASE)
# With "//" an application's own scheme is a link too ("myapp://reset"); these are none that anybody follows.
_NO_LINKS = {"javascript", "vbscript", "data", "file", "blob", "cid", "mid", "about", "view-source"}
_PLAIN_SCHEMES = {"http", "https", "mailto", "tel", "sms"}
_PAIRS = {")": "(", "]": "["}


def find_links(text: str, html: str) -> tuple[Link, ...]:
    """The links of the HTML in their order, then those that only the text has; each address once."""
    found: dict[str, Link] = {}
    for target, shown in html_links(html):
        url = "".join(target.split())[:URL_LIMIT]
        if url not in found and _is_link(url):
            found[url] = Link(url, shown, "html")
        if len(found) == LINK_LIMIT:
            return tuple(found.values())
    for match in _URL.finditer(text) if "://" in text else ():
        url = _without_punctuation(match[0])
        if url not in found:
            found[url] = Link(url, url, "text")
        if len(found) == LINK_LIMIT:
            break
    return tuple(found.values())


def _is_link(url: str) -> bool:
    match = _SCHEME.match(url)
    if match is None:
        return False
    scheme = match[1].lower()
    return scheme in _PLAIN_SCHEMES or (scheme not in _NO_LINKS and url.startswith("//", match.end()))


def _without_punctuation(url: str) -> str:
    """Without what ends a sentence, or closes a bracket that was opened before it."""
    while url[-1] in ".,;:!?*_)]":
        opening = _PAIRS.get(url[-1])
        if opening and url.count(opening) >= url.count(url[-1]):
            break
        url = url[:-1]
    return url


# Codes

# Words that announce a code, in some languages.  "pin" and "tan" only as words; "code" also in "passcode", "Prüfcode".
_WORD = re.compile(
    r"\b(?:pin|otp|totp|tan|mfa|2fa)\b|code|passw|kennwort|einmal|verif|token|authenti|one-?time|c[oó]digo|codice|"
    r"kod[eu]?\b|kód|код|κωδικ|doğrulama|best[äa]tig|验证码|驗證碼|校验码|認証|確認コード|コード|인증|رمز",
    re.IGNORECASE,
)
# Of each of these words, what is in it when it is ASCII.  Most texts have none, and to know that by the pattern takes
# more time than all else that is done with a message.
_STEMS = (
    *("pin", "otp", "tan", "mfa", "2fa", "code", "passw", "kennwort", "einmal", "verif", "token", "authenti", "one"),
    *("codigo", "codice", "kod", "bestatig"),
)
_CANDIDATE = re.compile(
    r"""(?<![\w.,/@#=&%+:$€£¥-]) (?<![0-9][ ])
        (?: (?P<split> [0-9]{3}[ \u00a0][0-9]{3} | [0-9]{4}[ \u00a0][0-9]{4} )
          | (?P<group> [A-Z0-9]{1,8} (?: -[A-Z0-9]{2,8} ){1,4} )
          | (?P<digits> [0-9]{4,8} )
          | (?P<mixed> (?=[A-Z]{0,9}[0-9]) [A-Z0-9]{4,10} )
        )
        (?! [\w/@%€$£¥-] | [.,:][\w] | [ ]?(?:EUR|USD|GBP|CHF|%) )
    """,
    re.VERBOSE,
)
_NEAR = 60
"""Characters between a word and its code."""
_FAR = 200


def find_codes(subject: str, text: str) -> tuple[str, ...]:
    """What looks like a verification code, the likeliest first; nothing that no word announces.

    Four to eight digits, also in two groups, or letters and digits, upper case, as in ``AB12-CD34``.
    """
    found: dict[str, float] = {}
    text = text[:_TEXT_FOR_CODES]
    if "://" in text:
        text = _URL.sub(" ", text)
    # A word in the subject speaks for the beginning of the text too.
    for source in (subject, text, f"{subject}\n{text[:_FAR]}"):
        # Characters that one pattern takes for letters and another for nothing: a code ends where its line ends.
        words = [match.span() for match in _WORD.finditer(source)] if _may_have_word(source) else []
        if not words:
            continue
        for code, score in _scored(source, words):
            found[code] = max(score, found.get(code, 0.0))
    return tuple(sorted(found, key=lambda code: -found[code])[:CODE_LIMIT])


def _may_have_word(source: str) -> bool:
    """Whether it is worth while to look."""
    lower = source.lower()
    return not source.isascii() or any(stem in lower for stem in _STEMS)


def _scored(source: str, words: list[tuple[int, int]]) -> Iterator[tuple[str, float]]:
    nearest = 0  # the last word that begins before the candidate; both go forward only
    for match in _CANDIDATE.finditer(source):
        while nearest + 1 < len(words) and words[nearest + 1][0] < match.start():
            nearest += 1
        near = [_nearness(source, match, *word) for word in words[max(0, nearest) : nearest + 2]]
        score = max(near)
        if score <= 0:
            continue
        code = match[0]
        if match["split"]:
            code = code.replace(" ", "").replace("\u00a0", "")
        elif match["group"] and not any(char.isdigit() for char in code):
            score -= 1  # "UTF-LATIN"; but Slack's codes are such
        score += _shape(code) + (0.5 if _is_alone(source, match) else 0)
        yield code, score


def _nearness(source: str, match: re.Match[str], start: int, end: int) -> float:
    """From 3, right behind the word, down to 0."""
    if end <= match.start():
        distance, weight, between = match.start() - end, 3.0, source[end : match.start()][:_FAR]
    elif start >= match.end():
        distance, weight, between = start - match.end(), 2.5, source[match.end() : start][:_FAR]
    else:
        return 0.0
    if distance > _FAR:
        return 0.0
    # A number in another sentence or block is less likely meant.
    weight -= 0.5 * min(2, between.count("\n\n")) + 0.5 * min(2, between.count(". "))
    return weight * (1 - distance / (2 * _FAR)) if distance <= _NEAR else weight / 2


def _shape(code: str) -> float:
    if code.isdigit():
        if len(code) == 4 and code[:2] in {"19", "20"}:
            return -1.2  # more likely a year
        return {6: 1.0, 4: 0.4, 8: 0.4, 5: 0.3, 7: 0.2}.get(len(code), 0.0)
    return 0.3


def _is_alone(source: str, match: re.Match[str]) -> bool:
    """Whether it has a line of its own."""
    before = source.rfind("\n", 0, match.start()) + 1
    after = source.find("\n", match.end())
    return (
        not source[before : match.start()][-80:].strip()
        and not source[match.end() : after if after >= 0 else None][:80].strip()
    )
