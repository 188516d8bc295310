"""The benchmark of the inbox, in small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import inbox

if TYPE_CHECKING:
    import pytest


def test_it_sends_finds_and_opens_all(capsys: pytest.CaptureFixture[str]) -> None:
    status = inbox.main(["--messages", "40", "--connections", "2"])
    lines = capsys.readouterr().out.splitlines()
    figures = {line[:45].strip(): line[45:].split() for line in lines}
    assert figures["missing"] == ["0"]
    assert figures["seen by the page's stream"] == ["40"]
    assert "open" in figures
    assert status == int(any("GOAL MISSED" in line for line in lines))
