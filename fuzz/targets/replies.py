"""Statuses of hooks, made into octets that a client, ours, reads as the same reply.

A seed is a line whose octets choose, and then a status; ``|`` separates the lines of a Reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehlo.errors import HandlerError
from ehlo.hooks import encode_answer
from ehlo.protocol.client import ReplyParser
from ehlo.protocol.replies import REPLY_LINE_LIMIT, Reply
from fuzz.checks import require
from fuzz.choices import take_line

if TYPE_CHECKING:
    from ehlo.hooks import Status


def fuzz_replies(data: bytes) -> None:
    """What a hook answers is either an error of the hook's, or exactly one reply on the wire."""
    choices, octets = take_line(data)
    utf8, with_enhanced, kind = choices.pick((False, True)), choices.pick((True, False)), choices.number(3)
    text = octets.decode("utf-8", "surrogateescape" if choices.number(2) else "replace")
    status: Status = text if kind == 0 else octets
    if kind == 2:
        try:
            status = Reply(choices.number(600), None, tuple(text.split("|")))
        except ValueError:
            return
    try:
        code, wire = encode_answer(status, utf8=utf8)
    except HandlerError:
        return
    _look_at(code, wire)
    if isinstance(status, Reply):
        _look_at(code, status.encode(with_enhanced=with_enhanced, utf8=utf8))


def _look_at(code: int, wire: bytes) -> None:
    require(wire.endswith(b"\r\n"), "the reply does not end")
    for line in wire[:-2].split(b"\r\n"):
        require(not set(line) & set(b"\r\n\0"), f"a reply is split: {line!r}")
        require(len(line) + 2 <= REPLY_LINE_LIMIT, "a line is too long")
    parser = ReplyParser(lines_limit=len(wire))
    parser.receive(wire)
    reply = parser.next_reply()
    require(reply is not None, "no whole reply")
    assert reply is not None
    require(not parser.has_unread, "more than one reply")
    require(reply.code == code, f"{reply.code} instead of {code}")
