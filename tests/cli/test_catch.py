from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import urllib.request
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import Envelope, Session
from ehlo.cli import catch
from ehlo.cli.catch import read_users
from ehlo.cli.catch_options import build_parser, parse_keep, parse_size, read_options
from ehlo.inbox.records import Retention
from ehlo.inbox.server import InboxServer
from ehlo.report.dns import SystemResolver, Zone
from tests.cli.process import running

if TYPE_CHECKING:
    from collections.abc import Callable

WELCOME = r"catches mail on 127\.0\.0\.1:(\d+)"
PAGE = r"The inbox is at  (http://\S+)"


# What is shown of messages


def printed(*contents: bytes, is_brief: bool = False) -> str:
    """What a Printer shows of messages."""
    stream = io.StringIO()
    printer = catch.Printer(stream, is_brief=is_brief)
    for content in contents:
        session, envelope = Session(("192.0.2.1", 1)), Envelope()
        session.host_name = "client.example"
        envelope.mail_from, envelope.rcpt_tos, envelope.content = "a@b.example", ["c@d.example"], content
        printer(session, envelope)
    return stream.getvalue()


def test_messages_are_numbered() -> None:
    shown = printed(b"Subject: one\r\n\r\n", b"Subject: two\r\n\r\n")
    assert shown.index("- 1 at ") < shown.index("one") < shown.index("- 2 at ") < shown.index("two")


def test_brief_is_one_line_for_each() -> None:
    assert printed(b"Subject: one\r\n\r\ntext", b"Subject: two\r\n\r\ntext", is_brief=True).count("\n") == 2


def test_bare_newlines_are_flagged() -> None:
    assert "Problem      3 bare LF" in printed(b"Subject: bare\n\ntext\n")


def test_a_message_that_nobody_can_read_is_shown() -> None:
    broken = b"Content-Type: multipart/mixed; boundary*0*=%\r\nTo: " + b"(" * 8000 + b"\r\n\r\n\0\xff\r\n"
    assert "Problem      " in printed(broken)


def test_each_message_is_one_write() -> None:
    class Counting(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    stream = Counting()
    envelope = Envelope()
    envelope.content = b"Subject: one\r\n\r\ntext\r\n"
    catch.Printer(stream)(Session(), envelope)
    assert stream.writes == 1


def test_messages_that_come_together_do_not_mix() -> None:
    stream = io.StringIO()
    printer = catch.Printer(stream, is_brief=True)
    envelope = Envelope()
    envelope.content = b"Subject: one\r\n\r\ntext\r\n"
    threads = [threading.Thread(target=printer, args=(Session(), envelope)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stream.getvalue().splitlines()) == 20


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device")])
def test_neither_a_reader_who_has_gone_nor_a_full_disk_is_a_failure(error: OSError) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    catch.Printer(Gone())(Session(), Envelope())


# Options


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
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "M", "1T", "1 M"])
def test_a_size_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"^Invalid size: {text}$"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "retention"),
    [
        (None, Retention()),
        ("", Retention()),
        ("100", Retention(count=100)),
        ("0", Retention(count=None)),
        (",5M", Retention(octets=5 << 20)),
        (",0,7d", Retention(octets=None, age=604_800.0)),
        ("1, 2k, 90s", Retention(count=1, octets=2048, age=90.0)),
        (",,0", Retention()),
    ],
)
def test_what_is_kept_is_said_in_three_words(text: str | None, retention: Retention) -> None:
    assert parse_keep(text) == retention


@pytest.mark.parametrize("text", ["x", "-1", "1,2,3", "1,x", ",,5", ",,5y", "1,2,3d,4", "²"])
def test_what_cannot_be_kept_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"^Invalid (count|size|age|number of limits): "):
        parse_keep(text)


def test_without_options_mail_and_page_are_on_this_machine_only() -> None:
    options = read_options(build_parser().parse_args([]))
    assert (options.smtp, options.web, options.smtps) == ((None, 8025), (None, 8026), None)
    assert not options.must_have_page
    assert (options.tls, options.maybe_users, options.maybe_store) == (False, None, None)


def test_a_token_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHLO_INBOX_TOKEN", "opensesame")
    assert read_options(build_parser().parse_args([])).maybe_token == "opensesame"
    assert read_options(build_parser().parse_args(["--token=other"])).maybe_token == "other"


def test_tls_has_a_certificate_of_its_own_or_one_in_a_file() -> None:
    assert read_options(build_parser().parse_args(["--tls"])).tls is True
    assert read_options(build_parser().parse_args(["--tls", "x.pem"])).tls == Path("x.pem")


def test_users_that_cannot_be_read_name_the_option(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^--auth .*users: No such file"):
        read_users(tmp_path / "users")
    (tmp_path / "users").write_text("ann\n")
    with pytest.raises(ValueError, match=r"^--auth .*users:1: a line is user:password"):
        read_users(tmp_path / "users")


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


HERE = ["--smtp", "127.0.0.1:0", "--web", "127.0.0.1:0"]


@pytest.mark.usefixtures("_stopped_at_once")
def test_it_says_where_it_listens_how_to_send_and_how_much_it_caught(capsys: pytest.CaptureFixture[str]) -> None:
    assert catch.main(HERE) == 0
    out = capsys.readouterr().out
    assert "catches mail on 127.0.0.1:" in out
    assert re.search(PAGE, out)
    assert re.search(r"  \S.* send --server 127\.0\.0\.1:\d+\n", out)
    assert "kept until you stop" in out
    assert out.endswith("Caught 0 messages.\n")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.usefixtures("_stopped_at_once")
def test_it_says_that_delivery_fails_on_purpose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert catch.main([*HERE, "--faults", "strict"]) == 0
    assert "Delivery fails on purpose: strict.\n" in capsys.readouterr().out
    file = tmp_path / "mine.toml"
    file.write_text("[[rule]]\nverb = 'MAIL'\ndelay = 1\n", "utf-8")
    assert catch.main([*HERE, "--faults", str(file)]) == 0
    assert "Delivery fails on purpose: custom.\n" in capsys.readouterr().out


def test_who_is_asked_about_others_is_a_zone_the_name_servers_or_nobody(tmp_path: Path) -> None:
    def asked(*arguments: str) -> object:
        return catch.find_resolver(read_options(build_parser().parse_args(arguments)))

    file = tmp_path / "zone"
    file.write_text('sender.example TXT "v=spf1 -all"\n', "utf-8")
    zone = asked("--zone", str(file))
    assert isinstance(zone, Zone)
    assert zone.lookup("sender.example", "TXT") == ["v=spf1 -all"]
    assert isinstance(asked("--dns"), SystemResolver)
    assert asked() is None


@pytest.mark.usefixtures("_stopped_at_once")
def test_quiet_is_quiet_at_the_start_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert catch.main(["--quiet", *HERE]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.usefixtures("_stopped_at_once")
def test_without_a_page_it_says_so_by_saying_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert catch.main(["--smtp", "127.0.0.1:0", "--no-web"]) == 0
    out = capsys.readouterr().out
    assert "http" not in out
    assert "pip" not in out
    assert "it is shown" in out


@pytest.fixture
def _without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("ehlo.inbox.web.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)


@pytest.mark.usefixtures("_stopped_at_once", "_without_the_extra")
def test_without_the_extra_it_shows_the_mail_here_and_says_how_to_get_the_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert catch.main(["--smtp", "127.0.0.1:0"]) == 0
    captured = capsys.readouterr()
    assert "pip install 'ehlo[inbox]'" in captured.out
    assert "http" not in captured.out
    assert captured.err == ""


@pytest.mark.usefixtures("_without_the_extra")
@pytest.mark.parametrize("option", ["--web=:0", "--open"])
def test_a_page_that_is_asked_for_and_cannot_be_is_an_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert catch.main(["--smtp", "127.0.0.1:0", option]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "ehlo: the page of the inbox needs uvicorn: pip install 'ehlo[inbox]'\n"


@pytest.mark.usefixtures("_stopped_at_once")
def test_a_browser_is_opened_at_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    opened: list[str] = []
    is_open = threading.Event()

    def open_browser(url: str) -> None:
        opened.append(url)
        is_open.set()

    monkeypatch.setattr("webbrowser.open", open_browser)
    assert catch.main(["--open", "--token=opensesame", *HERE]) == 0
    assert is_open.wait(5)
    assert opened == re.findall(PAGE, capsys.readouterr().out)
    assert opened[0].endswith("/?token=opensesame")


@pytest.mark.usefixtures("_stopped_at_once")
def test_tls_with_a_certificate_of_its_own_says_how_to_trust_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert catch.main(["--tls", "--smtps", "127.0.0.1:0", *HERE]) == 0
    out = capsys.readouterr().out
    assert "SSL_CERT_FILE=" in out
    assert ", TLS on 127.0.0.1:" in out


@pytest.mark.usefixtures("_stopped_at_once")
def test_in_a_terminal_the_last_line_does_not_follow_the_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert catch.main(["--smtp", "127.0.0.1:0", "--no-web"]) == 0
    assert capsys.readouterr().out.endswith("\n\nCaught 0 messages.\n")


@pytest.mark.parametrize(("option", "other"), [("--smtp", "--web"), ("--web", "--smtp")])
def test_an_address_in_use_is_one_line_that_names_it_and_status_1(
    option: str, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        assert catch.main([f"{option}={place}", f"{other}=127.0.0.1:0"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"ehlo: {option} {place}: cannot listen: Address already in use")
    assert captured.err.count("\n") == 1


def test_a_store_that_is_none_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mail.db").write_text("this is no database, but it is long enough to look like one" * 100)
    assert catch.main([f"--store={tmp_path / 'mail.db'}", *HERE]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ehlo: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--smtp", "localhost:smtp"], "Invalid port number: smtp"),
        (["--smtp", "::1:25"], "brackets"),
        (["--web", "localhost:http"], "Invalid port number: http"),
        (["--web", ":0", "--no-web"], "--no-web goes without"),
        (["--open", "--no-web"], "--no-web goes without"),
        (["--quiet", "--verbose"], "not both"),
        (["--smtps", ":0"], "--smtps needs --tls"),
        (["--tls", "/nonexistent"], "cannot use /nonexistent: No such file"),
        (["--auth", "/nonexistent"], "No such file"),
        (["--release", "mail.example.com"], "Invalid server: mail.example.com"),
        (["--keep", "many"], "Invalid count: many"),
        (["--max-size", "huge"], "Invalid size: huge"),
        (["--faults", "stormy"], "--faults stormy: no file, and none of exchange-like, flaky, greylisting"),
        (["--faults", __file__], "test_catch.py: not TOML"),
        (["--zone", "/nonexistent"], "--zone /nonexistent: No such file"),
        (["--zone", __file__], "test_catch.py: line 1 is no record"),
        (["--zone", __file__, "--dns"], "not allowed with"),
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


async def test_what_a_client_is_told_is_an_address_that_can_be_connected_to() -> None:
    async with InboxServer(smtp=("0.0.0.0", 0), web=None, is_indexed=False) as server:
        port = server.addresses[0][1]
        assert catch._server_option(server) == f" --server 127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("called", "found", "shown"),
    [
        ("/opt/bin/ehlo", "/opt/bin/ehlo", "ehlo"),
        (".venv/bin/ehlo", None, ".venv/bin/ehlo"),
        (".venv/bin/ehlo", "/opt/bin/ehlo", ".venv/bin/ehlo"),
        ("/src/ehlo/__main__.py", None, "python3 -m ehlo"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths are others there")
def test_the_program_is_named_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, called: str, found: str | None, shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr("shutil.which", lambda _: found)
    assert catch._program() == shown


# The command, as a process


def compose() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Grüße ✓"
    message["From"] = "from@example.com"
    message.set_content("the text\n")
    message.add_attachment(b"x" * 10, maintype="image", subtype="png", filename="x.png")
    return message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_message_is_shown_and_a_signal_ends_it(number: signal.Signals) -> None:
    with running("-m", "ehlo", "--smtp", ":0", "--no-web") as command:
        port = int(command.out.wait_for(WELCOME)[1])
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.send_message(compose(), to_addrs=["to@example.com"])
        command.out.wait_for(r"(?s)Grüße ✓.*x\.png \(image/png, 10 B\).*  the text\n")
        command.signal(number)
        assert command.wait() == 0
    assert command.out.text.endswith("Caught 1 message.\n")
    assert command.err.text == ""


def test_with_a_page_a_message_is_a_line_here_and_all_of_it_there(tmp_path: Path) -> None:
    arguments = ["--smtp=:0", "--web=:0", f"--store={tmp_path / 'mail.db'}"]
    with running("-m", "ehlo", *arguments) as command:
        port = int(command.out.wait_for(WELCOME)[1])
        url = command.out.wait_for(PAGE)[1]
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.login("ann", "hunter2")
            client.send_message(compose(), to_addrs=["to@example.com"])
        command.out.wait_for(r"from@example\.com > to@example\.com  Grüße ✓\n")
        with urllib.request.urlopen(f"{url}api/v1/messages") as answer:
            [summary] = json.load(answer)["messages"]
        assert (summary["subject"], summary["inbox"]) == ("Grüße ✓", "ann")
        with running("-m", "ehlo", *arguments) as second:
            assert second.wait() == 1
        assert second.err.text.startswith("ehlo: ")
        assert command.stop() == 0
    assert "the text" not in command.out.text
    assert "hunter2" not in command.out.text
    assert command.err.text == ""


def test_logs_for_programs_are_json_and_nothing_else_is_printed_of_a_message() -> None:
    with running("-m", "ehlo", "--smtp=:0", "--web=:0", "--json-logs") as command:
        port = int(command.out.wait_for(WELCOME)[1])
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.send_message(compose(), to_addrs=["to@example.com"])
        command.err.wait_for(r'"message": ".*to@example\.com')
        assert command.stop() == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in command.err.text.splitlines()]
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    assert "Grüße" not in command.out.text


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_in_a_terminal_it_has_colours_and_no_octet_of_a_peer_s() -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(Path("src").resolve()), "TERM": "xterm", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "ehlo", "--smtp", "127.0.0.1:0", "--no-web"],
        stdout=theirs,
        env=environment,
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
