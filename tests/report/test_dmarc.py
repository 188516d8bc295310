from __future__ import annotations

import pytest

from ehlo.report.dmarc import WALK_LIMIT, check_dmarc
from ehlo.report.dns import DNSFailure, Kind, Zone

ZONE = Zone(
    """
    _dmarc.sender.example         TXT "v=DMARC1; p=reject; sp=quarantine"
    _dmarc.strict.example         TXT "v=DMARC1; p=reject; aspf=s; adkim=s"
    _dmarc.bank                   TXT "v=DMARC1; p=reject; psd=y"
    _dmarc.two.example            TXT "v=DMARC1; p=reject"
    _dmarc.two.example            TXT "v=DMARC1; p=none"
    _dmarc.np.example             TXT "v=DMARC1; p=quarantine; sp=none; np=reject"
    there.np.example              A   192.0.2.1
    _dmarc.test.example           TXT "v=DMARC1; p=reject; sp=quarantine; t=y"
    _dmarc.broken.example         TXT "v=DMARC1; p=refuse"
    _dmarc.reported.example       TXT "v=DMARC1; p=reject; sp=refuse; rua=mailto:d@reported.example"
    _dmarc.late.example           TXT "p=reject; v=DMARC1"
    _dmarc.case.example           TXT "v=dmarc1; p=reject"
    _dmarc.unit.example           TXT "v=DMARC1; p=reject; psd=n"
    _dmarc.plain.example          TXT "v=DMARC1; sp=reject"
    _dmarc.team.unit.example      TXT "v=DMARC1; p=none"
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
        ("np.example", None, [], False, "quarantine"),
        ("there.np.example", None, [], False, "none"),
        ("nowhere.np.example", None, [], False, "reject"),
        ("test.example", None, [], False, "quarantine"),
        ("news.test.example", None, [], False, "none"),
        ("broken.example", "broken.example", [], None, "none"),
        ("reported.example", None, [], False, "none"),
        ("late.example", "late.example", [], None, "none"),
        ("case.example", "case.example", [], None, "none"),
        ("team.unit.example", "mail.unit.example", [], True, "none"),
        ("plain.example", None, [], False, "none"),
        ("plain.example", "plain.example", [], True, "none"),
        ("news.plain.example", None, [], False, "reject"),
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
    assert result.has_failed
    assert result.steps == ("DNS failed: timed out",)


@pytest.mark.parametrize(
    "record",
    ["v=DMARC1 p=reject", "V=dmarc1; p=reject", 'v=DMARC1; p=none"\n_dmarc.sender.example TXT "v=DMARC1; p=none'],
)
def test_a_record_that_counts_as_none_is_pointed_out(record: str) -> None:
    result = check_dmarc("sender.example", None, [], Zone(f'_dmarc.sender.example TXT "{record}"'))

    assert result.maybe_policy is None
    assert "_dmarc.sender.example counts as no record" in result.steps[0]


def test_a_walk_asks_for_eight_names_at_most() -> None:
    """The example of RFC 9989 §4.10."""
    asked = []

    class Nobody:
        def lookup(self, name: str, kind: Kind) -> list[str]:
            asked.append(name.removeprefix("_dmarc."))
            return []

    check_dmarc("a.b.c.d.e.f.g.h.i.j.mail.example.com", None, [], Nobody())

    assert list(dict.fromkeys(asked)) == [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        *("g.h.i.j.mail.example.com", "h.i.j.mail.example.com", "i.j.mail.example.com", "j.mail.example.com"),
        *("mail.example.com", "example.com", "com"),
    ]
    assert len(set(asked)) == WALK_LIMIT


def test_a_name_of_very_many_labels_takes_no_memory() -> None:
    assert check_dmarc("a." * 100_000 + "example", None, [], Zone("")).passes is None
