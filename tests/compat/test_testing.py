"""What aiosmtpd offers to tests, in use with either import."""

from __future__ import annotations

import importlib
import smtplib
import socket
from typing import Any

import pytest

from tests.compat.roots import OURS
from tests.compat.talk import free_port, running

pytestmark = pytest.mark.filterwarnings("ignore")  # tasks that the original leaves


class Modules:
    """The modules of one root."""

    def __init__(self, root: str) -> None:
        self.controller = importlib.import_module(f"{root}.controller")
        self.helpers = importlib.import_module(f"{root}.testing.helpers")
        self.codes: Any = importlib.import_module(f"{root}.testing.statuscodes").SMTP_STATUS_CODES


@pytest.fixture
def modules(root: str) -> Modules:
    return Modules(root)


def test_a_handler_keeps_its_envelopes(modules: Modules) -> None:
    handler = modules.helpers.ReceivingHandler()
    with (
        running(modules.controller.Controller(handler, "127.0.0.1", free_port())) as controller,
        smtplib.SMTP(controller.hostname, controller.port, timeout=10) as client,
    ):
        client.sendmail("alice@example.org", ["bob@example.com"], b"Text\r\n")
    [envelope] = handler.box
    assert (envelope.mail_from, envelope.rcpt_tos, envelope.content) == (
        "alice@example.org",
        ["bob@example.com"],
        b"Text\r\n",
    )


def test_replies_are_compared_with_the_constants(modules: Modules) -> None:
    codes = modules.codes
    with (
        running(modules.controller.Controller(object(), "127.0.0.1", free_port())) as controller,
        smtplib.SMTP(controller.hostname, controller.port, timeout=10) as client,
    ):
        assert client.docmd("HELP") == codes.S250_SUPPCMD_NOTLS
        assert client.docmd("MAIL FROM:<a@x.example>") == codes.S503_HELO_FIRST
        assert client.docmd("WHAT") == codes.S500_CMD_UNRECOG(b"WHAT")
        client.ehlo("c.example")
        assert client.docmd("MAIL FROM:<a@x.example> X=Y") == codes.S555_MAIL_PARAMS_UNRECOG
        assert client.docmd("HELP MAIL") == codes.S250_SYNTAX_MAIL_E
        assert client.docmd("STARTTLS") == codes.S454_TLS_NA
        assert client.docmd("VRFY") == codes.S501_SYNTAX_VRFY


def test_constants_are_written_as_they_are_sent(modules: Modules) -> None:
    codes = modules.codes
    assert codes.S250_OK.to_bytes() == b"250 OK"
    assert codes.S250_OK.to_bytes(crlf=True) == b"250 OK\r\n"
    assert codes.S421_TOO_MANY(b"NOOP").to_str() == "421 4.7.0 NOOP sent too many times"
    assert codes.S221_BYE.to_str(crlf=True) == "221 Bye\r\n"
    assert codes.S334_AUTH_EMPTYPROMPT.to_bytes() == b"334 "


def test_a_line_is_sent_and_all_that_comes_is_heard(modules: Modules) -> None:
    with (
        running(modules.controller.Controller(object(), "127.0.0.1", free_port())) as controller,
        socket.create_connection((controller.hostname, controller.port), 10) as client,
    ):
        assert client.recv(1024).startswith(b"220 ")
        assert modules.helpers.send_recv(client, b"NOOP\r\nNOOP") == b"250 OK\r\n250 OK\r\n"
        assert modules.helpers.send_recv(client, b"N", b"", timeout=0.01) == b""
        modules.helpers.catchup_delay(0)
        assert modules.helpers.send_recv(client, b"OOP") == b"250 OK\r\n"


def test_hearing_ends_with_the_connection() -> None:
    # The original goes on for ever: what is at its end can be read, again and again, and is nothing.
    ours = Modules(OURS)
    with (
        running(ours.controller.Controller(object(), "127.0.0.1", free_port())) as controller,
        socket.create_connection((controller.hostname, controller.port), 10) as client,
    ):
        client.recv(1024)
        assert ours.helpers.send_recv(client, b"QUIT") == b"221 Bye\r\n"


def test_a_connection_is_reset(modules: Modules, caplog: pytest.LogCaptureFixture) -> None:
    handler = modules.helpers.ReceivingHandler()
    with running(modules.controller.Controller(handler, "127.0.0.1", free_port())) as controller:
        client = smtplib.SMTP(controller.hostname, controller.port, timeout=10)
        client.helo("c.example")
        modules.helpers.reset_connection(client)
        assert client.sock is None
        with smtplib.SMTP(controller.hostname, controller.port, timeout=10) as other:
            assert other.noop()[0] == 250
