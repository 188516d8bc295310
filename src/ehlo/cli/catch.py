"""``ehlo catch``: a server that takes every mail and sends none on, with a page to look at it.

For whoever writes a program that sends mail.  It takes what a strict server would not, any login and bare newlines, and
says so.  Without the packages of the page it shows the mail in the terminal.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import ssl
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, cast

from ehlo import __version__
from ehlo.cli import terminal
from ehlo.cli.catch_options import CatchOptions, build_parser, read_options
from ehlo.cli.summary import glance, summarize
from ehlo.inbox.errors import StoreUnusable
from ehlo.inbox.logs import log_json_to_stderr
from ehlo.inbox.server import SMTP_PORT, InboxServer, MissingExtra
from ehlo.inbox.store import Store
from ehlo.inbox.users import UserFile
from ehlo.net.foreground import CannotListen, event_loop, log_to_stderr, open_sockets, serve_until_signal

if TYPE_CHECKING:
    import asyncio

    from ehlo.inbox.server import Address
    from ehlo.report.dns import SystemResolver, Zone
    from ehlo.session import Envelope, Session


class Printer:
    """Shows each message on a stream, by one write, as soon as it is stored.

    It is called in a thread: looking into a large message must not keep others waiting.
    """

    def __init__(self, stream: TextIO, *, colour: str = "auto", is_brief: bool = False) -> None:
        self._stream = stream
        self._colour = colour
        self._is_brief = is_brief
        self._count = 0
        self._turn = threading.Lock()

    def __call__(self, session: Session, envelope: Envelope) -> None:
        """Show a message."""
        look = glance if self._is_brief else summarize
        summary = look(envelope.content or b"")
        when = time.strftime("%H:%M:%S")
        style = terminal.style_of(self._stream, self._colour)
        with self._turn:
            self._count += 1
            if self._is_brief:
                shown = terminal.brief(style, when, envelope, summary)
            else:
                shown = terminal.full(style, f"{self._count} at {when}", session, envelope, summary)
            # The reader of a pipe may have gone, the disk be full: whoever looks at the page does not mind.
            with contextlib.suppress(OSError):
                self._stream.write(shown)
                self._stream.flush()


class Identity(NamedTuple):
    """Our certificate, None without TLS, and how to trust it; whose logins will do, None: everybody's.

    ``maybe_resolver`` is who is asked about others.
    """

    maybe_context: ssl.SSLContext | None
    maybe_users: UserFile | None
    advice: str
    maybe_resolver: SystemResolver | Zone | None = None


def main(args: Sequence[str]) -> int:
    """Run until a signal comes, and return the exit status.

    ``SystemExit`` for ``--help``, ``--version`` and what is wrong with the arguments.
    """
    parser = build_parser()
    try:
        options = read_options(parser.parse_args(args))
        identity = find_identity(options)._replace(maybe_resolver=find_resolver(options))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except ImportError as error:
        return _complain(error)
    terminal.never_fail_to_encode(sys.stdout)
    if options.logs_json:
        log_json_to_stderr(logging.INFO)
    else:
        log_to_stderr(logging.WARNING)
    try:
        with Store(options.maybe_store, retention=options.retention) as store, event_loop() as runner:
            count = _catch(options, identity, store, runner)
        if sys.stdout.isatty():
            print()  # the terminal has put ^C where we are
        print(f"Caught {count} message{'s' * (count != 1)}.", flush=True)
    except (CannotListen, StoreUnusable, MissingExtra) as error:
        return _complain(error)
    except BrokenPipeError:
        # Nobody looks any more, as in `ehlo | head`.  Python would try once more, at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def find_identity(options: CatchOptions) -> Identity:
    """Certificate and users.  ``OSError``, ``ValueError`` or ``ImportError`` with a line for the user."""
    maybe_users = None if options.maybe_users is None else read_users(options.maybe_users)
    if options.tls is False:
        return Identity(None, maybe_users, "")
    if options.tls is True:
        from ehlo.inbox.certificate import own_certificate  # noqa: PLC0415 - needs cryptography

        certificate = own_certificate(hosts=options.hosts)
        return Identity(certificate.context(), maybe_users, certificate.how_to_trust())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.tls)
    except OSError as error:  # ssl.SSLError is one
        raise OSError(f"cannot use {options.tls}: {error.strerror or error}") from error
    return Identity(context, maybe_users, "")


def find_resolver(options: CatchOptions) -> SystemResolver | Zone | None:
    """Who is asked about DKIM and so on.  ``OSError``, ``ValueError`` or ``ImportError`` with a line for the user."""
    if options.maybe_zone is None and not options.asks_dns:
        return None
    from ehlo.report.dns import SystemResolver, Zone  # noqa: PLC0415 - few ask for it

    if options.maybe_zone is None:
        try:
            return SystemResolver()
        except ImportError as error:
            raise ImportError(f"--dns needs {error.name}: pip install 'ehlo[report]'") from error
    try:
        return Zone(options.maybe_zone.read_text(encoding="utf-8"))
    except OSError as error:
        raise OSError(f"--zone {options.maybe_zone}: {error.strerror}") from error
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"--zone {options.maybe_zone}: {error}") from None


def read_users(path: Path) -> UserFile:
    """The users of ``--auth``.  ``OSError`` or ``ValueError`` with a line for the user."""
    try:
        return UserFile(path)
    except OSError as error:
        raise OSError(f"--auth {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"--auth {error}") from None


def _catch(options: CatchOptions, identity: Identity, store: Store, runner: asyncio.Runner) -> int:
    """Serve; how many messages came."""
    try:
        return _serve(options, identity, store, runner, options.web)
    except MissingExtra as error:
        if options.must_have_page:
            raise
        return _serve(options, identity, store, runner, None, maybe_missing=error)


def _serve(
    options: CatchOptions,
    identity: Identity,
    store: Store,
    runner: asyncio.Runner,
    web: Address | None,
    *,
    maybe_missing: MissingExtra | None = None,
) -> int:
    is_brief = options.is_quiet or (web is not None and not options.is_verbose)
    printer = None if options.logs_json else Printer(sys.stdout, colour=options.colour, is_brief=is_brief)
    server = InboxServer(
        store,
        smtp=options.smtp,
        smtps=options.smtps,
        web=web,
        tls_context=identity.maybe_context,
        auth="any" if identity.maybe_users is None else "users",
        users=identity.maybe_users,
        token=options.maybe_token,
        hosts=options.hosts,
        release=options.release,
        max_size=options.maybe_size_limit,
        # Without a page nobody searches, unless the file is looked at later.
        is_indexed=web is not None or store.is_persistent,
        observer=printer,
        faults=options.maybe_faults,
        resolver=identity.maybe_resolver,
    )

    def announce() -> None:
        print("\n".join(announcement(options, server, identity.advice, maybe_missing)), flush=True)
        if options.opens_browser and server.web_link is not None:
            # In a thread: some browsers return when they are closed.
            threading.Thread(target=webbrowser.open, args=(server.web_link,), daemon=True).start()

    try:
        runner.run(serve_until_signal(cast("Any", server), announce))
    except CannotListen as error:
        raise runner.run(_which(options, web)) or error from None
    return server.catcher.count


async def _which(options: CatchOptions, web: Address | None) -> CannotListen | None:
    """Which of the addresses cannot be had, as an error that says so and how to choose another one."""
    for option, address in (("--smtp", options.smtp), ("--smtps", options.smtps), ("--web", web)):
        if address is None:
            continue
        try:
            for bound in await open_sockets(*address):
                bound.close()
        except CannotListen as error:
            return CannotListen(f"{option} {terminal.place((address[0] or 'localhost', address[1]))}: {error}")
    return None


# What it says


def announcement(
    options: CatchOptions, server: InboxServer, advice: str, maybe_missing: MissingExtra | None
) -> Iterator[str]:
    """Where it listens, where the page is, what that means, and how to send a first message; line by line."""
    yield listening(server)
    if server.web_link is not None:
        yield from ([] if options.is_quiet else [""])
        yield f"  The inbox is at  {server.web_link}"
    if options.is_quiet or options.logs_json:
        return
    if maybe_missing is not None:
        yield from ("", "To see the mail in a browser:  pip install 'ehlo[inbox]'")
    if advice:
        yield from ("", advice)
    if options.maybe_faults is not None:
        yield from ("", f"Delivery fails on purpose: {options.maybe_faults.name}.")
    yield from ("", f"Every message ends here: it is {_kept(options, server)}, and delivered to nobody.")
    who = (
        "Any user name and password will do." if server.auth == "any" else f"Logins are those of {options.maybe_users}."
    )
    yield f"{who}  To send a first one:"
    yield from ("", f"  {_program()} send{_server_option(server)}", "", "Ctrl-C stops.", "")


def listening(server: InboxServer) -> str:
    """Where it listens."""
    tls = f", TLS on {' and '.join(server.smtps_addresses)}" if server.smtps_addresses else ""
    return f"ehlo {__version__} catches mail on {' and '.join(server.smtp_addresses)}{tls}"


def _kept(options: CatchOptions, server: InboxServer) -> str:
    if options.maybe_store is not None:
        return f"kept in {options.maybe_store}"
    return "shown" if server.web_url is None else "kept until you stop"


def _program() -> str:
    """How this program is called."""
    path = Path(sys.argv[0])
    if path.stem != "ehlo":
        return f"{'py' if os.name == 'nt' else 'python3'} -m ehlo"
    found = shutil.which("ehlo")
    return "ehlo" if found is not None and Path(found).absolute() == path.absolute() else str(path)


def _server_option(server: InboxServer) -> str:
    """What a client is told, where that is not what it does by itself."""
    host, port, *_ = server.addresses[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what a client connects to instead
    return "" if (host, port) == ("127.0.0.1", SMTP_PORT) else f" --server {terminal.place((host, port))}"


def _complain(error: Exception) -> int:
    print(f"ehlo: {error}", file=sys.stderr)
    return 1
