"""``ehlo check``: what is wrong with a message in a file.  Knows options; the rules are ``ehlo.report``'s."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from ehlo.cli import terminal
from ehlo.cli.compose import read_file
from ehlo.net.foreground import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ehlo.report import Finding, Report
    from ehlo.report.dns import Resolver

CLEAN, UNCHECKED, NOT_CLEAN = 0, 1, 3


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="ehlo check",
        description="Say what is wrong with a message.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog=_EPILOG,
    )
    option = parser.add_argument
    option("file", metavar="FILE", help="the message; - is standard input")
    option("--ignore", metavar="RULE", action="append", default=[], help="what does not matter; may be repeated")
    option("--json", action="store_true", help="print the findings for programs")
    who = parser.add_argument_group("who vouches for it (needs the extra `report`)")
    asked = who.add_mutually_exclusive_group().add_argument
    asked("--zone", metavar="FILE", help="check DKIM, SPF and DMARC by the DNS records in this file")
    asked("--dns", action="store_true", help="the same by the name servers of this machine")
    who.add_argument("--address", metavar="IP", help="the address that it is sent from, for SPF")
    who.add_argument("--helo", metavar="NAME", default="", help="how the sender names itself")
    who.add_argument("--from", dest="sender", metavar="ADDRESS", help="the reverse-path of its envelope")
    return parser


_EPILOG = """\
exit status:
  0  nothing worse than a notice       2  the command line is wrong
  1  it could not be checked           3  there are errors or warnings
"""


def main(args: Sequence[str]) -> int:
    """Check, and return the exit status.  ``SystemExit`` for ``--help`` and for options that are wrong."""
    parser = build_parser()
    options = parser.parse_args(args)
    for stream in (sys.stdout, sys.stderr):
        terminal.never_fail_to_encode(stream)
    if options.address is not None and not (options.zone or options.dns):
        parser.error("--address needs --zone or --dns")
    try:
        report = _report(options)
    except ValueError as error:
        parser.error(visible(str(error)))
    except ImportError as error:
        print(f"ehlo: this needs {error.name}: pip install 'ehlo[report]'", file=sys.stderr)
        return UNCHECKED
    except OSError as error:
        print(f"ehlo: {visible(str(error))}", file=sys.stderr)
        return UNCHECKED
    if options.json:
        print(json.dumps([_fields(one) for one in report.findings], indent=2))
    else:
        for line in str(report).splitlines():
            print(visible(line))
    return CLEAN if report.is_clean else NOT_CLEAN


def _report(options: argparse.Namespace) -> Report:
    # The rules are imported here, because no other command needs them and all import this module.
    from ehlo.report import Mail, check  # noqa: PLC0415
    from ehlo.report.authentication import authenticate  # noqa: PLC0415

    raw = read_file(options.file)
    if b"\r\n" not in raw:  # of SMTP there would be one at the end: these are the line ends of a system that has LF
        raw = raw.replace(b"\n", b"\r\n")
    report = check(Mail(raw))  # without the reverse-path: nobody knows what else MAIL will say
    maybe_resolver = _resolver(options)
    if maybe_resolver is not None:
        mail = Mail(raw, options.sender)
        found = authenticate(mail, maybe_resolver, maybe_address=options.address, helo=options.helo)
        report = report.joined(found.findings)
    return report.without(options.ignore)


def _resolver(options: argparse.Namespace) -> Resolver | None:
    from ehlo.report.dns import SystemResolver, Zone  # noqa: PLC0415

    if options.zone is not None:
        try:
            return Zone(read_file(options.zone).decode("utf-8", "replace"))
        except ValueError as error:
            raise ValueError(f"{options.zone}: {error}") from error
    return SystemResolver() if options.dns else None


def _fields(one: Finding) -> dict[str, str]:
    return {
        "rule": one.rule,
        "severity": str(one.severity),
        "place": one.place,
        "text": one.text,
        "source": one.source,
    }
