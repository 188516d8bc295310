"""Who vouches for a message: DKIM signatures, SPF of the sending address, DMARC, and what they say together.

Asks DNS of the resolver that it is given, and nobody else.  DKIM needs dkimpy (``pip install 'ehlo[report]'``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ehlo.report.dmarc import DMARC, check_dmarc
from ehlo.report.dns import name_in_dns
from ehlo.report.finding import Finding, Severity
from ehlo.report.mailboxes import read_mailboxes
from ehlo.report.signatures import DKIM, verify_signatures
from ehlo.report.spf import SPF, Result, check_spf

if TYPE_CHECKING:
    from ehlo.report.dns import Resolver
    from ehlo.report.mail import Mail

AUTHENTICATION_NAMES = frozenset(
    {
        *("dkim-none", "dkim-invalid", "dkim-unverified", "dkim-from-unsigned", "dkim-length", "dkim-small-key"),
        "one-click-unsigned",
        *(f"spf-{result}" for result in Result if result is not Result.PASS),
        *("dmarc-no-author", "dmarc-none", "dmarc-unknown", "dmarc-fail"),
    }
)
"""What its findings are called: no rows of a table, since they need a resolver."""
SMALL_KEY = 2048
"""Bits of an RSA key that RFC 8301 asks for; fewer than 1024 verify nothing."""

_SAID = 2000
"""Characters of a finding; the SPF records of ten includes are fewer."""
# Controls, formats such as overrides of the direction of text, and lone surrogates
_NOT_SHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BULK = "Gmail and Yahoo ask it of bulk senders since 2024"


@dataclass(frozen=True, slots=True)
class Authentication:
    """Results and what they mean. ``maybe_spf`` is None when no address was given."""

    dkim: tuple[DKIM, ...]
    maybe_spf: SPF | None
    maybe_dmarc: DMARC | None
    findings: tuple[Finding, ...]


def authenticate(mail: Mail, resolver: Resolver, *, maybe_address: str | None = None, helo: str = "") -> Authentication:
    """Check a message as a receiver would to whom ``maybe_address`` brings it.  May take seconds: run it in a thread.

    ``ImportError`` without dkimpy if there is a signature; ``ValueError`` for an address that is none.
    """
    signatures = verify_signatures(mail, resolver)
    maybe_spf = None if maybe_address is None else check_spf(maybe_address, mail.mail_from or "", helo, resolver)
    maybe_domain = _author_domain(mail)
    maybe_dmarc = None
    if maybe_domain is not None:
        spf_domain = maybe_spf.domain if maybe_spf is not None and maybe_spf.result is Result.PASS else None
        valid = [one.domain for one in signatures if one.result == "pass"]
        maybe_dmarc = check_dmarc(maybe_domain, spf_domain, valid, resolver)
        if maybe_dmarc.passes is False and _is_unsure(signatures, maybe_spf):
            maybe_dmarc = maybe_dmarc._replace(passes=None, has_failed=True)
    findings = (*_about_dkim(mail, signatures), *_about_spf(maybe_spf), *_about_dmarc(maybe_dmarc))
    return Authentication(signatures, maybe_spf, maybe_dmarc, tuple(map(_harmless, findings)))


def _is_unsure(signatures: tuple[DKIM, ...], maybe_spf: SPF | None) -> bool:
    """RFC 9989 §5.3.6: what could not be asked might have vouched."""
    is_spf_unsure = maybe_spf is not None and maybe_spf.result is Result.TEMPERROR
    return is_spf_unsure or any(one.result == "temperror" for one in signatures)


def _harmless(one: Finding) -> Finding:
    """What a message and DNS say, without what a terminal would obey, and no more of it than somebody reads."""
    place, text = (
        _NOT_SHOWN.sub("?", f"{said[:_SAID]}{'...' * (len(said) > _SAID)}") for said in (one.place, one.text)
    )
    return replace(one, place=place, text=text)


def _author_domain(mail: Mail) -> str | None:
    """RFC 9989 §5.3.1: the one domain of From, as DNS has it; None if there is not just one."""
    domains = {mailbox.domain for one in mail.all("From") for mailbox in read_mailboxes(one.value).members}
    if len(mail.all("From")) != 1 or len(domains) != 1:
        return None
    return name_in_dns(domains.pop()) or None


def _about_dkim(mail: Mail, signatures: tuple[DKIM, ...]) -> Iterator[Finding]:
    if not signatures:
        text = "there is no DKIM signature: let the server that sends it sign, for the domain of From"
        yield Finding("dkim-none", Severity.WARNING, "header", text, f"RFC 6376 §1; {_BULK}")
    for one in signatures:
        for rule, severity, text, source in _about_signature(one):
            yield Finding(rule, severity, f"DKIM-Signature of {one.domain}, selector {one.selector}", text, source)
    wanted = {"list-unsubscribe", "list-unsubscribe-post"}
    is_covered = any(one.result in {"pass", "temperror"} and wanted <= one.signed_fields for one in signatures)
    if mail.first("List-Unsubscribe-Post") is not None and not is_covered:
        text = "no valid signature covers List-Unsubscribe and List-Unsubscribe-Post: sign both"
        yield Finding("one-click-unsigned", Severity.ERROR, "List-Unsubscribe-Post", text, "RFC 8058 §4")


def _about_signature(one: DKIM) -> Iterator[tuple[str, Severity, str, str]]:
    if one.result == "temperror":
        yield "dkim-unverified", Severity.WARNING, one.reason, "RFC 6376 §6.1.2"
    elif one.result != "pass":
        yield "dkim-invalid", Severity.ERROR, f"{one.result}: {one.reason}", "RFC 6376 §6.1"
    if "from" not in one.signed_fields:
        yield "dkim-from-unsigned", Severity.ERROR, "does not sign From: sign it", "RFC 6376 §5.4"
    if one.has_length:
        text = "has l=, so that anybody may add to the body: leave l= out"
        yield "dkim-length", Severity.WARNING, text, "RFC 6376 §8.2"
    if 0 < one.key_size < SMALL_KEY:
        text = f"has a key of {one.key_size} bits: make one of {SMALL_KEY}"
        yield "dkim-small-key", Severity.NOTICE, text, "RFC 8301 §3.2"


class _Meaning(NamedTuple):
    severity: Severity
    advice: str


_SPF_MEANINGS = {
    Result.NONE: _Meaning(Severity.WARNING, "publish a record that says who may send"),
    Result.NEUTRAL: _Meaning(Severity.WARNING, "let the record name this address, and end in -all or ~all"),
    Result.SOFTFAIL: _Meaning(Severity.WARNING, "send from an address that the record names, or add this one"),
    Result.TEMPERROR: _Meaning(Severity.WARNING, "check again later"),
    Result.FAIL: _Meaning(Severity.ERROR, "send from an address that the record names, or add this one"),
    Result.PERMERROR: _Meaning(Severity.ERROR, "correct the record"),
}


def _about_spf(maybe_spf: SPF | None) -> Iterator[Finding]:
    if maybe_spf is not None and maybe_spf.result is not Result.PASS:
        severity, advice = _SPF_MEANINGS[maybe_spf.result]
        if not maybe_spf.domain:
            advice = "say from whom it is, or how the sender names itself"
        text = "; ".join((*maybe_spf.steps, advice))
        yield Finding(
            f"spf-{maybe_spf.result}", severity, f"SPF of {maybe_spf.domain or 'nobody'}", text, "RFC 7208 §2.6"
        )


def _about_dmarc(maybe_dmarc: DMARC | None) -> Iterator[Finding]:
    if maybe_dmarc is None:
        text = "has not just one domain, so that DMARC cannot be checked: write From once, with authors of one domain"
        yield Finding("dmarc-no-author", Severity.ERROR, "From", text, "RFC 9989 §5.3.1")
        return
    place, steps = f"DMARC of {maybe_dmarc.domain}", "; ".join(maybe_dmarc.steps)
    if maybe_dmarc.has_failed:
        yield Finding("dmarc-unknown", Severity.WARNING, place, f"{steps}; check again later", "RFC 9989 §5.3.6")
    elif maybe_dmarc.passes is None:
        text = f"{steps}; publish one, v=DMARC1; p=none to begin with"
        yield Finding("dmarc-none", Severity.WARNING, place, text, f"RFC 9989 §4.10.1; {_BULK}")
    elif not maybe_dmarc.passes:
        text = f"{steps}; receivers are asked for {maybe_dmarc.request}; let SPF or DKIM vouch for the domain of From"
        yield Finding("dmarc-fail", Severity.ERROR, place, text, "RFC 9989 §5.3.5")
