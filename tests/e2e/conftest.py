"""End-to-end tests drive real clients; run them with `make e2e` or `pytest tests/e2e`.

A client that is not installed skips its tests on a developer's machine.  With EHLO_E2E_REQUIRED=1, as in CI,
a skip is a failure: a test that quietly stops running proves nothing.  Only what root alone can do may be skipped even
then; CI does it again as root.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.e2e.support import Certificates

HERE = Path(__file__).parent
SKIPPING_IS_FAILING = os.environ.get("EHLO_E2E_REQUIRED", "0") not in {"", "0"}
NEEDS_ROOT = "only root can do this"
# Debian keeps smtp-source and smtp-sink where only root looks.
PROGRAM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (SKIPPING_IS_FAILING and report.skipped):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if NEEDS_ROOT not in reason:
        report.outcome = "failed"
        report.longrepr = f"{reason}\nA skip is a failure while EHLO_E2E_REQUIRED is set."


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """A function from a program's name to its path; it skips the test if there is no such program."""

    def path_of(name: str) -> str:
        maybe_path = shutil.which(name, path=PROGRAM_PATH)
        if maybe_path is None:
            pytest.skip(f"{name} is not installed")
        return maybe_path

    return path_of


@pytest.fixture(scope="session")
def node_folder(program: Callable[[str], str]) -> Path:
    """Where `node` has to be started so that `require("nodemailer")` works; skips if it would not."""
    program("node")
    if not (HERE / "node_modules" / "nodemailer").is_dir():
        pytest.skip("nodemailer is not installed; `make e2e` installs it")
    return HERE


@pytest.fixture(scope="session")
def root_rights() -> None:
    """Skips the test if it is not root who runs it."""
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A server's certificate for localhost, and the authority that clients are to trust."""
    from tests.e2e.support import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))
