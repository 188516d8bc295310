"""The harness of the tests: a test that leaves something behind must not pass."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ROOT = Path(__file__).parents[1]

kept: list[asyncio.Task[None]] = []  # the loop itself would let them be collected


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_coroutine_test_runs_on_the_chosen_loop(pytestconfig: pytest.Config) -> None:
    package = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    assert package == pytestconfig.getoption("loop")


@given(number=st.integers())
async def test_hypothesis_gives_each_example_to_a_coroutine(number: int) -> None:
    await asyncio.sleep(0)
    assert isinstance(number, int)


class TestMethods:
    async def test_a_method_may_be_a_coroutine_with_fixtures(self, tmp_path: Path) -> None:
        assert isinstance(tmp_path, Path)


def test_what_the_coroutine_raises_is_raised(loop_factory: harness.LoopFactory) -> None:
    async def failing() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        harness.run_coroutine(failing, loop_factory)


def test_a_coroutine_that_waits_for_ever_fails(loop_factory: harness.LoopFactory) -> None:
    with pytest.raises(TimeoutError):
        harness.run_coroutine(forever, loop_factory, limit=0.01)


def test_a_skip_inside_a_coroutine_is_a_skip(loop_factory: harness.LoopFactory) -> None:
    async def skipping() -> None:
        pytest.skip("not today")

    with pytest.raises(pytest.skip.Exception, match="not today"):
        harness.run_coroutine(skipping, loop_factory)


async def leaving_a_task_pending() -> None:
    kept.append(asyncio.create_task(forever(), name="left"))


async def raising_in_a_callback() -> None:
    def callback() -> None:
        raise LookupError

    asyncio.get_running_loop().call_soon(callback)


async def raising_in_a_task_that_nobody_awaits() -> None:
    async def failing() -> None:
        raise LookupError

    unwatched = asyncio.create_task(failing())
    await asyncio.wait([unwatched])


async def dropping_a_failed_future_in_a_cycle() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(LookupError())
    cycle: list[object] = [future]
    cycle.append(cycle)


@pytest.mark.parametrize(
    ("untidy", "complaint"),
    [
        (leaving_a_task_pending, "task left pending: .*name='left'"),
        (raising_in_a_callback, "LookupError"),
        (raising_in_a_task_that_nobody_awaits, "Task exception was never retrieved; LookupError"),
        (dropping_a_failed_future_in_a_cycle, "Future exception was never retrieved; LookupError"),
    ],
)
def test_an_untidy_coroutine_fails(
    untidy: Callable[[], Coroutine[object, object, None]], complaint: str, loop_factory: harness.LoopFactory
) -> None:
    with pytest.raises(harness.Untidy, match=complaint):
        harness.run_coroutine(untidy, loop_factory)


def test_the_failure_itself_comes_before_what_it_left_behind(loop_factory: harness.LoopFactory) -> None:
    async def failing() -> None:
        await leaving_a_task_pending()
        raise LookupError

    with pytest.raises(LookupError) as caught:
        harness.run_coroutine(failing, loop_factory)
    assert "task left pending" in caught.value.__notes__[0]


async def test_a_task_that_is_about_to_end_is_not_left_behind() -> None:
    async def ending() -> None:
        await asyncio.sleep(0)

    kept.append(asyncio.create_task(ending()))


@pytest.mark.parametrize("name", ["trio", ""])
def test_an_unknown_loop_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no such event loop"):
        harness.loop_factory_named(name)


def test_a_loop_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ValueError, match="not installed"):
        harness.loop_factory_named("uvloop")


@pytest.fixture
def outer(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with this one's configuration and no tests."""
    for name in ("pyproject.toml", "tests/conftest.py", "tests/harness.py", "tests/e2e/conftest.py"):
        copy = pytester.path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((ROOT / name).read_text())
    return pytester


def test_a_thread_left_running_fails_the_run(outer: pytest.Pytester) -> None:
    (outer.path / "tests/test_thread.py").write_text("""
import threading, time
def test_it():
    threading.Thread(target=time.sleep, args=(3,), name="sleeper").start()
""")
    result = outer.runpytest_subprocess("tests")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*threads left running at the end: sleeper"])


SKIPS = """
import pytest
def test_it():
    pytest.skip("no such client")
"""
SKIPS_AS_A_MODULE = """
import pytest
pytest.importorskip("no_such_client")
"""


@pytest.mark.parametrize("source", [SKIPS, SKIPS_AS_A_MODULE])
@pytest.mark.parametrize(("required", "outcome"), [("1", "failed"), ("", "skipped")])
def test_a_skip_fails_where_real_clients_are_required(
    outer: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, source: str, required: str, outcome: str
) -> None:
    (outer.path / "tests/e2e/test_client.py").write_text(source)
    monkeypatch.setenv("EHLO_E2E_REQUIRED", required)
    counts = outer.runpytest_subprocess("tests/e2e").parseoutcomes()
    if source is SKIPS_AS_A_MODULE and outcome == "failed":
        outcome = "errors"
    assert counts == {outcome: 1}


def test_real_clients_run_only_where_they_are_asked_for(outer: pytest.Pytester) -> None:
    (outer.path / "tests/e2e/test_client.py").write_text("def test_it(): pass")
    outer.runpytest_subprocess("tests").assert_outcomes()
    outer.runpytest_subprocess("tests/e2e").assert_outcomes(passed=1)
