"""The example applications, tested by their own tests as their developers would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# Where ehlo is installed, pytest finds the plugin by itself.
PLUGIN = [] if any(found.name == "ehlo" for found in entry_points(group="pytest11")) else ["-p", "pytest_ehlo"]


# Tests on the pages are of an application like this one, with fixtures as pytest-django has them.
FIXTURES = """
import app, pytest
from django.conf import settings as django_settings
from django.test import Client

@pytest.fixture
def settings():
    return django_settings

@pytest.fixture
def client():
    return Client()
"""
_TEST = re.compile(r"^<!-- test -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_tests(folder: Path, rootdir: Path) -> str:
    """What pytest says; an AssertionError with it if a test fails."""
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
            rootdir,
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
    return told.stdout


@pytest.mark.parametrize(("name", "count"), [("django_app", 3), ("fastapi_app", 3)])
def test_its_tests_pass(name: str, count: int, tmp_path: Path) -> None:
    assert f" {count} passed" in run_tests(PROJECT / "examples" / name, tmp_path)


@pytest.mark.parametrize("page", ["README.md", "docs/inbox.md"])
def test_the_tests_on_the_pages_pass(page: str, tmp_path: Path) -> None:
    tests = _TEST.findall((PROJECT / page).read_text(encoding="utf-8"))
    for number, source in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(source, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(FIXTURES, encoding="utf-8")
    (tmp_path / "app.py").write_bytes((PROJECT / "examples/django_app/app.py").read_bytes())
    assert tests
    assert f" {len(tests)} passed" in run_tests(tmp_path, tmp_path)
