"""The table of commands. Knows verbs and when each is allowed; does not know what they do.

A row says at which stages of the session its verb is allowed (RFC 5321 §4.1.4) and carries its flags.  The stage is
never stored: the server derives it from the public ``session`` and ``envelope``, because hooks and subclasses assign
to them.  One interpreter serves every verb.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from ehlo.errors import BadChunkSize, BadSequence, CommandSyntaxError, ProtocolError

# RFC 5321 §4.5.3.1.4: a command line with its CRLF.  Extensions add to it: see ``ehlo.protocol.parameters``.
COMMAND_LINE_LIMIT = 512
# RFC 4954 §4: "the maximum length ... is 12288 octets", for AUTH with an initial response and for what answers a 334.
AUTH_LINE_LIMIT = 12288


class Stage(IntEnum):
    """How far a session is."""

    CONNECTED = 0
    GREETED = 1
    MAIL = 2
    RCPT = 3
    CHUNKS = 4


ANY = frozenset(Stage)


class Command(NamedTuple):
    """One row.

    ``before_tls``: allowed when TLS is required and not there yet (RFC 3207 §4).  ``before_auth``: allowed when
    authentication is required and has not happened (RFC 4954 §6, 530).  ``line_limit``: octets with CRLF; 0 means the
    general limit plus what the offered extensions add.  ``has_chunk``: octets follow the line, whatever is said of it
    (RFC 3030 §2).  ``only``: "SMTP" or "LMTP" when the other has no such verb (RFC 2033 §4.1).  ``is_junk``: brings no
    mail forward.
    """

    verb: str
    stages: frozenset[Stage] = ANY
    before_tls: bool = False
    before_auth: bool = False
    line_limit: int = COMMAND_LINE_LIMIT
    has_chunk: bool = False
    only: str | None = None
    is_junk: bool = False


COMMANDS: dict[str, Command] = {
    row.verb: row
    for row in (
        Command("HELO", before_auth=True, only="SMTP"),
        Command("EHLO", before_tls=True, before_auth=True, only="SMTP"),
        Command("LHLO", before_tls=True, before_auth=True, only="LMTP"),
        Command("MAIL", frozenset({Stage.GREETED}), line_limit=0),
        Command("RCPT", frozenset({Stage.MAIL, Stage.RCPT}), line_limit=0),
        Command("DATA", frozenset({Stage.RCPT})),
        Command("BDAT", frozenset({Stage.RCPT, Stage.CHUNKS}), has_chunk=True),
        Command("RSET", before_auth=True, is_junk=True),
        Command("NOOP", before_tls=True, before_auth=True, is_junk=True),
        Command("QUIT", before_tls=True, before_auth=True),
        Command("HELP", is_junk=True),
        Command("VRFY", line_limit=0, is_junk=True),
        Command("EXPN", line_limit=0, is_junk=True),
        Command("STARTTLS", frozenset({Stage.GREETED}), before_tls=True, before_auth=True),
        Command("ETRN", frozenset({Stage.GREETED}), is_junk=True),
        Command("XCLIENT", frozenset({Stage.CONNECTED, Stage.GREETED}), before_auth=True),
        Command("XFORWARD", frozenset({Stage.GREETED}), before_auth=True),
        Command("AUTH", frozenset({Stage.GREETED}), before_auth=True, line_limit=AUTH_LINE_LIMIT),
    )
}


class CommandLine(NamedTuple):
    """A command line, taken apart: ``verb`` in upper case, ``arg`` None when nothing follows the verb."""

    verb: str
    arg: str | None


# What the constructor of a NamedTuple does, without its call of a Python function.
_record = tuple.__new__


def parse_command(line: bytes) -> CommandLine:
    """Take a line without its CRLF apart.

    Raises ``CommandSyntaxError`` for an empty line and for octets that are neither ASCII nor UTF-8 (RFC 6531 §3.3
    lets UTF-8 into arguments; which argument may hold it is for the verb to say).
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise CommandSyntaxError("command line is not UTF-8") from None
    verb, _, arg = text.partition(" ")
    if "\t" in verb:
        # A tab is no separator of the grammar, but as part of a verb it would make an unknown one of DATA.
        verb, _, arg = text.partition("\t")
    if not verb or not verb.isascii():
        raise CommandSyntaxError("no verb")
    return _record(CommandLine, (verb.upper(), arg.strip(" \t") or None))


# RFC 3030 §2:
#   bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ] CR LF
#   chunk-size = 1*DIGIT
#   end-marker = "LAST"
# No chunk is larger than what SIZE can say (RFC 1870 §3: 20 digits).
# (?ai:...) rather than IGNORECASE alone, for which U+017F is an "s" as well.
_CHUNK = re.compile(r"(?P<size>[0-9]{1,20})(?:[ ]+(?P<last>(?ai:LAST)))?")


class Chunk(NamedTuple):
    """The argument of BDAT: octets that follow, and whether the message ends with them."""

    size: int
    is_last: bool


def parse_chunk(arg: str | None) -> Chunk:
    """Take the argument of BDAT apart; ``BadChunkSize``, which ends the session, when it is none."""
    match = _CHUNK.fullmatch(arg or "")
    if match is None:
        raise BadChunkSize
    return Chunk(int(match["size"]), match["last"] is not None)


def refusal(command: Command, stage: Stage) -> ProtocolError:
    """What is wrong with this command at this stage, at which its row does not allow it."""
    if stage is Stage.CONNECTED:
        return BadSequence(f"{command.verb} before the greeting", text="Say HELO or EHLO first")
    if stage is Stage.CHUNKS:
        return BadSequence(f"{command.verb} amid BDAT", text="Not allowed between BDAT commands")
    if stage < min(command.stages):
        needed = "RCPT" if Stage.RCPT in command.stages and Stage.MAIL not in command.stages else "MAIL"
        return BadSequence(f"{command.verb} without {needed}", text=f"Need {needed} command")
    return BadSequence(f"{command.verb} inside a transaction", text="Not allowed inside a transaction")
