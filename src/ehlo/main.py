"""The classic command line: ``ehlo -n -c package.MyHandler arg1 arg2``, or the same after ``ehlo serve``.

Its options, defaults and messages are those that programs of this kind have had since Python's smtpd, with three
differences: sizes are limited by default, SIGTERM and SIGINT end it in order, and root's privileges are dropped after
the bind and not before, so that port 25 can be had.
"""

from __future__ import annotations

import argparse
import contextlib
import encodings.idna  # noqa: F401 - see drop_privileges
import importlib
import logging
import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehlo import __version__
from ehlo.controller import PORT, serve
from ehlo.net.foreground import (
    CannotListen,
    event_loop,
    log_to_stderr,
    open_sockets,
    parse_address,
    serve_until_signal,
)
from ehlo.settings import DATA_SIZE_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_CLASS = "ehlo.handlers.Debugging"
UNPRIVILEGED = "nobody"


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
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
        "-s",
        "--size",
        type=int,
        default=DATA_SIZE_DEFAULT,
        help="largest message in octets, announced by SIZE; 0 is no limit (%(default)s)",
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
    option("classargs", metavar="CLASSARGS", nargs="*", help="for the handler's class method from_cli")
    return parser


OWN_OPTIONS = frozenset(
    "-n --nosetuid -c --class -s --size -u --smtputf8 -d --debug -l --listen "  # noqa: SIM905
    "--smtpscert --smtpskey --tlscert --tlskey --no-requiretls".split()
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
    if options.size < 0:
        parser.error(f"Invalid size: {options.size}")
    handler_class = _import_class(parser, options)
    smtps_context = _load_context(parser, "smtps", options.smtpscert, options.smtpskey)
    tls_context = _load_context(parser, "tls", options.tlscert, options.tlskey)
    log_to_stderr((logging.WARNING, logging.INFO, logging.DEBUG)[min(options.debug, 2)])
    try:
        # False would be "no"; None leaves it to PYTHONASYNCIODEBUG.
        with event_loop(debug=options.debug > 2 or None) as runner, contextlib.ExitStack() as sockets:
            bound = [sockets.enter_context(one) for one in runner.run(open_sockets(host, port))]
            if options.setuid:
                drop_privileges()
            server = serve(
                _make_handler(parser, handler_class, options),
                sockets=bound,
                ssl_context=smtps_context,
                tls_context=tls_context,
                require_starttls=tls_context is not None and options.requiretls,
                data_size_limit=options.size or None,
                enable_SMTPUTF8=options.smtputf8,
            )
            runner.run(serve_until_signal(server, _say_nothing))
    except CannotListen as error:
        return _complain(f"ehlo: {error}")
    except PrivilegesError as error:
        return _complain(str(error))
    return 0


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


def _say_nothing() -> None:
    """The log says it: "listening on ..."."""


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 1
