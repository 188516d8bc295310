"""Mail as programs write it, in tests/report/mails: none of it is wrong, whatever else it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ehlo.report import Mail, Severity, check
from ehlo.report.examples import mail

MAILS = sorted((Path(__file__).parent / "mails").glob("*.eml"))


def _octets(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _sent(raw: bytes) -> Mail:
    """By a client that announces what there is, and nothing else."""
    header, _, body = raw.partition(b"\r\n\r\n")
    announced = {"SMTPUTF8": not header.isascii(), "BODY=8BITMIME": not body.isascii()}
    options = tuple(option for option, is_needed in announced.items() if is_needed)
    return Mail(raw, "ann@sender.example", ("bob@receiver.example",), options)


def _wrong(one: Mail) -> list[str]:
    return [str(finding) for finding in check(one).findings if finding.severity is not Severity.NOTICE]


@pytest.mark.parametrize("path", MAILS, ids=[path.stem for path in MAILS])
def test_right_mail_has_no_error_and_no_warning(path: Path) -> None:
    assert _wrong(_sent(_octets(path))) == []


@pytest.mark.parametrize("path", MAILS, ids=[path.stem for path in MAILS])
def test_nor_has_it_in_a_file(path: Path) -> None:
    assert _wrong(Mail(_octets(path))) == []


def test_there_is_mail_to_check() -> None:
    assert len(MAILS) > 60


def test_what_is_binary_may_be_sent_so() -> None:
    image = (
        mail("", content_type="image/png", content_disposition="inline", content_transfer_encoding="binary").raw
        + b"\x89PNG\r\n\x1a\r\n\xff\xfe\r\n"
    )

    assert _wrong(Mail(image, "ann@sender.example", options=("BODY=BINARYMIME",))) == []
