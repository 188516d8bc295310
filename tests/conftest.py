"""What every test gets: coroutines on the chosen event loop, Hypothesis profiles, and a check for threads left over.

`--loop uvloop` (or EHLO_LOOP=uvloop) chooses the loop, `--hypothesis-profile thorough` the long search.
"""

from __future__ import annotations

import functools
import gc
import inspect
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator

# Real clients and servers are slow to start and may be absent: `pytest tests/e2e` asks for them by name.
collect_ignore = ["e2e", "differential"]

LOOP_FACTORY = pytest.StashKey["harness.LoopFactory"]()

# Deadlines measure the machine, not the code, and too_slow does the same for strategies.
hypothesis.settings.register_profile(
    "default",
    deadline=None,
    max_examples=60,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "thorough", hypothesis.settings.get_profile("default"), max_examples=3000, derandomize=False
)
hypothesis.settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--loop",
        choices=harness.LOOPS,
        default=os.environ.get("EHLO_LOOP", "asyncio"),
        help="event loop that coroutine tests run on (default: EHLO_LOOP or asyncio)",
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[LOOP_FACTORY] = harness.loop_factory_named(config.getoption("loop"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    return f"event loop: {config.getoption('loop')}"


def pytest_collection_finish() -> None:
    # harness.run_coroutine collects garbage after each test; everything imported until now need not be looked at again.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def test_x()`; leave every other test to pytest."""
    test = pyfuncitem.obj
    run = functools.partial(
        harness.run_coroutine, loop_factory=pyfuncitem.config.stash[LOOP_FACTORY], limit=_time_limit(pyfuncitem)
    )
    if hypothesis.is_hypothesis_test(test):
        inner_test = test.hypothesis.inner_test
        if inspect.iscoroutinefunction(inner_test):
            test.hypothesis.inner_test = _synchronous(inner_test, run)
        return None
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}
    run(functools.partial(test, **arguments))
    return True


def _time_limit(item: pytest.Item) -> float:
    """A little less than pytest-timeout grants, in seconds: its mark with a first argument, or the ini file."""
    maybe_mark = item.get_closest_marker("timeout")
    granted = maybe_mark.args[0] if maybe_mark and maybe_mark.args else item.config.getini("timeout")
    return 0.9 * float(granted)


def _synchronous(
    test: Callable[..., Coroutine[Any, Any, object]],
    run: Callable[[Callable[[], Coroutine[Any, Any, object]]], None],
) -> Callable[..., None]:
    """A plain function around a coroutine test of Hypothesis: each example gets a loop of its own."""

    @functools.wraps(test)
    def run_example(*args: Any, **kwargs: Any) -> None:
        run(functools.partial(test, *args, **kwargs))

    return run_example


@pytest.fixture(scope="session")
def loop_factory(pytestconfig: pytest.Config) -> harness.LoopFactory:
    """The factory of the chosen loop, for tests that start loops themselves (in threads, for example)."""
    return pytestconfig.stash[LOOP_FACTORY]


@pytest.fixture(scope="session", autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """A thread that outlives the tests would also keep a user's process from ending."""
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in started:
        thread.join(timeout=2)  # a pool that was told to shut down without waiting is about to end
    left = [thread.name for thread in started if thread.is_alive()]
    assert not left, f"threads left running at the end: {', '.join(left)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Undo what a command did to the log: the next test in this process may listen to it."""
    loggers = [logging.getLogger(), logging.getLogger("ehlo")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    try:
        yield
    finally:
        for logger, (level, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers[:] = handlers
