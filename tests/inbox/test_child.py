"""A process that answers questions, by one that says each line again unless it is told otherwise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from ehlo.inbox.child import Child

ECHO = """
import sys, time
for line in sys.stdin.buffer:
    if line == b"end\\n":
        sys.exit(3)
    if line == b"sleep\\n":
        time.sleep(60)
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
"""
PATIENCE = 30.0


def read_line(pipe: IO[bytes]) -> bytes | None:
    line = pipe.readline()
    return line if line.endswith(b"\n") else None


def child_of(program: str) -> Child:
    return Child([sys.executable, "-I", "-S", "-c", program], read_line, hello=b"hello\n", start_seconds=PATIENCE)


@pytest.fixture
def child() -> Iterator[Child]:
    child = child_of(ECHO)
    yield child
    child.end()


def test_it_answers_one_question_after_the_other(child: Child) -> None:
    assert child.start()
    process = child._maybe_process
    assert child.ask([b"one", b"\n"], PATIENCE) == b"one\n"
    assert child.start()
    assert child.ask([b"two\n"], PATIENCE) == b"two\n"
    assert child._maybe_process is process


@pytest.mark.parametrize(("question", "seconds"), [(b"end\n", PATIENCE), (b"sleep\n", 0.1)])
def test_where_it_does_not_answer_the_next_question_gets_another(child: Child, question: bytes, seconds: float) -> None:
    assert child.start()
    assert child.ask([question], seconds) is None
    assert child._maybe_process is None
    assert child.start()
    assert child.ask([b"again\n"], PATIENCE) == b"again\n"


def test_an_answer_in_the_moment_in_which_time_is_over_counts(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    assert child.start()
    process = child._maybe_process
    assert process is not None

    def read_until_killed(pipe: IO[bytes]) -> bytes | None:
        line = read_line(pipe)
        process.wait()
        return line

    monkeypatch.setattr(child, "_read", read_until_killed)
    assert child.ask([b"late\n"], 0.2) == b"late\n"
    assert child._maybe_process is None


def test_one_that_somebody_else_has_ended_is_replaced_before_the_next_question(child: Child) -> None:
    assert child.start()
    process = child._maybe_process
    assert process is not None
    process.kill()
    process.wait()
    assert child.start()
    assert child.ask([b"again\n"], PATIENCE) == b"again\n"


def test_where_there_is_no_room_for_a_process_it_starts_later(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", fail)
        assert not child.start()
    assert child.start()


def test_one_that_ends_before_it_answers_has_not_started() -> None:
    child = child_of("")
    assert not child.start()
    child.end()


def test_to_end_one_that_was_never_started_is_nothing(child: Child) -> None:
    child.end()
    child.end()
