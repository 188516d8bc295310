"""Rules about how a client keeps a session: its beginning, TLS, pipelining, its end. Does not know the mail in it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from ehlo.report.dialogue import DATA, HELLO, MAIL, OFFER, QUIT, RCPT, RIGHT, Dialogue, Exchange, spoken
from ehlo.report.finding import Found, Rule, Severity

# RFC 5321 §4.1.2: Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str].  A full one has a dot.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_FULL_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
# RFC 2920 §3.1: what may only be the last in a group; RFC 3207 §4 says it of STARTTLS.
_LAST_IN_GROUP = frozenset({"EHLO", "DATA", "VRFY", "EXPN", "TURN", "QUIT", "NOOP", "STARTTLS"})
_CLEAR_PASSWORDS = frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"})


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


_TLS = ("C: STARTTLS", "S: 220 2.0.0 Go ahead", "-: TLS: TLSv1.3, TLS_AES_256_GCM_SHA384")
_RIGHT_TLS = spoken(
    *OFFER, *_TLS, *OFFER[1:], "C: AUTH LOGIN", "S: 334 ", "C: x", "S: 334 ", "C: x", "S: 235 OK", *QUIT
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
        spoken(HELLO[0], "C: HELO client.sender.example", "S: 250 mx.receiver.example", *QUIT),
    ),
    Rule(
        "helo-name",
        Severity.WARNING,
        "The client names itself by a full domain or an address literal",
        "RFC 5321 §4.1.1.1, §4.1.2, §4.1.3",
        _helo_name,
        spoken(HELLO[0], "C: EHLO [192.0.2.1]", "S: 250 mx.receiver.example", *QUIT),
        spoken(HELLO[0], "C: EHLO localhost", "S: 250 mx.receiver.example", *QUIT),
    ),
    Rule(
        "no-ehlo-after-starttls",
        Severity.ERROR,
        "EHLO is said again after STARTTLS",
        "RFC 3207 §4.2",
        _no_ehlo_after_starttls,
        _RIGHT_TLS,
        spoken(*OFFER, *_TLS, "C: MAIL FROM:<anna@sender.example>", "S: 503 5.5.1 Say EHLO first", *QUIT),
    ),
    Rule(
        "goes-on-after-421",
        Severity.ERROR,
        "The client stops at 421",
        "RFC 5321 §3.8, §4.2.3",
        _goes_on_after_421,
        RIGHT,
        spoken(*OFFER, "C: NOOP", "S: 421 4.3.2 Going down", *MAIL),
    ),
    Rule(
        "pipelined-too-far",
        Severity.ERROR,
        "What must be the last of a pipelined group is the last",
        "RFC 2920 §3.1",
        _pipelined_too_far,
        spoken(*OFFER, *MAIL, "C! RCPT TO:<bob@receiver.example>", "S: 250 2.1.5 OK", *QUIT),
        spoken(*HELLO, "S: 250 PIPELINING", "C! MAIL FROM:<anna@sender.example>", "S: 250 2.1.0 OK", *QUIT),
    ),
    Rule(
        "pipelining-not-offered",
        Severity.ERROR,
        "Only who was offered PIPELINING does it",
        "RFC 2920 §3.1",
        _no_pipelining_offered,
        spoken(*OFFER, *MAIL, "C! RCPT TO:<bob@receiver.example>", "S: 250 2.1.5 OK", *QUIT),
        spoken(*HELLO, "S: 250 OK", *MAIL, "C! RCPT TO:<bob@receiver.example>", "S: 250 2.1.5 OK", *QUIT),
    ),
    Rule(
        "no-quit",
        Severity.NOTICE,
        "The client takes its leave",
        "RFC 5321 §4.1.1.10",
        _no_quit,
        RIGHT,
        spoken(*OFFER, *MAIL, *RCPT, *DATA),
    ),
    Rule(
        "clear-password",
        Severity.WARNING,
        "Passwords travel under TLS",
        "RFC 4954 §4, RFC 8314 §3",
        _clear_password,
        _RIGHT_TLS,
        spoken(*OFFER, "C: AUTH PLAIN x", "S: 235 2.7.0 OK", *QUIT),
    ),
    Rule(
        "starttls-unused",
        Severity.NOTICE,
        "TLS is used where it is offered",
        "RFC 7435 §3, RFC 3207 §4",
        _starttls_unused,
        _RIGHT_TLS,
        spoken(*HELLO, "S: 250-mx.receiver.example", "S: 250 STARTTLS", *MAIL, *QUIT),
    ),
)
