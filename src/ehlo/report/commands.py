"""Rules about what a client says: commands, their order, and what it makes of replies. Does not know connections."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ehlo.report.dialogue import DATA, MAIL, OFFER, QUIT, RCPT, RIGHT, Dialogue, spoken
from ehlo.report.finding import Found, Rule, Severity, quoted

# RFC 5321 §4.1.1.2 and §4.1.1.3: no space on either side of the colon, and angle brackets around the path.
_PATH = re.compile(r'(?:FROM|TO):<(?:"(?:[^"\\]|\\.)*"|[^<>"])*>(?: .*)?', re.IGNORECASE)
_SIZE = re.compile(r"\bSIZE=([0-9]+)", re.IGNORECASE)
_OCTETS = re.compile(r"([0-9]+) octets of mail data")
_UNDOUBLED_DOT = "a dot at the beginning of a line was not doubled, and is lost"
_SYNTAX_CODES = frozenset({"500", "501", "502", "504", "555"})


def _out_of_order(dialogue: Dialogue) -> Iterator[Found]:
    for one in dialogue.exchanges:
        # A group that was sent before its RCPT was refused is no mistake of the client (RFC 2920 §3.1).
        if one.code == "503" and not one.is_ahead and not one.is_fault:
            yield Found(
                one.place,
                f"came out of order, and got {quoted(one.replies[-1])}: say EHLO, MAIL, RCPT and DATA in this order",
            )


def _bad_syntax(dialogue: Dialogue) -> Iterator[Found]:
    for one in dialogue.exchanges:
        is_asked = one.verb in {"EHLO", "HELP", "VRFY", "EXPN"} or one.is_cancelled  # RFC 4954 §4 has 501 for that
        if one.code in _SYNTAX_CODES and not (one.is_fault or is_asked):
            yield Found(
                one.place, f"was not understood, and got {quoted(one.replies[-1])}: use what EHLO offers, in its syntax"
            )


def _path_syntax(dialogue: Dialogue) -> Iterator[Found]:
    for one in dialogue.of("MAIL", "RCPT"):
        if not _PATH.fullmatch(one.arg.rstrip()):
            yield Found(
                one.place,
                "is not written as FROM:<address> or TO:<address>: add brackets, and leave out spaces around the colon",
            )


def _reply_ignored(dialogue: Dialogue) -> Iterator[Found]:
    first, greeting = dialogue.exchanges[:1], dialogue.greeting
    if first and greeting is not None and greeting.text[:1] in {"4", "5"}:
        if first[0].verb != "QUIT" and not first[0].is_ahead:
            yield Found(first[0].place, f"was sent although the server greeted with {quoted(greeting.text)}: say QUIT")
        return  # whatever follows is refused
    is_mail_refused = False
    accepted = refused = 0
    for one in dialogue.exchanges:
        if one.verb in {"RCPT", "DATA", "BDAT"} and not one.is_ahead:
            if is_mail_refused:
                yield Found(one.place, "was sent although MAIL had been refused: give up when it is")
            elif one.verb != "RCPT" and refused and not accepted:
                yield Found(
                    one.place,
                    "was sent although no recipient had been accepted: give up after the last RCPT is refused",
                )
        if one.verb == "MAIL" and one.code != "503":  # of a second MAIL: the first one stands
            is_mail_refused, accepted, refused = one.is_refused, 0, 0
        elif one.verb == "RCPT":
            accepted += not one.is_refused
            refused += one.is_refused


def _size(dialogue: Dialogue) -> Iterator[Found]:
    maybe_said: int | None = None
    brought = 0
    for one in dialogue.exchanges:
        if one.verb == "MAIL":
            match = _SIZE.search(one.arg)
            maybe_said, brought = int(match[1]) if match is not None else None, 0
        before = brought
        brought += sum(int(match[1]) for match in map(_OCTETS.fullmatch, one.notes) if match is not None)
        if maybe_said is not None and before <= maybe_said < brought:
            yield Found(
                one.place,
                f"brought {brought} octets, and MAIL had said SIZE={maybe_said}: count the octets as they are sent",
            )


def _undoubled_dot(dialogue: Dialogue) -> Iterator[Found]:
    for one in dialogue.exchanges:
        if _UNDOUBLED_DOT in one.notes:
            yield Found(one.place, f"{_UNDOUBLED_DOT}: double every dot that begins a line")


def _utf8_address(dialogue: Dialogue) -> Iterator[Found]:
    may_have = False
    for one in dialogue.of("MAIL", "RCPT"):
        if one.verb == "MAIL":
            may_have = "SMTPUTF8" in one.arg.upper().split()
        if not one.arg.isascii() and not may_have:
            yield Found(one.place, "has an address that is not ASCII, and MAIL did not say SMTPUTF8: say it")


def _same_recipient(dialogue: Dialogue) -> Iterator[Found]:
    seen: set[str] = set()
    for one in dialogue.of("MAIL", "RCPT"):
        if one.verb == "MAIL":
            seen.clear()
        elif one.arg in seen:
            yield Found(one.place, "names a recipient again, who may get the message twice: name each once")
        else:
            seen.add(one.arg)


RULES: tuple[Rule[Dialogue], ...] = (
    Rule(
        "out-of-order",
        Severity.ERROR,
        "Commands come in order",
        "RFC 5321 §4.1.4",
        _out_of_order,
        RIGHT,
        spoken(*OFFER, *RCPT[:1], "S: 503 5.5.1 Say MAIL first", *QUIT),
    ),
    Rule(
        "not-understood",
        Severity.ERROR,
        "Commands and their parameters are known to the server",
        "RFC 5321 §4.3.2, §4.1.1.11",
        _bad_syntax,
        RIGHT,
        spoken(*OFFER, "C: MAIL FROM:<anna@sender.example> X=1", "S: 555 5.5.4 Parameter not known", *QUIT),
    ),
    Rule(
        "path-syntax",
        Severity.ERROR,
        "Addresses stand in angle brackets, directly behind the colon",
        "RFC 5321 §4.1.1.2, §4.1.1.3, §3.3",
        _path_syntax,
        RIGHT,
        spoken(*OFFER, "C: MAIL FROM: anna@sender.example", "S: 501 5.5.4 Syntax", *QUIT),
    ),
    Rule(
        "reply-ignored",
        Severity.ERROR,
        "The client goes on only after a yes",
        "RFC 5321 §3.1, §3.3, §4.1.4",
        _reply_ignored,
        RIGHT,
        spoken(*OFFER, *MAIL, *RCPT[:1], "S: 550 5.1.1 Unknown", *DATA[:1], "S: 503 5.5.1 Say RCPT first", *QUIT),
    ),
    Rule(
        "wrong-size",
        Severity.WARNING,
        "A message is no larger than MAIL said",
        "RFC 1870 §6.3, which allows it, and the server to refuse",
        _size,
        RIGHT,
        spoken(*OFFER, *MAIL, *RCPT, *DATA[:2], "-: 101 octets of mail data", *DATA[3:], *QUIT),
    ),
    Rule(
        "undoubled-dot",
        Severity.ERROR,
        "A dot at the beginning of a line is doubled",
        "RFC 5321 §4.5.2",
        _undoubled_dot,
        RIGHT,
        spoken(*OFFER, *MAIL, *RCPT, *DATA[:3], f"-: {_UNDOUBLED_DOT}", *DATA[3:], *QUIT),
    ),
    Rule(
        "utf8-address",
        Severity.ERROR,
        "Addresses that are not ASCII are announced by SMTPUTF8",
        "RFC 6531 §3.4",
        _utf8_address,
        spoken(*OFFER, "C: MAIL FROM:<jürgen@sender.example> SMTPUTF8", "S: 250 2.1.0 OK", *QUIT),
        spoken(*OFFER, "C: MAIL FROM:<jürgen@sender.example>", "S: 553 5.6.7 SMTPUTF8 is needed", *QUIT),
    ),
    Rule(
        "doubled-recipient",
        Severity.NOTICE,
        "A recipient is named once",
        "RFC 5321 §4.1.1.3, which does not forbid it",
        _same_recipient,
        RIGHT,
        spoken(*OFFER, *MAIL, *RCPT, *RCPT, *DATA, *QUIT),
    ),
)
