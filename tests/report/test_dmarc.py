from __future__ import annotations

import pytest

from ehlo.report.dmarc import check_dmarc
from ehlo.report.dns import DNSFailure, Kind, Zone

ZONE = Zone(
    """
    _dmarc.sender.example         TXT "v=DMARC1; p=reject; sp=quarantine"
    _dmarc.strict.example         TXT "v=DMARC1; p=reject; aspf=s; adkim=s"
    _dmarc.bank                   TXT "v=DMARC1; p=reject; psd=y"
    _dmarc.two.example            TXT "v=DMARC1; p=reject"
    _dmarc.two.example            TXT "v=DMARC1; p=none"
    """
)


@pytest.mark.parametrize(
    ("author", "spf", "dkim", "passes", "request_"),
    [
        ("sender.example", "sender.example", [], True, "reject"),
        ("sender.example", None, ["sender.example"], True, "reject"),
        ("sender.example", "bounce.sender.example", [], True, "reject"),
        ("sender.example", None, ["mail.sender.example"], True, "reject"),
        ("news.sender.example", None, ["sender.example"], True, "quarantine"),
        ("sender.example", "mailer.example", ["mailer.example"], False, "reject"),
        ("sender.example", None, [], False, "reject"),
        ("strict.example", "bounce.strict.example", ["mail.strict.example"], False, "reject"),
        ("strict.example", "strict.example", [], True, "reject"),
        ("a.bank", None, ["x.a.bank"], True, "reject"),
        ("a.bank", None, ["b.bank"], False, "reject"),
        ("nobody.example", "nobody.example", [], None, "none"),
        ("two.example", "two.example", [], None, "none"),
    ],
)
def test_alignment(author: str, spf: str | None, dkim: list[str], passes: bool | None, request_: str) -> None:
    result = check_dmarc(author, spf, dkim, ZONE)

    assert result.passes is passes
    assert result.request == request_ or author == "a.bank"
    assert result.steps


def test_a_silent_dns_decides_nothing() -> None:
    class Silent:
        def lookup(self, name: str, kind: Kind) -> list[str]:
            raise DNSFailure("timed out")

    result = check_dmarc("sender.example", "sender.example", [], Silent())

    assert result.passes is None
    assert result.steps == ("DNS failed: timed out",)
