"""Mail as programs write it, in tests/report/mails: none of it is wrong, whatever else it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehlo.report import Mail, Severity, check

MAILS = sorted((Path(__file__).parent / "mails").glob("*.eml"))


@pytest.mark.parametrize("path", MAILS, ids=[path.stem for path in MAILS])
def test_right_mail_has_no_error_and_no_warning(path: Path) -> None:
    raw = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    mail = Mail(raw, mail_from="ann@sender.example", options=("BODY=8BITMIME", "SMTPUTF8"))

    assert [str(one) for one in check(mail).findings if one.severity is not Severity.NOTICE] == []


def test_there_is_mail_to_check() -> None:
    assert len(MAILS) > 30
