from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.inbox.checking import KEPT, Checker, CheckFailed, Subject, report_on, subject_of
from ehlo.inbox.records import EnvelopeRecord, Line, SessionRecord
from ehlo.report.examples import mail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30.0
RAW = mail().raw
ENVELOPE = EnvelopeRecord("e1", "anna@sender.example", ("bob@receiver.example",), (), ((),), False, False)
SPOKEN = (
    Line(0.0, "S", "220 mx.receiver.example ESMTP"),
    Line(0.1, "C", "HELO client.sender.example"),
    Line(0.2, "S", "250 mx.receiver.example"),
)
SESSION = SessionRecord("s1", "127.0.0.1:1", "127.0.0.1:2", 0.0, ended_at=1.0, transcript=SPOKEN)


@contextmanager
def checking(**options: Any) -> Iterator[Checker]:
    checker = Checker(**options)
    try:
        yield checker
    finally:
        checker.close()


def ask(checker: Checker, subject: Subject, key: object = 1) -> set[str]:
    return {one.rule for one in checker.check(key, lambda: subject).result(PATIENCE).findings}


def rules(subject: Subject) -> set[str]:
    return {one.rule for one in report_on(subject).findings}


def subject(raw: bytes = RAW, session: SessionRecord | None = SESSION) -> Subject:
    return subject_of(raw, ENVELOPE, "s1", session)


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with checking() as checker:
        yield checker


def test_the_session_is_checked_with_the_message() -> None:
    assert rules(subject()) == {"helo", "no-quit"}


def test_a_session_that_goes_on_has_not_left_without_quit() -> None:
    assert rules(subject(session=replace(SESSION, ended_at=None))) == {"helo"}


def test_of_a_session_that_is_not_known_nothing_is_said() -> None:
    assert rules(subject(session=None)) == set()


def test_the_envelope_of_a_message_that_was_put_in_by_hand_does_not_count() -> None:
    raw = mail("Gr\u00fc\u00dfe\n").raw
    assert "8bit-without-8bitmime" in rules(subject_of(raw, ENVELOPE, "s1", None))
    assert "8bit-without-8bitmime" not in rules(subject_of(raw, ENVELOPE, "", None))


def test_the_process_says_what_is_found_here(checker: Checker) -> None:
    failing = subject(b"Subject: \xff\r\n\r\nbare\n")
    there, here = checker.check(2, lambda: failing).result(PATIENCE), report_on(failing)
    assert there.is_clean is here.is_clean is False
    assert [" ".join(row) for row in there.findings] == [
        " ".join((one.rule, str(one.severity), one.place, one.text, one.source)) for one in here.findings
    ]


def test_of_a_large_message_the_beginning_is_checked(checker: Checker) -> None:
    part = Subject(RAW, 50_000_000, ENVELOPE, None)
    assert ask(checker, part, 3) == {"large"}


def test_a_report_is_made_once(checker: Checker) -> None:
    first = checker.check("once", subject).result(PATIENCE)

    def must_not_load() -> Subject:
        raise AssertionError

    assert checker.check("once", must_not_load).result(PATIENCE) is first


def test_a_report_on_a_session_that_goes_on_is_made_again(checker: Checker) -> None:
    assert ask(checker, subject(session=replace(SESSION, ended_at=None)), "again") == {"helo"}
    assert ask(checker, subject(), "again") == {"helo", "no-quit"}


def test_so_many_reports_are_kept_and_no_more(checker: Checker) -> None:
    for number in range(KEPT + 1):
        ask(checker, subject(session=None), ("kept", number))
    assert len(checker._kept) == KEPT


def test_what_cannot_be_loaded_is_told_to_who_asked(checker: Checker) -> None:
    def load() -> Subject:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        checker.check("gone", load).result(PATIENCE)
    assert ask(checker, subject()) == {"helo", "no-quit"}


def test_what_takes_too_long_is_given_up_and_the_next_one_is_checked(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text("import sys\nsys.stdout.buffer.write(bytes(4)); sys.stdout.buffer.flush()\nwhile True: pass\n")
    with checking(seconds=0.2, script=script) as checker:
        for _ in range(2):
            with pytest.raises(CheckFailed, match="too long"):
                ask(checker, subject())


def test_a_process_that_does_not_start_is_an_answer_too(tmp_path: Path) -> None:
    with checking(script=tmp_path / "missing.py") as checker, pytest.raises(CheckFailed, match="does not start"):
        ask(checker, subject())


def test_no_process_is_started_before_it_is_needed() -> None:
    with checking() as checker:
        assert checker._child._maybe_process is None
