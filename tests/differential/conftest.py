"""The comparison with other servers; run it with `make differential` or `pytest tests/differential`.

Postfix must be installed and the user be root, or else its half is skipped.  With EHLO_E2E_REQUIRED=1, as in CI, a
Postfix that is not installed is a failure.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.differential.dialogues import SIZE_LIMIT
from tests.differential.postfix import running_postfix

if TYPE_CHECKING:
    from collections.abc import Iterator

SKIPPING_IS_FAILING = os.environ.get("EHLO_E2E_REQUIRED", "0") not in {"", "0"}
# Debian keeps it where only root looks.
PROGRAM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@pytest.fixture(scope="session")
def postfix_port() -> Iterator[int]:
    """The port of a Postfix that runs for the tests."""
    maybe_program = shutil.which("postfix", path=PROGRAM_PATH)
    if maybe_program is None:
        (pytest.fail if SKIPPING_IS_FAILING else pytest.skip)("postfix is not installed")
    if os.geteuid() != 0:
        pytest.skip("only root can start Postfix")
    with running_postfix(maybe_program, SIZE_LIMIT) as port:
        yield port
