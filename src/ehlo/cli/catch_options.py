"""The options of ``ehlo catch``, and what they mean.  Knows words; does nothing."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ehlo import __version__
from ehlo.inbox.faults import Scenario, parse_scenario, ready_names, scenario_of
from ehlo.inbox.records import Retention
from ehlo.inbox.server import SMTP_PORT, WEB_PORT, Address
from ehlo.net.foreground import parse_address
from ehlo.settings import DATA_SIZE_DEFAULT

TOKEN_VARIABLE = "EHLO_INBOX_TOKEN"  # noqa: S105 - the name of a variable
ANY_LOGIN = "any"

_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:\[\]/]+):[0-9]{1,5}")
_SIZE = re.compile(r"([0-9]+)(?:([kmg])i?b?)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_AGE = re.compile(r"([0-9]+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class CatchOptions:
    """What the words mean.

    ``web`` None is no page; ``must_have_page``: it was asked for.  ``tls`` True is a certificate of our own, a path one
    in a file.  ``maybe_size_limit`` in octets.  ``hosts`` are further names of the page.
    """

    smtp: Address
    smtps: Address | None
    web: Address | None
    must_have_page: bool
    opens_browser: bool
    maybe_store: Path | None
    retention: Retention
    tls: bool | Path
    maybe_users: Path | None
    maybe_token: str | None
    hosts: tuple[str, ...]
    release: tuple[str, ...]
    maybe_size_limit: int | None
    is_quiet: bool
    is_verbose: bool
    logs_json: bool
    colour: str
    maybe_faults: Scenario | None
    asks_dns: bool
    maybe_zone: Path | None


def build_parser() -> argparse.ArgumentParser:
    """The options of ``ehlo catch``, which are those of ``ehlo`` alone too; so its help tells what else there is."""
    parser = argparse.ArgumentParser(
        prog="ehlo",
        description="Catch mail: take every message that a program sends, show it, and deliver none.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=_COMMANDS,
    )
    where = parser.add_argument_group("where").add_argument
    where(
        "--smtp",
        metavar="[HOST]:PORT",
        default="",
        help=f"where mail is taken (localhost:{SMTP_PORT}); every address as in *:{SMTP_PORT}, IPv6 as in "
        f"[::1]:{SMTP_PORT}",
    )
    where("--smtps", metavar="[HOST]:PORT", help="the same with TLS from the first octet; with --tls")
    where("--web", metavar="[HOST]:PORT", help=f"where the page and the API are (localhost:{WEB_PORT})")
    where("--no-web", action="store_true", help="no page: the mail is shown in the terminal")
    where("--open", action="store_true", help="open the page in a browser")
    where(
        "--host",
        dest="hosts",
        metavar="NAME",
        action="append",
        default=[],
        help="a name that the page goes by, in a container or behind a proxy; may be repeated",
    )
    keeping = parser.add_argument_group("what is kept").add_argument
    keeping("--store", metavar="FILE", type=Path, help="keep the mail in a file, beyond the end")
    keeping(
        "--keep",
        metavar="COUNT,SIZE,AGE",
        help="the newest so many messages, octets and days, as in 5000,500M,7d or ,,12h (20000,1G)",
    )
    keeping(
        "--max-size",
        metavar="SIZE",
        default=str(DATA_SIZE_DEFAULT),
        help="largest message in octets, or as in 100M; 0 is no limit (32M)",
    )
    who = parser.add_argument_group("who may").add_argument
    who(
        "--tls",
        metavar="FILE",
        nargs="?",
        type=Path,
        const=Path(),
        help="offer STARTTLS: with a certificate made for it, or one in PEM with its key",
    )
    who(
        "--auth",
        metavar="any|FILE",
        default=ANY_LOGIN,
        help="which logins will do: any, or those of a file with lines such as ann:secret (%(default)s)",
    )
    who(
        "--token",
        help="ask for this token where the page and the API are used; made up where others can reach them; better in "
        f"the variable {TOKEN_VARIABLE}",
    )
    who(
        "--release",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="let messages be sent on to this server, one by one, from the page; may be repeated",
    )
    asked = parser.add_argument_group("who is asked about DKIM, SPF and DMARC, when the page or the API is")
    asked_one = asked.add_mutually_exclusive_group().add_argument
    asked_one("--dns", action="store_true", help="the name servers of this machine; needs the extra `report`")
    asked_one("--zone", metavar="FILE", type=Path, help="nobody: the DNS records are in this file")
    wrong = parser.add_argument_group("what goes wrong on purpose").add_argument
    wrong(
        "--faults",
        metavar="FILE|NAME",
        help=f"refuse, delay and break off as a scenario says: a file in TOML, or {', '.join(ready_names())}",
    )
    shown = parser.add_argument_group("what is shown here").add_argument
    shown("-q", "--quiet", action="store_true", help="one line for each message")
    shown("-v", "--verbose", action="store_true", help="each message as a whole, also if there is a page")
    shown("--json-logs", action="store_true", help="sessions and messages as JSON on the standard error, for programs")
    shown(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: in a terminal, unless NO_COLOR is set (%(default)s)",
    )
    parser.add_argument("--version", action="version", version=f"ehlo {__version__}")
    return parser


_COMMANDS = """\
commands:
  ehlo catch    the same as `ehlo` alone
  ehlo check    say what is wrong with a message in a file
  ehlo replay   say a recorded session again; see `ehlo replay --help`
  ehlo send     send a test mail to any server; see `ehlo send --help`
  ehlo inbox    list, show, wait for and delete what is caught, from a shell
  ehlo serve    give the mail to a handler of yours, as in
                `ehlo serve -n -c package.MyHandler`; see `ehlo serve --help`
"""


def read_options(given: argparse.Namespace) -> CatchOptions:
    """What was given, with its meaning; ``ValueError`` with a line for the user."""
    if given.no_web and (given.web is not None or given.open):
        raise ValueError("--no-web goes without --web and --open")
    if given.quiet and given.verbose:
        raise ValueError("--quiet or --verbose, not both")
    if given.smtps is not None and given.tls is None:
        raise ValueError("--smtps needs --tls")
    for server in given.release:
        if not _SERVER.fullmatch(server):
            raise ValueError(f"Invalid server: {server} (as in mail.example.com:25, or *:25 for any)")
    tls = given.tls is not None and (True if given.tls == Path() else given.tls)
    return CatchOptions(
        smtp=parse_address(given.smtp, SMTP_PORT),
        smtps=None if given.smtps is None else parse_address(given.smtps, SMTP_PORT),
        web=None if given.no_web else parse_address(given.web or "", WEB_PORT),
        must_have_page=given.web is not None or given.open,
        opens_browser=given.open,
        maybe_store=given.store,
        retention=parse_keep(given.keep),
        tls=tls,
        maybe_users=None if given.auth == ANY_LOGIN else Path(given.auth),
        maybe_token=given.token or os.environ.get(TOKEN_VARIABLE) or None,
        hosts=tuple(given.hosts),
        release=tuple(given.release),
        maybe_size_limit=parse_size(given.max_size),
        is_quiet=given.quiet,
        is_verbose=given.verbose,
        logs_json=given.json_logs,
        colour=given.color,
        maybe_faults=None if given.faults is None else read_faults(given.faults),
        asks_dns=given.dns,
        maybe_zone=given.zone,
    )


def read_faults(text: str) -> Scenario:
    """A scenario by its name, or in a file.  ``ValueError`` or ``OSError`` with a line for the user."""
    if text in ready_names():
        return scenario_of(text)
    path = Path(text)
    if not path.exists():
        raise ValueError(f"--faults {text}: no file, and none of {', '.join(ready_names())}")
    try:
        return parse_scenario(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ValueError(f"--faults {text}: {error}") from None


def parse_size(text: str) -> int | None:
    """Octets of a size such as ``100M``; None, no limit, for 0.  ``ValueError`` with a line for the user."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"Invalid size: {text}")
    return int(match[1]) * _UNITS[(match[2] or "").lower()] or None


def parse_keep(text: str | None) -> Retention:
    """What ``--keep`` says; what it leaves out is as usual, 0 is no limit.  ``ValueError`` with a line for the user."""
    usual = Retention()
    if text is None:
        return usual
    words = [word.strip() for word in text.split(",")]
    if len(words) > 3:
        raise ValueError(f"Invalid number of limits: {text} (they are COUNT,SIZE,AGE)")
    count, size, age = (*words, "", "")[:3]
    if count and not (count.isascii() and count.isdecimal()):
        raise ValueError(f"Invalid count: {count} (the limits are COUNT,SIZE,AGE)")
    match = _AGE.fullmatch(age)
    if age not in {"", "0"} and match is None:
        raise ValueError(f"Invalid age: {age} (as in 30m, 12h, 7d)")
    return Retention(
        count=(int(count) or None) if count else usual.count,
        octets=parse_size(size) if size else usual.octets,
        age=float(int(match[1]) * _SECONDS[match[2]]) or None if match else None,
        sessions=usual.sessions,
    )
