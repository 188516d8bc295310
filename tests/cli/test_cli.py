from __future__ import annotations

import functools
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

import ehlo
from ehlo import cli
from tests.cli.process import running

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Call = tuple[str, list[str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Which command was called with what; each returns 7."""
    made: list[Call] = []

    def note(name: str, arguments: Sequence[str]) -> int:
        made.append((name, list(arguments)))
        return 7

    for name in cli.COMMANDS:
        monkeypatch.setitem(cli.COMMANDS, name, functools.partial(note, name))
    return made


@pytest.mark.parametrize(
    ("arguments", "command", "rest"),
    [
        ([], "catch", []),
        (["catch"], "catch", []),
        (["catch", "-n"], "catch", ["-n"]),
        (["--smtp", ":2525"], "catch", ["--smtp", ":2525"]),
        (["--smtp=:2525"], "catch", ["--smtp=:2525"]),
        (["--quiet"], "catch", ["--quiet"]),
        (["-q", "-n"], "catch", ["-q", "-n"]),
        (["--help"], "catch", ["--help"]),
        (["-h"], "catch", ["-h"]),
        (["--version"], "catch", ["--version"]),
        (["--no-such-option"], "catch", ["--no-such-option"]),
        (["send", "-v"], "send", ["-v"]),
        (["inbox", "ls"], "inbox", ["ls"]),
        (["serve"], "serve", []),
        (["serve", "--smtp"], "serve", ["--smtp"]),
        (["-n", "-c", "x.Y", "catch"], "serve", ["-n", "-c", "x.Y", "catch"]),
        (["-nd"], "serve", ["-nd"]),
        (["-s100"], "serve", ["-s100"]),
        (["--size=100"], "serve", ["--size=100"]),
        (["--smtputf8"], "serve", ["--smtputf8"]),
        (["--smtpscert", "x"], "serve", ["--smtpscert", "x"]),
        (["-l:25"], "serve", ["-l:25"]),
    ],
)
def test_the_first_argument_chooses_the_command(
    calls: list[Call], arguments: list[str], command: str, rest: list[str]
) -> None:
    assert cli.main(arguments) == 7
    assert calls == [(command, rest)]


@pytest.mark.parametrize("option", ["-n", "-c", "-s", "-u", "-d", "-l", "--nosetuid", "--class", "--size", "--debug"])
def test_every_option_of_the_classic_command_line_chooses_it(calls: list[Call], option: str) -> None:
    cli.main([option])
    assert calls == [("serve", [option])]


def test_the_arguments_are_those_of_the_process(calls: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ehlo", "serve", "-n"])
    cli.main()
    assert calls == [("serve", ["-n"])]


@pytest.mark.parametrize("word", ["sevre", "examples.Handler", ""])
def test_another_word_is_no_command(calls: list[Call], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 2
    complaint = capsys.readouterr().err
    assert f"no command {word!r}" in complaint
    assert "catch, check, inbox, replay, send and serve are all" in complaint
    assert calls == []


def test_the_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in (
        "ehlo catch",
        "ehlo send",
        "ehlo inbox",
        "ehlo serve",
        "--smtp",
        "--web",
        "--store",
        "--tls",
        "--quiet",
        "--color",
        "--max-size",
        "--version",
    ):
        assert word in text


def test_the_help_of_serve_names_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    text = capsys.readouterr().out
    for word in ("--nosetuid", "--class", "--size", "--smtputf8", "--listen", "--tlscert", "--no-requiretls"):
        assert word in text


@pytest.mark.parametrize("arguments", [["--version"], ["catch", "--version"], ["serve", "-v"], ["serve", "--version"]])
def test_the_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"ehlo {ehlo.__version__}\n"


def test_the_module_is_the_command() -> None:
    with running("-m", "ehlo", "nonsense") as command:
        assert command.wait() == 2
    assert "no command 'nonsense'" in command.err.text


def test_output_that_nobody_reads_is_no_traceback() -> None:
    with running("-m", "ehlo", "--smtp", ":0", "--no-web", reads_output=False) as command:
        assert command.wait() == 1
    assert command.err.text == ""


_SLEEPER = """
import time

class Sleeper:
    def handle_DATA(self, server, session, envelope):
        print("asleep", flush=True)
        time.sleep(600)
"""


def test_a_hook_asleep_in_a_thread_does_not_outlive_a_second_signal(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(_SLEEPER)
    with running("-m", "ehlo", "-n", "-d", "-l:0", "-c", "sleeper.Sleeper", cwd=tmp_path) as command:
        port = int(command.err.wait_for(r"listening on \[127\.0\.0\.1\]:(\d+)")[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"HELO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
            said = b""
            while b"354 " not in said:
                said += client.recv(4096)
            client.sendall(b"text\r\n.\r\n")
            command.out.wait_for("asleep")
            command.signal(signal.SIGTERM)
            command.err.wait_for("stopping")
            command.signal(signal.SIGTERM)
            assert client.recv(4096).startswith(b"421 ")
        assert command.wait() == 0
    assert "leaving 1 hooks behind" in command.err.text
