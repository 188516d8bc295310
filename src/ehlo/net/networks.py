"""Networks of peers."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network


class Networks:
    """A set of networks."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks = [ip_network(text) for text in texts if text != "unix"]
        self._has_unix = "unix" in texts

    def __contains__(self, peer: object) -> bool:
        if not self._networks and not self._has_unix:
            return False
        if isinstance(peer, tuple):
            address = ip_address(peer[0])
            return any(address in network for network in self._networks)
        return self._has_unix
