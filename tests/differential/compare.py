"""Two servers' answers to one dialogue, step by step.

A step is compared only where both servers are at the same stage: what follows from a difference is none of its own.
The stage is worked out from what was said and how it was answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tests.differential.client import SKIPPED
from tests.differential.dialogues import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.differential.dialogues import Dialogue, Step


# RFC 3030 §2: "the transaction should be considered failed", and what a client may say then is left open.
FAILED: Final = "FAILED"


class Stage(NamedTuple):
    """``greeting`` is "", "HELO" or "EHLO"; ``transaction`` is "", "MAIL", "RCPT" or FAILED."""

    greeting: str = ""
    transaction: str = ""

    def __str__(self) -> str:
        return f"{self.greeting or 'CONNECT'} {self.transaction}".strip()


class Comparison(NamedTuple):
    """A step that both servers took at the same stage; ``what`` was said, and the codes that were heard."""

    what: str
    stage: Stage
    ours: str
    theirs: str
    seed: int

    @property
    def differs(self) -> bool:
        return self.ours != self.theirs


def compare(dialogue: Dialogue, ours: list[str], theirs: list[str]) -> Iterator[Comparison]:
    """Compare what was heard at each step; see ``client.play``."""
    stage = other = Stage()
    yield Comparison("the connection", stage, ours[0], theirs[0], dialogue.seed)
    for step, heard, heard_there in zip(dialogue.steps, ours[1:], theirs[1:], strict=False):
        if stage == other and stage.transaction != FAILED and heard_there != SKIPPED:
            yield Comparison(step.what, stage, heard, heard_there, dialogue.seed)
        stage, other = _after(step, heard, stage), _after(step, heard_there, other)


def _after(step: Step, heard: str, stage: Stage) -> Stage:
    codes = heard.split()
    if heard == SKIPPED:
        return stage
    if step.kind is Kind.CHUNKS:
        # What is accepted here ends with LAST; what does not, ends with RSET.
        is_over = codes[:1] == ["250"] or b"RSET" in step.sent
        return stage._replace(transaction="" if is_over else FAILED)
    if step.kind in {Kind.DATA, Kind.LAST_DATA}:
        return stage._replace(transaction="") if codes[0] == "354" else stage
    for line, code in zip(step.sent.split(b"\r\n"), codes, strict=False):
        if code.startswith("2"):
            stage = _after_command(line[:4].strip().upper().decode("latin-1"), stage)
    return stage


def _after_command(verb: str, stage: Stage) -> Stage:
    match verb:
        case "HELO" | "EHLO":
            return Stage(verb)
        case "RSET":
            return stage._replace(transaction="")
        case "MAIL" | "RCPT":
            return stage._replace(transaction=verb)
        case _:
            return stage
