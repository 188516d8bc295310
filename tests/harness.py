"""How coroutine tests are run, and what they are not allowed to leave behind.

Knows asyncio and the garbage collector; does not know pytest's hooks (conftest.py binds it to them) nor ehlo.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    LoopFactory = Callable[[], asyncio.AbstractEventLoop]

LOOPS = ("asyncio", "uvloop")

# What a test closes in its last step ends in the next turns of the loop; no clean shutdown takes ten.
TURNS_OF_GRACE = 10


class Untidy(AssertionError):
    """A coroutine test passed, but left tasks behind or errors that nobody retrieved."""


def loop_factory_named(name: str) -> LoopFactory:
    """The factory of the loop ``name``, one of LOOPS; ValueError if it is none of them or not installed."""
    if name not in LOOPS:
        msg = f"no such event loop: {name!r}; there are {', '.join(LOOPS)}"
        raise ValueError(msg)
    if name == "asyncio":
        return asyncio.new_event_loop
    if importlib.util.find_spec("uvloop") is None:
        msg = "uvloop is not installed"
        raise ValueError(msg)
    import uvloop

    return uvloop.new_event_loop


def run_coroutine(
    start: Callable[[], Coroutine[Any, Any, object]], loop_factory: LoopFactory, limit: float = 10
) -> None:
    """Run ``start()`` to its end in a loop of its own, TimeoutError after ``limit`` seconds.

    The limit is the loop's: the signal by which pytest-timeout interrupts a test is lost on a uvloop that waits.

    Raises what the coroutine raises, with the complaints below as notes, or else Untidy if there are any:
    a task still pending, or a call of the loop's exception handler, by which asyncio tells of exceptions in
    callbacks and of those that were never retrieved.
    """
    complaints: list[str] = []

    def complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(describe(context))

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.get_loop().set_exception_handler(complain)
            runner.run(_run_and_list_leftovers(start, limit, complaints))
        # Only a destroyed task or future tells that nobody retrieved its exception.  Cheap: conftest.py froze the heap.
        gc.collect()
    except BaseException as error:  # pytest.skip and pytest.fail are no Exceptions
        for complaint in complaints:
            error.add_note(complaint)
        raise
    if complaints:
        raise Untidy("\n".join(complaints))


async def _run_and_list_leftovers(
    start: Callable[[], Coroutine[Any, Any, object]], limit: float, complaints: list[str]
) -> None:
    try:
        async with asyncio.timeout(limit):
            await start()
    finally:
        for _ in range(TURNS_OF_GRACE):
            if len(asyncio.all_tasks()) == 1:
                break
            await asyncio.sleep(0)
        leftovers = asyncio.all_tasks() - {asyncio.current_task()}
        complaints.extend(sorted(f"task left pending: {task!r}" for task in leftovers))


def describe(context: dict[str, Any]) -> str:
    """One line for the context that a loop hands to its exception handler."""
    error = context.get("exception")
    subjects = [f"{key}={value!r}" for key, value in context.items() if key not in {"message", "exception"}]
    cause = [f"{type(error).__name__}: {error}"] if error is not None else []
    return "event loop: " + "; ".join([str(context["message"]), *cause, *subjects])
