"""Where the parts of a multipart body are, in octets.  Knows RFC 2046 §5.1.1; does not look into a part."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def spans(raw: bytes, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Where the parts of a multipart begin and end, whose body is ``raw[start:end]`` (RFC 2046 §5.1.1)."""
    maybe_begin: int | None = None
    for found in _delimiters(raw, start, end, boundary):
        if maybe_begin is not None:
            yield maybe_begin, _without_return(raw, maybe_begin, found.start())
        newline = raw.find(b"\n", found.end(), end)
        maybe_begin = end if newline < 0 else newline + 1
        if found[1]:
            return
    if maybe_begin is not None and maybe_begin < end:
        yield maybe_begin, end


def is_closed(raw: bytes, start: int, end: int, boundary: bytes) -> bool:
    """Whether a multipart, whose body is ``raw[start:end]``, has its closing delimiter."""
    return any(found[1] for found in _delimiters(raw, start, end, boundary))


def _delimiters(raw: bytes, start: int, end: int, boundary: bytes) -> Iterator[re.Match[bytes]]:
    """Every delimiter; group 1 is there in one that closes."""
    # Behind a delimiter there is padding only, else it is another one, which begins with this.  Possessive: no run of
    # padding is looked at twice.
    delimiter = re.compile(rb"\n--" + re.escape(boundary) + rb"(?=[ \t\r\v\f]*+(--)?+[ \t\r\v\f]*+(?:\n|\Z))")
    return delimiter.finditer(raw, max(0, start - 1), end)  # from the line break before the body


def _without_return(raw: bytes, start: int, end: int) -> int:
    """Where a part ends whose delimiter begins with a LF at ``end``: the whole line break is the delimiter's."""
    if end > start and raw[end - 1] == 0x0D:
        end -= 1
    return max(start, end)
