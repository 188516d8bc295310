from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import signal
import smtplib
import socket
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trustme

import ehlo
from ehlo import main as classic
from ehlo.net import foreground
from ehlo.settings import DATA_SIZE_DEFAULT
from tests.cli.process import Command, running
from tests.net.workers import have_ended, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ehlo import SMTPServer

SERVE = ("-m", "ehlo", "serve", "-n", "-d", "-l", "127.0.0.1:0")
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")
LISTENING = r"listening on \[127\.0\.0\.1\]:(\d+)"


class Bare:
    """A handler that takes no arguments."""


class FromCLI:
    """A handler that takes arguments."""

    def __init__(self, *args: str) -> None:
        self.args = args

    @classmethod
    def from_cli(cls, parser: argparse.ArgumentParser, *args: str) -> FromCLI:
        if "wrong" in args:
            parser.error("FromCLI usage: right")
        return cls(*args)


BARE = f"{__name__}.Bare"
FROM_CLI = f"{__name__}.FromCLI"


@pytest.fixture(autouse=True)
def _same_log_and_path() -> Iterator[None]:
    log, path = logging.getLogger("ehlo"), sys.path[:]
    level = log.level
    yield
    log.setLevel(level)
    sys.path[:] = path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[SMTPServer]:
    """The server that the command has made; it starts and is told to stop."""
    servers: list[SMTPServer] = []

    def remember(*args: Any, **kwargs: Any) -> SMTPServer:
        servers.append(ehlo.serve(*args, **kwargs))
        return servers[-1]

    monkeypatch.setattr(classic, "serve", remember)
    monkeypatch.setattr(classic, "_say_nothing", lambda: signal.raise_signal(signal.SIGTERM))
    return servers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Certificate, key and the authority's certificate."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    paths = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
    issued.cert_chain_pems[0].write_to_path(paths[0])
    issued.private_key_pem.write_to_path(paths[1])
    authority.cert_pem.write_to_path(paths[2])
    return paths


def run(*arguments: str) -> int:
    return classic.main(["-n", "-l", "127.0.0.1:0", *arguments])


# What the options make


def test_without_options_sizes_are_limited_and_utf8_and_tls_are_not_offered(served: list[SMTPServer]) -> None:
    assert run("-c", BARE) == 0
    settings = served[0].settings
    assert settings.data_size_limit == DATA_SIZE_DEFAULT
    assert not settings.enable_SMTPUTF8
    assert settings.tls_context is None
    assert not settings.require_starttls
    assert served[0].ssl_context is None


def test_the_usual_handler_is_debugging(served: list[SMTPServer]) -> None:
    assert run() == 0
    assert "DATA" in served[0].shared.hooks or "DATA_STREAM" in served[0].shared.hooks


@pytest.mark.parametrize(("size", "limit"), [("1000", 1000), ("0", None)])
def test_size_is_the_limit_and_0_is_none(served: list[SMTPServer], size: str, limit: int | None) -> None:
    run("-c", BARE, "-s", size)
    assert served[0].settings.data_size_limit == limit


def test_smtputf8_is_offered_on_request(served: list[SMTPServer]) -> None:
    run("-c", BARE, "-u")
    assert served[0].settings.enable_SMTPUTF8


def test_starttls_is_demanded_where_it_is_offered(
    served: list[SMTPServer], certificate: tuple[Path, Path, Path]
) -> None:
    cert, key, _ = map(str, certificate)
    run("-c", BARE, "--tlscert", cert, "--tlskey", key)
    run("-c", BARE, "--tlscert", cert, "--tlskey", key, "--no-requiretls")
    assert [server.settings.require_starttls for server in served] == [True, False]
    assert all(server.settings.tls_context for server in served)
    assert not any(server.ssl_context for server in served)


def test_smtps_is_tls_from_the_first_octet(served: list[SMTPServer], certificate: tuple[Path, Path, Path]) -> None:
    cert, key, _ = map(str, certificate)
    run("-c", BARE, "--smtpscert", cert, "--smtpskey", key)
    assert served[0].ssl_context is not None
    assert served[0].settings.tls_context is None


@pytest.mark.parametrize(
    ("options", "level"), [([], logging.WARNING), (["-d"], logging.INFO), (["-dd"], logging.DEBUG)]
)
def test_debug_shows_more_of_the_log(served: list[SMTPServer], options: list[str], level: int) -> None:
    run("-c", BARE, *options)
    assert logging.getLogger("ehlo").level == level


@pytest.mark.parametrize(("options", "is_debugging"), [(["-dd"], False), (["-ddd"], True)])
def test_the_third_debug_is_asyncio_s(
    served: list[SMTPServer], monkeypatch: pytest.MonkeyPatch, options: list[str], is_debugging: bool
) -> None:
    monkeypatch.delenv("PYTHONASYNCIODEBUG", raising=False)
    seen = []

    def look() -> None:
        seen.append(asyncio.get_running_loop().get_debug())
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(classic, "_say_nothing", look)
    run("-c", BARE, *options)
    assert seen == [is_debugging]


# The handler


@pytest.mark.parametrize("arguments", [[], ["one", "two"]])
def test_a_class_method_gets_the_arguments(
    served: list[SMTPServer], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    made = []
    monkeypatch.setattr(FromCLI, "__init__", lambda _, *args: made.append(list(args)))
    run("-c", FROM_CLI, *arguments)
    assert made == [arguments]


def test_the_folder_of_the_caller_is_looked_into(
    served: list[SMTPServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "handler_in_a_folder.py").write_text("class Handler: pass")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert run("-c", "handler_in_a_folder.Handler") == 0


def test_a_handler_that_refuses_its_arguments_leaves_no_socket(capsys: pytest.CaptureFixture[str]) -> None:
    # A socket left open is a warning, and warnings are errors.
    with pytest.raises(SystemExit) as caught:
        run("-c", FROM_CLI, "wrong")
    assert caught.value.code == 2
    assert "FromCLI usage: right" in capsys.readouterr().err


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-l", "localhost:smtp"], "Invalid port number: smtp"),
        (["-l", "::1:25"], "brackets: [::1]:8025"),
        (["-s", "-1"], "Invalid size: -1"),
        (["-s", "many"], "invalid int value: 'many'"),
        (["-c", "Handler"], "Handler class Handler needs its module"),
        (["-c", "no.such.Handler"], "Cannot import handler class no.such.Handler: No module named 'no'"),
        (["-c", "ehlo.NoHandler"], "Cannot import handler class ehlo.NoHandler: ehlo has no NoHandler"),
        (["-c", BARE, "argument"], f"Handler class {__name__} takes no arguments"),
        (["--smtpscert", "x"], "--smtpscert and --smtpskey must be specified together"),
        (["--smtpskey", "x"], "--smtpscert and --smtpskey must be specified together"),
        (["--tlscert", "x"], "--tlscert and --tlskey must be specified together"),
        (["--tlskey", "x"], "--tlscert and --tlskey must be specified together"),
        (["--tlscert", "/no/x", "--tlskey", "/no/y"], "Cert file /no/x not found"),
        (["--smtpscert", __file__, "--smtpskey", "/no/y"], "Key file /no/y not found"),
        (["--tlscert", __file__, "--tlskey", __file__], f"Cannot use {__file__} and {__file__}"),
        (["--siz", "5"], "unrecognized arguments"),
        (["--workers", "0"], "Invalid number of workers: 0"),
        (["--loop", "trio"], "invalid choice: 'trio'"),
    ],
)
def test_wrong_arguments_are_status_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        classic.main(["-n", "-c", BARE, *arguments])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_options_of_its_own_are_those_that_it_has() -> None:
    parser = classic.build_parser()
    options = {option for action in parser._actions for option in action.option_strings}
    assert options - {"-h", "--help", "-v", "--version"} == classic.OWN_OPTIONS


# Failures


def test_an_address_in_use_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert classic.main(["-n", "-c", BARE, "-l", f"127.0.0.1:{other.getsockname()[1]}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("ehlo: cannot listen: Address already in use")
    assert error.count("\n") == 1


def test_without_root_privileges_cannot_be_dropped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "initgroups", refuse)
    assert classic.main(["-c", BARE, "-l", "127.0.0.1:0"]) == 1
    assert capsys.readouterr().err == 'Cannot setuid "nobody"; try running with -n option.\n'


def test_without_pwd_privileges_cannot_be_dropped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pwd", None)
    assert classic.main(["-c", BARE, "-l", "127.0.0.1:0"]) == 1
    assert capsys.readouterr().err == 'Cannot import module "pwd"; try running with -n option.\n'


# Privileges


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What would have been done to this process."""
    pwd = pytest.importorskip("pwd")
    made: list[tuple[object, ...]] = []
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_name=name, pw_uid=65534, pw_gid=65533))
    for name in ("initgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda *args, name=name: made.append((name, *args)))
    return made


def test_the_groups_are_dropped_and_before_the_user(
    calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    classic.drop_privileges()
    assert calls == [("initgroups", "nobody", 65533), ("setgid", 65533), ("setuid", 65534)]


def test_nobody_has_nothing_to_drop(calls: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 65534)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    classic.drop_privileges()
    assert calls == []


def test_a_system_without_nobody_is_told_like_one_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def find_none(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", find_none)
    with pytest.raises(classic.PrivilegesError, match="Cannot setuid"):
        classic.drop_privileges()


def test_it_is_bound_and_has_its_certificate_before_privileges_are_dropped_and_the_handler_made(
    served: list[SMTPServer],
    monkeypatch: pytest.MonkeyPatch,
    certificate: tuple[Path, Path, Path],
) -> None:
    order = []

    def note(what: str, original: Any) -> Any:
        def noting(*args: Any, **kwargs: Any) -> Any:
            order.append(what)
            return original(*args, **kwargs)

        return noting

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", note("certificate", ssl.SSLContext.load_cert_chain))
    monkeypatch.setattr(classic, "open_sockets", note("bind", foreground.open_sockets))
    monkeypatch.setattr(classic, "drop_privileges", lambda: order.append("drop"))
    monkeypatch.setattr(FromCLI, "__init__", lambda _: order.append("handler"))
    cert, key, _ = map(str, certificate)
    classic.main(["-c", FROM_CLI, "-l", "127.0.0.1:0", "--tlscert", cert, "--tlskey", key])
    assert order == ["certificate", "bind", "drop", "handler"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become nobody")
def test_root_becomes_nobody_and_serves() -> None:
    with running("-m", "ehlo", "-d", "-c", "ehlo.handlers.Sink", "-l", "127.0.0.1:0", cwd=Path("/")) as command:
        port = int(command.err.wait_for(LISTENING)[1])
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("a@b.example", ["c@d.example"], "text")
        status = Path(f"/proc/{command.process.pid}/status")
        if status.exists():
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            assert "0" not in [*fields["Uid"].split(), *fields["Gid"].split(), *fields["Groups"].split()]
        assert command.stop() == 0


# As a process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_status_0(number: signal.Signals) -> None:
    with running("-m", "ehlo", "serve", "-n", "-d", "-l", "127.0.0.1:0") as command:
        port = int(command.err.wait_for(LISTENING)[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert client.recv(4096).startswith(b"220 ")
            command.signal(number)
            assert client.recv(4096).startswith(b"421 ")
        assert command.wait() == 0
    assert "Traceback" not in command.err.text


@pytest.mark.parametrize("is_implicit", [True, False])
def test_tls_with_files(certificate: tuple[Path, Path, Path], is_implicit: bool) -> None:
    cert, key, authority = map(str, certificate)
    context = ssl.create_default_context(cafile=authority)
    kind = "smtps" if is_implicit else "tls"
    with running("-m", "ehlo", "-n", "-d", "-l", "127.0.0.1:0", f"--{kind}cert", cert, f"--{kind}key", key) as command:
        port = int(command.err.wait_for(LISTENING)[1])
        if is_implicit:
            client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", port, context=context)
        else:
            client = smtplib.SMTP("127.0.0.1", port)
            client.ehlo()
            assert client.mail("a@b.example")[0] == 530
            client.starttls(context=context)
        with client:
            assert client.sendmail("a@b.example", ["c@d.example"], "Subject: over TLS\n\ntext") == {}
        command.out.wait_for("over TLS")
        assert command.stop() == 0


# With workers


def ready(command: Command, count: int) -> list[int]:
    """The processes of so many workers, as soon as they are ready."""
    command.err.wait_for(rf"(?s)(worker \d \(process \d+\): ready.*){{{count}}}")
    return [int(pid) for pid in re.findall(r"worker \d \(process (\d+)\): ready", command.err.text)]


@needs_posix
def test_workers_are_replaced_at_sighup_and_stopped_at_sigterm() -> None:
    with running(*SERVE, "--workers", "2", "-c", "ehlo.handlers.Sink") as command:
        port = int(command.err.wait_for(LISTENING)[1])
        first = ready(command, 2)
        command.signal(signal.SIGHUP)
        assert not {*ready(command, 4)[2:]} & {*first}
        command.err.wait_for("replaced 2 workers")
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("a@b.example", ["c@d.example"], "text")
        assert command.stop() == 0
        assert not any(map(is_alive, ready(command, 4)))
    assert "messages_accepted 1" in command.err.text
    assert "Traceback" not in command.err.text


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait_for_transactions(number: signal.Signals) -> None:
    with running(*SERVE, "--workers", "1", "-c", "ehlo.handlers.Sink") as command:
        ready(command, 1)
        port = int(command.err.wait_for(LISTENING)[1])
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.helo()
            client.mail("a@b.example")
            command.signal(number)
            command.err.wait_for("stopping: 1 sessions are open")
            command.signal(number)
            assert client.getreply()[0] == 421
        assert command.wait() == 0


@needs_posix
def test_workers_do_not_outlive_a_supervisor_that_is_killed() -> None:
    with running(*SERVE, "--workers", "2", "-c", "ehlo.handlers.Sink") as command:
        pids = ready(command, 2)
        command.signal(signal.SIGKILL)
        command.wait()  # until nobody has its stderr any more: they are about to end
        assert have_ended(pids)
    assert command.err.text.count("the supervisor is gone") == 2


@needs_posix
def test_wrong_settings_of_workers_are_status_2_and_a_reason() -> None:
    with running(*SERVE, "--workers", "2", "-c", "no.such.Handler") as command:
        assert command.wait() == 2
    assert "did not come up: Cannot import handler class no.such.Handler" in command.err.text.splitlines()[-1]


@needs_posix
@pytest.mark.parametrize("option", ["--ready-timeout", "--hang-timeout"])
def test_patience_with_workers_is_said_in_seconds(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("--workers", "2", option, "-1")
    assert caught.value.code == 2
    assert f"{option[2:].replace('-', '_')} must be" in capsys.readouterr().err


@needs_posix
def test_a_signal_while_the_workers_start_ends_them() -> None:
    with running(*SERVE, "--workers", "2", "-dd", "-c", "ehlo.handlers.Sink") as command:
        command.err.wait_for(r"process \d+\): started")
        assert command.stop() == 0
    assert "Traceback" not in command.err.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become nobody")
def test_workers_become_nobody_and_their_supervisor_stays_root(certificate: tuple[Path, Path, Path]) -> None:
    cert, key, authority = map(str, certificate)
    Path(key).chmod(0o600)
    options = ("--workers", "1", "-c", "ehlo.handlers.Sink", "--tlscert", cert, "--tlskey", key)
    with running("-m", "ehlo", "-d", "-l", "127.0.0.1:0", *options, cwd=Path("/")) as command:
        (pid,) = ready(command, 1)
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            assert "0" not in [*fields["Uid"].split(), *fields["Gid"].split(), *fields["Groups"].split()]
        command.signal(signal.SIGHUP)
        ready(command, 2)  # it has read the key again
        with smtplib.SMTP("127.0.0.1", int(command.err.wait_for(LISTENING)[1])) as client:
            client.starttls(context=ssl.create_default_context(cafile=authority))
            client.sendmail("a@b.example", ["c@d.example"], "text")
        assert command.stop() == 0


def test_workers_are_not_for_windows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(classic, "sys", SimpleNamespace(platform="win32"))
    with pytest.raises(SystemExit):
        run("--workers", "2")
    assert "--workers needs POSIX" in capsys.readouterr().err


# The loop


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_the_loop_is_chosen(served: list[SMTPServer], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pytest.importorskip(name)
    seen = []

    def look() -> None:
        seen.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(classic, "_say_nothing", look)
    run("-c", BARE, "--loop", name)
    assert seen == [name]


def test_uvloop_is_asked_for_in_vain_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SystemExit):
        run("--loop", "uvloop")
    assert "uvloop is not installed" in capsys.readouterr().err


# A file of settings


def test_a_file_has_settings_and_options_go_before_it(served: list[SMTPServer], tmp_path: Path) -> None:
    file = tmp_path / "ehlo.toml"
    file.write_text("data_size_limit = 1000\nenable_SMTPUTF8 = true\nrecipient_limit = 200\n[limits]\nconnections = 5")
    run("-c", BARE, "--config", str(file))
    run("-c", BARE, "--config", str(file), "-s", "0")
    for server, size in zip(served, [1000, None], strict=True):
        settings = server.settings
        assert (settings.data_size_limit, settings.enable_SMTPUTF8) == (size, True)
        assert (settings.recipient_limit, settings.limits.connections) == (200, 5)


def test_starttls_need_not_be_demanded_by_a_file(
    served: list[SMTPServer], certificate: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    cert, key, _ = map(str, certificate)
    (tmp_path / "no.toml").write_text("require_starttls = false")
    (tmp_path / "yes.toml").write_text("require_starttls = true")
    run("-c", BARE, "--tlscert", cert, "--tlskey", key, "--config", str(tmp_path / "no.toml"))
    run("-c", BARE, "--tlscert", cert, "--tlskey", key, "--config", str(tmp_path / "yes.toml"), "--no-requiretls")
    assert [server.settings.require_starttls for server in served] == [False, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("recipients = 5", "recipients: there is no such setting"),
        ("recipient_limit = 5", "recipient_limit must be at least 100"),
        (None, "Cannot read"),
    ],
)
def test_a_file_that_is_wrong_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, complaint: str
) -> None:
    file = tmp_path / "ehlo.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit) as caught:
        run("-c", BARE, "--config", str(file))
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "ehlo.toml" in error


@needs_posix
def test_a_reload_reads_the_file_again(tmp_path: Path) -> None:
    file = tmp_path / "ehlo.toml"
    file.write_text('ident = "before"')
    with running(*SERVE, "--workers", "1", "-c", "ehlo.handlers.Sink", "--config", str(file)) as command:
        ready(command, 1)
        port = int(command.err.wait_for(LISTENING)[1])
        file.write_text('ident = "after"')
        with smtplib.SMTP() as client:
            assert client.connect("127.0.0.1", port)[1].endswith(b" before")
        command.signal(signal.SIGHUP)
        command.err.wait_for("replaced 1 workers")
        with smtplib.SMTP() as client:
            assert client.connect("127.0.0.1", port)[1].endswith(b" after")
        assert command.stop() == 0


# Under systemd


@needs_posix
@pytest.mark.parametrize("options", [(), ("--workers", "1")])
def test_systemd_gives_the_sockets_and_is_told(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os, sys; os.dup2(int(sys.argv.pop(1)), 3); os.set_inheritable(3, True);"
        "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'};"
        "from ehlo.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.create_server(("127.0.0.1", 0)) as bound,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        arguments = ["-c", program, str(bound.fileno()), "serve", "-n", "-d", "-c", "ehlo.handlers.Sink", *options]
        with running(*arguments, pass_fds=[bound.fileno()]) as command:
            assert manager.recv(1000) == b"READY=1"
            with smtplib.SMTP("127.0.0.1", bound.getsockname()[1]) as client:
                client.noop()
            if options:
                command.signal(signal.SIGHUP)
                assert manager.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert manager.recv(1000) == b"READY=1"
            assert command.stop() == 0
            assert manager.recv(1000) == b"STOPPING=1"


def test_systemd_and_the_options_cannot_both_say_where_to_listen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        monkeypatch.setattr(classic, "take_sockets", lambda: [bound])
        with pytest.raises(SystemExit):
            run("-c", BARE)
    assert "--listen is not for a service" in capsys.readouterr().err


def test_what_systemd_hands_over_must_be_a_socket(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError("no socket")

    monkeypatch.setattr(classic, "take_sockets", fail)
    with pytest.raises(SystemExit):
        run("-c", BARE)
    assert "What systemd handed over is no socket" in capsys.readouterr().err
