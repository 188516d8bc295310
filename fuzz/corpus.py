"""The seeds: files in ``corpus/TARGET``, and for sessions what clients say in the dialogue scripts of the tests.

So every crash that has become a dialogue script is a seed for ever after.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ehlo.testing import Script

ROOT: Final = Path(__file__).parents[1]
DICTIONARY: Final = Path(__file__).parent / "smtp.dict"
_CORPUS: Final = Path(__file__).parent / "corpus"
_DIALOGUES: Final = ROOT / "tests" / "dialogues"
# The configuration of a session, see ``conversation.read_config``: AUTH and trust, whole and in pieces.
_HEADS: Final = {"smtp": (b"000500000\n", b"020500002\n"), "lmtp": (b"100500000\n", b"120510002\n")}


def seeds(target: str) -> list[bytes]:
    """The inputs to begin with, always in the same order; at least the empty one."""
    found = [path.read_bytes() for path in sorted((_CORPUS / target).glob("*")) if path.is_file()]
    if target == "session":
        found += [seed for path in sorted(_DIALOGUES.glob("*.txt")) for seed in _seeds_of(path)]
    return found or [b""]


def words() -> list[bytes]:
    """The words of the dictionary: ``name="octets"`` with escapes, one on each line."""
    lines = [line.strip() for line in DICTIONARY.read_text().splitlines()]
    quoted = [line[line.index('"') + 1 : -1] for line in lines if line.endswith('"')]
    return [text.encode("latin-1").decode("unicode_escape").encode("latin-1") for text in quoted]


def _seeds_of(path: Path) -> list[bytes]:
    script = Script.parse(path.read_text())
    said = b"".join(step.octets for step in script.steps if step.mark in {"C:", "C+"})
    return [head + said for head in _HEADS[script.options.get("protocol", "smtp")]]
