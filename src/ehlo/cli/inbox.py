"""``ehlo inbox``: look at a running inbox from the shell, and wait for mail there.  Knows options and rows.

The inbox is asked by its API (``ehlo.cli.inbox_api``), so it may be on another machine, and of another version.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ehlo.cli import terminal
from ehlo.cli.inbox_api import Api, ApiError
from ehlo.net.foreground import visible

URL = "http://127.0.0.1:8026"
URL_VARIABLE = "EHLO_INBOX_URL"
TOKEN_VARIABLE = "EHLO_INBOX_TOKEN"  # noqa: S105 - the name of a variable
TIMEOUT = 30.0
_LIST_LIMIT = 20
_PAGE = 200
_NOT_FOUND = 404
_NOT_CLEAN = 3

Record = dict[str, Any]
"""A JSON object."""


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    option = common.add_argument
    option("--url", help=f"where the page of the inbox is ({URL}, or the variable {URL_VARIABLE})")
    option("--token", help=f"for an inbox that asks for one; better in the variable {TOKEN_VARIABLE}")
    option("--inbox", metavar="NAME", help="the messages of this inbox only")
    option("--json", action="store_true", help="print what the API says")
    option(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: in a terminal, unless NO_COLOR is set",
    )
    parser = argparse.ArgumentParser(
        prog="ehlo inbox",
        description="Look at a running inbox.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Api, argparse.Namespace], int], text: str) -> Callable[..., Any]:
        one = commands.add_parser(name, parents=[common], help=text, description=text, allow_abbrev=False)
        one.set_defaults(run=run)
        return one.add_argument

    option = command("ls", list_messages, "List messages, the newest last.")
    option("query", nargs="?", help="what to search for, as in the page: 'from:ann subject:invoice has:attachment'")
    option("--limit", metavar="N", type=int, default=_LIST_LIMIT, help="at most so many (%(default)s)")

    option = command("show", show_message, "Show a message.")
    option("id", type=_id, help="its number in the list, or 'last'")
    what = option.__self__.add_mutually_exclusive_group().add_argument  # type: ignore[attr-defined]
    what("--raw", action="store_true", help="as it came, to the octet")
    what("--html", action="store_true", help="the HTML, made harmless")
    what("--headers", action="store_true", help="all header fields")
    what("--part", metavar="N", type=int, help="this part of it, decoded: an attachment, for example")

    option = command("check", check_message, "Say what is wrong with a message, and with how it was sent.")
    option("id", type=_id, help="its number in the list, or 'last'")

    option = command("wait", wait, "Wait for a message, and show it.")
    option("--to", help="a recipient, or a part of it; /.../ is a regular expression")
    option("--from", dest="from_", help="the sender")
    option("--subject", help="the subject")
    option("-q", "--query", help="as for ls")
    option("--timeout", metavar="SECONDS", type=float, default=TIMEOUT, help="at most 300 (%(default)g)")
    option("--after", metavar="ID", type=int, help="what is newer than this message counts too; 0: whatever is there")

    option = command("session", show_session, "Write a session as a file, for `ehlo replay`.")
    option("id", help="what the page and `ehlo inbox show --json` call it")

    option = command("rm", remove, "Delete messages.")
    option("ids", nargs="*", type=int, metavar="ID", help="their numbers")
    option("--query", help="all that it finds")
    option("--all", action="store_true", help="all there are")
    return parser


_EPILOG = """\
exit status:
  0  done, and for wait: the message came
  1  not done: nothing came in time, no such message, no inbox there
  2  the command line is wrong
  3  for check: there are errors or warnings
"""


class WrongOptionsError(Exception):
    """What the options ask for makes no sense; the text says why."""


def main(args: Sequence[str]) -> int:
    """Run a command, and return its exit status.  ``SystemExit`` for ``--help`` and for options that are wrong."""
    parser = build_parser()
    options = parser.parse_args(args)
    for stream in (sys.stdout, sys.stderr):
        terminal.never_fail_to_encode(stream)
    try:
        api = Api(options.url or os.environ.get(URL_VARIABLE) or URL, options.token or os.environ.get(TOKEN_VARIABLE))
    except ValueError as error:
        parser.error(visible(str(error)))
    run: Callable[[Api, argparse.Namespace], int] = options.run
    try:
        return run(api, options)
    except WrongOptionsError as error:
        parser.error(str(error))
    except ApiError as error:
        print(f"ehlo: {visible(str(error))}", file=sys.stderr)
    except BrokenPipeError:
        # Nobody looks any more, as in `ehlo inbox ls | head`.  Python would try once more, at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 1


# Commands


def list_messages(api: Api, options: argparse.Namespace) -> int:
    """Print a line for each message."""
    if options.limit < 1:
        raise WrongOptionsError(f"Invalid limit: {options.limit}")
    found: list[Record] = []
    total = 0
    while len(found) < options.limit:
        before = found[-1]["id"] if found else None
        limit = min(_PAGE, options.limit - len(found))
        query = {"inbox": options.inbox, "q": options.query, "limit": limit, "before": before}
        page = api.ask("GET", "messages", query)
        total = total or page["total"]
        if not page["messages"]:
            break
        found += page["messages"]
    found.reverse()
    if options.json:
        _print_json(found)
        return 0
    style = terminal.style_of(sys.stdout, options.color)
    for summary in found:
        sys.stdout.write(_row(style, summary))
    if total > len(found):
        print(style.paint("faint", f"({total - len(found)} older ones are not shown)"))
    return 0


def show_message(api: Api, options: argparse.Namespace) -> int:
    """Print a message, or what is asked of it."""
    number = _number(api, options)
    try:
        return _show(api, options, number)
    except ApiError as error:
        if error.status == 404 and options.part is None and not options.html:
            raise ApiError(f"there is no message {number}") from error
        raise


def _show(api: Api, options: argparse.Namespace, number: int) -> int:
    path = f"messages/{number}"
    if options.raw or options.html or options.part is not None:
        kind = "raw" if options.raw else "html" if options.html else f"parts/{options.part}"
        sys.stdout.buffer.write(api.fetch("GET", f"{path}/{kind}"))
        sys.stdout.buffer.flush()
        return 0
    message = api.ask("GET", path)
    if options.json:
        _print_json(message)
    elif options.headers:
        for name, value in message["headers"]:
            print(visible(f"{name}: {value}"))
    else:
        sys.stdout.write(_sheet(terminal.style_of(sys.stdout, options.color), message))
    return 0


def _number(api: Api, options: argparse.Namespace) -> int:
    if options.id is not None:
        return int(options.id)
    newest = api.ask("GET", "messages", {"inbox": options.inbox, "limit": 1})["messages"]
    if not newest:
        raise ApiError("there is no message")
    return int(newest[0]["id"])


def check_message(api: Api, options: argparse.Namespace) -> int:
    """Print what was found, the worst first."""
    report = api.ask("GET", f"messages/{_number(api, options)}/report")
    if options.json:
        _print_json(report)
    else:
        for one in report["findings"]:
            place = f" ({one['place']})" if one["place"] else ""
            print(visible(f"{one['severity']} {one['rule']}{place}: {one['text']} [{one['source']}]"))
        if not report["findings"]:
            print("nothing was found")
    return 0 if report["is_clean"] else _NOT_CLEAN


def show_session(api: Api, options: argparse.Namespace) -> int:
    """Write what was said, with the messages that it brought."""
    sys.stdout.buffer.write(api.fetch("GET", f"sessions/{urllib.parse.quote(options.id, safe='')}/recording"))
    sys.stdout.buffer.flush()
    return 0


def wait(api: Api, options: argparse.Namespace) -> int:
    """Print the message as soon as it is there; what came instead, if it does not."""
    if not 0 <= options.timeout <= 300:
        raise WrongOptionsError(f"Invalid timeout: {options.timeout:g}")
    criteria = {"to": options.to, "from": options.from_, "subject": options.subject, "q": options.query}
    more = {"inbox": options.inbox, "timeout": options.timeout, "after": options.after}
    answer = api.ask("GET", "wait", criteria | more, wait=options.timeout)
    message = answer["message"]
    if options.json:
        _print_json(answer)
    elif message is not None:
        detail = api.ask("GET", f"messages/{message['id']}")
        sys.stdout.write(_sheet(terminal.style_of(sys.stdout, options.color), detail))
    else:
        print(f"ehlo: no such message came within {options.timeout:g} s", file=sys.stderr)
        for summary in answer["arrived"]:
            sys.stderr.write(_row(terminal.style_of(sys.stderr, options.color), summary))
    return 0 if message is not None else 1


def remove(api: Api, options: argparse.Namespace) -> int:
    """Delete, and tell how many."""
    if bool(options.ids) + bool(options.query) + options.all != 1:
        raise WrongOptionsError("say which: IDs, --query or --all")
    query: Record = {"inbox": options.inbox, "q": options.query or None}
    if options.ids:
        query["ids"] = ",".join(map(str, options.ids))
    if options.all:
        query["all"] = "true"
    answer = api.ask("DELETE", "messages", query)
    deleted = answer["deleted"]
    if options.json:
        _print_json(answer)
    else:
        print(f"Deleted {deleted} message{'s' * (deleted != 1)}.")
    return 0 if deleted or not options.ids else 1


# Rows


def _row(style: terminal.Style, summary: Record) -> str:
    recipients = summary["rcpt_tos"]
    more = f" (+{len(recipients) - 1})" if len(recipients) > 1 else ""
    return terminal.one_line(
        style,
        f"{summary['id']:>5}{' ' if summary['is_read'] else '*'} {_when(summary)} "
        f"{terminal.size_text(summary['size']):>8} "
        f"{summary['mail_from'] or '<>'} > {''.join(recipients[:1])}{more}  {summary['subject']}",
    )


def _sheet(style: terminal.Style, message: Record) -> str:
    title = f"{message['id']} at {_when(message)}"
    text = terminal.text_rows(style, message["text"] or "")
    return terminal.sheet(style, title, message["size"], message["subject"], rows=_facts(message), text=text)


def _facts(message: Record) -> Iterator[tuple[str, str]]:
    yield "From", message["mail_from"] or "<> (the null reverse-path, as in bounces)"
    yield "To", ", ".join(message["rcpt_tos"])
    if message["mail_from"] not in message["header_from"]:
        yield "header From", message["header_from"]
    if not all(recipient in message["header_to"] for recipient in message["rcpt_tos"]):
        yield "header To", message["header_to"]
    if message["tags"]:
        yield "Tags", ", ".join(message["tags"])
    parts = [
        f"{part['filename'] or 'no name'} ({part['content_type']}, {terminal.size_text(part['size'])}): "
        f"--part {part['index']}"
        for part in message["parts"]
        if part["filename"] or part["disposition"] == "attachment"
    ]
    yield from terminal.labelled("Attached", parts)
    yield from terminal.labelled("Code", message["codes"])
    yield from terminal.labelled("Link", (link["url"] for link in message["links"]))
    if message.get("problem"):
        yield "Problem", message["problem"]


def _when(summary: Record) -> str:
    """The time, with the date if that is not today."""
    received = datetime.fromisoformat(summary["received_at"]).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return f"{received:%H:%M:%S}" if received.date() == today else f"{received:%Y-%m-%d %H:%M:%S}"


def _print_json(value: object) -> None:
    # ASCII: nothing that a sender wrote can move the cursor.
    json.dump(value, sys.stdout, indent=2)
    print()


def _id(text: str) -> int | None:
    """For argparse: a number, None for the newest."""
    return None if text == "last" else int(text)


_id.__name__ = "message number"
