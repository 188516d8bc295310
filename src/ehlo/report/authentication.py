"""Who vouches for a message: DKIM signatures, SPF of the sending address, DMARC, and what they say together.

Asks DNS of the resolver that it is given, and nobody else.  DKIM needs dkimpy (``pip install 'ehlo[report]'``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import getaddresses
from typing import TYPE_CHECKING, NamedTuple

from ehlo.report.dmarc import DMARC, check_dmarc
from ehlo.report.dns import DNSFailure, Resolver
from ehlo.report.finding import Finding, Severity
from ehlo.report.spf import SPF, Result, check_spf

if TYPE_CHECKING:
    from ehlo.report.mail import Mail

AUTHENTICATION_NAMES = frozenset(
    {
        *("dkim-none", "dkim-invalid", "dkim-from-unsigned", "dkim-length", "dkim-small-key", "one-click-unsigned"),
        *(f"spf-{result}" for result in Result),
        *("dmarc-no-author", "dmarc-none", "dmarc-fail"),
    }
)
"""What its findings are called: no rows of a table, since they need a resolver."""
SIGNATURE_LIMIT = 10
"""Signatures that are verified; whoever puts more into a message wants to keep somebody busy (RFC 6376 §8.4)."""
WEAK_KEY = 1024
SMALL_KEY = 2048


class DKIM(NamedTuple):
    """One signature: ``result`` is pass, fail, temperror or permerror (RFC 8601 §2.7.1); ``key_size`` 0 is unknown."""

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
    author = mail.first("From")
    addresses = [] if author is None else [address for _, address in getaddresses([author.value])]
    domains = {address.rpartition("@")[2].lower() for address in addresses if "@" in address}
    return domains.pop() if len(domains) == 1 else None


def _verify(mail: Mail, number: int, resolver: Resolver) -> DKIM:
    import dkim  # noqa: PLC0415 - of an extra

    tags = _tags(mail.all("DKIM-Signature")[number].value)
    domain, selector = tags.get("d", "").lower(), tags.get("s", "")
    signed = frozenset(name.strip().lower() for name in tags.get("h", "").split(":"))
    key_size = 0

    def ask(name: bytes, timeout: int = 5) -> bytes | None:  # noqa: ARG001 - dkimpy gives it
        texts = resolver.lookup(name.decode("ascii", "replace"), "TXT")
        return texts[0].encode() if texts else None

    verifier = dkim.DKIM(mail.raw, minkey=WEAK_KEY)
    try:
        is_valid = verifier.verify(idx=number, dnsfunc=ask)
        key_size = int(verifier.keysize or 0)
        result, reason = ("pass", "") if is_valid else ("fail", "the signature does not fit the message")
    except DNSFailure as error:
        result, reason = "temperror", f"DNS failed: {error}"
    except dkim.DKIMException as error:
        result, reason = "permerror", str(error)
    return DKIM(domain, selector, result, reason, signed, "l" in tags, key_size)


def _tags(value: str) -> dict[str, str]:
    pairs = (piece.partition("=") for piece in value.split(";"))
    return {name.strip(): re.sub(r"\s+", "", content) for name, equals, content in pairs if equals}


def _about_dkim(mail: Mail, signatures: tuple[DKIM, ...]) -> Iterator[Finding]:
    if not signatures:
        yield Finding(
            "dkim-none",
            Severity.WARNING,
            "header",
            "there is no DKIM signature",
            "RFC 6376 §3; Gmail and Yahoo ask for one",
        )
    for one in signatures:
        place = f"DKIM-Signature of {one.domain}, selector {one.selector}"
        if one.result != "pass":
            yield Finding("dkim-invalid", Severity.ERROR, place, f"{one.result}: {one.reason}", "RFC 6376 §6.1")
        if "from" not in one.signed_fields:
            yield Finding("dkim-from-unsigned", Severity.ERROR, place, "does not sign From", "RFC 6376 §5.4")
        if one.has_length:
            yield Finding(
                "dkim-length", Severity.WARNING, place, "has l=: whoever likes may add to the body", "RFC 6376 §8.2"
            )
        if 0 < one.key_size < SMALL_KEY:
            yield Finding(
                "dkim-small-key", Severity.NOTICE, place, f"has a key of {one.key_size} bits", "RFC 8301 §3.2"
            )
    valid = [one for one in signatures if one.result == "pass"]
    if mail.first("List-Unsubscribe-Post") is not None:
        wanted = {"list-unsubscribe", "list-unsubscribe-post"}
        if not any(wanted <= one.signed_fields for one in valid):
            yield Finding(
                "one-click-unsigned",
                Severity.ERROR,
                "List-Unsubscribe-Post",
                "no valid signature covers List-Unsubscribe and List-Unsubscribe-Post",
                "RFC 8058 §4",
            )


_SPF_SEVERITY = {
    Result.PASS: None,
    Result.NONE: Severity.WARNING,
    Result.NEUTRAL: Severity.WARNING,
    Result.SOFTFAIL: Severity.WARNING,
    Result.TEMPERROR: Severity.NOTICE,
    Result.FAIL: Severity.ERROR,
    Result.PERMERROR: Severity.ERROR,
}


def _about_spf(maybe_spf: SPF | None) -> Iterator[Finding]:
    severity = None if maybe_spf is None else _SPF_SEVERITY[maybe_spf.result]
    if maybe_spf is not None and severity is not None:
        text = f"{maybe_spf.result}: {'; '.join(maybe_spf.steps)}"
        yield Finding(f"spf-{maybe_spf.result}", severity, f"SPF of {maybe_spf.domain}", text, "RFC 7208 §2.6")


def _about_dmarc(maybe_dmarc: DMARC | None) -> Iterator[Finding]:
    if maybe_dmarc is None:
        yield Finding(
            "dmarc-no-author",
            Severity.ERROR,
            "From",
            "has no single domain, so DMARC cannot be checked",
            "RFC 7489 §6.6.1",
        )
        return
    place, steps = f"DMARC of {maybe_dmarc.domain}", "; ".join(maybe_dmarc.steps)
    if maybe_dmarc.passes is None:
        yield Finding("dmarc-none", Severity.WARNING, place, steps, "RFC 7489 §6.6.3; Gmail and Yahoo ask for a record")
    elif not maybe_dmarc.passes:
        asked = f"receivers are asked for {maybe_dmarc.request}"
        yield Finding("dmarc-fail", Severity.ERROR, place, f"{steps}; {asked}", "RFC 7489 §3.1, §6.6.2")
