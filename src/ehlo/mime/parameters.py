"""Content-Type and Content-Disposition: a value with parameters.  Knows RFC 2045 §5.1 and RFC 2231; no name of them."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ehlo.mime.charsets import decode_text

# RFC 2045 §5.1:  parameter := attribute "=" value ; value := token / quoted-string
# Read as mail is written: a value ends at the next semicolon, whatever stands in it.  Possessive: nothing is looked at
# twice.
_PARAMETER = re.compile(
    r';\s*+(?P<name>[^\s=;"]++)\s*+=\s*+(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"?+|(?P<token>[^;]*+))[^;]*+|;', re.DOTALL
)
# RFC 5322 §3.2.2, without nesting; what is quoted is none.
_COMMENT = re.compile(r'(?P<quoted>"(?:[^"\\]|\\.)*+"?+)|\([^()"]*+\)', re.DOTALL)
# RFC 5322 §3.2.1
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


class Value(NamedTuple):
    """``text`` is what stands before the parameters, in lower case; ``written`` the parameters as they are written.

    Names are in lower case, with the asterisks of RFC 2231; of two alike the first counts.
    """

    text: str
    written: dict[str, str]

    def get(self, name: str) -> str | None:
        """A parameter's value, decoded as RFC 2231 §3 and §4 say; None if there is none."""
        if f"{name}*" in self.written:
            return _decoded(self.written[f"{name}*"])
        if f"{name}*0" in self.written or f"{name}*0*" in self.written:
            return self._joined(name)
        return self.written.get(name)

    def plain(self, name: str) -> str | None:
        """A parameter as it is written; None if there is none, or one as RFC 2231 says."""
        return None if self.written.keys() & {f"{name}*", f"{name}*0", f"{name}*0*"} else self.written.get(name)

    def _joined(self, name: str) -> str:
        is_encoded = f"{name}*0*" in self.written
        first = self.written[f"{name}*0*" if is_encoded else f"{name}*0"]
        charset, _, rest = first.partition("'") if is_encoded else ("", "", first)
        pieces = [_octets(rest.partition("'")[2]) if is_encoded else _raw(first)]
        number = 1
        while True:
            if f"{name}*{number}*" in self.written:
                pieces.append(_octets(self.written[f"{name}*{number}*"]))
            elif f"{name}*{number}" in self.written:
                pieces.append(_raw(self.written[f"{name}*{number}"]))
            else:
                return decode_text(b"".join(pieces), charset or None)
            number += 1


def read_value(value: str) -> Value:
    """A field's value, unfolded.  What is not ASCII in it may be surrogates that stand for octets."""
    plain = _COMMENT.sub(lambda match: match["quoted"] or " ", value)
    text, semicolon, rest = plain.partition(";")
    written: dict[str, str] = {}
    for match in _PARAMETER.finditer(semicolon + rest):
        if match["name"] is None:
            continue
        quoted, token = match["quoted"], match["token"]
        found = token.strip() if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        written.setdefault(match["name"].lower(), found)
    return Value(text.strip().lower(), written)


def _decoded(written: str) -> str:
    """RFC 2231 §4:  extended-initial-value := [charset] "'" [language] "'" extended-other-values."""
    charset, apostrophe, rest = written.partition("'")
    if not apostrophe:
        return decode_text(_octets(written), None)
    return decode_text(_octets(rest.partition("'")[2]), charset or None)


def _octets(written: str) -> bytes:
    return unquote_to_bytes(_raw(written))


def _raw(written: str) -> bytes:
    return written.encode("utf-8", "surrogateescape")
