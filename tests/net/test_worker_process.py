"""What a supervisor does for a process; the rest is in test_supervisor.py, with processes."""

from __future__ import annotations

import os
import socket
import subprocess
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


def options_of(*options: str) -> list[str]:
    """Those that a worker of a Python with these options gets."""
    program = "from ehlo.net.worker_process import _options; print(*_options(), sep='\\n')"
    environment = {"PYTHONPATH": str(Path(ehlo.__file__).parents[1])}
    done = subprocess.run([sys.executable, *options, "-c", program], env=environment, check=True, capture_output=True)
    return done.stdout.decode().split()


@pytest.mark.parametrize(
    "options", [["-O"], ["-O", "-O"], ["-B"], ["-s"], ["-P"], ["-Werror", "-Wignore::UserWarning"], ["-Xutf8=1"], []]
)
def test_a_worker_has_the_options_of_its_supervisor(options: list[str]) -> None:
    assert options_of(*options) == options


@pytest.mark.parametrize("option", ["isolated", "ignore_environment"])
def test_a_worker_is_as_isolated_as_its_supervisor(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    names = [*worker_process._FLAGS, *worker_process._FLAGS_OF_ISOLATION, "isolated"]
    flags = SimpleNamespace(**{name: int(name == option) for name in names})
    monkeypatch.setattr(worker_process, "sys", SimpleNamespace(flags=flags, warnoptions=[], _xoptions={"dev": True}))
    assert worker_process._options() == [{"isolated": "-I", "ignore_environment": "-E"}[option], "-Xdev"]


def test_a_worker_finds_what_its_supervisor_finds_and_this_very_package(monkeypatch: pytest.MonkeyPatch) -> None:
    package = str(Path(ehlo.__file__).parents[1])
    monkeypatch.setattr(sys, "path", ["/a", Path("/no text"), "/b"])
    assert worker_process._path() == ["/a", "/b", package]
    monkeypatch.setattr(sys, "path", [package, "/a"])
    assert worker_process._path() == [package, "/a"]


def test_a_worker_imports_nothing_from_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "ehlo.py").write_text("raise SystemExit('the wrong one')")
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        command = worker_process._command(theirs.fileno())
        done = subprocess.run(command, cwd=tmp_path, pass_fds=[theirs.fileno()], check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")  # nobody gave it an order


def test_what_is_for_the_supervisor_alone_is_not_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    environment = worker_process._environment()
    assert "LISTEN_FDS" not in environment
    assert environment["PATH"] == os.environ["PATH"]
