from __future__ import annotations

import base64
import re
from functools import cache

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ehlo.report import Severity
from ehlo.report.authentication import AUTHENTICATION_NAMES, authenticate
from ehlo.report.dns import DNSFailure, Kind, Zone
from ehlo.report.examples import added, mail
from ehlo.report.mail import Mail

ADDRESS = "192.0.2.1"


@cache
def key(bits: int = 2048) -> tuple[bytes, str]:
    """A private key in PEM, and the public one as a DKIM record has it."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, base64.b64encode(public).decode()


def zone(bits: int = 2048) -> Zone:
    return Zone(
        f"""
        one._domainkey.sender.example TXT "v=DKIM1; k=rsa; p={key(bits)[1]}"
        sender.example TXT "v=spf1 ip4:{ADDRESS} -all"
        _dmarc.sender.example TXT "v=DMARC1; p=reject"
        """
    )


def signed(one: Mail, bits: int = 2048, **options: object) -> Mail:
    signature = dkim.sign(one.raw, b"one", b"sender.example", key(bits)[0], **options)
    return Mail(signature + one.raw, mail_from="anna@sender.example")


def rules(one: Mail, zone: Zone, address: str | None = ADDRESS) -> set[str]:
    return {finding.rule for finding in authenticate(one, zone, maybe_address=address, helo="client.example").findings}


def test_a_signed_message_from_the_right_place_has_no_findings() -> None:
    result = authenticate(signed(mail()), zone(), maybe_address=ADDRESS)

    assert result.findings == ()
    assert result.dkim[0].result == "pass"
    assert result.maybe_dmarc is not None
    assert result.maybe_dmarc.passes


def test_a_changed_message_is_found_out() -> None:
    one = signed(mail())
    changed = Mail(one.raw.replace(b"At one?", b"At two?"), one.mail_from)

    assert "dkim-invalid" in rules(changed, zone())


def test_a_key_that_nobody_publishes_is_an_error() -> None:
    assert rules(signed(mail()), Zone('sender.example TXT "v=spf1 +all"')) == {"dkim-invalid", "dmarc-none"}


def test_an_unsigned_message_is_told_so_and_spf_is_enough_for_dmarc() -> None:
    assert rules(Mail(mail().raw, "anna@sender.example"), zone()) == {"dkim-none"}


def test_a_stranger_fails() -> None:
    found = rules(Mail(mail().raw, "anna@sender.example"), zone(), "192.0.2.99")

    assert found == {"dkim-none", "spf-fail", "dmarc-fail"}


def test_without_an_address_spf_is_left_out() -> None:
    result = authenticate(signed(mail()), zone())

    assert result.maybe_spf is None
    assert result.findings == ()


def text_of(one: Mail, zone: Zone, rule: str) -> str:
    (finding,) = [found for found in authenticate(one, zone).findings if found.rule == rule]
    return finding.text


KEY = "one._domainkey.sender.example"


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
    assert text_of(signed(mail()), Zone(record), "dkim-invalid") == text


def test_a_changed_field_is_told_apart_from_a_changed_body() -> None:
    raw = signed(mail()).raw

    assert text_of(Mail(raw.replace(b"Lunch", b"Lunsj")), zone(), "dkim-invalid").startswith("fail: the signed fields")
    assert text_of(Mail(raw.replace(b"At one?", b"At two?")), zone(), "dkim-invalid").startswith("fail: the body was")


@pytest.mark.parametrize("tag", ["v", "a", "b", "bh", "d", "h", "s"])
@pytest.mark.parametrize("change", [r"", r"\1?", r"\1ÿ'\""])
def test_a_broken_signature_is_explained_in_plain_words(tag: str, change: str) -> None:
    raw = re.sub(rb"([;:\s]%s=)" % tag.encode(), change.encode("latin-1"), signed(mail()).raw, count=1)
    text = text_of(Mail(raw), zone(), "dkim-invalid")

    assert "b'" not in text
    assert 'b"' not in text


def test_a_silent_dns_accuses_nobody() -> None:
    class Silent:
        def lookup(self, name: str, kind: Kind) -> list[str]:
            raise DNSFailure("timed out")

    fields = {"list_unsubscribe": "<https://sender.example/x>", "list_unsubscribe_post": "List-Unsubscribe=One-Click"}
    every = [b"from", b"list-unsubscribe", b"list-unsubscribe-post"]
    findings = authenticate(signed(mail(**fields), include_headers=every), Silent(), maybe_address=ADDRESS).findings

    assert {one.rule for one in findings} == {"dkim-unverified", "spf-temperror", "dmarc-unknown"}
    assert {one.severity for one in findings} == {Severity.WARNING}


def test_a_header_that_is_broken_elsewhere_is_no_obstacle() -> None:
    assert "dkim-invalid" in rules(Mail(b"Hello there\r\n" + signed(mail()).raw), zone())


def test_a_domain_that_is_not_ascii_is_looked_up_as_dns_has_it() -> None:
    zone = Zone('_dmarc.xn--bcher-kva.example TXT "v=DMARC1; p=reject"')

    found = authenticate(mail(**{"from": "a@bücher.example"}), zone).maybe_dmarc

    assert found is not None
    assert (found.domain, found.request) == ("xn--bcher-kva.example", "reject")


def test_a_from_that_is_repeated_has_no_domain() -> None:
    assert "dmarc-no-author" in rules(added("From: anna@sender.example"), zone())


def test_authors_of_one_domain_have_it() -> None:
    assert "dmarc-no-author" not in rules(mail(**{"from": "a@sender.example, b@sender.example"}), zone())


def test_every_finding_is_one_of_the_names() -> None:
    everything = Zone(
        """
        spf.example TXT "v=spf1 ?all"
        _dmarc.spf.example TXT "v=DMARC1; p=refuse"
        """
    )
    found = authenticate(Mail(mail().raw, "a@spf.example"), everything, maybe_address=ADDRESS).findings

    assert {one.rule for one in found} <= AUTHENTICATION_NAMES
    assert "spf-pass" not in AUTHENTICATION_NAMES


def test_a_signature_without_from_signs_nothing_that_counts() -> None:
    one = Mail(b"DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=one; h=to; b=x; bh=x\r\n" + mail().raw)

    assert {"dkim-invalid", "dkim-from-unsigned"} <= rules(one, zone())


def test_a_small_key_is_noted() -> None:
    assert "dkim-small-key" in rules(signed(mail(), bits=1024), zone(1024))


def test_a_length_lets_others_add() -> None:
    assert "dkim-length" in rules(signed(mail(), length=True), zone())


def test_one_click_wants_a_signature_over_its_fields() -> None:
    fields = {"list_unsubscribe": "<https://sender.example/x>", "list_unsubscribe_post": "List-Unsubscribe=One-Click"}
    one = mail(**fields)

    assert "one-click-unsigned" in rules(signed(one, include_headers=[b"from", b"to"]), zone())
    every = [b"from", b"list-unsubscribe", b"list-unsubscribe-post"]
    assert "one-click-unsigned" not in rules(signed(one, include_headers=every), zone())


def test_several_authors_have_no_domain() -> None:
    assert "dmarc-no-author" in rules(mail(**{"from": "a@a.example, b@b.example"}), zone())


@pytest.mark.parametrize("value", ["", "x", "v=1; a=rsa-sha256; d=sender.example; s=one; h=from; b=x; bh=x", "b=\xff"])
def test_a_broken_signature_is_an_error_and_nothing_else(value: str) -> None:
    one = Mail(f"DKIM-Signature: {value}\r\n".encode() + mail().raw, "anna@sender.example")

    assert "dkim-invalid" in rules(one, zone())
