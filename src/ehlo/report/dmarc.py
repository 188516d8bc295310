"""DMARC: what a domain wants done with mail in its name that nobody vouches for, and whether this is such mail.

Knows policies and alignment; SPF and DKIM results are given to it.  As RFC 9989 has it, which replaced RFC 7489 in May
2026: the organizational domain is found by a walk up the DNS tree (§4.10), which needs no list of public suffixes.
Receivers that still go by RFC 7489 may come to another end where the record does not stand at that domain alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ehlo.report.dns import DNSFailure, Kind, Resolver

WALK_LIMIT = 8
"""Names that a walk asks for (RFC 9989 §4.10)."""


class Policy(NamedTuple):
    """A record: where it stands, and its tags, whose names are in lower case."""

    domain: str
    tags: dict[str, str]

    @property
    def is_valid(self) -> bool:
        """Whether what p, sp and np say is one of the three requests; without p it is p=none (§4.7)."""
        return {self.tags.get(tag, "none").lower() for tag in ("p", "sp", "np")} <= _REQUESTS.keys()

    @property
    def wants_reports(self) -> bool:
        """Whether it says where reports go; such a record counts as p=none where it is not valid (§4.10.1)."""
        return ":" in self.tags.get("rua", "")

    def is_strict(self, tag: str) -> bool:
        """Whether ``aspf`` or ``adkim`` asks for the very same domain."""
        return self.tags.get(tag, "r").lower() == "s"


_REQUESTS = {"none": "none", "quarantine": "none", "reject": "quarantine"}
"""What may be asked for, and what comes of it in test mode: one level less (§4.7, t)."""


class DMARC(NamedTuple):
    """``passes`` None: there is no policy, or no way to know, which ``has_failed`` says.  The steps explain it."""

    passes: bool | None
    domain: str
    maybe_policy: Policy | None
    request: str
    steps: tuple[str, ...]
    has_failed: bool = False


def check_dmarc(author_domain: str, maybe_spf_domain: str | None, dkim_domains: list[str], resolver: Resolver) -> DMARC:
    """Check.  ``maybe_spf_domain`` is the domain for which SPF passed, ``dkim_domains`` those of valid signatures."""
    domain = author_domain.rstrip(".").lower()
    steps: list[str] = []
    try:
        records = _walk(domain, resolver)
        maybe_policy = _policy_of(domain, records)
        if maybe_policy is None:
            return DMARC(None, domain, None, "none", (_why_none(domain, resolver),))
        if not (maybe_policy.is_valid or maybe_policy.wants_reports):
            step = f"the record at _dmarc.{maybe_policy.domain} does not ask for none, quarantine or reject"
            return DMARC(None, domain, maybe_policy, "none", (step,))
        request, step = _request(maybe_policy, domain, resolver)
        steps.append(step)
        vouched = list(_vouched(domain, maybe_policy, filter(None, [maybe_spf_domain]), dkim_domains, resolver))
    except DNSFailure as error:
        return DMARC(None, domain, None, "none", (*steps, f"DNS failed: {error}"), has_failed=True)
    steps += [step for _, step in vouched]
    return DMARC(any(is_aligned for is_aligned, _ in vouched), domain, maybe_policy, request, tuple(steps))


def _vouched(
    domain: str, policy: Policy, spf: Iterable[str], dkim: Iterable[str], resolver: Resolver
) -> Iterator[tuple[bool, str]]:
    """§4.4: for each domain that is vouched for whether it fits, and a step that says so."""
    for how, tag, others in (("SPF", "aspf", list(spf)), ("DKIM", "adkim", list(dkim))):
        for other in others:
            is_aligned = _is_aligned(domain, other.lower(), resolver, is_strict=policy.is_strict(tag))
            fits = "fits" if is_aligned else "does not fit"
            yield is_aligned, f"{how} vouches for {other}, which {fits} From: {domain}"
        if not others:
            yield False, f"{how} vouches for nobody"


def _request(policy: Policy, domain: str, resolver: Resolver) -> tuple[str, str]:
    """§4.10.1: what is asked for mail of this domain, and a step that says so."""
    where = f"_dmarc.{policy.domain}"
    if not policy.is_valid:
        return "none", f"{where} counts as p=none, since it does not ask for none, quarantine or reject"
    wanted = ["p"]
    if policy.domain != domain:
        wanted = ["sp", "p"] if "np" not in policy.tags or _exists(domain, resolver) else ["np"]
    tag = next((tag for tag in wanted if tag in policy.tags), "")
    if not tag:
        return "none", f"{where} has no p=, and counts as p=none"
    request = policy.tags[tag].lower()
    if policy.tags.get("t", "n").lower() == "y" and request != "none":
        return _REQUESTS[request], f"{where} asks for {tag}={request}, and for one less while it is tested (t=y)"
    return request, f"{where} asks for {tag}={request}"


def _exists(domain: str, resolver: Resolver) -> bool:
    """§3.2.13 says NXDOMAIN; a name without any of these records is taken for such, since a resolver does not say."""
    kinds: tuple[Kind, ...] = ("A", "AAAA", "MX", "TXT")
    return any(resolver.lookup(domain, kind) for kind in kinds)


def _record(domain: str, resolver: Resolver) -> Policy | None:
    found = [
        tags
        for text in resolver.lookup(f"_dmarc.{domain}", "TXT")
        if (tags := _tags(text)).get("v") == "DMARC1" and text.replace(" ", "").startswith("v=DMARC1")
    ]
    return Policy(domain, found[0]) if len(found) == 1 else None  # several are none (§4.10)


def _why_none(domain: str, resolver: Resolver) -> str:
    if resolver.lookup(f"_dmarc.{domain}", "TXT"):
        return (
            f"what stands at _dmarc.{domain} counts as no record, since one has to begin with v=DMARC1; and be the only"
        )
    return f"neither {domain} nor a domain above it has a DMARC record"


def _tags(text: str) -> dict[str, str]:
    pairs = (piece.partition("=") for piece in text.split(";"))
    return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}


def _walk(domain: str, resolver: Resolver) -> list[Policy]:
    """The records of a domain and of those above it, the nearest first."""
    labels = domain.split(".")
    last = range(max(1, len(labels) - WALK_LIMIT + 1), len(labels))
    names = [domain, *(".".join(labels[start:]) for start in last)]
    found: list[Policy] = []
    for name in names:
        maybe_policy = _record(name, resolver)
        if maybe_policy is not None:
            found.append(maybe_policy)
            if maybe_policy.tags.get("psd", "u").lower() in {"y", "n"}:
                break
    return found


def _policy_of(domain: str, records: list[Policy]) -> Policy | None:
    if records and records[0].domain == domain:
        return records[0]
    organization = _organization(domain, records)
    return next((record for record in records if record.domain == organization), records[-1] if records else None)


def _organization(domain: str, records: list[Policy]) -> str:
    for record in records:
        is_public = record.tags.get("psd", "u").lower()
        if is_public == "n":
            return record.domain
        if is_public == "y" and record.domain != domain:
            above = record.domain.count(".") + 1
            return ".".join(domain.split(".")[-above - 1 :])
    return records[-1].domain if records else domain


def _is_aligned(domain: str, other: str, resolver: Resolver, *, is_strict: bool) -> bool:
    if domain == other:
        return True
    if is_strict:
        return False
    return _organization(domain, _walk(domain, resolver)) == _organization(other, _walk(other, resolver))
