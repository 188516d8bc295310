"""One target under atheris: inputs are kept that reach code which none before has reached.

    python -m fuzz.atheris_engine TARGET [libFuzzer's options] [folders of inputs]

In a process of its own, because libFuzzer ends the process, and because ehlo must not be imported before it can be
instrumented.
"""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Does not return."""
    atheris = importlib.import_module("atheris")  # has no types, and is not there on every Python
    # Let libFuzzer see what texts are compared with.  Not "RegEx": atheris 3.0 cannot compile patterns of bytes.
    atheris.enabled_hooks.add("str")
    with atheris.instrument_imports(include=["ehlo"], enable_loader_override=False):
        targets = importlib.import_module("fuzz.targets").TARGETS
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
