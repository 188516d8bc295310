"""The classic command line: ``ehlo -n -c package.MyHandler arg1 arg2``, or the same after ``ehlo serve``.

Its options, defaults and messages are those that programs of this kind have had since Python's smtpd, with three
differences: sizes are limited by default, SIGTERM and SIGINT end it in order, and root's privileges are dropped after
the bind and not before, so that port 25 can be had.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import encodings.idna  # noqa: F401 - see drop_privileges
import importlib.util
import logging
import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ehlo import __version__
from ehlo.controller import HANG_TIMEOUT, PORT, WORKER_READY_TIMEOUT, serve, serve_workers
from ehlo.errors import EhloError
from ehlo.net.foreground import (
    LOOPS,
    CannotListen,
    event_loop,
    log_to_stderr,
    open_sockets,
    parse_address,
    serve_until_signal,
)
from ehlo.net.systemd import take_sockets
from ehlo.settings import DATA_SIZE_DEFAULT, Settings

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from ehlo.controller import SMTPServer

DEFAULT_CLASS = "ehlo.handlers.Debugging"
UNPRIVILEGED = "nobody"


class _WorkersParser(argparse.ArgumentParser):
    """What is wrong is said by the supervisor, once for all workers; the status is that of other wrong arguments."""

    def error(self, message: str) -> NoReturn:
        """Hand it over."""
        raise SystemExit(2) from ValueError(message)


def build_parser(cls: type[argparse.ArgumentParser] = argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The options."""
    parser = cls(
        prog="ehlo serve",
        description="An SMTP server that gives the mail it receives to a handler of yours.",
        epilog="SIGINT and SIGTERM let open transactions finish first; a second one does not.",
        allow_abbrev=False,
    )
    option = parser.add_argument
    option("-v", "--version", action="version", version=f"ehlo {__version__}")
    option(
        "-n",
        "--nosetuid",
        dest="setuid",
        action="store_false",
        help=f"stay who you are; without it, become the user {UNPRIVILEGED!r} once the port is bound and the "
        "certificates are read, which only root can",
    )
    option(
        "-c",
        "--class",
        dest="classpath",
        metavar="CLASSPATH",
        default=DEFAULT_CLASS,
        help="the handler's class, as package.module.Class (%(default)s); it is imported before privileges are "
        "dropped, and made after that",
    )
    option(
        "--config",
        metavar="FILE",
        type=Path,
        help="settings from a file of TOML; options given here go before it",
    )
    option(
        "-s",
        "--size",
        type=int,
        help=f"largest message in octets, announced by SIZE; 0 is no limit ({DATA_SIZE_DEFAULT})",
    )
    option("-u", "--smtputf8", action="store_true", help="offer SMTPUTF8 (RFC 6531)")
    option(
        "-d",
        "--debug",
        action="count",
        default=0,
        help="log more to stderr: once for sessions and messages, twice for details, three times for asyncio's too",
    )
    option(
        "-l",
        "--listen",
        metavar="[HOST][:PORT]",
        nargs="?",
        help=f"where to listen (localhost:{PORT}); IPv6 as in [::1]:25, every address as in *:25",
    )
    option("--smtpscert", metavar="FILE", type=Path, help="certificate for SMTPS: TLS from the first octet")
    option("--smtpskey", metavar="FILE", type=Path, help="its key")
    option("--tlscert", metavar="FILE", type=Path, help="certificate for STARTTLS")
    option("--tlskey", metavar="FILE", type=Path, help="its key")
    option(
        "--no-requiretls",
        dest="requiretls",
        action="store_false",
        help="serve clients that do not say STARTTLS too; by default a server that has it demands it",
    )
    option(
        "--workers",
        metavar="N",
        type=int,
        help="serve with N processes, and start another one for each that dies; SIGHUP replaces them one by one, by "
        "processes that have read code and certificates anew; without it, this process serves by itself",
    )
    option(
        "--ready-timeout",
        metavar="SECONDS",
        type=float,
        default=WORKER_READY_TIMEOUT,
        help="within which a worker must accept connections (%(default)g)",
    )
    option(
        "--hang-timeout",
        metavar="SECONDS",
        type=float,
        default=HANG_TIMEOUT,
        help="after which a worker is killed whose event loop does not turn (%(default)g); 0: never",
    )
    option("--loop", choices=LOOPS, default="auto", help="event loop; auto: uvloop where it is installed (%(default)s)")
    option("classargs", metavar="CLASSARGS", nargs="*", help="for the handler's class method from_cli")
    return parser


OWN_OPTIONS = frozenset(
    "-n --nosetuid -c --class -s --size -u --smtputf8 -d --debug -l --listen "  # noqa: SIM905
    "--smtpscert --smtpskey --tlscert --tlskey --no-requiretls --config --workers --loop "
    "--ready-timeout --hang-timeout".split()
)


def selects_classic(argument: str) -> bool:
    """Whether this, as the first argument of ``ehlo``, means this command line: its own options do."""
    return (argument.partition("=")[0] if argument.startswith("--") else argument[:2]) in OWN_OPTIONS


def main(args: Sequence[str] | None = None) -> int:
    """Run until a signal comes, and return the exit status.  ``args`` None: those of the process.

    ``SystemExit`` for ``--help``, ``--version`` and what is wrong with the arguments.
    """
    parser = build_parser()
    options = parser.parse_args(args)
    try:
        host, port = parse_address(options.listen or "", PORT)
    except ValueError as error:
        parser.error(str(error))
    if (options.size or 0) < 0:
        parser.error(f"Invalid size: {options.size}")
    if options.loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        parser.error("uvloop is not installed")
    if options.workers is not None and options.workers < 1:
        parser.error(f"Invalid number of workers: {options.workers}")
    if options.workers is not None and sys.platform == "win32":
        parser.error("--workers needs POSIX: Windows hands no listening sockets over")
    _set_up_log(options)
    try:
        if options.workers is not None:
            arguments = sys.argv[1:] if args is None else [*args]
            _run_workers(parser, arguments, options, host, port)
        else:
            _run(parser, options, host, port)
    except (CannotListen, EhloError) as error:  # the latter is of workers that do not come up
        return _complain(f"ehlo: {error}", getattr(error, "status", 1))
    except PrivilegesError as error:
        return _complain(str(error))
    return 0


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace, host: str | None, port: int) -> None:
    application = _Application(parser, options)
    # False would be "no"; None leaves it to PYTHONASYNCIODEBUG.
    with (
        event_loop(options.loop, debug=options.debug > 2 or None) as runner,
        contextlib.ExitStack() as sockets,
    ):
        bound = _sockets_of_systemd(parser, options) or runner.run(open_sockets(host, port))
        for one in bound:
            sockets.enter_context(one)
        runner.run(serve_until_signal(application.make_server(bound), _say_nothing))


def _run_workers(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str],
    options: argparse.Namespace,
    host: str | None,
    port: int,
) -> None:
    """The supervisor keeps its privileges: it speaks with nobody, and its next workers need them for what they read."""
    try:
        workers = serve_workers(
            f"{__name__}:make_worker",
            host,
            port,
            workers=options.workers,
            arguments=arguments,
            sockets=_sockets_of_systemd(parser, options),
            loop=options.loop,
            ready_timeout=options.ready_timeout,
            hang_timeout=options.hang_timeout or None,
        )
    except ValueError as error:
        parser.error(str(error))
    with event_loop("asyncio") as runner:
        runner.run(serve_until_signal(workers, _say_nothing))


def _sockets_of_systemd(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[socket.socket] | None:
    try:
        taken = take_sockets()
    except OSError as error:
        parser.error(f"What systemd handed over is no socket: {error}")
    if taken and options.listen is not None:
        parser.error("--listen is not for a service that gets its sockets from systemd")
    return taken


def make_worker(sockets: Sequence[socket.socket], *arguments: str) -> SMTPServer:
    """The application of ``ehlo serve --workers``; ``arguments`` are those of the command."""
    parser = build_parser(_WorkersParser)
    options = parser.parse_args(arguments)
    _set_up_log(options)
    if options.debug > 2:
        asyncio.get_running_loop().set_debug(True)
    try:
        return _Application(parser, options).make_server(sockets)
    except PrivilegesError as error:
        raise SystemExit(str(error)) from None


class _Application:
    """What the options say: first what needs privileges, then the server.  ``SystemExit`` for what is wrong."""

    def __init__(self, parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
        self._parser = parser
        self._options = options
        self._parameters = _read_config(parser, options.config)
        self._handler_class = _import_class(parser, options)
        self._smtps_context = _load_context(parser, "smtps", options.smtpscert, options.smtpskey)
        self._tls_context = _load_context(parser, "tls", options.tlscert, options.tlskey)

    def make_server(self, sockets: Sequence[socket.socket]) -> SMTPServer:
        """A server for sockets that are bound, without privileges from now on; ``PrivilegesError``."""
        options = self._options
        if options.setuid:
            drop_privileges()
        handler = _make_handler(self._parser, self._handler_class, options)
        return serve(handler, sockets=sockets, ssl_context=self._smtps_context, settings=self._settings())

    def _settings(self) -> Settings:
        """Those of the options, then of the file, then what this command has for defaults."""
        options = self._options
        parameters = {
            "enable_SMTPUTF8": False,
            "require_starttls": self._tls_context is not None,
            **self._parameters,
            "tls_context": self._tls_context,
        }
        if options.size is not None:
            parameters["data_size_limit"] = options.size
        if options.smtputf8:
            parameters["enable_SMTPUTF8"] = True
        if not options.requiretls:
            parameters["require_starttls"] = False
        try:
            return Settings(**parameters)
        except (TypeError, ValueError) as error:
            self._parser.error(f"{options.config}: {error}" if options.config is not None else str(error))


class PrivilegesError(Exception):
    """Privileges cannot be dropped; the text says what to do."""


def drop_privileges() -> None:
    """Become ``nobody``: user, group and supplementary groups.  ``PrivilegesError`` if that cannot be.

    What Python would import later on must be imported by then: ``nobody`` may not be able to read it.
    """
    try:
        import pwd  # noqa: PLC0415 - not on Windows
    except ImportError:
        raise PrivilegesError('Cannot import module "pwd"; try running with -n option.') from None
    try:
        user = pwd.getpwnam(UNPRIVILEGED)
        if {os.getuid(), os.geteuid()} == {user.pw_uid}:
            return
        # The groups first: who is nobody may not change them.
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except (KeyError, OSError):
        raise PrivilegesError(f'Cannot setuid "{UNPRIVILEGED}"; try running with -n option.') from None


def _import_class(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Any:
    module, dot, name = options.classpath.rpartition(".")
    if not dot:
        parser.error(f"Handler class {options.classpath} needs its module, as in package.module.{name}")
    # As `python -m` does, which is not how every `ehlo` was started.
    if not sys.flags.safe_path and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        parser.error(f"Cannot import handler class {options.classpath}: {error}")
    if found is None:
        parser.error(f"Cannot import handler class {options.classpath}: {module} has no {name}")
    if options.classargs and not hasattr(found, "from_cli"):
        parser.error(f"Handler class {module} takes no arguments")
    return found


def _read_config(parser: argparse.ArgumentParser, maybe_path: Path | None) -> dict[str, Any]:
    if maybe_path is None:
        return {}
    from ehlo.config import ConfigError, read_parameters  # noqa: PLC0415 - most have no such file

    try:
        return read_parameters(maybe_path)
    except OSError as error:
        parser.error(f"Cannot read {maybe_path}: {error.strerror}")
    except ConfigError as error:
        parser.error(str(error))


def _make_handler(parser: argparse.ArgumentParser, handler_class: Any, options: argparse.Namespace) -> object:
    if hasattr(handler_class, "from_cli"):
        return handler_class.from_cli(parser, *options.classargs)
    return handler_class()


def _load_context(
    parser: argparse.ArgumentParser, prefix: str, maybe_cert: Path | None, maybe_key: Path | None
) -> ssl.SSLContext | None:
    if maybe_cert is None and maybe_key is None:
        return None
    if maybe_cert is None or maybe_key is None:
        parser.error(f"--{prefix}cert and --{prefix}key must be specified together")
    for what, path in (("Cert", maybe_cert), ("Key", maybe_key)):
        if not path.exists():
            parser.error(f"{what} file {path} not found")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(maybe_cert, maybe_key)
    except OSError as error:  # ssl.SSLError is one
        parser.error(f"Cannot use {maybe_cert} and {maybe_key}: {error}")
    return context


def _set_up_log(options: argparse.Namespace) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(options.debug, 2)]
    log_to_stderr(level, shows_process=options.workers is not None)


def _say_nothing() -> None:
    """The log says it: "listening on ..."."""


def _complain(text: str, status: int = 1) -> int:
    print(text, file=sys.stderr)
    return status
