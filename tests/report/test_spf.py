from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.report.dns import NAME_LIMIT, DNSFailure, Kind, Zone
from ehlo.report.spf import LOOKUP_LIMIT, Result, check_spf

# Written after the examples of RFC 7208, appendix A.
ZONE = """
example.com.            MX 10 mail-a.example.com.
example.com.            MX 20 mail-b.example.com.
example.com.            A 192.0.2.10
example.com.            A 192.0.2.11
amy.example.com.        A 192.0.2.65
mail-a.example.com.     A 192.0.2.129
mail-b.example.com.     A 192.0.2.130
mail-b.example.com.     AAAA 2001:db8::130
example.org.            MX 10 mail-c.example.org.
mail-c.example.org.     A 192.0.2.140
10.2.0.192.in-addr.arpa PTR example.com.
65.2.0.192.in-addr.arpa PTR amy.example.com.
_spf.example.org.       TXT "v=spf1 ip4:192.0.2.140 -all"
bob._at.example.com     A 127.0.0.2
no-mail.example         MX 0 .
129.2.0.192.in-addr._spf.example.com A 127.0.0.2
"""


def result(record: str, address: str, mail_from: str = "bob@example.com") -> Result:
    return check_spf(address, mail_from, "client.example.com", Zone(f'{ZONE}\nexample.com TXT "{record}"')).result


@pytest.mark.parametrize(
    ("record", "address", "expected"),
    [
        ("v=spf1 +all", "192.0.2.129", Result.PASS),
        ("v=spf1 a -all", "192.0.2.10", Result.PASS),
        ("v=spf1 a -all", "192.0.2.129", Result.FAIL),
        ("v=spf1 a:example.org -all", "192.0.2.10", Result.FAIL),
        ("v=spf1 mx -all", "192.0.2.129", Result.PASS),
        ("v=spf1 mx -all", "192.0.2.10", Result.FAIL),
        ("v=spf1 mx -all", "2001:db8::130", Result.PASS),
        ("v=spf1 mx:example.org -all", "192.0.2.140", Result.PASS),
        ("v=spf1 mx mx:example.org -all", "192.0.2.140", Result.PASS),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", Result.PASS),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", Result.PASS),
        ("v=spf1 mx/30 -all", "192.0.2.132", Result.FAIL),
        ("v=spf1 a//64 mx/30//64 -all", "2001:db8::1", Result.PASS),
        ("v=spf1 ptr -all", "192.0.2.10", Result.PASS),
        ("v=spf1 ptr -all", "192.0.2.65", Result.PASS),
        ("v=spf1 ptr -all", "192.0.2.140", Result.FAIL),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", Result.FAIL),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", Result.PASS),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::9", Result.PASS),
        ("v=spf1 ip6:2001:db8::/32 -all", "192.0.2.1", Result.FAIL),
        ("v=spf1 ip4:192.0.2.1 -all", "::ffff:192.0.2.1", Result.PASS),
        ("v=spf1 include:_spf.example.org ~all", "192.0.2.140", Result.PASS),
        ("v=spf1 include:_spf.example.org ~all", "192.0.2.141", Result.SOFTFAIL),
        ("v=spf1 redirect=_spf.example.org", "192.0.2.140", Result.PASS),
        ("v=spf1 redirect=_spf.example.org", "192.0.2.141", Result.FAIL),
        ("v=spf1 exists:%{l}._at.%{d} -all", "198.51.100.1", Result.PASS),
        ("v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all", "192.0.2.129", Result.PASS),
        ("v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all", "192.0.2.130", Result.FAIL),
        ("v=spf1 ?all", "192.0.2.1", Result.NEUTRAL),
        ("v=spf1", "192.0.2.1", Result.NEUTRAL),
        ("V=SPF1 A -ALL", "192.0.2.10", Result.PASS),
        ("v=spf1 x-new=1 exp=why.example.com a -all", "192.0.2.10", Result.PASS),
        ("v=spf10 +all", "192.0.2.1", Result.NONE),
        ("something else", "192.0.2.1", Result.NONE),
        ("v=spf1 foo -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 +all foo", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 +all ip4:192.0.2", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 +all mx/33", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 +all a//129", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 ip4:192.0.2 -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 a/33 -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 a/x -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 include:nobody.example -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 include: -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 redirect=nobody.example", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 redirect=a.example redirect=b.example", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 exists:%{x}.example -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 include:example.com -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 a:x.example a:y.example a:z.example -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 ip4:2001:db8::/32 -all", "2001:db8::1", Result.PERMERROR),
        ("v=spf1 ip6:192.0.2.1 -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 ip4:192.0.2.0/255.255.255.0 -all", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 +all include", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 +all exists", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 all:example.com", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 +all redirect=", "192.0.2.1", Result.PERMERROR),
        ("v=spf1 mx:no-mail.example -all", "192.0.2.1", Result.FAIL),
    ],
)
def test_a_record_gives_the_result_of_the_rfc(record: str, address: str, expected: Result) -> None:
    assert result(record, address) is expected


def test_two_records_are_an_error() -> None:
    zone = Zone('example.com TXT "v=spf1 +all"\nexample.com TXT "v=spf1 -all"')

    assert check_spf("192.0.2.1", "a@example.com", "", zone).result is Result.PERMERROR


def test_the_name_of_helo_stands_for_the_null_reverse_path() -> None:
    zone = Zone('client.example.com TXT "v=spf1 ip4:192.0.2.1 -all"')

    spf = check_spf("192.0.2.1", "", "client.example.com", zone)

    assert (spf.result, spf.domain) == (Result.PASS, "client.example.com")


@pytest.mark.parametrize("domain", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
def test_a_domain_of_other_letters_is_asked_for_as_dns_has_it(domain: str) -> None:
    zone = Zone('bücher.example TXT "v=spf1 ip4:192.0.2.1 -all"')

    assert check_spf("192.0.2.1", f"a@{domain}", "", zone).result is Result.PASS


def test_terms_that_ask_dns_are_limited() -> None:
    names = [f"{number}.example.com" for number in range(LOOKUP_LIMIT + 1)]
    zone = Zone(
        "\n".join(
            [
                *(f"{name} A 192.0.2.200" for name in names),
                f'example.com TXT "v=spf1 {" ".join(f"a:{n}" for n in names)} -all"',
            ]
        )
    )

    assert check_spf("192.0.2.1", "a@example.com", "", zone).result is Result.PERMERROR


def test_a_silent_dns_is_an_error_for_now() -> None:
    class Silent:
        def lookup(self, name: str, kind: Kind) -> list[str]:
            raise DNSFailure("timed out")

    spf = check_spf("192.0.2.1", "a@example.com", "", Silent())

    assert spf.result is Result.TEMPERROR
    assert spf.steps == ("DNS failed: timed out",)


def test_without_a_domain_there_is_nobody_to_ask() -> None:
    spf = check_spf("192.0.2.1", "", "", Zone(""))

    assert (spf.result, spf.steps) == (Result.NONE, ("neither MAIL nor HELO has a domain to ask about",))


def test_the_steps_explain_the_result() -> None:
    zone = Zone(
        'example.com TXT "v=spf1 include:_spf.example.org ~all"\n_spf.example.org TXT "v=spf1 ip4:192.0.2.140 -all"'
    )

    assert check_spf("192.0.2.1", "a@example.com", "", zone).steps == (
        "example.com has v=spf1 include:_spf.example.org ~all",
        "_spf.example.org has v=spf1 ip4:192.0.2.140 -all",
        "-all matches 192.0.2.1: fail",
        "~all matches 192.0.2.1: softfail",
    )


def test_a_name_that_is_too_long_loses_labels_on_its_left() -> None:
    asked = []

    class Noted:
        def lookup(self, name: str, kind: Kind) -> list[str]:
            asked.append(name)
            return [f"v=spf1 exists:{'%{l}.' * 5}example.com -all"] if kind == "TXT" else []

    label = "a" * 60
    check_spf("192.0.2.1", f"{label}@example.com", "", Noted())

    assert asked[1:] == [f"{label}.{label}.{label}.example.com"]

    check_spf("192.0.2.1", f"{'a.' * 200_000}a@example.com", "", Noted())  # in no time
    assert len(asked[-1]) <= NAME_LIMIT


@given(st.text(max_size=60), st.sampled_from(["192.0.2.1", "2001:db8::1"]))
def test_no_record_breaks_the_check(terms: str, address: str) -> None:
    class Always:
        def lookup(self, name: str, kind: Kind) -> list[str]:
            return [f"v=spf1 {terms}"] if kind == "TXT" else ["192.0.2.9"] if kind == "A" else []

    check_spf(address, "a@example.com", "", Always())


def test_a_line_of_a_zone_that_is_no_record_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2 is no record"):
        Zone("a.example A 192.0.2.1\nb.example CNAME a.example")


@pytest.mark.parametrize("line", ["a.example A nobody", "a.example A 2001:db8::1", "a.example AAAA 192.0.2.1"])
def test_an_address_of_a_zone_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 1 has no IPv[46] address"):
        Zone(line)


def test_a_zone_joins_strings_and_skips_comments() -> None:
    zone = Zone('a.example. 300 IN TXT "v=spf1 " "-all" ; nobody\n; a comment\n')

    assert zone.lookup("A.example", "TXT") == ["v=spf1 -all"]


def test_an_address_of_a_zone_may_be_written_in_any_way() -> None:
    assert Zone("a.example AAAA 2001:DB8:0::1").lookup("a.example", "AAAA") == ["2001:db8::1"]
