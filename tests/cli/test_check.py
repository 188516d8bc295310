from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.cli import check
from ehlo.report.examples import mail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Said = tuple[int, str, str]
    Run = Callable[..., Said]

ZONE = """
sender.example         TXT  "v=spf1 ip4:192.0.2.1 -all"
_dmarc.sender.example  TXT  "v=DMARC1; p=reject"
"""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on a message: its exit status, and what it said."""

    def run_it(raw: bytes, *options: str) -> Said:
        path = tmp_path / "message.eml"
        path.write_bytes(raw)
        (tmp_path / "zone").write_text(ZONE)
        status: Any = 0
        try:
            status = check.main([str(path), *(option.replace("ZONE", str(tmp_path / "zone")) for option in options)])
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run_it


def test_a_message_that_is_clean(run: Run) -> None:
    assert run(mail().raw) == (0, "nothing was found\n", "")


def test_what_is_wrong_is_a_line_each(run: Run) -> None:
    status, output, _ = run(mail(message_id=None).raw)
    assert status == 3
    assert output.startswith("warning no-message-id (header): ")
    assert output.endswith("[RFC 5322 §3.6.4]\n")


def test_what_does_not_matter_is_left_out(run: Run) -> None:
    assert run(mail(message_id=None).raw, "--ignore=no-message-id") == (0, "nothing was found\n", "")


def test_a_rule_that_there_is_not_is_an_error(run: Run) -> None:
    status, _, errors = run(mail().raw, "--ignore=nothing")
    assert (status, errors.splitlines()[-1]) == (2, "ehlo check: error: no such rule: nothing")


def test_json_is_for_programs(run: Run) -> None:
    [finding] = json.loads(run(mail(message_id=None).raw, "--json")[1])
    assert (finding["rule"], finding["severity"], finding["place"]) == ("no-message-id", "warning", "header")


def test_nothing_of_a_message_reaches_the_terminal_raw(run: Run) -> None:
    assert "\x1b" not in run(b"From: \x1b[2J\r\n\x1b]0;x\x07\r\n\r\n")[1]


def test_who_vouches_for_it_is_asked_of_a_zone(run: Run) -> None:
    options = ("--zone=ZONE", "--address=192.0.2.2", "--from=anna@sender.example")
    rules = [line.split()[1] for line in run(mail().raw, *options)[1].splitlines()]
    assert rules == ["spf-fail", "dmarc-fail", "dkim-none"]


def test_a_file_with_the_line_ends_of_a_system_is_right(run: Run) -> None:
    assert run(mail().raw.replace(b"\r\n", b"\n"))[0] == 0


def test_a_line_end_among_others_is_not(run: Run) -> None:
    assert "error bare-lf (line 1)" in run(mail().raw.replace(b"\r\n", b"\n", 1))[1]


def test_whoever_says_from_whom_it_is_has_not_said_all_of_mail(run: Run) -> None:
    letters = mail("Grüße\n", content_transfer_encoding="8bit")
    assert "8bit" not in run(letters.raw, "--zone=ZONE", "--from=anna@sender.example")[1]


def test_what_vouching_finds_may_be_left_out_too(run: Run) -> None:
    assert run(mail().raw, "--zone=ZONE", "--ignore=dkim-none", "--ignore=dmarc-fail")[:2] == (0, "nothing was found\n")


def test_a_file_that_is_no_zone_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\x7fELF\xd0 here\n")
    status, _, errors = run(mail().raw, f"--zone={tmp_path / 'bad'}")
    assert status == 2
    assert "bad: line 1 is no record" in errors


def test_an_address_needs_somebody_to_be_asked(run: Run) -> None:
    assert run(mail().raw, "--address=192.0.2.2")[0] == 2


def test_a_file_that_is_not_there(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(tmp_path / "missing.eml")]) == 1
    assert "missing.eml" in capsys.readouterr().err


def test_a_message_may_come_from_the_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(mail().raw)))
    assert check.main(["-"]) == 0
