"""SPF: may this address send mail for this domain? (RFC 7208). Knows records and addresses; asks DNS of a resolver.

It explains: a result comes with the steps that led to it, since "fail" alone helps nobody to mend a record.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from ehlo.report.dns import NAME_LIMIT, DNSFailure, Kind, Resolver, name_in_dns

LOOKUP_LIMIT = 10
"""Terms that ask DNS in one check (RFC 7208 §4.6.4)."""
VOID_LIMIT = 2
"""Questions without an answer (§4.6.4)."""
MX_LIMIT = 10
"""Names of one MX (§4.6.4)."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 7208 §12: mechanisms have a qualifier or none, and ":" or "/" behind the name; modifiers have "=".
_MODIFIER = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9._-]*)=(?P<value>.*)")
_MECHANISM = re.compile(
    r"(?P<qualifier>[+?~-]?)(?P<name>[A-Za-z][A-Za-z0-9]*)(?::(?P<target>[^/]*(?:/(?![0-9/])[^/]*)*))?(?P<cidr>/.*)?"
)
_NETWORKS = frozenset({"ip4", "ip6"})
_NAMES = frozenset({"all", "include", "a", "mx", "ptr", "exists"}) | _NETWORKS
_CIDR = re.compile(r"(?:/(?P<four>[0-9]{1,2}))?(?://(?P<six>[0-9]{1,3}))?")
_LENGTH = re.compile(r"[0-9]{0,3}")
# §7.1: macro-expand = "%{" macro-letter transformers *delimiter "}" / "%%" / "%_" / "%-"
_MACRO = re.compile(
    r"%(?:\{(?P<letter>[slodiphcrtvSLODIPHCRTV])(?P<digits>[0-9]*)(?P<reverse>r?)(?P<delimiters>[.+,/_=-]*)\}|(?P<escape>[%_-]))"
)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}


class Result(enum.StrEnum):
    """RFC 7208 §2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_QUALIFIERS = {"": Result.PASS, "+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}


class SPF(NamedTuple):
    """A result, the domain that it is about, and the steps that led to it."""

    result: Result
    domain: str
    steps: tuple[str, ...]


class _Broken(Exception):
    """The record breaks a rule: permerror."""


def _parse(record: str, domain: str) -> tuple[list[re.Match[str]], str]:
    """§4.6: the mechanisms of a record and what it redirects to; a mistake anywhere in it breaks it, wherever it is."""
    mechanisms: list[re.Match[str]] = []
    modifiers: dict[str, str] = {}
    for term in record.split()[1:]:
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            mechanisms.append(_mechanism(term, domain))
            continue
        name = modifier["name"].lower()
        if name in modifiers and name in {"redirect", "exp"}:
            raise _Broken(f"{name}= stands twice in the record of {domain}")
        if name == "redirect" and not modifier["value"]:
            raise _Broken(f"redirect= in the record of {domain} names no domain")
        modifiers[name] = modifier["value"]
    return mechanisms, modifiers.get("redirect", "")


def _mechanism(term: str, domain: str) -> re.Match[str]:
    match = _MECHANISM.fullmatch(term)
    if match is None:
        raise _Broken(f"{term!a} in the record of {domain} is no term")
    name = match["name"].lower()
    if name not in _NAMES:
        raise _Broken(f"{term!a} in the record of {domain} is not known")
    if name in _NETWORKS:
        _network(match)
    elif name in {"a", "mx"}:
        _cidr(match["cidr"] or "")
    elif match["cidr"] or (name == "all" and match["target"]):
        raise _Broken(f"{term!a} in the record of {domain} has too much behind its name")
    if name in {"include", "exists"} and not match["target"]:
        raise _Broken(f"{term!a} in the record of {domain} names no domain")
    return match


def _network(mechanism: re.Match[str]) -> Network:
    """§5.6."""
    text = mechanism.group().partition(":")[2]
    make = ipaddress.IPv4Network if mechanism["name"].lower() == "ip4" else ipaddress.IPv6Network
    try:
        if not _LENGTH.fullmatch(text.partition("/")[2]):  # Python takes netmasks too
            raise ValueError
        return make(text, strict=False)
    except ValueError:
        raise _Broken(f"{mechanism.group()!a} names no network of {make.__name__[:4]}") from None


def _cidr(text: str) -> re.Match[str]:
    """§5.3: the lengths of prefixes for IPv4 and IPv6."""
    match = _CIDR.fullmatch(text)
    if match is None or int(match["four"] or 0) > 32 or int(match["six"] or 0) > 128:
        raise _Broken(f"{text!a} is no prefix length")
    return match


@dataclass
class _Check:
    """One check_host(), with what is counted across includes and redirects."""

    address: Address
    sender: str
    helo: str
    resolver: Resolver
    steps: list[str] = field(default_factory=list)
    lookups: int = 0
    voids: int = 0

    def of_domain(self, domain: str) -> Result:
        """§4: the result for a domain; raises ``_Broken`` and ``DNSFailure``."""
        records = [
            text for text in self.ask(domain, "TXT") if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")
        ]
        if not records:
            self.steps.append(f"{domain} has no SPF record")
            return Result.NONE
        if len(records) > 1:
            raise _Broken(f"{domain} has {len(records)} SPF records, and one is allowed")
        self.steps.append(f"{domain} has {records[0]}")
        mechanisms, redirect = _parse(records[0], domain)
        for mechanism in mechanisms:
            if self.matches(mechanism, domain):
                result = _QUALIFIERS[mechanism["qualifier"]]
                self.steps.append(f"{mechanism.group()} matches {self.address}: {result}")
                return result
        if redirect:
            return self.of_other(redirect, domain, f"redirect={redirect}")
        self.steps.append(f"nothing in the record of {domain} matches {self.address}")
        return Result.NEUTRAL

    def of_other(self, target: str, domain: str, term: str) -> Result:
        """§5.2, §6.1: the result of a domain that a term names, which must have a record."""
        self.count_term()
        result = self.of_domain(self.expand(target, domain))
        if result is Result.NONE:
            raise _Broken(f"{term} leads to a domain without a record")
        return result

    def matches(self, mechanism: re.Match[str], domain: str) -> bool:
        """§5: whether the client is what a mechanism speaks of."""
        name, target, cidr = mechanism["name"].lower(), mechanism["target"] or "", mechanism["cidr"] or ""
        if name == "all":
            return True
        if name in _NETWORKS:
            return self.is_in(_network(mechanism))
        if name == "include":
            return self.of_other(target, domain, mechanism.group()) is Result.PASS
        self.count_term()
        asked = self.expand(target, domain) if target else domain
        return bool(getattr(self, f"_matches_{name}")(asked, cidr))

    def is_in(self, network: Network) -> bool:
        """§5.6."""
        return self.address.version == network.version and self.address in network

    def _matches_a(self, name: str, cidr: str) -> bool:
        return self.is_among(self.addresses(name), cidr)

    def _matches_mx(self, name: str, cidr: str) -> bool:
        hosts = list(filter(None, self.ask(name, "MX")))  # RFC 7505: of "." there is no host
        if len(hosts) > MX_LIMIT:
            raise _Broken(f"{name} has more than {MX_LIMIT} MX records")
        return any(self.is_among(self.addresses(host), cidr) for host in hosts)

    def _matches_exists(self, name: str, _cidr: str) -> bool:
        return bool(self.ask(name, "A"))

    def _matches_ptr(self, name: str, _cidr: str) -> bool:
        hosts = self.ask(self.address.reverse_pointer, "PTR")[:MX_LIMIT]
        wanted = name.lower()
        return any(
            (host.lower() == wanted or host.lower().endswith(f".{wanted}"))
            and str(self.address) in self.addresses(host)
            for host in hosts
        )

    def addresses(self, name: str) -> list[str]:
        """The addresses of a name, of the kind that the client has."""
        return self.ask(name, "A" if self.address.version == 4 else "AAAA")

    def is_among(self, addresses: list[str], cidr: str) -> bool:
        """§5.3, §5.6: whether the client is in the network of one of these."""
        match = _cidr(cidr)
        maybe_length = match["four"] if self.address.version == 4 else match["six"]
        length = self.address.max_prefixlen if maybe_length is None else int(maybe_length)
        return any(self.is_in(ipaddress.ip_network(f"{one}/{length}", strict=False)) for one in addresses)

    def count_term(self) -> None:
        """§4.6.4."""
        self.lookups += 1
        if self.lookups > LOOKUP_LIMIT:
            raise _Broken(f"more than {LOOKUP_LIMIT} terms ask DNS")

    def ask(self, name: str, kind: Kind) -> list[str]:
        """Ask, and count the questions without an answer."""
        if not name or len(name) > NAME_LIMIT or any(len(label) > 63 for label in name.split(".")):
            raise _Broken(f"{name!a} is no domain")
        found = self.resolver.lookup(name, kind)
        if not found and kind != "TXT":
            self.voids += 1
            if self.voids > VOID_LIMIT:
                raise _Broken(f"more than {VOID_LIMIT} questions to DNS had no answer")
        return found

    def expand(self, text: str, domain: str) -> str:
        """§7: the macros of a domain-spec."""
        if "%" in _MACRO.sub("", text):
            raise _Broken(f"{text!a} has a macro that is none")
        expanded = _MACRO.sub(lambda match: self._macro(match, domain), text)
        if len(expanded) > NAME_LIMIT:  # §7.3
            return expanded[-NAME_LIMIT - 1 :].partition(".")[2]
        return expanded

    def _macro(self, match: re.Match[str], domain: str) -> str:
        if match["escape"]:
            return _ESCAPES[match["escape"]]
        local, _, sender_domain = self.sender.rpartition("@")
        is_four = self.address.version == 4
        values = {
            "s": self.sender,
            "l": local,
            "o": sender_domain,
            "d": domain,
            "i": str(self.address) if is_four else ".".join(self.address.exploded.replace(":", "")),
            "p": "unknown",  # §7.2: it may be, and asking for it is discouraged
            "v": "in-addr" if is_four else "ip6",
            "h": self.helo,
        }
        value = values.get(match["letter"].lower(), "")
        parts = re.split(f"[{re.escape(match['delimiters'] or '.')}]", value)
        if match["reverse"]:
            parts.reverse()
        if match["digits"]:
            parts = parts[-int(match["digits"]) :] if int(match["digits"]) else parts
        joined = ".".join(parts)
        return quote(joined, safe="") if match["letter"].isupper() else joined


def check_spf(address: str, mail_from: str, helo: str, resolver: Resolver) -> SPF:
    """Check who sends.  ``mail_from`` "" is the null reverse-path, for which the HELO name stands (RFC 7208 §2.4)."""
    sender = mail_from if "@" in mail_from else f"postmaster@{helo}"
    domain = name_in_dns(sender.rpartition("@")[2])
    client = ipaddress.ip_address(address)
    maybe_mapped = client.ipv4_mapped if client.version == 6 else None
    check = _Check(maybe_mapped or client, sender, helo, resolver)
    if "." not in domain:
        return SPF(Result.NONE, domain, ("neither MAIL nor HELO has a domain to ask about",))
    try:
        result = check.of_domain(domain)
    except _Broken as error:
        check.steps.append(str(error))
        result = Result.PERMERROR
    except DNSFailure as error:
        check.steps.append(f"DNS failed: {error}")
        result = Result.TEMPERROR
    return SPF(result, domain, tuple(check.steps))
