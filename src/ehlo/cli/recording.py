"""A recorded session as what a client does to speak it again.  Knows the inbox's transcripts; does no I/O.

A transcript says when each line came, so the order on the wire is that of the times: what the client sent without
waiting stands behind replies that it had not seen.  What a transcript does not have is taken from elsewhere: mail data
from the messages that were stored, or filled up with as many octets; credentials from whoever replays.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Literal

FORMAT = "ehlo-session-1"

_MARK = re.compile(r"\[[0-9]+ octets, not kept\]")
_CUT = re.compile(r"\[and [0-9]+ octets more\]\Z")
_DATA = re.compile(r"([0-9]{1,15}) octets of mail data")
_TOO_LONG = re.compile(r"a line of more than ([0-9]{1,15}) octets")
_CHUNK = re.compile(r"BDAT ([0-9]{1,15})( LAST)?", re.IGNORECASE)
# Lines that were refused before anybody looked at them, and others that are refused for the same reason.
_REFUSED = {"bare LF in a line": b"x\nx\r\n", "bare CR or NUL in a line": b"x\0x\r\n"}
# Reply-code = %x32-35 %x30-35 %x30-39 (RFC 5321 §4.2); servers say others too
_REPLY = re.compile(r"[2-5][0-9]{2}(?![^ -])")
_FILLER = b"x" * 70 + b"\r\n"

LARGEST = 1 << 30
"""Octets that are made up at most, in all."""
_LONGEST = 1e9  # seconds

Kind = Literal["command", "data", "reply", "tls", "close"]


class CannotReplay(ValueError):
    """The file is no recording, or what was said cannot be said again; the text says why."""


@dataclass(slots=True)
class Step:
    """One thing that happens.  ``at`` seconds since the session began.

    ``octets`` are sent by a command and by data.  ``answer`` is which of the credentials stands at their end: None for
    none, else the number of the answer that the mechanism ``words`` names.  ``words`` are also for the eye.  ``lines``
    are those of a reply.  ``is_filled``: the octets are made up.
    """

    kind: Kind
    at: float
    words: str = ""
    octets: bytes = b""
    answer: int | None = None
    lines: tuple[str, ...] = ()
    is_filled: bool = False

    @property
    def code(self) -> str:
        """Of a reply."""
        return self.lines[-1][:3] if self.lines else ""


@dataclass(frozen=True, slots=True)
class Recording:
    """``steps`` in the order of the wire.  ``mechanisms``: by which somebody logged in; ``login``: who, or None."""

    steps: tuple[Step, ...]
    login: str | None
    mechanisms: frozenset[str]
    has_tls: bool


def read_recording(data: bytes) -> Recording:
    """What ``ehlo inbox session`` wrote; ``CannotReplay``."""
    try:
        record = json.loads(data)
        if record["format"] != FORMAT:
            raise CannotReplay(f"this is a recording of another kind: {record['format']!r}")
        raws = [base64.b64decode(one["raw"], validate=True) for one in record["messages"]]
        session = record["session"]
        lines = [_line(line["at"], line["by"], line["text"]) for line in session["transcript"]]
        login = session["login"]
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, CannotReplay):
            raise
        raise CannotReplay("this is no recording of a session; `ehlo inbox session ID` writes one") from None
    if not lines:
        raise CannotReplay("nothing happened in this session")
    steps = _Reader(raws).read(lines)
    return Recording(
        tuple(steps),
        login if isinstance(login, str) else None,
        mechanisms=frozenset(step.words for step in steps if step.answer is not None),
        has_tls=any(step.kind == "tls" for step in steps),
    )


def _line(at: float, by: str, text: object) -> tuple[float, str, str]:
    """A line of the transcript; ``ValueError`` or ``TypeError`` if it is none that an inbox writes."""
    if not 0 <= at < _LONGEST or by not in {"C", "S", "-"} or not isinstance(text, str):
        raise ValueError
    text.encode("utf-8", "surrogateescape")
    return float(at), by, text


@dataclass
class _Reader:
    """Reads a transcript from top to bottom."""

    raws: list[bytes]
    steps: list[Step] = field(default_factory=list)
    mechanism: str = ""
    answers: int = 0
    not_before: float = 0.0
    """What follows mail data on the tape was sent after it, whenever its octets arrived."""
    parts: list[Step] = field(default_factory=list)
    """The data of a transaction, whose message is not known yet."""
    is_whole: bool = False
    came: int = 0
    """Octets of the last chunk that came."""
    made_up: int = 0

    def read(self, lines: list[tuple[float, str, str]]) -> list[Step]:
        """The steps, in the order of the wire."""
        reply: list[str] = []
        for number, (at, by, text) in enumerate(lines, 1):
            if by == "S":
                if not _REPLY.match(text):
                    raise CannotReplay(f"line {number} of the transcript is no reply")
                reply.append(text)
                if text[3:4] != "-":
                    self._reply(at, tuple(reply))
                    reply = []
            elif by == "C":
                self._command(max(at, self.not_before), text, number)
            else:
                self._note(at, text, number)
        self._cut_last_chunk()
        self._fill()
        if not self._has_parted():
            self.steps.append(Step("close", max((at for at, _, _ in lines), default=0.0)))
        return sorted(self.steps, key=lambda step: step.at)

    def _has_parted(self) -> bool:
        replies = [step for step in self.steps if step.kind == "reply"]
        return bool(replies) and replies[-1].code in {"221", "421"}

    def _last(self, *kinds: Kind) -> Step | None:
        return next((step for step in reversed(self.steps) if step.kind in kinds), None)

    def _reply(self, at: float, lines: tuple[str, ...]) -> None:
        step = Step("reply", at, lines=lines)
        last = self.steps[-1] if self.steps else None
        if last is not None and last.code == "354" and step.code != "421":
            self._data(0, last)  # of an empty message there is no note
        self.steps.append(step)
        is_accepted = step.code.startswith("2")
        if self.is_whole or not is_accepted:
            self._fill(is_accepted=is_accepted)

    def _command(self, at: float, text: str, number: int) -> None:
        if _CUT.search(text):
            raise CannotReplay(f"line {number} of the transcript is too long, and was not kept whole")
        last = self._last("reply")
        verb, _, arg = text.partition(" ")
        if verb.upper() != "BDAT":
            self._fill()
        if last is not None and self.steps[-1] is last and last.code == "334":
            self._say(at, text, self.answers)
        elif verb.upper() == "AUTH" and not _MARK.match(arg):
            self.mechanism, self.answers = arg.partition(" ")[0].upper(), 0
            self._say(at, text, 0)
        elif _MARK.search(text):
            raise CannotReplay(f"line {number} of the transcript was not kept, because of what may stand in it")
        else:
            self._say(at, text, None)
        chunk = _CHUNK.fullmatch(text)
        if chunk is not None:
            step = self.steps[-1]
            step.octets += bytes(self._size(chunk[1], number))
            step.is_filled = True
            self.parts.append(step)
            self.is_whole = chunk[2] is not None
            self.came = 0

    def _say(self, at: float, text: str, maybe_answer: int | None) -> None:
        mark = _MARK.search(text)
        has_secret = maybe_answer is not None and mark is not None
        kept = text[: mark.start()] if has_secret and mark is not None else f"{text}\r\n"
        words = self.mechanism if has_secret else text
        octets = kept.encode("utf-8", "surrogateescape")
        self.steps.append(Step("command", at, words, octets, maybe_answer if has_secret else None))
        self.answers += has_secret

    def _note(self, at: float, text: str, number: int) -> None:
        data, too_long = _DATA.fullmatch(text), _TOO_LONG.fullmatch(text)
        last = self._last("command", "reply")
        if data is not None:
            self._data(self._size(data[1], number), last)
            self.not_before = at if last is not None and last.kind == "command" else max(self.not_before, _at(last))
        elif too_long is not None:
            self._make_up(at, text, b"x" * (self._size(too_long[1], number) + 1) + b"\r\n")
        elif text in _REFUSED:
            self._make_up(at, text, _REFUSED[text])
        elif text.startswith("TLS:"):
            self.steps.append(Step("tls", at))
            self.not_before = at
        elif text.startswith("TLS failed"):
            self.steps.append(Step("close", at))
        elif text.endswith("lines are not kept"):
            raise CannotReplay(f"line {number} of the transcript: {text}")

    def _size(self, digits: str, number: int) -> int:
        size = int(digits)
        self.made_up += size
        if self.made_up > LARGEST:
            raise CannotReplay(f"line {number} of the transcript: more than {LARGEST} octets in all")
        return size

    def _make_up(self, at: float, words: str, octets: bytes) -> None:
        self.steps.append(Step("command", at, words, octets, is_filled=True))

    def _data(self, size: int, last: Step | None) -> None:
        if last is not None and last.kind == "reply" and last.code == "354":
            step = Step("data", last.at, f"{size} octets of mail data", bytes(size), is_filled=True)
            self.steps.append(step)
            self.parts, self.is_whole = [step], True
        else:
            self.came = size

    def _cut_last_chunk(self) -> None:
        """Of a chunk amid which the client left, what came of it."""
        last = self.steps[-1] if self.steps else None
        if last is not None and last in self.parts and last.kind == "command":
            head = last.octets.index(b"\n") + 1
            last.octets = last.octets[: head + self.came]

    def _fill(self, *, is_accepted: bool = False) -> None:
        """Give the data of a transaction its octets, now that it is known what became of it."""
        parts, self.parts = self.parts, []
        is_whole, self.is_whole = self.is_whole, False
        if not parts:
            return
        # What stands in front of the octets of a chunk is the command itself.
        heads = [step.octets[: step.octets.index(b"\n") + 1] if step.kind == "command" else b"" for step in parts]
        sizes = [len(step.octets) - len(head) for step, head in zip(parts, heads, strict=True)]
        was_answered = self._was_answered(parts[-1])
        # What was stored came whole, also if no reply says so.
        may_be_stored = is_whole and (is_accepted or not was_answered)
        maybe_raw = next((raw for raw in self.raws if may_be_stored and len(raw) == sum(sizes)), None)
        if maybe_raw is not None:
            self.raws.remove(maybe_raw)
        is_ended = was_answered or maybe_raw is not None
        content = _filler(sum(sizes), is_ended=is_ended) if maybe_raw is None else maybe_raw
        start = 0
        for step, head, size in zip(parts, heads, sizes, strict=True):
            piece = content[start : start + size]
            start += size
            step.is_filled = maybe_raw is None and size > 0
            step.octets = head + (piece if head else _stuffed(piece))
        if is_whole and parts[-1].kind == "data" and is_ended:
            last = parts[-1]
            last.octets += b".\r\n" if not last.octets or last.octets.endswith(b"\r\n") else b"\r\n.\r\n"

    def _was_answered(self, data: Step) -> bool:
        return self.steps[-1] is not data and self.steps[-1].kind == "reply"


def _at(last: Step | None) -> float:
    """When it happened; 0 for nothing."""
    return 0.0 if last is None else last.at


def _stuffed(content: bytes) -> bytes:
    """RFC 5321 §4.5.2.  Whatever else is wrong with the content stays as it is."""
    data = content.replace(b"\r\n.", b"\r\n..")
    return b"." + data if data.startswith(b".") else data


def _filler(size: int, *, is_ended: bool) -> bytes:
    """So many octets, which end with CRLF if they can.

    Not ``is_ended``: with none, because a server does not count a CRLF that may yet belong to the end of the data.
    """
    if not is_ended:
        return b"x" * size
    whole = (_FILLER * (size // len(_FILLER) + 1))[: max(0, size - 2)]
    if whole.endswith(b"\r"):
        whole = whole[:-1] + b"x"
    return whole + b"\r\n"[: size - len(whole)]
