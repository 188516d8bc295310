"""aiosmtpd's command line: ``python -m ehlo.compat.aiosmtpd -n -c package.MyHandler arg1 arg2``.

Options, defaults, messages and exit codes are aiosmtpd's, and so is the loop: the current one, that others may stop.
What differs is in docs/migrating.md, ``command-line``: SIGTERM ends it as SIGINT does, connections that are open then
are closed, and root's privileges, its groups too, are dropped after the bind, so that port 25 can be had.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ehlo.compat.aiosmtpd import __version__, _get_or_new_eventloop
from ehlo.compat.aiosmtpd.smtp import DATA_SIZE_DEFAULT, SMTP
from ehlo.main import PrivilegesError, drop_privileges

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 8025
DEFAULT_CLASS = "ehlo.compat.aiosmtpd.handlers.Debugging"
PROGRAM = "aiosmtpd" if "__main__.py" in sys.argv[0] else sys.argv[0]


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog=PROGRAM, description="An RFC 5321 SMTP server with extensions.")
    option = parser.add_argument
    option("-v", "--version", action="version", version=f"%(prog)s {__version__}")
    option(
        "-n",
        "--nosetuid",
        dest="setuid",
        action="store_false",
        help="stay who you are; without it, become the user nobody, which only root can",
    )
    option(
        "-c",
        "--class",
        dest="classpath",
        metavar="CLASSPATH",
        default=DEFAULT_CLASS,
        help="the handler's class, as package.module.Class (%(default)s)",
    )
    option(
        "-s",
        "--size",
        metavar="SIZE",
        type=int,
        help=f"largest message in octets, announced by SIZE (no limit; in a program it is {DATA_SIZE_DEFAULT})",
    )
    option("-u", "--smtputf8", action="store_true", help="offer SMTPUTF8 (RFC 6531)")
    option("-d", "--debug", action="count", default=0, help="log more, up to three times")
    option(
        "-l",
        "--listen",
        metavar="[HOST][:PORT]",
        nargs="?",
        help=f"where to listen ({DEFAULT_HOST}:{DEFAULT_PORT})",
    )
    for prefix, what in (("smtps", "SMTPS: TLS from the first octet"), ("tls", "STARTTLS")):
        option(f"--{prefix}cert", metavar="CERTFILE", type=Path, help=f"certificate for {what}")
        option(f"--{prefix}key", metavar="KEYFILE", type=Path, help="its key")
    option(
        "--no-requiretls",
        dest="requiretls",
        action="store_false",
        help="where there is STARTTLS, serve clients that do not say it too",
    )
    option("classargs", metavar="CLASSARGS", nargs="*", default=(), help="for the handler's class method from_cli")
    return parser


def parseargs(args: Sequence[str] | None = None) -> tuple[ArgumentParser, Namespace]:
    """Read the arguments, None are those of the process; make the handler.  ``SystemExit`` for what is wrong."""
    parser = _parser()
    parsed = parser.parse_args(args)
    parsed.handler = _make_handler(parser, parsed)
    parsed.host, parsed.port = _read_listen(parser, parsed.listen)
    for prefix in ("smtps", "tls"):
        maybe_cert, maybe_key = getattr(parsed, f"{prefix}cert"), getattr(parsed, f"{prefix}key")
        if bool(maybe_cert) != bool(maybe_key):
            parser.error(f"--{prefix}cert and --{prefix}key must be specified together")
        for what, maybe_path in (("Cert", maybe_cert), ("Key", maybe_key)):
            if maybe_path and not maybe_path.exists():
                parser.error(f"{what} file {maybe_path} not found")
    return parser, parsed


def _make_handler(parser: ArgumentParser, parsed: Namespace) -> Any:
    path, _, name = parsed.classpath.rpartition(".")
    handler_class = getattr(import_module(path), name)
    if hasattr(handler_class, "from_cli"):
        return handler_class.from_cli(parser, *parsed.classargs)
    if parsed.classargs:
        parser.error(f"Handler class {path} takes no arguments")
    return handler_class()


def _read_listen(parser: ArgumentParser, maybe_listen: str | None) -> tuple[str, int]:
    host, colon, port = (maybe_listen or "").rpartition(":")
    if not colon:
        host, port = port, ""
    # Without a colon, nothing is a name too: that of all addresses.
    if not host and (colon or maybe_listen is None):
        host = DEFAULT_HOST
    try:
        return host, int(port or DEFAULT_PORT)
    except ValueError:
        parser.error(f"Invalid port number: {port}")


def main(args: Sequence[str] | None = None) -> None:
    """Serve in the current loop until it stops, by SIGINT, SIGTERM or its ``stop``; then close it.

    ``args`` None: those of the process.  ``SystemExit`` for ``--help``, ``--version`` and what is wrong.
    """
    _, options = parseargs(args)
    tls_context = _load_context(options.tlscert, options.tlskey)
    smtps_context = _load_context(options.smtpscert, options.smtpskey)
    logging.basicConfig(level=logging.ERROR)
    log = logging.getLogger("mail.log")
    loop = _get_or_new_eventloop()
    if options.debug:
        log.setLevel(logging.INFO if options.debug == 1 else logging.DEBUG)
    if options.debug > 2:
        loop.set_debug(enabled=True)
    sessions: WeakSet[SMTP] = WeakSet()

    def factory() -> SMTP:
        session = SMTP(
            options.handler,
            data_size_limit=options.size,
            enable_SMTPUTF8=options.smtputf8,
            tls_context=tls_context,
            require_starttls=options.requiretls,
        )
        sessions.add(session)
        return session

    log.debug("Attempting to start server on %s:%s", options.host, options.port)
    server = loop.run_until_complete(
        loop.create_server(factory, host=options.host, port=options.port, ssl=smtps_context)
    )
    if options.setuid:
        try:
            drop_privileges()
        except PrivilegesError as error:
            sys.stderr.write(f"{error}\n")
            server.close()
            sys.exit(1)
    log.debug("server_loop = %s", server)
    log.info("Server is listening on %s:%s", options.host, options.port)
    # Not on Windows, and not in a thread that is not the first.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, loop.stop)
    log.debug("Starting asyncio loop")
    with suppress(KeyboardInterrupt):
        loop.run_forever()
    server.close()
    log.debug("Completed asyncio loop")
    loop.run_until_complete(_end(sessions))
    loop.run_until_complete(server.wait_closed())
    loop.close()


def _load_context(maybe_cert: Path | None, maybe_key: Path | None) -> ssl.SSLContext | None:
    if maybe_cert is None or maybe_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(maybe_cert, maybe_key)
    return context


async def _end(sessions: WeakSet[SMTP]) -> None:
    """Close the connections that are open, and let nothing of them be pending when the loop is closed."""
    for session in list(sessions):
        if session.transport is not None:
            session.transport.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    main()
