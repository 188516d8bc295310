"""A registry that several processes share: tables of numbers in memory, and a lock that dies with who holds it.

    sessions     one of each seat
    keys         one of each place: a network, as a keyed hash of its name; 0 is nobody
    full_at      of each place, as many as there are buckets
    connections  of each seat, one of each place
    auths        the same

A process has a *seat*, in whose columns it alone counts; what is counted of a network is the sum over the seats.  So
when a process has died, whatever it was about to do, emptying its seat is all that is left to do.  A network may have
one of a few places (a *set*), which its hash says; the key of the hash is secret, so that nobody can choose networks
that meet in one set.  The lock is POSIX's (fcntl), which the system takes back from the dead.

The file has as many octets as everything together could need, some 50 MB for ten seats, but as memory only those count
that are used.  Times in it are the monotonic clock's, which processes of one machine have in common.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from functools import partial
from typing import Self

from ehlo.net.registry import BUCKETS, LocalNetwork, LocalRegistry

PLACES = 1 << 17
"""Networks that there is room for; those that find none are counted by each process for itself."""
_WAYS = 16
"""Places in a set."""


def new_file(seats: int) -> int:
    """The descriptor of a file for so many seats, which has no name and ends with the last process that has it."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("ehlo-clients")
    else:
        import tempfile  # noqa: PLC0415 - takes time

        with tempfile.TemporaryFile() as unnamed:
            file = os.dup(unnamed.fileno())
    os.ftruncate(file, _octets(seats))
    return file


class SharedNetwork:
    """See ``ehlo.net.registry.Network``."""

    __slots__ = ("_registry", "full_at", "name", "place")

    def __init__(self, registry: SharedRegistry, name: str, place: int) -> None:
        self.name = name
        self.place = place
        self.full_at = registry.full_at_of(place)
        self._registry = registry

    @property
    def connections(self) -> int:
        """See there."""
        return self._registry.connections_of(self.place)

    @property
    def auths(self) -> int:
        """See there."""
        return self._registry.auths_of(self.place)

    def count_auths(self, difference: int) -> None:
        """See there."""
        self._registry.count_auths(self.place, difference)


class SharedRegistry:
    """See ``ehlo.net.registry.Registry``.  ``file`` is one of ``new_file``; ``key`` has up to 64 octets."""

    def __init__(self, file: int, *, seats: int, seat: int, key: bytes) -> None:
        from fcntl import LOCK_EX, LOCK_UN, lockf  # noqa: PLC0415 - not on Windows

        self._lock = partial(lockf, file, LOCK_EX)
        self._unlock = partial(lockf, file, LOCK_UN)
        self._key = key
        self._seat = seat
        self._mine = seat * PLACES
        octets = memoryview(mmap.mmap(file, _octets(seats)))
        self._sessions, rest = _table(octets, "Q", seats)
        self._keys, rest = _table(rest, "Q", PLACES)
        self._full_at, rest = _table(rest, "q", PLACES * BUCKETS)
        self._connections, rest = _table(rest, "I", seats * PLACES)
        self._auths, rest = _table(rest, "I", seats * PLACES)
        self._without_place = LocalRegistry(PLACES)

    @property
    def sessions(self) -> int:
        """See there."""
        return sum(self._sessions)

    def __len__(self) -> int:
        return PLACES - self._keys.tolist().count(0)

    def __enter__(self) -> Self:
        """Wait until no other process is in here, which takes microseconds."""
        self._lock()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        self._unlock()

    def find(self, name: str, now: int) -> SharedNetwork | LocalNetwork:
        """See there."""
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, key=self._key).digest(), "big") or 1
        first = key % (PLACES // _WAYS) * _WAYS
        keys = self._keys[first : first + _WAYS].tolist()
        if key in keys:
            return SharedNetwork(self, name, first + keys.index(key))
        place = None if name in self._without_place else self._free_place(first, keys)
        if place is None:
            return self._without_place.find(name, now)
        network = SharedNetwork(self, name, place)
        network.full_at[:] = _FULL  # first: who dies in between leaves nobody with another's times
        self._keys[place] = key
        return network

    def enter(self, network: SharedNetwork | LocalNetwork) -> None:
        """See there."""
        self._sessions[self._seat] += 1  # first, and last when it leaves: ``vacate`` goes by it
        if isinstance(network, LocalNetwork):
            self._without_place.enter(network)
        else:
            self._connections[self._mine + network.place] += 1

    def leave(self, network: SharedNetwork | LocalNetwork, now: int) -> None:
        """See there."""
        if isinstance(network, LocalNetwork):
            self._without_place.leave(network, now)
        else:
            self._connections[self._mine + network.place] -= 1
        self._sessions[self._seat] -= 1

    def vacate(self, seat: int) -> None:
        """Forget the sessions of a process that has ended, for the next one that gets its seat."""
        with self:
            if not self._sessions[seat]:
                return  # it said goodbye; do not make memory of what was none
            mine = slice(seat * PLACES, (seat + 1) * PLACES)
            self._connections[mine] = self._auths[mine] = memoryview(bytes(4 * PLACES)).cast("I")
            self._sessions[seat] = 0

    # For its networks

    def full_at_of(self, place: int) -> memoryview[int]:
        """The times of a network."""
        return self._full_at[place * BUCKETS : (place + 1) * BUCKETS]

    def connections_of(self, place: int) -> int:
        """Over all seats."""
        return sum(self._connections[place::PLACES])

    def auths_of(self, place: int) -> int:
        """Over all seats."""
        return sum(self._auths[place::PLACES])

    def count_auths(self, place: int, difference: int) -> None:
        """Those of this seat."""
        self._auths[self._mine + place] += difference

    # Inside

    def _free_place(self, first: int, keys: list[int]) -> int | None:
        """Nobody's place, or that of the network without sessions that is as new soonest; None if there is none."""
        if 0 in keys:
            return first + keys.index(0)
        absent = [place for place in range(first, first + _WAYS) if not self.connections_of(place)]
        return min(absent, key=lambda place: max(self.full_at_of(place)), default=None)


_FULL = memoryview(bytes(8 * BUCKETS)).cast("q")


def _octets(seats: int) -> int:
    return 8 * seats + 8 * PLACES + 8 * PLACES * BUCKETS + 2 * 4 * PLACES * seats


def _table(octets: memoryview, code: str, count: int) -> tuple[memoryview[int], memoryview]:
    """The first numbers of some octets, and the rest of them."""
    size = 8 if code in "qQ" else 4
    return octets[: size * count].cast(code), octets[size * count :]  # type: ignore[call-overload]
