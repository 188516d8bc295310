"""The command ``ehlo``: which command line a list of arguments means.

``ehlo`` alone is ``ehlo catch``.  An option in front that only the classic command line has selects that one:
``ehlo -n -c package.MyHandler`` is ``ehlo serve -n -c package.MyHandler``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from ehlo.cli.catch import main as catch_mail
from ehlo.cli.check import main as check_mail
from ehlo.cli.inbox import main as look_at_inbox
from ehlo.cli.replay import main as replay_session
from ehlo.cli.send import main as send_mail
from ehlo.main import main as serve_mail
from ehlo.main import selects_classic

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "catch": catch_mail,
    "check": check_mail,
    "inbox": look_at_inbox,
    "replay": replay_session,
    "send": send_mail,
    "serve": serve_mail,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status: 0 if all went well, 1 if not, 2 for no command; some have more.

    ``argv`` None is that of the process.  ``SystemExit`` for ``--help`` (0) and for options that are wrong (2).
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    first = arguments[0] if arguments else "--"
    if first in COMMANDS:
        return COMMANDS[first](arguments[1:])
    if first.startswith("-"):
        return COMMANDS["serve" if selects_classic(first) else "catch"](arguments)
    *names, last = COMMANDS
    known = f"{', '.join(names)} and {last}"
    print(f"ehlo: there is no command {first!r}: {known} are all; see `ehlo --help`", file=sys.stderr)
    return 2
