from __future__ import annotations

import asyncio
import io
import os
import signal
import smtplib
import socket
import sys
import threading
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ehlo import Envelope, Session, serve
from ehlo.cli import catch
from tests.cli.process import running

if TYPE_CHECKING:
    from collections.abc import Callable

WELCOME = r"catches mail on 127\.0\.0\.1:(\d+)"


# The handler


def caught(*contents: bytes, is_quiet: bool = False) -> str:
    """What a Catcher shows of messages."""
    stream = io.StringIO()
    catcher = catch.Catcher(stream, is_quiet=is_quiet)
    for content in contents:
        session, envelope = Session(("192.0.2.1", 1)), Envelope()
        session.host_name = "client.example"
        envelope.mail_from, envelope.rcpt_tos, envelope.content = "a@b.example", ["c@d.example"], content
        catcher.handle_DATA(None, session, envelope)
    assert catcher.count == len(contents)
    return stream.getvalue()


def test_messages_are_numbered() -> None:
    shown = caught(b"Subject: one\r\n\r\n", b"Subject: two\r\n\r\n")
    assert shown.index("- 1 at ") < shown.index("one") < shown.index("- 2 at ") < shown.index("two")


def test_quiet_is_one_line_for_each() -> None:
    assert caught(b"Subject: one\r\n\r\ntext", b"Subject: two\r\n\r\ntext", is_quiet=True).count("\n") == 2


def test_each_message_is_one_write() -> None:
    class Counting(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    stream = Counting()
    envelope = Envelope()
    envelope.content = b"Subject: one\r\n\r\ntext\r\n"
    catch.Catcher(stream).handle_DATA(None, Session(), envelope)
    assert stream.writes == 1


def test_messages_that_come_together_do_not_mix() -> None:
    stream = io.StringIO()
    catcher = catch.Catcher(stream, is_quiet=True)
    envelope = Envelope()
    envelope.content = b"Subject: one\r\n\r\ntext\r\n"
    threads = [threading.Thread(target=catcher.handle_DATA, args=(None, Session(), envelope)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catcher.count == len(stream.getvalue().splitlines()) == 20


# Sizes


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("0", None),
        ("1", 1),
        ("33554432", 33554432),
        ("10k", 10240),
        ("32M", 33554432),
        ("32mb", 33554432),
        ("1GiB", 1073741824),
    ],
)
def test_a_size_may_have_a_unit(text: str, octets: int | None) -> None:
    assert catch.parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "M", "1T", "1 M"])
def test_a_size_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"^Invalid size: {text}$"):
        catch.parse_size(text)


# The server


async def test_any_login_is_accepted_and_no_password_is_shown() -> None:
    stream = io.StringIO()
    catcher = catch.Catcher(stream)

    def log_in(mechanism: str, port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.ehlo("client.example")
            client.user, client.password = "ann", "hunter2"
            name = "auth_" + mechanism.lower().replace("-", "_")
            client.auth(mechanism, getattr(client, name))
            client.sendmail("a@b.example", ["c@d.example"], f"Subject: {mechanism}")

    async with serve(catcher, port=0, settings=catch.catch_settings(None)) as server:
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
            await asyncio.to_thread(log_in, mechanism, server.port)
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        assert f"login ann by {mechanism}" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


async def test_tokens_and_acting_for_others_are_accepted() -> None:
    any_login = catch.AcceptAny()
    for check in (any_login.check_password, any_login.check_digest, any_login.check_token, any_login.authorize):
        assert await check(object(), Session()) is True


async def test_bare_newlines_are_taken_and_flagged() -> None:
    stream = io.StringIO()

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            assert client.sendmail("a@b.example", ["c@d.example"], b"Subject: bare\n\ntext\n") == {}

    async with serve(catch.Catcher(stream), port=0, settings=catch.catch_settings(None)) as server:
        await asyncio.to_thread(send, server.port)
    assert "bare\n" in stream.getvalue()
    assert "Problem      3 bare LF" in stream.getvalue()


async def test_a_message_that_nobody_can_read_is_answered_250() -> None:
    stream = io.StringIO()

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            broken = b"Content-Type: multipart/mixed; boundary*0*=%\r\nTo: " + b"(" * 8000 + b"\r\n\r\n\0\xff\r\n"
            assert client.sendmail("a@b.example", ["c@d.example"], broken) == {}

    async with serve(catch.Catcher(stream), port=0, settings=catch.catch_settings(None)) as server:
        await asyncio.to_thread(send, server.port)
    assert "Problem      " in stream.getvalue()


# The command, in this process


@pytest.fixture
def _stopped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gets a SIGTERM when it has said where it listens."""

    def announcing(say: Callable[..., str]) -> Callable[..., str]:
        def announce_and_stop(*args: object) -> str:
            signal.raise_signal(signal.SIGTERM)
            return say(*args)

        return announce_and_stop

    monkeypatch.setattr(catch, "listening", announcing(catch.listening))


@pytest.mark.usefixtures("_stopped_at_once")
def test_it_says_where_it_listens_how_to_send_and_how_much_it_caught(capsys: pytest.CaptureFixture[str]) -> None:
    assert catch.main(["--smtp", "127.0.0.1:0"]) == 0
    out = capsys.readouterr().out
    assert "catches mail on 127.0.0.1:" in out
    assert "swaks --to" in out
    assert out.endswith("Caught 0 messages.\n")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.usefixtures("_stopped_at_once")
def test_quiet_is_quiet_at_the_start_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert catch.main(["--quiet", "--smtp", "127.0.0.1:0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.usefixtures("_stopped_at_once")
def test_in_a_terminal_the_last_line_does_not_follow_the_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert catch.main(["--smtp", "127.0.0.1:0"]) == 0
    assert capsys.readouterr().out.endswith("\n\nCaught 0 messages.\n")


def test_an_address_in_use_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert catch.main(["--smtp", f"127.0.0.1:{other.getsockname()[1]}"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ehlo: cannot listen: Address already in use")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--smtp", "localhost:smtp"], "Invalid port number: smtp"),
        (["--smtp", "::1:25"], "brackets"),
        (["--max-size", "huge"], "Invalid size: huge"),
        (["--color", "blue"], "invalid choice: 'blue'"),
        (["--smt", ":25"], "unrecognized arguments"),
        (["message"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_are_status_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught_exit:
        catch.main(arguments)
    assert caught_exit.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_welcome_names_an_address_that_can_be_connected_to() -> None:
    ipv4, ipv6 = ("0.0.0.0", 2525), ("::", 2525, 0, 0)
    assert "on 0.0.0.0:2525 and [::]:2525" in catch.welcome([ipv4, ipv6])
    assert "--server 127.0.0.1:2525" in catch.welcome([ipv4, ipv6])
    assert "--server [::1]:2525" in catch.welcome([ipv6])


# The command, as a process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_message_is_shown_and_a_signal_ends_it(number: signal.Signals) -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße ✓"
    message["From"] = "from@example.com"
    message.set_content("the text\n")
    message.add_attachment(b"x" * 10, maintype="image", subtype="png", filename="x.png")
    with running("-m", "ehlo", "--smtp", ":0") as command:
        port = int(command.out.wait_for(WELCOME)[1])
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.send_message(message, to_addrs=["to@example.com"])
        command.out.wait_for(r"(?s)Grüße ✓.*x\.png \(image/png, 10 B\).*  the text\n")
        command.signal(number)
        assert command.wait() == 0
    assert command.out.text.endswith("Caught 1 message.\n")
    assert command.err.text == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_in_a_terminal_it_has_colours_and_no_octet_of_a_peer_s() -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(Path("src").resolve()), "TERM": "xterm", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "ehlo", "--smtp", "127.0.0.1:0"], stdout=theirs, env=environment
    )
    os.close(theirs)
    try:
        shown = b""
        while b"Ctrl-C" not in shown:
            shown += os.read(ours, 4096)
        port = int(shown.partition(b"127.0.0.1:")[2].split()[0])
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("a@b.example", ["c@d.example"], b"Subject: \x1b[31mred\r\n\r\n\x1b]0;title\x07\r\n")
        while b"title" not in shown:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"\x1b[1m" + rb"\x1b[31mred" in shown
    assert rb"\x1b]0;title\x07" in shown
