"""DKIM signatures: whether they fit the message, and why not (RFC 6376). Knows keys; not what a signature is good for.

Asks DNS of the resolver that it is given, and nobody else.  Needs dkimpy (``pip install 'ehlo[report]'``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ehlo.report.dns import DNSFailure, Resolver

if TYPE_CHECKING:
    from ehlo.report.mail import Mail

SIGNATURE_LIMIT = 10
"""Signatures that are verified; whoever puts more into a message wants to keep somebody busy (RFC 6376 §8.4)."""
WEAK_KEY = 1024
"""Bits of an RSA key; fewer verify nothing (RFC 8301 §3.2)."""

_PYTHON_OCTETS = re.compile(r"""b(?P<mark>['"])(?P<text>.*?)(?P=mark)""")
_PYTHON_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|.)")


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


def verify_signatures(mail: Mail, resolver: Resolver) -> tuple[DKIM, ...]:
    """Verify the first ``SIGNATURE_LIMIT`` of them.  ``ImportError`` without dkimpy if there is one."""
    count = min(len(mail.all("DKIM-Signature")), SIGNATURE_LIMIT)
    return tuple(_verify(mail, number, resolver) for number in range(count))


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

    where = f"{selector}._domainkey.{domain}"
    try:
        verifier = dkim.DKIM(mail.raw, minkey=WEAK_KEY)
        is_valid = verifier.verify(idx=number, dnsfunc=ask)
        key_size = int(verifier.keysize or 0)
        result, reason = ("pass", "") if is_valid else _why_not(where, keys, key_size)
    except DNSFailure as error:
        result, reason = "temperror", f"DNS failed: {error}: check again later"
    except dkim.NaClNotFoundError:
        result, reason = "temperror", "is made with Ed25519, which cannot be verified here: install PyNaCl"
    except dkim.DKIMException as error:
        result, reason = _plainly(str(error))
    except (ValueError, LookupError):  # of base64 and of i= in places where dkimpy does not look before
        result, reason = "permerror", "the values of b=, bh= or i= cannot be read: correct what makes the signature"
    forbidden = _forbidden(tags, _tags(keys[0]), where) if keys else ""
    if forbidden:
        result, reason = "permerror", forbidden
    is_rsa = tags.get("a", "").startswith("rsa")
    return DKIM(domain, selector, result, reason, signed, "l" in tags, key_size if is_rsa else 0)


def _forbidden(tags: dict[str, str], key: dict[str, str], where: str) -> str:
    """Why this signature by this key counts for nothing even where it fits, which dkimpy does not ask; "" if it may."""
    if tags.get("a") == "rsa-sha1":
        return "is made with SHA-1, which verifies nothing any more (RFC 8301 §3.1): sign with rsa-sha256"
    if "h" in key and "sha256" not in key["h"].split(":"):  # RFC 6376 §3.6.1, as are the others
        return f"the key at {where} is not for SHA-256: take its h= out"
    if "s" in key and not {"*", "email"} & set(key["s"].split(":")):
        return f"the key at {where} is not for mail: take its s= out"
    is_strict = "s" in key.get("t", "").split(":")
    if is_strict and tags.get("i", "@").rpartition("@")[2].lower() not in {"", tags.get("d", "").lower()}:
        return f"the key at {where} has t=s, and i= names another domain than d=: take one of them out"
    return ""


def _why_not(name: str, keys: list[str], key_size: int) -> tuple[str, str]:
    """What a verifier that says no has found.  ``key_size`` 0: it could make no key of the first of ``keys``."""
    if not keys:
        return "permerror", f"there is no key at {name}: publish it there as a TXT record"
    if key_size:
        return "fail", "signed fields were changed, or the key is another: sign last, with the key that is published"
    if _tags(keys[0]).get("p") == "":  # RFC 6376 §3.6.1
        return "permerror", f"the key at {name} is revoked: sign with another, and publish that"
    return "permerror", f"the record at {name} is no key: publish it anew"


def _plainly(problem: str) -> tuple[str, str]:
    """In other words than those of dkimpy, which shows octets as Python writes them, and only them for a broken tag."""
    if problem.startswith("body hash mismatch"):
        return "fail", "the body was changed after it was signed: sign last"
    if problem.startswith("x= value is past"):
        return "permerror", "it has expired by its x=: sign again, or with a later x="
    plain = _PYTHON_ESCAPE.sub(" ", _PYTHON_OCTETS.sub(r"\g<text>", problem))
    if _PYTHON_OCTETS.fullmatch(problem):
        plain = f"'{plain[:60].strip()}' is not written as tag=value, or stands twice"
    return "permerror", f"{plain}: correct what makes the signature"


def _tags(value: str) -> dict[str, str]:
    pairs = (piece.partition("=") for piece in value.split(";"))
    return {name.strip(): re.sub(r"\s+", "", content) for name, equals, content in pairs if equals}
