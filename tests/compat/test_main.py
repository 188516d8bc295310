"""The command line, beside aiosmtpd's: options, messages, exit codes, and whole runs."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import smtplib
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.process import running
from tests.compat.roots import OURS, REAL, ROOTS
from tests.compat.talk import Talk, free_port

if TYPE_CHECKING:
    import trustme


class Bare:
    """A handler that takes no arguments."""


class Telling:
    """A handler that says what it was given, and may object."""

    def __init__(self, *args: str) -> None:
        self.args = args

    @classmethod
    def from_cli(cls, parser: argparse.ArgumentParser, *args: str) -> Telling:
        if "wrong" in args:
            parser.error("Telling usage: right")
        return cls(*args)

    async def handle_NOOP(self, server: Any, session: Any, envelope: Any, arg: str) -> str:
        return f"250 {' '.join(self.args)}"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        return f"250 {len(envelope.content)}"


PROJECT = Path(__file__).parents[2]
BARE, TELLING = f"{__name__}.Bare", f"{__name__}.Telling"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    log = logging.getLogger("mail.log")
    level, root_level, handlers = log.level, logging.getLogger().level, logging.getLogger().handlers[:]
    yield
    log.setLevel(level)
    logging.getLogger().setLevel(root_level)
    logging.getLogger().handlers[:] = handlers


def both() -> list[Any]:
    return [importlib.import_module(f"{root}.main") for root in ROOTS]


# -- Options -----------------------------------------------------------------------------------------------


def test_the_options_are_the_same() -> None:
    options = [
        [
            (action.option_strings, action.dest, action.nargs, action.metavar, action.const, action.type)
            for action in module._parser()._actions
        ]
        for module in both()
    ]
    assert options[0] == options[1]


def parsed(module: Any, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> Any:
    """What was understood, or what was said on the way out."""
    try:
        _, namespace = module.parseargs(arguments)
    except SystemExit as end:
        told = capsys.readouterr()
        return end.code, told.out, told.err.splitlines()[-1:]
    except Exception as error:  # noqa: BLE001 - a class that is not there is told by Python
        return type(error).__name__, str(error)
    fields = {name: getattr(namespace, name) for name in sorted(vars(namespace))}
    handler = fields.pop("handler")
    fields["classpath"] = fields["classpath"].replace(OURS, REAL)
    return fields, type(handler).__name__, getattr(handler, "args", None)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-n",),
        ("-u", "-d", "-d"),
        ("-dddd",),
        ("-s", "1000"),
        ("--size=0",),
        ("-s", "large"),
        ("-s",),
        ("-v",),
        ("--version",),
        ("-x",),
        ("-l",),
        ("-l", "localhost"),
        ("-l", "localhost:25"),
        ("-l", ":25"),
        ("-l", "localhost:"),
        ("-l", ":"),
        ("-l", ""),
        ("-l", "::1:25"),
        ("-l", "[::1]:25"),
        ("-l", "localhost:smtp"),
        ("-l", "localhost:-1"),
        ("--listen", "0.0.0.0:2525"),
        ("-c", BARE),
        ("-c", BARE, "argument"),
        ("-c", TELLING),
        ("-c", TELLING, "one", "two"),
        ("-n", "-c", TELLING, "wrong"),
        ("-c", f"{__name__}.Nobody"),
        ("-c", "no.such.module.Handler"),
        ("-c", "Handler"),
        ("stdout",),
        ("stderr",),
        ("stdin",),
        ("stdout", "stderr"),
        ("--smtpscert", "x"),
        ("--smtpskey", "x"),
        ("--tlscert", "x"),
        ("--tlskey", "x"),
        ("--tlscert", "/nowhere/cert", "--tlskey", __file__),
        ("--tlscert", __file__, "--tlskey", "/nowhere/key"),
        ("--smtpscert", "/nowhere/cert", "--smtpskey", __file__),
        ("--smtpscert", __file__, "--smtpskey", "/nowhere/key"),
        ("--tlscert", __file__, "--tlskey", __file__, "--no-requiretls"),
        ("--smtpsc", __file__, "--smtpsk", __file__),
    ],
)
def test_arguments_are_understood_alike(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [parsed(module, arguments, capsys) for module in both()]
    assert outcomes[0] == outcomes[1]


def test_handlers_of_the_original_have_other_names_here(capsys: pytest.CaptureFixture[str]) -> None:
    for root, module in zip(ROOTS, both(), strict=True):
        for name, arguments in (("Sink", ()), ("Sink", ("x",)), ("Proxy", ("x",)), ("Mailbox", ())):
            outcome = parsed(module, ("-c", f"{root}.handlers.{name}", *arguments), capsys)
            if not arguments and name == "Sink":
                assert outcome[1] == "Sink"
            else:
                assert outcome[0] == 2
                assert outcome[2][0].endswith(
                    {
                        "Sink": "error: Sink handler does not accept arguments",
                        "Proxy": f"error: Handler class {root}.handlers takes no arguments",
                        "Mailbox": "error: The directory for the maildir is required",
                    }[name]
                )


# -- Privileges --------------------------------------------------------------------------------------------


needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs users and signals of POSIX")


def fail(*_: object) -> None:
    raise PermissionError("no")


@needs_posix
def test_who_cannot_become_nobody_is_told(
    root: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_loop: Any
) -> None:
    for name in ("setuid", "setgid", "initgroups"):
        monkeypatch.setattr(os, name, fail)
    assert status_of(root, ("-l", f"127.0.0.1:{free_port()}")) == 1
    assert capsys.readouterr().err == 'Cannot setuid "nobody"; try running with -n option.\n'


@needs_posix
def test_where_there_are_no_users_one_is_told(
    root: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_loop: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pwd", None)
    if root == REAL:
        monkeypatch.setattr(f"{REAL}.main.pwd", None)
    assert status_of(root, ("-l", f"127.0.0.1:{free_port()}")) == 1
    assert capsys.readouterr().err == 'Cannot import module "pwd"; try running with -n option.\n'


def status_of(root: str, arguments: tuple[str, ...]) -> Any:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"{root}.main").main(arguments)
    return end.value.code


def test_privileges_are_dropped_when_the_port_is_bound(monkeypatch: pytest.MonkeyPatch, own_loop: Any) -> None:
    # docs/migrating.md, command-line: the original does it before, and cannot have port 25.
    main = importlib.import_module(f"{OURS}.main")
    port = free_port()
    was_bound = []

    def drop() -> None:
        with socket.socket() as one:
            was_bound.append(one.connect_ex(("127.0.0.1", port)) == 0)

    monkeypatch.setattr(main, "drop_privileges", drop)
    main.main(("-l", f"127.0.0.1:{port}"))
    assert was_bound == [True]


# -- In the current loop -----------------------------------------------------------------------------------


@pytest.fixture
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The current loop of this thread; it stops when it has served for a moment."""
    loop = asyncio.new_event_loop()
    create_server = loop.create_server

    async def create_server_and_stop(*args: Any, **kwargs: Any) -> Any:
        server = await create_server(*args, **kwargs)
        loop.call_later(0.01, loop.stop)
        return server

    loop.create_server = create_server_and_stop  # type: ignore[method-assign]
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize("debug", [0, 1, 2, 3])
def test_the_current_loop_is_used_and_closed(root: str, own_loop: Any, debug: int) -> None:
    logging.getLogger("mail.log").setLevel(logging.NOTSET)
    arguments = ("-n", "-l", f"127.0.0.1:{free_port()}", *["-d"] * debug)
    importlib.import_module(f"{root}.main").main(arguments)
    assert own_loop.is_closed()
    assert own_loop.get_debug() == (debug > 2)
    expected = {0: logging.NOTSET, 1: logging.INFO, 2: logging.DEBUG, 3: logging.DEBUG}
    assert logging.getLogger("mail.log").level == expected[debug]


def test_a_port_that_is_taken_is_an_error(root: str, own_loop: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        importlib.import_module(f"{root}.main").main(("-n", "-l", f"127.0.0.1:{taken.getsockname()[1]}"))


# -- Whole runs --------------------------------------------------------------------------------------------

LISTENING = r"Server is listening on 127\.0\.0\.1:"


def command(root: str, port: int, *arguments: str) -> tuple[str, ...]:
    # The original's name, so that `-W error` does not stumble over what it deprecates on new Pythons.
    return ("-W", "default", "-m", root, "-n", "-d", "-l", f"127.0.0.1:{port}", *arguments)


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_message_is_printed_and_a_signal_ends_it(root: str, number: signal.Signals) -> None:
    port = free_port()
    with running(*command(root, port, "-u")) as process:
        process.err.wait_for(LISTENING)
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.ehlo("c.example")
            assert client.has_extn("smtputf8")
            assert not client.has_extn("size")
            client.sendmail("alice@example.org", ["bob@example.com"], "Subject: x\n\nText")
        process.signal(number)
        status = process.wait()
        expected = 0 if (root, number) != (REAL, signal.SIGTERM) else -signal.SIGTERM  # command-line
        assert status == expected
        lines = process.out.text.splitlines()
    assert lines[0] == "---------- MESSAGE FOLLOWS ----------"
    assert lines[-1] == "------------ END MESSAGE ------------"
    assert lines[-3:-1] == ["", "Text"]


def test_a_handler_gets_its_arguments(root: str) -> None:
    port = free_port()
    with running(*command(root, port, "-s", "1000", "-c", TELLING, "one", "two"), cwd=PROJECT) as process:
        process.err.wait_for(LISTENING)
        with Talk(port) as client:
            assert "SIZE 1000" in client.ask("EHLO c.example")
            assert client.ask("NOOP") == "250 one two"
            assert client.send("Text") == "250 6"


@needs_posix
def test_a_connection_that_is_open_is_closed_at_the_end() -> None:
    # docs/migrating.md, command-line: the original leaves its task pending, and says so.
    port = free_port()
    with running(*command(OURS, port)) as process:
        process.err.wait_for(LISTENING)
        with Talk(port) as client:
            client.ask("EHLO c.example")
            process.signal(signal.SIGINT)
            assert client.hear() in {"", "421 4.3.2 Service shutting down"}
            assert process.wait() == 0
        assert "destroyed" not in process.err.text


def test_starttls_is_demanded_unless_told_otherwise(
    root: str, tmp_path: Path, client_context: ssl.SSLContext, authority: trustme.CA
) -> None:
    certificate = authority.issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    for extra, answer in (((), "530 Must issue a STARTTLS command first"), (("--no-requiretls",), "250 OK")):
        port = free_port()
        with running(*command(root, port, "--tlscert", str(cert), "--tlskey", str(key), *extra)) as process:
            process.err.wait_for(LISTENING)
            with Talk(port) as client:
                assert "250-STARTTLS" in client.ask("EHLO c.example")
                assert client.ask("MAIL FROM:<a@x.example>") == answer
                client.start_tls(client_context)
                client.ask("EHLO c.example")
                assert client.ask("MAIL FROM:<a@x.example>") == "250 OK"
    port = free_port()
    with running(*command(root, port, "--smtpscert", str(cert), "--smtpskey", str(key))) as process:
        process.err.wait_for(LISTENING)
        with Talk(port, context=client_context) as client:
            assert client.greeting.startswith("220 ")
