"""Faults for the time of a test. Knows how they end again; what they are is the scenario's."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ehlo.inbox.faults.handler import Faults, Given
    from ehlo.inbox.faults.record import Fired


class FaultsInForce:
    """A scenario that is in force on one listener from now on, until ``stop``, or to the end of a ``with`` block."""

    def __init__(self, faults: Faults, scenario: Given, port: int) -> None:
        self._faults = faults
        self._port = port
        self._matcher = faults.put_before(scenario, port)
        self.scenario = self._matcher.scenario

    @property
    def fired(self) -> list[Fired]:
        """What these faults have done, oldest first."""
        return self._matcher.log.entries()

    def stop(self) -> None:
        """They are over; those that were in force before them go on."""
        self._faults.take_away(self._matcher, self._port)

    def __enter__(self) -> Self:
        """They are in force already."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()
