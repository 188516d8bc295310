"""Dialogues by the grammar: what clients say, here and there what they should not say, and mutations of the octets.

Every ``Choices`` gives a dialogue; the order of the tables is not to be changed without need, for seeds depend on it.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzz.choices import Choices

_MOST_ITEMS: Final = 24
_MOST_OCTETS: Final = 200_000

# What is not to be run when it stands in mail data, in a chunk or in a SASL answer.
_SMUGGLED: Final = b"NOOP smuggled\r\nVRFY smuggled\r\nMAIL FROM:<smuggled@a.example>\r\nBDAT 3\r\n"

_NAMES: Final = (
    b"client.example",
    b"[192.0.2.7]",
    b"a_b",
    b"[IPv6:2001:db8::1]",
    "bücher.example".encode(),
    b"x" * 300,
)
_MAILBOXES: Final = (
    b"a@b.example",
    b"",
    b'"a b\\"@"@b.example',
    b"a@[192.0.2.1]",
    "jürgen@bücher.example".encode(),
    b"postmaster",
    b"@x.example:a@b.example",
    b"a" * 70 + b"@" + b"b." * 100 + b"example",
    b"a@b@c",
    b"a b@c",
)
_MAIL_PARAMETERS: Final = (
    b"",
    b" SIZE=10",
    b" SIZE=99999999999",
    b" BODY=8BITMIME",
    b" BODY=BINARYMIME",
    b" SMTPUTF8",
    b" RET=HDRS ENVID=QQ+2B1",
    b" AUTH=<>",
    b" BY=120;R",
    b" BY=1;R",
    b" MT-PRIORITY=3",
    b" X-IGNORED=1 X-PASSED=2",
    b" X-UNKNOWN",
    b" SIZE=1 SIZE=2",
    b" HOLDFOR=1",
)
_RCPT_PARAMETERS: Final = (
    b"",
    b" NOTIFY=NEVER",
    b" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b.example",
    b" ORCPT=utf-8;" + "ü\\x{2B}@b.example".encode(),
    b" RRVS=2014-04-03T23:01:00Z",
    b" NOTIFY=NEVER,SUCCESS",
)
_BODIES: Final = (
    b"Subject: one\r\n\r\nText\r\n",
    b"",
    b"..\r\n...\r\n",
    b"one\r\n..\r\n" + _SMUGGLED,
    b"bare\n..\n" + _SMUGGLED,
    b"bare\r..\r" + _SMUGGLED,
    b"half\n..\r\n" + _SMUGGLED,
    b"half\r\n..\n" + _SMUGGLED,
    b"half\r..\r\n" + _SMUGGLED,
    b"half\r\n..\r" + _SMUGGLED,
    b"nul\r\n\0..\r\n" + _SMUGGLED,
    b"\xff\xfe 8 bits\r\n",
    b"no newline at the end",
    b"x" * 12_000 + b"\r\n",
)
_JUNK: Final = (
    b"",
    b" ",
    b"NO SUCH VERB",
    b"\xff\xfe",
    b"NOOP\0",
    b"NOOP\nNOOP smuggled",
    b"NOOP\rNOOP smuggled",
    b"NOOP " + b"x" * 600,
    b"x" * 13_000,
    b"GET / HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00",
    "ＮＯＯＰ".encode(),
)
_MECHANISMS: Final = (
    b"PLAIN",
    b"LOGIN",
    b"CRAM-MD5",
    b"SCRAM-SHA-256",
    b"OAUTHBEARER",
    b"XOAUTH2",
    b"EXTERNAL",
    b"FUZZ",
    b"SCRAM-SHA-256-PLUS",
    b"NONE",
)
_ANSWERS: Final = (
    b"\0ann\0secret",
    b"ann",
    b"secret",
    b"bob\0ann\0secret",
    b"n,,n=ann,r=nonce",
    b"n,a=ann,\x01auth=Bearer token\x01\x01",
    b"user=ann\x01auth=Bearer token\x01\x01",
    b"",
    b"\xff" * 40,
    b"a" * 9000,
)
_ATTRIBUTES: Final = (
    b" ADDR=198.51.100.7",
    b" NAME=client.example",
    b" HELO=a+2Bb",
    b" LOGIN=ann",
    b" PROTO=ESMTP",
    b" ADDR=[UNAVAILABLE]",
    b" NAME=+0D+0A",
    b"",
    b" IDENT=1 SOURCE=LOCAL",
)
_MUTATIONS: Final = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b".",
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\xff",
    b" ",
    b"<",
    b">",
    b'"',
    b"=",
    b"*\r\n",
    b"BDAT 5 LAST\r\n",
    b"DATA\r\n",
    b"QUIT\r\n",
    b"RSET\r\n",
    "\u017f".encode(),
)


def write_dialogue(choices: Choices, *, is_lmtp: bool) -> bytes:
    """What a client sends, from the first octet to the last."""
    said = b"LHLO client.example\r\n" if is_lmtp else b"EHLO client.example\r\n"
    for _ in range(_MOST_ITEMS):
        if choices.is_over or len(said) > _MOST_OCTETS:
            break
        said += choices.pick(_ITEMS)(choices)
    for _ in range(choices.number(4)):
        said = _mutate(said, choices)
    return said


def _mutate(said: bytes, choices: Choices) -> bytes:
    at = choices.number(len(said) + 1)
    match choices.number(4):
        case 0:
            return said[:at] + choices.pick(_MUTATIONS) + said[at:]
        case 1:
            return said[:at] + said[at + 1 + choices.number(8) :]
        case 2:
            return said[:at] + bytes([choices.octet()]) + said[at + 1 :]
        case _:
            return said[:at]


def _line(*words: bytes) -> bytes:
    return b"".join(words) + b"\r\n"


def _transaction(choices: Choices) -> bytes:
    said = _mail(choices)
    for _ in range(1 + choices.number(3)):
        said += _rcpt(choices)
    return said + choices.pick((_data, _chunks))(choices)


def _mail(choices: Choices) -> bytes:
    return _line(b"MAIL FROM:<", choices.pick(_MAILBOXES), b">", choices.pick(_MAIL_PARAMETERS))


def _rcpt(choices: Choices) -> bytes:
    return _line(b"RCPT TO:<", choices.pick(_MAILBOXES), b">", choices.pick(_RCPT_PARAMETERS))


def _data(choices: Choices) -> bytes:
    end = choices.pick((b".\r\n", b".\r\n", b".\r\n", b".\n", b""))
    return b"DATA\r\n" + choices.pick(_BODIES) + end


def _chunks(choices: Choices) -> bytes:
    said = b""
    for _ in range(choices.number(3)):
        said += _chunk(choices, b"") + choices.pick((b"", b"", b"NOOP\r\n", b"RSET\r\n", b"DATA\r\n"))
    return said + _chunk(choices, b" LAST")


def _chunk(choices: Choices, last: bytes) -> bytes:
    chunk = choices.pick((b"", b"abc\r\n.\r\n", _SMUGGLED, b"\r", b"\n.\r\n", b"x" * 3000))
    # A size that is not the chunk's makes commands of it, or a chunk of commands.
    size = max(0, len(chunk) + choices.pick((0, 0, 0, 0, 1, -1, 30)))
    return _line(b"BDAT ", choices.pick((b"%d" % size, b"%d" % size, b"%d" % size, b"-1", b"0%d" % size)), last) + chunk


def _hello(choices: Choices) -> bytes:
    return _line(choices.pick((b"EHLO ", b"LHLO ", b"HELO ", b"ehlo  ")), choices.pick(_NAMES))


def _auth(choices: Choices) -> bytes:
    said = b"AUTH " + choices.pick(_MECHANISMS)
    answers = [base64.b64encode(choices.pick(_ANSWERS)) for _ in range(choices.number(4))]
    if answers and choices.number(2):
        said += b" " + (answers.pop(0) or b"=")
    said = _line(said) + b"".join(_line(answer) for answer in answers)
    return said + choices.pick((b"", b"*\r\n", b"\r\n", b"!\r\n", b"QUIT\r\n"))


def _xclient(choices: Choices) -> bytes:
    verb = choices.pick((b"XCLIENT", b"XFORWARD"))
    return _line(verb, *(choices.pick(_ATTRIBUTES) for _ in range(choices.number(3))))


def _small(choices: Choices) -> bytes:
    verb = choices.pick((b"NOOP", b"RSET", b"VRFY", b"EXPN", b"HELP", b"ETRN", b"DATA", b"STARTTLS", b"noop"))
    return _line(verb, choices.pick((b"", b"", b" a@b.example", b" ", b" MAIL", b" \tx\t ")))


def _junk(choices: Choices) -> bytes:
    return _line(choices.pick(_JUNK))


def _many(choices: Choices) -> bytes:
    """More than a server may hold, or more than it may run without a break."""
    unit = choices.pick((b"NOOP\r\n", b"RCPT TO:<a@b.example>\r\n", b"X\r\n", b"\r\n", b"BDAT 1\r\nx"))
    return unit * choices.pick((60, 150, 60, 150, 60, 150, 1100, 11_000))


def _quit(_choices: Choices) -> bytes:
    return b"QUIT\r\n"


def _starttls(choices: Choices) -> bytes:
    return b"STARTTLS\r\n" + choices.pick((b"", b"EHLO client.example\r\n", b"NOOP smuggled\r\n"))


_ITEMS: Final[tuple[Callable[[Choices], bytes], ...]] = (
    _transaction,
    _mail,
    _rcpt,
    _data,
    _chunks,
    _hello,
    _auth,
    _small,
    _junk,
    _xclient,
    _starttls,
    _transaction,
    _transaction,
    _small,
    _many,
    _quit,
)
