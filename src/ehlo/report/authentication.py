"""Who vouches for a message: DKIM signatures, SPF of the sending address, DMARC, and what they say together.

Asks DNS of the resolver that it is given, and nobody else.  DKIM needs dkimpy (``pip install 'ehlo[report]'``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ehlo.report.dmarc import DMARC, check_dmarc
from ehlo.report.dns import DNSFailure, Resolver
from ehlo.report.finding import Finding, Severity
from ehlo.report.mailboxes import read_mailboxes
from ehlo.report.spf import SPF, Result, check_spf

if TYPE_CHECKING:
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
SIGNATURE_LIMIT = 10
"""Signatures that are verified; whoever puts more into a message wants to keep somebody busy (RFC 6376 §8.4)."""
WEAK_KEY = 1024
SMALL_KEY = 2048

_BULK = "Gmail and Yahoo ask it of bulk senders since 2024"
_PYTHON_OCTETS = re.compile(r"""b(?P<mark>['"])(?P<text>.*?)(?P=mark)""")


class DKIM(NamedTuple):
    """One signature: ``result`` is pass, fail, temperror or permerror (RFC 8601 §2.7.1).

    ``key_size`` is that of an RSA key, in bits; 0 if it is unknown.
    """

    domain: str
    selector: str
    result: str
    reason: str
    signed_fields: frozenset[str]
    has_length: bool
    key_size: int


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
    signatures = tuple(
        _verify(mail, number, resolver) for number in range(min(len(mail.all("DKIM-Signature")), SIGNATURE_LIMIT))
    )
    maybe_spf = None if maybe_address is None else check_spf(maybe_address, mail.mail_from or "", helo, resolver)
    maybe_domain = _author_domain(mail)
    maybe_dmarc = None
    if maybe_domain is not None:
        spf_domain = maybe_spf.domain if maybe_spf is not None and maybe_spf.result is Result.PASS else None
        valid = [one.domain for one in signatures if one.result == "pass"]
        maybe_dmarc = check_dmarc(maybe_domain, spf_domain, valid, resolver)
    findings = (*_about_dkim(mail, signatures), *_about_spf(maybe_spf), *_about_dmarc(maybe_dmarc))
    return Authentication(signatures, maybe_spf, maybe_dmarc, findings)


def _author_domain(mail: Mail) -> str | None:
    """RFC 9989 §5.3.1: the one domain of From, as DNS has it; None if there is not just one."""
    domains = {mailbox.domain for one in mail.all("From") for mailbox in read_mailboxes(one.value).members}
    if len(mail.all("From")) != 1 or len(domains) != 1:
        return None
    domain = domains.pop()
    try:
        return domain.encode("idna").decode() or None
    except UnicodeError:  # no name that DNS could have
        return domain


def _verify(mail: Mail, number: int, resolver: Resolver) -> DKIM:
    import dkim  # noqa: PLC0415 - of an extra

    tags = _tags(mail.all("DKIM-Signature")[number].value)
    domain, selector = tags.get("d", "").lower(), tags.get("s", "")
    signed = frozenset(name.strip().lower() for name in tags.get("h", "").split(":"))
    keys: list[str] = []
    key_size = 0

    def ask(name: bytes, timeout: int = 5) -> bytes | None:  # noqa: ARG001 - dkimpy gives it
        keys[:] = resolver.lookup(name.decode("ascii", "replace"), "TXT")
        return keys[0].encode() if keys else None

    try:
        verifier = dkim.DKIM(mail.raw, minkey=WEAK_KEY)
        is_valid = verifier.verify(idx=number, dnsfunc=ask)
        key_size = int(verifier.keysize or 0)
        result, reason = ("pass", "") if is_valid else _why_not(f"{selector}._domainkey.{domain}", keys, key_size)
    except DNSFailure as error:
        result, reason = "temperror", f"DNS failed: {error}: check again later"
    except dkim.NaClNotFoundError:
        result, reason = "temperror", "is made with Ed25519, which cannot be verified here: install PyNaCl"
    except dkim.DKIMException as error:
        result, reason = _plainly(str(error))
    is_rsa = tags.get("a", "").startswith("rsa")
    return DKIM(domain, selector, result, reason, signed, "l" in tags, key_size if is_rsa else 0)


def _why_not(name: str, keys: list[str], key_size: int) -> tuple[str, str]:
    """What a verifier that says no has found.  ``key_size`` 0: it could make no key of the first of ``keys``."""
    if not keys:
        return "permerror", f"there is no key at {name}: publish it there as a TXT record"
    if key_size:
        return (
            "fail",
            "the signed fields were changed, or the key is another: sign last, with the key that is published",
        )
    if _tags(keys[0]).get("p") == "":  # RFC 6376 §3.6.1
        return "permerror", f"the key at {name} is revoked: sign with another, and publish that"
    return "permerror", f"the record at {name} is no key: publish it anew"


def _plainly(problem: str) -> tuple[str, str]:
    """In other words than those of dkimpy, which quote octets as Python writes them."""
    if problem.startswith("body hash mismatch"):
        return "fail", "the body was changed after it was signed: sign last"
    plain = _PYTHON_OCTETS.sub(r"\g<text>", problem)
    return "permerror", f"{plain}: mend what signs, or its key"


def _tags(value: str) -> dict[str, str]:
    pairs = (piece.partition("=") for piece in value.split(";"))
    return {name.strip(): re.sub(r"\s+", "", content) for name, equals, content in pairs if equals}


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
        text = "; ".join((*maybe_spf.steps, advice))
        yield Finding(f"spf-{maybe_spf.result}", severity, f"SPF of {maybe_spf.domain}", text, "RFC 7208 §2.6")


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
