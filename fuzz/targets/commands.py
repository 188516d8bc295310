"""Command lines: verb and argument, and the size of a chunk, which decides what is a command and what is not."""

from __future__ import annotations

import re
from typing import Final

from ehlo.errors import BadChunkSize, CommandSyntaxError
from ehlo.protocol.commands import parse_chunk, parse_command
from fuzz.checks import require

# RFC 3030 §2, in octets: nothing else may be taken for a size or for LAST.  White space is read more generously.
BDAT: Final = re.compile(rb"[Bb][Dd][Aa][Tt][ \t]+([0-9]{1,20})(?: +([Ll][Aa][Ss][Tt]))?[ \t]*")


def fuzz_commands(data: bytes) -> None:
    """Each line of the input is a line as the framer gives it."""
    for line in data.split(b"\r\n"):
        if b"\r" not in line and b"\0" not in line and b"\n" not in line:
            _fuzz_line(line)


def _fuzz_line(line: bytes) -> None:
    try:
        verb, arg = parse_command(line)
    except CommandSyntaxError:
        require(not BDAT.fullmatch(line), "BDAT is refused as no command")
        return
    require(verb and verb.isascii() and verb == verb.upper() and " " not in verb, f"no verb: {verb!r}")
    require(line.upper().startswith(verb.encode()), "the verb is not what the line begins with")
    require(arg is None or (arg and arg.encode() in line), "the argument is not on the line")
    if verb != "BDAT":
        return
    expected = BDAT.fullmatch(line)
    try:
        size, is_last = parse_chunk(arg)
    except BadChunkSize:
        require(expected is None, "a good size is refused")
        return
    require(expected is not None, f"the size of no chunk: {line!r}")
    assert expected is not None
    require((size, is_last) == (int(expected[1]), expected[2] is not None), "another size")
