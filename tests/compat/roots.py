"""Programs for aiosmtpd, loaded twice: as they are, and with the import changed, which is all that migrating is."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

REAL = "aiosmtpd"
OURS = "ehlo.compat.aiosmtpd"
ROOTS = (REAL, OURS)

HERE = Path(__file__).parent


def load(program: str, root: str) -> types.ModuleType:
    """Run a file of this folder, ``"setups"`` or ``"consumers/mailman"``, with another word for aiosmtpd."""
    path = HERE / f"{program}.py"
    source = re.sub(r"\baiosmtpd\b", root, path.read_text(encoding="utf-8"))
    name = f"{program} on {root}"
    module = types.ModuleType(name)
    # The types in it look for their module by its name.
    sys.modules[name] = module
    exec(compile(source, f"{path} ({root})", "exec"), vars(module))
    return module
