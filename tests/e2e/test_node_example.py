"""The example of a Node application, tested by its own tests against `ehlo catch`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.process import running

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parents[2] / "examples/node_test"


def test_its_tests_pass(program: Callable[[str], str], node_folder: Path) -> None:
    with running("-m", "ehlo", "catch", "--smtp=:0", "--web=:0", "--quiet") as catcher:
        url = catcher.out.wait_for(r"(http://127\.0\.0\.1:\d+)/")[1]
        told = subprocess.run(
            [program("node"), "--test", FOLDER],
            env={"EHLO_INBOX_URL": url, "NODE_PATH": str(node_folder / "node_modules")},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        assert "pass 3" in told.stdout or "pass 2" in told.stdout
        assert catcher.stop() == 0
