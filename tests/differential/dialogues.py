"""Dialogues at random, from a table of things that a client may say.

Each thing is a row: what is remarkable about it, in words, and the octets.  A difference between two servers is told by
these words and by what the servers answered.  The same seed gives the same dialogues.
"""

from __future__ import annotations

import random
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_Value = TypeVar("_Value")

SIZE_LIMIT: Final = 10_000
END_OF_DATA: Final = b".\r\n"


class Kind(Enum):
    """How a step is played."""

    COMMAND = auto()
    """Send it, hear one reply."""
    GROUP = auto()
    """Send several commands at once, hear a reply to each."""
    DATA = auto()
    """Send it, hear a reply; after 354 send the body, hear another."""
    CHUNKS = auto()
    """As a group; for servers that offer CHUNKING."""
    LAST_DATA = auto()
    """As DATA, but with QUIT behind the body, and hear all up to the end: some take a part of the body for commands."""
    LAST_CHUNK = auto()
    """A BDAT that nobody understands, and QUIT; hear all up to the end."""


class Step(NamedTuple):
    """What is said, and what is remarkable about it.  ``body`` is for DATA.  ``replies``: how many are due."""

    what: str
    kind: Kind
    sent: bytes
    body: bytes = b""
    replies: int = 1


class Dialogue(NamedTuple):
    """Steps, and the number that they were made from."""

    seed: int
    steps: list[Step]


# What begins a session or a transaction anew, whatever was before.
ANEW: Final = ("EHLO", "RSET")

_GREETINGS: Final = {
    "EHLO": b"EHLO client.example",
    "EHLO in lower case": b"ehlo client.example",
    "HELO": b"HELO client.example",
    "EHLO with an address literal": b"EHLO [192.0.2.1]",
    "EHLO with an underscore": b"EHLO my_host",
    "EHLO with a name in UTF-8": "EHLO bücher.example".encode(),
    "EHLO with two spaces": b"EHLO  client.example",
    "EHLO without a name": b"EHLO",
    "HELO without a name": b"HELO",
    "EHLO with two words": b"EHLO client example",
    "EHLO with a name of 300 octets": b"EHLO " + b"x" * 300,
    "LHLO": b"LHLO client.example",
}
# Of MAIL and RCPT: what stands where the path stands.
_PATHS: Final = {
    "": b"<alice@example.com>",
    "with a path in capitals": b"<ALICE@EXAMPLE.COM>",
    "with a source route": b"<@one.example,@two.example:alice@example.com>",
    "with a quoted local part": b'<"alice"@example.com>',
    "with a space in a quoted local part": b'<"alice b"@example.com>',
    "with an @ in a quoted local part": b'<"alice@b"@example.com>',
    "with an address literal": b"<alice@[192.0.2.1]>",
    "with an IPv6 address literal": b"<alice@[IPv6:2001:db8::1]>",
    "with a bad address literal": b"<alice@[192.0.2.256]>",
    "with an address literal without brackets": b"<alice@192.0.2.1>",
    "with an unknown kind of address literal": b"<alice@[tag:text]>",
    "without a domain": b"<alice>",
    "with an empty domain": b"<alice@>",
    "with an empty local part": b"<@example.com>",
    "with a domain that ends with a dot": b"<alice@example.com.>",
    "with two dots in the domain": b"<alice@example..com>",
    "with two dots in the local part": b"<alice..b@example.com>",
    "with a dot in front of the local part": b"<.alice@example.com>",
    "with two @": b"<alice@b@example.com>",
    "with a space in the local part": b"<alice b@example.com>",
    "with a comment": b"<alice(comment)@example.com>",
    "with an underscore in the domain": b"<alice@my_host.example>",
    "with a hyphen in front of the domain": b"<alice@-example.com>",
    "with a label of 64 octets": b"<alice@" + b"x" * 64 + b".example>",
    "with a local part of 65 octets": b"<" + b"x" * 65 + b"@example.com>",
    "with a domain of 260 octets": b"<alice@" + b"abcdefghi." * 25 + b"example.com>",
    "without brackets": b"alice@example.com",
    "without the closing bracket": b"<alice@example.com",
    "with text behind the brackets": b"<alice@example.com>text",
    "with spaces behind the brackets": b"<alice@example.com>   ",
    "with spaces inside the brackets": b"< alice@example.com >",
    "with a display name": b"Alice <alice@example.com>",
    "with two paths": b"<alice@example.com> <bob@example.com>",
    "with nothing": b"",
    "with the null path": b"<>",
    "with Postmaster": b"<Postmaster>",
    "with UTF-8, without SMTPUTF8": "<jürgen@example.com>".encode(),
    "with octets that are no UTF-8": b"<j\xfcrgen@example.com>",
    "with a control character": b"<alice\x07@example.com>",
    "with a tabulator": b"<alice\t@example.com>",
}
_MAIL_PARAMETERS: Final = {
    "SIZE": b"SIZE=100",
    "SIZE of 0": b"SIZE=0",
    "SIZE over the limit": b"SIZE=%d" % (SIZE_LIMIT + 1),
    "SIZE of 30 digits": b"SIZE=" + b"9" * 30,
    "SIZE without a value": b"SIZE",
    "SIZE that is no number": b"SIZE=ten",
    "SIZE twice": b"SIZE=1 SIZE=2",
    "BODY=8BITMIME": b"BODY=8BITMIME",
    "BODY=7BIT in lower case": b"body=7bit",
    "BODY=BINARYMIME": b"BODY=BINARYMIME",
    "BODY of another value": b"BODY=9BIT",
    "SMTPUTF8": b"SMTPUTF8",
    "SMTPUTF8 with a value": b"SMTPUTF8=yes",
    "an unknown parameter": b"XYZZY=1",
    "a parameter that is none": b"=1",
    "AUTH": b"AUTH=<>",
    "RET": b"RET=HDRS",
    "RET of another value": b"RET=SOME",
    "ENVID": b"ENVID=QQ314159",
    "ENVID that is no xtext": b"ENVID=a+b",
    "ENVID twice": b"ENVID=a ENVID=b",
    "NOTIFY": b"NOTIFY=NEVER",
    "two spaces": b" SIZE=100",
}
_RCPT_PARAMETERS: Final = {
    "NOTIFY": b"NOTIFY=SUCCESS,FAILURE",
    "NOTIFY=NEVER": b"NOTIFY=NEVER",
    "NOTIFY=NEVER and another": b"NOTIFY=NEVER,SUCCESS",
    "NOTIFY of another value": b"NOTIFY=PERHAPS",
    "ORCPT": b"ORCPT=rfc822;alice@example.com",
    "ORCPT without a type": b"ORCPT=alice@example.com",
    "ORCPT that is no xtext": b"ORCPT=rfc822;a+b@example.com",
    "an unknown parameter": b"XYZZY=1",
    "a parameter that is none": b"=1",
    "SIZE": b"SIZE=100",
}
_BODIES: Final = {
    "": b"Subject: one\r\n\r\nText\r\n",
    "with nothing": b"",
    "with dots": b"..\r\n...\r\n..a\r\n.b\r\n",
    "with 8-bit octets": b"Subject: \xfc\r\n\r\n\xff\xfe\r\n",
    "with NUL": b"a\0b\r\n",
    "with a line of 1000 octets": b"x" * 998 + b"\r\n",
    "with a line of 3000 octets": b"x" * 2998 + b"\r\n",
    "over the size limit": b"0123456789abcdef\r\n" * (SIZE_LIMIT // 16),
}
_MORE: Final = b"RSET\r\nNOOP\r\n"
# What a server that ends lines at LF or CR takes for the end of data; only CRLF "." CRLF is.
_HARD_BODIES: Final = {
    "with a bare LF": b"a\nb\r\n",
    "with a bare CR": b"a\rb\r\n",
    "with LF . LF": b"a\n.\n" + _MORE,
    "with LF . CRLF": b"a\n.\r\n" + _MORE,
    "with CRLF . LF": b"a\r\n.\n" + _MORE,
    "with CR . CR": b"a\r.\r" + _MORE,
    "with CR . CRLF": b"a\r.\r\n" + _MORE,
    "with CRLF . CR": b"a\r\n.\r" + _MORE,
    "with CRLF NUL . CRLF": b"a\r\n\0.\r\n" + _MORE,
}
_OTHERS: Final = {
    "NOOP": b"NOOP",
    "NOOP with an argument": b"NOOP argument",
    "RSET with an argument": b"RSET argument",
    "DATA with an argument": b"DATA argument",
    "QUIT with an argument": b"QUIT argument",
    "HELP": b"HELP",
    "HELP with a command": b"HELP MAIL",
    "HELP with something unknown": b"HELP XYZZY",
    "VRFY": b"VRFY alice@example.com",
    "VRFY of a name": b"VRFY alice",
    "VRFY in brackets": b"VRFY <alice@example.com>",
    "VRFY without an argument": b"VRFY",
    "VRFY in UTF-8, without SMTPUTF8": "VRFY jürgen@example.com".encode(),
    "EXPN": b"EXPN list",
    "EXPN without an argument": b"EXPN",
    "ETRN": b"ETRN example.com",
    "AUTH": b"AUTH PLAIN AGFubgBzZWNyZXQ=",
    "AUTH without an argument": b"AUTH",
    "STARTTLS": b"STARTTLS",
    "STARTTLS with an argument": b"STARTTLS argument",
    "XCLIENT": b"XCLIENT ADDR=192.0.2.1",
    "XFORWARD": b"XFORWARD ADDR=192.0.2.1",
    "TURN": b"TURN",
    "SEND": b"SEND FROM:<alice@example.com>",
    "an unknown command": b"XYZZY",
    "a header field": b"Subject: one",
    "HTTP": b"GET / HTTP/1.1",
    "an empty line": b"",
    "a line of spaces": b"   ",
    "a space in front of a command": b" NOOP",
    "a tabulator behind a command": b"NOOP\targument",
    "NUL in a line": b"NOOP a\0b",
    "NUL behind a command": b"NOOP\0",
    "a bare CR in a line": b"NOOP a\rb",
    "8-bit octets in a command": b"N\xd6\xd6P",
    "8-bit octets in an argument": b"NOOP \xff",
    "UTF-8 in an argument": "NOOP ü".encode(),
    "a line of 600 octets": b"NOOP " + b"x" * 593,
    "a line of 3000 octets": b"NOOP " + b"x" * 2993,
    "MAIL without an argument": b"MAIL",
    "MAIL with TO": b"MAIL TO:<alice@example.com>",
    "MAIL with a space before the colon": b"MAIL FROM :<alice@example.com>",
    "MAIL with a space behind the colon": b"MAIL FROM: <alice@example.com>",
    "MAIL without the colon": b"MAIL FROM<alice@example.com>",
    "MAIL in lower case": b"mail from:<alice@example.com>",
    "RCPT without an argument": b"RCPT",
    "RCPT with FROM": b"RCPT FROM:<alice@example.com>",
    "RCPT with a space behind the colon": b"RCPT TO: <alice@example.com>",
    "RCPT in lower case": b"rcpt to:<alice@example.com>",
}
_MAIL: Final = b"MAIL FROM:<alice@example.com>"
_RCPT: Final = b"RCPT TO:<bob@example.com>"
_CHUNKS: Final = {
    "BDAT LAST": (b"BDAT 6 LAST\r\nText\r\n", 1),
    "BDAT twice": (b"BDAT 3\r\nTexBDAT 3 LAST\r\nt\r\n", 2),
    "BDAT and an empty last chunk": (b"BDAT 6\r\nText\r\nBDAT 0 LAST\r\n", 2),
    "BDAT in lower case": (b"bdat 6 last\r\nText\r\n", 1),
    "BDAT with bare CR and LF": (b"BDAT 9 LAST\r\na\nb\rc\n.\n\r", 1),
    "BDAT, then DATA": (b"BDAT 6\r\nText\r\nDATA\r\nRSET\r\n", 3),
    "BDAT, then RCPT": (b"BDAT 6\r\nText\r\nRCPT TO:<carol@example.com>\r\nRSET\r\n", 3),
    "BDAT, then MAIL": (b"BDAT 6\r\nText\r\nMAIL FROM:<carol@example.com>\r\nRSET\r\n", 3),
    "BDAT, then NOOP": (b"BDAT 6\r\nText\r\nNOOP\r\nRSET\r\n", 3),
    "BDAT over the size limit": (b"BDAT %d LAST\r\n" % (SIZE_LIMIT + 1) + b"x" * (SIZE_LIMIT + 1), 1),
    "BDAT with a leading zero": (b"BDAT 06 LAST\r\nText\r\n", 1),
    "BDAT with two spaces": (b"BDAT 6  LAST\r\nText\r\n", 1),
}
# These end a session, at least with some.
_BAD_CHUNKS: Final = {
    "BDAT without a size": b"BDAT",
    "BDAT with a size that is no number": b"BDAT six LAST",
    "BDAT with a negative size": b"BDAT -1",
    "BDAT with another word than LAST": b"BDAT 0 FIRST",
    "BDAT with three words": b"BDAT 0 LAST LAST",
    "BDAT with a size of 30 digits": b"BDAT " + b"9" * 30,
}
_GROUPS: Final = {
    "MAIL, RCPT": (_MAIL, _RCPT),
    "RSET, MAIL, RCPT, RCPT": (b"RSET", _MAIL, _RCPT, b"RCPT TO:<carol@example.com>"),
    "MAIL, RCPT without a domain name, RCPT": (_MAIL, b"RCPT TO:<bob@>", _RCPT),
    "NOOP, NOOP, RSET": (b"NOOP", b"NOOP", b"RSET"),
    "RCPT, MAIL": (_RCPT, _MAIL),
    "RSET, RCPT, NOOP": (b"RSET", _RCPT, b"NOOP"),
    "EHLO, MAIL": (b"EHLO client.example", _MAIL),
}


def dialogues(count: int, seed: int = 0) -> Iterator[Dialogue]:
    """So many dialogues; ``seed`` is that of the first."""
    for each in range(seed, seed + count):
        numbers = random.Random(each)
        yield Dialogue(each, list(_steps(numbers)))


def _steps(numbers: random.Random) -> Iterator[Step]:
    if numbers.random() < 0.3:
        for _ in range(numbers.randint(1, 3)):
            yield _anything(numbers)
    yield _command(numbers, _GREETINGS) if numbers.random() < 0.3 else _plain("EHLO", _GREETINGS["EHLO"])
    for _ in range(numbers.randint(2, 6)):
        yield from _transaction(numbers)
        if numbers.random() < 0.4:
            yield _anything(numbers)
        # So that a difference in one transaction is not found again in the next.
        yield _plain("RSET", b"RSET") if numbers.random() < 0.8 else _plain("EHLO", _GREETINGS["EHLO"])
    if numbers.random() < 0.4:
        yield _plain("MAIL", _MAIL)
        yield _plain("RCPT", _RCPT)
        what, body = _choose(numbers, _HARD_BODIES)
        yield Step(f"mail data {what}", Kind.LAST_DATA, b"DATA\r\n", body + END_OF_DATA + b"QUIT\r\n")
    elif numbers.random() < 0.2:
        what, sent = _choose(numbers, _BAD_CHUNKS)
        yield Step(what, Kind.LAST_CHUNK, _line(sent) + b"QUIT\r\n")
    else:
        yield _plain("QUIT", b"QUIT")


def _transaction(numbers: random.Random) -> Iterator[Step]:
    yield _mail(numbers)
    for _ in range(numbers.choice((0, 1, 1, 1, 2))):
        yield _rcpt(numbers)
    if numbers.random() < 0.15:
        yield _anything(numbers)
    kind = numbers.random()
    if kind < 0.6:
        what, body = _choose(numbers, _BODIES)
        yield Step(f"mail data {what}".strip(), Kind.DATA, b"DATA\r\n", body + END_OF_DATA)
    elif kind < 0.8:
        what, (sent, replies) = _choose(numbers, _CHUNKS)
        yield Step(what, Kind.CHUNKS, sent, replies=replies)


def _mail(numbers: random.Random) -> Step:
    return _with_path(numbers, "MAIL", b"MAIL FROM:", _MAIL_PARAMETERS)


def _rcpt(numbers: random.Random) -> Step:
    return _with_path(numbers, "RCPT", b"RCPT TO:", _RCPT_PARAMETERS)


def _with_path(numbers: random.Random, verb: str, opening: bytes, parameters: dict[str, bytes]) -> Step:
    kind = numbers.random()
    if kind < 0.4:
        return _plain(verb, opening + _PATHS[""])
    if kind < 0.75:
        what, path = _choose(numbers, _PATHS)
        return _plain(f"{verb} {what}".strip(), opening + path)
    what, parameter = _choose(numbers, parameters)
    return _plain(f"{verb} with {what}", opening + _PATHS[""] + b" " + parameter)


def _anything(numbers: random.Random) -> Step:
    kind = numbers.random()
    if kind < 0.6:
        return _command(numbers, _OTHERS)
    if kind < 0.75:
        return _command(numbers, _GREETINGS)
    if kind < 0.9:
        what, commands = _choose(numbers, _GROUPS)
        return Step(f"together: {what}", Kind.GROUP, b"".join(map(_line, commands)), replies=len(commands))
    return _plain(*numbers.choice((("DATA", b"DATA"), ("RCPT", _RCPT), ("MAIL", _MAIL))))


def _command(numbers: random.Random, table: dict[str, bytes]) -> Step:
    return _plain(*_choose(numbers, table))


def _plain(what: str, command: bytes) -> Step:
    kind = Kind.DATA if what == "DATA" else Kind.COMMAND
    body = _BODIES[""] + END_OF_DATA if kind is Kind.DATA else b""
    return Step(what, kind, _line(command), body)


def _line(command: bytes) -> bytes:
    return command + b"\r\n"


def _choose(numbers: random.Random, table: Mapping[str, _Value]) -> tuple[str, _Value]:
    what = numbers.choice(list(table))
    return what, table[what]
