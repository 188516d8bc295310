"""One process at a time for a store file.  Knows files and their locks; does not know SQLite.

The lock is on a file of its own beside the store: whoever closes any descriptor of the store file itself would give up
SQLite's own locks on it (POSIX, fcntl).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ehlo.inbox.errors import StoreUnusable

if TYPE_CHECKING:
    from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt

    # A lock keeps others from reading, too: it is on an octet far behind the number of the process.
    def _lock(file: BinaryIO) -> None:
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Held from when it is made until ``release``, at the latest until the process ends, however it ends.

    ``StoreUnusable`` if another holds it, in this process or elsewhere; OSError if the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._maybe_file: BinaryIO | None = self._acquire()

    def _acquire(self) -> BinaryIO:
        while True:
            file = open(self.path, "a+b", opener=_open_for_us)  # noqa: SIM115 - held until `release`
            try:
                _lock(file)
            except OSError:
                with file:
                    file.seek(0)
                    owner = file.read(20).decode("ascii", "replace").strip()
                raise StoreUnusable(f"is in use by another process{f' ({owner})' if owner else ''}") from None
            if _is_still_there(file, self.path):
                file.truncate(0)
                file.write(f"{os.getpid()}\n".encode())
                file.flush()
                return file
            file.close()  # its last owner has removed it between our two steps

    def release(self) -> None:
        """Let others have it, and leave nothing behind."""
        file, self._maybe_file = self._maybe_file, None
        if file is None:
            return
        if sys.platform == "win32":  # an open file cannot be removed
            file.close()
        with suppress(OSError):  # somebody else may have opened it already
            self.path.unlink(missing_ok=True)
        file.close()


def _open_for_us(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _is_still_there(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
