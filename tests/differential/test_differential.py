"""The same dialogues with ehlo and with others: every difference is known, and every known one is found."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.differential.client import play
from tests.differential.compare import compare
from tests.differential.dialogues import dialogues
from tests.differential.differences import AIOSMTPD, DIFFERENCES, POSTFIX, find
from tests.differential.peers import running_aiosmtpd, running_ehlo

if TYPE_CHECKING:
    from tests.differential.compare import Comparison

pytestmark = pytest.mark.timeout(300)

COUNT = 800
# How many steps are compared at least, so that a comparison which compares nothing does not pass.
STEPS = 10_000


async def test_aiosmtpd_differs_only_where_it_is_known_to() -> None:
    async with running_aiosmtpd() as port:
        await require_known_differences(AIOSMTPD, port, has_chunking=False)


async def test_postfix_differs_only_where_it_is_known_to(postfix_port: int) -> None:
    await require_known_differences(POSTFIX, postfix_port, has_chunking=True)


async def require_known_differences(other: str, port: int, *, has_chunking: bool) -> None:
    steps = 0
    found: Counter[str] = Counter()
    new: dict[tuple[object, ...], Comparison] = {}
    async with running_ehlo() as our_port:
        for dialogue in dialogues(COUNT):
            ours = await play(our_port, dialogue)
            theirs = await play(port, dialogue, has_chunking=has_chunking)
            for comparison in compare(dialogue, ours, theirs):
                steps += 1
                if not comparison.differs:
                    continue
                maybe_row = find(other, comparison)
                if maybe_row is None:
                    new[comparison[:-1]] = comparison
                else:
                    found[maybe_row.title] += 1
    lines = [f"{other}: {steps} steps compared, {found.total()} differences, {len(found)} kinds"]
    lines += [f"{count:5} {title}" for title, count in found.most_common()]
    print("\n".join(lines))
    assert not new, "\n".join(
        f"new: {each.what!r} at {each.stage}: ehlo {each.ours}, {other} {each.theirs} (dialogue {each.seed})"
        for each in new.values()
    )
    gone = [row.title for row in DIFFERENCES if other in row.theirs and not found[row.title]]
    assert not gone, f"not found any more: {gone}"
    assert steps > STEPS
