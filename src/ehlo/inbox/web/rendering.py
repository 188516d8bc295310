"""HTML that has been made harmless, kept for a while: a message is opened more often than it changes, which is never.

Knows how much of it is kept and how much is made at once; how it is made is in ``ehlo.inbox.web.html``.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ehlo.inbox.web.html import Rendered

AT_ONCE: Final = 2
"""Some HTML takes long, and others want to read their mail meanwhile."""
KEPT: Final = 64
KEPT_CHARACTERS: Final = 16 << 20

Key = tuple[int, bool]
"""The id of a message, which never means another one, and whether remote content is let in."""


class Renderings:
    """Makes and keeps them.  Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._kept: OrderedDict[Key, Rendered] = OrderedDict()
        self._characters = 0

    async def get(self, key: Key, make: Callable[[], Awaitable[Rendered]]) -> Rendered:
        """The rendering that there is, or the one that ``make`` gives."""
        if key not in self._kept:
            async with self._turn:
                if key not in self._kept:  # nobody has made it while this one waited
                    made = await make()
                    self._keep(key, made)
                    return made
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, key: Key, made: Rendered) -> None:
        if key in self._kept or len(made.html) > KEPT_CHARACTERS // 2:
            return
        self._kept[key] = made
        self._characters += len(made.html)
        while len(self._kept) > KEPT or self._characters > KEPT_CHARACTERS:
            _, oldest = self._kept.popitem(last=False)
            self._characters -= len(oldest.html)
