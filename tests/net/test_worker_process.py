"""What a supervisor does for a process; the rest is in test_supervisor.py, with processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import ehlo
from ehlo.net import worker_process
from ehlo.net.worker_process import describe_status


@pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "it exited with status 0"),
        (3, "it exited with status 3"),
        (-9, "it was killed by SIGKILL"),
        (-11, "it was killed by SIGSEGV"),
        (-99, "it was killed by signal 99"),
    ],
)
def test_how_a_process_ended_is_said_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words


def test_a_worker_is_started_as_its_supervisor_was(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = SimpleNamespace(dev_mode=True, isolated=1)
    python = SimpleNamespace(executable="python", warnoptions=["error", "ignore::UserWarning"], flags=flags)
    monkeypatch.setattr(worker_process, "sys", python)
    options = ["-Werror", "-Wignore::UserWarning", "-Xdev", "-I"]
    assert worker_process._command(7) == ["python", *options, "-m", "ehlo.worker", "7"]


@pytest.mark.parametrize(("before", "after"), [(None, []), ("", []), ("/a", ["/a"])])
def test_a_worker_finds_this_very_package(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: list[str]
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONPATH", before)
    monkeypatch.setenv("LISTEN_FDS", "1")
    environment = worker_process._environment()
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(Path(ehlo.__file__).parents[1]), *after]
    assert "LISTEN_FDS" not in environment
    assert environment["PATH"] == os.environ["PATH"]
