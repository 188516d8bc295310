"""The same dialogues with aiosmtpd and with the compatibility package: equal to the octet, or a row says why."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from tests.compat.deviations import DEVIATIONS, SHOWN_ELSEWHERE, Aspect, Deviation, Shown
from tests.compat.dialogues import Dialogue, chapters
from tests.compat.roots import OURS, REAL
from tests.compat.runner import Outcome, play_all

MIGRATING = Path(__file__).parents[2] / "docs" / "migrating.md"

# Nobody asserts these, and when they come is an accident of how a connection is served: that it ended, in other words
# than the line "connection lost" which is compared; and that the server itself uses what it deprecates.
_NOISE = re.compile(
    r"INFO (?:\(peer\) )?Connection lost during .*"
    r"|WARNING Session\.login_data is deprecated and will be removed in version 2\.0"
)


class Difference:
    """Where one begins: in which dialogue, in what, and how."""

    def __init__(self, dialogue: Dialogue, aspect: Aspect, step: int, theirs: Any, ours: Any) -> None:
        self.dialogue = dialogue
        self.aspect = aspect
        self.step = step
        self.theirs = theirs
        self.ours = ours

    def rows(self) -> Iterator[tuple[Deviation, Shown]]:
        """The rows that say why."""
        ours = self.ours.decode("latin-1") if isinstance(self.ours, bytes) else str(self.ours)
        for deviation in DEVIATIONS:
            for shown in deviation.shown:
                if shown.covers(str(self.dialogue), self.aspect, ours):
                    yield deviation, shown

    def __str__(self) -> str:
        steps = self.dialogue.steps
        step = f" (at {steps[self.step - 1]!r})"[:90] if self.aspect == "said" and 0 < self.step <= len(steps) else ""
        return f"{self.dialogue}, {self.aspect} {self.step}{step}\n  theirs: {self.theirs!r}\n  ours:   {self.ours!r}"


def differences(dialogue: Dialogue, theirs: Outcome, ours: Outcome) -> Iterator[Difference]:
    """The first of each aspect: what follows a difference may be its consequence."""
    aspects: dict[Aspect, tuple[Sequence[Any], Sequence[Any]]] = {
        "said": (theirs.said, ours.said),
        "seen": (theirs.seen, ours.seen),
        "logged": (_without_noise(theirs.logged), _without_noise(ours.logged)),
    }
    for aspect, (their_list, our_list) in aspects.items():
        for step, (one, other) in enumerate(zip_longest(their_list, our_list)):
            if one != other:
                yield Difference(dialogue, aspect, step, one, other)
                break


def _without_noise(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not _NOISE.fullmatch(line)]


def compare(dialogues: Sequence[Dialogue]) -> list[Difference]:
    outcomes = play_all(list(dialogues), REAL, OURS)
    # Here warnings are ignored, those too about a coroutine that the original did not await.
    gc.collect()
    return [
        difference
        for dialogue, theirs, ours in zip(dialogues, outcomes[REAL], outcomes[OURS], strict=True)
        for difference in differences(dialogue, theirs, ours)
    ]


@pytest.mark.filterwarnings("ignore")  # of what aiosmtpd deprecates, and of tasks that it leaves
@pytest.mark.parametrize("chapter", chapters())
def test_both_servers_say_the_same_or_a_row_says_why(chapter: str) -> None:
    unknown = [difference for difference in compare(chapters()[chapter]) if not any(difference.rows())]
    assert not unknown, "\n".join([f"{len(unknown)} unknown differences", *map(str, unknown[:20])])


@pytest.mark.filterwarnings("ignore")
def test_every_row_is_shown_by_a_dialogue() -> None:
    rows = {(deviation.id, shown) for deviation in DEVIATIONS for shown in deviation.shown}
    dialogues = [
        dialogue
        for chapter in chapters().values()
        for dialogue in chapter
        if any(re.fullmatch(shown.dialogue, str(dialogue)) for _, shown in rows)
    ]
    used = {(deviation.id, shown) for difference in compare(dialogues) for deviation, shown in difference.rows()}
    assert rows - used == set()


def test_the_documentation_has_the_same_rows() -> None:
    section = MIGRATING.read_text(encoding="utf-8").partition("### Differences")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE) != []
    documented = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
    assert documented == {deviation.id for deviation in DEVIATIONS} | set(SHOWN_ELSEWHERE)


@pytest.mark.parametrize("row", SHOWN_ELSEWHERE)
def test_what_dialogues_do_not_show_is_shown_by_a_test(row: str) -> None:
    file, name = SHOWN_ELSEWHERE[row]
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    assert f"def {name}(" in text


@pytest.mark.filterwarnings("ignore")
def test_the_server_does_not_warn_of_itself() -> None:
    dialogue = next(one for one in chapters()["AUTH"] if one.name == "PLAIN with auth callback")
    outcomes = play_all([dialogue], REAL, OURS)
    warnings = {root: sum("login_data" in line for line in outcomes[root][0].logged) for root in (REAL, OURS)}
    assert warnings == {REAL: 1, OURS: 0}


@pytest.mark.filterwarnings("ignore")
def test_mail_data_are_not_logged() -> None:
    dialogue = next(one for one in chapters()["mail data"] if one.name == "a message with keeper")
    outcomes = play_all([dialogue], REAL, OURS, level=logging.DEBUG)
    logged = {root: any("Subject: Hello" in line for line in outcomes[root][0].logged) for root in (REAL, OURS)}
    assert logged == {REAL: True, OURS: False}


def test_there_are_hundreds_of_dialogues_and_no_name_is_used_twice() -> None:
    names = [str(dialogue) for chapter in chapters().values() for dialogue in chapter]
    assert len(names) > 500
    assert sorted(names) == sorted(set(names))
