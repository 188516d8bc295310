"""``ehlo catch``: a server that keeps nothing, sends nothing on, and shows every message in the terminal.

For whoever writes a program that sends mail.  It takes what a strict server would not, any login and bare newlines, and
says so in the summary.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from ehlo import __version__
from ehlo.cli import terminal
from ehlo.cli.summary import summarize
from ehlo.controller import PORT, serve
from ehlo.net.foreground import CannotListen, event_loop, log_to_stderr, parse_address, serve_until_signal
from ehlo.settings import DATA_SIZE_DEFAULT, BareNewlines, Settings

if TYPE_CHECKING:
    from ehlo.session import Envelope, Session

_SIZE = re.compile(r"([0-9]+)(?:([kmg])i?b?)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class AcceptAny:
    """An authenticator to which every login, digest and token is good, so that any program can say AUTH to it."""

    async def _agree(self, _question: object, _session: Session) -> bool:
        return True

    check_password = check_digest = check_token = authorize = _agree


class Catcher:
    """The handler: shows each message on a stream, by one write, and counts.

    Its hook is a plain function, which runs in a thread: looking into a large message must not keep others waiting.
    """

    def __init__(self, stream: TextIO, *, colour: str = "auto", is_quiet: bool = False) -> None:
        self.count = 0
        self._stream = stream
        self._colour = colour
        self._is_quiet = is_quiet
        self._turn = threading.Lock()

    def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> None:
        """Show a message."""
        summary = summarize(envelope.content or b"")
        when = time.strftime("%H:%M:%S")
        style = terminal.style_of(self._stream, self._colour)
        with self._turn:
            self.count += 1
            if self._is_quiet:
                shown = terminal.brief(style, when, envelope, summary)
            else:
                shown = terminal.full(style, f"{self.count} at {when}", session, envelope, summary)
            self._stream.write(shown)
            self._stream.flush()


def build_parser() -> argparse.ArgumentParser:
    """The options of ``ehlo catch``, which are those of ``ehlo`` alone too; so its help tells what else there is."""
    parser = argparse.ArgumentParser(
        prog="ehlo",
        description="Catch mail: show every message that a program sends, and deliver none.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=_COMMANDS,
    )
    option = parser.add_argument
    option(
        "--smtp",
        metavar="[HOST]:PORT",
        default="",
        help=f"where to listen (localhost:{PORT}); every address as in *:{PORT}, IPv6 as in [::1]:{PORT}",
    )
    option("-q", "--quiet", action="store_true", help="one line for each message")
    option(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: in a terminal, unless NO_COLOR is set (%(default)s)",
    )
    option(
        "--max-size",
        metavar="SIZE",
        default=str(DATA_SIZE_DEFAULT),
        help="largest message in octets, or as in 100M; 0 is no limit (32M)",
    )
    option("--version", action="version", version=f"ehlo {__version__}")
    return parser


_COMMANDS = """\
commands:
  ehlo catch    the same as `ehlo` alone
  ehlo serve    give the mail to a handler of yours, as in
                `ehlo serve -n -c package.MyHandler`; see `ehlo serve --help`
"""


def main(args: Sequence[str]) -> int:
    """Run until a signal comes, and return the exit status.

    ``SystemExit`` for ``--help``, ``--version`` and what is wrong with the arguments.
    """
    parser = build_parser()
    options = parser.parse_args(args)
    try:
        host, port = parse_address(options.smtp, PORT)
        size_limit = parse_size(options.max_size)
    except ValueError as error:
        parser.error(str(error))
    log_to_stderr(logging.WARNING)
    _never_fail_to_encode(sys.stdout)
    catcher = Catcher(sys.stdout, colour=options.color, is_quiet=options.quiet)
    server = serve(catcher, host, port, settings=catch_settings(size_limit))

    def announce() -> None:
        say = listening if options.quiet else welcome
        print(say(server.addresses), flush=True)

    try:
        with event_loop() as runner:
            runner.run(serve_until_signal(server, announce))
        if sys.stdout.isatty():
            print()  # the terminal has put ^C where we are
        print(f"Caught {catcher.count} message{'s' * (catcher.count != 1)}.", flush=True)
    except CannotListen as error:
        print(f"ehlo: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Nobody looks any more, as in `ehlo | head`.  Python would try once more, at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def catch_settings(size_limit: int | None) -> Settings:
    """Settings of a server that refuses as little as it can."""
    return Settings(
        hostname="localhost",  # no name server is asked, and nobody is to be impressed
        data_size_limit=size_limit,
        authenticator=cast("Any", AcceptAny()),
        auth_require_tls=False,
        bare_newlines=BareNewlines.KEEP,
    )


def parse_size(text: str) -> int | None:
    """Octets of a size such as ``100M``; None, no limit, for 0.  ``ValueError`` with a line for the user."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"Invalid size: {text}")
    return int(match[1]) * _UNITS[(match[2] or "").lower()] or None


def listening(addresses: Sequence[Any]) -> str:
    """Where it listens."""
    places = " and ".join(map(terminal.place, addresses))
    return f"ehlo {__version__} catches mail on {places}"


def welcome(addresses: Sequence[Any]) -> str:
    """Where it listens, what that means, and how to send a first message."""
    host, port, *_ = addresses[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what a client connects to instead
    python = "py" if os.name == "nt" else "python3"
    return f"""\
{listening(addresses)}

Every message ends here: it is shown, and neither delivered nor kept.
Any user name and password will do.  To send a first one:

  {python} -c "import smtplib; smtplib.SMTP('{host}', {port}).sendmail(
    'me@example.com', 'you@example.com', 'Subject: Hello\\n\\nIt works.')"

or, with swaks:

  swaks --to you@example.com --server {host if ":" not in host else f"[{host}]"}:{port}

Ctrl-C stops.
"""


def _never_fail_to_encode(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
