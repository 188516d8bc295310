"""Plays every script of tests/dialogues, whole and octet by octet."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import pytest

from ehlo import LMTP, SMTP, Settings
from ehlo.testing import FakeClockLoop, Script

SCRIPTS = sorted((Path(__file__).parent / "dialogues").glob("*.txt"))


class Nothing:
    """A handler without hooks."""


HANDLERS: dict[str, Any] = {"": Nothing}


@pytest.mark.parametrize("octet_by_octet", [False, True], ids=["whole", "octets"])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_server_says_what_the_script_says(path: Path, *, octet_by_octet: bool) -> None:
    script = Script.parse(path.read_text())
    options = dict(script.options)
    server = {"smtp": SMTP, "lmtp": LMTP}[options.pop("protocol", "smtp")]
    handler = HANDLERS[options.pop("handler", "")]()
    settings = Settings(hostname="mx.test", **{name: ast.literal_eval(value) for name, value in options.items()})

    async def play() -> None:
        await script.play(server(handler, settings=settings), octet_by_octet=octet_by_octet)

    with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
        runner.run(play())
