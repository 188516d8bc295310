"""Who is in a list of networks, and which network a peer belongs to."""

from __future__ import annotations

import asyncio
import socket
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network, summarize_address_range
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehlo.net.networks import LOOPBACK, UNIX, UNKNOWN, Networks, network_of

if TYPE_CHECKING:
    from pathlib import Path

any_address = st.ip_addresses().map(str)
any_network = st.builds(
    lambda address, prefix: str(ip_network(f"{address}/{min(prefix, address.max_prefixlen)}", strict=False)),
    st.ip_addresses(),
    st.integers(0, 128),
)


# -- Networks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.0/255.255.255.0", "192.0.2.7", "192.0.1.7"),
        ("0.0.0.0/0", "203.0.113.5", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:DB8::1", "2001:db8::1", "2001:db8::2"),
        ("::/0", "2001:db8::1", "192.0.2.1"),
        ("::/0", "::1", "::ffff:192.0.2.1"),
        ("fe80::/10", "fe80::1%eth0", "fec0::1%eth0"),
        ("192.0.2.0/24", "::ffff:192.0.2.1", "::ffff:192.0.3.1"),
        ("::ffff:192.0.2.0/120", "192.0.2.1", "192.0.3.1"),
        ("::ffff:0:0/96", "192.0.2.1", "2001:db8::1"),
        ("::ffff:192.0.2.0/120", "::FFFF:192.0.2.1", "::192.0.2.1"),
    ],
)
def test_a_network_contains_its_own_addresses_only(text: str, inside: str, outside: str) -> None:
    networks = Networks([text])
    for address, is_inside in ((inside, True), (outside, False)):
        assert (address in networks) is is_inside
        assert ((address, 25) in networks) is is_inside
        assert ((address, 25, 0, 2) in networks) is is_inside


@given(st.lists(any_network, max_size=6), st.data())
def test_membership_is_that_of_the_ipaddress_module(texts: list[str], data: st.DataObject) -> None:
    networks = [ip_network(text) for text in texts]
    address = data.draw(st.one_of(st.ip_addresses(), *(st.ip_addresses(network=network) for network in networks)))
    expected = any(_as_ipv4(address) in _network_as_ipv4(network) for network in networks)
    assert ((str(address), 25) in Networks(texts)) is expected


def _as_ipv4(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _network_as_ipv4(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    first, last = _as_ipv4(network[0]), _as_ipv4(network[-1])
    if isinstance(first, IPv4Address) and isinstance(last, IPv4Address):
        (network,) = summarize_address_range(first, last)
    return network


@pytest.mark.parametrize("peer", ["", "/run/ehlo/client.sock", "\0abstract", b"\0abstract", b""])
def test_the_client_of_a_unix_socket_is_known_by_its_name(peer: str | bytes) -> None:
    assert peer in Networks(["unix"])
    assert peer in Networks(["192.0.2.1", "UNIX"])
    assert peer not in Networks(["0.0.0.0/0", "::/0"])
    assert network_of(peer) == UNIX


# A TCP connection that was reset has no peer name on uvloop, and what the client sent can still be read.
@pytest.mark.parametrize(
    "peer", [None, (), ("",), ("", 25), ("/run/x", 25), (None, 0), "unknown", "x.sock", 7, (b"\1",)]
)
def test_whoever_is_not_surely_on_a_unix_socket_is_not_taken_for_it(peer: object) -> None:
    assert peer not in Networks(["unix", "0.0.0.0/0", "::/0"])
    assert peer not in LOOPBACK
    assert network_of(peer) == UNKNOWN


@given(
    st.one_of(st.none(), st.text(max_size=12), st.binary(max_size=4), st.tuples(st.text(max_size=12), st.integers()))
)
def test_any_peer_has_an_answer(peer: object) -> None:
    # For Python a "file" may have any name; only those that no address has, and that are absolute, are trusted.
    is_unix = isinstance(peer, bytes) or (isinstance(peer, str) and peer[:1] in {"", "/", "\0"})
    assert (peer in Networks(["unix"])) is is_unix
    assert isinstance(network_of(peer), str)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "localhost",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "2001:db8::1/32",
        "fe80::1%eth0",
        "fe80::%eth0/10",
        "10",
        " ::1",
        "unix:",
    ],
)
def test_a_bad_network_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match="no network: ") as caught:
        Networks(["192.0.2.1", bad])
    assert repr(bad) in str(caught.value)


def test_one_text_instead_of_several_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="'::1'"):
        Networks("::1")


def test_networks_are_equal_when_they_say_the_same() -> None:
    some = Networks(["10.0.0.0/8", "::1", "unix"])
    assert some == Networks(iter(["UNIX", "0:0::1/128", "10.0.0.0/255.0.0.0", "::1"]))
    assert hash(some) == hash(Networks(["unix", "::1", "10.0.0.0/8"]))
    assert some != Networks(["10.0.0.0/8", "::1"])
    assert some != ["10.0.0.0/8"]
    assert repr(some) == "Networks(['10.0.0.0/8', '::1/128', 'unix'])"


def test_nobody_is_in_no_networks() -> None:
    assert "127.0.0.1" not in Networks([])
    assert "" not in Networks([])


def test_the_loopback_is_this_machine() -> None:
    assert all(
        peer in LOOPBACK for peer in [("127.0.0.1", 1), ("127.9.9.9", 1), ("::1", 1, 0, 0), "", "::ffff:127.0.0.1"]
    )
    assert all(peer not in LOOPBACK for peer in [("128.0.0.1", 1), ("::2", 1, 0, 0), ("::", 1, 0, 0), ("0.0.0.0", 1)])


# -- network_of ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "prefixes", "network"),
    [
        (("192.0.2.77", 25), (32, 64), "192.0.2.77"),
        (("192.0.2.77", 25), (24, 64), "192.0.2.0/24"),
        (("192.0.2.77", 25), (31, 64), "192.0.2.76/31"),
        (("2001:db8:1:2:3:4:5:6", 25, 0, 0), (32, 64), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:3:4:5:6", 25, 0, 0), (32, 48), "2001:db8:1::/48"),
        (("2001:db8:1:2:3:4:5:6", 25, 0, 0), (32, 128), "2001:db8:1:2:3:4:5:6"),
        (("::ffff:192.0.2.77", 25, 0, 0), (32, 64), "192.0.2.77"),
        (("::ffff:192.0.2.77", 25, 0, 0), (24, 64), "192.0.2.0/24"),
        (("fe80::1%eth0", 25, 0, 2), (32, 64), "fe80::/64"),
        ("192.0.2.77", (32, 64), "192.0.2.77"),
    ],
)
def test_the_network_of_a_peer(peer: Any, prefixes: tuple[int, int], network: str) -> None:
    assert network_of(peer, *prefixes) == network


@given(any_address, st.integers(1, 32), st.integers(1, 128))
def test_a_peer_is_in_its_own_network(address: str, ipv4_prefix: int, ipv6_prefix: int) -> None:
    assert (address, 25) in Networks([network_of((address, 25), ipv4_prefix, ipv6_prefix)])


# -- What loops say -----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no UNIX sockets in asyncio")
@pytest.mark.parametrize("name", [None, "client.sock", "\0ehlo-test-networks"])
async def test_the_client_of_a_real_unix_socket_is_known(tmp_path: Path, name: str | None) -> None:
    if name is not None and name.startswith("\0") and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    assert await _peer_of(tmp_path, name) in Networks([UNIX])


async def _peer_of(folder: Path, name: str | None) -> Any:
    peers: asyncio.Queue[Any] = asyncio.Queue()

    class Listening(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            peers.put_nowait(transport.get_extra_info("peername"))
            transport.close()

    path = folder / "server.sock"
    server = await asyncio.get_running_loop().create_unix_server(Listening, path)
    with socket.socket(socket.AF_UNIX) as client:
        if name is not None:
            client.bind(name if name.startswith("\0") else str(folder / name))
        client.connect(str(path))
        peer = await peers.get()
    server.close()
    await server.wait_closed()
    return peer
