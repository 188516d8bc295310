"""Parses a message in a process of its own.  Run as a script; knows the standard library only.

    python parser_process.py MODULE CLASS OUTPUT_LIMIT MEMORY_LIMIT < octets > pickle

The ``email`` package is written in Python: a large message keeps the interpreter's lock busy for seconds, and a hostile
one (a million parts) takes memory without measure.  Neither should happen where the server runs.  The exit status is
0, ``NOT_IMPORTABLE``, or 1 with one word about the reason on stderr, which never is a word of the message.
"""

from __future__ import annotations

import importlib
import operator
import pickle
import sys
from email.parser import BytesParser
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import Message

NOT_IMPORTABLE = 64

# Who reads the pickle builds all of the message in one step that no other thread interrupts.  So many header fields, or
# a tenth as many parts, take 50 ms.
FIELD_LIMIT = 100_000
FIELDS_PER_PART = 10


class Writer(pickle.Pickler):
    """A pickler that writes text that is not ASCII as the octets it was made of.

    The parser makes a surrogate of each octet above 127; ``pickle`` takes 8 s to read 32 MB of those, this way 50 ms.
    """

    def persistent_id(self, obj: object) -> bytes | None:
        """Give the octets; None for what is pickled as usual."""
        if not isinstance(obj, str) or obj.isascii():
            return None
        try:
            return obj.encode("ascii", "surrogateescape")
        except UnicodeEncodeError:
            return None


class Reader(pickle.Unpickler):
    """Reads what ``Writer`` wrote."""

    def persistent_load(self, pid: bytes) -> str:
        """Make text of the octets again."""
        return pid.decode("ascii", "surrogateescape")


def parse(content: bytes, message_class: type[Message]) -> Message:
    """Parse a message into a class, by the class's own policy: compat32, or the default one for ``EmailMessage``."""
    message: Message = BytesParser(message_class, policy=message_class().policy).parsebytes(content)
    return message


def main(module: str, name: str, output_limit: str, memory_limit: str) -> int:
    """Do what the module's text says; give the exit status."""
    try:
        message_class = operator.attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError):
        return NOT_IMPORTABLE
    try:
        _limit_memory(int(memory_limit))
        message = parse(sys.stdin.buffer.read(), message_class)
        if sum(FIELDS_PER_PART + len(part) for part in message.walk()) > FIELD_LIMIT:
            return _fail("TooManyParts")
        file = BytesIO()
        Writer(file, protocol=pickle.HIGHEST_PROTOCOL).dump(message)
        if file.tell() > int(output_limit):
            return _fail("TooBig")
    except Exception as error:  # noqa: BLE001 - the text of an exception may quote the message; its name does not
        return _fail(type(error).__name__)
    sys.stdout.buffer.write(file.getbuffer())
    return 0


def _fail(reason: str) -> int:
    sys.stderr.write(reason)
    return 1


def _limit_memory(size: int) -> None:
    """Let allocation fail here before it fails for everybody; not every system knows how."""
    try:
        import resource  # noqa: PLC0415 - not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (ImportError, OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
