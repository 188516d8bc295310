from __future__ import annotations

import argparse
import asyncio
import logging
import os
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
from tests.cli.process import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ehlo import SMTPServer

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
