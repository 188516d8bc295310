from __future__ import annotations

import base64
import re

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519 as ed25519_keys

from ehlo.report.dns import Zone
from ehlo.report.examples import mail
from ehlo.report.mail import Mail
from ehlo.report.signatures import SIGNATURE_LIMIT, verify_signatures
from tests.report.support import KEY, signed, zone


def reason(one: Mail, resolver: Zone) -> str:
    (found,) = verify_signatures(one, resolver)
    return f"{found.result}: {found.reason}"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("", f"permerror: there is no key at {KEY}: publish it there as a TXT record"),
        (f'{KEY} TXT "v=DKIM1; p="', f"permerror: the key at {KEY} is revoked: sign with another, and publish that"),
        (f'{KEY} TXT "v=spf1 -all"', f"permerror: the record at {KEY} is no key: publish it anew"),
        (f'{KEY} TXT "v=DKIM1; p=bm8ga2V5"', f"permerror: the record at {KEY} is no key: publish it anew"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_apart_from_a_wrong_signature(record: str, text: str) -> None:
    assert reason(signed(mail()), Zone(record)) == text


def test_a_changed_field_is_told_apart_from_a_changed_body() -> None:
    raw = signed(mail()).raw

    assert reason(Mail(raw.replace(b"Lunch", b"Lunsj")), zone()).startswith("fail: signed fields")
    assert reason(Mail(raw.replace(b"At one?", b"At two?")), zone()).startswith("fail: the body was")


@pytest.mark.parametrize("tag", ["v", "a", "b", "bh", "d", "h", "s"])
@pytest.mark.parametrize("change", [r"", r"\1?", r"\1ÿ'\""])
def test_a_broken_signature_is_explained_in_plain_words(tag: str, change: str) -> None:
    raw = re.sub(rb"([;:\s]%s=)" % tag.encode(), change.encode("latin-1"), signed(mail()).raw, count=1)
    text = reason(Mail(raw), zone())

    assert "b'" not in text
    assert 'b"' not in text


_TAGS = {"v": "1", "a": "rsa-sha256", "d": "sender.example", "s": "one", "h": "from", "b": "eA==", "bh": "eA=="}


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        ("bh", "A=A=", "cannot be read"),
        ("i", "sender.example", "cannot be read"),
        ("i", "@other.example", "i= domain is not a subdomain of d= (i=@other.example d=sender.example)"),
        ("a", "rsa-md5", "unknown signature algorithm: rsa-md5"),
        ("b", None, "missing b="),
        ("!", "x", "'!=x' is not written as tag=value"),
        ("x", "1; x=1", "'x' is not written as tag=value, or stands twice"),
    ],
)
def test_what_is_wrong_with_a_signature_is_said_in_plain_words(tag: str, value: str | None, words: str) -> None:
    tags = "; ".join(f"{name}={content}" for name, content in (_TAGS | {tag: value}).items() if content is not None)
    text = reason(Mail(f"DKIM-Signature: {tags}\r\n".encode() + mail().raw), zone())

    assert words in text
    assert text.endswith(": correct what makes the signature")


def test_a_right_signature_passes() -> None:
    (found,) = verify_signatures(signed(mail()), zone())

    assert (found.domain, found.selector, found.result, found.reason) == ("sender.example", "one", "pass", "")
    assert found.key_size == 2048
    assert "from" in found.signed_fields


def test_no_more_signatures_are_verified_than_that() -> None:
    one = b"DKIM-Signature: v=1\r\n" * (SIGNATURE_LIMIT + 5)

    assert len(verify_signatures(Mail(one + mail().raw), zone())) == SIGNATURE_LIMIT


def test_a_signature_that_has_expired_is_told_so() -> None:
    old = Mail(signed(mail()).raw.replace(b"a=rsa-sha256;", b"a=rsa-sha256; x=1;"))

    assert reason(old, zone()) == "permerror: it has expired by its x=: sign again, or with a later x="


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ("h=sha1", "is not for SHA-256"),
        ("s=tlsrpt:x", "is not for mail"),
        ("t=y:s", "has t=s, and i= names another domain"),
    ],
)
def test_a_key_says_what_it_is_good_for(tags: str, words: str) -> None:
    one = signed(mail(), identity=b"anna@mail.sender.example")

    assert reason(one, zone()) == "pass: "
    assert words in reason(one, Zone(zone().text.replace("k=rsa;", f"k=rsa; {tags};")))


def test_sha1_verifies_nothing_any_more() -> None:
    assert "RFC 8301" in reason(signed(mail(), signature_algorithm=b"rsa-sha1"), zone())


@pytest.fixture
def ed25519() -> tuple[Mail, Zone]:
    """RFC 8463."""
    private = ed25519_keys.Ed25519PrivateKey.from_private_bytes(bytes(32))
    secret, public = base64.b64encode(bytes(32)), base64.b64encode(private.public_key().public_bytes_raw()).decode()
    signature = dkim.sign(mail().raw, b"one", b"sender.example", secret, signature_algorithm=b"ed25519-sha256")
    return Mail(signature + mail().raw), Zone(f'{KEY} TXT "v=DKIM1; k=ed25519; p={public}"')


def test_a_signature_of_ed25519_is_verified(ed25519: tuple[Mail, Zone]) -> None:
    one, published = ed25519
    (found,) = verify_signatures(one, published)

    assert (found.result, found.key_size) == ("pass", 0)
    assert reason(Mail(one.raw.replace(b"Lunch", b"Lunsj")), published).startswith("fail: signed fields")


def test_a_signature_of_ed25519_accuses_nobody_where_nothing_verifies_it(
    ed25519: tuple[Mail, Zone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(dkim, "nacl")

    assert reason(*ed25519) == "temperror: is made with Ed25519, which cannot be verified here: install PyNaCl"
