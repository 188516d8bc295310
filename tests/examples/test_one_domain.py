from __future__ import annotations

import smtplib
from pathlib import Path

import pytest

from tests.cli.process import running

COMMAND = ("-m", "ehlo", "-n", "-d", "-l", "127.0.0.1:0", "-c", "examples.one_domain.OneDomain")


def test_the_handler_gets_its_arguments_from_the_command_line(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    with running(*COMMAND, "Example.com", str(log)) as command:
        port = int(command.err.wait_for(r"listening on \[127\.0\.0\.1\]:(\d+)")[1])
        with smtplib.SMTP("127.0.0.1", port) as client:
            refused = client.sendmail("a@b.example", ["you@EXAMPLE.COM", "you@example.net"], "Hello\r\n")
            assert refused == {"you@example.net": (550, b"5.7.1 Not for us")}
        assert command.stop() == 0
    assert log.read_text() == "a@b.example you@EXAMPLE.COM 7\n"


@pytest.mark.parametrize("arguments", [[], ["example.com"], ["example.com", "mail.log", "more"]])
def test_wrong_arguments_are_answered_with_the_usage(arguments: list[str]) -> None:
    with running(*COMMAND, *arguments) as command:
        assert command.wait() == 2
    assert "OneDomain usage: DOMAIN FILE" in command.err.text
