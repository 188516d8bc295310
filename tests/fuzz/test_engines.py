"""What surrounds the targets: decisions and cuts, seeds, the random engine, the command line, scripts."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.testing import Script
from fuzz import __main__ as command
from fuzz import corpus, random_engine
from fuzz.checks import Violation
from fuzz.choices import Choices, cut, take_line
from fuzz.conversation import read_config
from fuzz.script import script_of
from fuzz.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

TRANSACTION = (
    b"000000000\nEHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n\xff\n.\r\n\r\n.\r\nQUIT\r\n"
)


# Choices


@given(st.binary(max_size=700), st.integers(0, 300))
def test_a_cut_loses_nothing(data: bytes, how: int) -> None:
    pieces = cut(data, how)
    assert b"".join(pieces) == data
    assert all(pieces)


def test_there_is_a_cut_at_every_octet() -> None:
    assert cut(b"EHLO", 0) == [b"EHLO"]
    assert cut(b"EHLO", 1) == [b"E", b"H", b"L", b"O"]


def test_digits_decide_for_the_option_of_their_number() -> None:
    choices = Choices(b"0123456789:")
    assert [choices.number(10) for _ in range(10)] == [*range(10)]
    assert choices.number(11) == 10
    assert choices.is_over


def test_without_octets_every_decision_is_the_first() -> None:
    choices = Choices(b"")
    assert (choices.octet(), choices.number(1000), choices.pick("ab")) == (0, 0, "a")


def test_the_first_line_of_a_seed_configures() -> None:
    choices, rest = take_line(b"1215104012:\nLHLO a\r\n")
    config, how = read_config(choices)
    assert (config.is_lmtp, config.data_size_limit, config.has_auth, config.trusts_client) == (True, 40, True, True)
    assert (config.streams, config.greeting, config.behaviours) == (True, 0, (2, 10))
    assert (how, rest) == (1, b"LHLO a\r\n")


# Seeds


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_small_seeds(target: str) -> None:
    seeds = corpus.seeds(target)
    assert len(seeds) > 2
    assert max(map(len, seeds)) < 50_000


def test_the_dictionary_is_read() -> None:
    words = corpus.words()
    assert b"\r\n.\r\n" in words
    assert b'"a b"@c.example' in words
    assert b"\\x{10FFFF}" in words


def test_the_dialogues_of_the_tests_are_seeds_of_sessions() -> None:
    assert any(b"MAIL FROM:<x@example.com>" in seed for seed in corpus.seeds("session"))


# The random engine


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, again, another = (list(itertools.islice(random_engine.inputs("address", seed), 60)) for seed in (1, 1, 2))
    assert first == again != another
    assert first[: len(corpus.seeds("address"))] == corpus.seeds("address")


def test_it_stops_when_the_time_is_over(tmp_path: Path) -> None:
    assert random_engine.run("xtext", lambda _: None, seconds=0.05, seed=0, crashes=tmp_path) > 0
    assert not [*tmp_path.iterdir()]


def test_an_input_that_does_not_hold_is_kept(tmp_path: Path) -> None:
    def fail(data: bytes) -> None:
        if b"+" in data:
            raise Violation("a plus")

    with pytest.raises(Violation, match="a plus"):
        random_engine.run("xtext", fail, seconds=5, seed=0, crashes=tmp_path / "xtext")
    (kept,) = (tmp_path / "xtext").iterdir()
    assert b"+" in kept.read_bytes()


# The command line


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    return tmp_path


def test_targets_run_in_processes_of_their_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--engine=random", "--time=1", "--jobs=2", "xtext", "commands"]) == 0
    said = capsys.readouterr().out
    assert "xtext        ok  " in said
    assert "2 targets in " in said
    assert (folder / ".gitignore").read_text() == "*\n"


def test_a_crash_is_explained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = folder / "crashes" / "session" / "crash-1"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(TRANSACTION)
    command.explain(command.Result("session", 77, "fuzz.checks.Violation: no answer\n"))
    said = capsys.readouterr().out
    assert "no answer" in said
    assert f"python -m fuzz --replay {kept}" in said
    assert "tests/dialogues/fuzz_NAME.txt" in said


def test_a_failed_process_fails_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run_target", lambda name, *_: command.Result(name, 77, ""))
    assert command.main(["--engine=random", "xtext"]) == 1


def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "no such target: nothing" in capsys.readouterr().err


def test_a_kept_input_is_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "session" / "crash-1"
    kept.parent.mkdir()
    kept.write_bytes(TRANSACTION)
    assert command.main(["--replay", str(kept)]) == 0
    said = capsys.readouterr().out
    assert "C: MAIL FROM:<a@b.example>" in said
    assert "it holds" in said


def test_a_kept_input_that_still_fails_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_data: bytes) -> None:
        raise Violation("still wrong")

    monkeypatch.setattr(command, "TARGETS", {"xtext": fail})
    kept = tmp_path / "xtext" / "crash-1"
    kept.parent.mkdir()
    kept.write_bytes(b"+")
    assert command.main(["--replay", str(kept)]) == 1
    assert "still wrong" in capsys.readouterr().out


def test_an_input_of_no_target_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "crash-1").write_bytes(b"")
    assert command.main(["--replay", str(tmp_path / "crash-1")]) == 1


# Scripts


def test_a_session_becomes_a_dialogue_script() -> None:
    text = script_of("session", TRANSACTION)
    script = Script.parse(text)
    assert script.options == {"bare_newlines": "'refuse'"}
    assert [step.text for step in script.steps if step.mark == "C:"][:2] == ["EHLO a", "MAIL FROM:<a@b.example>"]
    said = b"".join(step.octets for step in script.steps if step.mark in {"C:", "C+"})
    assert said == TRANSACTION.partition(b"\n")[2]
    assert [step.text for step in script.steps if step.mark == "S:"][-2:] == [
        "550 5.6.11 Bare CR or LF in mail data",
        "221 2.0.0 Bye",
    ]


def test_a_script_is_written_piece_by_piece() -> None:
    script = Script.parse(script_of("session", TRANSACTION.replace(b"000000000", b"000000001")))
    marks = "".join(step.mark[0] for step in script.steps)
    assert marks.startswith("SCCCCCCCCS")  # each octet of "EHLO a", and of its CRLF


def test_a_dialogue_becomes_a_script_too() -> None:
    assert "@protocol lmtp\n" in script_of("dialogue", b"1")


def test_what_a_script_cannot_say_is_said_in_a_comment() -> None:
    assert "# It needs a handler: " in script_of("session", b"0000100003\nNOOP\r\n")
