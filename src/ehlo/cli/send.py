"""``ehlo send``: one client's mail from the shell, to try a server.  Knows options.

The message is made in ``ehlo.cli.compose`` and sent in ``ehlo.cli.sender``.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehlo.cli import terminal
from ehlo.cli.compose import RECIPIENT, SENDER, SUBJECT, Post, compose, read_eml, read_file
from ehlo.cli.sender import Outcome, Sender, Server
from ehlo.controller import PORT
from ehlo.net.foreground import parse_address, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SERVER = f"127.0.0.1:{PORT}"
PASSWORD_VARIABLE = "EHLO_PASSWORD"  # noqa: S105 - the name of a variable
_SMTP_PORT, _SMTPS_PORT, _LMTP_PORT = 25, 465, 24


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="ehlo send",
        description="Send a test message to a server.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=_EPILOG,
    )
    where = parser.add_argument_group("where to").add_argument
    where(
        "--server",
        metavar="[HOST][:PORT]",
        help=f"the server ({SERVER}); without a port 25, 465 with --tls implicit, 24 with --lmtp; or the path of a "
        "UNIX socket",
    )
    where("--lmtp", action="store_true", help="speak LMTP: a reply for each recipient")
    where(
        "--tls",
        choices=("starttls", "implicit", "none"),
        default="none",
        help="by STARTTLS, from the first octet, or not at all (%(default)s)",
    )
    where("--ca", metavar="FILE", type=Path, help="certificates to trust, in PEM, instead of the system's")
    where("--insecure", action="store_true", help="trust any certificate, and any wire with a password")
    where(
        "--auth",
        metavar="USER[:PASSWORD]",
        help=f"log in; the password had better come from --password-file, the variable {PASSWORD_VARIABLE}, or be "
        "asked for, since others can see the words of a command",
    )
    where("--password-file", metavar="FILE", help="its first line is the password")
    where("--timeout", metavar="SECONDS", type=_positive(float), default=60.0, help="for each step (%(default)g)")
    what = parser.add_argument_group("what").add_argument
    what("--from", dest="sender", metavar="ADDRESS", help=f"who sends ({SENDER}); '' is the null reverse-path")
    what(
        "--to",
        dest="recipients",
        metavar="ADDRESS",
        action="append",
        default=[],
        help=f"who gets it ({RECIPIENT}); may be repeated",
    )
    what("--subject", help=f"the subject ({SUBJECT})")
    what("--text", help="the text; @FILE takes it from a file, @- from standard input")
    what("--html", help="the same as HTML, instead of the text or as its alternative")
    what("--attach", dest="attachments", metavar="FILE", action="append", default=[], help="may be repeated")
    what("--header", dest="headers", metavar="'NAME: VALUE'", action="append", default=[], help="may be repeated")
    what("--eml", metavar="FILE", help="send this message as it is; - is standard input")
    what("--count", metavar="N", type=_positive(int), default=1, help="send so many, over one connection")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the dialogue, without credentials")
    return parser


_EPILOG = """\
exit status:
  0  everything was accepted           4  something was refused by 4yz: try again later
  1  no conversation, or it broke off  5  something was refused by 5yz
  2  the command line is wrong
"""


def main(args: Sequence[str]) -> int:
    """Send, and return an ``Outcome``.  ``SystemExit`` for ``--help`` and what is wrong with the arguments."""
    parser = build_parser()
    options = parser.parse_args(args)
    for stream in (sys.stdout, sys.stderr):
        terminal.never_fail_to_encode(stream)
    try:
        server = parse_server(options)
        maybe_context = tls_context(options)
        maybe_login = find_login(options)
        posts = make_posts(options)
    except (ValueError, OSError) as error:
        parser.error(visible(str(error)))
    sender = Sender(
        server,
        maybe_context,
        maybe_login,
        starts_tls=options.tls == "starttls",
        is_insecure=options.insecure,
        lmtp=options.lmtp,
        timeout=options.timeout,
        is_verbose=options.verbose,
    )
    try:
        return asyncio.run(sender.send(posts, options.count))
    except KeyboardInterrupt:
        return Outcome.FAILED


def parse_server(options: argparse.Namespace) -> Server:
    """The server of the options; ``ValueError`` with a line for the user."""
    text: str = SERVER if options.server is None else options.server
    if "/" in text:
        return Server("localhost", 0, text)
    default = _LMTP_PORT if options.lmtp else _SMTPS_PORT if options.tls == "implicit" else _SMTP_PORT
    maybe_host, port = parse_address(text, default)
    if maybe_host == "" or port == 0:
        raise ValueError(f"no server: {text}")
    return Server(maybe_host or "localhost", port)


def tls_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """What TLS needs; None without TLS.  ``OSError`` if the certificates cannot be read."""
    if options.tls == "none":
        if options.ca is not None:
            raise ValueError("--ca needs --tls starttls or --tls implicit")
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except OSError as error:  # ssl.SSLError is one
        raise OSError(f"cannot use {options.ca}: {error.strerror or error}") from error
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def find_login(options: argparse.Namespace) -> tuple[str, str] | None:
    """User and password; None without ``--auth``.  ``ValueError`` where there is nobody to be asked."""
    if options.auth is None:
        if options.password_file is not None:
            raise ValueError("--password-file needs --auth USER")
        return None
    user, colon, password = options.auth.partition(":")
    if colon:
        return user, password
    if options.password_file is not None:
        lines = read_file(options.password_file).decode().splitlines()
        return user, lines[0] if lines else ""
    if (maybe_password := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return user, maybe_password
    if not sys.stdin.isatty():
        raise ValueError(f"--auth: no password for {user}: set {PASSWORD_VARIABLE}, or use --password-file")
    return user, getpass.getpass(f"Password of {user}: ")


def make_posts(options: argparse.Namespace) -> Iterable[Post]:
    """The messages, the first of which is made now, so that what is wrong with them shows before there is a server."""
    if options.eml is None:
        first = compose(options, 1)
        return (first if number == 1 else compose(options, number) for number in range(1, options.count + 1))
    made_here = (options.subject, options.text, options.html, *options.attachments, *options.headers)
    if any(one is not None for one in made_here):
        raise ValueError("--eml sends a message as it is: not with --subject, --text, --html, --attach or --header")
    return [read_eml(options)] * options.count


def _positive(kind: type[int | float]) -> Any:
    """A type for argparse."""

    def parse(text: str) -> float:
        number = kind(text)
        if not 0 < number < 1e9:
            raise ValueError(text)
        return number

    parse.__name__ = "number"  # in "invalid number value"
    return parse
