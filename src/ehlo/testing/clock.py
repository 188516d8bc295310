"""An event loop whose time you advance. Real time goes on; ``advance`` adds to it.

with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
    runner.run(test())       # in it: asyncio.get_running_loop().advance(300)
"""

from __future__ import annotations

import asyncio


class FakeClockLoop(asyncio.SelectorEventLoop):
    """Everything that asks the loop for the time, timers and timeouts above all, sees the advanced one."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0

    def time(self) -> float:
        """Monotonic seconds."""
        return super().time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; timers that are due run in the next pass of the loop."""
        self._ahead += seconds
