"""Who is asked for DNS records. Knows names and types of records; does not know what they mean.

No check asks anybody unless it is given a resolver: a zone, which is a text and asks nobody, or the system's, which
needs dnspython (``pip install 'ehlo[report]'``).
"""

from __future__ import annotations

import ipaddress
import time
from typing import Literal, Protocol
from unicodedata import normalize

Kind = Literal["A", "AAAA", "MX", "PTR", "TXT"]

SECONDS = 5.0
NAME_LIMIT = 253
"""Characters of a name (RFC 1035 §2.3.4, written with dots)."""


class DNSFailure(Exception):
    """There was no answer, neither yes nor no."""


class Resolver(Protocol):
    """Answers questions; each may take seconds, so ask it from a thread."""

    def lookup(self, name: str, kind: Kind) -> list[str]:
        """The records' data, a TXT record's strings joined, an MX record's name alone.

        [] when there is none; ``DNSFailure`` when nobody knows.
        """


class Zone:
    """Records in a text, in the format of RFC 1035 §5.1 with whole names: ``name [ttl] [IN] type data``.

    For tests, and for records that are not published yet.  ``ValueError`` for a line that is none.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._records: dict[tuple[str, str], list[str]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = _words(line)
            if not words:
                continue
            name, rest = words[0], words[1:]
            while rest and (rest[0].isdigit() or rest[0].upper() == "IN"):
                rest = rest[1:]
            if len(rest) < 2 or rest[0].upper() not in {"A", "AAAA", "MX", "PTR", "TXT"}:
                raise ValueError(f"line {number} is no record of type A, AAAA, MX, PTR or TXT")
            kind = rest[0].upper()
            data = "".join(rest[1:]) if kind == "TXT" else rest[-1].rstrip(".")
            if kind in {"A", "AAAA"}:
                data = _address(data, 4 if kind == "A" else 6, number)
            self._records.setdefault((name_in_dns(name), kind), []).append(data)

    def lookup(self, name: str, kind: Kind) -> list[str]:
        """See ``Resolver``."""
        return self._records.get((name_in_dns(name), kind), [])


class SystemResolver:
    """Asks the name servers of this machine, or others by their addresses.  ``ImportError`` without dnspython.

    ``timeout`` is for one question, in seconds.
    """

    def __init__(self, name_servers: tuple[str, ...] = (), timeout: float = SECONDS, *, port: int = 53) -> None:
        import dns.resolver  # noqa: PLC0415 - of an extra

        self.name_servers, self.timeout, self.port = name_servers, timeout, port
        self._resolver = dns.resolver.Resolver(configure=not name_servers)
        if name_servers:
            self._resolver.nameservers = list(name_servers)
        self._resolver.port = port
        self._resolver.lifetime = timeout

    def lookup(self, name: str, kind: Kind) -> list[str]:
        """See ``Resolver``."""
        import dns.exception  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        try:
            answer = self._resolver.resolve(name, kind, raise_on_no_answer=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise DNSFailure(str(error)) from error
        found = []
        for record in answer.rrset or ():
            if kind == "TXT":
                found.append(b"".join(record.strings).decode("utf-8", "replace"))
            else:
                found.append(str(record.exchange if kind == "MX" else record).rstrip("."))
        return found


class Hurried:
    """Asks another resolver, but nobody any more when ``seconds`` are over."""

    def __init__(self, resolver: Resolver, seconds: float) -> None:
        self._resolver = resolver
        self._end = time.monotonic() + seconds

    def lookup(self, name: str, kind: Kind) -> list[str]:
        """See ``Resolver``."""
        if time.monotonic() >= self._end:
            raise DNSFailure("the time for all questions is over")
        return self._resolver.lookup(name, kind)


def name_in_dns(domain: str) -> str:
    """A domain as DNS has it: in lower case, and in A-labels (RFC 5890 §2.3.2.1) where it has other letters."""
    name = domain.rstrip(".").lower()
    if name.isascii() or len(name) > NAME_LIMIT:
        return name
    # Not by the codec "idna", whose version of 2003 takes "ß" for "ss".
    return ".".join(map(_a_label, normalize("NFC", name).split(".")))


def _a_label(label: str) -> str:
    return label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"


def _address(text: str, version: int, number: int) -> str:
    """As a resolver writes it; ``ValueError`` if it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise ValueError(f"line {number} has no IPv{version} address")
    return str(address)


def _words(line: str) -> list[str]:
    """The words of a line; ``"..."`` is one, a semicolon outside of quotation marks begins a comment."""
    words: list[str] = []
    for number, piece in enumerate(line.split('"')):
        if number % 2:
            words.append(piece)
            continue
        plain, semicolon, _ = piece.partition(";")
        words.extend(plain.split())
        if semicolon:
            break
    return words
