"""Mail data: where they end, dots, bare CR and LF; and what a relay sends must come out as it went in.

A seed is a line whose first octet is a cut, and then mail data.
"""

from __future__ import annotations

import re
from typing import Final

from ehlo.errors import BareNewline
from ehlo.protocol.client import MailDataEncoder
from ehlo.protocol.data import MailDataDecoder, has_bare_newline, normalize_newlines
from fuzz.checks import require
from fuzz.choices import cut, take_line

_ANY_NEWLINE: Final = re.compile(rb"\r\n|\r|\n")


def fuzz_maildata(data: bytes) -> None:
    """Decode octets, and encode them and decode what comes of it."""
    choices, octets = take_line(data)
    how = choices.octet()
    for each in {0, how}:
        _decode_anything(octets, each)
        _there_and_back(octets, each)


def _decode_anything(octets: bytes, how: int) -> None:
    decoder = MailDataDecoder()
    content = b""
    left = cut(octets, how)
    while left and decoder.rest is None:
        content += decoder.feed(left.pop(0))
    before, end, rest = (b"\r\n" + octets).partition(b"\r\n.\r\n")
    require((decoder.rest is not None) == bool(end), "the end was found where there is none, or overlooked")
    if decoder.rest is None:
        whole = b"\r\n" + octets
        require(len(whole.replace(b"\r\n.", b"\r\n")) - len(content) <= 6, "more than a few octets are held back")
        return
    require(decoder.rest + b"".join(left) == rest, "what is behind the end differs")
    raw = before + b"\r\n"
    require(content == raw.replace(b"\r\n.", b"\r\n")[2:], "the content differs")
    is_bare = normalize_newlines(raw) != raw
    require(decoder.has_bare_newline == is_bare == has_bare_newline(raw), "a bare CR or LF, or none")


def _there_and_back(content: bytes, how: int) -> None:
    is_bare = _ANY_NEWLINE.sub(b"\r\n", content) != content
    expected = _ANY_NEWLINE.sub(b"\r\n", content)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    for normalizes in (True, False):
        encoder = MailDataEncoder(normalizes=normalizes)
        try:
            wire = b"".join(encoder.feed(piece) for piece in cut(content, how)) + encoder.finish()
        except BareNewline:
            require(is_bare and not normalizes, "complains of a bare newline that is none")
            continue
        require(normalizes or not is_bare, "a bare CR or LF is sent on")
        decoder = MailDataDecoder()
        came_back = decoder.feed(wire)
        require(decoder.rest == b"", "the end of data is not where it was put")
        require(came_back == expected, "what is sent is not what comes back")
        require(not decoder.has_bare_newline, "a bare CR or LF is sent on")
