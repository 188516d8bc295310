"""Programs that are built upon aiosmtpd, from PyPI, and their own tests: with ehlo.compat.aiosmtpd in its place.

`make e2e` installs them beside their sources into tests/e2e/.compat, an environment of its own: two are plugins of
pytest that would else be here too.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
INSTALLED = HERE / ".compat"
PYTHON = INSTALLED / "venv" / "bin" / "python"
SECONDS = 300.0

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore")


class Package(NamedTuple):
    """Where its sources are, what runs its tests there, and how many there are at least."""

    folder: str
    command: tuple[str, ...]
    tests: int


PACKAGES = {
    "smtpdfix": Package("smtpdfix-*", (*PYTEST, "tests"), 80),
    "pytest-localserver": Package("pytest_localserver-*", (*PYTEST, "tests/test_smtp.py"), 6),
    # Those about injection speak to no server, and need an email package as of Python 3.13.
    "aiosmtplib": Package("aiosmtplib-*", (*PYTEST, "-k", "not injection and not smuggle", "tests"), 350),
    "Django": Package("django-*/tests", ("runtests.py", "mail", "--parallel=1"), 200),
}


@pytest.fixture(scope="session", autouse=True)
def _packages_are_installed() -> None:
    if not (INSTALLED / ".installed").exists():
        pytest.skip("the programs are not installed; `make e2e` installs them")


def run(*arguments: str, folder: Path, home: Path) -> tuple[int, str]:
    """Exit status and output of a Python that finds ours when it looks for aiosmtpd."""
    python_path = os.pathsep.join(map(str, (HERE / "compat" / "alias", SOURCE)))
    finished = subprocess.run(
        [PYTHON, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
        text=True,
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": python_path,
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    return finished.returncode, finished.stdout


def test_they_get_ours_when_they_import_aiosmtpd(tmp_path: Path) -> None:
    program = (
        "import aiosmtpd.smtp, aiosmtpd.testing.helpers; from aiosmtpd.controller import Controller; "
        "print(aiosmtpd.__name__, aiosmtpd.smtp.SMTP.__module__, Controller.__module__, aiosmtpd.smtp.__spec__.name)"
    )
    status, output = run("-W", "error", "-c", program, folder=tmp_path, home=tmp_path)
    assert status == 0, output
    assert {word.rpartition("aiosmtpd")[0] for word in output.split()} == {"ehlo.compat."}


@pytest.mark.timeout(SECONDS + 10)
@pytest.mark.parametrize("name", PACKAGES)
def test_a_program_passes_its_own_tests(name: str, tmp_path: Path) -> None:
    package = PACKAGES[name]
    [folder] = [path for path in (INSTALLED / "sources").glob(package.folder) if path.is_dir()]
    status, output = run(*package.command, folder=folder, home=tmp_path)
    print(output)
    assert status == 0
    counted = re.search(r"(\d+) passed|Ran (\d+) tests", output)
    assert counted is not None
    assert int(counted[1] or counted[2]) >= package.tests
    assert "skipped=" not in output  # as Django does where there is no aiosmtpd
