"""What clients say to both servers, as tables.  Knows SMTP; does not know who answers, nor what.

A step is a line (``str``, sent with CRLF; replies are awaited), octets that are sent as they are and need no reply
(``bytes``), or an ``Act``.
"""

from __future__ import annotations

import socket
import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.compat.setups import SETUPS


class Act(Enum):
    """What a client does beside talking."""

    HANDSHAKE = "TLS handshake"
    EOF = "end of what it says"


Step = str | bytes | Act


@dataclass(frozen=True)
class Dialogue:
    """One connection to the server ``setup``."""

    chapter: str
    name: str
    setup: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return f"{self.chapter}: {self.name} [{self.setup}]"


HELO = "HELO client.example"
EHLO = "EHLO client.example"
LHLO = "LHLO client.example"
MAIL = "MAIL FROM:<alice@example.com>"
RCPT = "RCPT TO:<bob@example.com>"
QUIT = "QUIT"

_CHAPTERS: dict[str, list[Dialogue]] = {}


def chapters() -> Mapping[str, Sequence[Dialogue]]:
    """All dialogues by chapter."""
    return _CHAPTERS


def _say(chapter: str, name: str, setup: str, *steps: Step) -> None:
    assert setup in SETUPS, setup
    _CHAPTERS.setdefault(chapter, []).append(Dialogue(chapter, name, setup, steps))


# -- Every verb at every stage -------------------------------------------------------------------------------

_STAGES: dict[str, tuple[str, ...]] = {
    "CONNECT": (),
    "HELO": (HELO,),
    "EHLO": (EHLO,),
    "MAIL": (EHLO, MAIL),
    "RCPT": (EHLO, MAIL, RCPT),
}
_COMMANDS = (
    "HELO",
    HELO,
    "helo client.example",
    "EHLO",
    EHLO,
    "ehlo [192.0.2.1]",
    "EHLO two words",
    LHLO,
    "NOOP",
    "NOOP with an argument",
    "RSET",
    "RSET now",
    "rset",
    "HELP",
    "HELP MAIL",
    "HELP rcpt",
    "HELP WHAT",
    "VRFY",
    "VRFY bob@example.com",
    "VRFY <bob@example.com>",
    "VRFY bob",
    "EXPN",
    "EXPN list",
    "MAIL",
    "MAIL FROM",
    "MAIL FROM:",
    MAIL,
    "mail from:<alice@example.com>",
    "MAIL TO:<alice@example.com>",
    "RCPT",
    "RCPT TO:",
    RCPT,
    "Rcpt To: <bob@example.com>",
    "RCPT FROM:<bob@example.com>",
    "DATA now",
    "STARTTLS",
    "STARTTLS now",
    "AUTH",
    "AUTH PLAIN",
    "BDAT 0 LAST",
    "ETRN example.com",
    "XCLIENT NAME=client.example",
    "WHAT",
    "_handle_client",
    "QUIT now",
    QUIT,
)
for _stage, _prelude in _STAGES.items():
    for _command in _COMMANDS:
        _say(f"verbs at {_stage}", _command, "keeper", *_prelude, _command, "NOOP")
    _say(f"verbs at {_stage}", "DATA", "keeper", *_prelude, "DATA", ".", "NOOP")

for _setup in ("watcher", "nothing", "class", "auth required", "verbs"):
    for _stage, _prelude in _STAGES.items():
        for _command in ("EHLO other.example", "NOOP x", "RSET", "VRFY bob", "HELP", MAIL, RCPT, QUIT):
            _say(f"verbs with {_setup}", f"{_command} at {_stage}", _setup, *_prelude, _command, "NOOP")

# -- Lines ---------------------------------------------------------------------------------------------------

_LINES: dict[str, bytes] = {
    "empty": b"\r\n",
    "a space": b" \r\n",
    "spaces in front": b"  NOOP\r\n",
    "spaces behind": b"NOOP  \r\n",
    "spaces within": b"NOOP   a   b\r\n",
    "a tab": b"NOOP\ta\r\n",
    "a tab in the argument": b"NOOP a\tb\r\n",
    "a bare LF": b"NOOP\n",
    "two bare LF": b"NOOP\nNOOP\n",
    "a bare CR within": b"NOOP a\rb\r\n",
    "a CR too many": b"NOOP\r\r\n",
    "NUL": b"NOOP \x00\r\n",
    "a verb with octets": b"NO\xd6P\r\n",
    "an argument with octets": b"NOOP \xff\r\n",
    "an argument in UTF-8": "NOOP \u00fc\r\n".encode(),
    "lower case": b"noop\r\n",
    "mixed case": b"nOoP\r\n",
    "an unknown verb in lower case": b"what\r\n",
    "an unknown verb with a quotation mark": b'"\r\n',
    "512 octets": b"NOOP " + b"x" * 507 + b"\r\n",
    "513 octets": b"NOOP " + b"x" * 508 + b"\r\n",
    "512 octets with CRLF": b"NOOP " + b"x" * 505 + b"\r\n",
    "999 octets": b"NOOP " + b"x" * 994 + b"\r\n",
    "1000 octets": b"NOOP " + b"x" * 995 + b"\r\n",
    "1001 octets": b"NOOP " + b"x" * 996 + b"\r\n",
    "3000 octets": b"NOOP " + b"x" * 2995 + b"\r\n",
    "100000 octets": b"NOOP " + b"x" * 99995 + b"\r\n",
    "100000 octets and a command": b"NOOP " + b"x" * 99995 + b"\r\nNOOP\r\n",
    "an unknown verb of 600 octets": b"X" * 600 + b"\r\n",
    "a long MAIL": b"MAIL FROM:<" + b"a" * 480 + b"@example.com>\r\n",
    "a longer MAIL": b"MAIL FROM:<" + b"a" * 500 + b"@example.com>\r\n",
    "the longest MAIL": b"MAIL FROM:<" + b"a" * 514 + b"@example.com>\r\n",
    "a MAIL too long": b"MAIL FROM:<" + b"a" * 524 + b"@example.com>\r\n",
    "a MAIL too long for anybody": b"MAIL FROM:<" + b"a" * 536 + b"@example.com>\r\n",
}
for _name, _line in _LINES.items():
    # What comes behind a bare LF may be taken for the rest of that line, and gets no reply of its own.
    _behind = "RSET" if _line.endswith(b"\r\n") else b"RSET\r\n"
    _say("lines", _name, "keeper", EHLO, _line, _behind)
    _say("lines", f"{_name}, UTF-8", "utf8", EHLO, _line, _behind)
    _say("lines", f"{_name}, before EHLO", "keeper", _line, _behind)
for _count in range(1, 7):
    _say("lines", f"{_count} unknown verbs", "keeper", *["WHAT"] * _count, "NOOP")
_say("lines", "unknown verbs with others between", "keeper", "A", "NOOP", "B", "NOOP", "C", EHLO, "D", "E", "NOOP")
_say("lines", "unknown verbs at once", "keeper", "A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nNOOP", "NOOP")
for _name, _group in {
    "a transaction": f"{EHLO}\r\n{MAIL}\r\n{RCPT}\r\nDATA",
    "two recipients": f"{EHLO}\r\n{MAIL}\r\n{RCPT}\r\nRCPT TO:<carol@example.com>\r\nDATA",
    "no recipient": f"{EHLO}\r\n{MAIL}\r\nRCPT TO:<>\r\nDATA\r\nNOOP",
}.items():
    _say("lines", f"{_name} at once", "watcher", _group, "Text\r\n.\r\nNOOP", QUIT)
_say("lines", "a whole session at once", "keeper", f"{EHLO}\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\nText\r\n.\r\nQUIT")
_say("lines", "commands behind QUIT", "keeper", "QUIT\r\nNOOP\r\nNOOP")
_say("lines", "a line in pieces", "keeper", b"NO", b"OP", b" x\r", b"\n", "RSET")
_say("lines", "EOF at once", "keeper", Act.EOF)
_MESSAGE = (EHLO, MAIL, RCPT, "DATA", b"Text\r\n.\r\n")
_say("lines", "EOF while the hook runs", "slow", *_MESSAGE, Act.EOF)
_say(
    "lines",
    "EOF with a whole session",
    "slow",
    f"{EHLO}\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\nText\r\n.\r\nQUIT\r\n".encode(),
    Act.EOF,
)
_say("lines", "EOF with a message and a quick hook", "keeper", *_MESSAGE, Act.EOF)
_say("lines", "EOF in a line", "keeper", b"NOO", Act.EOF)
_say("lines", "EOF in a transaction", "keeper", EHLO, MAIL, Act.EOF)
_say("lines", "EOF in mail data", "keeper", EHLO, MAIL, RCPT, "DATA", b"Text\r\n", Act.EOF)
for _setup in ("short commands", "ident", "owner", "refusing", "hooked"):
    _say("lines", _setup, _setup, HELO, "NOOP " + "x" * 70, "XOWN", EHLO, "NOOP " + "x" * 70, "RSET", MAIL, QUIT)

# -- EHLO and HELP -------------------------------------------------------------------------------------------

for _setup in SETUPS:
    if "wrapped" not in _setup and not _setup.startswith(("proxy", "lmtp")):
        _say("EHLO and HELP", f"EHLO {_setup}", _setup, "HELP", HELO, EHLO, "EHLO again.example", "HELP", QUIT)
    elif _setup.startswith("lmtp"):
        _say("EHLO and HELP", f"LHLO {_setup}", _setup, "HELP", HELO, EHLO, LHLO, "LHLO", "HELP", QUIT)
_TOPICS = "HELO EHLO LHLO NOOP QUIT RSET HELP VRFY EXPN MAIL RCPT DATA STARTTLS AUTH XPING XSPECIAL XHIDDEN XNOHELP"
for _topic in _TOPICS.split():
    for _setup in ("keeper", "tls", "lmtp", "verbs"):
        _hello = LHLO if _setup == "lmtp" else EHLO
        _say(
            "EHLO and HELP", f"HELP {_topic} {_setup}", _setup, f"HELP {_topic}", HELO, _hello, f"help {_topic.lower()}"
        )
for _verb in ("XPING", "XPING a", "xping b c", "XSPECIAL", "XHIDDEN", "XNOHELP", "NOOP", "EXPN", "EXPN list"):
    for _setup in ("verbs", "verbs hook"):
        _say("EHLO and HELP", f"{_verb} with {_setup}", _setup, _verb, EHLO, _verb, QUIT)

# -- Addresses -----------------------------------------------------------------------------------------------

_ADDRESSES: tuple[str, ...] = (
    "<>",
    "< >",
    "<alice@example.com>",
    "alice@example.com",
    "<alice@example.com",
    "alice@example.com>",
    " <alice@example.com> ",
    "<alice>",
    "alice",
    "<alice@>",
    "<@example.com>",
    "<@>",
    "@",
    "<alice@example.com.>",
    "<alice@.example.com>",
    "<alice@example..com>",
    "<.alice@example.com>",
    "<alice.@example.com>",
    "<al..ice@example.com>",
    "<al ice@example.com>",
    '<"al ice"@example.com>',
    '<"alice"@example.com>',
    '<"al\\"ice"@example.com>',
    '<"al>ice"@example.com>',
    '<""@example.com>',
    "<alice@exam ple.com>",
    "<alice@[192.0.2.1]>",
    "<alice@[IPv6:2001:db8::1]>",
    "<alice@[]>",
    "<alice@[192.0.2.1>",
    "<@a.example,@b.example:alice@example.com>",
    "<@a.example:alice@example.com>",
    "<(comment)alice@example.com>",
    "<alice(comment)@example.com>",
    "<alice@example.com(comment)>",
    "Alice <alice@example.com>",
    "<alice@example.com> <bob@example.com>",
    "<alice@example.com>x",
    "<alice@example.com>SIZE=10",
    "<alice@@example.com>",
    "<alice@bob@example.com>",
    "<<alice@example.com>>",
    "<alice@example.com>>",
    "<alice\\@example.com>",
    "<alice,bob@example.com>",
    "<alice;@example.com>",
    "<alice:bob@example.com>",
    "<Alice@EXAMPLE.com>",
    "<alice+tag=x@example.com>",
    "<!#$%&'*+-/=?^_`{|}~@example.com>",
    "<alice@example_1.com>",
    "<alice@-example.com>",
    "<" + "a" * 64 + "@example.com>",
    "<" + "a" * 65 + "@example.com>",
    "<alice@" + "d" * 63 + ".com>",
    "<alice@" + "d" * 64 + ".com>",
    "<al\u00efce@example.com>",
    "<alice@ex\u00e4mple.com>",
    "<\u7528\u6237@\u4f8b\u5b50.example>",
    '<"\u00fc \u00fc"@example.com>',
    "<al\u00a0ice@example.com>",
    "<=?utf-8?q?alice?=@example.com>",
    "<postmaster>",
    "<al\tice@example.com>",
    "<al\x07ice@example.com>",
    "<al\x7fice@example.com>",
)
for _address in _ADDRESSES:
    _short = (
        _address if len(_address) < 50 else f"{_address[:10]} and so on, {len(_address)} characters{_address[-15:]}"
    )
    for _setup in ("watcher", "watcher utf8"):
        _say(
            "addresses",
            f"{_short} with {_setup}",
            _setup,
            EHLO,
            f"VRFY {_address}",
            f"MAIL FROM:{_address}",
            f"RCPT TO:{_address}",
            MAIL,
            f"RCPT TO:{_address}",
            "RSET",
            f"MAIL FROM: {_address}",
            RCPT,
            "DATA",
            ".",
        )
    _say("addresses", f"{_short} after HELO", "keeper", HELO, f"MAIL FROM:{_address}", f"RCPT TO:{_address}", RCPT)
_ODD_OCTETS = {
    "no UTF-8": b"<al\xffice@example.com>",
    "no UTF-8 in the domain": b"<alice@ex\xffample.com>",
    "no UTF-8 in a quoted string": b'<"al\xffice"@example.com>',
}
for _name, _octets in _ODD_OCTETS.items():
    for _setup in ("watcher", "watcher utf8", "legacy"):
        _say(
            "addresses",
            f"{_name} with {_setup}",
            _setup,
            EHLO,
            b"VRFY " + _octets + b"\r\n",
            b"MAIL FROM:" + _octets + b"\r\n",
            b"RCPT TO:" + _octets + b"\r\n",
            "RSET",
        )
for _setup in ("short local", "addressed"):
    for _address in (
        "<short@example.com>",
        "<" + "l" * 11 + "@example.com>",
        "<You@refuse.example>",
        "<" + "l" * 11 + ">",
    ):
        _say(
            "addresses",
            f"{_address} with {_setup}",
            _setup,
            EHLO,
            f"VRFY {_address}",
            f"MAIL FROM:{_address}",
            MAIL,
            f"RCPT TO:{_address}",
            "DATA",
            ".",
        )

# -- Parameters ----------------------------------------------------------------------------------------------

_MAIL_PARAMETERS = (
    "SIZE=100",
    "size=100",
    "SIZE=0",
    "SIZE",
    "SIZE=",
    "SIZE=x",
    "SIZE=-1",
    "SIZE=999",
    "SIZE=1001",
    "SIZE=33554432",
    "SIZE=33554433",
    "SIZE=99999999999999999999",
    "SIZE=1 SIZE=2",
    "BODY=7BIT",
    "BODY=8BITMIME",
    "body=8bitmime",
    "BODY=BINARYMIME",
    "BODY=9BIT",
    "BODY",
    "BODY=",
    "SMTPUTF8",
    "smtputf8",
    "SMTPUTF8=yes",
    "SMTPUTF8=",
    "BODY=8BITMIME SMTPUTF8 SIZE=10",
    "SIZE=10 BODY=7BIT",
    "RET=FULL",
    "ENVID=abc",
    "AUTH=<>",
    "X",
    "X=",
    "X=Y",
    "X=Y=Z",
    "X-Y=Z",
    "=X",
    "=",
    "X;Y",
    "BODY=8BITMIME FOO=bar",
    "  SIZE=10  ",
)
for _parameter in _MAIL_PARAMETERS:
    for _setup in ("watcher", "watcher utf8", "decode", "size 1000"):
        _say("MAIL parameters", f"{_parameter} with {_setup}", _setup, EHLO, f"{MAIL} {_parameter}", RCPT, "DATA", ".")
    _say("MAIL parameters", f"{_parameter} after HELO", "keeper", HELO, f"{MAIL} {_parameter}", RCPT)
for _parameter in ("SIZE=100", "SIZE=33554433", "SIZE", "RET=FULL", "BODY=7BIT"):
    for _setup in ("no size", "size 0", "tolerant"):
        _say("MAIL parameters", f"{_parameter} with {_setup}", _setup, EHLO, f"{MAIL} {_parameter}", RCPT, "DATA", ".")
for _parameter in ("NOTIFY=NEVER", "ORCPT=rfc822;bob@example.com", "X", "X=Y", "=X", "SIZE=1", "a b", "NOTIFY"):
    for _setup in ("watcher", "utf8", "tolerant"):
        _say("RCPT parameters", f"{_parameter} with {_setup}", _setup, EHLO, MAIL, f"{RCPT} {_parameter}", "DATA", ".")
    _say("RCPT parameters", f"{_parameter} after HELO", "keeper", HELO, MAIL, f"{RCPT} {_parameter}")

# -- Mail data -----------------------------------------------------------------------------------------------

_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "a line": b"Text\r\n",
    "a message": b"Subject: Hello\r\n\r\nText\r\n",
    "dots": b"..\r\n...\r\n..a\r\n",
    "a dot that is not doubled": b".a\r\n",
    "a dot within": b"a.b\r\n a .\r\n",
    "a dot and spaces": b". \r\n .\r\n",
    "many dots": b".." * 20 + b"\r\n",
    "LF dot CRLF": b"a\n.\r\nb\r\n",
    "LF dot LF": b"a\n.\nb\r\n",
    "CR dot CR": b"a\r.\rb\r\n",
    "CRLF dot LF": b"a\r\n.\nb\r\n",
    "CRLF dot CR": b"a\r\n.\rb\r\n",
    "LF": b"a\nb\n\r\n",
    "CR": b"a\rb\r\r\n",
    "CR CR LF": b"a\r\r\nb\r\n",
    "dots behind bare LF": b"a\n..b\n.c\r\n",
    "NUL": b"a\x00b\r\n",
    "octets": bytes(range(128, 256)) + b"\r\n",
    "UTF-8": "f\u00fcnf \U0001f4e7\r\n".encode(),
    "half a UTF-8 sequence": b"\xc3\r\n\xbc\r\n",
    "998 octets": b"x" * 998 + b"\r\n",
    "999 octets": b"x" * 999 + b"\r\n",
    "1000 octets": b"x" * 1000 + b"\r\n",
    "999 octets and a dot": b".." + b"x" * 997 + b"\r\n",
    "1000 octets and a dot": b".." + b"x" * 998 + b"\r\n",
    "1001 octets": b"x" * 1001 + b"\r\n",
    "5000 octets": b"x" * 5000 + b"\r\n",
    "a long line and a short one": b"x" * 2000 + b"\r\nshort\r\n",
    "a short line and a long one": b"short\r\n" + b"x" * 2000 + b"\r\n",
    "a line of 99 octets": b"x" * 97 + b"\r\n",
    "a line of 100 octets": b"x" * 98 + b"\r\n",
    "a line of 101 octets": b"x" * 99 + b"\r\n",
    "999 octets in all": b"x" * 97 + b"\r\n" + (b"x" * 98 + b"\r\n") * 9,
    "1000 octets in all": (b"x" * 98 + b"\r\n") * 10,
    "1001 octets in all": (b"x" * 98 + b"\r\n") * 9 + b"x" * 99 + b"\r\n",
    "1000 octets with the dots": (b".." + b"x" * 96 + b"\r\n") * 10,
    "1001 octets with the dots": (b".." + b"x" * 96 + b"\r\n") * 10 + b".\r",
    "too much, then too long": (b"x" * 98 + b"\r\n") * 11 + b"x" * 2000 + b"\r\n",
    "too long, then too much": b"x" * 2000 + b"\r\n" + (b"x" * 98 + b"\r\n") * 11,
    "3000 lines": b"text\r\n" * 3000,
}
_DATA_SETUPS = ("keeper", "decode", "decode utf8", "size 1000", "short lines", "legacy decode")
_LONG = {"998 octets", "1000 octets", "1000 octets and a dot", "5000 octets", "octets", "3000 lines"}
for _name, _body in _BODIES.items():
    for _setup in (*_DATA_SETUPS, "utf8", "no size", "long lines") if _name in _LONG else _DATA_SETUPS:
        _end = "\n." if _body.endswith(b"\r") else "."
        _say("mail data", f"{_name} with {_setup}", _setup, EHLO, MAIL, RCPT, "DATA", _body, _end, "NOOP", "DATA")
for _setup in ("nothing", "legacy", "legacy none", "legacy async", "returns None", "returns MISSING", "returns octets"):
    _say(
        "mail data",
        f"two messages with {_setup}",
        _setup,
        EHLO,
        MAIL,
        RCPT,
        "DATA",
        b"One\r\n",
        ".",
        "RSET",
        MAIL,
        RCPT,
        "RCPT TO:<carol@example.com>",
        "DATA",
        b"Two\r\n",
        ".",
        QUIT,
    )
_say(
    "mail data", "the end in pieces", "keeper", EHLO, MAIL, RCPT, "DATA", b"Te", b"xt\r", b"\n", b".", b"\r", "\n", QUIT
)
_say(
    "mail data", "in single octets", "keeper", EHLO, MAIL, RCPT, "DATA", *[bytes([o]) for o in b"a\r\n..b\r\n.\r"], "\n"
)
_say("mail data", "commands behind it", "keeper", EHLO, MAIL, RCPT, "DATA", b"Text\r\n", ".\r\nNOOP\r\nRSET", QUIT)

# -- Hooks and exceptions ------------------------------------------------------------------------------------

_USES = {
    "HELO": (HELO, MAIL, HELO),
    "EHLO": (EHLO, MAIL),
    "MAIL": (EHLO, MAIL, RCPT, MAIL, "RSET"),
    "RCPT": (EHLO, MAIL, RCPT, "DATA", "."),
    "DATA": (EHLO, MAIL, RCPT, "DATA", b"Text\r\n", ".", "NOOP"),
    "RSET": (EHLO, MAIL, "RSET", MAIL),
    "NOOP": (EHLO, "NOOP", "NOOP x", "NOOP"),
    "QUIT": (EHLO, "QUIT", "NOOP"),
    "VRFY": (EHLO, "VRFY bob", "VRFY @"),
}
for _setup in SETUPS:
    _verb, _, _how = _setup.partition(" ")
    if _verb in _USES and _how.startswith(("says", "raises")):
        _say("hooks", repr(_setup), _setup, *_USES[_verb])
_say(
    "hooks",
    "DATA raises, and what is left then",
    "DATA raises",
    EHLO,
    MAIL,
    RCPT,
    "DATA",
    b"Text\r\n",
    ".",
    MAIL,
    "RSET",
)
for _setup in (
    "returns None",
    "returns MISSING",
    "returns octets",
    "returns unicode",
    "returns unicode utf8",
    "handles exceptions",
    "fails twice",
    "fails thrice",
    "described",
    "ehlo replaced",
    "ehlo extended",
    "old ehlo",
    "hooked",
    "watcher",
    "verbs hook",
):
    _say(
        "hooks",
        _setup,
        _setup,
        HELO,
        EHLO,
        "NOOP",
        "VRFY bob",
        MAIL,
        "RSET",
        MAIL,
        RCPT,
        "RCPT TO:<unknown@example.com>",
        "DATA",
        b"Text\r\n",
        ".",
        "NOOP",
        QUIT,
    )

# -- Limits --------------------------------------------------------------------------------------------------

for _setup in ("call limit", "call limits", "call limits without default"):
    for _verb in ("NOOP", "RSET", "WHAT", "EHLO x", "noop", "MAIL", "QUIT x"):
        _say("limits", f"{_verb} with {_setup}", _setup, *[_verb] * 6, "HELP", "HELP")
    _say("limits", f"many verbs with {_setup}", _setup, "NOOP", "RSET", "NOOP", "RSET", "HELP", "VRFY", "NOOP", "HELP")
_say("limits", "commands behind one too many", "call limit", "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nHELP")
_say("limits", "20 and one", "call limits without default", *["HELP"] * 21, "HELP")
_say(
    "limits", "many recipients", "watcher", EHLO, MAIL, *[f"RCPT TO:<{n}@example.com>" for n in range(120)], "DATA", "."
)
_say("limits", "EHLO again and again", "keeper", *[EHLO] * 5, "MAIL FROM:<" + "a" * 524 + "@example.com>")

# -- LMTP ----------------------------------------------------------------------------------------------------

for _setup in ("lmtp", "lmtp watcher", "lmtp many", "lmtp partial"):
    _say(
        "LMTP",
        f"a message with {_setup}",
        _setup,
        "NOOP",
        MAIL,
        HELO,
        EHLO,
        "LHLO",
        LHLO,
        MAIL,
        RCPT,
        RCPT,
        RCPT,
        "DATA",
        b"Text\r\n",
        ".",
        "NOOP",
        QUIT,
    )
    _say("LMTP", f"no recipient with {_setup}", _setup, LHLO, MAIL, "DATA", "RSET", "HELP LHLO", "HELP EHLO", QUIT)
_say("LMTP", "AUTH", "lmtp auth", LHLO, MAIL, "AUTH PLAIN AGdvb2Rsb2dpbgBnb29kcGFzc3dk", MAIL, RCPT, "DATA", ".")
_say("LMTP", "STARTTLS", "lmtp tls", LHLO, "STARTTLS", Act.HANDSHAKE, MAIL, LHLO, MAIL, RCPT, "DATA", ".", QUIT)

# -- AUTH ----------------------------------------------------------------------------------------------------


def _b64(text: bytes) -> str:
    return b64encode(text).decode()


_GOOD = _b64(b"\0goodlogin\0goodpasswd")
_BAD = _b64(b"\0goodlogin\0wrong")
_USER, _PASSWORD, _WRONG = _b64(b"goodlogin"), _b64(b"goodpasswd"), _b64(b"wrong")
_AUTHS: dict[str, tuple[Step, ...]] = {
    "PLAIN": (f"AUTH PLAIN {_GOOD}",),
    "PLAIN that fails": (f"AUTH PLAIN {_BAD}",),
    "PLAIN in two steps": ("AUTH PLAIN", _GOOD),
    "PLAIN in two steps that fails": ("AUTH PLAIN", _BAD),
    "PLAIN with an identity": (
        f"AUTH PLAIN {_b64(b'other' + chr(0).encode() + b'goodlogin' + chr(0).encode() + b'goodpasswd')}",
    ),
    "PLAIN given up": ("AUTH PLAIN", "*"),
    "PLAIN given up at once": ("AUTH PLAIN *",),
    "PLAIN with =": ("AUTH PLAIN =",),
    "PLAIN with no base64": ("AUTH PLAIN @@@",),
    "PLAIN with no base64 in two steps": ("AUTH PLAIN", "@@@"),
    "PLAIN with wrong padding": ("AUTH PLAIN AGdvb2Rsb2dpbgBnb29kcGFzc3d",),
    "PLAIN with an empty line": ("AUTH PLAIN", ""),
    "PLAIN with one part": (f"AUTH PLAIN {_b64(b'goodlogin')}",),
    "PLAIN with two parts": (f"AUTH PLAIN {_b64(b'goodlogin' + bytes(1) + b'goodpasswd')}",),
    "PLAIN with four parts": (f"AUTH PLAIN {_b64(b'a' + bytes(1) + b'b' + bytes(1) + b'c' + bytes(1) + b'd')}",),
    "PLAIN with one part in two steps": ("AUTH PLAIN", _b64(b"goodlogin")),
    "PLAIN with octets": (f"AUTH PLAIN {_b64(bytes(1) + bytes([0xFF, 0xFE]) + bytes(1) + bytes([0x80]))}",),
    "PLAIN with spaces around": ("AUTH PLAIN", f"  {_GOOD}  "),
    "PLAIN with a special user": (f"AUTH PLAIN {_b64(bytes(1) + b'special' + bytes(1) + b'x')}",),
    "PLAIN with an odd user": (f"AUTH PLAIN {_b64(bytes(1) + b'odd' + bytes(1) + b'x')}",),
    "LOGIN": ("AUTH LOGIN", _USER, _PASSWORD),
    "LOGIN that fails": ("AUTH LOGIN", _USER, _WRONG),
    "LOGIN with a user": (f"AUTH LOGIN {_USER}", _PASSWORD),
    "LOGIN with a user that fails": (f"AUTH LOGIN {_USER}", _WRONG),
    "LOGIN given up": ("AUTH LOGIN", "*"),
    "LOGIN given up later": ("AUTH LOGIN", _USER, "*"),
    "LOGIN with no base64": ("AUTH LOGIN", "@"),
    "LOGIN with no base64 later": ("AUTH LOGIN", _USER, "@"),
    "LOGIN with no base64 at once": ("AUTH LOGIN @",),
    "LOGIN with empty lines": ("AUTH LOGIN", "", ""),
    "LOGIN with a space in the user": ("AUTH LOGIN", _b64(b"good login"), _PASSWORD),
    "nothing": ("AUTH",),
    "too much": (f"AUTH PLAIN {_GOOD} more",),
    "lower case": (f"auth plain {_GOOD}",),
    "lower case mechanism": (f"AUTH plain {_GOOD}",),
    "lower case LOGIN": ("AUTH login",),
    "an unknown mechanism": ("AUTH NOBODY",),
    "CRAM-MD5": ("AUTH CRAM-MD5",),
    "two spaces": (f"AUTH  PLAIN  {_GOOD}",),
    "twice": (f"AUTH PLAIN {_GOOD}", f"AUTH PLAIN {_GOOD}"),
    "again after a failure": (f"AUTH PLAIN {_BAD}", f"AUTH PLAIN {_BAD}", f"AUTH PLAIN {_GOOD}"),
    "in a transaction": (MAIL, f"AUTH PLAIN {_GOOD}", RCPT),
}
_AUTH_SETUPS = ("auth callback", "authenticator", "auth required")
for _name, _steps in _AUTHS.items():
    for _setup in _AUTH_SETUPS:
        _say("AUTH", f"{_name} with {_setup}", _setup, EHLO, *_steps, MAIL, RCPT, "DATA", ".", QUIT)
for _name in ("PLAIN", "PLAIN in two steps", "LOGIN", "LOGIN that fails", "an unknown mechanism"):
    for _setup in SETUPS:
        if _setup.startswith("auth") and _setup not in _AUTH_SETUPS and _setup not in {"auth silent", "auth async"}:
            _say("AUTH", f"{_name} with {_setup}", _setup, EHLO, *_AUTHS[_name], "VRFY bob", MAIL, QUIT)
_say(
    "AUTH",
    "before EHLO",
    "auth callback",
    f"AUTH PLAIN {_GOOD}",
    HELO,
    f"AUTH PLAIN {_GOOD}",
    EHLO,
    f"AUTH PLAIN {_GOOD}",
)
_say(
    "AUTH",
    "kept over RSET and EHLO",
    "auth required",
    EHLO,
    f"AUTH PLAIN {_GOOD}",
    "RSET",
    MAIL,
    EHLO,
    MAIL,
    HELO,
    MAIL,
)
_say(
    "AUTH",
    "required for what",
    "auth required",
    "NOOP",
    "HELP",
    "VRFY x",
    MAIL,
    EHLO,
    "NOOP",
    "HELP",
    "VRFY x",
    MAIL,
    RCPT,
    "DATA",
    "RSET",
    "EXPN x",
    QUIT,
)
_MECHANISMS = (
    *("NONE", "MISSING", "FALSE", "NAME", "RESULT", "NEVER", "WITH_UNDERSCORE", "WITH-DASH", "WITH__DASH"),
    *("OTHER-NAME", "something", "RAW", "FAILING", "PLAIN"),
)
for _mechanism in _MECHANISMS:
    for _argument in ("", " eA=="):
        _say(
            "AUTH",
            f"{_mechanism}{_argument} on the handler",
            "auth mechanisms",
            EHLO,
            f"AUTH {_mechanism}{_argument}",
            "eWVz",
            "NOOP",
            MAIL,
            RCPT,
            "DATA",
            ".",
        )
_say("AUTH", "OTHER-NAME given up", "auth mechanisms", EHLO, "AUTH OTHER-NAME", "*", "NOOP")
for _mechanism in ("OWN", "PLAIN", "LOGIN"):
    _say(
        "AUTH",
        f"{_mechanism} of a subclass",
        "auth own",
        EHLO,
        f"AUTH {_mechanism} eA==",
        "eA==",
        MAIL,
        RCPT,
        "DATA",
        ".",
    )

# These are sent as octets, because nobody knows whether an answer will come.
_say("AUTH", "a refusal without a word", "auth silent", EHLO, f"AUTH PLAIN {_GOOD}\r\n".encode(), b"NOOP\r\n")
_say(
    "AUTH",
    "a refusal without a word in two steps",
    "auth silent",
    EHLO,
    "AUTH LOGIN",
    _USER,
    f"{_WRONG}\r\n".encode(),
    b"NOOP\r\n",
)
for _name in ("PLAIN", "PLAIN that fails", "LOGIN", "LOGIN that fails"):
    _say("AUTH", f"{_name} with a coroutine", "auth async", EHLO, *_AUTHS[_name], MAIL, RCPT, "DATA", ".", QUIT)
for _length in (300, 360, 700, 1000, 9000):
    _long = _b64(b"\0" + b"l" * _length + b"\0goodpasswd")
    _say("AUTH", f"PLAIN of {_length} octets", "auth callback", EHLO, f"AUTH PLAIN {_long}", "NOOP")
    _say("AUTH", f"PLAIN of {_length} octets in two steps", "auth callback", EHLO, "AUTH PLAIN", _long, "NOOP")

# -- TLS -----------------------------------------------------------------------------------------------------

for _setup in ("tls", "tls watcher", "tls required", "tls accepted", "tls refused", "tls auth", "tls auth required"):
    _say(
        "TLS",
        f"a message with {_setup}",
        _setup,
        EHLO,
        MAIL,
        "STARTTLS",
        Act.HANDSHAKE,
        MAIL,
        HELO,
        MAIL,
        EHLO,
        f"AUTH PLAIN {_GOOD}",
        MAIL,
        RCPT,
        "DATA",
        b"Text\r\n",
        ".",
        "HELP",
        "NOOP",
        "VRFY x",
        QUIT,
    )
    _say(
        "TLS",
        f"without with {_setup}",
        _setup,
        MAIL,
        "NOOP",
        "RSET",
        "HELP",
        "VRFY x",
        "DATA",
        HELO,
        MAIL,
        "STARTTLS x",
        EHLO,
        f"AUTH PLAIN {_GOOD}",
        MAIL,
        "RSET",
        "WHAT",
        QUIT,
    )
    _say("TLS", f"before EHLO with {_setup}", _setup, "STARTTLS", Act.HANDSHAKE, "NOOP", EHLO, "STARTTLS x", QUIT)
    _say(
        "TLS",
        f"in a transaction with {_setup}",
        _setup,
        EHLO,
        MAIL,
        RCPT,
        "STARTTLS",
        Act.HANDSHAKE,
        "DATA",
        EHLO,
        "DATA",
    )
_say("TLS", "required, but there is none", "tls only required", EHLO, MAIL, "STARTTLS", QUIT)
_say("TLS", "a command behind STARTTLS", "tls", EHLO, "STARTTLS\r\nNOOP\r\nNOOP\r\n"[:-2])
for _setup in ("wrapped", "wrapped open"):
    _say("TLS", f"AUTH with {_setup}", _setup, EHLO, f"AUTH PLAIN {_GOOD}", MAIL, RCPT, "DATA", ".", QUIT)

for _setup in ("tls raises", "tls accepted later", "tls refused later", "tls raises later"):
    _say("TLS", f"judged with {_setup}", _setup, EHLO, "STARTTLS", Act.HANDSHAKE, EHLO, MAIL, RCPT, "DATA", ".", QUIT)

_say("TLS", "STARTTLS twice", "tls", EHLO, "STARTTLS", Act.HANDSHAKE, EHLO, b"STARTTLS\r\n", b"NOOP\r\n")

# -- PROXY ---------------------------------------------------------------------------------------------------


def _v2(command: int, kind: int, rest: bytes, *, version: int = 2, length: int | None = None) -> bytes:
    signature = b"\r\n\r\n\x00\r\nQUIT\n"
    return signature + struct.pack("!BBH", version << 4 | command, kind, len(rest) if length is None else length) + rest


def make_tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


_IPV4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 1234, 25)
_IPV6 = bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack("!HH", 1234, 25)
_UNIX = b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")
_SSL = b"\1\0\0\0\0" + make_tlv(0x21, b"TLSv1.3") + make_tlv(0x22, b"cn") + make_tlv(0x23, b"cipher")
HEADERS: dict[str, bytes] = {
    "v1 TCP4": b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 25\r\n",
    "v1 TCP6": b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 25\r\n",
    "v1 UNKNOWN": b"PROXY UNKNOWN\r\n",
    "v1 UNKNOWN with more": b"PROXY UNKNOWN some thing  more\r\n",
    "v1 UNKNOWN with a space": b"PROXY UNKNOWN \r\n",
    "v1 nothing": b"PROXY\r\n",
    "v1 a space": b"PROXY \r\n",
    "v1 TCP4 alone": b"PROXY TCP4\r\n",
    "v1 one address": b"PROXY TCP4 192.0.2.1\r\n",
    "v1 one port": b"PROXY TCP4 192.0.2.1 198.51.100.2 1234\r\n",
    "v1 more": b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 25 x\r\n",
    "v1 two spaces": b"PROXY TCP4  192.0.2.1 198.51.100.2 1234 25\r\n",
    "v1 TCP5": b"PROXY TCP5 192.0.2.1 198.51.100.2 1234 25\r\n",
    "v1 UDP4": b"PROXY UDP4 192.0.2.1 198.51.100.2 1234 25\r\n",
    "v1 lower case": b"proxy TCP4 192.0.2.1 198.51.100.2 1234 25\r\n",
    "v1 another word": b"PROXYX TCP4 192.0.2.1 198.51.100.2 1234 25\r\n",
    "v1 a bad address": b"PROXY TCP4 192.0.2.256 198.51.100.2 1234 25\r\n",
    "v1 a name": b"PROXY TCP4 host.example 198.51.100.2 1234 25\r\n",
    "v1 IPv6 as IPv4": b"PROXY TCP4 ::1 ::2 1234 25\r\n",
    "v1 IPv4 as IPv6": b"PROXY TCP6 192.0.2.1 192.0.2.2 1234 25\r\n",
    "v1 both": b"PROXY TCP4 192.0.2.1 ::1 1234 25\r\n",
    "v1 a leading zero": b"PROXY TCP4 192.0.2.1 198.51.100.2 01234 25\r\n",
    "v1 port 0": b"PROXY TCP4 192.0.2.1 198.51.100.2 0 0\r\n",
    "v1 a source port out of bounds": b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n",
    "v1 a destination port out of bounds": b"PROXY TCP4 192.0.2.1 198.51.100.2 25 123456\r\n",
    "v1 a port that is none": b"PROXY TCP4 192.0.2.1 198.51.100.2 12a 25\r\n",
    "v1 a negative port": b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n",
    "v1 a bare LF": b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 25\n",
    "v1 107 octets": b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n",
    "v1 108 octets": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "v1 without an end": b"PROXY " + b"x" * 3000,
    "v2 TCP4": _v2(1, 0x11, _IPV4),
    "v2 UDP4": _v2(1, 0x12, _IPV4),
    "v2 TCP6": _v2(1, 0x21, _IPV6),
    "v2 UNIX": _v2(1, 0x31, _UNIX),
    "v2 LOCAL": _v2(0, 0x00, b""),
    "v2 LOCAL with more": _v2(0, 0x00, b"anything"),
    "v2 LOCAL with addresses": _v2(0, 0x11, _IPV4),
    "v2 PROXY without a family": _v2(1, 0x00, b"rest"),
    "v2 INET without a transport": _v2(1, 0x10, _IPV4),
    "v2 a command too high": _v2(2, 0x11, _IPV4),
    "v2 a family too high": _v2(1, 0x41, _IPV4),
    "v2 a transport too high": _v2(1, 0x13, _IPV4),
    "v2 version 1": _v2(1, 0x11, _IPV4, version=1),
    "v2 a short address": _v2(1, 0x11, _IPV4[:-1]),
    "v2 a short UNIX address": _v2(1, 0x31, _UNIX[:-1]),
    "v2 another signature": b"\r\n\r\n\x00\r\nQUIX\n" + _v2(1, 0x11, _IPV4)[12:],
    "v2 ALPN": _v2(1, 0x11, _IPV4 + make_tlv(1, b"smtp")),
    "v2 an unknown TLV": _v2(1, 0x11, _IPV4 + make_tlv(0xEE, b"x") + make_tlv(2, b"a.example")),
    "v2 an empty TLV": _v2(1, 0x11, _IPV4 + make_tlv(4, b"")),
    "v2 a broken TLV": _v2(1, 0x11, _IPV4 + make_tlv(1, b"smtp")[:-1]),
    "v2 half a TLV": _v2(1, 0x11, _IPV4 + b"\x01\x00"),
    "v2 SSL": _v2(1, 0x11, _IPV4 + make_tlv(1, b"smtp") + make_tlv(0x20, _SSL) + make_tlv(5, b"id")),
    "v2 SSL without more": _v2(1, 0x21, _IPV6 + make_tlv(0x20, b"\0\0\0\0\1")),
    "v2 broken SSL": _v2(1, 0x11, _IPV4 + make_tlv(1, b"smtp") + make_tlv(0x20, _SSL[:-1]) + make_tlv(5, b"id")),
    "v2 short SSL": _v2(1, 0x11, _IPV4 + make_tlv(0x20, b"\1\0")),
    "no header": b"EHLO client.example\r\n",
    "no header in lower case": b"quit\r\n      ",
}
for _name, _header in HEADERS.items():
    _say("PROXY", _name, "proxy", _header, EHLO, MAIL, RCPT, "DATA", b"Text\r\n", ".", QUIT)
for _setup in ("proxy falsy", "proxy missing"):
    for _name in ("v1 TCP4", "v1 UNKNOWN", "v2 TCP6", "v1 more"):
        _say("PROXY", f"{_name} with {_setup}", _setup, HEADERS[_name], EHLO)
_say("PROXY", "v1 a port with an underscore", "proxy", b"PROXY TCP4 192.0.2.1 198.51.100.2 1_0 25\r\n", EHLO)
_say("PROXY", "a header in pieces", "proxy", *[bytes([octet]) for octet in HEADERS["v2 ALPN"]], EHLO)
_say("PROXY", "a header and commands", "proxy", HEADERS["v1 TCP4"] + b"NOOP\r\nEHLO x\r\n", MAIL)
_say(
    "PROXY",
    "then STARTTLS",
    "proxy tls",
    HEADERS["v1 TCP4"],
    EHLO,
    "STARTTLS",
    Act.HANDSHAKE,
    EHLO,
    MAIL,
    RCPT,
    "DATA",
    ".",
)
_say("PROXY", "five octets and the end", "proxy", b"PROXY", Act.EOF)
_say("PROXY", "four octets and the end", "proxy", b"PROX", Act.EOF)
_say("PROXY", "half a v2 header and the end", "proxy", HEADERS["v2 TCP4"][:20], Act.EOF)
