"""Listening sockets. Knows addresses and ports; does not know what is served on them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

BACKLOG = 1024
LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - only on request
CAN_SHARE_OUT = sys.platform == "linux"
"""Whether SO_REUSEPORT does so; BSD and macOS give everything to one of the sockets."""
# How often a port that the system chose for one address may turn out to be taken on another.
_TRIES = 20
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


class _Address(NamedTuple):
    """What ``bind`` needs, and whether the machine may lack it."""

    family: socket.AddressFamily
    address: tuple[object, ...]
    is_optional: bool


async def tcp_sockets(host: str | Sequence[str] | None, port: int) -> list[socket.socket]:
    """Bound sockets for a host, all on one port; with port 0 the system chooses one that is free on all of them.

    ``host`` None is the loopback of IPv4 and of IPv6 (programs differ in what "localhost" means to them); "" is every
    address of this machine; several names may be given.  Where a machine has no IPv6, None and "" do without, and so
    does a name that has an IPv4 address too ("localhost" in most containers).
    ``OSError`` when an address cannot be had, ``ValueError`` when there is no name at all.
    """
    names = LOOPBACK if host is None else EVERYWHERE if host == "" else [host] if isinstance(host, str) else host
    if not names:
        raise ValueError("no host to listen on")
    addresses = await _resolve(names, port, may_lack_ipv6=not host)
    for tries_left in range(_TRIES, -1, -1):
        try:
            return _bind_all(addresses, port)
        except OSError as error:
            if port != 0 or error.errno != errno.EADDRINUSE or tries_left == 0:
                raise
    raise AssertionError("unreachable")


def multiply(sockets: Sequence[socket.socket], count: int) -> list[list[socket.socket]]:
    """For each of ``count`` processes its own sockets on the same addresses, where the system shares connections out.

    The first has those that were given, which are bound and do not listen yet.  Linux gives each new connection to one
    of the sockets, by a hash of its addresses.  Elsewhere, and for UNIX sockets, all get the same ones, and who comes
    first is served first.  ``OSError`` as from ``bind``; then those that were given are left as they are.
    """
    if not CAN_SHARE_OUT or any(bound.family.name == "AF_UNIX" for bound in sockets):
        return [[*sockets] for _ in range(count)]
    # Not before they were bound: with the option, another server's port would have been no obstacle.
    for bound in sockets:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    groups = [[*sockets]]
    try:
        for _ in range(count - 1):
            group: list[socket.socket] = []
            groups.append(group)  # before it is filled: what is in it has to be closed
            group.extend(_bind(bound.family, bound.getsockname(), is_shared=True) for bound in sockets)
    except OSError:
        for opened in itertools.chain(*groups[1:]):
            opened.close()
        raise
    return groups


def unix_socket(path: str | os.PathLike[str]) -> socket.socket:
    """A socket bound to a path.  One that a server left behind is replaced, one where somebody listens is not."""
    path = Path(path)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            if _somebody_listens(path):
                raise OSError(errno.EADDRINUSE, "Somebody listens there", str(path))
            path.unlink()
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    return bound


def remove_unix_socket(bound: socket.socket, inode: tuple[int, int]) -> None:
    """Remove the file of a socket, if it is still the one that was made: another server may have taken the path."""
    path = bound.getsockname()
    with contextlib.suppress(FileNotFoundError):
        if inode_of(path) == inode:
            Path(path).unlink()


def inode_of(path: str) -> tuple[int, int]:
    """What tells one file from another at the same path."""
    found = Path(path).stat()
    return found.st_dev, found.st_ino


async def _resolve(names: Sequence[str], port: int, *, may_lack_ipv6: bool) -> list[_Address]:
    loop = asyncio.get_running_loop()
    found: dict[tuple[socket.AddressFamily, tuple[object, ...]], bool] = {}
    for name in names:
        infos = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        has_ipv4 = any(family == socket.AF_INET for family, *_ in infos)
        for family, _, _, _, address in infos:
            is_optional = family == socket.AF_INET6 and (may_lack_ipv6 or has_ipv4)
            found[family, address] = is_optional and found.get((family, address)) is not False
    return [_Address(family, address, is_optional) for (family, address), is_optional in found.items()]


def _bind_all(addresses: list[_Address], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, (host, _, *rest), is_optional in addresses:
            try:
                sockets.append(_bind(family, (host, port, *rest)))
            except OSError as error:
                if not (is_optional and error.errno in _NO_SUCH_FAMILY):
                    raise
                continue
            port = sockets[0].getsockname()[1]
    except OSError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _bind(family: socket.AddressFamily | int, address: tuple[object, ...], *, is_shared: bool = False) -> socket.socket:
    # With the protocol spelt out: asyncio turns Nagle's algorithm off only for sockets that say they are TCP, and with
    # it a reply in two segments, as TLS makes them, waits 40 ms for an acknowledgement.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there it would let two servers have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"{error.strerror}: {address[0]} port {address[1]}") from None
    return bound


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)  # or it would wait for its turn with a server that has too much to do
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # Its backlog is full, it is for datagrams, or we may not connect: whoever it is, it is not ours to remove.
            return True
        return True
