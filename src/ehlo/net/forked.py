"""What children that this process forks must not have.  Knows file descriptors; does not know what they are for.

A child that had a listening socket would keep connections waiting that nobody accepts, and one that had a supervisor's
end of a channel would keep workers from noticing that their supervisor is gone.  Programs that are started by exec have
none of it anyway.
"""

from __future__ import annotations

import contextlib
import functools
import os

# Descriptors, and what they were for the system when they were withheld.
_withheld: dict[int, tuple[int, int]] = {}


def withhold(*descriptors: int) -> None:
    """Keep these from children that are forked from now on."""
    _register()
    _withheld.update({descriptor: _identity(descriptor) for descriptor in descriptors})


def release(*descriptors: int) -> None:
    """Before they are closed: their numbers will be those of others."""
    for descriptor in descriptors:
        _withheld.pop(descriptor, None)


@functools.cache
def _register() -> None:
    os.register_at_fork(after_in_child=_take_away)


def _take_away() -> None:
    # Not closed: objects of this process live on in the child, and would close what has got the number by then.
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor, identity in _withheld.items():
        with contextlib.suppress(OSError):
            if _identity(descriptor) == identity:  # nobody has closed it without a word, and got its number
                os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
    _withheld.clear()


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
