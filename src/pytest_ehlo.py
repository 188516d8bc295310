"""ehlo's plugin for pytest: the fixtures ``inbox`` and ``inbox_server``.

A module beside the package and not in it, so that a run of pytest which does not use them imports nothing but this.

    def test_sign_in(inbox, client):
        client.post("/sign-in", {"email": "ann@example.com"})
        message = inbox.wait(to="ann@example.com", subject="Sign in")
        assert message.links[0].startswith("https://")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ehlo.inbox import Inbox

_INBOX = pytest.StashKey["Inbox"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options and the settings of the ini file."""
    group = parser.getgroup("ehlo", "ehlo: tests of applications that send mail")
    group.addoption(
        "--ehlo-web",
        metavar="[HOST]:PORT",
        nargs="?",
        const=":0",
        help="show the mail of the tests in a browser, and keep it until the end; without a value on a free port",
    )
    parser.addini("ehlo_host", "where the inboxes listen (127.0.0.1 and ::1)", default=None)
    parser.addini("ehlo_timeout", "seconds that inbox.wait() waits (5)", default=None)


@pytest.fixture(scope="session")
def inbox_options() -> dict[str, Any]:
    """What ``inbox_server`` gives to ``ehlo.inbox.Inbox``; override it: ``return {"tls": True}``."""
    return {}


@pytest.fixture(scope="session")
def inbox_server(request: pytest.FixtureRequest, inbox_options: dict[str, Any]) -> Iterator[Inbox]:
    """An inbox for all tests, for an application that is started once: tests tell their mail apart by ``to=...``."""
    from ehlo.inbox import Inbox  # noqa: PLC0415 - see the module's text

    config = request.config
    options: dict[str, Any] = {}
    if config.getini("ehlo_host"):
        options["host"] = config.getini("ehlo_host")
    if config.getini("ehlo_timeout"):
        options["timeout"] = float(config.getini("ehlo_timeout"))
    if config.getoption("ehlo_web") and not hasattr(config, "workerinput"):  # xdist's workers have no terminal
        options["web"] = config.getoption("ehlo_web")
    server = Inbox(**(options | inbox_options))
    try:
        server.start()
    except ImportError as error:  # the page needs the extra
        pytest.fail(str(error), pytrace=False)
    try:
        if server.web_url is not None:
            _say(config, f"ehlo: the mail of the tests is at {server.web_url}")
        yield server
    finally:
        server.stop()


@pytest.fixture
def inbox(request: pytest.FixtureRequest, inbox_server: Inbox) -> Iterator[Inbox]:
    """An inbox of the test's own, at an SMTP port of its own: nothing that another test sends gets there."""
    with inbox_server.new(request.node.name, keeps_mail=inbox_server.web_url is not None) as own:
        request.node.stash[_INBOX] = own
        yield own


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show in the report of a test that has failed what its inbox holds."""
    report = yield
    own = item.stash.get(_INBOX, None)
    if own is not None and report.when == "call" and report.failed:
        report.sections.append((f"Mail at {own.smtp_url}", own.describe() or "none"))
    return report


def _say(config: pytest.Config, line: str) -> None:
    """Write to the terminal, whatever pytest captures."""
    plugins = config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    if reporter is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(line)
