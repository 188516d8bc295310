"""The benchmark of the inbox, in small."""

from __future__ import annotations

import pytest

from bench import inbox
from bench.inbox_browser import find_chromium


def test_it_sends_finds_and_opens_all(capsys: pytest.CaptureFixture[str]) -> None:
    status = inbox.main(["--messages", "40", "--connections", "2"])
    lines = capsys.readouterr().out.splitlines()
    figures = {line[:45].strip(): line[45:].split() for line in lines}
    assert figures["missing"] == ["0"]
    assert figures["seen by the page's stream"] == ["40"]
    assert "open" in figures
    assert status == int(any("GOAL MISSED" in line for line in lines))


@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium")
def test_a_browser_shows_all(capsys: pytest.CaptureFixture[str]) -> None:
    inbox.main(["--messages", "40", "--connections", "2", "--browser"])
    out = capsys.readouterr().out
    assert "the last on the page after it was sent" in out
    assert "CPU of Chromium" in out


def test_a_browser_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "find_chromium", lambda: None)
    with pytest.raises(FileNotFoundError, match="CHROMIUM"):
        inbox.show("http://127.0.0.1:1/", has_browser=True)
