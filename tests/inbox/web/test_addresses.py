from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.inbox.web.addresses import is_public, is_public_url

PRIVATE = (
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "169.254.169.254",
    "192.0.0.8",
    "192.0.0.9",
    "100.64.0.1",
    "224.0.0.1",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::8.8.8.8",
    "2002:7f00:1::",
    "2002:c0a8:1::1",
    "fe80::1",
    "fec0::1",
    "feff::1",
    "fc00::1",
    "5f00::1",
    "ff02::1",
)
PUBLIC = ("93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8")


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_leads_inside_is_not_public_in_any_notation(address: str) -> None:
    assert not is_public(address)
    host = f"[{address}]" if ":" in address else address
    assert not is_public_url(f"http://{host}/a.png")


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)
    assert is_public_url(f"https://{f'[{address}]' if ':' in address else address}:8080/a.png")


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_global))
def test_no_address_of_version_4_is_hidden_in_one_of_version_6(address: ipaddress.IPv4Address) -> None:
    for prefix in ("::", "::ffff:", "::ffff:0:", "64:ff9b::"):
        assert not is_public(f"{prefix}{address}")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://Img.Example.COM./a?b#c",
        "http://example.com:81/a@b",
        "https://xn--bcher-kva.example/",
        "https://a-b.example?x",
        "https://1.example/",
    ],
)
def test_a_plain_name_may_be_loaded_from(url: str) -> None:
    assert is_public_url(url)


@pytest.mark.parametrize(
    "url",
    [
        r"http://127.0.0.1:18199\@example.com/1.png",
        r"http://example.com/\a",
        r"http:\\127.0.0.1/",
        "http://127.0.0%2e1/",
        "http://127.0.0.%31:18199/",
        "http://%31%32%37.0.0.1/",
        "http://user@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com:80@127.0.0.1/",
        "http://２.example/",
        "http://127。0。0。1/",
        "http:127.0.0.1/",
        "http:/127.0.0.1/",
        "http:///127.0.0.1/",
        "http://127.0.0.1./",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://a.0x7f/",
        "http://a.0x/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://1.2.3.4.5/",
        "http://[::1]/",
        "http://[::1%25lo]/",
        "http://[fe80::1%eth0]/",
        "http://[1.2.3.4]/",
        "http://[::g]/",
        "http://[:]/",
        "http://localhost/",
        "http://router/",
        "http://a.localhost/",
        "http://printer.local/",
        "http://printer.LOCAL./",
        "http://local/",
        "http://db.internal/",
        "http://nas.home.arpa/",
        "http://nas.lan/",
        "http://localhost.localdomain/",
        "http://a..example/",
        "http://.example/",
        "http://-a.example/",
        "http://a_b.example/",
        "http://example.com:port/",
        "http://example.com: 80/",
        "http://",
        "ftp://example.com/",
        "",
    ],
)
def test_what_may_lead_inside_or_is_not_plainly_written_is_refused(url: str) -> None:
    assert not is_public_url(url)
