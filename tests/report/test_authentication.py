from __future__ import annotations

import pytest

from ehlo.report import Severity
from ehlo.report.authentication import AUTHENTICATION_NAMES, authenticate
from ehlo.report.dns import DNSFailure, Kind, Zone
from ehlo.report.examples import added, mail
from ehlo.report.mail import Mail
from tests.report.support import ADDRESS, signed, zone


def rules(one: Mail, resolver: Zone, address: str | None = ADDRESS) -> set[str]:
    return {
        finding.rule for finding in authenticate(one, resolver, maybe_address=address, helo="client.example").findings
    }


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


def test_a_silent_dns_accuses_nobody() -> None:
    class Silent:
        def lookup(self, name: str, kind: Kind) -> list[str]:
            raise DNSFailure("timed out")

    fields = {"list_unsubscribe": "<https://sender.example/x>", "list_unsubscribe_post": "List-Unsubscribe=One-Click"}
    every = [b"from", b"list-unsubscribe", b"list-unsubscribe-post"]
    findings = authenticate(signed(mail(**fields), include_headers=every), Silent(), maybe_address=ADDRESS).findings

    assert {one.rule for one in findings} == {"dkim-unverified", "spf-temperror", "dmarc-unknown"}
    assert {one.severity for one in findings} == {Severity.WARNING}


def test_what_could_not_be_asked_might_have_vouched() -> None:
    class NoKeys(Zone):
        def lookup(self, name: str, kind: Kind) -> list[str]:
            if "_domainkey" in name:
                raise DNSFailure("timed out")
            return super().lookup(name, kind)

    result = authenticate(signed(mail()), NoKeys(zone().text), maybe_address="192.0.2.99")

    assert {one.rule for one in result.findings} == {"dkim-unverified", "spf-fail", "dmarc-unknown"}
    assert result.maybe_dmarc is not None
    assert result.maybe_dmarc.passes is None


def test_a_header_that_is_broken_elsewhere_is_no_obstacle() -> None:
    assert "dkim-invalid" in rules(Mail(b"Hello there\r\n" + signed(mail()).raw), zone())


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    one = Mail(b"DKIM-Signature: d=\x1b[31m.example; s=\xe2\x80\xae\x00\r\n" + mail().raw, "a@spf.example")
    zone = Zone('spf.example TXT "v=spf1 \x1b[31m"')

    for finding in authenticate(one, zone, maybe_address=ADDRESS).findings:
        assert str(finding).isprintable()


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


def test_who_says_not_from_whom_a_message_is_is_told_to() -> None:
    found = authenticate(mail(), Zone(""), maybe_address=ADDRESS).findings

    (text,) = [one.text for one in found if one.rule == "spf-none"]
    assert "say from whom it is" in text
    assert "publish" not in text


def test_a_finding_is_no_longer_than_somebody_reads() -> None:
    one = Mail(b"DKIM-Signature: v=1; d=" + b"a." * 100_000 + b"b; s=" + b"x" * 100_000 + b"\r\n" + mail().raw)

    for finding in authenticate(one, Zone("")).findings:
        assert len(finding.place) + len(finding.text) < 5000
