"""The example applications, tested by their own tests as their developers would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# Where ehlo is installed, pytest finds the plugin by itself.
PLUGIN = [] if any(found.name == "ehlo" for found in entry_points(group="pytest11")) else ["-p", "pytest_ehlo"]


@pytest.mark.parametrize(("name", "count"), [("django_app", 3), ("fastapi_app", 3)])
def test_its_tests_pass(name: str, count: int, tmp_path: Path) -> None:
    folder = PROJECT / "examples" / name
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *PLUGIN,
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            "--rootdir",
            tmp_path,
            ".",
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert f" {count} passed" in told.stdout
