"""The plugin as its users have it: in runs of pytest of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., pytest.RunResult]

SOURCE = Path(__file__).parents[2] / "src"

SEND = """
    import smtplib, pytest

    def send(inbox, to="ann@example.com", subject="Hello"):
        with smtplib.SMTP(inbox.host, inbox.port) as client:
            client.sendmail("app@a.example", [to], f"Subject: {subject}\\r\\n\\r\\n")
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run tests in a process of their own, with this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))

    def run_tests(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(SEND + source)
        return pytester.runpytest_subprocess("-p", "pytest_ehlo", "-W", "error", *arguments, timeout=50)

    return run_tests


def test_each_test_has_an_inbox_of_its_own(run: Run) -> None:
    result = run("""
    @pytest.mark.parametrize("number", range(3))
    def test_it(inbox, number):
        send(inbox, subject=str(number))
        assert inbox.wait(to="ann@example.com")["Subject"] == str(number)
        assert len(inbox.messages) == 1

    def test_another(inbox):
        inbox.assert_none(within=0)
    """)
    result.assert_outcomes(passed=4)


def test_the_server_is_an_inbox_for_the_whole_run(run: Run) -> None:
    result = run("""
    @pytest.fixture(scope="session")
    def app(inbox_server):
        return inbox_server.smtp_url

    def test_one(app, inbox_server):
        send(inbox_server)
        assert inbox_server.smtp_url == app

    def test_two(inbox_server):
        assert inbox_server.wait(timeout=0)["Subject"] == "Hello"
    """)
    result.assert_outcomes(passed=2)


def test_coroutines_need_no_other_plugin(run: Run) -> None:
    result = run("""
    import asyncio

    def test_it(inbox):
        async def main():
            sending = asyncio.create_task(asyncio.to_thread(send, inbox))
            message = await inbox.wait_async()
            await sending
            return message
        assert asyncio.run(main())["Subject"] == "Hello"
    """)
    result.assert_outcomes(passed=1)


def test_a_test_that_fails_shows_what_its_inbox_holds(run: Run) -> None:
    result = run("""
    def test_it(inbox):
        send(inbox, subject="Welcome")
        inbox.wait(to="ann@example.com")
        inbox.wait(subject="Sign in", timeout=0)

    def test_other(inbox):
        assert inbox.messages
    """)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: no message with subject 'Sign in' arrived within 0 s",
            "*What did arrive at smtp://127.0.0.1:*",
            "*from <app@a.example> to ann@example.com: 'Welcome'",
            "*subject is not 'Sign in'",
            "*Mail at smtp://127.0.0.1:*",
            "  #1 *'Welcome'",
            "*Mail at smtp://127.0.0.1:*",
            "none",
        ]
    )


def test_settings_and_options(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nehlo_host = ::1\nehlo_timeout = 0.25\n")
    result = run("""
    @pytest.fixture(scope="session")
    def inbox_options(tmp_path_factory):
        return {"store": tmp_path_factory.mktemp("mail") / "mail.db"}

    def test_it(inbox, inbox_server):
        assert (inbox.host, inbox.timeout) == ("::1", 0.25)
        send(inbox)
        inbox.wait()
        with pytest.raises(AssertionError, match=r"within 0\\.25 s"):
            inbox.wait()
    """)
    result.assert_outcomes(passed=1)


def test_the_page_can_be_looked_at_while_tests_run(run: Run) -> None:
    result = run(
        """
    import json, urllib.request

    def test_one(inbox):
        send(inbox, subject="Welcome")
        inbox.wait()

    def test_what_another_got_is_still_there(inbox_server):
        with urllib.request.urlopen(f"{inbox_server.web_url}api/v1/messages") as answer:
            assert [one["inbox"] for one in json.load(answer)["messages"]] == ["test_one-1"]
    """,
        "--ehlo-web",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["ehlo: the mail of the tests is at http://127.0.0.1:*"])


def test_a_page_without_its_extra_says_what_is_missing(run: Run) -> None:
    result = run(
        """
    import sys
    sys.modules["uvicorn"] = None

    def test_it(inbox):
        pass
    """,
        "--ehlo-web",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pip install 'ehlo?inbox?'*"])


@pytest.mark.skipif(sys.platform == "win32", reason="xdist's workers are slow to start there")
def test_runs_in_parallel_do_not_meet(run: Run) -> None:
    result = run(
        """
    @pytest.mark.parametrize("number", range(8))
    def test_it(inbox, number):
        send(inbox, subject=str(number))
        assert inbox.wait()["Subject"] == str(number)
        inbox.assert_none(within=0)
    """,
        "-p",
        "xdist",
        "-n",
        "2",
    )
    result.assert_outcomes(passed=8)


def test_a_run_that_does_not_use_it_imports_nothing_of_it() -> None:
    program = "import sys, pytest, pytest_ehlo; print([name for name in sys.modules if name.startswith('ehlo')])"
    told = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"
