"""The table of known differences, without the servers: tests/differential has those."""

from __future__ import annotations

import re

import pytest

from tests.differential.client import SKIPPED
from tests.differential.compare import FAILED, Comparison, Stage, compare
from tests.differential.dialogues import Dialogue, Kind, Step, dialogues
from tests.differential.differences import (
    AIOSMTPD,
    DIFFERENCES,
    OTHERS,
    PAGE,
    POSTFIX,
    Difference,
    find,
    page_with_tables,
)

# What a step is named, of every dialogue that is played.
KINDS = {step.what for dialogue in dialogues(400) for step in dialogue.steps}


def test_the_page_has_the_rows_of_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with_tables(page), "python -m tests.differential.differences"


@pytest.mark.parametrize("row", DIFFERENCES, ids=[row.title for row in DIFFERENCES])
def test_a_row_is_about_something_that_is_said(row: Difference) -> None:
    assert any(re.fullmatch(row.what, kind) for kind in KINDS)
    assert set(row.theirs) <= set(OTHERS)
    assert "RFC" in row.source
    assert not re.search(r"[^\d a-z|]", "".join([row.ours, *row.theirs.values()])), "codes are shown as they are"


def test_titles_are_unique() -> None:
    assert len({row.title for row in DIFFERENCES}) == len(DIFFERENCES)


def test_the_same_seed_gives_the_same_dialogues() -> None:
    assert list(dialogues(20)) == list(dialogues(20))
    assert next(dialogues(1, seed=1)) == list(dialogues(2))[1]


def test_a_difference_in_no_row_is_new() -> None:
    known = Comparison("MAIL with a comment", Stage("EHLO"), "553", "250", seed=0)
    assert find(AIOSMTPD, known) is find(POSTFIX, known) is not None
    assert find(POSTFIX, known._replace(theirs="451")) is None
    assert find(POSTFIX, known._replace(ours="250", theirs="553")) is None
    assert find(POSTFIX, known._replace(what="MAIL")) is None


def test_a_row_may_be_about_one_stage_only() -> None:
    before = Comparison("MAIL", Stage(), "503", "250", seed=0)
    assert find(POSTFIX, before) is not None
    assert find(POSTFIX, before._replace(stage=Stage("EHLO"))) is None


def step(what: str, sent: str, kind: Kind = Kind.COMMAND) -> Step:
    return Step(what, kind, "".join(f"{line}\r\n" for line in sent.split("|")).encode(), b".\r\n", sent.count("|") + 1)


def stages(steps: list[Step], ours: list[str], theirs: list[str]) -> list[tuple[str, str]]:
    """Which steps are compared, and at which stage."""
    found = compare(Dialogue(0, steps), ["220", *ours], ["220", *theirs])
    return [(each.what, str(each.stage)) for each in found][1:]


def test_the_stage_follows_the_replies() -> None:
    steps = [
        step("EHLO", "EHLO a"),
        step("MAIL", "MAIL FROM:<a@b>"),
        step("RCPT", "RCPT TO:<a@b>"),
        step("data", "DATA", Kind.DATA),
        step("together", "MAIL FROM:<a@b>|RCPT TO:<a@b>", Kind.GROUP),
        step("RSET", "RSET"),
        step("HELO", "helo a"),
        step("NOOP", "NOOP"),
    ]
    codes = ["250", "250", "250", "354 250", "250 250", "250", "250", "250"]
    told = [stage for _, stage in stages(steps, codes, codes)]
    assert told == ["CONNECT", "EHLO", "EHLO MAIL", "EHLO RCPT", "EHLO", "EHLO RCPT", "EHLO", "HELO"]


def test_what_follows_from_a_difference_is_not_compared() -> None:
    steps = [step("MAIL", "MAIL FROM:a@b"), step("RCPT", "RCPT TO:<a@b>"), step("RSET", "RSET"), step("NOOP", "NOOP")]
    compared = stages(steps, ["501", "503", "250", "250"], ["250", "250", "250", "250"])
    assert [what for what, _ in compared] == ["MAIL", "NOOP"]


def test_after_a_chunk_that_failed_nothing_is_compared_before_the_next_reset() -> None:
    steps = [step("BDAT", "BDAT 0 LAST", Kind.CHUNKS), step("MAIL", "MAIL FROM:<a@b>"), step("RSET", "RSET")]
    steps.append(step("NOOP", "NOOP"))
    compared = stages(steps, ["503", "250", "250", "250"], ["554", "503", "250", "250"])
    assert [what for what, _ in compared] == ["BDAT", "NOOP"]
    assert FAILED not in [stage for _, stage in compared]


def test_a_step_that_one_has_skipped_is_not_compared() -> None:
    steps = [step("BDAT", "BDAT 0 LAST", Kind.CHUNKS), step("NOOP", "NOOP")]
    assert [what for what, _ in stages(steps, ["503", "250"], [SKIPPED, "250"])] == []


def test_a_server_that_closes_ends_the_comparison() -> None:
    steps = [step("QUIT", "QUIT"), step("NOOP", "NOOP")]
    assert [what for what, _ in stages(steps, ["221 closed"], ["221 closed", "closed"])] == ["QUIT"]
