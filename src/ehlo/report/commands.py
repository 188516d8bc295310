"""Rules about how a client spoke. Knows commands and replies; does not know what was in the message."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from ehlo.report.dialogue import RIGHT, Dialogue, Exchange, spoken
from ehlo.report.finding import Found, Rule, Severity, quoted

# RFC 5321 §4.1.2: Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str].  A full one has a dot.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_FULL_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
# RFC 5321 §4.1.1.2 and §4.1.1.3: no space on either side of the colon, and angle brackets around the path.
_PATH = re.compile(r'(?:FROM|TO):<(?:"(?:[^"\\]|\\.)*"|[^<>"])*>(?: .*)?', re.IGNORECASE)
_SIZE = re.compile(r"\bSIZE=([0-9]+)", re.IGNORECASE)
_OCTETS = re.compile(r"([0-9]+) octets of mail data")
_UNDOUBLED_DOT = "a dot at the beginning of a line was not doubled, and is lost"
# RFC 2920 §3.1: what may only be the last in a group; RFC 3207 §4 says it of STARTTLS.
_LAST_IN_GROUP = frozenset({"EHLO", "DATA", "VRFY", "EXPN", "TURN", "QUIT", "NOOP", "STARTTLS"})
_CLEAR_PASSWORDS = frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"})
_SYNTAX_CODES = frozenset({"500", "501", "502", "504", "555"})


def _early_talker(dialogue: Dialogue) -> Iterator[Found]:
    first = dialogue.exchanges[:1]
    if dialogue.greeting is not None and first and first[0].is_ahead:
        yield Found(first[0].place, "was sent before the server had greeted: wait for its 220")


def _helo(dialogue: Dialogue) -> Iterator[Found]:
    first = dialogue.of("HELO", "EHLO", "LHLO")[:1]
    if first and first[0].verb == "HELO":
        yield Found(first[0].place, "asks for no extension, so for no TLS, no AUTH and no 8BITMIME: say EHLO")


def _helo_name(dialogue: Dialogue) -> Iterator[Found]:
    for one in dialogue.of("HELO", "EHLO", "LHLO"):
        problem = _problem_of_name(one.arg.strip())
        if problem:
            yield Found(one.place, problem)
            return


def _problem_of_name(name: str) -> str:
    """What is wrong with a client's name; "" if nothing is."""
    is_literal = name.startswith("[") and name.endswith("]")
    address = name[1:-1] if is_literal else name
    is_tagged = is_literal and address.lower().startswith("ipv6:")
    maybe_right = _literal_of(address[5:] if is_tagged else address)
    if maybe_right is not None:
        is_right = name.lower() == maybe_right.lower()
        return "" if is_right else f"has an address that is not written as a literal: say {maybe_right}"
    if is_literal or not _FULL_NAME.fullmatch(name):
        return "does not say who the client is: say its full domain name, or its address, as [192.0.2.1]"
    return ""


def _literal_of(address: str) -> str | None:
    """RFC 5321 §4.1.3: an address as a literal; None if it is none."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return None
    return f"[{address}]" if version == 4 else f"[IPv6:{address}]"


def _no_ehlo_after_starttls(dialogue: Dialogue) -> Iterator[Found]:
    for one, then in zip(dialogue.exchanges, dialogue.exchanges[1:], strict=False):
        if one.verb == "STARTTLS" and one.code == "220" and then.verb not in {"EHLO", "LHLO", "QUIT"}:
            yield Found(then.place, "follows STARTTLS, and what was offered before TLS counts no more: say EHLO again")


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


def _goes_on_after_421(dialogue: Dialogue) -> Iterator[Found]:
    for one, then in zip(dialogue.exchanges, dialogue.exchanges[1:], strict=False):
        if one.code == "421" and not _is_belated(one) and then.verb != "QUIT" and not then.is_ahead:
            yield Found(then.place, "was sent after 421, which closes the session: leave, and come again later")


def _is_belated(one: Exchange) -> bool:
    """Whether the command had its reply before the last line, which the client reads after its next command (§3.8)."""
    return any(reply[:1] != "3" and reply[3:4] != "-" for reply in one.replies[:-1])


def _pipelined_too_far(dialogue: Dialogue) -> Iterator[Found]:
    for one, then in zip(dialogue.exchanges, dialogue.exchanges[1:], strict=False):
        # What follows the content of DATA begins a group (RFC 2920 §3.1); only after a refused DATA it came too early.
        has_content = one.verb == "DATA" and one.replies[:1] and one.replies[0].startswith("354")
        if then.is_ahead and one.verb in _LAST_IN_GROUP and not has_content:
            yield Found(
                then.place, f"was sent before the reply to {one.verb}, which must be the last of its group: wait for it"
            )


def _no_pipelining_offered(dialogue: Dialogue) -> Iterator[Found]:
    offered = any("PIPELINING" in reply.upper() for one in dialogue.of("EHLO", "LHLO") for reply in one.replies)
    ahead = [one for one in dialogue.exchanges[1:] if one.is_ahead]
    if ahead and not offered:
        yield Found(
            ahead[0].place,
            "was sent before the reply to the one before, and PIPELINING was not offered: wait for each reply",
        )


def _no_quit(dialogue: Dialogue) -> Iterator[Found]:
    last = dialogue.exchanges[-1:]
    if last and last[0].verb != "QUIT" and last[0].code != "421" and not _was_cut(last[0]):
        yield Found(last[0].place, "was the last command: say QUIT before you close")


def _was_cut(one: Exchange) -> bool:
    """Whether nobody could say anything any more."""
    return any(note.startswith(("fault ", "TLS failed")) for note in one.notes)


def _clear_password(dialogue: Dialogue) -> Iterator[Found]:
    for one in dialogue.of("AUTH"):
        if not (one.has_tls or one.is_cancelled) and one.arg.split(" ")[0].upper() in _CLEAR_PASSWORDS:
            yield Found(one.place, "sends a password that anybody on the way can read: say STARTTLS before")


def _starttls_unused(dialogue: Dialogue) -> Iterator[Found]:
    offered = any(reply[4:].upper().startswith("STARTTLS") for one in dialogue.of("EHLO") for reply in one.replies)
    if offered and not dialogue.of("STARTTLS"):
        yield Found("", "the server offered STARTTLS and the client sent without: say it before MAIL")


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


_HELLO = ("S: 220 mx.receiver.example ESMTP", "C: EHLO client.sender.example")
_OFFER = (*_HELLO, "S: 250-mx.receiver.example", "S: 250 PIPELINING")
_MAIL = ("C: MAIL FROM:<anna@sender.example> SIZE=100", "S: 250 2.1.0 OK")
_RCPT = ("C: RCPT TO:<bob@receiver.example>", "S: 250 2.1.5 OK")
_DATA = ("C: DATA", "S: 354 Go ahead", "-: 100 octets of mail data", "S: 250 2.0.0 OK")
_QUIT = ("C: QUIT", "S: 221 2.0.0 Bye")
_TLS = ("C: STARTTLS", "S: 220 2.0.0 Go ahead", "-: TLS: TLSv1.3, TLS_AES_256_GCM_SHA384")

_RIGHT_TLS = spoken(
    *_OFFER, *_TLS, *_OFFER[1:], "C: AUTH LOGIN", "S: 334 ", "C: x", "S: 334 ", "C: x", "S: 235 OK", *_QUIT
)

RULES: tuple[Rule[Dialogue], ...] = (
    Rule(
        "early-talker",
        Severity.ERROR,
        "The client waits for the greeting",
        "RFC 5321 §4.3.1, §3.2",
        _early_talker,
        RIGHT,
        spoken("S: 220 mx.receiver.example ESMTP", "C! EHLO client.sender.example", "S: 250 mx.receiver.example"),
    ),
    Rule(
        "helo",
        Severity.WARNING,
        "The client says EHLO",
        "RFC 5321 §4.1.1.1, §3.2",
        _helo,
        RIGHT,
        spoken(_HELLO[0], "C: HELO client.sender.example", "S: 250 mx.receiver.example", *_QUIT),
    ),
    Rule(
        "helo-name",
        Severity.WARNING,
        "The client names itself by a full domain or an address literal",
        "RFC 5321 §4.1.1.1, §4.1.2, §4.1.3",
        _helo_name,
        spoken(_HELLO[0], "C: EHLO [192.0.2.1]", "S: 250 mx.receiver.example", *_QUIT),
        spoken(_HELLO[0], "C: EHLO localhost", "S: 250 mx.receiver.example", *_QUIT),
    ),
    Rule(
        "no-ehlo-after-starttls",
        Severity.ERROR,
        "EHLO is said again after STARTTLS",
        "RFC 3207 §4.2",
        _no_ehlo_after_starttls,
        _RIGHT_TLS,
        spoken(*_OFFER, *_TLS, "C: MAIL FROM:<anna@sender.example>", "S: 503 5.5.1 Say EHLO first", *_QUIT),
    ),
    Rule(
        "out-of-order",
        Severity.ERROR,
        "Commands come in order",
        "RFC 5321 §4.1.4",
        _out_of_order,
        RIGHT,
        spoken(*_OFFER, *_RCPT[:1], "S: 503 5.5.1 Say MAIL first", *_QUIT),
    ),
    Rule(
        "not-understood",
        Severity.ERROR,
        "Commands and their parameters are known to the server",
        "RFC 5321 §4.3.2, §4.1.1.11",
        _bad_syntax,
        RIGHT,
        spoken(*_OFFER, "C: MAIL FROM:<anna@sender.example> X=1", "S: 555 5.5.4 Parameter not known", *_QUIT),
    ),
    Rule(
        "path-syntax",
        Severity.ERROR,
        "Addresses stand in angle brackets, directly behind the colon",
        "RFC 5321 §4.1.1.2, §4.1.1.3, §3.3",
        _path_syntax,
        RIGHT,
        spoken(*_OFFER, "C: MAIL FROM: anna@sender.example", "S: 501 5.5.4 Syntax", *_QUIT),
    ),
    Rule(
        "reply-ignored",
        Severity.ERROR,
        "The client goes on only after a yes",
        "RFC 5321 §3.3, §4.1.4",
        _reply_ignored,
        RIGHT,
        spoken(*_OFFER, *_MAIL, *_RCPT[:1], "S: 550 5.1.1 Unknown", *_DATA[:1], "S: 503 5.5.1 Say RCPT first", *_QUIT),
    ),
    Rule(
        "goes-on-after-421",
        Severity.ERROR,
        "The client stops at 421",
        "RFC 5321 §3.8, §4.2.3",
        _goes_on_after_421,
        RIGHT,
        spoken(*_OFFER, "C: NOOP", "S: 421 4.3.2 Going down", *_MAIL),
    ),
    Rule(
        "pipelined-too-far",
        Severity.ERROR,
        "What must be the last of a pipelined group is the last",
        "RFC 2920 §3.1",
        _pipelined_too_far,
        spoken(*_OFFER, *_MAIL, "C! RCPT TO:<bob@receiver.example>", "S: 250 2.1.5 OK", *_QUIT),
        spoken(*_HELLO, "S: 250 PIPELINING", "C! MAIL FROM:<anna@sender.example>", "S: 250 2.1.0 OK", *_QUIT),
    ),
    Rule(
        "pipelining-not-offered",
        Severity.ERROR,
        "Only who was offered PIPELINING does it",
        "RFC 2920 §3.1",
        _no_pipelining_offered,
        spoken(*_OFFER, *_MAIL, "C! RCPT TO:<bob@receiver.example>", "S: 250 2.1.5 OK", *_QUIT),
        spoken(*_HELLO, "S: 250 OK", *_MAIL, "C! RCPT TO:<bob@receiver.example>", "S: 250 2.1.5 OK", *_QUIT),
    ),
    Rule(
        "no-quit",
        Severity.NOTICE,
        "The client takes its leave",
        "RFC 5321 §4.1.1.10",
        _no_quit,
        RIGHT,
        spoken(*_OFFER, *_MAIL, *_RCPT, *_DATA),
    ),
    Rule(
        "clear-password",
        Severity.WARNING,
        "Passwords travel under TLS",
        "RFC 4954 §4, RFC 8314 §3",
        _clear_password,
        _RIGHT_TLS,
        spoken(*_OFFER, "C: AUTH PLAIN x", "S: 235 2.7.0 OK", *_QUIT),
    ),
    Rule(
        "starttls-unused",
        Severity.NOTICE,
        "TLS is used where it is offered",
        "RFC 7435 §3, RFC 3207 §4",
        _starttls_unused,
        _RIGHT_TLS,
        spoken(*_HELLO, "S: 250-mx.receiver.example", "S: 250 STARTTLS", *_MAIL, *_QUIT),
    ),
    Rule(
        "wrong-size",
        Severity.WARNING,
        "A message is no larger than MAIL said",
        "RFC 1870 §6.3, which allows it, and the server to refuse",
        _size,
        RIGHT,
        spoken(*_OFFER, *_MAIL, *_RCPT, *_DATA[:2], "-: 101 octets of mail data", *_DATA[3:], *_QUIT),
    ),
    Rule(
        "undoubled-dot",
        Severity.ERROR,
        "A dot at the beginning of a line is doubled",
        "RFC 5321 §4.5.2",
        _undoubled_dot,
        RIGHT,
        spoken(*_OFFER, *_MAIL, *_RCPT, *_DATA[:3], f"-: {_UNDOUBLED_DOT}", *_DATA[3:], *_QUIT),
    ),
    Rule(
        "utf8-address",
        Severity.ERROR,
        "Addresses that are not ASCII are announced by SMTPUTF8",
        "RFC 6531 §3.4",
        _utf8_address,
        spoken(*_OFFER, "C: MAIL FROM:<jürgen@sender.example> SMTPUTF8", "S: 250 2.1.0 OK", *_QUIT),
        spoken(*_OFFER, "C: MAIL FROM:<jürgen@sender.example>", "S: 553 5.6.7 SMTPUTF8 is needed", *_QUIT),
    ),
    Rule(
        "doubled-recipient",
        Severity.NOTICE,
        "A recipient is named once",
        "RFC 5321 §4.1.1.3, which does not forbid it",
        _same_recipient,
        RIGHT,
        spoken(*_OFFER, *_MAIL, *_RCPT, *_RCPT, *_DATA, *_QUIT),
    ),
)
