"""What is remembered of networks: their sessions, and when each of their buckets is full again.

Knows names and numbers; does not know what is allowed, nor what time it is. ``LocalRegistry`` is that of a server by
itself; servers in several processes share a ``SharedRegistry``.

Memory: of networks with sessions there are no more than sessions.  Of the others those are remembered that have a
bucket which is not full, and of these the last that left: whoever owns a great many networks can make us forget others,
but not those that are connected, and cannot make us remember more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableSequence
from typing import Any, Protocol, Self

BUCKETS = 5
"""How many a network has."""
FULL = (0,) * BUCKETS


class Network(Protocol):
    """What is known of a network; to be used within ``with registry``."""

    @property
    def name(self) -> str:
        """As ``ehlo.net.networks.network_of`` has it."""
        ...

    @property
    def connections(self) -> int:
        """Its sessions."""
        ...

    @property
    def auths(self) -> int:
        """Its AUTH commands under way."""
        ...

    @property
    def full_at(self) -> MutableSequence[int]:
        """When each bucket is full again, in nanoseconds; to be changed in place."""
        ...

    def count_auths(self, difference: int) -> None:
        """So many AUTH commands more, or less."""


class Registry(Protocol):
    """All of them.  ``with registry``: nobody else changes anything meanwhile; not to be nested."""

    @property
    def sessions(self) -> int:
        """Open now, of all networks."""
        ...

    def __len__(self) -> int:
        """How many networks it knows."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def find(self, name: str, now: int) -> Any:
        """A network, as it is remembered or new.  ``now``: in nanoseconds, for whom to forget."""

    def enter(self, network: Any) -> None:
        """One session more."""

    def leave(self, network: Any, now: int) -> None:
        """One session less."""


class LocalNetwork:
    """See ``Network``."""

    __slots__ = ("auths", "connections", "full_at", "name")

    def __init__(self, name: str, full_at: tuple[int, ...] = FULL) -> None:
        self.name = name
        self.connections = 0
        self.auths = 0
        self.full_at = [*full_at]

    def count_auths(self, difference: int) -> None:
        """See ``Network``."""
        self.auths += difference


class LocalRegistry:
    """The networks of one server.  ``remembered`` is how many without a session it remembers at most."""

    def __init__(self, remembered: int) -> None:
        self.sessions = 0
        self._remembered = remembered
        self._present: dict[str, LocalNetwork] = {}
        # In the order in which they left, and of each when its buckets are full.  Tuples of numbers, because they are
        # nothing to the garbage collector: 100,000 objects were, for 50 ms at a time.  No dict, because to find its
        # first key takes longer the more were deleted before it.
        self._absent: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._present) + len(self._absent)

    def __contains__(self, name: str) -> bool:
        """Whether it has sessions."""
        return name in self._present

    def __enter__(self) -> Self:
        """Nothing to do: there is one thread."""
        return self

    def __exit__(self, *_: object) -> None:
        """The same."""

    def find(self, name: str, now: int) -> LocalNetwork:
        """See ``Registry``; nothing is kept of a new one before it enters."""
        self._forget(now)
        return self._present.get(name) or LocalNetwork(name, self._absent.get(name, FULL))

    def enter(self, network: LocalNetwork) -> None:
        """See ``Registry``."""
        self._absent.pop(network.name, None)
        self._present[network.name] = network
        network.connections += 1
        self.sessions += 1

    def leave(self, network: LocalNetwork, now: int) -> None:
        """See ``Registry``."""
        self.sessions -= 1
        network.connections -= 1
        if network.connections:
            return
        del self._present[network.name]
        self._absent[network.name] = tuple(network.full_at)
        if len(self._absent) > self._remembered:
            self._absent.popitem(last=False)
        self._forget(now)

    def _forget(self, now: int) -> None:
        """Forget the network that left first, if there is nothing to remember of it any more.

        That happens twice for each session, which adds one network at most: so they get fewer, and no session waits
        for a great cleaning.
        """
        full_at = next(iter(self._absent.values()), None)
        if full_at is not None and max(full_at) <= now:
            self._absent.popitem(last=False)
